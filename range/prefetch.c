#include "base/memory.h"
#include "range/replica.h"

/* Of the descriptor, what a range of so many replicas fills: a message is addressed by it. */
#define REPLICAS_FETCHED 3u

void range_prefetch_replica(const struct range_replica *replica) {
    memory_prefetch(replica, offsetof(struct range_replica, descriptor.replicas) +
                                 REPLICAS_FETCHED * sizeof(struct range_replica_ref));
}

void range_prefetch_core(const struct range_replica *replica) {
    if (replica->raft) raft_prefetch(replica->raft);
}

void range_prefetch_lists(const struct range_replica *replica) {
    if (replica->raft) raft_prefetch_lists(replica->raft);
}
