#include "tests/raft/group.h"

/* A proposal is appended, sent, committed by a majority, and applied everywhere (3.5). */
Test(raft_replication, commits_with_a_majority) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_write(group, 1, "a");
    cr_assert_eq(group_view(group, 1).commit, 12);
    group_isolate(group, 2);
    group_write(group, 1, "b");
    cr_assert_eq(group_view(group, 1).commit, 12, "alone");
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    group_expect_state(group, "ab");
    group_free(group);
}

/* A leader alone needs nobody but its own disk. */
Test(raft_replication, commits_alone_once_it_is_durable) {
    struct group *group = group_new(1, NULL);
    group_elect(group, 1);
    group->nodes[1].disk_held = true;
    cr_assert_eq(group_propose(group, 1, "a"), STATUS_OK);
    group_drain(group, 1);
    cr_assert_eq(group_view(group, 1).commit, 11);
    group_sync(group, 1);
    group_drain(group, 1);
    cr_assert_eq(group_view(group, 1).commit, 12);
    group_expect_state(group, "a");
    group_free(group);
}

/* Appends leave before the leader's own write is durable, and its own vote counts after (10.2.1).
 */
Test(raft_replication, overlaps_the_network_with_its_own_disk) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group->nodes[1].disk_held = true;
    cr_assert_eq(group_propose(group, 1, "a"), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).commit, 12, "two followers are a quorum");
    group_isolate(group, 2);
    cr_assert_eq(group_propose(group, 1, "b"), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).commit, 12);
    group_sync(group, 1);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).commit, 13);
    group_free(group);
}

/* A follower acknowledges only what is on its disk (rule 1). */
Test(raft_replication, acknowledges_after_its_disk) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group->nodes[2].disk_held = group->nodes[3].disk_held = true;
    cr_assert_eq(group_propose(group, 1, "a"), STATUS_OK);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).commit, 11);
    group_restart(group, 2);
    cr_assert_eq(disk_last(&group->nodes[2].disk), 11, "lost, and nobody was told otherwise");
    group_sync(group, 3);
    group_settle(group);
    cr_assert_eq(group_view(group, 1).commit, 12);
    group_free(group);
}

/* Entries of earlier terms commit only along with one of the own term (3.6.2, figure 3.7). */
Test(raft_replication, commits_earlier_terms_only_with_its_own) {
    struct group *group = group_new(3, NULL);
    const uint64_t terms[] = {2, 2};
    for (uint64_t id = 1; id <= 3; id++) {
        group_set_log(&group->nodes[id], terms, 2);
    }
    group_isolate(group, 3);
    group->lost[RAFT_MSG_APPEND_RESPONSE] = true;
    group_elect(group, 1);
    struct raft_message ack = {
        .kind = RAFT_MSG_APPEND_RESPONSE, .from = 2, .term = 3, .log = {0, 12}};
    cr_assert_eq(group_step(group, 1, ack), STATUS_OK);
    cr_assert_eq(group_view(group, 1).commit, 10, "on a majority, of term 2");
    ack.log.index = 13;
    cr_assert_eq(group_step(group, 1, ack), STATUS_OK);
    cr_assert_eq(group_view(group, 1).commit, 13);
    group_free(group);
}

/* Five voters of which 2 acknowledged entry 12 and then, asked once more, denies it: its disk has
 * lost what it said it had. `sent_us`: when the append that it rejects was sent. */
static struct group *group_with_denial(uint64_t sent_us) {
    struct group *group = group_new(5, NULL);
    group_set_now(group, 1000000);
    group_elect(group, 1);
    cr_assert_eq(group_view(group, 1).commit, 11);
    group->lost[RAFT_MSG_APPEND] = true;
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_OK);
    group_settle(group);
    struct raft_message answer = {.kind = RAFT_MSG_APPEND_RESPONSE,
                                  .from = 2,
                                  .term = group_view(group, 1).term,
                                  .log = {0, 12}};
    cr_assert_eq(group_step(group, 1, answer), STATUS_OK);
    group_set_now(group, 2000000);
    answer.reject = true;
    answer.reject_hint = 10;
    answer.sent_us = sent_us;
    cr_assert_eq(group_step(group, 1, answer), STATUS_OK);
    return group;
}

