#include "tests/raft/group.h"

static uint64_t read_at(struct group *group, uint64_t id, uint64_t context) {
    for (uint32_t at = 0; at < group->nodes[id].read_count; at++) {
        if (group->nodes[id].reads[at].context == context) return group->nodes[id].reads[at].index;
    }
    return 0;
}

/* A read is answered with the commit index of its arrival once a quorum answered a heartbeat. */
Test(raft_read, is_confirmed_by_a_heartbeat_round) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_drain(group, 1);
    cr_assert_eq(read_at(group, 1, 7), 0, "not before it is confirmed");
    cr_assert_eq(group_count(group, RAFT_MSG_HEARTBEAT, 2), 1);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 7), 11);
    group_free(group);
}

/* Reads of one turn share a round; followers' reads go through the leader; a token may repeat. */
Test(raft_read, shares_rounds_and_serves_followers) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    size_t before = group->sent[RAFT_MSG_HEARTBEAT];
    for (uint64_t context = 1; context <= 20; context++) {
        cr_assert_eq(raft_read_index(group->nodes[1].raft, context), STATUS_OK);
    }
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 20), STATUS_OK);
    group_drain(group, 1);
    cr_assert_eq(group->sent[RAFT_MSG_HEARTBEAT] - before, 2);
    cr_assert_eq(raft_read_index(group->nodes[3].raft, 30), STATUS_OK);
    group_settle(group);
    for (uint64_t context = 1; context <= 20; context++) {
        cr_assert_eq(read_at(group, 1, context), 11);
    }
    cr_assert_eq(read_at(group, 3, 30), 11);
    cr_assert_eq(read_at(group, 1, 30), 0);
    group_free(group);
}

/* A leader that was deposed without knowing confirms no read. */
Test(raft_read, is_not_confirmed_by_a_deposed_leader) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_isolate(group, 1);
    group_elect(group, 2);
    group_write(group, 2, "new");
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_settle(group);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    group_tick(group, 2, 1);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 7), 0);
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    group_free(group);
}

/* Before the first commit of its term a leader makes reads wait: its commit index may be old. */
Test(raft_read, waits_for_the_first_commit_of_the_term) {
    struct group *group = group_new(3, NULL);
    const uint64_t terms[] = {1, 1};
    for (uint64_t id = 1; id <= 3; id++) {
        group_set_log(&group->nodes[id], terms, 2);
    }
    group->lost[RAFT_MSG_APPEND] = true;
    group_elect(group, 1);
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 7), 0);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 7), 13);
    group_free(group);
}

/* A lost round is made up for by the next heartbeat. */
Test(raft_read, survives_a_lost_round) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group->lost[RAFT_MSG_HEARTBEAT] = true;
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 7), 0);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 7), 11);
    group_free(group);
}

/* A quorum of one needs no round; also when it is the quorum of both halves. */
Test(raft_read, is_answered_at_once_by_a_quorum_of_one) {
    struct group *group = group_new(1, NULL);
    group_elect(group, 1);
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_drain(group, 1);
    cr_assert_eq(read_at(group, 1, 7), 11);
    struct raft_conf_change joint = {
        .transition = RAFT_TRANSITION_EXPLICIT, .count = 1, .changes = {{RAFT_CONF_UPDATE, 1}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &joint, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).conf.voters_outgoing.count, 1);
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 8), STATUS_OK);
    group_drain(group, 1);
    cr_assert_eq(read_at(group, 1, 8), 12);
    group_free(group);
}

/* Without a leader there is nobody to ask; too many reads that wait are refused, not queued. */
Test(raft_read, is_refused_without_leader_or_room) {
    struct group *group = group_new(3, NULL);
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_DROPPED);
    group_elect(group, 1);
    group_isolate(group, 1);
    for (uint64_t context = 1; context <= RAFT_READS_MAX; context++) {
        cr_assert_eq(raft_read_index(group->nodes[1].raft, context), STATUS_OK);
    }
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 9), STATUS_BUSY);
    group_free(group);
}

/* A learner's read goes through the leader too, and its answer to a heartbeat is no vote. */
Test(raft_read, does_not_count_learners) {
    struct group *group = group_new(3, NULL);
    group_add(group, NULL);
    group_elect(group, 1);
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 4}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(raft_read_index(group->nodes[4].raft, 5), STATUS_OK);
    group_settle(group);
    cr_assert_gt(read_at(group, 4, 5), 0);
    group_isolate(group, 2);
    group_isolate(group, 3);
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 6), STATUS_OK);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 6), 0);
    group_free(group);
}
