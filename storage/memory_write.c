/* Batches, and what a write of one does. */
#include "base/memory.h"
#include "storage/memory_internal.h"

struct memory_batch *memory_batch_of(const struct storage_batch *batch) {
    return CONTAINER_OF(batch, struct memory_batch, base);
}

struct storage_batch *memory_batch_new(struct storage_engine *base) {
    struct memory_batch *batch = MEMORY_NEW(struct memory_batch);
    batch->base.ops = base->ops;
    return &batch->base;
}

void memory_batch_free(struct storage_batch *base) {
    struct memory_batch *batch = memory_batch_of(base);
    buf_done(&batch->operations);
    memory_free(batch);
}

void memory_batch_clear(struct storage_batch *base) {
    struct memory_batch *batch = memory_batch_of(base);
    buf_clear(&batch->operations);
    batch->count = 0;
}

static void batch_append(struct storage_batch *base, enum memory_operation_kind kind,
                         enum storage_family family, struct slice key, struct slice value) {
    struct memory_batch *batch = memory_batch_of(base);
    struct memory_operation operation = {(uint8_t)kind, (uint8_t)family, (uint32_t)key.len,
                                         (uint32_t)value.len};
    buf_reserve(&batch->operations, sizeof(operation) + key.len + value.len);
    buf_append(&batch->operations, slice_make(&operation, sizeof(operation)));
    buf_append(&batch->operations, key);
    buf_append(&batch->operations, value);
    batch->count++;
}

void memory_batch_put(struct storage_batch *batch, enum storage_family family, struct slice key,
                      struct slice value) {
    batch_append(batch, MEMORY_PUT, family, key, value);
}

void memory_batch_delete(struct storage_batch *batch, enum storage_family family,
                         struct slice key) {
    batch_append(batch, MEMORY_DELETE, family, key, SLICE_EMPTY);
}

void memory_batch_delete_range(struct storage_batch *batch, enum storage_family family,
                               struct slice begin, struct slice end) {
    batch_append(batch, MEMORY_DELETE_RANGE, family, begin, end);
}

size_t memory_batch_count(const struct storage_batch *batch) {
    return memory_batch_of(batch)->count;
}

size_t memory_batch_bytes(const struct storage_batch *batch) {
    return memory_batch_of(batch)->operations.len;
}

void memory_apply(struct memory_engine *engine, const struct memory_batch *batch) {
    if (batch->count == 0) return;
    const uint8_t *at = batch->operations.data;
    for (size_t i = 0; i < batch->count; i++) {
        struct memory_operation operation;
        memcpy(&operation, at, sizeof(operation));
        struct slice key = slice_make(at + sizeof(operation), operation.key_len);
        struct slice value = slice_make(key.data + key.len, operation.value_len);
        at = value.data + value.len;
        struct memory_table *table = &engine->tables[operation.family];
        switch ((enum memory_operation_kind)operation.kind) {
        case MEMORY_PUT:
            memory_table_put(table, key, value, engine->sequence);
            break;
        case MEMORY_DELETE:
            memory_table_delete(table, key, engine->sequence);
            break;
        case MEMORY_DELETE_RANGE:
            memory_table_delete_range(table, key, value, engine->sequence);
            break;
        }
    }
    ASSERT(at == batch->operations.data + batch->operations.len);
    engine->bytes_written += batch->operations.len;
}

/* Whether a write may happen; a failure is remembered. */
enum status memory_begin_write(struct memory_engine *engine) {
    enum status status = engine->write_failure;
    if (status == STATUS_OK) status = memory_take_fault(engine, MEMORY_ENGINE_WRITE);
    engine->write_failure = status;
    if (status == STATUS_OK) {
        engine->write_count++;
        engine->sequence++;
    }
    return status;
}

/* Makes everything written so far durable. When that fails, what was written may survive a crash or
 * not, as everything that is not synced. */
enum status memory_sync(struct memory_engine *engine) {
    enum status status = memory_take_fault(engine, MEMORY_ENGINE_SYNC);
    engine->write_failure = status;
    if (status == STATUS_OK) engine->synced = engine->sequence;
    return status;
}

enum status memory_write(struct storage_engine *base, struct storage_batch *batch,
                         enum storage_durability durability) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
    enum status status = memory_begin_write(engine);
    if (status == STATUS_OK) {
        memory_apply(engine, memory_batch_of(batch));
        if (durability == STORAGE_SYNCED) status = memory_sync(engine);
        memory_prune(engine);
    }
    memory_unlock(engine);
    return status;
}
