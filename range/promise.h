/* How long the replicas of this node may have promised to leaders to keep still (raft/README.md,
 * L5), as a record that survives them: election time-outs are settings, and a node may come back
 * with a shorter one.
 *
 * P1  The record is at least the longest promise that may still run. So it is raised, synced,
 * before any replica answers a leader, and lowered no sooner than that the promises of earlier
 * lives are over by this node's clock. P2  What the record says at the start is how long every
 * replica found on disk keeps still then, whether or not this node reads under leases itself:
 * others do, by its promises.
 *
 * STORAGE_META, key 0x00 ‖ 'p':  version u8 (1) ‖ microseconds varint */
#ifndef FLOTILLA_RANGE_PROMISE_H
#define FLOTILLA_RANGE_PROMISE_H

#include "base/slice.h"
#include "base/status.h"

struct range_store;
struct range_worker;

struct range_promise {
    uint64_t grace_us;     /* what earlier lives may have promised */
    uint64_t lowers_at_us; /* by the store's clock: then the record falls to the own time-out; 0: it
                              is no longer */
};

/* At the start, before the replicas are there. IO, NO_SPACE; CORRUPTION, UNSUPPORTED: as the error
 * says. */
enum status range_promise_open(struct range_store *store, struct buf *error) MUST_CHECK;
/* Of the worker that writes the record, once per tick. */
void range_promise_tick(struct range_worker *worker);

#endif
