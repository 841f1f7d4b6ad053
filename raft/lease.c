/* Leases (thesis 6.4.1): while a quorum is known to refuse votes, no other leader can exist, and a
 * read needs no message. Why this is safe, pauses of processes included, is in raft/README.md. */
#include "raft/internal.h"

uint64_t raft_promise_us(const struct raft *raft) {
    if (!raft->config.check_quorum || raft->now_us == 0) return 0;
    return raft->config.election_ticks * raft->config.tick_us;
}

void raft_keep_still(struct raft *raft, uint64_t us) {
    uint64_t until_us = raft->now_us + us;
    if (until_us > raft->guard_until_us) raft->guard_until_us = until_us;
}

/* This replica was just heard from a leader: for one election time-out it helps to elect no other.
 * Kept by the clock, because ticks come in bursts after a pause; over changes of term and role,
 * because a promise is a promise. */
void raft_guard_leader(struct raft *raft) {
    raft_keep_still(raft, raft_promise_us(raft));
}

bool raft_guards_by_clock(const struct raft *raft) {
    /* Restarted, and nobody has said what time it is: ticks are all there is. */
    if (raft->grace_wanted)
        return raft->grace_ticks * raft->config.tick_us < raft->config.restart_grace_us;
    return raft->now_us < raft->guard_until_us;
}

bool raft_guards_leader(const struct raft *raft) {
    bool by_ticks = raft->config.check_quorum && raft->leader != RAFT_NO_REPLICA &&
                    raft->election_elapsed < raft->config.election_ticks;
    return by_ticks || raft_guards_by_clock(raft);
}

static uint64_t promised_until(const void *ctx, uint64_t id) {
    const struct raft *raft = ctx;
    if (id == raft->config.id) return UINT64_MAX; /* it leads, and knows when it does not */
    const struct raft_progress *progress = raft_progress_of(raft, id);
    return progress ? progress->promised_until_us : 0;
}

/* Who promises says for how long: election time-outs are settings of each node, and change when it
 * starts anew. What a peer says cannot stretch a lease beyond the own one. This clock may be the
 * faster one; and one tick less, because a follower that counts ticks may count the first early. */
uint64_t raft_promise_ends_us(const struct raft *raft, uint64_t sent_us, uint64_t promised_us) {
    uint64_t own_us = raft_promise_us(raft);
    uint64_t counted_us = promised_us < own_us ? promised_us : own_us;
    uint64_t drift_us = counted_us * raft->config.lease_drift_ppm / 1000000 + 1;
    uint64_t margin_us = drift_us + raft->config.tick_us;
    return counted_us > margin_us ? sent_us + counted_us - margin_us : 0;
}

bool raft_lease_valid(const struct raft *raft) {
    if (raft->role != RAFT_LEADER || !raft->config.check_quorum || raft->now_us == 0) return false;
    /* The target of a transfer does not ask for consent: TimeoutNow may still be under way. */
    if (raft->transfer_begun) return false;
    if (!raft_conf_state_is_voter(&raft->conf, raft->config.id)) return false;
    return raft->now_us <
           raft_quorum_acked(&raft->conf.voters, &raft->conf.voters_outgoing, promised_until, raft);
}

/* The lease of a quiet leader ends by itself: nobody renews it, and reading does not either. While
 * it is awake, reading keeps it so, and the lease with it. */
bool raft_lease_read(struct raft *raft, uint64_t *ret_index) {
    if (!raft_lease_valid(raft) || !raft_committed_in_term(raft)) return false;
    if (!raft->quiet) raft_unquiesce(raft);
    *ret_index = raft->log.committed;
    return true;
}
