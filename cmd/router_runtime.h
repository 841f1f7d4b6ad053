/* A router on a loop with everything it needs: its connections to the nodes and to placement. What
 * `flotilla router` serves from, what a node serves clients from beside its store, and what a
 * program uses that skips the hop (`flotilla admin`).
 * Threads: the loop thread. */
#ifndef FLOTILLA_CMD_ROUTER_RUNTIME_H
#define FLOTILLA_CMD_ROUTER_RUNTIME_H

#include "range/router/router.h"
#include "rpc/loop.h"
#include "rpc/placement_client.h"

struct router_runtime;

struct router_runtime_config {
    const char *placement; /* addresses of the members, comma-separated */
    /* Somebody else's client for these members, which outlives the last turn of the loop. NULL: an
     * own one. */
    struct placement_client *client;
    bool beside_store; /* idle until router_runtime_set_store */
    struct router_config router;
    /* Called whenever a range map has come; `ranges` 0: the cluster is not born yet. NULL: none. */
    void (*mapped)(void *ctx, size_t ranges);
    void *ctx;
};

/* INVALID with a sentence: an address is unreadable. */
enum status router_runtime_new(struct rpc_loop *loop, const struct router_runtime_config *config,
                               struct buf *error, struct router_runtime **ret_runtime) MUST_CHECK;
/* The store of this process, as node `node_id`: what it leads is asked without the network. */
void router_runtime_set_store(struct router_runtime *runtime, uint64_t node_id,
                              struct range_store *store);
/* Before range_store_free. NULL is fine, and a runtime without a store. */
void router_runtime_unset_store(struct router_runtime *runtime);
/* Every outstanding request is answered first (see router_free). NULL is fine. */
void router_runtime_free(struct router_runtime *runtime);
struct router *router_runtime_router(struct router_runtime *runtime);

#endif
