/* Leases and the promises that they rest on (raft/README.md, L1 to L7). */
#include "tests/raft/group.h"

static struct raft_config lease_config(void) {
    struct raft_config config = group_config();
    config.check_quorum = true;
    config.read_mode = RAFT_READ_LEASE;
    config.lease_drift_ppm = 10000;
    config.restart_grace_us = config.election_ticks * config.tick_us;
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
    config.restart_grace_us = 0;
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

/* ---- how long a promise lasts ---- */

/* Time-outs are settings of each node: a leader with a long one counts on what was promised. */
Test(raft_lease, counts_what_each_voter_promised) {
    struct raft_config config = lease_config();
    struct group *group = group_new(3, &config);
    group->nodes[1].config.election_ticks = 100;
    group_restart(group, 1);
    group_set_now(group, 1000000 - ELECTION_US);
    group_set_now(group, 1000000);
    group_elect(group, 1);
    group_tick(group, 1, 1);
    group_settle(group);
    group_set_now(group, 1000000 + LEASE_US - 1);
    cr_assert(lease_read(group, 1));
    group_set_now(group, 1000000 + LEASE_US);
    cr_assert_not(lease_read(group, 1));
    group_free(group);
}

/* And a leader with a short one counts on no more than that. */
Test(raft_lease, lasts_no_longer_than_the_leaders_own_time_out) {
    struct raft_config config = lease_config();
    config.election_ticks = 100;
    config.restart_grace_us = ELECTION_US;
    struct group *group = group_new(3, &config);
    group->nodes[1].config.election_ticks = 10;
    group_restart(group, 1);
    group_set_now(group, 1000000 - ELECTION_US);
    group_set_now(group, 1000000);
    group_elect(group, 1);
    group_tick(group, 1, 1);
    group_settle(group);
    group_set_now(group, 1000000 + LEASE_US - 1);
    cr_assert(lease_read(group, 1));
    group_set_now(group, 1000000 + LEASE_US);
    cr_assert_not(lease_read(group, 1));
    group_free(group);
}

/* Who does not say for how long it keeps still promised nothing: an older version, or a replica
 * that has no clock or no check-quorum. */
Test(raft_lease, counts_no_echo_without_a_promise) {
    struct raft_config config = lease_config();
    struct group *group = group_new(3, &config);
    for (uint64_t id = 2; id <= 3; id++) {
        group->nodes[id].config.check_quorum = false;
        group->nodes[id].config.read_mode = RAFT_READ_QUORUM;
        group_restart(group, id);
    }
    group_set_now(group, 1000000 - ELECTION_US);
    group_set_now(group, 1000000);
    group_elect(group, 1);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_not(lease_read(group, 1));
    group_free(group);
}

/* A voter that comes back with a shorter time-out keeps what it promised under the longer one, and
 * is not set free by what it promises anew. */
Test(raft_promise, is_not_shortened) {
    struct group *group = leased_group();
    group->nodes[2].config.restart_grace_us = ELECTION_US;
    group->nodes[2].config.election_ticks = 3;
    group_restart(group, 2);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).leader, 1);
    group_isolate(group, 1);
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .term = 9, .log = {8, 99}};
    group_set_now(group, 1000000 + ELECTION_US - 1);
    group_tick(group, 2, 3); /* it does not stick to its leader any more */
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).term, 2, "ignored");
    group_set_now(group, 1000000 + ELECTION_US);
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, 3);
    group_free(group);
}

/* Who has not been told the time since it restarted counts ticks: for as long as it promised, and
 * not for as long as it would promise now, be that shorter or longer. Once, too: that it stands
 * itself then, when its own time-out is the shorter one, does not bind it again. */
Test(raft_promise, is_kept_by_ticks_until_somebody_says_the_time) {
    static const uint32_t time_outs[] = {3, 30};
    for (size_t at = 0; at < sizeof(time_outs) / sizeof(time_outs[0]); at++) {
        struct raft_config config = lease_config();
        struct group *group = group_new(3, &config);
        struct group_node *node = &group->nodes[2];
        node->config.election_ticks = time_outs[at];
        node->config.restart_grace_us = ELECTION_US;
        group_restart(group, 2);
        struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .term = 9, .log = {8, 99}};
        for (int ticks = 0; ticks < 10; ticks++) {
            cr_assert_eq(raft_campaign(node->raft), STATUS_BUSY);
            cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
            cr_assert_eq(group_view(group, 2).term, 1, "ignored after %d ticks", ticks);
            group_tick(group, 2, 1);
        }
        cr_assert_eq(group_view(group, 2).role,
                     time_outs[at] > 10 ? RAFT_FOLLOWER : RAFT_CANDIDATE);
        cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
        cr_assert_eq(group_view(group, 2).vote, 3);
        group_free(group);
    }
}

/* An answer to a heartbeat is a promise that needs no sync: who forgot all of it, its term too,
 * keeps it all the same. */
