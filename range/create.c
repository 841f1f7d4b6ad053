/* Creating replicas at cluster birth. */
#include "range/create.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "raft/message_codec.h"
#include "range/worker.h"

static const struct raft_hard_state initial_hard_state = {.term = RANGE_INITIAL_TERM,
                                                          .commit = RANGE_INITIAL_INDEX};

/* All of a new range's replicas begin at the same position (limits.h says why not at zero). */
static void write_initial_state(struct range_replica *replica, struct storage_batch *batch) {
    struct raft_log_id start = {.term = RANGE_INITIAL_TERM, .index = RANGE_INITIAL_INDEX};
    replica->applied = (struct range_apply_state){.applied = start, .truncated = start};
    replica->log = (struct raft_log){.engine = replica->worker->store->engine,
                                     .group = range_replica_id(replica),
                                     .first_index = 1};
    raft_log_reset(&replica->log, batch, start.index);
    struct buf bytes = {0};
    raft_encode_hard_state(&bytes, &initial_hard_state);
    raft_log_put_state(&replica->log, batch, RAFT_LOG_HARD_STATE, slice_from_buf(&bytes));
    buf_done(&bytes);
    range_replica_put_apply_state(replica, batch, &replica->applied);
    range_replica_put_record(replica, batch);
}

static void remember_creation(struct range_worker *worker, struct range_replica *replica) {
    if (worker->creations.count == worker->creations.cap) {
        worker->creations.cap = worker->creations.cap ? worker->creations.cap * 2 : 16;
        worker->creations.replicas =
            memory_realloc(worker->creations.replicas,
                           worker->creations.cap * sizeof(*worker->creations.replicas));
    }
    worker->creations.replicas[worker->creations.count++] = replica;
}

void range_create_replica(struct range_worker *worker, struct slice bytes, bool campaign) {
    struct range_descriptor descriptor = {0};
    struct decoder in = decoder_make(bytes);
    enum status status = range_descriptor_decode(&in, &descriptor);
    ASSERT(status == STATUS_OK); /* range_store_create encoded it */
    const struct range_replica_ref *own =
        range_descriptor_on_node(&descriptor, worker->store->config.node_id);
    if (!own) {
        log_warn("range_create_refused",
                 "node=%" PRIu64 " range=%" PRIu64
                 " reason=\"this node is not among the replicas\"",
                 worker->store->config.node_id, descriptor.range_id);
    } else if (!idmap_get(&worker->ranges, descriptor.range_id)) {
        struct range_replica_record record = {.replica_id = own->replica_id,
                                              .descriptor = descriptor,
                                              .conf = range_conf_from_descriptor(&descriptor)};
        range_snapshot_drop_birth(worker, descriptor.range_id);
        struct range_replica *replica = range_replica_new(worker, &record);
        replica->campaign = campaign;
        write_initial_state(replica, worker->log_batch);
        worker->log_needs_sync = true;
        remember_creation(worker, replica);
    }
    range_descriptor_done(&descriptor);
}

void range_create_durable(struct range_worker *worker) {
    for (uint32_t i = 0; i < worker->creations.count; i++) {
        struct range_replica *replica = worker->creations.replicas[i];
        range_replica_activate(replica, &initial_hard_state, false);
        log_info("range_created", "%s replica=%" PRIu64, replica->log_prefix, replica->replica_id);
    }
    worker->creations.count = 0;
}
