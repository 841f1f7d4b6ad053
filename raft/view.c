/* Looking at the core without touching it. */
#include "raft/internal.h"

static struct raft_progress_view view_progress(const struct raft_progress *progress) {
    struct raft_progress_view view = {
        .id = progress->id,
        .match = progress->match,
        .next = progress->next,
        .learner = progress->learner,
        .recently_active = progress->recently_active,
        .paused = raft_progress_paused(progress),
        .pending_snapshot = progress->pending_snapshot,
        .log_lost = progress->log_lost,
        .inflight = progress->inflights.count,
        .inflight_full = raft_inflights_full(&progress->inflights),
    };
    switch (progress->state) {
    case RAFT_PROGRESS_PROBE:
        view.state = RAFT_PROBE;
        break;
    case RAFT_PROGRESS_REPLICATE:
        view.state = RAFT_REPLICATE;
        break;
    case RAFT_PROGRESS_SNAPSHOT:
        view.state = RAFT_SNAPSHOT;
        break;
    }
    return view;
}

void raft_view(const struct raft *raft, struct raft_view *ret_view) {
    *ret_view = (struct raft_view){
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
        .quiet = raft->quiet,
        .conf = raft->conf,
    };
    if (raft->role != RAFT_LEADER) return;
    ret_view->progress_count = raft->progress.count;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        ret_view->progress[at] = view_progress(&raft->progress.items[at]);
    }
}

uint64_t raft_leader(const struct raft *raft) {
    return raft->leader;
}

uint64_t raft_term(const struct raft *raft) {
    return raft->term;
}

enum raft_role raft_role(const struct raft *raft) {
    return raft->role;
}

uint64_t raft_leader_truncated(const struct raft *raft) {
    return raft->leader_truncated;
}

uint64_t raft_commit_index(const struct raft *raft) {
    return raft->log.committed;
}
