/* Groups that go quiet, and what wakes them (raft/quiesce.c). */
#include <malloc.h>

#include "tests/raft/group.h"

#define IDLE_TICKS 4u
#define ELECTION_TICKS 10u

static bool away[GROUP_MAX + 1]; /* each test has a process of its own */

static bool is_away(void *ctx, uint64_t id) {
    (void)ctx; /* all replicas of a test see the same nodes silent */
    return away[id];
}

static struct raft_config quiet_config(void) {
    struct raft_config config = group_config();
    config.check_quorum = config.pre_vote = true;
    config.quiesce_ticks = IDLE_TICKS;
    config.away = is_away;
    return config;
}

static struct group *new_group(uint64_t voters) {
    struct raft_config config = quiet_config();
    struct group *group = group_new(voters, &config);
    group_elect(group, 1);
    return group;
}

static bool quiet(const struct group *group, uint64_t id) {
    return raft_quiet(group->nodes[id].raft);
}

/* One tick for everybody, and all that follows from it. */
static void pass(struct group *group, uint32_t ticks) {
    for (uint32_t at = 0; at < ticks; at++) {
        for (uint64_t id = 1; id <= group->count; id++) {
            group_tick(group, id, 1);
        }
        group_settle(group);
    }
}

static size_t all_sent(const struct group *group) {
    size_t sum = 0;
    for (size_t kind = 0; kind <= RAFT_MSG_FORGET_LEADER; kind++) {
        sum += group->sent[kind];
    }
    return sum;
}

static struct group *new_quiet_group(uint64_t voters) {
    struct group *group = new_group(voters);
    pass(group, IDLE_TICKS);
    for (uint64_t id = 1; id <= voters; id++) {
        cr_assert(quiet(group, id), "replica %lu", (unsigned long)id);
    }
    return group;
}

/* ---- going quiet ---- */

/* The point of it all: no ticks count, no message is sent, nobody is deposed. */
Test(raft_quiesce, costs_nothing_while_nothing_happens) {
    struct group *group = new_group(3);
    pass(group, IDLE_TICKS - 1);
    cr_expect_not(quiet(group, 1), "not before it was idle long enough");
    pass(group, 1);
    size_t before = all_sent(group);
    pass(group, 20 * ELECTION_TICKS);
    cr_expect_eq(all_sent(group), before);
    cr_expect_eq(group_view(group, 1).role, RAFT_LEADER);
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect(quiet(group, id));
        cr_expect_eq(group_view(group, id).leader, 1);
    }
    group_free(group);
}

/* Off unless asked for. */
Test(raft_quiesce, is_off_by_default) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    pass(group, 50);
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect_not(quiet(group, id));
    }
    group_free(group);
}

/* A group of one has nobody to tell. */
Test(raft_quiesce, works_for_a_group_of_one) {
    struct group *group = new_quiet_group(1);
    group_write(group, 1, "a");
    cr_expect_not(quiet(group, 1));
    group_expect_state(group, "a");
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 1));
    group_free(group);
}

/* Work begins the wait anew: a group in use never pays for going to and fro. */
Test(raft_quiesce, waits_until_nothing_was_done_for_a_while) {
    struct group *group = new_group(3);
    uint64_t index = 0;
    for (uint32_t round = 0; round < 5; round++) {
        pass(group, IDLE_TICKS - 1);
        group_write(group, 1, "a");
        pass(group, IDLE_TICKS - 1);
        cr_assert_eq(raft_read_index(group->nodes[1].raft, round + 1), STATUS_OK);
        group_settle(group);
        cr_expect_not(quiet(group, 1));
    }
    cr_expect_not(raft_lease_read(group->nodes[1].raft, &index), "nobody handed in the time");
    group_free(group);
}

