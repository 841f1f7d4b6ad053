/* Intrusive min-heap over a 64-bit key (deadlines, versions). A zeroed heap is empty. */
#ifndef FLOTILLA_BASE_HEAP_H
#define FLOTILLA_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t key;
    size_t slot; /* 1-based place in the heap; 0 when not in one */
};

struct heap_entry {
    uint64_t key; /* the node's, so that comparing does not have to fetch the node */
    struct heap_node *node;
};

struct heap {
    struct heap_entry *entries;
    size_t count, cap;
};

void heap_done(struct heap *heap); /* frees the array, not the nodes */
void heap_push(struct heap *heap, struct heap_node *node, uint64_t key);
void heap_remove(struct heap *heap, struct heap_node *node); /* no effect when not in */
struct heap_node *heap_min(const struct heap *heap);         /* NULL when empty */
struct heap_node *heap_pop(struct heap *heap);               /* NULL when empty */

#endif
