/* The engine in memory. Each write gets the next sequence; a snapshot or iterator is a pinned
 * sequence; what is synced is a sequence, too. So a power cut is one roll-back to a sequence.
 *
 * Invariants:
 * 1. synced <= sequence; the writes between them are those that a crash may take.
 * 2. No version that a pinned sequence, or any sequence from `synced` on, sees is ever freed.
 * 3. Everything below the mutex; slices handed out point at versions that a pin keeps. */
#include "storage/memory_engine.h"

#include <pthread.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/list.h"
#include "base/memory.h"
#include "storage/engine_impl.h"
#include "storage/memory_table.h"
#include "storage/mvcc.h"

/* Stale versions are pruned when they have doubled since the last time (and are worth a walk): so
 * pruning costs a constant per write however long a snapshot stays open. */
#define PRUNE_AT_LEAST 64u

/* A reader's hold on a sequence. */
struct pin {
    struct list_node link; /* in memory_engine.pins, ascending by sequence */
    uint64_t sequence;
};

struct memory_engine {
    struct storage_engine base;
    pthread_mutex_t mutex;
    struct memory_table tables[STORAGE_FAMILY_COUNT];
    uint64_t sequence;         /* of the last write */
    uint64_t synced;           /* every write up to here survives a crash */
    struct list_node pins;     /* the oldest reader first */
    size_t stale_after_prune;  /* versions that the last prune had to leave */
    size_t open_ingests;       /* for the assert at crash and close */
    unsigned faulty;           /* enum memory_engine_operation: what the fault is about */
    enum status fault;         /* what operations fail with; OK: no fault is set */
    uint64_t fault_countdown;  /* operations that still succeed */
    enum status write_failure; /* the first failed write's status: every later one fails alike */
    bool failed;               /* an operation met the fault since the last crash */
    uint64_t write_count, read_count, bytes_written;
};

struct memory_batch {
    struct storage_batch base;
    struct buf operations; /* struct operation, key, value; one after the other, unaligned */
    size_t count;
};

enum operation_kind { OPERATION_PUT, OPERATION_DELETE, OPERATION_DELETE_RANGE };

struct operation {
    uint8_t kind, family;
    uint32_t key_len, value_len; /* of a range: begin and end */
};

struct memory_snapshot {
    struct storage_snapshot base;
    struct pin pin;
};

struct memory_iterator {
    struct storage_iterator base;
    struct memory_engine *engine;
    struct pin pin;
    enum storage_family family;
    struct buf lower, upper;
    const struct memory_node *node; /* NULL: not valid */
    const struct memory_version *version;
    enum status status;
};

struct memory_ingest {
    struct storage_ingest base;
    struct memory_engine *engine;
    struct memory_batch *added;
};

static const struct storage_ops memory_ops;

static struct memory_engine *memory_engine_of(struct storage_engine *engine) {
    ASSERT(engine->ops == &memory_ops);
    return CONTAINER_OF(engine, struct memory_engine, base);
}

static void lock(struct memory_engine *engine) {
    ASSERT(pthread_mutex_lock(&engine->mutex) == 0);
}

static void unlock(struct memory_engine *engine) {
    ASSERT(pthread_mutex_unlock(&engine->mutex) == 0);
}

struct storage_engine *memory_engine_new(void) {
    struct memory_engine *engine = MEMORY_NEW(struct memory_engine);
    engine->base.ops = &memory_ops;
    ASSERT(pthread_mutex_init(&engine->mutex, NULL) == 0);
    list_init(&engine->pins);
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++)
        memory_table_init(&engine->tables[family]);
    return &engine->base;
}

static void memory_close(struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of(base);
    ASSERT(list_empty(&engine->pins));
    ASSERT_CMP(engine->open_ingests, ==, 0);
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++)
        memory_table_done(&engine->tables[family]);
    ASSERT(pthread_mutex_destroy(&engine->mutex) == 0);
    memory_free(engine);
}

/* ---- faults ---- */

static enum status take_fault(struct memory_engine *engine,
                              enum memory_engine_operation operation) {
    if (engine->fault == STATUS_OK || !(engine->faulty & operation)) return STATUS_OK;
    if (engine->fault_countdown == 0) {
        engine->failed = true;
        return engine->fault;
    }
    engine->fault_countdown--;
    return STATUS_OK;
}

void memory_engine_fail(struct storage_engine *base, unsigned operations, uint64_t countdown,
                        enum status status) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    engine->faulty = operations;
    engine->fault = status;
    engine->fault_countdown = countdown;
    unlock(engine);
}