static uint64_t ack_from(struct group *group, uint64_t from, uint64_t index) {
    struct raft_message ack = {.kind = RAFT_MSG_APPEND_RESPONSE,
                               .from = from,
                               .term = group_view(group, 1).term,
                               .log = {0, index},
                               .sent_us = 1500000};
    cr_assert_eq(group_step(group, 1, ack), STATUS_OK);
    raft_check(group->nodes[1].raft);
    return group_view(group, 1).commit;
}

static uint64_t commit_after_ack(struct group *group, uint64_t from) {
    return ack_from(group, from, 12);
}

/* An acknowledgement that was taken back is none: with it three of five would commit what is on two
 * disks. Nor is the replica heard again, or fed as if nothing had been. */
Test(raft_replication, does_not_count_who_has_lost_its_log) {
    struct group *group = group_with_denial(1500000);
    cr_assert(group_view(group, 1).progress[1].log_lost);
    cr_assert_eq(commit_after_ack(group, 3), 11, "on the disks of 1 and 3");
    cr_assert_eq(commit_after_ack(group, 2), 11, "whatever it says now");
    cr_assert_eq(raft_min_match(group->nodes[1].raft), 11, "the log is not kept for it");
    cr_assert_eq(commit_after_ack(group, 4), 12);
    cr_assert_not(group_view(group, 1).progress[1].recently_active);
    cr_assert_eq(group_propose(group, 1, "y"), STATUS_OK);
    group_settle(group);
    for (uint64_t from = 3; from <= 5; from++)
        (void)ack_from(group, from, 13); /* the commit is asked for below */
    cr_assert_eq(group_view(group, 1).commit, 13);
    cr_assert_eq(raft_min_match(group->nodes[1].raft), 13, "not for what it once had, either");
    group_free(group);
}

/* A rejection may be late: what it answers was sent before the acknowledgement came. */
Test(raft_replication, a_late_rejection_takes_nothing_back) {
    struct group *group = group_with_denial(1000000);
    cr_assert_not(group_view(group, 1).progress[1].log_lost);
    cr_assert_eq(commit_after_ack(group, 3), 12);
    group_free(group);
}

/* The commit index that a follower learns never passes what the message vouches for. */
Test(raft_replication, bounds_a_commit_index_by_the_message) {
    struct group *group = group_new(3, NULL);
    struct raft_entry entries[] = {{.id = {2, 11}}, {.id = {2, 12}}};
    struct raft_message append = {.kind = RAFT_MSG_APPEND,
                                  .from = 2,
                                  .term = 2,
                                  .log = {1, 10},
                                  .commit = 99,
                                  .entry_count = 2,
                                  .entries = entries};
    cr_assert_eq(group_step(group, 1, append), STATUS_OK);
    cr_assert_eq(group_view(group, 1).commit, 12);
    struct raft_message heartbeat = {
        .kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .commit = 13};
    cr_assert_eq(group_step(group, 1, heartbeat), STATUS_CORRUPTION, "entries it never had");
    cr_assert_eq(group_view(group, 1).commit, 12);
    group_free(group);
}

/* A tail that the message says nothing about is not committed by it: it may be another leader's. */
Test(raft_replication, does_not_commit_a_tail_that_nobody_vouched_for) {
    struct group *group = group_new(3, NULL);
    const uint64_t terms[] = {2, 2, 2};
    group_set_log(&group->nodes[1], terms, 3);
    struct raft_entry entry = {.id = {2, 11}};
    struct raft_message append = {.kind = RAFT_MSG_APPEND,
                                  .from = 2,
                                  .term = 3,
                                  .log = {1, 10},
                                  .commit = 13,
                                  .entry_count = 1,
                                  .entries = &entry};
    cr_assert_eq(group_step(group, 1, append), STATUS_OK);
    cr_assert(group_view(group, 1).commit == 11 && group_view(group, 1).last_index == 13);
    group_free(group);
}

