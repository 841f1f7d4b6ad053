#include "tests/raft/group.h"

static struct raft_config sticky_config(void) {
    struct raft_config config = group_config();
    config.check_quorum = true;
    return config;
}

static struct raft_config pre_vote_config(void) {
    struct raft_config config = sticky_config();
    config.pre_vote = true;
    return config;
}

/* Three voters; the first one heard of this term from a leader that it does not know. */
static struct group *new_group_of_term(uint64_t term) {
    struct group *group = group_new(3, NULL);
    struct raft_message heartbeat = {.kind = RAFT_MSG_HEARTBEAT, .from = 3, .to = 1, .term = term};
    cr_assert_eq(group_step(group, 1, heartbeat), STATUS_OK);
    group_drain(group, 1);
    group_drop_messages(group);
    return group;
}

/* A replica starts as a follower that knows of no leader (5.2). */
Test(raft_election, starts_as_follower) {
    struct group *group = group_new(3, NULL);
    struct raft_view view = group_view(group, 1);
    cr_assert(view.role == RAFT_FOLLOWER && view.leader == RAFT_NO_REPLICA && view.term == 1);
    cr_assert_not(raft_has_ready(group->nodes[1].raft));
    group_free(group);
}

/* Silence of the leader makes a follower a candidate of the next term, with its own vote (3.4). */
Test(raft_election, stands_after_silence) {
    struct group *group = group_new(3, NULL);
    group_tick(group, 1, 9);
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    group_tick(group, 1, 1);
    struct raft_view view = group_view(group, 1);
    cr_assert(view.role == RAFT_CANDIDATE && view.term == 2 && view.vote == 1);
    group_drain(group, 1);
    cr_assert(group_find(group, RAFT_MSG_VOTE, 1, 2) && group_find(group, RAFT_MSG_VOTE, 1, 3));
    cr_assert_eq(group_find(group, RAFT_MSG_VOTE, 1, 2)->log.index, 10);
    /* Nobody answers: again, in the next term. */
    group_drop_messages(group);
    group_tick(group, 1, 10);
    cr_assert_eq(group_view(group, 1).term, 3);
    group_free(group);
}

/* Who has voted gives the candidate the time to win, also where the vote did not raise its term
 * (5.2). */
Test(raft_election, waits_for_whom_it_voted_for) {
    struct group *group = group_new(3, NULL);
    struct raft_message vote = {
        .kind = RAFT_MSG_VOTE, .from = 3, .to = 1, .term = 2, .log = {1, 9}};
    cr_assert_eq(group_step(group, 1, vote),
                 STATUS_OK); /* refused for its log; the term is 2 now */
    group_tick(group, 1, 9);
    vote.from = 2;
    vote.log.index = 10;
    cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
    cr_assert_eq(group_view(group, 1).vote, 2);
    group_tick(group, 1, 9);
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    group_tick(group, 1, 1);
    cr_assert_eq(group_view(group, 1).role, RAFT_CANDIDATE);
    group_free(group);
}

/* The time-out is drawn from [election_ticks, 2 * election_ticks), so that votes rarely split. */
Test(raft_election, draws_its_time_out) {
    struct group *group = group_new(3, NULL);
    for (uint64_t draw = 0; draw < 10; draw++) {
        group->nodes[2].random = draw;
        group_restart(group, 2);
        group_tick(group, 2, (uint32_t)(9 + draw));
        cr_assert_eq(group_view(group, 2).role, RAFT_FOLLOWER);
        group_tick(group, 2, 1);
        cr_assert_eq(group_view(group, 2).role, RAFT_CANDIDATE);
    }
    group_free(group);
}

/* Votes of a majority make a leader, which commits an empty entry of its term at once (3.6.2). */
Test(raft_election, leads_with_the_votes_of_a_majority) {
    const struct {
        uint64_t size, grants;
        bool wins;
    } cases[] = {{1, 0, true},  {2, 1, true}, {2, 0, false}, {3, 1, true},
                 {3, 0, false}, {5, 2, true}, {5, 1, false}};
    for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
        struct group *group = group_new(cases[at].size, NULL);
        for (uint64_t id = cases[at].grants + 2; id <= cases[at].size; id++) {
            group_isolate(group, id);
        }
        group_elect(group, 1);
        struct raft_view view = group_view(group, 1);
        cr_expect_eq(view.role, cases[at].wins ? RAFT_LEADER : RAFT_CANDIDATE);
        if (cases[at].wins) cr_expect_eq(view.commit, 11);
        group_free(group);
    }
}