/* A leader whose log is not applied, or not committed, has something to do. */
Test(raft_quiesce, waits_for_what_is_not_applied_or_not_committed) {
    struct group *group = new_group(3);
    group->nodes[1].apply_held = true;
    group_write(group, 1, "a");
    pass(group, 2 * IDLE_TICKS);
    cr_expect_not(quiet(group, 1), "not applied here");
    group->nodes[1].apply_held = false;
    group_apply(group, 1);
    pass(group, 1);
    cr_expect(quiet(group, 1));

    group->nodes[2].disk_held = group->nodes[3].disk_held = true;
    group_write(group, 1, "b");
    pass(group, 2 * IDLE_TICKS);
    cr_expect_not(quiet(group, 1), "not committed");
    group->nodes[2].disk_held = group->nodes[3].disk_held = false;
    group_sync(group, 2);
    group_sync(group, 3);
    group_settle(group);
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 1));
    group_free(group);
}

/* A follower that is there and lags keeps the group awake until it has caught up: it would be
 * forgotten otherwise. */
Test(raft_quiesce, leaves_nobody_behind_who_is_there) {
    struct group *group = new_group(3);
    group->nodes[3].disk_held = true;
    group_write(group, 1, "a");
    pass(group, 3 * IDLE_TICKS);
    cr_expect_not(quiet(group, 1));
    group->nodes[3].disk_held = false;
    group_sync(group, 3);
    group_settle(group);
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 1));
    cr_expect(quiet(group, 3));
    group_expect_state(group, "a");
    group_free(group);
}

/* A read that waits, a transfer under way, a joint configuration: all of them need ticks. */
Test(raft_quiesce, waits_for_reads_transfers_and_joint_configurations) {
    struct group *group = new_group(3);
    group->lost[RAFT_MSG_HEARTBEAT_RESPONSE] = true;
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_settle(group);
    pass(group, IDLE_TICKS + 1);
    cr_expect_not(quiet(group, 1), "a read waits");
    group_heal(group);
    pass(group, 1);
    group->lost[RAFT_MSG_TIMEOUT_NOW] = true;
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 2), STATUS_OK);
    pass(group, IDLE_TICKS + 1);
    cr_expect_not(quiet(group, 1), "a transfer is under way");
    group_heal(group);
    pass(group, ELECTION_TICKS);
    struct raft_conf_change joint = {
        .transition = RAFT_TRANSITION_EXPLICIT, .count = 1, .changes = {{RAFT_CONF_UPDATE, 1}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &joint, NULL), STATUS_OK);
    group_settle(group);
    pass(group, 2 * IDLE_TICKS);
    cr_expect_not(quiet(group, 1), "joint");
    struct raft_conf_change leave = {.transition = RAFT_TRANSITION_EXPLICIT};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &leave, NULL), STATUS_OK);
    group_settle(group);
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 1));
    group_free(group);
}

/* A follower goes quiet only where the notice fits: the same last entry, all of it committed. */
Test(raft_quiesce, a_follower_takes_only_a_notice_that_fits) {
    struct group *group = new_group(3);
    struct raft_log_id last = group->nodes[2].raft->log.last;
    struct raft_message notice = {.kind = RAFT_MSG_HEARTBEAT,
                                  .from = 1,
                                  .term = last.term,
                                  .log = {last.term, last.index - 1},
                                  .quiesce = true};
    cr_assert_eq(group_step(group, 2, notice), STATUS_OK);
    cr_expect_not(quiet(group, 2), "longer than the leader's");
    group_drain(group, 2);
    const struct raft_message *answer = group_find(group, RAFT_MSG_HEARTBEAT_RESPONSE, 2, 1);
    cr_assert(answer && answer->reject);
    notice.log.index = last.index + 1;
    cr_assert_eq(group_step(group, 2, notice), STATUS_OK);
    cr_expect_not(quiet(group, 2), "shorter than the leader's");
    notice.log = (struct raft_log_id){last.term - 1, last.index};
    cr_assert_eq(group_step(group, 2, notice), STATUS_OK);
    cr_expect_not(quiet(group, 2), "another entry");
    notice.log = last;
    cr_assert_eq(group_step(group, 2, notice), STATUS_OK);
    cr_expect(quiet(group, 2));
    notice.kind = RAFT_MSG_APPEND;
    cr_expect_eq(group_step(group, 2, notice), STATUS_INVALID, "no other message says so");
    group_free(group);
}

