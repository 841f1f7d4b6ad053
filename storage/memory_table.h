/* One family in memory: an ordered map with versions. A skip list (Pugh 1990) of keys; at each key
 * a chain of versions, newest first, stamped with the sequence of the write that made them.
 *
 * Invariants (memory_table_check walks them):
 * 1. Keys ascend strictly along level 0; `previous` mirrors it; every higher level is a part of
 *    the one below.
 * 2. Along a chain sequences descend strictly; no chain is empty.
 * 3. A node with more than one version, or whose newest is a deletion, is on the stale list: these
 *    are the only nodes that pruning or rolling back can change. Every version above the sequence
 *    last given to memory_table_prune is on a node of that list as well. `stale_versions`
 *    counts the versions of these nodes, so that one key written over and over is noticed, too.
 * 4. `by_key` holds every node: most lookups name a key exactly, and most of those find nothing.
 *
 * A node lives until pruning or rolling back removes its last version. Not thread-safe. */
#ifndef FLOTILLA_STORAGE_MEMORY_TABLE_H
#define FLOTILLA_STORAGE_MEMORY_TABLE_H

#include "base/hashmap.h"
#include "base/prng.h"
#include "base/slice.h"

struct memory_version {
    struct memory_version *older;
    uint64_t sequence; /* of the write that made it */
    uint32_t len;      /* bytes of data */
    bool deleted;      /* a tombstone: len is 0 */
    uint8_t data[];
};

struct memory_node {
    struct memory_version *newest;
    struct memory_node *previous; /* on level 0; the head before the first key */
    struct bytesmap_node by_key;
    struct memory_node *stale_next; /* chain of the stale list */
    bool stale;                     /* is on that list */
    uint8_t height;                 /* levels this node is on, at least 1 */
    uint32_t key_len;               /* bytes; the key stands behind next[height] */
    struct memory_node *next[];     /* one per level */
};

struct memory_table {
    struct memory_node *head; /* a node of full height without a key */
    uint8_t height;           /* highest level in use */
    struct bytesmap by_key;
    struct prng prng; /* for heights; seeded with a constant, so runs repeat exactly */
    struct memory_node *stale;
    size_t stale_versions; /* on the nodes of that list: what pruning has to look at */
    size_t key_count;      /* nodes, those with only a tombstone included */
};

void memory_table_init(struct memory_table *table);
void memory_table_done(struct memory_table *table);

/* Adds a version. `sequence` must be at least that of the key's newest; an equal one is replaced
 * (the last operation on a key within a write wins). Deleting what never was adds nothing. */
void memory_table_put(struct memory_table *table, struct slice key, struct slice value,
                      uint64_t sequence);
void memory_table_delete(struct memory_table *table, struct slice key, uint64_t sequence);
/* [begin, end), empty end: no end. */
void memory_table_delete_range(struct memory_table *table, struct slice begin, struct slice end,
                               uint64_t sequence);

/* Nodes regardless of visibility; NULL when there is none. */
struct memory_node *memory_table_find(const struct memory_table *table, struct slice key);
struct memory_node *memory_table_first_from(const struct memory_table *table, struct slice key);
struct memory_node *memory_table_last_before(const struct memory_table *table, struct slice key);
struct memory_node *memory_table_last(const struct memory_table *table);
struct memory_node *memory_table_next(const struct memory_node *node);
struct memory_node *memory_table_previous(const struct memory_table *table,
                                          const struct memory_node *node);

/* Before a walk looks at `node`: nodes and versions lie anywhere, and the next steps' are asked for
 * while this one's is worked on. */
static inline void memory_node_prefetch(const struct memory_node *node) {
    const struct memory_node *next = node->next[0];
    if (!next) return;
    __builtin_prefetch(next->newest);
    __builtin_prefetch(next->next[0]);
}

/* Here, because every step of every search and scan calls them. */
static inline struct slice memory_node_key(const struct memory_node *node) {
    return slice_make(&node->next[node->height], node->key_len);
}

/* What a reader at `sequence` sees of this key; NULL: nothing. */
static inline const struct memory_version *memory_node_visible(const struct memory_node *node,
                                                               uint64_t sequence) {
    const struct memory_version *version = node->newest;
    while (version && version->sequence > sequence)
        version = version->older;
    return version && !version->deleted ? version : NULL;
}

/* What the newest versions in [begin, end) take, keys included, roughly; empty end: no end. */
uint64_t memory_table_approximate_bytes(const struct memory_table *table, struct slice begin,
                                        struct slice end);

/* Frees versions that no reader at or above `horizon` can see. */
void memory_table_prune(struct memory_table *table, uint64_t horizon);
/* Undoes every write above `sequence`, which must not be below the last prune's horizon. */
void memory_table_roll_back(struct memory_table *table, uint64_t sequence);

void memory_table_check(const struct memory_table *table);

#endif
