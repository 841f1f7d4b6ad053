/* A whole cluster on this machine: placement, nodes and a router as processes of their own, each
 * with a directory and a log file under one root. */
#ifndef FLOTILLA_CMD_DEMO_CLUSTER_H
#define FLOTILLA_CMD_DEMO_CLUSTER_H

#include "cmd/child.h"

#define DEMO_NODES_MAX 16u

struct demo_node {
    struct child child;
    uint16_t port;
    bool expected_down; /* killed on purpose and not started again */
};

struct demo_cluster {
    const char *root; /* borrowed */
    struct child placement, router;
    uint16_t placement_port, router_port;
    uint32_t node_count;
    struct demo_node nodes[DEMO_NODES_MAX];
    struct buf placement_address, router_address; /* NUL-terminated */
};

struct demo_cluster_config {
    const char *root; /* an empty directory, or that of an earlier life with as many nodes */
    uint32_t nodes;
    const char *split_keys; /* comma-separated; "": one range */
    uint16_t port; /* of the router; placement has the next, nodes from + 101 on. 0: free ones */
};

/* Starts everything and waits until each process says that it is ready. On failure what runs is for
 * demo_cluster_stop as after success. SHUTDOWN: a signal is pending. */
enum status demo_cluster_start(struct demo_cluster *cluster,
                               const struct demo_cluster_config *config,
                               struct buf *error) MUST_CHECK;
enum status demo_cluster_start_node(struct demo_cluster *cluster, uint32_t index,
                                    struct buf *error) MUST_CHECK;
/* Kills at once, as a crash would. */
void demo_cluster_kill_node(struct demo_cluster *cluster, uint32_t index);
/* The node that serves at "host:port"; node_count: none. */
uint32_t demo_cluster_node_at(const struct demo_cluster *cluster, struct slice address);
/* False: a process that should run has ended; `error` says which and how. */
bool demo_cluster_healthy(struct demo_cluster *cluster, struct buf *error);
void demo_cluster_print_tails(const struct demo_cluster *cluster, FILE *out);
/* SIGTERM to all, then SIGKILL to those that take too long. True: all ended by themselves, with
 * code 0; else `error` names those that did not. */
bool demo_cluster_stop(struct demo_cluster *cluster, struct buf *error);

#endif
