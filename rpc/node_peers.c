/* The streams to the other nodes.
 *
 * Between each two nodes there are two channels, Raft and snapshots. The node with the lower id
 * dials both (rpc_link keeps them up); the other one takes what comes in, and of two streams of the
 * same peer and kind the newer one counts, because a peer that dials again has given up the old
 * one, whatever this side's kernel still believes of it.
 *
 * Of the processes that run with copies of one directory only the newest is heard: it is the one
 * that placement knows, the others are to be fenced, and until then they would vote beside it.
 * Placement tells who is the newest with the address book, and each process says who it is when a
 * stream opens. What remains: until one of the two has reached this node, an older process that it
 * has a stream with is believed (a heartbeat's pause at most, while placement is there).
 *
 * Frames that find no stream, or a full queue, are dropped; Raft and the snapshot protocol live
 * with that, and are told (range_store_unreachable), at most ten times a second per channel. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/frame.h"
#include "rpc/metrics.h"
#include "rpc/node_internal.h"

#define DROP_REPORT_INTERVAL_US 100000u

static const char *const kind_paths[RPC_CHANNEL_KINDS] = {"/flotilla.v1.Node/Raft",
                                                          "/flotilla.v1.Node/Snapshot"};

static uint64_t peer_id(const struct rpc_peer *peer) {
    return peer->map_node.id;
}

static void lock_for_writing(struct rpc_node *node) {
    int error = pthread_rwlock_wrlock(&node->lock);
    ASSERT_CMP(error, ==, 0);
}

static void lock_for_reading(struct rpc_node *node) {
    int error = pthread_rwlock_rdlock(&node->lock);
    ASSERT_CMP(error, ==, 0);
}

static void unlock(struct rpc_node *node) {
    int error = pthread_rwlock_unlock(&node->lock);
    ASSERT_CMP(error, ==, 0);
}

static struct rpc_peer *find_peer(struct rpc_node *node, uint64_t node_id) {
    struct idmap_node *found = idmap_get(&node->peers, node_id);
    return found ? CONTAINER_OF(found, struct rpc_peer, map_node) : NULL;
}

static struct rpc_peer *find_or_add_peer(struct rpc_node *node, uint64_t node_id) {
    struct rpc_peer *peer = find_peer(node, node_id);
    if (peer) return peer;
    peer = MEMORY_NEW(struct rpc_peer);
    peer->node = node;
    for (int kind = 0; kind < RPC_CHANNEL_KINDS; kind++) {
        peer->channels[kind].peer = peer;
        peer->channels[kind].kind = (enum rpc_channel_kind)kind;
    }
    lock_for_writing(node);
    idmap_put(&node->peers, &peer->map_node, node_id);
    unlock(node);
    return peer;
}

/* ---- incarnations ---- */

static void close_old_streams(struct rpc_peer *peer) {
    for (int kind = 0; kind < RPC_CHANNEL_KINDS; kind++) {
        struct rpc_channel *channel = &peer->channels[kind];
        struct rpc_inbound *inbound = channel->inbound;
        if (channel->link && rpc_link_up(channel->link) &&
            rpc_link_peer_incarnation(channel->link) < peer->incarnation)
            rpc_link_reset(channel->link, "a newer process of the peer has registered");
        if (inbound && rpc_stream_peer_incarnation(inbound->stream) < peer->incarnation)
            rpc_stream_close(inbound->stream, RPC_FAILED_PRECONDITION,
                             "a newer process of node %" PRIu64 " has registered", peer_id(peer));
    }
}

/* False: an older process than one that was heard of before. */
static bool is_newest(struct rpc_peer *peer, uint64_t incarnation) {
    if (incarnation < peer->incarnation) return false;
    if (incarnation == peer->incarnation) return true;
    peer->incarnation = incarnation;
    close_old_streams(peer);
    return true;
}

/* ---- what comes in ---- */

