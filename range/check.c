/* The invariants of replica.h, and those of the worker's queues, as code. */
#include "base/assert.h"
#include "range/snapshot_send.h"
#include "range/worker.h"
#include "txn/evaluate.h"

static uint32_t list_count(const struct list_node *head) {
    uint32_t count = 0;
    LIST_FOR_EACH (node, head)
        count++;
    return count;
}

static size_t check_commands(const struct range_replica *replica) {
    size_t bytes = 0;
    bool covered = true;
    LIST_FOR_EACH (node, &replica->commands.waiting) {
        const struct range_pending *pending = range_pending_of(node);
        ASSERT(pending->state == RANGE_PENDING_WAITING && pending->replica == replica);
        ASSERT(covered || !pending->covered); /* the covered ones come first */
        covered = pending->covered;
        bytes += pending->bytes.len;
    }
    const struct range_pending *before = NULL;
    LIST_FOR_EACH (node, &replica->commands.proposed) {
        const struct range_pending *pending = range_pending_of(node);
        ASSERT(pending->state == RANGE_PENDING_PROPOSED && pending->replica == replica);
        ASSERT_CMP(pending->id.index, >, replica->applied.applied.index);
        ASSERT(!pending->frame);
        if (before && before->id.index == pending->id.index)
            ASSERT_CMP(pending->position, >, before->position);
        else if (before)
            ASSERT_CMP(pending->id.index, >, before->id.index);
        before = pending;
        bytes += pending->bytes.len;
    }
    return bytes;
}

static void check_reads(const struct range_replica *replica) {
    uint64_t last_context = 0;
    for (uint32_t i = 0; i < RANGE_READ_ROUNDS_MAX; i++) {
        const struct range_read_round *round =
            &replica->reads.rounds[(replica->reads.round_first + i) % RANGE_READ_ROUNDS_MAX];
        if (i >= replica->reads.round_count) {
            ASSERT(round->context == 0 && list_empty(&round->reads));
        } else {
            ASSERT_CMP(round->context, >, last_context);
            last_context = round->context;
        }
    }
    bool reads = !list_empty(&replica->reads.unindexed) || !list_empty(&replica->reads.indexed);
    if (reads) ASSERT(!list_empty(&replica->reads.in_reading));
}

/* The descriptor, the configuration as kept here, and the core's are the same. A snapshot takes
 * effect in the core before it is installed. */
static void check_membership(const struct range_replica *replica) {
    struct raft_view view;
    raft_view(replica->raft, &view);
    struct raft_conf_state conf = range_conf_from_descriptor(&replica->descriptor);
    ASSERT(range_conf_equal(&conf, &replica->conf));
    if (replica->life != RANGE_INSTALLING && !replica->snapshots.receive)
        ASSERT(range_conf_equal(&conf, &view.conf));
    ASSERT(range_descriptor_replica(&replica->descriptor, replica->replica_id));
    ASSERT(!replica->apply.record_changed && !replica->apply.removed);
}

/* Nothing of a replica that is none any more is left in memory but what its tombstone says. */
static void check_inactive(const struct range_replica *replica) {
    bool leaves = replica->life == RANGE_LEAVING || replica->life == RANGE_DELETING;
    ASSERT(leaves == !list_empty(&replica->removal.in_leaving));
    ASSERT(!replica->leads && !replica->report.published && !replica->snapshots.receive);
    ASSERT(list_empty(&replica->in_awake) && list_empty(&replica->waking.in_waking));
    ASSERT(list_empty(&replica->commands.waiting) && list_empty(&replica->commands.proposed));
    ASSERT(list_empty(&replica->changes.requests) && list_empty(&replica->transfer.requests));
}

static void check_work(const struct range_replica *replica) {
    uint64_t work = 0;
    LIST_FOR_EACH (node, &replica->commands.waiting)
        work += range_pending_of(node)->bytes.len + RANGE_WORK_PER_COMMAND;
    ASSERT_CMP(replica->load.waiting_work, ==, work);
    ASSERT_CMP(replica->load.pace.queued, >=, work);
    if (!replica->leads) ASSERT_CMP(replica->load.pace.queued, ==, 0);
}

