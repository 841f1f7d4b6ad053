/* Changes of a range's replicas: asked for, applied, answered. */
#ifndef FLOTILLA_RANGE_CHANGE_H
#define FLOTILLA_RANGE_CHANGE_H

#include "base/list.h"
#include "base/status.h"
#include "raft/raft.h"

struct range_descriptor;
struct range_replica;
struct range_request;

/* Of a replica. */
struct range_replica_changes {
    struct list_node requests; /* struct range_pending: in the log, asked for by clients */
    uint64_t index;            /* of the last one proposed by the present leadership; 0: none */
    uint64_t leave_retry_us;   /* joint: it should have been left by then */
};

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

#endif