/* The notice brings the commit index along, so that a follower that just misses that fits. */
Test(raft_quiesce, the_notice_tells_the_commit_index) {
    struct group *group = new_group(3);
    group_write(group, 1, "a");
    group_write(group, 1, "b");
    uint64_t last = group->nodes[1].raft->log.last.index;
    for (uint64_t id = 2; id <= 3; id++) {
        group_restart(group, id); /* knows only what was in its hard state */
    }
    pass(group, 1);
    pass(group, IDLE_TICKS);
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect(quiet(group, id));
        cr_expect_eq(group_view(group, id).commit, last);
    }
    group_free(group);
}

/* Who refuses a notice wakes the leader, which tries again later. */
Test(raft_quiesce, a_refused_notice_wakes_the_leader) {
    struct group *group = new_group(3);
    group->nodes[3].raft->config.quiesce_ticks = 0; /* this one does not take part */
    pass(group, IDLE_TICKS);
    cr_expect_not(quiet(group, 1));
    pass(group, 1);
    cr_expect_not(quiet(group, 2), "woken by the leader's heartbeat");
    group->nodes[3].raft->config.quiesce_ticks = IDLE_TICKS;
    pass(group, IDLE_TICKS);
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect(quiet(group, id));
    }
    group_free(group);
}

/* ---- waking ---- */

/* A proposal goes out at once, and its append wakes the followers. */
Test(raft_quiesce, a_proposal_wakes_all) {
    struct group *group = new_quiet_group(3);
    size_t heartbeats = group->sent[RAFT_MSG_HEARTBEAT];
    group_write(group, 1, "a");
    group_expect_state(group, "a");
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect_not(quiet(group, id));
    }
    cr_expect_eq(group->sent[RAFT_MSG_HEARTBEAT], heartbeats, "the append does it");
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 1));
    group_free(group);
}

/* A read asks for a round at once; so does a follower's. */
Test(raft_quiesce, a_read_wakes) {
    for (uint64_t reader = 1; reader <= 2; reader++) {
        struct group *group = new_quiet_group(3);
        cr_assert_eq(raft_read_index(group->nodes[reader].raft, 7), STATUS_OK);
        group_settle(group);
        cr_expect_eq(group->nodes[reader].read_count, 1);
        for (uint64_t id = 1; id <= 3; id++) {
            cr_expect_not(quiet(group, id));
        }
        group_free(group);
    }
}

/* A transfer, asked for here or there, and a campaign. */
Test(raft_quiesce, a_transfer_or_a_campaign_wakes) {
    for (uint64_t asked = 1; asked <= 2; asked++) {
        struct group *group = new_quiet_group(3);
        cr_assert_eq(raft_transfer_leader(group->nodes[asked].raft, 3), STATUS_OK);
        group_settle(group);
        cr_expect_eq(group_view(group, 3).role, RAFT_LEADER);
        cr_expect_not(quiet(group, 3));
        group_free(group);
    }
    struct group *group = new_quiet_group(3);
    cr_assert_eq(raft_campaign(group->nodes[2].raft), STATUS_OK);
    cr_expect_not(quiet(group, 2));
    group_settle(group);
    pass(group, 1);
    cr_expect_eq(group_view(group, 1).role, RAFT_LEADER, "the others saw no reason");
    cr_expect_eq(group_view(group, 2).leader, 1);
    group_free(group);
}

