/* Any bytes, decoded by any sequence of reads that the bytes themselves choose: no read may pass
 * the end, a failure must stick, and what was read must encode to the bytes it came from. */
#include "base/assert.h"
#include "base/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_one(struct decoder *decoder, uint8_t choice, struct buf *again) {
    switch (choice % 8) {
    case 0:
        encode_u8(again, decode_u8(decoder));
        return;
    case 1:
        encode_u32(again, decode_u32(decoder));
        return;
    case 2:
        encode_u64(again, decode_u64(decoder));
        return;
    case 3:
        encode_u64_be(again, decode_u64_be(decoder));
        return;
    case 4:
        encode_varint(again, decode_varint(decoder));
        return;
    case 5:
        encode_zigzag(again, decode_zigzag(decoder));
        return;
    case 6:
        encode_bytes(again, decode_bytes(decoder));
        return;
    case 7:
        buf_append(again, decode_fixed(decoder, choice / 8));
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 16) return 0;
    struct slice input = slice_make(data + 16, size - 16);
    struct decoder decoder = decoder_make(input);
    struct buf again = {0};
    for (size_t i = 0; i < 16 && !decoder.failed; i++) {
        size_t left_before = decoder_left(&decoder);
        buf_clear(&again);
        read_one(&decoder, data[i], &again);
        ASSERT_CMP(decoder_left(&decoder), <=, left_before);
        if (decoder.failed) break;
        size_t taken = left_before - decoder_left(&decoder);
        ASSERT(slice_equal(slice_from_buf(&again), slice_make(decoder.at - taken, taken)));
    }
    if (decoder.failed) {
        ASSERT_CMP(decode_u64(&decoder), ==, 0);
        ASSERT_CMP(decode_bytes(&decoder).len, ==, 0);
        ASSERT_CMP(decoder_left(&decoder), ==, 0);
        ASSERT(!decoder_finished(&decoder));
    }
    buf_done(&again);
    return 0;
}
