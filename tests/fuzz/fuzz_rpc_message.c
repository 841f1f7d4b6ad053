/* A protocol-buffer message from any bytes: refused, or unpacked within memory that its bounds
 * allow.
 *
 *   input := which type u8 ‖ bytes */
#include "base/assert.h"
#include "flotilla/v1/kv.pb-c.h"
#include "flotilla/v1/placement.pb-c.h"
#include "rpc/message.h"
#include "rpc/message_limits.h"

/* What the unpacker may take for one field: the struct of the largest message, its place in a list
 * (which grows by doubling in an arena that frees nothing), and its notes while it works. */
#define FIELD_BYTES 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ProtobufCMessageDescriptor *const types[] = {
        &flotilla__v1__write_request__descriptor,
        &flotilla__v1__pipe_request__descriptor,
        &flotilla__v1__batch_get_request__descriptor,
        &flotilla__v1__heartbeat_request__descriptor,
        &flotilla__v1__heartbeat_response__descriptor,
        &flotilla__v1__get_ranges_response__descriptor,
        &flotilla__v1__timestamp_request__descriptor,
        &flotilla__v1__pipe_response__descriptor,
    };
    if (size == 0) return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    const struct rpc_message_limits *limits = rpc_message_limits_of(type);
    struct slice bytes = slice_make(data + 1, size - 1);
    struct arena arena;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    enum status checked = rpc_message_check(limits, type, bytes, &error);
    enum status status = rpc_message_unpack_response(&arena, type, bytes, &error, &message);
    if (checked != STATUS_OK) ASSERT(status == STATUS_INVALID && arena.used_bytes == 0);
    if (status != STATUS_OK) ASSERT_CMP(error.len, >, 0);
    ASSERT_CMP(arena.used_bytes, <=, (bytes.len / 2 + 1) * FIELD_BYTES + 2 * bytes.len + 65536);
    buf_done(&error);
    arena_done(&arena);
    return 0;
}
