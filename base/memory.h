/* Allocation that cannot fail quietly: when the allocator says no, the process stops with a clear
 * line. Sizes are bounded by the callers' limits.h, so this is the machine running out of memory.
 */
#ifndef FLOTILLA_BASE_MEMORY_H
#define FLOTILLA_BASE_MEMORY_H

#include <stddef.h>

void *memory_alloc(size_t bytes);  /* uninitialised */
void *memory_zalloc(size_t bytes); /* zeroed */
void *memory_realloc(void *old, size_t bytes);
void memory_free(void *block); /* NULL is fine */

#define MEMORY_NEW(type) ((type *)memory_zalloc(sizeof(type)))

#endif
