/* The ready work of the Raft cores, of all touched ranges together.
 *
 * What a work holds goes three ways. Messages that promise nothing (a leader's appends and
 * heartbeats) leave at once, so that followers write while this node writes (thesis 10.2.1).
 * Entries and hard states go into the one log batch of the turn. Messages that promise something
 * (votes, append responses) wait in `works` until that batch is durable. Committed entries wait for
 * the apply round (apply.c).
 *
 * Order within one range. Its works become durable in the order they were taken: they are in one
 * batch, or in consecutive ones. A promise of a range with nothing unsynced leaves at once; as soon
 * as something of the range is unsynced, all its later promises wait behind it (`unsynced`).
 *
 * The hard state is written when term or vote change, and with entries behind a change of the
 * configuration that is committed; otherwise the commit index is not worth a write of its own: the
 * apply state says how far the log was applied, which is committed, and a replica that restarts
 * with an older commit index learns the newer one from the next append.
 *
 * A snapshot is not written with the batch: it is installed by range_ready_synced, after everything
 * that this range had in the batch is durable, in an engine operation of its own that holds the
 * log's restart, the hard state and the entries of the same work. Until then no other work of the
 * range is taken. */
#include "range/ready.h"

#include "base/assert.h"
#include "base/memory.h"
#include "raft/message_codec.h"
#include "range/metrics.h"
#include "range/worker.h"

static void put_hard_state(struct range_replica *replica, struct storage_batch *batch,
                           const struct raft_hard_state *hard_state) {
    struct buf *bytes = &replica->worker->scratch;
    buf_clear(bytes);
    raft_encode_hard_state(bytes, hard_state);
    raft_log_put_state(&replica->log, batch, RAFT_LOG_HARD_STATE, slice_from_buf(bytes));
    replica->written = *hard_state;
}

static void put_entries(struct range_replica *replica, struct storage_batch *batch,
                        const struct raft_ready *ready) {
    struct buf *bytes = &replica->worker->scratch;
    for (uint32_t i = 0; i < ready->entry_count; i++) {
        const struct raft_entry *entry = &ready->entries[i];
        /* Entries up to the applied index are the same on every replica for ever. */
        ASSERT_CMP(entry->id.index, >, replica->applied.applied.index);
        buf_clear(bytes);
        raft_encode_entry(bytes, entry);
        raft_log_append(&replica->log, batch, entry->id.index, slice_from_buf(bytes));
        replica->log_bytes += bytes->len;
        if (entry->kind != RAFT_ENTRY_NORMAL) replica->conf_entry = entry->id.index;
    }
}

/* An entry that comes behind a committed change of the configuration must not be durable without
 * the knowledge of that commit: after a power cut that takes the unsynced effects of both, a
 * majority of the old configuration would elect and commit by itself, beside the new one (seed
 * 8004411 of the cluster simulator). */
static bool conf_commit_unwritten(const struct range_replica *replica,
                                  const struct raft_hard_state *hard_state) {
    return replica->conf_entry > replica->written.commit &&
           hard_state->commit > replica->written.commit;
}

static void put_work(struct range_replica *replica, struct storage_batch *batch,
                     const struct raft_ready *ready) {
    const struct raft_hard_state *hard_state = &ready->hard_state;
    put_entries(replica, batch, ready); /* first: they may hold the change themselves */
    bool promised =
        hard_state->term != replica->written.term || hard_state->vote != replica->written.vote;
    if (promised || (ready->entry_count > 0 && conf_commit_unwritten(replica, hard_state))) {
        ASSERT_CMP(hard_state->term, >=, replica->written.term);
        put_hard_state(replica, batch, hard_state);
    }
}

static void send_messages(struct range_replica *replica, const struct raft_message *messages,
                          uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        range_outbox_add(replica, &messages[i]);
}

/* Everything the work promises is durable now. */
static void release(const struct range_work *work) {
    struct range_replica *replica = work->replica;
    if (!replica) return; /* removed since */
    range_replica_touch(replica);
    if (work->install) range_snapshot_install(replica);
    raft_append_done(replica->raft, &work->append);
    for (uint32_t i = 0; i < work->message_count; i++) {
        const struct raft_message *message = &work->messages[i];
        if (message->to != replica->replica_id) {
            range_outbox_add(replica, message);
        } else if (raft_step(replica->raft, message) != STATUS_OK) {
            /* Its own promise came too late: the term has moved on. */
            metric_add(&metric_range_raft_messages_dropped_total, 1);
        }
    }
    range_replica_follow_role(replica);
}

