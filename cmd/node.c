/* `flotilla node`: the life of a node.
 *
 *   OPENING      engine open, port bound, identity read or made
 *   REGISTERING  placement is asked who this is (for as long as it takes)
 *   SERVING      ranges recovered, workers and heartbeats run
 *   DRAINING     told to stop: leaders are handed over, within --drain-ms
 *   LEAVING      placement is told
 *   STOPPED      the loop has ended; everything is taken down in reverse
 *
 * A signal before SERVING stops at once. A refusal by placement, or another process in this node's
 * place, stops with exit code 1 and the reason on the last log line.
 *
 * Data directory: engine/ (RocksDB, whose LOCK file keeps a second process out). */
#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/address.h"
#include "base/assert.h"
#include "base/memory.h"
#include "base/prng.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/disk_watch.h"
#include "cmd/node_identity.h"
#include "cmd/router_runtime.h"
#include "cmd/signals.h"
#include "range/drain.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "range/router/metrics.h"
#include "rpc/health.h"
#include "rpc/kv_service.h"
#include "rpc/metrics.h"
#include "rpc/metrics_service.h"
#include "rpc/node_service.h"
#include "rpc/placement_client.h"
#include "rpc/reflection.h"
#include "storage/disk_space.h"
#include "storage/metrics.h"
#include "storage/rocksdb_engine.h"

#define LEAVE_TIMEOUT_MS 300u

struct node_options {
    struct common_options common;
    char *data_dir, *listen, *advertise, *placement, *ready_file;
    uint64_t workers, slow_ms, tick_ms, heartbeat_ms, election_timeout_ms, quiesce_ms, drain_ms;
    bool lease_reads, serve_clients;
    uint64_t lease_drift_ppm, log_entries_kept, log_bytes_kept, snapshot_bytes_per_s;
    uint64_t block_cache_bytes, write_buffer_bytes, min_free_bytes, reserve_free_bytes;
};

#define NODE_U64(name, field, fallback, unit, minimum, maximum, help)                             \
    {                                                                                             \
        name, CONFIG_U64, offsetof(struct node_options, field), fallback, unit, minimum, maximum, \
            help                                                                                  \
    }
#define NODE_KIND(name, kind, field, fallback, help) \
    { name, kind, offsetof(struct node_options, field), fallback, "", 0, 0, help }
#define NODE_TEXT(name, field, fallback, help) NODE_KIND(name, CONFIG_TEXT, field, fallback, help)

