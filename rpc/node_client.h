/* The router's streams to the nodes, direct or relayed (rpc/relay.h), and the driver of a router on
 * a loop: with this, a `struct router` lives on the loop thread without further care.
 *
 * It calls router_node_up and router_node_down, hands incoming frames to router_replies, calls
 * router_tick when router_next_us says so, and router_flush once at the end of every turn of the
 * loop. Its owner composes `struct router_io` from rpc_node_client_send and a placement client.
 *
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_NODE_CLIENT_H
#define FLOTILLA_RPC_NODE_CLIENT_H

#include "range/router/router.h"
#include "range/store.h"
#include "rpc/client.h"

struct rpc_node_client;

struct rpc_node_client *rpc_node_client_new(struct rpc_loop *loop);
/* Closes all streams and lets go of the router, which is freed afterwards. */
void rpc_node_client_free(struct rpc_node_client *client);

/* Before the router's first use. */
void rpc_node_client_set_router(struct rpc_node_client *client, struct router *router);
/* The cluster's id, once placement has told it: no node is dialled before. MISMATCH: it is 0, or
 * another one than before; a router serves one cluster, for life. Nothing changes then. */
enum status rpc_node_client_set_cluster(struct rpc_node_client *client,
                                        uint64_t cluster_id) MUST_CHECK;
/* The address book, as placement tells it. Unchanged entries cost nothing. */
void rpc_node_client_set_address(struct rpc_node_client *client, uint64_t node_id,
                                 const char *address);

/* For a router that lives beside a store (a node's own): requests for `node_id` go to the store
 * without a stream, and other nodes are dialled when there is something to send them. Call it
 * before the first address is set. */
void rpc_node_client_set_store(struct rpc_node_client *client, uint64_t node_id,
                               struct range_store *store);
/* The store stops: its node is down from now on. Before range_store_free. */
void rpc_node_client_unset_store(struct rpc_node_client *client);

/* Over the direct link to the node; while that has been down for a while, over a relay, which is
 * looked for when there is something to send. The router hears that the node is up when one of the
 * two is, and that it is down when one was lost over which something may be under way.
 *
 * For router_io.send: UNAVAILABLE: no stream to that node now; BUSY: its queue is full. */
enum status rpc_node_client_send(struct rpc_node_client *client, uint64_t node_id,
                                 struct slice frame) MUST_CHECK;

#endif
