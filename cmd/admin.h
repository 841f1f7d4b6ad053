/* The parts of `flotilla admin` that have a file of their own. */
#ifndef FLOTILLA_CMD_ADMIN_H
#define FLOTILLA_CMD_ADMIN_H

#include "base/config.h"
#include "base/json.h"
#include "cmd/router_runtime.h"
#include "rpc/node_status.h"

/* Entries of option tables whose struct has the fields `placement` and `common`. */
#define ADMIN_OPTION(type, name, kind, field, fallback, unit, minimum, maximum, help) \
    { name, kind, offsetof(type, field), fallback, unit, minimum, maximum, help }
#define ADMIN_PLACEMENT(type)                                                                \
    ADMIN_OPTION(type, "placement", CONFIG_ADDRESSES, placement, "127.0.0.1:7001", "", 0, 0, \
                 "addresses of the placement driver's members, comma-separated")

/* A router for one command's requests. INVALID with a sentence: an address is unreadable. */
enum status admin_router_new(struct rpc_loop *loop, const char *placement,
                             struct placement_client *client, uint64_t timeout_us,
                             struct buf *error, struct router_runtime **ret_runtime) MUST_CHECK;

/* What one node knows (admin_status_node.c). `address`: where it was asked. */
void admin_print_node(const struct rpc_node_status *node, const char *address, struct buf *out);
void admin_add_node(cJSON *object, const struct rpc_node_status *node);
const char *admin_node_state(const struct rpc_node_status *node);

#endif
