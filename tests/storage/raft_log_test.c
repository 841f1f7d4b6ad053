/* The Raft log store on both engines. */
#include "storage/raft_log.h"

#include <stdio.h>

#include "storage/memory_engine.h"
#include "tests/storage/harness.h"

static void append(struct harness *harness, struct raft_log *log, uint64_t index,
                   const char *entry) {
    storage_batch_clear(harness->batch);
    raft_log_append(log, harness->batch, index, TEXT(entry));
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
}

static void write_batch(struct harness *harness) {
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
    storage_batch_clear(harness->batch);
}

struct read_text {
    char text[256];
    unsigned entries_left;
};

static bool append_entry(void *ctx, uint64_t index, struct slice entry) {
    struct read_text *read = ctx;
    size_t len = strlen(read->text);
    snprintf(read->text + len, sizeof(read->text) - len, "%llu=%.*s ", (unsigned long long)index,
             (int)entry.len, (const char *)entry.data);
    return --read->entries_left > 0;
}

static const char *read_log(const struct raft_log *log, uint64_t first, uint64_t last) {
    static struct read_text read;
    read = (struct read_text){.entries_left = 99};
    enum status status = raft_log_read(log, first, last, append_entry, &read);
    return status == STATUS_OK ? read.text : status_name(status);
}

/* What a reopened log says must be what the running one said. */
static void expect_same_after_reopening(struct harness *harness, struct raft_log *log) {
    struct raft_log again = {0};
    harness_reopen(harness);
    log->engine = harness->engine;
    cr_assert_eq(raft_log_open(&again, harness->engine, log->group), STATUS_OK);
    cr_assert_eq(again.first_index, log->first_index);
    cr_assert_eq(again.last_index, log->last_index);
}

ENGINE_TEST(raft_log_appends_and_reads_back) {
    struct raft_log log, other;
    cr_assert_eq(raft_log_open(&log, harness->engine, 7), STATUS_OK);
    cr_assert_eq(raft_log_open(&other, harness->engine, 8), STATUS_OK);
    cr_assert_eq(log.first_index, 1);
    cr_assert_eq(log.last_index, 0);
    append(harness, &log, 1, "a");
    append(harness, &log, 2, "b");
    append(harness, &other, 1, "x");
    append(harness, &log, 3, "c");
    cr_assert_str_eq(read_log(&log, 1, 3), "1=a 2=b 3=c ");
    cr_assert_str_eq(read_log(&log, 2, 2), "2=b ");
    cr_assert_str_eq(read_log(&log, 3, 2), "", "an empty interval is no error");
    cr_assert_str_eq(read_log(&log, 2, 4), "NOT_FOUND");
    struct buf entry = {0};
    cr_assert_eq(raft_log_get(&log, 2, &entry), STATUS_OK);
    cr_assert(slice_equal(slice_from_buf(&entry), TEXT("b")));
    cr_assert_eq(raft_log_get(&log, 4, &entry), STATUS_NOT_FOUND);
    struct read_text one = {.entries_left = 1};
    cr_assert_eq(raft_log_read(&log, 1, 3, append_entry, &one), STATUS_OK);
    cr_assert_str_eq(one.text, "1=a ", "the callback can stop");
    buf_done(&entry);
    expect_same_after_reopening(harness, &log);
}

/* A new leader overwrites a suffix: nothing of the old one may come back, not even after a restart.
 */
ENGINE_TEST(raft_log_overwrite_cuts_the_old_suffix) {
    struct raft_log log;
    cr_assert_eq(raft_log_open(&log, harness->engine, 1), STATUS_OK);
    for (uint64_t index = 1; index <= 5; index++)
        append(harness, &log, index, "old");
    append(harness, &log, 3, "new");
    cr_assert_eq(log.last_index, 3);
    cr_assert_str_eq(read_log(&log, 1, 3), "1=old 2=old 3=new ");
    cr_assert_str_eq(read_log(&log, 1, 4), "NOT_FOUND");
    expect_same_after_reopening(harness, &log);
    /* Overwriting and going on within one batch. */
    storage_batch_clear(harness->batch);
    raft_log_append(&log, harness->batch, 2, TEXT("x"));
    raft_log_append(&log, harness->batch, 3, TEXT("y"));
    raft_log_append(&log, harness->batch, 4, TEXT("z"));
    raft_log_append(&log, harness->batch, 3, TEXT("w"));
    write_batch(harness);
    cr_assert_str_eq(read_log(&log, 1, 3), "1=old 2=x 3=w ");
    expect_same_after_reopening(harness, &log);
}

