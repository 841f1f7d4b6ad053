/* `flotilla bench hot-issuer`, `verify` and `split-keys`. */
#include <inttypes.h>
#include <stdio.h>

#include "bench/hot_issuer.h"
#include "bench/issuers.h"
#include "bench/key_value.h"
#include "bench/limits.h"
#include "cmd/bench.h"
#include "cmd/commands.h"

/* ---- hot-issuer ---- */

struct hot_issuer_options {
    struct common_options common;
    struct load_options load;
    uint64_t issuers, amount_min, amount_max, limit;
    double zipf;
    char *ledger;
};

#define HOT_OPTION(name, kind, field, fallback, minimum, maximum, help) \
    { name, kind, offsetof(struct hot_issuer_options, field), fallback, "", minimum, maximum, help }

static const struct config_option hot_issuer_options[] = {
    HOT_OPTION("issuers", CONFIG_U64, issuers, "256", 1, BENCH_ISSUERS_MAX, "number of issuers"),
    HOT_OPTION("zipf", CONFIG_DOUBLE, zipf, "0.99", 0, 0,
               "skew of the issuers' popularity; 0: all alike"),
    HOT_OPTION("amount-min", CONFIG_U64, amount_min, "1", 1, UINT32_MAX, "smallest amount"),
    HOT_OPTION("amount-max", CONFIG_U64, amount_max, "100", 1, UINT32_MAX, "largest amount"),
    HOT_OPTION("limit", CONFIG_U64, limit, "500000", 0, INT64_MAX,
               "exposure limit of each issuer; the default lets the hottest reach it"),
    HOT_OPTION("ledger", CONFIG_TEXT, ledger, "", 0, 0,
               "file for the ledger, for `bench verify` later"),
    LOAD_OPTIONS(struct hot_issuer_options),
    COMMON_OPTIONS(struct hot_issuer_options),
};

static const struct config_table hot_issuer_table = {
    .command = "bench hot-issuer",
    .synopsis = "Makes reservations against issuers' exposure limits: one command each, that adds "
                "to the exposure within its limit and inserts the reservation. Outcomes that are "
                "unknown are settled by asking again with the same request id. Then every issuer "
                "is read back: nothing acknowledged may be missing, nothing refused present, each "
                "exposure the exact sum of its reservations and within its limit. Exit code 0 "
                "only if so.",
    .examples = "  flotilla bench hot-issuer --duration-s 10\n"
                "  flotilla bench hot-issuer --issuers 1 --limit 1000000000000 --clients 4 "
                "--in-flight 128\n"
                "  flotilla bench hot-issuer --clients 1 --in-flight 1\n"
                "  flotilla bench hot-issuer --rate 5000\n",
    .options = hot_issuer_options,
    .option_count = OPTION_COUNT(hot_issuer_options),
};

static enum status verify_into(struct load_run *run, struct verifier *verifier, struct buf *error) {
    fprintf(stderr, "verifying\n");
    enum status status = bench_verify_ledger(run->session, verifier,
                                             run->options->settle_s * 1000000 + 1000000, error);
    if (status != STATUS_OK) return status;
    const struct verdict *verdict = &verifier->verdict;
    fprintf(stderr,
            "verified %" PRIu64 " reservations over %" PRIu64 " issuers: lost %" PRIu64
            ", doubled %" PRIu64 ", overbooked %" PRIu64 ", malformed %" PRIu64 "\n%.*s",
            verdict->reservations, verdict->issuers, verdict->lost, verdict->doubled,
            verdict->overbooked, verdict->malformed, (int)verdict->details.len,
            (const char *)verdict->details.data);
    return STATUS_OK;
}

static int finish_hot_issuer(struct load_run *run, const struct hot_issuer_options *options,
                             struct hot_issuer *workload, struct bench_load *load) {
    struct buf error = {0}, summary = {0};
    struct verifier verifier = {0};
    struct bench_report report = {.load = load, .unit = run->unit};
    int exit_code = CMD_FAILED;
    bench_append_summary(&summary, &report);
    fprintf(stderr, "%.*s", (int)summary.len, (const char *)summary.data);
    struct slice failure = bench_load_failure(load);
    if (failure.len > 0) {
        buf_append(&error, failure);
        goto out;
    }
    if (options->ledger[0] && ledger_save(&workload->ledger, options->ledger, &error) != STATUS_OK)
        goto out;
    bool clean = true;
    verify_begin(&verifier, &workload->ledger);
    if (options->load.verify) {
        if (verify_into(run, &verifier, &error) != STATUS_OK) goto out;
        report.verdict = &verifier.verdict;
        clean = verdict_clean(&verifier.verdict);
    }
    struct bench_result result = bench_result_of(&report);
    if (load_run_report(run, &result, &error) != STATUS_OK) goto out;
    if (clean) exit_code = CMD_OK;
out:
    if (error.len > 0) common_complain(run->command, &error);
    verify_done(&verifier);
    buf_done(&error);
    buf_done(&summary);
    return exit_code;
}

