/* Applying: committed commands of all ranges are evaluated into one batch per round.
 *
 * The batch is written without a sync of its own. It holds, per range, the effects and the apply
 * state together, so that after a crash a range is at one definite position and nothing is applied
 * twice. It never gets ahead of the log: the core hands out only entries that are durable here
 * (async_storage_writes), and the engine makes writes durable in order, so a crash that keeps these
 * effects keeps the log batch that was synced before them.
 *
 * A round ends when it has done enough, also in the middle of an entry: what commands cost shows
 * only in what they find, so nobody could cut entries to measure. What is written then has the
 * entry before as the applied one, and the timestamp of the last command. Timestamps grow along the
 * log: after a restart, or a snapshot of such a moment, that one tells where to go on.
 *
 * Clients are answered from the round. Their frames leave at the end of the turn, or before its
 * write when they grow large (client.c): either way the outcome is durable, because a quorum has
 * the entry on disk, and visible to reads, because this worker serves them after the write. */
#include "range/apply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "raft/peer.h"
#include "range/compact.h"
#include "range/entry.h"
#include "range/entry_check.h"
#include "range/metrics.h"
#include "range/worker.h"
#include "txn/evaluate.h"

/* Of the next commands: a small one whole; the rest of a large one follows by itself. */
#define PREFETCHED_PAYLOAD_BYTES 384u

void range_apply_add(struct range_replica *replica, const struct raft_entry *entries,
                     uint32_t count) {
    struct range_worker *worker = replica->worker;
    if (worker->apply.job_count == worker->apply.job_cap) {
        worker->apply.job_cap = worker->apply.job_cap ? worker->apply.job_cap * 2 : 64;
        worker->apply.jobs =
            memory_realloc(worker->apply.jobs, worker->apply.job_cap * sizeof(*worker->apply.jobs));
    }
    worker->apply.jobs[worker->apply.job_count++] =
        (struct range_apply_job){.replica = replica, .entries = entries, .count = count};
}

/* A replica that skipped what it cannot apply would have forked history. The entry was looked at
 * when it came, so this is what an earlier version let in, or what the disk has made of it. */
_Noreturn void range_apply_fail(const struct range_replica *replica, const struct raft_entry *entry,
                                const char *format, ...) {
    struct buf why = {0};
    /* The bytes have the first word: whatever failed, it is they if they are at fault. */
    if (range_entry_check(entry, &why) == STATUS_OK) {
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(text, sizeof(text), format, arguments); /* A long text is cut. */
        va_end(arguments);
        buf_printf(&why, "%s", text);
    }
    fatal("%s: log entry %" PRIu64 " of term %" PRIu64 ", kind %s, %zu bytes, cannot be applied: "
          "%.*s; to skip it would fork history. Replace this replica (flotilla admin move-replica) "
          "when the others are well",
          replica->log_prefix, entry->id.index, entry->id.term, raft_entry_kind_name(entry->kind),
          payload_slice(entry->payload).len, (int)why.len, (const char *)why.data);
}

static void reply_outcome(struct range_pending *pending, const struct txn_outcome *outcome) {
    struct range_worker *worker = pending->replica->worker;
    struct range_reply reply = {.call_id = pending->call_id,
                                .code = RANGE_REPLY_OK,
                                .kind = RANGE_WRITE,
                                .outcome = *outcome};
    range_stages_answered(pending);
    range_overload_answer(pending);
    range_client_reply(worker, pending->client, &reply);
    range_pending_free(pending);
}

/* Terms only grow along a log: once an entry of a later term is applied, a proposal of an earlier
 * term that is still waiting can never be committed, at whatever index it stood. (Not only at this
 * index: earlier waiters of its term may be gone already, and a replica that leads again proposes
 * at the same indexes.) Nothing of it changed anything: NOT_LEADER says that it is safe to send
 * again. */
static void settle_lost(struct range_replica *replica, struct raft_log_id applied) {
    while (!list_empty(&replica->commands.proposed)) {
        struct range_pending *first = range_pending_of(replica->commands.proposed.next);
        if (first->id.term >= applied.term) {
            ASSERT_CMP(first->id.index, >=, applied.index);
            return;
        }
        range_pending_refuse(first, RANGE_REPLY_NOT_LEADER);
    }
}

/* The client that waits for this command here, if any: it may have run out of time, or be another
 * node's. */
static struct range_pending *waiting_for(struct range_replica *replica, struct raft_log_id id,
                                         uint32_t position) {
    if (list_empty(&replica->commands.proposed)) return NULL;
    struct range_pending *first = range_pending_of(replica->commands.proposed.next);
    if (first->id.index != id.index) return NULL;
    ASSERT_CMP(first->id.term, ==, id.term); /* settle_lost: another's took no place of it */
    /* None is passed over: settle_proposed answers those that a snapshot may have a part of. */
    ASSERT_CMP(first->position, >=, position);
    return first->position == position ? first : NULL;
}