/* Figure 7 of the paper: whatever a follower has, it ends with the leader's log. */
Test(raft_replication, brings_every_log_in_line) {
    static const uint64_t leader[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    static const struct {
        uint64_t terms[12];
        uint32_t count;
    } followers[] = {{{1, 1, 1, 4, 4, 5, 5, 6, 6}, 9},
                     {{1, 1, 1, 4}, 4},
                     {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6}, 11},
                     {{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7}, 12},
                     {{1, 1, 1, 4, 4, 4, 4}, 7},
                     {{1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3}, 11}};
    for (size_t at = 0; at < sizeof(followers) / sizeof(followers[0]); at++) {
        struct group *group = group_new(3, NULL);
        group_set_log(&group->nodes[1], leader, 10);
        group_set_log(&group->nodes[2], followers[at].terms, followers[at].count);
        group_elect(group, 1);
        group_elect(group, 1); /* the first term may be taken */
        for (int round = 0; round < 3 && group_view(group, 1).role != RAFT_LEADER; round++) {
            group_elect(group, 1);
        }
        group_write(group, 1, "x");
        cr_assert_eq(disk_last(&group->nodes[2].disk), disk_last(&group->nodes[1].disk));
        for (uint64_t index = 11; index <= disk_last(&group->nodes[1].disk); index++) {
            cr_assert_eq(disk_entry(&group->nodes[2].disk, index)->id.term,
                         disk_entry(&group->nodes[1].disk, index)->id.term);
        }
        group_free(group);
    }
}

/* Long diverging tails are passed over term by term, not entry by entry. */
Test(raft_replication, backs_up_by_terms_not_by_entries) {
    static uint64_t leader[300], follower[300];
    for (int at = 0; at < 300; at++) {
        leader[at] = at < 10 ? 1 : 5;
        follower[at] = at < 10 ? 1 : at < 150 ? 2 : 4;
    }
    struct group *group = group_new(3, NULL);
    group_set_log(&group->nodes[1], leader, 300);
    group_set_log(&group->nodes[2], follower, 300);
    group_set_log(&group->nodes[3], leader, 300);
    group_elect(group, 1);
    group_write(group, 1, "x");
    cr_assert_eq(disk_last(&group->nodes[2].disk), disk_last(&group->nodes[1].disk));
    cr_assert_leq(group->sent[RAFT_MSG_APPEND], 20);
    group_free(group);
}

/* A gap is refused with a hint; what is behind the commit index is acknowledged with it. */
Test(raft_replication, answers_gaps_and_old_appends) {
    struct group *group = group_new(3, NULL);
    struct raft_message gap = {.kind = RAFT_MSG_APPEND, .from = 2, .term = 2, .log = {2, 15}};
    cr_assert_eq(group_step(group, 1, gap), STATUS_OK);
    group_drain(group, 1);
    const struct raft_message *answer = group_find(group, RAFT_MSG_APPEND_RESPONSE, 1, 2);
    cr_assert(answer->reject && answer->reject_hint == 10 && answer->log.index == 15);
    gap.log = (struct raft_log_id){1, 3};
    cr_assert_eq(group_step(group, 1, gap), STATUS_OK);
    group_drain(group, 1);
    answer = group_find(group, RAFT_MSG_APPEND_RESPONSE, 1, 2);
    cr_assert(!answer->reject && answer->log.index == 10);
    group_free(group);
}

/* The window bounds what is on its way; acknowledgements move it. */
Test(raft_replication, keeps_its_window) {
    struct raft_config config = group_config();
    config.inflight_messages_max = 3;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    for (int at = 0; at < 6; at++) {
        cr_assert_eq(group_propose(group, 1, "a"), STATUS_OK);
    }
    group_drain(group, 1);
    cr_assert_eq(group_count(group, RAFT_MSG_APPEND, 2), 3);
    cr_assert(group_progress(group, 1, 2).paused && group_progress(group, 1, 2).inflight_full);
    group_settle(group);
    group_expect_state(group, "aaaaaa");
    group_free(group);
}

/* Who comes back far behind is fed little at a time: as much as the group's own work, or a floor.
 * What is not committed is never held back. */
Test(raft_replication, feeds_who_is_behind_beside_the_others) {
    struct raft_config config = group_config();
    config.inflight_messages_max = 100;
    config.append_bytes_max = 4;
    config.catch_up_bytes = 8;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 3);
    for (int at = 0; at < 30; at++)
        group_write(group, 1, "aaaa");
    group_heal(group);
    group_tick(group, 1, 1);
    size_t most = 0;
    do {
        for (uint64_t id = 1; id <= 3; id++)
            group_drain(group, id);
        size_t on_the_way = group_count(group, RAFT_MSG_APPEND, 3);
        if (on_the_way > most) most = on_the_way;
    } while (group_deliver(group, 0, 0));
    cr_assert_eq(group_progress(group, 1, 3).match, group_progress(group, 1, 1).match);
    cr_assert(most > 0 && most <= 3, "%zu: two with entries, and one that asks", most);
    for (int at = 0; at < 10; at++) /* more than the floor: nobody of a quorum waits for it */
        cr_assert_eq(group_propose(group, 1, "bbbb"), STATUS_OK);
    group_drain(group, 1);
    cr_assert_eq(group_count(group, RAFT_MSG_APPEND, 2), 10);
    group_settle(group);
    group_free(group);
}

