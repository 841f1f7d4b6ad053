#include "rpc/message_limits.h"

#include "base/assert.h"
#include "flotilla/v1/kv.pb-c.h"
#include "flotilla/v1/metrics.pb-c.h"
#include "flotilla/v1/node.pb-c.h"
#include "flotilla/v1/placement.pb-c.h"
#include "placement/limits.h"
#include "range/limits.h"
#include "rpc/limits.h"
#include "rpc/wire.h"
#include "txn/limits.h"

/* Messages inside messages: Pipe, call, Write, operation, add, bound. */
#define DEPTH_MAX 8u

/* A little more than what is allowed passes here, so that the service says which limit it is. */
#define SLACK 64u
#define SMALL_BYTES RPC_SMALL_REQUEST_BYTES_MAX
/* The most fields of one element, itself included: an add with both bounds, a report without its
 * descriptor, a descriptor, a replica. */
#define PART_FIELDS 8u
#define REPORT_FIELDS 12u
#define DESCRIPTOR_FIELDS 12u
#define REPLICA_FIELDS 6u
#define DESCRIPTOR_FIELDS_MAX (DESCRIPTOR_FIELDS + REPLICA_FIELDS * PLACEMENT_REPLICAS_MAX)

#define WRITE_ELEMENTS (TXN_COMMAND_PARTS_MAX + SLACK)
#define KEYS_ELEMENTS (RPC_PIPE_ELEMENTS_MAX)
#define HEARTBEAT_ELEMENTS \
    (PLACEMENT_REPORTS_MAX + PLACEMENT_WANTED_MAX * PLACEMENT_REPLICAS_MAX + SLACK)
#define HEARTBEAT_FIELDS \
    (PLACEMENT_REPORTS_MAX * REPORT_FIELDS + PLACEMENT_WANTED_MAX * DESCRIPTOR_FIELDS_MAX + SLACK)
#define ANSWER_ELEMENTS                                                           \
    (PLACEMENT_NODES_MAX + PLACEMENT_CREATES_MAX * (1 + PLACEMENT_REPLICAS_MAX) + \
     PLACEMENT_WANTED_MAX + SLACK)
#define ANSWER_FIELDS                                                                \
    (PLACEMENT_NODES_MAX * 3 + PLACEMENT_CREATES_MAX * (3 + DESCRIPTOR_FIELDS_MAX) + \
     PLACEMENT_WANTED_MAX + SLACK)
/* The map is bounded by its bytes: no range takes less than forty, with three replicas. */
#define MAP_ELEMENTS (RPC_MESSAGE_BYTES_MAX / 10u)
#define MAP_FIELDS (RPC_MESSAGE_BYTES_MAX / 2u)

#define V1(name) &flotilla__v1__##name##__descriptor

/* type, bytes, elements, fields. The often used ones are in front. */
#define ROWS(X)                                                                                    \
    X(pipe_request, RPC_MESSAGE_BYTES_MAX, RPC_PIPE_ELEMENTS_MAX, 4 * RPC_PIPE_ELEMENTS_MAX)       \
    X(get_request, SMALL_BYTES, 0, SLACK)                                                          \
    X(put_request, RPC_MESSAGE_BYTES_MAX, 0, SLACK)                                                \
    X(write_request, RPC_MESSAGE_BYTES_MAX, WRITE_ELEMENTS, WRITE_ELEMENTS *PART_FIELDS)           \
    X(timestamp_request, SMALL_BYTES, RPC_TIMESTAMP_ASKS_MAX + SLACK, 4 * RPC_TIMESTAMP_ASKS_MAX)  \
    X(timestamp_response, 4 * SMALL_BYTES, RPC_TIMESTAMP_ASKS_MAX + SLACK,                         \
      8 * RPC_TIMESTAMP_ASKS_MAX)                                                                  \
    X(pipe_response, RPC_MESSAGE_BYTES_MAX, 4 * RPC_PIPE_ELEMENTS_MAX, 16 * RPC_PIPE_ELEMENTS_MAX) \
    X(delete_request, SMALL_BYTES, 0, SLACK)                                                       \
    X(scan_request, SMALL_BYTES, 0, SLACK)                                                         \
    X(batch_get_request, RPC_MESSAGE_BYTES_MAX, KEYS_ELEMENTS, KEYS_ELEMENTS + SLACK)              \
    X(get_response, RPC_MESSAGE_BYTES_MAX, 0, SLACK)                                               \
    X(put_response, SMALL_BYTES, 0, SLACK)                                                         \
    X(delete_response, SMALL_BYTES, 0, SLACK)                                                      \
    X(write_response, RPC_MESSAGE_BYTES_MAX, WRITE_ELEMENTS, WRITE_ELEMENTS + SLACK)               \
    X(scan_response, RPC_MESSAGE_BYTES_MAX, KEYS_ELEMENTS, 8 * KEYS_ELEMENTS)                      \
    X(batch_get_response, RPC_MESSAGE_BYTES_MAX, KEYS_ELEMENTS, 8 * KEYS_ELEMENTS)                 \
    X(register_node_request, SMALL_BYTES, 0, SLACK)                                                \
    X(register_node_response, SMALL_BYTES, 0, SLACK)                                               \
    X(heartbeat_request, RPC_MESSAGE_BYTES_MAX, HEARTBEAT_ELEMENTS, HEARTBEAT_FIELDS)              \
    X(heartbeat_response, RPC_MESSAGE_BYTES_MAX, ANSWER_ELEMENTS, ANSWER_FIELDS)                   \
    X(get_ranges_request, SMALL_BYTES, 0, SLACK)                                                   \
    X(get_ranges_response, RPC_MESSAGE_BYTES_MAX, MAP_ELEMENTS, MAP_FIELDS)                        \
    X(placement_status_request, SMALL_BYTES, 0, SLACK)                                             \
    X(placement_status_response, RPC_MESSAGE_BYTES_MAX, 0, SLACK)                                  \
    X(status_request, SMALL_BYTES, 0, SLACK)                                                       \
    X(status_response, RPC_MESSAGE_BYTES_MAX, HEARTBEAT_ELEMENTS, HEARTBEAT_FIELDS)                \
    X(read_metrics_request, SMALL_BYTES, 0, SLACK)                                                 \
    X(read_metrics_response, RPC_MESSAGE_BYTES_MAX, 0, SLACK)

