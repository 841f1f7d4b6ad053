/* What an owner may see of a core, and the walk that checks it. */
#include "base/assert.h"
#include "raft/internal.h"

uint64_t raft_leader(const struct raft *raft) {
    return raft->leader;
}

uint64_t raft_term(const struct raft *raft) {
    return raft->term;
}

enum raft_role raft_role(const struct raft *raft) {
    return raft->role;
}

uint64_t raft_commit_index(const struct raft *raft) {
    return raft->log.committed;
}

static struct raft_progress_view view_of(const struct raft_progress *progress) {
    struct raft_progress_view view = {
        .id = progress->id,
        .match = progress->match,
        .next = progress->next,
        .learner = progress->learner,
        .recently_active = progress->recently_active,
        .paused = raft_progress_paused(progress),
        .pending_snapshot = progress->pending_snapshot,
        .inflight = progress->inflights.count,
    };
    view.state = progress->state == RAFT_PROGRESS_PROBE       ? RAFT_PROBE
                 : progress->state == RAFT_PROGRESS_REPLICATE ? RAFT_REPLICATE
                                                              : RAFT_SNAPSHOT;
    return view;
}

void raft_view(const struct raft *raft, struct raft_view *ret_view) {
    struct raft_view view = {
        .id = raft->config.id,
        .leader = raft->leader,
        .term = raft->term,
        .vote = raft->vote,
        .commit = raft->log.committed,
        .applied = raft->log.applied,
        .first_index = raft_core_log_first_index(&raft->log),
        .last_index = raft->log.last.index,
        .transfer_target = raft->transfer_target,
        .role = raft->role,
        .lease_valid = raft_lease_valid(raft),
        .conf = raft->conf,
    };
    if (raft->role == RAFT_LEADER) {
        for (uint32_t at = 0; at < raft->progress.count; at++) {
            view.progress[view.progress_count++] = view_of(&raft->progress.items[at]);
        }
    }
    *ret_view = view;
}

uint64_t raft_min_match(const struct raft *raft) {
    uint64_t lowest = raft->log.applied;
    if (raft->role != RAFT_LEADER) return lowest;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        const struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id == raft->config.id) continue;
        uint64_t needed = progress->pending_snapshot ? progress->pending_snapshot : progress->match;
        if (needed < lowest) lowest = needed;
    }
    return lowest;
}

void raft_check(const struct raft *raft) {
    raft_core_log_check(&raft->log);
    ASSERT(raft_conf_state_valid(&raft->conf));
    ASSERT_CMP(raft->shown_hard_state.term, <=, raft->term);
    if (raft->role == RAFT_LEADER) {
        ASSERT_CMP(raft->leader, ==, raft->config.id);
        ASSERT_CMP(raft->log.last.term, <=, raft->term);
    } else {
        ASSERT(raft->leader != raft->config.id);
        ASSERT_CMP(raft->transfer_target, ==, RAFT_NO_REPLICA);
    }
    if (raft->role == RAFT_CANDIDATE) ASSERT_CMP(raft->vote, ==, raft->config.id);
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        const struct raft_progress *progress = &raft->progress.items[at];
        ASSERT_CMP(progress->match, <, progress->next);
        if (raft->role == RAFT_LEADER) ASSERT_CMP(progress->match, <=, raft->log.last.index);
        if (at > 0) ASSERT_CMP(progress->id, >, raft->progress.items[at - 1].id);
    }
}
