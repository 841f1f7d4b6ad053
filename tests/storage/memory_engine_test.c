/* What only the engine in memory can do: crash, fail on request, be compared by hash. */
#include "storage/memory_engine.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/storage/harness.h"

static void crash(struct harness *harness, size_t keep_writes) {
    storage_batch_free(harness->batch);
    memory_engine_crash(harness->engine, keep_writes);
    harness->batch = storage_batch_new(harness->engine);
}

static void sync_engine(struct harness *harness) {
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
}

/* A power cut takes everything after the last sync, and restores what that had overwritten, deleted
 * or cleared; a replica that answered before a sync would be caught by this. */
Test(memory_engine_crash, rolls_back_to_the_last_sync) {
    struct harness harness;
    harness_init(&harness, ENGINE_MEMORY);
    put(&harness, STORAGE_RAFT, "overwritten", "1");
    put(&harness, STORAGE_RAFT, "deleted", "1");
    put(&harness, STORAGE_RAFT, "cleared", "1");
    sync_engine(&harness);
    cr_assert_eq(memory_engine_unsynced_writes(harness.engine), 0);
    put(&harness, STORAGE_RAFT, "overwritten", "2");
    put(&harness, STORAGE_RAFT, "overwritten", "3");
    erase(&harness, STORAGE_RAFT, "deleted");
    put(&harness, STORAGE_RAFT, "new", "1");
    put(&harness, STORAGE_DATA, "new", "1");
    storage_batch_delete_range(harness.batch, STORAGE_RAFT, TEXT("c"), TEXT("d"));
    cr_assert_eq(storage_write(harness.engine, harness.batch, STORAGE_BUFFERED), STATUS_OK);
    cr_assert_eq(memory_engine_unsynced_writes(harness.engine), 6);
    crash(&harness, 0);
    cr_assert_str_eq(dump(&harness, NULL, STORAGE_RAFT, "", "", false),
                     "cleared=1 deleted=1 overwritten=1");
    cr_assert_str_eq(dump(&harness, NULL, STORAGE_DATA, "", "", false), "");
    cr_assert_eq(memory_engine_unsynced_writes(harness.engine), 0);
    harness_done(&harness);
}

/* The tail of the log may survive in part, but only as a prefix, cut between writes: a later write
 * never survives an earlier one, and never half of a batch. */
Test(memory_engine_crash, keeps_a_prefix_of_the_unsynced_writes) {
    for (size_t keep = 0; keep <= 6; keep++) {
        struct harness harness;
        harness_init(&harness, ENGINE_MEMORY);
        sync_engine(&harness);
        for (int i = 1; i <= 5; i++) {
            char digit = (char)('0' + i);
            storage_batch_clear(harness.batch);
            storage_batch_put(harness.batch, STORAGE_RAFT, TEXT("counter"), slice_make(&digit, 1));
            storage_batch_put(harness.batch, STORAGE_DATA, TEXT("counter"), slice_make(&digit, 1));
            cr_assert_eq(storage_write(harness.engine, harness.batch, STORAGE_BUFFERED), STATUS_OK);
        }
        crash(&harness, keep);
        char expected[2] = {(char)('0' + (keep < 5 ? keep : 5)), 0};
        const char *raft = get(&harness, NULL, STORAGE_RAFT, "counter");
        const char *data = get(&harness, NULL, STORAGE_DATA, "counter");
        if (keep == 0)
            cr_assert(raft == NULL && data == NULL);
        else
            cr_assert(strcmp(raft, expected) == 0 && strcmp(data, expected) == 0, "keep %zu", keep);
        /* What survived is on the disk: a second crash does not take it. */
        crash(&harness, 0);
        raft = get(&harness, NULL, STORAGE_RAFT, "counter");
        cr_assert(keep == 0 ? raft == NULL : strcmp(raft, expected) == 0);
        harness_done(&harness);
    }
}

/* Pruning of old versions must never take what a crash would have to restore. */
Test(memory_engine_crash, restores_after_many_overwrites_and_prunings) {
    struct harness harness;
    harness_init(&harness, ENGINE_MEMORY);
    for (int round = 0; round < 5000; round++) {
        char key[8], value[16];
        snprintf(key, sizeof(key), "k%d", round % 50);
        snprintf(value, sizeof(value), "%d", round);
        put(&harness, STORAGE_DATA, key, value);
        if (round == 2024) sync_engine(&harness);
    }
    crash(&harness, 3);
    cr_assert_str_eq(get(&harness, NULL, STORAGE_DATA, "k24"), "2024");
    cr_assert_str_eq(get(&harness, NULL, STORAGE_DATA, "k27"), "2027");
    cr_assert_str_eq(get(&harness, NULL, STORAGE_DATA, "k28"), "1978");
    harness_done(&harness);
}

