/* Serving placement over gRPC. */
#include "rpc/placement_service.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "rpc/limits.h"
#include "rpc/placement_messages.h"

/* Asks that one stream may have outstanding: what a client within its rights never reaches. */

struct placement_service {
    struct rpc_loop *loop;
    struct rpc_server *server;
    struct placement_driver *driver;
    const struct clock *clock;
    struct rpc_turn_hook hook;
    struct rpc_timer timer;
    struct arena arena;       /* of the message at hand */
    struct list_node granted; /* timestamp streams with grants to send */
    uint64_t cluster_id;      /* as given to the server for handshakes; 0: not formed yet */
};

/* One Timestamps stream. Counted: by the stream's events and by each ask the driver holds. */
struct timestamp_stream {
    struct list_node in_granted;
    struct placement_service *service;
    struct rpc_stream *stream; /* NULL once closed */
    uint32_t refs, asks;
    Flotilla__V1__TimestampGrant *grants; /* to be sent at the end of the turn */
    size_t grant_count, grant_cap;
};

struct timestamp_ask {
    struct timestamp_stream *stream;
    uint64_t id;
};

static uint64_t now_us(const struct placement_service *service) {
    return clock_monotonic_us(service->clock);
}

/* Unpacks a request; on failure the call has been answered. */
static ProtobufCMessage *unpack(struct placement_service *service, struct rpc_call *call,
                                const ProtobufCMessageDescriptor *type, struct slice request) {
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_reset(&service->arena);
    if (rpc_message_unpack_request(&service->arena, type, request, &error, &message))
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "%.*s", (int)error.len, (const char *)error.data);
    buf_done(&error);
    return message;
}

/* ---- registration ---- */

static void registered(void *ctx, const struct placement_register_reply *reply) {
    struct arena arena;
    arena_init(&arena, 1024);
    Flotilla__V1__RegisterNodeResponse response = FLOTILLA__V1__REGISTER_NODE_RESPONSE__INIT;
    response.outcome =
        placement_outcome_to_proto(&arena, reply->status, reply->text, reply->retry_after_ms);
    response.cluster_id = reply->cluster_id;
    response.node_id = reply->node_id;
    rpc_call_reply_message(ctx, &response.base);
    arena_done(&arena);
}

static void serve_register(void *ctx, struct rpc_call *call, struct slice bytes) {
    struct placement_service *service = ctx;
    const Flotilla__V1__RegisterNodeRequest *message =
        (const Flotilla__V1__RegisterNodeRequest *)(const void *)unpack(
            service, call, &flotilla__v1__register_node_request__descriptor, bytes);
    if (!message) return;
    struct placement_register_request request = {
        .cluster_id = message->cluster_id,
        .node_id = message->node_id,
        .incarnation = message->incarnation,
        .synced_sequence = message->synced_sequence,
        .address = slice_from_text(message->address),
        .version = slice_from_text(message->version),
    };
    /* Any other length leaves the uuid zero, which the driver refuses. */
    if (message->uuid.len == sizeof(request.uuid.bytes))
        memcpy(request.uuid.bytes, message->uuid.data, sizeof(request.uuid.bytes));
    placement_driver_register(service->driver, &request, now_us(service), registered, call);
}

/* ---- heartbeats ---- */

/* False: a descriptor makes no sense. */
static bool read_reports(struct arena *arena, const Flotilla__V1__HeartbeatRequest *message,
                         struct placement_replica_report *reports) {
    for (size_t i = 0; i < message->n_reports; i++) {
        const Flotilla__V1__ReplicaReport *from = message->reports[i];
        reports[i] = (struct placement_replica_report){
            .range_id = from->range_id,
            .replica_id = from->replica_id,
            .epoch = {from->conf_version, from->span_version},
            .term = from->term,
            .leads = from->leads,
            .applied_index = from->applied_index,
            .log_bytes = from->log_bytes,
            .data_bytes = from->data_bytes,
        };
        if (!from->descriptor) continue;
        struct placement_descriptor *descriptor = arena_alloc(arena, sizeof(*descriptor));
        if (placement_descriptor_from_proto(from->descriptor, descriptor)) return false;
        reports[i].descriptor = descriptor;
    }
    return true;
}

