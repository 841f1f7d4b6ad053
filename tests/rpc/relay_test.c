/* Relays: a router that cannot reach a node is served through another one. Three nodes on one loop;
 * the router has a dead address for the second, the others have its true one. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/codec.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/frame.h"
#include "rpc/metrics.h"
#include "rpc/node_client.h"
#include "tests/rpc/nodes.h"

#define RELAY "/flotilla.v1.Node/Relay"
#define REQUESTS "/flotilla.v1.Node/Requests"
#define NOBODY "127.0.0.1:1" /* refuses at once */

static const struct rpc_identity router_identity = {.cluster_id = NODE_CLUSTER};
static struct rpc_loop *loop;
static struct node one, two, three;
static struct router router;
static struct rpc_node_client *client;

static void set_up(void) {
    log_set_level(LOG_NONE);
    loop = rpc_loop_new();
    node_start(loop, &one, 1, "127.0.0.1:0", true);
    node_start(loop, &two, 2, "127.0.0.1:0", true);
    node_start(loop, &three, 3, "127.0.0.1:0", true);
    two.store.echo_requests = true;
    router = (struct router){.next_us = UINT64_MAX};
    client = rpc_node_client_new(loop);
    rpc_node_client_set_router(client, &router);
    cr_assert_eq(rpc_node_client_set_cluster(client, NODE_CLUSTER), STATUS_OK);
}

static void tear_down(void) {
    rpc_node_client_free(client);
    node_stop(&one);
    node_stop(&two);
    node_stop(&three);
    buf_done(&router.last_reply);
    rpc_loop_free(loop);
}

TestSuite(rpc_relay, .init = set_up, .fini = tear_down, .timeout = 60);

static void introduce_all(void) {
    node_introduce(&one, &two);
    node_introduce(&one, &three);
    node_introduce(&two, &three);
}

static int64_t relays_open(void) {
    return atomic_load(&metric_rpc_node_relays_open.value);
}

static int64_t sessions_open(void) {
    return atomic_load(&metric_rpc_node_sessions_open.value);
}

/* What a router does that has something for node 2: it tries again and again. */
static bool sent_to_two(struct slice frame) {
    return rpc_node_client_send(client, 2, frame) == STATUS_OK;
}

/* The router knows three nodes, and cannot reach the second. */
static void lose_two(void) {
    introduce_all();
    rpc_node_client_set_address(client, 1, one.address);
    rpc_node_client_set_address(client, 3, three.address);
    ECHO_WAIT(loop, router.node_ups[1] == 1 && router.node_ups[3] == 1);
    rpc_node_client_set_address(client, 2, NOBODY);
}

/* ---- at the router ---- */

/* The plainest relay: up is told once, and the node serves. Not in the first moment of the loss: a
 * node that restarts is back before a relay would be. */
Test(rpc_relay, a_node_is_served_through_another) {
    lose_two();
    uint64_t lost_us = rpc_loop_now_us(loop);
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("ahoy")));
    cr_assert_geq(rpc_loop_now_us(loop) - lost_us, 250000);
    cr_assert_eq(router.node_ups[2], 1);
    ECHO_WAIT(loop, router.replies == 1);
    cr_assert(slice_equal(slice_from_buf(&router.last_reply), SLICE_LITERAL("ahoy")));
    cr_assert(slice_equal(slice_from_buf(&two.store.last_frame), SLICE_LITERAL("ahoy")));
    cr_assert_eq(atomic_load(&one.store.request_frames), 0);
    cr_assert_eq(atomic_load(&three.store.request_frames), 0);
    cr_assert_eq(router.node_downs[2], 0);
}

struct numbers {
    uint64_t received, out_of_order;
};

static void count_number(void *ctx, struct range_session *session, struct slice frame) {
    struct numbers *numbers = ctx;
    uint64_t number;
    memcpy(&number, frame.data, 8);
    numbers->out_of_order += numbers->received++ != number;
}

