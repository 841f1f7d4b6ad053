/* The operating system's clocks behind the interface. */
#include "base/clock.h"

#include <time.h>

#include "base/assert.h"

static struct timespec read_clock(clockid_t which) {
    struct timespec now;
    int error = clock_gettime(which, &now);
    ASSERT_CMP(error, ==, 0);
    return now;
}

/* CLOCK_MONOTONIC stands still while the machine sleeps, and promises to others, leases among them,
 * do not: a node that wakes must know that they are over. */
#ifdef CLOCK_BOOTTIME
#define STEADY_CLOCK CLOCK_BOOTTIME
#else
#define STEADY_CLOCK CLOCK_MONOTONIC
#endif

static uint64_t system_monotonic_us(void *ctx) {
    (void)ctx; /* the system has one clock */
    struct timespec now = read_clock(STEADY_CLOCK);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t system_wall_ms(void *ctx) {
    (void)ctx;
    struct timespec now = read_clock(CLOCK_REALTIME);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const struct clock *clock_system(void) {
    static const struct clock system_clock = {
        .monotonic_us = system_monotonic_us,
        .wall_ms = system_wall_ms,
    };
    return &system_clock;
}
