/* A client of an etcd cluster's public API (rpc/proto/etcd/kv.proto) that takes the router's
 * requests, so that one load generator drives Flotilla and etcd through the same code up to the
 * packing of messages. For comparing benchmarks; not a general client.
 *
 *   GET of one key, SCAN                  Range
 *   WRITE of one put                      Put
 *   WRITE of an addition and an insert    an optimistic update (rpc/etcd/update.c): read value and
 *                                         revision, then a transaction that compares the revision,
 *                                         until one holds
 *   anything else                         answered INVALID
 *
 * Every request is a gRPC call of its own; etcd's API has nothing that pipelines. Answers are those
 * of the router: done, refused, or unknown. An update may be submitted again after an unknown
 * outcome: the inserted key tells whether it was done.
 *
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_ETCD_CLIENT_H
#define FLOTILLA_RPC_ETCD_CLIENT_H

#include "range/router/router.h"
#include "rpc/loop.h"

struct etcd_client;

struct etcd_client_config {
    /* "127.0.0.1:2379", or several, comma-separated: the first that takes the connection, and when
     * it breaks, the next. */
    const char *addresses;
    /* An update begins with what this client knows from its last update of the key, and learns the
     * present value from the transaction that failed. Otherwise it reads before each transaction.
     */
    bool remembers;
    uint64_t default_timeout_us; /* 0: 5 s */
    uint32_t outstanding_max;    /* beyond: BUSY, at once */
};

struct etcd_client *etcd_client_new(struct rpc_loop *loop, const struct etcd_client_config *config);
/* Every outstanding request is answered (UNKNOWN or UNAVAILABLE) first. Not inside a callback. */
void etcd_client_free(struct etcd_client *client);

/* As kv_client_submit. `caller` tells apart those who share the connection: each remembers its own
 * updates. */
void etcd_client_submit(struct etcd_client *client, uint32_t caller,
                        const struct router_request *request, router_done_fn *done, void *ctx);

/* Transactions whose comparison failed, each of which made another necessary. */
uint64_t etcd_client_conflicts(const struct etcd_client *client);

#endif
