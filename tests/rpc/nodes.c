#include "tests/rpc/nodes.h"

#include <criterion/criterion.h>
#include <stdio.h>

void node_start(struct rpc_loop *loop, struct node *node, uint64_t id, const char *listen,
                bool serving) {
    struct rpc_server_config config = {.listen = listen};
    struct rpc_identity identity = {.cluster_id = NODE_CLUSTER, .node_id = id};
    struct buf error = {0};
    node->id = id;
    node->server = rpc_server_new(loop, &config);
    node->rpc = rpc_node_new(loop, node->server);
    node->transport = rpc_node_transport(node->rpc);
    cr_assert_eq(rpc_server_start(node->server, &error), STATUS_OK, "%.*s", (int)error.len,
                 (const char *)error.data);
    rpc_server_set_identity(node->server, &identity);
    if (serving) rpc_node_start(node->rpc, &node->store, &identity);
    (void)snprintf(node->address, sizeof(node->address), "127.0.0.1:%u",
                   rpc_server_port(node->server));
    buf_done(&error);
}

void node_stop(struct node *node) {
    if (!node->rpc) return;
    rpc_node_stop(node->rpc);
    rpc_server_free(node->server);
    fake_store_done(&node->store);
    rpc_node_free(node->rpc);
    node->rpc = NULL;
}

void node_introduce(struct node *a, struct node *b) {
    rpc_node_set_address(a->rpc, b->id, b->address, 0);
    rpc_node_set_address(b->rpc, a->id, a->address, 0);
}

void node_turn(struct rpc_loop *loop, uint64_t us) {
    bool never = false;
    (void)rpc_loop_run_until(loop, &never, us);
}

struct rpc_stream *node_dial_raw(struct rpc_client *client, const char *method,
                                 const struct rpc_identity *identity, uint64_t to_node,
                                 struct echo_answer *answer) {
    struct rpc_open_options options = {
        .wait_for_ready = true, .identity = identity, .to_node = to_node};
    *answer = (struct echo_answer){0};
    return rpc_client_open(client, method, &options, &echo_client_events, answer);
}
