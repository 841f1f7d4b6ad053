/* Streams: the queue to the peer, the messages from it, and the end.
 *
 * Invariants:
 * 1. At most one SEND_MESSAGE and one RECV_MESSAGE are under way; all starts happen under the lock,
 *    because the core allows no two at once on a call.
 * 2. queued_bytes is the cost of all that waits or is under way, and stays within the bound unless
 *    a single message is larger than what is left of an empty queue.
 * 3. When `pending` comes to 0 the call is over: the batch that reports the end (close_tag) is
 * under way from the first moment to the last.
 * 4. After `events` has become NULL nothing is reported; on_close is what makes it NULL. */
#include "base/assert.h"
#include "base/memory.h"
#include "rpc/metrics.h"
#include "rpc/stream_internal.h"

/* ---- the queue ---- */

static void queue_push(struct rpc_send_queue *queue, grpc_slice slice) {
    if (queue->count == queue->cap) {
        size_t cap = queue->cap ? queue->cap * 2 : 8;
        grpc_slice *slices = memory_alloc(cap * sizeof(*slices));
        for (size_t i = 0; i < queue->count; i++)
            slices[i] = queue->slices[(queue->head + i) & (queue->cap - 1)];
        memory_free(queue->slices);
        *queue = (struct rpc_send_queue){.slices = slices, .count = queue->count, .cap = cap};
    }
    queue->slices[(queue->head + queue->count++) & (queue->cap - 1)] = slice;
}

static grpc_slice *queue_front(struct rpc_send_queue *queue) {
    return queue->count ? &queue->slices[queue->head] : NULL;
}

static grpc_slice queue_pop(struct rpc_send_queue *queue) {
    ASSERT_CMP(queue->count, >, 0);
    grpc_slice slice = queue->slices[queue->head];
    queue->head = (queue->head + 1) & (queue->cap - 1);
    queue->count--;
    return slice;
}

static void queue_drop(struct rpc_send_queue *queue) {
    while (queue->count > 0)
        grpc_slice_unref(queue_pop(queue));
}

/* ---- life ---- */

struct rpc_stream *rpc_stream_ref(struct rpc_stream *stream) {
    atomic_fetch_add_explicit(&stream->refs, 1, memory_order_relaxed);
    return stream;
}

void rpc_stream_unref(struct rpc_stream *stream) {
    if (!stream) return;
    uint32_t before = atomic_fetch_sub_explicit(&stream->refs, 1, memory_order_acq_rel);
    ASSERT_CMP(before, >, 0);
    if (before > 1) return;
    /* The core's reference goes last of the loop's, so nothing of the core is left here. */
    ASSERT(stream->call == NULL);
    ASSERT_CMP(stream->queue.count, ==, 0);
    memory_free(stream->queue.slices);
    buf_done(&stream->local_text);
    (void)pthread_mutex_destroy(&stream->lock); /* Nobody holds it: cannot fail. */
    memory_free(stream);
}

static void message_done(struct rpc_tag *tag, bool ok);
static void send_done(struct rpc_tag *tag, bool ok);
static void finish_done(struct rpc_tag *tag, bool ok);

struct rpc_stream *rpc_stream_new(struct rpc_loop *loop, bool is_server, grpc_call *call,
                                  gpr_timespec deadline, const struct rpc_stream_options *options) {
    struct rpc_stream *stream = MEMORY_NEW(struct rpc_stream);
    atomic_init(&stream->refs, 1);
    stream->loop = loop;
    stream->is_server = is_server;
    stream->call = call;
    stream->deadline = deadline;
    stream->options = *options;
    if (stream->options.queue_bytes_max == 0)
        stream->options.queue_bytes_max = RPC_STREAM_QUEUE_BYTES_DEFAULT;
    (void)pthread_mutex_init(&stream->lock, NULL); /* Cannot fail with default attributes. */
    stream->message_tag.done = message_done;
    stream->send_tag.done = send_done;
    stream->finish_tag.done = finish_done;
    stream->status_text = grpc_empty_slice();
    grpc_metadata_array_init(&stream->initial);
    grpc_metadata_array_init(&stream->trailing);
    list_init(&stream->owner_node);
    rpc_loop_hold(loop);
    return stream;
}

static void lock(struct rpc_stream *stream) {
    int error = pthread_mutex_lock(&stream->lock);
    ASSERT_CMP(error, ==, 0);
}

static void unlock(struct rpc_stream *stream) {
    int error = pthread_mutex_unlock(&stream->lock);
    ASSERT_CMP(error, ==, 0);
}

void rpc_stream_start_locked(struct rpc_stream *stream, const grpc_op *ops, size_t count,
                             struct rpc_tag *tag) {
    ASSERT(stream->call != NULL);
    stream->pending++;
    rpc_start_batch(stream->call, ops, count, tag);
}