/* Volume, both ways, in messages of one frame and of many: all of it, in order. */
Test(rpc_relay, everything_passes_in_order) {
    struct numbers numbers = {0};
    uint8_t frame[400] = {0};
    uint64_t sent = 0;
    lose_two();
    two.store.on_requests = count_number;
    two.store.on_requests_ctx = &numbers;
    ECHO_WAIT(loop, router.node_ups[2] == 1 || sent_to_two(SLICE_EMPTY));
    for (uint64_t round = 0; round < 200; round++) {
        for (uint64_t i = 0; i < round; i++, sent++) {
            memcpy(frame, &sent, 8);
            cr_assert(sent_to_two(slice_make(frame, 8 + (size_t)(sent % 392))));
        }
        node_turn(loop, 500);
    }
    ECHO_WAIT(loop, router.replies == sent);
    cr_assert_eq(numbers.received, sent);
    cr_assert_eq(numbers.out_of_order, 0);
    cr_assert_eq(router.out_of_order, 0);
    cr_assert_eq(router.node_downs[2], 0);
}

/* A node that does not reach the target either is passed over, and nothing is said to be up before
 * the target has taken a stream: what is sent then would be lost. */
Test(rpc_relay, who_does_not_reach_the_node_is_passed_over) {
    lose_two();
    rpc_node_set_address(three.rpc, 2, NOBODY, 0); /* asked first */
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("ahoy")));
    cr_assert_eq(router.node_ups[2], 1);
    ECHO_WAIT(loop, router.replies == 1);
    cr_assert_eq(router.node_downs[2], 0);
}

Test(rpc_relay, nothing_is_up_when_nobody_reaches_the_node) {
    rpc_node_set_address(three.rpc, 2, NOBODY, 0);
    rpc_node_set_address(one.rpc, 2, NOBODY, 0);
    rpc_node_client_set_address(client, 1, one.address);
    rpc_node_client_set_address(client, 2, NOBODY);
    rpc_node_client_set_address(client, 3, three.address);
    uint64_t until_us = rpc_loop_now_us(loop) + 2000000;
    while (rpc_loop_now_us(loop) < until_us) {
        cr_assert(!sent_to_two(SLICE_LITERAL("lost")));
        node_turn(loop, 5000);
    }
    cr_assert_eq(router.node_ups[2], 0);
    cr_assert_eq(router.node_downs[2], 0);
    /* Both were asked about once a second, not at every attempt to send. */
    int64_t asked = atomic_load(&metric_rpc_server_streams_total.value) - 2; /* and for requests */
    cr_assert(asked >= 2 && asked <= 2 * 3, "%ld", asked);
}

static void silent_message(void *ctx, struct rpc_stream *stream, struct slice message) {}

static void open_silent(void *ctx, struct rpc_stream *stream) {
    static const struct rpc_stream_events events = {.on_message = silent_message};
    rpc_stream_accept(stream, &events, ctx);
    (*(uint32_t *)ctx)++;
}

/* A node that takes the stream and then says nothing holds up nobody for long. */
Test(rpc_relay, who_says_nothing_is_passed_over) {
    static const struct rpc_method methods[] = {
        {.path = RELAY, .open = open_silent, .handshake = true},
        {.path = REQUESTS, .open = open_silent, .handshake = true}};
    struct rpc_server_config config = {.listen = "127.0.0.1:0",
                                       .identity = {.cluster_id = NODE_CLUSTER, .node_id = 4}};
    struct rpc_server *silent = rpc_server_new(loop, &config);
    struct buf error = {0}, address = {0};
    uint32_t opened = 0;
    rpc_server_add(silent, methods, 2, &opened);
    cr_assert_eq(rpc_server_start(silent, &error), STATUS_OK);
    rpc_server_address(silent, &address);
    buf_append_byte(&address, 0);
    introduce_all();
    rpc_node_client_set_address(client, 1, one.address);
    rpc_node_client_set_address(client, 4, (const char *)address.data);
    ECHO_WAIT(loop, router.node_ups[1] == 1 && router.node_ups[4] == 1);
    rpc_node_client_set_address(client, 2, NOBODY);
    uint64_t lost_us = rpc_loop_now_us(loop);
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("ahoy")));
    cr_assert_eq(opened, 2, "it was asked: for its own requests, and once for a relay");
    cr_assert_lt(rpc_loop_now_us(loop) - lost_us, 3000000);
    rpc_server_free(silent);
    buf_done(&address);
}

/* The end of each side is the end of the other, and the router hears of it: the node between goes,
 * the target goes, the router goes. */
