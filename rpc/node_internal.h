/* What the node service's files share: node_service.c (life, transport), node_status.c (what it
 * knows), node_peers.c (the streams to other nodes), node_sessions.c (the streams of routers),
 * node_relays.c (those that go on to another node). */
#ifndef FLOTILLA_RPC_NODE_INTERNAL_H
#define FLOTILLA_RPC_NODE_INTERNAL_H

#include <pthread.h>

#include "base/hashmap.h"
#include "base/list.h"
#include "rpc/node_service.h"

enum rpc_channel_kind { RPC_CHANNEL_RAFT, RPC_CHANNEL_SNAPSHOT };
#define RPC_CHANNEL_KINDS 2

struct rpc_peer;

/* A stream that a peer (lower id) has dialled to us. Lives until its on_close. */
struct rpc_inbound {
    struct rpc_node *node;
    struct rpc_peer *peer;
    enum rpc_channel_kind kind;
    struct rpc_stream *stream; /* counted */
};

/* One of the two streams between this node and another. Either `link` (we dial) or `inbound` (they
 * do); both may be NULL. Written by the loop thread under the node's lock held for writing, read by
 * senders under it held for reading. */
struct rpc_channel {
    struct rpc_peer *peer;
    enum rpc_channel_kind kind;
    struct rpc_link *link;
    struct rpc_inbound *inbound;
    _Atomic uint64_t drop_reported_us; /* when a drop was last reported to the store */
};

struct rpc_peer {
    struct idmap_node map_node; /* by node id */
    struct rpc_node *node;
    char *address; /* owned; NULL: not known */
    /* Of the newest process of the peer's directory that was heard of, from placement or from
     * itself; loop thread. Older ones are not heard, nor told apart from unknown nodes. */
    uint64_t incarnation;
    struct rpc_channel channels[RPC_CHANNEL_KINDS];
};

struct rpc_node {
    struct rpc_loop *loop;
    struct rpc_server *server;
    struct range_transport transport;
    /* NULL before start and after stop. Senders on worker threads may use it: they stop before the
     * store is freed. */
    _Atomic(struct range_store *) store;
    struct rpc_identity identity;
    struct rpc_turn_hook hook; /* the loop thread takes turns of the store, from start to stop */
    bool stopped;
    rpc_node_facts_fn *facts; /* NULL: none */
    void *facts_ctx;
    pthread_rwlock_t lock;     /* guards `peers` and their channels against the senders */
    struct idmap peers;        /* struct rpc_peer */
    struct list_node sessions; /* struct node_session, open; loop thread */
    struct list_node relays;   /* struct node_relay; loop thread */
    uint32_t relay_count;
};

void rpc_node_peers_set(struct rpc_node *node, uint64_t node_id, const char *address,
                        uint64_t incarnation);
/* Dials the peers whose addresses came before the start. */
void rpc_node_peers_start(struct rpc_node *node);
void rpc_node_peers_stop(struct rpc_node *node); /* closes streams and links */
void rpc_node_peers_free(struct rpc_node *node);
/* Worker threads. */
void rpc_node_peers_send(struct rpc_node *node, uint64_t to_node, enum rpc_channel_kind kind,
                         struct slice frame);
/* Worker threads: the peer breaks protocol. */
void rpc_node_peers_refuse(struct rpc_node *node, uint64_t from_node);
void rpc_node_answer_status(void *ctx, struct rpc_call *call, struct slice request);
/* Loop thread. As of the address book; NULL: not known. */
const char *rpc_node_peer_address(struct rpc_node *node, uint64_t node_id);
rpc_open_fn rpc_node_open_raft, rpc_node_open_snapshot, rpc_node_open_requests, rpc_node_open_relay;
void rpc_node_sessions_stop(struct rpc_node *node);
void rpc_node_relays_stop(struct rpc_node *node);

/* False (and the stream refused): not started yet, or stopped. */
bool rpc_node_serving(struct rpc_node *node, struct rpc_stream *stream);

#endif
