/* Leases (thesis 6.4.1), by the clock and not by ticks: a process that was stopped misses ticks.
 *
 * A follower that hears from its leader promises, by its own clock, neither to vote nor to stand
 * for election for one election time-out. It echoes the stamp of the leader's message. The leader
 * counts from that stamp, taken before the promise began, for the same time less the clock drift
 * and a tick. So the lease ends before the first promise of its quorum does, wherever either
 * process was paused in between. raft/README.md has the whole argument. */
#include "raft/internal.h"

#define PPM 1000000u

static uint64_t election_us(const struct raft *raft) {
    return (uint64_t)raft->config.election_ticks * raft->config.tick_us;
}

static bool leases_on(const struct raft *raft) {
    return raft->config.read_mode == RAFT_READ_LEASE && raft->config.check_quorum;
}

void raft_guard_leader(struct raft *raft) {
    if (leases_on(raft) && raft->now_us > 0) {
        raft->guard_until_us = raft->now_us + election_us(raft);
    }
}

bool raft_guards_by_clock(const struct raft *raft) {
    if (!leases_on(raft)) return false;
    if (raft->grace_ticks_left > 0) return true;
    return raft->now_us < raft->guard_until_us;
}

bool raft_guards_leader(const struct raft *raft) {
    bool heard = raft->config.check_quorum && raft->leader != RAFT_NO_REPLICA &&
                 raft->election_elapsed < raft->config.election_ticks;
    return heard || raft_guards_by_clock(raft);
}

static uint64_t stamp_acked(const void *ctx, uint64_t id) {
    const struct raft *raft = ctx;
    if (id == raft->config.id) return raft->now_us;
    const struct raft_progress *progress = raft_progress_of(raft, id);
    return progress ? progress->lease_sent_us : 0;
}

bool raft_lease_valid(const struct raft *raft) {
    if (raft->role != RAFT_LEADER || !leases_on(raft) || raft->now_us == 0) return false;
    /* A TimeoutNow may still be on its way, and it overrides every promise (3.10). */
    if (raft->transfer_begun) return false;
    uint64_t start =
        raft_quorum_acked(&raft->conf.voters, &raft->conf.voters_outgoing, stamp_acked, raft);
    if (start == 0 || start == RAFT_QUORUM_EVERYTHING) return false;
    uint64_t length = election_us(raft);
    uint64_t margin = length * raft->config.lease_drift_ppm / PPM + raft->config.tick_us;
    return margin < length && raft->now_us < start + (length - margin);
}

bool raft_lease_read(const struct raft *raft, uint64_t *ret_index) {
    if (!raft_lease_valid(raft) || !raft_committed_in_term(raft)) return false;
    *ret_index = raft->log.committed;
    return true;
}
