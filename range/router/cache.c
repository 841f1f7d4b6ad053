/* The range cache: an ordered array of ranges that do not overlap, found by key or by id.
 *
 * It is healed by whatever arrives, a refusal's descriptor or the whole map, in any order: of the
 * same range the newer epoch wins; of different ranges that overlap, the higher span version, since
 * a split or merge gives its results a higher one than all that went into it. */
#include "range/router/internal.h"

static struct slice start_of(const struct route *route) {
    return slice_from_buf(&route->descriptor.start);
}

static struct slice end_of(const struct route *route) {
    return slice_from_buf(&route->descriptor.end);
}

/* How many ranges start before `key` (or at it, when `inclusive`). */
static size_t count_starting_before(const struct route_cache *cache, struct slice key,
                                    bool inclusive) {
    size_t low = 0, high = cache->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(start_of(cache->ordered[middle]), key);
        if (order < 0 || (inclusive && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct route *route_cache_find(const struct route_cache *cache, struct slice key) {
    size_t before = count_starting_before(cache, key, true);
    if (before == 0) return NULL;
    struct route *route = cache->ordered[before - 1];
    return range_descriptor_contains(&route->descriptor, key) ? route : NULL;
}

struct route *route_cache_find_before(const struct route_cache *cache, struct slice end) {
    size_t before = end.len == 0 ? cache->count : count_starting_before(cache, end, false);
    if (before == 0) return NULL;
    struct route *route = cache->ordered[before - 1];
    struct slice route_end = end_of(route);
    if (route_end.len == 0) return route;
    return end.len > 0 && slice_compare(end, route_end) <= 0 ? route : NULL;
}

struct route *route_cache_by_id(const struct route_cache *cache, uint64_t range_id) {
    struct idmap_node *node = idmap_get(&cache->by_id, range_id);
    return node ? CONTAINER_OF(node, struct route, by_id) : NULL;
}

static void cache_insert(struct route_cache *cache, struct route *route) {
    if (cache->count == cache->cap) {
        cache->cap = cache->cap > 0 ? cache->cap * 2 : 16;
        cache->ordered = memory_realloc(cache->ordered, cache->cap * sizeof(struct route *));
    }
    size_t at = count_starting_before(cache, start_of(route), false);
    memmove(&cache->ordered[at + 1], &cache->ordered[at],
            (cache->count - at) * sizeof(struct route *));
    cache->ordered[at] = route;
    cache->count++;
}

static void cache_remove(struct route_cache *cache, struct route *route) {
    size_t at = count_starting_before(cache, start_of(route), false);
    ASSERT(at < cache->count && cache->ordered[at] == route);
    cache->count--;
    memmove(&cache->ordered[at], &cache->ordered[at + 1],
            (cache->count - at) * sizeof(struct route *));
}

static void route_free(struct route *route) {
    ASSERT(list_empty(&route->waiting));
    range_descriptor_done(&route->descriptor);
    buf_done(&route->complaint);
    memory_free(route);
}

void route_cache_done(struct route_cache *cache) {
    for (size_t i = 0; i < cache->count; i++)
        route_free(cache->ordered[i]);
    memory_free(cache->ordered);
    idmap_done(&cache->by_id);
    *cache = (struct route_cache){0};
}

void router_evict(struct router *router, struct route *route) {
    route_search_stop(router, route);
    cache_remove(&router->cache, route);
    (void)idmap_remove(&router->cache.by_id, route->descriptor.range_id); /* it is `route` */
    route_free(route);
}

static bool epoch_newer(const struct range_epoch *a, const struct range_epoch *b) {
    if (a->span_version != b->span_version) return a->span_version > b->span_version;
    return a->conf_version > b->conf_version;
}

static bool overlap(const struct range_descriptor *a, const struct range_descriptor *b) {
    bool a_before =
        a->end.len > 0 && slice_compare(slice_from_buf(&a->end), slice_from_buf(&b->start)) <= 0;
    bool b_before =
        b->end.len > 0 && slice_compare(slice_from_buf(&b->end), slice_from_buf(&a->start)) <= 0;
    return !a_before && !b_before;
}

/* The place of the first range that could overlap: the one that starts at or before it. */
static size_t first_overlap(const struct route_cache *cache,
                            const struct range_descriptor *descriptor) {
    size_t before = count_starting_before(cache, slice_from_buf(&descriptor->start), true);
    return before > 0 ? before - 1 : 0;
}

static bool is_newer(const struct route_cache *cache, const struct range_descriptor *descriptor) {
    const struct route *same = route_cache_by_id(cache, descriptor->range_id);
    if (same && !epoch_newer(&descriptor->epoch, &same->descriptor.epoch)) return false;
    for (size_t i = first_overlap(cache, descriptor); i < cache->count; i++) {
        const struct range_descriptor *other = &cache->ordered[i]->descriptor;
        if (descriptor->end.len > 0 &&
            slice_compare(slice_from_buf(&other->start), slice_from_buf(&descriptor->end)) >= 0)
            break;
        if (other->range_id == descriptor->range_id || !overlap(other, descriptor)) continue;
        if (other->epoch.span_version >= descriptor->epoch.span_version) return false;
    }
    return true;
}

static void evict_overlapping(struct router *router, const struct range_descriptor *descriptor) {
    struct route_cache *cache = &router->cache;
    size_t i = first_overlap(cache, descriptor);
    while (i < cache->count) {
        struct route *other = cache->ordered[i];
        if (other->descriptor.range_id != descriptor->range_id &&
            overlap(&other->descriptor, descriptor)) {
            router_evict(router, other);
        } else if (descriptor->end.len > 0 &&
                   slice_compare(start_of(other), slice_from_buf(&descriptor->end)) >= 0) {
            break;
        } else {
            i++;
        }
    }
}

static struct route *route_new(struct router *router, uint64_t range_id) {
    struct route *route = MEMORY_NEW(struct route);
    route->timer.kind = TIMER_SEARCH;
    route->serial = ++router->routes_made;
    route->retry_credit = ROUTER_RETRY_CREDIT_MAX;
    list_init(&route->waiting);
    list_init(&route->in_searching);
    idmap_put(&router->cache.by_id, &route->by_id, range_id);
    return route;
}

bool router_learn(struct router *router, const struct range_descriptor *descriptor) {
    if (!is_newer(&router->cache, descriptor)) return false;
    evict_overlapping(router, descriptor);
    struct route *route = route_cache_by_id(&router->cache, descriptor->range_id);
    if (route) {
        cache_remove(&router->cache, route); /* its start may change */
        route_search_stop(router, route);
    } else {
        route = route_new(router, descriptor->range_id);
    }
    range_descriptor_copy(&route->descriptor, descriptor);
    if (route->leader_node != 0 && !range_descriptor_on_node(descriptor, route->leader_node))
        route->leader_node = 0;
    cache_insert(&router->cache, route);
    router_reroute(router);
    return true;
}
