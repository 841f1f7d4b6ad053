/* What the files of rpc/ that speak to the gRPC core share. Not for other users of rpc/. */
#ifndef FLOTILLA_RPC_CORE_H
#define FLOTILLA_RPC_CORE_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>

#include "rpc/client.h"
#include "rpc/handshake.h"
#include "rpc/loop.h"
#include "rpc/server.h"
#include "rpc/status.h"

/* What a completion carries: every batch started on a loop's queue has one. */
struct rpc_tag {
    void (*done)(struct rpc_tag *tag, bool ok); /* loop thread */
};

grpc_completion_queue *rpc_loop_queue(struct rpc_loop *loop);
/* Counts things that still have completions to come: rpc_loop_free waits for them. Loop thread. */
void rpc_loop_hold(struct rpc_loop *loop);
void rpc_loop_release(struct rpc_loop *loop);
/* Inside rpc_loop_run or inside a turn: a callback may be on the stack. */
bool rpc_loop_running(const struct rpc_loop *loop);

/* The batches of this folder are right by construction: an error means a broken invariant. */
void rpc_start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);

/* A received message as one run of bytes. Most lie in one slice of the core's and are borrowed; the
 * others are joined. */
struct rpc_bytes {
    struct slice view; /* valid until close */
    grpc_slice joined;
    bool is_joined;
};

void rpc_bytes_open(struct rpc_bytes *bytes, grpc_byte_buffer *buffer);
void rpc_bytes_close(struct rpc_bytes *bytes);

static inline struct slice rpc_slice_view(const grpc_slice *slice) {
    return slice_make(GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
}

/* The parts joined in a slice of the core's. */
grpc_slice rpc_slice_join(const struct slice *parts, size_t count, size_t len);

/* As rpc_call_reply and rpc_client_call, for bytes that are in a slice of the core already; take
 * them. */
void rpc_call_reply_slice(struct rpc_call *call, grpc_slice response);
void rpc_client_call_slice(struct rpc_client *client, const char *method, grpc_slice request,
                           const struct rpc_call_options *options, rpc_response_fn *done,
                           void *ctx);

/* Deadlines. UINT64_MAX: none. */
gpr_timespec rpc_deadline_from_timeout(uint64_t timeout_us);
uint64_t rpc_timeout_from_deadline(gpr_timespec deadline);

/* ---- handshake metadata (rpc/handshake.h) ---- */
#define RPC_HANDSHAKE_KEYS 5

struct rpc_handshake_metadata {
    size_t count;
    grpc_metadata items[RPC_HANDSHAKE_KEYS];
};

/* `to_node` is only sent when not NULL. */
void rpc_handshake_write(struct rpc_handshake_metadata *metadata,
                         const struct rpc_identity *identity, const uint64_t *to_node);
void rpc_handshake_metadata_done(struct rpc_handshake_metadata *metadata);
void rpc_handshake_read(const grpc_metadata_array *metadata, struct rpc_handshake *ret_handshake);

/* "ipv4:…", "ipv6:…" or "dns:///…" for an address: numbers need no resolver, whose caching would
 * delay a reconnect. Several numeric IPv4 addresses may stand in a list with commas: the first that
 * takes the connection, and when that breaks, the next. */
void rpc_target_from_address(struct buf *target, const char *address);

#endif
