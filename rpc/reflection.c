/* The reflection services. Both versions have the same messages, read and written here by hand:
 *
 *   ServerReflectionRequest   1 host, 3 file_by_filename, 4 file_containing_symbol,
 *                             5 file_containing_extension, 6 all_extension_numbers_of_type,
 *                             7 list_services
 *   ServerReflectionResponse  1 valid_host, 2 original_request,
 *                             4 file_descriptor_response { 1 file_descriptor_proto* },
 *                             6 list_services_response { 1 service* { 1 name } },
 *                             7 error_response { 1 error_code, 2 error_message } */
#include "rpc/reflection.h"

#include "base/memory.h"
#include "rpc/reflection_index.h"
#include "rpc/wire.h"

enum {
    REQUEST_HOST = 1,
    REQUEST_FILE_BY_FILENAME = 3,
    REQUEST_FILE_CONTAINING_SYMBOL = 4,
    REQUEST_FILE_CONTAINING_EXTENSION = 5,
    REQUEST_ALL_EXTENSION_NUMBERS = 6,
    REQUEST_LIST_SERVICES = 7,
    RESPONSE_VALID_HOST = 1,
    RESPONSE_ORIGINAL_REQUEST = 2,
    RESPONSE_FILES = 4,
    RESPONSE_SERVICES = 6,
    RESPONSE_ERROR = 7,
    FILES_DESCRIPTOR = 1,
    SERVICES_SERVICE = 1,
    SERVICE_NAME = 1,
    ERROR_CODE = 1,
    ERROR_MESSAGE = 2,
    ERROR_NAME_BYTES_MAX = 200, /* of the caller's name that an error repeats */
};

struct rpc_reflection {
    struct rpc_server *server;
    struct rpc_reflection_index index;
};

static void append_file(void *ctx, struct slice descriptor) {
    rpc_wire_append_bytes(ctx, FILES_DESCRIPTOR, descriptor);
}

static void append_service(void *ctx, struct slice service) {
    struct buf entry = {0};
    rpc_wire_append_bytes(&entry, SERVICE_NAME, service);
    rpc_wire_append_bytes(ctx, SERVICES_SERVICE, slice_from_buf(&entry));
    buf_done(&entry);
}

static void append_error(struct buf *response, enum rpc_code code, const char *what,
                         struct slice name) {
    struct buf error = {0}, text = {0};
    if (name.len > ERROR_NAME_BYTES_MAX) name.len = ERROR_NAME_BYTES_MAX;
    buf_printf(&text, "%s '", what);
    buf_append(&text, name);
    buf_append_byte(&text, '\'');
    rpc_wire_append_varint(&error, ERROR_CODE, code);
    rpc_wire_append_bytes(&error, ERROR_MESSAGE, slice_from_buf(&text));
    rpc_wire_append_bytes(response, RESPONSE_ERROR, slice_from_buf(&error));
    buf_done(&text);
    buf_done(&error);
}

static void append_files(const struct rpc_reflection *reflection, struct buf *response, int file,
                         const char *missing, struct slice name) {
    if (file < 0) {
        append_error(response, RPC_NOT_FOUND, missing, name);
        return;
    }
    struct buf files = {0};
    rpc_reflection_each_import(&reflection->index, file, append_file, &files);
    rpc_wire_append_bytes(response, RESPONSE_FILES, slice_from_buf(&files));
    buf_done(&files);
}

static void append_answer(const struct rpc_reflection *reflection, struct buf *response,
                          const struct rpc_wire_field *question) {
    const struct rpc_reflection_index *index = &reflection->index;
    struct slice name = question->bytes;
    struct buf services = {0};
    switch (question->number) {
    case REQUEST_FILE_BY_FILENAME:
        append_files(reflection, response, rpc_reflection_find_file(index, name), "no file", name);
        break;
    case REQUEST_FILE_CONTAINING_SYMBOL:
        append_files(reflection, response, rpc_reflection_find_symbol(index, name), "no symbol",
                     name);
        break;
    case REQUEST_LIST_SERVICES:
        rpc_server_each_service(reflection->server, append_service, &services);
        rpc_wire_append_bytes(response, RESPONSE_SERVICES, slice_from_buf(&services));
        break;
    case REQUEST_FILE_CONTAINING_EXTENSION:
    case REQUEST_ALL_EXTENSION_NUMBERS:
        append_error(response, RPC_NOT_FOUND, "nothing here has extensions", SLICE_EMPTY);
        break;
    default:
        append_error(response, RPC_INVALID_ARGUMENT, "the request asks for nothing", SLICE_EMPTY);
    }
    buf_done(&services);
}

static void answer(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct rpc_reflection *reflection = ctx;
    struct rpc_wire_field field, question = {0};
    struct slice host = SLICE_EMPTY;
    struct decoder in = decoder_make(message);
    while (rpc_wire_next(&in, &field)) {
        if (field.type != RPC_WIRE_BYTES) continue;
        if (field.number == REQUEST_HOST) host = field.bytes;
        if (field.number >= REQUEST_FILE_BY_FILENAME && field.number <= REQUEST_LIST_SERVICES)
            question = field; /* of a oneof the last one counts */
    }
    if (in.failed) {
        rpc_stream_close(stream, RPC_INVALID_ARGUMENT, "that is no ServerReflectionRequest");
        return;
    }
    struct buf response = {0};
    rpc_wire_append_bytes(&response, RESPONSE_VALID_HOST, host);
    rpc_wire_append_bytes(&response, RESPONSE_ORIGINAL_REQUEST, message);
    append_answer(reflection, &response, &question);
    if (rpc_stream_send(stream, slice_from_buf(&response)) == STATUS_BUSY)
        rpc_stream_close(stream, RPC_RESOURCE_EXHAUSTED, "the client does not read its answers");
    buf_done(&response);
}

static const struct rpc_stream_events reflection_events = {.on_message = answer};

static void open_reflection(void *ctx, struct rpc_stream *stream) {
    rpc_stream_accept(stream, &reflection_events, ctx);
}

#define REFLECTION_STREAM                                  \
    {                                                      \
        .hold_back = true, .queue_bytes_max = 1024 * 1024, \
        .message_bytes_max = RPC_SMALL_REQUEST_BYTES_MAX   \
    }

static const struct rpc_method reflection_methods[] = {
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
     .open = open_reflection,
     .stream = REFLECTION_STREAM},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .open = open_reflection,
     .stream = REFLECTION_STREAM},
};

struct rpc_reflection *rpc_reflection_new(struct rpc_server *server) {
    struct rpc_reflection *reflection = MEMORY_NEW(struct rpc_reflection);
    reflection->server = server;
    rpc_reflection_index_init(&reflection->index);
    rpc_server_add(server, reflection_methods,
                   sizeof(reflection_methods) / sizeof(reflection_methods[0]), reflection);
    return reflection;
}

void rpc_reflection_free(struct rpc_reflection *reflection) {
    if (!reflection) return;
    rpc_reflection_index_done(&reflection->index);
    memory_free(reflection);
}
