/* grpc.health.v1.Health: Check and Watch, as load balancers and tools expect them.
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_HEALTH_H
#define FLOTILLA_RPC_HEALTH_H

#include "rpc/server.h"

struct rpc_health;

/* Adds the service to a server that has not started yet. The server as a whole (service "") is
 * NOT_SERVING until told otherwise. */
struct rpc_health *rpc_health_new(struct rpc_server *server);
void rpc_health_free(struct rpc_health *health); /* after rpc_server_free */
/* `service`: "flotilla.v1.KeyValue", or "" for the whole server. Watchers are told. */
void rpc_health_set(struct rpc_health *health, const char *service, bool serving);

#endif
