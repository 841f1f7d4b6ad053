/* The streams between nodes, and from routers to nodes, over a stand-in for the range store. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "base/memory.h"
#include "rpc/frame.h"
#include "rpc/node_client.h"
#include "rpc/node_status.h"
#include "tests/rpc/nodes.h"

static struct rpc_loop *loop;
static struct node one, two;

static void set_up(void) {
    log_set_level(LOG_NONE);
    loop = rpc_loop_new();
    node_start(loop, &one, 1, "127.0.0.1:0", true);
    node_start(loop, &two, 2, "127.0.0.1:0", true);
}

static void tear_down(void) {
    node_stop(&one);
    node_stop(&two);
    rpc_loop_free(loop);
}

TestSuite(rpc_node, .init = set_up, .fini = tear_down, .timeout = 60);

static void turn(uint64_t us) {
    node_turn(loop, us);
}

/* Sends until the first frame arrives: what is sent before the stream is up may be lost. */
static void connect_both(struct node *a, struct node *b) {
    node_introduce(a, b);
    uint64_t at_a = atomic_load(&a->store.raft_frames), at_b = atomic_load(&b->store.raft_frames);
    for (int round = 0; round < 2000; round++) {
        bool done_a = atomic_load(&a->store.raft_frames) > at_a;
        bool done_b = atomic_load(&b->store.raft_frames) > at_b;
        if (done_a && done_b) return;
        if (!done_b) a->transport->send_raft(a->transport->ctx, b->id, SLICE_LITERAL("hi"));
        if (!done_a) b->transport->send_raft(b->transport->ctx, a->id, SLICE_LITERAL("hi"));
        turn(2000);
    }
    cr_assert_fail("no stream came up");
}

/* One stream serves both directions, and frames say who sent them. */
Test(rpc_node, raft_frames_pass_both_ways) {
    connect_both(&one, &two);
    cr_assert_eq(atomic_load(&two.store.last_from), 1);
    cr_assert_eq(atomic_load(&one.store.last_from), 2);
    cr_assert(slice_equal(slice_from_buf(&two.store.last_frame), SLICE_LITERAL("hi")));
}

/* Snapshots have a stream of their own. */
Test(rpc_node, snapshot_frames_pass_both_ways) {
    node_introduce(&one, &two);
    for (int round = 0; round < 2000 && !(atomic_load(&one.store.snapshot_frames) &&
                                          atomic_load(&two.store.snapshot_frames));
         round++) {
        one.transport->send_snapshot(one.transport->ctx, 2, SLICE_LITERAL("chunk"));
        two.transport->send_snapshot(two.transport->ctx, 1, SLICE_LITERAL("ack"));
        turn(2000);
    }
    cr_assert(slice_equal(slice_from_buf(&two.store.last_frame), SLICE_LITERAL("chunk")));
    cr_assert(slice_equal(slice_from_buf(&one.store.last_frame), SLICE_LITERAL("ack")));
    cr_assert_eq(atomic_load(&one.store.raft_frames) + atomic_load(&two.store.raft_frames), 0);
}

#define VOLUME 20000u

struct volume {
    pthread_t thread;
    struct node *from;
    uint64_t to;
};

static void *send_volume(void *ctx) {
    struct volume *volume = ctx;
    const struct range_transport *transport = volume->from->transport;
    uint8_t frame[300] = {0};
    for (uint64_t i = 0; i < VOLUME; i++) {
        memcpy(frame, &i, 8);
        transport->send_raft(transport->ctx, volume->to, slice_make(frame, 8 + (size_t)(i % 292)));
    }
    return NULL;
}

/* Volume from worker threads, both ways at once: complete and in order. */
Test(rpc_node, keeps_order_at_volume_from_other_threads) {
    connect_both(&one, &two);
    uint64_t at_one = atomic_load(&one.store.raft_frames);
    uint64_t at_two = atomic_load(&two.store.raft_frames);
    struct volume volumes[2] = {{.from = &one, .to = 2}, {.from = &two, .to = 1}};
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&volumes[i].thread, NULL, send_volume, &volumes[i]), 0);
    ECHO_WAIT(loop, atomic_load(&one.store.raft_frames) == at_one + VOLUME &&
                        atomic_load(&two.store.raft_frames) == at_two + VOLUME);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(volumes[i].thread, NULL), 0);
    cr_assert_eq(atomic_load(&one.store.out_of_order), 0);
    cr_assert_eq(atomic_load(&two.store.out_of_order), 0);
}

