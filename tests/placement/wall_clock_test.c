#include "placement/wall_clock.h"

#include <criterion/criterion.h>

#include "base/log.h"
#include "base/prng.h"
#include "placement/timestamps.h"
#include "tests/placement/group.h"

#define HOUR_MS UINT64_C(3600000)
#define SECOND_US UINT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)

/* ---- the arithmetic ---- */

static struct placement_wall confirmed_at(uint64_t wall_ms, uint64_t now_us) {
    struct placement_wall wall;
    placement_wall_begin(&wall, wall_ms, now_us);
    placement_wall_confirm(&wall, now_us, wall_ms);
    return wall;
}

/* A clock that runs right is followed to the millisecond, for ever. */
Test(placement_wall, a_right_clock_is_followed) {
    struct placement_wall wall = confirmed_at(1000, 0);
    for (uint64_t now_us = 0; now_us < 1000 * HOUR_US; now_us += 777777777)
        cr_assert_eq(placement_wall_read(&wall, now_us, 1000 + now_us / 1000),
                     1000 + now_us / 1000);
    cr_assert_eq(wall.refused_ms, 0);
}

/* However often it is asked: what is less than a millisecond since the last time is not lost. So a
 * clock that cannot be confirmed for a while is followed by the steady one alone. */
Test(placement_wall, parts_of_milliseconds_add_up) {
    struct placement_wall wall;
    placement_wall_begin(&wall, 1000, 0);
    for (uint64_t now_us = 0; now_us <= 1000 * SECOND_US; now_us += 1700)
        (void)placement_wall_read(&wall, now_us, 1000 + HOUR_MS);
    cr_assert_geq(wall.limit_ms, 1000 + 999998);
    cr_assert_leq(wall.limit_ms, 1000 + 1000000);
}

/* What another clock said is older by now: it agrees with the time that it would show today. */
Test(placement_wall, what_was_heard_goes_on_until_it_is_compared) {
    const uint64_t heard_ms = 1000000, age_us = 20 * SECOND_US, age_ms = age_us / 1000;
    cr_expect(placement_wall_agrees(heard_ms + age_ms, heard_ms, age_us));
    cr_expect(placement_wall_agrees(heard_ms + age_ms + PLACEMENT_CLOCK_STEP_MS, heard_ms, age_us));
    cr_expect(placement_wall_agrees(heard_ms + age_ms - PLACEMENT_CLOCK_STEP_MS, heard_ms, age_us));
    cr_expect_not(
        placement_wall_agrees(heard_ms + age_ms + PLACEMENT_CLOCK_STEP_MS + 1, heard_ms, age_us));
    cr_expect_not(
        placement_wall_agrees(heard_ms + age_ms - PLACEMENT_CLOCK_STEP_MS - 1, heard_ms, age_us));
}

/* A jump is not believed, however long it lasts; time goes on at the steady clock's rate, and what
 * is believed in all is a small part of the 24 hours that request ids live. */
Test(placement_wall, a_jump_is_refused_and_time_goes_on) {
    struct placement_wall wall = confirmed_at(0, 0);
    for (uint64_t now_us = SECOND_US; now_us <= 24 * HOUR_US; now_us += SECOND_US) {
        uint64_t believed_ms = placement_wall_read(&wall, now_us, now_us / 1000 + 25 * HOUR_MS);
        cr_assert_geq(believed_ms, now_us / 1000);
        cr_assert_leq(believed_ms, now_us / 1000 + HOUR_MS / 6 + HOUR_MS / 4);
    }
    cr_assert_gt(wall.refused_ms, 24 * HOUR_MS);
    cr_assert_eq(placement_wall_read(&wall, 25 * HOUR_US, 25 * HOUR_MS), 25 * HOUR_MS);
    cr_assert_eq(wall.refused_ms, 0, "set right, it is believed again");
}

/* Many small steps are a jump, too. */
Test(placement_wall, small_steps_do_not_add_up_to_a_jump) {
    struct placement_wall wall = confirmed_at(0, 0);
    uint64_t believed_ms = 0;
    for (uint64_t i = 1; i <= 1000; i++)
        believed_ms = placement_wall_read(&wall, i * SECOND_US, i * 60000);
    cr_assert_leq(believed_ms, 1000 * 1000 + HOUR_MS / 6 + 10000);
}

