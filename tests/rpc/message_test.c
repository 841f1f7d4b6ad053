/* What becomes of protocol-buffer fields that only the other side knows: a cluster is upgraded
 * member by member, so that newer and older versions talk to each other all the time. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/codec.h"
#include "flotilla/v1/kv.pb-c.h"
#include "flotilla/v1/placement.pb-c.h"
#include "placement/limits.h"
#include "rpc/kv_client.h"
#include "rpc/message.h"

#define WAIT_US 10000000u

/* BatchGetResponse {results: {found, field 99: "x"}}, and field 98 of its own. */
static const uint8_t newer_response[] = {0x0a, 6, 0x08, 1, 0x9a, 0x06, 1, 'x', 0x90, 0x06, 7};
/* The unknown field is only inside the message in the message. */
static const uint8_t newer_inner[] = {0x0a, 6, 0x08, 1, 0x9a, 0x06, 1, 'x'};

#define BYTES(array) slice_make((array), sizeof(array))

/* A newer server may answer with fields that this client does not know, at any depth; what it does
 * know arrives. */
Test(rpc_message, a_response_may_have_unknown_fields) {
    struct arena arena;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    cr_assert_eq(rpc_message_unpack_response(&arena, &flotilla__v1__batch_get_response__descriptor,
                                             BYTES(newer_response), &error, &message),
                 STATUS_OK);
    const Flotilla__V1__BatchGetResponse *response =
        (const Flotilla__V1__BatchGetResponse *)(const void *)message;
    cr_assert_eq(response->n_results, 1);
    cr_assert(response->results[0]->found);
    cr_assert_eq(error.len, 0);
    arena_done(&arena);
}

/* As a request the same bytes are refused by the field's number, whether the field is in the
 * message itself or deeper. */
Test(rpc_message, a_request_may_not_have_unknown_fields) {
    static const struct {
        struct slice bytes;
        const char *field;
    } cases[] = {
        {{newer_response, sizeof(newer_response)}, "field 98"},
        {{newer_inner, sizeof(newer_inner)}, "field 99"},
    };
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf error = {0};
        ProtobufCMessage *message = NULL;
        cr_assert_eq(rpc_message_unpack_request(&arena,
                                                &flotilla__v1__batch_get_response__descriptor,
                                                cases[i].bytes, &error, &message),
                     STATUS_INVALID);
        cr_assert_null(message);
        buf_append_byte(&error, 0);
        cr_assert(strstr((const char *)error.data, cases[i].field), "%s", (char *)error.data);
        buf_done(&error);
    }
    arena_done(&arena);
}

/* Tolerating what is unknown is not tolerating what is broken. */
Test(rpc_message, neither_may_be_garbage) {
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff};
    struct arena arena;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    cr_assert_eq(rpc_message_unpack_response(&arena, &flotilla__v1__timestamp_response__descriptor,
                                             BYTES(garbage), &error, &message),
                 STATUS_INVALID);
    cr_assert_eq(rpc_message_unpack_request(&arena, &flotilla__v1__timestamp_request__descriptor,
                                            BYTES(garbage), &error, &message),
                 STATUS_INVALID);
    cr_assert_null(message);
    buf_done(&error);
    arena_done(&arena);
}

/* ---- a client whose router is newer than itself ---- */

static void answer_as_a_newer_router(void *ctx, struct rpc_call *call, struct slice request) {
    static const uint8_t response[] = {0x08, 1, 0x12, 1, 'v', 0x18, 9, 0x9a, 0x06, 1, 'x'};
    rpc_call_reply(call, BYTES(response));
}

struct got {
    bool done;
    enum router_code code;
    char value[8];
    uint64_t version;
};

static void on_got(void *ctx, const struct router_reply *reply) {
    struct got *got = ctx;
    got->done = true;
    got->code = reply->code;
    if (reply->row_count != 1) return;
    (void)snprintf(got->value, sizeof(got->value), "%.*s", (int)reply->rows[0].value.len,
                   (const char *)reply->rows[0].value.data);
    got->version = reply->rows[0].version;
}

