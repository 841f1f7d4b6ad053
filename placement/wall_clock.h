/* How far a member believes its wall clock. Ranges remember request ids for a time that they count
 * in timestamps, so a clock that jumps ahead makes them forget ids that clients may still retry: a
 * write would be applied twice. Volatile; pure arithmetic on two clocks that are handed in.
 *
 * States:
 *   unconfirmed  a leadership began: nobody has said yet that the time since the bound has passed
 *   confirmed    placement_wall_confirm: the clocks of a majority, a person, or nothing to forget
 * In both the believed time goes on from what it was at the rate of the steady clock (which goes on
 * while the machine sleeps), and never faster, but for small steps that a budget allows: what a
 * clock that is being set right needs, and a clock that is 0.8% fast. An unconfirmed one has no
 * budget. What the wall clock shows beyond is refused until it is confirmed. A wall clock that is
 * behind is believed: timestamps never go back anyhow (timestamps.h). */
#ifndef FLOTILLA_PLACEMENT_WALL_CLOCK_H
#define FLOTILLA_PLACEMENT_WALL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct placement_wall {
    uint64_t limit_ms;   /* the latest wall time that is believed, at limit_us */
    uint64_t limit_us;   /* steady clock */
    uint64_t budget_us;  /* by so much the limit may still be stepped forward */
    uint64_t refused_ms; /* by so much the wall clock was ahead when it was read last */
    bool confirmed;
};

/* A leadership begins; everything up to `bound_ms` may be handed out already. */
void placement_wall_begin(struct placement_wall *wall, uint64_t bound_ms, uint64_t now_us);
/* The time to believe when the wall clock shows `wall_ms`. */
uint64_t placement_wall_read(struct placement_wall *wall, uint64_t now_us, uint64_t wall_ms);
/* So much time has passed indeed. */
void placement_wall_confirm(struct placement_wall *wall, uint64_t now_us, uint64_t wall_ms);
/* Whether another clock that showed `other_ms`, `age_us` ago, shows the same time. */
bool placement_wall_agrees(uint64_t wall_ms, uint64_t other_ms, uint64_t age_us);

#endif
