/* Allocation that cannot fail quietly: when the allocator says no, the process stops with a clear
 * line. Sizes are bounded by the callers' limits.h, so this is the machine running out of memory.
 */
#ifndef FLOTILLA_BASE_MEMORY_H
#define FLOTILLA_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void *memory_alloc(size_t bytes);  /* uninitialised */
void *memory_zalloc(size_t bytes); /* zeroed */
void *memory_realloc(void *old, size_t bytes);
void memory_free(void *block); /* NULL is fine */

/* Asks the processor for the lines of a block that is about to be read and written, and goes on
 * meanwhile. A hint only; NULL is fine. */
static inline void memory_prefetch(const void *block, size_t bytes) {
    const uintptr_t line_bytes = 64, first = (uintptr_t)block & ~(line_bytes - 1);
    if (!block) return;
    for (uintptr_t line = first; line < (uintptr_t)block + bytes; line += line_bytes)
        __builtin_prefetch((const void *)line, 1);
}

#define MEMORY_NEW(type) ((type *)memory_zalloc(sizeof(type)))

#endif