/* A woken leader beats with its next tick; a woken follower tells its leader. */
Test(raft_quiesce, the_owner_can_wake) {
    for (uint64_t woken = 1; woken <= 2; woken++) {
        struct group *group = new_quiet_group(3);
        raft_wake(group->nodes[woken].raft);
        group_settle(group);
        cr_expect_not(quiet(group, 1));
        pass(group, 1);
        for (uint64_t id = 1; id <= 3; id++) {
            cr_expect_not(quiet(group, id));
        }
        group_free(group);
    }
}

/* Answers that were under way when the group went quiet do not undo that. */
Test(raft_quiesce, late_answers_do_not_wake) {
    struct group *group = new_quiet_group(3);
    uint64_t term = group_view(group, 1).term, last = group_view(group, 1).last_index;
    struct raft_message late = {.kind = RAFT_MSG_HEARTBEAT_RESPONSE, .from = 2, .term = term};
    cr_assert_eq(group_step(group, 1, late), STATUS_OK);
    late.kind = RAFT_MSG_APPEND_RESPONSE;
    late.log.index = last;
    cr_assert_eq(group_step(group, 1, late), STATUS_OK);
    cr_expect(quiet(group, 1));
    struct raft_message old = {.kind = RAFT_MSG_HEARTBEAT, .from = 3, .term = term - 1};
    cr_assert_eq(group_step(group, 2, old), STATUS_OK);
    cr_expect(quiet(group, 2), "a term of the past");
    late.kind = RAFT_MSG_HEARTBEAT_RESPONSE;
    late.reject = true;
    cr_assert_eq(group_step(group, 1, late), STATUS_OK);
    cr_expect_not(quiet(group, 1));
    group_free(group);
}

/* A candidate whose term is over misses its leader, whatever its term; one that the group does not
 * list was removed, asks for ever, and wakes nobody. */
Test(raft_quiesce, a_candidate_of_the_past_wakes_if_it_belongs_to_the_group) {
    static const enum raft_message_kind kinds[] = {RAFT_MSG_VOTE, RAFT_MSG_PRE_VOTE};
    for (size_t at = 0; at < sizeof(kinds) / sizeof(kinds[0]); at++) {
        struct group *group = new_quiet_group(3);
        struct raft_message vote = {
            .kind = kinds[at], .from = 9, .term = group_view(group, 1).term - 1};
        for (uint64_t id = 1; id <= 2; id++) {
            cr_assert_eq(group_step(group, id, vote), STATUS_OK);
            cr_expect(quiet(group, id), "by a stranger: replica %lu", (unsigned long)id);
        }
        vote.from = 3;
        for (uint64_t id = 1; id <= 2; id++) {
            cr_assert_eq(group_step(group, id, vote), STATUS_OK);
            cr_expect_not(quiet(group, id), "replica %lu", (unsigned long)id);
        }
        group_free(group);
    }
}

/* Every message of the group but those wakes: somebody wants something. */
Test(raft_quiesce, other_messages_wake) {
    static const enum raft_message_kind kinds[] = {RAFT_MSG_APPEND,      RAFT_MSG_VOTE,
                                                   RAFT_MSG_PRE_VOTE,    RAFT_MSG_HEARTBEAT,
                                                   RAFT_MSG_TIMEOUT_NOW, RAFT_MSG_FORGET_LEADER};
    for (size_t at = 0; at < sizeof(kinds) / sizeof(kinds[0]); at++) {
        struct group *group = new_quiet_group(3);
        struct raft_log_id last = group->nodes[1].raft->log.last;
        struct raft_message message = {
            .kind = kinds[at], .from = 1, .term = last.term, .log = last, .commit = last.index};
        cr_assert_eq(group_step(group, 2, message), STATUS_OK);
        cr_expect_not(quiet(group, 2), "kind %d", (int)kinds[at]);
        group_free(group);
    }
}

/* A follower that missed the notice stands for election, is refused, and the leader brings it back;
 * then all are quiet. */
