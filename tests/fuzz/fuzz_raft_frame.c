/* A frame of Raft messages from any bytes: refused, or walked to its end without a failure, and the
 * same after its envelopes were copied into another frame, as the split per worker does. A notice
 * of removal that can be read encodes to the bytes it came from. */
#include "base/assert.h"
#include "range/raft_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_notice(const struct range_raft_envelope *envelope) {
    struct range_removed_notice notice;
    if (range_raft_frame_decode_removed(envelope->message, &notice) != STATUS_OK) return;
    struct buf again = {0};
    struct decoder messages;
    struct range_raft_envelope own;
    range_raft_frame_begin(&again);
    range_raft_frame_add_removed(&again, &notice);
    enum status status = range_raft_frame_open(slice_from_buf(&again), &messages);
    ASSERT(status == STATUS_OK);
    ASSERT(range_raft_frame_next(&messages, &own) && own.removed);
    ASSERT(slice_equal(own.message, envelope->message));
    range_descriptor_done(&notice.descriptor);
    buf_done(&again);
}

static void copy(struct decoder messages, struct buf *ret_frame) {
    struct range_raft_envelope envelope;
    range_raft_frame_begin(ret_frame);
    while (range_raft_frame_next(&messages, &envelope)) {
        ASSERT(envelope.range_id == 0 || envelope.message.len > 0);
        ASSERT_CMP(envelope.beat.worker, <=, envelope.beat.workers);
        if (envelope.range_id != 0 && envelope.removed) read_notice(&envelope);
        range_raft_frame_copy(ret_frame, &envelope);
    }
    ASSERT(!messages.failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct decoder messages;
    if (range_raft_frame_open(slice_make(data, size), &messages) != STATUS_OK) return 0;
    struct buf once = {0}, twice = {0};
    copy(messages, &once);
    enum status status = range_raft_frame_open(slice_from_buf(&once), &messages);
    ASSERT(status == STATUS_OK);
    copy(messages, &twice);
    ASSERT(slice_equal(slice_from_buf(&once), slice_from_buf(&twice)));
    buf_done(&once);
    buf_done(&twice);
    return 0;
}
