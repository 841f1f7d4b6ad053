/* Any bytes as a command: decoding never reads past the end; what was decoded encodes to the same
 * bytes, may be asked about its span and limits, and, when it is sound, is evaluated by two
 * replicas alike. */
#include "base/assert.h"
#include "storage/memory_engine.h"
#include "txn/evaluate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Evaluates the command twice, in one round or in two; returns a hash of what is stored then. */
static uint64_t evaluate_twice(const struct txn_command *command, struct slice encoded,
                               struct arena *arena, bool one_round) {
    struct storage_engine *engine = memory_engine_new();
    struct storage_batch *batch = storage_batch_new(engine);
    struct txn_apply *apply = txn_apply_new(engine);
    struct txn_span everything = {0};
    struct txn_outcome outcome;
    for (uint64_t i = 0; i < 2; i++) {
        struct txn_command stamped = *command;
        stamped.commit_ts = 1 + i;
        if (i == 0 || !one_round) txn_apply_begin(apply, batch);
        ASSERT(txn_evaluate(apply, &everything, encoded, &stamped, arena, &outcome) == STATUS_OK);
        if (i == 0 && one_round) continue;
        ASSERT(storage_write(engine, batch, STORAGE_BUFFERED) == STATUS_OK);
        storage_batch_clear(batch);
        txn_apply_end(apply);
    }
    struct storage_span data = {.family = STORAGE_DATA}, meta = {.family = STORAGE_META};
    uint64_t hash = memory_engine_hash(engine, &data) ^ (memory_engine_hash(engine, &meta) * 31);
    txn_apply_free(apply);
    storage_batch_free(batch);
    storage_close(engine);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct txn_command command;
    struct buf again = {0}, error = {0};
    struct slice bytes = slice_make(data, size), first, last;
    arena_init(&arena, 0);
    if (txn_command_decode(bytes, &arena, &command) == STATUS_OK) {
        txn_command_encode(&again, &command);
        ASSERT(slice_equal(slice_from_buf(&again), bytes));
        ASSERT_CMP(txn_command_encoded_bytes(&command), ==, size);
        txn_command_span(&command, &first, &last);
        ASSERT(slice_compare(first, last) <= 0);
        ASSERT(txn_command_within(&command, SLICE_EMPTY, SLICE_EMPTY));
        if (txn_command_check(&command, &error) == STATUS_OK) {
            ASSERT(error.len == 0);
            ASSERT_CMP(evaluate_twice(&command, bytes, &arena, true), ==,
                       evaluate_twice(&command, bytes, &arena, false));
        } else {
            ASSERT(error.len > 0);
        }
    }
    buf_done(&again);
    buf_done(&error);
    arena_done(&arena);
    return 0;
}
