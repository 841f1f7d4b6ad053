/* Reading and writing bytes that leave the process. Fixed integers are little-endian unless the
 * name says be (big-endian, for keys that must sort); varints are LEB128.
 *
 * A decoder never reads past its end: the first failure sticks (`failed`), later reads return zero
 * values, and the caller checks once at the end.
 *
 * Most varints are one byte long, and a message is made of many: what is inline here was a sixth of
 * the instructions of a put on one of many ranges, for calls more than for work. */
#ifndef FLOTILLA_BASE_CODEC_H
#define FLOTILLA_BASE_CODEC_H

#include "base/slice.h"

static inline void encode_u8(struct buf *out, uint8_t value) {
    buf_append_byte(out, value);
}
void encode_u32(struct buf *out, uint32_t value);
void encode_u64(struct buf *out, uint64_t value);
void encode_u64_be(struct buf *out, uint64_t value);
void encode_long_varint(struct buf *out, uint64_t value); /* encode_varint, of any length */
static inline void encode_varint(struct buf *out, uint64_t value) {
    if (value < 0x80)
        buf_append_byte(out, (uint8_t)value);
    else
        encode_long_varint(out, value);
}
void encode_zigzag(struct buf *out, int64_t value);     /* signed varint */
void encode_bytes(struct buf *out, struct slice bytes); /* varint length, then the bytes */

struct decoder {
    const uint8_t *at, *end;
    bool failed;
};

struct decoder decoder_make(struct slice bytes);
static inline size_t decoder_left(const struct decoder *decoder) {
    return decoder->failed ? 0 : (size_t)(decoder->end - decoder->at);
}
static inline uint8_t decode_u8(struct decoder *decoder) {
    if (decoder_left(decoder) > 0) return *decoder->at++;
    decoder->failed = true;
    return 0;
}
uint32_t decode_u32(struct decoder *decoder);
uint64_t decode_u64(struct decoder *decoder);
uint64_t decode_u64_be(struct decoder *decoder);
uint64_t decode_long_varint(struct decoder *decoder); /* decode_varint, of any length */
static inline uint64_t decode_varint(struct decoder *decoder) {
    bool is_short = decoder_left(decoder) > 0 && *decoder->at < 0x80;
    return is_short ? *decoder->at++ : decode_long_varint(decoder);
}
int64_t decode_zigzag(struct decoder *decoder);
struct slice decode_bytes(struct decoder *decoder);             /* borrows from the input */
struct slice decode_fixed(struct decoder *decoder, size_t len); /* borrows */
/* True when nothing failed and nothing is left over. */
bool decoder_finished(const struct decoder *decoder);

/* XXH3-64 through libxxhash: for checksums, fingerprints and hash maps. Stable across versions. */
uint64_t checksum64(struct slice bytes);
uint64_t checksum64_seeded(struct slice bytes, uint64_t seed);

#endif
