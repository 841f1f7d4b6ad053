#include <criterion/criterion.h>

#include "base/log.h"
#include "tests/placement/group.h"

static struct group group;

static void setup(void) {
    log_set_level(LOG_NONE);
    group_init(&group, 1, 1, NULL);
}

static void teardown(void) {
    group_done(&group);
}

TestSuite(placement_oracle, .init = setup, .fini = teardown);

static struct group_timestamps ask(uint32_t count) {
    struct group_timestamps result = {0};
    struct group_member *member = group_wait_leader(&group);
    cr_assert(member);
    placement_driver_timestamps(member->driver, count, group.now_us, group_timestamps_done,
                                &result);
    for (uint32_t i = 0; i < 100 && !result.answered; i++)
        group_run(&group, GROUP_STEP_US);
    cr_assert(result.answered);
    return result;
}

/* The hot path: once the bound is there, answers come from memory, before the call returns. */
Test(placement_oracle, answers_inline_in_steady_state) {
    cr_assert_eq(ask(1).status, STATUS_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        struct group_timestamps result = {0};
        placement_driver_timestamps(group.members[0].driver, 100, group.now_us,
                                    group_timestamps_done, &result);
        cr_assert(result.answered);
        cr_assert_eq(result.status, STATUS_OK);
        cr_assert_eq(result.count, 100);
        group_run(&group, 10000);
    }
}

/* The milliseconds are those of the wall clock as long as that runs forward. */
Test(placement_oracle, follows_the_wall_clock) {
    uint64_t first = ask(1).first;
    cr_assert_leq((first >> 18) - group.wall_ms, 10);
    group_run(&group, 5000000);
    uint64_t later = ask(1).first;
    cr_assert_geq((later >> 18) - (first >> 18), 4900);
}

/* Every request is told something: nonsense is refused. */
Test(placement_oracle, refuses_counts_out_of_bounds) {
    cr_assert_eq(ask(0).status, STATUS_INVALID);
    cr_assert_eq(ask(PLACEMENT_TIMESTAMPS_MAX + 1).status, STATUS_INVALID);
    cr_assert_eq(ask(PLACEMENT_TIMESTAMPS_MAX).status, STATUS_OK);
}

/* The queue is bounded, keeps the order of arrival, and is answered when the bound comes. */
Test(placement_oracle, waiting_requests_are_bounded_and_served_in_order) {
    static struct group_timestamps results[PLACEMENT_TIMESTAMP_QUEUE_MAX + 1];
    struct group_member *member = group_wait_leader(&group);
    group.wall_ms += 1000000; /* beyond the bound: everybody waits */
    for (uint32_t i = 0; i <= PLACEMENT_TIMESTAMP_QUEUE_MAX; i++)
        placement_driver_timestamps(member->driver, 3, group.now_us, group_timestamps_done,
                                    &results[i]);
    cr_assert_eq(results[PLACEMENT_TIMESTAMP_QUEUE_MAX].status, STATUS_BUSY);
    cr_assert(!results[0].answered);
    group_settle(&group);
    for (uint32_t i = 0; i < PLACEMENT_TIMESTAMP_QUEUE_MAX; i++) {
        cr_assert(results[i].answered);
        cr_assert_eq(results[i].status, STATUS_OK);
        if (i) cr_assert_eq(results[i].first, results[i - 1].first + 3);
    }
}

/* A small request must not overtake a large one that waits: the large one could starve. */
Test(placement_oracle, nobody_overtakes_those_who_wait) {
    struct group_timestamps large = {0}, small = {0};
    struct placement_status status;
    struct placement_driver *driver = group_wait_leader(&group)->driver;
    cr_assert_eq(ask(1).status, STATUS_OK);
    placement_driver_status(driver, group.now_us, &status);
    group.wall_ms = (status.timestamp_bound >> 18) - 1; /* one millisecond is left */
    for (uint64_t left = status.timestamp_bound - (group.wall_ms << 18); left > 100;) {
        struct group_timestamps taken = {0};
        uint32_t count = left - 100 < 60000 ? (uint32_t)left - 100 : 60000;
        placement_driver_timestamps(driver, count, group.now_us, group_timestamps_done, &taken);
        cr_assert_eq(taken.status, STATUS_OK);
        left -= count;
    }
    placement_driver_timestamps(driver, 1000, group.now_us, group_timestamps_done, &large);
    placement_driver_timestamps(driver, 1, group.now_us, group_timestamps_done, &small);
    cr_assert(!large.answered && !small.answered);
    group_settle(&group);
    cr_assert_eq(small.first, large.first + 1000);
}

/* Nobody is left waiting by a member that goes away. */
Test(placement_oracle, waiting_requests_are_told_when_the_member_stops) {
    struct group_timestamps result = {0};
    struct group_member *member = group_wait_leader(&group);
    group.wall_ms += 1000000;
    placement_driver_timestamps(member->driver, 1, group.now_us, group_timestamps_done, &result);
    cr_assert(!result.answered);
    group_stop(&group, 0);
    cr_assert_eq(result.status, STATUS_SHUTDOWN);
}

/* No member, no clock jump, no crash may ever bring a timestamp back: one that was handed out twice
 * is a lost update. A crash at every instant, the wall clock jumping either way. */
Test(placement_oracle, is_monotonic_over_a_crash_at_every_instant) {
    for (uint64_t instant = 0; instant < 120; instant++) {
        group_done(&group);
        group_init(&group, 1, instant, NULL);
        group.crash_countdown = instant;
        uint64_t last = 0;
        for (uint32_t i = 0; i < 40; i++) {
            if (!group.members[0].driver) group_start(&group, 0);
            if (i % 7 == 3) group.wall_ms += 2500;
            if (i % 11 == 5) group.wall_ms -= 40000;
            group_run(&group, prng_below(&group.prng, 100000));
            struct group_timestamps result = {0};
            if (!group.members[0].driver) continue;
            placement_driver_timestamps(group.members[0].driver, 1000, group.now_us,
                                        group_timestamps_done, &result);
            group_settle(&group);
            if (!result.answered || result.status) continue;
            cr_assert_gt(result.first, last, "instant %lu", (unsigned long)instant);
            last = result.first + result.count - 1;
        }
        cr_assert_gt(last, 0);
    }
}
