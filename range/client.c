#include "range/client.h"

#include "base/assert.h"
#include "base/memory.h"
#include "range/metrics.h"
#include "range/worker.h"

#define FREE_PENDINGS_MAX 4096u

struct range_client *range_client_get(struct range_worker *worker, struct range_session *session) {
    uint64_t id = (uint64_t)(uintptr_t)session;
    struct idmap_node *node = idmap_get(&worker->clients.by_session, id);
    struct range_client *client = NULL;
    if (node) {
        client = CONTAINER_OF(node, struct range_client, by_session);
    } else {
        client = MEMORY_NEW(struct range_client);
        client->session = session;
        session->retain(session);
        list_init(&client->in_dirty);
        idmap_put(&worker->clients.by_session, &client->by_session, id);
    }
    client->refs++;
    return client;
}

static void mark_dirty(struct range_worker *worker, struct range_client *client) {
    if (list_empty(&client->in_dirty)) list_push_back(&worker->clients.dirty, &client->in_dirty);
}

void range_client_put(struct range_worker *worker, struct range_client *client) {
    ASSERT_CMP(client->refs, >, 0);
    client->refs--;
    if (client->refs == 0) mark_dirty(worker, client);
}

static void send_frame(struct range_client *client) {
    if (client->frame.len == 0) return;
    client->session->send(client->session, slice_from_buf(&client->frame));
    buf_clear(&client->frame);
}

void range_client_reply(struct range_worker *worker, struct range_client *client,
                        const struct range_reply *reply) {
    if (client->frame.len == 0) range_frame_begin(&client->frame);
    range_reply_encode(&client->frame, reply);
    mark_dirty(worker, client);
    if (client->frame.len >= RANGE_FRAME_FLUSH_BYTES) send_frame(client);
}

static void client_free(struct range_worker *worker, struct range_client *client) {
    idmap_remove(&worker->clients.by_session, client->by_session.id);
    buf_done(&client->frame);
    client->session->release(client->session);
    memory_free(client);
}

void range_clients_flush(struct range_worker *worker) {
    struct list_node *node;
    while ((node = list_pop_front(&worker->clients.dirty)) != NULL) {
        struct range_client *client = CONTAINER_OF(node, struct range_client, in_dirty);
        send_frame(client);
        if (client->refs == 0) client_free(worker, client);
    }
}

void range_clients_free(struct range_worker *worker) {
    struct idmap_node *node;
    while ((node = idmap_next(&worker->clients.by_session, NULL)) != NULL) {
        struct range_client *client = CONTAINER_OF(node, struct range_client, by_session);
        list_remove(&client->in_dirty);
        client_free(worker, client);
    }
    idmap_done(&worker->clients.by_session);
    while (worker->clients.free_pendings) {
        struct range_pending *next =
            (struct range_pending *)worker->clients.free_pendings->link.next;
        memory_free(worker->clients.free_pendings);
        worker->clients.free_pendings = next;
    }
    heap_done(&worker->clients.deadlines);
}

void range_refuse_text(struct range_worker *worker, struct range_client *client, uint64_t call_id,
                       enum range_reply_code code, struct slice text) {
    struct range_reply reply = {
        .call_id = call_id, .code = code, .retry_after_us = RANGE_RETRY_AFTER_US, .text = text};
    if (code == RANGE_REPLY_BUSY) metric_add(&metric_range_refused_busy_total, 1);
    if (code == RANGE_REPLY_UNKNOWN) metric_add(&metric_range_unknown_total, 1);
    range_client_reply(worker, client, &reply);
}

void range_refuse_busy(struct range_worker *worker, struct range_client *client, uint64_t call_id,
                       uint32_t retry_after_us) {
    struct range_reply reply = {
        .call_id = call_id, .code = RANGE_REPLY_BUSY, .retry_after_us = retry_after_us};
    metric_add(&metric_range_refused_busy_total, 1);
    range_client_reply(worker, client, &reply);
}

void range_refuse(struct range_worker *worker, struct range_client *client, uint64_t call_id,
                  enum range_reply_code code) {
    range_refuse_text(worker, client, call_id, code, SLICE_EMPTY);
}

void range_refuse_not_leader(const struct range_replica *replica, struct range_client *client,
                             uint64_t call_id) {
    struct range_reply reply = {.call_id = call_id,
                                .code = RANGE_REPLY_NOT_LEADER,
                                .leader_node = range_replica_leader_node(replica),
                                .descriptor = &replica->descriptor};
    metric_add(&metric_range_refused_not_leader_total, 1);
    range_client_reply(replica->worker, client, &reply);
}

