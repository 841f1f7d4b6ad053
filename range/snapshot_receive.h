/* Receiving snapshots: staged, installed in one step. */
#ifndef FLOTILLA_RANGE_SNAPSHOT_RECEIVE_H
#define FLOTILLA_RANGE_SNAPSHOT_RECEIVE_H

#include "base/list.h"
#include "raft/raft.h"

struct range_replica;
struct range_snapshot_receive;
struct range_worker;
struct storage_batch;

/* Of a replica. */
struct range_replica_snapshots {
    struct range_snapshot_receive *receive; /* NULL: none under way */
    uint64_t finished;                      /* id of the last one received whole */
};

/* Of a worker, those that are sent included. */
struct range_worker_snapshots {
    struct list_node sends;
    uint32_t send_count;
    struct list_node tails; /* who has one, and now gets the log behind it */
    struct list_node receives;
    uint32_t receive_count;
    int64_t tokens;     /* bytes that may be sent now; negative: one chunk too many went */
    uint64_t refill_us; /* when tokens were last added */
};

void range_snapshot_frame(struct range_worker *worker, uint64_t from_node, struct slice frame);
/* A ready work holds the snapshot that was received: adds the log's restart to its batch. */
struct storage_batch *range_snapshot_stage(struct range_replica *replica,
                                           const struct raft_snapshot *snapshot);
void range_snapshot_install(struct range_replica *replica);
void range_snapshot_drop_receive(struct range_replica *replica);
void range_snapshot_free_receives(struct range_worker *worker);
/* The range's replica comes into being in another way. */
void range_snapshot_drop_birth(struct range_worker *worker, uint64_t range_id);
/* There is no room for them: those that are not whole yet. Their senders begin anew. */
void range_snapshot_refuse_staged(struct range_worker *worker);
void range_snapshot_expire_receives(struct range_worker *worker);
/* Drops what was received whole but is not needed any more. */
void range_snapshot_drop_unneeded(struct range_worker *worker);

#endif
