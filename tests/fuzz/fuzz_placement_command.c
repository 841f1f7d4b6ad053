/* Any bytes as an entry of placement's log, and as a snapshot of its state: either refused, or the
 * same bytes again when written back, and safe to apply. */
#include "base/assert.h"
#include "placement/state.h"
#include "storage/memory_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_command(struct placement_state *state, struct storage_batch *batch,
                          const struct placement_command *command) {
    struct buf bytes = {0}, again = {0}, text = {0};
    struct placement_command decoded;
    placement_command_encode(&bytes, command);
    ASSERT(!placement_command_decode(slice_from_buf(&bytes), &decoded));
    placement_command_encode(&again, &decoded);
    ASSERT(slice_equal(slice_from_buf(&bytes), slice_from_buf(&again)));
    struct placement_outcome outcome = {.text = &text};
    /* No leader proposes these before the cluster is formed. */
    if (state->cluster_id || command->kind == PLACEMENT_FORM) {
        placement_state_apply(state, command, batch, &outcome);
        placement_state_check(state);
    }
    buf_done(&bytes);
    buf_done(&again);
    buf_done(&text);
}

/* The input is a list of commands, each behind its length, or a snapshot behind a 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct decoder in = decoder_make(slice_make(data, size));
    struct storage_engine *engine = memory_engine_new();
    struct storage_batch *batch = storage_batch_new(engine);
    struct placement_state state;
    placement_state_init(&state);
    if (size && data[0] == 0) {
        if (!placement_state_restore(&state, slice_make(data + 1, size - 1)))
            placement_state_check(&state);
    } else {
        while (decoder_left(&in) && !in.failed) {
            struct placement_command command;
            struct slice bytes = decode_bytes(&in);
            if (!in.failed && !placement_command_decode(bytes, &command))
                check_command(&state, batch, &command);
        }
    }
    placement_state_done(&state);
    storage_batch_free(batch);
    storage_close(engine);
    return 0;
}
