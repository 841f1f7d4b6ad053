/* What the client's files share: client.c (channels and unary calls), client_stream.c, link.c. */
#ifndef FLOTILLA_RPC_CLIENT_INTERNAL_H
#define FLOTILLA_RPC_CLIENT_INTERNAL_H

#include "rpc/client.h"
#include "rpc/core.h"
#include "rpc/cork.h"
#include "rpc/limits.h"
#include "rpc/stream_internal.h"

struct rpc_client {
    struct rpc_loop *loop;
    char *address; /* owned */
    grpc_channel *channel;
    struct rpc_cork cork;     /* of unary calls */
    struct list_node calls;   /* unary, not answered yet */
    struct list_node streams; /* open */
};

/* Tries to connect now, whatever the channel's own back-off says. */
void rpc_client_hurry(struct rpc_client *client);

#endif
