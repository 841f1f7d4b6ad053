#include "rpc/relay.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/connection.h"
#include "rpc/frame.h"
#include "rpc/metrics.h"

enum relay_state { RELAY_IDLE, RELAY_DIALLING, RELAY_UP, RELAY_LINGERING };

struct rpc_relay {
    struct rpc_loop *loop;
    struct rpc_identity identity;
    uint64_t to_node;
    const struct rpc_relay_events *events;
    void *ctx;
    enum relay_state state;
    struct rpc_connection *connection; /* NULL: IDLE */
    uint64_t via_node;                 /* the last that was tried; 0: none */
    uint32_t tries;                    /* of this round */
    uint64_t next_round_us;            /* none begins before */
    struct rpc_timer timer;            /* DIALLING: patience; LINGERING: its end */
};

void rpc_relay_encode_target(struct buf *out, uint64_t node_id) {
    encode_u8(out, RPC_RELAY_VERSION);
    encode_varint(out, node_id);
}

uint64_t rpc_relay_decode_target(struct slice message) {
    struct decoder frames;
    struct slice frame, none;
    if (!rpc_frame_open(message, &frames) || !rpc_frame_next(&frames, &frame)) return 0;
    struct decoder in = decoder_make(frame);
    uint8_t version = decode_u8(&in);
    uint64_t node_id = decode_varint(&in);
    /* It has nothing to say before it hears that the target is there. */
    if (rpc_frame_next(&frames, &none)) return 0;
    return version == RPC_RELAY_VERSION && decoder_finished(&in) ? node_id : 0;
}

static void start_timer(struct rpc_relay *relay, uint32_t after_ms) {
    rpc_timer_start(relay->loop, &relay->timer,
                    rpc_loop_now_us(relay->loop) + (uint64_t)after_ms * 1000);
}

static void become_idle(struct rpc_relay *relay) {
    rpc_timer_stop(relay->loop, &relay->timer);
    rpc_connection_free(relay->connection);
    relay->connection = NULL;
    relay->state = RELAY_IDLE;
}

static const struct rpc_stream_events stream_events;

/* Tries the next node, if this round has not had them all. */
static void dial_next(struct rpc_relay *relay) {
    struct rpc_relay_via via = {0};
    ASSERT(relay->state == RELAY_IDLE);
    if (relay->tries >= relay->events->next(relay->ctx, relay->via_node, &via)) return;
    struct rpc_link_config config = {.address = via.address,
                                     .method = "/flotilla.v1.Node/Relay",
                                     .identity = relay->identity,
                                     .to_node = via.node_id,
                                     .stream = {.merge = true}};
    struct buf name = {0};
    relay->tries++;
    relay->via_node = via.node_id;
    relay->connection = rpc_connection_new(relay->loop, &config, &stream_events, relay);
    relay->state = RELAY_DIALLING;
    rpc_relay_encode_target(&name, relay->to_node);
    enum status status =
        rpc_frame_send(rpc_connection_stream(relay->connection), slice_from_buf(&name));
    ASSERT_CMP(status, ==, STATUS_OK); /* the first message of a new stream */
    buf_done(&name);
    start_timer(relay, RPC_RELAY_DIAL_MS);
}

/* The present stream is of no use any more. */
static void fail(struct rpc_relay *relay, struct slice why) {
    enum relay_state before = relay->state;
    ASSERT(before != RELAY_IDLE);
    if (before == RELAY_DIALLING) {
        log_debug("rpc_relay_failed", "to_node=%" PRIu64 " via_node=%" PRIu64 " reason=\"%.*s\"",
                  relay->to_node, relay->via_node, (int)why.len, (const char *)why.data);
        become_idle(relay);
        dial_next(relay);
        return;
    }
    metric_add(&metric_rpc_relay_down_total, 1);
    log_warn("rpc_relay_down", "to_node=%" PRIu64 " via_node=%" PRIu64 " reason=\"%.*s\"",
             relay->to_node, relay->via_node, (int)why.len, (const char *)why.data);
    become_idle(relay);
    relay->events->on_down(relay->ctx);
}

