/* Min-heap with four children per node: a level's keys are one line of the cache, and there are
 * half as many levels as with two. Slots are 1-based, so that a zeroed node is in no heap: the node
 * in slot s sits at entries[s - 1], its children in slots 4 * s - 2 .. 4 * s + 1. */
#include "base/heap.h"

#include "base/assert.h"
#include "base/memory.h"

#define HEAP_FIRST_CAP 16u
#define HEAP_CHILDREN 4u

static size_t parent_of(size_t slot) {
    return (slot + HEAP_CHILDREN - 2) / HEAP_CHILDREN;
}

static void place(struct heap *heap, size_t slot, struct heap_entry entry) {
    heap->entries[slot - 1] = entry;
    entry.node->slot = slot;
}

static void sift_up(struct heap *heap, size_t slot, struct heap_entry entry) {
    while (slot > 1 && heap->entries[parent_of(slot) - 1].key > entry.key) {
        place(heap, slot, heap->entries[parent_of(slot) - 1]);
        slot = parent_of(slot);
    }
    place(heap, slot, entry);
}

/* The child with the smallest key; 0: there is none. */
static size_t first_child(const struct heap *heap, size_t slot) {
    size_t child = HEAP_CHILDREN * slot - (HEAP_CHILDREN - 2), end = child + HEAP_CHILDREN;
    if (child > heap->count) return 0;
    if (end > heap->count + 1) end = heap->count + 1;
    size_t least = child;
    for (child++; child < end; child++)
        if (heap->entries[child - 1].key < heap->entries[least - 1].key) least = child;
    return least;
}

static void sift_down(struct heap *heap, size_t slot, struct heap_entry entry) {
    size_t child;
    while ((child = first_child(heap, slot)) > 0 && heap->entries[child - 1].key < entry.key) {
        place(heap, slot, heap->entries[child - 1]);
        slot = child;
    }
    place(heap, slot, entry);
}

void heap_done(struct heap *heap) {
    memory_free(heap->entries);
    *heap = (struct heap){0};
}

void heap_push(struct heap *heap, struct heap_node *node, uint64_t key) {
    ASSERT_CMP(node->slot, ==, 0);
    if (heap->count == heap->cap) {
        heap->cap = heap->cap > 0 ? heap->cap * 2 : HEAP_FIRST_CAP;
        heap->entries = memory_realloc(heap->entries, heap->cap * sizeof(struct heap_entry));
    }
    node->key = key;
    heap->count++;
    sift_up(heap, heap->count, (struct heap_entry){key, node});
}

void heap_remove(struct heap *heap, struct heap_node *node) {
    size_t slot = node->slot;
    if (slot == 0) return;
    ASSERT_CMP(slot, <=, heap->count);
    ASSERT(heap->entries[slot - 1].node == node);
    node->slot = 0;
    struct heap_entry last = heap->entries[heap->count - 1];
    heap->count--;
    if (last.node == node) return;
    /* The last node takes the hole; it may belong further up as well as further down. */
    if (slot > 1 && heap->entries[parent_of(slot) - 1].key > last.key) {
        sift_up(heap, slot, last);
    } else {
        sift_down(heap, slot, last);
    }
}

struct heap_node *heap_min(const struct heap *heap) {
    return heap->count > 0 ? heap->entries[0].node : NULL;
}

struct heap_node *heap_pop(struct heap *heap) {
    struct heap_node *node = heap_min(heap);
    if (node) heap_remove(heap, node);
    return node;
}