static int run_hot_issuer(struct hot_issuer_options *options) {
    struct load_run run;
    struct buf error = {0};
    if (options->amount_min > options->amount_max) {
        common_complain_text("bench hot-issuer", "--amount-min is above --amount-max");
        return CMD_USAGE;
    }
    enum status status =
        load_run_open(&run, "bench hot-issuer", "reservations", &options->load, &error);
    if (status != STATUS_OK) {
        common_complain("bench hot-issuer", &error);
        load_run_close(&run);
        buf_done(&error);
        return common_exit_code(status);
    }
    struct hot_issuer workload;
    hot_issuer_init(&workload,
                    &(struct hot_issuer_config){.issuers = (uint32_t)options->issuers,
                                                .zipf_exponent = options->zipf,
                                                .amount_min = (uint32_t)options->amount_min,
                                                .amount_max = (uint32_t)options->amount_max,
                                                .limit = (int64_t)options->limit,
                                                .seed = options->load.seed,
                                                .run = load_run_random()});
    struct bench_workload bench_workload = hot_issuer_workload(&workload);
    struct bench_load *load = load_run_measure(&run, &bench_workload, &error);
    int exit_code = finish_hot_issuer(&run, options, &workload, load);
    buf_done(&error);
    load_run_close(&run);
    bench_load_free(load);
    hot_issuer_done(&workload);
    return exit_code;
}

