/* Receiving snapshots: stage, step, install.
 *
 *   header    checked against this replica; an ingest is opened, nothing visible changes
 *   chunks    in sequence, each acknowledged with the next one expected
 *   last      the totals fit: the MSG_SNAPSHOT of the header is stepped into the Raft core
 *   ready     the core wants it (range_snapshot_stage), or does not need it any more
 *             (range_snapshot_drop_unneeded)
 *   install   after the log batch is durable: the range's content, log, hard state, apply state and
 *             replica record change in one atomic engine operation
 *
 * A replica that joins the range begins here (birth): nothing of it exists until the last chunk has
 * arrived, when the same atomic operation makes it. No core has to be asked, there is none; it
 * cannot have voted, so it needs no memory of a vote.
 *
 * One that stays silent for RANGE_SNAPSHOT_ABANDON_US is dropped with what was staged. */
#include "range/snapshot_receive.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "raft/message_codec.h"
#include "range/metrics.h"
#include "range/snapshot.h"
#include "range/snapshot_send.h"
#include "range/worker.h"
#include "storage/mvcc.h"
#include "txn/evaluate.h"

#define SPAN_COUNT 3u

struct range_snapshot_receive {
    struct list_node link; /* worker->snapshots.receives */
    struct range_worker *worker;
    struct range_replica *replica; /* NULL: a birth */
    uint64_t range_id, snapshot_id, from_node;
    struct range_apply_state state;
    struct range_descriptor descriptor;
    struct raft_conf_state conf; /* once staged */
    struct buf raft_message;
    struct buf begin[SPAN_COUNT], end[SPAN_COUNT]; /* of data, lock, meta */
    struct storage_ingest *ingest;
    struct storage_batch *batch; /* the log's restart; NULL: not staged */
    uint64_t next;               /* sequence expected */
    uint64_t checksum, record_count;
    enum storage_family last_family;
    struct buf last_key;
    bool complete; /* MSG_SNAPSHOT was stepped */
    uint64_t heard_us;
};

static void acknowledge(struct range_worker *worker, uint64_t to_node,
                        const struct range_snapshot_frame *frame, uint64_t next,
                        enum range_snapshot_verdict verdict) {
    const struct range_transport *transport = &worker->store->transport;
    range_snapshot_encode_ack(&worker->scratch, frame->range_id, frame->snapshot_id, next, verdict);
    transport->send_snapshot(transport->ctx, to_node, slice_from_buf(&worker->scratch));
}

static void acknowledge_end(const struct range_snapshot_receive *receive,
                            enum range_snapshot_verdict verdict) {
    struct range_snapshot_frame frame = {.range_id = receive->range_id,
                                         .snapshot_id = receive->snapshot_id};
    acknowledge(receive->worker, receive->from_node, &frame, receive->next, verdict);
}

static void receive_free(struct range_snapshot_receive *receive) {
    if (receive->replica) receive->replica->snapshots.receive = NULL;
    list_remove(&receive->link);
    receive->worker->snapshots.receive_count--;
    storage_ingest_free(receive->ingest);
    storage_batch_free(receive->batch);
    range_descriptor_done(&receive->descriptor);
    for (uint32_t i = 0; i < SPAN_COUNT; i++) {
        buf_done(&receive->begin[i]);
        buf_done(&receive->end[i]);
    }
    buf_done(&receive->raft_message);
    buf_done(&receive->last_key);
    memory_free(receive);
}

void range_snapshot_drop_receive(struct range_replica *replica) {
    if (replica->snapshots.receive) receive_free(replica->snapshots.receive);
}

static struct range_snapshot_receive *find_birth(struct range_worker *worker, uint64_t range_id) {
    LIST_FOR_EACH (node, &worker->snapshots.receives) {
        struct range_snapshot_receive *receive =
            CONTAINER_OF(node, struct range_snapshot_receive, link);
        if (!receive->replica && receive->range_id == range_id) return receive;
    }
    return NULL;
}

void range_snapshot_drop_birth(struct range_worker *worker, uint64_t range_id) {
    struct range_snapshot_receive *receive = find_birth(worker, range_id);
    if (receive) receive_free(receive);
}

void range_snapshot_free_receives(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->snapshots.receives)
        receive_free(CONTAINER_OF(node, struct range_snapshot_receive, link));
}

