/* The timestamp oracle of one leadership: hands out numbers below a bound that is already durable
 * (DESIGN.md, "Time"). Volatile; nothing here waits or allocates.
 *
 * Why no two answers of the group ever collide or go back:
 * 1. Everything handed out is below a bound that the log has committed. A member that starts to
 *    lead has applied all that earlier leaders committed before it begins, and begins at the
 *    highest bound: so it is above every earlier answer, also after a restart.
 * 2. A leader answers only while its lease is valid (driver.c), so an answer of an old leader never
 *    comes after one of its successor has begun.
 * 3. Within a leadership `next` only grows, whatever the wall clock does. (How far a clock that
 * jumps ahead is followed is wall_clock.h's matter.) After a restart or a jump back of the clock
 * the millisecond part runs ahead of the wall clock for a while: it promises order, not the time of
 * day. */
#ifndef FLOTILLA_PLACEMENT_TIMESTAMPS_H
#define FLOTILLA_PLACEMENT_TIMESTAMPS_H

#include <stdbool.h>
#include <stdint.h>

#define PLACEMENT_TIMESTAMP_COUNTER_BITS 18u
/* A wall clock beyond (the year 3084) is broken: time stands still there, order goes on. */
#define PLACEMENT_WALL_MS_MAX (UINT64_C(1) << 45)

struct placement_timestamps {
    uint64_t next;      /* lowest that may be handed out */
    uint64_t bound;     /* exclusive; committed and applied */
    uint64_t asked;     /* bound of the extension on its way; 0: none */
    uint64_t window_ms; /* how far ahead a bound is asked for */
};

/* A leadership begins: everything below `bound` may be gone. */
void placement_timestamps_begin(struct placement_timestamps *timestamps, uint64_t bound);
/* first .. first+count-1; false: the bound must be extended first, nothing was taken. */
bool placement_timestamps_take(struct placement_timestamps *timestamps, uint64_t wall_ms,
                               uint32_t count, uint64_t *ret_first);
/* The bound to ask for now, given that `waiting` timestamps could not be handed out; 0: none.
 * Asks again when half the window is used up, so that in steady state nobody waits. */
uint64_t placement_timestamps_wanted(const struct placement_timestamps *timestamps,
                                     uint64_t wall_ms, uint64_t waiting);
/* The log has committed a bound. */
void placement_timestamps_extended(struct placement_timestamps *timestamps, uint64_t bound);

#endif
