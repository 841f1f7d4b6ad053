/* Stored bytes of the Raft core: entries, with the membership changes in them, hard states and
 * configurations. What decodes must encode to the same bytes again. */
#include "base/assert.h"
#include "raft/message_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void entry(struct slice bytes) {
    struct raft_entry decoded;
    if (raft_decode_entry(bytes, 7, &decoded) != STATUS_OK) return;
    struct buf again = {0};
    raft_encode_entry(&again, &decoded);
    ASSERT(slice_equal(bytes, slice_from_buf(&again)));
    struct raft_conf_change change;
    if (decoded.kind != RAFT_ENTRY_NORMAL &&
        raft_decode_conf_change(&decoded, &change) == STATUS_OK) {
        ASSERT_CMP(change.count, <=, RAFT_REPLICAS_MAX);
        ASSERT_CMP(change.context.len, <=, bytes.len);
    }
    payload_unref(decoded.payload);
    buf_done(&again);
}

static void hard_state(struct slice bytes) {
    struct raft_hard_state decoded;
    if (raft_decode_hard_state(bytes, &decoded) != STATUS_OK) return;
    struct buf again = {0};
    raft_encode_hard_state(&again, &decoded);
    ASSERT(slice_equal(bytes, slice_from_buf(&again)));
    buf_done(&again);
}

static void conf_state(struct slice bytes) {
    struct decoder in = decoder_make(bytes);
    struct raft_conf_state decoded;
    if (raft_decode_conf_state(&in, &decoded) != STATUS_OK) return;
    struct buf again = {0};
    raft_encode_conf_state(&again, &decoded);
    ASSERT(
        slice_equal(slice_make(bytes.data, bytes.len - decoder_left(&in)), slice_from_buf(&again)));
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice bytes = slice_make(data, size);
    entry(bytes);
    hard_state(bytes);
    conf_state(bytes);
    return 0;
}
