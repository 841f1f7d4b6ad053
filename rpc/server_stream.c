/* Streams at the server: admission, the handshake, refusals. */
#include <grpc/support/alloc.h>
#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/metrics.h"
#include "rpc/server_internal.h"

/* ---- a status as the only answer ---- */

struct refusal {
    struct rpc_tag tag;
    struct rpc_loop *loop;
    grpc_call *call;
    int cancelled; /* written by the core */
};

static void refusal_done(struct rpc_tag *tag, bool ok) {
    /* A refusal that does not arrive is a call that failed: the same to the client. */
    struct refusal *refusal = CONTAINER_OF(tag, struct refusal, tag);
    grpc_call_unref(refusal->call);
    rpc_loop_release(refusal->loop);
    memory_free(refusal);
}

static void refuse_call(struct rpc_loop *loop, grpc_call *call, enum rpc_code code,
                        struct slice text) {
    struct refusal *refusal = MEMORY_NEW(struct refusal);
    refusal->tag.done = refusal_done;
    refusal->loop = loop;
    refusal->call = call;
    rpc_loop_hold(loop);
    metric_add(&metric_rpc_server_refused_total, 1);
    grpc_slice details = grpc_slice_from_copied_buffer((const char *)text.data, text.len);
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
    ops[1].data.recv_close_on_server.cancelled = &refusal->cancelled;
    ops[2].data.send_status_from_server.status = (grpc_status_code)code;
    ops[2].data.send_status_from_server.status_details = &details;
    rpc_start_batch(call, ops, 3, &refusal->tag);
    grpc_slice_unref(details);
}

void rpc_server_refuse(struct rpc_server *server, struct rpc_accept *accept, enum rpc_code code,
                       struct slice text) {
    refuse_call(server->loop, accept->call, code, text);
    accept->call = NULL;
}

bool rpc_server_admit(struct rpc_server *server, struct rpc_accept *accept,
                      struct rpc_handshake *ret_handshake) {
    rpc_handshake_read(&accept->metadata, ret_handshake);
    if (!accept->method->method->handshake) return true;
    struct buf error = {0};
    enum status status =
        rpc_handshake_check_caller(&server->config.identity, ret_handshake, &error);
    if (status != STATUS_OK) {
        char *peer = grpc_call_get_peer(accept->call);
        log_warn("rpc_handshake_refused", "method=%s peer=%s reason=\"%.*s\"",
                 accept->method->method->path, peer, (int)error.len, (const char *)error.data);
        gpr_free(peer);
        rpc_server_refuse(server, accept, rpc_code_from_status(status), slice_from_buf(&error));
    }
    buf_done(&error);
    return status == STATUS_OK;
}

/* ---- open streams ---- */

static void stream_over(struct rpc_stream *stream) {
    struct rpc_server *server = stream->owner;
    list_remove(&stream->owner_node);
    server->stream_count--;
    metric_add(&metric_rpc_server_streams_open, -1);
}

static void close_done(struct rpc_tag *tag, bool ok) {
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, close_tag);
    rpc_stream_mark_finished(stream);
    rpc_stream_settled(stream);
}

static void metadata_done(struct rpc_tag *tag, bool ok) {
    /* When it could not be sent, close_tag reports the end. */
    rpc_stream_settled(CONTAINER_OF(tag, struct rpc_stream, open_tag));
}

void rpc_server_take_stream(struct rpc_server *server, struct rpc_accept *accept) {
    const struct rpc_method *method = accept->method->method;
    struct rpc_handshake handshake;
    if (!rpc_server_admit(server, accept, &handshake)) return;
    if (server->stream_count >= server->config.streams_max) {
        struct buf text = {0};
        buf_printf(&text, "busy: %u streams are open, as many as are allowed; retry after a pause",
                   server->stream_count);
        rpc_server_refuse(server, accept, RPC_RESOURCE_EXHAUSTED, slice_from_buf(&text));
        buf_done(&text);
        return;
    }
    struct rpc_stream *stream =
        rpc_stream_new(server->loop, true, accept->call, accept->deadline, &method->stream);
    accept->call = NULL;
    stream->handshake = handshake;
    stream->owner = server;
    stream->open_tag.done = metadata_done;
    stream->close_tag.done = close_done;
    rpc_stream_ref(stream);
    method->open(accept->method->ctx, stream);
    /* Refused streams have lost their call already; others were accepted. */
    if (stream->events) rpc_stream_receive(stream);
    rpc_stream_unref(stream);
}

void rpc_stream_accept(struct rpc_stream *stream, const struct rpc_stream_events *events,
                       void *ctx) {
    struct rpc_server *server = stream->owner;
    ASSERT(stream->is_server && stream->pending == 0 && stream->call);
    stream->events = events;
    stream->ctx = ctx;
    stream->on_over = stream_over;
    list_push_back(&server->streams, &stream->owner_node);
    server->stream_count++;
    metric_add(&metric_rpc_server_streams_total, 1);
    metric_add(&metric_rpc_server_streams_open, 1);
    grpc_op close_op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    close_op.data.recv_close_on_server.cancelled = &stream->was_cancelled;
    rpc_stream_start(stream, &close_op, 1, &stream->close_tag);
    /* At once, not with the first message: the client waits for it to know that it was taken. */
    struct rpc_handshake_metadata metadata;
    rpc_handshake_write(&metadata, &server->config.identity, NULL);
    grpc_op open_op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    open_op.data.send_initial_metadata.count = metadata.count;
    open_op.data.send_initial_metadata.metadata = metadata.items;
    rpc_stream_start(stream, &open_op, 1, &stream->open_tag);
    rpc_handshake_metadata_done(&metadata);
}

void rpc_stream_refuse(struct rpc_stream *stream, enum rpc_code code, const char *format, ...) {
    ASSERT(stream->is_server && stream->pending == 0 && stream->call);
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* A long text is cut. */
    va_end(arguments);
    refuse_call(stream->loop, stream->call, code, slice_from_text(text));
    stream->call = NULL;
    rpc_loop_release(stream->loop);
    rpc_stream_unref(stream); /* the core's reference, which it has no use for */
}
