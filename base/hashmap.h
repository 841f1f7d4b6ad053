/* Intrusive chained hash maps that grow: one by 64-bit id, one by bytes. Zeroed maps are empty. */
#ifndef FLOTILLA_BASE_HASHMAP_H
#define FLOTILLA_BASE_HASHMAP_H

#include "base/slice.h"

struct idmap_node {
    struct idmap_node *next;
    uint64_t id;
};

struct idmap {
    struct idmap_node **buckets;
    size_t bucket_count, count;
};

void idmap_done(struct idmap *map);                        /* frees the buckets, not the nodes */
void idmap_prefetch(const struct idmap *map, uint64_t id); /* a hint: soon it is asked for */
struct idmap_node *idmap_get(const struct idmap *map, uint64_t id);
void idmap_put(struct idmap *map, struct idmap_node *node, uint64_t id); /* id must be absent */
struct idmap_node *idmap_remove(struct idmap *map, uint64_t id);         /* NULL when absent */
/* Iteration: pass NULL first; order is unspecified but the same for the same history. The map must
 * not change meanwhile. */
struct idmap_node *idmap_next(const struct idmap *map, const struct idmap_node *node);

struct bytesmap_node {
    struct bytesmap_node *next;
    uint64_t hash;
    struct slice key; /* must stay valid and unchanged while in the map */
};

struct bytesmap {
    struct bytesmap_node **buckets;
    size_t bucket_count, count;
};

void bytesmap_done(struct bytesmap *map);
struct bytesmap_node *bytesmap_get(const struct bytesmap *map, struct slice key);
void bytesmap_put(struct bytesmap *map, struct bytesmap_node *node, struct slice key);
struct bytesmap_node *bytesmap_remove(struct bytesmap *map, struct slice key);
struct bytesmap_node *bytesmap_next(const struct bytesmap *map, const struct bytesmap_node *node);
void bytesmap_clear(struct bytesmap *map); /* forgets all nodes, keeps the buckets */

#endif
