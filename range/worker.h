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
#include "range/client.h"
#include "range/inbox.h"
#include "range/positions.h"
#include "range/promise.h"
#include "range/raft_frame.h"
#include "range/replica.h"
#include "range/snapshot.h"
#include "range/stages.h"
#include "range/store.h"
#include "txn/evaluate.h"

/* Ready work whose promises wait until the log batch is durable. */
struct range_work {
    struct range_replica *replica; /* NULL: removed since */
    struct raft_append append;
    const struct raft_message *messages; /* after append; valid until after raft_append_done */
    uint32_t message_count;
    bool install; /* a snapshot, staged in replica->receive */
};

/* Committed entries that wait for the next apply round; valid until raft_apply_done. */
struct range_apply_job {
    struct range_replica *replica;
    const struct raft_entry *entries;
    uint32_t count;
};

/* What is heard of one worker of another node. */
struct range_watch {
    uint64_t incarnation;  /* of the node; 0: never heard */
    uint32_t silent_ticks; /* since it was heard */
};

/* Another node: Raft messages of this turn to it, and whether it is alive. */
struct range_peer {
    struct idmap_node by_node;
    struct list_node in_dirty; /* worker->dirty_peers */
    struct buf frame;
    struct range_watch *watches; /* per worker of that node */
    uint32_t watch_count;        /* 0: it was never heard */
    uint32_t unheard_ticks;      /* while it was never heard */
};

/* The same for other threads. */
struct range_heard_node {
    uint64_t node_id;
    bool heard;
};

struct range_worker {
    struct range_store *store;
    uint32_t index;
    struct mailbox *mailbox;
    _Atomic uint64_t queued;       /* items in the mailbox, at least; for range_worker_pending */
    _Atomic uint64_t queued_bytes; /* the same, for worth_lending */
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
    bool declines;        /* leaderships, before it stops */
    enum range_room room; /* of the disk (room.c) */
    struct buf room_text; /* what writers are told when it is not ROOMY */

    struct idmap ranges; /* every replica, by range id */
    struct list_node all;
    struct list_node touched;
    struct list_node awake;    /* replicas that are ticked: those that are not quiet */
    struct list_node leaving;  /* removed replicas whose tombstones are not durable yet */
    struct list_node waking;   /* quiet ranges that have to look after their leaders, in turn */
    uint32_t beat_elapsed;     /* ticks since the last beats */
    struct list_node *sampled; /* replica whose size was measured last, in `all` */

    /* To the disk. */
    struct storage_batch *log_batch;   /* entries, hard states, creations: synced */
    struct storage_batch *apply_batch; /* effects, apply states, compaction: buffered */
    bool log_needs_sync;
    struct range_work *works;
    uint32_t work_count, work_cap;
    struct range_replica **creations;
    uint32_t creation_count, creation_cap;
    struct range_apply_job *jobs;
    uint32_t job_count, job_cap;
    struct list_node round; /* replicas of the apply round */
    uint32_t round_commands;
    size_t round_bytes;
    struct range_positions positions;
    struct txn_apply *apply;

    /* To clients. */
    struct idmap clients;
    struct list_node dirty_clients;
    struct heap deadlines;
    struct range_pending *free_pendings; /* chained over link.next */
    uint32_t free_count;
    uint32_t pending_count; /* all pending requests */
    size_t pending_bytes;   /* of commands */
    struct pace pace;       /* overload.c: of all ranges together */
    uint64_t waiting_work;  /* of it: of the waiting commands */
    size_t held_bytes;      /* of frames that pending requests borrow from */
    struct list_node reading;
    uint64_t read_steps;   /* that reads have taken in this turn */
    bool reads_left;       /* some could be served, were it not for the steps */
    uint64_t read_context; /* last one given out */

    /* To the oracle. */
    struct list_node waiting; /* replicas with commands that wait */
    bool oracle_asked;
    uint64_t oracle_asked_us;

    /* To other nodes. */
    struct idmap peers;
    struct list_node dirty_peers;
    struct list_node snapshot_sends;
    uint32_t snapshot_send_count;
    struct list_node snapshot_tails; /* who has one, and now gets the log behind it */
    struct list_node snapshot_receives;
    uint32_t snapshot_receive_count;
    int64_t snapshot_tokens;     /* bytes that may be sent now; negative: one chunk too many went */
    uint64_t snapshot_refill_us; /* when tokens were last added */

    struct range_stages stages;