Test(raft_quiesce, a_lost_notice_is_made_up_for) {
    struct group *group = new_group(3);
    pass(group, IDLE_TICKS - 1);
    group->cut[1][3] = true;
    pass(group, 1);
    cr_expect(quiet(group, 1));
    cr_expect_not(quiet(group, 3));
    group_heal(group);
    uint64_t term = group_view(group, 1).term;
    pass(group, 2 * ELECTION_TICKS + IDLE_TICKS + 1);
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect(quiet(group, id));
        cr_expect_eq(group_view(group, id).leader, 1);
    }
    cr_expect_eq(group_view(group, 1).term, term, "nobody was elected");
    group_free(group);
}

/* A learner goes quiet as well; it cannot stand for election, so it complains. */
Test(raft_quiesce, a_learner_that_missed_the_notice_complains) {
    struct group *group = new_group(3);
    struct raft_config config = quiet_config();
    group_add(group, &config);
    struct raft_conf_change add = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 4}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &add, NULL), STATUS_OK);
    group_settle(group);
    pass(group, 2);
    cr_assert_eq(group_view(group, 4).last_index, group_view(group, 1).last_index);
    group->cut[1][4] = true;
    pass(group, IDLE_TICKS);
    cr_assert(quiet(group, 1));
    cr_assert_not(quiet(group, 4));
    group_heal(group);
    pass(group, 2 * ELECTION_TICKS + IDLE_TICKS + 1);
    for (uint64_t id = 1; id <= 4; id++) {
        cr_expect(quiet(group, id), "replica %lu", (unsigned long)id);
    }
    group_free(group);
}

/* A group of three voters and a learner, replica 4, that is cut off from all. */
static struct group *new_group_with_lonely_learner(void) {
    struct group *group = new_group(3);
    struct raft_config config = quiet_config();
    group_add(group, &config);
    struct raft_conf_change add = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 4}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &add, NULL), STATUS_OK);
    group_settle(group);
    pass(group, 2);
    cr_assert_eq(group_view(group, 4).leader, 1);
    group_isolate(group, 4);
    return group;
}

static void expect_complaints(const struct group *group, size_t to_leader, size_t to_others) {
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect_eq(group_count(group, RAFT_MSG_HEARTBEAT_RESPONSE, id),
                     id == 1 ? to_leader : to_others, "to replica %lu", (unsigned long)id);
    }
}

/* Ticks of one replica until it has missed its leader once more, with what it says under way. */
static void miss_leader(struct group *group, uint64_t id, uint32_t ticks) {
    group_drop_messages(group);
    group_heal(group);
    group_tick(group, id, ticks);
    group_drain(group, id);
}

/* The leader may be gone for good, and this replica with it: who answers no complaint is not the
 * only one who gets the next. */
Test(raft_quiesce, a_learner_that_nobody_answers_asks_everybody) {
    struct group *group = new_group_with_lonely_learner();
    raft_set_election_timeout(group->nodes[4].raft, ELECTION_TICKS);
    uint32_t ticks = 0;
    while (group_count(group, RAFT_MSG_HEARTBEAT_RESPONSE, 1) == 0) {
        cr_assert_lt(ticks++, 3 * ELECTION_TICKS);
        miss_leader(group, 4, 1);
    }
    expect_complaints(group, 1, 0);
    miss_leader(group, 4, ELECTION_TICKS);
    expect_complaints(group, 1, 1);
    group_free(group);
}

/* A candidate that has left raised its term: nobody told it who leads, so it asks everybody. */
Test(raft_quiesce, a_learner_that_knows_no_leader_asks_everybody) {
    struct group *group = new_group_with_lonely_learner();
    struct raft_message vote = {
        .kind = RAFT_MSG_VOTE, .from = 3, .to = 4, .term = 9, .force = true};
    cr_assert_eq(group_step(group, 4, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 4).leader, RAFT_NO_REPLICA);
    raft_set_election_timeout(group->nodes[4].raft, ELECTION_TICKS);
    miss_leader(group, 4, ELECTION_TICKS);
    expect_complaints(group, 1, 1);
    group_free(group);
}

