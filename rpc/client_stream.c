/* Streams at the client: opening, and checking who answered. */
#include "base/assert.h"
#include "base/memory.h"
#include "rpc/client_internal.h"

static void stream_over(struct rpc_stream *stream) {
    list_remove(&stream->owner_node);
}

static void close_done(struct rpc_tag *tag, bool ok) {
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, close_tag);
    rpc_stream_mark_finished(stream);
    rpc_stream_settled(stream);
}

/* The server's initial metadata, or nothing when the call failed before it came. */
static void open_done(struct rpc_tag *tag, bool ok) {
    struct rpc_stream *stream = CONTAINER_OF(tag, struct rpc_stream, open_tag);
    if (ok && stream->events) {
        struct buf error = {0};
        enum status status = STATUS_OK;
        rpc_handshake_read(&stream->initial, &stream->handshake);
        /* A refused call has a status and no metadata: its status is the better explanation. */
        bool answered = stream->handshake.protocol != 0;
        if (answered && stream->expects_handshake)
            status = rpc_handshake_check_server(&stream->expected, stream->expected_node,
                                                &stream->handshake, &error);
        if (status != STATUS_OK) {
            rpc_stream_close(stream, rpc_code_from_status(status), "%.*s", (int)error.len,
                             (const char *)error.data);
        } else if (answered) {
            stream->opened = true;
            if (stream->events->on_open) stream->events->on_open(stream->ctx, stream);
        }
        buf_done(&error);
    }
    if (ok) rpc_stream_receive(stream);
    rpc_stream_settled(stream);
}

static void start(struct rpc_stream *stream, const struct rpc_open_options *options) {
    struct rpc_handshake_metadata metadata = {0};
    if (options->identity) rpc_handshake_write(&metadata, options->identity, &options->to_node);
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    if (options->wait_for_ready)
        ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                       GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    ops[0].data.send_initial_metadata.count = metadata.count;
    ops[0].data.send_initial_metadata.metadata = metadata.items;
    ops[1].data.recv_status_on_client.trailing_metadata = &stream->trailing;
    ops[1].data.recv_status_on_client.status = &stream->status;
    ops[1].data.recv_status_on_client.status_details = &stream->status_text;
    rpc_stream_start(stream, ops, 2, &stream->close_tag);
    grpc_op open_op = {.op = GRPC_OP_RECV_INITIAL_METADATA};
    open_op.data.recv_initial_metadata.recv_initial_metadata = &stream->initial;
    rpc_stream_start(stream, &open_op, 1, &stream->open_tag);
    rpc_handshake_metadata_done(&metadata);
}

struct rpc_stream *rpc_client_open(struct rpc_client *client, const char *method,
                                   const struct rpc_open_options *options,
                                   const struct rpc_stream_events *events, void *ctx) {
    ASSERT(rpc_loop_on_thread(client->loop));
    gpr_timespec deadline =
        rpc_deadline_from_timeout(options->timeout_us ? options->timeout_us : UINT64_MAX);
    grpc_call *call = grpc_channel_create_call(
        client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, rpc_loop_queue(client->loop),
        grpc_slice_from_static_string(method), NULL, deadline, NULL);
    struct rpc_stream *stream =
        rpc_stream_new(client->loop, false, call, deadline, &options->stream);
    stream->events = events;
    stream->ctx = ctx;
    stream->owner = client;
    stream->on_over = stream_over;
    stream->open_tag.done = open_done;
    stream->close_tag.done = close_done;
    if (options->identity) {
        stream->expects_handshake = true;
        stream->expected = *options->identity;
        stream->expected_node = options->to_node;
    }
    list_push_back(&client->streams, &stream->owner_node);
    start(stream, options);
    return stream;
}