void range_check(const struct range_replica *replica) {
    const struct range_apply_state *applied = &replica->applied;
    ASSERT(range_life_has_core(replica->life) == (replica->raft != NULL));
    if (!replica->raft) {
        check_inactive(replica);
        return;
    }
    raft_check(replica->raft);
    check_membership(replica);
    if (list_empty(&replica->in_touched))
        ASSERT(raft_quiet(replica->raft) == list_empty(&replica->in_awake));
    if (list_empty(&replica->waking.in_waking))
        ASSERT(replica->waking.suspected == 0 && !replica->waking.wake_leader &&
               !replica->waking.look_again);
    ASSERT_CMP(applied->truncated.index, <=, applied->applied.index);
    if (replica->life != RANGE_INSTALLING) {
        ASSERT_CMP(applied->applied.index, <=, replica->log.last_index);
        ASSERT_CMP(replica->log.first_index, ==, applied->truncated.index + 1);
    }
    ASSERT_CMP(applied->applied.index, <=, raft_commit_index(replica->raft));
    ASSERT(replica->leads == (raft_role(replica->raft) == RAFT_LEADER));
    if (replica->leads) {
        ASSERT_CMP(replica->lead_term, ==, raft_term(replica->raft));
    } else {
        ASSERT(list_empty(&replica->commands.waiting));
        ASSERT(list_empty(&replica->reads.unindexed));
        ASSERT(list_empty(&replica->changes.requests));
        ASSERT_CMP(replica->reads.round_count, ==, 0);
        ASSERT_CMP(range_snapshot_lowest_index(replica), ==, UINT64_MAX);
    }
    ASSERT_CMP(replica->commands.waiting_count, ==, list_count(&replica->commands.waiting));
    ASSERT(list_empty(&replica->commands.in_waiting) == (replica->commands.waiting_count == 0));
    ASSERT_CMP(replica->commands.pending_count, ==,
               replica->commands.waiting_count + list_count(&replica->commands.proposed));
    ASSERT_CMP(replica->commands.pending_bytes, ==, check_commands(replica));
    check_work(replica);
    check_reads(replica);
}

/* What the last turn did for reads, and its last round for commands: one command may pass the bound
 * of a round, and putting the round's keys in order for intervals costs as much again. (A command
 * of a version that knew no bound would pass it, too.) */
static void check_steps(const struct range_worker *worker) {
    ASSERT_CMP(worker->reads.steps, <=, 3 * range_read_steps_max(worker));
    ASSERT_CMP(txn_apply_round_steps(worker->apply.txn), <=,
               2 * (RANGE_APPLY_ROUND_STEPS + TXN_COMMAND_STEPS_MAX));
}

void range_worker_check(const struct range_worker *worker) {
    size_t bytes = 0;
    uint64_t work = 0, waiting_work = 0;
    uint32_t leaders = 0;
    LIST_FOR_EACH (node, &worker->all) {
        const struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_all);
        ASSERT(replica->worker == worker);
        range_check(replica);
        bytes += replica->commands.pending_bytes;
        work += replica->load.pace.queued;
        waiting_work += replica->load.waiting_work;
        leaders += replica->leads ? 1 : 0;
    }
    ASSERT_CMP(worker->clients.pending_bytes, ==, bytes);
    ASSERT_CMP(worker->load.pace.queued, ==, work);
    ASSERT_CMP(worker->load.waiting_work, ==, waiting_work);
    ASSERT_CMP(worker->clients.pending_count, ==, worker->clients.deadlines.count);
    if (worker->clients.pending_count == 0) ASSERT_CMP(worker->clients.held_bytes, ==, 0);
    ASSERT_CMP(leaders, ==, atomic_load(&worker->leader_count));
    ASSERT_CMP(worker->snapshots.send_count, ==, list_count(&worker->snapshots.sends));
    ASSERT_CMP(worker->snapshots.receive_count, ==, list_count(&worker->snapshots.receives));
    ASSERT_CMP(worker->snapshots.send_count, <=, RANGE_SNAPSHOT_SENDS_MAX);
    ASSERT_CMP(worker->snapshots.receive_count, <=, RANGE_SNAPSHOT_RECEIVES_MAX);
    ASSERT(list_empty(&worker->apply.round));
    check_steps(worker);
}
