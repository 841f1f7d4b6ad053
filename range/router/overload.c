/* More writes than a range can do: the router must not make it worse.
 *
 *   - What the range has of this router's writes and has not answered is the queue that the next
 * one waits in, wherever it is: in this router's stream, in the node's mailbox, in the log. When
 *     that takes half of the time that a write has left, it is refused here (base/pace.h), and
 *     costs the node nothing.
 *   - BUSY is waited out as long as the range answers others: what it has done pays for a
 *     tenth of an attempt more. So attempts exceed requests by a tenth at most, whatever happens.
 *   - A node that answers others of the range is not silent: who waits in its queue is not sent
 *     once more (router_part_timer). */
#include "range/router/internal.h"

static uint64_t left_us(const struct router_call *call) {
    uint64_t now_us = call->router->now_us, deadline_us = call->deadline.node.key;
    return deadline_us > now_us ? deadline_us - now_us : 0;
}

/* NULL: the part was sent to another one, which is forgotten. */
static struct route *route_of(const struct router_part *part) {
    struct route *route = route_cache_by_id(&part->call->router->cache, part->range_id);
    return route && route->serial == part->route_serial ? route : NULL;
}

void router_overload_send(struct router_part *part, struct route *route) {
    struct router_call *call = part->call;
    if (call->op != ROUTER_WRITE) return;
    part->route_serial = route->serial;
    part->work = call->command.len + ROUTER_WORK_PER_WRITE;
    pace_enter(&route->pace, part->work, call->router->now_us);
}

void router_overload_leave(struct router_part *part) {
    if (part->work == 0) return;
    struct route *route = route_of(part);
    if (route) pace_withdraw(&route->pace, part->work);
    part->work = 0;
}

void router_overload_served(struct router_part *part) {
    struct route *route = route_cache_by_id(&part->call->router->cache, part->range_id);
    if (route && route->retry_credit < ROUTER_RETRY_CREDIT_MAX) route->retry_credit++;
    route = route_of(part);
    if (part->work == 0 || !route) return;
    pace_serve(&route->pace, part->work, part->call->router->now_us);
    part->work = 0;
}

static uint32_t retry_after_us(struct router *router, struct route *route) {
    uint32_t us = pace_refuse(&route->pace, router->now_us);
    return (uint32_t)prng_between(&router->prng, us / 2 + 1, us + us / 2);
}

/* What may have been done already goes on until it is known: its client is told nothing sooner. */
bool router_overload_refuses(struct router_part *part, struct route *route) {
    struct router_call *call = part->call;
    struct router *router = call->router;
    if (call->op != ROUTER_WRITE) return false;
    if (pace_wait_us(&route->pace, router->now_us) <= left_us(call) / 2) return false;
    part->range_id = route->descriptor.range_id;
    part->obstacle = OBSTACLE_BUSY;
    call->retry_after_us = retry_after_us(router, route);
    if (part->uncertain)
        router_part_pause(part, call->retry_after_us);
    else
        router_call_expire(call, part);
    return true;
}

/* Whether a part that was told BUSY is worth another attempt after the pause. */
bool router_overload_may_retry(struct router_part *part, struct route *route, uint64_t pause_us) {
    if (part->uncertain) return true;
    if (part->busy > ROUTER_BUSY_MAX ||
        pause_us + ROUTER_ANSWER_MARGIN_US_MAX >= left_us(part->call))
        return false;
    if (!route) return true;
    if (route->retry_credit < ROUTER_RETRY_COST) return false;
    route->retry_credit -= ROUTER_RETRY_COST;
    return true;
}

/* The part's node has answered for the range since so long ago, though not this part. */
bool router_overload_heard(const struct router_part *part, const struct route *route,
                           uint64_t patience_us) {
    return route && !route->searching && route->leader_node == part->node_id &&
           route->heard_us > 0 && part->call->router->now_us < route->heard_us + patience_us;
}
