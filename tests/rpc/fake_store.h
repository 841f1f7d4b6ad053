/* Stands in for a node's range store before placement's client: has the replicas it is told to
 * create, leads those it is told to campaign for, notes the timestamps it gets. */
#ifndef FLOTILLA_TESTS_RPC_FAKE_STORE_H
#define FLOTILLA_TESTS_RPC_FAKE_STORE_H

#include <pthread.h>

#include "range/store.h"

#define FAKE_STORE_RANGES_MAX 64u
#define FAKE_STORE_WORKERS 2u

struct range_store {
    struct range_descriptor ranges[FAKE_STORE_RANGES_MAX];
    bool leads[FAKE_STORE_RANGES_MAX];
    uint64_t term, synced_sequence;
    uint32_t range_count, creations; /* creations: calls, repeated ones too */
    /* Guarded by the mutex: answers by worker. */
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    uint64_t first[FAKE_STORE_WORKERS], answers[FAKE_STORE_WORKERS];
    uint32_t count[FAKE_STORE_WORKERS];
};

void fake_store_init(struct range_store *store);
void fake_store_free(struct range_store *store);
uint64_t fake_store_answers(struct range_store *store, uint32_t worker);
/* Any thread: waits until the worker has had so many answers; the last one's first timestamp. 0
 * when it takes longer than ten seconds. */
uint64_t fake_store_wait(struct range_store *store, uint32_t worker, uint64_t answers);

#endif
