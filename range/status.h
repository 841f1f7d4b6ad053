/* What other threads may know of the replicas. */
#ifndef FLOTILLA_RANGE_STATUS_H
#define FLOTILLA_RANGE_STATUS_H

#include "base/list.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct range_descriptor;
struct range_published;
struct range_replica;
struct range_store;
struct range_worker;

/* Of a replica. */
struct range_replica_report {
    struct range_published *published;
    struct list_node in_stale; /* worker->report.stale: what is published is older */
    uint64_t approximate_bytes, writes_total, reads_total;
};

/* Whether another node is heard, for other threads. */
struct range_heard_node {
    uint64_t node_id;
    bool heard;
};

/* Of a worker: the only part that other threads read, under the lock. */
struct range_worker_report {
    pthread_mutex_t lock;
    struct list_node published;     /* struct range_published */
    struct range_heard_node *heard; /* of each peer */
    uint32_t heard_count, heard_cap;
    struct list_node stale;    /* replicas to be told of at the end of the turn; the holder's */
    struct list_node *sampled; /* replica whose size was measured last, in `all`; the holder's */
};

void range_status_publish(struct range_replica *replica);
/* Others are told at the end of the turn, once, however often it changes until then. */
void range_status_stale(struct range_replica *replica);
void range_status_flush(struct range_worker *worker);
void range_status_unpublish(struct range_replica *replica);
void range_status_publish_hearing(struct range_worker *worker);
void range_status_sample_size(struct range_worker *worker);
/* Whether an active replica of another range, of any worker, holds keys of the span. */
bool range_status_overlaps(struct range_store *store, const struct range_descriptor *descriptor);

#endif