/* A long suffix goes by one range tombstone, with the same result. */
ENGINE_TEST(raft_log_overwrite_cuts_a_long_suffix) {
    struct raft_log log;
    cr_assert_eq(raft_log_open(&log, harness->engine, 1), STATUS_OK);
    storage_batch_clear(harness->batch);
    for (uint64_t index = 1; index <= 5000; index++)
        raft_log_append(&log, harness->batch, index, TEXT("old"));
    write_batch(harness);
    raft_log_append(&log, harness->batch, 2, TEXT("new"));
    cr_assert_lt(storage_batch_count(harness->batch), 10);
    write_batch(harness);
    cr_assert_str_eq(read_log(&log, 1, 2), "1=old 2=new ");
    expect_same_after_reopening(harness, &log);
}

/* Compaction goes in bounded steps and is remembered. */
ENGINE_TEST(raft_log_compacts_in_steps) {
    struct raft_log log;
    cr_assert_eq(raft_log_open(&log, harness->engine, 1), STATUS_OK);
    for (uint64_t index = 1; index <= 8; index++)
        append(harness, &log, index, "e");
    storage_batch_clear(harness->batch);
    cr_assert_eq(raft_log_compact(&log, harness->batch, 6, 4), 4);
    cr_assert_leq(storage_batch_count(harness->batch), 5);
    write_batch(harness);
    cr_assert_eq(log.first_index, 5);
    cr_assert_eq(raft_log_compact(&log, harness->batch, 6, 4), 6);
    write_batch(harness);
    cr_assert_eq(raft_log_compact(&log, harness->batch, 3, 4), 6, "never goes back");
    cr_assert_eq(storage_batch_count(harness->batch), 0);
    cr_assert_str_eq(read_log(&log, 6, 8), "COMPACTED");
    cr_assert_str_eq(read_log(&log, 7, 8), "7=e 8=e ");
    struct buf entry = {0};
    cr_assert_eq(raft_log_get(&log, 6, &entry), STATUS_COMPACTED);
    buf_done(&entry);
    expect_same_after_reopening(harness, &log);
    /* Everything may go; the position stays. */
    cr_assert_eq(raft_log_compact(&log, harness->batch, 8, 100), 8);
    write_batch(harness);
    cr_assert_eq(log.first_index, 9);
    cr_assert_eq(log.last_index, 8);
    expect_same_after_reopening(harness, &log);
    append(harness, &log, 9, "e");
    expect_same_after_reopening(harness, &log);
}

/* After a snapshot the log goes on behind it, wherever it stood before. */
ENGINE_TEST(raft_log_reset_restarts_behind_a_snapshot) {
    static const uint64_t targets[] = {100, 2, 0};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct raft_log log;
        cr_assert_eq(raft_log_open(&log, harness->engine, 10 + i), STATUS_OK);
        for (uint64_t index = 1; index <= 5; index++)
            append(harness, &log, index, "old");
        storage_batch_clear(harness->batch);
        raft_log_reset(&log, harness->batch, targets[i]);
        write_batch(harness);
        cr_assert_eq(log.first_index, targets[i] + 1);
        cr_assert_eq(log.last_index, targets[i]);
        expect_same_after_reopening(harness, &log);
        append(harness, &log, targets[i] + 1, "new");
        expect_same_after_reopening(harness, &log);
    }
}

