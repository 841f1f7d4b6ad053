/* Bulk installation: one synced write, here. */
#include "base/memory.h"
#include "storage/memory_internal.h"

struct memory_ingest {
    struct storage_ingest base;
    struct memory_engine *engine;
    struct memory_batch *added;
};

enum status memory_ingest_new(struct storage_engine *base, struct storage_ingest **ret_ingest) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
    enum status status = engine->write_failure;
    if (status == STATUS_OK) engine->open_ingests++;
    memory_unlock(engine);
    if (status != STATUS_OK) return status;
    struct memory_ingest *ingest = MEMORY_NEW(struct memory_ingest);
    ingest->base.ops = base->ops;
    ingest->engine = engine;
    ingest->added = memory_batch_of(memory_batch_new(base));
    *ret_ingest = &ingest->base;
    return STATUS_OK;
}

enum status memory_ingest_add(struct storage_ingest *base, enum storage_family family,
                              struct slice key, struct slice value) {
    struct memory_ingest *ingest = CONTAINER_OF(base, struct memory_ingest, base);
    memory_lock(ingest->engine);
    enum status status = memory_take_fault(
        ingest->engine, MEMORY_ENGINE_WRITE); /* the staging file may fail as well */
    memory_unlock(ingest->engine);
    if (status == STATUS_OK) memory_batch_put(&ingest->added->base, family, key, value);
    return status;
}

static void check_added_in_spans(const struct memory_batch *added, const struct storage_span *spans,
                                 size_t span_count) {
    const uint8_t *at = added->operations.data;
    for (size_t i = 0; i < added->count; i++) {
        struct memory_operation operation;
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

enum status memory_ingest_commit(struct storage_ingest *base, const struct storage_span *spans,
                                 size_t span_count, struct storage_batch *batch) {
    struct memory_ingest *ingest = CONTAINER_OF(base, struct memory_ingest, base);
    struct memory_engine *engine = ingest->engine;
    check_added_in_spans(ingest->added, spans, span_count);
    memory_lock(engine);
    enum status status = memory_begin_write(engine);
    if (status == STATUS_OK) {
        for (size_t i = 0; i < span_count; i++)
            memory_table_delete_range(&engine->tables[spans[i].family], spans[i].begin,
                                      spans[i].end, engine->sequence);
        memory_apply(engine, ingest->added);
        memory_apply(engine, memory_batch_of(batch));
        status = memory_sync(engine);
        memory_prune(engine);
    }
    memory_unlock(engine);
    return status;
}

void memory_ingest_free(struct storage_ingest *base) {
    struct memory_ingest *ingest = CONTAINER_OF(base, struct memory_ingest, base);
    memory_lock(ingest->engine);
    ingest->engine->open_ingests--;
    memory_unlock(ingest->engine);
    memory_batch_free(&ingest->added->base);
    memory_free(ingest);
}
