/* Protocol-buffer messages: unpacked into arenas, packed into the core's slices. */
#include "rpc/message.h"

#include <inttypes.h>

#include "base/assert.h"
#include "rpc/core.h"
#include "rpc/message_limits.h"
#include "rpc/stream_internal.h"

static void *arena_allocate(void *arena, size_t size) {
    return arena_alloc(arena, size);
}

static void arena_release(void *arena, void *pointer) {
    /* The arena is reset as a whole. */
}

/* Fields that this version does not know, in the message or in one inside it; 0: none. */
static uint32_t unknown_field(const ProtobufCMessage *message, const char **ret_where) {
    if (message->n_unknown_fields > 0) {
        *ret_where = message->descriptor->name;
        return message->unknown_fields[0].tag;
    }
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        const char *base = (const char *)message;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) continue;
        size_t count = 1;
        const ProtobufCMessage *const *children =
            (const ProtobufCMessage *const *)(const void *)(base + field->offset);
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            count = *(const size_t *)(const void *)(base + field->quantifier_offset);
            children = *(const ProtobufCMessage *const *const *)(const void *)children;
        } else if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            /* The members of a oneof share their place: only the one that is set may be read. */
            if (*(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id)
                continue;
        }
        for (size_t j = 0; j < count; j++) {
            uint32_t tag = children[j] ? unknown_field(children[j], ret_where) : 0;
            if (tag) return tag;
        }
    }
    return 0;
}

enum status rpc_message_unpack_response(struct arena *arena,
                                        const ProtobufCMessageDescriptor *descriptor,
                                        struct slice bytes, struct buf *error,
                                        ProtobufCMessage **ret_message) {
    ProtobufCAllocator allocator = {
        .alloc = arena_allocate, .free = arena_release, .allocator_data = arena};
    static const uint8_t nothing[1];
    enum status status =
        rpc_message_check(rpc_message_limits_of(descriptor), descriptor, bytes, error);
    if (status != STATUS_OK) return STATUS_INVALID; /* the text tells them apart */
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, bytes.len,
                                                          bytes.len ? bytes.data : nothing);
    if (!message) {
        buf_printf(error, "the bytes are not a message of type %s", descriptor->name);
        return STATUS_INVALID;
    }
    *ret_message = message;
    return STATUS_OK;
}

enum status rpc_message_unpack_request(struct arena *arena,
                                       const ProtobufCMessageDescriptor *descriptor,
                                       struct slice bytes, struct buf *error,
                                       ProtobufCMessage **ret_message) {
    ProtobufCMessage *message = NULL;
    enum status status = rpc_message_unpack_response(arena, descriptor, bytes, error, &message);
    if (status != STATUS_OK) return status;
    const char *where = NULL;
    uint32_t tag = unknown_field(message, &where);
    if (tag) {
        buf_printf(error,
                   "%s has field %" PRIu32 ", which this version does not know; nothing was done "
                   "(is the server older than the client?)",
                   where, tag);
        return STATUS_INVALID;
    }
    *ret_message = message;
    return STATUS_OK;
}

static grpc_slice pack(const ProtobufCMessage *message) {
    size_t len = protobuf_c_message_get_packed_size(message);
    grpc_slice slice = grpc_slice_malloc(len);
    size_t written = protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    ASSERT_CMP(written, ==, len);
    return slice;
}

void rpc_call_reply_message(struct rpc_call *call, const ProtobufCMessage *message) {
    rpc_call_reply_slice(call, pack(message));
}

enum status rpc_stream_send_message(struct rpc_stream *stream, const ProtobufCMessage *message) {
    return rpc_stream_send_slice(stream, pack(message));
}

void rpc_client_call_message(struct rpc_client *client, const char *method,
                             const ProtobufCMessage *request,
                             const struct rpc_call_options *options, rpc_response_fn *done,
                             void *ctx) {
    rpc_client_call_slice(client, method, pack(request), options, done, ctx);
}
