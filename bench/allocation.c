#include "bench/allocation.h"

#include <stddef.h>

/* jemalloc's control interface. Weak, because builds for sanitizers and valgrind are without it. */
extern int mallctl(const char *name, void *ret_old, size_t *old_bytes, void *new_value,
                   size_t new_bytes) __attribute__((weak));

static bool read_counter(const char *name, uint64_t *ret_value) {
    size_t bytes = sizeof(*ret_value);
    return mallctl(name, ret_value, &bytes, NULL, 0) == 0 && bytes == sizeof(*ret_value);
}

bool bench_allocation_now(struct bench_allocation *ret_now) {
    if (!mallctl) return false;
    struct bench_allocation now;
    if (!read_counter("thread.allocated", &now.allocated_bytes) ||
        !read_counter("thread.deallocated", &now.freed_bytes)) {
        return false;
    }
    *ret_now = now;
    return true;
}