/* A window of which everything was lost is opened again by a heartbeat's answer. */
Test(raft_replication, recovers_a_lost_window) {
    struct raft_config config = group_config();
    config.inflight_messages_max = 2;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 3);
    for (int at = 0; at < 5; at++) {
        group_write(group, 1, "b");
    }
    cr_assert_eq(group_progress(group, 1, 3).match, 11);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    group_expect_state(group, "bbbbb");
    group_free(group);
}

/* Bytes bound a message; a large entry still goes, alone. */
Test(raft_replication, bounds_messages_in_bytes) {
    struct raft_config config = group_config();
    config.append_bytes_max = 4;
    struct group *group = group_new(2, &config);
    group_elect(group, 1);
    group_isolate(group, 2);
    static const char *texts[] = {"aa", "bb", "cc", "ddddddddd", "e"};
    for (int at = 0; at < 5; at++) {
        cr_assert_eq(group_propose(group, 1, texts[at]), STATUS_OK);
    }
    group_settle(group);
    group_heal(group);
    size_t before = group->sent[RAFT_MSG_APPEND];
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_geq(group->sent[RAFT_MSG_APPEND] - before, 4, "aabb, cc, the large one, e");
    group_expect_state(group, "aabbccddddddddde");
    group_free(group);
}

/* Proposals beyond the bound on uncommitted bytes are refused until some commit; nothing is lost.
 */
Test(raft_replication, bounds_uncommitted_bytes) {
    struct raft_config config = group_config();
    config.uncommitted_bytes_max = 5;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 1);
    cr_assert_eq(group_propose(group, 1, "a-long-one-is-taken-when-nothing-waits"), STATUS_OK);
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_DROPPED);
    cr_assert_eq(group_propose(group, 1, ""), STATUS_OK, "empty ones weigh nothing");
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group_propose(group, 1, "x"), STATUS_OK);
    cr_assert_eq(group_propose(group, 1, "y"), STATUS_OK);
    group_free(group);
}

/* Everything proposed in a turn shares one message when that is asked for. */
Test(raft_replication, coalesces_appends_of_a_turn) {
    struct raft_config config = group_config();
    config.coalesce_appends = true;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    for (int at = 0; at < 5; at++) {
        cr_assert_eq(group_propose(group, 1, "c"), STATUS_OK);
    }
    cr_assert(raft_has_ready(group->nodes[1].raft));
    group_drain(group, 1);
    cr_assert_eq(group_count(group, RAFT_MSG_APPEND, 2), 1);
    cr_assert_eq(group_find(group, RAFT_MSG_APPEND, 1, 2)->entry_count, 5);
    group_settle(group);
    group_expect_state(group, "ccccc");
    group_free(group);
}

/* Proposals are refused where nobody leads, and forwarded only where that is wanted. */
Test(raft_replication, takes_proposals_only_where_it_should) {
    struct raft_config config = group_config();
    struct group *group = group_new(3, &config);
    cr_assert_eq(group_propose(group, 2, "a"), STATUS_DROPPED);
    group_elect(group, 1);
    cr_assert_eq(group_propose(group, 2, "a"), STATUS_DROPPED);
    group->nodes[2].config.forward_proposals = true;
    group_restart(group, 2);
    cr_assert_eq(group_propose(group, 2, "a"), STATUS_DROPPED, "no leader known");
    group_tick(group, 1, 1);
    group_settle(group);
    struct payload *payload = payload_copy(SLICE_LITERAL("f"));
    struct raft_log_id id = {9, 9};
    cr_assert_eq(raft_propose(group->nodes[2].raft, payload, &id), STATUS_OK);
    payload_unref(payload);
    cr_assert(id.term == 0 && id.index == 0);
    group_settle(group);
    group_expect_state(group, "f");
    group_free(group);
}

