#include "tests/raft/group.h"

/* Replica 3 misses entries that replica 1, the leader, has compacted away since. */
static struct group *group_with_straggler(const struct raft_config *config) {
    struct group *group = group_new(3, config);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_write(group, 1, "a");
    group_write(group, 1, "b");
    disk_compact(&group->nodes[1].disk, 13);
    group_heal(group);
    return group;
}

/* Who is behind the compacted log gets a snapshot, and goes on from it. */
Test(raft_snapshot, brings_back_who_is_too_far_behind) {
    struct group *group = group_with_straggler(NULL);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group->sent[RAFT_MSG_SNAPSHOT], 1);
    cr_assert_eq(disk_first(&group->nodes[3].disk), 14);
    cr_assert_eq(group_progress(group, 1, 3).state, RAFT_REPLICATE);
    group_write(group, 1, "c");
    group_expect_state(group, "abc");
    group_free(group);
}

/* While a snapshot is on its way nothing else is sent there, and nobody else waits. */
Test(raft_snapshot, pauses_replication_to_its_receiver_only) {
    struct group *group = group_with_straggler(NULL);
    group->lost[RAFT_MSG_SNAPSHOT] = true;
    group_tick(group, 1, 1);
    group_settle(group);
    struct raft_progress_view view = group_progress(group, 1, 3);
    cr_assert(view.state == RAFT_SNAPSHOT && view.paused && view.pending_snapshot == 13);
    size_t before = group->sent[RAFT_MSG_APPEND];
    group_write(group, 1, "c");
    cr_assert_eq(group_view(group, 1).commit, 14);
    cr_assert_eq(group->sent[RAFT_MSG_APPEND] - before, 2, "entry and commit index, to 2 alone");
    group_free(group);
}

/* A failed snapshot is tried again after a heartbeat; a sent one is probed behind. */
Test(raft_snapshot, is_repeated_when_it_failed) {
    struct group *group = group_with_straggler(NULL);
    group->lost[RAFT_MSG_SNAPSHOT] = true;
    group_tick(group, 1, 1);
    group_settle(group);
    raft_report_snapshot(group->nodes[1].raft, 3, true);
    struct raft_progress_view view = group_progress(group, 1, 3);
    cr_assert(view.state == RAFT_PROBE && view.next == view.match + 1 && view.paused);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    group_expect_state(group, "ab");
    group_free(group);

    group = group_with_straggler(NULL);
    group->lost[RAFT_MSG_SNAPSHOT] = true;
    group_tick(group, 1, 1);
    group_settle(group);
    raft_report_snapshot(group->nodes[1].raft, 3, false);
    view = group_progress(group, 1, 3);
    cr_assert(view.state == RAFT_PROBE && view.next == 14 && view.paused);
    group_free(group);
}

/* A snapshot that is not ready yet is asked for again. */
Test(raft_snapshot, is_asked_for_again_while_it_is_being_made) {
    struct group *group = group_with_straggler(NULL);
    struct raft_snapshot (*make)(void *ctx) = group->nodes[1].disk.snapshot;
    group->nodes[1].disk.snapshot = NULL;
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group->sent[RAFT_MSG_SNAPSHOT], 0);
    group->nodes[1].disk.snapshot = make;
    group_tick(group, 1, 1);
    group_settle(group);
    group_expect_state(group, "ab");
    group_free(group);
}

/* The acknowledgement of a snapshot leaves after it is installed, and until then nothing behind it
 * is applied; a crash before that loses only the snapshot. */
Test(raft_snapshot, is_acknowledged_once_installed) {
    struct group *group = group_with_straggler(NULL);
    group->nodes[3].disk_held = true;
    group_tick(group, 1, 1);
    group_settle(group);
    group_sync(group, 3);
    group_settle(group); /* the rejection went out, the snapshot came in */
    cr_assert(group->nodes[3].raft->log.snapshot);
    cr_assert_eq(group_progress(group, 1, 3).state, RAFT_SNAPSHOT);
    cr_assert_eq(group_view(group, 3).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_campaign(group->nodes[3].raft), STATUS_DROPPED, "not installed");
    group_restart(group, 3);
    group->nodes[3].disk_held = false;
    raft_report_snapshot(group->nodes[1].raft, 3, true);
    group_tick(group, 1, 1);
    group_settle(group);
    group_expect_state(group, "ab");
    group_free(group);
}

