/* The production driver of a worker: a thread that turns, syncs, and sleeps when nothing waits. */
#include "base/assert.h"
#include "range/worker.h"

static void turn(struct range_worker *worker) {
    const struct range_store *store = worker->store;
    if (!range_worker_turn(worker, clock_monotonic_us(store->clock))) return;
    enum status status = storage_write(store->engine, range_worker_batch(worker), STORAGE_SYNCED);
    if (status != STATUS_OK) range_worker_fatal(worker, "synced write of the log", 0, status);
    range_worker_synced(worker, clock_monotonic_us(store->clock));
}

void range_worker_run(struct range_worker *worker) {
    while (!worker->stopped) {
        turn(worker);
        if (worker->stopped || range_worker_pending(worker)) continue;
        uint64_t now_us = clock_monotonic_us(worker->store->clock);
        uint64_t next_us = range_worker_next_us(worker);
        if (next_us > now_us) mailbox_wait(worker->mailbox, next_us - now_us);
    }
    /* The mailbox is closed: one more turn answers what came in before that. */
    turn(worker);
}
