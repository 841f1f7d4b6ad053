/* Stale reads: any replica may answer, whoever leads. The near node's is asked first, else all in
 * turn; one that does not serve the range is followed by the next, and a whole round in vain by a
 * pause. Nothing that comes of it says who leads, and nobody who searches for that is disturbed. */
#include "range/router/internal.h"

bool router_part_stale(const struct router_part *part) {
    const struct router_call *call = part->call;
    return (call->op == ROUTER_GET || call->op == ROUTER_SCAN) &&
           call->read_mode == RANGE_READ_STALE;
}

void router_set_near_node(struct router *router, uint64_t node_id) {
    router->near_node = node_id;
}

static uint64_t first_replica(struct router *router, const struct range_descriptor *range) {
    for (uint32_t i = 0; i < range->replica_count; i++)
        if (range->replicas[i].node_id == router->near_node) return i;
    return router->stale_reads++;
}

/* The node to ask next; 0: all have been asked. Those that left a question open come last. */
static uint64_t next_node(struct router *router, const struct range_descriptor *range,
                          struct router_part *part) {
    if (part->asked == 0) part->first_asked = first_replica(router, range);
    const uint32_t count = range->replica_count;
    for (; count > 0 && part->asked < 2 * count; part->asked++) {
        bool again = part->asked >= count;
        uint64_t at = (part->first_asked + part->asked) % count;
        uint64_t node_id = range->replicas[at].node_id;
        if (router_node_usable(router, node_id) && router_node(router, node_id)->silent == again)
            return node_id;
    }
    return 0;
}

void router_stale_dispatch(struct router_part *part, struct route *route) {
    struct router *router = part->call->router;
    if (part->range_id != route->descriptor.range_id) part->asked = 0;
    uint64_t node_id = next_node(router, &route->descriptor, part);
    part->range_id = route->descriptor.range_id;
    if (node_id != 0) {
        part->obstacle = OBSTACLE_NONE;
        router_part_send(part, route, node_id);
        return;
    }
    part->asked = 0;
    part->obstacle = OBSTACLE_NO_REPLICA;
    router_want_refresh(router);
    router_part_pause(part, router_backoff_us(router, router->config.backoff_min_us,
                                              router->config.backoff_max_us, part->pauses++));
}

void router_stale_refused(struct router_part *part, const struct range_reply *reply) {
    struct router *router = part->call->router;
    if (reply->descriptor) (void)router_learn(router, reply->descriptor); /* if it is newer */
    if (reply->code == RANGE_REPLY_NO_RANGE) router_want_refresh(router);
    router->redirects_total++;
    part->asked++;
    router_part_ready(part);
}

void router_stale_unanswered(struct router_part *part) {
    struct router *router = part->call->router;
    router_node(router, part->node_id)->silent = true;
    router->retries_total++;
    part->asked++;
    router_part_ready(part);
}

void router_stale_answered(struct router_part *part, uint64_t as_of) {
    struct router_call *call = part->call;
    if (!call->stale_seen || as_of < call->as_of) call->as_of = as_of;
    call->stale_seen = true;
}
