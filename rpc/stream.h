/* One bidirectional stream, seen the same way from its server and from its client.
 *
 * Sending is allowed from any thread: the sender starts the write itself when none is under way
 * (no detour through the loop); otherwise the message waits in the stream's bounded queue and
 * leaves when the write before it is done. Events come on the loop thread, on_close last and
 * exactly once.
 *
 * Merging. Protocol buffers define that two encodings of a message, one after the other, decode as
 * both merged: repeated fields are joined. For a stream whose messages have repeated fields only (a
 * batch of frames, a batch of requests), messages that wait together therefore leave as one, at no
 * cost but their own bytes. Such streams say `merge`.
 *
 * Lifetime. A stream is counted: the events' user holds no reference of its own; who keeps the
 * pointer beyond on_close takes one. Everything but ref/unref is harmless on a closed stream. */
#ifndef FLOTILLA_RPC_STREAM_H
#define FLOTILLA_RPC_STREAM_H

#include "rpc/limits.h"
#include "rpc/status.h"

struct rpc_stream;

struct rpc_stream_events {
    /* Client: the server's initial metadata is here, so the peer took the call. Server: never. */
    void (*on_open)(void *ctx, struct rpc_stream *stream);
    /* One message, borrowed during the call. */
    void (*on_message)(void *ctx, struct rpc_stream *stream, struct slice message);
    /* Server: the client will send nothing more. NULL: the stream is then closed with OK once the
     * queued messages have left. Client: never (the status follows). */
    void (*on_half_close)(void *ctx, struct rpc_stream *stream);
    /* A write is done and less than a quarter of queue_bytes_max waits. NULL: of no interest. */
    void (*on_drained)(void *ctx, struct rpc_stream *stream);
    /* The stream is over; nothing is called after this. Server: the code is the one given
     * to rpc_stream_close, CANCELLED when the client or the connection went away. */
    void (*on_close)(void *ctx, struct rpc_stream *stream, const struct rpc_status *status);
};

struct rpc_stream_options {
    uint32_t message_bytes_max; /* of one that comes in; 0: RPC_MESSAGE_BYTES_MAX */
    bool merge;                 /* see above */
    /* Stop receiving while more than half of queue_bytes_max waits to be sent, so that a peer that
     * does not read its answers cannot ask for more. Only for request-reply streams: two peers that
     * both hold back would wait for each other for ever. */
    bool hold_back;
    size_t queue_bytes_max; /* 0: RPC_STREAM_QUEUE_BYTES_DEFAULT */
};

/* Sends the parts, joined, as one message; copies them. Any thread.
 * BUSY: the queue is full, nothing was taken. TOO_LARGE: over RPC_MESSAGE_BYTES_MAX. UNAVAILABLE:
 * the stream is closed or closing. OK means queued: it may still be lost with the connection. */
enum status rpc_stream_send_parts(struct rpc_stream *stream, const struct slice *parts,
                                  size_t part_count) MUST_CHECK;
enum status rpc_stream_send(struct rpc_stream *stream, struct slice message) MUST_CHECK;
/* What waits or is under way, with RPC_STREAM_MESSAGE_OVERHEAD_BYTES for each message. Any thread.
 */
size_t rpc_stream_queued_bytes(struct rpc_stream *stream);

/* Loop thread. Held: no message is received after the ones that are reported already, so that the
 * peer's own queue fills, until it is called again with false. For who passes messages on, to
 * somebody who takes them more slowly than they come. */
void rpc_stream_hold(struct rpc_stream *stream, bool held);

/* Server: sends the status once the queued messages have left (with RPC_OK), or at once, dropping
 * them (any other code). Client: cancels the call, whatever the code. Any thread; the first close
 * wins; on_close follows on the loop thread, later. */
void rpc_stream_close(struct rpc_stream *stream, enum rpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Client: nothing more will be sent (after what is queued); the server may go on. Any thread. */
void rpc_stream_half_close(struct rpc_stream *stream);

struct rpc_stream *rpc_stream_ref(struct rpc_stream *stream);
void rpc_stream_unref(struct rpc_stream *stream); /* NULL is fine; any thread */

/* Who the peer said it is (rpc/handshake.h): valid on streams that demand the handshake; on a
 * client's from on_open on. 0 when it said nothing. */
uint64_t rpc_stream_peer_node(const struct rpc_stream *stream);
uint64_t rpc_stream_peer_incarnation(const struct rpc_stream *stream);
/* Time left of the call's deadline in us; UINT64_MAX: none. */
uint64_t rpc_stream_timeout_us(const struct rpc_stream *stream);

#endif
