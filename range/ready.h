/* The ready work of all touched ranges. */
#ifndef FLOTILLA_RANGE_READY_H
#define FLOTILLA_RANGE_READY_H

#include "base/list.h"
#include "raft/raft.h"

struct range_replica;
struct range_worker;

/* Ready work whose promises wait until the log batch is durable. */
struct range_work {
    struct range_replica *replica; /* NULL: removed since */
    struct raft_append append;
    const struct raft_message *messages; /* after append; valid until after raft_append_done */
    uint32_t message_count;
    bool install; /* a snapshot, staged in replica->snapshots.receive */
};

/* Of a worker. */
struct range_worker_ready {
    struct list_node touched; /* replicas that may have ready work */
    struct range_work *works;
    uint32_t work_count, work_cap;
};

void range_ready_take(struct range_worker *worker);
void range_ready_synced(struct range_worker *worker);
/* The replica's works promise nothing any more. */
void range_ready_forget(struct range_replica *replica);

#endif
