/* Starting from what the engine holds: every replica record becomes a replica again, and goes on
 * from its persisted applied index. */
#include "range/recover.h"

#include <inttypes.h>

#include "base/log.h"
#include "raft/message_codec.h"
#include "range/worker.h"

/* One sentence for the operator: what is broken, and what to do. */
static enum status explain(struct buf *error, uint64_t range_id, const char *what,
                           enum status status) {
    buf_printf(error, "range %" PRIu64 ": %s: %s; %s", range_id, what, status_text(status),
               status == STATUS_UNSUPPORTED
                   ? "it was written by a newer version of flotilla: start that version"
                   : "remove this node's data directory and let it join as a new node, the other "
                     "replicas have the data");
    return status;
}

static enum status read_hard_state(struct range_replica *replica, struct raft_hard_state *ret) {
    struct buf bytes = {0};
    enum status status = raft_log_get_state(&replica->log, RAFT_LOG_HARD_STATE, &bytes);
    if (status == STATUS_OK) status = raft_decode_hard_state(slice_from_buf(&bytes), ret);
    buf_done(&bytes);
    return status == STATUS_NOT_FOUND ? STATUS_CORRUPTION : status;
}

/* What recovery knows beside the replica records. */
struct recovery {
    struct range_store *store;
    struct range_position_table positions;
    struct storage_batch *batch; /* puts every state into a row of its own (P4 of positions.h) */
    uint64_t count;
};

/* The state that goes with the effects in the engine: of its own row, or of a newer one. */
static enum status read_apply_state(struct recovery *recovery, struct range_replica *replica) {
    struct buf bytes = {0};
    enum status status = raft_log_get_state(&replica->log, RAFT_LOG_APPLY_STATE, &bytes);
    if (status == STATUS_OK)
        status = range_apply_state_decode(slice_from_buf(&bytes), &replica->applied);
    buf_done(&bytes);
    if (status == STATUS_OK &&
        range_positions_resolve(&recovery->positions, range_replica_id(replica),
                                replica->replica_id, &replica->applied))
        range_replica_put_apply_state(replica, recovery->batch, &replica->applied);
    return status == STATUS_NOT_FOUND ? STATUS_CORRUPTION : status;
}

/* The records were written together; what does not fit together was damaged since. Effects are
 * written only for entries that are durable (apply.c), so the applied index is never ahead of the
 * log. */
static bool consistent(const struct range_replica *replica,
                       const struct raft_hard_state *hard_state) {
    const struct range_apply_state *applied = &replica->applied;
    return replica->log.first_index == applied->truncated.index + 1 &&
           applied->applied.index <= replica->log.last_index &&
           applied->applied.term <= hard_state->term &&
           hard_state->commit <= replica->log.last_index;
}

static enum status recover_replica(struct recovery *recovery,
                                   const struct range_replica_record *record, struct buf *error) {
    struct range_store *store = recovery->store;
    uint64_t range_id = record->descriptor.range_id;
    struct range_worker *worker = range_store_owner(store, range_id);
    struct range_replica *replica = range_replica_new(worker, record);
    if (record->tombstone) return STATUS_OK;
    enum status status = raft_log_open(&replica->log, store->engine, range_id);
    if (status != STATUS_OK) return explain(error, range_id, "its log cannot be read", status);
    struct raft_hard_state hard_state = {0};
    status = read_hard_state(replica, &hard_state);
    if (status != STATUS_OK) return explain(error, range_id, "its hard state is bad", status);
    status = read_apply_state(recovery, replica);
    if (status != STATUS_OK) return explain(error, range_id, "its apply state is bad", status);
    if (!consistent(replica, &hard_state))
        return explain(error, range_id, "its log and its states do not fit together",
                       STATUS_CORRUPTION);
    if (range_descriptor_replica(&record->descriptor, record->replica_id))
        range_replica_activate(replica, &hard_state, true);
    else
        range_remove_begin(replica); /* it had applied its removal when the node stopped */
    return STATUS_OK;
}

static enum status recover_record(struct recovery *recovery, struct slice key, struct slice value,
                                  struct buf *error) {
    const struct range_store_config *config = &recovery->store->config;
    struct decoder in = decoder_make(key);
    (void)decode_fixed(&in, range_record_begin().len); /* the prefix that was iterated over */
    uint64_t range_id = decode_u64_be(&in);
    struct range_replica_record record;
    enum status status = range_replica_record_decode(value, &record);
    if (status != STATUS_OK) return explain(error, range_id, "its replica record is bad", status);
    const struct range_replica_ref *own =
        range_descriptor_replica(&record.descriptor, record.replica_id);
    if (!decoder_finished(&in) || record.descriptor.range_id != range_id) {
        status = explain(error, range_id, "its replica record is bad", STATUS_CORRUPTION);
    } else if (!record.tombstone && own && own->node_id != config->node_id) {
        buf_printf(error,
                   "range %" PRIu64 ": its replica here belongs to node %" PRIu64
                   " but this is node %" PRIu64 "; is this another node's data directory?",
                   range_id, own->node_id, config->node_id);
        status = STATUS_MISMATCH;
    } else {
        status = recover_replica(recovery, &record, error);
    }
    range_descriptor_done(&record.descriptor);
    return status;
}

static enum status recover_records(struct recovery *recovery, struct buf *error) {
    struct storage_iterator *iterator = storage_iterator_new(
        recovery->store->engine, NULL, STORAGE_META, range_record_begin(), range_record_end());
    enum status status = STATUS_OK;
    storage_iterator_seek_first(iterator);
    while (status == STATUS_OK && storage_iterator_valid(iterator)) {
        status = recover_record(recovery, storage_iterator_key(iterator),
                                storage_iterator_value(iterator), error);
        storage_iterator_next(iterator);
        recovery->count++;
    }
    if (status == STATUS_OK) {
        status = storage_iterator_status(iterator);
        if (status != STATUS_OK)
            buf_printf(error, "the replica records cannot be read: %s", status_text(status));
    }
    storage_iterator_free(iterator);
    return status;
}

static enum status recover_positions(struct recovery *recovery, struct buf *error) {
    enum status status =
        range_positions_read(recovery->store->engine, recovery->batch, &recovery->positions);
    if (status != STATUS_OK)
        buf_printf(error, "the apply states cannot be read: %s", status_text(status));
    return status;
}

static enum status write_recovered(struct recovery *recovery, struct buf *error) {
    if (storage_batch_count(recovery->batch) == 0) return STATUS_OK;
    enum status status = storage_write(recovery->store->engine, recovery->batch, STORAGE_BUFFERED);
    if (status != STATUS_OK)
        buf_printf(error, "the apply states cannot be written: %s", status_text(status));
    return status;
}

enum status range_recover(struct range_store *store, struct buf *error) {
    struct recovery recovery = {.store = store, .batch = storage_batch_new(store->engine)};
    enum status status = recover_positions(&recovery, error);
    if (status == STATUS_OK) status = recover_records(&recovery, error);
    if (status == STATUS_OK) status = write_recovered(&recovery, error);
    if (status == STATUS_OK)
        log_info("range_recovered", "node=%" PRIu64 " ranges=%" PRIu64, store->config.node_id,
                 recovery.count);
    range_position_table_done(&recovery.positions);
    storage_batch_free(recovery.batch);
    return status;
}
