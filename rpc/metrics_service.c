#include "rpc/metrics_service.h"

#include "base/memory.h"
#include "base/metrics.h"
#include "flotilla/v1/metrics.pb-c.h"
#include "rpc/message.h"

#define READ_METHOD "/flotilla.v1.Metrics/Read"

/* ---- the service ---- */

static bool is_read_request(struct slice request, struct buf *error) {
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, 0);
    enum status status = rpc_message_unpack_request(
        &arena, &flotilla__v1__read_metrics_request__descriptor, request, error, &message);
    arena_done(&arena);
    return status == STATUS_OK;
}

static void answer_read(void *ctx, struct rpc_call *call, struct slice request) {
    struct buf text = {0};
    if (!is_read_request(request, &text)) {
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "%.*s", (int)text.len, (const char *)text.data);
    } else {
        Flotilla__V1__ReadMetricsResponse response = FLOTILLA__V1__READ_METRICS_RESPONSE__INIT;
        metrics_render(&text);
        buf_append_byte(&text, '\0');
        response.text = (char *)text.data;
        rpc_call_reply_message(call, &response.base);
    }
    buf_done(&text);
}

static const struct rpc_method methods[] = {{.path = READ_METHOD, .unary = answer_read}};

void rpc_metrics_serve(struct rpc_server *server) {
    rpc_server_add(server, methods, sizeof(methods) / sizeof(methods[0]), NULL);
}

/* ---- asking ---- */

struct reading {
    rpc_metrics_fn *done;
    void *ctx;
};

static void answered(void *ctx, const struct rpc_status *status, struct slice bytes) {
    struct reading *reading = ctx;
    struct rpc_status seen = *status;
    struct slice text = SLICE_EMPTY;
    struct arena arena;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    if (seen.code == RPC_OK &&
        rpc_message_unpack_response(&arena, &flotilla__v1__read_metrics_response__descriptor, bytes,
                                    &error, &message) != STATUS_OK)
        seen = (struct rpc_status){RPC_INTERNAL, slice_from_buf(&error)};
    if (message)
        text = slice_from_text(
            ((const Flotilla__V1__ReadMetricsResponse *)(const void *)message)->text);
    reading->done(reading->ctx, &seen, text);
    buf_done(&error);
    arena_done(&arena);
    memory_free(reading);
}

void rpc_metrics_read(struct rpc_client *client, uint64_t timeout_us, rpc_metrics_fn *done,
                      void *ctx) {
    struct reading *reading = MEMORY_NEW(struct reading);
    *reading = (struct reading){done, ctx};
    Flotilla__V1__ReadMetricsRequest request = FLOTILLA__V1__READ_METRICS_REQUEST__INIT;
    const struct rpc_call_options options = {.timeout_us = timeout_us};
    rpc_client_call_message(client, READ_METHOD, &request.base, &options, answered, reading);
}