/* A majority of refusals ends the candidacy at once. */
Test(raft_election, concedes_to_a_majority_of_refusals) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_write(group, 1, "a");
    group_heal(group);
    cr_assert_eq(raft_campaign(group->nodes[3].raft), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 3).role, RAFT_FOLLOWER);
    cr_assert_eq(group_view(group, 3).term, 3);
    group_free(group);
}

/* One vote per term, to a log that is at least as good; the same candidate may ask again (3.6.1).
 */
Test(raft_election, votes_once_per_term_for_a_good_log) {
    struct group *group = group_new(3, NULL);
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 2, .term = 2, .log = {1, 9}};
    cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
    group_drain(group, 1);
    cr_assert(group_find(group, RAFT_MSG_VOTE_RESPONSE, 1, 2)->reject, "a shorter log");
    vote.log.index = 10;
    cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
    cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
    group_drain(group, 1);
    cr_assert_not(group_find(group, RAFT_MSG_VOTE_RESPONSE, 1, 2)->reject);
    vote.from = 3;
    cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
    group_drain(group, 1);
    cr_assert(group_find(group, RAFT_MSG_VOTE_RESPONSE, 1, 3)->reject, "taken");
    cr_assert_eq(group->nodes[1].disk.hard_state.vote, 2);
    group_free(group);
}

/* A vote survives a crash: it was durable before it was given (3.8). */
Test(raft_election, remembers_its_vote_over_a_crash) {
    struct group *group = group_new(3, NULL);
    group->nodes[1].disk_held = true;
    struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 2, .term = 2, .log = {1, 10}};
    cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
    group_drain(group, 1);
    cr_assert_eq(group->message_count, 0, "not before it is on disk");
    group_sync(group, 1);
    cr_assert(group_find(group, RAFT_MSG_VOTE_RESPONSE, 1, 2));
    group_restart(group, 1);
    vote.from = 3;
    cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
    group_drain(group, 1);
    group_sync(group, 1);
    cr_assert(group_find(group, RAFT_MSG_VOTE_RESPONSE, 1, 3)->reject);
    group_free(group);
}

/* A candidate that others have elected does not lead before its own term and vote are durable: a
 * crash would let it lead the same term twice. */
Test(raft_election, does_not_lead_a_term_that_is_not_durable) {
    struct group *group = group_new(3, NULL);
    group->nodes[1].disk_held = true;
    group_elect(group, 1);
    cr_assert_eq(group_view(group, 2).vote, 1);
    cr_assert_eq(group_view(group, 3).vote, 1);
    cr_assert_eq(group_view(group, 1).role, RAFT_CANDIDATE);
    group_sync(group, 1);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    group_free(group);
}

/* Any role votes for a better candidate of a higher term, and follows its term (3.3). */
Test(raft_election, votes_from_any_role) {
    for (int role = RAFT_FOLLOWER; role <= RAFT_PRE_CANDIDATE; role++) {
        struct raft_config config = group_config();
        config.pre_vote = role == RAFT_PRE_CANDIDATE;
        struct group *group = group_new(3, &config);
        if (role == RAFT_LEADER) group_elect(group, 1);
        if (role == RAFT_CANDIDATE || role == RAFT_PRE_CANDIDATE) {
            cr_assert_eq(raft_campaign(group->nodes[1].raft), STATUS_OK);
        }
        cr_assert_eq(group_view(group, 1).role, (enum raft_role)role);
        group_drain(group, 1);
        group_drop_messages(group);
        struct raft_message vote = {.kind = RAFT_MSG_VOTE, .from = 2, .term = 9, .log = {8, 100}};
        cr_assert_eq(group_step(group, 1, vote), STATUS_OK);
        group_drain(group, 1);
        struct raft_view view = group_view(group, 1);
        cr_expect(view.role == RAFT_FOLLOWER && view.term == 9 && view.vote == 2);
        cr_expect_not(group_find(group, RAFT_MSG_VOTE_RESPONSE, 1, 2)->reject);
        group_free(group);
    }
}

/* A candidate follows whoever leads its term (3.4). */
Test(raft_election, falls_back_when_somebody_leads_its_term) {
    static const enum raft_message_kind kinds[] = {RAFT_MSG_APPEND, RAFT_MSG_HEARTBEAT};
    for (size_t at = 0; at < 2; at++) {
        struct group *group = group_new(3, NULL);
        cr_assert_eq(raft_campaign(group->nodes[1].raft), STATUS_OK);
        struct raft_message message = {.kind = kinds[at], .from = 2, .term = 2, .log = {1, 10}};
        cr_assert_eq(group_step(group, 1, message), STATUS_OK);
        struct raft_view view = group_view(group, 1);
        cr_expect(view.role == RAFT_FOLLOWER && view.leader == 2 && view.term == 2);
        group_free(group);
    }
}

