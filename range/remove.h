/* A replica that is no longer one, and what its node says to who asks for it. */
#ifndef FLOTILLA_RANGE_REMOVE_H
#define FLOTILLA_RANGE_REMOVE_H

#include "base/list.h"
#include "base/slice.h"
#include "raft/raft.h"

struct range_descriptor;
struct range_raft_envelope;
struct range_replica;
struct range_worker;

/* Of a replica. */
struct range_replica_removal {
    struct list_node in_leaving;  /* worker->removals.leaving: LEAVING or DELETING */
    struct raft_log_id committed; /* from LEAVING on: known to be committed when it ended */
    uint64_t asked_version; /* newest descriptor whose replicas were asked what has become of it */
    uint64_t asked_us;      /* when */
};

/* Of a worker. */
struct range_worker_removals {
    struct list_node leaving; /* replicas whose tombstones are not durable yet */
};

/* The replica is none any more: its Raft core ends here, its data goes with the next log batch. */
void range_remove_begin(struct range_replica *replica);
/* Somebody says so, in the message of a `removed` envelope. */
void range_remove_notified(struct range_replica *replica, struct slice message);
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
void range_remove_ask_membership(struct range_replica *replica);
/* Tells it. */
void range_remove_tell(const struct range_replica *replica, uint64_t node_id, uint64_t replica_id);
/* A Raft message for a replica that is not active here. */
void range_remove_stray(struct range_worker *worker, uint64_t from_node,
                        const struct range_raft_envelope *envelope);

#endif
