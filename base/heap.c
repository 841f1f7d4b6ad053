/* Binary min-heap. Slots are 1-based, so that a zeroed node is in no heap: the node in slot s sits
 * at nodes[s - 1], its parent in slot s / 2. */
#include "base/heap.h"

#include "base/assert.h"
#include "base/memory.h"

#define HEAP_FIRST_CAP 16u

static void place(struct heap *heap, size_t slot, struct heap_node *node) {
    heap->nodes[slot - 1] = node;
    node->slot = slot;
}

static void sift_up(struct heap *heap, size_t slot, struct heap_node *node) {
    while (slot > 1 && heap->nodes[slot / 2 - 1]->key > node->key) {
        place(heap, slot, heap->nodes[slot / 2 - 1]);
        slot /= 2;
    }
    place(heap, slot, node);
}

static void sift_down(struct heap *heap, size_t slot, struct heap_node *node) {
    while (slot * 2 <= heap->count) {
        size_t child = slot * 2;
        if (child < heap->count && heap->nodes[child]->key < heap->nodes[child - 1]->key) child++;
        if (heap->nodes[child - 1]->key >= node->key) break;
        place(heap, slot, heap->nodes[child - 1]);
        slot = child;
    }
    place(heap, slot, node);
}

void heap_done(struct heap *heap) {
    memory_free(heap->nodes);
    *heap = (struct heap){0};
}

void heap_push(struct heap *heap, struct heap_node *node, uint64_t key) {
    ASSERT_CMP(node->slot, ==, 0);
    if (heap->count == heap->cap) {
        heap->cap = heap->cap > 0 ? heap->cap * 2 : HEAP_FIRST_CAP;
        heap->nodes = memory_realloc(heap->nodes, heap->cap * sizeof(struct heap_node *));
    }
    node->key = key;
    heap->count++;
    sift_up(heap, heap->count, node);
}

void heap_remove(struct heap *heap, struct heap_node *node) {
    size_t slot = node->slot;
    if (slot == 0) return;
    ASSERT_CMP(slot, <=, heap->count);
    ASSERT(heap->nodes[slot - 1] == node);
    node->slot = 0;
    struct heap_node *last = heap->nodes[heap->count - 1];
    heap->count--;
    if (last == node) return;
    /* The last node takes the hole; it may belong further up as well as further down. */
    if (slot > 1 && heap->nodes[slot / 2 - 1]->key > last->key) {
        sift_up(heap, slot, last);
    } else {
        sift_down(heap, slot, last);
    }
}

struct heap_node *heap_min(const struct heap *heap) {
    return heap->count > 0 ? heap->nodes[0] : NULL;
}

struct heap_node *heap_pop(struct heap *heap) {
    struct heap_node *node = heap_min(heap);
    if (node) heap_remove(heap, node);
    return node;
}