/* A higher term in any message makes every role a follower; a lower one is ignored (3.3). */
Test(raft_election, follows_higher_terms_and_ignores_lower_ones) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    struct raft_message old = {.kind = RAFT_MSG_APPEND, .from = 2, .term = 1, .log = {1, 10}};
    cr_assert_eq(group_step(group, 1, old), STATUS_OK);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    struct raft_message new = {
        .kind = RAFT_MSG_APPEND_RESPONSE, .from = 2, .term = 7, .log = {0, 0}};
    cr_assert_eq(group_step(group, 1, new), STATUS_OK);
    struct raft_view view = group_view(group, 1);
    cr_assert(view.role == RAFT_FOLLOWER && view.term == 7 && view.leader == RAFT_NO_REPLICA);
    group_free(group);
}

/* Two who stand and never hear each other would run after each other's terms for ever: who is asked
 * for a vote of the past tells its term. */
Test(raft_election, tells_a_candidate_of_the_past_its_term) {
    static const enum raft_message_kind kinds[][2] = {
        {RAFT_MSG_VOTE, RAFT_MSG_VOTE_RESPONSE}, {RAFT_MSG_PRE_VOTE, RAFT_MSG_PRE_VOTE_RESPONSE}};
    for (uint32_t at = 0; at < 2; at++) {
        struct group *group = new_group_of_term(7);
        struct raft_message ask = {.kind = kinds[at][0], .from = 2, .to = 1, .term = 5};
        cr_assert_eq(group_step(group, 1, ask), STATUS_OK);
        group_drain(group, 1);
        const struct raft_message *answer = group_find(group, kinds[at][1], 1, 2);
        cr_assert(answer && answer->reject && answer->term == 7);
        group_free(group);
    }
}

/* A leader of the past hears of the later term from a candidate, sooner or later; but from who
 * never stands, or doesn't know it as a voter to be asked, only by an answer. */
Test(raft_election, tells_a_leader_of_the_past_its_term_if_it_will_not_ask_it) {
    struct raft_message heartbeat = {.kind = RAFT_MSG_HEARTBEAT, .from = 2, .to = 1, .term = 5};
    struct group *group = new_group_of_term(7);
    cr_assert_eq(group_step(group, 1, heartbeat), STATUS_OK);
    group_drain(group, 1);
    cr_expect_null(group_find(group, RAFT_MSG_APPEND_RESPONSE, 1, 2), "it will ask");
    raft_decline_leadership(group->nodes[1].raft);
    cr_assert_eq(group_step(group, 1, heartbeat), STATUS_OK);
    group_drain(group, 1);
    const struct raft_message *answer = group_find(group, RAFT_MSG_APPEND_RESPONSE, 1, 2);
    cr_assert(answer && answer->term == 7);
    group_free(group);
}

/* The own vote of a lost election says nothing in a later one. */
Test(raft_election, ignores_its_own_vote_of_an_earlier_candidacy) {
    struct group *group = group_new(3, NULL);
    group->nodes[1].disk_held = true;
    cr_assert_eq(raft_campaign(group->nodes[1].raft), STATUS_OK);
    group_drain(group, 1);
    struct raft_message higher = {.kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 3};
    cr_assert_eq(group_step(group, 1, higher), STATUS_OK);
    group_sync(group, 1); /* brings the vote for term 2 */
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    cr_assert_eq(group_view(group, 1).term, 3);
    group_free(group);
}

/* Two candidates at once: whoever has the longer log wins in the end. */
Test(raft_election, settles_a_duel) {
    struct group *group = group_new(3, NULL);
    group->cut[1][3] = group->cut[3][1] = true;
    group_elect(group, 1);
    group_elect(group, 3); /* 2 has voted and follows 1: 3 stays a candidate */
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    group_heal(group);
    group_elect(group, 3); /* its log lacks the leader's entry */
    cr_assert_neq(group_view(group, 3).role, RAFT_LEADER);
    group_elect(group, 2);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    cr_assert_eq(group_view(group, 3).leader, 2);
    group_free(group);
}

