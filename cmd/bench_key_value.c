/* `flotilla bench put`, `get`, `mixed` and `scan`. */
#include <inttypes.h>
#include <stdio.h>

#include "bench/key_value.h"
#include "bench/limits.h"
#include "cmd/bench.h"
#include "cmd/commands.h"

struct key_value_options {
    struct common_options common;
    struct load_options load;
    uint64_t keys, value_bytes, read_percent, scan_rows;
    char *distribution;
    double zipf;
    bool preload, request_ids, stale_reads;
};

#define KV_OPTION(name, kind, field, fallback, unit, minimum, maximum, help)                     \
    {                                                                                            \
        name, kind, offsetof(struct key_value_options, field), fallback, unit, minimum, maximum, \
            help                                                                                 \
    }

/* The commands differ in these defaults only. */
#define KV_OPTIONS(default_read_percent, default_preload, default_scan_rows)                       \
    {                                                                                              \
        KV_OPTION("keys", CONFIG_U64, keys, "100000", "", 1, BENCH_KEYS_MAX, "number of keys"),    \
            KV_OPTION("value-bytes", CONFIG_U64, value_bytes, "256", "bytes", KEY_VALUE_BYTES_MIN, \
                      TXN_VALUE_BYTES_MAX, "size of each value"),                                  \
            KV_OPTION("distribution", CONFIG_TEXT, distribution, "uniform", "", 0, 0,              \
                      "which keys: uniform, zipf or sequential"),                                  \
            KV_OPTION("zipf", CONFIG_DOUBLE, zipf, "0.99", "", 0, 0, "skew of zipf"),              \
            KV_OPTION("read-percent", CONFIG_U64, read_percent, default_read_percent, "%", 0, 100, \
                      "share of reads"),                                                           \
            KV_OPTION("scan-rows", CONFIG_U64, scan_rows, default_scan_rows, "", 0, 10000,         \
                      "rows that a read fetches from its key on; 0: its key alone"),               \
            KV_OPTION("preload", CONFIG_BOOL, preload, default_preload, "", 0, 0,                  \
                      "write every key once before the run"),                                      \
            KV_OPTION("request-ids", CONFIG_BOOL, request_ids, "false", "", 0, 0,                  \
                      "writes carry a request id (a put may be repeated without)"),                \
            KV_OPTION("stale-reads", CONFIG_BOOL, stale_reads, "false", "", 0, 0,                  \
                      "reads are answered by the asked node from what it has (etcd: by any "       \
                      "member, serializable)"),                                                    \
            LOAD_OPTIONS(struct key_value_options), COMMON_OPTIONS(struct key_value_options),      \
    }

static const struct config_option put_options[] = KV_OPTIONS("0", "false", "0");
static const struct config_option get_options[] = KV_OPTIONS("100", "true", "0");
static const struct config_option mixed_options[] = KV_OPTIONS("50", "true", "0");
static const struct config_option scan_options[] = KV_OPTIONS("100", "true", "100");

#define KV_SYNOPSIS(does)                                                                      \
    does " Values say which key they belong to, and reads check it; at the end a scan checks " \
         "that every acknowledged key is there. Exit code 0 only if so."

static const struct config_table put_table = {
    .command = "bench put",
    .synopsis = KV_SYNOPSIS("Writes single keys."),
    .examples = "  flotilla bench put --clients 16 --in-flight 64\n"
                "  flotilla bench put --clients 1 --in-flight 1 --distribution sequential\n",
    .options = put_options,
    .option_count = OPTION_COUNT(put_options),
};

static const struct config_table get_table = {
    .command = "bench get",
    .synopsis = KV_SYNOPSIS("Writes every key once, then reads single keys."),
    .examples = "  flotilla bench get --clients 16 --in-flight 64 --distribution zipf\n",
    .options = get_options,
    .option_count = OPTION_COUNT(get_options),
};

static const struct config_table mixed_table = {
    .command = "bench mixed",
    .synopsis = KV_SYNOPSIS("Writes every key once, then reads and writes single keys."),
    .examples = "  flotilla bench mixed --read-percent 95\n",
    .options = mixed_options,
    .option_count = OPTION_COUNT(mixed_options),
};

static const struct config_table scan_table = {
    .command = "bench scan",
    .synopsis = KV_SYNOPSIS("Writes every key once, then reads rows from a key on."),
    .examples = "  flotilla bench scan --scan-rows 100\n",
    .options = scan_options,
    .option_count = OPTION_COUNT(scan_options),
};

static bool parse_distribution(const char *text, enum key_distribution *ret_distribution) {
    if (strcmp(text, "uniform") == 0)
        *ret_distribution = KEYS_UNIFORM;
    else if (strcmp(text, "zipf") == 0)
        *ret_distribution = KEYS_ZIPF;
    else if (strcmp(text, "sequential") == 0)
        *ret_distribution = KEYS_SEQUENTIAL;
    else
        return false;
    return true;
}

static enum status preload(struct load_run *run, struct key_value *workload, struct buf *error) {
    fprintf(stderr, "preloading %" PRIu32 " keys\n", workload->config.keys);
    struct bench_load_config config = load_run_config(run);
    config.count = config.duration_us = 0; /* to the last key */
    config.rate_per_s = 0;
    /* Not what is being measured: as fast as the cluster takes it. */
    if (config.in_flight < LOAD_RUN_IN_FLIGHT_MIN) config.in_flight = LOAD_RUN_IN_FLIGHT_MIN;
    if (config.clients * config.in_flight > BENCH_IN_FLIGHT_MAX)
        config.clients = BENCH_IN_FLIGHT_MAX / config.in_flight;
    struct bench_workload writes = key_value_preload(workload);
    struct bench_load *load = load_run_once(run, &config, &writes, error);
    const struct bench_totals *totals = bench_load_totals(load);
    bool complete = totals->done == workload->config.keys;
    if (!complete && error->len == 0)
        buf_printf(error, "only %" PRIu64 " of %" PRIu32 " keys could be written", totals->done,
                   workload->config.keys);
    bench_load_free(load);
    return complete ? STATUS_OK : STATUS_UNAVAILABLE;
}