static const struct config_option node_option_table[] = {
    NODE_TEXT("data-dir", data_dir, NULL, "directory of this node's data; created when missing"),
    NODE_KIND("listen", CONFIG_LISTEN, listen, "127.0.0.1:7101",
              "address to serve on; port 0 takes a free one"),
    NODE_KIND("advertise", CONFIG_ADDRESS, advertise, "",
              "address at which others reach this node; default: the bound one, unless that "
              "is a wildcard such as 0.0.0.0"),
    NODE_KIND("placement", CONFIG_ADDRESSES, placement, "127.0.0.1:7001",
              "addresses of the placement driver's members, comma-separated"),
    NODE_TEXT("ready-file", ready_file, "",
              "file to write the bound address to, once this node serves"),
    {"serve-clients", CONFIG_BOOL, offsetof(struct node_options, serve_clients), "true", "", 0, 0,
     "be a router as well: serve clients at the same address, for every range of the cluster"},
    NODE_U64("workers", workers, "1", "threads", 1, RANGE_WORKERS_MAX,
             "threads that own ranges; one per two processors is a good start"),
    NODE_U64("tick-ms", tick_ms, "10", "ms", 1, 1000, "grain of Raft's clock"),
    NODE_U64("heartbeat-ms", heartbeat_ms, "50", "ms", 1, 10000, "a leader's heartbeat"),
    NODE_U64("election-timeout-ms", election_timeout_ms, "150", "ms", 10, 60000,
             "silence after which followers elect; drawn from once to twice this"),
    NODE_U64("quiesce-ms", quiesce_ms, "150", "ms", 0, 3600000,
             "a range that was idle so long goes quiet and costs nothing; 0: none does"),
    NODE_U64("drain-ms", drain_ms, "3000", "ms", 0, 600000,
             "how long a stopping node may take to hand its leaders over"),
    {"lease-reads", CONFIG_BOOL, offsetof(struct node_options, lease_reads), "true", "", 0, 0,
     "answer reads under the leader's lease; false: a quorum round each"},
    NODE_U64("lease-drift-ppm", lease_drift_ppm, "10000", "ppm", 0, 500000,
             "by how much the rates of two nodes' clocks may differ"),
    NODE_U64("slow-ms", slow_ms, "1000", "ms", 0, 600000,
             "log writes that take so long here, with the time of each stage; 0: none"),
    NODE_U64("log-entries-kept", log_entries_kept, "20000", "entries", 1, 1000000000,
             "applied log entries kept for followers that are behind"),
    NODE_U64("log-bytes-kept", log_bytes_kept, "33554432", "bytes", 1024, UINT64_C(1) << 40,
             "the same in bytes; whichever is reached first"),
    NODE_U64("snapshot-bytes-per-s", snapshot_bytes_per_s, "67108864", "bytes/s", 1024,
             UINT64_C(1) << 40, "rate of the snapshots that this node sends"),
    NODE_U64("block-cache-bytes", block_cache_bytes, "67108864", "bytes", 1048576,
             UINT64_C(1) << 40, "cache of the storage engine"),
    NODE_U64("write-buffer-bytes", write_buffer_bytes, "33554432", "bytes", 1048576,
             UINT64_C(1) << 40, "memory for writes not yet in table files"),
    NODE_U64("min-free-bytes", min_free_bytes, "67108864", "bytes", 0, UINT64_C(1) << 50,
             "refuse to start with less free space on the disk"),
    NODE_U64("reserve-free-bytes", reserve_free_bytes, "1073741824", "bytes", 0, UINT64_C(1) << 50,
             "refuse writes and hand leaders over with less free space on the disk; at most a "
             "quarter of the disk counts; 0: never"),
    COMMON_OPTIONS(struct node_options),
};

static const struct config_table node_table = {
    .command = "node",
    .synopsis = "Runs a node: it keeps replicas of ranges in its data directory, takes part in "
                "their Raft groups, and serves routers and clients. At its first start it "
                "registers with the "
                "placement driver, which gives it an id; the data directory belongs to that "
                "cluster and id from then on. SIGTERM hands leaders over, then stops.",
    .examples = "  flotilla node --data-dir n1 --listen 127.0.0.1:7101\n"
                "  flotilla node --data-dir /var/lib/flotilla --listen 0.0.0.0:7101 \\\n"
                "      --advertise db1.example:7101 --placement p1.example:7001\n",
    .options = node_option_table,
    .option_count = OPTION_COUNT(node_option_table),
};

enum node_state { OPENING, REGISTERING, SERVING, DRAINING, LEAVING, STOPPED };

struct node_process {
    struct node_options options;
    enum node_state state;
    int exit_code;
    struct buf engine_path, address;
    struct storage_engine *engine;
    struct placement_identity identity;
    uint64_t opened_sequence; /* what the engine had synced when it was opened */
    struct rpc_loop *loop;
    struct rpc_server *server;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    struct rpc_node *node;
    struct placement_client *placement;
    struct router_runtime *router; /* NULL: clients are not served */
    struct kv_service *service;    /* the same */
    struct signals *signals;
    struct range_oracle oracle;
    struct range_store *store;
    pthread_t *workers;
    uint32_t worker_count;
    struct disk_watch disk;
    struct rpc_timer drain_timer;
    struct range_drain drain;
};

static void stop_loop(struct node_process *process) {
    process->state = STOPPED;
    rpc_loop_stop(process->loop);
}

static void stop_failed(struct node_process *process) {
    process->exit_code = CMD_FAILED;
    stop_loop(process);
}