/* Reordered and repeated appends and answers do no harm. */
Test(raft_replication, bears_reordering_and_repetition) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    cr_assert_eq(group_propose(group, 1, "a"), STATUS_OK);
    cr_assert_eq(group_propose(group, 1, "b"), STATUS_OK);
    group_drain(group, 1);
    /* The second append first, then both again. */
    struct raft_message first = {0}, second = {0};
    for (size_t at = 0; at < group->message_count; at++) {
        if (group->messages[at].to != 2 || group->messages[at].kind != RAFT_MSG_APPEND) continue;
        if (first.kind) {
            second = group->messages[at];
        } else {
            first = group->messages[at];
        }
    }
    cr_assert_eq(raft_step(group->nodes[2].raft, &second), STATUS_OK);
    cr_assert_eq(raft_step(group->nodes[2].raft, &first), STATUS_OK);
    cr_assert_eq(raft_step(group->nodes[2].raft, &second), STATUS_OK);
    cr_assert_eq(raft_step(group->nodes[2].raft, &first), STATUS_OK);
    group_settle(group);
    group_expect_state(group, "ab");
    group_free(group);
}

/* A follower that is reported unreachable is probed again, and then replicated to. */
Test(raft_replication, probes_after_a_failed_send) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_write(group, 1, "a");
    cr_assert_eq(group_progress(group, 1, 2).state, RAFT_REPLICATE);
    raft_report_unreachable(group->nodes[1].raft, 2);
    cr_assert_eq(group_progress(group, 1, 2).state, RAFT_PROBE);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(group_progress(group, 1, 2).state, RAFT_REPLICATE);
    raft_report_unreachable(group->nodes[1].raft, 77);
    group_free(group);
}

/* The leader's own acknowledgement of an earlier term counts for nothing. */
Test(raft_replication, ignores_its_own_acknowledgement_of_an_earlier_term) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group->nodes[1].disk_held = true;
    group_isolate(group, 1);
    cr_assert_eq(group_propose(group, 1, "lost"), STATUS_OK);
    group_drain(group, 1);
    group_elect(group, 2);
    group_write(group, 2, "kept");
    group_heal(group);
    group_tick(group, 2, 1);
    group_settle(group);
    group_sync(group, 1);
    group_settle(group);
    group_sync(group, 1);
    group_settle(group);
    group_expect_state(group, "kept");
    group_free(group);
}

/* Entries on their way to the disk that were replaced there and back again: what a report of an
 * earlier term says is not believed (an ABA race). */
Test(raft_replication, does_not_believe_reports_of_an_earlier_term) {
    struct group *group = group_new(5, NULL);
    struct group_node *node = &group->nodes[2];
    node->disk_held = true;
    struct raft_entry old = {.id = {2, 11}}, new = {.id = {3, 11}};
    struct raft_message append = {.kind = RAFT_MSG_APPEND,
                                  .from = 1,
                                  .term = 2,
                                  .log = {1, 10},
                                  .entry_count = 1,
                                  .entries = &old};
    cr_assert_eq(group_step(group, 2, append), STATUS_OK);
    group_drain(group, 2);
    append.from = 3;
    append.term = 3;
    append.entries = &new;
    cr_assert_eq(group_step(group, 2, append), STATUS_OK);
    group_drain(group, 2);
    append.from = 1;
    append.term = 4;
    append.entries = &old;
    cr_assert_eq(group_step(group, 2, append), STATUS_OK);
    group_drain(group, 2);
    cr_assert_eq(node->work_count, 3);
    raft_append_done(node->raft, &node->works[0].append);
    cr_assert(raft_core_log_has_unstable(&node->raft->log), "works two and three still wait");
    group_sync(group, 2);
    cr_assert_not(raft_core_log_has_unstable(&node->raft->log));
    group_free(group);
}

