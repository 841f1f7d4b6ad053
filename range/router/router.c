/* The router's public face: requests in, time in, reports out. */
#include "range/router/internal.h"

static void fill_defaults(struct router_config *config) {
    if (config->default_timeout_us == 0) config->default_timeout_us = ROUTER_TIMEOUT_US_DEFAULT;
    if (config->backoff_min_us == 0) config->backoff_min_us = ROUTER_BACKOFF_MIN_US_DEFAULT;
    if (config->backoff_max_us == 0) config->backoff_max_us = ROUTER_BACKOFF_MAX_US_DEFAULT;
    if (config->backoff_max_us < config->backoff_min_us)
        config->backoff_max_us = config->backoff_min_us;
    if (config->attempt_timeout_us == 0)
        config->attempt_timeout_us = ROUTER_ATTEMPT_TIMEOUT_US_DEFAULT;
    if (config->outstanding_max == 0) config->outstanding_max = ROUTER_OUTSTANDING_MAX_DEFAULT;
    if (config->outstanding_bytes_max == 0)
        config->outstanding_bytes_max = ROUTER_OUTSTANDING_BYTES_MAX_DEFAULT;
}

struct router *router_new(const struct router_config *config, const struct router_io *io) {
    struct router *router = MEMORY_NEW(struct router);
    router->config = *config;
    fill_defaults(&router->config);
    router->io = *io;
    prng_init(&router->prng, config->seed);
    router->next_attempt_id = 1;
    router->refresh_timer.kind = TIMER_REFRESH;
    list_init(&router->calls);
    list_init(&router->ready);
    list_init(&router->unrouted);
    list_init(&router->paused);
    list_init(&router->searching);
    list_init(&router->unflushed);
    list_init(&router->spare_calls);
    list_init(&router->spare_parts);
    arena_init(&router->reply_arena, 0);
    arena_init(&router->scratch, 0);
    return router;
}

static void free_spares(struct router *router) {
    struct list_node *link;
    while ((link = list_pop_front(&router->spare_calls))) {
        struct router_call *call = CONTAINER_OF(link, struct router_call, in_router);
        arena_done(&call->arena);
        memory_free(call);
    }
    while ((link = list_pop_front(&router->spare_parts)))
        memory_free(CONTAINER_OF(link, struct router_part, link));
}

void router_free(struct router *router) {
    if (!router) return;
    ASSERT_CMP(router->depth, ==, 0); /* not inside a callback */
    router->closing = true;
    router->depth++; /* what callbacks submit now is refused, and nothing else happens */
    while (!list_empty(&router->calls))
        router_call_abandon(CONTAINER_OF(router->calls.next, struct router_call, in_router),
                            SLICE_LITERAL("the router is shutting down"));
    ASSERT_CMP(router->attempts.count, ==, 0);
    while (router->cache.count > 0)
        router_evict(router, router->cache.ordered[router->cache.count - 1]);
    route_cache_done(&router->cache);
    router_nodes_done(router);
    free_spares(router);
    idmap_done(&router->attempts);
    heap_done(&router->timers);
    arena_done(&router->reply_arena);
    arena_done(&router->scratch);
    range_descriptor_done(&router->reply_descriptor);
    buf_done(&router->encoded);
    memory_free(router);
}

void router_timer_set(struct router *router, struct router_timer *timer, uint64_t at_us) {
    heap_remove(&router->timers, &timer->node);
    heap_push(&router->timers, &timer->node, at_us);
}

void router_timer_clear(struct router *router, struct router_timer *timer) {
    heap_remove(&router->timers, &timer->node);
}

uint64_t router_backoff_us(struct router *router, uint64_t min_us, uint64_t max_us,
                           uint32_t attempts) {
    uint64_t pause_us = attempts < 20 ? min_us << attempts : max_us;
    if (pause_us > max_us) pause_us = max_us;
    return prng_between(&router->prng, pause_us / 2 + 1, pause_us + 1);
}

static void expire(struct router_call *call) {
    LIST_FOR_EACH (link, &call->parts)
        router_silence_late(CONTAINER_OF(link, struct router_part, in_call));
    router_call_expire(call, NULL);
}

static void fire(struct router *router, struct router_timer *timer) {
    switch (timer->kind) {
    case TIMER_CALL:
        expire(CONTAINER_OF(timer, struct router_call, deadline));
        break;
    case TIMER_PART:
        router_part_timer(CONTAINER_OF(timer, struct router_part, timer));
        break;
    case TIMER_SEARCH:
        route_search_timer(router, CONTAINER_OF(timer, struct route, timer));
        break;
    case TIMER_REFRESH:
        router_refresh_timer(router);
        break;
    }
}