void memory_engine_fail_after(struct storage_engine *base, uint64_t countdown, enum status status) {
    memory_engine_fail(base, MEMORY_ENGINE_READ | MEMORY_ENGINE_WRITE, countdown, status);
}

bool memory_engine_failed(const struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of((struct storage_engine *)base);
    lock(engine);
    bool failed = engine->failed;
    unlock(engine);
    return failed;
}

void memory_engine_abandon(struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    while (list_pop_front(&engine->pins) != NULL) {
    }
    engine->open_ingests = 0;
    unlock(engine);
}

void memory_engine_crash(struct storage_engine *base, size_t keep_writes) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    ASSERT(list_empty(&engine->pins));
    ASSERT_CMP(engine->open_ingests, ==, 0);
    uint64_t unsynced = engine->sequence - engine->synced;
    uint64_t survives = engine->synced + (keep_writes < unsynced ? keep_writes : unsynced);
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        memory_table_check(&engine->tables[family]);
        memory_table_roll_back(&engine->tables[family], survives);
        memory_table_prune(&engine->tables[family], survives);
        memory_table_check(&engine->tables[family]);
    }
    engine->sequence = engine->synced = survives;
    engine->stale_after_prune = 0;
    /* The process that comes back has a disk that works, until it is told otherwise. */
    engine->fault = engine->write_failure = STATUS_OK;
    engine->failed = false;
    unlock(engine);
}

size_t memory_engine_unsynced_writes(const struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of((struct storage_engine *)base);
    lock(engine);
    size_t unsynced = engine->sequence - engine->synced;
    unlock(engine);
    return unsynced;
}

/* ---- pins ---- */

static void pin_add(struct memory_engine *engine, struct pin *pin,
                    const struct storage_snapshot *snapshot) {
    pin->sequence = snapshot ? CONTAINER_OF(snapshot, struct memory_snapshot, base)->pin.sequence
                             : engine->sequence;
    /* A new pin is nearly always the youngest; only iterators on a snapshot go further back. */
    struct list_node *before = engine->pins.prev;
    while (before != &engine->pins &&
           CONTAINER_OF(before, struct pin, link)->sequence > pin->sequence)
        before = before->prev;
    list_insert_before(before->next, &pin->link);
}

static uint64_t read_sequence(const struct memory_engine *engine,
                              const struct storage_snapshot *snapshot) {
    if (!snapshot) return engine->sequence;
    return CONTAINER_OF(snapshot, struct memory_snapshot, base)->pin.sequence;
}

static void prune(struct memory_engine *engine) {
    size_t stale = 0;
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++)
        stale += engine->tables[family].stale_versions;
    if (stale < PRUNE_AT_LEAST || stale < 2 * engine->stale_after_prune) return;
    uint64_t horizon = engine->synced;
    if (!list_empty(&engine->pins)) {
        uint64_t oldest = CONTAINER_OF(engine->pins.next, struct pin, link)->sequence;
        if (oldest < horizon) horizon = oldest;
    }
    engine->stale_after_prune = 0;
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        memory_table_prune(&engine->tables[family], horizon);
        engine->stale_after_prune += engine->tables[family].stale_versions;
    }
}

static struct storage_snapshot *memory_snapshot_new(struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of(base);
    struct memory_snapshot *snapshot = MEMORY_NEW(struct memory_snapshot);
    lock(engine);
    pin_add(engine, &snapshot->pin, NULL);
    unlock(engine);
    return &snapshot->base;
}

static void memory_snapshot_free(struct storage_engine *base, struct storage_snapshot *snapshot) {
    struct memory_engine *engine = memory_engine_of(base);
    struct memory_snapshot *mine = CONTAINER_OF(snapshot, struct memory_snapshot, base);
    lock(engine);
    list_remove(&mine->pin.link);
    unlock(engine);
    memory_free(mine);
}

/* ---- batches ---- */

static struct memory_batch *memory_batch_of(const struct storage_batch *batch) {
    return CONTAINER_OF(batch, struct memory_batch, base);
}

static struct storage_batch *memory_batch_new(struct storage_engine *base) {
    struct memory_batch *batch = MEMORY_NEW(struct memory_batch);
    batch->base.ops = base->ops;
    return &batch->base;
}

static void memory_batch_free(struct storage_batch *base) {
    struct memory_batch *batch = memory_batch_of(base);
    buf_done(&batch->operations);
    memory_free(batch);
}