Test(rpc_relay, the_end_of_a_side_ends_the_other) {
    lose_two();
    rpc_node_set_address(three.rpc, 2, NOBODY, 0); /* so that it is node 1 */
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("ahoy")));
    cr_assert_eq(relays_open(), 1);
    node_stop(&one);
    ECHO_WAIT(loop, router.node_downs[2] == 1 && sessions_open() == 2 - 1);
    cr_assert_eq(router.node_ups[2], 1);

    rpc_node_set_address(three.rpc, 2, two.address, 0);
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("again")));
    cr_assert_eq(router.node_ups[2], 2);
    cr_assert_eq(relays_open(), 1);
    node_stop(&two);
    ECHO_WAIT(loop, router.node_downs[2] == 2 && relays_open() == 0);

    char address[64];
    (void)snprintf(address, sizeof(address), "%s", two.address);
    two = (struct node){0};
    node_start(loop, &two, 2, address, true);
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("and again")));
    cr_assert_eq(relays_open(), 1);
    rpc_node_client_free(client);
    ECHO_WAIT(loop, relays_open() == 0 && sessions_open() == 0);
    client = rpc_node_client_new(loop);
}

/* A node that goes while a relay is being dialled, and one that goes while it is up and full of
 * messages: nothing is left behind (sanitizers watch). */
Test(rpc_relay, ends_in_the_middle_leave_nothing_behind) {
    static uint8_t frame[100000];
    lose_two();
    uint64_t until_us = rpc_loop_now_us(loop) + 15000000;
    while (relays_open() == 0 && rpc_loop_now_us(loop) < until_us) {
        (void)sent_to_two(SLICE_LITERAL("ahoy")); /* only to have a relay dialled */
        node_turn(loop, 100);
    }
    node_stop(&three);
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("ahoy")));
    for (int i = 0; i < 100; i++)
        cr_assert(sent_to_two(slice_make(frame, sizeof(frame))));
    node_stop(&one);
}

struct late_answer {
    struct range_session *session; /* retained; that of the first frame */
    uint64_t others;               /* frames that came over another one */
};

static void keep_first(void *ctx, struct range_session *session, struct slice frame) {
    struct late_answer *late = ctx;
    if (!late->session) {
        session->retain(session);
        late->session = session;
    } else {
        late->others += late->session != session;
    }
}

/* The direct link comes back: new frames take it, answers to what is under way on the relay still
 * come, and the relay goes a little later. Nobody is told that the node was down: it never was. */
Test(rpc_relay, goes_when_the_direct_link_is_back) {
    struct late_answer late = {0};
    lose_two();
    two.store.echo_requests = false;
    two.store.on_requests = keep_first;
    two.store.on_requests_ctx = &late;
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("by relay")));
    ECHO_WAIT(loop, late.session);
    rpc_node_client_set_address(client, 2, two.address);
    ECHO_WAIT(loop, router.node_ups[2] == 2);
    uint64_t back_us = rpc_loop_now_us(loop);
    cr_assert(sent_to_two(SLICE_LITERAL("direct")));
    ECHO_WAIT(loop, late.others == 1);
    late.session->send(late.session, SLICE_LITERAL("late"));
    ECHO_WAIT(loop, router.replies == 1);
    cr_assert(slice_equal(slice_from_buf(&router.last_reply), SLICE_LITERAL("late")));
    ECHO_WAIT(loop, relays_open() == 0);
    cr_assert_geq(rpc_loop_now_us(loop) - back_us, 1000000);
    cr_assert_eq(router.node_downs[2], 0);
    cr_assert(sent_to_two(SLICE_LITERAL("direct")));
    late.session->release(late.session);
}

/* A relay that lingers and is lost may have had something under way: the router hears that, and
 * that the node is there all the same. */
Test(rpc_relay, a_lost_relay_is_told_beside_a_link, .timeout = 30) {
    lose_two();
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("by relay")));
    rpc_node_client_set_address(client, 2, two.address);
    ECHO_WAIT(loop, router.node_ups[2] == 2);
    node_stop(&three); /* behind node 2, so the first that was asked */
    ECHO_WAIT(loop, router.node_downs[2] == 1);
    cr_assert_eq(router.node_ups[2], 3);
    cr_assert(sent_to_two(SLICE_LITERAL("direct")));
}