static void reply_heartbeat(struct placement_service *service, struct rpc_call *call,
                            const struct placement_heartbeat_reply *reply) {
    struct arena *arena = &service->arena;
    Flotilla__V1__HeartbeatResponse response = FLOTILLA__V1__HEARTBEAT_RESPONSE__INIT;
    response.outcome = placement_outcome_to_proto(arena, reply->status, reply->text, 0);
    response.want_complete = reply->want_complete;
    response.next_heartbeat_ms = reply->next_heartbeat_ms;
    response.address_book_version = reply->address_book_version;
    response.n_nodes = reply->node_count;
    response.nodes = placement_addresses_to_proto(arena, reply->nodes, reply->node_count);
    response.n_creates = reply->create_count;
    response.creates = ARENA_NEW_ARRAY(arena, Flotilla__V1__CreateReplica *, reply->create_count);
    for (uint32_t i = 0; i < reply->create_count; i++) {
        Flotilla__V1__CreateReplica *create = arena_alloc(arena, sizeof(*create));
        flotilla__v1__create_replica__init(create);
        create->descriptor = placement_descriptor_to_proto(arena, reply->creates[i].descriptor);
        create->campaign = reply->creates[i].campaign;
        response.creates[i] = create;
    }
    response.n_wanted = reply->wanted_count;
    response.wanted = (uint64_t *)reply->wanted; /* only read when packed */
    rpc_call_reply_message(call, &response.base);
}

static void serve_heartbeat(void *ctx, struct rpc_call *call, struct slice bytes) {
    struct placement_service *service = ctx;
    const Flotilla__V1__HeartbeatRequest *message =
        (const Flotilla__V1__HeartbeatRequest *)(const void *)unpack(
            service, call, &flotilla__v1__heartbeat_request__descriptor, bytes);
    if (!message) return;
    if (message->n_reports > PLACEMENT_REPORTS_MAX) {
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "%zu reports in a heartbeat; the limit is %u",
                      message->n_reports, PLACEMENT_REPORTS_MAX);
        return;
    }
    struct placement_replica_report *reports =
        ARENA_NEW_ARRAY(&service->arena, struct placement_replica_report, message->n_reports);
    if (!read_reports(&service->arena, message, reports)) {
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "a heartbeat of node %lu holds a bad descriptor",
                      (unsigned long)message->node_id);
        return;
    }
    struct placement_heartbeat_request request = {
        .cluster_id = message->cluster_id,
        .node_id = message->node_id,
        .incarnation = message->incarnation,
        .synced_sequence = message->synced_sequence,
        .wall_ms = message->wall_ms,
        .address_book_version = message->address_book_version,
        .leaving = message->leaving,
        .complete = message->complete,
        .figures = {.capacity_bytes = message->capacity_bytes,
                    .available_bytes = message->available_bytes,
                    .data_bytes = message->data_bytes,
                    .replica_count = message->replica_count,
                    .leader_count = message->leader_count},
        .report_count = (uint32_t)message->n_reports,
        .reports = reports,
    };
    struct placement_heartbeat_reply reply;
    placement_driver_heartbeat(service->driver, &request, now_us(service), &reply);
    reply_heartbeat(service, call, &reply);
}

/* ---- range map and status ---- */

static void serve_ranges(void *ctx, struct rpc_call *call, struct slice bytes) {
    struct placement_service *service = ctx;
    if (!unpack(service, call, &flotilla__v1__get_ranges_request__descriptor, bytes)) return;
    struct arena *arena = &service->arena;
    struct placement_range_map map = {0};
    Flotilla__V1__GetRangesResponse response = FLOTILLA__V1__GET_RANGES_RESPONSE__INIT;
    enum status status = placement_driver_ranges(service->driver, now_us(service), &map);
    struct slice text = status ? placement_driver_not_leader_text(service->driver) : SLICE_EMPTY;
    response.outcome = placement_outcome_to_proto(arena, status, text, 0);
    response.cluster_id = map.cluster_id;
    response.n_nodes = map.node_count;
    response.nodes = placement_addresses_to_proto(arena, map.nodes, map.node_count);
    response.n_ranges = map.range_count;
    response.ranges = ARENA_NEW_ARRAY(arena, Flotilla__V1__RangeEntry *, map.range_count);
    for (uint32_t i = 0; i < map.range_count; i++) {
        Flotilla__V1__RangeEntry *entry = arena_alloc(arena, sizeof(*entry));
        flotilla__v1__range_entry__init(entry);
        entry->descriptor = placement_descriptor_to_proto(arena, map.ranges[i].descriptor);
        entry->leader_node = map.ranges[i].leader_node;
        entry->leader_term = map.ranges[i].leader_term;
        response.ranges[i] = entry;
    }
    rpc_call_reply_message(call, &response.base);
}

