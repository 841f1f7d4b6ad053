/* The public face of a router: the service flotilla.v1.KeyValue (rpc/proto/flotilla/v1/kv.proto).
 * Requests are checked, handed to the router, and answered in the words of gRPC.
 *
 * Threads: the loop thread, which also owns the router. */
#ifndef FLOTILLA_RPC_KV_SERVICE_H
#define FLOTILLA_RPC_KV_SERVICE_H

#include "range/router/router.h"
#include "rpc/server.h"

struct kv_service;

/* Adds the service to a server that has not started yet. The router is driven by its owner (ticks,
 * flushes: rpc/node_client.h).
 *
 *   order at stop:  rpc_server_free → router_free → kv_service_free
 *
 * so that calls are cancelled first and every request that the router still holds is answered while
 * the service is there to hear it. */
struct kv_service *kv_service_new(struct rpc_loop *loop, struct rpc_server *server,
                                  struct router *router);
void kv_service_free(struct kv_service *service);

/* Ready at first. While it is not, every request is refused with UNAVAILABLE and the router hears
 * of none: one that works beside a store must not be asked before it has that store. */
void kv_service_set_ready(struct kv_service *service, bool ready);

/* How a router's answer looks in gRPC (documented for clients in kv.proto). */
enum rpc_code kv_code_from_router(enum router_code code);
/* And back: what a client makes of a status that its call ended with. `write`: the call was one. */
enum router_code kv_code_to_router(enum rpc_code code, bool write);

#endif
