/* Requests of clients: every check that can be made before anything is proposed or read. A request
 * leaves this file answered, refused, or pending with a deadline. */
#include "range/admit.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "range/metrics.h"
#include "range/worker.h"

/* One call on its way through the checks. */
struct admission {
    struct range_worker *worker;
    struct range_item *frame;
    struct range_client *client;
    struct slice call;
    struct range_request request;
    struct range_replica *replica;
};

static void refuse(const struct admission *call, enum range_reply_code code) {
    range_refuse(call->worker, call->client, call->request.call_id, code);
}

static void refuse_invalid(const struct admission *call, struct buf *text) {
    range_refuse_text(call->worker, call->client, call->request.call_id, RANGE_REPLY_INVALID,
                      slice_from_buf(text));
    buf_done(text);
}

/* What it has waited in the mailbox is part of its time. */
static uint64_t deadline_of(const struct admission *call) {
    uint64_t timeout_us = call->request.timeout_us;
    if (timeout_us == 0) timeout_us = RANGE_TIMEOUT_US_DEFAULT;
    if (timeout_us > RANGE_TIMEOUT_US_MAX) timeout_us = RANGE_TIMEOUT_US_MAX;
    return call->frame->arrived_us + timeout_us;
}

static struct range_pending *make_pending(const struct admission *call,
                                          enum range_pending_state state) {
    return range_pending_new(call->replica, call->client, call->frame, state, call->request.call_id,
                             deadline_of(call));
}

/* A replica that is itself behind cannot tell the router anything newer: it only points at who
 * leads. */
static bool check_epoch(const struct admission *call) {
    const struct range_epoch *asked = &call->request.epoch;
    const struct range_epoch *own = &call->replica->descriptor.epoch;
    if (asked->conf_version == own->conf_version && asked->span_version == own->span_version)
        return true;
    if (asked->conf_version > own->conf_version || asked->span_version > own->span_version) {
        range_refuse_not_leader(call->replica, call->client, call->request.call_id);
        return false;
    }
    range_refuse_stale_epoch(call->replica, call->client, call->request.call_id);
    return false;
}

/* Replicas come and go without a change of what the others hold. */
static bool check_span(const struct admission *call) {
    uint64_t asked = call->request.epoch.span_version;
    uint64_t own = call->replica->descriptor.epoch.span_version;
    if (asked == own) return true;
    if (asked > own)
        range_refuse_not_leader(call->replica, call->client, call->request.call_id);
    else
        range_refuse_stale_epoch(call->replica, call->client, call->request.call_id);
    return false;
}

static bool check_leader(const struct admission *call) {
    if (call->replica->leads) return true;
    range_refuse_not_leader(call->replica, call->client, call->request.call_id);
    return false;
}

static bool check_room(const struct admission *call, size_t bytes) {
    const struct range_worker *worker = call->worker;
    const struct range_replica *replica = call->replica;
    uint32_t pending_max = range_limit(worker->store->config.pending_max, RANGE_PENDING_MAX);
    bool full = worker->clients.pending_count >= RANGE_WORKER_PENDING_MAX ||
                worker->clients.pending_bytes + bytes > RANGE_WORKER_PENDING_BYTES_MAX ||
                worker->clients.held_bytes >= RANGE_WORKER_HELD_BYTES_MAX ||
                replica->commands.pending_count >= pending_max ||
                /* A command larger than the bound is let in when it is alone. */
                (replica->commands.pending_bytes > 0 &&
                 replica->commands.pending_bytes + bytes > RANGE_PENDING_BYTES_MAX);
    if (full) range_overload_refuse(call->replica, call->client, call->request.call_id);
    return !full;
}

static bool check_time(const struct admission *call) {
    uint64_t deadline_us = deadline_of(call);
    if (deadline_us <= call->worker->now_us) {
        metric_add(&metric_range_expired_total, 1);
        refuse(call, RANGE_REPLY_TIMEOUT);
        return false;
    }
    if (range_overload_admits(call->replica, deadline_us)) return true;
    metric_add(&metric_range_refused_late_total, 1);
    range_overload_refuse(call->replica, call->client, call->request.call_id);
    return false;
}

static void describe_span(struct buf *text, const struct range_descriptor *descriptor) {
    buf_printf(text, "range %" PRIu64 " [%s, %s)", descriptor->range_id,
               log_key(slice_from_buf(&descriptor->start)),
               log_key(slice_from_buf(&descriptor->end)));
}

