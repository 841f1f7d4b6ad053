/* A router's process: the router library of production, its streams to nodes, and its questions to
 * placement. Clients (clients.c) live in the same process. */
#include "tests/sim/world.h"

#define MAP_TIMEOUT_US 300000u

static enum status send_requests(void *ctx, uint64_t node_id, struct slice frame) {
    struct sim_router *router = ctx;
    struct sim *sim = router->host.sim;
    struct sim_node *node = sim_node_by_id(sim, node_id);
    if (!node || !router->host.up) return STATUS_UNAVAILABLE;
    if (!sim_way_up(router, node)) return STATUS_UNAVAILABLE;
    /* A process that is not there refuses the connection; a machine that is not there does not. */
    if (!node->host.up && sim_chance(sim, 500)) return STATUS_UNAVAILABLE;
    sim_send(sim, SIM_REQUESTS, router->host.index, node->host.index, frame, NULL, 0);
    return STATUS_OK;
}

static void ask_for_map(struct sim_router *router) {
    struct sim *sim = router->host.sim;
    sim_send(sim, SIM_MAP_ASKED, router->host.index, sim->members[router->member].host.index,
             SLICE_EMPTY, NULL, 0);
    sim_timer_start(sim, &router->map_timeout, sim->now_us + MAP_TIMEOUT_US);
}

/* No answer, or none from the leader: the next member is asked, until one answers. */
static void map_timed_out(struct sim *sim, struct sim_timer *timer) {
    struct sim_router *router = CONTAINER_OF(timer, struct sim_router, map_timeout);
    router->member = sim_next_member(sim, router->member);
    if (router->map_asked) ask_for_map(router);
}

static void refresh(void *ctx) {
    struct sim_router *router = ctx;
    if (router->map_asked) router->member = sim_next_member(router->host.sim, router->member);
    router->map_asked = true;
    ask_for_map(router);
}

void sim_router_start(struct sim_router *router) {
    struct router_config config = {.seed = prng_next(&router->host.sim->prng),
                                   .attempt_timeout_us =
                                       router->host.sim->config.attempt_timeout_us};
    struct router_io io = {.ctx = router, .send = send_requests, .refresh = refresh};
    router->book = (struct sim_book){0};
    router->map_asked = false;
    router->map_timeout.fire = map_timed_out;
    router->router = router_new(&config, &io);
    sim_rules_router_began(router->host.sim, &router->host);
    sim_detours_start(router);
}

void sim_router_stop(struct sim_router *router) {
    sim_timer_stop(router->host.sim, &router->map_timeout);
    sim_detours_stop(router);
    struct router *old = router->router;
    router->router = NULL;
    router_free(old);
}

static void schedule(struct sim_router *router) {
    struct sim *sim = router->host.sim;
    if (!router->host.up || router->host.paused) return;
    uint64_t next_us = router_next_us(router->router);
    if (next_us == UINT64_MAX) {
        sim_timer_stop(sim, &router->host.wake);
        return;
    }
    uint64_t at_us = sim_host_when(&router->host, next_us);
    sim_timer_start(sim, &router->host.wake, at_us > sim->now_us ? at_us : sim->now_us);
}

void sim_router_settle(struct sim_router *router) {
    if (!router->host.up) return;
    router_flush(router->router, sim_host_now_us(&router->host));
    sim_rules_router(router->host.sim, &router->host, router->router);
    schedule(router);
}

void sim_router_wake(struct sim_router *router) {
    router_tick(router->router, sim_host_now_us(&router->host));
    sim_router_settle(router);
}

/* And dials those who were elsewhere before. */
static void learn_addresses(struct sim_router *router, const struct sim_body *body,
                            uint64_t host_us) {
    struct sim *sim = router->host.sim;
    struct sim_book before = router->book;
    sim_book_learn(&router->book, body);
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->node_id == 0 || !node->store ||
            before.addresses[node->node_id - 1] == router->book.addresses[node->node_id - 1])
            continue;
        if (sim_router_reaches(router, node))
            router_node_up(router->router, node->node_id, host_us);
    }
}

void sim_router_receive(struct sim_router *router, struct sim_message *message) {
    struct sim *sim = router->host.sim;
    const struct sim_host *from = sim->hosts[message->from];
    uint64_t host_us = sim_host_now_us(&router->host);
    uint64_t node_id =
        from->kind == SIM_NODE ? CONTAINER_OF(from, struct sim_node, host)->node_id : 0;
    if (message->kind == SIM_REPLIES) {
        /* A stream that broke delivers nothing more. */
        if (from->incarnation == message->from_incarnation) {
            enum status status =
                router_replies(router->router, node_id, slice_from_buf(&message->frame), host_us);
            if (status != STATUS_OK)
                sim_broken(sim, "nodes send frames that routers understand", "from node %u: %s",
                           from->number, status_name(status));
        }
    } else if (message->kind == SIM_STREAM_DOWN) {
        if (node_id) router_node_down(router->router, node_id, host_us);
    } else if (message->kind == SIM_STREAM_UP) {
        /* It dials again and again, but where it knows the node to be. */
        if (node_id && sim_router_reaches(router, CONTAINER_OF(from, struct sim_node, host)))
            router_node_up(router->router, node_id, host_us);
    } else if (message->kind == SIM_MAP && router->map_asked &&
               message->body->status == STATUS_OK && message->body->range_count > 0) {
        router->map_asked = false;
        sim_timer_stop(sim, &router->map_timeout);
        router->member = from->number - 1;
        learn_addresses(router, message->body, host_us);
        router_set_ranges(router->router, message->body->lists->ranges, message->body->range_count,
                          host_us);
    }
    sim_router_settle(router);
}
