/* A frame of the snapshot stream from any bytes: as it is, and with its checksum put right, so that
 * the bodies behind the checksum are reached. What decodes encodes to a frame that decodes to the
 * same. */
#include "base/assert.h"
#include "range/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECKED_OFFSET 10u /* version, kind, checksum: range/snapshot.h */

static void header(const struct range_snapshot_frame *frame) {
    struct range_snapshot_header decoded = {0}, again = {0};
    if (range_snapshot_decode_header(frame->body, &decoded) != STATUS_OK) return;
    struct buf bytes = {0};
    struct range_snapshot_frame second;
    range_snapshot_encode_header(&bytes, frame->range_id, frame->snapshot_id, &decoded);
    enum status status = range_snapshot_decode(slice_from_buf(&bytes), &second);
    ASSERT(status == STATUS_OK && second.kind == frame->kind);
    status = range_snapshot_decode_header(second.body, &again);
    ASSERT(status == STATUS_OK);
    ASSERT(range_descriptor_equal(&decoded.descriptor, &again.descriptor));
    ASSERT(slice_equal(decoded.raft_message, again.raft_message));
    ASSERT_CMP(decoded.state.applied.index, ==, again.state.applied.index);
    range_descriptor_done(&decoded.descriptor);
    range_descriptor_done(&again.descriptor);
    buf_done(&bytes);
}

static void chunk(const struct range_snapshot_frame *frame) {
    struct range_snapshot_chunk decoded;
    struct range_snapshot_item item;
    if (range_snapshot_decode_chunk(frame->body, &decoded) != STATUS_OK) return;
    size_t left = decoder_left(&decoded.records);
    while (range_snapshot_next(&decoded.records, &item)) {
        ASSERT(item.family == STORAGE_DATA || item.family == STORAGE_LOCK ||
               item.family == STORAGE_META);
        ASSERT_CMP(item.key.len, >, 0);
        ASSERT_CMP(item.key.len + item.value.len, <, left);
    }
}

static void frame(struct slice bytes) {
    struct range_snapshot_frame decoded;
    if (range_snapshot_decode(bytes, &decoded) != STATUS_OK) return;
    ASSERT(decoded.range_id != 0 && decoded.snapshot_id != 0);
    enum range_snapshot_verdict verdict;
    if (decoded.kind == RANGE_SNAPSHOT_HEADER) {
        header(&decoded);
    } else if (decoded.kind == RANGE_SNAPSHOT_CHUNK) {
        chunk(&decoded);
    } else if (range_snapshot_decode_ack(decoded.body, &verdict) == STATUS_OK) {
        ASSERT(verdict >= RANGE_SNAPSHOT_CONTINUE && verdict <= RANGE_SNAPSHOT_REFUSED);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    frame(slice_make(data, size));
    if (size < CHECKED_OFFSET) return 0;
    struct buf sealed = buf_from_slice(slice_make(data, size));
    uint64_t checksum =
        checksum64(slice_make(sealed.data + CHECKED_OFFSET, sealed.len - CHECKED_OFFSET));
    for (int i = 0; i < 8; i++)
        sealed.data[2 + i] = (uint8_t)(checksum >> (8 * i));
    frame(slice_from_buf(&sealed));
    buf_done(&sealed);
    return 0;
}