/* A snapshot of what is here already moves at most the commit index. */
Test(raft_snapshot, is_ignored_when_it_brings_nothing) {
    struct group *group = group_new(3, NULL);
    const uint64_t terms[] = {1, 1, 1};
    group_set_log(&group->nodes[1], terms, 3);
    struct raft_snapshot snapshot = {.id = {1, 9}, .conf = group->nodes[1].conf};
    struct raft_message message = {
        .kind = RAFT_MSG_SNAPSHOT, .from = 2, .term = 2, .snapshot = &snapshot};
    cr_assert_eq(group_step(group, 1, message), STATUS_OK);
    cr_assert_eq(group_view(group, 1).commit, 10, "older than the commit index");
    snapshot.id.index = 12;
    cr_assert_eq(group_step(group, 1, message), STATUS_OK);
    cr_assert(group_view(group, 1).commit == 12 && group_view(group, 1).last_index == 13);
    group_drain(group, 1);
    cr_assert_eq(group_find(group, RAFT_MSG_APPEND_RESPONSE, 1, 2)->log.index, 12);
    group_free(group);
}

/* A snapshot that does not know its receiver is not for it. */
Test(raft_snapshot, is_refused_by_who_is_not_in_it) {
    struct group *group = group_new(3, NULL);
    struct raft_snapshot snapshot = {.id = {2, 50}};
    snapshot.conf.voters = (struct raft_id_set){2, {2, 3}};
    struct raft_message message = {
        .kind = RAFT_MSG_SNAPSHOT, .from = 2, .term = 2, .snapshot = &snapshot};
    cr_assert_eq(group_step(group, 1, message), STATUS_OK);
    cr_assert_eq(group_view(group, 1).last_index, 10);
    snapshot.conf.voters = (struct raft_id_set){2, {3, 2}};
    cr_assert_eq(group_step(group, 1, message), STATUS_INVALID, "not a configuration");
    group_free(group);
}

/* The configuration comes with the snapshot: joint halves, learners, promotions and demotions. */
Test(raft_snapshot, brings_its_configuration) {
    struct group *group = group_new(3, NULL);
    struct raft_snapshot snapshot = {.id = {2, 50}};
    snapshot.conf = (struct raft_conf_state){.voters = {2, {2, 3}},
                                             .voters_outgoing = {3, {1, 2, 3}},
                                             .learners = {1, {4}},
                                             .learners_next = {1, {1}},
                                             .auto_leave = true};
    struct raft_message message = {
        .kind = RAFT_MSG_SNAPSHOT, .from = 2, .term = 2, .snapshot = &snapshot};
    cr_assert_eq(group_step(group, 1, message), STATUS_OK);
    group_drain(group, 1);
    struct raft_view view = group_view(group, 1);
    cr_assert(view.conf.voters.count == 2 && view.conf.voters_outgoing.count == 3);
    cr_assert(view.conf.learners.ids[0] == 4 && view.conf.auto_leave);
    cr_assert(raft_promotable(group->nodes[1].raft), "still a voter of the outgoing half");
    snapshot.id.index = 60;
    snapshot.conf = (struct raft_conf_state){.voters = {2, {2, 3}}, .learners = {2, {1, 4}}};
    cr_assert_eq(group_step(group, 1, message), STATUS_OK);
    group_drain(group, 1);
    cr_assert_not(raft_promotable(group->nodes[1].raft));
    snapshot.id.index = 70;
    snapshot.conf = (struct raft_conf_state){.voters = {3, {1, 2, 3}}};
    cr_assert_eq(group_step(group, 1, message), STATUS_OK);
    group_drain(group, 1);
    cr_assert(raft_promotable(group->nodes[1].raft));
    group_free(group);
}

/* A replica that starts from a compacted log carries on behind it. */
Test(raft_snapshot, is_where_a_restart_goes_on) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_write(group, 1, "a");
    disk_compact(&group->nodes[2].disk, 12);
    group_restart(group, 2);
    group_write(group, 1, "b");
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).applied, 13);
    group_free(group);
}