static bool check_command(const struct admission *call, const struct txn_command *command) {
    const struct range_descriptor *descriptor = &call->replica->descriptor;
    struct buf text = {0};
    enum status status = txn_command_check(command, &text);
    if (status == STATUS_OK && !txn_command_within(command, slice_from_buf(&descriptor->start),
                                                   slice_from_buf(&descriptor->end))) {
        buf_printf(&text, "the command has a key outside of ");
        describe_span(&text, descriptor);
        status = STATUS_INVALID;
    }
    if (status == STATUS_OK) {
        buf_done(&text);
        return true;
    }
    refuse_invalid(call, &text);
    return false;
}

/* Says which disk is full. Whoever retries finds another leader, if there is one. */
static bool check_disk(const struct admission *call) {
    const struct range_worker *worker = call->worker;
    if (worker->room.room == RANGE_ROOM_ROOMY) return true;
    metric_add(&metric_range_refused_no_space_total, 1);
    range_refuse_text(call->worker, call->client, call->request.call_id, RANGE_REPLY_UNAVAILABLE,
                      slice_from_buf(&worker->room.text));
    return false;
}

/* What reaches the log is evaluated by every replica, so it is decoded and checked in full here. */
static void admit_write(struct admission *call) {
    if (!check_disk(call)) return;
    struct slice bytes = call->request.command;
    struct buf text = {0};
    struct txn_command command;
    if (bytes.len > TXN_COMMAND_BYTES_MAX) {
        buf_printf(&text, "the command is %zu bytes, the limit is %u", bytes.len,
                   TXN_COMMAND_BYTES_MAX);
        refuse_invalid(call, &text);
        return;
    }
    if (txn_command_decode(bytes, &call->worker->arena, &command) != STATUS_OK) {
        buf_printf(&text, "the command's bytes are malformed or of an unknown version");
        refuse_invalid(call, &text);
        return;
    }
    if (!check_command(call, &command) || !check_room(call, bytes.len) || !check_time(call)) return;
    struct range_pending *pending = make_pending(call, RANGE_PENDING_WAITING);
    pending->bytes = bytes;
    pending->arrived_us = call->frame->arrived_us;
    pending->admitted_us = call->worker->now_us;
    pending->has_request_id = command.request_id.len > 0;
    range_propose_enqueue(pending);
}

static bool check_key(const struct admission *call, struct slice key, struct buf *text) {
    if (key.len == 0 || key.len > TXN_KEY_BYTES_MAX) {
        buf_printf(text, "a key is %zu bytes, allowed are 1 to %u", key.len, TXN_KEY_BYTES_MAX);
        return false;
    }
    if (range_descriptor_contains(&call->replica->descriptor, key)) return true;
    buf_printf(text, "key %s is outside of ", log_key(key));
    describe_span(text, &call->replica->descriptor);
    return false;
}

static bool check_read(const struct admission *call) {
    const struct range_request *request = &call->request;
    struct buf text = {0};
    bool good = true;
    if (request->kind == RANGE_GET) {
        if (request->key_count == 0) buf_printf(&text, "a get names at least one key");
        good = request->key_count > 0;
        for (uint32_t i = 0; good && i < request->key_count; i++)
            good = check_key(call, request->keys[i], &text);
    } else if (request->start.len > TXN_BOUND_BYTES_MAX || request->end.len > TXN_BOUND_BYTES_MAX) {
        buf_printf(&text, "a bound of the scan is longer than %u bytes", TXN_BOUND_BYTES_MAX);
        good = false;
    }
    if (!good) refuse_invalid(call, &text);
    return good;
}

static struct range_pending *make_pending_read(const struct admission *call) {
    struct range_pending *pending = make_pending(call, RANGE_PENDING_READ);
    pending->bytes = call->call;
    pending->quorum = call->request.read_mode == RANGE_READ_INDEX;
    return pending;
}

static void admit_read(struct admission *call) {
    if (!check_read(call)) return;
    if (range_read_try_lease(call->replica, call->client, &call->request)) return;
    if (check_room(call, 0)) range_read_enqueue(make_pending_read(call));
}

static bool is_stale_read(const struct range_request *request) {
    return (request->kind == RANGE_GET || request->kind == RANGE_SCAN) &&
           request->read_mode == RANGE_READ_STALE;
}

static void admit_stale_read(const struct admission *call) {
    if (!check_span(call) || !check_read(call)) return;
    if (range_read_try_stale(call->replica, call->client, &call->request)) return;
    if (check_room(call, 0)) range_read_enqueue_stale(make_pending_read(call));
}