/* The budget is ten minutes, to the millisecond, however it is spent; each second gives back 8 ms. */
Test(placement_wall, the_budget_is_spent_to_the_millisecond) {
    struct placement_wall wall = confirmed_at(0, 0);
    cr_assert_eq(placement_wall_read(&wall, 0, 1), 1);
    cr_assert_eq(placement_wall_read(&wall, 0, 1000), 1000);
    cr_assert_eq(placement_wall_read(&wall, 0, PLACEMENT_CLOCK_STEP_MS), PLACEMENT_CLOCK_STEP_MS);
    cr_assert_eq(placement_wall_read(&wall, 0, HOUR_MS), PLACEMENT_CLOCK_STEP_MS);
    cr_assert_eq(placement_wall_read(&wall, SECOND_US, HOUR_MS), PLACEMENT_CLOCK_STEP_MS + 1008);
}

/* What was set back and is set right again is no jump. */
Test(placement_wall, a_clock_that_comes_back_from_the_past_is_believed) {
    struct placement_wall wall = confirmed_at(50 * HOUR_MS, 0);
    cr_assert_eq(placement_wall_read(&wall, HOUR_US, 10 * HOUR_MS), 10 * HOUR_MS);
    cr_assert_eq(placement_wall_read(&wall, 2 * HOUR_US, 52 * HOUR_MS), 52 * HOUR_MS);
    cr_assert_eq(wall.refused_ms, 0);
}

/* A start does not make steps free: otherwise a process that crashes again and again walks away. */
Test(placement_wall, nothing_beyond_the_bound_is_believed_unconfirmed) {
    struct placement_wall wall;
    placement_wall_begin(&wall, 1000, 0);
    cr_assert_eq(placement_wall_read(&wall, 0, 1001), 1000);
    cr_assert_eq(placement_wall_read(&wall, 5 * SECOND_US, HOUR_MS), 6000);
    placement_wall_confirm(&wall, 5 * SECOND_US, HOUR_MS);
    cr_assert_eq(placement_wall_read(&wall, 5 * SECOND_US, HOUR_MS), HOUR_MS);
    placement_wall_confirm(&wall, 5 * SECOND_US, UINT64_MAX);
    (void)placement_wall_read(&wall, 10 * HOUR_US, UINT64_MAX);
}

/* ---- the driver ---- */

static struct group group;

static void begin(uint32_t members, uint64_t seed) {
    struct placement_config config;
    log_set_level(LOG_NONE);
    placement_config_defaults(&config);
    group_init(&group, members, seed, &config);
    group_give_birth(&group, 3);
}

static uint64_t granted_ms(void) {
    struct group_timestamps result = {0};
    struct group_member *member = group_wait_leader(&group);
    cr_assert(member);
    placement_driver_timestamps(member->driver, 1, group.now_us, group_timestamps_done, &result);
    for (uint32_t i = 0; i < 100 && !result.answered; i++)
        group_run(&group, GROUP_STEP_US);
    cr_assert_eq(result.status, STATUS_OK);
    return result.first >> PLACEMENT_TIMESTAMP_COUNTER_BITS;
}

static uint64_t ahead_ms(void) {
    struct placement_status status;
    placement_driver_status(group_wait_leader(&group)->driver, group.now_us, &status);
    return status.clock_ahead_ms;
}

/* Time passes and `beating` of the nodes send heartbeats. */
static void live(uint64_t us, uint64_t beating) {
    for (uint64_t passed = 0; passed < us; passed += 100000) {
        for (uint64_t node = 1; node <= beating; node++)
            group_beat(&group, node);
        group_run(&group, 100000);
    }
}

static void restart_all(void) {
    for (uint32_t i = 0; i < group.count; i++)
        group_stop(&group, i);
    for (uint32_t i = 0; i < group.count; i++)
        group_start(&group, i);
}

/* The request ids of a day must outlive a clock that is set wrong while placement runs; whoever
 * else's clock shows the same, the steady one knows how much time has passed. */
