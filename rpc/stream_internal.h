/* What server.c and client.c need of a stream beyond its public face. */
#ifndef FLOTILLA_RPC_STREAM_INTERNAL_H
#define FLOTILLA_RPC_STREAM_INTERNAL_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "rpc/core.h"
#include "rpc/stream.h"

/* A ring of messages that wait to be sent. */
struct rpc_send_queue {
    grpc_slice *slices;
    size_t head, count, cap; /* cap is a power of two, or 0 */
};

/* States of the sending half, in `send_state`, guarded by `lock`:
 *
 *   OPEN ──close(OK) at a server, half_close at a client──▶ DRAINING ──queue empty──▶ CLOSED
 *     └──close with an error, a failed send, the end of the call──────────────────────▲
 *
 * In DRAINING nothing more is taken; in CLOSED nothing more is started. */
enum rpc_send_state { RPC_SEND_OPEN, RPC_SEND_DRAINING, RPC_SEND_CLOSED };

struct rpc_stream {
    _Atomic uint32_t refs; /* one is the core's, dropped when the call is over */
    struct rpc_loop *loop;
    bool is_server;
    struct rpc_stream_options options; /* constant; bounds filled in */
    gpr_timespec deadline;
    struct rpc_handshake handshake; /* what the peer said; loop thread, constant once open */

    pthread_mutex_t lock;
    /* ---- guarded by lock ---- */
    grpc_call *call;  /* NULL once the call is over */
    uint32_t pending; /* batches under way; 0 after the start means that the call is over */
    enum rpc_send_state send_state;
    bool sending;   /* a SEND_MESSAGE is under way */
    bool closing;   /* rpc_stream_close was called */
    bool reading;   /* a RECV_MESSAGE is under way */
    bool held_back; /* by options.hold_back */
    bool held;      /* by rpc_stream_hold */
    struct rpc_send_queue queue;
    size_t queued_bytes;  /* in the queue and under way, with each message's overhead */
    size_t sending_bytes; /* under way, likewise */
    grpc_byte_buffer *send_buffer;
    enum rpc_code local_code; /* of rpc_stream_close */
    struct buf local_text;

    /* ---- loop thread ---- */
    const struct rpc_stream_events *events; /* NULL: nobody is told any more */
    void *ctx;
    void (*on_over)(struct rpc_stream *stream); /* the owner unlinks it */
    void *owner;
    struct list_node owner_node; /* in the server's or the client's list of streams */
    struct rpc_tag open_tag, message_tag, send_tag, finish_tag, close_tag;
    grpc_byte_buffer *receive_buffer;
    int was_cancelled;                     /* server */
    grpc_status_code status;               /* client */
    grpc_slice status_text;                /* client */
    grpc_metadata_array initial, trailing; /* client */
    bool finished;                         /* close_tag has come */
    bool opened;                           /* client: the peer has taken the call */
    bool half_closed;                      /* the peer will send nothing more */
    struct rpc_identity expected;          /* client, handshake: own identity */
    bool expects_handshake;
    uint64_t expected_node;
};

/* Refs 1: the core's. `call` is taken over. */
struct rpc_stream *rpc_stream_new(struct rpc_loop *loop, bool is_server, grpc_call *call,
                                  gpr_timespec deadline, const struct rpc_stream_options *options);
/* Counts and starts a batch under the lock. */
void rpc_stream_start(struct rpc_stream *stream, const grpc_op *ops, size_t count,
                      struct rpc_tag *tag);
void rpc_stream_start_locked(struct rpc_stream *stream, const grpc_op *ops, size_t count,
                             struct rpc_tag *tag);
/* As rpc_stream_send, for bytes that are in a slice of the core already; takes it. */
enum status rpc_stream_send_slice(struct rpc_stream *stream, grpc_slice message) MUST_CHECK;
/* Posts the first receive. */
void rpc_stream_receive(struct rpc_stream *stream);
/* A batch came home; the last one ends the stream (on_close, on_over, the core's reference). */
void rpc_stream_settled(struct rpc_stream *stream);
/* The owner goes away: on_close now, with CANCELLED, and nothing after it. */
void rpc_stream_abandon(struct rpc_stream *stream, const char *why);
/* The call is finished as far as the peer is concerned: nothing more is sent. */
void rpc_stream_mark_finished(struct rpc_stream *stream);
void rpc_stream_vclose(struct rpc_stream *stream, enum rpc_code code, const char *format,
                       va_list arguments);

#endif