static void memory_batch_clear(struct storage_batch *base) {
    struct memory_batch *batch = memory_batch_of(base);
    buf_clear(&batch->operations);
    batch->count = 0;
}

static void batch_append(struct storage_batch *base, enum operation_kind kind,
                         enum storage_family family, struct slice key, struct slice value) {
    struct memory_batch *batch = memory_batch_of(base);
    struct operation operation = {(uint8_t)kind, (uint8_t)family, (uint32_t)key.len,
                                  (uint32_t)value.len};
    buf_reserve(&batch->operations, sizeof(operation) + key.len + value.len);
    buf_append(&batch->operations, slice_make(&operation, sizeof(operation)));
    buf_append(&batch->operations, key);
    buf_append(&batch->operations, value);
    batch->count++;
}

static void memory_batch_put(struct storage_batch *batch, enum storage_family family,
                             struct slice key, struct slice value) {
    batch_append(batch, OPERATION_PUT, family, key, value);
}

static void memory_batch_delete(struct storage_batch *batch, enum storage_family family,
                                struct slice key) {
    batch_append(batch, OPERATION_DELETE, family, key, SLICE_EMPTY);
}

static void memory_batch_delete_range(struct storage_batch *batch, enum storage_family family,
                                      struct slice begin, struct slice end) {
    batch_append(batch, OPERATION_DELETE_RANGE, family, begin, end);
}

static size_t memory_batch_count(const struct storage_batch *batch) {
    return memory_batch_of(batch)->count;
}

static size_t memory_batch_bytes(const struct storage_batch *batch) {
    return memory_batch_of(batch)->operations.len;
}

static void apply(struct memory_engine *engine, const struct memory_batch *batch) {
    if (batch->count == 0) return;
    const uint8_t *at = batch->operations.data;
    for (size_t i = 0; i < batch->count; i++) {
        struct operation operation;
        memcpy(&operation, at, sizeof(operation));
        struct slice key = slice_make(at + sizeof(operation), operation.key_len);
        struct slice value = slice_make(key.data + key.len, operation.value_len);
        at = value.data + value.len;
        struct memory_table *table = &engine->tables[operation.family];
        switch ((enum operation_kind)operation.kind) {
        case OPERATION_PUT:
            memory_table_put(table, key, value, engine->sequence);
            break;
        case OPERATION_DELETE:
            memory_table_delete(table, key, engine->sequence);
            break;
        case OPERATION_DELETE_RANGE:
            memory_table_delete_range(table, key, value, engine->sequence);
            break;
        }
    }
    ASSERT(at == batch->operations.data + batch->operations.len);
    engine->bytes_written += batch->operations.len;
}

/* Whether a write may happen; a failure is remembered. */
static enum status begin_write(struct memory_engine *engine) {
    enum status status = engine->write_failure;
    if (status == STATUS_OK) status = take_fault(engine, MEMORY_ENGINE_WRITE);
    engine->write_failure = status;
    if (status == STATUS_OK) {
        engine->write_count++;
        engine->sequence++;
    }
    return status;
}

/* Makes everything written so far durable. When that fails, what was written may survive a crash or
 * not, as everything that is not synced. */
static enum status sync(struct memory_engine *engine) {
    enum status status = take_fault(engine, MEMORY_ENGINE_SYNC);
    engine->write_failure = status;
    if (status == STATUS_OK) engine->synced = engine->sequence;
    return status;
}

static enum status memory_write(struct storage_engine *base, struct storage_batch *batch,
                                enum storage_durability durability) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    enum status status = begin_write(engine);
    if (status == STATUS_OK) {
        apply(engine, memory_batch_of(batch));
        if (durability == STORAGE_SYNCED) status = sync(engine);
        prune(engine);
    }
    unlock(engine);
    return status;
}

/* ---- reads ---- */

static enum status begin_read(struct memory_engine *engine) {
    engine->read_count++;
    return take_fault(engine, MEMORY_ENGINE_READ);
}

static enum status get(struct memory_engine *engine, uint64_t sequence, enum storage_family family,
                       struct slice key, struct buf *ret_value) {
    const struct memory_node *node = memory_table_find(&engine->tables[family], key);
    if (!node) return STATUS_NOT_FOUND;
    const struct memory_version *version = memory_node_visible(node, sequence);
    if (!version) return STATUS_NOT_FOUND;
    buf_assign(ret_value, slice_make(version->data, version->len));
    return STATUS_OK;
}

