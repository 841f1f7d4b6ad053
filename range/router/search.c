/* Who leads a range, when nobody known does.
 *
 * All parts for the range wait in its queue while one of them, the probe, is sent to one replica
 * after the other; so a failed leader costs a handful of small requests per round, however many
 * clients wait. A refusal's hint is followed next. When a whole round has found nobody, the next
 * comes after a pause (2 ms, doubling with jitter to ROUTER_SEARCH_PAUSE_US_MAX): an election is
 * under way. Only an answer of a leader ends the search; then everybody who waits is sent there.
 *
 * A replica that keeps silent holds the search up for ROUTER_SEARCH_PATIENCE_US; then the next one
 * is asked, with another waiting part or, if it may run twice, with the same one. */
#include "range/router/internal.h"

static void begin_round(struct route *route) {
    route->asked = 0;
    route->absent = 0;
    route->hints_followed = 0;
}

void route_search(struct router *router, struct route *route, uint64_t not_node) {
    route->leader_node = 0;
    router_silence_heard(route);
    if (route->searching) return;
    route->searching = true;
    list_push_back(&router->searching, &route->in_searching);
    route->rounds = 0;
    route->preferred_node = 0;
    /* The one that was believed to lead is asked last; without such, the search goes on where the
     * last one ended. */
    for (uint32_t i = 0; i < route->descriptor.replica_count; i++)
        if (route->descriptor.replicas[i].node_id == not_node) route->candidate = i + 1;
    begin_round(route);
    router_timer_set(router, &route->timer, router->now_us);
}

/* Waiting parts go back to be dispatched. */
void route_search_stop(struct router *router, struct route *route) {
    while (!list_empty(&route->waiting))
        router_part_ready(CONTAINER_OF(route->waiting.next, struct router_part, link));
    if (!route->searching) return;
    route->searching = false;
    list_remove(&route->in_searching);
    router_timer_clear(router, &route->timer);
    route->probe_id = 0;
}

void route_found(struct router *router, struct route *route, uint64_t leader_node) {
    route->leader_node = leader_node;
    router_silence_heard(route);
    route->hints_followed = 0;
    route->silent_node = 0;
    route->hinted_node = 0;
    buf_clear(&route->complaint);
    route_search_stop(router, route);
}

/* The node to ask next; 0: this round is over. */
static uint64_t next_candidate(struct router *router, struct route *route) {
    uint64_t preferred = route->preferred_node;
    route->preferred_node = 0;
    if (preferred != 0 && route->hints_followed < ROUTER_HINTS_MAX &&
        router_node_usable(router, preferred)) {
        route->hints_followed++;
        return preferred;
    }
    const struct range_descriptor *range = &route->descriptor;
    while (route->asked < range->replica_count) {
        const struct range_replica_ref *replica =
            &range->replicas[route->candidate++ % range->replica_count];
        route->asked++;
        /* Learners, too: the descriptor may be older than their promotion. */
        if (router_node_usable(router, replica->node_id)) return replica->node_id;
    }
    return 0;
}

/* A range that none of its replicas' nodes has is a range that the cache is wrong about. */
static void end_round(struct router *router, struct route *route) {
    if (route->absent >= route->descriptor.replica_count) {
        router_want_refresh(router);
        router_evict(router, route);
        return;
    }
    /* Nodes may have come back elsewhere: the map brings their addresses as well. */
    if (route->rounds >= ROUTER_SEARCH_ROUNDS_BEFORE_REFRESH) router_want_refresh(router);
    uint64_t max_us = router->config.backoff_max_us < ROUTER_SEARCH_PAUSE_US_MAX
                          ? router->config.backoff_max_us
                          : ROUTER_SEARCH_PAUSE_US_MAX;
    uint64_t pause_us =
        router_backoff_us(router, router->config.backoff_min_us, max_us, route->rounds++);
    begin_round(route);
    router_timer_set(router, &route->timer, router->now_us + pause_us);
}

/* The first who waits, but not one that has been sent before and whose deadline is about to pass:
 * it would only turn a clear "no leader, nothing was changed" into an unknown outcome. NULL: nobody
 * has time left. */
static struct router_part *pick_probe(const struct router *router, const struct route *route) {
    uint32_t looked_at = 0;
    LIST_FOR_EACH (link, &route->waiting) {
        struct router_part *part = CONTAINER_OF(link, struct router_part, link);
        uint64_t deadline_us = part->call->deadline.node.key;
        bool has_time = deadline_us > router->now_us + ROUTER_PROBE_TIME_LEFT_US_MIN;
        bool fresh = part->attempt.id == 0 && !router_part_too_late(part);
        if (has_time || fresh) return part;
        if (++looked_at == ROUTER_PROBES_LOOKED_AT_MAX) break;
    }
    return NULL;
}

static void search_step(struct router *router, struct route *route) {
    ASSERT(route->searching && route->probe_id == 0);
    if (list_empty(&route->waiting)) {
        route_search_stop(router, route);
        return;
    }
    struct router_part *probe = pick_probe(router, route);
    uint64_t node_id = probe ? next_candidate(router, route) : 0;
    if (node_id == 0) {
        end_round(router, route);
        return;
    }
    uint32_t silences = probe->silences < 4 ? probe->silences : 4;
    router_timer_set(router, &route->timer,
                     router->now_us + ((uint64_t)ROUTER_SEARCH_PATIENCE_US << silences));
    router->retries_total++;
    route->probe_id = router->next_attempt_id; /* before it can fail */
    router_part_detach(probe);
    router_part_send(probe, route, node_id);
}

void route_wait(struct router *router, struct route *route, struct router_part *part) {
    part->state = PART_WAITING;
    part->obstacle = OBSTACLE_NO_LEADER;
    list_push_back(&route->waiting, &part->link);
    if (!route->searching) route_search(router, route, route->leader_node);
}

/* The next candidate is asked when the timer, due now, is looked at: by then the part that was the
 * probe has found its new place. */
void route_probe_failed(struct router *router, struct route *route, uint64_t attempt_id) {
    if (!route->searching || route->probe_id != attempt_id) return;
    route->probe_id = 0;
    router_timer_set(router, &route->timer, router->now_us);
}

/* Silence of the probe, which stays where it is if others can ask or it must not run twice. */
static void lose_patience(struct router *router, struct route *route) {
    struct idmap_node *attempt = idmap_get(&router->attempts, route->probe_id);
    route->probe_id = 0;
    if (!attempt) return;
    struct router_part *probe = CONTAINER_OF(attempt, struct router_part, attempt);
    if (probe->state == PART_SENT) route->silent_node = probe->node_id;
    if (probe->state != PART_SENT || !list_empty(&route->waiting) || !router_part_repeatable(probe))
        return;
    probe->silences++;
    probe->uncertain = true;
    router_part_detach(probe);
    route_wait(router, route, probe);
}

void route_search_timer(struct router *router, struct route *route) {
    if (!route->searching) return;
    if (route->probe_id != 0) lose_patience(router, route);
    search_step(router, route);
}
