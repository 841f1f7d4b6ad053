/* The life of a call: made, charged against the bounds, answered once, recycled. */
#include <inttypes.h>

#include "base/log.h"
#include "range/router/internal.h"

#define CALL_ARENA_BLOCK_BYTES 1024u

static struct router_call *spare_call(struct router *router) {
    struct list_node *link = list_pop_front(&router->spare_calls);
    if (!link) {
        struct router_call *call = MEMORY_NEW(struct router_call);
        arena_init(&call->arena, CALL_ARENA_BLOCK_BYTES);
        return call;
    }
    router->spare_call_count--;
    struct router_call *call = CONTAINER_OF(link, struct router_call, in_router);
    struct arena arena = call->arena;
    *call = (struct router_call){.arena = arena};
    return call;
}

struct router_call *router_call_new(struct router *router) {
    struct router_call *call = spare_call(router);
    call->router = router;
    call->deadline.kind = TIMER_CALL;
    call->begun_us = router->now_us;
    list_init(&call->parts);
    list_push_back(&router->calls, &call->in_router);
    router->outstanding++;
    return call;
}

static void call_recycle(struct router_call *call) {
    struct router *router = call->router;
    if (router->spare_call_count >= ROUTER_SPARE_MAX) {
        arena_done(&call->arena);
        memory_free(call);
        return;
    }
    if (call->arena.used_bytes > ROUTER_SPARE_BYTES_MAX) arena_done(&call->arena);
    arena_reset(&call->arena);
    router->spare_call_count++;
    list_push_front(&router->spare_calls, &call->in_router);
}

void router_call_charge(struct router_call *call) {
    call->router->outstanding_bytes += call->arena.used_bytes - call->charged_bytes;
    call->charged_bytes = call->arena.used_bytes;
}

struct router_part *router_part_new(struct router_call *call) {
    struct router *router = call->router;
    struct list_node *link = list_pop_front(&router->spare_parts);
    struct router_part *part;
    if (link) {
        router->spare_part_count--;
        part = CONTAINER_OF(link, struct router_part, link);
    } else {
        part = memory_alloc(sizeof(*part));
    }
    *part = (struct router_part){.call = call, .timer = {.kind = TIMER_PART}};
    list_init(&part->link);
    list_push_back(&call->parts, &part->in_call);
    return part;
}

void router_part_free(struct router_part *part) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    router_part_detach(part);
    list_remove(&part->in_call);
    /* A search that waits for this part's answer goes on with another one. */
    if (route) route_probe_failed(router, route, part->attempt.id);
    if (router->spare_part_count >= ROUTER_SPARE_MAX) {
        memory_free(part);
        return;
    }
    router->spare_part_count++;
    list_push_front(&router->spare_parts, &part->link);
}

void router_call_finish(struct router_call *call, const struct router_reply *reply) {
    struct router *router = call->router;
    router_stages_done(call, reply->code);
    LIST_FOR_EACH_SAFE (link, &call->parts) {
        router_part_free(CONTAINER_OF(link, struct router_part, in_call));
    }
    router_timer_clear(router, &call->deadline);
    list_remove(&call->in_router);
    router->outstanding--;
    router->outstanding_bytes -= call->charged_bytes;
    call->done(call->ctx, reply); /* may submit */
    call_recycle(call);
}

void router_call_fail(struct router_call *call, enum router_code code, struct slice text) {
    struct router_reply reply = {.code = code, .text = text};
    if (code == ROUTER_BUSY)
        reply.retry_after_us =
            call->retry_after_us > 0 ? call->retry_after_us : ROUTER_RETRY_AFTER_US;
    router_call_finish(call, &reply);
}

bool router_part_repeatable(const struct router_part *part) {
    return part->call->op != ROUTER_WRITE || part->call->has_request_id;
}

bool router_call_by_range(const struct router_call *call) {
    return call->op == ROUTER_TRANSFER || call->op == ROUTER_CHANGE_REPLICAS ||
           call->op == ROUTER_DESCRIBE;
}

static bool changes_something(const struct router_call *call) {
    return call->op == ROUTER_WRITE || call->op == ROUTER_CHANGE_REPLICAS;
}

bool router_call_uncertain(const struct router_call *call) {
    if (!changes_something(call)) return false;
    LIST_FOR_EACH (link, &call->parts) {
        const struct router_part *part = CONTAINER_OF(link, struct router_part, in_call);
        /* A FRAMED attempt leaves at the next flush, whether its call still waits or not. */
        if (part->uncertain || part->state == PART_SENT || part->state == PART_FRAMED) return true;
    }
    return false;
}

