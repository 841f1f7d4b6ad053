/* The multi-Raft store of one node: many range replicas over a few workers, one engine, one
 * transport.
 *
 * A worker owns its ranges completely; nothing inside a range is locked. It is a state machine:
 *
 *   range_worker_turn      drains the mailbox, steps every touched range, sends what promises
 *                          nothing (a leader's appends), and leaves one batch for all of them
 *   storage_write(SYNCED)  by whoever drives the worker, if the turn left something to sync
 *   range_worker_synced    releases the responses, applies what is committed (all ranges into
 *                          one batch, buffered), answers the waiting clients
 *
 * range_worker_run is the production driver (a thread); the simulator drives the same functions
 * with its own clock, disk and network. Everything here may be called from any thread unless it
 * says so. */
#ifndef FLOTILLA_RANGE_STORE_H
#define FLOTILLA_RANGE_STORE_H

#include "base/clock.h"
#include "base/mailbox.h"
#include "raft/raft.h"
#include "range/descriptor.h"
#include "range/request.h"
#include "storage/engine.h"

struct range_store;
struct range_worker;

/* Where replies go: one per router→node stream. Implemented by rpc/ (and the simulator). */
struct range_session {
    /* Takes one reply frame (borrowed, copy it). Called on worker threads. A peer that does not
     * read is closed by the implementation when its queue bound is reached. */
    void (*send)(struct range_session *session, struct slice frame);
    void (*retain)(struct range_session *session);
    void (*release)(struct range_session *session); /* last one frees */
};

/* Messages to other nodes. Losing a frame is allowed, reordering too; blocking is not. Called on
 * worker threads; slices are borrowed. */
struct range_transport {
    void *ctx;
    /* A batch of Raft messages of many ranges (layout in range/raft_frame.h). Dropped frames are
     * reported by range_store_unreachable. */
    void (*send_raft)(void *ctx, uint64_t to_node, struct slice frame);
    /* One snapshot chunk or acknowledgement (range/snapshot.h), on a stream of its own. */
    void (*send_snapshot)(void *ctx, uint64_t to_node, struct slice frame);
    /* That node has sent what no correct one sends (it is in the log): close its streams. May be
     * NULL. */
    void (*refuse)(void *ctx, uint64_t from_node);
};

/* Timestamps (DESIGN.md, "Time"). At most one request per worker is under way; the answer comes
 * through range_store_timestamps. The implementation retries until it has one or is shut down. */
struct range_oracle {
    void *ctx;
    void (*request)(void *ctx, uint32_t worker, uint32_t count);
};

struct range_store_config {
    uint64_t node_id;
    uint32_t workers;          /* 1..RANGE_WORKERS_MAX */
    uint64_t tick_us;          /* 10,000 */
    uint32_t heartbeat_ticks;  /* 5: 50 ms */
    uint32_t election_ticks;   /* 15: time-out 150 to 300 ms */
    uint32_t quiesce_ticks;    /* 15: a range that was idle so long goes quiet; 0: none does */
    uint32_t lease_drift_ppm;  /* 10,000: clocks may differ in rate by 1 % */
    bool lease_reads;          /* false: every linearizable read is a ReadIndex */
    uint64_t log_entries_kept; /* applied entries kept for slow followers before compaction */
    uint64_t log_bytes_kept;
    uint32_t log_snapshot_entries; /* kept for who gets a snapshot; 0:
                                    * RANGE_LOG_SNAPSHOT_ENTRIES_MAX. Tests keep fewer. */
    uint32_t log_compact_step; /* compaction begins when so many entries may go; 0: as many as pay
                                * (RANGE_COMPACT_STEP). Tests compact sooner. */
    uint32_t append_bytes_max; /* of the entries in one append to a follower; 0: the most there may
                                * be (RANGE_APPEND_BYTES_MAX). Tests cut appends short. */
    uint32_t catch_up_bytes; /* on the way to a follower that is behind, at least; 0: as many as pay
                              * (RANGE_CATCH_UP_BYTES). Tests send fewer. */
    uint32_t apply_round_commands; /* that are applied with one write of effects; 0: the most there
                                    * may be (RANGE_APPLY_ROUND_COMMANDS). Tests apply fewer. */
    uint32_t log_work_min;         /* work that a range's log is always given; 0: as much as pays
                                    * (RANGE_LOG_WORK_MIN). Tests keep it shallow. */
    uint32_t read_steps_max; /* of one read; 0: RANGE_READ_STEPS_MAX. Tests cut reads short. */
    /* Of one command; 0: TXN_COMMAND_STEPS_MAX. Part of what commands mean, so the same on every
     * node for ever. Tests refuse sooner. */
    uint32_t command_steps_max;
    /* 0: as range/limits.h has them. Tests reach their ends. */
    uint32_t mailbox_items_max, pending_max, position_row_max;
    uint32_t turn_nodes_bytes, turn_clients_bytes;
    uint32_t snapshot_chunk_bytes, snapshots_max;
    uint64_t snapshot_bytes_per_s; /* sent by this node, all ranges together */
    /* Another one at every start: of the election time-outs, and what other nodes tell the runs of
     * this node apart by. */
    uint64_t seed;
    uint64_t slow_us; /* writes that take so long here are logged with their stages; 0: none */
};

/* Recovers every range that the engine holds. CORRUPTION, IO, MISMATCH: `error` says which and the
 * way out. */
enum status range_store_open(const struct range_store_config *config, struct storage_engine *engine,
                             const struct range_transport *transport,
                             const struct range_oracle *oracle, const struct clock *clock,
                             struct buf *error, struct range_store **ret_store) MUST_CHECK;
