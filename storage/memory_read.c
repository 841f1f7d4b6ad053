/* Reads and iterators. */
#include "base/memory.h"
#include "storage/memory_internal.h"
#include "storage/mvcc.h"

enum status memory_begin_read(struct memory_engine *engine) {
    engine->read_count++;
    return memory_take_fault(engine, MEMORY_ENGINE_READ);
}

enum status memory_get_at(struct memory_engine *engine, uint64_t sequence,
                          enum storage_family family, struct slice key, struct buf *ret_value) {
    const struct memory_node *node = memory_table_find(&engine->tables[family], key);
    if (!node) return STATUS_NOT_FOUND;
    const struct memory_version *version = memory_node_visible(node, sequence);
    if (!version) return STATUS_NOT_FOUND;
    buf_assign(ret_value, slice_make(version->data, version->len));
    return STATUS_OK;
}

enum status memory_get(struct storage_engine *base, const struct storage_snapshot *snapshot,
                       enum storage_family family, struct slice key, struct buf *ret_value) {
    struct memory_engine *engine = memory_engine_of(base);
    memory_lock(engine);
    enum status status = memory_begin_read(engine);
    if (status == STATUS_OK)
        status =
            memory_get_at(engine, memory_read_sequence(engine, snapshot), family, key, ret_value);
    memory_unlock(engine);
    return status;
}

enum status memory_get_version(struct storage_engine *base, const struct storage_snapshot *snapshot,
                               struct slice version_key, storage_pair_fn *pair, void *ctx) {
    struct memory_engine *engine = memory_engine_of(base);
    ASSERT_CMP(version_key.len, >=, MVCC_VERSION_BYTES);
    struct slice prefix = slice_make(version_key.data, version_key.len - MVCC_VERSION_BYTES);
    memory_lock(engine);
    enum status status = memory_begin_read(engine);
    if (status == STATUS_OK) {
        uint64_t sequence = memory_read_sequence(engine, snapshot);
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
    memory_unlock(engine);
    return status;
}

/* ---- iterators ---- */

struct memory_iterator {
    struct storage_iterator base;
    struct memory_engine *engine;
    struct memory_pin pin;
    enum storage_family family;
    struct buf lower, upper;
    const struct memory_node *node; /* NULL: not valid */
    const struct memory_version *version;
    enum status status;
};

static struct memory_iterator *memory_iterator_of(const struct storage_iterator *iterator) {
    return CONTAINER_OF(iterator, struct memory_iterator, base);
}

struct storage_iterator *memory_iterator_new(struct storage_engine *base,
                                             const struct storage_snapshot *snapshot,
                                             enum storage_family family, struct slice lower,
                                             struct slice upper) {
    struct memory_iterator *iterator = MEMORY_NEW(struct memory_iterator);
    iterator->base.ops = base->ops;
    iterator->engine = memory_engine_of(base);
    iterator->family = family;
    iterator->lower = buf_from_slice(lower);
    iterator->upper = buf_from_slice(upper);
    memory_lock(iterator->engine);
    memory_pin_add(iterator->engine, &iterator->pin, snapshot);
    memory_unlock(iterator->engine);
    return &iterator->base;
}

void memory_iterator_free(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    memory_lock(iterator->engine);
    list_remove(&iterator->pin.link);
    memory_unlock(iterator->engine);
    buf_done(&iterator->lower);
    buf_done(&iterator->upper);
    memory_free(iterator);
}

/* Starts a move: the position is given up, and the disk may fail. */
static bool begin_move(struct memory_iterator *iterator) {
    memory_lock(iterator->engine);
    iterator->node = NULL;
    iterator->version = NULL;
    iterator->status = memory_begin_read(iterator->engine);
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

void memory_iterator_seek(struct storage_iterator *base, struct slice key) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    struct slice lower = slice_from_buf(&iterator->lower);
    if (slice_compare(key, lower) < 0) key = lower;
    if (begin_move(iterator))
        settle_forward(iterator,
                       memory_table_first_from(&iterator->engine->tables[iterator->family], key));
    memory_unlock(iterator->engine);
}

void memory_iterator_seek_first(struct storage_iterator *base) {
    memory_iterator_seek(base, slice_from_buf(&memory_iterator_of(base)->lower));
}

void memory_iterator_seek_last(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    const struct memory_table *table = &iterator->engine->tables[iterator->family];
    struct slice upper = slice_from_buf(&iterator->upper);
    if (begin_move(iterator))
        settle_backward(iterator, upper.len > 0 ? memory_table_last_before(table, upper)
                                                : memory_table_last(table));
    memory_unlock(iterator->engine);
}

void memory_iterator_seek_for_prev(struct storage_iterator *base, struct slice key) {
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
    memory_unlock(iterator->engine);
}

void memory_iterator_next(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    const struct memory_node *node = iterator->node;
    if (begin_move(iterator)) settle_forward(iterator, memory_table_next(node));
    memory_unlock(iterator->engine);
}

void memory_iterator_prev(struct storage_iterator *base) {
    struct memory_iterator *iterator = memory_iterator_of(base);
    const struct memory_table *table = &iterator->engine->tables[iterator->family];
    const struct memory_node *node = iterator->node;
    if (begin_move(iterator)) settle_backward(iterator, memory_table_previous(table, node));
    memory_unlock(iterator->engine);
}

bool memory_iterator_valid(const struct storage_iterator *iterator) {
    return memory_iterator_of(iterator)->node != NULL;
}

struct slice memory_iterator_key(const struct storage_iterator *iterator) {
    return memory_node_key(memory_iterator_of(iterator)->node);
}

struct slice memory_iterator_value(const struct storage_iterator *iterator) {
    const struct memory_version *version = memory_iterator_of(iterator)->version;
    return slice_make(version->data, version->len);
}

enum status memory_iterator_status(const struct storage_iterator *iterator) {
    return memory_iterator_of(iterator)->status;
}