/* One key written over and over (a hard state) must not gather its whole history: a long simulation
 * would run out of memory. */
Test(memory_engine_crash, forgets_overwritten_versions_of_one_hot_key) {
    struct harness harness;
    harness_init(&harness, ENGINE_MEMORY);
    for (int round = 0; round < 10000; round++) {
        put(&harness, STORAGE_RAFT, "hot", "value");
        sync_engine(&harness);
    }
    struct buf text = {0};
    storage_describe(harness.engine, &text);
    buf_append_byte(&text, 0);
    const char *line = strstr((const char *)text.data, "stale_versions_raft ");
    cr_assert_not_null(line);
    cr_assert_lt(atoi(line + strlen("stale_versions_raft ")), 200);
    buf_done(&text);
    harness_done(&harness);
}

/* A failed write changes nothing, and no later one succeeds: as a disk that went read-only. */
Test(memory_engine_faults, failed_write_is_the_last) {
    struct harness harness;
    harness_init(&harness, ENGINE_MEMORY);
    memory_engine_fail_after(harness.engine, 2, STATUS_NO_SPACE);
    put(&harness, STORAGE_DATA, "a", "1");
    put(&harness, STORAGE_DATA, "b", "1");
    storage_batch_put(harness.batch, STORAGE_DATA, TEXT("c"), TEXT("1"));
    cr_assert_eq(storage_write(harness.engine, harness.batch, STORAGE_SYNCED), STATUS_NO_SPACE);
    memory_engine_fail_after(harness.engine, 0, STATUS_OK);
    cr_assert_eq(storage_write(harness.engine, harness.batch, STORAGE_SYNCED), STATUS_NO_SPACE);
    struct storage_ingest *ingest = NULL;
    cr_assert_eq(storage_ingest_new(harness.engine, &ingest), STATUS_NO_SPACE);
    cr_assert_str_eq(dump(&harness, NULL, STORAGE_DATA, "", "", false), "a=1 b=1");
    crash(&harness, 2);
    put(&harness, STORAGE_DATA, "d", "1");
    cr_assert_str_eq(dump(&harness, NULL, STORAGE_DATA, "", "", false), "a=1 b=1 d=1");
    harness_done(&harness);
}

/* Reads fail as well, each kind of them: the countdown is how callers sweep their error paths. */
Test(memory_engine_faults, every_kind_of_read_can_fail) {
    struct harness harness;
    harness_init(&harness, ENGINE_MEMORY);
    put(&harness, STORAGE_DATA, "a", "1");
    put(&harness, STORAGE_DATA, "b", "1");
    struct buf value = {0};
    memory_engine_fail_after(harness.engine, 0, STATUS_IO);
    cr_assert_eq(storage_get(harness.engine, NULL, STORAGE_DATA, TEXT("a"), &value), STATUS_IO);
    memory_engine_fail_after(harness.engine, 1, STATUS_CORRUPTION);
    struct storage_iterator *it =
        storage_iterator_new(harness.engine, NULL, STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY);
    storage_iterator_seek_first(it);
    cr_assert(storage_iterator_valid(it));
    cr_assert_eq(storage_iterator_status(it), STATUS_OK);
    storage_iterator_next(it);
    cr_assert_not(storage_iterator_valid(it));
    cr_assert_eq(storage_iterator_status(it), STATUS_CORRUPTION);
    storage_iterator_free(it);
    memory_engine_fail_after(harness.engine, 0, STATUS_OK);
    cr_assert_eq(storage_get(harness.engine, NULL, STORAGE_DATA, TEXT("a"), &value), STATUS_OK);
    buf_done(&value);
    harness_done(&harness);
}

/* Replicas are compared by hash: equal content, equal hash, however it came about. */
Test(memory_engine_hash, depends_on_the_content_only) {
    struct harness left, right;
    harness_init(&left, ENGINE_MEMORY);
    harness_init(&right, ENGINE_MEMORY);
    struct storage_span span = {STORAGE_DATA, TEXT("a"), TEXT("m")};
    put(&left, STORAGE_DATA, "a", "1");
    put(&left, STORAGE_DATA, "b", "2");
    put(&right, STORAGE_DATA, "x", "outside");
    put(&right, STORAGE_DATA, "c", "gone");
    put(&right, STORAGE_DATA, "b", "2");
    put(&right, STORAGE_DATA, "a", "1");
    erase(&right, STORAGE_DATA, "c");
    cr_assert_eq(memory_engine_hash(left.engine, &span), memory_engine_hash(right.engine, &span));
    put(&right, STORAGE_DATA, "b", "3");
    cr_assert_neq(memory_engine_hash(left.engine, &span), memory_engine_hash(right.engine, &span));
    /* A byte that moves from a value to the next key is a difference, too. */
    put(&left, STORAGE_DATA, "b", "2b");
    put(&left, STORAGE_DATA, "c", "");
    put(&right, STORAGE_DATA, "b", "2");
    put(&right, STORAGE_DATA, "bc", "");
    cr_assert_neq(memory_engine_hash(left.engine, &span), memory_engine_hash(right.engine, &span));
    harness_done(&left);
    harness_done(&right);
}

