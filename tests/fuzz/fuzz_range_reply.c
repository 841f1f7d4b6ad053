/* Any bytes as a frame of replies, as a router receives them: decoded replies encode to the bytes
 * they came from, and a router with requests under way survives the frame. */
#include "base/assert.h"
#include "range/router/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum status take_frame(void *ctx, uint64_t node_id, struct slice frame) {
    return STATUS_OK;
}

static void no_refresh(void *ctx) {}

static void count_answer(void *ctx, const struct router_reply *reply) {
    (*(uint32_t *)ctx)++;
}

/* A get, a scan, a write, a change, a description (attempts 1 to 5) and two stale reads (6 and 7)
 * wait at node 1, which leads the one range. */
static void feed_router(struct slice frame) {
    struct router_io io = {.send = take_frame, .refresh = no_refresh};
    struct router_config config = {.seed = 1};
    struct router *router = router_new(&config, &io);
    struct router_range range = {
        .leader_node = 1,
        .descriptor = {.range_id = 1,
                       .epoch = {1, 1},
                       .next_replica_id = 3,
                       .replica_count = 2,
                       .replicas = {{1, 1, RANGE_VOTER}, {2, 2, RANGE_VOTER}}}};
    struct slice keys[] = {SLICE_LITERAL("a"), SLICE_LITERAL("b")};
    struct txn_op op = {.kind = TXN_OP_PUT, .key = keys[0], .value = keys[1]};
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct range_replica_change change = {RANGE_REMOVE, 2};
    struct router_request requests[] = {
        {.op = ROUTER_GET, .key_count = 2, .keys = keys},
        {.op = ROUTER_SCAN},
        {.op = ROUTER_WRITE, .command = &command},
        {.op = ROUTER_CHANGE_REPLICAS, .range_id = 1, .change_count = 1, .changes = &change},
        {.op = ROUTER_DESCRIBE, .range_id = 1},
        {.op = ROUTER_GET, .read_mode = RANGE_READ_STALE, .key_count = 2, .keys = keys},
        {.op = ROUTER_SCAN, .read_mode = RANGE_READ_STALE},
    };
    uint32_t answered = 0, count = sizeof(requests) / sizeof(requests[0]);
    router_set_ranges(router, &range, 1, 1);
    router_set_near_node(router, 1);
    for (uint32_t i = 0; i < count; i++)
        router_submit(router, &requests[i], 1, count_answer, &answered);
    router_flush(router, 1);
    enum status status = router_replies(router, 1, frame, 2);
    ASSERT(status == STATUS_OK || status == STATUS_CORRUPTION);
    router_flush(router, 3);
    router_node_down(router, 1, 4);
    router_free(router);
    ASSERT_CMP(answered, ==, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct range_descriptor descriptor = {0};
    struct decoder calls;
    struct slice call, again;
    struct buf frame = {0};
    arena_init(&arena, 0);
    if (range_frame_open(slice_make(data, size), &calls) == STATUS_OK) {
        while (range_frame_next(&calls, &call)) {
            struct range_reply reply;
            struct decoder own;
            arena_reset(&arena);
            if (range_reply_decode(call, &arena, &descriptor, &reply) != STATUS_OK) continue;
            range_frame_begin(&frame);
            range_reply_encode(&frame, &reply);
            ASSERT(range_frame_open(slice_from_buf(&frame), &own) == STATUS_OK);
            ASSERT(range_frame_next(&own, &again) && slice_equal(call, again));
        }
    }
    feed_router(slice_make(data, size));
    range_descriptor_done(&descriptor);
    buf_done(&frame);
    arena_done(&arena);
    return 0;
}