void range_refuse_stale_epoch(const struct range_replica *replica, struct range_client *client,
                              uint64_t call_id) {
    struct range_reply reply = {
        .call_id = call_id, .code = RANGE_REPLY_STALE_EPOCH, .descriptor = &replica->descriptor};
    metric_add(&metric_range_refused_epoch_total, 1);
    range_client_reply(replica->worker, client, &reply);
}

static struct range_pending *take_free(struct range_worker *worker) {
    struct range_pending *pending = worker->clients.free_pendings;
    if (!pending) return (struct range_pending *)memory_alloc(sizeof(struct range_pending));
    worker->clients.free_pendings = (struct range_pending *)pending->link.next;
    worker->clients.free_count--;
    return pending;
}

/* The free list chains over link.next, the first field: see take_free. */
_Static_assert(offsetof(struct range_pending, link) == 0, "the free list casts link to pending");

struct range_pending *range_pending_new(struct range_replica *replica, struct range_client *client,
                                        struct range_item *frame, enum range_pending_state state,
                                        uint64_t call_id, uint64_t deadline_us) {
    struct range_worker *worker = replica->worker;
    struct range_pending *pending = take_free(worker);
    *pending = (struct range_pending){
        .replica = replica, .client = client, .frame = frame, .state = state, .call_id = call_id};
    list_init(&pending->link);
    client->refs++;
    range_item_ref(frame);
    heap_push(&worker->clients.deadlines, &pending->deadline, deadline_us);
    worker->clients.pending_count++;
    return pending;
}

void range_pending_release_frame(struct range_pending *pending) {
    if (!pending->frame) return;
    range_item_unref(pending->frame);
    pending->frame = NULL;
}

static void uncount_command(struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    ASSERT_CMP(replica->commands.pending_count, >, 0);
    ASSERT_CMP(replica->commands.pending_bytes, >=, pending->bytes.len);
    replica->commands.pending_count--;
    replica->commands.pending_bytes -= pending->bytes.len;
    replica->worker->clients.pending_bytes -= pending->bytes.len;
    if (pending->state != RANGE_PENDING_WAITING) return;
    range_overload_withdraw(pending);
    replica->commands.waiting_count--;
    if (replica->commands.waiting_count == 0) list_remove(&replica->commands.in_waiting);
}

void range_pending_free(struct range_pending *pending) {
    struct range_worker *worker = pending->replica->worker;
    if (pending->state == RANGE_PENDING_WAITING || pending->state == RANGE_PENDING_PROPOSED)
        uncount_command(pending);
    list_remove(&pending->link);
    heap_remove(&worker->clients.deadlines, &pending->deadline);
    range_pending_release_frame(pending);
    range_client_put(worker, pending->client);
    worker->clients.pending_count--;
    if (worker->clients.free_count >= FREE_PENDINGS_MAX) {
        memory_free(pending);
        return;
    }
    pending->link.next = (struct list_node *)(void *)worker->clients.free_pendings;
    worker->clients.free_pendings = pending;
    worker->clients.free_count++;
}

void range_pending_refuse_text(struct range_pending *pending, enum range_reply_code code,
                               struct slice text) {
    if (code == RANGE_REPLY_NOT_LEADER)
        range_refuse_not_leader(pending->replica, pending->client, pending->call_id);
    else
        range_refuse_text(pending->replica->worker, pending->client, pending->call_id, code, text);
    range_pending_free(pending);
}

void range_pending_refuse(struct range_pending *pending, enum range_reply_code code) {
    range_pending_refuse_text(pending, code, SLICE_EMPTY);
}

void range_pending_refuse_all(struct list_node *list, enum range_reply_code code) {
    LIST_FOR_EACH_SAFE (node, list)
        range_pending_refuse(range_pending_of(node), code);
}

void range_pending_expire(struct range_worker *worker) {
    for (;;) {
        struct heap_node *first = heap_min(&worker->clients.deadlines);
        if (!first || first->key > worker->now_us) return;
        struct range_pending *pending = CONTAINER_OF(first, struct range_pending, deadline);
        metric_add(&metric_range_expired_total, 1);
        range_stages_expired(pending);
        range_pending_refuse(pending, range_pending_in_log(pending) ? RANGE_REPLY_UNKNOWN
                                                                    : RANGE_REPLY_TIMEOUT);
    }
}