/* ---- stopping ---- */

static void left(void *ctx) {
    stop_loop(ctx);
}

static void leave(struct node_process *process) {
    process->state = LEAVING;
    placement_client_leave(process->placement, LEAVE_TIMEOUT_MS, left, process);
}

static void drain_step(struct rpc_timer *timer) {
    struct node_process *process = CONTAINER_OF(timer, struct node_process, drain_timer);
    struct range_drain *drain = &process->drain;
    uint64_t now_us = rpc_loop_now_us(process->loop);
    if (!range_drain_step(drain, now_us)) {
        rpc_timer_start(process->loop, timer, now_us + RANGE_DRAIN_POLL_US);
        return;
    }
    if (drain->left > 0)
        log_warn("drain_incomplete", "node=%" PRIu64 " leaders_left=%u after_ms=%" PRIu64,
                 process->identity.node_id, drain->left, process->options.drain_ms);
    else
        log_info("drained", "node=%" PRIu64 " leaders_kept=%u", process->identity.node_id,
                 drain->kept);
    leave(process);
}

static void signal_caught(void *ctx, uint32_t number) {
    struct node_process *process = ctx;
    log_info("stopping", "node=%" PRIu64 " signals=%u", process->identity.node_id, number);
    switch (process->state) {
    case SERVING:
        process->state = DRAINING;
        rpc_health_set(process->health, "", false);
        if (process->router) rpc_health_set(process->health, "flotilla.v1.KeyValue", false);
        range_drain_begin(&process->drain, process->store,
                          rpc_loop_now_us(process->loop) + process->options.drain_ms * 1000);
        process->drain_timer.fire = drain_step;
        drain_step(&process->drain_timer);
        return;
    case DRAINING: /* a second signal: the operator does not want to wait */
    case OPENING:
    case REGISTERING:
        stop_loop(process);
        return;
    case LEAVING:
    case STOPPED:
        return;
    }
}

/* ---- serving ---- */

static void *run_worker(void *ctx) {
    range_worker_run(ctx);
    return NULL;
}

static void address_known(void *ctx, const struct placement_node_address *node) {
    struct node_process *process = ctx;
    struct buf text = {0};
    buf_append(&text, node->address);
    buf_append_byte(&text, 0);
    rpc_node_set_address(process->node, node->node_id, (const char *)text.data, node->incarnation);
    buf_done(&text);
}

static void fenced(void *ctx, struct slice text) {
    struct node_process *process = ctx;
    log_error("fenced", "node=%" PRIu64 " reason=\"%.*s\"", process->identity.node_id,
              (int)text.len, (const char *)text.data);
    stop_failed(process);
}

static enum status open_store(struct node_process *process, struct buf *error) {
    const struct node_options *options = &process->options;
    struct range_store_config config = {
        .node_id = process->identity.node_id,
        .workers = (uint32_t)options->workers,
        .slow_us = options->slow_ms * 1000,
        .tick_us = options->tick_ms * 1000,
        .heartbeat_ticks = (uint32_t)(options->heartbeat_ms / options->tick_ms),
        .election_ticks = (uint32_t)(options->election_timeout_ms / options->tick_ms),
        .quiesce_ticks =
            (uint32_t)((options->quiesce_ms + options->tick_ms - 1) / options->tick_ms),
        .lease_drift_ppm = (uint32_t)options->lease_drift_ppm,
        .lease_reads = options->lease_reads,
        .log_entries_kept = options->log_entries_kept,
        .log_bytes_kept = options->log_bytes_kept,
        .snapshot_bytes_per_s = options->snapshot_bytes_per_s,
        .seed = prng_seed_from_system(),
    };
    return range_store_open(&config, process->engine, rpc_node_transport(process->node),
                            &process->oracle, clock_system(), error, &process->store);
}

