/* Relays: the way of a router that cannot reach a node itself (rpc/relay.h).
 *
 * The caller's first frame names the target: version u8 (1) ‖ node id varint. This node dials
 * Node/Requests there, on a connection for this relay alone, says an empty frame when the target
 * has taken that stream, and from then on passes messages both ways, unread and in order. The
 * target sees a router like any other, and refuses what is meant for another node: so there is one
 * hop, never two. Only nodes of the address book are dialled.
 *
 * While more waits to be sent to one side than a quarter of its queue takes, nothing is received
 * from the other: no queue ever has to refuse a message, and who sends too fast finds its own queue
 * full. (The two directions do not wait for each other: a router reads its replies whatever its
 * requests are waiting for.) Should a queue be full all the same, or a side end, the other one
 * ends: nothing is left out in the middle. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/connection.h"
#include "rpc/frame.h"
#include "rpc/metrics.h"
#include "rpc/node_internal.h"
#include "rpc/relay.h"

/* A relay lives as long as its caller's stream:
 *
 *   UNNAMED ──first frame──▶ DIALLING ──the target took the stream──▶ OPEN
 *      └── not OPEN within RPC_RELAY_OPEN_MS, or a side has ended: the caller's stream is closed */
enum relay_state { RELAY_UNNAMED, RELAY_DIALLING, RELAY_OPEN };

struct node_relay {
    struct rpc_node *node;
    struct list_node node_link;
    enum relay_state state;
    uint64_t to_node;              /* unless UNNAMED */
    struct rpc_stream *caller;     /* counted */
    struct rpc_connection *target; /* NULL: UNNAMED, or lost */
    struct rpc_timer timer;        /* until OPEN */
};

static void hang_up(struct node_relay *relay) {
    rpc_timer_stop(relay->node->loop, &relay->timer);
    rpc_connection_free(relay->target);
    relay->target = NULL;
}

/* Takes a message to `to`; `from` waits when that is more than flows off. */
static void pass(struct node_relay *relay, struct rpc_stream *from, struct rpc_stream *to,
                 struct slice message) {
    enum status status = rpc_stream_send(to, message);
    /* UNAVAILABLE: that side ends, and takes this one with it. */
    if (status != STATUS_OK && status != STATUS_UNAVAILABLE) {
        rpc_stream_close(relay->caller, RPC_RESOURCE_EXHAUSTED,
                         "the relay to node %" PRIu64 " is full: %u bytes wait", relay->to_node,
                         RPC_RELAY_QUEUE_BYTES_MAX);
        hang_up(relay);
        return;
    }
    if (rpc_stream_queued_bytes(to) > RPC_RELAY_QUEUE_BYTES_MAX / 4) rpc_stream_hold(from, true);
}

/* ---- the target's side ---- */

static void target_open(void *ctx, struct rpc_stream *stream) {
    struct node_relay *relay = ctx;
    relay->state = RELAY_OPEN;
    rpc_timer_stop(relay->node->loop, &relay->timer);
    if (rpc_frame_send(relay->caller, SLICE_EMPTY) != STATUS_OK) hang_up(relay); /* it has left */
}

static void target_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct node_relay *relay = ctx;
    pass(relay, stream, relay->caller, message);
}

static void target_drained(void *ctx, struct rpc_stream *stream) {
    struct node_relay *relay = ctx;
    rpc_stream_hold(relay->caller, false);
}

static void target_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct node_relay *relay = ctx;
    rpc_stream_close(relay->caller, RPC_UNAVAILABLE,
                     "node %" PRIu64 " has no stream to node %" PRIu64 ": %.*s",
                     relay->node->identity.node_id, relay->to_node, (int)status->text.len,
                     (const char *)status->text.data);
    hang_up(relay);
}

static const struct rpc_stream_events target_events = {.on_open = target_open,
                                                       .on_message = target_message,
                                                       .on_drained = target_drained,
                                                       .on_close = target_closed};

/* ---- the caller's side ---- */