Test(raft_promise, outlives_a_term_that_was_not_durable) {
    struct raft_config config = lease_config();
    struct group *group = group_new(3, &config);
    group->nodes[2].disk.hard_state = (struct raft_hard_state){0};
    group_set_now(group, 1000000);
    group_restart(group, 2);
    cr_assert_eq(group_view(group, 2).term, 0);
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .term = 9, .log = {8, 99}};
    cr_assert_eq(group_step(group, 2, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, RAFT_NO_REPLICA);
    group_free(group);
}

/* ---- against whom a promise holds ---- */

static const struct raft_message slow_vote = {
    .kind = RAFT_MSG_VOTE, .from = 3, .term = 8, .log = {8, 99}};

/* 2 learns of the candidate's term from somebody else, before the candidate's request arrives. */
static void raise_term(struct group *group, uint64_t id) {
    struct raft_message refusal = {
        .kind = RAFT_MSG_PRE_VOTE_RESPONSE, .from = 3, .term = slow_vote.term, .reject = true};
    cr_assert_eq(group_step(group, id, refusal), STATUS_OK);
    cr_assert_eq(group_view(group, id).term, slow_vote.term);
}

/* A promise holds against a candidate of the term that the voter is already in: only what makes the
 * voter's term rise was asked. It ends when it ends, and a transfer needs no consent (L6). */
Test(raft_promise, holds_against_a_vote_of_the_same_term) {
    struct group *group = leased_group();
    raise_term(group, 2);
    cr_assert_eq(group_step(group, 2, slow_vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, RAFT_NO_REPLICA);
    cr_assert(lease_read(group, 1), "which 2 vouches for");
    group_set_now(group, 1000000 + ELECTION_US);
    cr_assert_eq(group_step(group, 2, slow_vote), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, 3);
    group_free(group);

    group = leased_group();
    raise_term(group, 2);
    struct raft_message handed_over = slow_vote;
    handed_over.force = true;
    cr_assert_eq(group_step(group, 2, handed_over), STATUS_OK);
    cr_assert_eq(group_view(group, 2).vote, 3);
    group_free(group);
}

/* The refusal is said aloud: the candidate need not wait for it, and learns what is committed. */
Test(raft_promise, refuses_a_vote_of_the_same_term_aloud) {
    struct group *group = leased_group();
    raise_term(group, 2);
    struct raft_message ask = slow_vote;
    for (int pre_vote = 0; pre_vote < 2; pre_vote++) {
        ask.kind = pre_vote ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE;
        cr_assert_eq(group_step(group, 2, ask), STATUS_OK);
        group_drain(group, 2);
        const struct raft_message *answer =
            group_find(group, pre_vote ? RAFT_MSG_PRE_VOTE_RESPONSE : RAFT_MSG_VOTE_RESPONSE, 2, 3);
        cr_assert(answer && answer->reject && answer->term == 8 && answer->committed.index == 11);
    }
    group_free(group);
}

/* Who forgot its leader, or restarted, is in the term that a slow candidate asks for, and bound all
 * the same. */
Test(raft_promise, outlives_the_memory_of_the_leader) {
    for (int restarts = 0; restarts < 2; restarts++) {
        struct group *group = leased_group();
        raise_term(group, 2);
        group_drain(group, 2); /* and on disk */
        group->nodes[2].config.read_mode = RAFT_READ_QUORUM;
        if (restarts)
            group_restart(group, 2);
        else
            cr_assert_eq(raft_forget_leader(group->nodes[2].raft), STATUS_UNSUPPORTED);
        cr_assert_eq(group_view(group, 2).term, slow_vote.term);
        cr_assert_eq(group_step(group, 2, slow_vote), STATUS_OK);
        cr_assert_eq(group_view(group, 2).vote, RAFT_NO_REPLICA);
        group_free(group);
    }
}

/* A learner promises as voters do: it may be one by the time that its promise is counted. */
Test(raft_promise, binds_learners) {
    struct group *group = leased_group();
    struct raft_config config = lease_config();
    group_add(group, &config);
    group->nodes[4].now_us = 1000000;
    raft_set_now(group->nodes[4].raft, 1000000);
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 4}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    group_settle(group);
    raise_term(group, 4);
    cr_assert_eq(
        group_step(group, 4,
                   (struct raft_message){
                       .kind = RAFT_MSG_VOTE, .from = 3, .to = 4, .term = 8, .log = {8, 99}}),
        STATUS_OK);
    cr_assert_eq(group_view(group, 4).vote, RAFT_NO_REPLICA);
    group_free(group);
}

/* ---- two leaders, one of them with a lease ---- */

static void deliver_all(struct group *group, uint64_t id, int kind) {
    while (group_deliver(group, id, kind))
        group_drain(group, id);
}

static void reconnect(struct group *group, uint64_t a, uint64_t b) {
    group->cut[a][b] = group->cut[b][a] = false;
}

static bool is(const struct group *group, uint64_t id, enum raft_role role, uint64_t term) {
    struct raft_view view = group_view(group, id);
    return view.role == role && view.term == term;
}

