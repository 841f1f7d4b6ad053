/* The invariants of the whole object, walked. Numbers as in raft/README.md. */
#include "base/assert.h"
#include "raft/internal.h"

static void check_role(const struct raft *raft) {
    switch (raft->role) {
    case RAFT_LEADER:
        ASSERT_CMP(raft->leader, ==, raft->config.id);
        ASSERT_CMP(raft->vote, ==, raft->config.id);
        break;
    case RAFT_CANDIDATE:
        ASSERT_CMP(raft->vote, ==, raft->config.id);
        ASSERT_CMP(raft->leader, ==, RAFT_NO_REPLICA);
        break;
    case RAFT_PRE_CANDIDATE:
        ASSERT_CMP(raft->leader, ==, RAFT_NO_REPLICA);
        break;
    case RAFT_FOLLOWER:
        ASSERT_CMP(raft->transfer_target, ==, RAFT_NO_REPLICA);
        break;
    }
    ASSERT_CMP(raft->election_timeout, >=, 1);
    /* What was handed out to be persisted never lies ahead of, nor comes back behind, the state. */
    ASSERT_CMP(raft->shown_hard_state.term, <=, raft->term);
    ASSERT_CMP(raft->shown_hard_state.commit, <=, raft->log.committed);
    if (raft->shown_hard_state.term == raft->term && raft->shown_hard_state.vote) {
        ASSERT_CMP(raft->shown_hard_state.vote, ==, raft->vote); /* one vote per term */
    }
    /* A group may be born with a log and without a term. */
    if (raft->term > 0) ASSERT_CMP(raft->log.last.term, <=, raft->term);
}

static void check_progress(const struct raft *raft, const struct raft_progress *progress) {
    ASSERT_CMP(progress->match, <, progress->next);
    const struct raft_inflights *inflights = &progress->inflights;
    ASSERT_CMP(inflights->count, <=, inflights->cap);
    if (inflights->messages_max) ASSERT_CMP(inflights->count, <=, inflights->messages_max);
    if (progress->state != RAFT_PROGRESS_REPLICATE) ASSERT_CMP(inflights->count, ==, 0);
    if (progress->state != RAFT_PROGRESS_SNAPSHOT) ASSERT_CMP(progress->pending_snapshot, ==, 0);
    if (raft->role != RAFT_LEADER) return;
    ASSERT_CMP(progress->match, <=, raft->log.last.index);
    if (progress->state == RAFT_PROGRESS_REPLICATE) {
        ASSERT_CMP(progress->next, <=, raft->log.last.index + 1);
    }
    ASSERT_CMP(progress->promised_until_us, <=, raft->now_us + raft_promise_us(raft));
}

static void check_configuration(const struct raft *raft) {
    ASSERT(raft_conf_state_valid(&raft->conf));
    struct raft_id_set members;
    raft_conf_state_members(&raft->conf, &members);
    ASSERT_CMP(members.count, ==, raft->progress.count);
    for (uint32_t at = 0; at < members.count; at++) {
        const struct raft_progress *progress = &raft->progress.items[at];
        ASSERT_CMP(progress->id, ==, members.ids[at]);
        ASSERT(progress->learner == raft_id_set_has(&raft->conf.learners, progress->id));
        check_progress(raft, progress);
    }
    if (raft->transfer_target) ASSERT(raft_conf_state_is_voter(&raft->conf, raft->transfer_target));
}

static void check_works(const struct raft *raft) {
    uint64_t number = 0;
    for (const struct raft_append_work *work = raft->appending; work; work = work->next) {
        ASSERT_CMP(work->number, >, number);
        number = work->number;
    }
    ASSERT_CMP(number, <=, raft->append_works);
    uint64_t index = 0;
    for (const struct raft_apply_work *work = raft->applying; work; work = work->next) {
        ASSERT_CMP(work->entries.items[0].id.index, >, index);
        index = work->entries.items[work->entries.count - 1].id.index;
    }
    ASSERT_CMP(index, <=, raft->log.applying);
    const struct raft_reads *reads = &raft->reads;
    ASSERT_CMP(reads->head, <=, reads->count);
    if (raft->role != RAFT_LEADER) {
        ASSERT_CMP(reads->count, ==, 0);
        ASSERT_CMP(raft->early_reads.count, ==, 0);
    }
}

/* Q1 to Q3 of quiesce.c, as far as one replica can see them. */
static void check_quiet(const struct raft *raft) {
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        const struct raft_progress *progress = &raft->progress.items[at];
        if (progress->left_behind) ASSERT(raft->quiet && raft->role == RAFT_LEADER);
    }
    if (raft->leader_unheard) ASSERT(raft->role == RAFT_FOLLOWER && !raft->quiet);
    if (!raft->quiet) return;
    ASSERT(raft->role == RAFT_LEADER || raft->role == RAFT_FOLLOWER);
    ASSERT_CMP(raft->leader, !=, RAFT_NO_REPLICA);
    ASSERT_CMP(raft->log.committed, ==, raft->log.last.index);
    ASSERT(!raft_core_log_has_unstable(&raft->log));
    if (raft->role != RAFT_LEADER) return;
    ASSERT_CMP(raft->log.applied, ==, raft->log.last.index);
    ASSERT_CMP(raft->transfer_target, ==, RAFT_NO_REPLICA);
    ASSERT_CMP(raft->reads.head, ==, raft->reads.count);
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        const struct raft_progress *progress = &raft->progress.items[at];
        if (!progress->left_behind) ASSERT_CMP(progress->match, ==, raft->log.last.index);
    }
}

void raft_check(const struct raft *raft) {
    raft_core_log_check(&raft->log);
    check_role(raft);
    check_configuration(raft);
    check_works(raft);
    check_quiet(raft);
}
