/* What is deleted in whole spans, and how much of it a read may have to step over.
 *
 * A span is deleted by one range tombstone. Where the tombstone is in a newer memtable or table
 * than the rows that it hides, RocksDB passes over all of them with one seek. Where it is in the
 * same one, RocksDB steps from row to row: a tenth of a microsecond each, two to three backwards in
 * a memtable. It does so before it looks at the bounds of the iterator, so whoever reads backwards
 * to the beginning of the next range pays for the rows of this one (seconds, for a write buffer
 * full of small rows); and it does not count them, so max_skippable_internal_keys does not end it
 * (figures in docs/performance.md).
 *
 * So a family that has rows in its memtable begins another one before a span of it is deleted. The
 * old one is written out in the background, as if it were full. */
#include <stdlib.h>

#include "storage/rocksdb_internal.h"

/* Rows that are left in one memtable with the tombstone: milliseconds, and no table for a few. */
#define HIDDEN_ROWS_MAX 2048u

static uint64_t int_property(struct rocksdb_engine *engine, enum storage_family family,
                             const char *name) {
    uint64_t value = 0;
    if (rocksdb_property_int_cf(engine->db, engine->families[family], name, &value) != 0) return 0;
    return value;
}

static uint64_t level0_tables(struct rocksdb_engine *engine, enum storage_family family) {
    char *text = rocksdb_property_value_cf(engine->db, engine->families[family],
                                           "rocksdb.num-files-at-level0");
    uint64_t tables = text ? strtoull(text, NULL, 10) : 0;
    rocksdb_free(text);
    return tables;
}

/* RocksDB would make the caller wait until the disk has caught up. Then rather a slow read. */
static bool would_wait(struct rocksdb_engine *engine, enum storage_family family) {
    return int_property(engine, family, "rocksdb.num-immutable-mem-table") + 2 >=
               ROCKSDB_MEMTABLES_MAX ||
           level0_tables(engine, family) + 1 >= ROCKSDB_L0_SLOWDOWN_TRIGGER;
}

enum status rocksdb_spans_prepare(struct rocksdb_engine *engine, enum storage_family family) {
    if (int_property(engine, family, "rocksdb.num-entries-active-mem-table") <= HIDDEN_ROWS_MAX ||
        would_wait(engine, family))
        return STATUS_OK;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 0);
    char *error = NULL;
    rocksdb_flush_cf(engine->db, options, engine->families[family], &error);
    rocksdb_flushoptions_destroy(options);
    return rocksdb_engine_take_write_error(engine, error);
}
