/* Where the time of writes went: what `--stages` adds to a load, and `flotilla bench stages`, which
 * watches a cluster under somebody else's load. */
#include "cmd/bench_stages.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "cmd/bench.h"
#include "cmd/commands.h"
#include "cmd/signals.h"
#include "range/limits.h"
#include "rpc/metrics_service.h"
#include "rpc/placement_client.h"

#define ANSWER_TIMEOUT_US 5000000u

/* Waits for what never comes. */
static const bool never = false;

/* ---- whom to ask ---- */

#define ROUTERS_MAX 16u

struct addresses {
    struct buf servers[RANGE_LABELLED_NODES_MAX + ROUTERS_MAX]; /* NUL-terminated */
    uint64_t node_ids[RANGE_LABELLED_NODES_MAX + ROUTERS_MAX];  /* 0: no node */
    uint32_t count;
    bool answered;
    struct buf *error;
};

static void map_came(void *ctx, enum status status, struct slice text,
                     const struct placement_client_map *map) {
    struct addresses *addresses = ctx;
    addresses->answered = true;
    if (status != STATUS_OK) {
        buf_printf(addresses->error, "placement did not say where the nodes are: %.*s",
                   (int)text.len, (const char *)text.data);
        return;
    }
    for (uint32_t i = 0; i < map->node_count && i < RANGE_LABELLED_NODES_MAX; i++) {
        addresses->node_ids[addresses->count] = map->nodes[i].node_id;
        struct buf *address = &addresses->servers[addresses->count++];
        buf_append(address, map->nodes[i].address);
        buf_append_byte(address, 0);
    }
}

static bool is_known(const struct addresses *addresses, struct slice address) {
    for (uint32_t i = 0; i < addresses->count; i++) {
        struct slice known = slice_from_text((const char *)addresses->servers[i].data);
        if (slice_equal(known, address)) return true;
    }
    return false;
}

/* A node that serves the clients itself is asked once. */
static void add_routers(struct addresses *addresses, const char *list) {
    size_t count_max = sizeof(addresses->servers) / sizeof(addresses->servers[0]);
    while (*list && addresses->count < count_max) {
        size_t len = strcspn(list, ",");
        struct slice address = slice_make(list, len);
        if (len > 0 && !is_known(addresses, address)) {
            struct buf *server = &addresses->servers[addresses->count++];
            buf_append(server, address);
            buf_append_byte(server, 0);
        }
        list += len + (list[len] == ',');
    }
}

static void ask_addresses(const struct stages_source *source, struct addresses *addresses) {
    struct placement_client *placement;
    struct placement_client_config config = {.loop = source->loop, .addresses = source->placement};
    if (placement_client_new(&config, addresses->error, &placement) != STATUS_OK) return;
    placement_client_ranges(placement, map_came, addresses);
    /* The client's own attempts end within its time-out at each member. */
    (void)rpc_loop_run_until(source->loop, &addresses->answered, UINT64_C(600) * 1000000);
    placement_client_free(placement);
}

/* ---- one process's page ---- */

struct page_reading {
    struct bench_stages *stages;
    const char *address;
    uint64_t node; /* 0: a router */
    bool answered;
    struct buf *error;
};

static void page_came(void *ctx, const struct rpc_status *status, struct slice text) {
    struct page_reading *reading = ctx;
    reading->answered = true;
    if (status->code != RPC_OK)
        buf_printf(reading->error, "no metrics from %s: %.*s", reading->address,
                   (int)status->text.len, (const char *)status->text.data);
    else if (!bench_stages_read(reading->stages, reading->node, text))
        buf_printf(reading->error, "the metrics of %s are of another version of flotilla",
                   reading->address);
}

/* Older processes have none of these metrics and add nothing. */
static enum status read_page(const struct stages_source *source, uint64_t node, const char *address,
                             struct bench_stages *stages, struct buf *error) {
    struct page_reading reading = {
        .stages = stages, .address = address, .node = node, .error = error};
    size_t error_len = error->len;
    struct rpc_client *client = rpc_client_new(source->loop, address);
    rpc_metrics_read(client, ANSWER_TIMEOUT_US, page_came, &reading);
    /* The call's deadline ends the wait. */
    (void)rpc_loop_run_until(source->loop, &reading.answered, 2 * ANSWER_TIMEOUT_US);
    rpc_client_free(client);
    return error->len == error_len ? STATUS_OK : STATUS_UNAVAILABLE;
}

