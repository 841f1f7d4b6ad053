/* What nodes answer, and what it teaches. */
#include "range/router/internal.h"

#define COMPLAINT_BYTES_MAX 256u

/* An answer of whoever leads: a search is over. An answer that was still on its way when another
 * leader became known changes nothing. */
static void hear_leader(struct router *router, struct route *route, uint64_t node_id) {
    if (route->searching || route->leader_node == 0) {
        route_found(router, route, node_id);
    } else if (route->leader_node == node_id) {
        route->hints_followed = 0;
    }
}

static enum status on_ok(struct router_part *part, const struct range_reply *reply) {
    struct router_call *call = part->call;
    struct router *router = call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    bool stale = router_part_stale(part);
    if (reply->stale != stale) return STATUS_CORRUPTION;
    if (stale)
        router_stale_answered(part, reply->as_of);
    else if (route)
        hear_leader(router, route, part->node_id);
    router_overload_served(part);
    struct router_reply done = {.code = ROUTER_OK};
    switch (call->op) {
    case ROUTER_GET:
        if (reply->kind != RANGE_GET) return STATUS_CORRUPTION;
        return router_get_reply(part, reply);
    case ROUTER_SCAN:
        if (reply->kind != RANGE_SCAN) return STATUS_CORRUPTION;
        return router_scan_reply(part, reply);
    case ROUTER_WRITE:
        if (reply->kind != RANGE_WRITE) return STATUS_CORRUPTION;
        return router_write_reply(part, reply);
    case ROUTER_TRANSFER:
        if (reply->kind != RANGE_TRANSFER) return STATUS_CORRUPTION;
        router_call_finish(call, &done);
        return STATUS_OK;
    case ROUTER_CHANGE_REPLICAS:
        if (reply->kind != RANGE_CHANGE_REPLICAS) return STATUS_CORRUPTION;
        return router_change_reply(part, reply);
    case ROUTER_DESCRIBE:
        if (reply->kind != RANGE_DESCRIBE) return STATUS_CORRUPTION;
        return router_describe_reply(part, reply);
    }
    return STATUS_CORRUPTION;
}

/* The part is ready again; where it goes depends on what is known of the leader now. */
static void on_not_leader(struct router_part *part, const struct range_reply *reply) {
    struct router *router = part->call->router;
    uint64_t attempt_id = part->attempt.id, node_id = part->node_id, hint = reply->leader_node;
    if (reply->descriptor) (void)router_learn(router, reply->descriptor); /* if it is newer */
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    part->obstacle = OBSTACLE_NO_LEADER;
    router_part_ready(part);
    if (!route) return;
    route->hinted_node = hint;
    if (route->silent_node == node_id) route->silent_node = 0; /* it speaks again */
    bool hint_helps = hint != 0 && hint != node_id && router_node_usable(router, hint);
    if (route->searching) {
        if (hint_helps) route->preferred_node = hint;
        route_probe_failed(router, route, attempt_id);
    } else if (route->leader_node == node_id || route->leader_node == 0) {
        if (hint_helps && route->hints_followed < ROUTER_HINTS_MAX) {
            route->leader_node = hint;
            route->hints_followed++;
            router->redirects_total++;
        } else {
            route_search(router, route, node_id);
        }
    }
}

/* Forty requests may be refused with the same descriptor: for those after the first the cache has
 * changed since they were sent, and they try again at once as well. */
static void on_stale_epoch(struct router_part *part, const struct range_reply *reply) {
    struct router *router = part->call->router;
    uint64_t attempt_id = part->attempt.id;
    if (reply->descriptor) (void)router_learn(router, reply->descriptor); /* if it is newer */
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    if (part->call->op == ROUTER_CHANGE_REPLICAS) {
        router_change_refused(part, SLICE_LITERAL("the range's replicas have changed meanwhile"));
        return;
    }
    bool changed = !route || route->descriptor.epoch.conf_version != part->sent.conf_version ||
                   route->descriptor.epoch.span_version != part->sent.span_version;
    router->redirects_total++;
    if (changed) {
        router_part_ready(part);
    } else {
        /* The node is behind the router, or said nothing that helps. */
        router_want_refresh(router);
        router_part_pause(part, router_backoff_us(router, router->config.backoff_min_us,
                                                  router->config.backoff_max_us, part->pauses++));
    }
    if (route) route_probe_failed(router, route, attempt_id);
}

static void on_no_range(struct router_part *part) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    uint64_t attempt_id = part->attempt.id, node_id = part->node_id;
    router_part_ready(part);
    router_want_refresh(router);
    if (!route) return;
    if (route->searching) {
        if (route->probe_id == attempt_id) route->absent++;
        route_probe_failed(router, route, attempt_id);
    } else if (route->leader_node == node_id || route->leader_node == 0) {
        route_search(router, route, node_id);
    }
}

static void on_busy(struct router_part *part, const struct range_reply *reply) {
    struct router_call *call = part->call;
    struct router *router = call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    uint64_t attempt_id = part->attempt.id;
    if (call->op == ROUTER_CHANGE_REPLICAS) {
        router_change_refused(part, SLICE_LITERAL("another change of the range's replicas is under "
                                                  "way, or the learner has not caught up yet"));
        return;
    }
    call->retry_after_us = reply->retry_after_us;
    part->obstacle = OBSTACLE_BUSY;
    uint64_t pause_us = router_backoff_us(router, router->config.backoff_min_us,
                                          router->config.backoff_max_us, part->busy);
    if (pause_us < reply->retry_after_us) pause_us = reply->retry_after_us;
    part->busy++;
    bool again = router_overload_may_retry(part, route, pause_us);
    router_part_pause(part, pause_us); /* it is not SENT any more */
    if (!again) router_call_expire(call, part);
    if (route) route_probe_failed(router, route, attempt_id);
}

