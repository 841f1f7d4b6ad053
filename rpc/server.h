/* A gRPC server on a loop: tables of unary and streaming methods.
 *
 * Methods that nobody registered are answered UNIMPLEMENTED; more calls than the bounds allow,
 * RESOURCE_EXHAUSTED; messages over RPC_MESSAGE_BYTES_MAX, RESOURCE_EXHAUSTED with both sizes in
 * the text. Bytes that are not HTTP/2 close that connection and nothing else.
 *
 * Threads: everything here is for the loop thread (rpc/loop.h). */
#ifndef FLOTILLA_RPC_SERVER_H
#define FLOTILLA_RPC_SERVER_H

#include "rpc/handshake.h"
#include "rpc/loop.h"
#include "rpc/stream.h"

struct rpc_server;
struct rpc_call; /* one unary call that waits for its answer */

/* Must answer the call, now or later, by exactly one rpc_call_reply or rpc_call_fail. `request` is
 * borrowed until the handler returns. */
typedef void rpc_unary_fn(void *ctx, struct rpc_call *call, struct slice request);
/* A stream was opened. Must call rpc_stream_accept or rpc_stream_refuse before it returns. */
typedef void rpc_open_fn(void *ctx, struct rpc_stream *stream);

struct rpc_method {
    const char *path;    /* "/flotilla.v1.Node/Raft" */
    rpc_unary_fn *unary; /* either this */
    rpc_open_fn *open;   /* or this: a client-, server- or bidirectional stream */
    bool handshake;      /* internal: the caller's identity is checked before the handler runs */
    struct rpc_stream_options stream; /* of streaming methods */
    uint32_t bytes_max;               /* of a request; 0: RPC_MESSAGE_BYTES_MAX (unary methods) */
};

struct rpc_server_config {
    const char *listen;           /* "127.0.0.1:7001", "[::1]:7001"; port 0: any free one */
    struct rpc_identity identity; /* rpc_server_set_identity can set it later */
    uint32_t calls_max;           /* 0: RPC_SERVER_CALLS_DEFAULT, and so on */
    uint32_t streams_max;
    size_t request_bytes_max;
};

struct rpc_server *rpc_server_new(struct rpc_loop *loop, const struct rpc_server_config *config);
/* Before start. The table must outlive the server. */
void rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count,
                    void *ctx);
/* Binds and serves. INVALID: the address is unreadable. LOCKED: the port is taken. `error` says
 * which address and what to do. */
enum status rpc_server_start(struct rpc_server *server, struct buf *error) MUST_CHECK;
/* Appends HOST:PORT: the host as given, the port that is bound. Started only. */
void rpc_server_address(const struct rpc_server *server, struct buf *out);
uint16_t rpc_server_port(const struct rpc_server *server); /* the bound one, after start */
void rpc_server_set_identity(struct rpc_server *server, const struct rpc_identity *identity);

/* Stops listening, cancels every call and closes every stream: on_close has been called for all of
 * them when this returns, and no handler is called afterwards. Calls that are still to be answered
 * stay valid until they are; their answers go nowhere. While the loop is not running the port is
 * free when this returns; inside a callback it is so a few turns later. */
void rpc_server_free(struct rpc_server *server);

/* Services that were registered, for reflection: `each` gets "flotilla.v1.Node" once per service.
 */
void rpc_server_each_service(const struct rpc_server *server,
                             void (*each)(void *ctx, struct slice service), void *ctx);

/* ---- answering a unary call: each consumes the call ---- */
void rpc_call_reply(struct rpc_call *call, struct slice response); /* copies */
void rpc_call_fail(struct rpc_call *call, enum rpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Time left of the caller's deadline in us, now; UINT64_MAX: the caller gave none. */
uint64_t rpc_call_timeout_us(const struct rpc_call *call);
const struct rpc_handshake *rpc_call_handshake(const struct rpc_call *call);

/* ---- inside rpc_open_fn ---- */
/* `events` must live as long as the stream; events begin after the open handler has returned. */
void rpc_stream_accept(struct rpc_stream *stream, const struct rpc_stream_events *events,
                       void *ctx);
/* No event will ever come. */
void rpc_stream_refuse(struct rpc_stream *stream, enum rpc_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
