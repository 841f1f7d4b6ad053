/* Raft messages of a turn, one frame for each node. */
#ifndef FLOTILLA_RANGE_OUTBOX_H
#define FLOTILLA_RANGE_OUTBOX_H

#include "base/hashmap.h"
#include "base/list.h"
#include "base/slice.h"
#include "range/liveness.h"

struct raft_message;
struct range_beat;
struct range_removed_notice;
struct range_replica;
struct range_worker;

/* Another node: Raft messages of this turn to it, and whether it is alive. */
struct range_peer {
    struct idmap_node by_node;
    struct list_node in_dirty; /* outbox.dirty */
    struct buf frame;
    struct range_watch *watches; /* per worker of that node */
    uint32_t watch_count;        /* 0: it was never heard */
    uint32_t unheard_ticks;      /* while it was never heard */
};

/* Of a worker. */
struct range_worker_outbox {
    struct idmap peers; /* struct range_peer, by node id */
    struct list_node dirty;
};

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

#endif
