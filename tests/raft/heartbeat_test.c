/* Heartbeats that are spared because appends do their work (raft/replication.c), and what must not
 * be spared. */
#include "tests/raft/group.h"

static struct group *sparing_group(void) {
    struct raft_config config = group_config();
    config.heartbeat_ticks = 3;
    config.check_quorum = true;
    config.coalesce_appends = true;
    config.lazy_commits = true;
    config.spare_heartbeats = true;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_write(group, 1, "a"); /* the leader knows where its followers are */
    return group;
}

/* A group whose entries flow and are answered costs no heartbeats. */
Test(raft_heartbeat, is_spared_while_appends_are_answered) {
    struct group *group = sparing_group();
    size_t before = group->sent[RAFT_MSG_HEARTBEAT];
    for (int at = 0; at < 12; at++) {
        group_tick(group, 1, 1);
        group_write(group, 1, "b");
    }
    cr_expect_eq(group->sent[RAFT_MSG_HEARTBEAT], before);
    cr_expect_eq(group_view(group, 1).role, RAFT_LEADER);
    group_free(group);
}

/* Nobody waits longer than an interval, whenever in it the last append was sent. */
Test(raft_heartbeat, comes_an_interval_after_the_last_append) {
    struct group *group = sparing_group();
    for (uint32_t phase = 1; phase <= 3; phase++) {
        group_tick(group, 1, phase);
        group_settle(group);
        group_write(group, 1, "b");
        size_t before = group->sent[RAFT_MSG_HEARTBEAT];
        group_tick(group, 1, 2);
        group_settle(group);
        cr_expect_eq(group->sent[RAFT_MSG_HEARTBEAT], before, "too early, phase %u", phase);
        group_tick(group, 1, 1);
        group_settle(group);
        cr_expect_eq(group->sent[RAFT_MSG_HEARTBEAT], before + 2, "due, phase %u", phase);
    }
    group_free(group);
}

/* A disk that hangs must not look like a follower that is gone: its answers to appends wait for it,
 * those to heartbeats do not. */
Test(raft_heartbeat, is_sent_when_appends_are_not_answered) {
    struct group *group = sparing_group();
    group->nodes[2].disk_held = group->nodes[3].disk_held = true;
    for (int at = 0; at < 30; at++) {
        group_tick(group, 1, 1);
        cr_assert_eq(group_propose(group, 1, "b"), STATUS_OK, "stepped down after %d ticks", at);
        group_settle(group);
    }
    cr_expect_eq(group_view(group, 1).role, RAFT_LEADER);
    group_free(group);
}

/* The owner was held up for more than an interval: heartbeats are due with the next tick, also to
 * followers that answered before. Of the quorum that it did not hear meanwhile it has no doubt. */
Test(raft_heartbeat, is_due_after_ticks_that_were_missed) {
    struct group *group = sparing_group();
    size_t before = group->sent[RAFT_MSG_HEARTBEAT];
    raft_miss_ticks(group->nodes[1].raft, 100);
    raft_miss_ticks(group->nodes[2].raft, 100);
    group_tick(group, 2, 1);
    cr_expect_eq(group_view(group, 2).role, RAFT_FOLLOWER, "it does not count them");
    group_tick(group, 1, 1);
    group_settle(group);
    cr_expect_eq(group->sent[RAFT_MSG_HEARTBEAT], before + 2);
    for (int at = 0; at < 5; at++) { /* nothing is heard meanwhile */
        raft_miss_ticks(group->nodes[1].raft, 100);
        group_tick(group, 1, 1);
        cr_expect_eq(group_view(group, 1).role, RAFT_LEADER, "after %d", at);
    }
    group_free(group);
}

/* A round of a ReadIndex that was lost is repeated although appends flow. */
Test(raft_heartbeat, repeats_a_lost_read_round_beside_appends) {
    struct group *group = sparing_group();
    group->lost[RAFT_MSG_HEARTBEAT] = true;
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_settle(group);
    group->lost[RAFT_MSG_HEARTBEAT] = false;
    for (int at = 0; at < 3; at++) {
        group_write(group, 1, "b");
        cr_expect_eq(group->nodes[1].read_count, 0);
        group_tick(group, 1, 1);
        group_settle(group);
    }
    cr_expect_eq(group->nodes[1].read_count, 1);
    group_free(group);
}

/* A leader that was quiet has told nobody anything for long: its first heartbeat is not spared. */
Test(raft_heartbeat, is_not_spared_by_what_was_told_before_quiet_times) {
    struct raft_config config = group_config();
    config.heartbeat_ticks = 3;
    config.quiesce_ticks = 4; /* soon after a heartbeat */
    config.spare_heartbeats = true;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_write(group, 1, "a");
    for (int at = 0; at < 4; at++) {
        group_tick(group, 1, 1);
        group_settle(group);
    }
    cr_assert(raft_quiet(group->nodes[1].raft));
    size_t before = group->sent[RAFT_MSG_HEARTBEAT];
    raft_wake(group->nodes[1].raft);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_expect_eq(group->sent[RAFT_MSG_HEARTBEAT], before + 2);
    group_free(group);
}

static size_t probes(struct group *group, uint64_t to) {
    size_t before = group_count(group, RAFT_MSG_APPEND, to);
    while (group_deliver(group, 1, RAFT_MSG_HEARTBEAT_RESPONSE)) {
    }
    group_drain(group, 1);
    return group_count(group, RAFT_MSG_APPEND, to) - before;
}

/* A heartbeat, to be answered by replica 2; its answer is under way. */
static void ask(struct group *group) {
    group_tick(group, 1, 3);
    group_drain(group, 1);
    cr_assert(group_deliver(group, 2, RAFT_MSG_HEARTBEAT));
    group_drain(group, 2);
}

/* An entry on its way to a slow disk is no lost one; but when nothing was acknowledged from one
 * answer to the next it may be, or its acknowledgement. */
Test(raft_heartbeat, leads_to_a_probe_when_nothing_moves) {
    struct group *group = sparing_group();
    group_isolate(group, 3);
    group->nodes[2].disk_held = true;
    cr_assert_eq(group_propose(group, 1, "b"), STATUS_OK);
    group_settle(group);
    ask(group);
    cr_expect_eq(probes(group, 2), 0, "match has moved since the answer before");
    ask(group);
    cr_expect_eq(probes(group, 2), 1, "nothing moved between two answers");
    group_free(group);
}