/* A node that goes and comes back: the other is told at once, and traffic resumes both ways,
 * whichever of the two dials. */
Test(rpc_node, restarted_peer_is_found_again) {
    struct node *restarted[] = {&two, &one};
    connect_both(&one, &two);
    for (int round = 0; round < 2; round++) {
        struct node *goes = restarted[round], *stays = goes == &one ? &two : &one;
        char address[64];
        (void)snprintf(address, sizeof(address), "%s", goes->address);
        uint64_t id = goes->id;
        uint64_t before = atomic_load(&stays->store.unreachables);
        node_stop(goes);
        ECHO_WAIT(loop, atomic_load(&stays->store.unreachables) > before);
        cr_assert_eq(atomic_load(&stays->store.last_unreachable), id);
        *goes = (struct node){0};
        node_start(loop, goes, id, address, true);
        connect_both(&one, &two);
    }
}

/* A peer that dials again has given up its old stream: frames must go to the new one. */
Test(rpc_node, newer_stream_replaces_the_older) {
    struct rpc_identity self = {.cluster_id = NODE_CLUSTER, .node_id = 1};
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct echo_answer older, newer;
    (void)node_dial_raw(client, "/flotilla.v1.Node/Raft", &self, 2, &older);
    ECHO_WAIT(loop, older.opened);
    (void)node_dial_raw(client, "/flotilla.v1.Node/Raft", &self, 2, &newer);
    ECHO_WAIT(loop, newer.opened && older.closed);
    cr_assert_eq(older.code, RPC_ABORTED);
    two.transport->send_raft(two.transport->ctx, 1, SLICE_LITERAL("to the new one"));
    ECHO_WAIT(loop, newer.messages == 1);
    cr_assert_eq(older.messages, 0);
    cr_assert_eq(atomic_load(&two.store.unreachables), 0);
    rpc_client_free(client);
    echo_answer_done(&older);
    echo_answer_done(&newer);
}

/* Of two processes of one directory only the newest may vote: the older one is refused from the
 * moment that the newer one is known, from itself or from placement, and what it still says is
 * lost.
 */
Test(rpc_node, only_the_newest_process_of_a_peer_is_heard) {
    struct rpc_identity older = {.cluster_id = NODE_CLUSTER, .node_id = 1, .incarnation = 5};
    struct rpc_identity newer = {.cluster_id = NODE_CLUSTER, .node_id = 1, .incarnation = 6};
    static const char raft[] = "/flotilla.v1.Node/Raft";
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct echo_answer first, second, third;
    struct rpc_stream *stream = node_dial_raw(client, raft, &older, 2, &first);
    ECHO_WAIT(loop, first.opened);
    cr_assert_eq(rpc_frame_send(stream, SLICE_LITERAL("heard")), STATUS_OK);
    ECHO_WAIT(loop, atomic_load(&two.store.raft_frames) == 1);
    (void)node_dial_raw(client, "/flotilla.v1.Node/Snapshot", &newer, 2, &second);
    ECHO_WAIT(loop, second.opened && first.closed);
    cr_assert_eq(first.code, RPC_FAILED_PRECONDITION, "whichever kind of stream told");
    echo_answer_done(&first);
    (void)node_dial_raw(client, raft, &older, 2, &first);
    ECHO_WAIT(loop, first.closed);
    cr_assert_eq(first.code, RPC_FAILED_PRECONDITION);
    cr_assert(strstr((const char *)first.text.data, "another process has registered as node 1"));
    rpc_node_set_address(two.rpc, 1, one.address, 7);
    ECHO_WAIT(loop, second.closed);
    cr_assert_eq(second.code, RPC_FAILED_PRECONDITION, "placement knows a newer one still");
    (void)node_dial_raw(client, raft, &newer, 2, &third);
    ECHO_WAIT(loop, third.closed);
    cr_assert_eq(third.code, RPC_FAILED_PRECONDITION);
    rpc_client_free(client);
    echo_answer_done(&first);
    echo_answer_done(&second);
    echo_answer_done(&third);
}

/* The same when this side dials: an older process that answers there is not spoken to. */
Test(rpc_node, an_older_process_that_answers_is_not_heard) {
    rpc_node_set_address(one.rpc, 2, two.address, 9);
    for (int i = 0; i < 20; i++) {
        bool never = false;
        (void)rpc_loop_run_until(loop, &never, 20000); /* only the time counts */
        two.transport->send_raft(two.transport->ctx, 1, SLICE_LITERAL("of an older process"));
    }
    cr_assert_eq(atomic_load(&one.store.raft_frames), 0);
}

