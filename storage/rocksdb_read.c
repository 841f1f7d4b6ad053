/* Reads, snapshots and iterators of the RocksDB engine. */
#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "storage/mvcc.h"
#include "storage/rocksdb_internal.h"

struct rocksdb_engine_snapshot {
    struct storage_snapshot base;
    const rocksdb_snapshot_t *native;
    /* Made once for all reads of this snapshot; only read afterwards, so any thread may use them.
     */
    rocksdb_readoptions_t *read, *version;
};

struct rocksdb_engine_iterator {
    struct storage_iterator base;
    struct rocksdb_engine *engine;
    rocksdb_readoptions_t *options;
    rocksdb_iterator_t *native;
    struct buf lower, upper; /* RocksDB borrows them from here */
};

static struct rocksdb_engine_snapshot *snapshot_of(const struct storage_snapshot *snapshot) {
    return CONTAINER_OF(snapshot, struct rocksdb_engine_snapshot, base);
}

static struct rocksdb_engine_iterator *iterator_of(const struct storage_iterator *iterator) {
    return CONTAINER_OF(iterator, struct rocksdb_engine_iterator, base);
}

enum status rocksdb_engine_get(struct storage_engine *base, const struct storage_snapshot *snapshot,
                               enum storage_family family, struct slice key,
                               struct buf *ret_value) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    char *error = NULL;
    rocksdb_pinnableslice_t *pinned = rocksdb_get_pinned_cf(
        engine->db, snapshot ? snapshot_of(snapshot)->read : engine->read_latest,
        engine->families[family], (const char *)key.data, key.len, &error);
    if (error) return rocksdb_engine_take_error(engine, error);
    if (!pinned) return STATUS_NOT_FOUND;
    size_t len = 0;
    const char *value = rocksdb_pinnableslice_value(pinned, &len);
    buf_assign(ret_value, slice_make(value, len));
    rocksdb_pinnableslice_destroy(pinned);
    return STATUS_OK;
}

static enum status iterator_error(struct rocksdb_engine *engine,
                                  const rocksdb_iterator_t *iterator) {
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    return rocksdb_engine_take_error(engine, error);
}

enum status rocksdb_engine_get_version(struct storage_engine *base,
                                       const struct storage_snapshot *snapshot,
                                       struct slice version_key, storage_pair_fn *pair, void *ctx) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    ASSERT_CMP(version_key.len, >=, MVCC_VERSION_BYTES);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(
        engine->db, snapshot ? snapshot_of(snapshot)->version : engine->version_latest,
        engine->families[STORAGE_DATA]);
    rocksdb_iter_seek(iterator, (const char *)version_key.data, version_key.len);
    enum status status = STATUS_NOT_FOUND;
    if (rocksdb_iter_valid(iterator)) {
        struct slice key, value;
        key.data = (const uint8_t *)rocksdb_iter_key(iterator, &key.len);
        /* The prefix filter only promises not to miss what is there. */
        if (key.len == version_key.len &&
            memcmp(key.data, version_key.data, key.len - MVCC_VERSION_BYTES) == 0) {
            value.data = (const uint8_t *)rocksdb_iter_value(iterator, &value.len);
            pair(ctx, key, value);
            status = STATUS_OK;
        }
    } else {
        enum status error = iterator_error(engine, iterator);
        if (error != STATUS_OK) status = error;
    }
    rocksdb_iter_destroy(iterator);
    return status;
}

struct storage_snapshot *rocksdb_engine_snapshot_new(struct storage_engine *base) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    struct rocksdb_engine_snapshot *snapshot = MEMORY_NEW(struct rocksdb_engine_snapshot);
    snapshot->native = rocksdb_create_snapshot(engine->db);
    snapshot->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->native);
    snapshot->version = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snapshot->version, snapshot->native);
    rocksdb_readoptions_set_prefix_same_as_start(snapshot->version, 1);
    return &snapshot->base;
}

void rocksdb_engine_snapshot_free(struct storage_engine *base, struct storage_snapshot *snapshot) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    struct rocksdb_engine_snapshot *mine = snapshot_of(snapshot);
    rocksdb_readoptions_destroy(mine->version);
    rocksdb_readoptions_destroy(mine->read);
    rocksdb_release_snapshot(engine->db, mine->native);
    memory_free(mine);
}

