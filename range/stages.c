#include "range/stages.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "range/metrics.h"
#include "range/worker.h"

#define STAMPS (sizeof(((struct range_stages *)0)->stamps) / sizeof(struct range_turn_stamp))

/* How long a run was in each stage. */
struct stage_times {
    uint64_t mailbox_us, gather_us, timestamp_us, propose_us, fsync_us, quorum_us, apply_us;
    uint64_t reply_us, total_us;
    bool synced; /* fsync_us is known */
};

void range_stages_init(struct range_stages *stages) {
    stages->turn = 1;
}

void range_stages_done(struct range_stages *stages) {
    memory_free(stages->runs);
}

/* ---- turns ---- */

void range_stages_sent(struct range_worker *worker) {
    struct range_stages *stages = &worker->stages;
    stages->stamps[stages->turn % STAMPS] = (struct range_turn_stamp){
        .turn = stages->turn, .sent_us = clock_monotonic_us(worker->store->clock)};
}

void range_stages_synced(struct range_worker *worker) {
    struct range_stages *stages = &worker->stages;
    struct range_turn_stamp *stamp = &stages->stamps[stages->turn % STAMPS];
    ASSERT_CMP(stamp->turn, ==, stages->turn);
    stamp->synced_us = worker->now_us;
    stages->turn++;
}

/* ---- runs ---- */

static bool continues(const struct range_stage_run *run, const struct range_pending *pending) {
    return run->range_id == range_replica_id(pending->replica) && run->index == pending->id.index &&
           run->arrived_us == pending->arrived_us && run->admitted_us == pending->admitted_us &&
           run->asked_us == pending->asked_us;
}

void range_stages_answered(const struct range_pending *pending) {
    struct range_stages *stages = &pending->replica->worker->stages;
    if (stages->run_count > stages->applied_count &&
        continues(&stages->runs[stages->run_count - 1], pending)) {
        stages->runs[stages->run_count - 1].count++;
        return;
    }
    if (stages->run_count == stages->run_cap) {
        stages->run_cap = stages->run_cap ? stages->run_cap * 2 : 64;
        stages->runs = memory_realloc(stages->runs, stages->run_cap * sizeof(*stages->runs));
    }
    stages->runs[stages->run_count++] =
        (struct range_stage_run){.range_id = range_replica_id(pending->replica),
                                 .index = pending->id.index,
                                 .call_id = pending->call_id,
                                 .arrived_us = pending->arrived_us,
                                 .admitted_us = pending->admitted_us,
                                 .asked_us = pending->asked_us,
                                 .proposed_us = pending->since_us,
                                 .turn = pending->turn,
                                 .by_range = pending->replica->stages.write_latency,
                                 .count = 1};
}

void range_stages_applied(struct range_worker *worker, uint64_t begin_us, uint64_t end_us) {
    struct range_stages *stages = &worker->stages;
    for (; stages->applied_count < stages->run_count; stages->applied_count++) {
        stages->runs[stages->applied_count].committed_us = begin_us;
        stages->runs[stages->applied_count].applied_us = end_us;
    }
}

static uint64_t between(uint64_t from_us, uint64_t to_us) {
    return to_us > from_us ? to_us - from_us : 0;
}

/* A stamp that a very long quorum has outlived counts its time to the quorum. */
static struct stage_times times_of(const struct range_stages *stages,
                                   const struct range_stage_run *run, uint64_t replied_us) {
    const struct range_turn_stamp *stamp = &stages->stamps[run->turn % STAMPS];
    bool known = stamp->turn == run->turn && stamp->sent_us >= run->proposed_us;
    uint64_t sent_us = known ? stamp->sent_us : run->proposed_us;
    return (struct stage_times){
        .mailbox_us = between(run->arrived_us, run->admitted_us),
        .gather_us = between(run->admitted_us, run->asked_us),
        .timestamp_us = between(run->asked_us, run->proposed_us),
        .propose_us = between(run->proposed_us, sent_us),
        .synced = known && stamp->synced_us != 0,
        .fsync_us = known ? between(sent_us, stamp->synced_us) : 0,
        .quorum_us = between(sent_us, run->committed_us),
        .apply_us = between(run->committed_us, run->applied_us),
        .reply_us = between(run->applied_us, replied_us),
        .total_us = between(run->arrived_us, replied_us),
    };
}

static void observe(const struct range_stage_run *run, const struct stage_times *times) {
    metric_observe_many(&metric_range_stage_mailbox_us, times->mailbox_us, run->count);
    metric_observe_many(&metric_range_stage_gather_us, times->gather_us, run->count);
    metric_observe_many(&metric_range_stage_timestamp_us, times->timestamp_us, run->count);
    metric_observe_many(&metric_range_stage_propose_us, times->propose_us, run->count);
    if (times->synced)
        metric_observe_many(&metric_range_stage_fsync_us, times->fsync_us, run->count);
    metric_observe_many(&metric_range_stage_quorum_us, times->quorum_us, run->count);
    metric_observe_many(&metric_range_stage_apply_us, times->apply_us, run->count);
    metric_observe_many(&metric_range_stage_reply_us, times->reply_us, run->count);
    metric_observe_many(&metric_range_stage_total_us, times->total_us, run->count);
    metric_observe_many(&metric_range_commit_latency_us,
                        between(run->proposed_us, run->committed_us), run->count);
    if (run->by_range) metric_observe_many(run->by_range, times->total_us, run->count);
}

/* ---- traces ---- */

