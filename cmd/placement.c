/* `flotilla placement`: the life of a placement driver's member.
 *
 * Everything runs on the loop's thread: requests, the driver's turns, its synced writes. A signal
 * stops it at once: what it promised is on the disk, and its successor goes on from there. */
#include <inttypes.h>

#include "base/prng.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/disk_watch.h"
#include "cmd/signals.h"
#include "placement/metrics.h"
#include "rpc/health.h"
#include "rpc/metrics.h"
#include "rpc/metrics_service.h"
#include "rpc/placement_service.h"
#include "rpc/reflection.h"
#include "storage/metrics.h"
#include "storage/rocksdb_engine.h"

/* The state is small: caches as for a data store would be wasted. */
#define BLOCK_CACHE_BYTES (8u * 1024u * 1024u)
#define WRITE_BUFFER_BYTES (16u * 1024u * 1024u)

struct placement_options {
    struct common_options common;
    char *data_dir, *listen, *ready_file, *split_keys;
    uint64_t replication_factor, birth_nodes, initial_ranges;
    uint64_t timestamp_window_ms, silence_ms, node_heartbeat_ms, min_free_bytes;
    bool trust_clock;
};

#define PLACEMENT_U64(name, field, fallback, unit, minimum, maximum, help)                    \
    {                                                                                         \
        name, CONFIG_U64, offsetof(struct placement_options, field), fallback, unit, minimum, \
            maximum, help                                                                     \
    }
#define PLACEMENT_KIND(name, kind, field, fallback, help) \
    { name, kind, offsetof(struct placement_options, field), fallback, "", 0, 0, help }
#define PLACEMENT_TEXT(name, field, fallback, help) \
    PLACEMENT_KIND(name, CONFIG_TEXT, field, fallback, help)

static const struct config_option placement_option_table[] = {
    PLACEMENT_TEXT("data-dir", data_dir, NULL,
                   "directory of this member's data; created when missing"),
    PLACEMENT_KIND("listen", CONFIG_LISTEN, listen, "127.0.0.1:7001",
                   "address to serve on; port 0 takes a free one"),
    PLACEMENT_TEXT("ready-file", ready_file, "",
                   "file to write the bound address to, once this member serves"),
    PLACEMENT_U64("replication-factor", replication_factor, "3", "replicas", 1,
                  PLACEMENT_REPLICAS_MAX - 1, "replicas of each range; odd (first start only)"),
    PLACEMENT_U64("birth-nodes", birth_nodes, "0", "nodes", 0, PLACEMENT_NODES_MAX,
                  "nodes that must be alive before the ranges are made; 0: replication-factor "
                  "(first start only)"),
    PLACEMENT_U64("initial-ranges", initial_ranges, "0", "ranges", 0, PLACEMENT_INITIAL_RANGES_MAX,
                  "ranges at birth, cut evenly by the keys' first two bytes; 0: one, or as "
                  "--split-keys says (first start only)"),
    PLACEMENT_TEXT("split-keys", split_keys, "",
                   "keys to cut at instead, ascending, comma-separated; \\xHH for a byte, \\, for "
                   "a comma (first start only)"),
    PLACEMENT_U64("timestamp-window-ms", timestamp_window_ms, "3000", "ms", 10, 3600000,
                  "how far ahead the bound of the timestamps is persisted"),
    PLACEMENT_U64("node-silence-ms", silence_ms, "3000", "ms", 100, 3600000,
                  "a node not heard from for so long counts as down"),
    PLACEMENT_U64("node-heartbeat-ms", node_heartbeat_ms, "1000", "ms", 10, 60000,
                  "how often nodes report themselves"),
    {"trust-clock", CONFIG_BOOL, offsetof(struct placement_options, trust_clock), "false", "", 0, 0,
     "this machine's clock is right although placement refused it as ahead; for one start only"},
    PLACEMENT_U64("min-free-bytes", min_free_bytes, "67108864", "bytes", 0, UINT64_C(1) << 50,
                  "refuse to start with less free space on the disk"),
    COMMON_OPTIONS(struct placement_options),
};

static const struct config_table placement_table = {
    .command = "placement",
    .synopsis = "Runs the placement driver: it forms the cluster once enough nodes have "
                "registered, gives out node ids and timestamps, and knows which node leads which "
                "range. What a cluster is born with (replication factor, ranges) is fixed at the "
                "first start; later starts read it from the data directory.",
    .examples = "  flotilla placement --data-dir p1\n"
                "  flotilla placement --data-dir p1 --initial-ranges 16\n"
                "  flotilla placement --data-dir p1 --split-keys 'issuer/G,issuer/M,issuer/S'\n",
    .options = placement_option_table,
    .option_count = OPTION_COUNT(placement_option_table),
};

struct placement_process {
    struct placement_options options;
    int exit_code;
    struct buf engine_path, address;
    struct storage_engine *engine;
    struct rpc_loop *loop;
    struct rpc_server *server;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    struct placement_driver *driver;
    struct placement_service *service;
    struct signals *signals;
    struct disk_watch disk;
};