static void start_workers(struct node_process *process) {
    process->worker_count = range_store_worker_count(process->store);
    process->workers = memory_zalloc(sizeof(pthread_t) * process->worker_count);
    for (uint32_t i = 0; i < process->worker_count; i++) {
        struct range_worker *worker = range_store_worker(process->store, i);
        if (pthread_create(&process->workers[i], NULL, run_worker, worker) != 0)
            fatal("cannot start worker thread %u; raise the limit on threads (ulimit -u)", i);
    }
}

static void tell_ready(struct node_process *process) {
    struct buf error = {0};
    const char *address = (const char *)process->address.data;
    rpc_health_set(process->health, "", true);
    log_info("ready", "node=%" PRIu64 " cluster=%016" PRIx64 " address=%s",
             process->identity.node_id, process->identity.cluster_id, address);
    if (process->options.ready_file[0] &&
        common_write_file(process->options.ready_file, address, &error) != STATUS_OK) {
        log_error("ready_file", "error=\"%.*s\"", (int)error.len, (const char *)error.data);
        stop_failed(process);
    }
    buf_done(&error);
}

static void registered(void *ctx, enum status status, struct slice text,
                       const struct placement_identity *identity) {
    struct node_process *process = ctx;
    struct buf error = {0};
    if (process->state != REGISTERING) return; /* a signal came first */
    if (status != STATUS_OK) {
        log_error("refused", "by=placement data_dir=%s reason=\"%.*s\"", process->options.data_dir,
                  (int)text.len, (const char *)text.data);
        stop_failed(process);
        return;
    }
    process->identity = *identity;
    status = node_identity_save(process->engine, identity);
    if (status != STATUS_OK)
        fatal("cannot store the node's identity in %s: %s", process->options.data_dir,
              status_text(status));
    if (open_store(process, &error) != STATUS_OK) {
        log_error("open_failed", "data_dir=%s reason=\"%.*s\"", process->options.data_dir,
                  (int)error.len, (const char *)error.data);
        stop_failed(process);
        goto out;
    }
    process->state = SERVING;
    start_workers(process);
    struct rpc_identity rpc_identity = {
        .cluster_id = identity->cluster_id,
        .node_id = identity->node_id,
        .incarnation = placement_client_incarnation(process->placement),
    };
    rpc_node_start(process->node, process->store, &rpc_identity);
    placement_client_start_node(process->placement, &(struct placement_client_node){
                                                        .store = process->store,
                                                        .data_directory = process->options.data_dir,
                                                        .ctx = process,
                                                        .address = address_known,
                                                        .fenced = fenced,
                                                    });
    disk_watch_start(&process->disk, process->loop, process->options.data_dir,
                     process->options.reserve_free_bytes, process->store);
    if (process->router) {
        router_runtime_set_store(process->router, identity->node_id, process->store);
        kv_service_set_ready(process->service, true);
    }
    tell_ready(process);
out:
    buf_done(&error);
}

/* ---- opening ---- */

static enum status open_engine(struct node_process *process, struct buf *error) {
    const struct node_options *options = &process->options;
    enum status status = common_make_data_directory(options->data_dir, error);
    if (status != STATUS_OK) return status;
    buf_printf(&process->engine_path, "%s/engine", options->data_dir);
    buf_append_byte(&process->engine_path, 0);
    struct rocksdb_engine_config config = {
        .directory = (const char *)process->engine_path.data,
        .block_cache_bytes = options->block_cache_bytes,
        .write_buffer_bytes = options->write_buffer_bytes,
        .min_free_bytes = options->min_free_bytes,
    };
    status = rocksdb_engine_open(&config, error, &process->engine);
    if (status != STATUS_OK) return status;
    process->opened_sequence = storage_synced_sequence(process->engine);
    status = node_identity_load(process->engine, error, &process->identity);
    if (status == STATUS_NOT_FOUND)
        process->identity = (struct placement_identity){.uuid = placement_uuid_new()};
    else if (status != STATUS_OK)
        return status;
    /* Kept before it is first sent: however often a start is cut short, placement sees the same
     * directory, and a start that it has seen is never counted again. */
    process->identity.starts++;
    status = node_identity_save(process->engine, &process->identity);
    if (status != STATUS_OK)
        buf_printf(error, "cannot write to %s: %s", options->data_dir, status_text(status));
    return status;
}