static enum status memory_get(struct storage_engine *base, const struct storage_snapshot *snapshot,
                              enum storage_family family, struct slice key, struct buf *ret_value) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    enum status status = begin_read(engine);
    if (status == STATUS_OK)
        status = get(engine, read_sequence(engine, snapshot), family, key, ret_value);
    unlock(engine);
    return status;
}

static enum status memory_get_version(struct storage_engine *base,
                                      const struct storage_snapshot *snapshot,
                                      struct slice version_key, storage_pair_fn *pair, void *ctx) {
    struct memory_engine *engine = memory_engine_of(base);
    ASSERT_CMP(version_key.len, >=, MVCC_VERSION_BYTES);
    struct slice prefix = slice_make(version_key.data, version_key.len - MVCC_VERSION_BYTES);
    lock(engine);
    enum status status = begin_read(engine);
    if (status == STATUS_OK) {
        uint64_t sequence = read_sequence(engine, snapshot);
        const struct memory_node *node =
            memory_table_first_from(&engine->tables[STORAGE_DATA], version_key);
        status = STATUS_NOT_FOUND;
        for (; node; node = memory_table_next(node)) {
            struct slice key = memory_node_key(node);
            if (key.len != version_key.len || !slice_has_prefix(key, prefix)) break;
            const struct memory_version *version = memory_node_visible(node, sequence);
            if (!version) continue;
            pair(ctx, key, slice_make(version->data, version->len));
            status = STATUS_OK;
            break;
        }
    }
    unlock(engine);
    return status;
}

/* ---- iterators ---- */

static struct memory_iterator *memory_iterator_of(const struct storage_iterator *iterator) {
    return CONTAINER_OF(iterator, struct memory_iterator, base);
}

static struct storage_iterator *memory_iterator_new(struct storage_engine *base,
                                                    const struct storage_snapshot *snapshot,
                                                    enum storage_family family, struct slice lower,
                                                    struct slice upper) {
    struct memory_iterator *iterator = MEMORY_NEW(struct memory_iterator);
    iterator->base.ops = base->ops;
    iterator->engine = memory_engine_of(base);
    iterator->family = family;
    iterator->lower = buf_from_slice(lower);
    iterator->upper = buf_from_slice(upper);
    lock(iterator->engine);
    pin_add(iterator->engine, &iterator->pin, snapshot);
    unlock(iterator->engine);
    return &iterator->base;
}

static void memory_iterator_free(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    lock(iterator->engine);
    list_remove(&iterator->pin.link);
    unlock(iterator->engine);
    buf_done(&iterator->lower);
    buf_done(&iterator->upper);
    memory_free(iterator);
}

/* Starts a move: the position is given up, and the disk may fail. */
static bool begin_move(struct memory_iterator *iterator) {
    lock(iterator->engine);
    iterator->node = NULL;
    iterator->version = NULL;
    iterator->status = begin_read(iterator->engine);
    return iterator->status == STATUS_OK;
}

static void settle_forward(struct memory_iterator *iterator, const struct memory_node *node) {
    struct slice upper = slice_from_buf(&iterator->upper);
    for (; node; node = memory_table_next(node)) {
        if (upper.len > 0 && slice_compare(memory_node_key(node), upper) >= 0) return;
        iterator->version = memory_node_visible(node, iterator->pin.sequence);
        if (iterator->version) {
            iterator->node = node;
            return;
        }
    }
}

static void settle_backward(struct memory_iterator *iterator, const struct memory_node *node) {
    const struct memory_table *table = &iterator->engine->tables[iterator->family];
    struct slice lower = slice_from_buf(&iterator->lower);
    for (; node; node = memory_table_previous(table, node)) {
        if (slice_compare(memory_node_key(node), lower) < 0) return;
        iterator->version = memory_node_visible(node, iterator->pin.sequence);
        if (iterator->version) {
            iterator->node = node;
            return;
        }
    }
}

static void memory_iterator_seek(struct storage_iterator *base, struct slice key) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    struct slice lower = slice_from_buf(&iterator->lower);
    if (slice_compare(key, lower) < 0) key = lower;
    if (begin_move(iterator))
        settle_forward(iterator,
                       memory_table_first_from(&iterator->engine->tables[iterator->family], key));
    unlock(iterator->engine);
}

static void memory_iterator_seek_first(struct storage_iterator *base) {
    memory_iterator_seek(base, slice_from_buf(&memory_iterator_of(base)->lower));
}

