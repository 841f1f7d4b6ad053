/* Chained maps whose bucket count is a power of two and never below the number of nodes. */
#include "base/hashmap.h"

#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"

#define MAP_FIRST_BUCKETS 16u

/* Ids are handed out in sequence; this spreads them over the low bits (the finaliser of splitmix64,
 * Steele, Lea and Flood 2014). */
static uint64_t id_hash(uint64_t id) {
    id = (id ^ (id >> 30)) * 0xbf58476d1ce4e5b9u;
    id = (id ^ (id >> 27)) * 0x94d049bb133111ebu;
    return id ^ (id >> 31);
}

static struct idmap_node **id_bucket(const struct idmap *map, uint64_t id) {
    return &map->buckets[id_hash(id) & (map->bucket_count - 1)];
}

/* The link that points at the node with this id, or the NULL link at its chain's end. */
static struct idmap_node **id_link(const struct idmap *map, uint64_t id) {
    struct idmap_node **link = id_bucket(map, id);
    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

static void idmap_grow(struct idmap *map) {
    struct idmap old = *map;
    map->bucket_count = old.bucket_count > 0 ? old.bucket_count * 2 : MAP_FIRST_BUCKETS;
    map->buckets = memory_zalloc(map->bucket_count * sizeof(struct idmap_node *));
    for (size_t i = 0; i < old.bucket_count; i++) {
        struct idmap_node *node = old.buckets[i];
        while (node) {
            struct idmap_node *next = node->next;
            struct idmap_node **bucket = id_bucket(map, node->id);
            node->next = *bucket;
            *bucket = node;
            node = next;
        }
    }
    memory_free(old.buckets);
}

void idmap_done(struct idmap *map) {
    memory_free(map->buckets);
    *map = (struct idmap){0};
}

void idmap_prefetch(const struct idmap *map, uint64_t id) {
    if (map->count > 0) memory_prefetch(id_bucket(map, id), sizeof(struct idmap_node *));
}

struct idmap_node *idmap_get(const struct idmap *map, uint64_t id) {
    return map->count > 0 ? *id_link(map, id) : NULL;
}

void idmap_put(struct idmap *map, struct idmap_node *node, uint64_t id) {
    if (map->count >= map->bucket_count) idmap_grow(map);
    struct idmap_node **link = id_link(map, id);
    ASSERT(*link == NULL);
    node->id = id;
    node->next = NULL;
    *link = node;
    map->count++;
}

struct idmap_node *idmap_remove(struct idmap *map, uint64_t id) {
    if (map->count == 0) return NULL;
    struct idmap_node **link = id_link(map, id);
    struct idmap_node *node = *link;
    if (!node) return NULL;
    *link = node->next;
    node->next = NULL;
    map->count--;
    return node;
}

struct idmap_node *idmap_next(const struct idmap *map, const struct idmap_node *node) {
    if (map->count == 0) return NULL;
    if (node && node->next) return node->next;
    size_t i = node ? (size_t)(id_bucket(map, node->id) - map->buckets) + 1 : 0;
    for (; i < map->bucket_count; i++) {
        if (map->buckets[i]) return map->buckets[i];
    }
    return NULL;
}

static struct bytesmap_node **bytes_bucket(const struct bytesmap *map, uint64_t hash) {
    return &map->buckets[hash & (map->bucket_count - 1)];
}

static struct bytesmap_node **bytes_link(const struct bytesmap *map, struct slice key,
                                         uint64_t hash) {
    struct bytesmap_node **link = bytes_bucket(map, hash);
    while (*link && ((*link)->hash != hash || !slice_equal((*link)->key, key))) {
        link = &(*link)->next;
    }
    return link;
}

static void bytesmap_grow(struct bytesmap *map) {
    struct bytesmap old = *map;
    map->bucket_count = old.bucket_count > 0 ? old.bucket_count * 2 : MAP_FIRST_BUCKETS;
    map->buckets = memory_zalloc(map->bucket_count * sizeof(struct bytesmap_node *));
    for (size_t i = 0; i < old.bucket_count; i++) {
        struct bytesmap_node *node = old.buckets[i];
        while (node) {
            struct bytesmap_node *next = node->next;
            struct bytesmap_node **bucket = bytes_bucket(map, node->hash);
            node->next = *bucket;
            *bucket = node;
            node = next;
        }
    }
    memory_free(old.buckets);
}

void bytesmap_done(struct bytesmap *map) {
    memory_free(map->buckets);
    *map = (struct bytesmap){0};
}

struct bytesmap_node *bytesmap_get(const struct bytesmap *map, struct slice key) {
    return map->count > 0 ? *bytes_link(map, key, checksum64(key)) : NULL;
}

void bytesmap_put(struct bytesmap *map, struct bytesmap_node *node, struct slice key) {
    if (map->count >= map->bucket_count) bytesmap_grow(map);
    uint64_t hash = checksum64(key);
    struct bytesmap_node **link = bytes_link(map, key, hash);
    ASSERT(*link == NULL);
    *node = (struct bytesmap_node){.hash = hash, .key = key};
    *link = node;
    map->count++;
}

struct bytesmap_node *bytesmap_remove(struct bytesmap *map, struct slice key) {
    if (map->count == 0) return NULL;
    struct bytesmap_node **link = bytes_link(map, key, checksum64(key));
    struct bytesmap_node *node = *link;
    if (!node) return NULL;
    *link = node->next;
    node->next = NULL;
    map->count--;
    return node;
}

struct bytesmap_node *bytesmap_next(const struct bytesmap *map, const struct bytesmap_node *node) {
    if (map->count == 0) return NULL;
    if (node && node->next) return node->next;
    size_t i = node ? (size_t)(bytes_bucket(map, node->hash) - map->buckets) + 1 : 0;
    for (; i < map->bucket_count; i++) {
        if (map->buckets[i]) return map->buckets[i];
    }
    return NULL;
}

void bytesmap_clear(struct bytesmap *map) {
    if (map->count > 0) memset(map->buckets, 0, map->bucket_count * sizeof(*map->buckets));
    map->count = 0;
}