void range_snapshot_refuse_staged(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->snapshots.receives) {
        struct range_snapshot_receive *receive =
            CONTAINER_OF(node, struct range_snapshot_receive, link);
        if (receive->complete) continue;
        log_warn("range_snapshot_no_room",
                 "node=%" PRIu64 " range=%" PRIu64 " from_node=%" PRIu64 " next=%" PRIu64,
                 worker->store->config.node_id, receive->range_id, receive->from_node,
                 receive->next);
        acknowledge_end(receive, RANGE_SNAPSHOT_REFUSED);
        receive_free(receive);
    }
}

void range_snapshot_expire_receives(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->snapshots.receives) {
        struct range_snapshot_receive *receive =
            CONTAINER_OF(node, struct range_snapshot_receive, link);
        if (receive->complete || worker->now_us < receive->heard_us + RANGE_SNAPSHOT_ABANDON_US)
            continue;
        log_warn("range_snapshot_abandoned",
                 "node=%" PRIu64 " range=%" PRIu64 " from_node=%" PRIu64 " next=%" PRIu64,
                 worker->store->config.node_id, receive->range_id, receive->from_node,
                 receive->next);
        receive_free(receive);
    }
}

/* ---- header ---- */

/* The span of a replica does not change under it: a snapshot of another span would leave the rest
 * of the old one behind. */
static bool same_span(const struct range_descriptor *a, const struct range_descriptor *b) {
    return slice_equal(slice_from_buf(&a->start), slice_from_buf(&b->start)) &&
           slice_equal(slice_from_buf(&a->end), slice_from_buf(&b->end));
}

/* The header and the Raft message in it speak of the same snapshot, in which this node has the
 * replica that it is sent to. */
static bool coherent(const struct range_worker *worker, const struct range_snapshot_frame *frame,
                     const struct range_snapshot_header *header,
                     const struct raft_message *message) {
    const struct range_replica_ref *own =
        range_descriptor_on_node(&header->descriptor, worker->store->config.node_id);
    if (message->kind != RAFT_MSG_SNAPSHOT || !message->snapshot || message->term == 0)
        return false;
    if (header->descriptor.range_id != frame->range_id) return false;
    if (!own || own->replica_id != message->to) return false;
    struct raft_conf_state conf = range_conf_from_descriptor(&header->descriptor);
    return range_conf_equal(&conf, &message->snapshot->conf) &&
           message->snapshot->id.index == header->state.applied.index &&
           message->snapshot->id.term == header->state.applied.term &&
           header->state.applied.index > 0 && message->term >= header->state.applied.term;
}

static void open_receive(struct range_worker *worker, struct range_replica *replica,
                         const struct range_snapshot_frame *frame,
                         const struct range_snapshot_header *header,
                         struct storage_ingest *ingest) {
    static const enum storage_family families[SPAN_COUNT] = {STORAGE_DATA, STORAGE_LOCK,
                                                             STORAGE_META};
    struct range_snapshot_receive *receive = MEMORY_NEW(struct range_snapshot_receive);
    receive->worker = worker;
    receive->replica = replica;
    receive->range_id = frame->range_id;
    receive->snapshot_id = frame->snapshot_id;
    receive->from_node = header->from_node;
    receive->state = header->state;
    range_descriptor_copy(&receive->descriptor, &header->descriptor);
    receive->raft_message = buf_from_slice(header->raft_message);
    for (uint32_t i = 0; i < SPAN_COUNT; i++)
        mvcc_span_bounds(families[i], slice_from_buf(&header->descriptor.start),
                         slice_from_buf(&header->descriptor.end), &receive->begin[i],
                         &receive->end[i]);
    receive->ingest = ingest;
    receive->next = 1;
    receive->heard_us = worker->now_us;
    list_push_back(&worker->snapshots.receives, &receive->link);
    worker->snapshots.receive_count++;
    if (replica) replica->snapshots.receive = receive;
}

