/* Timestamps for a node's workers: one stream to the leading member, kept up.
 *
 * A worker's ask goes out on the worker's own thread: no detour over the loop. Asks that meet a
 * busy stream are joined by it into one message (rpc/stream.h, "merging"). Each worker has at most
 * one ask outstanding; when the stream breaks, or the member refuses, it is asked again under a new
 * number, and an answer to the old number is ignored: it was for timestamps that nobody used. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "rpc/placement_client_internal.h"

/* An ask's id: number ‖ worker. */
#define WORKER_BITS 8u
_Static_assert(PLACEMENT_CLIENT_WORKERS_MAX <= 1u << WORKER_BITS, "the worker fits in the id");

/* The mutex is held. A stream that takes nothing is about to close, and everything is asked again
 * on the next one. */
static void send_ask(struct placement_oracle *oracle, uint32_t worker) {
    struct placement_ask *ask = &oracle->asks[worker];
    if (!oracle->stream) return;
    ask->number = ++oracle->number;
    Flotilla__V1__TimestampAsk message = FLOTILLA__V1__TIMESTAMP_ASK__INIT;
    message.id = ask->number << WORKER_BITS | worker;
    message.count = ask->count;
    Flotilla__V1__TimestampAsk *asks[1] = {&message};
    Flotilla__V1__TimestampRequest request = FLOTILLA__V1__TIMESTAMP_REQUEST__INIT;
    request.n_asks = 1;
    request.asks = asks;
    if (rpc_stream_send_message(oracle->stream, &request.base))
        rpc_stream_close(oracle->stream, RPC_CANCELLED, "the stream takes no more asks");
}

/* Any thread. */
static void request_timestamps(void *ctx, uint32_t worker, uint32_t count) {
    struct placement_oracle *oracle = &((struct placement_client *)ctx)->oracle;
    ASSERT_CMP(worker, <, PLACEMENT_CLIENT_WORKERS_MAX);
    ASSERT_CMP(count, >, 0);
    pthread_mutex_lock(&oracle->mutex);
    ASSERT_CMP(oracle->asks[worker].count, ==, 0);
    /* The store asks again for what did not fit. */
    oracle->asks[worker].count =
        count < PLACEMENT_TIMESTAMPS_MAX ? count : PLACEMENT_TIMESTAMPS_MAX;
    send_ask(oracle, worker);
    pthread_mutex_unlock(&oracle->mutex);
}

struct range_oracle placement_client_oracle(struct placement_client *client) {
    return (struct range_oracle){.ctx = client, .request = request_timestamps};
}

/* ---- the stream: loop thread ---- */

static void ask_later(struct placement_client *client) {
    struct placement_oracle *oracle = &client->oracle;
    if (client->closing) return;
    rpc_timer_start(client->loop, &oracle->timer,
                    rpc_loop_now_us(client->loop) + placement_backoff_us(client, &oracle->backoff));
}

/* Whether this grant is the worker's ask's; takes the ask off when it is what was asked for. */
static bool take_ask(struct placement_oracle *oracle, uint32_t worker, uint64_t number,
                     const Flotilla__V1__TimestampGrant *grant, bool *ret_sound) {
    bool current = false;
    if (worker >= PLACEMENT_CLIENT_WORKERS_MAX) return false;
    pthread_mutex_lock(&oracle->mutex);
    struct placement_ask *ask = &oracle->asks[worker];
    if (ask->count && ask->number == number) {
        current = true;
        *ret_sound = grant->count == ask->count && grant->first != 0 &&
                     grant->first <= UINT64_MAX - grant->count;
        if (*ret_sound) ask->count = 0;
    }
    pthread_mutex_unlock(&oracle->mutex);
    return current;
}

/* Told at the first failure and then every ten seconds, until timestamps come again. */
static void complain(struct placement_client *client, const char *code, struct slice reason) {
    struct placement_oracle *oracle = &client->oracle;
    uint64_t now_us = rpc_loop_now_us(client->loop);
    if (oracle->logged_us && now_us - oracle->logged_us < PLACEMENT_CLIENT_LOG_PAUSE_US) return;
    oracle->logged_us = now_us;
    log_warn("placement_waiting", "what=timestamps member=%s code=%s reason=\"%.*s\"",
             rpc_client_address(client->members[client->leader]), code, (int)reason.len,
             (const char *)reason.data);
}

