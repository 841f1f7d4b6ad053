/* `flotilla bench overload`: what a cluster does when ten times as much is asked of it as it can
 * do.
 *
 * Of each case (small or large values, keys of one range or of all) the number of requests in
 * flight is sought that brings the most writes per second. Then, in turns:
 *
 *   best     that many in flight
 *   closed   ten times as many: clients that come back when they are told to, until they are served
 *   open     arrivals at ten times the best rate, whatever the answers; who is refused goes away
 *
 * Goodput is what was acknowledged while the run lasted. Ratios are made within a turn, since the
 * machine changes between them; of each case the median counts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "bench/key_value.h"
#include "bench/limits.h"
#include "bench/session.h"
#include "cmd/bench.h"
#include "cmd/commands.h"
#include "cmd/signals.h"

#define OVERLOAD_FACTOR 10u
#define OVERLOAD_ROUNDS_MAX 32u
#define OVERLOAD_SETTLE_US 3000000u
#define OVERLOAD_SMALL_BYTES_MOST 256u
/* Rates that differ by less are taken for the same: two runs of one number differ by as much. */
#define OVERLOAD_ALIKE 0.95

/* Numbers in flight that are tried for the best; ten times the last is still possible. */
static const uint32_t levels[] = {16, 64, 256, 1024, 4096};
#define LEVEL_COUNT (sizeof(levels) / sizeof(levels[0]))
_Static_assert(4096u * OVERLOAD_FACTOR <= BENCH_IN_FLIGHT_MAX, "ten times the best is possible");

enum phase { PHASE_BEST, PHASE_CLOSED, PHASE_OPEN, PHASE_COUNT };
static const char *const phase_names[PHASE_COUNT] = {"best", "closed", "open"};

struct overload_options {
    struct common_options common;
    char *router, *json;
    uint64_t connections, keys, ranges, seconds, rounds, large_bytes, timeout_ms, seed;
    double goodput_min;
};

/* One run. */
struct figures {
    double per_s;
    uint64_t busy, unknown, timeouts, shed, retries;
};

struct overload_case {
    const char *name;
    bool large, many;
    uint32_t in_flight; /* that served most */
    struct figures rounds[PHASE_COUNT][OVERLOAD_ROUNDS_MAX];
    double closed_ratio, open_ratio; /* medians */
};

struct overload {
    const struct overload_options *options;
    struct rpc_loop *loop;
    struct bench_session *session;
    struct key_value *workload; /* of the case */
    struct buf error;
};

#define OVERLOAD_OPTION(name, kind, field, fallback, unit, minimum, maximum, help) \
    { name, kind, offsetof(struct overload_options, field), fallback, unit, minimum, maximum, help }

static const struct config_option overload_option_table[] = {
    OVERLOAD_OPTION("router", CONFIG_TEXT, router, "127.0.0.1:7000", "", 0, 0,
                    "addresses of routers, or of nodes, comma-separated"),
    OVERLOAD_OPTION("connections", CONFIG_U64, connections, "8", "", 1, 256,
                    "connections that the requests are spread over"),
    OVERLOAD_OPTION("keys", CONFIG_U64, keys, "100000", "", 1, BENCH_KEYS_MAX, "number of keys"),
    OVERLOAD_OPTION("ranges", CONFIG_U64, ranges, "1", "", 1, 100000,
                    "ranges that `bench split-keys --workload put` cut these keys into; above 1, "
                    "one of them is overloaded by itself, and then all"),
    OVERLOAD_OPTION("seconds", CONFIG_U64, seconds, "3", "s", 1, 600, "of each run"),
    OVERLOAD_OPTION("rounds", CONFIG_U64, rounds, "3", "", 1, OVERLOAD_ROUNDS_MAX,
                    "turns, of each case"),
    OVERLOAD_OPTION("large-bytes", CONFIG_U64, large_bytes, "20000", "bytes", KEY_VALUE_BYTES_MIN,
                    TXN_VALUE_BYTES_MAX, "size of large values; small ones have 16 to 256"),
    OVERLOAD_OPTION("timeout-ms", CONFIG_U64, timeout_ms, "2000", "ms", 1, 600000,
                    "deadline of each attempt"),
    OVERLOAD_OPTION("goodput-min", CONFIG_DOUBLE, goodput_min, "0.8", "", 0, 0,
                    "share of the best that must be left"),
    OVERLOAD_OPTION("seed", CONFIG_U64, seed, "1", "", 0, UINT64_MAX, "of the choice of keys"),
    OVERLOAD_OPTION("json", CONFIG_TEXT, json, "", "", 0, 0,
                    "file to write the final JSON line to as well"),
    COMMON_OPTIONS(struct overload_options),
};