void router_describe_route(struct buf *out, const struct route *route) {
    const struct range_descriptor *range = &route->descriptor;
    buf_printf(out, "range %" PRIu64 " [%s, %s)", range->range_id,
               log_bytes(slice_from_buf(&range->start)),
               range->end.len > 0 ? log_bytes(slice_from_buf(&range->end)) : "end");
}

static void describe_nodes(struct buf *out, const struct range_descriptor *range) {
    for (uint32_t i = 0; i < range->replica_count; i++)
        buf_printf(out, "%s%" PRIu64, i > 0 ? ", " : " on nodes ", range->replicas[i].node_id);
}

static void describe_no_leader(struct buf *out, const struct route *route) {
    const struct range_descriptor *range = &route->descriptor;
    router_describe_route(out, route);
    if (route->complaint.len > 0) {
        buf_printf(out, ": ");
        buf_append(out, slice_from_buf(&route->complaint));
        return;
    }
    if (route->silent_node != 0 && route->hinted_node == route->silent_node) {
        buf_printf(out, ": the leader, node %" PRIu64 ", did not answer in time",
                   route->silent_node);
        return;
    }
    if (route->silent_node != 0)
        buf_printf(out, ": node %" PRIu64 " did not answer in time, and no other is known to lead",
                   route->silent_node);
    else
        buf_printf(out, route->searching && route->rounds == 0
                            ? ": its leader was still being looked for"
                            : ": no leader elected");
    buf_printf(out, "; replicas");
    describe_nodes(out, range);
}

/* What stands in the part's way, and which code that is when nothing was proposed. */
static enum router_code describe_obstacle(const struct router_part *part, struct buf *out) {
    const struct router_call *call = part->call;
    const struct router *router = call->router;
    const struct route *route = route_cache_by_id(&router->cache, part->range_id);
    if (part->state == PART_UNROUTED) {
        buf_printf(out, router->map_seen
                            ? "no range is known for the key; placement has no complete range map"
                            : "placement has not answered; is `flotilla placement` running at the "
                              "address that the router was given?");
        return ROUTER_UNAVAILABLE;
    }
    if (!route) {
        buf_printf(out, "the deadline passed");
        return ROUTER_TIMEOUT;
    }
    if (part->obstacle == OBSTACLE_BUSY) {
        router_describe_route(out, route);
        buf_printf(out, ": overloaded; retry after a pause");
        return ROUTER_BUSY;
    }
    if (part->obstacle == OBSTACLE_NO_REPLICA) {
        router_describe_route(out, route);
        buf_printf(out, ": no replica answers; they are");
        describe_nodes(out, &route->descriptor);
        return ROUTER_UNAVAILABLE;
    }
    if (part->state == PART_WAITING || part->obstacle == OBSTACLE_NO_LEADER) {
        describe_no_leader(out, route);
        return ROUTER_UNAVAILABLE;
    }
    router_describe_route(out, route);
    if (part->state == PART_SENT || part->state == PART_FRAMED) {
        buf_printf(out, ": node %" PRIu64 " has not answered within the deadline", part->node_id);
    } else {
        buf_printf(out, ": the deadline passed");
    }
    return ROUTER_TIMEOUT;
}

static const char *uncertain_advice(const struct router_call *call) {
    if (call->op == ROUTER_CHANGE_REPLICAS)
        return "; the outcome is unknown: the range's replicas tell";
    return call->has_request_id ? "; the outcome is unknown: retry with the same request id"
                                : "; the outcome is unknown: it may or may not have been written "
                                  "(a request id would make a retry safe)";
}

void router_call_expire(struct router_call *call, const struct router_part *part) {
    struct buf text = {0};
    ASSERT(!list_empty(&call->parts)); /* a call without parts has been answered */
    if (call->op == ROUTER_SCAN && router_scan_answer_early(call)) return;
    if (!part) part = CONTAINER_OF(call->parts.next, struct router_part, in_call);
    enum router_code code = describe_obstacle(part, &text);
    if (router_call_uncertain(call)) {
        code = ROUTER_UNKNOWN;
        buf_printf(&text, "%s", uncertain_advice(call));
    } else if (changes_something(call)) {
        buf_printf(&text, "; nothing was changed");
    }
    router_call_fail(call, code, slice_from_buf(&text));
    buf_done(&text);
}

void router_call_abandon(struct router_call *call, struct slice why) {
    struct buf text = {0};
    buf_append(&text, why);
    bool uncertain = router_call_uncertain(call);
    if (uncertain) buf_printf(&text, "%s", uncertain_advice(call));
    router_call_fail(call, uncertain ? ROUTER_UNKNOWN : ROUTER_UNAVAILABLE, slice_from_buf(&text));
    buf_done(&text);
}