void router_enter(struct router *router, uint64_t now_us) {
    if (now_us > router->now_us) router->now_us = now_us;
    router->depth++;
}

static bool settle_step(struct router *router) {
    if (!list_empty(&router->ready)) {
        router_part_dispatch(CONTAINER_OF(router->ready.next, struct router_part, link));
        return true;
    }
    struct heap_node *due = heap_min(&router->timers);
    if (!due || due->key > router->now_us) return false;
    (void)heap_pop(&router->timers); /* it is `due` */
    fire(router, CONTAINER_OF(due, struct router_timer, node));
    return true;
}

void router_settle(struct router *router) {
    while (router->depth == 1 && settle_step(router)) {
    }
    router->depth--;
}

static void answer_at_once(router_done_fn *done, void *ctx, enum router_code code,
                           const char *text) {
    struct router_reply reply = {.code = code, .text = slice_from_text(text)};
    if (code == ROUTER_BUSY) reply.retry_after_us = ROUTER_RETRY_AFTER_US;
    done(ctx, &reply);
}

static bool call_begin(struct router_call *call, const struct router_request *request) {
    switch (request->op) {
    case ROUTER_GET:
        return router_get_begin(call, request);
    case ROUTER_SCAN:
        return router_scan_begin(call, request);
    case ROUTER_WRITE:
        return router_write_begin(call, request);
    case ROUTER_CHANGE_REPLICAS:
        return router_change_begin(call, request);
    case ROUTER_TRANSFER:
    case ROUTER_DESCRIBE:
        call->range_id = request->range_id;
        call->to_node = request->to_node;
        (void)router_part_new(call); /* the call's list has it */
        return true;
    }
    router_call_fail(call, ROUTER_INVALID, SLICE_LITERAL("unknown kind of request"));
    return false;
}

static void submit(struct router *router, const struct router_request *request,
                   router_done_fn *done, void *ctx) {
    const struct router_config *config = &router->config;
    if (router->closing) {
        answer_at_once(done, ctx, ROUTER_UNAVAILABLE, "the router is shutting down");
        return;
    }
    if (router->outstanding >= config->outstanding_max ||
        router->outstanding_bytes >= config->outstanding_bytes_max) {
        answer_at_once(done, ctx, ROUTER_BUSY,
                       "too many requests are under way in the router; retry after a pause");
        return;
    }
    struct router_call *call = router_call_new(router);
    call->op = request->op;
    call->done = done;
    call->ctx = ctx;
    if (!call_begin(call, request)) return;
    router_call_charge(call);
    uint64_t deadline_us = request->deadline_us > 0 ? request->deadline_us
                                                    : router->now_us + config->default_timeout_us;
    router_timer_set(router, &call->deadline, deadline_us);
    if (deadline_us <= router->now_us) return; /* settle expires it, and nothing is sent */
    router_part_ready(CONTAINER_OF(call->parts.next, struct router_part, in_call));
}

void router_submit(struct router *router, const struct router_request *request, uint64_t now_us,
                   router_done_fn *done, void *ctx) {
    router_enter(router, now_us);
    submit(router, request, done, ctx);
    router_settle(router);
}

/* A node that does not take its frame makes its parts ready again, perhaps for other nodes; it is
 * then down, or they pause, so this ends. */
void router_flush(struct router *router, uint64_t now_us) {
    router_enter(router, now_us);
    while (!list_empty(&router->unflushed)) {
        router_node_send(router,
                         CONTAINER_OF(router->unflushed.next, struct router_node, in_unflushed));
        while (router->depth == 1 && settle_step(router)) {
        }
    }
    router_stages_flush(router);
    router_settle(router);
}

void router_tick(struct router *router, uint64_t now_us) {
    router_enter(router, now_us);
    router_settle(router);
}

uint64_t router_next_us(const struct router *router) {
    const struct heap_node *next = heap_min(&router->timers);
    return next ? next->key : UINT64_MAX;
}

void router_view(const struct router *router, struct router_view *ret_view) {
    *ret_view = (struct router_view){.ranges = router->cache.count,
                                     .outstanding = router->outstanding,
                                     .retries_total = router->retries_total,
                                     .redirects_total = router->redirects_total,
                                     .refreshes_total = router->refreshes_total};
}

bool router_locate(const struct router *router, struct slice key, uint64_t *ret_range_id,
                   uint64_t *ret_leader_node) {
    const struct route *route = route_cache_find(&router->cache, key);
    if (!route) return false;
    *ret_range_id = route->descriptor.range_id;
    *ret_leader_node = route->leader_node;
    return true;
}