static void assert_refused(struct rpc_client *client, const char *method, uint64_t cluster_id,
                           uint64_t node_id, enum rpc_code code, const char *text) {
    struct rpc_identity identity = {.cluster_id = cluster_id, .node_id = node_id};
    struct echo_answer answer;
    (void)node_dial_raw(client, method, &identity, 0, &answer);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, code, "%s: %s", method, answer.text.data);
    cr_assert(strstr((const char *)answer.text.data, text), "%s", answer.text.data);
    echo_answer_done(&answer);
}

/* Who may not speak here is told why. */
Test(rpc_node, wrong_callers_are_refused) {
    struct rpc_client *client = rpc_client_new(loop, two.address);
    static const char raft[] = "/flotilla.v1.Node/Raft";
    static const char requests[] = "/flotilla.v1.Node/Requests";
    assert_refused(client, raft, NODE_CLUSTER, 3, RPC_FAILED_PRECONDITION, "lower id dials");
    assert_refused(client, raft, NODE_CLUSTER, 0, RPC_FAILED_PRECONDITION, "not a node");
    assert_refused(client, raft, NODE_CLUSTER, 2, RPC_FAILED_PRECONDITION, "data directory");
    assert_refused(client, raft, 99, 1, RPC_FAILED_PRECONDITION, "cluster 0000000000000063");
    assert_refused(client, requests, 99, 0, RPC_FAILED_PRECONDITION, "cluster 0000000000000063");
    rpc_client_free(client);
    struct node young = {0};
    node_start(loop, &young, 9, "127.0.0.1:0", false);
    client = rpc_client_new(loop, young.address);
    assert_refused(client, requests, NODE_CLUSTER, 0, RPC_UNAVAILABLE, "starting up");
    rpc_client_free(client);
    node_stop(&young);
}

/* What breaks protocol loses its stream, and nothing else. */
Test(rpc_node, corrupt_frames_close_the_stream) {
    struct rpc_identity self = {.cluster_id = NODE_CLUSTER, .node_id = 1};
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct echo_answer answer;
    struct rpc_stream *stream = node_dial_raw(client, "/flotilla.v1.Node/Raft", &self, 2, &answer);
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("\x0a\x7fgarbage")), STATUS_OK);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_INVALID_ARGUMENT, "%s", answer.text.data);
    echo_answer_done(&answer);
    two.store.answer = STATUS_CORRUPTION;
    stream = node_dial_raw(client, "/flotilla.v1.Node/Requests", &self, 2, &answer);
    cr_assert_eq(rpc_frame_send(stream, SLICE_LITERAL("the store will not like it")), STATUS_OK);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_INVALID_ARGUMENT, "%s", answer.text.data);
    echo_answer_done(&answer);
    rpc_client_free(client);
    two.store.answer = STATUS_OK;
    connect_both(&one, &two);
}

/* A message of frames without number would keep the loop busy with nothing: it is none. */
Test(rpc_node, too_many_frames_in_a_message_close_the_stream) {
    static const char *const methods[] = {"/flotilla.v1.Node/Raft", "/flotilla.v1.Node/Requests"};
    for (int i = 0; i < 2; i++) {
        struct rpc_identity caller = {.cluster_id = NODE_CLUSTER, .node_id = i == 0 ? 1 : 0};
        struct rpc_client *client = rpc_client_new(loop, two.address);
        struct echo_answer answer;
        struct buf message = {0};
        struct rpc_stream *stream = node_dial_raw(client, methods[i], &caller, 2, &answer);
        for (int frames = 0; frames < 1025; frames++)
            buf_append(&message, SLICE_LITERAL("\x0a\1x"));
        uint64_t before =
            atomic_load(&two.store.raft_frames) + atomic_load(&two.store.request_frames);
        cr_assert_eq(rpc_stream_send(stream, slice_from_buf(&message)), STATUS_OK);
        ECHO_WAIT(loop, answer.closed);
        cr_assert_eq(answer.code, RPC_INVALID_ARGUMENT, "%s", answer.text.data);
        cr_assert_eq(atomic_load(&two.store.raft_frames) + atomic_load(&two.store.request_frames),
                     before);
        buf_done(&message);
        rpc_client_free(client);
        echo_answer_done(&answer);
    }
}

