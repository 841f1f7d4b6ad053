/* A router's ways to the nodes, as rpc/'s node client keeps them: a connection that is cut is found
 * dead after a while; then another node passes the router's frames on, one that reaches both and is
 * there. The router is told as in production: up when one of the two ways is, down when one was
 * lost over which something may be under way. What is simplified: relays are looked for unasked,
 * and a detour takes no longer. */
#include "tests/sim/world.h"

#define LOOK_US 50000u
#define FOUND_DEAD_US_MAX 1000000u /* by broken connections or by pings */
#define RELAY_AFTER_US 300000u

static uint64_t host_us(const struct sim_router *router) {
    return sim_host_now_us(&router->host);
}

static bool reach_each_other(const struct sim *sim, const struct sim_host *a,
                             const struct sim_host *b) {
    return !sim->cut[a->index][b->index] && !sim->cut[b->index][a->index];
}

static bool serves(const struct sim_node *node) {
    return node->host.up && !node->host.paused && node->store;
}

static bool can_relay(const struct sim_router *router, const struct sim_node *via,
                      const struct sim_node *node) {
    const struct sim *sim = router->host.sim;
    return via != node && serves(via) && serves(node) && sim_router_reaches(router, via) &&
           sim_node_reaches(via, node) && reach_each_other(sim, &router->host, &via->host) &&
           reach_each_other(sim, &via->host, &node->host);
}

static struct sim_node *find_relay(struct sim_router *router, const struct sim_node *node) {
    struct sim *sim = router->host.sim;
    uint64_t first = prng_below(&sim->prng, sim->config.nodes);
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        struct sim_node *via = &sim->nodes[(first + i) % sim->config.nodes];
        if (can_relay(router, via, node)) return via;
    }
    return NULL;
}

bool sim_way_up(const struct sim_router *router, const struct sim_node *node) {
    const struct sim_way *way = &router->ways[node->host.number - 1];
    if (way->via) return true;
    /* At its address there is nobody, or somebody else, who refuses the handshake. */
    return !way->down && (!node->host.up || sim_router_reaches(router, node));
}

static void tell_down(struct sim_router *router, const struct sim_node *node) {
    router_node_down(router->router, node->node_id, host_us(router));
    if (sim_way_up(router, node)) router_node_up(router->router, node->node_id, host_us(router));
}

static void look_at_way(struct sim_router *router, const struct sim_node *node,
                        struct sim_way *way) {
    struct sim *sim = router->host.sim;
    if (node->node_id == 0) return;
    if (reach_each_other(sim, &router->host, &node->host)) {
        bool told = way->down;
        *way = (struct sim_way){0}; /* what is under way on a relay still arrives */
        if (told) router_node_up(router->router, node->node_id, host_us(router));
        return;
    }
    if (way->lost_us == 0) {
        way->lost_us = sim->now_us;
        way->down_us = sim->now_us + prng_below(&sim->prng, FOUND_DEAD_US_MAX);
    }
    if (!way->down && sim->now_us >= way->down_us) {
        way->down = true;
        tell_down(router, node);
    }
    if (way->via && !can_relay(router, way->via, node)) {
        way->via = NULL;
        tell_down(router, node);
    }
    if (way->via || !way->down || sim->now_us < way->down_us + RELAY_AFTER_US) return;
    way->via = find_relay(router, node);
    if (!way->via) return;
    sim_note(sim, "router %u: reaches node %u through node %u", router->host.number,
             node->host.number, way->via->host.number);
    router_node_up(router->router, node->node_id, host_us(router));
}

static void look_at_ways(struct sim_host *host, void *ctx) {
    struct sim_router *router = CONTAINER_OF(host, struct sim_router, host);
    (void)ctx;
    for (uint32_t i = 0; i < host->sim->config.nodes; i++)
        look_at_way(router, &host->sim->nodes[i], &router->ways[i]);
    sim_router_settle(router);
}

static void look(struct sim *sim, struct sim_timer *timer) {
    struct sim_router *router = CONTAINER_OF(timer, struct sim_router, ways_timer);
    if (!router->host.paused) sim_host_run(&router->host, look_at_ways, NULL);
    sim_timer_start(sim, timer, sim->now_us + LOOK_US);
}

void sim_detours_start(struct sim_router *router) {
    memset(router->ways, 0, sizeof(router->ways));
    router->ways_timer.fire = look;
    sim_timer_start(router->host.sim, &router->ways_timer, router->host.sim->now_us + LOOK_US);
}

void sim_detours_stop(struct sim_router *router) {
    sim_timer_stop(router->host.sim, &router->ways_timer);
    memset(router->ways, 0, sizeof(router->ways));
}

const struct sim_host *sim_detour(const struct sim *sim, enum sim_message_kind kind, uint32_t from,
                                  uint32_t to) {
    if (kind != SIM_REQUESTS && kind != SIM_REPLIES) return NULL;
    uint32_t router = kind == SIM_REQUESTS ? from : to, node = kind == SIM_REQUESTS ? to : from;
    const struct sim_router *of = CONTAINER_OF(sim->hosts[router], struct sim_router, host);
    const struct sim_node *via = of->ways[sim->hosts[node]->number - 1].via;
    return via ? &via->host : NULL;
}
