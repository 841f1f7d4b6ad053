#include "tests/raft/group.h"

static struct raft_conf_change one(enum raft_conf_change_kind kind, uint64_t id) {
    return (struct raft_conf_change){.count = 1, .changes = {{kind, id}}};
}

static void change_and_settle(struct group *group, uint64_t leader,
                              struct raft_conf_change change) {
    cr_assert_eq(raft_propose_conf_change(group->nodes[leader].raft, &change, NULL), STATUS_OK);
    group_settle(group);
}

/* Every change survives its bytes, in both formats; anything else is refused. */
Test(raft_conf_change, survives_its_bytes) {
    struct group *group = group_new(1, NULL);
    group_elect(group, 1);
    struct raft_conf_change change = {.transition = RAFT_TRANSITION_EXPLICIT,
                                      .count = 3,
                                      .changes = {{RAFT_CONF_ADD_VOTER, 2},
                                                  {RAFT_CONF_ADD_LEARNER, UINT64_MAX},
                                                  {RAFT_CONF_UPDATE, 1}},
                                      .context = SLICE_LITERAL("a descriptor")};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    struct raft_ready ready;
    raft_ready(group->nodes[1].raft, &ready);
    struct raft_entry entry = ready.entries[ready.entry_count - 1];
    struct raft_conf_change decoded;
    cr_assert_eq(raft_decode_conf_change(&entry, &decoded), STATUS_OK);
    cr_assert(decoded.transition == RAFT_TRANSITION_EXPLICIT && decoded.count == 3);
    cr_assert(decoded.changes[1].id == UINT64_MAX && !decoded.v1);
    cr_assert(slice_equal(decoded.context, change.context));
    struct payload *cut = payload_copy(slice_make(entry.payload->data, 4));
    entry.payload = cut;
    cr_assert_eq(raft_decode_conf_change(&entry, &decoded), STATUS_CORRUPTION);
    entry.kind = RAFT_ENTRY_NORMAL;
    cr_assert_eq(raft_decode_conf_change(&entry, &decoded), STATUS_CORRUPTION);
    payload_unref(cut);
    struct raft_conf_change two = {.v1 = true, .count = 2};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &two, NULL), STATUS_INVALID);
    group_free(group);
}

/* A voter joins, catches up, and counts; a removed one does not count any more. */
Test(raft_conf_change, adds_and_removes_a_voter) {
    struct group *group = group_new(1, NULL);
    group_add(group, NULL);
    group_elect(group, 1);
    struct raft_conf_change add = one(RAFT_CONF_ADD_VOTER, 2);
    add.v1 = true;
    change_and_settle(group, 1, add);
    group_write(group, 1, "a");
    group_expect_state(group, "a");
    group_isolate(group, 2);
    group_write(group, 1, "b");
    cr_assert_eq(group_view(group, 1).commit, 13, "two of two are needed");
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    change_and_settle(group, 1, one(RAFT_CONF_REMOVE, 2));
    group_isolate(group, 2);
    group_write(group, 1, "c");
    cr_assert_eq(group_view(group, 1).commit, 16);
    group_free(group);
}

/* A learner gets everything and counts for nothing, until it is promoted. */
Test(raft_conf_change, adds_a_learner_and_promotes_it) {
    struct group *group = group_new(2, NULL);
    group_add(group, NULL);
    group_elect(group, 1);
    change_and_settle(group, 1, one(RAFT_CONF_ADD_LEARNER, 3));
    group_write(group, 1, "a");
    group_expect_state(group, "a");
    cr_assert(group_progress(group, 1, 3).learner);
    group_isolate(group, 2);
    group_write(group, 1, "b");
    uint64_t commit = group_view(group, 1).commit;
    cr_assert_eq(commit, group_view(group, 1).last_index - 1, "the learner is no majority");
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    change_and_settle(group, 1, one(RAFT_CONF_ADD_VOTER, 3));
    group_isolate(group, 2);
    group_write(group, 1, "c");
    cr_assert_eq(group_view(group, 1).commit, group_view(group, 1).last_index);
    group_free(group);
}

