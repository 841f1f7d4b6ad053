#include "tests/conformance/trace_storage.h"

#include "base/assert.h"
#include "base/memory.h"

static void drop_entries(struct trace_storage *storage, uint32_t first, uint32_t count) {
    for (uint32_t at = first; at < first + count; at++) {
        payload_unref(storage->entries[at].payload);
    }
    uint32_t after = storage->count - first - count;
    if (after > 0) {
        memmove(&storage->entries[first], &storage->entries[first + count],
                after * sizeof(*storage->entries));
    }
    storage->count -= count;
}

void trace_storage_done(struct trace_storage *storage) {
    drop_entries(storage, 0, storage->count);
    memory_free(storage->entries);
    buf_done(&storage->data);
    *storage = (struct trace_storage){0};
}

uint64_t trace_storage_first(const struct trace_storage *storage) {
    return storage->compacted.index + 1;
}

uint64_t trace_storage_last(const struct trace_storage *storage) {
    return storage->compacted.index + storage->count;
}

void trace_storage_append(struct trace_storage *storage, const struct raft_entry *entries,
                          uint32_t count) {
    if (count == 0) return;
    uint64_t first = entries[0].id.index;
    ASSERT_CMP(first, >=, trace_storage_first(storage));
    ASSERT_CMP(first, <=, trace_storage_last(storage) + 1);
    uint32_t keep = (uint32_t)(first - trace_storage_first(storage));
    drop_entries(storage, keep, storage->count - keep);
    while (storage->count + count > storage->cap) {
        storage->cap = storage->cap ? storage->cap * 2 : 16;
        storage->entries =
            memory_realloc(storage->entries, storage->cap * sizeof(*storage->entries));
    }
    for (uint32_t at = 0; at < count; at++) {
        storage->entries[storage->count] = entries[at];
        (void)payload_ref(entries[at].payload); /* the same pointer comes back */
        storage->count++;
    }
}

void trace_storage_install(struct trace_storage *storage, const struct raft_snapshot *snapshot) {
    drop_entries(storage, 0, storage->count);
    storage->compacted = storage->applied = snapshot->id;
    storage->conf = snapshot->conf;
    buf_assign(&storage->data, payload_slice(snapshot->data));
}

void trace_storage_compact(struct trace_storage *storage, uint64_t index) {
    ASSERT_CMP(index, <=, trace_storage_last(storage));
    if (index <= storage->compacted.index) return;
    uint32_t count = (uint32_t)(index - storage->compacted.index);
    storage->compacted = storage->entries[count - 1].id;
    drop_entries(storage, 0, count);
}

void trace_storage_apply(struct trace_storage *storage, struct raft_log_id id, struct slice data) {
    storage->applied = id;
    buf_append(&storage->data, data);
}

struct raft_snapshot trace_storage_snapshot(const struct trace_storage *storage) {
    return (struct raft_snapshot){
        .id = storage->applied,
        .conf = storage->conf,
        .data = storage->data.len ? payload_copy(slice_from_buf(&storage->data)) : NULL};
}

/* ---- as the core sees it ---- */

static uint64_t first_index(void *ctx) {
    return trace_storage_first(ctx);
}

static uint64_t last_index(void *ctx) {
    return trace_storage_last(ctx);
}

static enum status term_at(void *ctx, uint64_t index, uint64_t *ret_term) {
    const struct trace_storage *storage = ctx;
    if (index < storage->compacted.index) return STATUS_COMPACTED;
    if (index > trace_storage_last(storage)) return STATUS_NOT_FOUND;
    *ret_term = index == storage->compacted.index
                    ? storage->compacted.term
                    : storage->entries[index - trace_storage_first(storage)].id.term;
    return STATUS_OK;
}

static enum status read_entries(void *ctx, uint64_t first, uint64_t last, size_t max_bytes,
                                struct raft_entry *ret_entries, uint32_t *ret_count) {
    const struct trace_storage *storage = ctx;
    if (first < trace_storage_first(storage)) return STATUS_COMPACTED;
    size_t bytes = 0;
    uint32_t count = 0;
    for (uint64_t index = first; index <= last; index++, count++) {
        const struct raft_entry *entry = &storage->entries[index - trace_storage_first(storage)];
        size_t one = payload_slice(entry->payload).len;
        if (count > 0 && (bytes > max_bytes || one > max_bytes - bytes)) break;
        bytes += one;
        ret_entries[count] = *entry;
        (void)payload_ref(entry->payload); /* the same pointer comes back */
    }
    *ret_count = count;
    return STATUS_OK;
}

static enum status read_snapshot(void *ctx, uint64_t to, struct raft_snapshot *ret_snapshot) {
    (void)to; /* the same for everybody */
    *ret_snapshot = trace_storage_snapshot(ctx);
    return STATUS_OK;
}

struct raft_storage trace_storage_interface(struct trace_storage *storage) {
    return (struct raft_storage){.ctx = storage,
                                 .first_index = first_index,
                                 .last_index = last_index,
                                 .term = term_at,
                                 .entries = read_entries,
                                 .snapshot = read_snapshot};
}
