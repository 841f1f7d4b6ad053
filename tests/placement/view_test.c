#include "placement/view.h"

#include <criterion/criterion.h>

#include "base/log.h"

#define SILENCE_US 3000000u

static struct placement_view view;

static void setup(void) {
    log_set_level(LOG_NONE);
    placement_view_init(&view, 1000);
}

static void teardown(void) {
    placement_view_check(&view);
    placement_view_done(&view);
}

TestSuite(placement_view, .init = setup, .fini = teardown);

static struct placement_descriptor describe(uint64_t range_id, const char *start, const char *end,
                                            uint64_t conf_version) {
    struct placement_descriptor descriptor = {
        .range_id = range_id,
        .start = buf_from_slice(slice_from_text(start)),
        .end = buf_from_slice(slice_from_text(end)),
        .epoch = {conf_version, 1},
        .next_replica_id = 4,
        .replica_count = 3,
    };
    for (uint32_t i = 0; i < 3; i++)
        descriptor.replicas[i] = (struct placement_replica){i + 1, i + 1, PLACEMENT_VOTER};
    return descriptor;
}

static void learn(uint64_t range_id, const char *start, const char *end) {
    struct placement_descriptor descriptor = describe(range_id, start, end, 1);
    placement_view_learn(&view, &descriptor);
    placement_descriptor_done(&descriptor);
}

static struct placement_replica_report report(uint64_t range_id, uint64_t term, bool leads) {
    return (struct placement_replica_report){
        .range_id = range_id, .replica_id = 1, .epoch = {1, 1}, .term = term, .leads = leads};
}

static void hear(uint64_t node_id, bool complete, const struct placement_replica_report *reports,
                 uint32_t count, uint64_t now_us) {
    struct placement_heartbeat_request request = {
        .node_id = node_id, .complete = complete, .report_count = count, .reports = reports};
    placement_view_merge(&view, &request, now_us);
}

static uint64_t leader_of(uint64_t range_id, uint64_t now_us) {
    uint32_t count;
    const struct placement_range_entry *entries =
        placement_view_entries(&view, now_us, SILENCE_US, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].descriptor->range_id == range_id) return entries[i].leader_node;
    }
    return UINT64_MAX;
}

/* A heartbeat that was held up must not bring an old leader back. */
Test(placement_view, the_higher_term_names_the_leader) {
    learn(1, "", "");
    struct placement_replica_report newer = report(1, 6, true), older = report(1, 5, true);
    hear(2, true, &newer, 1, 2000);
    hear(1, true, &older, 1, 2100);
    cr_assert_eq(leader_of(1, 2200), 2);
    struct placement_replica_report newest = report(1, 7, true);
    hear(3, true, &newest, 1, 2300);
    cr_assert_eq(leader_of(1, 2400), 3);
}

/* Two leaders of one term cannot be: the first report stands. */
Test(placement_view, a_second_leader_of_the_same_term_changes_nothing) {
    learn(1, "", "");
    struct placement_replica_report claim = report(1, 6, true);
    hear(1, true, &claim, 1, 2000);
    hear(2, true, &claim, 1, 2000);
    cr_assert_eq(leader_of(1, 2100), 1);
}

/* While replicas change, the map shows who votes in which half; the descriptor after the joint step
 * replaces it, and one that was held up does not bring it back. */
Test(placement_view, follows_a_change_of_replicas_through_its_joint_step) {
    struct placement_descriptor born = describe(1, "", "", 1), joint = describe(1, "", "", 3),
                                after = describe(1, "", "", 4);
    joint.joint = true;
    joint.next_replica_id = after.next_replica_id = 5;
    joint.replicas[1].role = PLACEMENT_VOTER_OUTGOING;
    joint.replicas[joint.replica_count++] =
        (struct placement_replica){4, 4, PLACEMENT_VOTER_INCOMING};
    after.replicas[1] = (struct placement_replica){4, 4, PLACEMENT_VOTER};
    const struct placement_descriptor *const arrivals[] = {&born, &joint, &after, &joint, &born};
    static const uint64_t expected[] = {1, 3, 4, 4, 4};
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t count;
        placement_view_learn(&view, arrivals[i]);
        placement_view_check(&view);
        const struct placement_range_entry *entries =
            placement_view_entries(&view, 2000, SILENCE_US, &count);
        cr_assert_eq(count, 1);
        cr_assert_eq(entries[0].descriptor->epoch.conf_version, expected[i]);
        cr_assert_eq(entries[0].descriptor->joint, expected[i] == 3);
    }
}

