/* The way into a worker: the functions of range/store.h that other threads call. */
#include "range/inbox.h"

#include "base/assert.h"
#include "base/memory.h"
#include "range/metrics.h"
#include "range/raft_frame.h"
#include "range/request.h"
#include "range/snapshot.h"
#include "range/worker.h"

void range_item_ref(struct range_item *item) {
    item->refs++;
}

void range_item_unref(struct range_item *item) {
    ASSERT_CMP(item->refs, >, 0);
    if (--item->refs > 0) return;
    if (item->held_bytes) *item->held_bytes -= item->link.bytes;
    if (item->session) item->session->release(item->session);
    memory_free(item);
}

void range_item_hold(struct range_item *item, size_t *account) {
    ASSERT(!item->held_bytes);
    if (item->refs == 1) return; /* nobody borrows: it goes at once */
    item->held_bytes = account;
    *account += item->link.bytes;
}

static struct range_item *item_new(enum range_item_kind kind, struct slice data) {
    struct range_item *item = memory_alloc(sizeof(*item) + data.len);
    *item = (struct range_item){.kind = kind, .refs = 1, .len = data.len};
    item->link.bytes = sizeof(*item) + data.len;
    if (data.len > 0) memcpy(item->data, data.data, data.len);
    return item;
}

/* BUSY: the lane is full or the worker is stopping; the item is gone. */
static enum status push(struct range_worker *worker, enum mailbox_lane lane,
                        struct range_item *item) {
    size_t bytes = item->link.bytes; /* once pushed, the item may be gone */
    enum status status = mailbox_push(worker->mailbox, lane, &item->link);
    if (status != STATUS_OK) {
        range_item_unref(item);
        return STATUS_BUSY;
    }
    atomic_fetch_add(&worker->queued, 1);
    atomic_fetch_add(&worker->queued_bytes, bytes);
    return STATUS_OK;
}

/* For what the workers or the operator bound themselves. Lost only when the worker is stopping,
 * and then nobody waits for it. */
static void push_control(struct range_worker *worker, struct range_item *item) {
    size_t bytes = item->link.bytes;
    if (mailbox_push_control(worker->mailbox, &item->link) != STATUS_OK) {
        range_item_unref(item);
        return;
    }
    atomic_fetch_add(&worker->queued, 1);
    atomic_fetch_add(&worker->queued_bytes, bytes);
}

static void push_control_to_all(struct range_store *store, enum range_item_kind kind,
                                uint64_t node_id) {
    for (uint32_t i = 0; i < store->worker_count; i++) {
        struct range_item *item = item_new(kind, SLICE_EMPTY);
        item->node_id = node_id;
        push_control(store->workers[i], item);
    }
}

static enum status push_requests(struct range_worker *worker, struct range_session *session,
                                 struct slice frame) {
    struct range_item *item = item_new(RANGE_ITEM_REQUESTS, frame);
    item->session = session;
    item->arrived_us = clock_monotonic_us(worker->store->clock);
    session->retain(session);
    return push(worker, RANGE_LANE_CLIENTS, item);
}

/* Checks a request frame's walk, so that the worker's cannot fail. */
static enum status check_requests(struct slice frame, struct decoder *ret_calls) {
    enum status status = range_frame_open(frame, ret_calls);
    if (status != STATUS_OK) return status;
    struct decoder walk = *ret_calls;
    struct slice call;
    uint64_t call_id, range_id;
    while (range_frame_next(&walk, &call)) {
        if (range_request_peek(call, &call_id, &range_id) != STATUS_OK) return STATUS_CORRUPTION;
    }
    return walk.failed ? STATUS_CORRUPTION : STATUS_OK;
}

/* A call goes over to another worker's frame as it is: its length, then its bytes. */
static void copy_call(struct buf *frame, struct slice call) {
    if (frame->len == 0) range_frame_begin(frame);
    encode_u32(frame, (uint32_t)call.len);
    buf_append(frame, call);
}

/* When one worker's mailbox is full its calls are refused here, since the others' are taken. */
static enum status split_requests(struct range_store *store, struct range_session *session,
                                  struct decoder calls) {
    struct buf *frames = memory_zalloc(store->worker_count * sizeof(struct buf));
    struct slice call;
    uint64_t call_id, range_id;
    while (range_frame_next(&calls, &call)) {
        enum status peeked = range_request_peek(call, &call_id, &range_id);
        ASSERT(peeked == STATUS_OK);
        copy_call(&frames[range_id % store->worker_count], call);
    }
    for (uint32_t i = 0; i < store->worker_count; i++) {
        struct slice frame = slice_from_buf(&frames[i]);
        if (frame.len > 0 && push_requests(store->workers[i], session, frame) != STATUS_OK)
            range_store_refuse_frame(session, frame, RANGE_RETRY_AFTER_US);
        buf_done(&frames[i]);
    }
    memory_free(frames);
    return STATUS_OK;
}

enum status range_store_requests(struct range_store *store, struct range_session *session,
                                 struct slice frame) {
    struct decoder calls;
    enum status status = check_requests(frame, &calls);
    if (status != STATUS_OK) return status;
    if (store->worker_count == 1) return push_requests(store->workers[0], session, frame);
    return split_requests(store, session, calls);
}