/* Every replica can lead in turn, with and without pre-vote. */
Test(raft_election, can_be_won_by_each_in_turn) {
    for (int pre_vote = 0; pre_vote < 2; pre_vote++) {
        struct raft_config config = group_config();
        config.pre_vote = pre_vote;
        struct group *group = group_new(3, &config);
        for (uint64_t round = 0; round < 6; round++) {
            uint64_t id = 1 + round % 3;
            group_elect(group, id);
            for (uint64_t other = 1; other <= 3; other++) {
                cr_expect_eq(group_view(group, other).leader, id);
            }
        }
        group_free(group);
    }
}

/* A new leader overwrites what earlier leaders could not commit (figure 3.6). */
Test(raft_election, overwrites_uncommitted_entries_of_others) {
    struct group *group = group_new(5, NULL);
    const uint64_t short_log[] = {2}, long_log[] = {3};
    group_set_log(&group->nodes[1], short_log, 1);
    group_set_log(&group->nodes[2], short_log, 1);
    group_set_log(&group->nodes[3], long_log, 1); /* won term 3, then went away */
    group_isolate(group, 3);
    group_elect(group, 1); /* terms 3 and 4 by now */
    group_elect(group, 1);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    group_heal(group);
    group_write(group, 1, "x");
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(disk_entry(&group->nodes[3].disk, 11)->id.term, 2);
    group_expect_state(group, "x");
    group_free(group);
}

/* While a leader is heard, nobody helps to elect another, and terms stay (4.2.3). */
Test(raft_election, is_sticky_while_a_leader_is_heard) {
    struct raft_config config = sticky_config();
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    cr_assert_eq(raft_campaign(group->nodes[3].raft), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).term, 2);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    /* The candidate is freed by the leader's next heartbeat: it answers with its term. */
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    group_tick(group, 2, 10);
    group_settle(group);
    cr_assert_eq(group_view(group, 3).leader, 2);
    group_free(group);
}

/* With pre-vote the returning replica raises nobody's term (9.6). */
Test(raft_election, does_not_disturb_after_isolation_with_pre_vote) {
    struct raft_config config = pre_vote_config();
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_tick(group, 3, 100);
    group_settle(group);
    cr_assert_eq(group_view(group, 3).term, 2, "asks, and stays in its term");
    group_write(group, 1, "a");
    group_heal(group);
    group_tick(group, 3, 20);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    group_tick(group, 1, 1);
    group_settle(group);
    group_expect_state(group, "a");
    cr_assert_eq(group_view(group, 3).leader, 1);
    group_free(group);
}

/* Pre-candidates of a split vote come to a decision, in one term. */
Test(raft_election, recovers_from_a_split_pre_vote) {
    struct raft_config config = group_config();
    config.pre_vote = true;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 1);
    cr_assert_eq(raft_campaign(group->nodes[2].raft), STATUS_OK);
    cr_assert_eq(raft_campaign(group->nodes[3].raft), STATUS_OK);
    group_settle(group);
    if (group_view(group, 2).role != RAFT_LEADER && group_view(group, 3).role != RAFT_LEADER) {
        group_elect(group, 2);
    }
    uint64_t leader = group_view(group, 2).leader;
    cr_assert(leader != RAFT_NO_REPLICA && leader == group_view(group, 3).leader);
    group_free(group);
}

/* A replica of a lower term than everybody's can still win with pre-vote and stickiness. */
Test(raft_election, lets_a_replica_of_a_smaller_term_win) {
    struct raft_config config = pre_vote_config();
    config.check_quorum = false;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_elect(group, 2);
    group_elect(group, 1);
    cr_assert_gt(group_view(group, 1).term, group_view(group, 3).term);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    group_isolate(group, 1);
    group_elect(group, 3);
    cr_assert_eq(group_view(group, 3).role, RAFT_LEADER);
    group_free(group);
}

/* A rolling change from without to with pre-vote: a stuck candidate of a high term is freed. */
Test(raft_election, completes_while_pre_vote_is_being_switched_on) {
    struct raft_config config = pre_vote_config();
    config.check_quorum = false;
    struct group *group = group_new(3, &config);
    group->nodes[3].config.pre_vote = false;
    group_restart(group, 3);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_tick(group, 3, 25); /* a candidate of a higher term with a shorter log */
    group_settle(group);
    group_write(group, 1, "a");
    group->nodes[3].config.pre_vote = true;
    group_restart(group, 3);
    group_heal(group);
    cr_assert_gt(group_view(group, 3).term, group_view(group, 1).term);
    group_isolate(group, 1);
    for (int round = 0; round < 3; round++) {
        group_tick(group, 2, 10);
        group_settle(group);
    }
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    group_free(group);
}

