/* Any bytes as an outcome: what was decoded encodes to the same bytes. */
#include "base/assert.h"
#include "txn/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct txn_outcome outcome;
    struct buf again = {0};
    struct decoder in = decoder_make(slice_make(data, size));
    arena_init(&arena, 0);
    if (txn_outcome_decode(&in, &arena, &outcome) == STATUS_OK) {
        size_t taken = size - decoder_left(&in);
        txn_outcome_encode(&again, &outcome);
        ASSERT(slice_equal(slice_from_buf(&again), slice_make(data, taken)));
        ASSERT(txn_result_text(outcome.result)[0] != 0);
    }
    buf_done(&again);
    arena_done(&arena);
    return 0;
}
