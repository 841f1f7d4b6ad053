/* Reads the embedded FileDescriptorSet just as far as reflection needs it: files, imports, and the
 * full names of everything that is declared.
 *
 *   FileDescriptorSet      1 file*
 *   FileDescriptorProto    1 name, 2 package, 3 dependency*, 4 message*, 5 enum*, 6 service*
 *   DescriptorProto        1 name, 2 field*, 3 nested message*, 4 enum*
 *   EnumDescriptorProto    1 name
 *   ServiceDescriptorProto 1 name, 2 method*
 *   FieldDescriptorProto, MethodDescriptorProto   1 name */
#include "rpc/reflection_index.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "rpc/descriptors.h"
#include "rpc/wire.h"

enum {
    SET_FILE = 1,
    NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    SERVICE_METHOD = 2,
};

struct reflection_symbol {
    struct bytesmap_node node;
    struct buf full_name;
    int file;
};

/* The first field of this number, or nothing. The descriptors are our own: they are well formed. */
static struct slice find_field(struct slice message, uint64_t number) {
    struct decoder in = decoder_make(message);
    struct rpc_wire_field field;
    while (rpc_wire_next(&in, &field))
        if (field.number == number && field.type == RPC_WIRE_BYTES) return field.bytes;
    ASSERT(!in.failed);
    return SLICE_EMPTY;
}

/* Adds scope.name, where `declaration` has the name; returns the full name. */
static struct slice add_symbol(struct rpc_reflection_index *index, int file, struct slice scope,
                               struct slice declaration) {
    struct reflection_symbol *symbol = MEMORY_NEW(struct reflection_symbol);
    symbol->file = file;
    buf_append(&symbol->full_name, scope);
    if (scope.len > 0) buf_append_byte(&symbol->full_name, '.');
    buf_append(&symbol->full_name, find_field(declaration, NAME));
    struct slice full_name = slice_from_buf(&symbol->full_name);
    bytesmap_put(&index->symbols, &symbol->node, full_name);
    return full_name;
}

static void add_message(struct rpc_reflection_index *index, int file, struct slice scope,
                        struct slice message) {
    struct slice full_name = add_symbol(index, file, scope, message);
    struct decoder in = decoder_make(message);
    struct rpc_wire_field field;
    while (rpc_wire_next(&in, &field)) {
        if (field.number == MESSAGE_NESTED)
            add_message(index, file, full_name, field.bytes);
        else if (field.number == MESSAGE_FIELD || field.number == MESSAGE_ENUM)
            (void)add_symbol(index, file, full_name, field.bytes); /* Nothing lies inside. */
    }
}

static void add_service(struct rpc_reflection_index *index, int file, struct slice scope,
                        struct slice service) {
    struct slice full_name = add_symbol(index, file, scope, service);
    struct decoder in = decoder_make(service);
    struct rpc_wire_field field;
    while (rpc_wire_next(&in, &field))
        if (field.number == SERVICE_METHOD)
            (void)add_symbol(index, file, full_name, field.bytes); /* Nothing lies inside. */
}

static void add_file(struct rpc_reflection_index *index, struct slice descriptor) {
    ASSERT_CMP(index->file_count, <, RPC_REFLECTION_FILES_MAX);
    int file = (int)index->file_count++;
    struct slice package = find_field(descriptor, FILE_PACKAGE);
    index->files[file].name = find_field(descriptor, NAME);
    index->files[file].descriptor = descriptor;
    struct decoder in = decoder_make(descriptor);
    struct rpc_wire_field field;
    while (rpc_wire_next(&in, &field)) {
        if (field.number == FILE_MESSAGE)
            add_message(index, file, package, field.bytes);
        else if (field.number == FILE_ENUM)
            (void)add_symbol(index, file, package, field.bytes); /* Nothing lies inside. */
        else if (field.number == FILE_SERVICE)
            add_service(index, file, package, field.bytes);
    }
    ASSERT(!in.failed);
}

void rpc_reflection_index_init(struct rpc_reflection_index *index) {
    *index = (struct rpc_reflection_index){0};
    struct decoder in = decoder_make(slice_make(rpc_descriptor_set, rpc_descriptor_set_len));
    struct rpc_wire_field field;
    while (rpc_wire_next(&in, &field)) {
        ASSERT_CMP(field.number, ==, SET_FILE);
        add_file(index, field.bytes);
    }
    ASSERT(!in.failed);
}

void rpc_reflection_index_done(struct rpc_reflection_index *index) {
    struct bytesmap_node *at;
    while ((at = bytesmap_next(&index->symbols, NULL))) {
        struct reflection_symbol *symbol = CONTAINER_OF(at, struct reflection_symbol, node);
        (void)bytesmap_remove(&index->symbols, at->key); /* It is `at`. */
        buf_done(&symbol->full_name);
        memory_free(symbol);
    }
    bytesmap_done(&index->symbols);
}

int rpc_reflection_find_file(const struct rpc_reflection_index *index, struct slice name) {
    for (size_t i = 0; i < index->file_count; i++)
        if (slice_equal(index->files[i].name, name)) return (int)i;
    return -1;
}

int rpc_reflection_find_symbol(const struct rpc_reflection_index *index, struct slice full_name) {
    const struct bytesmap_node *found = bytesmap_get(&index->symbols, full_name);
    if (!found) return -1;
    return CONTAINER_OF(found, struct reflection_symbol, node)->file;
}

static void visit(const struct rpc_reflection_index *index, int file, bool *seen,
                  void (*each)(void *ctx, struct slice descriptor), void *ctx) {
    if (file < 0 || seen[file]) return;
    seen[file] = true;
    each(ctx, index->files[file].descriptor);
    struct decoder in = decoder_make(index->files[file].descriptor);
    struct rpc_wire_field field;
    while (rpc_wire_next(&in, &field))
        if (field.number == FILE_DEPENDENCY)
            visit(index, rpc_reflection_find_file(index, field.bytes), seen, each, ctx);
}

void rpc_reflection_each_import(const struct rpc_reflection_index *index, int file,
                                void (*each)(void *ctx, struct slice descriptor), void *ctx) {
    bool seen[RPC_REFLECTION_FILES_MAX] = {false};
    visit(index, file, seen, each, ctx);
}