static void up(struct rpc_relay *relay) {
    relay->state = RELAY_UP;
    rpc_timer_stop(relay->loop, &relay->timer);
    metric_add(&metric_rpc_relay_up_total, 1);
    log_info("rpc_relay_up", "to_node=%" PRIu64 " via_node=%" PRIu64, relay->to_node,
             relay->via_node);
    relay->events->on_up(relay->ctx);
}

static void stream_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct rpc_relay *relay = ctx;
    if (relay->state == RELAY_DIALLING) {
        struct decoder frames;
        struct slice frame = SLICE_EMPTY;
        if (!rpc_frame_open(message, &frames) || !rpc_frame_next(&frames, &frame) ||
            frame.len > 0) {
            fail(relay, SLICE_LITERAL("the node breaks protocol"));
            return;
        }
        message = slice_make(frames.at, decoder_left(&frames));
        up(relay);
        if (message.len == 0) return;
    }
    relay->events->on_message(relay->ctx, message);
}

static void stream_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    fail(ctx, status->text);
}

static const struct rpc_stream_events stream_events = {.on_message = stream_message,
                                                       .on_close = stream_closed};

static void timer_fired(struct rpc_timer *timer) {
    struct rpc_relay *relay = CONTAINER_OF(timer, struct rpc_relay, timer);
    if (relay->state == RELAY_DIALLING) {
        fail(relay, SLICE_LITERAL("it does not reach the node in time"));
        return;
    }
    ASSERT(relay->state == RELAY_LINGERING);
    log_info("rpc_relay_closed", "to_node=%" PRIu64 " via_node=%" PRIu64, relay->to_node,
             relay->via_node);
    become_idle(relay);
}

struct rpc_relay *rpc_relay_new(struct rpc_loop *loop, const struct rpc_identity *identity,
                                uint64_t to_node, const struct rpc_relay_events *events,
                                void *ctx) {
    struct rpc_relay *relay = MEMORY_NEW(struct rpc_relay);
    relay->loop = loop;
    relay->identity = *identity;
    relay->to_node = to_node;
    relay->events = events;
    relay->ctx = ctx;
    relay->timer.fire = timer_fired;
    return relay;
}

void rpc_relay_free(struct rpc_relay *relay) {
    if (!relay) return;
    become_idle(relay);
    memory_free(relay);
}

void rpc_relay_want(struct rpc_relay *relay) {
    uint64_t now_us = rpc_loop_now_us(relay->loop);
    if (relay->state != RELAY_IDLE || now_us < relay->next_round_us) return;
    relay->next_round_us = now_us + (uint64_t)RPC_RELAY_ROUND_MS * 1000;
    relay->tries = 0;
    dial_next(relay);
}

bool rpc_relay_up(const struct rpc_relay *relay) {
    return relay->state == RELAY_UP || relay->state == RELAY_LINGERING;
}

enum status rpc_relay_send(struct rpc_relay *relay, struct slice frame) {
    if (!rpc_relay_up(relay)) return STATUS_UNAVAILABLE;
    return rpc_frame_send(rpc_connection_stream(relay->connection), frame);
}

void rpc_relay_retire(struct rpc_relay *relay) {
    if (relay->state == RELAY_DIALLING) become_idle(relay);
    if (relay->state != RELAY_UP) return;
    relay->state = RELAY_LINGERING;
    start_timer(relay, RPC_RELAY_LINGER_MS);
}

void rpc_relay_resume(struct rpc_relay *relay) {
    if (relay->state != RELAY_LINGERING) return;
    rpc_timer_stop(relay->loop, &relay->timer);
    relay->state = RELAY_UP;
}

void rpc_relay_reset(struct rpc_relay *relay, const char *why) {
    if (relay->state != RELAY_IDLE) fail(relay, slice_from_text(why));
}
