/* A router between clients and one node that answers everything at once with OK. Counted is the
 * router: submit, flush, and the replies' way back; not the node. */
#include "base/assert.h"
#include "base/memory.h"
#include "range/router/router.h"
#include "tests/instructions/paths.h"

#define TOGETHER_MAX 64u

struct router_load {
    struct router *router;
    uint32_t together; /* requests of one turn */
    uint32_t submitted, answered;
    struct path_command puts[TOGETHER_MAX]; /* of this turn */
    struct buf frame, replies;              /* of this turn */
    struct arena arena;
    bool get;
};

static enum status take_frame(void *ctx, uint64_t node_id, struct slice frame) {
    struct router_load *load = ctx;
    ASSERT_CMP(load->frame.len, ==, 0); /* one frame per turn is what the router promises */
    buf_append(&load->frame, frame);
    return STATUS_OK;
}

static void no_refresh(void *ctx) {
    ASSERT(!"the router knows all ranges");
}

static void answered(void *ctx, const struct router_reply *reply) {
    struct router_load *load = ctx;
    ASSERT_CMP(reply->code, ==, ROUTER_OK);
    load->answered++;
}

static void submit_turn(void *ctx) {
    struct router_load *load = ctx;
    for (uint32_t i = 0; i < load->together; i++) {
        struct router_request request = {.op = ROUTER_WRITE, .deadline_us = 10000000};
        if (load->get) {
            request.op = ROUTER_GET;
            request.key_count = 1;
            request.keys = &load->puts[i].ops[0].key;
        } else {
            request.command = &load->puts[i].command;
        }
        router_submit(load->router, &request, 1000, answered, load);
    }
    router_flush(load->router, 1000);
}

static void reply_turn(void *ctx) {
    struct router_load *load = ctx;
    enum status status = router_replies(load->router, 1, slice_from_buf(&load->replies), 1100);
    ASSERT_CMP(status, ==, STATUS_OK);
    router_flush(load->router, 1100);
}

/* The node's part. */
static void answer_frame(struct router_load *load) {
    struct decoder calls;
    struct slice bytes;
    struct range_row row = {.value = path_value(), .version = 77};
    enum status status = range_frame_open(slice_from_buf(&load->frame), &calls);
    ASSERT_CMP(status, ==, STATUS_OK);
    buf_clear(&load->replies);
    range_frame_begin(&load->replies);
    while (range_frame_next(&calls, &bytes)) {
        struct range_request request;
        arena_reset(&load->arena);
        status = range_request_decode(bytes, &load->arena, &request);
        ASSERT_CMP(status, ==, STATUS_OK);
        struct range_reply reply = {.call_id = request.call_id, .kind = request.kind};
        if (load->get) {
            reply.row_count = 1;
            reply.rows = &row;
        } else {
            reply.outcome = (struct txn_outcome){.result = TXN_DONE, .commit_ts = 77};
        }
        range_reply_encode(&load->replies, &reply);
    }
    buf_clear(&load->frame);
}

static void give_ranges(struct router *router) {
    struct router_range range = {.leader_node = 1};
    range.descriptor = (struct range_descriptor){
        .range_id = 1, .epoch = {1, 1}, .next_replica_id = 4, .replica_count = 3};
    for (uint32_t i = 0; i < 3; i++)
        range.descriptor.replicas[i] =
            (struct range_replica_ref){.replica_id = i + 1, .node_id = i + 1, .role = RANGE_VOTER};
    router_set_ranges(router, &range, 1, 1000);
    for (uint64_t node = 1; node <= 3; node++)
        router_node_up(router, node, 1000);
}

static void run(struct router_load *load, uint32_t operations) {
    struct router_config config = {.default_timeout_us = 5000000,
                                   .backoff_min_us = 2000,
                                   .backoff_max_us = 200000,
                                   .attempt_timeout_us = 500000,
                                   .outstanding_max = 10000,
                                   .outstanding_bytes_max = 64u << 20,
                                   .seed = 1};
    struct router_io io = {.ctx = load, .send = take_frame, .refresh = no_refresh};
    load->router = router_new(&config, &io);
    give_ranges(load->router);
    for (uint32_t done = 0; done < operations; done += load->together) {
        for (uint32_t i = 0; i < load->together; i++)
            path_put(&load->puts[i], "", load->submitted++);
        measured(submit_turn, load);
        answer_frame(load);
        measured(reply_turn, load);
    }
    ASSERT_CMP(load->answered, ==, load->submitted);
    router_free(load->router);
    buf_done(&load->frame);
    buf_done(&load->replies);
    arena_done(&load->arena);
}

static void write_alone(uint32_t operations) {
    run(&(struct router_load){.together = 1}, operations);
}

static void writes_together(uint32_t operations) {
    run(&(struct router_load){.together = 64}, operations);
}

static void gets_together(uint32_t operations) {
    run(&(struct router_load){.together = 64, .get = true}, operations);
}

const struct path paths_router[] = {
    {"router_put", "a put through the router, alone", 1000, write_alone},
    {"router_put_64", "a put through the router, 64 per turn", 1280, writes_together},
    {"router_get_64", "a get through the router, 64 per turn", 1280, gets_together},
    {0},
};