/* When all requests are slow, a line for each would make them slower. */
static bool may_trace(struct range_stages *stages, uint64_t now_us) {
    if (now_us - stages->second_us >= 1000000) {
        if (stages->untraced > 0)
            log_warn("slow_writes_untraced", "count=%" PRIu32, stages->untraced);
        stages->second_us = now_us;
        stages->traced = stages->untraced = 0;
    }
    if (stages->traced < RANGE_TRACES_PER_S) {
        stages->traced++;
        return true;
    }
    stages->untraced++;
    return false;
}

static bool is_slow(const struct range_worker *worker, uint64_t total_us) {
    uint64_t slow_us = worker->store->config.slow_us;
    return slow_us > 0 && total_us >= slow_us;
}

static void trace(struct range_worker *worker, const struct range_stage_run *run,
                  const struct stage_times *times, uint64_t now_us) {
    if (!is_slow(worker, times->total_us) || !may_trace(&worker->stages, now_us)) return;
    log_warn("slow_write",
             "node=%" PRIu64 " range=%" PRIu64 " index=%" PRIu64 " call=%" PRIu64
             " commands=%" PRIu32 " total_us=%" PRIu64 " mailbox_us=%" PRIu64 " gather_us=%" PRIu64
             " timestamp_us=%" PRIu64 " propose_us=%" PRIu64 " quorum_us=%" PRIu64
             " fsync_us=%" PRIu64 " apply_us=%" PRIu64 " reply_us=%" PRIu64,
             worker->store->config.node_id, run->range_id, run->index, run->call_id, run->count,
             times->total_us, times->mailbox_us, times->gather_us, times->timestamp_us,
             times->propose_us, times->quorum_us, times->fsync_us, times->apply_us,
             times->reply_us);
}

static const char *waits_for(const struct range_pending *pending) {
    if (pending->state == RANGE_PENDING_PROPOSED) return "quorum";
    return pending->covered ? "timestamp" : "entry";
}

void range_stages_expired(const struct range_pending *pending) {
    struct range_worker *worker = pending->replica->worker;
    bool proposed = pending->state == RANGE_PENDING_PROPOSED;
    if (!proposed && pending->state != RANGE_PENDING_WAITING) return;
    uint64_t total_us = between(pending->arrived_us, worker->now_us);
    if (!is_slow(worker, total_us) || !may_trace(&worker->stages, worker->now_us)) return;
    uint64_t asked_us = proposed || pending->covered ? pending->asked_us : worker->now_us;
    log_warn("expired_write",
             "node=%" PRIu64 " range=%" PRIu64 " index=%" PRIu64 " call=%" PRIu64
             " waits_for=%s total_us=%" PRIu64 " mailbox_us=%" PRIu64 " gather_us=%" PRIu64
             " timestamp_us=%" PRIu64,
             worker->store->config.node_id, range_replica_id(pending->replica), pending->id.index,
             pending->call_id, waits_for(pending), total_us,
             between(pending->arrived_us, pending->admitted_us),
             between(pending->admitted_us, asked_us),
             between(asked_us, proposed ? pending->since_us : worker->now_us));
}

void range_stages_flush(struct range_worker *worker) {
    struct range_stages *stages = &worker->stages;
    if (stages->run_count == 0) return;
    ASSERT_CMP(stages->applied_count, ==, stages->run_count);
    uint64_t now_us = clock_monotonic_us(worker->store->clock);
    for (uint32_t i = 0; i < stages->run_count; i++) {
        struct stage_times times = times_of(stages, &stages->runs[i], now_us);
        observe(&stages->runs[i], &times);
        trace(worker, &stages->runs[i], &times, now_us);
    }
    stages->run_count = stages->applied_count = 0;
}

/* ---- followers ---- */

void range_stages_lead(struct range_replica *replica) {
    ASSERT(!replica->stages.probes);
    replica->stages.probes = memory_zalloc(RANGE_REPLICAS_MAX * sizeof(*replica->stages.probes));
    replica->stages.write_latency =
        metric_family_member(&family_range_write_us, range_replica_id(replica));
}

void range_stages_follow(struct range_replica *replica) {
    memory_free(replica->stages.probes);
    replica->stages.probes = NULL;
}

/* One append per follower goes untimed. */
void range_stages_changed(struct range_replica *replica) {
    if (replica->stages.probes)
        memset(replica->stages.probes, 0, RANGE_REPLICAS_MAX * sizeof(*replica->stages.probes));
}

/* Where the other replica stands in the descriptor; NULL: it is not in there, or is not timed. */
static struct range_append_probe *probe_of(const struct range_replica *replica, uint64_t id,
                                           uint64_t *ret_node) {
    const struct range_replica_ref *ref = range_descriptor_replica(&replica->descriptor, id);
    if (!ref || !replica->stages.probes) return NULL;
    *ret_node = ref->node_id;
    return &replica->stages.probes[ref - replica->descriptor.replicas];
}

void range_stages_append(struct range_replica *replica, const struct raft_message *message) {
    uint64_t node;
    if (message->kind != RAFT_MSG_APPEND || message->entry_count == 0) return;
    struct range_append_probe *probe = probe_of(replica, message->to, &node);
    if (!probe || probe->index != 0) return;
    probe->index = message->entries[message->entry_count - 1].id.index;
    probe->sent_us = clock_monotonic_us(replica->worker->store->clock);
}

void range_stages_acknowledged(struct range_replica *replica, const struct raft_message *message) {
    uint64_t node;
    if (message->kind != RAFT_MSG_APPEND_RESPONSE || message->reject) return;
    struct range_append_probe *probe = probe_of(replica, message->from, &node);
    if (!probe || probe->index == 0 || message->log.index < probe->index) return;
    struct metric *latency = metric_family_member(&family_range_follower_append_us, node);
    if (latency) metric_observe(latency, between(probe->sent_us, replica->worker->now_us));
    probe->index = 0;
}
