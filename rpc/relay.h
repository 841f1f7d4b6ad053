/* The way around, a router's side: while a node cannot be reached directly, its requests go through
 * another node that can reach it (Node/Relay; that side is node_relays.c). The relay tries nodes in
 * turn until one is up, and says when it ends; it is asked for again by what is to be sent.
 *
 *   IDLE ──want──▶ DIALLING ──empty frame──▶ UP ──retire──▶ LINGERING ──RPC_RELAY_LINGER_MS──▶ IDLE
 *    ▲                │                      │ ▲──────resume────┘│
 *    │                │ refused, or not up   │ lost              │ lost
 *    │                │ in time: the next    ▼                   ▼
 *    └────────────────┴─ after the last ─────┴───────────────────┘
 *
 * A round of tries begins at most once in RPC_RELAY_ROUND_MS.
 *
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_RELAY_H
#define FLOTILLA_RPC_RELAY_H

#include "rpc/client.h"

/* Of the first frame: version u8 ‖ node id varint. */
#define RPC_RELAY_VERSION 1u

/* The bytes of that frame. */
void rpc_relay_encode_target(struct buf *out, uint64_t node_id);
/* The node that a message of such a frame, and of nothing else, names; 0: it is none. */
uint64_t rpc_relay_decode_target(struct slice message);

struct rpc_relay;

struct rpc_relay_via {
    uint64_t node_id;
    const char *address; /* borrowed until `next` is called again */
};

struct rpc_relay_events {
    /* The node to try after the given one, going round in a fixed order; 0: any. Returns how many
     * there are to try; 0: none, and *ret_via is untouched. */
    uint32_t (*next)(void *ctx, uint64_t after_node, struct rpc_relay_via *ret_via);
    /* The target has taken a stream: frames may be sent. */
    void (*on_up)(void *ctx);
    /* Lost; only after on_up. What was sent may or may not have arrived. May send, or want. */
    void (*on_down)(void *ctx);
    void (*on_message)(void *ctx, struct slice message); /* borrowed; of the target's frames */
};

struct rpc_relay *rpc_relay_new(struct rpc_loop *loop, const struct rpc_identity *identity,
                                uint64_t to_node, const struct rpc_relay_events *events, void *ctx);
/* No event comes after this; also within an event. NULL is fine. */
void rpc_relay_free(struct rpc_relay *relay);

/* There is something to send. Starts a round of tries, unless one is under way, the relay is up, or
 * the last round is too young. No event before this returns. */
void rpc_relay_want(struct rpc_relay *relay);
bool rpc_relay_up(const struct rpc_relay *relay); /* frames may be sent: UP or LINGERING */
/* UNAVAILABLE: it is not up, or about to end. BUSY: its queue is full. Nothing was sent then. */
enum status rpc_relay_send(struct rpc_relay *relay, struct slice frame) MUST_CHECK;
/* The target can be reached directly. What was sent here is still answered here for a while; then
 * the relay is closed, without on_down. */
void rpc_relay_retire(struct rpc_relay *relay);
/* It cannot any more: a relay that lingers is in use again. */
void rpc_relay_resume(struct rpc_relay *relay);
/* The target breaks protocol: as if the relay were lost. */
void rpc_relay_reset(struct rpc_relay *relay, const char *why);

#endif