/* A leader that cannot serve for now says why. It is asked again after a pause, and nobody else:
 * the others would only name it. Should it be going away, its stream ends or it refuses to lead.
 * Shortly before the deadline there is nothing to be won by asking once more, and certainty to be
 * lost. */
static void on_unavailable(struct router_part *part, const struct range_reply *reply) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    uint64_t attempt_id = part->attempt.id, node_id = part->node_id;
    uint64_t deadline_us = part->call->deadline.node.key;
    uint64_t pause_us = router_backoff_us(router, router->config.backoff_min_us,
                                          router->config.backoff_max_us, part->pauses++);
    part->obstacle = OBSTACLE_NO_LEADER;
    if (router->now_us + pause_us + ROUTER_ANSWER_MARGIN_US_MAX > deadline_us)
        pause_us = deadline_us > router->now_us ? deadline_us - router->now_us + 1 : 1;
    router_part_pause(part, pause_us);
    if (!route) return;
    size_t len = reply->text.len < COMPLAINT_BYTES_MAX ? reply->text.len : COMPLAINT_BYTES_MAX;
    buf_clear(&route->complaint);
    buf_printf(&route->complaint, "node %lu: ", node_id);
    buf_append(&route->complaint, slice_make(reply->text.data, len));
    route_probe_failed(router, route, attempt_id);
}

static void on_unknown(struct router_part *part) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    uint64_t attempt_id = part->attempt.id;
    part->uncertain = true;
    if (router_part_repeatable(part)) {
        router_part_pause(part, router_backoff_us(router, router->config.backoff_min_us,
                                                  router->config.backoff_max_us, part->pauses++));
    } else {
        router_call_abandon(part->call,
                            SLICE_LITERAL("the range lost its leader after the proposal"));
    }
    if (route) route_probe_failed(router, route, attempt_id);
}

static bool refuses_to_serve(enum range_reply_code code) {
    return code == RANGE_REPLY_NOT_LEADER || code == RANGE_REPLY_NO_RANGE ||
           code == RANGE_REPLY_UNAVAILABLE;
}

/* Its leader is there, whoever else still waits. */
static void hear_range(const struct router_part *part, enum range_reply_code code) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    if (!route || router_part_stale(part) || route->leader_node != part->node_id) return;
    router_silence_heard(route);
    if (code == RANGE_REPLY_OK || code == RANGE_REPLY_BUSY) route->heard_us = router->now_us;
}

static enum status handle_reply(struct router *router, uint64_t node_id,
                                const struct range_reply *reply) {
    struct idmap_node *attempt = idmap_get(&router->attempts, reply->call_id);
    if (!attempt) { /* given up meanwhile */
        router_silence_heard_late(router, node_id, reply->call_id);
        return STATUS_OK;
    }
    struct router_part *part = CONTAINER_OF(attempt, struct router_part, attempt);
    if (part->node_id != node_id || part->state != PART_SENT) return STATUS_CORRUPTION;
    if (router_part_stale(part) && refuses_to_serve(reply->code)) {
        router_stale_refused(part, reply);
        return STATUS_OK;
    }
    hear_range(part, reply->code);
    switch (reply->code) {
    case RANGE_REPLY_OK:
        return on_ok(part, reply);
    case RANGE_REPLY_NOT_LEADER:
        on_not_leader(part, reply);
        return STATUS_OK;
    case RANGE_REPLY_STALE_EPOCH:
        on_stale_epoch(part, reply);
        return STATUS_OK;
    case RANGE_REPLY_NO_RANGE:
        on_no_range(part);
        return STATUS_OK;
    case RANGE_REPLY_BUSY:
        on_busy(part, reply);
        return STATUS_OK;
    case RANGE_REPLY_TIMEOUT:
        /* The node's clock was a little faster: the call's own deadline answers it. */
        router_part_pause(part, router->config.default_timeout_us);
        return STATUS_OK;
    case RANGE_REPLY_UNKNOWN:
        on_unknown(part);
        return STATUS_OK;
    case RANGE_REPLY_INVALID:
        router_call_fail(part->call, ROUTER_INVALID, reply->text);
        return STATUS_OK;
    case RANGE_REPLY_UNAVAILABLE:
        on_unavailable(part, reply);
        return STATUS_OK;
    }
    return STATUS_CORRUPTION;
}

enum status router_replies(struct router *router, uint64_t node_id, struct slice frame,
                           uint64_t now_us) {
    router_enter(router, now_us);
    router_node(router, node_id)->silent = false;
    struct decoder calls;
    struct slice call;
    enum status status = range_frame_open(frame, &calls);
    while (status == STATUS_OK && range_frame_next(&calls, &call)) {
        struct range_reply reply;
        arena_reset(&router->reply_arena);
        status = range_reply_decode(call, &router->reply_arena, &router->reply_descriptor, &reply);
        if (status == STATUS_OK) status = handle_reply(router, node_id, &reply);
    }
    if (status == STATUS_OK && calls.failed) status = STATUS_CORRUPTION;
    router_settle(router);
    return status == STATUS_OK ? STATUS_OK : STATUS_CORRUPTION;
}
