/* One replica of one range: its Raft group member, its log, what it has applied, and who waits for
 * it. Transparent inside range/ only; owned completely by one worker, never locked.
 *
 * Its life is one state, with a table of what may follow (life.h).
 *
 * Invariants (range_check walks them):
 *   R1  applied.applied, descriptor, conf and the engine's content of the span are of one moment:
 *       they change together, after the batch or snapshot that holds them was written. (Within
 *       the round of a change of replicas, descriptor and conf are ahead: change.c. The content
 *       may have the first commands of the next entry, up to last_commit_ts: apply.c.) The
 *       descriptor and conf say the same.
 *   R2  truncated <= applied <= the durable end of the log; log.first_index == truncated.index + 1.
 *   R3  waiting commands, unanswered ReadIndex rounds and snapshot sends exist only while it leads,
 *       in the term `lead_term`.
 *   R4  commands.proposed is sorted by log position; every one of them is above
 * applied.applied.index. R5  commands.pending_count and pending_bytes are those of the waiting and
 * proposed commands. R6  Outside of a turn: it is in worker->awake if and only if its Raft core is
 * not quiet. R7  load.pace.queued is the work of the waiting commands (load.waiting_work) and of
 * those in the log that this leadership proposed and that are not applied; 0 when it does not lead.
 */
#ifndef FLOTILLA_RANGE_REPLICA_H
#define FLOTILLA_RANGE_REPLICA_H

#include "base/hashmap.h"
#include "base/list.h"
#include "base/prng.h"
#include "range/apply.h"
#include "range/change.h"
#include "range/life.h"
#include "range/liveness.h"
#include "range/overload.h"
#include "range/propose.h"
#include "range/read.h"
#include "range/record.h"
#include "range/remove.h"
#include "range/snapshot_receive.h"
#include "range/stages.h"
#include "range/status.h"
#include "range/store.h"
#include "range/transfer.h"
#include "storage/raft_log.h"

struct range_replica {
    /* What most turns need comes first, down to the first replicas of the descriptor:
     * range_prefetch_replica fetches it before its turn comes. */
    struct range_worker *worker; /* the owner */
    struct idmap_node by_id;     /* in worker->ranges, by range id */
    struct list_node in_touched; /* worker->ready.touched: may have ready work */
    struct list_node in_awake;   /* worker->awake: is ticked */
    uint64_t replica_id;
    enum range_life life; /* changed by range_life_enter alone */
    struct raft *raft;    /* NULL unless range_life_has_core */

    /* Log. `written` is the hard state on its way to the disk or there. */
    struct raft_log log;
    uint64_t log_bytes; /* of the entries in the log, roughly: those before a restart count 0 */
    struct raft_hard_state written;
    uint64_t conf_entry; /* index of the last entry that may change the configuration */
    bool unsynced;       /* part of it is in worker->log_batch: later promises wait */

    struct range_apply_state applied; /* what the engine holds */
    struct range_replica_apply apply;
    struct range_replica_commands commands;
    struct range_load load;

    /* Leadership, followed by range_replica_follow_role. */
    bool leads;
    uint64_t lead_term;
    uint64_t seen_leader; /* replica id last seen leading; 0: none */

    struct range_replica_stages stages;
    struct range_replica_report report;

    /* What it is. */
    struct range_descriptor descriptor; /* as of applied.applied */
    struct raft_conf_state conf;        /* as of applied.applied */
    struct list_node in_all;            /* worker->all, in order of creation */
    bool campaign;                      /* stand for election as soon as active */
    struct prng prng;                   /* election time-outs */
    char log_prefix[48];
    /* Replicas that joined behind what is applied here, the leader among them perhaps, and where
     * they were heard from: the descriptor does not know them yet, and they want answers. A ring.
     */
    struct range_replica_ref peer_cache[RANGE_PEER_CACHE_MAX];
    uint32_t peer_cache_at;

    struct range_replica_transfer transfer;
    struct range_replica_waking waking;
    struct range_replica_reads reads;
    struct range_replica_changes changes;
    struct range_replica_removal removal;
    struct range_replica_snapshots snapshots;
};

static inline uint64_t range_replica_id(const struct range_replica *replica) {
    return replica->descriptor.range_id;
}

/* Known to the worker from now on: CREATING, or TOMBSTONE if the record is one. */
struct range_replica *range_replica_new(struct range_worker *worker,
                                        const struct range_replica_record *record);
/* Active no more: its core and everything in memory that belongs to it goes, who waits is answered.
 * It stays known to the worker. */
void range_replica_retire(struct range_replica *replica);
void range_replica_free(struct range_replica *replica);
/* The log and apply state are in the engine: starts the Raft group member. `restarted`: it may have
 * promised things before a crash. */
void range_replica_activate(struct range_replica *replica, const struct raft_hard_state *hard_state,
                            bool restarted);
/* Puts the replica record into a batch. */
void range_replica_put_record(const struct range_replica *replica, struct storage_batch *batch);
void range_replica_put_apply_state(const struct range_replica *replica, struct storage_batch *batch,
                                   const struct range_apply_state *state);

/* Marks that the replica may have work in this turn; hands the turn's time to its Raft core. */
void range_replica_touch(struct range_replica *replica);
/* To be called after everything that can change role, term or leader. Refuses what waited for a
 * leadership that is over. */
void range_replica_follow_role(struct range_replica *replica);
/* To be called after everything that can make it go quiet or wake. */
void range_replica_follow_quiet(struct range_replica *replica);
/* Leads, and has applied an entry of its own term: then everything that earlier leaders put into
 * the log is applied, and last_commit_ts is above the timestamps of all of it. And no change of
 * replicas is on its way: what is appended behind one is counted by the configuration before it,
 * together with a replica that deletes it as soon as it hears of its own removal. */
bool range_replica_may_propose(const struct range_replica *replica);
/* Where a replica of the range is, as far as this one knows; 0: unknown. */
uint64_t range_replica_node_of(const struct range_replica *replica, uint64_t replica_id);
/* A message came from there. */
void range_replica_note_peer(struct range_replica *replica, uint64_t replica_id, uint64_t node_id);
/* The leader's node as this replica believes; 0: unknown. */
uint64_t range_replica_leader_node(const struct range_replica *replica);

/* struct raft_storage over `log` (replica_log.c). */
struct raft_storage range_replica_storage(struct range_replica *replica);

/* Hints, for loops over many replicas (raft.h, "Of thousands of groups"): first the replica, then
 * its core, then what the core's next steps need. Each must have arrived before the next one. */
void range_prefetch_replica(const struct range_replica *replica);
void range_prefetch_core(const struct range_replica *replica);
void range_prefetch_lists(const struct range_replica *replica);

/* Asserts the invariants above, those of the Raft core included. For tests; slow. */
void range_check(const struct range_replica *replica);

#endif
