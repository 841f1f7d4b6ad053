/* Sending snapshots: cut, stream, give up. */
#ifndef FLOTILLA_RANGE_SNAPSHOT_SEND_H
#define FLOTILLA_RANGE_SNAPSHOT_SEND_H

#include "base/status.h"
#include "raft/raft.h"
#include "range/snapshot.h"

struct range_replica;
struct range_worker;

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

#endif
