/* Unary calls: answers, deadlines, bounds, refusals. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/memory.h"
#include "tests/rpc/echo.h"

static struct echo_server *echo;
static struct rpc_loop *loop;
static struct rpc_client *client;
static struct echo_answer answer;

static void set_up(void) {
    echo = echo_server_new(NULL);
    loop = rpc_loop_new();
    client = rpc_client_new(loop, echo->address);
}

static void tear_down(void) {
    echo_answer_done(&answer);
    rpc_client_free(client);
    rpc_loop_free(loop);
    echo_server_free(echo);
}

TestSuite(rpc_unary, .init = set_up, .fini = tear_down, .timeout = 60);

/* The plainest thing that can work. */
Test(rpc_unary, echoes) {
    echo_call(loop, client, ECHO_UNARY, SLICE_LITERAL("ahoy"), 5000000, &answer);
    cr_assert_eq(answer.code, RPC_OK, "%s", answer.text.data);
    cr_assert(slice_equal(slice_from_buf(&answer.response), SLICE_LITERAL("ahoy")));
}

/* An empty message is a message. */
Test(rpc_unary, echoes_an_empty_message) {
    echo_call(loop, client, ECHO_UNARY, SLICE_EMPTY, 5000000, &answer);
    cr_assert_eq(answer.code, RPC_OK, "%s", answer.text.data);
    cr_assert_eq(answer.response.len, 0);
}

/* The deadline travels: the handler sees what is left of it. */
Test(rpc_unary, deadline_reaches_the_handler) {
    echo_call(loop, client, ECHO_UNARY, SLICE_LITERAL("x"), 3000000, &answer);
    uint64_t left_us = atomic_load(&echo->last_timeout_us);
    /* gRPC sends time-outs with few digits, rounded up by less than 5 %. */
    cr_assert(left_us > 1000000 && left_us <= 3150000, "left: %lu", left_us);
}

/* A handler that never answers must not hold its caller beyond the deadline. */
Test(rpc_unary, deadline_ends_a_call_to_a_frozen_handler) {
    uint64_t before_us = rpc_loop_now_us(loop);
    echo_call(loop, client, ECHO_HANG, SLICE_LITERAL("x"), 100000, &answer);
    uint64_t took_us = rpc_loop_now_us(loop) - before_us;
    cr_assert_eq(answer.code, RPC_DEADLINE_EXCEEDED, "%s", answer.text.data);
    cr_assert(took_us >= 95000 && took_us < 2000000, "took %lu us", took_us);
}

/* A typo in a method's name must be told, not waited for. */
Test(rpc_unary, unknown_method_is_unimplemented) {
    echo_call(loop, client, "/test.Echo/Missing", SLICE_LITERAL("x"), 5000000, &answer);
    cr_assert_eq(answer.code, RPC_UNIMPLEMENTED);
    cr_assert(strstr((const char *)answer.text.data, "/test.Echo/Missing"), "%s", answer.text.data);
}

/* The limit is the documented one, not gRPC's own 4 MiB: both ways. */
Test(rpc_unary, largest_message_passes) {
    uint8_t *bytes = memory_zalloc(RPC_MESSAGE_BYTES_MAX);
    echo_call(loop, client, ECHO_UNARY, slice_make(bytes, RPC_MESSAGE_BYTES_MAX), 10000000,
              &answer);
    cr_assert_eq(answer.code, RPC_OK, "%s", answer.text.data);
    cr_assert_eq(answer.response.len, RPC_MESSAGE_BYTES_MAX);
    memory_free(bytes);
}

/* Too large is told with both sizes before anything is sent, and nothing else breaks. */
Test(rpc_unary, oversized_request_is_refused_with_the_limit) {
    uint8_t *bytes = memory_zalloc(RPC_MESSAGE_BYTES_MAX + 1);
    echo_call(loop, client, ECHO_UNARY, slice_make(bytes, RPC_MESSAGE_BYTES_MAX + 1), 5000000,
              &answer);
    memory_free(bytes);
    cr_assert_eq(answer.code, RPC_RESOURCE_EXHAUSTED);
    cr_assert(strstr((const char *)answer.text.data, "16777217"), "%s", answer.text.data);
    cr_assert(strstr((const char *)answer.text.data, "16777216"), "%s", answer.text.data);
    echo_answer_done(&answer);
    echo_call(loop, client, ECHO_UNARY, SLICE_LITERAL("still here"), 5000000, &answer);
    cr_assert_eq(answer.code, RPC_OK);
}

