/* Unary calls: one batch answers (metadata, message, status) and learns of the end. */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"
#include "rpc/metrics.h"
#include "rpc/server_internal.h"

struct rpc_call {
    struct rpc_tag tag;
    struct rpc_server *server; /* NULL: the server is gone, the answer goes nowhere */
    struct rpc_loop *loop;
    struct list_node node; /* in the server's list until answered */
    grpc_call *call;
    gpr_timespec deadline;
    struct rpc_handshake handshake;
    size_t request_bytes;
    grpc_byte_buffer *response;
    int cancelled; /* written by the core */
};

static void refuse_text(struct rpc_server *server, struct rpc_accept *accept, enum rpc_code code,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

static void refuse_text(struct rpc_server *server, struct rpc_accept *accept, enum rpc_code code,
                        const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* A long text is cut. */
    va_end(arguments);
    rpc_server_refuse(server, accept, code, slice_from_text(text));
}

void rpc_server_take_unary(struct rpc_server *server, struct rpc_accept *accept) {
    struct rpc_handshake handshake;
    if (!rpc_server_admit(server, accept, &handshake)) return;
    if (!accept->payload) {
        refuse_text(server, accept, RPC_INVALID_ARGUMENT, "%s takes one message, none came",
                    accept->method->method->path);
        return;
    }
    size_t bytes = grpc_byte_buffer_length(accept->payload);
    uint32_t bytes_max = accept->method->method->bytes_max;
    if (bytes_max && bytes > bytes_max) {
        refuse_text(server, accept, RPC_INVALID_ARGUMENT, "%s takes at most %u bytes; %zu came",
                    accept->method->method->path, bytes_max, bytes);
        return;
    }
    if (server->call_count >= server->config.calls_max ||
        server->request_bytes + bytes > server->config.request_bytes_max) {
        refuse_text(server, accept, RPC_RESOURCE_EXHAUSTED,
                    "busy: %u calls of %zu bytes are being served, at most %u of %zu bytes; retry "
                    "after a pause",
                    server->call_count, server->request_bytes, server->config.calls_max,
                    server->config.request_bytes_max);
        return;
    }
    struct rpc_call *call = MEMORY_NEW(struct rpc_call);
    call->server = server;
    call->loop = server->loop;
    call->call = accept->call;
    call->deadline = accept->deadline;
    call->handshake = handshake;
    call->request_bytes = bytes;
    accept->call = NULL;
    list_push_back(&server->calls, &call->node);
    server->call_count++;
    server->request_bytes += bytes;
    rpc_loop_hold(server->loop);
    metric_add(&metric_rpc_server_calls_total, 1);
    metric_add(&metric_rpc_server_calls_open, 1);
    struct rpc_bytes request;
    rpc_bytes_open(&request, accept->payload);
    accept->method->method->unary(accept->method->ctx, call, request.view);
    rpc_bytes_close(&request);
}

/* The call leaves the server's books: it is being answered, or the server goes away. */
static void unlink_call(struct rpc_call *call) {
    ASSERT(call->server); /* each call leaves once */
    list_remove(&call->node);
    call->server->call_count--;
    call->server->request_bytes -= call->request_bytes;
    call->server = NULL;
    metric_add(&metric_rpc_server_calls_open, -1);
}

void rpc_server_abandon_calls(struct rpc_server *server) {
    while (!list_empty(&server->calls)) {
        struct rpc_call *call = CONTAINER_OF(server->calls.next, struct rpc_call, node);
        unlink_call(call);
        grpc_call_unref(call->call); /* cancels it */
        call->call = NULL;
        rpc_loop_release(call->loop);
    }
}

static void answered(struct rpc_tag *tag, bool ok) {
    /* Whether the answer arrived is for the client to find out: it may ask again. */
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, tag);
    grpc_byte_buffer_destroy(call->response);
    grpc_call_unref(call->call);
    rpc_loop_release(call->loop);
    memory_free(call);
}

static void answer(struct rpc_call *call, grpc_byte_buffer *response, enum rpc_code code,
                   const char *text) {
    ASSERT(rpc_loop_on_thread(call->loop));
    if (!call->server) {
        grpc_byte_buffer_destroy(response);
        memory_free(call);
        return;
    }
    struct rpc_cork *cork = &call->server->cork;
    unlink_call(call);
    call->response = response;
    call->tag.done = answered;
    grpc_slice details = grpc_slice_from_copied_string(text);
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                      {.op = GRPC_OP_SEND_MESSAGE}};
    ops[1].data.recv_close_on_server.cancelled = &call->cancelled;
    ops[2].data.send_status_from_server.status = (grpc_status_code)code;
    ops[2].data.send_status_from_server.status_details = &details;
    ops[3].data.send_message.send_message = response;
    rpc_cork_before_write(cork);
    rpc_start_batch(call->call, ops, response ? 4 : 3, &call->tag);
    grpc_slice_unref(details);
}

void rpc_call_reply_slice(struct rpc_call *call, grpc_slice response) {
    size_t len = GRPC_SLICE_LENGTH(response);
    if (len > RPC_MESSAGE_BYTES_MAX) {
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED,
                      "the answer has %zu bytes; at most %u are allowed: ask for less at once", len,
                      RPC_MESSAGE_BYTES_MAX);
    } else {
        answer(call, grpc_raw_byte_buffer_create(&response, 1), RPC_OK, "");
    }
    grpc_slice_unref(response);
}

void rpc_call_reply(struct rpc_call *call, struct slice response) {
    rpc_call_reply_slice(call, rpc_slice_join(&response, 1, response.len));
}

void rpc_call_fail(struct rpc_call *call, enum rpc_code code, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* A long text is cut. */
    va_end(arguments);
    ASSERT(code != RPC_OK);
    answer(call, NULL, code, text);
}

uint64_t rpc_call_timeout_us(const struct rpc_call *call) {
    return rpc_timeout_from_deadline(call->deadline);
}

const struct rpc_handshake *rpc_call_handshake(const struct rpc_call *call) {
    return &call->handshake;
}
