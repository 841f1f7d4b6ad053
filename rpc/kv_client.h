/* A client of a router's public face (flotilla.v1.KeyValue, rpc/proto/flotilla/v1/kv.proto), for
 * programs that live on a loop: the bench and tests. Requests and replies are those of the router
 * library (range/router/router.h), so a program can use either the library or the hop.
 *
 * By default many requests travel together: what was submitted during one turn of the loop leaves
 * as one message of the Pipe stream at the end of the turn. With `unary` every request is a gRPC
 * call of its own, as a simple client in any language would make it.
 *
 * Nothing is retried here. When the connection breaks, reads are answered UNAVAILABLE, and writes
 * UNKNOWN if they may have left: settle them by submitting them again with the same request id. The
 * connection comes back by itself; meanwhile requests wait for it, within their deadlines, or, with
 * `fail_fast`, are answered UNAVAILABLE when an attempt to connect fails: a wrong address shows.
 *
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_KV_CLIENT_H
#define FLOTILLA_RPC_KV_CLIENT_H

#include "range/router/router.h"
#include "rpc/client.h"

struct kv_client;

struct kv_client_config {
    const char *address; /* of a router or node: "127.0.0.1:7000". Several, with commas: the first
                            one that takes the connection, and the next when it is lost */
    bool unary;
    bool fail_fast;
    uint64_t default_timeout_us; /* 0: 5 s */
    uint32_t outstanding_max;    /* beyond: BUSY, at once; 0: KV_CLIENT_OUTSTANDING_DEFAULT */
};

#define KV_CLIENT_OUTSTANDING_DEFAULT 65536u
/* Requests that wait for the connection; beyond: BUSY, at once. Whatever the bytes: so is who would
 * wait there for half of the time that he has, by what the connection has carried of late. */
#define KV_CLIENT_UNSENT_BYTES_MAX (32u * 1024u * 1024u)

struct kv_client *kv_client_new(struct rpc_loop *loop, const struct kv_client_config *config);
/* Every outstanding request is answered (UNKNOWN or UNAVAILABLE) first. Not inside a callback. */
void kv_client_free(struct kv_client *client);

/* The request is copied as far as needed; its deadline_us is on the loop's clock (rpc_loop_now_us),
 * 0: now + default. What operators ask (ROUTER_TRANSFER and beyond) is no part of the public face:
 * INVALID. The callback comes exactly once, on the loop thread, possibly before submit returns; it
 * may submit. Replies are as the router gives them; a router that stays silent past a deadline is
 * answered for: TIMEOUT for reads, UNKNOWN for writes. */
void kv_client_submit(struct kv_client *client, const struct router_request *request,
                      router_done_fn *done, void *ctx);

bool kv_client_connected(const struct kv_client *client); /* unary: true */
/* With fail_fast: why the last attempt to connect failed, with the address; empty while none has.
 */
struct slice kv_client_failure(const struct kv_client *client);
uint32_t kv_client_outstanding(const struct kv_client *client);

#endif