/* An older one, if there is, was given up by its sender and dropped before. */
static enum range_snapshot_verdict begin_receive(struct range_worker *worker,
                                                 struct range_replica *replica,
                                                 const struct range_snapshot_frame *frame,
                                                 const struct range_snapshot_header *header) {
    if (worker->snapshots.receive_count >=
            range_limit(worker->store->config.snapshots_max, RANGE_SNAPSHOT_RECEIVES_MAX) ||
        worker->room.room != RANGE_ROOM_ROOMY)
        return RANGE_SNAPSHOT_BUSY;
    struct storage_ingest *ingest = NULL;
    enum status status = storage_ingest_new(worker->store->engine, &ingest);
    if (status == STATUS_BUSY) return RANGE_SNAPSHOT_BUSY;
    if (status != STATUS_OK)
        range_worker_fatal(worker, "staging of a snapshot", frame->range_id, status);
    open_receive(worker, replica, frame, header, ingest);
    return RANGE_SNAPSHOT_CONTINUE;
}

/* Steps the header's message; the core decides what it means. */
static bool step_raft_message(struct range_replica *replica, struct slice bytes) {
    struct raft_message message;
    struct decoder in = decoder_make(bytes);
    arena_reset(&replica->worker->arena);
    if (raft_decode_message(&in, &replica->worker->arena, &message) != STATUS_OK) return false;
    range_replica_touch(replica);
    enum status status = raft_step(replica->raft, &message);
    raft_message_done(&message);
    range_replica_follow_role(replica);
    return status == STATUS_OK;
}

static enum range_snapshot_verdict judge_for_replica(struct range_replica *replica,
                                                     const struct range_snapshot_frame *frame,
                                                     const struct range_snapshot_header *header,
                                                     const struct raft_message *message) {
    bool good = message->to == replica->replica_id && message->term >= raft_term(replica->raft) &&
                same_span(&header->descriptor, &replica->descriptor);
    if (!good) return RANGE_SNAPSHOT_REFUSED;
    /* One that was promised to the core whole is not to be taken from under it. */
    if (replica->life == RANGE_INSTALLING ||
        (replica->snapshots.receive && replica->snapshots.receive->complete))
        return RANGE_SNAPSHOT_BUSY;
    if (header->state.applied.index <= raft_commit_index(replica->raft))
        /* Not needed: the core answers it with where this replica really is. */
        return step_raft_message(replica, header->raft_message) ? RANGE_SNAPSHOT_INSTALLED
                                                                : RANGE_SNAPSHOT_REFUSED;
    range_snapshot_drop_receive(replica);
    return begin_receive(replica->worker, replica, frame, header);
}

/* For a range that has no replica here, or had one under a lower id. */
static enum range_snapshot_verdict judge_birth(struct range_worker *worker,
                                               const struct range_snapshot_frame *frame,
                                               const struct range_snapshot_header *header,
                                               const struct raft_message *message) {
    const struct range_replica *held = range_worker_find_any(worker, frame->range_id);
    if (held && held->life != RANGE_TOMBSTONE) return RANGE_SNAPSHOT_BUSY; /* not for long */
    if (held && message->to <= held->replica_id) return RANGE_SNAPSHOT_REFUSED;
    if (range_status_overlaps(worker->store, &header->descriptor)) return RANGE_SNAPSHOT_REFUSED;
    range_snapshot_drop_birth(worker, frame->range_id);
    return begin_receive(worker, NULL, frame, header);
}

static enum range_snapshot_verdict judge_header(struct range_worker *worker,
                                                struct range_replica *replica,
                                                const struct range_snapshot_frame *frame,
                                                const struct range_snapshot_header *header) {
    struct raft_message message;
    struct decoder in = decoder_make(header->raft_message);
    enum range_snapshot_verdict verdict = RANGE_SNAPSHOT_REFUSED;
    arena_reset(&worker->arena);
    if (raft_decode_message(&in, &worker->arena, &message) != STATUS_OK) return verdict;
    if (!decoder_finished(&in) || !coherent(worker, frame, header, &message))
        verdict = RANGE_SNAPSHOT_REFUSED;
    else if (replica)
        verdict = judge_for_replica(replica, frame, header, &message);
    else
        verdict = judge_birth(worker, frame, header, &message);
    raft_message_done(&message);
    return verdict;
}

