/* The embedded descriptors, by file name and by symbol. */
#ifndef FLOTILLA_RPC_REFLECTION_INDEX_H
#define FLOTILLA_RPC_REFLECTION_INDEX_H

#include "base/hashmap.h"
#include "base/slice.h"

#define RPC_REFLECTION_FILES_MAX 32u

struct rpc_reflection_index {
    size_t file_count;
    struct {
        struct slice name;
        struct slice descriptor; /* an encoded FileDescriptorProto */
    } files[RPC_REFLECTION_FILES_MAX];
    struct bytesmap symbols; /* struct reflection_symbol, by full name */
};

void rpc_reflection_index_init(struct rpc_reflection_index *index);
void rpc_reflection_index_done(struct rpc_reflection_index *index);
/* -1: none. */
int rpc_reflection_find_file(const struct rpc_reflection_index *index, struct slice name);
int rpc_reflection_find_symbol(const struct rpc_reflection_index *index, struct slice full_name);
/* Calls `each` for the file and then for every file that it imports, directly or not, once. */
void rpc_reflection_each_import(const struct rpc_reflection_index *index, int file,
                                void (*each)(void *ctx, struct slice descriptor), void *ctx);

#endif