/* Who cannot stand must not keep the others from it: after its time-out a learner, which may have
 * become a voter without knowing it, has missed its leader for good until it hears one. */
Test(raft_quiesce, a_learner_that_missed_its_leader_votes) {
    struct group *group = new_group_with_lonely_learner();
    raft_set_election_timeout(group->nodes[4].raft, ELECTION_TICKS);
    miss_leader(group, 4, ELECTION_TICKS + 1);
    group_set_now(group, group->nodes[4].now_us + 10 * ELECTION_TICKS * GROUP_TICK_US);
    cr_assert_eq(group_view(group, 4).leader, 1);
    struct raft_view own = group_view(group, 4);
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 3, .to = 4, .term = own.term + 1};
    vote.log = (struct raft_log_id){own.term, own.last_index};
    cr_assert_eq(group_step(group, 4, vote), STATUS_OK);
    cr_expect_eq(group_view(group, 4).vote, 3);
    group_free(group);
}

/* A node whose own address is refused for a moment reports itself: the leader has its own log all
 * the same, and waits for nobody. */
Test(raft_quiesce, a_leader_that_cannot_reach_itself_goes_quiet) {
    struct group *group = new_group(3);
    raft_report_unreachable(group->nodes[1].raft, 1);
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 1));
    group_free(group);
}

/* ---- nodes that are away ---- */

/* A dead follower does not keep the group awake; what it lacks is remembered, and once it is back
 * it gets that although nobody writes any more. */
Test(raft_quiesce, a_replica_left_behind_is_caught_up_when_it_is_back) {
    struct group *group = new_group(3);
    group_isolate(group, 3);
    group_write(group, 1, "a");
    pass(group, 2 * IDLE_TICKS);
    cr_expect_not(quiet(group, 1), "nobody said that it is away");
    away[3] = true;
    pass(group, 1);
    cr_expect(quiet(group, 1));
    cr_expect(quiet(group, 2));
    cr_expect_not(quiet(group, 3));
    size_t before = all_sent(group);
    group_tick(group, 1, 50);
    group_tick(group, 2, 50);
    group_settle(group);
    cr_expect_eq(all_sent(group), before, "quiet at no cost");

    away[3] = false;
    raft_report_reachable(group->nodes[1].raft, 2);
    cr_expect(quiet(group, 1), "that one lacks nothing");
    group_heal(group);
    raft_report_reachable(group->nodes[1].raft, 3);
    cr_expect_not(quiet(group, 1));
    pass(group, 1);
    group_expect_state(group, "a");
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 3));
    group_free(group);
}

/* One that was quiet before, and heard nothing of what went on, too: nothing else would ever wake
 * it, because its leader's node is alive. */
Test(raft_quiesce, a_quiet_replica_left_behind_is_caught_up) {
    struct group *group = new_quiet_group(3);
    group_isolate(group, 3);
    away[3] = true;
    group_write(group, 1, "a");
    pass(group, IDLE_TICKS);
    cr_expect(quiet(group, 1));
    cr_expect(quiet(group, 3));
    group_heal(group);
    away[3] = false;
    raft_report_reachable(group->nodes[1].raft, 3);
    pass(group, 1);
    group_expect_state(group, "a");
    group_free(group);
}

/* Those that are there must be a quorum: a leader cut off from it keeps asking, and steps down. */
Test(raft_quiesce, needs_a_quorum_that_is_there) {
    struct group *group = new_group(3);
    away[2] = away[3] = true;
    pass(group, 3 * IDLE_TICKS);
    cr_expect_not(quiet(group, 1));
    group_isolate(group, 1);
    pass(group, 2 * ELECTION_TICKS + 1);
    cr_expect_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    group_free(group);
}

