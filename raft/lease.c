/* Leases (thesis 6.4.1): while a quorum is known to refuse votes, no other leader can exist, and a
 * read needs no message. Why this is safe, pauses of processes included, is in raft/README.md. */
#include "raft/internal.h"

static uint64_t election_us(const struct raft *raft) {
    return raft->config.election_ticks * raft->config.tick_us;
}

/* This replica was just heard from a leader: for one election time-out it helps to elect no other.
 * Kept by the clock, because ticks come in bursts after a pause; over changes of term and role,
 * because a promise is a promise. */
void raft_guard_leader(struct raft *raft) {
    if (!raft->config.check_quorum || raft->now_us == 0) return;
    raft->guard_until_us = raft->now_us + election_us(raft);
}

bool raft_guards_by_clock(const struct raft *raft) {
    /* Restarted, and nobody has said what time it is: as good as just heard from. */
    if (raft->grace_wanted) return raft->election_elapsed < raft->config.election_ticks;
    return raft->now_us < raft->guard_until_us;
}

bool raft_guards_leader(const struct raft *raft) {
    bool by_ticks = raft->config.check_quorum && raft->leader != RAFT_NO_REPLICA &&
                    raft->election_elapsed < raft->config.election_ticks;
    return by_ticks || raft_guards_by_clock(raft);
}

static uint64_t contact_of(const void *ctx, uint64_t id) {
    const struct raft *raft = ctx;
    if (id == raft->config.id) return raft->now_us;
    const struct raft_progress *progress = raft_progress_of(raft, id);
    return progress ? progress->lease_sent_us : 0;
}

/* How long a quorum's promise lasts on this clock, which may be the faster one; one tick less,
 * because a follower that counts ticks may count the first one early. */
static uint64_t lease_us(const struct raft *raft) {
    uint64_t promised_us = election_us(raft);
    uint64_t drift_us = promised_us * raft->config.lease_drift_ppm / 1000000 + 1;
    uint64_t margin_us = drift_us + raft->config.tick_us;
    return promised_us > margin_us ? promised_us - margin_us : 0;
}

bool raft_lease_valid(const struct raft *raft) {
    if (raft->role != RAFT_LEADER || !raft->config.check_quorum || raft->now_us == 0) return false;
    /* The target of a transfer does not ask for consent: TimeoutNow may still be under way. */
    if (raft->transfer_begun) return false;
    if (!raft_conf_state_is_voter(&raft->conf, raft->config.id)) return false;
    uint64_t since_us =
        raft_quorum_acked(&raft->conf.voters, &raft->conf.voters_outgoing, contact_of, raft);
    return since_us > 0 && raft->now_us < since_us + lease_us(raft);
}

/* The lease of a quiet leader ends by itself: nobody renews it, and reading does not either. While
 * it is awake, reading keeps it so, and the lease with it. */
bool raft_lease_read(struct raft *raft, uint64_t *ret_index) {
    if (!raft_lease_valid(raft) || !raft_committed_in_term(raft)) return false;
    if (!raft->quiet) raft_stir(raft);
    *ret_index = raft->log.committed;
    return true;
}