/* A leader that hears no quorum for an election time-out steps down; one that does stays (6.2). */
Test(raft_election, steps_down_without_contact_to_a_quorum) {
    struct raft_config config = sticky_config();
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    for (int at = 0; at < 40; at++) {
        group_tick(group, 1, 1);
        group_settle(group);
    }
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER);
    group_isolate(group, 3);
    for (int at = 0; at < 40; at++) {
        group_tick(group, 1, 1);
        group_settle(group);
    }
    cr_assert_eq(group_view(group, 1).role, RAFT_LEADER, "one follower is quorum enough");
    group_isolate(group, 1);
    group_tick(group, 1, 20);
    cr_assert_eq(group_view(group, 1).role, RAFT_FOLLOWER);
    group_free(group);
}

/* A higher term of a replica that stood while cut off makes the leader step down, without pre-vote.
 */
Test(raft_election, is_disturbed_once_by_a_returning_candidate_without_pre_vote) {
    struct raft_config config = sticky_config();
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_tick(group, 3, 40);
    group_settle(group);
    uint64_t term = group_view(group, 3).term;
    cr_assert_gt(term, 2);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert(group_view(group, 1).role == RAFT_FOLLOWER && group_view(group, 1).term == term);
    group_free(group);
}

/* Who is no voter never stands: learners, removed replicas, replicas that know of nobody. */
Test(raft_election, is_not_for_non_voters) {
    struct group *group = group_new(3, NULL);
    group_add(group, NULL);
    cr_assert_eq(raft_campaign(group->nodes[4].raft), STATUS_DROPPED);
    group_tick(group, 4, 100);
    cr_assert_eq(group_view(group, 4).term, 0);
    group_elect(group, 1);
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 4}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 4).leader, 1);
    group_tick(group, 4, 100);
    cr_assert_eq(group_view(group, 4).role, RAFT_FOLLOWER);
    cr_assert_eq(raft_campaign(group->nodes[4].raft), STATUS_DROPPED);
    group_free(group);
}

/* A learner votes when it is asked: it may be a voter without knowing (4.2.2). */
Test(raft_election, takes_the_vote_of_a_learner_that_was_promoted) {
    struct group *group = group_new(2, NULL);
    group_add(group, NULL);
    group_elect(group, 1);
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 3}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    group_settle(group);
    group_isolate(group, 3);
    change.changes[0].kind = RAFT_CONF_ADD_VOTER;
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 2).conf.voters.count, 3);
    cr_assert_eq(group_view(group, 3).conf.learners.count, 1);
    group_heal(group);
    group_isolate(group, 1);
    group_elect(group, 2);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    group_free(group);
}

/* A leader that is told to stand stays leader. */
Test(raft_election, ignores_a_campaign_of_the_leader) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_elect(group, 1);
    cr_assert(group_view(group, 1).role == RAFT_LEADER && group_view(group, 1).term == 2);
    group_free(group);
}

/* A follower that forgets its leader votes at once; it keeps following when it hears from it. */
Test(raft_election, votes_at_once_after_forgetting_the_leader) {
    struct raft_config config = pre_vote_config();
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    cr_assert_eq(raft_forget_leader(group->nodes[2].raft), STATUS_OK);
    cr_assert_eq(raft_forget_leader(group->nodes[3].raft), STATUS_OK);
    group_isolate(group, 1);
    group_elect(group, 2);
    cr_assert_eq(group_view(group, 2).role, RAFT_LEADER);
    group_free(group);
}

/* Nobody votes who has not applied a committed change of the configuration: it may be history. */
Test(raft_election, does_not_stand_with_an_unapplied_conf_change) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group->nodes[2].apply_held = true;
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CONF_ADD_LEARNER, 3}}};
    cr_assert_eq(raft_propose_conf_change(group->nodes[1].raft, &change, NULL), STATUS_OK);
    group_settle(group);
    cr_assert_eq(raft_campaign(group->nodes[2].raft), STATUS_DROPPED);
    struct raft_message now = {
        .kind = RAFT_MSG_TIMEOUT_NOW, .from = 1, .term = group_view(group, 2).term};
    cr_assert_eq(group_step(group, 2, now), STATUS_OK);
    cr_assert_eq(group_view(group, 2).role, RAFT_FOLLOWER);
    group_apply(group, 2);
    cr_assert_eq(raft_campaign(group->nodes[2].raft), STATUS_OK);
    group_free(group);
}
