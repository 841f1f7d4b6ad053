/* The dispatch of storage/engine.h, and the checks that hold for every engine. */
#include "storage/engine.h"

#include "base/assert.h"
#include "storage/engine_impl.h"
#include "storage/limits.h"

static void check_key(enum storage_family family, struct slice key) {
    ASSERT_CMP(family, <, STORAGE_FAMILY_COUNT);
    ASSERT_CMP(key.len, <=, STORAGE_KEY_BYTES_MAX);
}

static void check_snapshot(const struct storage_engine *engine,
                           const struct storage_snapshot *snapshot) {
    ASSERT(!snapshot || snapshot->engine == engine);
}

void storage_close(struct storage_engine *engine) {
    if (engine) engine->ops->close(engine);
}

struct storage_batch *storage_batch_new(struct storage_engine *engine) {
    return engine->ops->batch_new(engine);
}

void storage_batch_free(struct storage_batch *batch) {
    if (batch) batch->ops->batch_free(batch);
}

void storage_batch_clear(struct storage_batch *batch) {
    batch->ops->batch_clear(batch);
}

void storage_batch_put(struct storage_batch *batch, enum storage_family family, struct slice key,
                       struct slice value) {
    check_key(family, key);
    ASSERT_CMP(value.len, <=, STORAGE_VALUE_BYTES_MAX);
    batch->ops->batch_put(batch, family, key, value);
}

void storage_batch_delete(struct storage_batch *batch, enum storage_family family,
                          struct slice key) {
    check_key(family, key);
    batch->ops->batch_delete(batch, family, key);
}

void storage_batch_delete_range(struct storage_batch *batch, enum storage_family family,
                                struct slice begin, struct slice end) {
    check_key(family, begin);
    check_key(family, end);
    /* A span that is turned round holds nothing; the real engine would refuse the whole batch. */
    if (end.len > 0 && slice_compare(begin, end) >= 0) return;
    batch->ops->batch_delete_range(batch, family, begin, end);
}

size_t storage_batch_count(const struct storage_batch *batch) {
    return batch->ops->batch_count(batch);
}

size_t storage_batch_bytes(const struct storage_batch *batch) {
    return batch->ops->batch_bytes(batch);
}

enum status storage_write(struct storage_engine *engine, struct storage_batch *batch,
                          enum storage_durability durability) {
    ASSERT(batch->ops == engine->ops);
    return engine->ops->write(engine, batch, durability);
}

enum status storage_get(struct storage_engine *engine, const struct storage_snapshot *snapshot,
                        enum storage_family family, struct slice key, struct buf *ret_value) {
    check_key(family, key);
    check_snapshot(engine, snapshot);
    return engine->ops->get(engine, snapshot, family, key, ret_value);
}

enum status storage_get_version(struct storage_engine *engine,
                                const struct storage_snapshot *snapshot, struct slice version_key,
                                storage_pair_fn *pair, void *ctx) {
    check_key(STORAGE_DATA, version_key);
    check_snapshot(engine, snapshot);
    return engine->ops->get_version(engine, snapshot, version_key, pair, ctx);
}

struct storage_snapshot *storage_snapshot_new(struct storage_engine *engine) {
    struct storage_snapshot *snapshot = engine->ops->snapshot_new(engine);
    snapshot->engine = engine;
    return snapshot;
}

void storage_snapshot_free(struct storage_engine *engine, struct storage_snapshot *snapshot) {
    if (!snapshot) return;
    check_snapshot(engine, snapshot);
    engine->ops->snapshot_free(engine, snapshot);
}

struct storage_iterator *storage_iterator_new(struct storage_engine *engine,
                                              const struct storage_snapshot *snapshot,
                                              enum storage_family family, struct slice lower,
                                              struct slice upper) {
    check_key(family, lower);
    check_key(family, upper);
    check_snapshot(engine, snapshot);
    return engine->ops->iterator_new(engine, snapshot, family, lower, upper);
}

void storage_iterator_free(struct storage_iterator *iterator) {
    if (iterator) iterator->ops->iterator_free(iterator);
}

void storage_iterator_seek_first(struct storage_iterator *iterator) {
    iterator->ops->iterator_seek_first(iterator);
}