static void wait_for_sync(struct range_worker *worker, const struct range_work *work) {
    if (worker->ready.work_count == worker->ready.work_cap) {
        worker->ready.work_cap = worker->ready.work_cap ? worker->ready.work_cap * 2 : 64;
        worker->ready.works = memory_realloc(worker->ready.works,
                                             worker->ready.work_cap * sizeof(*worker->ready.works));
    }
    worker->ready.works[worker->ready.work_count++] = *work;
    work->replica->unsynced = true;
    worker->log_needs_sync = true;
}

static void take_work(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    struct raft_ready ready;
    raft_ready(replica->raft, &ready);
    send_messages(replica, ready.messages, ready.message_count);
    for (uint32_t i = 0; i < ready.read_state_count; i++)
        range_read_indexed(replica, &ready.read_states[i]);
    struct range_work work = {.replica = replica,
                              .append = ready.append,
                              .messages = ready.messages_after_append,
                              .message_count = ready.message_after_append_count,
                              .install = ready.snapshot != NULL};
    struct storage_batch *batch =
        work.install ? range_snapshot_stage(replica, ready.snapshot) : worker->log_batch;
    if (work.install) range_life_enter(replica, RANGE_INSTALLING);
    put_work(replica, batch, &ready);
    if (ready.committed_count > 0) range_apply_add(replica, ready.committed, ready.committed_count);
    if (replica->unsynced || ready.must_sync || work.install)
        wait_for_sync(worker, &work);
    else
        release(&work);
    range_replica_follow_role(replica);
}

static void prefetch_touched(const struct range_worker *worker, const struct list_node *next) {
    if (next == &worker->ready.touched) return;
    range_prefetch_lists(CONTAINER_OF(next, struct range_replica, in_touched));
    const struct list_node *second = next->next;
    if (second == &worker->ready.touched) return;
    const struct range_replica *replica = CONTAINER_OF(second, struct range_replica, in_touched);
    range_prefetch_replica(replica);
    range_prefetch_core(replica);
}

/* Takes what is ready, until every touched range is quiet or has had its share of the turn. */
void range_ready_take(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->ready.touched) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_touched);
        if (!replica->raft) {
            list_remove(node);
            continue;
        }
        prefetch_touched(worker, node_next);
        for (uint32_t i = 0; i < RANGE_READY_ROUNDS_MAX; i++) {
            if (replica->life == RANGE_INSTALLING || !raft_has_ready(replica->raft)) break;
            take_work(replica);
        }
        range_replica_follow_quiet(replica);
        range_status_stale(replica);
        if (replica->life == RANGE_ACTIVE && !raft_has_ready(replica->raft)) list_remove(node);
    }
}

void range_ready_forget(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    for (uint32_t i = 0; i < worker->ready.work_count; i++)
        if (worker->ready.works[i].replica == replica) worker->ready.works[i].replica = NULL;
}

static void prefetch_works(const struct range_worker *worker, uint32_t at) {
    const struct range_work *works = worker->ready.works;
    if (at + 4 < worker->ready.work_count && works[at + 4].replica) {
        range_prefetch_replica(works[at + 4].replica);
        range_prefetch_core(works[at + 4].replica);
    }
    if (at + 2 < worker->ready.work_count && works[at + 2].replica)
        range_prefetch_lists(works[at + 2].replica);
}

void range_ready_synced(struct range_worker *worker) {
    for (uint32_t i = 0; i < worker->ready.work_count; i++)
        if (worker->ready.works[i].replica) worker->ready.works[i].replica->unsynced = false;
    /* Releasing takes no new ready work, so nothing is added to the array meanwhile. */
    uint32_t count = worker->ready.work_count;
    for (uint32_t i = 0; i < count; i++) {
        prefetch_works(worker, i);
        release(&worker->ready.works[i]);
    }
    ASSERT_CMP(worker->ready.work_count, ==, count);
    worker->ready.work_count = 0;
}
