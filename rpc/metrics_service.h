/* flotilla.v1.Metrics: what this process counts, for whoever asks; and asking another process.
 * Threads: the loop thread. */
#ifndef FLOTILLA_RPC_METRICS_SERVICE_H
#define FLOTILLA_RPC_METRICS_SERVICE_H

#include "rpc/client.h"
#include "rpc/server.h"

/* To a server that has not started yet. There is nothing to free. */
void rpc_metrics_serve(struct rpc_server *server);

/* `text` is the Prometheus text of the asked process, empty unless the code is OK; both are valid
 * during the callback. */
typedef void rpc_metrics_fn(void *ctx, const struct rpc_status *status, struct slice text);
/* The callback comes exactly once, never before this returns; before rpc_client_free returns at
 * the latest. */
void rpc_metrics_read(struct rpc_client *client, uint64_t timeout_us, rpc_metrics_fn *done,
                      void *ctx);

#endif
