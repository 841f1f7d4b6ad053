/* What clients of a router hear when its way to a range's leader is a relay: the router of
 * production, over nodes with stand-ins for their stores. Node 2 leads; the router has a dead
 * address for it. */
#include <criterion/criterion.h>

#include "base/log.h"
#include "rpc/metrics.h"
#include "rpc/node_client.h"
#include "tests/rpc/nodes.h"

#define RANGE_ID 7u
#define LEADER 2u
#define NOBODY "127.0.0.1:1" /* refuses at once */

static struct rpc_loop *loop;
static struct node one, two, three;
static struct router *router;
static struct rpc_node_client *client;

static struct {
    uint64_t named, unnamed; /* writes that have reached it, with a request id and without */
    bool silent;             /* answers nothing */
} leader;

static struct range_reply serve_as_leader(const struct range_request *request,
                                          struct arena *arena) {
    static struct range_row row = {.version = 42};
    struct range_reply reply = {.call_id = request->call_id, .kind = request->kind};
    if (request->kind == RANGE_GET) {
        reply.rows = &row;
        reply.row_count = request->key_count;
        cr_assert_eq(reply.row_count, 1);
    }
    if (request->kind == RANGE_WRITE) {
        struct txn_command command;
        cr_assert_eq(txn_command_decode(request->command, arena, &command), STATUS_OK);
        *(command.request_id.len > 0 ? &leader.named : &leader.unnamed) += 1;
        reply.outcome = (struct txn_outcome){.result = TXN_DONE, .commit_ts = 42};
    }
    return reply;
}

/* Answers the calls of a frame, as the leader or as a follower that knows it. */
static void serve(void *ctx, struct range_session *session, struct slice frame) {
    const struct node *node = ctx;
    struct decoder calls;
    struct slice call;
    struct arena arena;
    struct buf answer = {0};
    arena_init(&arena, 0);
    range_frame_begin(&answer);
    cr_assert_eq(range_frame_open(frame, &calls), STATUS_OK);
    while (range_frame_next(&calls, &call)) {
        struct range_request request;
        cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
        struct range_reply reply = {
            .call_id = request.call_id, .code = RANGE_REPLY_NOT_LEADER, .leader_node = LEADER};
        if (node->id == LEADER) reply = serve_as_leader(&request, &arena);
        range_reply_encode(&answer, &reply);
    }
    if (node->id != LEADER || !leader.silent) session->send(session, slice_from_buf(&answer));
    buf_done(&answer);
    arena_done(&arena);
}

static void start(struct node *node, uint64_t id) {
    node_start(loop, node, id, "127.0.0.1:0", true);
    node->store.on_requests = serve;
    node->store.on_requests_ctx = node;
}

static enum status send(void *ctx, uint64_t node_id, struct slice frame) {
    return rpc_node_client_send(client, node_id, frame);
}

static void refresh(void *ctx) {}

static void set_range(void) {
    struct router_range range = {
        .leader_node = LEADER,
        .descriptor = {
            .range_id = RANGE_ID, .epoch = {1, 1}, .next_replica_id = 4, .replica_count = 3}};
    for (uint64_t i = 0; i < 3; i++)
        range.descriptor.replicas[i] =
            (struct range_replica_ref){.replica_id = i + 1, .node_id = i + 1, .role = RANGE_VOTER};
    router_set_ranges(router, &range, 1, rpc_loop_now_us(loop));
}

static void set_up(void) {
    static const struct router_io io = {.send = send, .refresh = refresh};
    struct router_config config = {.seed = 1};
    log_set_level(LOG_NONE);
    loop = rpc_loop_new();
    start(&one, 1);
    start(&two, 2);
    start(&three, 3);
    node_introduce(&one, &two);
    node_introduce(&one, &three);
    node_introduce(&two, &three);
    client = rpc_node_client_new(loop);
    router = router_new(&config, &io);
    rpc_node_client_set_router(client, router);
    cr_assert_eq(rpc_node_client_set_cluster(client, NODE_CLUSTER), STATUS_OK);
    rpc_node_client_set_address(client, 1, one.address);
    rpc_node_client_set_address(client, 2, NOBODY);
    rpc_node_client_set_address(client, 3, three.address);
    set_range();
}

static void tear_down(void) {
    rpc_node_client_free(client);
    router_free(router);
    node_stop(&one);
    node_stop(&two);
    node_stop(&three);
    rpc_loop_free(loop);
}