struct final_check {
    struct key_value *workload;
    struct key_value_check check;
};

static void check_one(void *ctx, struct slice key, struct slice value) {
    struct final_check *final = ctx;
    key_value_check_row(final->workload, &final->check, key, value);
}

static enum status verify_keys(struct load_run *run, struct key_value *workload, bool *ret_clean,
                               struct buf *error) {
    struct final_check final = {.workload = workload};
    struct slice start = SLICE_LITERAL(KEY_VALUE_PREFIX), end = SLICE_LITERAL("kv0");
    fprintf(stderr, "verifying\n");
    enum status status =
        bench_session_scan(run->session, start, end, run->options->settle_s * 1000000 + 1000000,
                           check_one, &final, error);
    if (status != STATUS_OK) return status;
    key_value_check_finish(workload, &final.check);
    fprintf(stderr, "verified %" PRIu64 " keys: lost %" PRIu64 ", malformed %" PRIu64 "\n",
            final.check.present, final.check.lost, final.check.malformed);
    *ret_clean = final.check.lost == 0 && final.check.malformed == 0;
    return STATUS_OK;
}

static int run_phases(struct load_run *run, const struct key_value_options *options,
                      struct key_value *workload) {
    struct buf error = {0}, summary = {0};
    struct bench_load *load = NULL;
    int exit_code = CMD_FAILED;
    bool clean = true;
    if (options->preload && preload(run, workload, &error) != STATUS_OK) goto out;
    struct bench_workload bench_workload = key_value_workload(workload);
    load = load_run_measure(run, &bench_workload, &error);
    struct bench_report report = {.load = load, .unit = run->unit};
    bench_append_summary(&summary, &report);
    fprintf(stderr, "%.*s", (int)summary.len, (const char *)summary.data);
    if (error.len > 0) goto out;
    if (workload->misses > 0)
        fprintf(stderr, "%" PRIu64 " reads found a key that nobody had written\n",
                workload->misses);
    if (options->load.verify && verify_keys(run, workload, &clean, &error) != STATUS_OK) goto out;
    struct bench_result result = bench_result_of(&report);
    if (load_run_report(run, &result, &error) != STATUS_OK) goto out;
    if (clean) exit_code = CMD_OK;
out:
    if (error.len > 0) common_complain(run->command, &error);
    bench_load_free(load);
    buf_done(&error);
    buf_done(&summary);
    return exit_code;
}

static int run_key_value(const struct config_table *table, const char *unit,
                         const struct key_value_options *options) {
    struct load_run run;
    struct buf error = {0};
    enum key_distribution distribution;
    if (!parse_distribution(options->distribution, &distribution)) {
        common_complain_text(table->command,
                             "--distribution: '%s' is none of uniform, zipf, sequential",
                             options->distribution);
        return CMD_USAGE;
    }
    enum status status = load_run_open(&run, table->command, unit, &options->load, &error);
    if (status != STATUS_OK) {
        common_complain(table->command, &error);
        load_run_close(&run);
        buf_done(&error);
        return common_exit_code(status);
    }
    struct key_value workload;
    key_value_init(&workload,
                   &(struct key_value_config){.keys = (uint32_t)options->keys,
                                              .value_bytes = (uint32_t)options->value_bytes,
                                              .distribution = distribution,
                                              .zipf_exponent = options->zipf,
                                              .read_percent = (uint32_t)options->read_percent,
                                              .scan_rows = (uint32_t)options->scan_rows,
                                              .request_ids = options->request_ids,
                                              .stale_reads = options->stale_reads,
                                              .seed = options->load.seed,
                                              .run = load_run_random()});
    int exit_code = run_phases(&run, options, &workload);
    load_run_close(&run);
    key_value_done(&workload);
    return exit_code;
}

static int run_command(const struct config_table *table, const char *unit, int argument_count,
                       char **arguments) {
    struct key_value_options options = {0};
    switch (common_load(table, argument_count, arguments, &options, &options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    int exit_code = run_key_value(table, unit, &options);
    config_free_values(table, &options);
    return exit_code;
}

static int bench_put(int argument_count, char **arguments) {
    return run_command(&put_table, "puts", argument_count, arguments);
}

static int bench_get(int argument_count, char **arguments) {
    return run_command(&get_table, "gets", argument_count, arguments);
}

static int bench_mixed(int argument_count, char **arguments) {
    return run_command(&mixed_table, "operations", argument_count, arguments);
}

static int bench_scan(int argument_count, char **arguments) {
    return run_command(&scan_table, "scans", argument_count, arguments);
}

const struct command command_bench_put = {
    .name = "put",
    .help = "single keys, blind writes",
    .run = bench_put,
    .table = &put_table,
};

const struct command command_bench_get = {
    .name = "get",
    .help = "single keys, written once and then read",
    .run = bench_get,
    .table = &get_table,
};

const struct command command_bench_mixed = {
    .name = "mixed",
    .help = "both",
    .run = bench_mixed,
    .table = &mixed_table,
};

const struct command command_bench_scan = {
    .name = "scan",
    .help = "rows from a key on",
    .run = bench_scan,
    .table = &scan_table,
};