static void admit_transfer(struct admission *call) {
    const struct range_replica_ref *to =
        range_descriptor_on_node(&call->replica->descriptor, call->request.to_node);
    if (!to || !range_replica_stays_voter(to)) {
        struct buf text = {0};
        buf_printf(&text, "range %" PRIu64 " has no voter on node %" PRIu64,
                   range_replica_id(call->replica), call->request.to_node);
        refuse_invalid(call, &text);
        return;
    }
    if (!check_room(call, 0)) return;
    struct range_pending *pending = make_pending(call, RANGE_PENDING_TRANSFER);
    pending->to_node = call->request.to_node;
    range_transfer_request(pending);
}

static void admit_change(struct admission *call) {
    struct buf text = {0};
    struct raft_log_id id;
    if (!check_room(call, 0)) return;
    enum status status = range_change_propose(call->replica, &call->request, &text, &id);
    if (status == STATUS_INVALID) {
        refuse_invalid(call, &text);
        return;
    }
    if (status != STATUS_OK) {
        refuse(call, RANGE_REPLY_BUSY);
        return;
    }
    struct range_pending *pending = make_pending(call, RANGE_PENDING_CHANGE);
    pending->id = id;
    list_push_back(&call->replica->changes.requests, &pending->link);
    range_pending_release_frame(pending);
}

/* What the leader knows of its replicas; it changes nothing and waits for nothing. */
static void admit_describe(const struct admission *call) {
    struct range_replica_progress known[RANGE_REPLICAS_MAX];
    struct raft_view view;
    raft_view(call->replica->raft, &view);
    struct range_reply reply = {.call_id = call->request.call_id,
                                .code = RANGE_REPLY_OK,
                                .kind = RANGE_DESCRIBE,
                                .descriptor = &call->replica->descriptor,
                                .term = view.term,
                                .commit_index = view.commit,
                                .progress = known};
    for (uint32_t i = 0; i < view.progress_count; i++) {
        const struct raft_progress_view *progress = &view.progress[i];
        if (!range_descriptor_replica(&call->replica->descriptor, progress->id)) continue;
        known[reply.progress_count++] = (struct range_replica_progress){
            .replica_id = progress->id,
            .match = progress->match,
            .active = progress->recently_active,
            .gets_snapshot = progress->state == RAFT_SNAPSHOT,
            .log_lost = progress->log_lost,
        };
    }
    range_client_reply(call->worker, call->client, &reply);
}

static void admit_call(struct admission *call) {
    /* Nothing decoded for an earlier call is needed any more. */
    arena_reset(&call->worker->arena);
    call->request = (struct range_request){0};
    enum status status = range_request_decode(call->call, &call->worker->arena, &call->request);
    if (status != STATUS_OK) {
        uint64_t range_id; /* the head was checked on arrival: only the body is bad */
        status = range_request_peek(call->call, &call->request.call_id, &range_id);
        ASSERT(status == STATUS_OK);
        struct buf text = {0};
        buf_printf(&text, "the request is malformed or of a kind unknown to this version");
        refuse_invalid(call, &text);
        return;
    }
    if (call->worker->stopped) {
        range_refuse_text(call->worker, call->client, call->request.call_id,
                          RANGE_REPLY_UNAVAILABLE, SLICE_LITERAL("this node is shutting down"));
        return;
    }
    call->replica = range_worker_find(call->worker, call->request.range_id);
    if (!call->replica) {
        refuse(call, RANGE_REPLY_NO_RANGE);
        return;
    }
    if (call->request.kind == RANGE_DESCRIBE) {
        if (check_leader(call)) admit_describe(call);
        return;
    }
    if (is_stale_read(&call->request)) {
        admit_stale_read(call);
        return;
    }
    if (!check_epoch(call) || !check_leader(call)) return;
    if (call->request.kind == RANGE_WRITE)
        admit_write(call);
    else if (call->request.kind == RANGE_TRANSFER)
        admit_transfer(call);
    else if (call->request.kind == RANGE_CHANGE_REPLICAS)
        admit_change(call);
    else
        admit_read(call);
}

void range_admit_frame(struct range_worker *worker, struct range_item *item) {
    struct decoder calls;
    enum status status = range_frame_open(range_item_bytes(item), &calls);
    ASSERT(status == STATUS_OK); /* checked on arrival */
    struct range_client *client = range_client_get(worker, item->session);
    struct admission call = {.worker = worker, .frame = item, .client = client};
    int64_t count = 0;
    while (range_frame_next(&calls, &call.call)) {
        admit_call(&call);
        count++;
    }
    range_item_hold(item, &worker->clients.held_bytes);
    metric_add(&metric_range_requests_total, count);
    range_client_put(worker, client);
}