/* What a worker finds wrong with a peer's messages ends their stream, whoever has dialled it; it
 * comes back by itself. */
Test(rpc_node, a_refused_peer_loses_its_stream) {
    struct node *nodes[2] = {&one, &two};
    connect_both(&one, &two);
    for (int i = 0; i < 3; i++) {
        uint64_t before = atomic_load(&two.store.raft_frames);
        ECHO_WAIT(loop, (one.transport->send_raft(one.transport->ctx, 2, SLICE_LITERAL("again")),
                         atomic_load(&two.store.raft_frames) > before));
        if (i == 2) break;
        uint64_t lost = atomic_load(&nodes[i]->store.unreachables);
        nodes[i]->transport->refuse(nodes[i]->transport->ctx, i == 0 ? 2 : 1);
        ECHO_WAIT(loop, atomic_load(&nodes[i]->store.unreachables) > lost);
    }
}

/* Frames to a peer that is away are dropped, and reported, but not for each frame. */
Test(rpc_node, drops_are_reported_at_a_bounded_rate) {
    char nowhere[] = "127.0.0.1:1";
    rpc_node_set_address(one.rpc, 5, nowhere, 0);
    uint64_t before_us = rpc_loop_now_us(loop);
    for (int i = 0; i < 1000; i++)
        one.transport->send_raft(one.transport->ctx, 5, SLICE_LITERAL("lost"));
    uint64_t took_us = rpc_loop_now_us(loop) - before_us;
    cr_assert_geq(atomic_load(&one.store.unreachables), 1);
    cr_assert_leq(atomic_load(&one.store.unreachables), 1 + took_us / 100000);
    cr_assert_eq(atomic_load(&one.store.last_unreachable), 5);
    one.transport->send_raft(one.transport->ctx, 6, SLICE_LITERAL("to a node nobody knows"));
}

/* ---- routers ---- */

/* A mailbox that is full is answered BUSY, call by call, with a pause named. */
Test(rpc_node, full_mailbox_is_answered_busy) {
    struct rpc_identity router = {.cluster_id = NODE_CLUSTER};
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct echo_answer answer;
    two.store.answer = STATUS_BUSY;
    struct rpc_stream *stream =
        node_dial_raw(client, "/flotilla.v1.Node/Requests", &router, 2, &answer);
    cr_assert_eq(rpc_frame_send(stream, SLICE_LITERAL("request")), STATUS_OK);
    ECHO_WAIT(loop, answer.messages == 1);
    cr_assert_eq(answer.response.len, 7); /* tag, length, 'B' and the pause */
    cr_assert_eq(answer.response.data[2], 'B');
    cr_assert_eq(answer.closed, 0);
    rpc_client_free(client);
    echo_answer_done(&answer);
}

static void *answer_later(void *ctx) {
    struct range_session *session = ctx;
    for (int i = 0; i < 1000; i++)
        session->send(session, SLICE_LITERAL("late answer"));
    session->release(session);
    return NULL;
}

/* A worker may answer long after the router has gone: nothing happens, nothing leaks. */
Test(rpc_node, session_outlives_its_stream) {
    struct rpc_identity router = {.cluster_id = NODE_CLUSTER};
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct echo_answer answer;
    pthread_t thread;
    two.store.keep_session = true;
    struct rpc_stream *stream =
        node_dial_raw(client, "/flotilla.v1.Node/Requests", &router, 2, &answer);
    cr_assert_eq(rpc_frame_send(stream, SLICE_LITERAL("request")), STATUS_OK);
    ECHO_WAIT(loop, two.store.session);
    struct range_session *session = two.store.session;
    two.store.session = NULL; /* The thread has its reference now. */
    cr_assert_eq(pthread_create(&thread, NULL, answer_later, session), 0);
    turn(1000);
    rpc_client_free(client);
    turn(20000);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    echo_answer_done(&answer);
}

/* A router that does not read its replies is cut off when the queue's bound is reached. */
Test(rpc_node, router_that_does_not_read_is_cut_off) {
    struct rpc_identity router = {.cluster_id = NODE_CLUSTER};
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct echo_answer answer;
    size_t size = 1024 * 1024, sent = 0;
    uint8_t *bytes = memory_zalloc(size);
    two.store.keep_session = true;
    struct rpc_stream *stream =
        node_dial_raw(client, "/flotilla.v1.Node/Requests", &router, 2, &answer);
    cr_assert_eq(rpc_frame_send(stream, SLICE_LITERAL("request")), STATUS_OK);
    ECHO_WAIT(loop, two.store.session);
    /* The loop stands still meanwhile, so nothing is read. */
    for (; sent < 100; sent++)
        two.store.session->send(two.store.session, slice_make(bytes, size));
    ECHO_WAIT(loop, answer.closed);
    cr_assert_lt(answer.messages, 65);
    memory_free(bytes);
    rpc_client_free(client);
    echo_answer_done(&answer);
}