TestSuite(rpc_relayed_router, .init = set_up, .fini = tear_down, .timeout = 60);

struct heard {
    uint32_t replies;
    enum router_code code;
};

static void on_reply(void *ctx, const struct router_reply *reply) {
    struct heard *heard = ctx;
    heard->replies++;
    heard->code = reply->code;
}

static void write_key(struct slice request_id, uint64_t timeout_us, struct heard *heard) {
    struct txn_op op = {.kind = TXN_OP_PUT, .key = SLICE_LITERAL("k"), .value = SLICE_LITERAL("v")};
    struct txn_command command = {.request_id = request_id, .op_count = 1, .ops = &op};
    uint64_t now_us = rpc_loop_now_us(loop);
    struct router_request request = {
        .op = ROUTER_WRITE, .command = &command, .deadline_us = now_us + timeout_us};
    router_submit(router, &request, now_us, on_reply, heard);
}

/* The node that the relay goes through. */
static struct node *between(void) {
    struct node *nodes[] = {&three, &one}; /* in the order in which they are asked */
    for (int i = 0; i < 2; i++)
        if (nodes[i]->rpc) return nodes[i];
    return NULL;
}

/* A router that is cut off from a leader that everybody else sees serves its clients all the same,
 * within the time of a request. */
Test(rpc_relayed_router, clients_are_served) {
    struct heard write = {0}, read = {0};
    struct slice key = SLICE_LITERAL("k");
    uint64_t now_us = rpc_loop_now_us(loop);
    struct router_request get = {
        .op = ROUTER_GET, .keys = &key, .key_count = 1, .deadline_us = now_us + 3000000};
    write_key(SLICE_EMPTY, 3000000, &write);
    router_submit(router, &get, now_us, on_reply, &read);
    ECHO_WAIT(loop, write.replies == 1 && read.replies == 1);
    cr_assert_eq(write.code, ROUTER_OK);
    cr_assert_eq(read.code, ROUTER_OK);
    cr_assert_eq(leader.unnamed, 1);
    cr_assert_eq(atomic_load(&metric_rpc_relay_down_total.value), 0);
}

/* The node between dies with a write under way that must not run twice: its client hears at once
 * that the outcome is unknown, and the write was given to the leader once, whatever comes later. */
Test(rpc_relayed_router, a_write_without_an_id_is_unknown_once) {
    struct heard heard = {0}, next = {0};
    leader.silent = true;
    write_key(SLICE_EMPTY, 30000000, &heard);
    ECHO_WAIT(loop, leader.unnamed == 1);
    uint64_t died_us = rpc_loop_now_us(loop);
    node_stop(between());
    ECHO_WAIT(loop, heard.replies == 1);
    cr_assert_eq(heard.code, ROUTER_UNKNOWN);
    cr_assert_lt(rpc_loop_now_us(loop) - died_us, 3000000, "not only at its deadline");
    leader.silent = false;
    write_key(SLICE_LITERAL("id"), 10000000, &next); /* through the other node */
    ECHO_WAIT(loop, next.replies == 1);
    cr_assert_eq(next.code, ROUTER_OK);
    cr_assert_eq(leader.unnamed, 1);
    cr_assert_eq(heard.replies, 1);
}

/* With a request id it is given to the leader again, through another node. */
Test(rpc_relayed_router, a_write_with_an_id_is_tried_again) {
    struct heard heard = {0};
    leader.silent = true;
    write_key(SLICE_LITERAL("id"), 15000000, &heard);
    ECHO_WAIT(loop, leader.named >= 1);
    leader.silent = false;
    node_stop(between());
    ECHO_WAIT(loop, heard.replies == 1);
    cr_assert_eq(heard.code, ROUTER_OK);
    cr_assert_geq(leader.named, 2);
}

/* The leader itself stops: the same holds when it is the far side of a relay that ends. */
Test(rpc_relayed_router, a_stopped_leader_behind_a_relay_leaves_unknown) {
    struct heard heard = {0};
    leader.silent = true;
    write_key(SLICE_EMPTY, 30000000, &heard);
    ECHO_WAIT(loop, leader.unnamed == 1);
    uint64_t stopped_us = rpc_loop_now_us(loop);
    node_stop(&two);
    ECHO_WAIT(loop, heard.replies == 1);
    cr_assert_eq(heard.code, ROUTER_UNKNOWN);
    cr_assert_lt(rpc_loop_now_us(loop) - stopped_us, 3000000);
}
