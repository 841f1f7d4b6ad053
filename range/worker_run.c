/* The production driver of a worker: a thread that turns, syncs, and sleeps when nothing waits; and
 * the thread of the network, which takes turns for idle workers (store.h, "turns on the caller's
 * thread"). Who turns holds `turn_lock`. */
#include "base/assert.h"
#include "range/metrics.h"
#include "range/worker.h"

/* Such a turn serves few: more requests under way, or larger frames, are worth a thread that works
 * while the network goes on and gathers the next ones. */
#define INLINE_PENDING_MAX 4u
#define INLINE_BYTES_MAX 2048u
/* It holds up the network for as long as its disk write: not on a disk whose last one took
 * longer than this. */
#define INLINE_SYNC_US_MAX 1000u
/* Turns in a row for one worker before its own thread takes over. */
#define INLINE_TURNS_MAX 4u

static void lock(struct range_worker *worker) {
    ASSERT(pthread_mutex_lock(&worker->turn_lock) == 0);
}

static void unlock(struct range_worker *worker) {
    ASSERT(pthread_mutex_unlock(&worker->turn_lock) == 0);
}

static void turn(struct range_worker *worker) {
    const struct range_store *store = worker->store;
    if (!range_worker_turn(worker, clock_monotonic_us(store->clock))) return;
    uint64_t began_us = clock_monotonic_us(store->clock);
    enum status status = storage_write(store->engine, range_worker_batch(worker), STORAGE_SYNCED);
    if (status != STATUS_OK) range_worker_fatal(worker, "synced write of the log", 0, status);
    uint64_t now_us = clock_monotonic_us(store->clock);
    worker->last_sync_us = now_us - began_us;
    range_worker_synced(worker, now_us);
}

/* Turns until nothing waits. Returns how long there is to sleep; 0: stopped. */
static uint64_t turn_until_idle(struct range_worker *worker) {
    uint64_t sleep_us = 0;
    lock(worker);
    while (!worker->stopped && sleep_us == 0) {
        turn(worker);
        uint64_t now_us = clock_monotonic_us(worker->store->clock);
        uint64_t next_us = range_worker_next_us(worker);
        if (!range_worker_pending(worker) && next_us > now_us) sleep_us = next_us - now_us;
    }
    unlock(worker);
    return sleep_us;
}

void range_worker_run(struct range_worker *worker) {
    uint64_t sleep_us;
    while ((sleep_us = turn_until_idle(worker)) > 0)
        mailbox_wait(worker->mailbox, sleep_us);
    /* The mailbox is closed: one more turn answers what came in before that. */
    lock(worker);
    turn(worker);
    unlock(worker);
}

/* ---- turns on the caller's thread ---- */

static bool worth_running_inline(const struct range_worker *worker) {
    return !worker->stopped && worker->clients.pending_count <= INLINE_PENDING_MAX &&
           atomic_load(&worker->queued_bytes) <= INLINE_BYTES_MAX &&
           worker->last_sync_us <= INLINE_SYNC_US_MAX;
}

static void run_inline(struct range_worker *worker) {
    if (atomic_load(&worker->queued) == 0) return;
    /* Held by its own thread, which looks into the mailbox before it sleeps. */
    if (pthread_mutex_trylock(&worker->turn_lock) != 0) return;
    uint32_t turns = 0;
    while (turns < INLINE_TURNS_MAX && range_worker_pending(worker) &&
           worth_running_inline(worker)) {
        turn(worker);
        turns++;
    }
    metric_add(&metric_range_inline_turns_total, turns);
    bool more = range_worker_pending(worker);
    unlock(worker);
    if (more) mailbox_kick(worker->mailbox);
}

void range_store_run_inline(struct range_store *store) {
    for (uint32_t i = 0; i < store->worker_count; i++)
        run_inline(store->workers[i]);
}

void range_store_inline_begin(struct range_store *store) {
    for (uint32_t i = 0; i < store->worker_count; i++)
        mailbox_hold_wakes(store->workers[i]->mailbox, true);
}

void range_store_inline_end(struct range_store *store) {
    for (uint32_t i = 0; i < store->worker_count; i++) {
        mailbox_hold_wakes(store->workers[i]->mailbox, false);
        mailbox_kick(store->workers[i]->mailbox);
    }
}