/* The direct link is lost once more while the relay lingers: it is in use again, and stays. */
Test(rpc_relay, a_relay_that_lingers_is_used_again) {
    lose_two();
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("by relay")));
    rpc_node_client_set_address(client, 2, two.address);
    ECHO_WAIT(loop, router.node_ups[2] == 2);
    uint64_t replies = router.replies;
    rpc_node_client_set_address(client, 2, NOBODY);
    ECHO_WAIT(loop, router.node_downs[2] == 1);
    cr_assert_eq(router.node_ups[2], 3, "the relay is there");
    cr_assert(sent_to_two(SLICE_LITERAL("by relay again")));
    ECHO_WAIT(loop, router.replies > replies);
    node_turn(loop, 6000000); /* longer than it lingers */
    cr_assert(sent_to_two(SLICE_LITERAL("and again")));
    cr_assert_eq(router.node_downs[2], 1);
}

/* Replies that cannot be read end the relay, as they would end the link. */
Test(rpc_relay, unreadable_replies_end_the_relay) {
    router.answer = STATUS_CORRUPTION;
    lose_two();
    ECHO_WAIT(loop, sent_to_two(SLICE_LITERAL("ahoy")));
    ECHO_WAIT(loop, router.node_downs[2] == 1);
    cr_assert_eq(relays_open() <= 1, true);
}

/* ---- at the node between ---- */

static void name_target(struct rpc_stream *stream, uint8_t version, uint64_t node_id) {
    struct buf name = {0};
    encode_u8(&name, version);
    encode_varint(&name, node_id);
    cr_assert_eq(rpc_frame_send(stream, slice_from_buf(&name)), STATUS_OK);
    buf_done(&name);
}

static struct rpc_stream *dial_relay(struct rpc_client *caller, uint64_t node_id,
                                     struct echo_answer *answer) {
    struct rpc_stream *stream = node_dial_raw(caller, RELAY, &router_identity, 1, answer);
    name_target(stream, 1, node_id);
    return stream;
}

static void assert_closed(struct echo_answer *answer, enum rpc_code code, const char *text) {
    ECHO_WAIT(loop, answer->closed);
    cr_assert_eq(answer->code, code, "%s", answer->text.data);
    cr_assert(strstr((const char *)answer->text.data, text), "%s", answer->text.data);
    cr_assert_eq(answer->messages, 0);
    echo_answer_done(answer);
}

/* Who asks for what cannot be is told, at once. */
Test(rpc_relay, wrong_requests_are_refused) {
    struct rpc_client *caller = rpc_client_new(loop, one.address);
    struct echo_answer answer;
    introduce_all();
    (void)dial_relay(caller, 1, &answer);
    assert_closed(&answer, RPC_INVALID_ARGUMENT, "names another node");
    (void)dial_relay(caller, 0, &answer);
    assert_closed(&answer, RPC_INVALID_ARGUMENT, "names another node");
    (void)dial_relay(caller, 9, &answer);
    assert_closed(&answer, RPC_UNAVAILABLE, "knows no address of node 9");
    struct rpc_stream *stream = node_dial_raw(caller, RELAY, &router_identity, 1, &answer);
    name_target(stream, 2, 2);
    assert_closed(&answer, RPC_INVALID_ARGUMENT, "names another node");
    stream = node_dial_raw(caller, RELAY, &router_identity, 1, &answer);
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("\x0a\x7fgarbage")), STATUS_OK);
    assert_closed(&answer, RPC_INVALID_ARGUMENT, "names another node");
    stream = node_dial_raw(caller, RELAY, &router_identity, 1, &answer);
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("\x0a\2\1\2\x0a\1x")), STATUS_OK);
    assert_closed(&answer, RPC_INVALID_ARGUMENT, "names another node"); /* and says more */
    struct rpc_identity stranger = {.cluster_id = 99};
    (void)node_dial_raw(caller, RELAY, &stranger, 1, &answer);
    assert_closed(&answer, RPC_FAILED_PRECONDITION, "cluster 0000000000000063");
    ECHO_WAIT(loop, relays_open() == 0);
    rpc_client_free(caller);
}

/* One hop, never two, and only to the node that is meant: a node takes no requests for another, and
 * where another node answers at the target's address the relay ends. */
