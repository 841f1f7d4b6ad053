/* Creating replicas at cluster birth. */
#ifndef FLOTILLA_RANGE_CREATE_H
#define FLOTILLA_RANGE_CREATE_H

#include "range/descriptor.h"

struct range_replica;
struct range_worker;

/* Of a worker: replicas whose records are in the log batch. */
struct range_worker_creations {
    struct range_replica **replicas;
    uint32_t count, cap;
};

void range_create_replica(struct range_worker *worker, struct slice descriptor, bool campaign);
void range_create_durable(struct range_worker *worker);

#endif