/* One change at a time: the next becomes an empty entry until the first is applied (4.1). */
Test(raft_conf_change, allows_one_change_at_a_time) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group->nodes[1].apply_held = true;
    change_and_settle(group, 1, one(RAFT_CONF_ADD_LEARNER, 4));
    change_and_settle(group, 1, one(RAFT_CONF_ADD_LEARNER, 5));
    const struct raft_entry *second = disk_entry(&group->nodes[1].disk, 13);
    cr_assert(second->kind == RAFT_ENTRY_NORMAL && second->payload == NULL);
    group_apply(group, 1);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).conf.learners.count, 1);
    group->nodes[1].apply_held = false;
    change_and_settle(group, 1, one(RAFT_CONF_ADD_LEARNER, 5));
    cr_assert_eq(group_view(group, 1).conf.learners.count, 2);
    group_free(group);
}

/* A new leader lets no change in before it has applied its whole log: there may be one in it. */
Test(raft_conf_change, waits_for_the_log_of_a_new_leader) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group->lost[RAFT_MSG_APPEND_RESPONSE] = true;
    struct raft_conf_change inherited = one(RAFT_CONF_ADD_LEARNER, 5);
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &inherited, NULL), STATUS_OK);
    group_settle(group);
    group_heal(group);
    group_isolate(group, 1);
    group->nodes[2].apply_held = true;
    group_elect(group, 2);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    cr_assert_lt(group_view(group, 2).applied, group_view(group, 2).commit);
    struct raft_conf_change early = one(RAFT_CONF_ADD_LEARNER, 4);
    cr_assert_eq(raft_propose_conf_change(group->nodes[2].raft, &early, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(disk_entry(&group->nodes[2].disk, group_view(group, 2).last_index)->kind,
                 RAFT_ENTRY_NORMAL);
    group_free(group);
}

/* What does not follow from the configuration never gets into the log. */
Test(raft_conf_change, refuses_what_does_not_follow) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    struct raft_conf_change leave = {.count = 0}, empty = {.count = 3};
    for (uint64_t id = 1; id <= 3; id++) {
        empty.changes[id - 1].kind = RAFT_CONF_REMOVE;
        empty.changes[id - 1].id = id;
    }
    struct raft_conf_change crowd = {.count = RAFT_REPLICAS_MAX};
    for (uint32_t at = 0; at < RAFT_REPLICAS_MAX; at++) {
        crowd.changes[at].kind = RAFT_CONF_ADD_LEARNER;
        crowd.changes[at].id = 100 + at;
    }
    change_and_settle(group, 1, leave);
    change_and_settle(group, 1, empty);
    change_and_settle(group, 1, crowd);
    for (uint64_t index = 12; index <= 14; index++) {
        cr_assert_eq(disk_entry(&group->nodes[1].disk, index)->kind, RAFT_ENTRY_NORMAL);
    }
    cr_assert_eq(group_view(group, 1).conf.voters.count, 3);
    group_free(group);
}

/* Several changes at once go through a joint configuration, left by itself (4.3). */
Test(raft_conf_change, goes_through_a_joint_configuration_by_itself) {
    struct group *group = group_new(3, NULL);
    group_add(group, NULL);
    group_add(group, NULL);
    group_elect(group, 1);
    struct raft_conf_change change = {.count = 4,
                                      .changes = {{RAFT_CONF_REMOVE, 2},
                                                  {RAFT_CONF_REMOVE, 3},
                                                  {RAFT_CONF_ADD_VOTER, 4},
                                                  {RAFT_CONF_ADD_VOTER, 5}}};
    change_and_settle(group, 1, change);
    struct raft_conf_state conf = group_view(group, 1).conf;
    cr_assert(conf.voters.count == 3 && conf.voters_outgoing.count == 0 && !conf.auto_leave);
    cr_assert(raft_id_set_has(&conf.voters, 5) && !raft_id_set_has(&conf.voters, 2));
    group_isolate(group, 2);
    group_isolate(group, 3);
    group_write(group, 1, "a");
    cr_assert_eq(group_view(group, 5).applied, group_view(group, 1).commit);
    group_free(group);
}

