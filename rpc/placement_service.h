/* The service flotilla.v1.Placement over a placement driver: events go to the driver as they come;
 * once per turn of the loop the driver takes its own turns (with their synced writes), and what
 * became answerable is sent.
 *
 *   order at start:  rpc_server_new → placement_driver_open → placement_service_new →
 *                    rpc_server_start
 *   order at stop:   placement_service_free → placement_driver_free → rpc_server_free
 *
 * Threads: the loop thread; the synced writes block it. */
#ifndef FLOTILLA_RPC_PLACEMENT_SERVICE_H
#define FLOTILLA_RPC_PLACEMENT_SERVICE_H

#include "placement/placement.h"
#include "rpc/server.h"

struct placement_service;

/* Adds the service to a server that has not started yet. `clock` is the one given to the driver. */
struct placement_service *placement_service_new(struct rpc_loop *loop, struct rpc_server *server,
                                                struct placement_driver *driver,
                                                const struct clock *clock);
/* The driver takes no turns any more. What it answers afterwards goes nowhere. */
void placement_service_free(struct placement_service *service);

#endif
