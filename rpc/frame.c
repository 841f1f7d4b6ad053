/* Frames on streams. */
#include "rpc/frame.h"

#include "rpc/limits.h"
#include "rpc/wire.h"

#define FRAME_PAYLOAD 1u /* field number */
#define HEADER_BYTES_MAX 11u

struct header {
    uint8_t bytes[HEADER_BYTES_MAX];
    size_t len;
};

static struct slice header_of(struct slice frame, struct header *header) {
    size_t left = frame.len;
    header->bytes[0] = FRAME_PAYLOAD << 3 | RPC_WIRE_BYTES;
    header->len = 1;
    while (left >= 0x80) {
        header->bytes[header->len++] = (uint8_t)(left | 0x80);
        left >>= 7;
    }
    header->bytes[header->len++] = (uint8_t)left;
    return slice_make(header->bytes, header->len);
}

enum status rpc_frame_send(struct rpc_stream *stream, struct slice frame) {
    struct header header;
    struct slice parts[2] = {header_of(frame, &header), frame};
    return rpc_stream_send_parts(stream, parts, 2);
}

enum status rpc_frame_send_link(struct rpc_link *link, struct slice frame) {
    struct header header;
    struct slice parts[2] = {header_of(frame, &header), frame};
    return rpc_link_send_parts(link, parts, 2);
}

bool rpc_frame_open(struct slice message, struct decoder *ret_frames) {
    struct decoder walk = decoder_make(message);
    struct slice frame;
    uint32_t count = 0;
    while (count <= RPC_FRAMES_PER_MESSAGE_MAX && rpc_frame_next(&walk, &frame))
        count++;
    if (walk.failed || count > RPC_FRAMES_PER_MESSAGE_MAX) return false;
    *ret_frames = decoder_make(message);
    return true;
}

bool rpc_frame_next(struct decoder *in, struct slice *ret_frame) {
    struct rpc_wire_field field;
    if (!rpc_wire_next(in, &field)) return false;
    if (field.number != FRAME_PAYLOAD || field.type != RPC_WIRE_BYTES) {
        in->failed = true;
        return false;
    }
    *ret_frame = field.bytes;
    return true;
}