void rpc_stream_start(struct rpc_stream *stream, const grpc_op *ops, size_t count,
                      struct rpc_tag *tag) {
    lock(stream);
    rpc_stream_start_locked(stream, ops, count, tag);
    unlock(stream);
}

/* ---- sending ---- */

static void start_status_locked(struct rpc_stream *stream) {
    struct slice text = slice_from_buf(&stream->local_text);
    grpc_slice details = grpc_slice_from_copied_buffer((const char *)text.data, text.len);
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    op.data.send_status_from_server.status = (grpc_status_code)stream->local_code;
    op.data.send_status_from_server.status_details = &details;
    rpc_stream_start_locked(stream, &op, 1, &stream->finish_tag);
    grpc_slice_unref(details);
}

/* The queue is empty and nothing more will come: says so to the peer. */
static void finish_sending_locked(struct rpc_stream *stream) {
    ASSERT(stream->send_state == RPC_SEND_DRAINING && !stream->sending);
    stream->send_state = RPC_SEND_CLOSED;
    if (stream->is_server) {
        start_status_locked(stream);
        return;
    }
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    rpc_stream_start_locked(stream, &op, 1, &stream->finish_tag);
}

/* Starts the next write: one message, or as many as may be merged. */
static void start_send_locked(struct rpc_stream *stream) {
    grpc_slice batch[RPC_STREAM_MERGE_COUNT_MAX];
    size_t count = 0, bytes = 0;
    size_t count_max = stream->options.merge ? RPC_STREAM_MERGE_COUNT_MAX : 1;
    const grpc_slice *front = queue_front(&stream->queue);
    ASSERT(front != NULL && !stream->sending);
    while (front && count < count_max &&
           (count == 0 || bytes + GRPC_SLICE_LENGTH(*front) <= RPC_STREAM_MERGE_BYTES_MAX)) {
        bytes += GRPC_SLICE_LENGTH(*front);
        batch[count++] = queue_pop(&stream->queue);
        front = queue_front(&stream->queue);
    }
    stream->send_buffer = grpc_raw_byte_buffer_create(batch, count);
    for (size_t i = 0; i < count; i++)
        grpc_slice_unref(batch[i]); /* The buffer has its own references. */
    stream->sending = true;
    stream->sending_bytes = bytes + count * RPC_STREAM_MESSAGE_OVERHEAD_BYTES;
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    /* More is waiting: the core may keep this one back to write both with one call. */
    op.flags = front ? GRPC_WRITE_BUFFER_HINT : 0;
    op.data.send_message.send_message = stream->send_buffer;
    rpc_stream_start_locked(stream, &op, 1, &stream->send_tag);
    metric_add(&metric_rpc_stream_messages_sent_total, 1);
    metric_add(&metric_rpc_stream_merged_total, (int64_t)count - 1);
    metric_add(&metric_rpc_stream_bytes_sent_total, (int64_t)bytes);
}

enum status rpc_stream_send_parts(struct rpc_stream *stream, const struct slice *parts,
                                  size_t part_count) {
    size_t len = 0;
    for (size_t i = 0; i < part_count; i++)
        len += parts[i].len;
    if (len > RPC_MESSAGE_BYTES_MAX) return STATUS_TOO_LARGE;
    return rpc_stream_send_slice(stream, rpc_slice_join(parts, part_count, len));
}

enum status rpc_stream_send_slice(struct rpc_stream *stream, grpc_slice message) {
    size_t len = GRPC_SLICE_LENGTH(message);
    size_t cost = len + RPC_STREAM_MESSAGE_OVERHEAD_BYTES;
    enum status status = STATUS_OK;
    if (len > RPC_MESSAGE_BYTES_MAX) {
        grpc_slice_unref(message);
        return STATUS_TOO_LARGE;
    }
    lock(stream);
    if (stream->send_state != RPC_SEND_OPEN)
        status = STATUS_UNAVAILABLE;
    else if (stream->queued_bytes > 0 &&
             stream->queued_bytes + cost > stream->options.queue_bytes_max)
        status = STATUS_BUSY;
    if (status == STATUS_OK) {
        queue_push(&stream->queue, message);
        stream->queued_bytes += cost;
        if (!stream->sending) start_send_locked(stream);
    }
    unlock(stream);
    if (status == STATUS_OK) return status;
    if (status == STATUS_BUSY) metric_add(&metric_rpc_stream_queue_full_total, 1);
    grpc_slice_unref(message);
    return status;
}

enum status rpc_stream_send(struct rpc_stream *stream, struct slice message) {
    return rpc_stream_send_parts(stream, &message, 1);
}

size_t rpc_stream_queued_bytes(struct rpc_stream *stream) {
    lock(stream);
    size_t bytes = stream->queued_bytes;
    unlock(stream);
    return bytes;
}

