/* A router on a loop with everything it needs: its connections to the nodes and to placement. What
 * `flotilla router` serves from, and what a program uses that skips the hop (`flotilla admin`).
 * Threads: the loop thread. */
#ifndef FLOTILLA_CMD_ROUTER_RUNTIME_H
#define FLOTILLA_CMD_ROUTER_RUNTIME_H

#include "range/router/router.h"
#include "rpc/loop.h"

struct router_runtime;

struct router_runtime_config {
    const char *placement; /* addresses of the members, comma-separated */
    struct router_config router;
    /* Called whenever a range map has come; `ranges` 0: the cluster is not born yet. NULL: none. */
    void (*mapped)(void *ctx, size_t ranges);
    void *ctx;
};

/* INVALID with a sentence: an address is unreadable. */
enum status router_runtime_new(struct rpc_loop *loop, const struct router_runtime_config *config,
                               struct buf *error, struct router_runtime **ret_runtime) MUST_CHECK;
/* Every outstanding request is answered first (see router_free). NULL is fine. */
void router_runtime_free(struct router_runtime *runtime);
struct router *router_runtime_router(struct router_runtime *runtime);

#endif
