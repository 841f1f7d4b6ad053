/* Asking a node what it knows (flotilla.v1.Node/Status), placement or not.
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_NODE_STATUS_H
#define FLOTILLA_RPC_NODE_STATUS_H

#include "range/store.h"
#include "rpc/client.h"
#include "rpc/node_service.h"

struct rpc_node_replica {
    uint64_t range_id, replica_id, term;
    bool leads;
    uint64_t leader_node; /* 0: it knows none */
    uint64_t commit_index, applied_index;
    uint64_t followers_behind; /* leads: entries */
    uint64_t data_bytes;
};

struct rpc_node_peer {
    uint64_t node_id;
    struct slice address;
    enum range_hearing hearing;
};

struct rpc_node_status {
    uint64_t cluster_id, node_id;
    enum rpc_node_state state;
    bool serves_clients;
    uint64_t placement_answered_ms;       /* ago; UINT64_MAX: never */
    uint64_t disk_bytes, disk_free_bytes; /* disk_bytes 0: not known */
    uint32_t peer_count, replica_count;   /* 0 when brief */
    const struct rpc_node_peer *peers;
    const struct rpc_node_replica *replicas;
};

/* Everything is valid during the callback; `node` is NULL unless the code is OK. */
typedef void rpc_node_status_fn(void *ctx, const struct rpc_status *status,
                                const struct rpc_node_status *node);
/* `brief`: neither peers nor replicas, however many there are. The callback comes exactly once,
 * never before this returns; before rpc_client_free returns at the latest. */
void rpc_node_status_ask(struct rpc_client *client, bool brief, uint64_t timeout_us,
                         rpc_node_status_fn *done, void *ctx);

#endif
