/* Commands on their way into the log. */
#ifndef FLOTILLA_RANGE_PROPOSE_H
#define FLOTILLA_RANGE_PROPOSE_H

#include "base/list.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range_pending;
struct range_worker;

/* Of a replica. */
struct range_replica_commands {
    struct list_node waiting;    /* for a timestamp; in order of arrival */
    struct list_node in_waiting; /* worker->commands.waiting */
    struct list_node proposed;   /* for their entries to be applied */
    uint32_t waiting_count, pending_count;
    size_t pending_bytes;
    uint64_t last_proposed_ts; /* of the present leadership; 0: none */
};

/* Of a worker: what it asks the oracle for. */
struct range_worker_commands {
    struct list_node waiting; /* replicas with commands that wait */
    bool oracle_asked;
    uint64_t oracle_asked_us;
};

void range_propose_enqueue(struct range_pending *pending);
void range_propose_ask(struct range_worker *worker);
void range_propose_timestamps(struct range_worker *worker, uint64_t first, uint32_t count);

#endif