/* While joint, both majorities are needed, to commit and to be elected (4.3). */
Test(raft_conf_change, needs_both_majorities_while_joint) {
    struct group *group = group_new(3, NULL);
    for (int at = 0; at < 3; at++) {
        group_add(group, NULL);
    }
    group_elect(group, 1);
    struct raft_conf_change change = {.transition = RAFT_TRANSITION_EXPLICIT,
                                      .count = 4,
                                      .changes = {{RAFT_CONF_REMOVE, 2},
                                                  {RAFT_CONF_REMOVE, 3},
                                                  {RAFT_CONF_ADD_VOTER, 4},
                                                  {RAFT_CONF_ADD_VOTER, 5}}};
    change_and_settle(group, 1, change);
    cr_assert_eq(group_view(group, 1).conf.voters_outgoing.count, 3);
    uint64_t commit = group_view(group, 1).commit;
    group_isolate(group, 4);
    group_isolate(group, 5);
    group_write(group, 1, "a");
    cr_assert_eq(group_view(group, 1).commit, commit, "1, 2 and 3 are only the old majority");
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).commit, commit + 1);
    group_isolate(group, 2);
    group_isolate(group, 3);
    group_write(group, 1, "b");
    cr_assert_eq(group_view(group, 1).commit, commit + 1, "1, 4 and 5 are only the new one");
    group_elect(group, 4);
    cr_assert_neq(group_view(group, 4).role, RAFT_LEADER);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    uint64_t leader = group_view(group, 4).leader ? group_view(group, 4).leader : 1;
    if (group_view(group, leader).role != RAFT_LEADER) {
        group_elect(group, 4);
        leader = 4;
    }
    struct raft_conf_change leave = {.transition = RAFT_TRANSITION_EXPLICIT, .count = 0};
    change_and_settle(group, leader, leave);
    cr_assert_eq(group_view(group, leader).conf.voters_outgoing.count, 0);
    group_free(group);
}

/* No second change while joint, but leaving it. */
Test(raft_conf_change, allows_only_leaving_while_joint) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    struct raft_conf_change enter = one(RAFT_CONF_ADD_LEARNER, 4);
    enter.transition = RAFT_TRANSITION_EXPLICIT;
    change_and_settle(group, 1, enter);
    cr_assert_eq(group_view(group, 1).conf.voters_outgoing.count, 3);
    change_and_settle(group, 1, one(RAFT_CONF_ADD_LEARNER, 5));
    cr_assert_eq(group_view(group, 1).conf.learners.count, 1);
    change_and_settle(group, 1, (struct raft_conf_change){.count = 0});
    cr_assert_eq(group_view(group, 1).conf.voters_outgoing.count, 0);
    group_free(group);
}

/* A voter that becomes a learner stays a voter of the outgoing half until that is left. */
Test(raft_conf_change, demotes_when_the_joint_configuration_is_left) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    struct raft_conf_change demote = one(RAFT_CONF_ADD_LEARNER, 3);
    demote.transition = RAFT_TRANSITION_EXPLICIT;
    change_and_settle(group, 1, demote);
    struct raft_conf_state conf = group_view(group, 1).conf;
    cr_assert(conf.learners_next.count == 1 && conf.learners.count == 0);
    cr_assert_not(group_progress(group, 1, 3).learner);
    change_and_settle(group, 1, (struct raft_conf_change){.count = 0});
    conf = group_view(group, 1).conf;
    cr_assert(conf.learners.count == 1 && conf.learners_next.count == 0);
    cr_assert(group_progress(group, 1, 3).learner);
    group_free(group);
}

/* A leader that removed itself steps down, and the others carry on (4.2.2). */
Test(raft_conf_change, makes_a_removed_leader_step_down) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    change_and_settle(group, 1, one(RAFT_CONF_REMOVE, 1));
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_DROPPED);
    group_tick(group, 1, 100);
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER, "it does not stand");
    group_elect(group, 2);
    group_write(group, 2, "a");
    cr_assert_eq(group_view(group, 3).applied, group_view(group, 2).commit);
    group_free(group);
}

/* So does a leader that became a learner. */
Test(raft_conf_change, makes_a_demoted_leader_step_down) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    change_and_settle(group, 1, one(RAFT_CONF_ADD_LEARNER, 1));
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_campaign(group->nodes[1].raft), STATUS_DROPPED);
    group_elect(group, 2);
    group_write(group, 2, "a");
    group_expect_state(group, "a");
    group_free(group);
}