/* Nothing that waits will be sent; what is under way still counts until it comes home. */
static void stop_sending_locked(struct rpc_stream *stream) {
    stream->send_state = RPC_SEND_CLOSED;
    queue_drop(&stream->queue);
    stream->queued_bytes = stream->sending_bytes;
}

static void start_receive_locked(struct rpc_stream *stream);

static void send_done(struct rpc_tag *tag, bool ok) {
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, send_tag);
    lock(stream);
    grpc_byte_buffer_destroy(stream->send_buffer);
    stream->send_buffer = NULL;
    stream->sending = false;
    stream->queued_bytes -= stream->sending_bytes;
    stream->sending_bytes = 0;
    /* A failed write means that the call has failed; its end is reported by close_tag. */
    if (!ok) stop_sending_locked(stream);
    if (stream->queue.count > 0)
        start_send_locked(stream);
    else if (stream->send_state == RPC_SEND_DRAINING)
        finish_sending_locked(stream);
    bool drained = stream->queued_bytes < stream->options.queue_bytes_max / 4;
    if (stream->held_back && drained) start_receive_locked(stream);
    unlock(stream);
    if (drained && stream->events && stream->events->on_drained)
        stream->events->on_drained(stream->ctx, stream);
    rpc_stream_settled(stream);
}

static void finish_done(struct rpc_tag *tag, bool ok) {
    /* A status that could not be sent has no other reader: close_tag reports the end either way. */
    rpc_stream_settled(CONTAINER_OF(tag, struct rpc_stream, finish_tag));
}

/* ---- receiving ---- */

static void start_receive_locked(struct rpc_stream *stream) {
    stream->held_back = false;
    if (stream->held || stream->reading || stream->half_closed || stream->finished) return;
    stream->reading = true;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &stream->receive_buffer;
    rpc_stream_start_locked(stream, &op, 1, &stream->message_tag);
}

void rpc_stream_receive(struct rpc_stream *stream) {
    lock(stream);
    start_receive_locked(stream);
    unlock(stream);
}

void rpc_stream_hold(struct rpc_stream *stream, bool held) {
    ASSERT(rpc_loop_on_thread(stream->loop));
    lock(stream);
    bool goes_on = stream->held && !held && !stream->held_back;
    stream->held = held;
    if (goes_on) start_receive_locked(stream);
    unlock(stream);
}

static bool is_closing(struct rpc_stream *stream) {
    lock(stream);
    bool closing = stream->closing;
    unlock(stream);
    return closing;
}

static void deliver(struct rpc_stream *stream, struct slice message) {
    if (!stream->events || is_closing(stream)) return;
    if (stream->expects_handshake && !stream->opened) {
        rpc_stream_close(stream, RPC_FAILED_PRECONDITION,
                         "the server took an internal stream without saying who it is");
        return;
    }
    uint32_t bytes_max = stream->options.message_bytes_max;
    if (bytes_max == 0) bytes_max = RPC_MESSAGE_BYTES_MAX;
    if (message.len > bytes_max) {
        rpc_stream_close(stream, RPC_RESOURCE_EXHAUSTED,
                         "a message of %zu bytes came; at most %u are allowed", message.len,
                         bytes_max);
        return;
    }
    metric_add(&metric_rpc_stream_messages_received_total, 1);
    metric_add(&metric_rpc_stream_bytes_received_total, (int64_t)message.len);
    stream->events->on_message(stream->ctx, stream, message);
}

static void receive_next(struct rpc_stream *stream) {
    lock(stream);
    if (stream->options.hold_back && stream->queued_bytes > stream->options.queue_bytes_max / 2)
        stream->held_back = true;
    else
        start_receive_locked(stream);
    unlock(stream);
}

static void peer_half_closed(struct rpc_stream *stream) {
    stream->half_closed = true;
    if (!stream->is_server || !stream->events || stream->finished) return;
    if (stream->events->on_half_close)
        stream->events->on_half_close(stream->ctx, stream);
    else
        rpc_stream_close(stream, RPC_OK, "%s", "");
}

static void message_done(struct rpc_tag *tag, bool ok) {
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, message_tag);
    grpc_byte_buffer *buffer = stream->receive_buffer;
    stream->receive_buffer = NULL;
    lock(stream);
    stream->reading = false;
    unlock(stream);
    if (ok && buffer) {
        struct rpc_bytes bytes;
        rpc_bytes_open(&bytes, buffer);
        deliver(stream, bytes.view);
        rpc_bytes_close(&bytes);
        receive_next(stream);
    } else {
        peer_half_closed(stream);
    }
    if (buffer) grpc_byte_buffer_destroy(buffer);
    rpc_stream_settled(stream);
}