/* Workers must have stopped (range_store_stop, then join the threads). */
void range_store_free(struct range_store *store);

uint32_t range_store_worker_count(const struct range_store *store);
struct range_worker *range_store_worker(struct range_store *store, uint32_t worker);

/* ---- driving a worker: one thread at a time ---- */
/* Returns true when range_worker_batch must now be written with STORAGE_SYNCED and then
 * range_worker_synced be called; no other turn may come between. */
bool range_worker_turn(struct range_worker *worker, uint64_t now_us);
struct storage_batch *range_worker_batch(struct range_worker *worker);
/* now_us again, because the sync took time. */
void range_worker_synced(struct range_worker *worker, uint64_t now_us);
uint64_t range_worker_next_us(
    const struct range_worker *worker); /* when the next turn is due without input */
bool range_worker_pending(struct range_worker *worker); /* has work for a turn right now */
/* The production loop; returns after range_store_stop. A failed write ends the process (fatal). */
void range_worker_run(struct range_worker *worker);
void range_store_stop(struct range_store *store);

/* ---- turns on the caller's thread ----
 * Waking an idle worker costs more than most of its turns. A thread that hands requests and frames
 * in, and then would only wait for what comes of them, may take them itself: what it hands in
 * wakes nobody, and range_store_run_inline runs the turns of idle workers, their disk write
 * included. A worker that is busy, has many requests under way, or whose disk is slow keeps to its
 * own thread.
 *
 * Between begin and end this thread must call range_store_run_inline after it has handed something
 * in and before it blocks. Only beside range_worker_run; one thread per store. */
void range_store_inline_begin(struct range_store *store);
void range_store_run_inline(struct range_store *store);
void range_store_inline_end(struct range_store *store);

/* ---- inputs ---- */
/* A frame of requests. Copies it. BUSY: mailbox full, nothing was taken: the caller answers each
 * call with range_store_refuse_frame. CORRUPTION: close the stream. */
enum status range_store_requests(struct range_store *store, struct range_session *session,
                                 struct slice frame) MUST_CHECK;
/* Answers every call of a request frame with BUSY. */
void range_store_refuse_frame(struct range_session *session, struct slice frame,
                              uint32_t retry_after_us);
/* Raft frames may be dropped on overload (counted); CORRUPTION: close the stream. */
enum status range_store_raft_frame(struct range_store *store, uint64_t from_node,
                                   struct slice frame) MUST_CHECK;
enum status range_store_snapshot_frame(struct range_store *store, uint64_t from_node,
                                       struct slice frame) MUST_CHECK;
void range_store_unreachable(struct range_store *store, uint64_t node_id); /* its stream broke */
/* The oracle's answer: timestamps first .. first+count-1. count 0: failed for good (shutdown). */
void range_store_timestamps(struct range_store *store, uint32_t worker, uint64_t first,
                            uint32_t count);

/* Creates this node's replica of a range at cluster birth. Idempotent: a range that exists, or
 * whose replica was removed here (tombstone), is left alone. `campaign`: this replica is the one
 * meant to lead first. Durable before it takes part in anything. */
void range_store_create(struct range_store *store, const struct range_descriptor *descriptor,
                        bool campaign);

/* Leaders go elsewhere (shutdown, draining). Ask range_store_status how many are left, and which of
 * them have nowhere to go. */
void range_store_drain(struct range_store *store);
/* The end of draining. Whoever drains goes on taking leaderships, to hand them back (transfer.c),
 * and one may be on its way while range_store_status says that nothing is led. So before a node may
 * stop it declines: its replicas stand for no election any more and take nothing over, for good.
 * What still came before that is drained as before. */
void range_store_decline(struct range_store *store);
/* How much room the disk has left, as whoever watches it says; ROOMY at the start. What each means
 * is in room.c. `text` is what refused writers are told: it names the disk. Said again, it makes
 * the node look anew for who could lead instead. */
enum range_room { RANGE_ROOM_ROOMY, RANGE_ROOM_SCARCE, RANGE_ROOM_NONE };
void range_store_set_room(struct range_store *store, enum range_room room, struct slice text);
/* Every worker does, and range_store_status has all that came before. */
bool range_store_declines(struct range_store *store);
void range_store_transfer(struct range_store *store, uint64_t range_id, uint64_t to_node);

/* ---- reports ---- */
struct range_status {
    const struct range_descriptor *descriptor;
    uint64_t replica_id, leader_replica, leader_node, term, commit_index, applied_index,
        log_first_index;
    bool leads;
    bool quiet;          /* neither ticks nor heartbeats, until something happens */
    bool drain_given_up; /* leads, drains, and every replica that answers handed it back */
    bool drain_offered;  /* drains, handed the leadership to another, has not yet heard it lead */
    uint64_t approximate_bytes, writes_total, reads_total;
    uint64_t followers_behind; /* leads: committed entries that its slowest replica may lack */
};
typedef void range_status_fn(void *ctx, const struct range_status *status);
/* A copy of all replicas' states, as of each worker's last turn or so. Blocks for no I/O. */
void range_store_status(struct range_store *store, range_status_fn *each, void *ctx);
uint32_t range_store_leader_count(struct range_store *store);
/* Whether every worker that shares ranges with that node hears all of its workers, as of the last
 * beat; UNKNOWN: none does share any, or nobody listens (quiesce_ticks 0). */
enum range_hearing { RANGE_HEARING_UNKNOWN, RANGE_HEARS, RANGE_HEARS_NOT };
enum range_hearing range_store_hears(struct range_store *store, uint64_t node_id);
/* storage_synced_sequence of the store's engine. Any thread. */
uint64_t range_store_synced_sequence(const struct range_store *store);

#endif