static void serve_status(void *ctx, struct rpc_call *call, struct slice bytes) {
    struct placement_service *service = ctx;
    if (!unpack(service, call, &flotilla__v1__placement_status_request__descriptor, bytes)) return;
    struct buf text = {0}, json = {0};
    struct placement_status status;
    Flotilla__V1__PlacementStatusResponse response = FLOTILLA__V1__PLACEMENT_STATUS_RESPONSE__INIT;
    placement_driver_status(service->driver, now_us(service), &status);
    placement_status_print(&status, &text);
    placement_status_print_json(&status, &json);
    response.outcome = placement_outcome_to_proto(&service->arena, STATUS_OK, SLICE_EMPTY, 0);
    response.text = placement_text(&service->arena, slice_from_buf(&text));
    response.json = placement_text(&service->arena, slice_from_buf(&json));
    rpc_call_reply_message(call, &response.base);
    buf_done(&text);
    buf_done(&json);
}

/* ---- timestamps ---- */

static void unref_stream(struct timestamp_stream *stream) {
    if (--stream->refs) return;
    list_remove(&stream->in_granted);
    memory_free(stream->grants);
    memory_free(stream);
}

static void grant(void *ctx, enum status status, uint64_t first, uint32_t count) {
    struct timestamp_ask *ask = ctx;
    struct timestamp_stream *stream = ask->stream;
    stream->asks--;
    if (stream->stream) {
        if (stream->grant_count == stream->grant_cap) {
            stream->grant_cap = stream->grant_cap ? stream->grant_cap * 2 : 16;
            stream->grants =
                memory_realloc(stream->grants, stream->grant_cap * sizeof(*stream->grants));
        }
        Flotilla__V1__TimestampGrant *to = &stream->grants[stream->grant_count++];
        flotilla__v1__timestamp_grant__init(to);
        to->id = ask->id;
        to->first = first;
        to->count = count;
        to->code = placement_code_from_status(status);
        list_remove(&stream->in_granted);
        list_push_back(&stream->service->granted, &stream->in_granted);
    }
    memory_free(ask);
    unref_stream(stream);
}

static void on_asks(void *ctx, struct rpc_stream *rpc_stream, struct slice bytes) {
    struct timestamp_stream *stream = ctx;
    struct placement_service *service = stream->service;
    struct buf error = {0};
    ProtobufCMessage *message;
    arena_reset(&service->arena);
    if (rpc_message_unpack_request(&service->arena, &flotilla__v1__timestamp_request__descriptor,
                                   bytes, &error, &message)) {
        rpc_stream_close(rpc_stream, RPC_INVALID_ARGUMENT, "%.*s", (int)error.len,
                         (const char *)error.data);
        buf_done(&error);
        return;
    }
    const Flotilla__V1__TimestampRequest *request =
        (const Flotilla__V1__TimestampRequest *)(const void *)message;
    if (request->n_asks > RPC_TIMESTAMP_ASKS_MAX - stream->asks) {
        rpc_stream_close(rpc_stream, RPC_RESOURCE_EXHAUSTED,
                         "more than %u requests for timestamps outstanding on one stream",
                         RPC_TIMESTAMP_ASKS_MAX);
        return;
    }
    uint64_t now = now_us(service);
    for (size_t i = 0; i < request->n_asks; i++) {
        struct timestamp_ask *ask = MEMORY_NEW(struct timestamp_ask);
        *ask = (struct timestamp_ask){stream, request->asks[i]->id};
        stream->refs++;
        stream->asks++;
        placement_driver_timestamps(service->driver, request->asks[i]->count, now, grant, ask);
    }
}

static void on_closed(void *ctx, struct rpc_stream *rpc_stream, const struct rpc_status *status) {
    struct timestamp_stream *stream = ctx;
    stream->stream = NULL;
    list_remove(&stream->in_granted);
    unref_stream(stream);
}

