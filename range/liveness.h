/* Which other nodes are alive, for all ranges at once. */
#ifndef FLOTILLA_RANGE_LIVENESS_H
#define FLOTILLA_RANGE_LIVENESS_H

#include "base/list.h"
#include <stdbool.h>
#include <stdint.h>

struct range_beat;
struct range_replica;
struct range_worker;

/* What is heard of one worker of another node. */
struct range_watch {
    uint64_t incarnation;  /* of the node; 0: never heard */
    uint32_t silent_ticks; /* since it was heard */
};

/* Of a replica that may have to wake. */
struct range_replica_waking {
    struct list_node in_waking; /* liveness.waking: something happened to a node it relies on */
    uint64_t suspected;         /* replica that led it when that one's node was lost; 0: none */
    bool wake_leader;           /* a replica's node has restarted */
    bool look_again;            /* a node that was silent is heard */
};

/* Of a worker. */
struct range_worker_liveness {
    struct list_node waking; /* quiet ranges that have to look after their leaders, in turn */
    uint32_t beat_elapsed;   /* ticks since the last beats */
};

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

#endif
