/* What this thread has asked of the allocator so far, as the allocator itself counts it. */
#ifndef FLOTILLA_BENCH_ALLOCATION_H
#define FLOTILLA_BENCH_ALLOCATION_H

#include <stdbool.h>
#include <stdint.h>

struct bench_allocation {
    uint64_t allocated_bytes; /* ever, rounded up to what the allocator hands out */
    uint64_t freed_bytes;
};

/* False: the process runs without jemalloc, and nobody counts. */
bool bench_allocation_now(struct bench_allocation *ret_now);

#endif
