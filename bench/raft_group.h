/* Three Raft cores in one process, and as little else as possible: messages are handed over in
 * memory without a copy, a log entry is durable the moment it is asked for, applying does nothing.
 * What is left is the cost of the core itself. The cores are configured as the store does it.
 *
 * One thread. Nothing here allocates once the group has reached its steady state: what the
 * allocator counts is the core's. */
#ifndef FLOTILLA_BENCH_RAFT_GROUP_H
#define FLOTILLA_BENCH_RAFT_GROUP_H

#include "base/payload.h"
#include "raft/raft.h"

#define RAFT_GROUP_REPLICAS 3u

struct raft_group_config {
    uint32_t batch_max;     /* most entries that are ever proposed together */
    uint32_t payload_bytes; /* of each entry */
};

struct raft_group_totals {
    uint64_t steps;    /* messages that a core took in, its own promises included */
    uint64_t works;    /* ready works taken */
    uint64_t entries;  /* applied by the replica that is furthest behind */
    uint64_t messages; /* between two replicas */
};

struct raft_group;

/* The group is led by its first replica, and everybody knows it. */
struct raft_group *raft_group_new(const struct raft_group_config *config);
void raft_group_free(struct raft_group *group);

/* Proposes `count` entries that wait together, then goes on until all three replicas have applied
 * them. At most batch_max. All entries share one payload, which is the caller's cost in the store.
 */
void raft_group_write(struct raft_group *group, uint32_t count);
/* One heartbeat of the leader, answered by both followers. */
void raft_group_heartbeat(struct raft_group *group);
/* Gives back what is kept for reuse, as for a range that goes quiet. */
void raft_group_shrink(struct raft_group *group);

const struct raft_group_totals *raft_group_totals(const struct raft_group *group);
/* Frees one core, so that its memory can be seen to go; 0 is the leader. Nothing may be asked of
 * the group afterwards but to lose more cores, and to be freed. */
void raft_group_lose(struct raft_group *group, uint32_t at);

#endif