static void memory_iterator_seek_last(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    const struct memory_table *table = &iterator->engine->tables[iterator->family];
    struct slice upper = slice_from_buf(&iterator->upper);
    if (begin_move(iterator))
        settle_backward(iterator, upper.len > 0 ? memory_table_last_before(table, upper)
                                                : memory_table_last(table));
    unlock(iterator->engine);
}

static void memory_iterator_seek_for_prev(struct storage_iterator *base, struct slice key) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    const struct memory_table *table = &iterator->engine->tables[iterator->family];
    struct slice upper = slice_from_buf(&iterator->upper);
    if (upper.len > 0 && slice_compare(key, upper) >= 0) {
        memory_iterator_seek_last(base);
        return;
    }
    if (begin_move(iterator)) {
        const struct memory_node *node = memory_table_first_from(table, key);
        if (!node || !slice_equal(memory_node_key(node), key))
            node = memory_table_last_before(table, key);
        settle_backward(iterator, node);
    }
    unlock(iterator->engine);
}

static void memory_iterator_next(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    const struct memory_node *node = iterator->node;
    if (begin_move(iterator)) settle_forward(iterator, memory_table_next(node));
    unlock(iterator->engine);
}

static void memory_iterator_prev(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    const struct memory_table *table = &iterator->engine->tables[iterator->family];
    const struct memory_node *node = iterator->node;
    if (begin_move(iterator)) settle_backward(iterator, memory_table_previous(table, node));
    unlock(iterator->engine);
}

static bool memory_iterator_valid(const struct storage_iterator *iterator) {
    return memory_iterator_of(iterator)->node != NULL;
}

static struct slice memory_iterator_key(const struct storage_iterator *iterator) {
    return memory_node_key(memory_iterator_of(iterator)->node);
}

static struct slice memory_iterator_value(const struct storage_iterator *iterator) {
    const struct memory_version *version = memory_iterator_of(iterator)->version;
    return slice_make(version->data, version->len);
}

static enum status memory_iterator_status(const struct storage_iterator *iterator) {
    return memory_iterator_of(iterator)->status;
}

/* ---- bulk installation: one synced write, here ---- */

static enum status memory_ingest_new(struct storage_engine *base,
                                     struct storage_ingest **ret_ingest) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    enum status status = engine->write_failure;
    if (status == STATUS_OK) engine->open_ingests++;
    unlock(engine);
    if (status != STATUS_OK) return status;
    struct memory_ingest *ingest = MEMORY_NEW(struct memory_ingest);
    ingest->base.ops = base->ops;
    ingest->engine = engine;
    ingest->added = memory_batch_of(memory_batch_new(base));
    *ret_ingest = &ingest->base;
    return STATUS_OK;
}

static enum status memory_ingest_add(struct storage_ingest *base, enum storage_family family,
                                     struct slice key, struct slice value) {
    struct memory_ingest *ingest = CONTAINER_OF(base, struct memory_ingest, base);
    lock(ingest->engine);
    enum status status =
        take_fault(ingest->engine, MEMORY_ENGINE_WRITE); /* the staging file may fail as well */
    unlock(ingest->engine);
    if (status == STATUS_OK) memory_batch_put(&ingest->added->base, family, key, value);
    return status;
}

static void check_added_in_spans(const struct memory_batch *added, const struct storage_span *spans,
                                 size_t span_count) {
    const uint8_t *at = added->operations.data;
    for (size_t i = 0; i < added->count; i++) {
        struct operation operation;
        memcpy(&operation, at, sizeof(operation));
        struct slice key = slice_make(at + sizeof(operation), operation.key_len);
        at = key.data + key.len + operation.value_len;
        bool inside = false;
        for (size_t j = 0; j < span_count && !inside; j++)
            inside = operation.family == (uint8_t)spans[j].family &&
                     storage_span_contains(&spans[j], key);
        ASSERT(inside);
    }
}

static enum status memory_ingest_commit(struct storage_ingest *base,
                                        const struct storage_span *spans, size_t span_count,
                                        struct storage_batch *batch) {
    struct memory_ingest *ingest = CONTAINER_OF(base, struct memory_ingest, base);
    struct memory_engine *engine = ingest->engine;
    check_added_in_spans(ingest->added, spans, span_count);
    lock(engine);
    enum status status = begin_write(engine);
    if (status == STATUS_OK) {
        for (size_t i = 0; i < span_count; i++)
            memory_table_delete_range(&engine->tables[spans[i].family], spans[i].begin,
                                      spans[i].end, engine->sequence);
        apply(engine, ingest->added);
        apply(engine, memory_batch_of(batch));
        status = sync(engine);
        prune(engine);
    }
    unlock(engine);
    return status;
}