static enum status check_options(const struct placement_options *options, struct buf *error) {
    if (!options->split_keys[0] || options->initial_ranges == 0) return STATUS_OK;
    buf_printf(error,
               "--split-keys and --initial-ranges are both given, and each says where the ranges "
               "are cut; leave out --initial-ranges %" PRIu64
               " (the keys make their own count), or "
               "--split-keys",
               options->initial_ranges);
    return STATUS_INVALID;
}

static enum status open_engine(struct placement_process *process, struct buf *error) {
    const struct placement_options *options = &process->options;
    enum status status = common_make_data_directory(options->data_dir, error);
    if (status) return status;
    buf_printf(&process->engine_path, "%s/engine", options->data_dir);
    buf_append_byte(&process->engine_path, 0);
    const struct rocksdb_engine_config config = {
        .directory = (const char *)process->engine_path.data,
        .block_cache_bytes = BLOCK_CACHE_BYTES,
        .write_buffer_bytes = WRITE_BUFFER_BYTES,
        .min_free_bytes = options->min_free_bytes,
        .way_out_when_damaged =
            "do not repair it and start no empty placement at this address: check the disk, set "
            "the directory aside, and put the last copy of placement's directory in its place "
            "(docs/operations.md, Placement's directory is lost)",
    };
    return rocksdb_engine_open(&config, error, &process->engine);
}

static enum status open_driver(struct placement_process *process, struct buf *error) {
    const struct placement_options *options = &process->options;
    const struct placement_transport no_peers = {0};
    struct placement_config config;
    placement_config_defaults(&config);
    config.replication_factor = (uint32_t)options->replication_factor;
    config.birth_nodes = (uint32_t)options->birth_nodes;
    config.initial_ranges = options->initial_ranges ? (uint32_t)options->initial_ranges : 1;
    config.split_keys = options->split_keys;
    config.timestamp_window_ms = options->timestamp_window_ms;
    config.silence_ms = options->silence_ms;
    config.node_heartbeat_ms = options->node_heartbeat_ms;
    config.trust_clock = options->trust_clock;
    config.seed = prng_seed_from_system();
    enum status status =
        placement_driver_open(&config, process->engine, &no_peers, clock_system(),
                              clock_monotonic_us(clock_system()), error, &process->driver);
    if (status && status != STATUS_INVALID)
        buf_printf(error, " (--data-dir %s)", options->data_dir);
    return status;
}

static enum status open_network(struct placement_process *process, struct buf *error) {
    process->loop = rpc_loop_new();
    process->server = rpc_server_new(
        process->loop, &(struct rpc_server_config){.listen = process->options.listen});
    process->health = rpc_health_new(process->server);
    process->reflection = rpc_reflection_new(process->server);
    rpc_metrics_serve(process->server);
    process->service =
        placement_service_new(process->loop, process->server, process->driver, clock_system());
    enum status status = rpc_server_start(process->server, error);
    if (status) return status;
    rpc_server_address(process->server, &process->address);
    buf_append_byte(&process->address, 0);
    return STATUS_OK;
}

static enum status tell_ready(struct placement_process *process, struct buf *error) {
    const char *address = (const char *)process->address.data;
    rpc_health_set(process->health, "", true);
    log_info("ready", "role=placement address=%s", address);
    if (!process->options.ready_file[0]) return STATUS_OK;
    return common_write_file(process->options.ready_file, address, error);
}

static void signal_caught(void *ctx, uint32_t number) {
    struct placement_process *process = ctx;
    log_info("stopping", "role=placement signals=%u", number);
    rpc_loop_stop(process->loop);
}

static void close_all(struct placement_process *process) {
    disk_watch_stop(&process->disk);
    signals_free(process->signals);
    if (process->server) rpc_server_free(process->server);
    placement_driver_free(process->driver);
    placement_service_free(process->service);
    if (process->health) rpc_health_free(process->health);
    if (process->reflection) rpc_reflection_free(process->reflection);
    if (process->loop) rpc_loop_free(process->loop);
    storage_close(process->engine);
    buf_done(&process->engine_path);
    buf_done(&process->address);
    config_free_values(&placement_table, &process->options);
}

static int cmd_placement(int argument_count, char **arguments) {
    struct placement_process process = {0};
    struct buf error = {0};
    switch (common_load(&placement_table, argument_count, arguments, &process.options,
                        &process.options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    storage_metrics_register();
    placement_metrics_register();
    rpc_metrics_register();
    enum status status = check_options(&process.options, &error);
    if (!status) status = open_engine(&process, &error);
    if (!status) status = open_driver(&process, &error);
    if (!status) status = open_network(&process, &error);
    if (!status) status = tell_ready(&process, &error);
    if (status) {
        common_complain("placement", &error);
        process.exit_code = status == STATUS_INVALID ? CMD_USAGE : CMD_FAILED;
    } else {
        process.signals = signals_watch(process.loop, signal_caught, &process);
        disk_watch_start(&process.disk, process.loop, process.options.data_dir, 0, NULL);
        rpc_loop_run(process.loop);
    }
    close_all(&process);
    buf_done(&error);
    if (process.exit_code == CMD_OK) log_info("stopped", "role=placement");
    return process.exit_code;
}

const struct command command_placement = {
    .name = "placement",
    .help = "placement driver: cluster birth, node ids, timestamps, range map",
    .run = cmd_placement,
    .table = &placement_table,
};
