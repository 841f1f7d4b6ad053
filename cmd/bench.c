/* `flotilla bench`: its subcommands, and what they share. */
#include "cmd/bench.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/prng.h"
#include "bench/limits.h"
#include "cmd/bench_stages.h"
#include "cmd/commands.h"
#include "cmd/signals.h"

#define PROGRESS_INTERVAL_US 1000000u

static void print_progress(void *ctx, struct bench_load *load) {
    struct load_run *run = ctx;
    struct histogram interval;
    struct buf line = {0};
    struct bench_report report = {.load = load, .unit = run->unit};
    bench_load_take_interval(load, &interval);
    bench_append_progress(&line, &report, &run->before, &interval, PROGRESS_INTERVAL_US);
    run->before = *bench_load_totals(load);
    fprintf(stderr, "%.*s\n", (int)line.len, (const char *)line.data);
    buf_done(&line);
}

static void signal_caught(void *ctx, uint32_t number) {
    struct load_run *run = ctx;
    fprintf(stderr, "stopping: what is in flight is settled first\n");
    bench_session_interrupt(run->session);
}

static enum status check_target(const struct load_options *options, struct buf *error) {
    bool etcd = strcmp(options->target, "etcd") == 0;
    if (!etcd && strcmp(options->target, "flotilla") != 0) {
        buf_printf(error, "--target: '%s' is neither flotilla nor etcd", options->target);
        return STATUS_INVALID;
    }
    if (etcd && options->stages) {
        buf_printf(error, "--stages: etcd does not say where its time goes");
        return STATUS_INVALID;
    }
    if (etcd && options->endpoints[0] == '\0') {
        buf_printf(error, "--target etcd needs --endpoints: the addresses of its members");
        return STATUS_INVALID;
    }
    if (options->connections > options->clients) {
        buf_printf(error, "--connections is %" PRIu64 ", more than the %" PRIu64 " clients",
                   options->connections, options->clients);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status check_options(const struct load_options *options, struct buf *error) {
    if (options->clients * options->in_flight > BENCH_IN_FLIGHT_MAX) {
        buf_printf(error, "--clients times --in-flight is %" PRIu64 "; at most %u are possible",
                   options->clients * options->in_flight, BENCH_IN_FLIGHT_MAX);
        return STATUS_INVALID;
    }
    if (options->duration_s == 0 && options->count == 0) {
        buf_printf(error, "--duration-s and --count are both 0, so the run would never end; give "
                          "one of them");
        return STATUS_INVALID;
    }
    return check_target(options, error);
}

static struct bench_session *open_session(struct load_run *run) {
    const struct load_options *options = run->options;
    bool etcd = strcmp(options->target, "etcd") == 0;
    uint64_t connections = options->connections ? options->connections : options->clients;
    uint32_t in_flight = (uint32_t)options->in_flight;
    if (in_flight < LOAD_RUN_IN_FLIGHT_MIN) in_flight = LOAD_RUN_IN_FLIGHT_MIN;
    struct bench_session_config config = {
        .server = etcd ? BENCH_SERVER_ETCD : BENCH_SERVER_FLOTILLA,
        .addresses = etcd ? options->endpoints : options->router,
        .clients = (uint32_t)options->clients,
        .connections = (uint32_t)connections,
        .unary = options->unary,
        .etcd_remembers = options->etcd_remembers,
        .spreads = options->spreads,
        .in_flight = in_flight,
        .interval_us = PROGRESS_INTERVAL_US,
        .progress = options->progress ? print_progress : NULL,
        .ctx = run,
    };
    return bench_session_new(run->loop, &config);
}

enum status load_run_open(struct load_run *run, const char *command, const char *unit,
                          const struct load_options *options, struct buf *error) {
    *run = (struct load_run){.command = command, .unit = unit, .options = options};
    enum status status = check_options(options, error);
    if (status != STATUS_OK) return status;
    run->loop = rpc_loop_new();
    run->session = open_session(run);
    run->signals = signals_watch(run->loop, signal_caught, run);
    return bench_session_check(run->session, error);
}

void load_run_close(struct load_run *run) {
    signals_free(run->signals);
    bench_session_free(run->session);
    memory_free(run->stages);
    if (run->loop) rpc_loop_free(run->loop);
}

struct bench_load_config load_run_config(const struct load_run *run) {
    const struct load_options *options = run->options;
    return (struct bench_load_config){
        .clients = (uint32_t)options->clients,
        .in_flight = (uint32_t)options->in_flight,
        .count = options->count,
        .duration_us = options->duration_s * 1000000,
        .rate_per_s = (double)options->rate,
        .attempt_timeout_us = options->timeout_ms * 1000,
        .settle_us = options->settle_s * 1000000,
        .seed = options->seed,
    };
}

struct bench_load *load_run_once(struct load_run *run, const struct bench_load_config *config,
                                 const struct bench_workload *workload, struct buf *error) {
    struct bench_load *load =
        bench_load_new(config, workload, bench_session_target(run->session), clock_system());
    run->before = (struct bench_totals){0};
    bench_session_run(run->session, load);
    buf_append(error, bench_load_failure(load));
    return load;
}

/* NULL: not asked for, or not to be had, which is told and no reason not to measure. */
static struct bench_stages *read_stages(const struct load_run *run) {
    struct stages_source source = {
        .loop = run->loop, .router = run->options->router, .placement = run->options->placement};
    struct bench_stages *stages = NULL;
    struct buf error = {0};
    if (run->options->stages && stages_fetch(&source, &stages, &error) != STATUS_OK)
        common_complain(run->command, &error);
    buf_done(&error);
    return stages;
}

/* The clients' latency is that of writes only if they did nothing else: the router counts writes.
 */
static void compare_with_clients(struct load_run *run, const struct bench_load *load) {
    const struct histogram *latency = bench_load_latency(load);
    uint64_t writes = run->stages->stages[BENCH_STAGE_ROUTER_TOTAL].count;
    uint64_t apart = latency->count > writes ? latency->count - writes : writes - latency->count;
    if (latency->count == 0 || apart > latency->count / 50) return;
    run->client = (struct bench_stages_client){.count = latency->count,
                                               .mean_us = histogram_mean(latency),
                                               .p50_us = (double)histogram_quantile(latency, 0.5),
                                               .p99_us = (double)histogram_quantile(latency, 0.99)};
}

static const struct bench_stages_client *client_of(const struct load_run *run) {
    return run->client.count > 0 ? &run->client : NULL;
}

/* Consumes what was read before the load. */
static void stages_after(struct load_run *run, struct bench_stages *before,
                         const struct bench_load *load) {
    if (before) run->stages = read_stages(run);
    if (run->stages) {
        bench_stages_subtract(run->stages, before);
        compare_with_clients(run, load);
        stages_print(stderr, run->stages, client_of(run));
    }
    memory_free(before);
}

struct bench_load *load_run_measure(struct load_run *run, const struct bench_workload *workload,
                                    struct buf *error) {
    struct bench_load_config config = load_run_config(run);
    if (run->options->warm_up_s > 0) {
        struct bench_load_config warm_up = config;
        warm_up.count = 0;
        warm_up.duration_us = run->options->warm_up_s * 1000000;
        fprintf(stderr, "warming up\n");
        struct bench_load *load = load_run_once(run, &warm_up, workload, error);
        if (error->len > 0) return load;
        bench_load_free(load);
    }
    uint64_t conflicts_before = bench_session_conflicts(run->session);
    struct bench_stages *before = read_stages(run);
    fprintf(stderr, "measuring\n");
    struct bench_load *load = load_run_once(run, &config, workload, error);
    fprintf(stderr, "measured\n");
    run->conflicts = bench_session_conflicts(run->session) - conflicts_before;
    stages_after(run, before, load);
    return load;
}

enum status load_run_report(const struct load_run *run, struct bench_result *result,
                            struct buf *error) {
    struct buf line = {0};
    result->with_attempts = true;
    result->conflicts = run->conflicts;
    cJSON *object = bench_result_json(result, run->unit);
    if (run->stages)
        bench_stages_add_json(json_add_object(object, "stages"), run->stages, client_of(run));
    json_print_take(&line, object);
    buf_append_byte(&line, 0);
    printf("%s\n", (const char *)line.data);
    enum status status = STATUS_OK;
    if (run->options->json[0])
        status = common_write_file(run->options->json, (const char *)line.data, error);
    buf_done(&line);
    return status;
}

uint64_t load_run_random(void) {
    return prng_seed_from_system();
}

static void verify_one(void *ctx, struct slice key, struct slice value) {
    verify_row(ctx, key, value);
}

enum status bench_verify_ledger(struct bench_session *session, struct verifier *verifier,
                                uint64_t timeout_us, struct buf *error) {
    struct buf end = {0};
    struct slice start = SLICE_LITERAL(ISSUER_PREFIX);
    bool bounded = buf_assign_prefix_end(&end, start);
    enum status status = STATUS_INVALID;
    if (bounded)
        status = bench_session_scan(session, start, slice_from_buf(&end), timeout_us, verify_one,
                                    verifier, error);
    buf_done(&end);
    if (status == STATUS_OK) verify_finish(verifier);
    return status;
}

static const struct command *const bench_parts[] = {
    &command_bench_hot_issuer, &command_bench_put,        &command_bench_get,
    &command_bench_mixed,      &command_bench_scan,       &command_bench_overload,
    &command_bench_verify,     &command_bench_stages,     &command_bench_limits,
    &command_bench_raft,       &command_bench_split_keys, NULL};

const struct command command_bench = {
    .name = "bench",
    .help = "load generator that verifies what it wrote",
    .parts = bench_parts,
};
