/* The log of a replica as the Raft core sees it: struct raft_storage over storage/raft_log.h. The
 * core asks only for what was reported durable, so nothing here reads a batch that is not written.
 */
#include <inttypes.h>

#include "base/assert.h"
#include "raft/message_codec.h"
#include "range/replica.h"
#include "range/snapshot_send.h"
#include "range/worker.h"

static uint64_t log_first_index(void *ctx) {
    return ((const struct range_replica *)ctx)->log.first_index;
}

static uint64_t log_last_index(void *ctx) {
    return ((const struct range_replica *)ctx)->log.last_index;
}

static enum status log_term(void *ctx, uint64_t index, uint64_t *ret_term) {
    const struct range_replica *replica = ctx;
    if (index == replica->applied.truncated.index) {
        *ret_term = replica->applied.truncated.term;
        return STATUS_OK;
    }
    if (index == replica->applied.applied.index) {
        *ret_term = replica->applied.applied.term;
        return STATUS_OK;
    }
    struct buf bytes = {0};
    enum status status = raft_log_get(&replica->log, index, &bytes);
    struct raft_entry entry = {0};
    if (status == STATUS_OK) status = raft_decode_entry(slice_from_buf(&bytes), index, &entry);
    buf_done(&bytes);
    if (status != STATUS_OK) return status;
    *ret_term = entry.id.term;
    payload_unref(entry.payload);
    return STATUS_OK;
}

struct entry_reader {
    struct raft_entry *entries;
    uint32_t count;
    size_t bytes, bytes_max;
    enum status status;
};

static bool read_entry(void *ctx, uint64_t index, struct slice bytes) {
    struct entry_reader *reader = ctx;
    struct raft_entry entry;
    reader->status = raft_decode_entry(bytes, index, &entry);
    if (reader->status != STATUS_OK) return false;
    size_t len = payload_slice(entry.payload).len;
    if (reader->count > 0 && reader->bytes + len > reader->bytes_max) {
        payload_unref(entry.payload);
        return false;
    }
    reader->bytes += len;
    reader->entries[reader->count++] = entry;
    return true;
}

static enum status log_entries(void *ctx, uint64_t first, uint64_t last, size_t max_bytes,
                               struct raft_entry *ret_entries, uint32_t *ret_count) {
    const struct range_replica *replica = ctx;
    struct entry_reader reader = {.entries = ret_entries, .bytes_max = max_bytes};
    enum status status = raft_log_read(&replica->log, first, last, read_entry, &reader);
    if (status == STATUS_OK) status = reader.status;
    if (status != STATUS_OK) {
        for (uint32_t i = 0; i < reader.count; i++)
            payload_unref(reader.entries[i].payload);
        return status;
    }
    *ret_count = reader.count;
    return STATUS_OK;
}

static enum status log_snapshot(void *ctx, uint64_t to, struct raft_snapshot *ret_snapshot) {
    return range_snapshot_cut((struct range_replica *)ctx, to, ret_snapshot);
}

struct raft_storage range_replica_storage(struct range_replica *replica) {
    return (struct raft_storage){
        .ctx = replica,
        .first_index = log_first_index,
        .last_index = log_last_index,
        .term = log_term,
        .entries = log_entries,
        .snapshot = log_snapshot,
    };
}
