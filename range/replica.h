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
 *   R4  `proposed` is sorted by log position; every one of them is above applied.applied.index.
 *   R5  pending_count and pending_bytes are those of the waiting and proposed commands.
 *   R6  Outside of a turn: it is in worker->awake if and only if its Raft core is not quiet.
 *   R7  pace.queued is the work of the waiting commands (waiting_work) and of those in the log that
 *       this leadership proposed and that are not applied; 0 when it does not lead. */
#ifndef FLOTILLA_RANGE_REPLICA_H
#define FLOTILLA_RANGE_REPLICA_H

#include "base/hashmap.h"
#include "base/list.h"
#include "base/pace.h"
#include "base/prng.h"
#include "range/life.h"
#include "range/limits.h"
#include "range/record.h"
#include "range/store.h"
#include "storage/raft_log.h"

struct range_append_probe;
struct range_published;
struct range_snapshot_receive;

/* Reads that share one ReadIndex context. */
struct range_read_round {
    uint64_t context;       /* 0: unused */
    struct list_node reads; /* struct range_pending */
};

/* range_replica.entry_applied after a start and after a snapshot. */
#define RANGE_ENTRY_APPLIED_UNKNOWN UINT32_MAX

struct range_replica {
    /* What most turns need comes first, down to the first replicas of the descriptor:
     * range_prefetch_replica fetches it before its turn comes. */
    struct range_worker *worker; /* the owner */
    struct idmap_node by_id;     /* in worker->ranges, by range id */
    struct list_node in_touched; /* worker->touched: may have ready work */
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

    /* Apply. */
    bool record_changed;               /* in the round: the record goes with it */
    bool removed;                      /* in the round: it has applied its own removal */
    struct range_apply_state applied;  /* what the engine holds */
    struct range_apply_state applying; /* while in a round: what the engine will hold */
    size_t applying_bytes;             /* payload bytes of the round, for raft_apply_done */
    uint32_t entry_applied;            /* commands of the entry behind applying.applied */
    struct list_node in_round;         /* worker->round */
    struct list_node in_slot;          /* positions.h: its newest state is only there */

    /* Commands. */
    struct list_node waiting;    /* for a timestamp; in order of arrival */
    struct list_node in_waiting; /* worker->waiting */
    struct list_node proposed;   /* for their entries to be applied */
    struct list_node changes;    /* of its replicas (change.c), asked for by clients */
    uint32_t waiting_count, pending_count;
    size_t pending_bytes;
    uint64_t last_proposed_ts; /* of the present leadership; 0: none */
    struct pace pace;      /* overload.c: waiting commands, and those in this leadership's log */
    uint64_t waiting_work; /* of it: of the waiting commands */
    uint64_t log_us;       /* from proposal to answer, of late (a moving average) */

    /* Leadership, followed by range_replica_follow_role. */
    bool leads;
    uint64_t lead_term;
    uint64_t seen_leader; /* replica id last seen leading; 0: none */

    /* Figures of a leader (stages.h). */
    struct range_append_probe *probes; /* by place in the descriptor; NULL: it does not lead */
    struct metric *write_latency;      /* of this range; NULL: none of its own */

    /* Reports. */
    struct range_published *published;
    struct list_node in_stale; /* worker->stale: what is published is older */
    uint64_t approximate_bytes, writes_total, reads_total;

    /* What it is. */
    struct range_descriptor descriptor; /* as of applied.applied */
    struct raft_conf_state conf;        /* as of applied.applied */
    struct list_node in_all;            /* worker->all, in order of creation */
    bool campaign;                      /* stand for election as soon as active */
    struct list_node in_leaving;        /* worker->leaving: LEAVING or DELETING */
    struct raft_log_id committed;       /* from LEAVING on: known to be committed when it ended */
    struct prng prng;                   /* election time-outs */
    char log_prefix[48];

    /* Leadership that is handed on (transfer.c). */
    uint64_t transfer_to;       /* node that leadership was last offered to; 0: none */
    uint64_t transfer_retry_us; /* draining: not before */
    uint64_t leads_since_us;
    uint32_t drain_offered;  /* draining: bit of the replica (its place in the descriptor) that
                              * was last asked to lead; 0: none yet */
    uint32_t drain_returned; /* draining: bits of those that led and did not keep it */
    bool drain_given_up;     /* draining, and nobody is left that might keep the leadership */

    /* Quiet ranges (liveness.c). */
    struct list_node in_waking; /* worker->waking: something happened to a node that it relies on */
    uint64_t suspected;         /* replica that led it when that one's node was lost; 0: none */
    bool wake_leader;           /* a replica's node has restarted */
    bool look_again;            /* a node that was silent is heard */

    /* Reads, and leadership transfers asked for by clients. */
    struct list_node reads_new; /* wait for a ReadIndex round */
    struct range_read_round rounds[RANGE_READ_ROUNDS_MAX];
    uint32_t round_first, round_count; /* a ring */
    struct list_node reads_indexed;    /* know their index, wait for it to be applied */
    struct list_node in_reading;       /* worker->reading: reads_new or reads_indexed is filled */
    struct list_node transfers;

    /* Replicas that joined behind what is applied here, the leader among them perhaps, and where
     * they were heard from: the descriptor does not know them yet, and they want answers. A ring.
     */
    struct range_replica_ref strangers[RANGE_STRANGERS_MAX];
    uint32_t stranger_at;
    uint64_t asked_version; /* newest descriptor whose replicas were asked what has become of it */
    uint64_t asked_us;      /* when */

    /* Changes of its replicas (change.c). */
    uint64_t change_index;   /* of the last one proposed by the present leadership; 0: none */
    uint64_t leave_retry_us; /* joint: it should have been left by then */

    /* Snapshots. */
    struct range_snapshot_receive *receive; /* NULL: none under way */
    uint64_t snapshot_finished;             /* id of the last one received whole */
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
void range_replica_meet(struct range_replica *replica, uint64_t replica_id, uint64_t node_id);
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