/* A destroyed group leaves nothing, and its neighbours keep everything. */
ENGINE_TEST(raft_log_destroy_removes_the_group_only) {
    struct raft_log logs[3];
    for (uint64_t group = 0; group < 3; group++) {
        cr_assert_eq(raft_log_open(&logs[group], harness->engine, group + 1), STATUS_OK);
        for (uint64_t index = 1; index <= 5; index++)
            append(harness, &logs[group], index, "e");
        storage_batch_clear(harness->batch);
        raft_log_put_state(&logs[group], harness->batch, RAFT_LOG_HARD_STATE, TEXT("hard"));
        raft_log_put_state(&logs[group], harness->batch, RAFT_LOG_APPLY_STATE, TEXT("apply"));
        (void)raft_log_compact(&logs[group], harness->batch, 2, 100); /* the index is not wanted */
        write_batch(harness);
    }
    raft_log_destroy(&logs[1], harness->batch);
    write_batch(harness);
    for (uint64_t group = 0; group < 3; group++) {
        struct buf state = {0};
        logs[group].engine = harness->engine;
        enum status expected = group == 1 ? STATUS_NOT_FOUND : STATUS_OK;
        cr_assert_eq(raft_log_get_state(&logs[group], RAFT_LOG_HARD_STATE, &state), expected);
        cr_assert_eq(raft_log_get_state(&logs[group], RAFT_LOG_APPLY_STATE, &state), expected);
        cr_assert_eq(raft_log_get_state(&logs[group], RAFT_LOG_TRUNCATION, &state), expected);
        buf_done(&state);
        expect_same_after_reopening(harness, &logs[group]);
    }
    logs[0].engine = harness->engine;
    cr_assert_str_eq(read_log(&logs[0], 3, 5), "3=e 4=e 5=e ");
    cr_assert_eq(logs[1].first_index, 1);
    cr_assert_eq(logs[1].last_index, 0);
}

/* An entry that is missing where the bounds say it is, is damage: never an empty answer. */
ENGINE_TEST(raft_log_reports_missing_entries) {
    struct raft_log log, again;
    cr_assert_eq(raft_log_open(&log, harness->engine, 1), STATUS_OK);
    for (uint64_t index = 1; index <= 5; index++)
        append(harness, &log, index, "e");
    storage_batch_clear(harness->batch);
    storage_batch_delete(harness->batch, STORAGE_RAFT,
                         slice_make("l\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\3", 17));
    write_batch(harness);
    struct buf entry = {0};
    cr_assert_eq(raft_log_get(&log, 3, &entry), STATUS_CORRUPTION);
    buf_done(&entry);
    cr_assert_str_eq(read_log(&log, 1, 5), "CORRUPTION");
    cr_assert_str_eq(read_log(&log, 1, 2), "1=e 2=e ");
    storage_batch_delete(harness->batch, STORAGE_RAFT,
                         slice_make("l\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1", 17));
    write_batch(harness);
    cr_assert_eq(raft_log_open(&again, harness->engine, 1), STATUS_CORRUPTION);
}

/* The store must hand an engine's failure on, from wherever it comes. */
Test(raft_log_faults, every_read_hands_failures_on) {
    struct harness harness;
    harness_init(&harness, ENGINE_MEMORY);
    struct raft_log log, again;
    cr_assert_eq(raft_log_open(&log, harness.engine, 1), STATUS_OK);
    for (uint64_t index = 1; index <= 3; index++)
        append(&harness, &log, index, "e");
    uint64_t failures = 0;
    for (uint64_t countdown = 0;; countdown++) {
        memory_engine_fail_after(harness.engine, countdown, STATUS_IO);
        enum status status = raft_log_open(&again, harness.engine, 1);
        if (status == STATUS_OK) break;
        cr_assert_eq(status, STATUS_IO);
        failures++;
    }
    cr_assert_eq(failures, 3, "the truncation record, the first and the last entry");
    for (uint64_t countdown = 0; countdown < 3; countdown++) {
        memory_engine_fail_after(harness.engine, countdown, STATUS_IO);
        cr_assert_str_eq(read_log(&log, 1, 3), "IO");
    }
    /* Nor may it read on behind the last entry: a failure there would go unseen. */
    struct buf entry = {0};
    memory_engine_fail_after(harness.engine, 4, STATUS_IO);
    cr_assert_str_eq(read_log(&log, 1, 3), "1=e 2=e 3=e ");
    cr_assert_eq(raft_log_get(&log, 1, &entry), STATUS_OK, "the fourth read");
    buf_done(&entry);
    memory_engine_fail_after(harness.engine, 0, STATUS_OK);
    cr_assert_eq(again.last_index, 3);
    harness_done(&harness);
}
