/* Allocation that either succeeds or stops the process. */
#include "base/memory.h"

#include <stdlib.h>

#include "base/assert.h"

/* The C library may answer a request for nothing with NULL, which is not a failure. */
static size_t at_least_one(size_t bytes) {
    return bytes > 0 ? bytes : 1;
}

void *memory_alloc(size_t bytes) {
    void *block = malloc(at_least_one(bytes));
    if (!block) fatal("reason=out_of_memory requested_bytes=%zu", bytes);
    return block;
}

void *memory_zalloc(size_t bytes) {
    void *block = calloc(1, at_least_one(bytes));
    if (!block) fatal("reason=out_of_memory requested_bytes=%zu", bytes);
    return block;
}

void *memory_realloc(void *old, size_t bytes) {
    void *block = realloc(old, at_least_one(bytes));
    if (!block) fatal("reason=out_of_memory requested_bytes=%zu", bytes);
    return block;
}

void memory_free(void *block) {
    free(block);
}
