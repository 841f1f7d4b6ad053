/* Encodings: exact bytes, round trips, and a decoder that never passes its end. */
#include "base/codec.h"

#include <criterion/criterion.h>

#include "base/memory.h"
#include "base/prng.h"

static void assert_bytes(const struct buf *buf, const char *expected, size_t len) {
    cr_assert_eq(buf->len, len);
    cr_assert_eq(memcmp(buf->data, expected, len), 0);
}

/* Protects formats on disk and on the wire: these bytes must never change. */
Test(base_codec, encodings_have_fixed_bytes) {
    struct buf out = {0};
    encode_u8(&out, 0xab);
    encode_u32(&out, 0x01020304);
    encode_u64(&out, 0x0102030405060708);
    encode_u64_be(&out, 0x0102030405060708);
    assert_bytes(&out,
                 "\xab\x04\x03\x02\x01\x08\x07\x06\x05\x04\x03\x02\x01"
                 "\x01\x02\x03\x04\x05\x06\x07\x08",
                 21);
    buf_clear(&out);
    encode_varint(&out, 0);
    encode_varint(&out, 127);
    encode_varint(&out, 128);
    encode_varint(&out, 300);
    encode_varint(&out, UINT64_MAX);
    assert_bytes(&out, "\x00\x7f\x80\x01\xac\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 16);
    buf_clear(&out);
    encode_zigzag(&out, 0);
    encode_zigzag(&out, -1);
    encode_zigzag(&out, 1);
    encode_zigzag(&out, -64);
    encode_bytes(&out, slice_from_text("abc"));
    encode_bytes(&out, SLICE_EMPTY);
    assert_bytes(&out,
                 "\x00\x01\x02\x7f\x03"
                 "abc\x00",
                 9);
    buf_done(&out);
}

/* Protects checksums on disk: a library update that changed them would look like corruption. */
Test(base_codec, checksums_are_stable) {
    cr_assert_eq(checksum64(SLICE_EMPTY), UINT64_C(0x2d06800538d394c2));
    cr_assert_eq(checksum64_seeded(SLICE_EMPTY, 0), checksum64(SLICE_EMPTY));
    cr_assert_neq(checksum64_seeded(SLICE_EMPTY, 1), checksum64(SLICE_EMPTY));
    cr_assert_neq(checksum64(slice_from_text("a")), checksum64(slice_from_text("b")));
}

/* Protects values: what was written is read, at the edges and at random. */
Test(base_codec, values_survive_a_round_trip) {
    static const uint64_t edges[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX};
    struct prng prng;
    prng_init(&prng, 21);
    struct buf out = {0};
    for (unsigned i = 0; i < 5000; i++) {
        uint64_t value = i < 10 ? edges[i] : prng_next(&prng) >> prng_below(&prng, 64);
        buf_clear(&out);
        encode_u8(&out, (uint8_t)value);
        encode_u32(&out, (uint32_t)value);
        encode_u64(&out, value);
        encode_u64_be(&out, value);
        encode_varint(&out, value);
        encode_zigzag(&out, (int64_t)value);
        encode_bytes(&out, slice_make(&value, value % 9));
        struct decoder decoder = decoder_make(slice_from_buf(&out));
        cr_assert_eq(decode_u8(&decoder), (uint8_t)value);
        cr_assert_eq(decode_u32(&decoder), (uint32_t)value);
        cr_assert_eq(decode_u64(&decoder), value);
        cr_assert_eq(decode_u64_be(&decoder), value);
        cr_assert_eq(decode_varint(&decoder), value);
        cr_assert_eq(decode_zigzag(&decoder), (int64_t)value);
        cr_assert_eq(decoder_finished(&decoder), false);
        cr_assert(slice_equal(decode_bytes(&decoder), slice_make(&value, value % 9)));
        cr_assert(decoder_finished(&decoder));
    }
    buf_done(&out);
}

/* Protects key order: big-endian bytes sort as their numbers do. */
Test(base_codec, big_endian_sorts_like_the_number) {
    struct prng prng;
    prng_init(&prng, 22);
    struct buf a = {0}, b = {0};
    for (int i = 0; i < 2000; i++) {
        uint64_t x = prng_next(&prng) >> prng_below(&prng, 64);
        uint64_t y = prng_next(&prng) >> prng_below(&prng, 64);
        buf_clear(&a);
        buf_clear(&b);
        encode_u64_be(&a, x);
        encode_u64_be(&b, y);
        cr_assert_eq(slice_compare(slice_from_buf(&a), slice_from_buf(&b)), (x > y) - (x < y));
    }
    buf_done(&a);
    buf_done(&b);
}

/* Protects against reading past the end: every truncation of a message fails, none is finished.
 * The bytes are copied to the end of an exact allocation, so that a sanitizer sees any step over.
 */
Test(base_codec, every_truncation_fails) {
    struct buf out = {0};
    encode_u32(&out, 7);
    encode_varint(&out, 1 << 20);
    encode_bytes(&out, slice_from_text("some bytes"));
    encode_u64_be(&out, 9);
    for (size_t len = 0; len <= out.len; len++) {
        uint8_t *exact = memory_alloc(len);
        memcpy(exact, out.data, len);
        struct decoder decoder = decoder_make(slice_make(exact, len));
        (void)decode_u32(&decoder);
        (void)decode_varint(&decoder);
        (void)decode_bytes(&decoder);
        (void)decode_u64_be(&decoder);
        cr_assert_eq(decoder.failed, len < out.len);
        cr_assert_eq(decoder_finished(&decoder), len == out.len);
        memory_free(exact);
    }
    buf_done(&out);
}

/* Protects callers that check once at the end: after a failure everything reads as nothing. */
Test(base_codec, a_failure_sticks) {
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct decoder decoder = decoder_make(slice_make(bytes, sizeof(bytes)));
    cr_assert_eq(decode_fixed(&decoder, 9).len, 0);
    cr_assert(decoder.failed);
    cr_assert_eq(decode_u8(&decoder), 0);
    cr_assert_eq(decode_u64(&decoder), 0);
    cr_assert_eq(decode_varint(&decoder), 0);
    cr_assert_eq(decode_zigzag(&decoder), 0);
    cr_assert_eq(decode_bytes(&decoder).len, 0);
    cr_assert_eq(decode_fixed(&decoder, 0).len, 0);
    cr_assert_eq(decoder_left(&decoder), 0);
    cr_assert(!decoder_finished(&decoder));
}

/* Protects length fields: one that claims more than there is must not wrap the end. */
Test(base_codec, an_absurd_length_is_refused) {
    struct buf out = {0};
    encode_varint(&out, UINT64_MAX);
    buf_append(&out, slice_from_text("abc"));
    struct decoder decoder = decoder_make(slice_from_buf(&out));
    cr_assert_eq(decode_bytes(&decoder).len, 0);
    cr_assert(decoder.failed);
    buf_done(&out);
}

/* Protects the single encoding of a value: padded and overflowing varints are refused. */
Test(base_codec, irregular_varints_are_refused) {
    static const struct slice irregular[] = {
        {(const uint8_t *)"\x80\x00", 2},
        {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10},
        {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
        {(const uint8_t *)"\x80", 1},
        {NULL, 0},
    };
    for (size_t i = 0; i < sizeof(irregular) / sizeof(irregular[0]); i++) {
        struct decoder decoder = decoder_make(irregular[i]);
        cr_assert_eq(decode_varint(&decoder), 0);
        cr_assert(decoder.failed, "case %zu", i);
    }
}

/* Protects empty input, which has no memory behind it. */
Test(base_codec, empty_input_is_finished_at_once) {
    struct decoder decoder = decoder_make(SLICE_EMPTY);
    cr_assert(decoder_finished(&decoder));
    cr_assert_eq(decoder_left(&decoder), 0);
    cr_assert_eq(decode_fixed(&decoder, 0).len, 0);
    cr_assert(decoder_finished(&decoder));
    cr_assert_eq(decode_u8(&decoder), 0);
    cr_assert(!decoder_finished(&decoder));
}