static void apply_command(struct range_replica *replica, const struct raft_entry *entry,
                          struct slice encoded, bool span_changed, struct txn_outcome *ret) {
    struct range_worker *worker = replica->worker;
    struct txn_command command;
    enum status status = txn_command_decode(encoded, &worker->arena, &command);
    if (status != STATUS_OK) range_apply_fail(replica, entry, "a command: %s", status_text(status));
    /* propose.c says why. A repetition here would give one key two versions of one timestamp. */
    if (command.commit_ts <= replica->apply.state.last_commit_ts)
        range_apply_fail(replica, entry,
                         "a command has timestamp %" PRIu64 ", and one of %" PRIu64
                         " was applied before it",
                         command.commit_ts, replica->apply.state.last_commit_ts);
    replica->apply.state.last_commit_ts = command.commit_ts;
    if (span_changed) {
        *ret = (struct txn_outcome){.result = TXN_REFUSED_WRONG_RANGE};
        return;
    }
    struct txn_span span = {.start = slice_from_buf(&replica->descriptor.start),
                            .end = slice_from_buf(&replica->descriptor.end)};
    status = txn_evaluate(worker->apply.txn, &span, encoded, &command, &worker->arena, ret);
    if (status != STATUS_OK)
        range_apply_fail(replica, entry, "the storage engine: %s", status_text(status));
}

static bool round_is_full(const struct range_worker *worker) {
    uint32_t commands_max = worker->store->config.apply_round_commands;
    if (commands_max == 0) commands_max = RANGE_APPLY_ROUND_COMMANDS;
    return worker->apply.round_commands >= commands_max ||
           worker->apply.round_bytes >= RANGE_APPLY_ROUND_BYTES ||
           txn_apply_round_steps(worker->apply.txn) >= RANGE_APPLY_ROUND_STEPS;
}

/* How many commands of the entry are applied already, by their timestamps. Not the last one: with
 * it the entry would be an applied one. */
static uint32_t count_applied(const struct range_replica *replica, struct range_entry commands) {
    uint64_t last_ts = replica->apply.state.last_commit_ts;
    for (uint32_t i = 0; i + 1 < commands.count; i++) {
        uint64_t commit_ts = txn_command_commit_ts(range_entry_next(&commands));
        if (commit_ts == last_ts) return i + 1;
        if (commit_ts > last_ts) break;
    }
    return 0;
}

/* Passes over the commands that were applied before this round; returns how many they are. */
static uint32_t pass_applied(const struct range_replica *replica, struct range_entry *commands) {
    uint32_t applied = replica->apply.entry_commands;
    if (applied == RANGE_ENTRY_APPLIED_UNKNOWN) applied = count_applied(replica, *commands);
    for (uint32_t i = 0; i < applied; i++)
        (void)range_entry_next(commands); /* it has had its effect */
    return applied;
}

/* False: the round is full, and there are more. */
static bool apply_commands(struct range_replica *replica, const struct raft_entry *entry) {
    struct range_worker *worker = replica->worker;
    struct range_entry commands;
    enum status status = range_entry_decode(payload_slice(entry->payload), &commands);
    if (status != STATUS_OK)
        range_apply_fail(replica, entry, "its commands: %s", status_text(status));
    bool span_changed = commands.span_version != replica->descriptor.epoch.span_version;
    uint32_t first = pass_applied(replica, &commands), i = first;
    do {
        struct txn_outcome outcome = {0};
        struct slice command = range_entry_next(&commands);
        arena_reset(&worker->arena);
        apply_command(replica, entry, command, span_changed, &outcome);
        range_overload_apply(replica, entry, command.len);
        struct range_pending *pending = waiting_for(replica, entry->id, i);
        if (pending) reply_outcome(pending, &outcome);
        worker->apply.round_commands++;
        worker->apply.round_bytes += command.len;
        i++;
    } while (i < commands.count && !round_is_full(worker));
    replica->apply.entry_commands = i;
    replica->report.writes_total += i - first;
    metric_add(&metric_range_commands_applied_total, i - first);
    return i == commands.count;
}

/* False: a part of it is left for the next round. */
static bool apply_entry(struct range_replica *replica, const struct raft_entry *entry) {
    ASSERT_CMP(entry->id.index, ==, replica->apply.state.applied.index + 1);
    ASSERT_CMP(entry->id.term, >=, replica->apply.state.applied.term);
    settle_lost(replica, entry->id);
    struct slice bytes = payload_slice(entry->payload);
    if (entry->kind != RAFT_ENTRY_NORMAL)
        range_change_apply(replica, entry);
    else if (bytes.len > 0 && !apply_commands(replica, entry)) /* empty: a leader began its term */
        return false;
    replica->apply.state.applied = entry->id;
    replica->apply.entry_commands = 0;
    if (!list_empty(&replica->changes.requests)) range_change_settle(replica, entry->id);
    replica->apply.bytes += bytes.len;
    return true;
}

