/* Leadership transfer (thesis 3.10). */
#include "base/assert.h"
#include "raft/internal.h"

void raft_abort_transfer(struct raft *raft) {
    raft->transfer_target = RAFT_NO_REPLICA;
}

void raft_continue_transfer(struct raft *raft, const struct raft_progress *progress) {
    if (progress->id != raft->transfer_target) return;
    if (progress->match != raft->log.last.index) return;
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .to = progress->id});
}

void raft_begin_transfer(struct raft *raft, struct raft_progress *progress) {
    ASSERT(raft->role == RAFT_LEADER);
    if (progress->learner || progress->id == raft->transfer_target) return;
    raft_abort_transfer(raft);
    if (progress->id == raft->config.id) return;
    raft->transfer_target = progress->id;
    raft->transfer_begun = true;
    raft->election_elapsed = 0; /* the target has one election time-out to take over */
    if (progress->match == raft->log.last.index) {
        raft_continue_transfer(raft, progress);
    } else {
        raft_send_append(raft, progress);
    }
}

enum status raft_transfer_leader(struct raft *raft, uint64_t to) {
    if (!raft_conf_state_is_voter(&raft->conf, to)) return STATUS_INVALID;
    /* The message comes as from the target, so that a follower can pass it on unchanged. */
    struct raft_message message = {
        .kind = RAFT_MSG_TRANSFER_LEADER, .from = to, .to = raft->config.id};
    bool knows_leader = raft->leader != RAFT_NO_REPLICA;
    if (!knows_leader) return STATUS_DROPPED;
    return raft_step(raft, &message);
}
