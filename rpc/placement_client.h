/* A node's or router's side of the placement driver: registration, heartbeats, timestamps, range
 * map, over the connection(s) to placement's members. It finds the leading member by itself, and
 * stays up while placement is away: registration and heartbeats are retried with back-off, requests
 * for timestamps wait and are asked again.
 *
 * Threads: everything belongs to the rpc loop's thread, before rpc_loop_run or on it, except what
 * says "any thread". Callbacks come on the loop's thread. */
#ifndef FLOTILLA_RPC_PLACEMENT_CLIENT_H
#define FLOTILLA_RPC_PLACEMENT_CLIENT_H

#include "placement/messages.h"
#include "range/router/router.h"
#include "range/store.h"

struct rpc_loop;
struct placement_client;

struct placement_client_config {
    struct rpc_loop *loop;
    const char *addresses;   /* host:port of each placement member, comma-separated */
    uint32_t timeout_ms;     /* one attempt; 0: 1,000 */
    uint32_t backoff_ms_max; /* between attempts; 0: 500 */
};

/* INVALID: `error` names the address and what it should look like. */
enum status placement_client_new(const struct placement_client_config *config, struct buf *error,
                                 struct placement_client **ret_client) MUST_CHECK;
/* Drops what is under way without calling back. The loop must not run or be on this thread. */
void placement_client_free(struct placement_client *client);

/* ---- registration (nodes) ---- */
/* What a node keeps in its data directory; ids 0 before its first registration. */
struct placement_identity {
    uint64_t cluster_id, node_id;
    struct placement_uuid uuid;
    uint64_t starts; /* of the directory, this one too; durable there before it is sent */
};

struct placement_uuid placement_uuid_new(void); /* random (getrandom) */

/* Called once. OK: store `identity` durably before anything else happens under it. Anything else
 * is a refusal for good: `text` tells the operator why and the way out. */
typedef void placement_registered_fn(void *ctx, enum status status, struct slice text,
                                     const struct placement_identity *identity);

/* Registers, again and again while placement is away or the answer says "later" (a log line tells
 * what it waits for, at the first failure and every ten seconds). */
struct placement_registration {
    struct placement_identity identity;
    uint64_t
        synced_sequence;   /* of the engine as it was opened, before anything was written to it */
    const char *advertise; /* this node's address for others; copied */
    const char *version;   /* of the binary; copied */
};
void placement_client_register(struct placement_client *client,
                               const struct placement_registration *registration,
                               placement_registered_fn *done, void *ctx);
/* Of this process, from then on. */
uint64_t placement_client_incarnation(const struct placement_client *client);

/* ---- heartbeats (nodes, after registration) ---- */
struct placement_client_node {
    struct range_store *store;  /* reports, creations, timestamps; must outlive the client */
    const char *data_directory; /* its file system's size is reported; NULL: none. Copied */
    void *ctx;
    /* A node, whenever its address or its process is new. */
    void (*address)(void *ctx, const struct placement_node_address *node);
    /* Placement says that another process has taken this node's place, or does not know it: the
     * node must stop; `text` is the reason. Called at most once. */
    void (*fenced)(void *ctx, struct slice text);
};

/* Starts heartbeats and lets timestamps flow to the store. */
void placement_client_start_node(struct placement_client *client,
                                 const struct placement_client_node *node);
/* A heartbeat now rather than at the next beat (leaders changed, ranges were created). Any thread;
 * cheap; calls that come together make one heartbeat. */
void placement_client_beat(struct placement_client *client);
/* When placement last answered a heartbeat, on the loop's clock; 0: never yet. */
uint64_t placement_client_answered_us(const struct placement_client *client);
/* Tells placement that this node stops on purpose, then calls back (also when that failed or took
 * longer than timeout_ms). No heartbeats afterwards. */
void placement_client_leave(struct placement_client *client, uint32_t timeout_ms,
                            void (*done)(void *ctx), void *ctx);

/* ---- timestamps ---- */
/* For range_store_open; answers reach the store given to placement_client_start_node. Requests may
 * come from any worker thread; those that come together share one message. The request of a worker
 * is asked again until it is answered. */
struct range_oracle placement_client_oracle(struct placement_client *client);

/* ---- range map (routers) and status ---- */
/* Borrowed during the callback. status other than OK: `text` says why, nothing else is set. The
 * whole map with the nodes' addresses. */
struct placement_client_map {
    uint64_t cluster_id;
    size_t range_count; /* 0: the cluster is not born yet */
    const struct router_range *ranges;
    uint32_t node_count;
    const struct placement_node_address *nodes;
};
typedef void placement_map_fn(void *ctx, enum status status, struct slice text,
                              const struct placement_client_map *map);
/* One attempt at each member; called back once. */
void placement_client_ranges(struct placement_client *client, placement_map_fn *done, void *ctx);

/* Status as text for the operator and as JSON (one line). One attempt at each member. */
typedef void placement_status_fn(void *ctx, enum status status, struct slice text,
                                 struct slice json);
void placement_client_status(struct placement_client *client, placement_status_fn *done, void *ctx);

#endif
