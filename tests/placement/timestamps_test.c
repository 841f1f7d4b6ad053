#include "placement/timestamps.h"

#include <criterion/criterion.h>

#include "base/prng.h"

#define MS(ms) ((uint64_t)(ms) << PLACEMENT_TIMESTAMP_COUNTER_BITS)

static struct placement_timestamps begin(uint64_t bound) {
    struct placement_timestamps timestamps = {.window_ms = 3000};
    placement_timestamps_begin(&timestamps, bound);
    return timestamps;
}

/* Nothing may be handed out that is not below a durable bound. */
Test(placement_timestamps, hands_out_nothing_at_or_above_the_bound) {
    struct placement_timestamps timestamps = begin(MS(1000));
    uint64_t first = 7;
    cr_assert(!placement_timestamps_take(&timestamps, 1000, 1, &first));
    cr_assert_eq(first, 7);
    placement_timestamps_extended(&timestamps, MS(1000) + 10);
    cr_assert(!placement_timestamps_take(&timestamps, 1000, 11, &first));
    cr_assert(placement_timestamps_take(&timestamps, 1000, 10, &first));
    cr_assert_eq(first, MS(1000));
    cr_assert(!placement_timestamps_take(&timestamps, 1000, 1, &first));
}

/* 0 means "before everything" to the versions in storage. */
Test(placement_timestamps, never_hands_out_zero) {
    struct placement_timestamps timestamps = begin(0);
    uint64_t first;
    placement_timestamps_extended(&timestamps, 100);
    cr_assert(placement_timestamps_take(&timestamps, 0, 1, &first));
    cr_assert_gt(first, 0);
}

/* A leader begins above everything an earlier one can have handed out. */
Test(placement_timestamps, begins_at_the_bound_of_the_leader_before) {
    struct placement_timestamps timestamps = begin(MS(5000));
    uint64_t first;
    placement_timestamps_extended(&timestamps, MS(9000));
    cr_assert(placement_timestamps_take(&timestamps, 1000, 1, &first));
    cr_assert_eq(first, MS(5000));
}

/* Order must not depend on the wall clock: it may jump either way, or be nonsense. */
Test(placement_timestamps, only_grow_whatever_the_wall_clock_does) {
    struct placement_timestamps timestamps = begin(0);
    struct prng prng;
    uint64_t wall_ms = 1000000, last = 0;
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t kind = prng_below(&prng, 100);
        if (kind == 0) wall_ms = prng_below(&prng, 2000000);
        if (kind == 1) wall_ms += 100000;
        if (kind == 2 && i > 99000) wall_ms = UINT64_MAX;
        uint32_t count = (uint32_t)prng_between(&prng, 1, 1000);
        uint64_t first;
        if (placement_timestamps_take(&timestamps, wall_ms, count, &first)) {
            cr_assert_gt(first, last);
            last = first + count - 1;
            cr_assert_lt(last, timestamps.bound);
            continue;
        }
        uint64_t bound = placement_timestamps_wanted(&timestamps, wall_ms, count);
        cr_assert_gt(bound, timestamps.bound);
        placement_timestamps_extended(&timestamps, bound);
        cr_assert(placement_timestamps_take(&timestamps, wall_ms, count, &first));
        cr_assert_gt(first, last);
        last = first + count - 1;
    }
}

/* Extending in the background: in steady state nobody waits for the log. */
Test(placement_timestamps, asks_for_more_long_before_the_bound_is_reached) {
    struct placement_timestamps timestamps = begin(0);
    uint64_t wall_ms = 1000000;
    placement_timestamps_extended(&timestamps,
                                  placement_timestamps_wanted(&timestamps, wall_ms, 0));
    cr_assert_eq(placement_timestamps_wanted(&timestamps, wall_ms + 1400, 0), 0);
    uint64_t bound = placement_timestamps_wanted(&timestamps, wall_ms + 1600, 0);
    cr_assert_neq(bound, 0);
    uint64_t first;
    cr_assert(placement_timestamps_take(&timestamps, wall_ms + 1600, 1000, &first),
              "what is left serves while the extension is under way");
    timestamps.asked = bound;
    cr_assert_eq(placement_timestamps_wanted(&timestamps, wall_ms + 2000, 0), 0,
                 "one extension at a time");
}

/* What an earlier leadership has asked for may never come: a new one asks anew, at once. */
Test(placement_timestamps, asks_anew_when_a_leadership_begins) {
    struct placement_timestamps timestamps = begin(MS(1000));
    timestamps.asked = MS(4000);
    cr_assert_eq(placement_timestamps_wanted(&timestamps, 1000, 0), 0);
    placement_timestamps_begin(&timestamps, MS(1000));
    cr_assert_neq(placement_timestamps_wanted(&timestamps, 1000, 0), 0);
}

/* What an old bound allowed must not be taken back by a late, smaller one. */
Test(placement_timestamps, ignores_a_smaller_bound) {
    struct placement_timestamps timestamps = begin(MS(10));
    placement_timestamps_extended(&timestamps, MS(100));
    placement_timestamps_extended(&timestamps, MS(50));
    cr_assert_eq(timestamps.bound, MS(100));
}