enum status stages_fetch(const struct stages_source *source, struct bench_stages **ret_stages,
                         struct buf *error) {
    struct addresses addresses = {.error = error};
    struct bench_stages *stages = MEMORY_NEW(struct bench_stages);
    ask_addresses(source, &addresses);
    enum status status = addresses.count > 0 ? STATUS_OK : STATUS_UNAVAILABLE;
    if (status != STATUS_OK && error->len == 0)
        buf_printf(error, "placement at %s knows no node", source->placement);
    if (status == STATUS_OK) add_routers(&addresses, source->router);
    for (uint32_t i = 0; status == STATUS_OK && i < addresses.count; i++)
        status = read_page(source, addresses.node_ids[i], (const char *)addresses.servers[i].data,
                           stages, error);
    for (uint32_t i = 0; i < addresses.count; i++)
        buf_done(&addresses.servers[i]);
    if (status == STATUS_OK)
        *ret_stages = stages;
    else
        memory_free(stages);
    return status;
}

void stages_print(FILE *out, const struct bench_stages *stages,
                  const struct bench_stages_client *client) {
    struct buf table = {0};
    bench_stages_append_table(&table, stages, client);
    fprintf(out, "%.*s", (int)table.len, (const char *)table.data);
    buf_done(&table);
}

/* ---- flotilla bench stages ---- */

struct stages_options {
    struct common_options common;
    char *router, *placement, *json;
    uint64_t duration_s;
};

#define STAGES_KIND(name, kind, field, fallback, help) \
    { name, kind, offsetof(struct stages_options, field), fallback, "", 0, 0, help }
#define STAGES_TEXT(name, field, fallback, help) \
    STAGES_KIND(name, CONFIG_TEXT, field, fallback, help)

static const struct config_option stages_options[] = {
    STAGES_KIND("router", CONFIG_ADDRESSES, router, "127.0.0.1:7000",
                "addresses of the routers, or of nodes that serve the clients, comma-separated"),
    STAGES_KIND("placement", CONFIG_ADDRESSES, placement, "127.0.0.1:7001",
                "addresses of the placement driver's members, comma-separated"),
    {"duration-s", CONFIG_U64, offsetof(struct stages_options, duration_s), "10", "s", 1, 86400,
     "how long to watch"},
    STAGES_TEXT("json", json, "", "file to write the final JSON line to as well"),
    COMMON_OPTIONS(struct stages_options),
};

static const struct config_table stages_table = {
    .command = "bench stages",
    .synopsis = "Watches a cluster under load for a while and prints where the time of its writes "
                "went: router, the way to the leader, mailbox, timestamp, quorum with the leader's "
                "disk and each follower at its side, apply, reply. Puts no load on it: use it "
                "beside a load, or give a load --stages. Ends with one line of JSON.",
    .examples = "  flotilla bench stages --duration-s 5\n"
                "  flotilla bench put --clients 64 --in-flight 1 --unary --stages\n",
    .options = stages_options,
    .option_count = OPTION_COUNT(stages_options),
};

static enum status report(const struct stages_options *options, const struct bench_stages *stages,
                          struct buf *error) {
    struct buf json = {0};
    enum status status = STATUS_OK;
    stages_print(stdout, stages, NULL);
    cJSON *object = json_object();
    bench_stages_add_json(object, stages, NULL);
    json_print_take(&json, object);
    buf_append_byte(&json, 0);
    printf("%s\n", (const char *)json.data);
    if (options->json[0]) status = common_write_file(options->json, (const char *)json.data, error);
    buf_done(&json);
    return status;
}

static int run_stages(const struct stages_options *options) {
    struct buf error = {0};
    struct bench_stages *before = NULL, *after = NULL;
    struct stages_source source = {
        .loop = rpc_loop_new(), .router = options->router, .placement = options->placement};
    enum status status = stages_fetch(&source, &before, &error);
    if (status == STATUS_OK) {
        (void)rpc_loop_run_until(source.loop, &never, options->duration_s * 1000000);
        status = stages_fetch(&source, &after, &error);
    }
    if (status == STATUS_OK) {
        bench_stages_subtract(after, before);
        status = report(options, after, &error);
    }
    if (status != STATUS_OK) common_complain("bench stages", &error);
    memory_free(before);
    memory_free(after);
    rpc_loop_free(source.loop);
    buf_done(&error);
    return status == STATUS_OK ? CMD_OK : CMD_FAILED;
}

static int bench_stages_command(int argument_count, char **arguments) {
    struct stages_options options = {0};
    switch (common_load(&stages_table, argument_count, arguments, &options, &options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    signals_restore_in_child(); /* nothing is under way that an interrupt could leave undone */
    int exit_code = run_stages(&options);
    config_free_values(&stages_table, &options);
    return exit_code;
}

const struct command command_bench_stages = {
    .name = "stages",
    .help = "where the time of a running cluster's writes goes",
    .run = bench_stages_command,
    .table = &stages_table,
};
