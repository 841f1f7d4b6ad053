/* Spans that are deleted while their rows are still in memory: nobody who reads there or beside
 * them later has to step over the rows. Counted by RocksDB itself, in moves of iterators. */
#include <stdio.h>

#include "storage/mvcc.h"
#include "storage/rocksdb_internal.h"
#include "tests/storage/harness.h"

#define ROWS 30000u
#define MOVES_MAX 3000u /* ten times less; a few rows may stay with their tombstone */
#define COUNTS 2        /* perf level: no times */

static struct slice row_key(char range, uint32_t number, char text[16]) {
    return slice_make(text, (size_t)snprintf(text, 16, "%c/%07u", range, number));
}

static void fill(struct harness *harness, char range, uint32_t rows) {
    char text[16];
    for (uint32_t i = 0; i < rows; i++) {
        mvcc_put(harness->batch, row_key(range, i, text), 1, TEXT("v"));
        if (i % 1000 < 999 && i + 1 < rows) continue;
        cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
        storage_batch_clear(harness->batch);
    }
}

static void delete_range(struct harness *harness, const char *start, const char *end) {
    struct buf first = {0}, last = {0};
    mvcc_span_bounds(STORAGE_DATA, TEXT(start), TEXT(end), &first, &last);
    storage_batch_delete_range(harness->batch, STORAGE_DATA, slice_from_buf(&first),
                               slice_from_buf(&last));
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
    storage_batch_clear(harness->batch);
    buf_done(&first);
    buf_done(&last);
}

static bool count_row(void *ctx, struct slice key, uint64_t commit_ts, struct slice value) {
    ++*(uint32_t *)ctx;
    return true;
}

static uint32_t scan(struct harness *harness, const char *start, const char *end, bool reverse) {
    struct mvcc_reader reader = {.engine = harness->engine};
    uint32_t rows = 0;
    cr_assert_eq(
        mvcc_scan(&reader, TEXT(start), TEXT(end), MVCC_TS_MAX, reverse, count_row, &rows, NULL),
        STATUS_OK);
    return rows;
}

static uint64_t moves(rocksdb_perfcontext_t *perf) {
    uint64_t count = rocksdb_perfcontext_metric(perf, rocksdb_next_on_memtable_count) +
                     rocksdb_perfcontext_metric(perf, rocksdb_prev_on_memtable_count) +
                     rocksdb_perfcontext_metric(perf, rocksdb_internal_key_skipped_count);
    rocksdb_perfcontext_reset(perf);
    return count;
}

/* Protects ranges beside a replica that was removed, and the next one in its place. */
Test(rocksdb_spans, deleted_rows_are_in_nobodys_way) {
    struct harness harness;
    harness_init(&harness, ENGINE_ROCKSDB);
    rocksdb_perfcontext_t *perf = rocksdb_perfcontext_create();
    rocksdb_set_perf_level(COUNTS);
    fill(&harness, 'a', 3);
    fill(&harness, 'm', ROWS);
    fill(&harness, 'z', 3);
    rocksdb_perfcontext_reset(perf);
    cr_assert_eq(scan(&harness, "m/", "m0", true), ROWS);
    cr_assert_geq(moves(perf), ROWS, "nothing is counted");

    delete_range(&harness, "m/", "m0");
    static const char *const spans[][2] = {{"a/", "a0"}, {"m/", "m0"}, {"z/", "z0"}, {"a/", "z0"}};
    static const uint32_t rows[] = {3, 0, 3, 6};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int reverse = 0; reverse < 2; reverse++) {
            rocksdb_perfcontext_reset(perf);
            cr_expect_eq(scan(&harness, spans[i][0], spans[i][1], reverse), rows[i]);
            uint64_t made = moves(perf);
            cr_expect_lt(made, MOVES_MAX, "%s %d: %lu moves", spans[i][0], reverse, made);
        }
    }
    struct mvcc_reader reader = {.engine = harness.engine};
    struct buf note = {0};
    size_t row_bytes = 0;
    rocksdb_perfcontext_reset(perf);
    cr_expect_eq(mvcc_oldest_note(&reader, TEXT("z/0000000"), &note, &row_bytes), STATUS_OK);
    uint64_t made = moves(perf);
    cr_expect_lt(made, MOVES_MAX, "note: %lu moves", made);
    buf_done(&note);
    rocksdb_perfcontext_destroy(perf);
    harness_done(&harness);
}

/* A few rows are left where they are: a table for each span that is deleted would be too many. */
Test(rocksdb_spans, few_rows_are_no_reason_for_a_table) {
    struct harness harness;
    harness_init(&harness, ENGINE_ROCKSDB);
    for (uint32_t i = 0; i < 100; i++) {
        fill(&harness, 'm', 10);
        delete_range(&harness, "m/", "m0");
    }
    struct rocksdb_engine *engine = rocksdb_engine_of(harness.engine);
    uint64_t in_memtable = 0;
    cr_assert_eq(rocksdb_property_int_cf(engine->db, engine->families[STORAGE_DATA],
                                         "rocksdb.num-entries-active-mem-table", &in_memtable),
                 0);
    cr_expect_eq(in_memtable, 1100);
    harness_done(&harness);
}
