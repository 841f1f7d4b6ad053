/* `flotilla admin`: what an operator asks the cluster. */
#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/prng.h"
#include "cmd/admin.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "rpc/metrics_service.h"

struct admin_options {
    struct common_options common;
    char *address;
    uint64_t timeout_ms;
};

#define OPTION(name, kind, field, fallback, unit, minimum, maximum, help) \
    ADMIN_OPTION(struct admin_options, name, kind, field, fallback, unit, minimum, maximum, help)
#define ADMIN_SHARED                                                      \
    OPTION("timeout-ms", CONFIG_U64, timeout_ms, "5000", "ms", 1, 600000, \
           "give up after so long"),                                      \
        COMMON_OPTIONS(struct admin_options)

static const struct config_option metrics_options[] = {
    OPTION("address", CONFIG_ADDRESS, address, NULL, "", 0, 0,
           "host:port of the process: placement, a node or a router"),
    ADMIN_SHARED,
};

static const struct config_table metrics_table = {
    .command = "admin metrics",
    .synopsis = "Prints what a process counts, in the Prometheus text format. Every placement "
                "member, node and router can be asked.",
    .examples = "  flotilla admin metrics --address 127.0.0.1:7101\n"
                "  flotilla admin metrics --address 127.0.0.1:7000 | grep rpc_server_calls\n",
    .options = metrics_options,
    .option_count = OPTION_COUNT(metrics_options),
};

struct admin {
    const struct config_table *table;
    struct admin_options options;
    struct rpc_loop *loop;
    bool answered;
    int exit_code;
};

static void print_line(struct slice text) {
    bool ended = text.len > 0 && text.data[text.len - 1] == '\n';
    printf("%.*s%s", (int)text.len, (const char *)text.data, ended ? "" : "\n");
}

/* ---- metrics ---- */

static void metrics_came(void *ctx, const struct rpc_status *status, struct slice text) {
    struct admin *admin = ctx;
    admin->answered = true;
    if (status->code == RPC_OK) {
        print_line(text);
        return;
    }
    bool older = status->code == RPC_UNIMPLEMENTED;
    common_complain_text(admin->table->command, "%s: %.*s%s", admin->options.address,
                         (int)status->text.len, (const char *)status->text.data,
                         older ? "; is it a process of flotilla, of this version?" : "");
    admin->exit_code = CMD_FAILED;
}

static void run_metrics(struct admin *admin) {
    uint64_t timeout_us = admin->options.timeout_ms * 1000;
    struct rpc_client *client = rpc_client_new(admin->loop, admin->options.address);
    rpc_metrics_read(client, timeout_us, metrics_came, admin);
    /* The call's deadline ends the wait. */
    (void)rpc_loop_run_until(admin->loop, &admin->answered, 2 * timeout_us + 1000000);
    rpc_client_free(client);
}

/* ---- a router of its own ---- */

enum status admin_router_new(struct rpc_loop *loop, const char *placement,
                             struct placement_client *client, uint64_t timeout_us,
                             struct buf *error, struct router_runtime **ret_runtime) {
    struct router_runtime_config config = {
        .placement = placement,
        .client = client,
        .router = {.default_timeout_us = timeout_us,
                   .backoff_min_us = 2000,
                   .backoff_max_us = 100000,
                   .attempt_timeout_us = 500000,
                   .outstanding_max = 16,
                   .outstanding_bytes_max = 16u << 20,
                   .seed = prng_seed_from_system()},
    };
    return router_runtime_new(loop, &config, error, ret_runtime);
}

static int run_admin(const struct config_table *table, void (*run)(struct admin *admin),
                     int argument_count, char **arguments) {
    struct admin admin = {.table = table};
    switch (common_load(table, argument_count, arguments, &admin.options, &admin.options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    /* The answer speaks for itself; connections coming and going do not matter here. */
    if (log_level_current == LOG_INFO) log_set_level(LOG_ERROR);
    admin.loop = rpc_loop_new();
    run(&admin);
    rpc_loop_free(admin.loop);
    config_free_values(table, &admin.options);
    return admin.exit_code;
}

static int run_metrics_command(int argument_count, char **arguments) {
    return run_admin(&metrics_table, run_metrics, argument_count, arguments);
}

static const struct command command_admin_metrics = {
    .name = "metrics",
    .help = "what a process counts",
    .run = run_metrics_command,
    .table = &metrics_table,
};

static const struct command *const admin_parts[] = {
    &command_admin_status,       &command_admin_metrics,
    &command_admin_transfer,     &command_admin_replicas,
    &command_admin_add_replica,  &command_admin_remove_replica,
    &command_admin_move_replica, NULL};

const struct command command_admin = {
    .name = "admin",
    .help = "what an operator asks the cluster",
    .parts = admin_parts,
};
