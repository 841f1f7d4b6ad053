#include "tests/rpc/fake_store.h"

#include <time.h>

#include "base/assert.h"

void fake_store_init(struct range_store *store) {
    *store = (struct range_store){.term = 6};
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->answered, NULL);
}

void fake_store_free(struct range_store *store) {
    for (uint32_t i = 0; i < store->range_count; i++) {
        buf_done(&store->ranges[i].start);
        buf_done(&store->ranges[i].end);
    }
    pthread_cond_destroy(&store->answered);
    pthread_mutex_destroy(&store->mutex);
}

uint64_t fake_store_answers(struct range_store *store, uint32_t worker) {
    pthread_mutex_lock(&store->mutex);
    uint64_t answers = store->answers[worker];
    pthread_mutex_unlock(&store->mutex);
    return answers;
}

uint64_t fake_store_wait(struct range_store *store, uint32_t worker, uint64_t answers) {
    struct timespec until;
    uint64_t first = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&store->mutex);
    while (store->answers[worker] < answers) {
        if (pthread_cond_timedwait(&store->answered, &store->mutex, &until)) break;
    }
    if (store->answers[worker] >= answers) first = store->first[worker];
    pthread_mutex_unlock(&store->mutex);
    return first;
}

/* ---- what the client calls ---- */

void range_store_create(struct range_store *store, const struct range_descriptor *descriptor,
                        bool campaign) {
    store->creations++;
    for (uint32_t i = 0; i < store->range_count; i++) {
        if (store->ranges[i].range_id == descriptor->range_id) return;
    }
    ASSERT_CMP(store->range_count, <, FAKE_STORE_RANGES_MAX);
    struct range_descriptor *range = &store->ranges[store->range_count];
    *range = *descriptor;
    range->start = buf_from_slice(slice_from_buf(&descriptor->start));
    range->end = buf_from_slice(slice_from_buf(&descriptor->end));
    store->leads[store->range_count++] = campaign;
}

void range_store_status(struct range_store *store, range_status_fn *each, void *ctx) {
    for (uint32_t i = 0; i < store->range_count; i++) {
        struct range_status status = {
            .descriptor = &store->ranges[i],
            .replica_id = store->ranges[i].replicas[0].replica_id,
            .leads = store->leads[i],
            .term = store->term,
        };
        each(ctx, &status);
    }
}

uint64_t range_store_synced_sequence(const struct range_store *store) {
    return store->synced_sequence;
}

uint32_t range_store_leader_count(struct range_store *store) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->range_count; i++)
        count += store->leads[i];
    return count;
}

void range_store_timestamps(struct range_store *store, uint32_t worker, uint64_t first,
                            uint32_t count) {
    ASSERT_CMP(worker, <, FAKE_STORE_WORKERS);
    pthread_mutex_lock(&store->mutex);
    store->first[worker] = first;
    store->count[worker] = count;
    store->answers[worker]++;
    pthread_cond_broadcast(&store->answered);
    pthread_mutex_unlock(&store->mutex);
}
