/* The engine in memory. Each write gets the next sequence; a snapshot or iterator is a pinned
 * sequence; what is synced is a sequence, too. So a power cut is one roll-back to a sequence.
 *
 * Invariants:
 * 1. synced <= sequence; the writes between them are those that a crash may take.
 * 2. No version that a pinned sequence, or any sequence from `synced` on, sees is ever freed.
 * 3. Everything below the mutex; slices handed out point at versions that a pin keeps.
 *
 * Here: its life, faults, pins, and what tests look at. memory_write.c, memory_read.c and
 * memory_ingest.c have the rest, as their RocksDB twins do. */
#include "storage/memory_engine.h"

#include "base/codec.h"
#include "base/memory.h"
#include "storage/memory_internal.h"

/* Stale versions are pruned when they have doubled since the last time (and are worth a walk): so
 * pruning costs a constant per write however long a snapshot stays open. */
#define PRUNE_AT_LEAST 64u

struct storage_engine *memory_engine_new(void) {
    struct memory_engine *engine = MEMORY_NEW(struct memory_engine);
    engine->base.ops = &memory_engine_ops;
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

enum status memory_take_fault(struct memory_engine *engine,
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
    memory_lock(engine);
    engine->faulty = operations;
    engine->fault = status;
    engine->fault_countdown = countdown;
    memory_unlock(engine);
}

void memory_engine_fail_after(struct storage_engine *base, uint64_t countdown, enum status status) {
    memory_engine_fail(base, MEMORY_ENGINE_READ | MEMORY_ENGINE_WRITE, countdown, status);
}

bool memory_engine_failed(const struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of((struct storage_engine *)base);
    memory_lock(engine);
    bool failed = engine->failed;
    memory_unlock(engine);
    return failed;
}

void memory_engine_abandon(struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
    while (list_pop_front(&engine->pins) != NULL) {
    }
    engine->open_ingests = 0;
    memory_unlock(engine);
}

void memory_engine_crash(struct storage_engine *base, size_t keep_writes) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
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
    memory_unlock(engine);
}

size_t memory_engine_unsynced_writes(const struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of((struct storage_engine *)base);
    memory_lock(engine);
    size_t unsynced = engine->sequence - engine->synced;
    memory_unlock(engine);
    return unsynced;
}

/* ---- pins ---- */

void memory_pin_add(struct memory_engine *engine, struct memory_pin *pin,
                    const struct storage_snapshot *snapshot) {
    pin->sequence = snapshot ? CONTAINER_OF(snapshot, struct memory_snapshot, base)->pin.sequence
                             : engine->sequence;
    /* A new pin is nearly always the youngest; only iterators on a snapshot go further back. */
    struct list_node *before = engine->pins.prev;
    while (before != &engine->pins &&
           CONTAINER_OF(before, struct memory_pin, link)->sequence > pin->sequence)
        before = before->prev;
    list_insert_before(before->next, &pin->link);
}

uint64_t memory_read_sequence(const struct memory_engine *engine,
                              const struct storage_snapshot *snapshot) {
    if (!snapshot) return engine->sequence;
    return CONTAINER_OF(snapshot, struct memory_snapshot, base)->pin.sequence;
}

void memory_prune(struct memory_engine *engine) {
    size_t stale = 0;
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++)
        stale += engine->tables[family].stale_versions;
    if (stale < PRUNE_AT_LEAST || stale < 2 * engine->stale_after_prune) return;
    uint64_t horizon = engine->synced;
    if (!list_empty(&engine->pins)) {
        uint64_t oldest = CONTAINER_OF(engine->pins.next, struct memory_pin, link)->sequence;
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
    memory_lock(engine);
    memory_pin_add(engine, &snapshot->pin, NULL);
    memory_unlock(engine);
    return &snapshot->base;
}

static void memory_snapshot_free(struct storage_engine *base, struct storage_snapshot *snapshot) {
    struct memory_engine *engine = memory_engine_of(base);
    struct memory_snapshot *mine = CONTAINER_OF(snapshot, struct memory_snapshot, base);
    memory_lock(engine);
    list_remove(&mine->pin.link);
    memory_unlock(engine);
    memory_free(mine);
}

/* ---- looking at it ---- */

static uint64_t memory_approximate_bytes(struct storage_engine *base,
                                         const struct storage_span *span) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
    uint64_t bytes =
        memory_table_approximate_bytes(&engine->tables[span->family], span->begin, span->end);
    memory_unlock(engine);
    return bytes;
}

/* Lengths go in as well, so that moving a byte from a value to the next key changes the hash. */
uint64_t memory_engine_hash(struct storage_engine *base, const struct storage_span *span) {
    struct memory_engine *engine = memory_engine_of(base);
    uint64_t hash = 0;
    memory_lock(engine);
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
    memory_unlock(engine);
    return hash;
}

enum status memory_engine_peek(struct storage_engine *base, bool durable,
                               enum storage_family family, struct slice key,
                               struct buf *ret_value) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
    enum status status =
        memory_get_at(engine, durable ? engine->synced : engine->sequence, family, key, ret_value);
    memory_unlock(engine);
    return status;
}

static uint64_t memory_synced_sequence(const struct storage_engine *base) {
    struct memory_engine *engine = memory_engine_of((struct storage_engine *)base);
    memory_lock(engine);
    uint64_t synced = engine->synced;
    memory_unlock(engine);
    return synced;
}

static void memory_describe(struct storage_engine *base, struct buf *out) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
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
    memory_unlock(engine);
}

const struct storage_ops memory_engine_ops = {
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
