/* Nodes: which can be reached, and the frame that gathers requests for each until the flush. */
#include "range/router/internal.h"

struct router_node *router_node(struct router *router, uint64_t node_id) {
    ASSERT_CMP(node_id, >, 0);
    struct idmap_node *known = idmap_get(&router->nodes, node_id);
    if (known) return CONTAINER_OF(known, struct router_node, by_id);
    struct router_node *node = MEMORY_NEW(struct router_node);
    list_init(&node->framed);
    list_init(&node->sent);
    list_init(&node->in_unflushed);
    idmap_put(&router->nodes, &node->by_id, node_id);
    return node;
}

void router_nodes_done(struct router *router) {
    struct idmap_node *each = idmap_next(&router->nodes, NULL);
    while (each) {
        struct router_node *node = CONTAINER_OF(each, struct router_node, by_id);
        each = idmap_next(&router->nodes, each);
        ASSERT(list_empty(&node->framed) && list_empty(&node->sent));
        buf_done(&node->frame);
        memory_free(node);
    }
    idmap_done(&router->nodes);
}

bool router_node_usable(struct router *router, uint64_t node_id) {
    const struct router_node *node = router_node(router, node_id);
    return !node->down || router->now_us >= node->retry_at_us;
}

static void mark_down(struct router *router, struct router_node *node) {
    node->down = true;
    node->silent = false;
    node->retry_at_us = router->now_us + ROUTER_NODE_RETRY_US;
}

static void frame_drop(struct router_node *node) {
    buf_clear(&node->frame);
    list_remove(&node->in_unflushed);
}

/* An attempt that certainly did not leave. */
static void unsend(struct router_part *part, bool node_busy) {
    struct router *router = part->call->router;
    struct route *route = route_cache_by_id(&router->cache, part->range_id);
    uint64_t attempt_id = part->attempt.id;
    router_part_detach(part);
    if (node_busy) {
        part->obstacle = OBSTACLE_BUSY;
        router_part_pause(part, router_backoff_us(router, router->config.backoff_min_us,
                                                  router->config.backoff_max_us, part->pauses++));
    } else {
        router_part_ready(part);
    }
    if (route) route_probe_failed(router, route, attempt_id);
}

/* Hands the frame over. The parts of a frame that was not taken become ready again, or wait. */
void router_node_send(struct router *router, struct router_node *node) {
    enum status status =
        router->io.send(router->io.ctx, node->by_id.id, slice_from_buf(&node->frame));
    frame_drop(node);
    if (status == STATUS_OK) {
        node->down = false;
        struct list_node *link;
        while ((link = list_pop_front(&node->framed))) {
            struct router_part *part = CONTAINER_OF(link, struct router_part, link);
            part->state = PART_SENT;
            list_push_back(&node->sent, link);
            router_stages_sent(part);
        }
        return;
    }
    if (status != STATUS_BUSY) mark_down(router, node);
    while (!list_empty(&node->framed))
        unsend(CONTAINER_OF(node->framed.next, struct router_part, link), status == STATUS_BUSY);
}

void router_node_down(struct router *router, uint64_t node_id, uint64_t now_us) {
    router_enter(router, now_us);
    struct router_node *node = router_node(router, node_id);
    mark_down(router, node);
    frame_drop(node);
    while (!list_empty(&node->framed))
        unsend(CONTAINER_OF(node->framed.next, struct router_part, link), false);
    while (!list_empty(&node->sent))
        router_part_give_up(CONTAINER_OF(node->sent.next, struct router_part, link),
                            "the connection to the node that leads the range was lost");
    router_settle(router);
}

/* Searches that are between two rounds need not wait for the next. */
void router_node_up(struct router *router, uint64_t node_id, uint64_t now_us) {
    router_enter(router, now_us);
    router_node(router, node_id)->down = false;
    LIST_FOR_EACH (link, &router->searching) {
        struct route *route = CONTAINER_OF(link, struct route, in_searching);
        if (route->probe_id != 0 || !range_descriptor_on_node(&route->descriptor, node_id))
            continue;
        route->preferred_node = node_id;
        router_timer_set(router, &route->timer, router->now_us);
    }
    router_settle(router);
}