static const struct config_table overload_table = {
    .command = "bench overload",
    .synopsis = "Asks ten times as much of a cluster as it can do, and shows what it does then: "
                "the share of its best that is left, how much is refused (busy) and how much ends "
                "unknown. Exit code 0 only if the share holds in every case.",
    .examples = "  flotilla bench overload --router 127.0.0.1:7101,127.0.0.1:7102 --ranges 16\n",
    .options = overload_option_table,
    .option_count = OPTION_COUNT(overload_option_table),
};

static struct bench_load_config config_of(const struct overload *overload, uint32_t in_flight,
                                          double rate_per_s) {
    const struct overload_options *options = overload->options;
    uint32_t clients = (uint32_t)options->connections;
    if (clients > in_flight) clients = in_flight;
    return (struct bench_load_config){
        .clients = clients,
        .in_flight = (in_flight + clients - 1) / clients,
        .duration_us = options->seconds * 1000000,
        .rate_per_s = rate_per_s,
        .sheds = rate_per_s > 0,
        .attempt_timeout_us = options->timeout_ms * 1000,
        .settle_us = OVERLOAD_SETTLE_US,
        .seed = options->seed,
    };
}

/* False: an answer that no retry can mend, or the operator wants an end. */
static bool run_once(struct overload *overload, uint32_t in_flight, double rate_per_s,
                     struct figures *ret) {
    struct bench_load_config config = config_of(overload, in_flight, rate_per_s);
    struct bench_workload workload = key_value_workload(overload->workload);
    struct bench_load *load =
        bench_load_new(&config, &workload, bench_session_target(overload->session), clock_system());
    bench_session_run(overload->session, load);
    const struct bench_totals *totals = bench_load_totals(load);
    *ret =
        (struct figures){.per_s = (double)totals->done_running / (double)overload->options->seconds,
                         .busy = totals->busy,
                         .unknown = totals->unknowns,
                         .timeouts = totals->timeouts,
                         .shed = totals->shed,
                         .retries = totals->retries};
    buf_append(&overload->error, bench_load_failure(load));
    bench_load_free(load);
    return overload->error.len == 0 && !bench_session_interrupted(overload->session);
}

/* Of several that are alike the smallest: what more requests wait for then is a queue. */
static bool find_best(struct overload *overload, struct overload_case *each) {
    struct figures figures[LEVEL_COUNT];
    double best = 0;
    for (uint32_t i = 0; i < LEVEL_COUNT; i++) {
        if (!run_once(overload, levels[i], 0, &figures[i])) return false;
        fprintf(stderr, "%s: %u in flight: %.0f/s\n", each->name, levels[i], figures[i].per_s);
        if (figures[i].per_s > best) best = figures[i].per_s;
    }
    for (uint32_t i = LEVEL_COUNT; i > 0; i--)
        if (figures[i - 1].per_s >= best * OVERLOAD_ALIKE) each->in_flight = levels[i - 1];
    if (best > 0) return true;
    buf_printf(&overload->error, "%s: nothing was acknowledged; is the cluster serving?",
               each->name);
    return false;
}

static bool run_round(struct overload *overload, struct overload_case *each, uint32_t round) {
    struct figures *best = &each->rounds[PHASE_BEST][round];
    struct figures *closed = &each->rounds[PHASE_CLOSED][round];
    struct figures *open = &each->rounds[PHASE_OPEN][round];
    if (!run_once(overload, each->in_flight, 0, best)) return false;
    uint32_t many = each->in_flight * OVERLOAD_FACTOR;
    if (!run_once(overload, many, 0, closed)) return false;
    if (!run_once(overload, many, best->per_s * OVERLOAD_FACTOR, open)) return false;
    fprintf(stderr, "%s, round %u: best %.0f/s, closed %.0f/s, open %.0f/s\n", each->name,
            round + 1, best->per_s, closed->per_s, open->per_s);
    return true;
}