static void take_header(struct range_worker *worker, struct range_replica *replica,
                        uint64_t from_node, const struct range_snapshot_frame *frame) {
    struct range_snapshot_receive *receive =
        replica ? replica->snapshots.receive : find_birth(worker, frame->range_id);
    if (receive && receive->snapshot_id == frame->snapshot_id) { /* sent again */
        /* One that is complete is answered when it is installed: were its last chunk acknowledged
         * before, and that answer lost, its sender would have nothing left to ask with. */
        if (!receive->complete)
            acknowledge(worker, from_node, frame, receive->next, RANGE_SNAPSHOT_CONTINUE);
        return;
    }
    if (replica && replica->snapshots.finished == frame->snapshot_id) {
        acknowledge(worker, from_node, frame, 0, RANGE_SNAPSHOT_INSTALLED);
        return;
    }
    struct range_snapshot_header header;
    enum range_snapshot_verdict verdict = RANGE_SNAPSHOT_REFUSED;
    if (range_snapshot_decode_header(frame->body, &header) == STATUS_OK) {
        if (header.from_node == from_node) verdict = judge_header(worker, replica, frame, &header);
        range_descriptor_done(&header.descriptor);
    }
    acknowledge(worker, from_node, frame, verdict == RANGE_SNAPSHOT_CONTINUE ? 1 : 0, verdict);
}

/* ---- chunks ---- */

/* In a span of the range, and behind the record before it. */
static bool in_order(const struct range_snapshot_receive *receive,
                     const struct range_snapshot_item *item) {
    uint32_t span = (uint32_t)item->family - (uint32_t)STORAGE_DATA;
    struct slice begin = slice_from_buf(&receive->begin[span]);
    struct slice end = slice_from_buf(&receive->end[span]);
    if (slice_compare(item->key, begin) < 0) return false;
    if (end.len > 0 && slice_compare(item->key, end) >= 0) return false;
    if (item->family != receive->last_family) return item->family > receive->last_family;
    return slice_compare(item->key, slice_from_buf(&receive->last_key)) > 0;
}

static bool stage_records(struct range_snapshot_receive *receive, struct decoder records) {
    struct range_snapshot_item item;
    while (range_snapshot_next(&records, &item)) {
        if (!in_order(receive, &item)) return false;
        enum status status = storage_ingest_add(receive->ingest, item.family, item.key, item.value);
        if (status != STATUS_OK)
            range_worker_fatal(receive->worker, "staging of a snapshot", receive->range_id, status);
        receive->last_family = item.family;
        buf_assign(&receive->last_key, item.key);
        receive->record_count++;
    }
    return !records.failed;
}

/* False: damaged, or from a sender that is out of its mind. */
static bool take_chunk(struct range_snapshot_receive *receive, struct slice body) {
    struct range_snapshot_chunk chunk;
    if (range_snapshot_decode_chunk(body, &chunk) != STATUS_OK) return false;
    receive->checksum = range_snapshot_chain(
        receive->checksum, slice_make(chunk.records.at, decoder_left(&chunk.records)));
    if (!stage_records(receive, chunk.records)) return false;
    receive->next++;
    if (!chunk.last) return true;
    if (chunk.stream_checksum != receive->checksum || chunk.record_count != receive->record_count)
        return false;
    receive->complete = true;
    return !receive->replica ||
           step_raft_message(receive->replica, slice_from_buf(&receive->raft_message));
}

/* ---- birth ---- */

static void put_birth(struct range_replica *replica, const struct raft_hard_state *hard_state,
                      struct storage_batch *batch) {
    struct buf bytes = {0};
    replica->log = (struct raft_log){.engine = replica->worker->store->engine,
                                     .group = range_replica_id(replica),
                                     .first_index = 1};
    raft_log_reset(&replica->log, batch, replica->applied.applied.index);
    raft_encode_hard_state(&bytes, hard_state);
    raft_log_put_state(&replica->log, batch, RAFT_LOG_HARD_STATE, slice_from_buf(&bytes));
    buf_done(&bytes);
    range_replica_put_apply_state(replica, batch, &replica->applied);
    range_replica_put_record(replica, batch);
}