    /* Reports: the only part that other threads read. */
    pthread_mutex_t status_lock;
    struct list_node published;     /* struct range_published */
    struct range_heard_node *heard; /* of each peer */
    uint32_t heard_count, heard_cap;
    struct list_node stale; /* replicas to be told of at the end of the turn; the holder's */
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

/* worker.c */
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

/* create.c */
void range_create_replica(struct range_worker *worker, struct slice descriptor, bool campaign);
void range_create_durable(struct range_worker *worker);

/* recover.c */
enum status range_recover(struct range_store *store, struct buf *error) MUST_CHECK;

/* change.c */
/* Proposes the change that a request asks the leader for. INVALID, with a text. BUSY: another one
 * is under way, who is to vote has not caught up, or the leadership is being handed over. */
enum status range_change_propose(struct range_replica *replica, const struct range_request *request,
                                 struct buf *text, struct raft_log_id *ret_id) MUST_CHECK;
void range_change_apply(struct range_replica *replica, const struct raft_entry *entry);
/* To be called when an entry was applied and somebody waits: answers who is done. */
void range_change_settle(struct range_replica *replica, struct raft_log_id applied);
void range_change_tick(struct range_replica *replica);
/* The descriptor was replaced, by a change or a snapshot. */
void range_change_follow(struct range_replica *replica, const struct range_descriptor *before);

/* remove.c */
/* The replica is none any more: its Raft core ends here, its data goes with the next log batch. */
void range_remove_begin(struct range_replica *replica);
/* Somebody says so, in the message of a `removed` envelope. */
void range_remove_told(struct range_replica *replica, struct slice message);
void range_remove_stage(struct range_worker *worker);
void range_remove_durable(struct range_worker *worker);
/* It was a replica and is none: ids are not used twice. */
bool range_remove_is_gone(const struct range_descriptor *descriptor, uint64_t replica_id);
/* Asks another replica what has become of this one, as a follower that misses its leader does. */
void range_remove_ask(struct range_replica *replica, uint64_t node_id, uint64_t replica_id);
/* Somebody complains to a replica that does not lead either: it says what it knows is committed. */
void range_remove_complaint(struct range_replica *replica, uint64_t from_node,
                            const struct raft_message *message);
/* A quiet replica makes sure that it still is one. */
void range_remove_doubt(struct range_replica *replica);
/* Tells it. */
void range_remove_tell(const struct range_replica *replica, uint64_t node_id, uint64_t replica_id);
/* A Raft message for a replica that is not active here. */
void range_remove_stray(struct range_worker *worker, uint64_t from_node,
                        const struct range_raft_envelope *envelope);

/* admit.c */
void range_admit_frame(struct range_worker *worker, struct range_item *item);

/* step.c */
void range_step_frame(struct range_worker *worker, uint64_t from_node, struct slice frame);
void range_step_ticks(struct range_worker *worker);
void range_step_unreachable(struct range_worker *worker, uint64_t node_id);

/* outbox.c */
void range_outbox_add(struct range_replica *replica, const struct raft_message *message);
void range_outbox_flush(struct range_worker *worker);
/* From a replica that is not active here. */
void range_outbox_add_stray(struct range_worker *worker, uint64_t node_id, uint64_t range_id,
                            const struct raft_message *message);
void range_outbox_add_removed(struct range_worker *worker, uint64_t node_id,
                              const struct range_removed_notice *notice);
void range_outbox_add_beat(struct range_worker *worker, struct range_peer *peer,
                           const struct range_beat *beat);
/* Known from now on: it gets beats. */
struct range_peer *range_outbox_peer(struct range_worker *worker, uint64_t node_id);
void range_outbox_free(struct range_worker *worker);

/* liveness.c */
/* Nodes of the replica's descriptor get beats from now on. */
void range_liveness_watch(const struct range_replica *replica);
void range_liveness_beat(struct range_worker *worker, uint64_t from_node,
                         const struct range_beat *beat);
void range_liveness_tick(struct range_worker *worker);
/* Whether the worker that owns the range on that node has been silent for an election time-out. */
bool range_liveness_away(const struct range_worker *worker, uint64_t node_id, uint64_t range_id);
/* Whether it was heard within that time: not quite the opposite, as it may not have had the time.
 */
bool range_liveness_heard(const struct range_worker *worker, uint64_t node_id, uint64_t range_id);

/* propose.c */
void range_propose_enqueue(struct range_pending *pending);
void range_propose_ask(struct range_worker *worker);
void range_propose_timestamps(struct range_worker *worker, uint64_t first, uint32_t count);

/* overload.c */
/* Whether there is time enough for a command, as far as can be known. */
bool range_overload_admits(const struct range_replica *replica, uint64_t deadline_us);
/* A command's way: it waits; and is taken back, or goes into the log; and is applied there, whether
 * somebody still waits for its answer or not. */
void range_overload_enter(const struct range_pending *pending);
void range_overload_withdraw(const struct range_pending *pending);
void range_overload_propose(const struct range_pending *pending);
void range_overload_apply(struct range_replica *replica, const struct raft_entry *entry,
                          size_t command_bytes);
void range_overload_answer(const struct range_pending *pending);
/* The leadership is over; nothing waits any more. */
void range_overload_forget(struct range_replica *replica);
/* Work that the log is to be given now, by a command at least; 0: none, commands wait outside,
 * where they can be refused. */
uint64_t range_overload_log_room(const struct range_replica *replica);
uint64_t range_overload_work(const struct range_pending *pending);
/* A waiting command would be answered UNKNOWN. */
bool range_overload_late(const struct range_pending *pending);
/* BUSY, with a time to come back that follows from how many are refused. */
void range_overload_refuse(struct range_replica *replica, struct range_client *client,
                           uint64_t call_id);
void range_overload_refuse_pending(struct range_pending *pending); /* and frees it */

/* read.c */
uint64_t range_read_steps_max(const struct range_worker *worker); /* of one read */
/* True when the read was answered at once. */
bool range_read_try_lease(struct range_replica *replica, struct range_client *client,
                          const struct range_request *request);
bool range_read_try_stale(struct range_replica *replica, struct range_client *client,
                          const struct range_request *request);
void range_read_enqueue(struct range_pending *pending);
/* A stale read whose turn has no steps left for it. */
void range_read_enqueue_stale(struct range_pending *pending);
void range_read_ask(struct range_worker *worker);
void range_read_indexed(struct range_replica *replica, const struct raft_read_state *state);
void range_read_serve(struct range_worker *worker);
/* Leadership is over: what has no index yet gets NOT_LEADER. */
void range_read_refuse_unindexed(struct range_replica *replica);

/* ready.c */
void range_ready_take(struct range_worker *worker);
void range_ready_synced(struct range_worker *worker);
/* The replica's works promise nothing any more. */
void range_ready_forget(struct range_replica *replica);

/* apply.c */
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

/* compact.c */
void range_compact(struct range_replica *replica, struct storage_batch *batch);
/* Applied entries that a leader keeps although all have them. */
uint64_t range_compact_tail(const struct range_replica *replica);

/* transfer.c */
void range_transfer_request(struct range_pending *pending);
void range_transfer_to_node(struct range_worker *worker, uint64_t range_id, uint64_t to_node);
void range_transfer_drain(struct range_worker *worker);
void range_transfer_decline(struct range_worker *worker);
/* All may be asked again to lead, also those who handed it back. */
void range_transfer_forget_returns(struct range_worker *worker);

/* ---- room.c ---- */

void range_room_set(struct range_worker *worker, enum range_room room, struct slice text);
/* Whether the disk has room for what the message brings. */
bool range_room_takes(const struct range_worker *worker, const struct raft_message *message);
/* Draining: the replica leads again. */
void range_transfer_returned(struct range_replica *replica);
void range_transfer_follow(struct range_replica *replica);

/* snapshot_send.c */
enum status range_snapshot_cut(struct range_replica *replica, uint64_t to_replica,
                               struct raft_snapshot *ret_snapshot) MUST_CHECK;
/* The MSG_SNAPSHOT that the core sends for a cut: begins the stream. */
void range_snapshot_start(struct range_replica *replica, const struct raft_message *message);
void range_snapshot_acknowledged(struct range_replica *replica, uint64_t snapshot_id,
                                 uint64_t next_sequence, enum range_snapshot_verdict verdict);
void range_snapshot_pump(struct range_worker *worker);
void range_snapshot_abort_sends(struct range_replica *replica);
/* Those to replicas that are none any more. */
void range_snapshot_abort_gone(struct range_replica *replica);
void range_snapshot_resend_to(struct range_worker *worker, uint64_t node_id);
/* Where the log has to begin for those that are sent a snapshot or what follows one: the lowest
 * index of them; UINT64_MAX: none. */
uint64_t range_snapshot_lowest_index(const struct range_replica *replica);
/* The log is cut at that index all the same: says for whom, once. */
void range_snapshot_outrun(const struct range_replica *replica, uint64_t index);

/* snapshot_receive.c */
void range_snapshot_frame(struct range_worker *worker, uint64_t from_node, struct slice frame);
/* A ready work holds the snapshot that was received: adds the log's restart to its batch. */
struct storage_batch *range_snapshot_stage(struct range_replica *replica,
                                           const struct raft_snapshot *snapshot);
void range_snapshot_install(struct range_replica *replica);
void range_snapshot_drop_receive(struct range_replica *replica);
void range_snapshot_free_receives(struct range_worker *worker);
/* The range's replica comes into being in another way. */
void range_snapshot_drop_birth(struct range_worker *worker, uint64_t range_id);
void range_snapshot_expire_receives(struct range_worker *worker);
/* Drops what was received whole but is not needed any more. */
void range_snapshot_drop_unneeded(struct range_worker *worker);

/* status.c */
void range_status_publish(struct range_replica *replica);
/* Others are told at the end of the turn, once, however often it changes until then. */
void range_status_stale(struct range_replica *replica);
void range_status_flush(struct range_worker *worker);
void range_status_unpublish(struct range_replica *replica);
void range_status_publish_hearing(struct range_worker *worker);
void range_status_sample_size(struct range_worker *worker);
/* Whether an active replica of another range, of any worker, holds keys of the span. */
bool range_status_overlaps(struct range_store *store, const struct range_descriptor *descriptor);

#endif