static void on_refused(struct placement_client *client, struct rpc_stream *stream,
                       enum status status) {
    complain(client, status_name(status), slice_from_text(status_text(status)));
    if (status == STATUS_BUSY || client->member_count == 1) {
        ask_later(client);
        return;
    }
    /* on_close opens the next stream, at the next member. */
    client->leader = (client->leader + 1) % client->member_count;
    rpc_stream_close(stream, RPC_CANCELLED, "another member leads");
}

static void on_grants(void *ctx, struct rpc_stream *stream, struct slice bytes) {
    struct placement_client *client = ctx;
    struct placement_oracle *oracle = &client->oracle;
    struct buf error = {0};
    ProtobufCMessage *message;
    arena_reset(&oracle->arena);
    if (rpc_message_unpack_response(&oracle->arena, &flotilla__v1__timestamp_response__descriptor,
                                    bytes, &error, &message)) {
        log_error("placement_timestamps", "error=\"%.*s\"", (int)error.len,
                  (const char *)error.data);
        buf_done(&error);
        rpc_stream_close(stream, RPC_CANCELLED, "unreadable grants");
        return;
    }
    const Flotilla__V1__TimestampResponse *response =
        (const Flotilla__V1__TimestampResponse *)(const void *)message;
    struct range_store *store = client->heartbeats.node.store;
    if (!store) return; /* nobody has asked */
    for (size_t i = 0; i < response->n_grants; i++) {
        const Flotilla__V1__TimestampGrant *grant = response->grants[i];
        if (!grant->count) {
            on_refused(client, stream, placement_status_from_code(grant->code));
            continue;
        }
        uint32_t worker = (uint32_t)(grant->id & ((1u << WORKER_BITS) - 1));
        bool sound = false;
        if (!take_ask(oracle, worker, grant->id >> WORKER_BITS, grant, &sound)) continue;
        if (!sound) {
            complain(client, "INVALID", SLICE_LITERAL("placement granted what was not asked for"));
            ask_later(client);
            continue;
        }
        oracle->backoff = (struct placement_backoff){0};
        if (oracle->logged_us) log_info("placement_back", "what=timestamps");
        oracle->logged_us = 0;
        range_store_timestamps(store, worker, grant->first, grant->count);
    }
}

static void on_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct placement_client *client = ctx;
    struct placement_oracle *oracle = &client->oracle;
    pthread_mutex_lock(&oracle->mutex);
    if (oracle->stream == stream) oracle->stream = NULL;
    pthread_mutex_unlock(&oracle->mutex);
    if (client->closing) return;
    complain(client, rpc_code_name(status->code), status->text);
    if (status->code == RPC_UNAVAILABLE)
        client->leader = (client->leader + 1) % client->member_count;
    ask_later(client);
}

static void ask_all(struct placement_client *client) {
    struct placement_oracle *oracle = &client->oracle;
    pthread_mutex_lock(&oracle->mutex);
    for (uint32_t worker = 0; worker < PLACEMENT_CLIENT_WORKERS_MAX; worker++) {
        if (oracle->asks[worker].count) send_ask(oracle, worker);
    }
    pthread_mutex_unlock(&oracle->mutex);
}

static void open_stream(struct placement_client *client) {
    static const struct rpc_stream_events events = {.on_message = on_grants, .on_close = on_close};
    struct placement_oracle *oracle = &client->oracle;
    const struct rpc_identity identity = {.cluster_id = client->identity.cluster_id,
                                          .node_id = client->identity.node_id,
                                          .incarnation = client->incarnation};
    const struct rpc_open_options options = {
        .stream = {.merge = true, .queue_bytes_max = 1024 * 1024},
        .identity = &identity,
    };
    struct rpc_stream *stream = rpc_client_open(
        client->members[client->leader], PLACEMENT_METHOD("Timestamps"), &options, &events, client);
    pthread_mutex_lock(&oracle->mutex);
    oracle->stream = stream;
    pthread_mutex_unlock(&oracle->mutex);
}

static void fire(struct rpc_timer *timer) {
    struct placement_client *client = CONTAINER_OF(timer, struct placement_client, oracle.timer);
    if (!client->oracle.stream) open_stream(client);
    ask_all(client);
}

void placement_oracle_init(struct placement_client *client) {
    pthread_mutex_init(&client->oracle.mutex, NULL);
    client->oracle.timer.fire = fire;
}

void placement_oracle_start(struct placement_client *client) {
    if (client->oracle.started) return;
    client->oracle.started = true;
    open_stream(client);
    ask_all(client);
}

void placement_oracle_done(struct placement_client *client) {
    rpc_timer_stop(client->loop, &client->oracle.timer);
    pthread_mutex_destroy(&client->oracle.mutex);
    arena_done(&client->oracle.arena);
}