/* The tombstone of an earlier replica is overwritten by the record of this one. */
static struct range_replica *make_replica(struct range_snapshot_receive *receive,
                                          const struct raft_message *message) {
    struct range_replica *tombstone = range_worker_find_any(receive->worker, receive->range_id);
    struct range_replica_record record = {.replica_id = message->to,
                                          .descriptor = receive->descriptor,
                                          .conf = message->snapshot->conf};
    ASSERT(!tombstone || tombstone->life == RANGE_TOMBSTONE);
    if (tombstone) range_replica_free(tombstone);
    struct range_replica *replica = range_replica_new(receive->worker, &record);
    replica->applied = receive->state;
    replica->snapshots.finished = receive->snapshot_id;
    return replica;
}

static void commit_receive(struct range_snapshot_receive *receive) {
    struct storage_span spans[SPAN_COUNT];
    for (uint32_t i = 0; i < SPAN_COUNT; i++)
        spans[i] =
            (struct storage_span){.family = (enum storage_family)((uint32_t)STORAGE_DATA + i),
                                  .begin = slice_from_buf(&receive->begin[i]),
                                  .end = slice_from_buf(&receive->end[i])};
    enum status status = storage_ingest_commit(receive->ingest, spans, SPAN_COUNT, receive->batch);
    if (status != STATUS_OK)
        range_worker_fatal(receive->worker, "installation of a snapshot", receive->range_id,
                           status);
    txn_apply_forget(receive->worker->apply.txn);
    metric_add(&metric_range_snapshots_installed_total, 1);
    log_info("range_snapshot_installed",
             "node=%" PRIu64 " range=%" PRIu64 " index=%" PRIu64 " birth=%d",
             receive->worker->store->config.node_id, receive->range_id,
             receive->state.applied.index, !receive->replica);
}

/* All of it has arrived: the replica comes into being, and its core answers the leader. */
static void give_birth(struct range_snapshot_receive *receive) {
    struct range_worker *worker = receive->worker;
    struct raft_message message;
    struct decoder in = decoder_make(slice_from_buf(&receive->raft_message));
    arena_reset(&worker->arena);
    enum status status = raft_decode_message(&in, &worker->arena, &message);
    ASSERT(status == STATUS_OK); /* the header was judged by it */
    struct raft_hard_state hard_state = {.term = message.term,
                                         .commit = receive->state.applied.index};
    struct range_replica *replica = make_replica(receive, &message);
    raft_message_done(&message);
    receive->batch = storage_batch_new(worker->store->engine);
    put_birth(replica, &hard_state, receive->batch);
    commit_receive(receive);
    range_replica_activate(replica, &hard_state, false);
    if (!step_raft_message(replica, slice_from_buf(&receive->raft_message)))
        log_warn("range_birth_unanswered", "%s", replica->log_prefix); /* it will be probed */
    acknowledge_end(receive, RANGE_SNAPSHOT_INSTALLED);
    receive_free(receive);
}

/* ---- taking chunks ---- */

static void take_next_chunk(struct range_snapshot_receive *receive, uint64_t from_node,
                            const struct range_snapshot_frame *frame) {
    struct range_worker *worker = receive->worker;
    receive->heard_us = worker->now_us;
    if (receive->complete) return; /* answered when it is installed */
    if (frame->sequence == receive->next && !take_chunk(receive, frame->body)) {
        log_warn("range_snapshot_refused",
                 "node=%" PRIu64 " range=%" PRIu64 " from_node=%" PRIu64 " sequence=%" PRIu64,
                 worker->store->config.node_id, receive->range_id, from_node, frame->sequence);
        acknowledge_end(receive, RANGE_SNAPSHOT_REFUSED);
        receive_free(receive);
        return;
    }
    if (!receive->complete)
        acknowledge(worker, from_node, frame, receive->next, RANGE_SNAPSHOT_CONTINUE);
    else if (!receive->replica)
        give_birth(receive);
}

static void take_any_chunk(struct range_worker *worker, struct range_replica *replica,
                           uint64_t from_node, const struct range_snapshot_frame *frame) {
    struct range_snapshot_receive *receive =
        replica ? replica->snapshots.receive : find_birth(worker, frame->range_id);
    if (receive && receive->snapshot_id == frame->snapshot_id) {
        take_next_chunk(receive, from_node, frame);
        return;
    }
    bool finished = replica && replica->snapshots.finished == frame->snapshot_id;
    acknowledge(worker, from_node, frame, 0,
                finished ? RANGE_SNAPSHOT_INSTALLED : RANGE_SNAPSHOT_UNKNOWN);
}

