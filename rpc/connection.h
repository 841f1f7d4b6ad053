/* An internal stream on a connection of its own, dialled once: the two halves of a relay are such.
 * Unlike a link (rpc/client.h) it fails at once where nobody answers, and does not come back.
 *
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_CONNECTION_H
#define FLOTILLA_RPC_CONNECTION_H

#include "rpc/client.h"

struct rpc_connection;

/* Events as of a client's stream (rpc/stream.h), none before this returns; after on_close there is
 * nothing left to do but to free it. */
struct rpc_connection *rpc_connection_new(struct rpc_loop *loop,
                                          const struct rpc_link_config *config,
                                          const struct rpc_stream_events *events, void *ctx);
/* Valid until the connection is freed. What is sent before on_open waits until the peer has taken
 * the stream. */
struct rpc_stream *rpc_connection_stream(struct rpc_connection *connection);
/* At any time, also within its own events; none comes after this. NULL is fine. */
void rpc_connection_free(struct rpc_connection *connection);

#endif