Test(rpc_relay, a_second_hop_is_refused) {
    struct rpc_client *caller = rpc_client_new(loop, one.address);
    struct echo_answer answer;
    introduce_all();
    (void)node_dial_raw(caller, REQUESTS, &router_identity, 2, &answer);
    assert_closed(&answer, RPC_FAILED_PRECONDITION, "wants node 2, this is node 1");
    (void)node_dial_raw(caller, RELAY, &router_identity, 2, &answer);
    assert_closed(&answer, RPC_FAILED_PRECONDITION, "wants node 2, this is node 1");
    rpc_node_set_address(one.rpc, 2, three.address, 0);
    (void)dial_relay(caller, 2, &answer);
    assert_closed(&answer, RPC_UNAVAILABLE, "wants node 2, this is node 3");
    cr_assert_eq(relays_open(), 0);
    cr_assert_eq(sessions_open(), 0);
    rpc_client_free(caller);
}

/* Nothing may be sent before the target is there. */
Test(rpc_relay, frames_before_it_is_up_end_it) {
    struct rpc_client *caller = rpc_client_new(loop, one.address);
    struct echo_answer answer;
    introduce_all();
    struct rpc_stream *stream = dial_relay(caller, 2, &answer);
    cr_assert_eq(rpc_frame_send(stream, SLICE_LITERAL("hasty")), STATUS_OK);
    assert_closed(&answer, RPC_INVALID_ARGUMENT, "before it said");
    cr_assert_eq(atomic_load(&two.store.request_frames), 0);
    rpc_client_free(caller);
}

/* Relays are bounded, and the place of one that ends is free again; who names nobody does not keep
 * its place. */
Test(rpc_relay, relays_are_bounded) {
    struct rpc_client *caller = rpc_client_new(loop, one.address);
    struct echo_answer answers[RPC_NODE_RELAYS_MAX], more;
    introduce_all();
    (void)node_dial_raw(caller, RELAY, &router_identity, 1, &answers[0]);
    for (uint32_t i = 1; i < RPC_NODE_RELAYS_MAX; i++)
        (void)dial_relay(caller, 2, &answers[i]);
    for (uint32_t i = 1; i < RPC_NODE_RELAYS_MAX; i++)
        ECHO_WAIT(loop, answers[i].messages == 1);
    (void)dial_relay(caller, 2, &more);
    assert_closed(&more, RPC_RESOURCE_EXHAUSTED, "64 relays");
    assert_closed(&answers[0], RPC_DEADLINE_EXCEEDED, "within");
    struct rpc_stream *ended = dial_relay(caller, 2, &more);
    ECHO_WAIT(loop, more.messages == 1);
    cr_assert(slice_equal(slice_from_buf(&more.response), SLICE_LITERAL("\x0a\0")));
    rpc_stream_close(ended, RPC_CANCELLED, "enough");
    ECHO_WAIT(loop, more.closed && relays_open() == RPC_NODE_RELAYS_MAX - 1);
    rpc_client_free(caller);
    for (uint32_t i = 1; i < RPC_NODE_RELAYS_MAX; i++)
        echo_answer_done(&answers[i]);
    echo_answer_done(&more);
    ECHO_WAIT(loop, relays_open() == 0 && sessions_open() == 0);
}

/* ---- its queues ---- */

#define CHUNK_BYTES (256u * 1024u)

/* A target that takes what comes when it is told to. */
struct slow_target {
    struct rpc_stream *stream; /* counted */
    uint64_t received, out_of_order;
};

static void slow_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct slow_target *target = ctx;
    struct decoder in;
    struct slice frame;
    cr_assert(rpc_frame_open(message, &in));
    while (rpc_frame_next(&in, &frame)) {
        uint64_t number;
        memcpy(&number, frame.data, 8);
        target->out_of_order += target->received++ != number;
    }
}

static void slow_open(void *ctx, struct rpc_stream *stream) {
    static const struct rpc_stream_events events = {.on_message = slow_message};
    struct slow_target *target = ctx;
    target->stream = rpc_stream_ref(stream);
    rpc_stream_accept(stream, &events, target);
    rpc_stream_hold(stream, true);
}

/* Requests that come faster than the target takes them fill the router's own queue in the end, as
 * they would without a relay: the node between holds little, ends nothing, and loses nothing. */