/* ---- leaders that are gone ---- */

/* The leader's node is silent: its followers elect another within what is left of a time-out. */
Test(raft_quiesce, a_suspected_leader_is_replaced) {
    struct group *group = new_quiet_group(3);
    group_isolate(group, 1);
    raft_suspect_leader(group->nodes[2].raft);
    raft_suspect_leader(group->nodes[3].raft);
    raft_set_election_timeout(group->nodes[3].raft, ELECTION_TICKS + 3);
    pass(group, 2);
    cr_expect_eq(group_view(group, 2).role, RAFT_LEADER);
    cr_expect(quiet(group, 1), "it does not know, and does no harm: it has no lease");
    group_heal(group);
    pass(group, 2);
    cr_expect_eq(group_view(group, 1).leader, 2);
    group_free(group);
}

/* Suspicion is not silence of an awake leader: who hears it does not stand. */
Test(raft_quiesce, an_awake_follower_is_not_talked_into_an_election) {
    struct group *group = new_group(3);
    pass(group, 1);
    raft_suspect_leader(group->nodes[2].raft);
    cr_expect_eq(group->nodes[2].raft->election_elapsed, 0);
    group_free(group);
}

/* Woken by another candidate before its own owner suspected the leader: that counts as well, or two
 * replicas would hold each other up for a time-out. */
Test(raft_quiesce, who_was_woken_by_a_candidate_may_still_suspect) {
    struct group *group = new_quiet_group(3);
    group_isolate(group, 1);
    raft_suspect_leader(group->nodes[2].raft);
    raft_set_election_timeout(group->nodes[2].raft, ELECTION_TICKS + 1);
    group_tick(group, 2, 1);
    group_settle(group);
    cr_expect_eq(group_view(group, 2).role, RAFT_PRE_CANDIDATE, "refused by 3");
    cr_expect_not(quiet(group, 3));
    raft_suspect_leader(group->nodes[3].raft);
    raft_set_election_timeout(group->nodes[3].raft, ELECTION_TICKS + 1);
    group_tick(group, 3, 1);
    group_settle(group);
    cr_expect_eq(group_view(group, 3).role, RAFT_LEADER);
    group_free(group);
}

/* A quiet leader that woke alone finds out within an election time-out that nobody is there. */
Test(raft_quiesce, a_woken_leader_without_a_quorum_steps_down) {
    struct group *group = new_quiet_group(3);
    group_isolate(group, 1);
    cr_assert_eq(group_propose(group, 1, "a"), STATUS_OK);
    group_settle(group);
    group_tick(group, 1, ELECTION_TICKS);
    cr_expect_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    group_free(group);
}

/* A leader that restarted wakes the others by standing for election, also unasked. */
Test(raft_quiesce, a_restarted_leader_ends_the_quiet) {
    struct group *group = new_quiet_group(3);
    for (uint64_t id = 1; id <= 3; id++) {
        group->nodes[id].random = id; /* else all of them stand at once, for ever */
    }
    group_restart(group, 1);
    pass(group, 6 * ELECTION_TICKS);
    uint64_t leader = group_view(group, 1).leader;
    cr_assert_neq(leader, RAFT_NO_REPLICA);
    for (uint64_t id = 1; id <= 3; id++) {
        cr_expect(quiet(group, id));
        cr_expect_eq(group_view(group, id).leader, leader);
    }
    group_free(group);
}

/* ---- leases ---- */

