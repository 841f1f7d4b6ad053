/* The echo server of the tests. */
#include "tests/rpc/echo.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "base/memory.h"

static void echo_unary(void *ctx, struct rpc_call *call, struct slice request) {
    struct echo_server *echo = ctx;
    atomic_store(&echo->last_timeout_us, rpc_call_timeout_us(call));
    rpc_call_reply(call, request);
}

static void echo_hang(void *ctx, struct rpc_call *call, struct slice request) {
    struct echo_server *echo = ctx;
    cr_assert_lt(echo->hanging_count, sizeof(echo->hanging) / sizeof(echo->hanging[0]));
    echo->hanging[echo->hanging_count++] = call;
}

static void server_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct echo_server *echo = ctx;
    atomic_fetch_add(&echo->messages, 1);
    enum status status = rpc_stream_send(stream, message);
    if (status != STATUS_OK)
        rpc_stream_close(stream, RPC_RESOURCE_EXHAUSTED, "the echo's queue: %s",
                         status_text(status));
}

static void server_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct echo_server *echo = ctx;
    atomic_fetch_add(&echo->closed, 1);
}

static const struct rpc_stream_events server_events = {.on_message = server_message,
                                                       .on_close = server_close};

static void echo_open(void *ctx, struct rpc_stream *stream) {
    struct echo_server *echo = ctx;
    atomic_fetch_add(&echo->opened, 1);
    rpc_stream_accept(stream, &server_events, ctx);
}

static void deaf_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct echo_server *echo = ctx;
    static const uint8_t zeros[65536];
    while (rpc_stream_send(stream, slice_make(zeros, sizeof(zeros))) == STATUS_OK)
        atomic_fetch_add(&echo->flood_sent, 1);
    rpc_stream_close(stream, RPC_RESOURCE_EXHAUSTED, "the client does not read");
}

static const struct rpc_stream_events deaf_events = {.on_message = deaf_message,
                                                     .on_close = server_close};

static void deaf_open(void *ctx, struct rpc_stream *stream) {
    rpc_stream_accept(stream, &deaf_events, ctx);
}

static const struct rpc_method echo_methods[] = {
    {.path = ECHO_UNARY, .unary = echo_unary},
    {.path = ECHO_HANG, .unary = echo_hang},
    {.path = ECHO_STREAM, .open = echo_open},
    {.path = ECHO_MERGED, .open = echo_open, .stream = {.merge = true}},
    {.path = ECHO_INTERNAL, .open = echo_open, .handshake = true},
    {.path = ECHO_DEAF, .open = deaf_open, .stream = {.queue_bytes_max = 1024 * 1024}},
};

static void *serve(void *ctx) {
    struct echo_server *echo = ctx;
    rpc_loop_run(echo->loop);
    return NULL;
}

struct echo_server *echo_server_new(const struct rpc_server_config *config) {
    static const struct rpc_server_config any = {.listen = "127.0.0.1:0"};
    struct echo_server *echo = MEMORY_NEW(struct echo_server);
    struct buf error = {0};
    log_set_level(LOG_NONE);
    echo->loop = rpc_loop_new();
    echo->server = rpc_server_new(echo->loop, config ? config : &any);
    rpc_server_add(echo->server, echo_methods, sizeof(echo_methods) / sizeof(echo_methods[0]),
                   echo);
    cr_assert_eq(rpc_server_start(echo->server, &error), STATUS_OK, "%.*s", (int)error.len,
                 (const char *)error.data);
    buf_done(&error);
    snprintf(echo->address, sizeof(echo->address), "127.0.0.1:%u", rpc_server_port(echo->server));
    cr_assert_eq(pthread_create(&echo->thread, NULL, serve, echo), 0);
    return echo;
}

void echo_server_free(struct echo_server *echo) {
    rpc_loop_stop(echo->loop);
    cr_assert_eq(pthread_join(echo->thread, NULL), 0);
    rpc_server_free(echo->server);
    for (size_t i = 0; i < echo->hanging_count; i++)
        rpc_call_reply(echo->hanging[i], SLICE_EMPTY);
    rpc_loop_free(echo->loop);
    memory_free(echo);
}

/* ---- the client's side ---- */

static void keep_status(struct echo_answer *answer, const struct rpc_status *status) {
    answer->code = status->code;
    buf_assign(&answer->text, status->text);
    buf_append_byte(&answer->text, '\0');
    answer->done = true;
}

void echo_on_response(void *ctx, const struct rpc_status *status, struct slice response) {
    struct echo_answer *answer = ctx;
    cr_assert(!answer->done, "answered twice");
    keep_status(answer, status);
    buf_assign(&answer->response, response);
}

static void client_open(void *ctx, struct rpc_stream *stream) {
    struct echo_answer *answer = ctx;
    answer->opened++;
}

static void client_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct echo_answer *answer = ctx;
    answer->messages++;
    buf_assign(&answer->response, message);
}

static void client_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct echo_answer *answer = ctx;
    cr_assert_eq(answer->closed, 0, "closed twice");
    answer->closed++;
    keep_status(answer, status);
}

const struct rpc_stream_events echo_client_events = {
    .on_open = client_open, .on_message = client_message, .on_close = client_close};

void echo_answer_done(struct echo_answer *answer) {
    buf_done(&answer->text);
    buf_done(&answer->response);
    *answer = (struct echo_answer){0};
}

void echo_call(struct rpc_loop *loop, struct rpc_client *client, const char *method,
               struct slice request, uint64_t timeout_us, struct echo_answer *ret_answer) {
    struct rpc_call_options options = {.timeout_us = timeout_us, .wait_for_ready = true};
    *ret_answer = (struct echo_answer){0};
    rpc_client_call(client, method, request, &options, echo_on_response, ret_answer);
    cr_assert(!ret_answer->done, "answered before the call returned");
    ECHO_WAIT(loop, ret_answer->done);
}
