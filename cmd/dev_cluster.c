/* `flotilla dev-cluster`: a cluster on this machine that stays up until it is told to end.
 *
 *   start   placement, nodes and a router as processes, at ports that are known beforehand; then
 *           wait until a read through the router is answered
 *   stay    look after the processes; one that ends by itself ends all, with its last lines
 *   stop    on Ctrl-C or SIGTERM; the directory goes too, unless it is to be kept */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "cmd/cluster_root.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/demo_cluster.h"
#include "cmd/signals.h"
#include "rpc/kv_client.h"

#define SERVE_TIMEOUT_US 30000000u
#define HEALTH_INTERVAL_US 200000u
#define PORT_DEFAULT 7000u

struct dev_options {
    struct common_options common;
    uint64_t nodes, port;
    char *data_dir, *ready_file;
    bool keep;
};

#define DEV_OPTION(name, kind, field, fallback, unit, minimum, maximum, help) \
    { name, kind, offsetof(struct dev_options, field), fallback, unit, minimum, maximum, help }

static const struct config_option dev_option_table[] = {
    DEV_OPTION("nodes", CONFIG_U64, nodes, "0", "", 0, DEMO_NODES_MAX,
               "nodes; from 3 on every range has 3 replicas. 0: as many as the data directory has, "
               "or 1"),
    DEV_OPTION(
        "port", CONFIG_U64, port, "7000", "", 1024, 65000,
        "port of the router; placement has the next one, the nodes those from PORT + 101 on"),
    DEV_OPTION("data-dir", CONFIG_TEXT, data_dir, "", "", 0, 0,
               "directory that keeps data and logs: new, empty, or of an earlier dev-cluster, "
               "which goes on; default: a temporary one"),
    DEV_OPTION("keep", CONFIG_BOOL, keep, "false", "", 0, 0, "keep the temporary directory"),
    DEV_OPTION("ready-file", CONFIG_TEXT, ready_file, "", "", 0, 0,
               "file to write the router's address to, once the cluster serves"),
    COMMON_OPTIONS(struct dev_options),
};

static const struct config_table dev_table = {
    .command = "dev-cluster",
    .synopsis = "Starts a whole cluster on this machine and stays up: placement, one node with one "
                "replica of everything, and a router. Ctrl-C ends it cleanly and removes its data, "
                "unless --keep or --data-dir says otherwise. For development: whoever needs the "
                "data to outlive a disk starts three nodes on three machines.",
    .examples = "  flotilla dev-cluster\n"
                "  flotilla dev-cluster --data-dir ~/flotilla      # goes on where it ended\n"
                "  flotilla dev-cluster --nodes 3 --port 17000\n",
    .options = dev_option_table,
    .option_count = OPTION_COUNT(dev_option_table),
};

struct dev_cluster {
    struct dev_options options;
    struct cluster_root root;
    struct demo_cluster cluster;
    struct rpc_loop *loop;
    struct signals *signals;
    bool stopping, answered, serves;
    struct buf error;
};

/* ---- the directory ---- */

static bool has_directory(const char *root, const char *name) {
    struct buf path = {0};
    struct stat found;
    buf_printf(&path, "%s/%s", root, name);
    bool there = stat((const char *)path.data, &found) == 0 && S_ISDIR(found.st_mode);
    buf_done(&path);
    return there;
}

/* Nodes of an earlier dev-cluster there; 0: it is none's. */
static uint32_t count_nodes(const char *root) {
    uint32_t count = 0;
    char name[16];
    if (!has_directory(root, "placement")) return 0;
    do
        snprintf(name, sizeof(name), "node%u", ++count);
    while (count <= DEMO_NODES_MAX && has_directory(root, name));
    return count - 1;
}

static enum status choose_root(struct dev_cluster *dev) {
    struct dev_options *options = &dev->options;
    uint32_t there = options->data_dir[0] ? count_nodes(options->data_dir) : 0;
    if (there > 0 && options->nodes > 0 && options->nodes != there) {
        buf_printf(&dev->error,
                   "%s holds a cluster of %u nodes, not %" PRIu64
                   "; leave --nodes out, or choose another --data-dir",
                   options->data_dir, there, options->nodes);
        return STATUS_INVALID;
    }
    if (options->nodes == 0) options->nodes = there > 0 ? there : 1;
    if (there == 0)
        return cluster_root_make(&dev->root, options->data_dir, "flotilla-dev",
                                 options->keep || options->data_dir[0], &dev->error);
    cluster_root_adopt(&dev->root, options->data_dir);
    return STATUS_OK;
}

/* ---- start ---- */

static enum status start(struct dev_cluster *dev) {
    enum status status = choose_root(dev);
    if (status != STATUS_OK) return status;
    const struct demo_cluster_config config = {.root = cluster_root_path(&dev->root),
                                               .nodes = (uint32_t)dev->options.nodes,
                                               .split_keys = "",
                                               .port = (uint16_t)dev->options.port};
    return demo_cluster_start(&dev->cluster, &config, &dev->error);
}

static void signal_caught(void *ctx, uint32_t number) {
    struct dev_cluster *dev = ctx;
    dev->stopping = dev->answered = true;
}

