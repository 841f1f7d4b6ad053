/* Linearizable reads at the leader, and stale ones at any replica. */
#ifndef FLOTILLA_RANGE_READ_H
#define FLOTILLA_RANGE_READ_H

#include "base/list.h"
#include "range/limits.h"
#include <stdbool.h>
#include <stdint.h>

struct raft_read_state;
struct range_client;
struct range_pending;
struct range_replica;
struct range_request;
struct range_worker;

/* Reads that share one ReadIndex context. */
struct range_read_round {
    uint64_t context;       /* 0: unused */
    struct list_node reads; /* struct range_pending */
};

/* Of a replica. */
struct range_replica_reads {
    struct list_node unindexed; /* wait for a ReadIndex round */
    struct range_read_round rounds[RANGE_READ_ROUNDS_MAX];
    uint32_t round_first, round_count; /* a ring */
    struct list_node indexed;          /* know their index, wait for it to be applied */
    struct list_node in_reading;       /* worker->reads.reading: one of them is filled */
};

/* Of a worker. */
struct range_worker_reads {
    struct list_node reading;
    uint64_t steps;   /* that reads have taken in this turn */
    bool left;        /* some could be served, were it not for the steps */
    uint64_t context; /* last one given out */
};

uint64_t range_read_steps_max(const struct range_worker *worker); /* of one read */
/* True when the read was answered at once. */
bool range_read_try_lease(struct range_replica *replica, struct range_client *client,
                          const struct range_request *request);
bool range_read_try_stale(struct range_replica *replica, struct range_client *client,
                          const struct range_request *request);
void range_read_enqueue(struct range_pending *pending);
/* A stale read whose turn has no steps left for it. */
void range_read_enqueue_stale(struct range_pending *pending);
void range_read_ask(struct range_worker *worker);
void range_read_indexed(struct range_replica *replica, const struct raft_read_state *state);
void range_read_serve(struct range_worker *worker);
/* Leadership is over: what has no index yet gets NOT_LEADER. */
void range_read_refuse_unindexed(struct range_replica *replica);

#endif