static const struct rpc_message_limits rows[] = {
#define ROW(name, bytes, elements, fields) {V1(name), bytes, elements, fields},
    ROWS(ROW)
#undef ROW
};

/* Of other packages: etcd's, for the comparing benchmark. */
static const struct rpc_message_limits others = {
    .bytes_max = RPC_MESSAGE_BYTES_MAX, .elements_max = 1u << 20, .fields_max = 1u << 22};

const struct rpc_message_limits *rpc_message_limits_of(const ProtobufCMessageDescriptor *type) {
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].type == type) return &rows[i];
    ASSERT(strncmp(type->name, "flotilla.", 9) != 0); /* a new message needs a row */
    return &others;
}

struct count {
    const struct rpc_message_limits *limits;
    uint32_t elements, fields;
    bool malformed;
};

static bool within(const struct count *count) {
    return count->elements <= count->limits->elements_max &&
           count->fields <= count->limits->fields_max && !count->malformed;
}

/* As the unpacker reads it: longer than need be is fine, ten bytes at most. */
static uint64_t read_varint(struct decoder *in) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && !in->failed; shift += 7) {
        uint8_t byte = decode_u8(in);
        if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return value;
    }
    in->failed = true;
    return 0;
}

static uint32_t packed_elements(const ProtobufCFieldDescriptor *field, struct slice bytes) {
    size_t count = 0;
    switch (field->type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return (uint32_t)(bytes.len / 8);
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return (uint32_t)(bytes.len / 4);
    default:
        for (size_t i = 0; i < bytes.len; i++)
            count += !(bytes.data[i] & 0x80);
        return (uint32_t)count;
    }
}

static void count_message(struct count *count, const ProtobufCMessageDescriptor *type,
                          struct slice bytes, unsigned depth);

static void count_field(struct count *count, const ProtobufCFieldDescriptor *field,
                        struct slice bytes, bool has_bytes, unsigned depth) {
    bool is_message = field && field->type == PROTOBUF_C_TYPE_MESSAGE;
    bool is_text =
        field && (field->type == PROTOBUF_C_TYPE_BYTES || field->type == PROTOBUF_C_TYPE_STRING);
    uint32_t elements = field && field->label == PROTOBUF_C_LABEL_REPEATED;
    if (elements && has_bytes && !is_message && !is_text) elements = packed_elements(field, bytes);
    count->elements += elements;
    count->fields += elements ? elements : 1;
    if (is_message && has_bytes) count_message(count, field->descriptor, bytes, depth + 1);
}

static void count_message(struct count *count, const ProtobufCMessageDescriptor *type,
                          struct slice bytes, unsigned depth) {
    struct decoder in = decoder_make(bytes);
    if (depth > DEPTH_MAX) count->malformed = true;
    while (within(count) && decoder_left(&in) > 0) {
        uint64_t key = read_varint(&in);
        bool has_bytes = (key & 7) == RPC_WIRE_BYTES;
        struct slice value = SLICE_EMPTY;
        switch (key & 7) {
        case RPC_WIRE_VARINT:
            (void)read_varint(&in); /* only its length matters */
            break;
        case RPC_WIRE_FIXED64:
            (void)decode_fixed(&in, 8); /* likewise */
            break;
        case RPC_WIRE_FIXED32:
            (void)decode_fixed(&in, 4); /* likewise */
            break;
        case RPC_WIRE_BYTES: {
            uint64_t len = read_varint(&in);
            if (len > decoder_left(&in)) in.failed = true;
            if (!in.failed) value = decode_fixed(&in, (size_t)len);
            break;
        }
        default:
            in.failed = true;
        }
        if (in.failed || key >> 3 == 0 || key >> 3 > UINT32_MAX) {
            count->malformed = true;
            return;
        }
        count_field(count, protobuf_c_message_descriptor_get_field(type, (unsigned)(key >> 3)),
                    value, has_bytes, depth);
    }
}

enum status rpc_message_check(const struct rpc_message_limits *limits,
                              const ProtobufCMessageDescriptor *type, struct slice bytes,
                              struct buf *error) {
    struct count count = {.limits = limits};
    if (bytes.len > limits->bytes_max) {
        buf_printf(error, "%s has %zu bytes; at most %zu are allowed", type->name, bytes.len,
                   limits->bytes_max);
        return STATUS_TOO_LARGE;
    }
    count_message(&count, type, bytes, 1);
    if (count.elements > limits->elements_max) {
        buf_printf(error, "%s has more than %u elements in its lists, as many as are allowed",
                   type->name, limits->elements_max);
        return STATUS_TOO_LARGE;
    }
    if (count.fields > limits->fields_max) {
        buf_printf(error, "%s has more than %u fields, as many as are allowed", type->name,
                   limits->fields_max);
        return STATUS_TOO_LARGE;
    }
    if (count.malformed) {
        buf_printf(error, "the bytes are not a message of type %s", type->name);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}
