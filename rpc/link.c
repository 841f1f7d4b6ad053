/* Links: a stream to a peer that comes back by itself.
 *
 * States and transitions (loop thread):
 *
 *   DIALLING ──peer took the stream, handshake right──▶ UP
 *       ▲  │ attempt failed                             │ stream lost, or reset
 *       │  ▼                                            ▼
 *     WAITING ◀─────────────────────────────────────────┘
 *       (back-off; then DIALLING)
 *
 * A dial waits for the connection (wait-for-ready) instead of failing at once, because the channel
 * fails calls while it is in its own back-off and would not tell when that is over. While a dial
 * waits, the link itself makes the channel try again, on the link's shorter schedule.
 *
 * Senders on other threads see only `current`, under `lock`: a reference to the stream while UP. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/prng.h"
#include "rpc/client_internal.h"
#include "rpc/metrics.h"

/* A peer that refuses who we are will go on refusing until someone mends the configuration. */
#define LINK_REFUSED_BACKOFF_US 2000000u

enum link_state { LINK_WAITING, LINK_DIALLING, LINK_UP };

struct rpc_link {
    struct rpc_loop *loop;
    struct rpc_link_config config; /* `address` is owned */
    char *address;
    const struct rpc_link_events *events;
    void *ctx;
    struct rpc_client *client;
    enum link_state state;
    struct rpc_stream *stream; /* while DIALLING or UP; not counted: on_close comes first */
    struct rpc_timer timer;    /* WAITING: dial; DIALLING: hurry the channel */
    uint64_t backoff_us;
    uint64_t up_at_us;       /* UP: since when */
    struct prng prng;        /* jitter, so that peers do not dial in step */
    bool redial;             /* the address changed */
    enum rpc_code last_code; /* last failure that was logged; OK: none since the last success */
    pthread_mutex_t lock;
    struct rpc_stream *current; /* guarded by lock; counted; NULL unless UP */
};

static void set_current(struct rpc_link *link, struct rpc_stream *stream) {
    if (stream) rpc_stream_ref(stream);
    int error = pthread_mutex_lock(&link->lock);
    ASSERT_CMP(error, ==, 0);
    struct rpc_stream *before = link->current;
    link->current = stream;
    error = pthread_mutex_unlock(&link->lock);
    ASSERT_CMP(error, ==, 0);
    rpc_stream_unref(before);
}

static struct rpc_stream *get_current(struct rpc_link *link) {
    int error = pthread_mutex_lock(&link->lock);
    ASSERT_CMP(error, ==, 0);
    struct rpc_stream *stream = link->current ? rpc_stream_ref(link->current) : NULL;
    error = pthread_mutex_unlock(&link->lock);
    ASSERT_CMP(error, ==, 0);
    return stream;
}

/* The next pause: between half and all of the present back-off, which doubles. */
static uint64_t next_pause_us(struct rpc_link *link) {
    uint64_t pause_us = prng_between(&link->prng, link->backoff_us / 2, link->backoff_us);
    uint64_t max_us = (uint64_t)RPC_LINK_BACKOFF_MAX_MS * 1000;
    link->backoff_us = link->backoff_us * 2 < max_us ? link->backoff_us * 2 : max_us;
    return pause_us;
}

static void start_timer(struct rpc_link *link, uint64_t pause_us) {
    rpc_timer_start(link->loop, &link->timer, rpc_loop_now_us(link->loop) + pause_us);
}

static void log_failure(struct rpc_link *link, const struct rpc_status *status) {
    if (link->last_code == status->code) return; /* Said already, and nothing has changed. */
    link->last_code = status->code;
    log_warn("rpc_link_down", "to_node=%" PRIu64 " address=%s method=%s code=%s reason=\"%.*s\"",
             link->config.to_node, link->address, link->config.method, rpc_code_name(status->code),
             (int)status->text.len, (const char *)status->text.data);
}

static void link_open(void *ctx, struct rpc_stream *stream) {
    struct rpc_link *link = ctx;
    ASSERT(link->state == LINK_DIALLING && link->stream == stream);
    link->state = LINK_UP;
    link->up_at_us = rpc_loop_now_us(link->loop);
    link->last_code = RPC_OK;
    rpc_timer_stop(link->loop, &link->timer);
    metric_add(&metric_rpc_link_up_total, 1);
    log_info("rpc_link_up", "to_node=%" PRIu64 " address=%s method=%s", link->config.to_node,
             link->address, link->config.method);
    set_current(link, stream);
    link->events->on_up(link->ctx);
}

static void link_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct rpc_link *link = ctx;
    if (link->state == LINK_UP) link->events->on_message(link->ctx, message);
}

/* Whether the peer can be expected to take the next stream for good. It can when the connection
 * broke or the peer stopped; when one of the two ended a young stream for what the other is or
 * said, the next one will soon end alike. */
static bool was_success(const struct rpc_link *link, const struct rpc_status *status) {
    uint64_t lasted_us = rpc_loop_now_us(link->loop) - link->up_at_us;
    return status->code == RPC_UNAVAILABLE || status->code == RPC_CANCELLED ||
           lasted_us >= (uint64_t)RPC_LINK_LASTED_MS * 1000;
}