/* Hands the frames of a message to the store. CORRUPTION: the peer breaks protocol. */
static enum status deliver(struct rpc_peer *peer, enum rpc_channel_kind kind,
                           struct slice message) {
    struct range_store *store = atomic_load(&peer->node->store);
    struct decoder in;
    struct slice frame;
    if (!store) return STATUS_OK; /* Stopped; what still comes in is nobody's. */
    if (!rpc_frame_open(message, &in)) return STATUS_CORRUPTION;
    while (rpc_frame_next(&in, &frame)) {
        enum status status = kind == RPC_CHANNEL_RAFT
                                 ? range_store_raft_frame(store, peer_id(peer), frame)
                                 : range_store_snapshot_frame(store, peer_id(peer), frame);
        /* Anything else means that the frame was dropped, which it may be. */
        if (status == STATUS_CORRUPTION) return status;
    }
    return STATUS_OK;
}

static void report_unreachable(struct rpc_peer *peer) {
    struct range_store *store = atomic_load(&peer->node->store);
    if (store) range_store_unreachable(store, peer_id(peer));
}

static void log_protocol_error(const struct rpc_peer *peer, enum rpc_channel_kind kind) {
    log_error("rpc_node_protocol_error",
              "peer=%" PRIu64 " method=%s action=\"the stream is closed\" hint=\"is the peer of "
              "another version?\"",
              peer_id(peer), kind_paths[kind]);
}

/* ---- streams that we dial ---- */

/* Nothing waits for it: senders try whenever they have something. */
static void link_up(void *ctx) {
    struct rpc_channel *channel = ctx;
    if (!is_newest(channel->peer, rpc_link_peer_incarnation(channel->link)))
        rpc_link_reset(channel->link, "an older process of the peer has answered");
}

static void link_down(void *ctx, const struct rpc_status *reason) {
    struct rpc_channel *channel = ctx;
    report_unreachable(channel->peer);
}

static void link_message(void *ctx, struct slice message) {
    struct rpc_channel *channel = ctx;
    if (rpc_link_peer_incarnation(channel->link) < channel->peer->incarnation) return;
    if (deliver(channel->peer, channel->kind, message) == STATUS_OK) return;
    log_protocol_error(channel->peer, channel->kind);
    rpc_link_reset(channel->link, "the peer breaks protocol");
}

static const struct rpc_link_events link_events = {
    .on_up = link_up, .on_down = link_down, .on_message = link_message};

/* Dials, where dialling is ours to do and possible. */
static void dial(struct rpc_peer *peer) {
    struct rpc_node *node = peer->node;
    if (!atomic_load(&node->store) || !peer->address) return;
    if (peer_id(peer) <= node->identity.node_id) return;
    for (int kind = 0; kind < RPC_CHANNEL_KINDS; kind++) {
        struct rpc_channel *channel = &peer->channels[kind];
        if (channel->link) {
            rpc_link_set_address(channel->link, peer->address);
            continue;
        }
        struct rpc_link_config config = {.address = peer->address,
                                         .method = kind_paths[kind],
                                         .identity = node->identity,
                                         .to_node = peer_id(peer),
                                         .stream = {.merge = true}};
        struct rpc_link *link = rpc_link_new(node->loop, &config, &link_events, channel);
        lock_for_writing(node);
        channel->link = link;
        unlock(node);
    }
}

void rpc_node_peers_set(struct rpc_node *node, uint64_t node_id, const char *address,
                        uint64_t incarnation) {
    if (node_id == node->identity.node_id) return;
    struct rpc_peer *peer = find_or_add_peer(node, node_id);
    (void)is_newest(peer, incarnation); /* what placement told before this may be newer */
    if (peer->address && strcmp(peer->address, address) == 0) return;
    free(peer->address);
    peer->address = strdup(address);
    if (!peer->address) fatal("out of memory");
    dial(peer);
}

