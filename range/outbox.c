/* Raft messages of a turn, gathered into one frame per node. */
#include "range/outbox.h"

#include "base/memory.h"
#include "range/metrics.h"
#include "range/raft_frame.h"
#include "range/snapshot_send.h"
#include "range/worker.h"

struct range_peer *range_outbox_peer(struct range_worker *worker, uint64_t node_id) {
    struct idmap_node *node = idmap_get(&worker->outbox.peers, node_id);
    if (node) return CONTAINER_OF(node, struct range_peer, by_node);
    struct range_peer *peer = MEMORY_NEW(struct range_peer);
    list_init(&peer->in_dirty);
    idmap_put(&worker->outbox.peers, &peer->by_node, node_id);
    return peer;
}

static void send_frame(struct range_worker *worker, struct range_peer *peer) {
    const struct range_transport *transport = &worker->store->transport;
    list_remove(&peer->in_dirty);
    if (peer->frame.len == 0) return;
    transport->send_raft(transport->ctx, peer->by_node.id, slice_from_buf(&peer->frame));
    buf_clear(&peer->frame);
    /* One huge entry must not keep its size allocated for every peer. */
    if (peer->frame.cap > 2 * RANGE_FRAME_FLUSH_BYTES) buf_done(&peer->frame);
}

static void open_frame(struct range_worker *worker, struct range_peer *peer) {
    if (peer->frame.len == 0) range_raft_frame_begin(&peer->frame);
    if (list_empty(&peer->in_dirty)) list_push_back(&worker->outbox.dirty, &peer->in_dirty);
}

/* By kind: what a range costs in messages is not seen in the sum. */
static void count_sent(const struct raft_message *message) {
    metric_add(&metric_range_raft_messages_sent_total, 1);
    switch (message->kind) {
    case RAFT_MSG_APPEND:
        metric_add(message->entry_count > 0 ? &metric_range_raft_appends_sent_total
                                            : &metric_range_raft_empty_appends_sent_total,
                   1);
        break;
    case RAFT_MSG_APPEND_RESPONSE:
        metric_add(&metric_range_raft_append_responses_sent_total, 1);
        break;
    case RAFT_MSG_HEARTBEAT:
        metric_add(&metric_range_raft_heartbeats_sent_total, 1);
        break;
    case RAFT_MSG_HEARTBEAT_RESPONSE:
        metric_add(&metric_range_raft_heartbeat_responses_sent_total, 1);
        break;
    default: /* elections, reads and transfers: seldom */
        break;
    }
}

void range_outbox_add(struct range_replica *replica, const struct raft_message *message) {
    struct range_worker *worker = replica->worker;
    uint64_t to_node = range_replica_node_of(replica, message->to);
    if (to_node == 0) { /* removed since; as good as lost on the way */
        metric_add(&metric_range_raft_messages_dropped_total, 1);
        return;
    }
    if (message->kind == RAFT_MSG_SNAPSHOT) {
        range_snapshot_start(replica, message);
        return;
    }
    range_stages_append(replica, message);
    struct range_peer *peer = range_outbox_peer(worker, to_node);
    open_frame(worker, peer);
    range_raft_frame_add(&peer->frame, range_replica_id(replica),
                         replica->descriptor.epoch.conf_version, message);
    count_sent(message);
    if (peer->frame.len >= RANGE_FRAME_FLUSH_BYTES) send_frame(worker, peer);
}

void range_outbox_add_stray(struct range_worker *worker, uint64_t node_id, uint64_t range_id,
                            const struct raft_message *message) {
    struct range_peer *peer = range_outbox_peer(worker, node_id);
    open_frame(worker, peer);
    range_raft_frame_add(&peer->frame, range_id, 0, message);
    metric_add(&metric_range_questions_total, 1);
}

void range_outbox_add_removed(struct range_worker *worker, uint64_t node_id,
                              const struct range_removed_notice *notice) {
    struct range_peer *peer = range_outbox_peer(worker, node_id);
    open_frame(worker, peer);
    range_raft_frame_add_removed(&peer->frame, notice);
    metric_add(&metric_range_questions_total, 1);
}

void range_outbox_add_beat(struct range_worker *worker, struct range_peer *peer,
                           const struct range_beat *beat) {
    open_frame(worker, peer);
    range_raft_frame_add_beat(&peer->frame, beat);
    metric_add(&metric_range_beats_sent_total, 1);
}

void range_outbox_flush(struct range_worker *worker) {
    struct list_node *node;
    while ((node = list_pop_front(&worker->outbox.dirty)) != NULL)
        send_frame(worker, CONTAINER_OF(node, struct range_peer, in_dirty));
}

void range_outbox_free(struct range_worker *worker) {
    struct idmap_node *node;
    while ((node = idmap_next(&worker->outbox.peers, NULL)) != NULL) {
        struct range_peer *peer = CONTAINER_OF(node, struct range_peer, by_node);
        idmap_remove(&worker->outbox.peers, node->id);
        buf_done(&peer->frame);
        memory_free(peer->watches);
        memory_free(peer);
    }
    idmap_done(&worker->outbox.peers);
}
