#include "range/replica.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "range/metrics.h"
#include "range/snapshot_send.h"
#include "range/worker.h"

static uint64_t random_below(void *ctx, uint64_t bound) {
    return prng_below((struct prng *)ctx, bound);
}

static void init_lists(struct range_replica *replica) {
    struct list_node *heads[] = {
        &replica->in_all,
        &replica->in_touched,
        &replica->apply.in_round,
        &replica->commands.waiting,
        &replica->commands.in_waiting,
        &replica->commands.proposed,
        &replica->reads.unindexed,
        &replica->reads.indexed,
        &replica->reads.in_reading,
        &replica->transfer.requests,
        &replica->in_awake,
        &replica->waking.in_waking,
        &replica->removal.in_leaving,
        &replica->changes.requests,
        &replica->report.in_stale,
        &replica->apply.in_slot,
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        list_init(heads[i]);
    for (uint32_t i = 0; i < RANGE_READ_ROUNDS_MAX; i++)
        list_init(&replica->reads.rounds[i].reads);
}

struct range_replica *range_replica_new(struct range_worker *worker,
                                        const struct range_replica_record *record) {
    const struct range_store_config *config = &worker->store->config;
    struct range_replica *replica = MEMORY_NEW(struct range_replica);
    uint64_t range_id = record->descriptor.range_id;
    init_lists(replica);
    replica->worker = worker;
    replica->replica_id = record->replica_id;
    replica->life = record->tombstone ? RANGE_TOMBSTONE : RANGE_CREATING;
    replica->conf = record->conf;
    replica->removal.committed = record->committed;
    range_descriptor_copy(&replica->descriptor, &record->descriptor);
    prng_init(&replica->prng, config->seed ^ (config->node_id * UINT64_C(0x9e3779b97f4a7c15)) ^
                                  (range_id * UINT64_C(0xbf58476d1ce4e5b9)));
    (void)snprintf(replica->log_prefix, sizeof(replica->log_prefix),
                   "node=%" PRIu64 " range=%" PRIu64, config->node_id,
                   range_id); /* cut short when too long: it only serves the log */
    idmap_put(&worker->ranges, &replica->by_id, range_id);
    list_push_back(&worker->all, &replica->in_all);
    metric_add(&metric_range_replicas, record->tombstone ? 0 : 1);
    return replica;
}

static void refuse_everything(struct range_replica *replica) {
    range_pending_refuse_all(&replica->commands.waiting, RANGE_REPLY_NOT_LEADER);
    range_pending_refuse_all(&replica->commands.proposed, RANGE_REPLY_UNKNOWN);
    range_pending_refuse_all(&replica->reads.indexed, RANGE_REPLY_NOT_LEADER);
    range_pending_refuse_all(&replica->transfer.requests, RANGE_REPLY_NOT_LEADER);
    range_pending_refuse_all(&replica->changes.requests, RANGE_REPLY_UNKNOWN);
    range_read_refuse_unindexed(replica);
}

void range_replica_retire(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    refuse_everything(replica);
    range_ready_forget(replica);
    range_apply_forget(replica);
    range_snapshot_abort_sends(replica);
    range_snapshot_drop_receive(replica);
    range_status_unpublish(replica);
    if (replica->leads) {
        atomic_fetch_sub(&worker->leader_count, 1);
        metric_add(&metric_range_leaders, -1);
        range_stages_follow(replica);
        range_overload_forget(replica);
        replica->leads = false;
    }
    if (replica->raft && list_empty(&replica->in_awake)) metric_add(&metric_range_quiet, -1);
    if (range_life_takes_part(replica->life)) metric_add(&metric_range_replicas, -1);
    raft_free(replica->raft);
    replica->raft = NULL;
    replica->unsynced = false;
    list_remove(&replica->in_awake);
    list_remove(&replica->waking.in_waking);
    list_remove(&replica->in_touched);
    list_remove(&replica->reads.in_reading);
    list_remove(&replica->commands.in_waiting);
    list_remove(&replica->report.in_stale);
}

void range_replica_free(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    range_replica_retire(replica);
    list_remove(&replica->removal.in_leaving);
    idmap_remove(&worker->ranges, range_replica_id(replica));
    if (worker->report.sampled == &replica->in_all) worker->report.sampled = replica->in_all.prev;
    list_remove(&replica->in_all);
    range_positions_forget(replica);
    range_descriptor_done(&replica->descriptor);
    memory_free(replica);
}

static bool is_away(void *ctx, uint64_t replica_id) {
    const struct range_replica *replica = ctx;
    uint64_t node_id = range_replica_node_of(replica, replica_id);
    return node_id && range_liveness_away(replica->worker, node_id, range_replica_id(replica));
}

static struct raft_config raft_config_of(struct range_replica *replica, bool restarted) {
    const struct range_store_config *config = &replica->worker->store->config;
    return (struct raft_config){
        .id = replica->replica_id,
        .election_ticks = config->election_ticks,
        .heartbeat_ticks = config->heartbeat_ticks,
        .tick_us = config->tick_us,
        .pre_vote = true,
        .check_quorum = true,
        .async_storage_writes = true,
        .forward_proposals = false,
        .read_mode = RAFT_READ_QUORUM, /* leases are asked for read by read: raft_lease_read */
        .lease_drift_ppm = config->lease_drift_ppm,
        .restart_grace_us = restarted ? replica->worker->store->promise.grace_us : 0,
        .append_bytes_max =
            config->append_bytes_max ? config->append_bytes_max : RANGE_APPEND_BYTES_MAX,
        .apply_bytes_max = RANGE_APPLY_BYTES_MAX,
        .inflight_messages_max = RANGE_INFLIGHT_MESSAGES_MAX,
        .inflight_bytes_max = RANGE_INFLIGHT_BYTES_MAX,
        .catch_up_bytes = config->catch_up_bytes ? config->catch_up_bytes : RANGE_CATCH_UP_BYTES,
        .uncommitted_bytes_max = RANGE_UNCOMMITTED_BYTES_MAX,
        .cache_bytes_max = RANGE_CACHE_BYTES_MAX,
        .cache_applied_bytes_max = RANGE_CACHE_APPLIED_BYTES_MAX,
        .random = random_below,
        .random_ctx = &replica->prng,
        .log_prefix = replica->log_prefix,
        .coalesce_appends = true,
        .quiesce_ticks = config->quiesce_ticks,
        .complain = true, /* a learner may be removed while it is away */
        .away = is_away,
        .away_ctx = replica,
        .lazy_commits = true,
        .spare_heartbeats = true,
    };
}

void range_replica_activate(struct range_replica *replica, const struct raft_hard_state *hard_state,
                            bool restarted) {
    ASSERT(!replica->raft);
    ASSERT_CMP(replica->log.first_index, ==, replica->applied.truncated.index + 1);
    struct raft_config config = raft_config_of(replica, restarted);
    struct raft_storage storage = range_replica_storage(replica);
    struct raft_hard_state initial = *hard_state;
    /* What is applied was committed; the commit index on disk may lag (ready.c). */
    if (initial.commit < replica->applied.applied.index)
        initial.commit = replica->applied.applied.index;
    replica->apply.entry_commands = RANGE_ENTRY_APPLIED_UNKNOWN;
    replica->written = initial;
    replica->conf_entry = replica->log.last_index; /* whether one is there is not known */
    replica->raft =
        raft_new(&config, &storage, &initial, &replica->conf, replica->applied.applied.index);
    range_life_enter(replica, RANGE_ACTIVE);
    if (replica->worker->declines) raft_decline_leadership(replica->raft);
    list_push_back(&replica->worker->awake, &replica->in_awake);
    range_liveness_watch(replica);
    range_replica_touch(replica);
    if (replica->campaign) {
        enum status status = raft_campaign(replica->raft);
        if (status != STATUS_OK) /* then its election time-out does it */
            log_info("range_campaign_refused", "%s status=%s", replica->log_prefix,
                     status_name(status));
    }
    range_replica_follow_role(replica);
    range_status_publish(replica);
}

void range_replica_put_record(const struct range_replica *replica, struct storage_batch *batch) {
    struct range_replica_record record = {.tombstone = replica->life >= RANGE_DELETING,
                                          .replica_id = replica->replica_id,
                                          .descriptor = replica->descriptor,
                                          .conf = replica->conf,
                                          .committed = replica->removal.committed};
    struct buf bytes = {0};
    range_replica_record_encode(&bytes, &record);
    uint8_t key[RANGE_RECORD_KEY_BYTES];
    range_record_key(key, range_replica_id(replica));
    storage_batch_put(batch, STORAGE_META, slice_make(key, sizeof(key)), slice_from_buf(&bytes));
    buf_done(&bytes);
}

void range_replica_put_apply_state(const struct range_replica *replica, struct storage_batch *batch,
                                   const struct range_apply_state *state) {
    struct buf *bytes = &replica->worker->scratch;
    buf_clear(bytes);
    range_apply_state_encode(bytes, state);
    raft_log_put_state(&replica->log, batch, RAFT_LOG_APPLY_STATE, slice_from_buf(bytes));
}

void range_replica_touch(struct range_replica *replica) {
    if (list_empty(&replica->in_touched))
        list_push_back(&replica->worker->ready.touched, &replica->in_touched);
    if (replica->raft) raft_set_now(replica->raft, replica->worker->now_us);
}

static void leadership_gained(struct range_replica *replica, uint64_t term) {
    replica->leads = true;
    replica->lead_term = term;
    replica->transfer.to_node = 0;
    replica->transfer.retry_us = 0;
    replica->transfer.leads_since_us = replica->worker->now_us;
    range_transfer_returned(replica);
    replica->commands.last_proposed_ts = 0;
    replica->changes.index = 0;
    range_stages_lead(replica);
    atomic_fetch_add(&replica->worker->leader_count, 1);
    metric_add(&metric_range_leaders, 1);
    log_info("range_leader", "%s replica=%" PRIu64 " term=%" PRIu64, replica->log_prefix,
             replica->replica_id, term);
}

/* Commands without a timestamp were never proposed. Those in the log may still be committed by the
 * next leader: who can ask again under the same request id is told so at once, because that settles
 * it sooner; for the others this replica waits for what the log says, as long as their deadline
 * allows (apply.c answers). */
static void leadership_lost(struct range_replica *replica) {
    replica->leads = false;
    replica->transfer.given_up = false;
    atomic_fetch_sub(&replica->worker->leader_count, 1);
    metric_add(&metric_range_leaders, -1);
    log_info("range_leader_lost", "%s replica=%" PRIu64 " term=%" PRIu64 " leader=%" PRIu64,
             replica->log_prefix, replica->replica_id, raft_term(replica->raft),
             raft_leader(replica->raft));
    range_pending_refuse_all(&replica->commands.waiting, RANGE_REPLY_NOT_LEADER);
    range_overload_forget(replica);
    LIST_FOR_EACH_SAFE (node, &replica->commands.proposed) {
        struct range_pending *pending = range_pending_of(node);
        if (pending->has_request_id) range_pending_refuse(pending, RANGE_REPLY_UNKNOWN);
    }
    range_pending_refuse_all(&replica->changes.requests, RANGE_REPLY_UNKNOWN);
    range_read_refuse_unindexed(replica);
    range_snapshot_abort_sends(replica);
    range_stages_follow(replica);
}

void range_replica_follow_role(struct range_replica *replica) {
    bool leads = raft_role(replica->raft) == RAFT_LEADER;
    uint64_t term = raft_term(replica->raft);
    if (replica->leads && (!leads || term != replica->lead_term)) leadership_lost(replica);
    if (leads && !replica->leads) leadership_gained(replica, term);
    uint64_t leader = raft_leader(replica->raft);
    if (leader == replica->seen_leader) return;
    replica->seen_leader = leader;
    range_transfer_follow(replica);
}

/* Relying on a leader whose node is not heard would be relying on nobody. */
static bool leader_is_watched(const struct range_replica *replica) {
    uint64_t node_id = range_replica_node_of(replica, raft_leader(replica->raft));
    return node_id && range_liveness_heard(replica->worker, node_id, range_replica_id(replica));
}

void range_replica_follow_quiet(struct range_replica *replica) {
    if (raft_quiet(replica->raft) && !replica->leads && !leader_is_watched(replica))
        raft_wake(replica->raft);
    bool quiet = raft_quiet(replica->raft);
    if (quiet == list_empty(&replica->in_awake)) return;
    metric_add(&metric_range_quiet, quiet ? 1 : -1);
    if (!quiet) {
        list_push_back(&replica->worker->awake, &replica->in_awake);
        return;
    }
    list_remove(&replica->in_awake);
    if (!replica->unsynced && !raft_has_ready(replica->raft)) raft_shrink(replica->raft);
}

bool range_replica_may_propose(const struct range_replica *replica) {
    return replica->leads && replica->applied.applied.term == replica->lead_term &&
           !raft_conf_change_pending(replica->raft);
}

uint64_t range_replica_node_of(const struct range_replica *replica, uint64_t replica_id) {
    const struct range_replica_ref *known =
        range_descriptor_replica(&replica->descriptor, replica_id);
    if (known) return known->node_id;
    for (uint32_t i = 0; i < RANGE_PEER_CACHE_MAX; i++)
        if (replica->peer_cache[i].replica_id == replica_id) return replica->peer_cache[i].node_id;
    return 0;
}

void range_replica_note_peer(struct range_replica *replica, uint64_t replica_id, uint64_t node_id) {
    if (range_replica_node_of(replica, replica_id) != 0) return;
    replica->peer_cache[replica->peer_cache_at++ % RANGE_PEER_CACHE_MAX] =
        (struct range_replica_ref){.replica_id = replica_id, .node_id = node_id};
}

uint64_t range_replica_leader_node(const struct range_replica *replica) {
    if (!replica->raft) return 0;
    uint64_t node_id = range_replica_node_of(replica, raft_leader(replica->raft));
    /* Between handing over and hearing from the new leader, the likely one is a better hint than
     * none. */
    return node_id ? node_id : replica->transfer.to_node;
}
