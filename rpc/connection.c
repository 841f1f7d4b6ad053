/* Connections. The client that carries the stream cannot be freed within the stream's events, so
 * that a task of the loop does it. */
#include "rpc/connection.h"

#include "base/assert.h"
#include "base/memory.h"
#include "rpc/client_internal.h"

struct rpc_connection {
    struct rpc_client *client;
    struct rpc_stream *stream; /* counted */
};

struct rpc_connection *rpc_connection_new(struct rpc_loop *loop,
                                          const struct rpc_link_config *config,
                                          const struct rpc_stream_events *events, void *ctx) {
    struct rpc_open_options options = {
        .stream = config->stream, .identity = &config->identity, .to_node = config->to_node};
    struct rpc_connection *connection = MEMORY_NEW(struct rpc_connection);
    connection->client = rpc_client_new(loop, config->address);
    connection->stream =
        rpc_stream_ref(rpc_client_open(connection->client, config->method, &options, events, ctx));
    return connection;
}

struct rpc_stream *rpc_connection_stream(struct rpc_connection *connection) {
    return connection->stream;
}

static void free_client(void *ctx) {
    rpc_client_free(ctx);
}

void rpc_connection_free(struct rpc_connection *connection) {
    if (!connection) return;
    struct rpc_client *client = connection->client;
    ASSERT(rpc_loop_on_thread(client->loop));
    connection->stream->events = NULL;
    rpc_stream_close(connection->stream, RPC_CANCELLED, "the connection is not needed any more");
    rpc_stream_unref(connection->stream);
    rpc_loop_call(client->loop, free_client, client);
    memory_free(connection);
}
