/* Batches and writes of the RocksDB engine. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"
#include "storage/disk_space.h"
#include "storage/limits.h"
#include "storage/metrics.h"
#include "storage/rocksdb_internal.h"

/* A compaction that failed with less free space than one needs failed for lack of it. */
#define FULL_BELOW_BYTES (64ull << 20)
#define FULL_BELOW_SHARE 5u /* per cent of the disk */

struct rocksdb_batch {
    struct storage_batch base;
    struct rocksdb_engine *engine;
    rocksdb_writebatch_t *native;
    uint32_t span_families; /* bit for each of which it deletes a span */
};

static struct rocksdb_batch *batch_of(const struct storage_batch *batch) {
    return CONTAINER_OF(batch, struct rocksdb_batch, base);
}

struct storage_batch *rocksdb_engine_batch_new(struct storage_engine *engine) {
    struct rocksdb_batch *batch = MEMORY_NEW(struct rocksdb_batch);
    batch->base.ops = engine->ops;
    batch->engine = rocksdb_engine_of(engine);
    batch->native = rocksdb_writebatch_create();
    return &batch->base;
}

void rocksdb_engine_batch_free(struct storage_batch *base) {
    struct rocksdb_batch *batch = batch_of(base);
    rocksdb_writebatch_destroy(batch->native);
    memory_free(batch);
}

void rocksdb_engine_batch_clear(struct storage_batch *batch) {
    rocksdb_writebatch_clear(batch_of(batch)->native);
    batch_of(batch)->span_families = 0;
}

void rocksdb_engine_batch_put(struct storage_batch *base, enum storage_family family,
                              struct slice key, struct slice value) {
    struct rocksdb_batch *batch = batch_of(base);
    rocksdb_writebatch_put_cf(batch->native, batch->engine->families[family],
                              (const char *)key.data, key.len, (const char *)value.data, value.len);
}

void rocksdb_engine_batch_delete(struct storage_batch *base, enum storage_family family,
                                 struct slice key) {
    struct rocksdb_batch *batch = batch_of(base);
    rocksdb_writebatch_delete_cf(batch->native, batch->engine->families[family],
                                 (const char *)key.data, key.len);
}

/* No key is longer than the limit, so one byte more of 0xff sorts behind each. */
void rocksdb_engine_key_behind_all(struct buf *out) {
    buf_clear(out);
    buf_reserve(out, STORAGE_KEY_BYTES_MAX + 1);
    memset(out->data, 0xff, STORAGE_KEY_BYTES_MAX + 1);
    out->len = STORAGE_KEY_BYTES_MAX + 1;
}

void rocksdb_engine_batch_delete_range(struct storage_batch *base, enum storage_family family,
                                       struct slice begin, struct slice end) {
    struct rocksdb_batch *batch = batch_of(base);
    struct buf behind_all = {0};
    if (end.len == 0) {
        rocksdb_engine_key_behind_all(&behind_all);
        end = slice_from_buf(&behind_all);
    }
    rocksdb_writebatch_delete_range_cf(batch->native, batch->engine->families[family],
                                       (const char *)begin.data, begin.len, (const char *)end.data,
                                       end.len);
    buf_done(&behind_all);
    batch->span_families |= 1u << family;
}

size_t rocksdb_engine_batch_count(const struct storage_batch *batch) {
    return (size_t)rocksdb_writebatch_count(batch_of(batch)->native);
}

struct slice rocksdb_engine_batch_data(const struct storage_batch *batch) {
    size_t len = 0;
    const char *data = rocksdb_writebatch_data(batch_of(batch)->native, &len);
    return slice_make(data, len);
}

size_t rocksdb_engine_batch_bytes(const struct storage_batch *batch) {
    return rocksdb_engine_batch_data(batch).len;
}

/* RocksDB tells its reason only to a write that it refuses, which it does after a failed flush. An
 * empty one, so that nothing more is written if it goes on instead, as after a failed compaction.
 */
static char *ask_for_reason(struct rocksdb_engine *engine) {
    rocksdb_writebatch_t *empty = rocksdb_writebatch_create();
    char *text = NULL;
    rocksdb_write(engine->db, engine->buffered, empty, &text);
    rocksdb_writebatch_destroy(empty);
    return text;
}

/* A flush or compaction that failed in the background. RocksDB itself refuses writes only after
 * some of these, and resumes by itself after others: for us each one is the disk failing. */
