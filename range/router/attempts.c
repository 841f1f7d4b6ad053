/* A part on its way through its states (internal.h has the table). */
#include "range/router/internal.h"

void router_part_detach(struct router_part *part) {
    struct router *router = part->call->router;
    if (part->state == PART_FRAMED || part->state == PART_SENT)
        ASSERT(idmap_remove(&router->attempts, part->attempt.id) == &part->attempt);
    router_overload_leave(part);
    router_timer_clear(router, &part->timer);
    list_remove(&part->link);
    part->state = PART_READY;
}

void router_part_ready(struct router_part *part) {
    router_part_detach(part);
    list_push_back(&part->call->router->ready, &part->link);
}

void router_part_pause(struct router_part *part, uint64_t pause_us) {
    struct router *router = part->call->router;
    router_part_detach(part);
    part->state = PART_PAUSED;
    list_push_back(&router->paused, &part->link);
    router_timer_set(router, &part->timer, router->now_us + pause_us);
}

static struct route *find_route(const struct router_part *part) {
    const struct router_call *call = part->call;
    const struct route_cache *cache = &call->router->cache;
    switch (call->op) {
    case ROUTER_GET:
        return route_cache_find(cache, call->keys[call->order[part->first]]);
    case ROUTER_SCAN:
        return call->reverse ? route_cache_find_before(cache, call->end)
                             : route_cache_find(cache, call->start);
    case ROUTER_WRITE:
        return route_cache_find(cache, call->anchor);
    case ROUTER_TRANSFER:
    case ROUTER_CHANGE_REPLICAS:
    case ROUTER_DESCRIBE:
        return route_cache_by_id(cache, call->range_id);
    }
    return NULL;
}

bool router_part_too_late(const struct router_part *part) {
    const struct router_call *call = part->call;
    bool changes = call->op == ROUTER_WRITE || call->op == ROUTER_CHANGE_REPLICAS;
    return changes && !part->uncertain &&
           call->deadline.node.key < call->router->now_us + ROUTER_SEND_TIME_LEFT_US_MIN;
}

void router_part_dispatch(struct router_part *part) {
    struct router *router = part->call->router;
    ASSERT(part->state == PART_READY);
    router_part_detach(part);
    if (part->call->op == ROUTER_GET && !router_get_trim(part)) return;
    struct route *route = find_route(part);
    if (!route) {
        part->state = PART_UNROUTED;
        list_push_back(&router->unrouted, &part->link);
        router_want_refresh(router);
        return;
    }
    arena_reset(&router->scratch);
    if (part->call->op == ROUTER_GET) router_get_fit(part, route);
    if (part->call->op == ROUTER_SCAN) router_scan_fit(part, route);
    if (part->call->op == ROUTER_WRITE && !router_write_fit(part, route)) return;
    if (router_part_stale(part)) {
        router_stale_dispatch(part, route);
        return;
    }
    part->range_id = route->descriptor.range_id;
    part->sent = route->descriptor.epoch;
    if (!route->searching && route->leader_node != 0 &&
        router_node_usable(router, route->leader_node)) {
        if (router_overload_refuses(part, route)) return;
        if (router_part_too_late(part)) {
            router_call_expire(part->call, part);
            return;
        }
        router_part_send(part, route, route->leader_node);
    } else {
        route_wait(router, route, part);
    }
}

static struct slice *keys_in_order(const struct router_part *part) {
    const struct router_call *call = part->call;
    struct slice *keys =
        ARENA_NEW_ARRAY(&call->router->scratch, struct slice, part->last - part->first);
    for (uint32_t i = part->first; i < part->last; i++)
        keys[i - part->first] = call->keys[call->order[i]];
    return keys;
}

static void fill_scan(const struct router_call *call, struct range_request *request) {
    request->start = call->piece_start;
    request->end = call->piece_end;
    request->reverse = call->reverse;
    request->keys_only = call->keys_only;
    request->row_limit = call->row_limit - call->row_count;
    request->byte_limit = call->byte_limit - (uint32_t)call->row_bytes;
}

static uint64_t node_timeout_us(const struct router_call *call) {
    uint64_t now_us = call->router->now_us, deadline_us = call->deadline.node.key;
    if (deadline_us <= now_us) return 1;
    uint64_t left_us = deadline_us - now_us, margin_us = left_us / 16;
    if (margin_us > ROUTER_ANSWER_MARGIN_US_MAX) margin_us = ROUTER_ANSWER_MARGIN_US_MAX;
    return left_us - margin_us;
}