static void link_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct rpc_link *link = ctx;
    bool was_up = link->state == LINK_UP;
    set_current(link, NULL);
    link->state = LINK_WAITING;
    link->stream = NULL;
    log_failure(link, status);
    bool refused = status->code == RPC_FAILED_PRECONDITION || status->code == RPC_UNIMPLEMENTED;
    if (was_up && was_success(link, status))
        link->backoff_us = (uint64_t)RPC_LINK_BACKOFF_MIN_MS * 1000;
    start_timer(link, refused ? LINK_REFUSED_BACKOFF_US : next_pause_us(link));
    if (!was_up) return;
    metric_add(&metric_rpc_link_down_total, 1);
    link->events->on_down(link->ctx, status); /* Last: it may free the link. */
}

static const struct rpc_stream_events link_stream_events = {
    .on_open = link_open, .on_message = link_message, .on_close = link_closed};

static void dial(struct rpc_link *link) {
    struct rpc_open_options options = {.stream = link->config.stream,
                                       .wait_for_ready = true,
                                       .identity = &link->config.identity,
                                       .to_node = link->config.to_node};
    if (link->redial) {
        rpc_client_free(link->client);
        link->client = rpc_client_new(link->loop, link->address);
        link->redial = false;
    }
    link->state = LINK_DIALLING;
    rpc_client_hurry(link->client);
    link->stream =
        rpc_client_open(link->client, link->config.method, &options, &link_stream_events, link);
    start_timer(link, next_pause_us(link));
}

static void link_timer(struct rpc_timer *timer) {
    struct rpc_link *link = CONTAINER_OF(timer, struct rpc_link, timer);
    if (link->state == LINK_WAITING) {
        dial(link);
        return;
    }
    ASSERT(link->state == LINK_DIALLING);
    bool patient = link->backoff_us == (uint64_t)RPC_LINK_BACKOFF_MAX_MS * 1000;
    static const struct rpc_status nobody = {.code = RPC_UNAVAILABLE,
                                             .text = {(const uint8_t *)"nobody answers there yet",
                                                      sizeof("nobody answers there yet") - 1}};
    if (patient) log_failure(link, &nobody);
    rpc_client_hurry(link->client);
    start_timer(link, next_pause_us(link));
}

struct rpc_link *rpc_link_new(struct rpc_loop *loop, const struct rpc_link_config *config,
                              const struct rpc_link_events *events, void *ctx) {
    ASSERT(rpc_loop_on_thread(loop));
    struct rpc_link *link = MEMORY_NEW(struct rpc_link);
    link->loop = loop;
    link->config = *config;
    link->address = strdup(config->address);
    if (!link->address) fatal("out of memory");
    link->config.address = link->address;
    link->events = events;
    link->ctx = ctx;
    link->timer.fire = link_timer;
    link->backoff_us = (uint64_t)RPC_LINK_BACKOFF_MIN_MS * 1000;
    prng_init(&link->prng, prng_seed_from_system());
    (void)pthread_mutex_init(&link->lock, NULL); /* Cannot fail with default attributes. */
    link->client = rpc_client_new(loop, link->address);
    dial(link);
    return link;
}

void rpc_link_free(struct rpc_link *link) {
    if (!link) return;
    static const struct rpc_stream_events nobody = {0};
    ASSERT(rpc_loop_on_thread(link->loop));
    rpc_timer_stop(link->loop, &link->timer);
    if (link->stream) link->stream->events = &nobody;
    set_current(link, NULL);
    rpc_client_free(link->client);
    (void)pthread_mutex_destroy(&link->lock); /* Nobody sends any more: cannot fail. */
    free(link->address);
    memory_free(link);
}

enum status rpc_link_send_parts(struct rpc_link *link, const struct slice *parts,
                                size_t part_count) {
    struct rpc_stream *stream = get_current(link);
    if (!stream) return STATUS_UNAVAILABLE;
    enum status status = rpc_stream_send_parts(stream, parts, part_count);
    rpc_stream_unref(stream);
    return status;
}

enum status rpc_link_send(struct rpc_link *link, struct slice message) {
    return rpc_link_send_parts(link, &message, 1);
}

bool rpc_link_up(const struct rpc_link *link) {
    struct rpc_stream *stream = get_current((struct rpc_link *)link); /* Only the lock changes. */
    rpc_stream_unref(stream);
    return stream != NULL;
}

uint64_t rpc_link_peer_incarnation(const struct rpc_link *link) {
    ASSERT(rpc_loop_on_thread(link->loop));
    return link->state == LINK_UP ? rpc_stream_peer_incarnation(link->stream) : 0;
}

void rpc_link_reset(struct rpc_link *link, const char *why) {
    ASSERT(rpc_loop_on_thread(link->loop));
    if (link->stream) rpc_stream_close(link->stream, RPC_ABORTED, "%s", why);
}

void rpc_link_drop(struct rpc_link *link, const char *why) {
    struct rpc_stream *stream = get_current(link);
    if (stream) rpc_stream_close(stream, RPC_ABORTED, "%s", why);
    rpc_stream_unref(stream);
}

void rpc_link_set_address(struct rpc_link *link, const char *address) {
    ASSERT(rpc_loop_on_thread(link->loop));
    if (strcmp(link->address, address) == 0) return;
    char *copy = strdup(address);
    if (!copy) fatal("out of memory");
    free(link->address);
    link->address = copy;
    link->config.address = copy;
    link->redial = true;
    link->backoff_us = (uint64_t)RPC_LINK_BACKOFF_MIN_MS * 1000;
    if (link->state == LINK_WAITING)
        start_timer(link, 0);
    else
        rpc_link_reset(link, "the peer has a new address");
}