static void read_done(void *ctx, const struct router_reply *reply) {
    struct dev_cluster *dev = ctx;
    dev->answered = true;
    dev->serves = reply->code == ROUTER_OK;
    if (!dev->serves) buf_assign(&dev->error, reply->text);
}

/* The first read that is answered: placement, the node and the router have found each other. */
static bool wait_serves(struct dev_cluster *dev) {
    const struct kv_client_config config = {.address =
                                                (const char *)dev->cluster.router_address.data};
    struct kv_client *client = kv_client_new(dev->loop, &config);
    struct slice key = SLICE_LITERAL("greeting");
    struct router_request request = {.op = ROUTER_GET,
                                     .deadline_us = rpc_loop_now_us(dev->loop) + SERVE_TIMEOUT_US,
                                     .key_count = 1,
                                     .keys = &key};
    kv_client_submit(client, &request, read_done, dev);
    (void)rpc_loop_run_until(dev->loop, &dev->answered, 2 * SERVE_TIMEOUT_US);
    kv_client_free(client);
    if (dev->stopping) buf_clear(&dev->error); /* the client's end is no mistake */
    return dev->serves && !dev->stopping;
}

static void print_welcome(const struct dev_cluster *dev) {
    const struct dev_options *options = &dev->options;
    const char *router = (const char *)dev->cluster.router_address.data;
    const char *placement = (const char *)dev->cluster.placement_address.data;
    struct buf to_router = {0}, to_placement = {0};
    if (options->port != PORT_DEFAULT) {
        buf_printf(&to_router, " --router %s", router);
        buf_printf(&to_placement, " --placement %s", placement);
    }
    buf_append_byte(&to_router, 0);
    buf_append_byte(&to_placement, 0);
    printf("ready: %" PRIu64 " node%s, router at %s, placement at %s\n", options->nodes,
           options->nodes > 1 ? "s" : "", router, placement);
    printf("data and logs: %s%s\n\n", cluster_root_path(&dev->root),
           dev->root.keep ? "" : " (removed at the end)");
    printf("    flotilla put greeting 'hello, world'%s\n", (const char *)to_router.data);
    printf("    flotilla get greeting%s\n", (const char *)to_router.data);
    printf("    flotilla admin status%s\n\nCtrl-C ends it.\n", (const char *)to_placement.data);
    (void)fflush(stdout); /* nobody to tell when stdout is gone */
    buf_done(&to_router);
    buf_done(&to_placement);
}

/* ---- stay, stop ---- */

static bool stay(struct dev_cluster *dev) {
    while (!dev->stopping) {
        (void)rpc_loop_run_until(dev->loop, &dev->stopping, HEALTH_INTERVAL_US);
        if (!dev->stopping && !demo_cluster_healthy(&dev->cluster, &dev->error)) return false;
    }
    return true;
}

static bool serve(struct dev_cluster *dev) {
    dev->loop = rpc_loop_new();
    dev->signals = signals_watch(dev->loop, signal_caught, dev);
    bool good = wait_serves(dev);
    if (good) {
        print_welcome(dev);
        const char *ready_file = dev->options.ready_file;
        const char *address = (const char *)dev->cluster.router_address.data;
        good = !ready_file[0] || common_write_file(ready_file, address, &dev->error) == STATUS_OK;
    }
    good = good && stay(dev);
    if (dev->stopping) fprintf(stderr, "stopping\n");
    signals_free(dev->signals);
    rpc_loop_free(dev->loop);
    return good || dev->stopping;
}

static int run_dev_cluster(struct dev_cluster *dev) {
    enum status status = start(dev);
    bool good = status == STATUS_OK && serve(dev);
    if (status == STATUS_SHUTDOWN) good = true; /* Ctrl-C before it was up */
    if (!good) {
        common_complain("dev-cluster", &dev->error);
        demo_cluster_print_tails(&dev->cluster, stderr);
    }
    buf_clear(&dev->error);
    if (!demo_cluster_stop(&dev->cluster, &dev->error)) {
        fprintf(stderr, "flotilla dev-cluster: not a clean stop: %.*s\n", (int)dev->error.len,
                (const char *)dev->error.data);
        good = false;
    }
    cluster_root_done(&dev->root);
    buf_done(&dev->error);
    if (status == STATUS_INVALID) return CMD_USAGE;
    return good ? CMD_OK : CMD_FAILED;
}

static int cmd_dev_cluster(int argument_count, char **arguments) {
    struct dev_cluster *dev = MEMORY_NEW(struct dev_cluster);
    int exit_code = CMD_OK;
    switch (
        common_load(&dev_table, argument_count, arguments, &dev->options, &dev->options.common)) {
    case COMMON_USAGE:
        exit_code = CMD_USAGE;
        break;
    case COMMON_HELP_SHOWN:
        break;
    case COMMON_GO_ON:
        if (log_level_current == LOG_INFO) log_set_level(LOG_ERROR);
        exit_code = run_dev_cluster(dev);
        config_free_values(&dev_table, &dev->options);
        break;
    }
    memory_free(dev);
    return exit_code;
}

const struct command command_dev_cluster = {
    .name = "dev-cluster",
    .help = "a cluster on this machine that stays up: placement, node and router in one",
    .run = cmd_dev_cluster,
    .table = &dev_table,
};