static int compare_doubles(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median_ratio(const struct overload_case *each, enum phase phase, uint32_t rounds) {
    double ratios[OVERLOAD_ROUNDS_MAX] = {0};
    for (uint32_t i = 0; i < rounds; i++) {
        double best = each->rounds[PHASE_BEST][i].per_s;
        ratios[i] = best > 0 ? each->rounds[phase][i].per_s / best : 0;
    }
    qsort(ratios, rounds, sizeof(ratios[0]), compare_doubles);
    return (ratios[(rounds - 1) / 2] + ratios[rounds / 2]) / 2;
}

static bool run_case(struct overload *overload, struct overload_case *each) {
    const struct overload_options *options = overload->options;
    struct key_value workload;
    uint64_t keys = each->many ? options->keys : options->keys / options->ranges;
    key_value_init(&workload, &(struct key_value_config){
                                  .keys = keys > 0 ? (uint32_t)keys : 1,
                                  .value_bytes = each->large ? (uint32_t)options->large_bytes
                                                             : KEY_VALUE_BYTES_MIN,
                                  .value_bytes_most = each->large ? 0 : OVERLOAD_SMALL_BYTES_MOST,
                                  .distribution = KEYS_UNIFORM,
                                  .zipf_exponent = 0.99,
                                  .seed = options->seed,
                                  .run = load_run_random()});
    overload->workload = &workload;
    bool good = find_best(overload, each);
    for (uint32_t i = 0; good && i < options->rounds; i++)
        good = run_round(overload, each, i);
    if (good) {
        each->closed_ratio = median_ratio(each, PHASE_CLOSED, (uint32_t)options->rounds);
        each->open_ratio = median_ratio(each, PHASE_OPEN, (uint32_t)options->rounds);
    }
    overload->workload = NULL;
    key_value_done(&workload);
    return good;
}

/* ---- telling ---- */

static struct figures sum_of(const struct overload_case *each, enum phase phase, uint64_t rounds) {
    struct figures sum = {0};
    for (uint64_t i = 0; i < rounds; i++) {
        const struct figures *figures = &each->rounds[phase][i];
        sum.per_s += figures->per_s / (double)rounds;
        sum.busy += figures->busy;
        sum.unknown += figures->unknown;
        sum.timeouts += figures->timeouts;
        sum.shed += figures->shed;
        sum.retries += figures->retries;
    }
    return sum;
}

static double ratio_of(const struct overload_case *each, enum phase phase) {
    if (phase == PHASE_BEST) return 1;
    return phase == PHASE_CLOSED ? each->closed_ratio : each->open_ratio;
}

static void print_table(const struct overload_case *cases, uint32_t count, uint64_t rounds) {
    printf("%-18s %-7s %9s %11s %7s %9s %9s %9s %9s\n", "case", "load", "in flight", "goodput/s",
           "ratio", "busy", "unknown", "time-outs", "unsent");
    for (uint32_t i = 0; i < count; i++) {
        for (enum phase phase = PHASE_BEST; phase < PHASE_COUNT; phase++) {
            const struct overload_case *each = &cases[i];
            struct figures sum = sum_of(each, phase, rounds);
            uint32_t factor = phase == PHASE_BEST ? 1 : OVERLOAD_FACTOR;
            printf("%-18s %-7s %9u %11.0f %7.2f %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64
                   "\n",
                   each->name, phase_names[phase], each->in_flight * factor, sum.per_s,
                   ratio_of(each, phase), sum.busy, sum.unknown, sum.timeouts, sum.shed);
        }
    }
}

static double worst_of(const struct overload_case *cases, uint32_t count) {
    double worst = 1;
    for (uint32_t i = 0; i < count; i++) {
        if (cases[i].closed_ratio < worst) worst = cases[i].closed_ratio;
        if (cases[i].open_ratio < worst) worst = cases[i].open_ratio;
    }
    return worst;
}

static void add_phase(cJSON *object, const struct overload_case *each, enum phase phase,
                      uint64_t rounds) {
    struct figures sum = sum_of(each, phase, rounds);
    cJSON *figures = json_add_object(object, phase_names[phase]);
    json_add_decimal(figures, "per_s", sum.per_s, 1);
    json_add_decimal(figures, "ratio", ratio_of(each, phase), 3);
    json_add_u64(figures, "busy", sum.busy);
    json_add_u64(figures, "unknown", sum.unknown);
    json_add_u64(figures, "timeouts", sum.timeouts);
    json_add_u64(figures, "unsent", sum.shed);
}

static cJSON *json_of(const struct overload *overload, const struct overload_case *cases,
                      uint32_t count) {
    const struct overload_options *options = overload->options;
    double worst = worst_of(cases, count);
    cJSON *object = json_object();
    cJSON *array = json_add_array(object, "cases");
    for (uint32_t i = 0; i < count; i++) {
        cJSON *each = json_add_object(array, NULL);
        json_add_text(each, "case", cases[i].name);
        json_add_u64(each, "in_flight", cases[i].in_flight);
        for (enum phase phase = PHASE_BEST; phase < PHASE_COUNT; phase++)
            add_phase(each, &cases[i], phase, options->rounds);
    }
    json_add_u64(object, "rounds", options->rounds);
    json_add_decimal(object, "ratio", worst, 3);
    json_add_decimal(object, "ratio_min", options->goodput_min, 3);
    json_add_bool(object, "met", worst >= options->goodput_min);
    return object;
}

static int report(struct overload *overload, const struct overload_case *cases, uint32_t count) {
    const struct overload_options *options = overload->options;
    struct buf line = {0};
    print_table(cases, count, options->rounds);
    json_print_take(&line, json_of(overload, cases, count));
    printf("%.*s\n", (int)line.len, (const char *)line.data);
    buf_append_byte(&line, '\0');
    enum status status = STATUS_OK;
    if (options->json[0] != '\0')
        status = common_write_file(options->json, (const char *)line.data, &overload->error);
    buf_done(&line);
    return status == STATUS_OK && worst_of(cases, count) >= options->goodput_min ? CMD_OK
                                                                                 : CMD_FAILED;
}

static void signal_caught(void *ctx, uint32_t number) {
    struct overload *overload = ctx;
    fprintf(stderr, "stopping\n");
    bench_session_interrupt(overload->session);
}

static struct bench_session *open_session(const struct overload *overload) {
    const struct overload_options *options = overload->options;
    uint32_t connections = (uint32_t)options->connections;
    struct bench_session_config config = {
        .server = BENCH_SERVER_FLOTILLA,
        .addresses = options->router,
        .clients = connections,
        .connections = connections,
        .spreads = true,
        .in_flight = (BENCH_IN_FLIGHT_MAX + connections - 1) / connections,
    };
    return bench_session_new(overload->loop, &config);
}

static int bench_overload(int argument_count, char **arguments) {
    static struct overload_case cases[] = {
        {.name = "small, one range"},
        {.name = "large, one range", .large = true},
        {.name = "small, all ranges", .many = true},
        {.name = "large, all ranges", .large = true, .many = true},
    };
    struct overload_options options = {0};
    enum common_load loaded =
        common_load(&overload_table, argument_count, arguments, &options, &options.common);
    if (loaded != COMMON_GO_ON) return loaded == COMMON_HELP_SHOWN ? CMD_OK : CMD_USAGE;
    struct overload overload = {.options = &options, .loop = rpc_loop_new()};
    overload.session = open_session(&overload);
    struct signals *signals = signals_watch(overload.loop, signal_caught, &overload);
    uint32_t count = options.ranges > 1 ? 4 : 2;
    bool good = true;
    for (uint32_t i = 0; good && i < count; i++)
        good = run_case(&overload, &cases[i]);
    int exit_code = good ? report(&overload, cases, count) : CMD_FAILED;
    if (overload.error.len > 0) common_complain("bench overload", &overload.error);
    signals_free(signals);
    bench_session_free(overload.session);
    rpc_loop_free(overload.loop);
    buf_done(&overload.error);
    config_free_values(&overload_table, &options);
    return exit_code;
}

const struct command command_bench_overload = {
    .name = "overload",
    .help = "ten times what the cluster can do, and what it does then",
    .run = bench_overload,
    .table = &overload_table,
};