Test(rpc_relay, a_slow_target_slows_the_router_down) {
    static const struct rpc_method methods[] = {
        {.path = REQUESTS, .open = slow_open, .handshake = true}};
    static uint8_t chunk[CHUNK_BYTES];
    struct slow_target target = {0};
    struct rpc_server_config config = {.listen = "127.0.0.1:0",
                                       .identity = {.cluster_id = NODE_CLUSTER, .node_id = 4}};
    struct rpc_server *server = rpc_server_new(loop, &config);
    struct buf error = {0}, address = {0};
    rpc_server_add(server, methods, 1, &target);
    cr_assert_eq(rpc_server_start(server, &error), STATUS_OK);
    rpc_server_address(server, &address);
    buf_append_byte(&address, 0);
    rpc_node_set_address(one.rpc, 4, (const char *)address.data, 0);

    struct rpc_client *caller = rpc_client_new(loop, one.address);
    struct echo_answer answer = {0};
    struct rpc_open_options options = {.wait_for_ready = true,
                                       .identity = &router_identity,
                                       .to_node = 1,
                                       .stream = {.queue_bytes_max = 2 * CHUNK_BYTES}};
    struct rpc_stream *stream =
        rpc_client_open(caller, RELAY, &options, &echo_client_events, &answer);
    name_target(stream, 1, 4);
    ECHO_WAIT(loop, answer.messages == 1);
    uint64_t sent = 0, busy_us = rpc_loop_now_us(loop);
    while (rpc_loop_now_us(loop) - busy_us < 500000) { /* until nothing has moved for so long */
        memcpy(chunk, &sent, 8);
        enum status status = rpc_frame_send(stream, slice_make(chunk, sizeof(chunk)));
        cr_assert(status == STATUS_OK || status == STATUS_BUSY, "%s", answer.text.data);
        if (status == STATUS_OK) {
            sent++;
            busy_us = rpc_loop_now_us(loop);
        }
        node_turn(loop, 1000);
    }
    /* A quarter of the queue, what the windows of two connections take, and a message or two. */
    cr_assert_lt(sent * CHUNK_BYTES, RPC_RELAY_QUEUE_BYTES_MAX / 4 + 8 * RPC_WINDOW_BYTES);
    cr_assert_gt(sent * CHUNK_BYTES, RPC_RELAY_QUEUE_BYTES_MAX / 4);
    cr_assert_eq(answer.closed, 0);
    rpc_stream_hold(target.stream, false);
    ECHO_WAIT(loop, target.received == sent);
    cr_assert_eq(target.out_of_order, 0);
    for (int i = 0; i < 20; i++, sent++) { /* and it goes on */
        memcpy(chunk, &sent, 8);
        ECHO_WAIT(loop, rpc_frame_send(stream, slice_make(chunk, sizeof(chunk))) == STATUS_OK);
    }
    ECHO_WAIT(loop, target.received == sent);
    rpc_client_free(caller);
    rpc_stream_unref(target.stream);
    rpc_server_free(server);
    buf_done(&address);
    echo_answer_done(&answer);
}

/* The other way: replies that a router does not read wait at the target, which cuts it off when its
 * own bound is reached; the node between holds little. */
Test(rpc_relay, a_router_that_does_not_read_holds_nothing_up_between) {
    static uint8_t chunk[CHUNK_BYTES];
    struct rpc_client *caller = rpc_client_new(loop, one.address);
    struct echo_answer answer;
    uint64_t sent = 0;
    introduce_all();
    two.store.echo_requests = false;
    two.store.keep_session = true;
    struct rpc_stream *stream = dial_relay(caller, 2, &answer);
    ECHO_WAIT(loop, answer.messages == 1);
    cr_assert_eq(rpc_frame_send(stream, SLICE_LITERAL("request")), STATUS_OK);
    ECHO_WAIT(loop, two.store.session);
    rpc_stream_hold(stream, true);
    for (; sent < 2 * RPC_RELAY_QUEUE_BYTES_MAX / CHUNK_BYTES; sent++) {
        two.store.session->send(two.store.session, slice_make(chunk, sizeof(chunk)));
        node_turn(loop, 200);
    }
    node_turn(loop, 300000);
    cr_assert_eq(answer.closed, 0, "%s", answer.text.data);
    uint64_t before = answer.messages;
    cr_assert_leq(before, 1 + 1, "it reads nothing");
    rpc_stream_hold(stream, false);
    ECHO_WAIT(loop, answer.messages == 1 + sent);
    cr_assert_eq(answer.closed, 0);
    rpc_client_free(caller);
    echo_answer_done(&answer);
}
