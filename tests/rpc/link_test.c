/* Links: up, down, and up again, whatever happens to the peer. */
#include <criterion/criterion.h>
#include <signal.h>

#include "base/log.h"
#include "tests/rpc/echo.h"

static const struct rpc_identity peer_identity = {.cluster_id = 77, .node_id = 2};
static const struct rpc_identity self_identity = {.cluster_id = 77, .node_id = 1};

static struct echo_child child;
static struct rpc_loop *loop;

struct link_state {
    uint64_t ups, downs, messages;
    enum rpc_code code;
};

static void link_up(void *ctx) {
    ((struct link_state *)ctx)->ups++;
}

static void link_down(void *ctx, const struct rpc_status *reason) {
    struct link_state *state = ctx;
    state->downs++;
    state->code = reason->code;
}

static void link_message(void *ctx, struct slice message) {
    ((struct link_state *)ctx)->messages++;
}

static const struct rpc_link_events events = {
    .on_up = link_up, .on_down = link_down, .on_message = link_message};

static void set_up(void) {
    log_set_level(LOG_NONE);
    echo_child_start(&child, 0, &peer_identity);
    loop = rpc_loop_new();
}

static void tear_down(void) {
    rpc_loop_free(loop);
    echo_child_kill(&child);
}

TestSuite(rpc_link, .init = set_up, .fini = tear_down, .timeout = 60);

static struct rpc_link *open_link(const char *address, const struct rpc_identity *identity,
                                  uint64_t to_node, struct link_state *state) {
    struct rpc_link_config config = {.address = address,
                                     .method = ECHO_INTERNAL,
                                     .identity = *identity,
                                     .to_node = to_node,
                                     .stream = {.merge = true}};
    return rpc_link_new(loop, &config, &events, state);
}

static void turn(uint64_t us) {
    bool never = false;
    (void)rpc_loop_run_until(loop, &never, us);
}

/* The plainest link. */
Test(rpc_link, comes_up_and_carries_messages) {
    struct link_state state = {0};
    struct rpc_link *link = open_link(child.address, &self_identity, 2, &state);
    cr_assert_eq(rpc_link_send(link, SLICE_LITERAL("early")), STATUS_UNAVAILABLE);
    ECHO_WAIT(loop, state.ups == 1);
    cr_assert(rpc_link_up(link));
    cr_assert_eq(rpc_link_send(link, SLICE_LITERAL("ahoy")), STATUS_OK);
    ECHO_WAIT(loop, state.messages == 1);
    rpc_link_free(link);
}

/* A peer that is killed is noticed at once; when it is back, so is the link, well within an
 * election time-out. This is what fail-over times are made of. */
Test(rpc_link, survives_a_killed_and_restarted_peer) {
    struct link_state state = {0};
    struct rpc_link *link = open_link(child.address, &self_identity, 2, &state);
    ECHO_WAIT(loop, state.ups == 1);
    for (uint64_t round = 1; round <= 3; round++) {
        uint64_t killed_us = rpc_loop_now_us(loop);
        echo_child_kill(&child);
        ECHO_WAIT(loop, state.downs == round);
        cr_assert_lt(rpc_loop_now_us(loop) - killed_us, 2000000);
        cr_assert_eq(rpc_link_send(link, SLICE_LITERAL("lost")), STATUS_UNAVAILABLE);
        turn(round * 100000);
        echo_child_start(&child, child.port, &peer_identity);
        uint64_t back_us = rpc_loop_now_us(loop);
        ECHO_WAIT(loop, state.ups == round + 1);
        cr_assert_lt(rpc_loop_now_us(loop) - back_us, 3000000, "took %lu us",
                     rpc_loop_now_us(loop) - back_us);
        cr_assert_eq(rpc_link_send(link, SLICE_LITERAL("again")), STATUS_OK);
        ECHO_WAIT(loop, state.messages == round);
    }
    rpc_link_free(link);
}

/* A peer that is not there yet: the link waits for it without a word, and comes up with it. */
Test(rpc_link, waits_for_a_peer_that_starts_later) {
    struct link_state state = {0};
    echo_child_kill(&child);
    struct rpc_link *link = open_link(child.address, &self_identity, 2, &state);
    turn(400000);
    cr_assert_eq(state.ups + state.downs, 0);
    echo_child_start(&child, child.port, &peer_identity);
    ECHO_WAIT(loop, state.ups == 1);
    rpc_link_free(link);
}

/* A frozen peer keeps its connection: only the pings notice, and must, within their 4 s. */
Test(rpc_link, notices_a_frozen_peer) {
    struct link_state state = {0};
    struct rpc_link *link = open_link(child.address, &self_identity, 2, &state);
    ECHO_WAIT(loop, state.ups == 1);
    cr_assert_eq(kill(child.pid, SIGSTOP), 0);
    uint64_t frozen_us = rpc_loop_now_us(loop);
    while (state.downs == 0 && rpc_loop_now_us(loop) - frozen_us < 9000000)
        turn(10000);
    cr_assert_eq(state.downs, 1);
    cr_assert_eq(kill(child.pid, SIGCONT), 0);
    ECHO_WAIT(loop, state.ups == 2);
    rpc_link_free(link);
}

/* Another cluster's node must never be taken for a peer; nor its messages. */
Test(rpc_link, wrong_cluster_never_comes_up) {
    struct link_state state = {0};
    struct rpc_identity stranger = {.cluster_id = 78, .node_id = 1};
    struct rpc_link *link = open_link(child.address, &stranger, 2, &state);
    turn(400000);
    cr_assert_eq(state.ups + state.downs + state.messages, 0);
    rpc_link_free(link);
}

