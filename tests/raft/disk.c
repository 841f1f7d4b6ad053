#include "tests/raft/disk.h"

#include "base/assert.h"
#include "base/memory.h"

static void cut(struct disk *disk, uint32_t keep) {
    while (disk->count > keep) {
        payload_unref(disk->entries[--disk->count].payload);
    }
}

void disk_done(struct disk *disk) {
    cut(disk, 0);
    memory_free(disk->entries);
    disk->entries = NULL;
    disk->cap = 0;
}

uint64_t disk_first(const struct disk *disk) {
    return disk->compacted.index + 1;
}

uint64_t disk_last(const struct disk *disk) {
    return disk->compacted.index + disk->count;
}

const struct raft_entry *disk_entry(const struct disk *disk, uint64_t index) {
    ASSERT(index >= disk_first(disk) && index <= disk_last(disk));
    return &disk->entries[index - disk_first(disk)];
}

void disk_append(struct disk *disk, const struct raft_entry *entries, uint32_t count) {
    if (count == 0) return;
    ASSERT_CMP(entries[0].id.index, >=, disk_first(disk));
    ASSERT_CMP(entries[0].id.index, <=, disk_last(disk) + 1);
    cut(disk, (uint32_t)(entries[0].id.index - disk_first(disk)));
    while (disk->count + count > disk->cap) {
        disk->cap = disk->cap ? disk->cap * 2 : 64;
        disk->entries = memory_realloc(disk->entries, disk->cap * sizeof(*disk->entries));
    }
    for (uint32_t at = 0; at < count; at++) {
        disk->entries[disk->count] = entries[at];
        (void)payload_ref(entries[at].payload); /* the same pointer comes back */
        disk->count++;
    }
}

void disk_install(struct disk *disk, struct raft_log_id id, const struct raft_conf_state *conf) {
    cut(disk, 0);
    disk->compacted = id;
    disk->conf = *conf;
    disk->applied = id.index;
}

void disk_compact(struct disk *disk, uint64_t index) {
    if (index <= disk->compacted.index) return;
    ASSERT_CMP(index, <=, disk_last(disk));
    uint32_t count = (uint32_t)(index - disk->compacted.index);
    disk->compacted = disk->entries[count - 1].id;
    for (uint32_t at = 0; at < count; at++) {
        payload_unref(disk->entries[at].payload);
    }
    disk->count -= count;
    memmove(disk->entries, disk->entries + count, disk->count * sizeof(*disk->entries));
}

void disk_write(struct disk *disk, const struct raft_ready *ready) {
    if (ready->has_hard_state) disk->hard_state = ready->hard_state;
    if (ready->snapshot) disk_install(disk, ready->snapshot->id, &ready->snapshot->conf);
    disk_append(disk, ready->entries, ready->entry_count);
}

/* ---- as the core sees it ---- */

static uint64_t first_index(void *ctx) {
    return disk_first(ctx);
}

static uint64_t last_index(void *ctx) {
    return disk_last(ctx);
}

static enum status term_at(void *ctx, uint64_t index, uint64_t *ret_term) {
    struct disk *disk = ctx;
    disk->term_calls++;
    if (index < disk->compacted.index) return STATUS_COMPACTED;
    if (index > disk_last(disk)) return STATUS_NOT_FOUND;
    *ret_term =
        index == disk->compacted.index ? disk->compacted.term : disk_entry(disk, index)->id.term;
    return STATUS_OK;
}

static enum status read_entries(void *ctx, uint64_t first, uint64_t last, size_t max_bytes,
                                struct raft_entry *ret_entries, uint32_t *ret_count) {
    struct disk *disk = ctx;
    disk->entries_calls++;
    if (first < disk_first(disk)) return STATUS_COMPACTED;
    size_t bytes = 0;
    uint32_t count = 0;
    for (uint64_t index = first; index <= last; index++, count++) {
        const struct raft_entry *entry = disk_entry(disk, index);
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
    struct disk *disk = ctx;
    struct raft_snapshot snapshot =
        disk->snapshot ? disk->snapshot(disk->snapshot_ctx) : (struct raft_snapshot){0};
    if (snapshot.id.index == 0) return STATUS_BUSY;
    *ret_snapshot = snapshot;
    return STATUS_OK;
}

struct raft_storage disk_storage(struct disk *disk) {
    return (struct raft_storage){.ctx = disk,
                                 .first_index = first_index,
                                 .last_index = last_index,
                                 .term = term_at,
                                 .entries = read_entries,
                                 .snapshot = read_snapshot};
}
