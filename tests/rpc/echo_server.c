/* The echo server of the tests: without Criterion, so that the child process has it too. */
#include "tests/rpc/echo.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"

static void echo_unary(void *ctx, struct rpc_call *call, struct slice request) {
    struct echo_server *echo = ctx;
    atomic_store(&echo->last_timeout_us, rpc_call_timeout_us(call));
    rpc_call_reply(call, request);
}

static void echo_hang(void *ctx, struct rpc_call *call, struct slice request) {
    struct echo_server *echo = ctx;
    ASSERT_CMP(echo->hanging_count, <, sizeof(echo->hanging) / sizeof(echo->hanging[0]));
    echo->hanging[echo->hanging_count++] = call;
    atomic_fetch_add(&echo->hung, 1);
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
    {.path = ECHO_HELD,
     .open = echo_open,
     .stream = {.hold_back = true, .queue_bytes_max = 4 * 1024 * 1024}},
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
    echo->health = rpc_health_new(echo->server);
    rpc_health_set(echo->health, "", true);
    rpc_health_set(echo->health, "test.Echo", true);
    echo->reflection = rpc_reflection_new(echo->server);
    if (rpc_server_start(echo->server, &error) != STATUS_OK)
        fatal("echo server: %.*s", (int)error.len, (const char *)error.data);
    buf_done(&error);
    snprintf(echo->address, sizeof(echo->address), "127.0.0.1:%u", rpc_server_port(echo->server));
    int failed = pthread_create(&echo->thread, NULL, serve, echo);
    ASSERT_CMP(failed, ==, 0);
    return echo;
}

void echo_server_free(struct echo_server *echo) {
    rpc_loop_stop(echo->loop);
    int failed = pthread_join(echo->thread, NULL);
    ASSERT_CMP(failed, ==, 0);
    rpc_server_free(echo->server);
    rpc_health_free(echo->health);
    rpc_reflection_free(echo->reflection);
    for (size_t i = 0; i < echo->hanging_count; i++)
        rpc_call_reply(echo->hanging[i], SLICE_EMPTY);
    rpc_loop_free(echo->loop);
    memory_free(echo);
}
