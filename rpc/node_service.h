/* A node's face to the cluster: the service flotilla.v1.Node (rpc/proto/flotilla/v1/node.proto) and
 * the streams to the other nodes; the production implementation of struct range_transport.
 *
 * Between two nodes there is one stream for Raft frames and one, on a connection of its own, for
 * snapshot frames, so that a snapshot never delays an append. Both are dialled by the node with the
 * lower id and carry frames both ways; of two streams with the same node the newer one counts. Only
 * the newest process of a node's directory is heard: the handshake names it.
 *
 *   order at start:  rpc_node_new → range_store_open(rpc_node_transport(node)) → rpc_node_start
 *   order at stop:   rpc_node_stop → workers stop and are joined → range_store_free → rpc_node_free
 *                    (rpc_server_free before rpc_node_free)
 *
 * A router that cannot reach a node itself may do so through this one (node_relays.c).
 *
 * Threads: the loop thread, except the transport's functions and the sessions given to the store.
 */
#ifndef FLOTILLA_RPC_NODE_SERVICE_H
#define FLOTILLA_RPC_NODE_SERVICE_H

#include "range/store.h"
#include "rpc/client.h"
#include "rpc/server.h"

struct rpc_node;

/* Adds the service to a server that has not started yet. Until rpc_node_start its streams are
 * refused with UNAVAILABLE. */
struct rpc_node *rpc_node_new(struct rpc_loop *loop, struct rpc_server *server);
void rpc_node_free(struct rpc_node *node); /* after rpc_node_stop and range_store_free */

/* Valid for the node's life. Sending before start, or to a node without an address, drops. */
const struct range_transport *rpc_node_transport(struct rpc_node *node);

/* `identity` has both ids; it is given to the server as well. */
void rpc_node_start(struct rpc_node *node, struct range_store *store,
                    const struct rpc_identity *identity);
/* What Node/Status says beside what the store and the address book know (node_status.c). */
enum rpc_node_state { RPC_NODE_STARTING, RPC_NODE_SERVING, RPC_NODE_STOPPING };
struct rpc_node_facts {
    enum rpc_node_state state;
    bool serves_clients;                  /* unless told not to */
    uint64_t placement_answered_us;       /* a heartbeat, on the loop's clock; 0: never */
    uint64_t disk_bytes, disk_free_bytes; /* 0: not known */
};
typedef void rpc_node_facts_fn(void *ctx, struct rpc_node_facts *ret_facts);
/* Before the server starts; called on the loop thread, once per question. */
void rpc_node_set_facts(struct rpc_node *node, rpc_node_facts_fn *facts, void *ctx);

/* Closes all streams; the store is not called any more once this has returned. */
void rpc_node_stop(struct rpc_node *node);

/* The address book, as placement tells it; own id is ignored. Unchanged entries cost nothing.
 * `incarnation`: of the process that registered last; streams with earlier ones are closed. */
void rpc_node_set_address(struct rpc_node *node, uint64_t node_id, const char *address,
                          uint64_t incarnation);

#endif
