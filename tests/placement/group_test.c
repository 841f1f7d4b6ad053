#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "tests/placement/group.h"

static struct group group;

static void setup(void) {
    log_set_level(LOG_NONE);
}

TestSuite(placement_group, .init = setup);

static void begin(uint32_t members, uint64_t seed) {
    struct placement_config config;
    placement_config_defaults(&config);
    config.initial_ranges = 7;
    group_init(&group, members, seed, &config);
}

/* Three members elect, register nodes and give birth, whatever the network does. */
Test(placement_group, forms_and_gives_birth_over_a_lossy_network) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        begin(3, seed);
        group.loss_percent = 10;
        group.repeat_percent = 10;
        group.delay_us_max = 8000;
        group_give_birth(&group, 4);
        group.loss_percent = 0;
        group_run(&group, 1000000);
        uint64_t cluster_id = 0;
        for (uint32_t i = 0; i < 3; i++) {
            struct placement_status status;
            placement_driver_status(group.members[i].driver, group.now_us, &status);
            if (!cluster_id) cluster_id = status.cluster_id;
            cr_assert_eq(status.cluster_id, cluster_id);
            cr_assert_eq(status.registered_nodes, 4);
            cr_assert(status.born);
        }
        group_done(&group);
    }
}

/* Only the leader answers; the others say who leads. */
Test(placement_group, followers_refuse_and_name_the_leader) {
    begin(3, 1);
    struct group_member *leader = group_wait_leader(&group);
    cr_assert(leader);
    group_run(&group, 200000);
    for (uint32_t i = 0; i < 3; i++) {
        struct group_member *member = &group.members[i];
        struct group_timestamps timestamps = {0};
        struct group_registration registration;
        struct placement_register_request request = group_node(1);
        if (member == leader) continue;
        placement_driver_timestamps(member->driver, 1, group.now_us, group_timestamps_done,
                                    &timestamps);
        cr_assert_eq(timestamps.status, STATUS_NOT_LEADER);
        group_register_begin(&group, member, &request, &registration);
        cr_assert_eq(registration.status, STATUS_NOT_LEADER);
        char expected[64];
        (void)snprintf(expected, sizeof(expected), "member %u is", (unsigned)leader->id);
        cr_assert(strstr(registration.text, expected), "%s", registration.text);
    }
    group_done(&group);
}

/* All answers of a run in the order in which they were given. */
struct answers {
    uint64_t last;  /* highest timestamp so far */
    uint64_t given; /* answers */
};

/* Leases make this hold for every answer at the moment it is given, whoever gives it: an answer of
 * an old leader after one of its successor would be a step back in time. */
static void check_answer(void *ctx, enum status status, uint64_t first, uint32_t count) {
    struct answers *answers = ctx;
    if (status) return;
    cr_assert_gt(first, answers->last);
    answers->last = first + count - 1;
    answers->given++;
}

static void ask(struct group_member *member, struct answers *answers) {
    if (member->driver)
        placement_driver_timestamps(member->driver, 5, group.now_us, check_answer, answers);
}

/* A leader that is cut off falls silent, and its successor goes on above it. */
Test(placement_group, a_cut_off_leader_falls_silent_and_is_succeeded) {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        begin(3, seed);
        struct group_member *old = group_wait_leader(&group);
        cr_assert(old);
        group_run(&group, 300000);
        struct answers answers = {0}, by_old = {0}, by_others = {0};
        group.cut[old->id] = true;
        for (uint32_t step = 0; step < 1000; step++) {
            for (uint32_t i = 0; i < 3; i++) {
                uint64_t before = answers.given;
                ask(&group.members[i], &answers);
                if (answers.given == before) continue;
                if (&group.members[i] == old) by_old.given++;
                if (&group.members[i] != old) by_others.given++;
                cr_assert(&group.members[i] != old || !by_others.given);
            }
            group_run(&group, GROUP_STEP_US);
        }
        cr_assert_gt(by_old.given, 0, "it serves while its lease runs");
        cr_assert_gt(by_others.given, 0);
        group_done(&group);
    }
}

/* Crashes, cuts, loss and jumping clocks together: timestamps only grow, ids stay, the group comes
 * back. */
Test(placement_group, keeps_its_promises_through_crashes_and_cuts) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        begin(3, seed);
        group.loss_percent = 3;
        group.repeat_percent = 3;
        group.delay_us_max = 5000;
        struct answers answers = {0};
        struct placement_register_request request = group_node(1);
        uint64_t cluster_id = group_register(&group, &request).cluster_id;
        for (uint32_t step = 0; step < 600; step++) {
            uint64_t dice = prng_below(&group.prng, 100);
            uint32_t victim = (uint32_t)prng_below(&group.prng, 3);
            if (dice < 3 && group.members[victim].driver) group_crash(&group, victim);
            if (dice >= 3 && dice < 20 && !group.members[victim].driver)
                group_start(&group, victim);
            if (dice == 20) group.cut[victim + 1] = true;
            if (dice > 20 && dice < 30) group.cut[victim + 1] = false;
            if (dice == 30) group.wall_ms -= 20000;
            if (dice == 31) group.wall_ms += 20000;
            ask(&group.members[victim], &answers);
            group_run(&group, prng_below(&group.prng, 40000));
        }
        cr_assert_gt(answers.given, 20, "seed %lu", (unsigned long)seed);
        for (uint32_t i = 0; i < 3; i++) {
            group.cut[i + 1] = false;
            if (!group.members[i].driver) group_start(&group, i);
        }
        group.loss_percent = 0;
        group_start_again(&request);
        struct group_registration again = group_register(&group, &request);
        cr_assert_eq(again.status, STATUS_OK);
        cr_assert_eq(again.node_id, 1);
        cr_assert_eq(again.cluster_id, cluster_id);
        group_done(&group);
    }
}

/* A member that was away while the log was cut gets the whole state, and can lead with it. */
Test(placement_group, a_member_far_behind_gets_a_snapshot) {
    begin(3, 3);
    struct group_member *leader = group_wait_leader(&group);
    cr_assert(leader);
    uint32_t away = leader->id == 1 ? 1 : 0;
    group_stop(&group, away);
    struct placement_register_request request = group_node(1);
    for (uint32_t i = 0; i < 5 * PLACEMENT_LOG_ENTRIES_KEPT; i++) {
        struct group_registration result;
        leader = group_wait_leader(&group);
        group_register_begin(&group, leader, &request, &result);
        while (!result.answered)
            group_run(&group, GROUP_STEP_US);
        cr_assert_eq(result.status, STATUS_OK);
    }
    struct placement_status ahead, behind;
    placement_driver_status(leader->driver, group.now_us, &ahead);
    cr_assert_gt(ahead.log_first_index, 100);
    group_start(&group, away);
    group_run(&group, 3000000);
    placement_driver_status(group.members[away].driver, group.now_us, &behind);
    cr_assert_geq(behind.applied_index, ahead.applied_index);
    cr_assert_gt(behind.log_first_index, 1);
    cr_assert_eq(behind.registered_nodes, 1);
    /* What came with the snapshot is on its disk too. */
    group_crash(&group, away);
    group_start(&group, away);
    group_run(&group, 1000000);
    placement_driver_status(group.members[away].driver, group.now_us, &behind);
    cr_assert_eq(behind.registered_nodes, 1);
    group_done(&group);
}
