/* Log compaction: a local decision of every replica, taken while it applies.
 *
 * Never above what is applied. A leader whose followers all have everything keeps only a short
 * tail. Otherwise up to log_entries_kept entries or log_bytes_kept bytes stay for those who are
 * behind; then the log is cut anyway, and who needs what is gone gets a snapshot. Followers, one
 * of which may have to lead next, keep what their leader keeps: its appends say where its log
 * begins. So entries of a range whose replicas keep up leave every node soon, most of them before a
 * memtable is written out. While a snapshot is on its way, and until its receiver has caught up,
 * what follows it is worth more: without that part the receiver would need another one at once, and
 * never catch up where writing goes on. RANGE_LOG_SNAPSHOT_* bound it. */
#include "range/compact.h"

#include "base/assert.h"
#include "range/metrics.h"
#include "range/snapshot_send.h"
#include "range/worker.h"

static uint64_t compact_step(const struct range_replica *replica) {
    const struct range_store_config *config = &replica->worker->store->config;
    return config->log_compact_step ? config->log_compact_step : RANGE_COMPACT_STEP;
}

uint64_t range_compact_tail(const struct range_replica *replica) {
    uint64_t kept = replica->worker->store->config.log_entries_kept;
    return kept < RANGE_LOG_TAIL ? kept : RANGE_LOG_TAIL;
}

static uint64_t at_least(uint64_t value, uint64_t least) {
    return value > least ? value : least;
}

/* Applied entries that stay when the limits cut, whoever needs more. */
static uint64_t entries_within_limits(const struct range_replica *replica, uint64_t held,
                                      bool protects) {
    const struct range_store_config *config = &replica->worker->store->config;
    uint64_t entries = config->log_entries_kept, bytes = config->log_bytes_kept;
    uint64_t entry_bytes = replica->log_bytes / held + 1;
    if (protects) {
        entries = at_least(entries, config->log_snapshot_entries ? config->log_snapshot_entries
                                                                 : RANGE_LOG_SNAPSHOT_ENTRIES_MAX);
        bytes = at_least(bytes, RANGE_LOG_SNAPSHOT_BYTES_MAX);
    }
    return bytes / entry_bytes < entries ? bytes / entry_bytes : entries;
}

static uint64_t index_above(const struct range_replica *replica, uint64_t kept) {
    uint64_t applied = replica->apply.state.applied.index;
    return applied > kept ? applied - kept : 0;
}

/* A follower keeps what its leader keeps; the limits are the leader's business, but for the last.
 */
static uint64_t target_of_follower(const struct range_replica *replica, uint64_t held) {
    uint64_t applied = replica->apply.state.applied.index;
    uint64_t dropped = raft_leader_truncated(replica->raft);
    if (dropped > applied) dropped = applied;
    return at_least(dropped, index_above(replica, entries_within_limits(replica, held, true)));
}

/* The index up to which the log may go. Those who are behind are served as far as the limits allow;
 * who gets a snapshot, or what follows one, within limits of its own, from where it stands. */
static uint64_t compaction_target(struct range_replica *replica, uint64_t held) {
    if (!replica->leads) return target_of_follower(replica, held);
    uint64_t free = raft_min_match(replica->raft);
    uint64_t snapshot_index = range_snapshot_lowest_index(replica);
    uint64_t tail = index_above(replica, range_compact_tail(replica));
    if (snapshot_index < free) free = snapshot_index;
    if (tail < free) free = tail;
    uint64_t forced = index_above(replica, entries_within_limits(replica, held, false));
    if (snapshot_index < forced) {
        uint64_t last = index_above(replica, entries_within_limits(replica, held, true));
        if (last > snapshot_index) range_snapshot_outrun(replica, last);
        forced = at_least(snapshot_index, last);
    }
    return free > forced ? free : forced;
}

void range_compact(struct range_replica *replica, struct storage_batch *batch) {
    struct range_apply_state *state = &replica->apply.state;
    uint64_t held = state->applied.index - state->truncated.index;
    if (held < compact_step(replica) + range_compact_tail(replica)) return;
    if (replica->life == RANGE_INSTALLING)
        return; /* the log restarts behind the snapshot in a moment */
    uint64_t target = compaction_target(replica, held);
    if (target < state->truncated.index + compact_step(replica)) return;
    ASSERT_CMP(target, <=, state->applied.index);
    if (target > state->truncated.index + RANGE_COMPACT_TURN_MAX)
        target = state->truncated.index + RANGE_COMPACT_TURN_MAX;
    /* The term of the last entry to go has to be known afterwards, and is not once it is gone. */
    struct raft_storage storage = range_replica_storage(replica);
    uint64_t term = 0;
    enum status status = storage.term(storage.ctx, target, &term);
    if (status != STATUS_OK)
        range_worker_fatal(replica->worker, "log read", range_replica_id(replica), status);
    uint64_t reached = raft_log_compact(&replica->log, batch, target, RANGE_COMPACT_TURN_MAX);
    ASSERT_CMP(reached, ==, target);
    uint64_t gone = target - state->truncated.index;
    uint64_t gone_bytes = replica->log_bytes / held * gone;
    replica->log_bytes -= gone_bytes;
    state->truncated = (struct raft_log_id){.term = term, .index = target};
    metric_add(&metric_range_log_entries_compacted_total, (int64_t)gone);
}