/* A leader that may lead on after its removal serves others until one of them is elected. */
Test(raft_conf_change, lets_a_removed_leader_lead_on_when_asked_to) {
    struct raft_config config = group_config();
    config.lead_after_removal = true;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    change_and_settle(group, 1, one(RAFT_CONF_REMOVE, 1));
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_DROPPED);
    cr_assert_not(group_view(group, 1).lease_valid);
    /* Its reads are confirmed by the others, not by itself. */
    cr_assert_eq(raft_read_index(group->nodes[1].raft, 5), STATUS_OK);
    group_isolate(group, 1);
    group_settle(group);
    cr_assert_eq(group->nodes[1].read_count, 0);
    group_free(group);
}

/* The removal of a replica can commit what its absence held back. */
Test(raft_conf_change, commits_what_a_removal_sets_free) {
    struct group *group = group_new(2, NULL);
    group_elect(group, 1);
    struct raft_conf_change remove = one(RAFT_CONF_REMOVE, 2);
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &remove, NULL), STATUS_OK);
    cr_assert_eq(group_propose(group, 1, "a"), STATUS_OK);
    group_drain(group, 1);
    struct raft_message ack = {.kind = RAFT_MSG_APPEND_RESPONSE,
                               .from = 2,
                               .term = group_view(group, 1).term,
                               .log = {0, 12}};
    group_isolate(group, 2);
    cr_assert_eq(group_step(group, 1, ack), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).commit, 13);
    group_free(group);
}

/* Replicas that are new count as active: check-quorum does not fell the leader that added them. */
Test(raft_conf_change, does_not_fell_the_leader_by_adding) {
    struct raft_config config = group_config();
    config.check_quorum = true;
    struct group *group = group_new(1, &config);
    group_elect(group, 1);
    group_tick(group, 1, 9);
    change_and_settle(group, 1, one(RAFT_CONF_ADD_VOTER, 2));
    group_tick(group, 1, 1);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    group_free(group);
}

/* Adding who is there and removing who is not are harmless. */
Test(raft_conf_change, is_idempotent) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_write(group, 1, "a");
    uint64_t match = group_progress(group, 1, 2).match;
    change_and_settle(group, 1, one(RAFT_CONF_ADD_VOTER, 2));
    change_and_settle(group, 1, one(RAFT_CONF_REMOVE, 9));
    cr_assert_eq(group_view(group, 1).conf.voters.count, 3);
    cr_assert_geq(group_progress(group, 1, 2).match, match, "what is known of it is kept");
    group_free(group);
}

/* A leader that left the configuration knows that the change is committed, the voter that stays
 * does not, and has the shorter log: the refusal of its vote tells it. */
Test(raft_conf_change, does_not_lock_out_who_stays_behind) {
    struct group *group = group_new(2, NULL);
    group_elect(group, 1);
    struct raft_conf_change change = {
        .transition = RAFT_TRANSITION_EXPLICIT, .count = 1, .changes = {{RAFT_CONF_REMOVE, 1}}};
    change_and_settle(group, 1, change);
    struct raft_conf_change leave = {.count = 0};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &leave, NULL), STATUS_OK);
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_OK);
    group_drain(group, 1);
    /* 2 gets the first of the two entries; its answer arrives, nothing else does. */
    const struct raft_message *append = &group->messages[0];
    cr_assert(append->kind == RAFT_MSG_APPEND && append->entry_count == 1);
    cr_assert_eq(raft_step(group->nodes[2].raft, append), STATUS_OK);
    group_drop_messages(group);
    group_drain(group, 2);
    struct raft_message answer = *group_find(group, RAFT_MSG_APPEND_RESPONSE, 2, 1);
    group_drop_messages(group);
    cr_assert_eq(raft_step(group->nodes[1].raft, &answer), STATUS_OK);
    group_drain(group, 1);
    group_drop_messages(group);
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    cr_assert_gt(group_view(group, 1).last_index, group_view(group, 2).last_index);
    group_elect(group, 2);
    group_elect(group, 2);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    group_free(group);
}
