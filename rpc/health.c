/* The standard health service. A service is known once rpc_health_set has named it. */
#include "rpc/health.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "rpc/limits.h"
#include "rpc/wire.h"

/* Numbers of grpc.health.v1.HealthCheckResponse.ServingStatus. */
enum serving_status { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

#define REQUEST_SERVICE 1u /* field numbers */
#define RESPONSE_STATUS 1u

struct health_entry {
    struct list_node node;
    char *service; /* owned */
    enum serving_status status;
};

struct watcher {
    struct list_node node;
    struct rpc_health *health;
    struct rpc_stream *stream; /* valid until its on_close */
    struct buf service;
    bool asked;               /* the one request has come */
    enum serving_status told; /* 0: nothing yet */
};

struct rpc_health {
    struct list_node entries, watchers;
};

static enum serving_status find_status(const struct rpc_health *health, struct slice service) {
    LIST_FOR_EACH (at, &health->entries) {
        const struct health_entry *entry = CONTAINER_OF(at, struct health_entry, node);
        if (slice_equal(slice_from_text(entry->service), service)) return entry->status;
    }
    return SERVICE_UNKNOWN;
}

/* False: the bytes are no HealthCheckRequest. Unknown fields are skipped, as the standard's other
 * servers do. */
static bool parse_request(struct slice request, struct slice *ret_service) {
    struct decoder in = decoder_make(request);
    struct rpc_wire_field field;
    *ret_service = SLICE_EMPTY;
    while (rpc_wire_next(&in, &field))
        if (field.number == REQUEST_SERVICE && field.type == RPC_WIRE_BYTES)
            *ret_service = field.bytes;
    return !in.failed;
}

static void check(void *ctx, struct rpc_call *call, struct slice request) {
    struct rpc_health *health = ctx;
    struct slice service;
    if (!parse_request(request, &service)) {
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "that is no HealthCheckRequest");
        return;
    }
    enum serving_status status = find_status(health, service);
    if (status == SERVICE_UNKNOWN) {
        rpc_call_fail(call, RPC_NOT_FOUND, "no service '%.*s' here",
                      (int)(service.len > 200 ? 200 : service.len), (const char *)service.data);
        return;
    }
    struct buf response = {0};
    rpc_wire_append_varint(&response, RESPONSE_STATUS, status);
    rpc_call_reply(call, slice_from_buf(&response));
    buf_done(&response);
}

static void tell(struct watcher *watcher) {
    enum serving_status status = find_status(watcher->health, slice_from_buf(&watcher->service));
    if (!watcher->asked || watcher->told == status) return;
    watcher->told = status;
    struct buf response = {0};
    rpc_wire_append_varint(&response, RESPONSE_STATUS, status);
    if (rpc_stream_send(watcher->stream, slice_from_buf(&response)) == STATUS_BUSY)
        rpc_stream_close(watcher->stream, RPC_RESOURCE_EXHAUSTED, "the watcher does not read");
    buf_done(&response);
}

static void watch_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct watcher *watcher = ctx;
    struct slice service;
    if (watcher->asked || !parse_request(message, &service)) {
        rpc_stream_close(stream, RPC_INVALID_ARGUMENT, "Watch takes one HealthCheckRequest");
        return;
    }
    buf_assign(&watcher->service, service);
    watcher->asked = true;
    tell(watcher);
}

static void watch_half_close(void *ctx, struct rpc_stream *stream) {
    /* The client has asked all it can; the answers go on. */
}

static void watch_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct watcher *watcher = ctx;
    list_remove(&watcher->node);
    buf_done(&watcher->service);
    memory_free(watcher);
}

static const struct rpc_stream_events watch_events = {
    .on_message = watch_message, .on_half_close = watch_half_close, .on_close = watch_close};

static void watch(void *ctx, struct rpc_stream *stream) {
    struct rpc_health *health = ctx;
    struct watcher *watcher = MEMORY_NEW(struct watcher);
    watcher->health = health;
    watcher->stream = stream;
    list_push_back(&health->watchers, &watcher->node);
    rpc_stream_accept(stream, &watch_events, watcher);
}

static const struct rpc_method health_methods[] = {
    {.path = "/grpc.health.v1.Health/Check",
     .unary = check,
     .bytes_max = RPC_SMALL_REQUEST_BYTES_MAX},
    {.path = "/grpc.health.v1.Health/Watch",
     .open = watch,
     .stream = {.queue_bytes_max = 65536, .message_bytes_max = RPC_SMALL_REQUEST_BYTES_MAX}},
};

struct rpc_health *rpc_health_new(struct rpc_server *server) {
    struct rpc_health *health = MEMORY_NEW(struct rpc_health);
    list_init(&health->entries);
    list_init(&health->watchers);
    rpc_health_set(health, "", false);
    rpc_server_add(server, health_methods, sizeof(health_methods) / sizeof(health_methods[0]),
                   health);
    return health;
}

void rpc_health_free(struct rpc_health *health) {
    if (!health) return;
    ASSERT(list_empty(&health->watchers)); /* rpc_server_free has closed them. */
    struct list_node *at;
    while ((at = list_pop_front(&health->entries))) {
        struct health_entry *entry = CONTAINER_OF(at, struct health_entry, node);
        free(entry->service);
        memory_free(entry);
    }
    memory_free(health);
}

static struct health_entry *find_or_add(struct rpc_health *health, const char *service) {
    LIST_FOR_EACH (at, &health->entries) {
        struct health_entry *entry = CONTAINER_OF(at, struct health_entry, node);
        if (strcmp(entry->service, service) == 0) return entry;
    }
    struct health_entry *entry = MEMORY_NEW(struct health_entry);
    entry->service = strdup(service);
    if (!entry->service) fatal("out of memory");
    list_push_back(&health->entries, &entry->node);
    return entry;
}

void rpc_health_set(struct rpc_health *health, const char *service, bool serving) {
    find_or_add(health, service)->status = serving ? SERVING : NOT_SERVING;
    LIST_FOR_EACH (at, &health->watchers)
        tell(CONTAINER_OF(at, struct watcher, node));
}
