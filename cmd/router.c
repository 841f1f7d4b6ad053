/* `flotilla router`: a router on a loop with the public gRPC face. Stateless: any number may run,
 * and one that is killed is replaced by starting another. */
#include <inttypes.h>
#include <string.h>

#include "base/prng.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/router_runtime.h"
#include "cmd/signals.h"
#include "range/router/metrics.h"
#include "rpc/health.h"
#include "rpc/kv_service.h"
#include "rpc/metrics.h"
#include "rpc/metrics_service.h"
#include "rpc/reflection.h"

struct router_options {
    struct common_options common;
    char *listen, *placement, *ready_file;
    uint64_t default_timeout_ms, attempt_timeout_ms, backoff_min_ms, backoff_max_ms;
    uint64_t slow_ms, outstanding_max, outstanding_bytes_max;
};

#define ROUTER_U64(name, field, fallback, unit, minimum, maximum, help)                    \
    {                                                                                      \
        name, CONFIG_U64, offsetof(struct router_options, field), fallback, unit, minimum, \
            maximum, help                                                                  \
    }
#define ROUTER_KIND(name, kind, field, fallback, help) \
    { name, kind, offsetof(struct router_options, field), fallback, "", 0, 0, help }
#define ROUTER_TEXT(name, field, fallback, help) \
    ROUTER_KIND(name, CONFIG_TEXT, field, fallback, help)

static const struct config_option router_option_table[] = {
    ROUTER_KIND("listen", CONFIG_LISTEN, listen, "127.0.0.1:7000",
                "address to serve clients on; port 0 takes a free one"),
    ROUTER_KIND("placement", CONFIG_ADDRESSES, placement, "127.0.0.1:7001",
                "addresses of the placement driver's members, comma-separated"),
    ROUTER_TEXT("ready-file", ready_file, "",
                "file to write the bound address to, once this router listens"),
    ROUTER_U64("default-timeout-ms", default_timeout_ms, "5000", "ms", 1, 600000,
               "deadline of requests that bring none"),
    ROUTER_U64("attempt-timeout-ms", attempt_timeout_ms, "500", "ms", 1, 600000,
               "a node silent for so long is passed over"),
    ROUTER_U64("backoff-min-ms", backoff_min_ms, "2", "ms", 1, 10000, "first pause before a retry"),
    ROUTER_U64("backoff-max-ms", backoff_max_ms, "200", "ms", 1, 60000,
               "pauses double with jitter up to this"),
    ROUTER_U64("slow-ms", slow_ms, "1000", "ms", 0, 600000,
               "log requests that take so long, with the time of each stage; 0: none"),
    ROUTER_U64("outstanding-max", outstanding_max, "65536", "requests", 1, 10000000,
               "requests being seen through; beyond, clients are told to come back"),
    ROUTER_U64("outstanding-bytes-max", outstanding_bytes_max, "268435456", "bytes", 16777216,
               UINT64_C(1) << 40, "the same in bytes"),
    COMMON_OPTIONS(struct router_options),
};

static const struct config_table router_table = {
    .command = "router",
    .synopsis = "Runs a router: the gRPC service flotilla.v1.KeyValue that clients talk to. It "
                "finds the range of each key and its leader, retries inside the client's deadline, "
                "and coalesces requests. It keeps no data: start as many as you like.",
    .examples = "  flotilla router\n"
                "  flotilla router --listen 0.0.0.0:7000 --placement p1.example:7001\n",
    .options = router_option_table,
    .option_count = OPTION_COUNT(router_option_table),
};

struct router_process {
    struct router_options options;
    struct rpc_loop *loop;
    struct rpc_server *server;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    struct router_runtime *runtime;
    struct kv_service *service;
    struct signals *signals;
};

static void signal_caught(void *ctx, uint32_t number) {
    struct router_process *process = ctx;
    log_info("stopping", "signals=%" PRIu32, number);
    rpc_health_set(process->health, "", false);
    rpc_loop_stop(process->loop);
}

static void mapped(void *ctx, size_t ranges) {
    struct router_process *process = ctx;
    rpc_health_set(process->health, "", ranges > 0);
    rpc_health_set(process->health, "flotilla.v1.KeyValue", ranges > 0);
}

static enum status open_router(struct router_process *process, struct buf *error) {
    const struct router_options *options = &process->options;
    process->loop = rpc_loop_new();
    process->server =
        rpc_server_new(process->loop, &(struct rpc_server_config){.listen = options->listen});
    process->health = rpc_health_new(process->server);
    process->reflection = rpc_reflection_new(process->server);
    rpc_metrics_serve(process->server);
    struct router_runtime_config config = {
        .placement = options->placement,
        .router = {.default_timeout_us = options->default_timeout_ms * 1000,
                   .backoff_min_us = options->backoff_min_ms * 1000,
                   .backoff_max_us = options->backoff_max_ms * 1000,
                   .attempt_timeout_us = options->attempt_timeout_ms * 1000,
                   .outstanding_max = (uint32_t)options->outstanding_max,
                   .outstanding_bytes_max = options->outstanding_bytes_max,
                   .seed = prng_seed_from_system(),
                   .slow_us = options->slow_ms * 1000},
        .mapped = mapped,
        .ctx = process,
    };
    enum status status = router_runtime_new(process->loop, &config, error, &process->runtime);
    if (status != STATUS_OK) return status;
    process->service =
        kv_service_new(process->loop, process->server, router_runtime_router(process->runtime));
    return rpc_server_start(process->server, error);
}

static enum status tell_ready(struct router_process *process, struct buf *error) {
    struct buf address = {0};
    rpc_server_address(process->server, &address);
    log_info("ready", "address=%.*s", (int)address.len, (const char *)address.data);
    buf_append_byte(&address, 0);
    enum status status = STATUS_OK;
    if (process->options.ready_file[0])
        status = common_write_file(process->options.ready_file, (const char *)address.data, error);
    buf_done(&address);
    return status;
}

static void close_all(struct router_process *process) {
    signals_free(process->signals);
    /* Calls are cancelled first, so that what the router still holds is answered to nobody. */
    if (process->server) rpc_server_free(process->server);
    router_runtime_free(process->runtime);
    if (process->service) kv_service_free(process->service);
    if (process->health) rpc_health_free(process->health);
    if (process->reflection) rpc_reflection_free(process->reflection);
    if (process->loop) rpc_loop_free(process->loop);
    config_free_values(&router_table, &process->options);
}

static int cmd_router(int argument_count, char **arguments) {
    struct router_process process = {0};
    struct buf error = {0};
    switch (common_load(&router_table, argument_count, arguments, &process.options,
                        &process.options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    int exit_code = CMD_OK;
    router_metrics_register();
    rpc_metrics_register();
    enum status status = open_router(&process, &error);
    if (status == STATUS_OK) status = tell_ready(&process, &error);
    if (status != STATUS_OK) {
        common_complain("router", &error);
        exit_code = common_exit_code(status);
    } else {
        process.signals = signals_watch(process.loop, signal_caught, &process);
        rpc_loop_run(process.loop);
    }
    close_all(&process);
    buf_done(&error);
    if (exit_code == CMD_OK) log_info("stopped", "role=router");
    return exit_code;
}

const struct command command_router = {
    .name = "router",
    .help = "stateless: finds ranges and leaders for clients, sees requests through",
    .run = cmd_router,
    .table = &router_table,
};