/* Operators read the metrics without a handshake. */
Test(rpc_node, status_has_metrics) {
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct echo_answer answer;
    echo_call(loop, client, "/flotilla.v1.Node/Status", SLICE_EMPTY, 5000000, &answer);
    cr_assert_eq(answer.code, RPC_OK, "%s", answer.text.data);
    cr_assert_geq(answer.response.len, 4);
    cr_assert_eq(answer.response.data[0], 0x08); /* cluster id */
    cr_assert_eq(answer.response.data[1], NODE_CLUSTER);
    echo_answer_done(&answer);
    rpc_client_free(client);
}

struct heard_status {
    bool done;
    enum rpc_code code;
    struct rpc_node_status node;
    struct rpc_node_peer peer; /* the first */
    struct rpc_node_replica replica;
};

static void status_heard(void *ctx, const struct rpc_status *status,
                         const struct rpc_node_status *node) {
    struct heard_status *heard = ctx;
    heard->done = true;
    heard->code = status->code;
    if (!node) return;
    heard->node = *node;
    if (node->peer_count > 0) heard->peer = node->peers[0];
    if (node->replica_count > 0) heard->replica = node->replicas[0];
}

static void known_facts(void *ctx, struct rpc_node_facts *ret_facts) {
    *ret_facts = (struct rpc_node_facts){.state = RPC_NODE_STOPPING,
                                         .serves_clients = true,
                                         .placement_answered_us = *(const uint64_t *)ctx,
                                         .disk_bytes = 1000,
                                         .disk_free_bytes = 10};
}

/* Protects the only status that there is while placement is away: what the node knows comes as it
 * is, and what it does not know is told apart from nought. */
Test(rpc_node, says_what_it_knows) {
    struct rpc_client *client = rpc_client_new(loop, two.address);
    struct heard_status heard = {0};
    uint64_t answered_us = 0;
    rpc_node_set_facts(two.rpc, known_facts, &answered_us);
    rpc_node_set_address(two.rpc, 1, "127.0.0.1:1", 0);
    rpc_node_status_ask(client, false, 5000000, status_heard, &heard);
    ECHO_WAIT(loop, heard.done);
    cr_assert_eq(heard.code, RPC_OK);
    cr_assert(heard.node.node_id == 2 && heard.node.cluster_id == NODE_CLUSTER);
    cr_assert(heard.node.state == RPC_NODE_STOPPING && heard.node.serves_clients);
    cr_assert_eq(heard.node.placement_answered_ms, UINT64_MAX, "never");
    cr_assert(heard.node.disk_bytes == 1000 && heard.node.disk_free_bytes == 10);
    cr_assert(heard.node.peer_count == 1 && heard.peer.node_id == 1);
    cr_assert_eq(heard.peer.hearing, RANGE_HEARING_UNKNOWN);
    cr_assert_eq(heard.node.replica_count, 1);
    cr_assert(heard.replica.range_id == 7 && heard.replica.leads && heard.replica.term == 5);
    cr_assert(heard.replica.commit_index == 100 && heard.replica.applied_index == 99);
    cr_assert(heard.replica.followers_behind == 40 && heard.replica.data_bytes == 4096);

    heard = (struct heard_status){0};
    two.store.hears_one = RANGE_HEARS_NOT;
    answered_us = 1;
    rpc_node_status_ask(client, false, 5000000, status_heard, &heard);
    ECHO_WAIT(loop, heard.done);
    cr_assert_eq(heard.peer.hearing, RANGE_HEARS_NOT);
    cr_assert_neq(heard.node.placement_answered_ms, UINT64_MAX);

    heard = (struct heard_status){0};
    rpc_node_status_ask(client, true, 5000000, status_heard, &heard);
    ECHO_WAIT(loop, heard.done);
    cr_assert(heard.node.node_id == 2 && heard.node.state == RPC_NODE_STOPPING);
    cr_assert(heard.node.peer_count == 0 && heard.node.replica_count == 0, "brief");
    rpc_client_free(client);
}