/* The address that others are told: as given, else the listening host with the bound port. */
static void choose_address(struct node_process *process) {
    const struct node_options *options = &process->options;
    if (options->advertise[0])
        buf_append(&process->address, slice_from_text(options->advertise));
    else
        rpc_server_address(process->server, &process->address);
    buf_append_byte(&process->address, 0);
}

static void range_map_came(void *ctx, size_t ranges) {
    struct node_process *process = ctx;
    if (process->state == SERVING)
        rpc_health_set(process->health, "flotilla.v1.KeyValue", ranges > 0);
}

/* The node as a router: a client that talks to it saves a hop, and two for what it leads itself. */
static enum status open_router(struct node_process *process, struct buf *error) {
    if (!process->options.serve_clients) return STATUS_OK;
    struct router_runtime_config config = {
        .placement = process->options.placement,
        .client = process->placement,
        .beside_store = true,
        .router = {.seed = prng_seed_from_system(), .slow_us = process->options.slow_ms * 1000},
        .mapped = range_map_came,
        .ctx = process,
    };
    enum status status = router_runtime_new(process->loop, &config, error, &process->router);
    if (status != STATUS_OK) return status;
    process->service =
        kv_service_new(process->loop, process->server, router_runtime_router(process->router));
    /* The port is open while placement is asked who this is; the router is not asked before that
     * is known, nor before the store is there. */
    kv_service_set_ready(process->service, false);
    return STATUS_OK;
}

static void tell_facts(void *ctx, struct rpc_node_facts *ret_facts) {
    const struct node_process *process = ctx;
    struct disk_space space = {0};
    /* What cannot be read is not known. */
    if (disk_space_read(process->options.data_dir, &space) != STATUS_OK)
        space = (struct disk_space){0};
    enum rpc_node_state state = RPC_NODE_STOPPING;
    if (process->state <= SERVING)
        state = process->state == SERVING ? RPC_NODE_SERVING : RPC_NODE_STARTING;
    *ret_facts = (struct rpc_node_facts){.state = state,
                                         .serves_clients = process->options.serve_clients,
                                         .placement_answered_us =
                                             placement_client_answered_us(process->placement),
                                         .disk_bytes = space.total_bytes,
                                         .disk_free_bytes = space.free_bytes};
}

static enum status open_network(struct node_process *process, struct buf *error) {
    process->loop = rpc_loop_new();
    process->server = rpc_server_new(
        process->loop,
        &(struct rpc_server_config){.listen = process->options.listen,
                                    .identity = {.cluster_id = process->identity.cluster_id,
                                                 .node_id = process->identity.node_id}});
    process->node = rpc_node_new(process->loop, process->server);
    rpc_node_set_facts(process->node, tell_facts, process);
    process->health = rpc_health_new(process->server);
    process->reflection = rpc_reflection_new(process->server);
    rpc_metrics_serve(process->server);
    enum status status = placement_client_new(
        &(struct placement_client_config){.loop = process->loop,
                                          .addresses = process->options.placement},
        error, &process->placement);
    if (status == STATUS_OK) status = open_router(process, error);
    if (status == STATUS_OK) status = rpc_server_start(process->server, error);
    if (status != STATUS_OK) return status;
    choose_address(process);
    process->oracle = placement_client_oracle(process->placement);
    return STATUS_OK;
}

/* "0.0.0.0:7101", "[::]:7101": every address of this machine, and none that others can dial. */
static bool is_wildcard(const char *address) {
    char host[INET6_ADDRSTRLEN + 1];
    struct address parsed;
    if (address_parse(slice_from_text(address), ADDRESS_TO_LISTEN, &parsed)) return false;
    if (parsed.host.len >= sizeof(host)) return false;
    snprintf(host, sizeof(host), "%.*s", (int)parsed.host.len, (const char *)parsed.host.data);
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, host, &four) == 1) return four.s_addr == INADDR_ANY;
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_UNSPECIFIED(&six);
}