/* ---- the end ---- */

void rpc_stream_vclose(struct rpc_stream *stream, enum rpc_code code, const char *format,
                       va_list arguments) {
    char text[512];
    (void)vsnprintf(text, sizeof(text), format, arguments); /* A long text is cut. */
    lock(stream);
    if (stream->closing || !stream->call) {
        unlock(stream);
        return;
    }
    stream->closing = true;
    stream->local_code = code;
    buf_assign(&stream->local_text, slice_from_text(text));
    bool writable = stream->send_state != RPC_SEND_CLOSED;
    /* A peer that does not read cannot be told why: a status would wait behind what it leaves. */
    bool deaf = stream->queued_bytes > stream->options.queue_bytes_max / 2;
    if (stream->is_server && writable && code == RPC_OK) {
        stream->send_state = RPC_SEND_DRAINING;
        if (!stream->sending) finish_sending_locked(stream);
    } else if (stream->is_server && writable && !deaf) {
        stop_sending_locked(stream);
        start_status_locked(stream);
    } else {
        stop_sending_locked(stream);
        /* Cannot fail for a call that is not over. */
        (void)grpc_call_cancel_with_status(
            stream->call, code == RPC_OK ? GRPC_STATUS_CANCELLED : (grpc_status_code)code, text,
            NULL);
    }
    unlock(stream);
}

void rpc_stream_close(struct rpc_stream *stream, enum rpc_code code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    rpc_stream_vclose(stream, code, format, arguments);
    va_end(arguments);
}

void rpc_stream_half_close(struct rpc_stream *stream) {
    ASSERT(!stream->is_server);
    lock(stream);
    if (stream->send_state == RPC_SEND_OPEN) {
        stream->send_state = RPC_SEND_DRAINING;
        if (!stream->sending) finish_sending_locked(stream);
    }
    unlock(stream);
}

void rpc_stream_mark_finished(struct rpc_stream *stream) {
    lock(stream);
    stream->finished = true;
    stop_sending_locked(stream);
    unlock(stream);
}

/* What on_close reports: the reason given here when there is one, else what the core says. */
static void final_status(struct rpc_stream *stream, struct rpc_status *ret_status) {
    if (!stream->is_server && !stream->closing) {
        ret_status->code = (enum rpc_code)stream->status;
        ret_status->text = rpc_slice_view(&stream->status_text);
        return;
    }
    if (stream->closing && !(stream->local_code == RPC_OK && stream->was_cancelled)) {
        ret_status->code = stream->local_code;
        ret_status->text = slice_from_buf(&stream->local_text);
        return;
    }
    ret_status->code = RPC_CANCELLED;
    ret_status->text = SLICE_LITERAL("the client cancelled the stream or its connection broke");
}

static void report_close(struct rpc_stream *stream, const struct rpc_status *status) {
    const struct rpc_stream_events *events = stream->events;
    stream->events = NULL;
    if (events && events->on_close) events->on_close(stream->ctx, stream, status);
}

void rpc_stream_settled(struct rpc_stream *stream) {
    lock(stream);
    ASSERT_CMP(stream->pending, >, 0);
    bool over = --stream->pending == 0;
    grpc_call *call = stream->call;
    if (over) stream->call = NULL;
    unlock(stream);
    if (!over) return;
    ASSERT(stream->finished);
    struct rpc_status status;
    final_status(stream, &status);
    report_close(stream, &status);
    grpc_slice_unref(stream->status_text);
    grpc_metadata_array_destroy(&stream->initial);
    grpc_metadata_array_destroy(&stream->trailing);
    grpc_call_unref(call);
    if (stream->on_over) stream->on_over(stream);
    rpc_loop_release(stream->loop);
    rpc_stream_unref(stream);
}

void rpc_stream_abandon(struct rpc_stream *stream, const char *why) {
    rpc_stream_ref(stream);
    struct rpc_status status = {.code = RPC_CANCELLED, .text = slice_from_text(why)};
    lock(stream);
    if (stream->call) {
        stream->closing = true;
        stop_sending_locked(stream);
        (void)grpc_call_cancel_with_status(stream->call, GRPC_STATUS_CANCELLED, why, NULL);
    }
    unlock(stream);
    report_close(stream, &status);
    stream->on_over = NULL;
    list_remove(&stream->owner_node);
    rpc_stream_unref(stream);
}

/* ---- questions ---- */

uint64_t rpc_stream_peer_node(const struct rpc_stream *stream) {
    return stream->handshake.node_id;
}

uint64_t rpc_stream_peer_incarnation(const struct rpc_stream *stream) {
    return stream->handshake.incarnation;
}

uint64_t rpc_stream_timeout_us(const struct rpc_stream *stream) {
    return rpc_timeout_from_deadline(stream->deadline);
}