static int bench_hot_issuer(int argument_count, char **arguments) {
    struct hot_issuer_options options = {0};
    switch (common_load(&hot_issuer_table, argument_count, arguments, &options, &options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    int exit_code = run_hot_issuer(&options);
    config_free_values(&hot_issuer_table, &options);
    return exit_code;
}

/* ---- verify ---- */

struct verify_options {
    struct common_options common;
    char *router, *ledger;
    uint64_t timeout_s;
};

#define VERIFY_OPTION(name, kind, field, fallback, unit, minimum, maximum, help) \
    { name, kind, offsetof(struct verify_options, field), fallback, unit, minimum, maximum, help }

static const struct config_option verify_options[] = {
    VERIFY_OPTION("ledger", CONFIG_TEXT, ledger, NULL, "", 0, 0, "the ledger that the run saved"),
    VERIFY_OPTION("router", CONFIG_ADDRESSES, router, "127.0.0.1:7000", "", 0, 0,
                  "address of the router"),
    VERIFY_OPTION("timeout-s", CONFIG_U64, timeout_s, "30", "s", 1, 3600,
                  "give up after so long without progress"),
    COMMON_OPTIONS(struct verify_options),
};

static const struct config_table verify_table = {
    .command = "bench verify",
    .synopsis = "Holds the data against the ledger that `bench hot-issuer --ledger FILE` saved, "
                "for instance after the whole cluster was killed and started again. Exit code 0 "
                "only if nothing is lost, doubled or overbooked.",
    .examples = "  flotilla bench hot-issuer --ledger run.ledger\n"
                "  flotilla bench verify --ledger run.ledger\n",
    .options = verify_options,
    .option_count = OPTION_COUNT(verify_options),
};

static int run_verify(const struct verify_options *options) {
    struct ledger ledger;
    struct buf error = {0};
    struct verifier verifier = {0};
    int exit_code = CMD_FAILED;
    char target[] = "flotilla", no_file[] = "";
    struct load_options load = {.target = target,
                                .router = options->router,
                                .json = no_file,
                                .clients = 1,
                                .in_flight = 1,
                                .count = 1,
                                .settle_s = options->timeout_s};
    struct load_run run = {0};
    ledger_init(&ledger, 0, 0);
    if (ledger_load(&ledger, options->ledger, &error) != STATUS_OK) goto out;
    if (load_run_open(&run, "bench verify", "reservations", &load, &error) != STATUS_OK) goto out;
    verify_begin(&verifier, &ledger);
    if (verify_into(&run, &verifier, &error) != STATUS_OK) goto out;
    const struct verdict *verdict = &verifier.verdict;
    cJSON *object = json_object();
    json_add_u64(object, "acked", ledger.state_counts[LEDGER_ACKED]);
    json_add_u64(object, "refused", ledger.state_counts[LEDGER_REFUSED]);
    json_add_u64(object, "unknown",
                 ledger.state_counts[LEDGER_UNKNOWN] + ledger.state_counts[LEDGER_PENDING]);
    json_add_u64(object, "lost", verdict->lost);
    json_add_u64(object, "doubled", verdict->doubled);
    json_add_u64(object, "overbooked", verdict->overbooked);
    common_print_json_take(object);
    if (verdict_clean(verdict)) exit_code = CMD_OK;
out:
    if (error.len > 0) common_complain("bench verify", &error);
    load_run_close(&run);
    verify_done(&verifier);
    ledger_done(&ledger);
    buf_done(&error);
    return exit_code;
}

static int bench_verify(int argument_count, char **arguments) {
    struct verify_options options = {0};
    switch (common_load(&verify_table, argument_count, arguments, &options, &options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    int exit_code = run_verify(&options);
    config_free_values(&verify_table, &options);
    return exit_code;
}

/* ---- split-keys ---- */

struct split_options {
    uint64_t ranges, issuers, keys;
    char *workload;
};

static const struct config_option split_options[] = {
    {"workload", CONFIG_TEXT, offsetof(struct split_options, workload), "hot-issuer", "", 0, 0,
     "hot-issuer or put"},
    {"ranges", CONFIG_U64, offsetof(struct split_options, ranges), "16", "", 1, 100000,
     "ranges to cut the key space into"},
    {"issuers", CONFIG_U64, offsetof(struct split_options, issuers), "256", "", 1,
     BENCH_ISSUERS_MAX, "hot-issuer: as the run will be given"},
    {"keys", CONFIG_U64, offsetof(struct split_options, keys), "100000", "", 1, BENCH_KEYS_MAX,
     "put: as the run will be given"},
};

static const struct config_table split_table = {
    .command = "bench split-keys",
    .synopsis = "Prints the keys, comma-separated, at which to cut the key space at a cluster's "
                "birth so that a workload spreads over all ranges.",
    .examples = "  flotilla placement --data-dir p1 --split-keys \"$(flotilla bench split-keys "
                "--ranges 16)\"\n",
    .options = split_options,
    .option_count = OPTION_COUNT(split_options),
};

static int run_split_keys(const struct split_options *options) {
    struct buf keys = {0};
    enum status status;
    uint32_t ranges = (uint32_t)options->ranges;
    if (strcmp(options->workload, "hot-issuer") == 0) {
        status = issuer_append_split_keys(&keys, (uint32_t)options->issuers, ranges);
    } else if (strcmp(options->workload, "put") == 0) {
        status = key_value_append_split_keys(&keys, (uint32_t)options->keys, ranges);
    } else {
        common_complain_text("bench split-keys", "--workload: '%s' is neither hot-issuer nor put",
                             options->workload);
        return CMD_USAGE;
    }
    if (status != STATUS_OK)
        common_complain_text("bench split-keys", "there are fewer issuers or keys than ranges");
    else
        printf("%.*s\n", (int)keys.len, (const char *)keys.data);
    buf_done(&keys);
    return status == STATUS_OK ? CMD_OK : CMD_USAGE;
}

static int bench_split_keys(int argument_count, char **arguments) {
    struct split_options options = {0};
    switch (common_load(&split_table, argument_count, arguments, &options, NULL)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    int exit_code = run_split_keys(&options);
    config_free_values(&split_table, &options);
    return exit_code;
}

const struct command command_bench_hot_issuer = {
    .name = "hot-issuer",
    .help = "reservations against issuers' limits, one of them hot",
    .run = bench_hot_issuer,
    .table = &hot_issuer_table,
};

const struct command command_bench_verify = {
    .name = "verify",
    .help = "hold the data against the ledger of an earlier run",
    .run = bench_verify,
    .table = &verify_table,
};

const struct command command_bench_split_keys = {
    .name = "split-keys",
    .help = "where to cut the key space for a workload",
    .run = bench_split_keys,
    .table = &split_table,
};
