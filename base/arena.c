/* Blocks are chained in the order of their first use; `current` is the one being filled, and all
 * after it are empty. A reset rewinds to the first block and gives back what exceeds the amount
 * worth keeping, so that one huge step does not pin its memory for ever. */
#include "base/arena.h"

#include <stdalign.h>

#include "base/assert.h"
#include "base/memory.h"

#define ARENA_ALIGNMENT 16u
#define ARENA_BLOCK_BYTES_DEFAULT (64u * 1024u)
#define ARENA_KEPT_BYTES_MAX (1024u * 1024u)

struct arena_block {
    struct arena_block *next;
    size_t cap;  /* bytes in data */
    size_t used; /* bytes of data handed out */
    alignas(ARENA_ALIGNMENT) uint8_t data[];
};

static struct arena_block *block_new(size_t cap) {
    struct arena_block *block = memory_alloc(sizeof(struct arena_block) + cap);
    *block = (struct arena_block){.cap = cap};
    return block;
}

static void blocks_free(struct arena_block *block) {
    while (block) {
        struct arena_block *next = block->next;
        memory_free(block);
        block = next;
    }
}

void arena_init(struct arena *arena, size_t block_bytes) {
    *arena = (struct arena){.block_bytes = block_bytes};
}

void arena_done(struct arena *arena) {
    blocks_free(arena->first);
    *arena = (struct arena){.block_bytes = arena->block_bytes};
}

void arena_reset(struct arena *arena) {
    size_t kept_bytes = 0;
    struct arena_block **link = &arena->first;
    while (*link) {
        struct arena_block *block = *link;
        if (kept_bytes + block->cap > ARENA_KEPT_BYTES_MAX) {
            *link = block->next;
            memory_free(block);
            continue;
        }
        kept_bytes += block->cap;
        block->used = 0;
        link = &block->next;
    }
    arena->current = arena->first;
    arena->used_bytes = 0;
}

/* Moves on to a block with room for `bytes`, making one right after the current block if the next
 * kept one is too small. */
static struct arena_block *advance(struct arena *arena, size_t bytes) {
    struct arena_block *next = arena->current ? arena->current->next : arena->first;
    if (!next || next->cap < bytes) {
        size_t cap = arena->block_bytes > 0 ? arena->block_bytes : ARENA_BLOCK_BYTES_DEFAULT;
        struct arena_block *fresh = block_new(cap > bytes ? cap : bytes);
        fresh->next = next;
        if (arena->current) {
            arena->current->next = fresh;
        } else {
            arena->first = fresh;
        }
        next = fresh;
    }
    ASSERT_CMP(next->used, ==, 0);
    arena->current = next;
    return next;
}

void *arena_alloc(struct arena *arena, size_t bytes) {
    ASSERT_CMP(bytes, <=, SIZE_MAX / 2);
    size_t rounded = (bytes + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    struct arena_block *block = arena->current;
    if (!block || block->cap - block->used < rounded) block = advance(arena, rounded);
    void *start = block->data + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    return start;
}

struct slice arena_copy(struct arena *arena, struct slice bytes) {
    if (bytes.len == 0) return SLICE_EMPTY;
    void *copy = arena_alloc(arena, bytes.len);
    memcpy(copy, bytes.data, bytes.len);
    return slice_make(copy, bytes.len);
}