static struct group *pre_voting_group(uint64_t voters) {
    struct raft_config config = lease_config();
    config.pre_vote = true;
    struct group *group = group_new(voters, &config);
    group_set_now(group, 1000000 - ELECTION_US);
    group_set_now(group, 1000000);
    group_elect(group, 1);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert(lease_read(group, 1));
    return group;
}

/* Both miss their leader and ask for pre-votes; `granting` has answered, and all the rest is still
 * under way. */
static void stand(struct group *group, uint64_t asking, uint64_t granting) {
    group_tick(group, asking, 11);
    group_tick(group, granting, 11);
    group_drain(group, asking);
    group_drain(group, granting);
    cr_assert(is(group, asking, RAFT_PRE_CANDIDATE, 2));
    cr_assert(is(group, granting, RAFT_PRE_CANDIDATE, 2));
    cr_assert(group_deliver(group, granting, RAFT_MSG_PRE_VOTE));
    group_drain(group, granting);
}

/* Three voters, one link that reorders. 2 asks 3 for a pre-vote and hears the leader again. 3, a
 * candidate meanwhile, refuses in its own term, and the refusal overtakes its request for a vote:
 * 2 is then in that term, and still bound. */
Test(raft_promise, keeps_a_candidate_whose_refusal_overtook_its_request_from_leading) {
    struct group *group = pre_voting_group(3);
    group_isolate(group, 1);
    group_set_now(group, 1000000 + ELECTION_US + 1000);
    stand(group, 3, 2);
    cr_assert(group_deliver(group, 3, RAFT_MSG_PRE_VOTE_RESPONSE));
    group_drain(group, 3);
    cr_assert(is(group, 3, RAFT_CANDIDATE, 3));
    reconnect(group, 1, 2);
    group_tick(group, 1, 1);
    group_drain(group, 1);
    deliver_all(group, 2, RAFT_MSG_HEARTBEAT);
    deliver_all(group, 1, RAFT_MSG_HEARTBEAT_RESPONSE);
    cr_assert(lease_read(group, 1), "by 1 and 2");
    cr_assert(group_deliver(group, 3, RAFT_MSG_PRE_VOTE));
    group_drain(group, 3);
    cr_assert(group_deliver(group, 2, RAFT_MSG_PRE_VOTE_RESPONSE));
    cr_assert(is(group, 2, RAFT_FOLLOWER, 3));
    cr_assert(group_deliver(group, 2, RAFT_MSG_VOTE));
    group_drain(group, 2);
    deliver_all(group, 3, RAFT_MSG_VOTE_RESPONSE);
    cr_assert(lease_read(group, 1));
    cr_assert_neq(group_view(group, 3).role, RAFT_LEADER);
    group_free(group);
}

/* 4 stands in term 3 with the vote of 3; its request to 2 is slow. 1 has a lease by 1, 2 and 5. */
static struct group *slow_request(void) {
    struct group *group = pre_voting_group(5);
    for (uint64_t id = 2; id <= 4; id++)
        group->cut[1][id] = group->cut[id][1] = true;
    group_set_now(group, 1000000 + ELECTION_US + 1000);
    cr_assert_not(lease_read(group, 1));
    group->nodes[3].random = 9;
    group_tick(group, 3, 11);
    stand(group, 4, 2);
    cr_assert(group_deliver(group, 3, RAFT_MSG_PRE_VOTE));
    group_drain(group, 3);
    deliver_all(group, 4, RAFT_MSG_PRE_VOTE_RESPONSE);
    cr_assert(is(group, 4, RAFT_CANDIDATE, 3));
    cr_assert(group_deliver(group, 3, RAFT_MSG_VOTE));
    group_drain(group, 3);
    cr_assert_eq(group_view(group, 3).vote, 4);
    reconnect(group, 1, 2);
    group_tick(group, 1, 1);
    group_drain(group, 1);
    deliver_all(group, 2, RAFT_MSG_HEARTBEAT);
    deliver_all(group, 5, RAFT_MSG_HEARTBEAT);
    deliver_all(group, 1, RAFT_MSG_HEARTBEAT_RESPONSE);
    cr_assert(lease_read(group, 1), "by 1, 2, 5");
    return group;
}

/* Five voters need no reordering: the pre-vote that 2 asked for before it heard its leader again
 * reaches 3, which is in the candidate's term already, and 3's refusal reaches 2 on another link
 * than the candidate's request. What the candidate then commits, the leader would not show. */
Test(raft_promise, keeps_a_candidate_with_a_slow_request_from_committing) {
    struct group *group = slow_request();
    while (group_find(group, RAFT_MSG_PRE_VOTE, 2, 3))
        cr_assert(group_deliver(group, 3, RAFT_MSG_PRE_VOTE));
    group_drain(group, 3);
    while (group_view(group, 2).term == 2)
        cr_assert(group_deliver(group, 2, RAFT_MSG_PRE_VOTE_RESPONSE));
    deliver_all(group, 2, RAFT_MSG_VOTE);
    deliver_all(group, 4, RAFT_MSG_VOTE_RESPONSE);
    cr_assert(lease_read(group, 1));
    cr_assert_neq(group_view(group, 4).role, RAFT_LEADER);
    group_free(group);
}
