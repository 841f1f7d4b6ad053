/* Any bytes as a frame of requests, as a node receives them: no wild read; every request that was
 * decoded encodes to the bytes it came from, and its head says the same. */
#include "base/assert.h"
#include "range/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_call(struct slice call, struct arena *arena) {
    struct range_request request;
    uint64_t call_id, range_id;
    enum status head = range_request_peek(call, &call_id, &range_id);
    enum status status = range_request_decode(call, arena, &request);
    if (status == STATUS_UNSUPPORTED) ASSERT(head == STATUS_OK);
    if (status != STATUS_OK) return;
    ASSERT(head == STATUS_OK && call_id == request.call_id && range_id == request.range_id);
    struct buf frame = {0};
    struct decoder calls;
    struct slice again;
    range_frame_begin(&frame);
    range_request_encode(&frame, &request);
    ASSERT(range_frame_open(slice_from_buf(&frame), &calls) == STATUS_OK);
    ASSERT(range_frame_next(&calls, &again) && slice_equal(call, again));
    buf_done(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct decoder calls;
    struct slice call;
    arena_init(&arena, 0);
    if (range_frame_open(slice_make(data, size), &calls) == STATUS_OK) {
        while (range_frame_next(&calls, &call)) {
            arena_reset(&arena);
            check_call(call, &arena);
        }
    }
    arena_done(&arena);
    return 0;
}