Test(placement_clock, a_jump_within_a_life_is_refused) {
    for (uint32_t members = 1; members <= 3; members += 2) {
        begin(members, members);
        live(2 * SECOND_US, 3);
        uint64_t before = granted_ms(), wall_ms = group.wall_ms;
        group.wall_ms += 25 * HOUR_MS;
        live(5 * SECOND_US, 3);
        cr_assert_leq(granted_ms(), before + HOUR_MS / 6 + 10000);
        cr_assert_gt(ahead_ms(), 24 * HOUR_MS, "the operator sees it");
        group.wall_ms = wall_ms + 5000;
        live(SECOND_US, 3);
        cr_assert_eq(ahead_ms(), 0);
        group_done(&group);
    }
}

/* A weekend without placement looks like a jump, and is none: the nodes' clocks say so. */
Test(placement_clock, a_weekend_without_placement_is_believed) {
    for (uint32_t members = 1; members <= 3; members += 2) {
        begin(members, members);
        live(2 * SECOND_US, 3);
        (void)granted_ms();
        group.wall_ms += 60 * HOUR_MS;
        restart_all();
        live(2 * SECOND_US, 3);
        cr_assert_geq(granted_ms() + 1000, group.wall_ms);
        cr_assert_eq(ahead_ms(), 0);
        group_done(&group);
    }
}

/* A machine that starts with a wrong clock is alone with it. */
Test(placement_clock, a_jump_at_a_start_is_refused) {
    begin(1, 1);
    live(2 * SECOND_US, 3);
    uint64_t before = granted_ms(), wall_ms = group.wall_ms;
    group.wall_ms += 25 * HOUR_MS;
    group.node_wall_ms = -(int64_t)(25 * HOUR_MS);
    restart_all();
    live(5 * SECOND_US, 3);
    cr_assert_leq(granted_ms(), before + 20000);
    cr_assert_gt(ahead_ms(), 24 * HOUR_MS);
    group.wall_ms = wall_ms + 5000;
    group.node_wall_ms = 0;
    live(2 * SECOND_US, 3);
    cr_assert_geq(granted_ms() + 10000, group.wall_ms);
    cr_assert_eq(ahead_ms(), 0);
    group_done(&group);
}

/* Two of four clocks are no majority: the node that is first may be on the same machine. */
Test(placement_clock, a_minority_of_clocks_confirms_nothing) {
    begin(1, 1);
    live(2 * SECOND_US, 3);
    uint64_t before = granted_ms();
    group.wall_ms += 25 * HOUR_MS;
    restart_all();
    live(3 * SECOND_US, 1);
    cr_assert_leq(granted_ms(), before + 20000);
    live(SECOND_US, 2);
    cr_assert_geq(granted_ms() + 1000, group.wall_ms, "and three are one");
    group_done(&group);
}

/* A person knows better, once. */
Test(placement_clock, a_person_can_override) {
    begin(1, 1);
    live(2 * SECOND_US, 3);
    group.wall_ms += 25 * HOUR_MS;
    group.node_wall_ms = -(int64_t)(25 * HOUR_MS);
    group.config.trust_clock = true;
    restart_all();
    cr_assert_geq(granted_ms() + 1000, group.wall_ms);
    group.wall_ms += 25 * HOUR_MS;
    live(SECOND_US, 3);
    cr_assert_leq(granted_ms(), group.wall_ms - 24 * HOUR_MS,
                  "said of that start, not of this jump");
    group_done(&group);
}

/* A process that crashes again and again does not walk away with a clock that is wrong. */
Test(placement_clock, restarts_do_not_add_up_to_a_jump) {
    begin(1, 1);
    live(2 * SECOND_US, 3);
    uint64_t before = granted_ms();
    group.wall_ms += 25 * HOUR_MS;
    group.node_wall_ms = -(int64_t)(25 * HOUR_MS);
    for (uint32_t i = 0; i < 50; i++) {
        restart_all();
        live(200000, 3);
    }
    cr_assert_leq(granted_ms(), before + 50 * 10000);
    group_done(&group);
}