static void open_timestamps(void *ctx, struct rpc_stream *rpc_stream) {
    static const struct rpc_stream_events events = {.on_message = on_asks, .on_close = on_closed};
    struct timestamp_stream *stream = MEMORY_NEW(struct timestamp_stream);
    stream->service = ctx;
    stream->stream = rpc_stream;
    stream->refs = 1;
    list_init(&stream->in_granted);
    rpc_stream_accept(rpc_stream, &events, stream);
}

static void send_grants(struct placement_service *service) {
    struct list_node *node;
    while ((node = list_pop_front(&service->granted))) {
        struct timestamp_stream *stream = CONTAINER_OF(node, struct timestamp_stream, in_granted);
        arena_reset(&service->arena);
        Flotilla__V1__TimestampResponse response = FLOTILLA__V1__TIMESTAMP_RESPONSE__INIT;
        response.n_grants = stream->grant_count;
        response.grants =
            ARENA_NEW_ARRAY(&service->arena, Flotilla__V1__TimestampGrant *, stream->grant_count);
        for (size_t i = 0; i < stream->grant_count; i++)
            response.grants[i] = &stream->grants[i];
        /* A client that cannot take its grants is closed; it asks again on a new stream, and
         * timestamps that nobody uses cost nothing. */
        if (rpc_stream_send_message(stream->stream, &response.base))
            rpc_stream_close(stream->stream, RPC_RESOURCE_EXHAUSTED,
                             "timestamps were asked for and not read");
        stream->grant_count = 0;
    }
}

/* ---- the loop ---- */

/* Handshakes can be checked once the cluster has an id. */
static void follow_cluster_id(struct placement_service *service) {
    if (service->cluster_id) return;
    struct placement_status status;
    placement_driver_status(service->driver, now_us(service), &status);
    if (!status.cluster_id) return;
    service->cluster_id = status.cluster_id;
    const struct rpc_identity identity = {.cluster_id = status.cluster_id};
    rpc_server_set_identity(service->server, &identity);
}

static void run_driver(struct placement_service *service) {
    send_grants(service); /* what was answered from memory does not wait for the disk */
    uint64_t now = now_us(service);
    if (placement_driver_pending(service->driver) ||
        placement_driver_next_us(service->driver) <= now) {
        placement_driver_run(service->driver, now);
        send_grants(service);
        follow_cluster_id(service);
    }
    now = now_us(service);
    uint64_t next = placement_driver_next_us(service->driver);
    rpc_timer_start(service->loop, &service->timer,
                    rpc_loop_now_us(service->loop) + (next > now ? next - now : 0));
}

static void end_of_turn(struct rpc_turn_hook *hook) {
    run_driver(CONTAINER_OF(hook, struct placement_service, hook));
}

static void fire(struct rpc_timer *timer) {
    /* The hook at the end of this turn does the work. */
}

static const struct rpc_method methods[] = {
    {.path = PLACEMENT_METHOD("RegisterNode"), .unary = serve_register},
    {.path = PLACEMENT_METHOD("Heartbeat"), .unary = serve_heartbeat},
    {.path = PLACEMENT_METHOD("GetRanges"), .unary = serve_ranges},
    {.path = PLACEMENT_METHOD("Status"), .unary = serve_status},
    {.path = PLACEMENT_METHOD("Timestamps"),
     .open = open_timestamps,
     .handshake = true,
     .stream = {.merge = true, .hold_back = true, .queue_bytes_max = 1024 * 1024}},
};

struct placement_service *placement_service_new(struct rpc_loop *loop, struct rpc_server *server,
                                                struct placement_driver *driver,
                                                const struct clock *clock) {
    struct placement_service *service = MEMORY_NEW(struct placement_service);
    service->loop = loop;
    service->server = server;
    service->driver = driver;
    service->clock = clock;
    service->hook.end_of_turn = end_of_turn;
    service->timer.fire = fire;
    list_init(&service->granted);
    rpc_server_add(server, methods, sizeof(methods) / sizeof(methods[0]), service);
    rpc_loop_add_hook(loop, &service->hook);
    run_driver(service);
    return service;
}

void placement_service_free(struct placement_service *service) {
    if (!service) return;
    rpc_loop_remove_hook(service->loop, &service->hook);
    rpc_timer_stop(service->loop, &service->timer);
    arena_done(&service->arena);
    memory_free(service);
}
