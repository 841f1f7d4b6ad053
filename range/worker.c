#include "range/worker.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/memory.h"
#include "range/admit.h"
#include "range/metrics.h"
#include "range/snapshot_send.h"
#include "range/step.h"
#include "txn/evaluate.h"

struct range_worker *range_worker_new(struct range_store *store, uint32_t index) {
    struct range_worker *worker = MEMORY_NEW(struct range_worker);
    worker->store = store;
    worker->index = index;
    worker->mailbox =
        mailbox_new(range_limit(store->config.mailbox_items_max, RANGE_MAILBOX_ITEMS_MAX),
                    RANGE_MAILBOX_BYTES_MAX);
    worker->now_us = clock_monotonic_us(store->clock);
    worker->next_tick_us = worker->now_us + store->config.tick_us;
    worker->snapshots.refill_us = worker->now_us;
    prng_init(&worker->prng, store->config.seed ^ (store->config.node_id << 32) ^ index);
    arena_init(&worker->arena, 0);
    struct list_node *heads[] = {&worker->all,
                                 &worker->ready.touched,
                                 &worker->awake,
                                 &worker->liveness.waking,
                                 &worker->apply.round,
                                 &worker->clients.dirty,
                                 &worker->reads.reading,
                                 &worker->commands.waiting,
                                 &worker->outbox.dirty,
                                 &worker->snapshots.sends,
                                 &worker->report.published,
                                 &worker->snapshots.receives,
                                 &worker->removals.leaving,
                                 &worker->report.stale,
                                 &worker->snapshots.tails};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        list_init(heads[i]);
    worker->report.sampled = &worker->all;
    range_positions_init(&worker->apply.positions);
    range_stages_init(&worker->stages);
    worker->log_batch = storage_batch_new(store->engine);
    worker->apply.batch = storage_batch_new(store->engine);
    worker->apply.txn = txn_apply_new(store->engine);
    if (store->config.command_steps_max > 0)
        txn_apply_set_steps_max(worker->apply.txn, store->config.command_steps_max);
    ASSERT(pthread_mutex_init(&worker->report.lock, NULL) == 0);
    ASSERT(pthread_mutex_init(&worker->turn_lock, NULL) == 0);
    return worker;
}

static void drop_mailbox(struct range_worker *worker) {
    mailbox_close(worker->mailbox);
    struct mailbox_item *link = mailbox_drain_all(worker->mailbox);
    while (link) {
        struct mailbox_item *next = link->next;
        range_item_unref(range_item_of(link));
        link = next;
    }
    mailbox_free(worker->mailbox);
}

void range_worker_free(struct range_worker *worker) {
    if (!worker) return;
    drop_mailbox(worker);
    LIST_FOR_EACH_SAFE (node, &worker->all)
        range_replica_free(CONTAINER_OF(node, struct range_replica, in_all));
    range_snapshot_free_receives(worker); /* births */
    range_clients_flush(worker);
    range_clients_free(worker);
    range_outbox_free(worker);
    idmap_done(&worker->ranges);
    storage_batch_free(worker->log_batch);
    storage_batch_free(worker->apply.batch);
    txn_apply_free(worker->apply.txn);
    memory_free(worker->ready.works);
    memory_free(worker->creations.replicas);
    memory_free(worker->apply.jobs);
    memory_free(worker->report.heard);
    range_positions_done(&worker->apply.positions);
    range_stages_done(&worker->stages);
    buf_done(&worker->room.text);
    buf_done(&worker->scratch);
    arena_done(&worker->arena);
    ASSERT(pthread_mutex_destroy(&worker->report.lock) == 0);
    ASSERT(pthread_mutex_destroy(&worker->turn_lock) == 0);
    memory_free(worker);
}

struct range_replica *range_worker_find_any(const struct range_worker *worker, uint64_t range_id) {
    struct idmap_node *node = idmap_get(&worker->ranges, range_id);
    return node ? CONTAINER_OF(node, struct range_replica, by_id) : NULL;
}