/* What no correct peer sends is refused, and nothing changes. */
Test(raft_replication, refuses_malformed_messages) {
    struct group *group = group_new(3, NULL);
    struct raft_entry gap = {.id = {2, 13}}, future = {.id = {9, 11}}, kind = {.id = {2, 11}};
    kind.kind = (enum raft_entry_kind)7;
    const struct raft_message bad[] = {
        {.kind = (enum raft_message_kind)0, .from = 2, .term = 2},
        {.kind = (enum raft_message_kind)99, .from = 2, .term = 2},
        {.kind = RAFT_MSG_APPEND, .from = 2, .term = 0},
        {.kind = RAFT_MSG_APPEND, .from = 0, .term = 2},
        {.kind = RAFT_MSG_APPEND, .from = 1, .term = 2},
        {.kind = RAFT_MSG_APPEND, .from = 2, .term = UINT64_MAX},
        {.kind = RAFT_MSG_APPEND, .from = 2, .term = 2, .log = {1, 10}, .entry_count = 1},
        {.kind = RAFT_MSG_APPEND,
         .from = 2,
         .term = 2,
         .log = {1, 10},
         .entry_count = 1,
         .entries = &gap},
        {.kind = RAFT_MSG_APPEND,
         .from = 2,
         .term = 2,
         .log = {1, 10},
         .entry_count = 1,
         .entries = &future},
        {.kind = RAFT_MSG_APPEND,
         .from = 2,
         .term = 2,
         .log = {1, 10},
         .entry_count = 1,
         .entries = &kind},
        {.kind = RAFT_MSG_SNAPSHOT, .from = 2, .term = 2},
        {.kind = RAFT_MSG_PROPOSE, .from = 2},
        {.kind = RAFT_MSG_READ_INDEX, .from = 2},
        {.kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .committed = {1, 10}},
        {.kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2, .truncated = 1},
        {.kind = RAFT_MSG_APPEND, .from = 2, .term = 2, .log = {1, 10}, .truncated = 11},
    };
    for (size_t at = 0; at < sizeof(bad) / sizeof(bad[0]); at++) {
        cr_expect_eq(group_step(group, 1, bad[at]), STATUS_INVALID, "message %zu", at);
        cr_expect_eq(group_view(group, 1).term, 1);
    }
    struct raft_message stranger = {.kind = RAFT_MSG_HEARTBEAT_RESPONSE, .from = 6, .term = 1};
    cr_expect_eq(group_step(group, 1, stranger), STATUS_NOT_FOUND);
    struct raft_message misled = {.kind = RAFT_MSG_HEARTBEAT, .from = 2, .to = 3, .term = 2};
    cr_expect_eq(raft_step(group->nodes[1].raft, &misled), STATUS_INVALID);
    group_free(group);
}

/* Two leaders of one term cannot be: the second is not believed. */
Test(raft_replication, does_not_follow_a_second_leader_of_a_term) {
    struct group *group = group_new(3, NULL);
    struct raft_message heartbeat = {.kind = RAFT_MSG_HEARTBEAT, .from = 2, .term = 2};
    cr_assert_eq(group_step(group, 1, heartbeat), STATUS_OK);
    heartbeat.from = 3;
    cr_assert_eq(group_step(group, 1, heartbeat), STATUS_INVALID);
    cr_assert_eq(group_view(group, 1).leader, 2);
    group_free(group);
}

/* What followers still need, one that is away too, bounds how far it is kind to compact. */
Test(raft_replication, knows_what_followers_still_need) {
    struct raft_config config = group_config();
    config.check_quorum = true;
    struct group *group = group_new(3, &config);
    group_elect(group, 1);
    group_isolate(group, 3);
    group_write(group, 1, "a");
    group_write(group, 1, "b");
    for (int tick = 0; tick < 50; tick++) { /* long enough to count as away */
        group_tick(group, 1, 1);
        group_settle(group);
    }
    cr_assert_not(group_progress(group, 1, 3).recently_active);
    cr_assert_eq(raft_min_match(group->nodes[1].raft), 11);
    group_heal(group);
    group_tick(group, 1, 1);
    group_settle(group);
    cr_assert_eq(raft_min_match(group->nodes[1].raft), 13);
    cr_assert_eq(raft_min_match(group->nodes[2].raft), 13);
    group_free(group);
}

/* Followers learn with entries where their leader's log begins, and keep the highest they heard. */
Test(raft_replication, tells_followers_where_the_log_begins) {
    struct group *group = group_new(3, NULL);
    group_elect(group, 1);
    group_write(group, 1, "a");
    uint64_t before = raft_leader_truncated(group->nodes[2].raft);
    group_write(group, 1, "b");
    disk_compact(&group->nodes[1].disk, 12);
    cr_assert_eq(raft_leader_truncated(group->nodes[2].raft), before, "nothing was sent since");
    group_write(group, 1, "c");
    cr_assert_eq(raft_leader_truncated(group->nodes[2].raft), 12);
    cr_assert_eq(raft_leader_truncated(group->nodes[3].raft), 12);
    group_elect(group, 2);
    group_write(group, 2, "d");
    cr_assert_eq(raft_leader_truncated(group->nodes[3].raft), 12, "the new one kept more");
    group_expect_state(group, "abcd");
    group_free(group);
}
