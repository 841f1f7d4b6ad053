/* grpc.reflection.v1alpha.ServerReflection and grpc.reflection.v1.ServerReflection: tools such as
 * grpcurl can list and call every service without the proto files.
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_REFLECTION_H
#define FLOTILLA_RPC_REFLECTION_H

#include "rpc/server.h"

struct rpc_reflection;

/* Adds both services to a server that has not started yet. */
struct rpc_reflection *rpc_reflection_new(struct rpc_server *server);
void rpc_reflection_free(struct rpc_reflection *reflection); /* after rpc_server_free */

#endif