const char *rpc_node_peer_address(struct rpc_node *node, uint64_t node_id) {
    ASSERT(rpc_loop_on_thread(node->loop));
    const struct rpc_peer *peer = find_peer(node, node_id);
    return peer ? peer->address : NULL;
}

void rpc_node_peers_start(struct rpc_node *node) {
    struct idmap_node *at = NULL;
    while ((at = idmap_next(&node->peers, at)))
        dial(CONTAINER_OF(at, struct rpc_peer, map_node));
}

/* ---- streams that a peer dials ---- */

static struct rpc_channel *channel_of(struct rpc_inbound *inbound) {
    return &inbound->peer->channels[inbound->kind];
}

static void set_inbound(struct rpc_channel *channel, struct rpc_inbound *inbound) {
    lock_for_writing(channel->peer->node);
    channel->inbound = inbound;
    unlock(channel->peer->node);
}

static void inbound_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct rpc_inbound *inbound = ctx;
    if (rpc_stream_peer_incarnation(stream) < inbound->peer->incarnation) return;
    if (deliver(inbound->peer, inbound->kind, message) == STATUS_OK) return;
    log_protocol_error(inbound->peer, inbound->kind);
    rpc_stream_close(stream, RPC_INVALID_ARGUMENT, "node %" PRIu64 " cannot read that frame",
                     inbound->node->identity.node_id);
}

static void inbound_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct rpc_inbound *inbound = ctx;
    struct rpc_channel *channel = channel_of(inbound);
    if (channel->inbound == inbound) {
        set_inbound(channel, NULL);
        log_info("rpc_node_peer_lost", "peer=%" PRIu64 " method=%s reason=\"%.*s\"",
                 peer_id(inbound->peer), kind_paths[inbound->kind], (int)status->text.len,
                 (const char *)status->text.data);
        report_unreachable(inbound->peer);
    }
    rpc_stream_unref(inbound->stream);
    memory_free(inbound);
}

static const struct rpc_stream_events inbound_events = {.on_message = inbound_message,
                                                        .on_close = inbound_closed};

static void open_inbound(struct rpc_node *node, enum rpc_channel_kind kind,
                         struct rpc_stream *stream) {
    uint64_t from = rpc_stream_peer_node(stream);
    if (!rpc_node_serving(node, stream)) return;
    if (from == 0 || from > node->identity.node_id) {
        rpc_stream_refuse(stream, RPC_FAILED_PRECONDITION,
                          "between two nodes the one with the lower id dials; the caller is node "
                          "%" PRIu64 " (0: not a node), this is node %" PRIu64,
                          from, node->identity.node_id);
        return;
    }
    struct rpc_peer *peer = find_or_add_peer(node, from);
    if (!is_newest(peer, rpc_stream_peer_incarnation(stream))) {
        rpc_stream_refuse(stream, RPC_FAILED_PRECONDITION,
                          "another process has registered as node %" PRIu64 " after this one; two "
                          "processes run with copies of one data directory",
                          from);
        return;
    }
    struct rpc_channel *channel = &peer->channels[kind];
    struct rpc_inbound *older = channel->inbound;
    struct rpc_inbound *inbound = MEMORY_NEW(struct rpc_inbound);
    *inbound = (struct rpc_inbound){
        .node = node, .peer = peer, .kind = kind, .stream = rpc_stream_ref(stream)};
    rpc_stream_accept(stream, &inbound_events, inbound);
    set_inbound(channel, inbound);
    log_info("rpc_node_peer_dialled", "peer=%" PRIu64 " method=%s", from, kind_paths[kind]);
    if (older) rpc_stream_close(older->stream, RPC_ABORTED, "the same node has dialled again");
}

void rpc_node_open_raft(void *ctx, struct rpc_stream *stream) {
    open_inbound(ctx, RPC_CHANNEL_RAFT, stream);
}