/* An address that has passed to another node of the cluster is not the node that is meant. */
Test(rpc_link, wrong_node_never_comes_up) {
    struct link_state state = {0};
    struct rpc_link *link = open_link(child.address, &self_identity, 3, &state);
    turn(400000);
    cr_assert_eq(state.ups + state.downs + state.messages, 0);
    rpc_link_free(link);
}

/* A peer that moves is followed. */
Test(rpc_link, follows_a_new_address) {
    struct link_state state = {0};
    struct echo_child second = {0};
    struct rpc_link *link = open_link(child.address, &self_identity, 2, &state);
    ECHO_WAIT(loop, state.ups == 1);
    echo_child_start(&second, 0, &peer_identity);
    rpc_link_set_address(link, second.address);
    ECHO_WAIT(loop, state.ups == 2 && state.downs == 1);
    echo_child_kill(&child);
    cr_assert_eq(rpc_link_send(link, SLICE_LITERAL("ahoy")), STATUS_OK);
    ECHO_WAIT(loop, state.messages == 1);
    rpc_link_free(link);
    echo_child_kill(&second);
}

/* A reset drops the stream, and the link comes back. */
Test(rpc_link, comes_back_after_a_reset) {
    struct link_state state = {0};
    struct rpc_link *link = open_link(child.address, &self_identity, 2, &state);
    ECHO_WAIT(loop, state.ups == 1);
    rpc_link_reset(link, "test");
    ECHO_WAIT(loop, state.ups == 2);
    cr_assert_eq(state.downs, 1);
    cr_assert_eq(state.code, RPC_ABORTED);
    rpc_link_free(link);
}

/* ---- peers that throw each other out ---- */

static void set_up_alone(void) {
    log_set_level(LOG_NONE);
    loop = rpc_loop_new();
}

static void tear_down_alone(void) {
    rpc_loop_free(loop);
}

TestSuite(rpc_link_backoff, .init = set_up_alone, .fini = tear_down_alone, .timeout = 60);

struct thrower {
    uint64_t opened;
    bool throws;
};

static void thrower_message(void *ctx, struct rpc_stream *stream, struct slice message) {}

static const struct rpc_stream_events thrower_events = {.on_message = thrower_message};

static void thrower_open(void *ctx, struct rpc_stream *stream) {
    struct thrower *thrower = ctx;
    thrower->opened++;
    rpc_stream_accept(stream, &thrower_events, thrower);
    if (thrower->throws)
        rpc_stream_close(stream, RPC_INVALID_ARGUMENT, "it cannot read what it is sent");
}

static struct rpc_link *resetting_link;

static void reset_at_once(void *ctx) {
    ((struct link_state *)ctx)->ups++;
    rpc_link_reset(resetting_link, "an older process answers");
}

/* A peer that takes each stream and ends it, and one whose every stream is ended here, are dialled
 * ever more slowly: each dial costs both a connection, their logs two lines, and the range a wake.
 * Had each stream that comes up been a success, there would be a hundred dials in two seconds. */
Test(rpc_link_backoff, what_is_thrown_out_is_dialled_ever_more_slowly) {
    static const struct rpc_method methods[] = {
        {.path = "/test.Thrower/Open", .open = thrower_open, .handshake = true}};
    static const struct rpc_link_events resetting = {
        .on_up = reset_at_once, .on_down = link_down, .on_message = link_message};
    for (int throws = 0; throws < 2; throws++) {
        struct thrower thrower = {.throws = throws};
        struct link_state state = {0};
        struct rpc_server_config config = {.listen = "127.0.0.1:0", .identity = peer_identity};
        struct rpc_server *server = rpc_server_new(loop, &config);
        struct buf error = {0}, address = {0};
        rpc_server_add(server, methods, 1, &thrower);
        cr_assert_eq(rpc_server_start(server, &error), STATUS_OK);
        rpc_server_address(server, &address);
        buf_append_byte(&address, 0);
        struct rpc_link_config link_config = {.address = (const char *)address.data,
                                              .method = "/test.Thrower/Open",
                                              .identity = self_identity,
                                              .to_node = 2};
        resetting_link = rpc_link_new(loop, &link_config, throws ? &events : &resetting, &state);
        turn(2000000);
        cr_assert(thrower.opened >= 4 && thrower.opened <= 20, "%lu dials", thrower.opened);
        cr_assert_leq(state.ups - state.downs, 1);
        rpc_link_free(resetting_link);
        rpc_server_free(server);
        buf_done(&address);
    }
}

/* What a refused caller is told: both ids, and what to do. */
Test(rpc_link, refusal_names_both_clusters) {
    struct rpc_client *client = rpc_client_new(loop, child.address);
    struct rpc_identity stranger = {.cluster_id = 78, .node_id = 1};
    struct rpc_open_options options = {.wait_for_ready = true, .identity = &stranger};
    struct echo_answer answer = {0};
    (void)rpc_client_open(client, ECHO_INTERNAL, &options, &echo_client_events, &answer);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_FAILED_PRECONDITION);
    cr_assert(strstr((const char *)answer.text.data, "cluster 000000000000004e"), "%s",
              answer.text.data);
    cr_assert(strstr((const char *)answer.text.data, "cluster 000000000000004d"), "%s",
              answer.text.data);
    cr_assert(strstr((const char *)answer.text.data, "placement"), "%s", answer.text.data);
    echo_answer_done(&answer);
    options.identity = NULL;
    (void)rpc_client_open(client, ECHO_INTERNAL, &options, &echo_client_events, &answer);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_FAILED_PRECONDITION);
    cr_assert(strstr((const char *)answer.text.data, "did not say"), "%s", answer.text.data);
    echo_answer_done(&answer);
    rpc_client_free(client);
}