/* What no range can be is not let into the map: halves of a joint configuration outside of one. */
Test(placement_view, roles_of_a_joint_step_exist_in_one_only) {
    struct placement_descriptor descriptor = describe(1, "", "", 2);
    for (uint32_t role = 0; role <= PLACEMENT_VOTER_DEMOTING + 1; role++) {
        descriptor.replicas[2].role = (enum placement_role)role;
        descriptor.joint = false;
        cr_assert_eq(placement_descriptor_valid(&descriptor),
                     role == PLACEMENT_VOTER || role == PLACEMENT_LEARNER);
        descriptor.joint = true;
        cr_assert_eq(placement_descriptor_valid(&descriptor),
                     role >= PLACEMENT_VOTER && role <= PLACEMENT_VOTER_DEMOTING);
    }
}

/* Routers must not be sent to who says that it leads no more. */
Test(placement_view, a_leader_that_steps_down_is_forgotten) {
    learn(1, "", "");
    struct placement_replica_report leads = report(1, 6, true), follows = report(1, 6, false);
    hear(1, true, &leads, 1, 2000);
    hear(1, false, &follows, 1, 2100);
    cr_assert_eq(leader_of(1, 2200), 0);
}

/* A complete heartbeat speaks by silence, a partial one does not. */
Test(placement_view, only_a_complete_heartbeat_speaks_by_silence) {
    learn(1, "", "m");
    learn(2, "m", "");
    struct placement_replica_report both[2] = {report(1, 6, true), report(2, 6, true)};
    hear(1, true, both, 2, 2000);
    hear(1, false, NULL, 0, 2100);
    cr_assert_eq(leader_of(1, 2200), 1);
    hear(1, true, &both[1], 1, 2300);
    cr_assert_eq(leader_of(1, 2400), 0);
    cr_assert_eq(leader_of(2, 2400), 1);
}

/* The ranges' own descriptors have the last word, and only ever move on. */
Test(placement_view, the_newer_epoch_wins) {
    learn(1, "", "");
    struct placement_descriptor newer = describe(1, "", "", 3), older = describe(1, "", "", 2);
    newer.replica_count = 2;
    struct placement_replica_report with = report(1, 6, true);
    with.epoch.conf_version = 3;
    with.descriptor = &newer;
    hear(1, true, &with, 1, 2000);
    with.descriptor = &older;
    with.epoch.conf_version = 2;
    hear(2, true, &with, 1, 2000);
    uint32_t count;
    const struct placement_range_entry *entries =
        placement_view_entries(&view, 2100, SILENCE_US, &count);
    cr_assert_eq(count, 1);
    cr_assert_eq(entries[0].descriptor->epoch.conf_version, 3);
    cr_assert_eq(entries[0].descriptor->replica_count, 2);
    placement_descriptor_done(&newer);
    placement_descriptor_done(&older);
}

/* Descriptors are asked for when a report shows that a newer one exists, not every time. */
Test(placement_view, wants_the_descriptor_when_a_newer_epoch_was_seen) {
    learn(1, "", "");
    struct placement_replica_report plain = report(1, 6, true);
    hear(1, true, &plain, 1, 2000);
    cr_assert(!placement_view_wants(&view, 1));
    plain.epoch.span_version = 2;
    hear(1, true, &plain, 1, 2000);
    cr_assert(placement_view_wants(&view, 1));
    struct placement_replica_report unknown = report(9, 1, true);
    hear(1, false, &unknown, 1, 2000);
    cr_assert(placement_view_wants(&view, 9));
}

/* The map is in key order, whatever the order of the ids. */
Test(placement_view, entries_are_in_key_order) {
    learn(3, "", "b");
    learn(1, "t", "");
    learn(2, "b", "t");
    uint32_t count;
    const struct placement_range_entry *entries =
        placement_view_entries(&view, 2000, SILENCE_US, &count);
    cr_assert_eq(count, 3);
    cr_assert_eq(entries[0].descriptor->range_id, 3);
    cr_assert_eq(entries[1].descriptor->range_id, 2);
    cr_assert_eq(entries[2].descriptor->range_id, 1);
}

/* A router should not be sent to a node that has gone silent or has said good-bye. */
Test(placement_view, a_leader_on_a_silent_node_is_not_named) {
    learn(1, "", "");
    struct placement_replica_report leads = report(1, 6, true);
    hear(1, true, &leads, 1, 10000);
    cr_assert_eq(leader_of(1, 10000 + SILENCE_US - 1), 1);
    cr_assert_eq(leader_of(1, 10000 + SILENCE_US), 0);
    hear(1, true, &leads, 1, 20000);
    struct placement_heartbeat_request leaving = {.node_id = 1, .leaving = true};
    placement_view_merge(&view, &leaving, 21000);
    cr_assert_eq(leader_of(1, 22000), 0);
}