struct storage_iterator *rocksdb_engine_iterator_new(struct storage_engine *base,
                                                     const struct storage_snapshot *snapshot,
                                                     enum storage_family family, struct slice lower,
                                                     struct slice upper) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    struct rocksdb_engine_iterator *iterator = MEMORY_NEW(struct rocksdb_engine_iterator);
    iterator->base.ops = base->ops;
    iterator->engine = engine;
    iterator->lower = buf_from_slice(lower);
    iterator->upper = buf_from_slice(upper);
    iterator->options = rocksdb_readoptions_create();
    /* Across prefixes, so past the prefix filters. */
    rocksdb_readoptions_set_total_order_seek(iterator->options, 1);
    if (lower.len > 0)
        rocksdb_readoptions_set_iterate_lower_bound(
            iterator->options, (const char *)iterator->lower.data, iterator->lower.len);
    if (upper.len > 0)
        rocksdb_readoptions_set_iterate_upper_bound(
            iterator->options, (const char *)iterator->upper.data, iterator->upper.len);
    if (snapshot)
        rocksdb_readoptions_set_snapshot(iterator->options, snapshot_of(snapshot)->native);
    iterator->native =
        rocksdb_create_iterator_cf(engine->db, iterator->options, engine->families[family]);
    return &iterator->base;
}

void rocksdb_engine_iterator_free(struct storage_iterator *base) {
    struct rocksdb_engine_iterator *iterator = iterator_of(base);
    rocksdb_iter_destroy(iterator->native);
    rocksdb_readoptions_destroy(iterator->options);
    buf_done(&iterator->lower);
    buf_done(&iterator->upper);
    memory_free(iterator);
}

void rocksdb_engine_iterator_seek_first(struct storage_iterator *iterator) {
    rocksdb_iter_seek_to_first(iterator_of(iterator)->native);
}

void rocksdb_engine_iterator_seek_last(struct storage_iterator *iterator) {
    rocksdb_iter_seek_to_last(iterator_of(iterator)->native);
}

void rocksdb_engine_iterator_seek(struct storage_iterator *iterator, struct slice key) {
    rocksdb_iter_seek(iterator_of(iterator)->native, (const char *)key.data, key.len);
}

void rocksdb_engine_iterator_seek_for_prev(struct storage_iterator *iterator, struct slice key) {
    rocksdb_iter_seek_for_prev(iterator_of(iterator)->native, (const char *)key.data, key.len);
}

void rocksdb_engine_iterator_next(struct storage_iterator *iterator) {
    rocksdb_iter_next(iterator_of(iterator)->native);
}

void rocksdb_engine_iterator_prev(struct storage_iterator *iterator) {
    rocksdb_iter_prev(iterator_of(iterator)->native);
}

bool rocksdb_engine_iterator_valid(const struct storage_iterator *iterator) {
    return rocksdb_iter_valid(iterator_of(iterator)->native);
}

struct slice rocksdb_engine_iterator_key(const struct storage_iterator *iterator) {
    size_t len = 0;
    const char *key = rocksdb_iter_key(iterator_of(iterator)->native, &len);
    return slice_make(key, len);
}

struct slice rocksdb_engine_iterator_value(const struct storage_iterator *iterator) {
    size_t len = 0;
    const char *value = rocksdb_iter_value(iterator_of(iterator)->native, &len);
    return slice_make(value, len);
}

enum status rocksdb_engine_iterator_status(const struct storage_iterator *iterator) {
    const struct rocksdb_engine_iterator *mine = iterator_of(iterator);
    return iterator_error(mine->engine, mine->native);
}

uint64_t rocksdb_engine_approximate_bytes(struct storage_engine *base,
                                          const struct storage_span *span) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    struct buf behind_all = {0};
    struct slice end = span->end;
    if (end.len == 0) {
        rocksdb_engine_key_behind_all(&behind_all);
        end = slice_from_buf(&behind_all);
    }
    const char *begins[] = {(const char *)span->begin.data}, *ends[] = {(const char *)end.data};
    size_t begin_lens[] = {span->begin.len}, end_lens[] = {end.len};
    uint64_t bytes = 0;
    char *error = NULL;
    rocksdb_approximate_sizes_cf(engine->db, engine->families[span->family], 1, begins, begin_lens,
                                 ends, end_lens, &bytes, &error);
    buf_done(&behind_all);
    /* An estimate that cannot be made is remembered for the operator and counts as nothing. */
    return rocksdb_engine_take_error(engine, error) == STATUS_OK ? bytes : 0;
}