static enum status check_addresses(const struct node_options *options, struct buf *error) {
    bool given = options->advertise[0] != 0;
    const char *told = given ? options->advertise : options->listen;
    if (!is_wildcard(told)) return STATUS_OK;
    buf_printf(error,
               "%s %s: the others would be told this address and cannot reach this node there; %s "
               "--advertise HOST:PORT, the address at which they can",
               given ? "--advertise" : "--listen", told, given ? "give" : "add");
    return STATUS_INVALID;
}

static enum status check_options(const struct node_options *options, struct buf *error) {
    if (options->heartbeat_ms < options->tick_ms) {
        buf_printf(error, "--heartbeat-ms (%" PRIu64 ") must be at least --tick-ms (%" PRIu64 ")",
                   options->heartbeat_ms, options->tick_ms);
        return STATUS_INVALID;
    }
    if (options->election_timeout_ms < 2 * options->heartbeat_ms) {
        buf_printf(error,
                   "--election-timeout-ms (%" PRIu64
                   ") must be at least twice --heartbeat-ms (%" PRIu64
                   "), or one late heartbeat costs an election",
                   options->election_timeout_ms, options->heartbeat_ms);
        return STATUS_INVALID;
    }
    return check_addresses(options, error);
}

static void close_all(struct node_process *process) {
    if (process->loop) rpc_timer_stop(process->loop, &process->drain_timer);
    disk_watch_stop(&process->disk);
    signals_free(process->signals);
    if (process->store) {
        rpc_node_stop(process->node);
        router_runtime_unset_store(process->router);
        range_store_stop(process->store);
        for (uint32_t i = 0; i < process->worker_count; i++)
            ASSERT(pthread_join(process->workers[i], NULL) == 0);
    }
    /* The server's end runs turns of the loop, and in these the router may ask placement for a map.
     */
    if (process->server) rpc_server_free(process->server);
    router_runtime_free(process->router);
    if (process->service) kv_service_free(process->service);
    if (process->placement) placement_client_free(process->placement);
    if (process->store) range_store_free(process->store);
    if (process->node) rpc_node_free(process->node);
    if (process->health) rpc_health_free(process->health);
    if (process->reflection) rpc_reflection_free(process->reflection);
    if (process->loop) rpc_loop_free(process->loop);
    storage_close(process->engine);
    memory_free(process->workers);
    buf_done(&process->engine_path);
    buf_done(&process->address);
    config_free_values(&node_table, &process->options);
}

static int cmd_node(int argument_count, char **arguments) {
    struct node_process process = {0};
    struct buf error = {0};
    switch (common_load(&node_table, argument_count, arguments, &process.options,
                        &process.options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    storage_metrics_register();
    range_metrics_register();
    range_families_register();
    router_metrics_register();
    rpc_metrics_register();
    enum status status = check_options(&process.options, &error);
    if (status == STATUS_OK) status = open_engine(&process, &error);
    if (status == STATUS_OK) status = open_network(&process, &error);
    if (status != STATUS_OK) {
        common_complain("node", &error);
        process.exit_code = common_exit_code(status);
    } else {
        process.state = REGISTERING;
        process.signals = signals_watch(process.loop, signal_caught, &process);
        const struct placement_registration registration = {
            .identity = process.identity,
            .synced_sequence = process.opened_sequence,
            .advertise = (const char *)process.address.data,
            .version = common_version(),
        };
        placement_client_register(process.placement, &registration, registered, &process);
        rpc_loop_run(process.loop);
    }
    uint64_t node_id = process.identity.node_id;
    close_all(&process);
    buf_done(&error);
    if (process.exit_code == CMD_OK) log_info("stopped", "node=%" PRIu64, node_id);
    return process.exit_code;
}

const struct command command_node = {
    .name = "node",
    .help = "range store: one engine, one transport, many range replicas",
    .run = cmd_node,
    .table = &node_table,
};
