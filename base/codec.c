/* Bytes on disk and on the wire. Every value has exactly one encoding, so that equal things have
 * equal checksums: the decoder refuses varints that are longer than they need to be. */
#include "base/codec.h"

#include <xxhash.h>

#define VARINT_BYTES_MAX 10u

static void append_little_endian(struct buf *out, uint64_t value, size_t bytes) {
    buf_reserve(out, bytes);
    for (size_t i = 0; i < bytes; i++)
        out->data[out->len++] = (uint8_t)(value >> (8 * i));
}

void encode_u32(struct buf *out, uint32_t value) {
    append_little_endian(out, value, 4);
}

void encode_u64(struct buf *out, uint64_t value) {
    append_little_endian(out, value, 8);
}

void encode_u64_be(struct buf *out, uint64_t value) {
    append_little_endian(out, __builtin_bswap64(value), 8);
}

void encode_long_varint(struct buf *out, uint64_t value) {
    buf_reserve(out, VARINT_BYTES_MAX);
    while (value >= 0x80) {
        out->data[out->len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out->data[out->len++] = (uint8_t)value;
}

void encode_zigzag(struct buf *out, int64_t value) {
    uint64_t sign = value < 0 ? UINT64_MAX : 0;
    encode_varint(out, ((uint64_t)value << 1) ^ sign);
}

void encode_bytes(struct buf *out, struct slice bytes) {
    encode_varint(out, bytes.len);
    buf_append(out, bytes);
}

struct decoder decoder_make(struct slice bytes) {
    /* An empty slice may hold NULL, to which nothing can be added. */
    const uint8_t *end = bytes.len > 0 ? bytes.data + bytes.len : bytes.data;
    return (struct decoder){.at = bytes.data, .end = end};
}

bool decoder_finished(const struct decoder *decoder) {
    return !decoder->failed && decoder->at == decoder->end;
}

/* The next `len` bytes, or NULL after marking the failure. Callers ask for at least one byte. */
static const uint8_t *take(struct decoder *decoder, size_t len) {
    if (decoder->failed || decoder_left(decoder) < len) {
        decoder->failed = true;
        return NULL;
    }
    const uint8_t *start = decoder->at;
    decoder->at += len;
    return start;
}

static uint64_t take_little_endian(struct decoder *decoder, size_t len) {
    const uint8_t *bytes = take(decoder, len);
    uint64_t value = 0;
    for (size_t i = 0; bytes && i < len; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint32_t decode_u32(struct decoder *decoder) {
    return (uint32_t)take_little_endian(decoder, 4);
}

uint64_t decode_u64(struct decoder *decoder) {
    return take_little_endian(decoder, 8);
}

uint64_t decode_u64_be(struct decoder *decoder) {
    return __builtin_bswap64(take_little_endian(decoder, 8));
}

uint64_t decode_long_varint(struct decoder *decoder) {
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t byte = decode_u8(decoder);
        if (decoder->failed) return 0;
        bool last = byte < 0x80;
        bool overflows = i == VARINT_BYTES_MAX - 1 && byte > 1;
        bool padded = last && byte == 0 && i > 0;
        if (overflows || padded) break;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (last) return value;
    }
    decoder->failed = true;
    return 0;
}

int64_t decode_zigzag(struct decoder *decoder) {
    uint64_t raw = decode_varint(decoder);
    uint64_t sign = (raw & 1) ? UINT64_MAX : 0;
    return (int64_t)((raw >> 1) ^ sign);
}

struct slice decode_fixed(struct decoder *decoder, size_t len) {
    if (len == 0 || decoder->failed) return SLICE_EMPTY;
    const uint8_t *bytes = take(decoder, len);
    return bytes ? slice_make(bytes, len) : SLICE_EMPTY;
}

struct slice decode_bytes(struct decoder *decoder) {
    return decode_fixed(decoder, decode_varint(decoder));
}

uint64_t checksum64(struct slice bytes) {
    return XXH3_64bits(bytes.data, bytes.len);
}

uint64_t checksum64_seeded(struct slice bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}