/* The whole way of a reply with a field from the future: the value is delivered. */
Test(rpc_message, a_client_understands_a_newer_router, .timeout = 60) {
    static const struct rpc_method get = {.path = "/flotilla.v1.KeyValue/Get",
                                          .unary = answer_as_a_newer_router};
    struct rpc_loop *loop = rpc_loop_new();
    struct rpc_server_config server_config = {.listen = "127.0.0.1:0"};
    struct rpc_server *server = rpc_server_new(loop, &server_config);
    struct buf error = {0};
    char address[64];
    rpc_server_add(server, &get, 1, NULL);
    cr_assert_eq(rpc_server_start(server, &error), STATUS_OK);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", rpc_server_port(server));
    struct kv_client_config client_config = {.address = address, .unary = true};
    struct kv_client *client = kv_client_new(loop, &client_config);
    struct slice key = SLICE_LITERAL("k");
    struct router_request request = {.op = ROUTER_GET, .key_count = 1, .keys = &key};
    struct got got = {0};
    kv_client_submit(client, &request, on_got, &got);
    cr_assert(rpc_loop_run_until(loop, &got.done, WAIT_US));
    cr_assert_eq(got.code, ROUTER_OK);
    cr_assert_str_eq(got.value, "v");
    cr_assert_eq(got.version, 9);
    kv_client_free(client);
    rpc_server_free(server);
    rpc_loop_free(loop);
}

/* ---- counted before it is unpacked ---- */

static void fill(struct buf *bytes, struct slice element, size_t count) {
    for (size_t i = 0; i < count; i++)
        buf_append(bytes, element);
}

/* Protects the loop and the memory: eight million empty operations are sixteen megabytes on the
 * wire and took a gigabyte and seconds to unpack. Nothing is allocated for what is refused. */