struct range_replica *range_worker_find(const struct range_worker *worker, uint64_t range_id) {
    struct range_replica *replica = range_worker_find_any(worker, range_id);
    return replica && replica->raft ? replica : NULL;
}

void range_worker_fatal(const struct range_worker *worker, const char *operation, uint64_t range_id,
                        enum status status) {
    uint64_t node_id = worker->store->config.node_id;
    if (range_id != 0)
        fatal("node %" PRIu64 " range %" PRIu64 ": %s failed: %s (%s); the process stops because "
              "nothing may be assumed about the disk any more",
              node_id, range_id, operation, status_text(status), status_name(status));
    fatal("node %" PRIu64 ": %s failed: %s (%s); the process stops because nothing may be assumed "
          "about the disk any more",
          node_id, operation, status_text(status), status_name(status));
}

/* ---- the turn ---- */

/* Everything that waits is told so; what is in the log already may or may not come true. */
static void stop(struct range_worker *worker) {
    struct slice text = SLICE_LITERAL("this node is shutting down");
    worker->stopped = true;
    mailbox_close(worker->mailbox);
    struct heap_node *first;
    while ((first = heap_min(&worker->clients.deadlines)) != NULL) {
        struct range_pending *pending = CONTAINER_OF(first, struct range_pending, deadline);
        range_pending_refuse_text(
            pending, range_pending_in_log(pending) ? RANGE_REPLY_UNKNOWN : RANGE_REPLY_UNAVAILABLE,
            text);
    }
}

static void process_item(struct range_worker *worker, struct range_item *item) {
    switch (item->kind) {
    case RANGE_ITEM_REQUESTS:
        range_admit_frame(worker, item);
        break;
    case RANGE_ITEM_RAFT:
        arena_reset(&worker->arena);
        range_step_frame(worker, item->node_id, range_item_bytes(item));
        break;
    case RANGE_ITEM_SNAPSHOT:
        range_snapshot_frame(worker, item->node_id, range_item_bytes(item));
        break;
    case RANGE_ITEM_TIMESTAMPS:
        range_propose_timestamps(worker, item->first, item->count);
        break;
    case RANGE_ITEM_CREATE:
        range_create_replica(worker, range_item_bytes(item), item->flag);
        break;
    case RANGE_ITEM_UNREACHABLE:
        range_step_unreachable(worker, item->node_id);
        break;
    case RANGE_ITEM_DRAIN:
        worker->draining = true;
        break;
    case RANGE_ITEM_DECLINE:
        range_transfer_decline(worker);
        break;
    case RANGE_ITEM_ROOM:
        range_room_set(worker, (enum range_room)item->count, range_item_bytes(item));
        break;
    case RANGE_ITEM_TRANSFER:
        range_transfer_to_node(worker, item->range_id, item->node_id);
        break;
    case RANGE_ITEM_STOP:
        stop(worker);
        break;
    }
}

/* One who stops answers everybody. */
static struct mailbox_item *take_items(struct range_worker *worker) {
    const struct range_store_config *config = &worker->store->config;
    const size_t bytes_most[MAILBOX_LANE_COUNT] = {
        [RANGE_LANE_NODES] = range_limit(config->turn_nodes_bytes, RANGE_TURN_NODES_BYTES),
        [RANGE_LANE_CLIENTS] = range_limit(config->turn_clients_bytes, RANGE_TURN_CLIENTS_BYTES),
    };
    if (worker->stopped) return mailbox_drain_all(worker->mailbox);
    struct mailbox_rest rest;
    struct mailbox_item *chain = mailbox_drain(worker->mailbox, bytes_most, &rest);
    if (rest.items > 0) {
        atomic_fetch_add(&worker->queued, rest.items);
        atomic_fetch_add(&worker->queued_bytes, rest.bytes);
    }
    return chain;
}

/* The clock is read after the mailbox was drained: a lease checked against an older time could be
 * over already for a read that is younger, had the process been stopped in between. */