/* What is left of the job when the round is full stays in it. */
static void apply_job(struct range_apply_job *job) {
    struct range_replica *replica = job->replica;
    if (list_empty(&replica->apply.in_round)) {
        list_push_back(&replica->worker->apply.round, &replica->apply.in_round);
        replica->apply.state = replica->applied;
        replica->apply.bytes = 0;
    }
    while (job->count > 0 && !replica->apply.removed && !round_is_full(replica->worker)) {
        if (!apply_entry(replica, job->entries)) break;
        job->entries++;
        job->count--;
    }
    if (replica->apply.removed) job->count = 0; /* what comes behind that does not concern it */
}

static void prefetch_jobs(const struct range_worker *worker, uint32_t at) {
    const struct range_apply_job *jobs = worker->apply.jobs;
    if (at + 4 < worker->apply.job_count) {
        range_prefetch_replica(jobs[at + 4].replica);
        memory_prefetch(jobs[at + 4].entries, sizeof(struct raft_entry));
    }
    if (at + 2 < worker->apply.job_count) {
        const struct list_node *first = jobs[at + 2].replica->commands.proposed.next;
        memory_prefetch(jobs[at + 2].entries[0].payload, PREFETCHED_PAYLOAD_BYTES);
        memory_prefetch(range_pending_of((struct list_node *)first), sizeof(struct range_pending));
    }
}

/* Applies jobs until the round is full; those that are not finished stay in front. */
static void apply_jobs(struct range_worker *worker) {
    uint32_t done = 0;
    worker->apply.round_commands = 0;
    worker->apply.round_bytes = 0;
    while (done < worker->apply.job_count && !round_is_full(worker)) {
        prefetch_jobs(worker, done);
        apply_job(&worker->apply.jobs[done]);
        if (worker->apply.jobs[done].count == 0) done++;
    }
    worker->apply.job_count -= done;
    memmove(worker->apply.jobs, worker->apply.jobs + done,
            worker->apply.job_count * sizeof(*worker->apply.jobs));
}

void range_apply_forget(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    uint32_t kept = 0;
    ASSERT(list_empty(&replica->apply.in_round));
    for (uint32_t i = 0; i < worker->apply.job_count; i++)
        if (worker->apply.jobs[i].replica != replica)
            worker->apply.jobs[kept++] = worker->apply.jobs[i];
    worker->apply.job_count = kept;
}

void range_apply_skip(struct range_replica *replica) {
    const struct range_worker *worker = replica->worker;
    size_t bytes = 0;
    for (uint32_t i = 0; i < worker->apply.job_count; i++)
        for (uint32_t j = 0;
             worker->apply.jobs[i].replica == replica && j < worker->apply.jobs[i].count; j++)
            bytes += payload_slice(worker->apply.jobs[i].entries[j].payload).len;
    range_apply_forget(replica);
    raft_apply_done(replica->raft, replica->applied.applied.index, bytes);
}

/* The core has heard of a change in the middle of the round; its role may be another now. */
static void finish_change(struct range_replica *replica) {
    replica->apply.record_changed = false;
    if (replica->apply.removed)
        range_remove_begin(replica);
    else
        range_replica_follow_role(replica);
}

/* The batch is in the engine: what it holds is the replica's state now. */
static void finish_round(struct range_worker *worker) {
    struct list_node *node;
    while ((node = list_pop_front(&worker->apply.round)) != NULL) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, apply.in_round);
        replica->applied = replica->apply.state;
        range_replica_touch(replica);
        raft_apply_done(replica->raft, replica->applied.applied.index, replica->apply.bytes);
        if (replica->apply.record_changed) finish_change(replica);
    }
}

bool range_apply_round(struct range_worker *worker) {
    if (worker->apply.job_count == 0) return true;
    uint64_t begin_us = clock_monotonic_us(worker->store->clock);
    txn_apply_begin(worker->apply.txn, worker->apply.batch);
    apply_jobs(worker);
    bool full = round_is_full(worker);
    LIST_FOR_EACH (node, &worker->apply.round) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, apply.in_round);
        range_compact(replica, worker->apply.batch);
        if (replica->apply.record_changed) range_replica_put_record(replica, worker->apply.batch);
    }
    range_positions_put(worker, worker->apply.batch);
    enum status status =
        storage_write(worker->store->engine, worker->apply.batch, STORAGE_BUFFERED);
    if (status != STATUS_OK) range_worker_fatal(worker, "write of effects", 0, status);
    txn_apply_end(worker->apply.txn);
    storage_batch_clear(worker->apply.batch);
    finish_round(worker);
    uint64_t end_us = clock_monotonic_us(worker->store->clock);
    metric_observe(&metric_range_apply_latency_us, end_us - begin_us);
    range_stages_applied(worker, begin_us, end_us);
    return worker->apply.job_count == 0 && !full;
}
