/* The node's service: its life, its transport, its status. */
#include "rpc/node_service.h"

#include "base/assert.h"
#include "base/memory.h"
#include "rpc/limits.h"
#include "rpc/node_internal.h"

static void send_raft(void *ctx, uint64_t to_node, struct slice frame) {
    rpc_node_peers_send(ctx, to_node, RPC_CHANNEL_RAFT, frame);
}

static void send_snapshot(void *ctx, uint64_t to_node, struct slice frame) {
    rpc_node_peers_send(ctx, to_node, RPC_CHANNEL_SNAPSHOT, frame);
}

static void refuse(void *ctx, uint64_t from_node) {
    rpc_node_peers_refuse(ctx, from_node);
}

static void inline_thread(struct rpc_turn_hook *hook) {
    struct rpc_node *node = CONTAINER_OF(hook, struct rpc_node, hook);
    range_store_run_inline(atomic_load(&node->store));
}

static const struct rpc_method node_methods[] = {
    {.path = "/flotilla.v1.Node/Raft",
     .open = rpc_node_open_raft,
     .handshake = true,
     .stream = {.merge = true}},
    {.path = "/flotilla.v1.Node/Snapshot",
     .open = rpc_node_open_snapshot,
     .handshake = true,
     .stream = {.merge = true}},
    {.path = "/flotilla.v1.Node/Requests",
     .open = rpc_node_open_requests,
     .handshake = true,
     .stream = {.merge = true, .hold_back = true}},
    {.path = "/flotilla.v1.Node/Relay",
     .open = rpc_node_open_relay,
     .handshake = true,
     .stream = {.merge = true, .hold_back = true, .queue_bytes_max = RPC_RELAY_QUEUE_BYTES_MAX}},
    {.path = "/flotilla.v1.Node/Status",
     .unary = rpc_node_answer_status,
     .bytes_max = RPC_SMALL_REQUEST_BYTES_MAX},
};

struct rpc_node *rpc_node_new(struct rpc_loop *loop, struct rpc_server *server) {
    struct rpc_node *node = MEMORY_NEW(struct rpc_node);
    node->loop = loop;
    node->server = server;
    node->transport = (struct range_transport){
        .ctx = node, .send_raft = send_raft, .send_snapshot = send_snapshot, .refuse = refuse};
    list_init(&node->sessions);
    list_init(&node->relays);
    (void)pthread_rwlock_init(&node->lock, NULL); /* Cannot fail with default attributes. */
    rpc_server_add(server, node_methods, sizeof(node_methods) / sizeof(node_methods[0]), node);
    return node;
}

void rpc_node_free(struct rpc_node *node) {
    if (!node) return;
    ASSERT(atomic_load(&node->store) == NULL && list_empty(&node->sessions));
    ASSERT(list_empty(&node->relays));
    rpc_node_peers_free(node);
    (void)pthread_rwlock_destroy(&node->lock); /* Nobody sends any more: cannot fail. */
    memory_free(node);
}

const struct range_transport *rpc_node_transport(struct rpc_node *node) {
    return &node->transport;
}

void rpc_node_start(struct rpc_node *node, struct range_store *store,
                    const struct rpc_identity *identity) {
    ASSERT(rpc_loop_on_thread(node->loop));
    ASSERT(identity->cluster_id != 0 && identity->node_id != 0);
    ASSERT(atomic_load(&node->store) == NULL && !node->stopped);
    node->identity = *identity;
    rpc_server_set_identity(node->server, identity);
    atomic_store(&node->store, store);
    range_store_inline_begin(store);
    node->hook.end_of_turn = inline_thread;
    rpc_loop_add_idle_hook(node->loop, &node->hook);
    rpc_node_peers_start(node);
}

void rpc_node_stop(struct rpc_node *node) {
    ASSERT(rpc_loop_on_thread(node->loop));
    node->stopped = true;
    struct range_store *store = atomic_exchange(&node->store, NULL);
    if (store) {
        rpc_loop_remove_hook(node->loop, &node->hook);
        range_store_inline_end(store);
    }
    rpc_node_peers_stop(node);
    rpc_node_sessions_stop(node);
    rpc_node_relays_stop(node);
}

bool rpc_node_serving(struct rpc_node *node, struct rpc_stream *stream) {
    if (atomic_load(&node->store)) return true;
    rpc_stream_refuse(stream, RPC_UNAVAILABLE,
                      node->stopped ? "node %lu is shutting down" : "node %lu is starting up",
                      (unsigned long)node->identity.node_id);
    return false;
}

void rpc_node_set_facts(struct rpc_node *node, rpc_node_facts_fn *facts, void *ctx) {
    node->facts = facts;
    node->facts_ctx = ctx;
}

void rpc_node_set_address(struct rpc_node *node, uint64_t node_id, const char *address,
                          uint64_t incarnation) {
    ASSERT(rpc_loop_on_thread(node->loop));
    if (!node->stopped) rpc_node_peers_set(node, node_id, address, incarnation);
}