static void dial_target(struct node_relay *relay, struct slice message) {
    struct rpc_node *node = relay->node;
    relay->to_node = rpc_relay_decode_target(message);
    if (relay->to_node == 0 || relay->to_node == node->identity.node_id) {
        rpc_stream_close(relay->caller, RPC_INVALID_ARGUMENT,
                         "a relay of node %" PRIu64 " begins with a frame that names another node",
                         node->identity.node_id);
        return;
    }
    const char *address = rpc_node_peer_address(node, relay->to_node);
    if (!address) {
        rpc_stream_close(relay->caller, RPC_UNAVAILABLE,
                         "node %" PRIu64 " knows no address of node %" PRIu64,
                         node->identity.node_id, relay->to_node);
        return;
    }
    struct rpc_link_config config = {
        .address = address,
        .method = "/flotilla.v1.Node/Requests",
        .identity = {.cluster_id = node->identity.cluster_id}, /* a router's, which it speaks for */
        .to_node = relay->to_node,
        .stream = {.merge = true, .queue_bytes_max = RPC_RELAY_QUEUE_BYTES_MAX}};
    relay->target = rpc_connection_new(node->loop, &config, &target_events, relay);
    relay->state = RELAY_DIALLING;
}

static void caller_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct node_relay *relay = ctx;
    if (relay->state == RELAY_UNNAMED)
        dial_target(relay, message);
    else if (relay->state == RELAY_DIALLING)
        rpc_stream_close(stream, RPC_INVALID_ARGUMENT,
                         "node %" PRIu64 " was sent frames for node %" PRIu64 " before it said "
                         "that it has reached that",
                         relay->node->identity.node_id, relay->to_node);
    else if (relay->target)
        pass(relay, stream, rpc_connection_stream(relay->target), message);
}

static void caller_drained(void *ctx, struct rpc_stream *stream) {
    struct node_relay *relay = ctx;
    if (relay->target) rpc_stream_hold(rpc_connection_stream(relay->target), false);
}

static void caller_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct node_relay *relay = ctx;
    log_debug("rpc_node_relay_closed", "to_node=%" PRIu64 " code=%s reason=\"%.*s\"",
              relay->to_node, rpc_code_name(status->code), (int)status->text.len,
              (const char *)status->text.data);
    hang_up(relay);
    list_remove(&relay->node_link);
    relay->node->relay_count--;
    metric_add(&metric_rpc_node_relays_open, -1);
    rpc_stream_unref(relay->caller);
    memory_free(relay);
}

static const struct rpc_stream_events caller_events = {
    .on_message = caller_message, .on_drained = caller_drained, .on_close = caller_closed};

static void late(struct rpc_timer *timer) {
    struct node_relay *relay = CONTAINER_OF(timer, struct node_relay, timer);
    rpc_stream_close(relay->caller, RPC_DEADLINE_EXCEEDED,
                     "node %" PRIu64 " reached no node %" PRIu64 " within %u ms",
                     relay->node->identity.node_id, relay->to_node, RPC_RELAY_OPEN_MS);
    hang_up(relay);
}

void rpc_node_open_relay(void *ctx, struct rpc_stream *stream) {
    struct rpc_node *node = ctx;
    if (!rpc_node_serving(node, stream)) return;
    if (node->relay_count >= RPC_NODE_RELAYS_MAX) {
        rpc_stream_refuse(stream, RPC_RESOURCE_EXHAUSTED,
                          "busy: node %" PRIu64 " has %u relays, as many as are allowed; ask "
                          "another node",
                          node->identity.node_id, node->relay_count);
        return;
    }
    struct node_relay *relay = MEMORY_NEW(struct node_relay);
    relay->node = node;
    relay->caller = rpc_stream_ref(stream);
    relay->timer.fire = late;
    list_push_back(&node->relays, &relay->node_link);
    node->relay_count++;
    metric_add(&metric_rpc_node_relays_open, 1);
    rpc_stream_accept(stream, &caller_events, relay);
    rpc_timer_start(node->loop, &relay->timer,
                    rpc_loop_now_us(node->loop) + (uint64_t)RPC_RELAY_OPEN_MS * 1000);
}

void rpc_node_relays_stop(struct rpc_node *node) {
    LIST_FOR_EACH (at, &node->relays) {
        struct node_relay *relay = CONTAINER_OF(at, struct node_relay, node_link);
        rpc_stream_close(relay->caller, RPC_UNAVAILABLE, "node %" PRIu64 " is shutting down",
                         node->identity.node_id);
        hang_up(relay);
    }
}
