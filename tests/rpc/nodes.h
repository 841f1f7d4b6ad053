/* Nodes on a loop, each with the service of production over a stand-in for its store. */
#ifndef FLOTILLA_TESTS_RPC_NODES_H
#define FLOTILLA_TESTS_RPC_NODES_H

#include "rpc/node_service.h"
#include "tests/rpc/echo.h"
#include "tests/rpc/fake_range.h"

#define NODE_CLUSTER 77u

struct node {
    uint64_t id;
    struct range_store store;
    struct rpc_server *server;
    struct rpc_node *rpc;
    const struct range_transport *transport;
    char address[64];
};

/* Not serving: as before it is registered. */
void node_start(struct rpc_loop *loop, struct node *node, uint64_t id, const char *listen,
                bool serving);
void node_stop(struct node *node); /* no effect when it does not run */
void node_introduce(struct node *a, struct node *b);

void node_turn(struct rpc_loop *loop, uint64_t us);
/* A stream to a node that waits for it to be there, with any queue. */
struct rpc_stream *node_dial_raw(struct rpc_client *client, const char *method,
                                 const struct rpc_identity *identity, uint64_t to_node,
                                 struct echo_answer *answer);

#endif