/* Heartbeats ask for the size of a range all the time, so it is told from a sample: which has to be
 * near the truth for a part of the keys, too, and not count what is deleted. */
Test(memory_engine_size, is_told_from_a_sample) {
    enum { KEYS = 8000, KEY_BYTES = 6, VALUE_BYTES = 94 };
    struct harness harness;
    char key[KEY_BYTES + 1], value[VALUE_BYTES + 1];
    harness_init(&harness, ENGINE_MEMORY);
    memset(value, 'v', VALUE_BYTES);
    value[VALUE_BYTES] = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        put(&harness, STORAGE_DATA, key, value);
    }
    struct storage_span all = {STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY};
    struct storage_span half = {STORAGE_DATA, TEXT("002000"), TEXT("006000")};
    uint64_t bytes = storage_approximate_bytes(harness.engine, &all);
    cr_assert_geq(bytes, KEYS * 100 * 3 / 4);
    cr_assert_leq(bytes, KEYS * 100 * 5 / 4);
    bytes = storage_approximate_bytes(harness.engine, &half);
    cr_assert_geq(bytes, KEYS / 2 * 100 * 3 / 4);
    cr_assert_leq(bytes, KEYS / 2 * 100 * 5 / 4);
    storage_batch_delete_range(harness.batch, STORAGE_DATA, TEXT("002000"), TEXT("006000"));
    sync_engine(&harness);
    cr_assert_eq(storage_approximate_bytes(harness.engine, &half), 0);
    harness_done(&harness);
}

/* What fails is what was asked to: a full disk still reads, and a failed read stops no write. */
Test(memory_engine_faults, fail_the_operations_they_are_about) {
    struct harness harness;
    harness_init(&harness, ENGINE_MEMORY);
    struct buf value = {0};
    put(&harness, STORAGE_DATA, "a", "1");
    memory_engine_fail(harness.engine, MEMORY_ENGINE_READ, 0, STATUS_IO);
    put(&harness, STORAGE_DATA, "b", "1");
    cr_assert_not(memory_engine_failed(harness.engine));
    cr_assert_eq(storage_get(harness.engine, NULL, STORAGE_DATA, TEXT("b"), &value), STATUS_IO);
    cr_assert(memory_engine_failed(harness.engine));
    cr_assert_eq(memory_engine_peek(harness.engine, false, STORAGE_DATA, TEXT("b"), &value),
                 STATUS_OK, "a look from outside meets no fault");
    memory_engine_fail(harness.engine, MEMORY_ENGINE_WRITE, 0, STATUS_NO_SPACE);
    cr_assert_eq(storage_get(harness.engine, NULL, STORAGE_DATA, TEXT("b"), &value), STATUS_OK);
    storage_batch_put(harness.batch, STORAGE_DATA, TEXT("c"), TEXT("1"));
    cr_assert_eq(storage_write(harness.engine, harness.batch, STORAGE_BUFFERED), STATUS_NO_SPACE);
    buf_done(&value);
    harness_done(&harness);
}

/* After a failed fsync what was written may be there or not: both must be met. */
Test(memory_engine_faults, what_a_failed_sync_wrote_may_survive) {
    for (size_t keep = 0; keep < 2; keep++) {
        struct harness harness;
        harness_init(&harness, ENGINE_MEMORY);
        struct buf value = {0};
        put(&harness, STORAGE_DATA, "a", "1");
        crash(&harness, 1);
        memory_engine_fail(harness.engine, MEMORY_ENGINE_SYNC, 0, STATUS_IO);
        storage_batch_put(harness.batch, STORAGE_DATA, TEXT("b"), TEXT("1"));
        cr_assert_eq(storage_write(harness.engine, harness.batch, STORAGE_SYNCED), STATUS_IO);
        cr_assert_eq(storage_write(harness.engine, harness.batch, STORAGE_BUFFERED), STATUS_IO);
        cr_assert_eq(memory_engine_peek(harness.engine, true, STORAGE_DATA, TEXT("b"), &value),
                     STATUS_NOT_FOUND);
        crash(&harness, keep);
        cr_assert_not(memory_engine_failed(harness.engine));
        cr_assert_str_eq(dump(&harness, NULL, STORAGE_DATA, "", "", false),
                         keep ? "a=1 b=1" : "a=1");
        buf_done(&value);
        harness_done(&harness);
    }
}