static void encode_attempt(struct router_part *part, const struct route *route, struct buf *frame) {
    static const enum range_request_kind kinds[] = {[ROUTER_GET] = RANGE_GET,
                                                    [ROUTER_SCAN] = RANGE_SCAN,
                                                    [ROUTER_WRITE] = RANGE_WRITE,
                                                    [ROUTER_TRANSFER] = RANGE_TRANSFER,
                                                    [ROUTER_CHANGE_REPLICAS] =
                                                        RANGE_CHANGE_REPLICAS,
                                                    [ROUTER_DESCRIBE] = RANGE_DESCRIBE};
    const struct router_call *call = part->call;
    struct range_request request = {.call_id = part->attempt.id,
                                    .kind = kinds[call->op],
                                    .range_id = route->descriptor.range_id,
                                    .epoch = route->descriptor.epoch,
                                    .timeout_us = node_timeout_us(call),
                                    .read_mode = call->read_mode,
                                    .command = call->command,
                                    .to_node = call->to_node,
                                    .change_count = call->change_count,
                                    .changes = call->changes};
    if (call->op == ROUTER_CHANGE_REPLICAS) request.epoch = call->epoch;
    if (call->op == ROUTER_SCAN) fill_scan(call, &request);
    if (call->op == ROUTER_GET) {
        request.key_count = part->last - part->first;
        request.keys = keys_in_order(part);
    }
    range_request_encode(frame, &request);
}

static uint64_t patience_us(const struct router_part *part) {
    uint64_t patience_us = router_part_stale(part) ? ROUTER_SEARCH_PATIENCE_US
                                                   : part->call->router->config.attempt_timeout_us;
    return patience_us << (part->silences < 4 ? part->silences : 4);
}

/* Silence is only watched where something can be done about it. */
void router_part_send(struct router_part *part, struct route *route, uint64_t node_id) {
    struct router *router = part->call->router;
    struct router_node *node = router_node(router, node_id);
    if (node->frame.len == 0) {
        range_frame_begin(&node->frame);
        list_push_back(&router->unflushed, &node->in_unflushed);
    }
    arena_reset(&router->scratch);
    idmap_put(&router->attempts, &part->attempt, router->next_attempt_id++);
    encode_attempt(part, route, &node->frame);
    part->state = PART_FRAMED;
    part->node_id = node_id;
    part->range_id = route->descriptor.range_id;
    part->sent = route->descriptor.epoch;
    if (!route->searching) part->obstacle = OBSTACLE_NONE;
    if (!router_part_stale(part)) router_silence_sent(router, route, node_id);
    list_push_back(&node->framed, &part->link);
    router_overload_send(part, route);
    if (router_part_repeatable(part))
        router_timer_set(router, &part->timer, router->now_us + patience_us(part));
    if (node->frame.len >= ROUTER_FRAME_BYTES) router_node_send(router, node);
}

void router_part_give_up(struct router_part *part, const char *why) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    uint64_t attempt_id = part->attempt.id;
    part->uncertain = true;
    if (router_part_repeatable(part)) {
        router->retries_total++;
        router_part_ready(part);
    } else {
        router_call_abandon(part->call, slice_from_text(why));
    }
    if (route) route_probe_failed(router, route, attempt_id);
}

static void unanswered(struct router_part *part) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    /* It answers others: this part stands in its queue, where another attempt would stand too. */
    if (router_overload_heard(part, route, patience_us(part))) {
        router_timer_set(router, &part->timer, route->heard_us + patience_us(part));
        return;
    }
    part->silences++;
    if (route) route->silent_node = part->node_id;
    if (route && !route->searching && route->leader_node == part->node_id)
        route_search(router, route, part->node_id);
    router_part_give_up(part, "the node did not answer");
}

/* The end of a pause, or a node that keeps silent: others are asked who leads by now. */
void router_part_timer(struct router_part *part) {
    struct router *router = part->call->router;
    if (part->state == PART_SENT && router_part_stale(part)) {
        part->silences++;
        router_stale_unanswered(part);
    } else if (part->state == PART_SENT) {
        unanswered(part);
    } else if (part->state == PART_PAUSED) {
        router->retries_total++;
        router_part_ready(part);
    } else {
        /* Still in a frame: its owner has not flushed for that long. */
        ASSERT_CMP(part->state, ==, PART_FRAMED);
        router_timer_set(router, &part->timer, router->now_us + router->config.attempt_timeout_us);
    }
}
