/* Time as something that is handed in. Production passes clock_system(); the simulator its own. */
#ifndef FLOTILLA_BASE_CLOCK_H
#define FLOTILLA_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    void *ctx;
    /* Never goes back, and goes on while the machine sleeps where the system has such a clock
     * (CLOCK_BOOTTIME): leases end by it. Origin arbitrary, and not that of other clocks. */
    uint64_t (*monotonic_us)(void *ctx);
    uint64_t (*wall_ms)(void *ctx); /* since 1970; may jump */
};

static inline uint64_t clock_monotonic_us(const struct clock *clock) {
    return clock->monotonic_us(clock->ctx);
}

static inline uint64_t clock_wall_ms(const struct clock *clock) {
    return clock->wall_ms(clock->ctx);
}

const struct clock *clock_system(void);

#endif