struct volume {
    uint64_t started, finished, target, failed;
};

static void volume_done(void *ctx, const struct rpc_status *status, struct slice response);

static void volume_start(struct volume *volume) {
    static const struct rpc_call_options options = {.timeout_us = 10000000, .wait_for_ready = true};
    volume->started++;
    rpc_client_call(client, ECHO_UNARY, SLICE_LITERAL("volume"), &options, volume_done, volume);
}

static void volume_done(void *ctx, const struct rpc_status *status, struct slice response) {
    struct volume *volume = ctx;
    volume->finished++;
    if (status->code != RPC_OK || response.len != 6) volume->failed++;
    if (volume->started < volume->target) volume_start(volume);
}

/* Many calls in flight: each is answered once. */
Test(rpc_unary, thousands_of_calls_are_each_answered_once) {
    struct volume volume = {.target = 5000};
    while (volume.started < 64)
        volume_start(&volume);
    ECHO_WAIT(loop, volume.finished == volume.target);
    cr_assert_eq(volume.started, volume.target);
    cr_assert_eq(volume.failed, 0);
}

/* Freeing a client answers what is under way, once, and leaks nothing (sanitizers watch). */
Test(rpc_unary, freeing_the_client_answers_what_is_under_way) {
    struct echo_answer answers[3] = {0};
    struct rpc_call_options options = {.timeout_us = 10000000, .wait_for_ready = true};
    for (size_t i = 0; i < 3; i++)
        rpc_client_call(client, ECHO_HANG, SLICE_LITERAL("x"), &options, echo_on_response,
                        &answers[i]);
    bool never = false;
    (void)rpc_loop_run_until(loop, &never, 50000);
    rpc_client_free(client);
    for (size_t i = 0; i < 3; i++) {
        cr_assert(answers[i].done);
        cr_assert_eq(answers[i].code, RPC_CANCELLED);
        echo_answer_done(&answers[i]);
    }
    client = rpc_client_new(loop, echo->address);
}

/* No peer: an impatient call fails at once, a patient one at its deadline. */
Test(rpc_unary, missing_peer_is_unavailable_or_waited_for) {
    struct rpc_client *lonely = rpc_client_new(loop, "127.0.0.1:1");
    struct rpc_call_options options = {.timeout_us = 4000000};
    rpc_client_call(lonely, ECHO_UNARY, SLICE_LITERAL("x"), &options, echo_on_response, &answer);
    ECHO_WAIT(loop, answer.done);
    cr_assert_eq(answer.code, RPC_UNAVAILABLE);
    echo_answer_done(&answer);
    options = (struct rpc_call_options){.timeout_us = 150000, .wait_for_ready = true};
    rpc_client_call(lonely, ECHO_UNARY, SLICE_LITERAL("x"), &options, echo_on_response, &answer);
    ECHO_WAIT(loop, answer.done);
    cr_assert_eq(answer.code, RPC_DEADLINE_EXCEEDED);
    rpc_client_free(lonely);
}

/* A connection that is merely open must not delay a shutdown: its client need not even listen. */
Test(rpc_unary, server_shutdown_does_not_wait_for_idle_connections) {
    struct echo_server *doomed = echo_server_new(NULL);
    struct rpc_client *idle = rpc_client_new(loop, doomed->address);
    echo_call(loop, idle, ECHO_UNARY, SLICE_LITERAL("x"), 5000000, &answer);
    uint64_t before_us = rpc_loop_now_us(loop);
    echo_server_free(doomed);
    uint64_t took_us = rpc_loop_now_us(loop) - before_us;
    cr_assert_lt(took_us, 1000000, "shutdown took %lu us", took_us);
    rpc_client_free(idle);
}

static void reply_at_once(void *ctx, struct rpc_call *call, struct slice request) {
    rpc_call_reply(call, request);
}

/* A peer that stops takes the calls with it that it has not answered: what may run twice is asked
 * again where it comes back, what may not ends, with a code that promises nothing. */