/* The lease of a quiet leader runs out by the clock; then a read needs a round, and has one. */
Test(raft_quiesce, the_lease_of_a_quiet_leader_ends) {
    struct raft_config config = quiet_config();
    config.read_mode = RAFT_READ_LEASE;
    config.lease_drift_ppm = 10000;
    struct group *group = group_new(3, &config);
    group_set_now(group, 1000000);
    group_elect(group, 1);
    pass(group, IDLE_TICKS);
    uint64_t index = 0;
    cr_assert(quiet(group, 1));
    cr_expect(raft_lease_read(group->nodes[1].raft, &index), "what was promised still holds");
    cr_expect(quiet(group, 1), "reading under it needs nobody");
    group_set_now(group, 1000000 + ELECTION_TICKS * GROUP_TICK_US);
    cr_expect_not(raft_lease_read(group->nodes[1].raft, &index));
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 7), STATUS_OK);
    group_settle(group);
    cr_expect_eq(group->nodes[1].read_count, 1);
    cr_expect(raft_lease_read(group->nodes[1].raft, &index), "renewed by the round");
    group_free(group);
}

/* Reading keeps a leader awake, and so its lease: readers would pay a round each otherwise. */
Test(raft_quiesce, lease_reads_keep_a_group_awake) {
    struct raft_config config = quiet_config();
    config.read_mode = RAFT_READ_LEASE;
    config.lease_drift_ppm = 10000;
    struct group *group = group_new(3, &config);
    group_set_now(group, 1000000);
    group_elect(group, 1);
    for (uint32_t tick = 1; tick <= 5 * IDLE_TICKS; tick++) {
        uint64_t index = 0;
        group_set_now(group, 1000000 + tick * GROUP_TICK_US);
        cr_expect(raft_lease_read(group->nodes[1].raft, &index));
        pass(group, 1);
    }
    cr_expect_not(quiet(group, 1));
    group_free(group);
}

/* ---- memory ---- */

/* What a replica holds in the core once it went quiet, after it was used: tens of thousands of them
 * have to fit. Counted by the allocator; under a sanitizer, which does not count, nothing is said.
 */
Test(raft_quiesce, a_quiet_replica_takes_less_than_four_kib) {
    enum { GROUPS = 64, LIMIT = 4096 };
    struct group *groups[GROUPS];
    for (size_t at = 0; at < GROUPS; at++) {
        groups[at] = new_group(3);
        for (uint32_t write = 0; write < 20; write++) {
            group_write(groups[at], 1, "some bytes that are cached for followers");
        }
        pass(groups[at], IDLE_TICKS);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        size_t used = mallinfo2().uordblks;
        for (size_t at = 0; at < GROUPS; at++) {
            cr_assert(quiet(groups[at], id));
            raft_shrink(groups[at]->nodes[id].raft);
            raft_check(groups[at]->nodes[id].raft);
        }
        size_t shrunk = mallinfo2().uordblks;
        for (size_t at = 0; at < GROUPS; at++) {
            raft_free(groups[at]->nodes[id].raft);
            groups[at]->nodes[id].raft = NULL;
        }
        size_t held = (shrunk - mallinfo2().uordblks) / GROUPS;
        cr_log_info("replica %lu of a quiet group holds %zu bytes\n", (unsigned long)id, held);
        if (used > 0) {
            cr_expect_lt(shrunk, used);
            cr_expect_lt(held, LIMIT);
        }
    }
    for (size_t at = 0; at < GROUPS; at++) {
        for (uint64_t id = 1; id <= 3; id++) {
            group_restart(groups[at], id);
        }
        group_free(groups[at]);
    }
}

/* Shrunk, it goes on where it was: what it cached before comes from the disk. */
Test(raft_quiesce, a_shrunk_group_goes_on) {
    struct group *group = new_quiet_group(3);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint64_t id = 1; id <= 3; id++) {
            raft_shrink(group->nodes[id].raft);
        }
        group_isolate(group, 3);
        group_write(group, 1, "a");
        group_write(group, 1, "b");
        raft_shrink(group->nodes[1].raft);
        group_heal(group);
        pass(group, 1 + IDLE_TICKS);
        cr_expect(quiet(group, 3));
    }
    group_expect_state(group, "ababab");
    group_free(group);
}
