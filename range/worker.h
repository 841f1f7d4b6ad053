/* A worker: the ranges it owns, and the state of its turn. Transparent inside range/ only.
 *
 * A turn (range/store.h) runs through these phases; each is one file:
 *
 *   inbox.c     drain, then read the clock: leases need a time not older than what was drained
 *   admit.c     requests: checks, then answered, queued or refused
 *   step.c      Raft messages, ticks
 *   propose.c   commands that have their timestamps become log entries
 *   read.c      reads get an index, or are served
 *   ready.c     ready work of every touched range: messages out, entries into the log batch
 *   ---- the driver syncs the log batch ----
 *   ready.c     promises out, self-addressed messages stepped
 *   apply.c     what is committed: effects of all ranges in one batch, buffered
 *   read.c      reads whose index is applied
 *   client.c    one frame of replies per session */
#ifndef FLOTILLA_RANGE_WORKER_H
#define FLOTILLA_RANGE_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "range/apply.h"
#include "range/client.h"
#include "range/create.h"
#include "range/inbox.h"
#include "range/liveness.h"
#include "range/outbox.h"
#include "range/overload.h"
#include "range/promise.h"
#include "range/propose.h"
#include "range/read.h"
#include "range/ready.h"
#include "range/remove.h"
#include "range/replica.h"
#include "range/room.h"
#include "range/snapshot_receive.h"
#include "range/stages.h"
#include "range/status.h"
#include "range/store.h"

struct range_worker {
    struct range_store *store;
    uint32_t index;
    struct mailbox *mailbox;
    _Atomic uint64_t queued;       /* items in the mailbox, at least; for range_worker_pending */
    _Atomic uint64_t queued_bytes; /* the same, for worth_running_inline */
    _Atomic uint32_t leader_count;
    _Atomic bool decline_published; /* it declines, and the published statuses are not older */

    /* Held by whoever runs a turn (worker_run.c); everything below belongs to the holder. */
    pthread_mutex_t turn_lock;
    uint64_t last_sync_us; /* how long the last disk write took */

    uint64_t now_us; /* of this turn */
    /* The work of a turn, without its disk write: how long it takes of late (a moving average over
     * about eight turns), how long this one has taken so far, and since when it works. */
    uint64_t turn_us, turn_worked_us, works_since_us;
    uint64_t next_tick_us;
    uint64_t ticks; /* delivered so far */
    struct prng prng;
    struct arena arena; /* of one item or one apply round */
    struct buf scratch;
    bool syncing; /* between a turn that returned true and range_worker_synced */
    bool stopped;
    bool draining;
    bool declines; /* leaderships, before it stops */

    struct idmap ranges; /* every replica, by range id */
    struct list_node all;
    struct list_node awake; /* replicas that are ticked: those that are not quiet */

    struct storage_batch *log_batch; /* entries, hard states, creations: synced */
    bool log_needs_sync;

    struct range_worker_ready ready;
    struct range_worker_creations creations;
    struct range_worker_removals removals;
    struct range_worker_apply apply;
    struct range_worker_clients clients;
    struct range_load load; /* of all ranges together */
    struct range_worker_reads reads;
    struct range_worker_commands commands;
    struct range_worker_outbox outbox;
    struct range_worker_liveness liveness;
    struct range_worker_snapshots snapshots;
    struct range_worker_room room;
    struct range_stages stages;
    struct range_worker_report report;
};

struct range_store {
    struct range_store_config config;
    struct storage_engine *engine;
    struct range_transport transport;
    struct range_oracle oracle;
    const struct clock *clock;
    struct range_promise promise;
    uint32_t worker_count;
    struct range_worker *workers[RANGE_WORKERS_MAX];
};

static inline struct range_worker *range_store_owner(const struct range_store *store,
                                                     uint64_t range_id) {
    return store->workers[range_id % store->worker_count];
}

struct range_worker *range_worker_new(struct range_store *store, uint32_t index);
void range_worker_free(struct range_worker *worker);
/* Active replicas only; NULL otherwise. */
struct range_replica *range_worker_find(const struct range_worker *worker, uint64_t range_id);
/* In whatever state, tombstones included. */
struct range_replica *range_worker_find_any(const struct range_worker *worker, uint64_t range_id);
/* Names the failed operation, and ends the process: what was written is unknown from here on. */
_Noreturn void range_worker_fatal(const struct range_worker *worker, const char *operation,
                                  uint64_t range_id, enum status status);
/* Asserts the invariants of the worker and of all its ranges. For tests; slow. */
void range_worker_check(const struct range_worker *worker);

#endif