Test(rpc_unary, a_stopped_peer_is_asked_again_if_that_does_no_harm) {
    static const struct rpc_method methods[] = {{.path = ECHO_HANG, .unary = reply_at_once}};
    struct echo_server *doomed = echo_server_new(NULL);
    struct rpc_client *caller = rpc_client_new(loop, doomed->address);
    struct rpc_call_options options = {.timeout_us = 10000000, .wait_for_ready = true};
    struct echo_answer once = {0}, again = {0};
    char address[64];
    (void)snprintf(address, sizeof(address), "%s", doomed->address);
    rpc_client_call(caller, ECHO_HANG, SLICE_LITERAL("once"), &options, echo_on_response, &once);
    options.retry = true;
    rpc_client_call(caller, ECHO_HANG, SLICE_LITERAL("again"), &options, echo_on_response, &again);
    ECHO_WAIT(loop, atomic_load(&doomed->hung) == 2);
    echo_server_free(doomed);
    ECHO_WAIT(loop, once.done);
    cr_assert_eq(once.code, RPC_CANCELLED, "%s", once.text.data);

    struct rpc_server_config config = {.listen = address};
    struct rpc_server *successor = rpc_server_new(loop, &config);
    struct buf error = {0};
    rpc_server_add(successor, methods, 1, NULL);
    cr_assert_eq(rpc_server_start(successor, &error), STATUS_OK);
    ECHO_WAIT(loop, again.done);
    cr_assert_eq(again.code, RPC_OK, "%s", again.text.data);
    rpc_client_free(caller);
    rpc_server_free(successor);
    echo_answer_done(&once);
    echo_answer_done(&again);
}

/* The bound on calls being served is kept, and said. */
Test(rpc_unary, too_many_calls_are_refused) {
    struct rpc_server_config config = {.listen = "127.0.0.1:0", .calls_max = 2};
    struct echo_server *small = echo_server_new(&config);
    struct rpc_client *crowd = rpc_client_new(loop, small->address);
    struct echo_answer answers[3] = {0};
    struct rpc_call_options options = {.timeout_us = 3000000, .wait_for_ready = true};
    for (size_t i = 0; i < 3; i++)
        rpc_client_call(crowd, ECHO_HANG, SLICE_LITERAL("x"), &options, echo_on_response,
                        &answers[i]);
    ECHO_WAIT(loop, answers[0].done || answers[1].done || answers[2].done);
    size_t refused = 0;
    for (size_t i = 0; i < 3; i++)
        refused += answers[i].done && answers[i].code == RPC_RESOURCE_EXHAUSTED &&
                   strstr((const char *)answers[i].text.data, "at most 2");
    cr_assert_eq(refused, 1);
    rpc_client_free(crowd);
    for (size_t i = 0; i < 3; i++)
        echo_answer_done(&answers[i]);
    echo_server_free(small);
}

/* What a call held of the bound on bytes is given back when it is answered, refused or not: else a
 * server is busy for ever after the first few hundred megabytes. */
Test(rpc_unary, request_bytes_are_given_back) {
    struct rpc_server_config config = {.listen = "127.0.0.1:0", .request_bytes_max = 3000};
    struct echo_server *small = echo_server_new(&config);
    struct rpc_client *patient = rpc_client_new(loop, small->address);
    uint8_t bytes[2000] = {0};
    for (int i = 0; i < 20; i++) {
        struct echo_answer one;
        echo_call(loop, patient, ECHO_UNARY, slice_make(bytes, sizeof(bytes)), 5000000, &one);
        cr_assert_eq(one.code, RPC_OK, "call %d: %s", i, one.text.data);
        echo_answer_done(&one);
    }
    struct echo_answer large;
    uint8_t more[3001] = {0};
    echo_call(loop, patient, ECHO_UNARY, slice_make(more, sizeof(more)), 5000000, &large);
    cr_assert_eq(large.code, RPC_RESOURCE_EXHAUSTED);
    cr_assert(strstr((const char *)large.text.data, "3000 bytes"), "%s", large.text.data);
    echo_answer_done(&large);
    rpc_client_free(patient);
    echo_server_free(small);
}