static enum status check_background(struct rocksdb_engine *engine) {
    uint64_t errors = 0;
    if (rocksdb_property_int(engine->db, "rocksdb.background-errors", &errors) != 0 || errors == 0)
        return STATUS_OK;
    char *reason = ask_for_reason(engine);
    if (reason) return rocksdb_engine_take_write_error(engine, reason);
    /* RocksDB keeps the reason to itself, and has removed what it had written of its tables. */
    struct disk_space space;
    bool full = disk_space_read(engine->directory, &space) == STATUS_OK &&
                (space.free_bytes < FULL_BELOW_BYTES ||
                 space.free_bytes / FULL_BELOW_SHARE < space.total_bytes / 100);
    return rocksdb_engine_stop_writes(
        engine, full ? STATUS_NO_SPACE : STATUS_IO,
        full
            ? "a compaction in the background failed, and the disk is nearly full"
            : "a compaction in the background failed; the file LOG in the data directory says why");
}

static void count_write(rocksdb_writebatch_t *batch, enum storage_durability durability,
                        uint64_t started_us) {
    size_t bytes = 0;
    (void)rocksdb_writebatch_data(batch, &bytes); /* wanted: the length */
    uint64_t took_us = clock_monotonic_us(clock_system()) - started_us;
    metric_observe(durability == STORAGE_SYNCED ? &metric_storage_sync_latency_us
                                                : &metric_storage_buffered_latency_us,
                   took_us);
    if (durability == STORAGE_SYNCED) metric_add(&metric_storage_syncs_total, 1);
    metric_add(&metric_storage_written_bytes_total, (int64_t)bytes);
    metric_add(&metric_storage_written_operations_total, rocksdb_writebatch_count(batch));
}

void rocksdb_engine_raise_synced(struct rocksdb_engine *engine, uint64_t sequence) {
    uint64_t synced = atomic_load(&engine->synced_sequence);
    while (synced < sequence &&
           !atomic_compare_exchange_weak(&engine->synced_sequence, &synced, sequence)) {
    }
}

uint64_t rocksdb_engine_synced_sequence(const struct storage_engine *engine) {
    return atomic_load(&rocksdb_engine_of((struct storage_engine *)engine)->synced_sequence);
}

enum status rocksdb_engine_write_native(struct rocksdb_engine *engine, rocksdb_writebatch_t *batch,
                                        enum storage_durability durability) {
    enum status status = rocksdb_engine_write_failure(engine);
    if (status != STATUS_OK) return status;
    uint64_t started_us = clock_monotonic_us(clock_system());
    /* What is visible before a synced write stands in front of it in the log, and the batch takes
     * one number for each operation: so both are durable when it returns. A number that is read
     * afterwards would cover buffered writes of others, which are not. */
    uint64_t before = rocksdb_get_latest_sequence_number(engine->db);
    char *error = NULL;
    rocksdb_write(engine->db, durability == STORAGE_SYNCED ? engine->synced : engine->buffered,
                  batch, &error);
    status = rocksdb_engine_take_write_error(engine, error);
    /* Asked after the write, so that what is acknowledged was acknowledged by a healthy disk. */
    if (status == STATUS_OK && durability == STORAGE_SYNCED) status = check_background(engine);
    if (status != STATUS_OK) return status;
    if (durability == STORAGE_SYNCED) {
        rocksdb_engine_raise_synced(engine, before + (uint64_t)rocksdb_writebatch_count(batch));
        status = rocksdb_synced_note(engine);
        if (status != STATUS_OK) return status;
    }
    count_write(batch, durability, started_us);
    return status;
}

/* The log is read forwards, from entries that are there: what was deleted is in nobody's way. */
static enum status prepare_spans(struct rocksdb_engine *engine, uint32_t span_families) {
    enum status status = STATUS_OK;
    for (unsigned family = 0; family < STORAGE_FAMILY_COUNT && status == STATUS_OK; family++)
        if (span_families & 1u << family && family != STORAGE_RAFT)
            status = rocksdb_spans_prepare(engine, (enum storage_family)family);
    return status;
}

enum status rocksdb_engine_write(struct storage_engine *base, struct storage_batch *base_batch,
                                 enum storage_durability durability) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    const struct rocksdb_batch *batch = batch_of(base_batch);
    if (batch->span_families != 0) {
        enum status status = prepare_spans(engine, batch->span_families);
        if (status != STATUS_OK) return status;
    }
    return rocksdb_engine_write_native(engine, batch->native, durability);
}