Test(rpc_message, what_is_too_much_is_refused_before_it_is_unpacked) {
    static const uint8_t operation[] = {0x1a, 0}, guard[] = {0x12, 0}, call[] = {0x0a, 0};
    static const uint8_t put_id[] = {0x1a, 0}, report[] = {0x5a, 0}, ask[] = {0x0a, 0};
    static const uint8_t write_in_call[] = {0x0a, 4, 0x42, 2, 0x1a, 0};
    static const uint8_t packed[] = {0x3a, 3, 1, 2, 3};
    const struct {
        const ProtobufCMessageDescriptor *type;
        struct slice element;
        size_t allowed, refused;
    } cases[] = {
        {&flotilla__v1__write_request__descriptor, BYTES(operation), 10000, 8000000},
        {&flotilla__v1__write_request__descriptor, BYTES(guard), 10000, 10065},
        {&flotilla__v1__pipe_request__descriptor, BYTES(call), 65536, 65537},
        {&flotilla__v1__pipe_request__descriptor, BYTES(write_in_call), 32768, 32769},
        {&flotilla__v1__put_request__descriptor, BYTES(put_id), 3, 65},
        {&flotilla__v1__heartbeat_request__descriptor, BYTES(report), 262144, 300000},
        {&flotilla__v1__timestamp_request__descriptor, BYTES(ask), 4096, 4161},
        {&flotilla__v1__heartbeat_response__descriptor, BYTES(packed), 170, 20000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena arena;
        struct buf bytes = {0}, error = {0};
        ProtobufCMessage *message = NULL;
        arena_init(&arena, 0);
        fill(&bytes, cases[i].element, cases[i].allowed);
        cr_assert_eq(rpc_message_unpack_response(&arena, cases[i].type, slice_from_buf(&bytes),
                                                 &error, &message),
                     STATUS_OK, "case %zu: %.*s", i, (int)error.len, (const char *)error.data);
        arena_reset(&arena);
        message = NULL;
        fill(&bytes, cases[i].element, cases[i].refused - cases[i].allowed);
        cr_assert_eq(rpc_message_unpack_response(&arena, cases[i].type, slice_from_buf(&bytes),
                                                 &error, &message),
                     STATUS_INVALID, "case %zu", i);
        cr_assert_null(message);
        cr_assert_eq(arena.used_bytes, 0);
        buf_append_byte(&error, 0);
        cr_assert(strstr((const char *)error.data, "as many as are allowed"), "%s", error.data);
        buf_done(&bytes);
        buf_done(&error);
        arena_done(&arena);
    }
}

static void check_fits(ProtobufCMessage *message) {
    struct arena arena;
    struct buf bytes = {0}, error = {0};
    ProtobufCMessage *unpacked = NULL;
    size_t len = protobuf_c_message_get_packed_size(message);
    arena_init(&arena, 0);
    buf_reserve(&bytes, len);
    bytes.len = protobuf_c_message_pack(message, bytes.data);
    cr_assert_eq(rpc_message_unpack_response(&arena, message->descriptor, slice_from_buf(&bytes),
                                             &error, &unpacked),
                 STATUS_OK, "%.*s", (int)error.len, (const char *)error.data);
    buf_done(&bytes);
    buf_done(&error);
    arena_done(&arena);
}

/* A node whose heartbeat is refused for its size is silent for placement, and one that cannot read
 * the answer never gets its replicas: the bounds let through what the other bounds allow to be
 * said, all of it at once. */
Test(rpc_message, the_largest_heartbeat_and_its_answer_fit) {
    static Flotilla__V1__PlacementReplica replica, *replicas[PLACEMENT_REPLICAS_MAX];
    static Flotilla__V1__PlacementDescriptor descriptor;
    static Flotilla__V1__ReplicaReport plain, described, *reports[PLACEMENT_REPORTS_MAX];
    static Flotilla__V1__CreateReplica create, *creates[PLACEMENT_CREATES_MAX];
    static Flotilla__V1__PlacementNodeAddress node, *nodes[PLACEMENT_NODES_MAX];
    static uint64_t wanted[PLACEMENT_WANTED_MAX];
    Flotilla__V1__HeartbeatRequest request = FLOTILLA__V1__HEARTBEAT_REQUEST__INIT;
    Flotilla__V1__HeartbeatResponse response = FLOTILLA__V1__HEARTBEAT_RESPONSE__INIT;
    flotilla__v1__placement_replica__init(&replica);
    flotilla__v1__placement_descriptor__init(&descriptor);
    flotilla__v1__replica_report__init(&plain);
    flotilla__v1__create_replica__init(&create);
    flotilla__v1__placement_node_address__init(&node);
    replica.replica_id = replica.node_id = 1;
    replica.learner = true;
    replica.role = FLOTILLA__V1__PLACEMENT_REPLICA__ROLE__LEARNER;
    for (size_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++)
        replicas[i] = &replica;
    descriptor.range_id = descriptor.conf_version = descriptor.span_version = 1;
    descriptor.next_replica_id = 99;
    descriptor.joint = true;
    descriptor.n_replicas = PLACEMENT_REPLICAS_MAX;
    descriptor.replicas = replicas;
    plain.range_id = plain.replica_id = plain.conf_version = plain.span_version = plain.term = 1;
    plain.leads = true;
    plain.applied_index = plain.log_bytes = plain.data_bytes = 1;
    described = plain;
    described.descriptor = &descriptor;
    for (size_t i = 0; i < PLACEMENT_REPORTS_MAX; i++)
        reports[i] = i < PLACEMENT_WANTED_MAX ? &described : &plain;
    request.n_reports = PLACEMENT_REPORTS_MAX;
    request.reports = reports;
    check_fits(&request.base);

    create.descriptor = &descriptor;
    create.campaign = true;
    node.node_id = node.incarnation = 1;
    node.address = (char *)"127.0.0.1:7001";
    for (size_t i = 0; i < PLACEMENT_CREATES_MAX; i++)
        creates[i] = &create;
    for (size_t i = 0; i < PLACEMENT_NODES_MAX; i++)
        nodes[i] = &node;
    for (size_t i = 0; i < PLACEMENT_WANTED_MAX; i++)
        wanted[i] = i + 1;
    response.n_creates = PLACEMENT_CREATES_MAX;
    response.creates = creates;
    response.n_nodes = PLACEMENT_NODES_MAX;
    response.nodes = nodes;
    response.n_wanted = PLACEMENT_WANTED_MAX;
    response.wanted = wanted;
    check_fits(&response.base);
}

/* A message that is longer than its method takes. */
Test(rpc_message, the_bytes_of_small_messages_are_bounded) {
    struct arena arena;
    struct buf bytes = {0}, error = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    encode_u8(&bytes, 0x0a);
    struct buf key = {0};
    fill(&key, SLICE_LITERAL("0123456789abcdef"), 5000);
    encode_bytes(&bytes, slice_from_buf(&key));
    cr_assert_eq(rpc_message_unpack_request(&arena, &flotilla__v1__get_request__descriptor,
                                            slice_from_buf(&bytes), &error, &message),
                 STATUS_INVALID);
    buf_append_byte(&error, 0);
    cr_assert(strstr((const char *)error.data, "at most 65536"), "%s", error.data);
    buf_done(&key);
    buf_done(&bytes);
    buf_done(&error);
    arena_done(&arena);
}

/* Lengths and tags that need not be as long as they are, as some encoders write them, are read. */
Test(rpc_message, padded_varints_are_read) {
    static const uint8_t padded[] = {0x8a, 0x80, 0x00, 0x81, 0x80, 0x00, 'k'};
    struct arena arena;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    cr_assert_eq(rpc_message_unpack_request(&arena, &flotilla__v1__get_request__descriptor,
                                            BYTES(padded), &error, &message),
                 STATUS_OK, "%.*s", (int)error.len, (const char *)error.data);
    cr_assert_eq(((const Flotilla__V1__GetRequest *)(const void *)message)->key.len, 1);
    buf_done(&error);
    arena_done(&arena);
}
