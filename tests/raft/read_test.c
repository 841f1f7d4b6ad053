#include "tests/raft/group.h"

static struct raft_config lease_config(void) {
    struct raft_config config = group_config();
    config.check_quorum = true;
    config.read_mode = RAFT_READ_LEASE;
    config.lease_drift_ppm = 10000;
    config.restart_grace = true;
    return config;
}

#define ELECTION_US (10 * GROUP_TICK_US)
/* election time-out less a tick less one percent and the rounding */
#define LEASE_US (ELECTION_US - GROUP_TICK_US - ELECTION_US / 100 - 1)

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

/* A quorum of one needs no round; also when it is the quorum of both halves (simulation seed 613).
 */
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

/* ---- leases ---- */

static struct group *leased_group(void) {
    struct raft_config config = lease_config();
    struct group *group = group_new(3, &config);
    group_set_now(group, 1000000 - ELECTION_US); /* the grace of a start */
    group_set_now(group, 1000000);
    group_elect(group, 1);
    group_tick(group, 1, 1);
    group_settle(group);
    return group;
}

static bool lease_read(struct group *group, uint64_t id) {
    uint64_t index;
    return raft_lease_read(group->nodes[id].raft, &index);
}

/* A lease runs from when the quorum's messages were sent, for the time-out less drift and a tick.
 */
Test(raft_lease, lasts_as_long_as_the_quorum_promised) {
    struct group *group = leased_group();
    uint64_t index = 0;
    cr_assert(raft_lease_read(group->nodes[1].raft, &index));
    cr_assert_eq(index, 11);
    cr_assert_not(lease_read(group, 2), "followers have none");
    group_set_now(group, 1000000 + LEASE_US - 1);
    cr_assert(lease_read(group, 1));
    group_set_now(group, 1000000 + LEASE_US);
    cr_assert_not(lease_read(group, 1));
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert(lease_read(group, 1), "a heartbeat round renews it");
    group_free(group);
}

/* The start is the quorum-th newest message, not the newest answer. */
Test(raft_lease, counts_from_sending_not_from_answering) {
    struct group *group = leased_group();
    group_isolate(group, 3);
    group_tick(group, 1, 1);
    group_drain(group, 1);
    group_set_now(group, 1000000 + LEASE_US + 100); /* the answers take that long */
    group_settle(group);
    cr_assert_not(lease_read(group, 1));
    group_free(group);
}

/* No lease once a transfer was begun, for the rest of the term: TimeoutNow may still arrive. */
Test(raft_lease, ends_for_the_term_when_a_transfer_begins) {
    struct group *group = leased_group();
    group->lost[RAFT_MSG_TIMEOUT_NOW] = true;
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 2), STATUS_OK);
    cr_assert_not(lease_read(group, 1));
    group_settle(group);
    group_tick(group, 1, 10); /* given up */
    group_settle(group);
    cr_assert(group_view(group, 1).role == RAFT_LEADER && !lease_read(group, 1));
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_settle(group);
    cr_assert_eq(read_at(group, 1, 7), 11, "by a round instead");
    group_free(group);
}

/* A follower that was stopped and gets all its ticks at once neither votes nor stands: the clock
 * says that the leader was heard just now. */
Test(raft_lease, is_guarded_by_the_clock_not_by_ticks) {
    struct group *group = leased_group();
    group_tick(group, 2, 100);
    cr_assert_eq(group_view(group, 2).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_campaign(group->nodes[2].raft), STATUS_BUSY);
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .term = 9, .log = {8, 99}};
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).term, 2, "ignored");
    group_set_now(group, 1000000 + ELECTION_US);
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, 3);
    group_free(group);
}

/* A promise outlives a change of term that the leader knows nothing of. */
Test(raft_lease, is_guarded_over_a_change_of_term) {
    struct group *group = leased_group();
    struct raft_message higher = {
        .kind = RAFT_MSG_VOTE_RESPONSE, .from = 3, .term = 8, .reject = true};
    cr_assert_eq(group_step(group, 2, higher), STATUS_OK);
    cr_assert(group_view(group, 2).term == 8 && group_view(group, 2).leader == RAFT_NO_REPLICA);
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .term = 9, .log = {8, 99}};
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, RAFT_NO_REPLICA);
    group_free(group);
}

/* A promise outlives a crash: who restarts keeps still for one time-out. */
Test(raft_lease, is_guarded_after_a_restart) {
    struct group *group = leased_group();
    group_restart(group, 2);
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .term = 9, .log = {8, 99}};
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).term, 2);
    group_set_now(group, 1000000 + ELECTION_US);
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, 3);
    group_free(group);
}

/* Forgetting the leader would break its lease. */
Test(raft_lease, is_not_forgotten) {
    struct group *group = leased_group();
    cr_assert_eq(raft_forget_leader(group->nodes[2].raft), STATUS_UNSUPPORTED);
    cr_assert_eq(group_view(group, 2).leader, 1);
    group_free(group);
}

/* No lease before the first commit of the term, nor without a clock. */
Test(raft_lease, needs_a_commit_of_the_term_and_a_clock) {
    struct raft_config config = lease_config();
    config.restart_grace = false;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_not(lease_read(group, 1), "no clock");
    group_set_now(group, 5000000);
    group->lost[RAFT_MSG_APPEND_RESPONSE] = true;
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 2), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    group_tick(group, 2, 1);
    group_settle(group);
    cr_assert(group_view(group, 2).lease_valid && !lease_read(group, 2));
    group_heal(group);
    group_tick(group, 2, 1);
    group_settle(group);
    cr_assert(lease_read(group, 2));
    group_free(group);
}

/* Both halves of a joint configuration must have promised. */
Test(raft_lease, needs_both_halves_when_joint) {
    struct group *group = leased_group();
    struct raft_config config = lease_config();
    group_add(group, &config);
    group->nodes[4].now_us = 1000000;
    raft_set_now(group->nodes[4].raft, 1000000);
    struct raft_conf_change joint = {
        .transition = RAFT_TRANSITION_EXPLICIT,
        .count = 3,
        .changes = {{RAFT_CONF_ADD_VOTER, 4}, {RAFT_CONF_REMOVE, 2}, {RAFT_CONF_REMOVE, 3}}};
    group_isolate(group, 4);
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &joint, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).conf.voters_outgoing.count, 3);
    cr_assert_not(lease_read(group, 1), "4 has promised nothing");
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert(lease_read(group, 1));
    group_free(group);
}

/* A read with a lease needs no message, on the leader and asked for by a follower. */
Test(raft_lease, answers_reads_without_a_round) {
    struct group *group = leased_group();
    size_t before = group->sent[RAFT_MSG_HEARTBEAT];
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    cr_assert_eq(raft_read_index(group->nodes[3].raft, 8), STATUS_OK);
    group_settle(group);
    cr_assert(read_at(group, 1, 7) == 11 && read_at(group, 3, 8) == 11);
    cr_assert_eq(group->sent[RAFT_MSG_HEARTBEAT], before);
    group_free(group);
}