void rpc_node_open_snapshot(void *ctx, struct rpc_stream *stream) {
    open_inbound(ctx, RPC_CHANNEL_SNAPSHOT, stream);
}

/* ---- what goes out ---- */

static void dropped(struct rpc_node *node, struct rpc_channel *channel) {
    uint64_t now_us = rpc_loop_now_us(node->loop);
    uint64_t last_us = atomic_load(&channel->drop_reported_us);
    if (now_us - last_us < DROP_REPORT_INTERVAL_US) return;
    /* One of several senders reports. */
    if (atomic_compare_exchange_strong(&channel->drop_reported_us, &last_us, now_us))
        report_unreachable(channel->peer);
}

void rpc_node_peers_send(struct rpc_node *node, uint64_t to_node, enum rpc_channel_kind kind,
                         struct slice frame) {
    enum status status = STATUS_UNAVAILABLE;
    lock_for_reading(node);
    struct rpc_peer *peer = find_peer(node, to_node);
    struct rpc_channel *channel = peer ? &peer->channels[kind] : NULL;
    if (channel && channel->link)
        status = rpc_frame_send_link(channel->link, frame);
    else if (channel && channel->inbound)
        status = rpc_frame_send(channel->inbound->stream, frame);
    unlock(node);
    if (status == STATUS_OK) return;
    metric_add(kind == RPC_CHANNEL_RAFT ? &metric_rpc_node_raft_frames_dropped_total
                                        : &metric_rpc_node_snapshot_frames_dropped_total,
               1);
    if (status == STATUS_TOO_LARGE)
        log_error("rpc_node_frame_too_large", "peer=%" PRIu64 " method=%s bytes=%zu", to_node,
                  kind_paths[kind], frame.len);
    /* Peers are never removed while senders run, so the channel outlives the lock. */
    if (channel) dropped(node, channel);
}

/* ---- what a worker found wrong ---- */

/* Frames are walked when they arrive; what is in them is looked at by the worker that has the
 * range, on its own thread. */
void rpc_node_peers_refuse(struct rpc_node *node, uint64_t from_node) {
    lock_for_reading(node);
    const struct rpc_peer *peer = find_peer(node, from_node);
    const struct rpc_channel *channel = peer ? &peer->channels[RPC_CHANNEL_RAFT] : NULL;
    if (channel && channel->link)
        rpc_link_drop(channel->link, "the peer breaks protocol");
    else if (channel && channel->inbound)
        rpc_stream_close(channel->inbound->stream, RPC_INVALID_ARGUMENT,
                         "node %" PRIu64 " was sent what no correct node sends",
                         node->identity.node_id);
    unlock(node);
}

/* ---- the end ---- */

static void stop_channel(struct rpc_channel *channel) {
    struct rpc_link *link = channel->link;
    struct rpc_inbound *inbound = channel->inbound;
    lock_for_writing(channel->peer->node);
    channel->link = NULL;
    channel->inbound = NULL;
    unlock(channel->peer->node);
    rpc_link_free(link);
    if (inbound) rpc_stream_close(inbound->stream, RPC_UNAVAILABLE, "the node is shutting down");
}

void rpc_node_peers_stop(struct rpc_node *node) {
    struct idmap_node *at = NULL;
    while ((at = idmap_next(&node->peers, at))) {
        struct rpc_peer *peer = CONTAINER_OF(at, struct rpc_peer, map_node);
        for (int kind = 0; kind < RPC_CHANNEL_KINDS; kind++)
            stop_channel(&peer->channels[kind]);
    }
}

void rpc_node_peers_free(struct rpc_node *node) {
    struct idmap_node *at;
    while ((at = idmap_next(&node->peers, NULL))) {
        struct rpc_peer *peer = CONTAINER_OF(at, struct rpc_peer, map_node);
        (void)idmap_remove(&node->peers, at->id); /* It is `at`. */
        free(peer->address);
        memory_free(peer);
    }
    idmap_done(&node->peers);
}