void storage_iterator_seek_last(struct storage_iterator *iterator) {
    iterator->ops->iterator_seek_last(iterator);
}

void storage_iterator_seek(struct storage_iterator *iterator, struct slice key) {
    iterator->ops->iterator_seek(iterator, key);
}

void storage_iterator_seek_for_prev(struct storage_iterator *iterator, struct slice key) {
    iterator->ops->iterator_seek_for_prev(iterator, key);
}

void storage_iterator_next(struct storage_iterator *iterator) {
    ASSERT(storage_iterator_valid(iterator));
    iterator->ops->iterator_next(iterator);
}

void storage_iterator_prev(struct storage_iterator *iterator) {
    ASSERT(storage_iterator_valid(iterator));
    iterator->ops->iterator_prev(iterator);
}

bool storage_iterator_valid(const struct storage_iterator *iterator) {
    return iterator->ops->iterator_valid(iterator);
}

struct slice storage_iterator_key(const struct storage_iterator *iterator) {
    ASSERT(storage_iterator_valid(iterator));
    return iterator->ops->iterator_key(iterator);
}

struct slice storage_iterator_value(const struct storage_iterator *iterator) {
    ASSERT(storage_iterator_valid(iterator));
    return iterator->ops->iterator_value(iterator);
}

enum status storage_iterator_status(const struct storage_iterator *iterator) {
    return iterator->ops->iterator_status(iterator);
}

enum status storage_ingest_new(struct storage_engine *engine, struct storage_ingest **ret_ingest) {
    return engine->ops->ingest_new(engine, ret_ingest);
}

enum status storage_ingest_add(struct storage_ingest *ingest, enum storage_family family,
                               struct slice key, struct slice value) {
    check_key(family, key);
    ASSERT_CMP(value.len, <=, STORAGE_VALUE_BYTES_MAX);
    ASSERT(!ingest->committed);
    if (ingest->any) {
        ASSERT_CMP(ingest->last_family, <=, family);
        if (ingest->last_family == family)
            ASSERT(slice_compare(slice_from_buf(&ingest->last_key), key) < 0);
    }
    ingest->any = true;
    ingest->last_family = family;
    buf_assign(&ingest->last_key, key);
    return ingest->ops->ingest_add(ingest, family, key, value);
}

enum status storage_ingest_commit(struct storage_ingest *ingest, const struct storage_span *spans,
                                  size_t span_count, struct storage_batch *batch) {
    ASSERT(!ingest->committed);
    ASSERT(batch->ops == ingest->ops);
    for (size_t i = 0; i < span_count; i++) {
        check_key(spans[i].family, spans[i].begin);
        check_key(spans[i].family, spans[i].end);
        ASSERT(spans[i].end.len == 0 || slice_compare(spans[i].begin, spans[i].end) < 0);
    }
    ingest->committed = true;
    return ingest->ops->ingest_commit(ingest, spans, span_count, batch);
}

void storage_ingest_free(struct storage_ingest *ingest) {
    if (!ingest) return;
    buf_done(&ingest->last_key);
    ingest->ops->ingest_free(ingest);
}

uint64_t storage_approximate_bytes(struct storage_engine *engine, const struct storage_span *span) {
    return engine->ops->approximate_bytes(engine, span);
}

uint64_t storage_synced_sequence(const struct storage_engine *engine) {
    return engine->ops->synced_sequence(engine);
}

void storage_describe(struct storage_engine *engine, struct buf *out) {
    engine->ops->describe(engine, out);
}

const char *storage_family_name(enum storage_family family) {
    static const char *const names[STORAGE_FAMILY_COUNT] = {
        [STORAGE_RAFT] = "raft",
        [STORAGE_DATA] = "data",
        [STORAGE_LOCK] = "lock",
        [STORAGE_META] = "meta",
    };
    ASSERT_CMP(family, <, STORAGE_FAMILY_COUNT);
    return names[family];
}

bool storage_span_contains(const struct storage_span *span, struct slice key) {
    return slice_compare(span->begin, key) <= 0 &&
           (span->end.len == 0 || slice_compare(key, span->end) < 0);
}
