/* Identities in metadata, and what makes two parties refuse each other. */
#include "rpc/handshake.h"

#include <inttypes.h>
#include <stdio.h>

#include "rpc/core.h"

#define KEY_PROTOCOL "flotilla-protocol"
#define KEY_CLUSTER "flotilla-cluster"
#define KEY_NODE "flotilla-node"
#define KEY_TO_NODE "flotilla-to-node"
#define KEY_INCARNATION "flotilla-incarnation"

static void add(struct rpc_handshake_metadata *metadata, const char *key, uint64_t value) {
    char text[24];
    int len = snprintf(text, sizeof(text), "%" PRIu64, value);
    grpc_metadata *item = &metadata->items[metadata->count++];
    *item = (grpc_metadata){0};
    item->key = grpc_slice_from_static_string(key);
    item->value = grpc_slice_from_copied_buffer(text, (size_t)len);
}

void rpc_handshake_write(struct rpc_handshake_metadata *metadata,
                         const struct rpc_identity *identity, const uint64_t *to_node) {
    metadata->count = 0;
    add(metadata, KEY_PROTOCOL, RPC_PROTOCOL_VERSION);
    add(metadata, KEY_CLUSTER, identity->cluster_id);
    add(metadata, KEY_NODE, identity->node_id);
    add(metadata, KEY_INCARNATION, identity->incarnation);
    if (to_node) add(metadata, KEY_TO_NODE, *to_node);
}

void rpc_handshake_metadata_done(struct rpc_handshake_metadata *metadata) {
    for (size_t i = 0; i < metadata->count; i++)
        grpc_slice_unref(metadata->items[i].value);
    metadata->count = 0;
}

/* Strict decimal; false leaves *ret_value alone. */
static bool parse_u64(struct slice text, uint64_t *ret_value) {
    if (text.len == 0 || text.len > 20) return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

void rpc_handshake_read(const grpc_metadata_array *metadata, struct rpc_handshake *ret_handshake) {
    uint64_t protocol = 0;
    *ret_handshake = (struct rpc_handshake){0};
    for (size_t i = 0; i < metadata->count; i++) {
        struct slice key = rpc_slice_view(&metadata->metadata[i].key);
        struct slice value = rpc_slice_view(&metadata->metadata[i].value);
        /* What cannot be read counts as not said: the check names it as 0. */
        if (slice_equal(key, SLICE_LITERAL(KEY_PROTOCOL)))
            (void)parse_u64(value, &protocol);
        else if (slice_equal(key, SLICE_LITERAL(KEY_CLUSTER)))
            (void)parse_u64(value, &ret_handshake->cluster_id);
        else if (slice_equal(key, SLICE_LITERAL(KEY_NODE)))
            (void)parse_u64(value, &ret_handshake->node_id);
        else if (slice_equal(key, SLICE_LITERAL(KEY_TO_NODE)))
            (void)parse_u64(value, &ret_handshake->to_node);
        else if (slice_equal(key, SLICE_LITERAL(KEY_INCARNATION)))
            (void)parse_u64(value, &ret_handshake->incarnation);
    }
    ret_handshake->protocol = protocol > UINT32_MAX ? UINT32_MAX : (uint32_t)protocol;
}

enum status rpc_handshake_check_caller(const struct rpc_identity *self,
                                       const struct rpc_handshake *caller, struct buf *error) {
    if (caller->protocol == 0) {
        buf_printf(error, "this is an internal stream of Flotilla and the caller did not say who "
                          "it is; clients use flotilla.v1.KeyValue at a router");
        return STATUS_MISMATCH;
    }
    if (caller->protocol != RPC_PROTOCOL_VERSION) {
        buf_printf(error,
                   "the caller speaks internal protocol %" PRIu32 ", this process %u; run "
                   "versions of flotilla that speak the same one",
                   caller->protocol, RPC_PROTOCOL_VERSION);
        return STATUS_MISMATCH;
    }
    if (self->cluster_id == 0) {
        buf_printf(error, "this process does not know its cluster yet; is its placement driver "
                          "running?");
        return STATUS_UNAVAILABLE;
    }
    if (caller->cluster_id != self->cluster_id) {
        buf_printf(error,
                   "the caller belongs to cluster %016" PRIx64 ", node %" PRIu64
                   " to cluster %016" PRIx64 "; check the placement address of both",
                   caller->cluster_id, self->node_id, self->cluster_id);
        return STATUS_MISMATCH;
    }
    if (caller->to_node != 0 && caller->to_node != self->node_id) {
        buf_printf(error,
                   "the caller wants node %" PRIu64 ", this is node %" PRIu64
                   "; its address book is out of date, or two nodes advertise one address",
                   caller->to_node, self->node_id);
        return STATUS_MISMATCH;
    }
    if (caller->node_id != 0 && caller->node_id == self->node_id) {
        buf_printf(error,
                   "the caller says that it is node %" PRIu64 ", and so is this process; give "
                   "each node a data directory of its own",
                   caller->node_id);
        return STATUS_MISMATCH;
    }
    return STATUS_OK;
}

enum status rpc_handshake_check_server(const struct rpc_identity *self, uint64_t to_node,
                                       const struct rpc_handshake *server, struct buf *error) {
    if (server->protocol != RPC_PROTOCOL_VERSION) {
        buf_printf(error,
                   "the server speaks internal protocol %" PRIu32
                   " (0: none), this process %u; run "
                   "versions of flotilla that speak the same one",
                   server->protocol, RPC_PROTOCOL_VERSION);
        return STATUS_MISMATCH;
    }
    if (server->cluster_id != self->cluster_id) {
        buf_printf(error,
                   "the server belongs to cluster %016" PRIx64
                   ", this process to cluster %016" PRIx64 "; check the placement address of both",
                   server->cluster_id, self->cluster_id);
        return STATUS_MISMATCH;
    }
    if (to_node != 0 && server->node_id != to_node) {
        buf_printf(error,
                   "node %" PRIu64 " is wanted, but node %" PRIu64
                   " answers at its address; two nodes advertise one address, or the address book "
                   "is out of date",
                   to_node, server->node_id);
        return STATUS_MISMATCH;
    }
    return STATUS_OK;
}