static void drain(struct range_worker *worker, uint64_t now_us) {
    atomic_store(&worker->queued, 0);
    atomic_store(&worker->queued_bytes, 0);
    struct mailbox_item *link = take_items(worker);
    uint64_t clock_us = clock_monotonic_us(worker->store->clock);
    if (worker->now_us < now_us) worker->now_us = now_us;
    if (worker->now_us < clock_us) worker->now_us = clock_us;
    while (link) {
        struct mailbox_item *next = link->next;
        struct range_item *item = range_item_of(link);
        process_item(worker, item);
        range_item_unref(item);
        link = next;
    }
}

/* Ranges that were left with work by the last turn get this turn's time, too. */
static void renew_time(struct range_worker *worker) {
    LIST_FOR_EACH (node, &worker->ready.touched) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_touched);
        if (replica->raft) raft_set_now(replica->raft, worker->now_us);
    }
}

/* What needs no further sync: effects, reads, replies. */
static void finish(struct range_worker *worker) {
    bool all = true;
    for (uint32_t i = 0; i < RANGE_APPLY_ROUNDS_MAX && all && worker->apply.job_count > 0; i++) {
        all = range_apply_round(worker);
        range_ready_take(worker);
    }
    range_read_serve(worker);
    range_snapshot_drop_unneeded(worker);
    range_snapshot_pump(worker);
    range_propose_ask(worker);
    range_outbox_flush(worker);
    range_status_flush(worker);
    range_clients_flush(worker);
    range_stages_flush(worker);
}

static void begin_work(struct range_worker *worker) {
    worker->works_since_us = clock_monotonic_us(worker->store->clock);
}

static void pause_work(struct range_worker *worker) {
    uint64_t now_us = clock_monotonic_us(worker->store->clock);
    if (now_us > worker->works_since_us) worker->turn_worked_us += now_us - worker->works_since_us;
}

static void end_turn(struct range_worker *worker) {
    pause_work(worker);
    worker->turn_us += worker->turn_worked_us / 8 - worker->turn_us / 8;
    worker->turn_worked_us = 0;
}

bool range_worker_turn(struct range_worker *worker, uint64_t now_us) {
    ASSERT(!worker->syncing);
    begin_work(worker);
    metric_add(&metric_range_turns_total, 1);
    worker->reads.steps = 0;
    drain(worker, now_us);
    renew_time(worker);
    range_step_ticks(worker);
    range_remove_stage(worker);
    range_read_ask(worker);
    range_propose_ask(worker);
    range_ready_take(worker);
    range_outbox_flush(worker);
    if (!worker->log_needs_sync) {
        finish(worker);
        end_turn(worker);
        return false;
    }
    metric_add(&metric_range_synced_turns_total, 1);
    /* Reads that need nothing of this turn do not wait for its disk write. */
    range_read_serve(worker);
    range_clients_flush(worker);
    range_stages_sent(worker);
    worker->syncing = true;
    pause_work(worker);
    return true;
}

struct storage_batch *range_worker_batch(struct range_worker *worker) {
    return worker->log_batch;
}

void range_worker_synced(struct range_worker *worker, uint64_t now_us) {
    ASSERT(worker->syncing);
    begin_work(worker);
    worker->syncing = false;
    worker->log_needs_sync = false;
    storage_batch_clear(worker->log_batch);
    if (worker->now_us < now_us) worker->now_us = now_us;
    range_stages_synced(worker);
    renew_time(worker);
    range_create_durable(worker);
    range_ready_synced(worker);
    range_remove_durable(worker);
    range_ready_take(worker);
    range_outbox_flush(worker);
    finish(worker);
    end_turn(worker);
}

uint64_t range_worker_next_us(const struct range_worker *worker) {
    return worker->next_tick_us;
}

bool range_worker_pending(struct range_worker *worker) {
    return atomic_load(&worker->queued) > 0 || worker->log_needs_sync ||
           worker->apply.job_count > 0 || worker->reads.left ||
           !list_empty(&worker->ready.touched) || !list_empty(&worker->removals.leaving);
}