/* ---- the router's side ---- */

/* Up, frames both ways, down, up again: the router is told of each. */
Test(rpc_node, node_client_serves_a_router) {
    struct router router = {.next_us = UINT64_MAX};
    struct rpc_node_client *client = rpc_node_client_new(loop);
    char address[64];
    two.store.echo_requests = true;
    rpc_node_client_set_router(client, &router);
    rpc_node_client_set_address(client, 2, two.address);
    cr_assert_eq(rpc_node_client_send(client, 2, SLICE_LITERAL("early")), STATUS_UNAVAILABLE);
    cr_assert_eq(rpc_node_client_set_cluster(client, NODE_CLUSTER), STATUS_OK);
    ECHO_WAIT(loop, router.ups == 1);
    cr_assert_eq(rpc_node_client_send(client, 3, SLICE_LITERAL("x")), STATUS_UNAVAILABLE);
    cr_assert_eq(rpc_node_client_send(client, 2, SLICE_LITERAL("frame")), STATUS_OK);
    ECHO_WAIT(loop, router.replies == 1);
    cr_assert(slice_equal(slice_from_buf(&router.last_reply), SLICE_LITERAL("frame")));
    cr_assert_gt(router.flushes, 0);
    (void)snprintf(address, sizeof(address), "%s", two.address);
    node_stop(&two);
    ECHO_WAIT(loop, router.downs == 1);
    cr_assert_eq(rpc_node_client_send(client, 2, SLICE_LITERAL("late")), STATUS_UNAVAILABLE);
    two = (struct node){0};
    node_start(loop, &two, 2, address, true);
    ECHO_WAIT(loop, router.ups == 2);
    rpc_node_client_free(client);
    buf_done(&router.last_reply);
}

/* Placement that answers for another cluster than before, or for none, is refused: the streams to
 * the nodes stay, and the process lives. */
Test(rpc_node, node_client_serves_one_cluster_for_life) {
    struct router router = {.next_us = UINT64_MAX};
    struct rpc_node_client *client = rpc_node_client_new(loop);
    rpc_node_client_set_router(client, &router);
    cr_assert_eq(rpc_node_client_set_cluster(client, 0), STATUS_MISMATCH);
    cr_assert_eq(rpc_node_client_set_cluster(client, NODE_CLUSTER), STATUS_OK);
    rpc_node_client_set_address(client, 2, two.address);
    ECHO_WAIT(loop, router.ups == 1);
    cr_assert_eq(rpc_node_client_set_cluster(client, NODE_CLUSTER + 1), STATUS_MISMATCH);
    cr_assert_eq(rpc_node_client_set_cluster(client, 0), STATUS_MISMATCH);
    cr_assert_eq(rpc_node_client_set_cluster(client, NODE_CLUSTER), STATUS_OK);
    cr_assert_eq(rpc_node_client_send(client, 2, SLICE_LITERAL("frame")), STATUS_OK);
    rpc_node_client_free(client);
}

/* The router's clock: its tick comes when it asked for it, without other events. */
Test(rpc_node, node_client_ticks_the_router) {
    struct router router = {.next_us = rpc_loop_now_us(loop) + 20000};
    struct rpc_node_client *client = rpc_node_client_new(loop);
    rpc_node_client_set_router(client, &router);
    turn(1000);
    cr_assert_eq(router.ticks, 0);
    ECHO_WAIT(loop, router.ticks == 1);
    turn(30000);
    cr_assert_eq(router.ticks, 1);
    rpc_node_client_free(client);
}

/* Replies that cannot be read end the stream, which comes back. */
Test(rpc_node, node_client_drops_a_node_that_breaks_protocol) {
    struct router router = {.next_us = UINT64_MAX, .answer = STATUS_CORRUPTION};
    struct rpc_node_client *client = rpc_node_client_new(loop);
    two.store.echo_requests = true;
    rpc_node_client_set_router(client, &router);
    cr_assert_eq(rpc_node_client_set_cluster(client, NODE_CLUSTER), STATUS_OK);
    rpc_node_client_set_address(client, 2, two.address);
    ECHO_WAIT(loop, router.ups == 1);
    cr_assert_eq(rpc_node_client_send(client, 2, SLICE_LITERAL("frame")), STATUS_OK);
    ECHO_WAIT(loop, router.downs == 1 && router.ups == 2);
    rpc_node_client_free(client);
    buf_done(&router.last_reply);
}
