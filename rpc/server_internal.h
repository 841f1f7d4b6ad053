/* What the server's files share: server.c (life, arrivals), server_call.c (unary calls),
 * server_stream.c (streams and refusals). */
#ifndef FLOTILLA_RPC_SERVER_INTERNAL_H
#define FLOTILLA_RPC_SERVER_INTERNAL_H

#include "rpc/core.h"
#include "rpc/cork.h"
#include "rpc/limits.h"
#include "rpc/server.h"
#include "rpc/stream_internal.h"

struct rpc_server;

struct rpc_server_method {
    struct rpc_server *server;
    const struct rpc_method *method; /* NULL: the catch-all for methods that nobody registered */
    void *ctx;
    void *registered; /* the core's handle */
};

/* A posted request for the next arrival at one method. Reused for arrival after arrival. */
struct rpc_accept {
    struct rpc_tag tag;
    struct rpc_server_method *method;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload; /* unary: the request; NULL when the client sent none */
    grpc_call_details details; /* catch-all only */
};

struct rpc_server {
    struct rpc_loop *loop;
    struct rpc_server_config config; /* `listen` is owned; bounds are filled in */
    char *listen;
    grpc_server *core;
    uint16_t port;
    struct rpc_cork cork; /* of the answers to unary calls */
    bool started;
    bool freed;            /* rpc_server_free was called: nothing is reported any more */
    bool shut_down;        /* the core has said so */
    bool *gone;            /* set when the struct is freed; NULL: nobody waits */
    uint32_t accepts_open; /* posted requests that have not come home */
    size_t method_count;
    struct rpc_server_method methods[RPC_SERVER_METHODS_MAX];
    struct rpc_server_method unknown;
    struct rpc_tag shutdown_tag;
    struct list_node calls;   /* unary calls to be answered */
    struct list_node streams; /* open */
    uint32_t call_count, stream_count;
    size_t request_bytes; /* of `calls` */
};

/* All take the call out of `accept` (call, payload). */
void rpc_server_take_unary(struct rpc_server *server, struct rpc_accept *accept);
void rpc_server_take_stream(struct rpc_server *server, struct rpc_accept *accept);
/* Answers with a status alone. */
void rpc_server_refuse(struct rpc_server *server, struct rpc_accept *accept, enum rpc_code code,
                       struct slice text);
/* True when the caller may speak to this method; else it has been refused. */
bool rpc_server_admit(struct rpc_server *server, struct rpc_accept *accept,
                      struct rpc_handshake *ret_handshake);
void rpc_server_abandon_calls(struct rpc_server *server);

#endif
