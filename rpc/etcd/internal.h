/* What the files of rpc/etcd/ share. */
#ifndef FLOTILLA_RPC_ETCD_INTERNAL_H
#define FLOTILLA_RPC_ETCD_INTERNAL_H

#include "base/hashmap.h"
#include "base/list.h"
#include "rpc/etcd/client.h"
#include "rpc/etcd/messages.h"

/* Keys that a client remembers its last updates of; beyond, it forgets them all. */
#define ETCD_REMEMBERED_MAX 65536u
#define ETCD_SPARE_CALLS_MAX 4096u

struct etcd_client {
    struct rpc_loop *loop;
    struct rpc_client *channel;
    struct etcd_client_config config;
    uint32_t outstanding;
    bool closing;
    uint64_t conflicts;
    struct list_node calls, spare;
    uint32_t spare_count;
    struct bytesmap remembered; /* struct etcd_memory, by caller ‖ key */
    struct buf memory_key;      /* scratch */
    struct arena reply_arena;
};

/* A request under way. */
struct etcd_call {
    struct etcd_client *client;
    struct list_node link; /* client->calls, or client->spare */
    uint32_t caller;
    uint64_t deadline_us;
    router_done_fn *done;
    void *ctx;
    struct etcd_update update; /* owns its bytes; of updates only */
    struct etcd_counter counter;
    bool counter_is_fresh; /* read in the course of this call, not remembered */
};

/* Sends one message of the call, within its deadline; false: that has passed, and the call has been
 * answered. `done` gets the call as its context. */
bool etcd_call_send(struct etcd_call *call, const char *method, const ProtobufCMessage *message,
                    rpc_response_fn *done);
/* Each answers and frees the call. */
void etcd_call_finish(struct etcd_call *call, const struct router_reply *reply);
void etcd_call_finish_code(struct etcd_call *call, enum router_code code, const char *text);
/* After a failed remote call; `maybe_done`: what it asked for may have been done all the same. */
void etcd_call_fail(struct etcd_call *call, const struct rpc_status *status, bool maybe_done);

/* Takes over: call->update is filled in. */
void etcd_update_start(struct etcd_call *call);
void etcd_memory_done(struct etcd_client *client);

#endif
