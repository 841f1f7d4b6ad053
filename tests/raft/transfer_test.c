#include "tests/raft/group.h"

/* A follower that has everything takes over at once. */
Test(raft_transfer, goes_to_an_up_to_date_follower) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 2), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    cr_assert_eq(raft_transfer_leader(group->nodes[2].raft, 1), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    group_free(group);
}

/* The wish of a follower is forwarded. */
Test(raft_transfer, can_be_asked_of_a_follower) {
    struct group *group = group_new(3, NULL);
    cr_assert_eq(raft_transfer_leader(group->nodes[2].raft, 2), STATUS_DROPPED);
    group_elect(group, 1);
    cr_assert_eq(raft_transfer_leader(group->nodes[2].raft, 2), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    group_free(group);
}

/* It overrides stickiness and needs no pre-vote (4.2.3). */
Test(raft_transfer, overrides_stickiness) {
    struct raft_config config = group_config();
    config.check_quorum = config.pre_vote = true;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 3).role, RAFT_LEADER);
    cr_assert_eq(group->sent[RAFT_MSG_PRE_VOTE], 2, "those of the first election");
    group_free(group);
}

/* A slow target is caught up first, by entries or by a snapshot. */
Test(raft_transfer, catches_the_target_up_first) {
    for (int compacted = 0; compacted < 2; compacted++) {
        struct group *group = group_new(3, NULL);
        group_elect(group, 1);
        group_isolate(group, 3);
        group_write(group, 1, "a");
        if (compacted) disk_compact(&group->nodes[1].disk, 12);
        group_heal(group);
        cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
        group_tick(group, 1, 1);
        group_settle(group);
        cr_expect_eq(group_view(group, 3).role, RAFT_LEADER);
        group_free(group);
    }
}

/* Meanwhile proposals are refused; after an election time-out the leader carries on. */
Test(raft_transfer, refuses_proposals_until_it_ends_or_times_out) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_isolate(group, 3);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).transfer_target, 3);
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_DROPPED);
    group_tick(group, 1, 9);
    cr_assert_eq(group_view(group, 1).transfer_target, 3);
    group_tick(group, 1, 1);
    cr_assert_eq(group_view(group, 1).transfer_target, RAFT_NO_REPLICA);
    group_write(group, 1, "y");
    cr_assert_eq(group_view(group, 1).commit, 12);
    group_free(group);
}

/* To itself and to strangers or learners: nothing happens, and it is said. */
Test(raft_transfer, is_only_for_other_voters) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 4}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 4), STATUS_INVALID);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 9), STATUS_INVALID);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 1), STATUS_OK);
    cr_assert_eq(group_view(group, 1).transfer_target, RAFT_NO_REPLICA);
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_OK);
    group_free(group);
}

/* The latest wish counts; the same one again does not start the time-out anew. */
Test(raft_transfer, follows_the_latest_wish) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_isolate(group, 3);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
    group_tick(group, 1, 6);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
    group_tick(group, 1, 4);
    cr_assert_eq(group_view(group, 1).transfer_target, RAFT_NO_REPLICA);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 2), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    group_free(group);
}

/* A target that is removed or demoted ends it; so does a higher term. */
Test(raft_transfer, ends_when_the_target_leaves_or_another_leads) {
    for (int kind = RAFT_CONF_REMOVE; kind <= RAFT_CONF_ADD_LEARNER; kind += 2) {
        struct group *group = group_new(3, NULL);
        group_elect(group, 1);
        group->nodes[1].apply_held = true;
        struct raft_conf_change change = {.count = 1,
                                          .changes = {{(enum raft_conf_change_kind)kind, 3}}};
        cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
        group_settle(group);
        group->lost[RAFT_MSG_TIMEOUT_NOW] = true;
        cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
        group_settle(group);
        cr_assert_eq(group_view(group, 1).transfer_target, 3);
        group_apply(group, 1);
        cr_expect_eq(group_view(group, 1).transfer_target, RAFT_NO_REPLICA);
        group_free(group);
    }
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_isolate(group, 3);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 3), STATUS_OK);
    group_elect(group, 2);
    cr_assert(group_view(group, 2).role == RAFT_LEADER);
    cr_assert_eq(group_view(group, 1).transfer_target, RAFT_NO_REPLICA);
    group_free(group);
}

/* A replica that left the configuration does not stand, whoever tells it to. */
Test(raft_transfer, is_ignored_by_who_is_no_member) {
    struct group *group = group_new(3, NULL);
    group_add(group, NULL);
    struct raft_message now = {.kind = RAFT_MSG_TIMEOUT_NOW, .from = 1, .term = 1};
    cr_assert_eq(group_step(group, 4, now), STATUS_OK);
    cr_assert_eq(group_view(group, 4).role, RAFT_FOLLOWER);
    group_free(group);
}

/* An owner that is about to stop: no leadership handed over, no candidacy of its own, not even one
 * that is under way; but votes and entries as before. */
Test(raft_transfer, is_ignored_by_who_declines) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    raft_decline_leadership(group->nodes[2].raft);
    cr_assert_eq(raft_transfer_leader(group->nodes[1].raft, 2), STATUS_OK);
    group_settle(group);
    cr_expect_eq(group_view(group, 2).role, RAFT_FOLLOWER);
    cr_expect_eq(group_view(group, 1).role, RAFT_LEADER);
    cr_expect_eq(raft_campaign(group->nodes[2].raft), STATUS_DROPPED);
    group_tick(group, 2, 100);
    cr_expect_eq(group_view(group, 2).role, RAFT_FOLLOWER);

    group_isolate(group, 1);
    group_elect(group, 3);
    cr_expect_eq(group_view(group, 3).role, RAFT_LEADER, "with the vote of who declines");
    uint64_t before = group_view(group, 2).commit;
    group_write(group, 3, "a");
    group_tick(group, 3, 10);
    group_settle(group);
    cr_expect_gt(group_view(group, 2).commit, before);
    group_free(group);
}

Test(raft_transfer, who_declines_ends_its_candidacy_but_goes_on_leading) {
    struct group *group = group_new(3, NULL);
    cr_assert_eq(raft_campaign(group->nodes[2].raft), STATUS_OK);
    group_drain(group, 2);
    raft_decline_leadership(group->nodes[2].raft);
    group_settle(group); /* the votes come in */
    cr_expect_eq(group_view(group, 2).role, RAFT_FOLLOWER);

    group_elect(group, 1);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    raft_decline_leadership(group->nodes[1].raft);
    group_write(group, 1, "a");
    cr_expect_eq(group_view(group, 1).role, RAFT_LEADER);
    group_expect_state(group, "a");
    group_free(group);
}