void range_snapshot_frame(struct range_worker *worker, uint64_t from_node, struct slice bytes) {
    struct range_snapshot_frame frame;
    if (range_snapshot_decode(bytes, &frame) != STATUS_OK) return; /* checked on arrival */
    struct range_replica *replica = range_worker_find(worker, frame.range_id);
    if (replica) raft_set_now(replica->raft, worker->now_us);
    if (frame.kind == RANGE_SNAPSHOT_HEADER) {
        take_header(worker, replica, from_node, &frame);
    } else if (frame.kind == RANGE_SNAPSHOT_CHUNK) {
        take_any_chunk(worker, replica, from_node, &frame);
    } else if (replica) {
        enum range_snapshot_verdict verdict;
        if (range_snapshot_decode_ack(frame.body, &verdict) == STATUS_OK)
            range_snapshot_acknowledged(replica, frame.snapshot_id, frame.sequence, verdict);
    }
}

/* ---- install ---- */

struct storage_batch *range_snapshot_stage(struct range_replica *replica,
                                           const struct raft_snapshot *snapshot) {
    struct range_snapshot_receive *receive = replica->snapshots.receive;
    /* The core saw the snapshot only because the last chunk had arrived. */
    ASSERT(receive && receive->complete && !receive->batch);
    ASSERT_CMP(snapshot->id.index, ==, receive->state.applied.index);
    ASSERT_CMP(snapshot->id.term, ==, receive->state.applied.term);
    ASSERT_CMP(snapshot->id.index, >, replica->applied.applied.index);
    range_apply_skip(replica);
    receive->batch = storage_batch_new(replica->worker->store->engine);
    receive->conf = snapshot->conf;
    raft_log_reset(&replica->log, receive->batch, snapshot->id.index);
    replica->log_bytes = 0;
    return receive->batch;
}

/* What was proposed for positions inside the snapshot is decided, but not visible from here. So may
 * be commands of the entry behind it: a snapshot has what was applied, also in the middle of an
 * entry. (It may be the one that was proposed here: another leader's took its place in this log,
 * and was replaced by it once more.) */
static void settle_proposed(struct range_replica *replica, uint64_t index) {
    LIST_FOR_EACH_SAFE (node, &replica->commands.proposed) {
        struct range_pending *pending = range_pending_of(node);
        if (pending->id.index <= index + 1) range_pending_refuse(pending, RANGE_REPLY_UNKNOWN);
    }
}

void range_snapshot_install(struct range_replica *replica) {
    struct range_snapshot_receive *receive = replica->snapshots.receive;
    struct range_descriptor before = {0};
    range_descriptor_copy(&before, &replica->descriptor);
    range_descriptor_copy(&replica->descriptor, &receive->descriptor);
    range_change_follow(replica, &before);
    range_descriptor_done(&before);
    replica->conf = receive->conf;
    replica->applied = receive->state;
    replica->apply.entry_commands = RANGE_ENTRY_APPLIED_UNKNOWN;
    range_replica_put_apply_state(replica, receive->batch, &replica->applied);
    range_positions_forget(replica);
    range_replica_put_record(replica, receive->batch);
    commit_receive(receive);
    settle_proposed(replica, replica->applied.applied.index);
    range_life_enter(replica, RANGE_ACTIVE);
    replica->snapshots.finished = receive->snapshot_id;
    acknowledge_end(receive, RANGE_SNAPSHOT_INSTALLED);
    receive_free(receive);
}

void range_snapshot_drop_unneeded(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->snapshots.receives) {
        struct range_snapshot_receive *receive =
            CONTAINER_OF(node, struct range_snapshot_receive, link);
        struct range_replica *replica = receive->replica;
        if (!replica || !receive->complete || replica->life == RANGE_INSTALLING ||
            raft_has_ready(replica->raft))
            continue;
        acknowledge_end(receive, RANGE_SNAPSHOT_INSTALLED);
        range_snapshot_drop_receive(replica);
    }
}
_Static_assert(STORAGE_LOCK == STORAGE_DATA + 1 && STORAGE_META == STORAGE_DATA + 2,
               "the spans are indexed by family");
