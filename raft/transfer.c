/* Handing leadership to a follower (thesis 3.10): stop taking proposals, catch the target up, tell
 * it to stand for election at once. An election time-out later the leader carries on. */
#include "raft/internal.h"

static void send_timeout_now(struct raft *raft, uint64_t to) {
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_TIMEOUT_NOW, .to = to});
}

void raft_abort_transfer(struct raft *raft) {
    raft->transfer_target = RAFT_NO_REPLICA;
}

void raft_begin_transfer(struct raft *raft, struct raft_progress *progress) {
    if (!raft_conf_state_is_voter(&raft->conf, progress->id) || progress->log_lost) return;
    raft_unquiesce(raft);
    if (raft->transfer_target == progress->id) return; /* under way */
    raft_abort_transfer(raft);                         /* the latest wish counts */
    if (progress->id == raft->config.id) return;
    raft->election_elapsed = 0; /* the time-out starts now */
    raft->transfer_target = progress->id;
    raft->transfer_begun = true;
    if (progress->match == raft->log.last.index) {
        send_timeout_now(raft, progress->id);
    } else {
        raft_send_append(raft, progress);
    }
}

void raft_continue_transfer(struct raft *raft, const struct raft_progress *progress) {
    if (progress->id != raft->transfer_target) return;
    if (progress->match == raft->log.last.index) send_timeout_now(raft, progress->id);
}

void raft_decline_leadership(struct raft *raft) {
    raft->declines = true;
    if (raft->role == RAFT_CANDIDATE || raft->role == RAFT_PRE_CANDIDATE)
        raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
}

enum status raft_transfer_leader(struct raft *raft, uint64_t to) {
    if (raft->role == RAFT_LEADER) {
        struct raft_progress *progress = raft_progress_of(raft, to);
        if (!progress || !raft_conf_state_is_voter(&raft->conf, to)) return STATUS_INVALID;
        raft_begin_transfer(raft, progress);
        return STATUS_OK;
    }
    if (raft->role != RAFT_FOLLOWER || raft->leader == RAFT_NO_REPLICA) return STATUS_DROPPED;
    raft_unquiesce(raft);
    raft_send(raft, (struct raft_message){
                        .kind = RAFT_MSG_TRANSFER_LEADER, .from = to, .to = raft->leader});
    return STATUS_OK;
}
