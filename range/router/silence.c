/* Leaders that fall silent, when nobody waits long enough to see it.
 *
 * An attempt that lasts its time shows that its node is silent (attempts.c). But clients that are
 * less patient than that, and writes that must not run twice, never let one last: were it not for
 * what is kept here, they would ask a hung leader for as long as they come. So a route knows since
 * when its leader has left everything unanswered, and a call whose deadline passes has the leader
 * looked for when that is too long. Nothing is sent again for it.
 *
 * An answer that comes behind its deadline is an answer: the last attempts that were given up are
 * remembered, for their ranges. */
#include "range/router/internal.h"

void router_silence_sent(struct router *router, struct route *route, uint64_t node_id) {
    if (node_id == route->leader_node && route->unheard_us == 0) route->unheard_us = router->now_us;
}

void router_silence_heard(struct route *route) {
    route->unheard_us = 0;
}

void router_silence_late(const struct router_part *part) {
    struct router *router = part->call->router;
    if (part->state != PART_SENT || router_part_stale(part)) return;
    router->late[router->late_at++ % ROUTER_LATE_MAX] = (struct router_late){
        .attempt_id = part->attempt.id, .node_id = part->node_id, .range_id = part->range_id};
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    if (!route || route->searching || route->leader_node != part->node_id ||
        route->unheard_us == 0 ||
        router->now_us < route->unheard_us + router->config.attempt_timeout_us)
        return;
    route->silent_node = part->node_id;
    route_search(router, route, part->node_id);
}

void router_silence_heard_late(struct router *router, uint64_t node_id, uint64_t attempt_id) {
    for (uint32_t i = 0; i < ROUTER_LATE_MAX; i++) {
        struct router_late *late = &router->late[i];
        if (late->attempt_id != attempt_id || late->node_id != node_id) continue;
        struct route *route = route_cache_by_id(&router->cache, late->range_id);
        if (route && route->leader_node == node_id) router_silence_heard(route);
        *late = (struct router_late){0};
        return;
    }
}
