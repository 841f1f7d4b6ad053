/* Committed commands of all ranges, into one batch per round. */
#ifndef FLOTILLA_RANGE_APPLY_H
#define FLOTILLA_RANGE_APPLY_H

#include "base/list.h"
#include "raft/raft.h"
#include "range/positions.h"
#include "range/record.h"

struct range_replica;
struct range_worker;
struct storage_batch;
struct txn_apply;

/* range_replica_apply.entry_commands after a start and after a snapshot. */
#define RANGE_ENTRY_APPLIED_UNKNOWN UINT32_MAX

/* Committed entries that wait for the next round; valid until raft_apply_done. */
struct range_apply_job {
    struct range_replica *replica;
    const struct raft_entry *entries;
    uint32_t count;
};

/* Of a replica. */
struct range_replica_apply {
    bool record_changed;            /* in the round: the record goes with it */
    bool removed;                   /* in the round: it has applied its own removal */
    struct range_apply_state state; /* while in a round: what the engine will hold */
    size_t bytes;                   /* payload bytes of the round, for raft_apply_done */
    uint32_t entry_commands;        /* applied ones of the entry behind state.applied */
    struct list_node in_round;      /* worker->apply.round */
    struct list_node in_slot;       /* positions.h: its newest state is only there */
};

/* Of a worker. */
struct range_worker_apply {
    struct storage_batch *batch; /* effects, apply states, compaction: buffered */
    struct txn_apply *txn;
    struct range_apply_job *jobs;
    uint32_t job_count, job_cap;
    struct list_node round; /* replicas of the round */
    uint32_t round_commands;
    size_t round_bytes;
    struct range_positions positions;
};

void range_apply_add(struct range_replica *replica, const struct raft_entry *entries,
                     uint32_t count);
/* What waits of the replica is not applied any more. */
void range_apply_forget(struct range_replica *replica);
/* A snapshot contains what waits to be applied. The core has its configuration already, so that a
 * change of an older one could not be applied any more. */
void range_apply_skip(struct range_replica *replica);
/* One engine write for what waits. False: it was as much as a turn does (RANGE_APPLY_ROUND_*);
 * what is left, and what comes of it, is for the next one. */
bool range_apply_round(struct range_worker *worker);
/* Stops the process: says which entry, and what is wrong with it. */
_Noreturn void range_apply_fail(const struct range_replica *replica, const struct raft_entry *entry,
                                const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