static void memory_ingest_free(struct storage_ingest *base) {
    struct memory_ingest *ingest = CONTAINER_OF(base, struct memory_ingest, base);
    lock(ingest->engine);
    ingest->engine->open_ingests--;
    unlock(ingest->engine);
    memory_batch_free(&ingest->added->base);
    memory_free(ingest);
}

/* ---- looking at it ---- */

static uint64_t memory_approximate_bytes(struct storage_engine *base,
                                         const struct storage_span *span) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    uint64_t bytes =
        memory_table_approximate_bytes(&engine->tables[span->family], span->begin, span->end);
    unlock(engine);
    return bytes;
}

/* Lengths go in as well, so that moving a byte from a value to the next key changes the hash. */
uint64_t memory_engine_hash(struct storage_engine *base, const struct storage_span *span) {
    struct memory_engine *engine = memory_engine_of(base);
    uint64_t hash = 0;
    lock(engine);
    const struct memory_node *node =
        memory_table_first_from(&engine->tables[span->family], span->begin);
    for (; node; node = memory_table_next(node)) {
        struct slice key = memory_node_key(node);
        if (span->end.len > 0 && slice_compare(key, span->end) >= 0) break;
        memory_node_prefetch(node);
        const struct memory_version *version = memory_node_visible(node, engine->sequence);
        if (!version) continue;
        hash = checksum64_seeded(key, hash ^ key.len);
        hash = checksum64_seeded(slice_make(version->data, version->len), hash ^ version->len);
    }
    unlock(engine);
    return hash;
}

enum status memory_engine_peek(struct storage_engine *base, bool durable,
                               enum storage_family family, struct slice key,
                               struct buf *ret_value) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    enum status status =
        get(engine, durable ? engine->synced : engine->sequence, family, key, ret_value);
    unlock(engine);
    return status;
}

static uint64_t memory_synced_sequence(const struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of((struct storage_engine *)base);
    lock(engine);
    uint64_t synced = engine->synced;
    unlock(engine);
    return synced;
}

static void memory_describe(struct storage_engine *base, struct buf *out) {
    struct memory_engine *engine = memory_engine_of(base);
    lock(engine);
    buf_printf(out, "engine memory\n");
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        const char *name = storage_family_name((enum storage_family)family);
        buf_printf(out, "keys_%s %zu\nstale_versions_%s %zu\n", name,
                   engine->tables[family].key_count, name, engine->tables[family].stale_versions);
    }
    buf_printf(out, "writes %llu\nreads %llu\nbytes_written %llu\nunsynced_writes %llu\n",
               (unsigned long long)engine->write_count, (unsigned long long)engine->read_count,
               (unsigned long long)engine->bytes_written,
               (unsigned long long)(engine->sequence - engine->synced));
    unlock(engine);
}

static const struct storage_ops memory_ops = {
    .close = memory_close,
    .batch_new = memory_batch_new,
    .batch_free = memory_batch_free,
    .batch_clear = memory_batch_clear,
    .batch_put = memory_batch_put,
    .batch_delete = memory_batch_delete,
    .batch_delete_range = memory_batch_delete_range,
    .batch_count = memory_batch_count,
    .batch_bytes = memory_batch_bytes,
    .write = memory_write,
    .get = memory_get,
    .get_version = memory_get_version,
    .snapshot_new = memory_snapshot_new,
    .snapshot_free = memory_snapshot_free,
    .iterator_new = memory_iterator_new,
    .iterator_free = memory_iterator_free,
    .iterator_seek_first = memory_iterator_seek_first,
    .iterator_seek_last = memory_iterator_seek_last,
    .iterator_seek = memory_iterator_seek,
    .iterator_seek_for_prev = memory_iterator_seek_for_prev,
    .iterator_next = memory_iterator_next,
    .iterator_prev = memory_iterator_prev,
    .iterator_valid = memory_iterator_valid,
    .iterator_key = memory_iterator_key,
    .iterator_value = memory_iterator_value,
    .iterator_status = memory_iterator_status,
    .ingest_new = memory_ingest_new,
    .ingest_add = memory_ingest_add,
    .ingest_commit = memory_ingest_commit,
    .ingest_free = memory_ingest_free,
    .approximate_bytes = memory_approximate_bytes,
    .synced_sequence = memory_synced_sequence,
    .describe = memory_describe,
};
