/* The service flotilla.v1.Placement over a placement driver: events go to the driver as they come;
 * once per turn of the loop the driver takes its own turns (with their synced writes), and what
 * became answerable is sent.
 *
 *   order at start:  rpc_server_new → placement_driver_open → placement_service_new →
 *                    rpc_server_start
 *   order at stop:   rpc_server_free → placement_driver_free → placement_service_free, the loop not
 *                    running meanwhile: what the driver still answers then goes nowhere
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
/* After the server and the driver are gone. NULL is fine. */
void placement_service_free(struct placement_service *service);

#endif