void range_store_refuse_frame(struct range_session *session, struct slice frame,
                              uint32_t retry_after_us) {
    struct decoder calls;
    if (range_frame_open(frame, &calls) != STATUS_OK) return;
    struct buf replies = {0};
    range_frame_begin(&replies);
    struct slice call;
    uint64_t call_id, range_id;
    while (range_frame_next(&calls, &call)) {
        if (range_request_peek(call, &call_id, &range_id) != STATUS_OK) break;
        struct range_reply reply = {
            .call_id = call_id, .code = RANGE_REPLY_BUSY, .retry_after_us = retry_after_us};
        range_reply_encode(&replies, &reply);
        metric_add(&metric_range_refused_busy_total, 1);
    }
    session->send(session, slice_from_buf(&replies));
    buf_done(&replies);
}

static enum status push_raft(struct range_worker *worker, uint64_t from_node, struct slice frame) {
    struct range_item *item = item_new(RANGE_ITEM_RAFT, frame);
    item->node_id = from_node;
    enum status status = push(worker, RANGE_LANE_NODES, item);
    if (status != STATUS_OK) metric_add(&metric_range_raft_frames_dropped_total, 1);
    return status;
}

static void copy_envelope(struct buf *frame, const struct range_raft_envelope *envelope) {
    if (frame->len == 0) range_raft_frame_begin(frame);
    range_raft_frame_copy(frame, envelope);
}

enum status range_store_raft_frame(struct range_store *store, uint64_t from_node,
                                   struct slice frame) {
    struct decoder messages;
    enum status status = range_raft_frame_open(frame, &messages);
    if (status != STATUS_OK) return STATUS_CORRUPTION;
    if (store->worker_count == 1) return push_raft(store->workers[0], from_node, frame);
    struct buf *frames = memory_zalloc(store->worker_count * sizeof(struct buf));
    struct range_raft_envelope envelope;
    while (range_raft_frame_next(&messages, &envelope)) {
        uint32_t owner = (uint32_t)(envelope.range_id % store->worker_count);
        bool beat = envelope.range_id == 0; /* concerns the ranges of every worker */
        for (uint32_t i = beat ? 0 : owner; i < (beat ? store->worker_count : owner + 1); i++)
            copy_envelope(&frames[i], &envelope);
    }
    for (uint32_t i = 0; i < store->worker_count; i++) {
        if (frames[i].len > 0) {
            enum status pushed =
                push_raft(store->workers[i], from_node, slice_from_buf(&frames[i]));
            if (pushed != STATUS_OK) status = pushed;
        }
        buf_done(&frames[i]);
    }
    memory_free(frames);
    return status;
}

enum status range_store_snapshot_frame(struct range_store *store, uint64_t from_node,
                                       struct slice frame) {
    struct range_snapshot_frame decoded;
    if (range_snapshot_decode(frame, &decoded) != STATUS_OK) return STATUS_CORRUPTION;
    struct range_item *item = item_new(RANGE_ITEM_SNAPSHOT, frame);
    item->node_id = from_node;
    enum status status = push(range_store_owner(store, decoded.range_id), RANGE_LANE_NODES, item);
    if (status != STATUS_OK) metric_add(&metric_range_raft_frames_dropped_total, 1);
    return status;
}

void range_store_unreachable(struct range_store *store, uint64_t node_id) {
    push_control_to_all(store, RANGE_ITEM_UNREACHABLE, node_id);
}

void range_store_timestamps(struct range_store *store, uint32_t worker, uint64_t first,
                            uint32_t count) {
    ASSERT_CMP(worker, <, store->worker_count);
    struct range_item *item = item_new(RANGE_ITEM_TIMESTAMPS, SLICE_EMPTY);
    item->first = first;
    item->count = count;
    push_control(store->workers[worker], item);
}

void range_store_create(struct range_store *store, const struct range_descriptor *descriptor,
                        bool campaign) {
    struct buf bytes = {0};
    range_descriptor_encode(&bytes, descriptor);
    struct range_item *item = item_new(RANGE_ITEM_CREATE, slice_from_buf(&bytes));
    item->flag = campaign;
    push_control(range_store_owner(store, descriptor->range_id), item);
    buf_done(&bytes);
}

void range_store_drain(struct range_store *store) {
    push_control_to_all(store, RANGE_ITEM_DRAIN, 0);
}

void range_store_decline(struct range_store *store) {
    push_control_to_all(store, RANGE_ITEM_DECLINE, 0);
}

void range_store_set_room(struct range_store *store, enum range_room room, struct slice text) {
    for (uint32_t i = 0; i < store->worker_count; i++) {
        struct range_item *item = item_new(RANGE_ITEM_ROOM, text);
        item->count = room;
        push_control(store->workers[i], item);
    }
}

bool range_store_declines(struct range_store *store) {
    bool all = true;
    for (uint32_t i = 0; i < store->worker_count; i++)
        all = all && atomic_load(&store->workers[i]->decline_published);
    return all;
}

void range_store_transfer(struct range_store *store, uint64_t range_id, uint64_t to_node) {
    struct range_item *item = item_new(RANGE_ITEM_TRANSFER, SLICE_EMPTY);
    item->range_id = range_id;
    item->node_id = to_node;
    push_control(range_store_owner(store, range_id), item);
}

void range_store_stop(struct range_store *store) {
    push_control_to_all(store, RANGE_ITEM_STOP, 0);
}
