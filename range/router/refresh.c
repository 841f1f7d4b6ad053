/* Asking placement for the range map when the cache has a hole, and asking again with back-off as
 * long as somebody needs it. */
#include <inttypes.h>

#include "range/router/internal.h"

#define REFRESH_PAUSE_US_MIN 20000u

static void ask(struct router *router) {
    router->refresh_wanted = false;
    router->refreshes_total++;
    uint64_t pause_us = router_backoff_us(router, REFRESH_PAUSE_US_MIN,
                                          router->config.backoff_max_us, router->refresh_attempts);
    router->refresh_attempts++;
    router_timer_set(router, &router->refresh_timer, router->now_us + pause_us);
    router->io.refresh(router->io.ctx);
}

void router_want_refresh(struct router *router) {
    router->refresh_wanted = true;
    if (router->refresh_timer.node.slot == 0) ask(router);
}

/* The pause after the last question is over. */
void router_refresh_timer(struct router *router) {
    if (router->refresh_wanted || !list_empty(&router->unrouted)) {
        ask(router);
    } else {
        router->refresh_attempts = 0;
    }
}

void router_reroute(struct router *router) {
    LIST_FOR_EACH_SAFE (link, &router->unrouted) {
        router_part_ready(CONTAINER_OF(link, struct router_part, link));
    }
}

static void refuse_unknown_range(struct router_call *call) {
    const struct idmap *by_id = &call->router->cache.by_id;
    uint64_t first = UINT64_MAX, last = 0;
    for (const struct idmap_node *at = idmap_next(by_id, NULL); at; at = idmap_next(by_id, at)) {
        if (at->id < first) first = at->id;
        if (at->id > last) last = at->id;
    }
    struct buf text = {0};
    buf_printf(&text,
               "range %" PRIu64 " does not exist; the ranges' ids go from %" PRIu64 " to %" PRIu64,
               call->range_id, first, last);
    router_call_fail(call, ROUTER_INVALID, slice_from_buf(&text));
    buf_done(&text);
}

/* Every key has a range, if only the map is complete; but a range that is asked for by its id and
 * that placement has never heard of is not worth waiting for. */
static void refuse_unknown_ranges(struct router *router) {
    LIST_FOR_EACH_SAFE (link, &router->unrouted) {
        struct router_call *call = CONTAINER_OF(link, struct router_part, link)->call;
        if (router_call_by_range(call) && !route_cache_by_id(&router->cache, call->range_id))
            refuse_unknown_range(call);
    }
}

/* The map may be older than what refusals taught: each range is judged by its epoch, and a leader
 * is believed only where none is known. */
void router_set_ranges(struct router *router, const struct router_range *ranges, size_t count,
                       uint64_t now_us) {
    router_enter(router, now_us);
    if (count > 0) router->map_seen = true;
    for (size_t i = 0; i < count; i++) {
        (void)router_learn(router, &ranges[i].descriptor); /* older ones change nothing */
        struct route *route = route_cache_by_id(&router->cache, ranges[i].descriptor.range_id);
        if (!route || route->leader_node != 0 || ranges[i].leader_node == 0) continue;
        if (route->searching) {
            route->preferred_node = ranges[i].leader_node;
        } else {
            route->leader_node = ranges[i].leader_node;
        }
    }
    if (count > 0) refuse_unknown_ranges(router);
    router_settle(router);
}
