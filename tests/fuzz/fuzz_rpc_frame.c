/* Any bytes as a message of the internal streams, as the first one of a relay, and as any message
 * read by hand: whatever is yielded lies inside the input, the walk ends, and a message that was
 * accepted reads the same after its frames have been written again. */
#include "base/assert.h"
#include "rpc/frame.h"
#include "rpc/relay.h"
#include "rpc/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_inside(struct slice part, const uint8_t *data, size_t size) {
    if (part.len == 0) return;
    ASSERT(part.data >= data && part.len <= size);
    ASSERT(part.data + part.len <= data + size);
}

static void walk_fields(const uint8_t *data, size_t size) {
    struct decoder in = decoder_make(slice_make(data, size));
    struct rpc_wire_field field;
    size_t left = size + 1;
    while (rpc_wire_next(&in, &field)) {
        if (field.type == RPC_WIRE_BYTES) assert_inside(field.bytes, data, size);
        ASSERT_CMP(field.number, !=, 0);
        ASSERT_CMP(decoder_left(&in), <, left); /* every field takes bytes: the walk ends */
        left = decoder_left(&in);
    }
    ASSERT(in.failed || decoder_left(&in) == 0);
}

static void walk_frames(const uint8_t *data, size_t size) {
    struct decoder in = decoder_make(slice_make(data, size));
    struct buf again = {0};
    struct slice frame;
    while (rpc_frame_next(&in, &frame)) {
        assert_inside(frame, data, size);
        rpc_wire_append_bytes(&again, 1, frame);
    }
    if (!in.failed) ASSERT(slice_equal(slice_from_buf(&again), slice_make(data, size)));
    buf_done(&again);
}

/* Nothing but one sound frame names a node: what does is read back as it was written. */
static void name_target(const uint8_t *data, size_t size) {
    uint64_t node_id = rpc_relay_decode_target(slice_make(data, size));
    struct buf frame = {0}, message = {0};
    if (node_id == 0) return;
    rpc_relay_encode_target(&frame, node_id);
    rpc_wire_append_bytes(&message, 1, slice_from_buf(&frame));
    ASSERT(slice_equal(slice_from_buf(&message), slice_make(data, size)));
    ASSERT_CMP(rpc_relay_decode_target(slice_from_buf(&message)), ==, node_id);
    buf_done(&frame);
    buf_done(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    name_target(data, size);
    walk_fields(data, size);
    walk_frames(data, size);
    return 0;
}
