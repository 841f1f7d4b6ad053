/* Every function may be called from any thread: workers share one engine. */
#include <pthread.h>
#include <stdio.h>

#include "storage/mvcc.h"
#include "tests/storage/harness.h"

#define THREADS 4u
#define ROUNDS 300u

struct worker {
    struct storage_engine *engine;
    pthread_t thread;
    char key[8];
    unsigned failures; /* read by the test after the join */
};

static bool both_families_agree(struct worker *worker, const struct storage_snapshot *snapshot,
                                const char *key) {
    struct buf left = {0}, right = {0};
    enum status a = storage_get(worker->engine, snapshot, STORAGE_META, TEXT(key), &left);
    enum status b = storage_get(worker->engine, snapshot, STORAGE_LOCK, TEXT(key), &right);
    bool agree = a == b && (a == STATUS_OK || a == STATUS_NOT_FOUND) &&
                 slice_equal(slice_from_buf(&left), slice_from_buf(&right));
    buf_done(&left);
    buf_done(&right);
    return agree;
}

static bool last_write_is_read(struct worker *worker, uint64_t round) {
    struct mvcc_reader reader = {worker->engine, NULL};
    struct mvcc_version version;
    struct buf value = {0};
    enum status status = mvcc_get(&reader, TEXT(worker->key), MVCC_TS_MAX, &value, &version);
    buf_done(&value);
    return status == STATUS_OK && version.commit_ts == round;
}

static void *work(void *ctx) {
    struct worker *worker = ctx;
    struct storage_batch *batch = storage_batch_new(worker->engine);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        storage_batch_clear(batch);
        /* All write the same pair, so that the families disagree if batches get mixed. */
        struct slice value = slice_make(&round, sizeof(round));
        storage_batch_put(batch, STORAGE_META, TEXT("shared"), value);
        storage_batch_put(batch, STORAGE_LOCK, TEXT("shared"), value);
        mvcc_put(batch, TEXT(worker->key), round, value);
        enum storage_durability durability = round % 32 ? STORAGE_BUFFERED : STORAGE_SYNCED;
        if (storage_write(worker->engine, batch, durability) != STATUS_OK) worker->failures++;
        struct storage_snapshot *snapshot = storage_snapshot_new(worker->engine);
        if (!both_families_agree(worker, snapshot, "shared")) worker->failures++;
        storage_snapshot_free(worker->engine, snapshot);
        if (!last_write_is_read(worker, round)) worker->failures++;
        struct storage_iterator *it =
            storage_iterator_new(worker->engine, NULL, STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY);
        storage_iterator_seek_last(it);
        for (int i = 0; i < 20 && storage_iterator_valid(it); i++)
            storage_iterator_prev(it);
        if (storage_iterator_status(it) != STATUS_OK) worker->failures++;
        storage_iterator_free(it);
    }
    storage_batch_free(batch);
    return NULL;
}

/* Threads that write and read at once see whole batches and their own writes. */
ENGINE_TEST(serves_many_threads) {
    struct worker workers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.engine = harness->engine};
        snprintf(workers[i].key, sizeof(workers[i].key), "own%u", i);
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(workers[i].thread, NULL), 0);
        cr_assert_eq(workers[i].failures, 0);
    }
}
