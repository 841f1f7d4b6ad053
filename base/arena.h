/* A bump allocator for one step of work: allocate freely, reset once. Not thread-safe. */
#ifndef FLOTILLA_BASE_ARENA_H
#define FLOTILLA_BASE_ARENA_H

#include <stddef.h>

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *first; /* kept over resets */
    struct arena_block *current;
    size_t used_bytes;  /* since the last reset */
    size_t block_bytes; /* size of a fresh block; 0 means 64 KiB */
};

void arena_init(struct arena *arena, size_t block_bytes);
void arena_done(struct arena *arena);
void arena_reset(struct arena *arena);                /* keeps up to 1 MiB of blocks */
void *arena_alloc(struct arena *arena, size_t bytes); /* 16-byte aligned, uninitialised */
struct slice arena_copy(struct arena *arena, struct slice bytes);

#define ARENA_NEW_ARRAY(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))

#endif
