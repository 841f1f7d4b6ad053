#include "cmd/router_runtime.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/memory.h"
#include "rpc/node_client.h"
#include "rpc/placement_client.h"

/* A line about a placement that does not answer, at most so often. */
#define COMPLAIN_EVERY_US 10000000u
/* Pause between questions for the first map, doubling. */
#define FIRST_MAP_PAUSE_US_MIN 50000u
#define FIRST_MAP_PAUSE_US_MAX 1000000u

struct router_runtime {
    struct rpc_loop *loop;
    struct router_runtime_config config;
    struct placement_client *placement;
    bool owns_placement;
    struct rpc_node_client *nodes;
    struct router *router;
    uint64_t complained_us;
    bool mapped;                  /* a map with ranges has been seen */
    struct rpc_timer first_timer; /* asks for the first map again */
    uint64_t first_pause_us;
};

static enum status send(void *ctx, uint64_t node_id, struct slice frame) {
    struct router_runtime *runtime = ctx;
    return rpc_node_client_send(runtime->nodes, node_id, frame);
}

static void complain(struct router_runtime *runtime, struct slice why) {
    uint64_t now_us = rpc_loop_now_us(runtime->loop);
    if (runtime->complained_us && now_us - runtime->complained_us < COMPLAIN_EVERY_US) return;
    runtime->complained_us = now_us;
    log_warn("no_range_map", "placement=%s reason=\"%.*s\"", runtime->config.placement,
             (int)why.len, (const char *)why.data);
}

static void set_addresses(struct router_runtime *runtime, const struct placement_client_map *map) {
    struct buf text = {0};
    for (uint32_t i = 0; i < map->node_count; i++) {
        buf_assign(&text, map->nodes[i].address);
        buf_append_byte(&text, 0);
        rpc_node_client_set_address(runtime->nodes, map->nodes[i].node_id, (const char *)text.data);
    }
    buf_done(&text);
}

static void map_came(void *ctx, enum status status, struct slice text,
                     const struct placement_client_map *map) {
    struct router_runtime *runtime = ctx;
    if (status != STATUS_OK) {
        complain(runtime, text);
        return; /* the router asks again by itself */
    }
    if (map->range_count > 0 &&
        rpc_node_client_set_cluster(runtime->nodes, map->cluster_id) != STATUS_OK) {
        complain(runtime,
                 SLICE_LITERAL("placement answers for another cluster than before; start this "
                               "process anew if that is meant, else check the address"));
        return; /* the map in use stays */
    }
    if (map->range_count == 0) {
        complain(runtime, SLICE_LITERAL("the cluster is not born yet: nodes are missing"));
    } else {
        if (!runtime->mapped)
            log_info("range_map", "ranges=%zu nodes=%u", map->range_count, map->node_count);
        runtime->mapped = true;
        set_addresses(runtime, map);
        router_set_ranges(runtime->router, map->ranges, map->range_count,
                          rpc_loop_now_us(runtime->loop));
    }
    if (runtime->config.mapped) runtime->config.mapped(runtime->config.ctx, map->range_count);
}

static void refresh(void *ctx) {
    struct router_runtime *runtime = ctx;
    placement_client_ranges(runtime->placement, map_came, runtime);
}

/* The router asks only when a request needs the map; but whoever balances load over routers waits
 * for them to be ready before it sends any request. So the first map is asked for unprompted, by
 * one question after the other, until there is one. */
static void first_map_came(void *ctx, enum status status, struct slice text,
                           const struct placement_client_map *map) {
    struct router_runtime *runtime = ctx;
    map_came(ctx, status, text, map);
    if (runtime->mapped) return;
    rpc_timer_start(runtime->loop, &runtime->first_timer,
                    rpc_loop_now_us(runtime->loop) + runtime->first_pause_us);
    runtime->first_pause_us *= 2;
    if (runtime->first_pause_us > FIRST_MAP_PAUSE_US_MAX)
        runtime->first_pause_us = FIRST_MAP_PAUSE_US_MAX;
}

static void ask_first_map(struct rpc_timer *timer) {
    struct router_runtime *runtime = CONTAINER_OF(timer, struct router_runtime, first_timer);
    if (!runtime->mapped) placement_client_ranges(runtime->placement, first_map_came, runtime);
}

enum status router_runtime_new(struct rpc_loop *loop, const struct router_runtime_config *config,
                               struct buf *error, struct router_runtime **ret_runtime) {
    struct placement_client *placement = config->client;
    if (!placement) {
        enum status status = placement_client_new(
            &(struct placement_client_config){.loop = loop, .addresses = config->placement}, error,
            &placement);
        if (status != STATUS_OK) return status;
    }
    struct router_runtime *runtime = MEMORY_NEW(struct router_runtime);
    runtime->loop = loop;
    runtime->config = *config;
    runtime->placement = placement;
    runtime->owns_placement = !config->client;
    runtime->nodes = rpc_node_client_new(loop);
    struct router_io io = {.ctx = runtime, .send = send, .refresh = refresh};
    runtime->router = router_new(&runtime->config.router, &io);
    rpc_node_client_set_router(runtime->nodes, runtime->router);
    runtime->first_timer.fire = ask_first_map;
    runtime->first_pause_us = FIRST_MAP_PAUSE_US_MIN;
    if (!config->beside_store) ask_first_map(&runtime->first_timer);
    *ret_runtime = runtime;
    return STATUS_OK;
}

void router_runtime_set_store(struct router_runtime *runtime, uint64_t node_id,
                              struct range_store *store) {
    rpc_node_client_set_store(runtime->nodes, node_id, store);
    router_set_near_node(runtime->router, node_id);
    ask_first_map(&runtime->first_timer);
}

void router_runtime_unset_store(struct router_runtime *runtime) {
    if (runtime) rpc_node_client_unset_store(runtime->nodes);
}

void router_runtime_free(struct router_runtime *runtime) {
    if (!runtime) return;
    rpc_timer_stop(runtime->loop, &runtime->first_timer);
    rpc_node_client_free(runtime->nodes);
    router_free(runtime->router);
    if (runtime->owns_placement) placement_client_free(runtime->placement);
    memory_free(runtime);
}

struct router *router_runtime_router(struct router_runtime *runtime) {
    return runtime->router;
}
