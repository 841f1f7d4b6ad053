/* Clients on a loop: a channel with unary calls and streams, and the link, a stream to a peer that
 * comes back by itself.
 *
 * Threads: everything here is for the loop thread (rpc/loop.h), unless it says so. */
#ifndef FLOTILLA_RPC_CLIENT_H
#define FLOTILLA_RPC_CLIENT_H

#include "rpc/handshake.h"
#include "rpc/loop.h"
#include "rpc/stream.h"

/* ---- a channel: one connection to one address, made and remade as needed ---- */
struct rpc_client;

/* "host:port", "127.0.0.1:7001", "[::1]:7001", or a list of numeric IPv4 addresses with commas, of
 * which the first that takes the connection is used, and when that breaks, the next. Connects on
 * first use. Never fails: an address that leads nowhere shows in the calls. */
struct rpc_client *rpc_client_new(struct rpc_loop *loop, const char *address);
/* Cancels what is under way: every callback has come (CANCELLED) when this returns. */
void rpc_client_free(struct rpc_client *client);
const char *rpc_client_address(const struct rpc_client *client);

struct rpc_call_options {
    uint64_t timeout_us; /* of the whole call, retries included; required */
    /* While there is no connection: wait for one until the deadline (true), or fail at once with
     * UNAVAILABLE (false). */
    bool wait_for_ready;
    /* The call may run twice without harm: after UNAVAILABLE, or when the peer stops before it has
     * answered (CANCELLED), it is made again, with back-off, until the deadline. The first call
     * after a peer's restart can fail so although it waits. */
    bool retry;
};

/* `response` and `status` are valid during the callback; response is empty unless the code is OK.
 */
typedef void rpc_response_fn(void *ctx, const struct rpc_status *status, struct slice response);

/* The callback comes exactly once, never before this returns. Copies `request`. `method` is static
 * text, "/flotilla.v1.Placement/Register". A request over RPC_MESSAGE_BYTES_MAX is answered
 * RESOURCE_EXHAUSTED. */
void rpc_client_call(struct rpc_client *client, const char *method, struct slice request,
                     const struct rpc_call_options *options, rpc_response_fn *done, void *ctx);

struct rpc_open_options {
    struct rpc_stream_options stream;
    bool wait_for_ready;
    uint64_t timeout_us; /* of the whole stream; 0: none */
    /* Set on internal streams: sent to the server, whose answer is checked against it before
     * on_open; a mismatch closes the stream with FAILED_PRECONDITION. */
    const struct rpc_identity *identity;
    uint64_t to_node; /* node expected to answer; 0: any */
};

/* Opens a stream; on_open, on_message … on_close follow, none before this returns. `events` must
 * live as long as the stream. The stream is valid until on_close has returned (take a reference to
 * keep it longer). */
struct rpc_stream *rpc_client_open(struct rpc_client *client, const char *method,
                                   const struct rpc_open_options *options,
                                   const struct rpc_stream_events *events, void *ctx);

/* ---- a link: an internal stream that is kept up ---- */
struct rpc_link;

struct rpc_link_events {
    /* The peer has taken the stream and is who it should be: messages may be sent. */
    void (*on_up)(void *ctx);
    /* Only after on_up. What was sent may or may not have arrived. */
    void (*on_down)(void *ctx, const struct rpc_status *reason);
    void (*on_message)(void *ctx, struct slice message); /* borrowed */
};

struct rpc_link_config {
    const char *address;
    const char *method; /* static text */
    struct rpc_identity identity;
    uint64_t to_node; /* node expected to answer; 0: any */
    struct rpc_stream_options stream;
};

/* Dials at once, and again after every loss: back-off 20 ms doubling with jitter to 500 ms, reset
 * by success; a stream that one of the two ended at once, for what the other is or said, is none.
 * Each change of state is logged once, with its reason. No event before this returns. */
struct rpc_link *rpc_link_new(struct rpc_loop *loop, const struct rpc_link_config *config,
                              const struct rpc_link_events *events, void *ctx);
/* No event comes after this has been called. rpc_link_send must not be called any more. */
void rpc_link_free(struct rpc_link *link);
/* Any thread. UNAVAILABLE: down. BUSY, TOO_LARGE: as rpc_stream_send. */
enum status rpc_link_send_parts(struct rpc_link *link, const struct slice *parts,
                                size_t part_count) MUST_CHECK;
enum status rpc_link_send(struct rpc_link *link, struct slice message) MUST_CHECK;
bool rpc_link_up(const struct rpc_link *link); /* any thread */
/* Of the process that took the present stream; 0: none is up. */
uint64_t rpc_link_peer_incarnation(const struct rpc_link *link);
/* Drops the present stream, if any (on_down follows, later), and dials again after the back-off:
 * for a peer that breaks protocol. */
void rpc_link_reset(struct rpc_link *link, const char *why);
/* The same from any thread, and only when it is up. */
void rpc_link_drop(struct rpc_link *link, const char *why);
/* Where the peer is now; dials there when the address has changed. */
void rpc_link_set_address(struct rpc_link *link, const char *address);

#endif
