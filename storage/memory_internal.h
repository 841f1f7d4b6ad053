/* What the parts of the engine in memory share. Of an engine and of everything that belongs to it:
 * only with its mutex held, unless a function says that it takes it. */
#ifndef FLOTILLA_STORAGE_MEMORY_INTERNAL_H
#define FLOTILLA_STORAGE_MEMORY_INTERNAL_H

#include <pthread.h>

#include "base/assert.h"
#include "base/list.h"
#include "storage/engine_impl.h"
#include "storage/memory_engine.h"
#include "storage/memory_table.h"

/* A reader's hold on a sequence. */
struct memory_pin {
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
    struct buf operations; /* struct memory_operation, key, value; one after the other, unaligned */
    size_t count;
};

enum memory_operation_kind { MEMORY_PUT, MEMORY_DELETE, MEMORY_DELETE_RANGE };

struct memory_operation {
    uint8_t kind, family;
    uint32_t key_len, value_len; /* of a range: begin and end */
};

struct memory_snapshot {
    struct storage_snapshot base;
    struct memory_pin pin;
};

extern const struct storage_ops memory_engine_ops;

static inline struct memory_engine *memory_engine_of(struct storage_engine *engine) {
    ASSERT(engine->ops == &memory_engine_ops);
    return CONTAINER_OF(engine, struct memory_engine, base);
}

static inline void memory_lock(struct memory_engine *engine) {
    ASSERT(pthread_mutex_lock(&engine->mutex) == 0);
}

static inline void memory_unlock(struct memory_engine *engine) {
    ASSERT(pthread_mutex_unlock(&engine->mutex) == 0);
}

/* memory_engine.c */
enum status memory_take_fault(struct memory_engine *engine, enum memory_engine_operation operation);
void memory_pin_add(struct memory_engine *engine, struct memory_pin *pin,
                    const struct storage_snapshot *snapshot);
uint64_t memory_read_sequence(const struct memory_engine *engine,
                              const struct storage_snapshot *snapshot);
void memory_prune(struct memory_engine *engine);

/* memory_write.c */
struct memory_batch *memory_batch_of(const struct storage_batch *batch);
struct storage_batch *memory_batch_new(struct storage_engine *base);
void memory_batch_free(struct storage_batch *base);
void memory_batch_clear(struct storage_batch *base);
void memory_batch_put(struct storage_batch *batch, enum storage_family family, struct slice key,
                      struct slice value);
void memory_batch_delete(struct storage_batch *batch, enum storage_family family, struct slice key);
void memory_batch_delete_range(struct storage_batch *batch, enum storage_family family,
                               struct slice begin, struct slice end);
size_t memory_batch_count(const struct storage_batch *batch);
size_t memory_batch_bytes(const struct storage_batch *batch);
void memory_apply(struct memory_engine *engine, const struct memory_batch *batch);
enum status memory_begin_write(struct memory_engine *engine);
enum status memory_sync(struct memory_engine *engine);
enum status memory_write(struct storage_engine *base, struct storage_batch *batch,
                         enum storage_durability durability);

/* memory_read.c */
enum status memory_begin_read(struct memory_engine *engine);
enum status memory_get_at(struct memory_engine *engine, uint64_t sequence,
                          enum storage_family family, struct slice key, struct buf *ret_value);
enum status memory_get(struct storage_engine *base, const struct storage_snapshot *snapshot,
                       enum storage_family family, struct slice key, struct buf *ret_value);
enum status memory_get_version(struct storage_engine *base, const struct storage_snapshot *snapshot,
                               struct slice version_key, storage_pair_fn *pair, void *ctx);
struct storage_iterator *memory_iterator_new(struct storage_engine *base,
                                             const struct storage_snapshot *snapshot,
                                             enum storage_family family, struct slice lower,
                                             struct slice upper);
void memory_iterator_free(struct storage_iterator *base);
void memory_iterator_seek(struct storage_iterator *base, struct slice key);
void memory_iterator_seek_first(struct storage_iterator *base);
void memory_iterator_seek_last(struct storage_iterator *base);
void memory_iterator_seek_for_prev(struct storage_iterator *base, struct slice key);
void memory_iterator_next(struct storage_iterator *base);
void memory_iterator_prev(struct storage_iterator *base);
bool memory_iterator_valid(const struct storage_iterator *iterator);
struct slice memory_iterator_key(const struct storage_iterator *iterator);
struct slice memory_iterator_value(const struct storage_iterator *iterator);
enum status memory_iterator_status(const struct storage_iterator *iterator);

/* memory_ingest.c */
enum status memory_ingest_new(struct storage_engine *base, struct storage_ingest **ret_ingest);
enum status memory_ingest_add(struct storage_ingest *base, enum storage_family family,
                              struct slice key, struct slice value);
enum status memory_ingest_commit(struct storage_ingest *base, const struct storage_span *spans,
                                 size_t span_count, struct storage_batch *batch);
void memory_ingest_free(struct storage_ingest *base);

#endif
