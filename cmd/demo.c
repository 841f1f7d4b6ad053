/* `flotilla demo`: a whole cluster on this machine, under load, with a failure on request,
 * verified.
 *
 *   start     placement, nodes, router as processes; wait until every range has a leader
 *   run       the hot-issuer load in this process, through the router like any client's;
 *             with --kill-leader, SIGKILL in the middle to the node that leads the range of the
 *             hottest issuer, and a restart of it half of the rest later
 *   verify    everything acknowledged against the data; the hottest issuer's reservations were
 *             acknowledged before and after the kill; the killed node, started again, has itself
 *             what the cluster has
 *   stop      SIGTERM to all; the directory goes too, unless --keep
 *
 * The last line on standard output is JSON; everything else goes to standard error. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "bench/hot_issuer.h"
#include "bench/issuers.h"
#include "bench/limits.h"
#include "cmd/bench.h"
#include "cmd/cluster_root.h"
#include "cmd/commands.h"
#include "cmd/demo_cluster.h"
#include "cmd/signals.h"
#include "rpc/placement_client.h"

#define MAP_POLL_US 200000u /* between looks at the range map */
#define MAP_RETRY_US 20000u /* while something waits for a leader */
#define BIRTH_TIMEOUT_US 30000000u
#define SETTLE_US 30000000u
#define ATTEMPT_TIMEOUT_US 2000000u
#define TABLE_INTERVAL_US 1000000u
/* So long after the kill, every answer that the dead node had sent has come in. */
#define LAST_ANSWERS_US 200000u
#define HEADER_EVERY 20u
#define AMOUNT_MAX 100u
/* Per second of the run: what popular issuers reserve is a little more, so that refusals are seen;
 * what one is asked for on any machine is far less. */
#define LIMIT_PER_S 25000
#define HOTTEST_LIMIT_PER_S (INT64_C(10000000) * AMOUNT_MAX)

struct demo_options {
    struct common_options common;
    uint64_t seconds, nodes, ranges, issuers, clients, in_flight, limit, seed;
    double zipf;
    bool kill_leader, keep;
    char *data_dir;
};

#define DEMO_U64(name, field, fallback, unit, minimum, maximum, help)                             \
    {                                                                                             \
        name, CONFIG_U64, offsetof(struct demo_options, field), fallback, unit, minimum, maximum, \
            help                                                                                  \
    }

static const struct config_option demo_option_table[] = {
    DEMO_U64("seconds", seconds, "10", "s", 2, 86400, "how long to load the cluster"),
    DEMO_U64("nodes", nodes, "3", "", 1, DEMO_NODES_MAX,
             "nodes; from 3 on every range has 3 replicas"),
    DEMO_U64("ranges", ranges, "16", "", 1, 4096, "ranges that the issuers are spread over"),
    {"kill-leader", CONFIG_BOOL, offsetof(struct demo_options, kill_leader), "false", "", 0, 0,
     "kill the node that leads the hottest range in the middle, restart it later"},
    {"keep", CONFIG_BOOL, offsetof(struct demo_options, keep), "false", "", 0, 0,
     "keep data and logs"},
    {"data-dir", CONFIG_TEXT, offsetof(struct demo_options, data_dir), "", "", 0, 0,
     "directory for data and logs, new or empty; default: a temporary one"},
    DEMO_U64("issuers", issuers, "256", "", 1, BENCH_ISSUERS_MAX,
             "issuers that are reserved against"),
    {"zipf", CONFIG_DOUBLE, offsetof(struct demo_options, zipf), "0.99", "", 0, 0,
     "skew of the issuers' popularity"},
    DEMO_U64("clients", clients, "4", "", 1, BENCH_CLIENTS_MAX, "clients"),
    DEMO_U64("in-flight", in_flight, "32", "", 1, 4096, "requests in flight per client"),
    DEMO_U64("limit", limit, "0", "", 0, INT64_MAX,
             "exposure limit of each issuer but the hottest, which no run fills; 0: what the "
             "popular ones fill in the given seconds"),
    DEMO_U64("seed", seed, "1", "", 0, UINT64_MAX, "of the choice of issuers and amounts"),
    COMMON_OPTIONS(struct demo_options),
};

static const struct config_table demo_table = {
    .command = "demo",
    .synopsis = "Starts a whole cluster on this machine, loads it with reservations against "
                "issuers of which one is hot, kills the busiest node on request, and proves from "
                "the data that nothing was lost, doubled or overbooked. Exit code 0 only if so, "
                "and only if the cluster served again after the kill.",
    .examples = "  flotilla demo --seconds 20 --kill-leader\n"
                "  flotilla demo --seconds 60 --nodes 5 --ranges 64 --keep\n",
    .options = demo_option_table,
    .option_count = OPTION_COUNT(demo_option_table),
};

enum fault { FAULT_NONE, FAULT_DUE, FAULT_KILLED, FAULT_RESTARTED };

struct demo {
    struct demo_options options;
    struct cluster_root root;
    struct demo_cluster cluster;
    struct rpc_loop *loop;
    struct placement_client *placement;
    struct bench_session *session;
    struct signals *signals;
    struct hot_issuer workload;
    struct bench_load *load;
    uint64_t load_began_us; /* 0: not yet */
    struct buf hottest_key;

    /* what the range map said last */
    struct rpc_timer map_timer;
    bool all_led, failed;
    uint64_t hottest_range, hottest_leader; /* 0: unknown */
    uint32_t hottest_index;                 /* of the leader among the cluster's nodes */

    enum fault fault;
    struct rpc_timer kill_timer, last_answers_timer, restart_timer;
    uint32_t killed_index;
    /* Acknowledgements of the hottest issuer: when the node was killed, and with those that the
     * dead node may have sent before. */
    uint64_t watched_at_kill, watched_before;

    bool terminal;
    uint32_t rows;
    struct bench_totals before; /* at the last row */
    struct buf error;
};

/* ---- the table ---- */

static void print_event(struct demo *demo, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print_event(struct demo *demo, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* a cut event still says enough */
    va_end(arguments);
    double at_s = 0;
    if (demo->load_began_us)
        at_s = (double)(rpc_loop_now_us(demo->loop) - demo->load_began_us) / 1e6;
    fprintf(stderr, "%s%6.1f s  * %s%s\n", demo->terminal ? "\033[1m" : "", at_s, text,
            demo->terminal ? "\033[0m" : "");
}

static void print_row(void *ctx, struct bench_load *load) {
    struct demo *demo = ctx;
    struct histogram interval;
    const struct bench_totals *totals = bench_load_totals(load);
    if (!bench_load_running(load)) return;
    if (demo->rows++ % HEADER_EVERY == 0)
        fprintf(stderr, "%8s %15s %9s %9s %9s %9s   %s\n", "time", "reservations/s", "p50 ms",
                "p99 ms", "refused", "retries", "hottest range");
    bench_load_take_interval(load, &interval);
    fprintf(stderr, "%6.1f s %15" PRIu64 " %9.2f %9.2f %9" PRIu64 " %9" PRIu64 "   ",
            (double)bench_load_elapsed_us(load) / 1e6, totals->done - demo->before.done,
            (double)histogram_quantile(&interval, 0.5) / 1000.0,
            (double)histogram_quantile(&interval, 0.99) / 1000.0,
            totals->refused - demo->before.refused, totals->retries - demo->before.retries);
    if (demo->hottest_leader)
        fprintf(stderr, "%" PRIu64 ", led by node %" PRIu64 "\n", demo->hottest_range,
                demo->hottest_leader);
    else
        fprintf(stderr, "%" PRIu64 ", no leader known\n", demo->hottest_range);
    demo->before = *totals;
}

/* ---- the range map ---- */

static void give_up(struct demo *demo) {
    demo->failed = true;
    demo->all_led = true; /* ends the wait for birth */
    bench_session_interrupt(demo->session);
}

static const struct router_range *find_hottest(const struct demo *demo,
                                               const struct placement_client_map *map) {
    for (size_t i = 0; i < map->range_count; i++)
        if (range_descriptor_contains(&map->ranges[i].descriptor,
                                      slice_from_buf(&demo->hottest_key)))
            return &map->ranges[i];
    return NULL;
}

static uint32_t index_of_node(const struct demo *demo, const struct placement_client_map *map,
                              uint64_t node_id) {
    for (uint32_t i = 0; i < map->node_count; i++)
        if (map->nodes[i].node_id == node_id)
            return demo_cluster_node_at(&demo->cluster, map->nodes[i].address);
    return demo->cluster.node_count;
}

static void kill_hottest_leader(struct demo *demo) {
    demo->fault = FAULT_KILLED;
    demo->killed_index = demo->hottest_index;
    demo_cluster_kill_node(&demo->cluster, demo->killed_index);
    demo->watched_at_kill = bench_load_totals(demo->load)->watched;
    demo->watched_before = UINT64_MAX; /* until last_answers_timer has counted them */
    rpc_timer_start(demo->loop, &demo->last_answers_timer,
                    rpc_loop_now_us(demo->loop) + LAST_ANSWERS_US);
    print_event(demo, "SIGKILL to node %" PRIu64 ", which leads range %" PRIu64 ", the hottest",
                demo->hottest_leader, demo->hottest_range);
}

static void note_leader(struct demo *demo, const struct router_range *hottest, uint32_t index) {
    uint64_t before = demo->hottest_leader;
    demo->hottest_range = hottest->descriptor.range_id;
    demo->hottest_leader = hottest->leader_node;
    demo->hottest_index = index;
    if (before == hottest->leader_node || hottest->leader_node == 0 || !demo->load) return;
    if (before != 0 || demo->fault != FAULT_NONE)
        print_event(demo, "range %" PRIu64 " is led by node %" PRIu64, demo->hottest_range,
                    demo->hottest_leader);
}

static void map_came(void *ctx, enum status status, struct slice text,
                     const struct placement_client_map *map) {
    struct demo *demo = ctx;
    uint64_t again_us = MAP_POLL_US;
    if (status == STATUS_OK && map->range_count > 0) {
        bool all_led = true;
        for (size_t i = 0; i < map->range_count; i++)
            all_led = all_led && map->ranges[i].leader_node != 0;
        if (all_led) demo->all_led = true;
        const struct router_range *hottest = find_hottest(demo, map);
        ASSERT(hottest); /* ranges cover the key space */
        uint32_t index = index_of_node(demo, map, hottest->leader_node);
        note_leader(demo, hottest, index);
        bool known = hottest->leader_node != 0 && index < demo->cluster.node_count;
        if (demo->fault == FAULT_DUE && known) kill_hottest_leader(demo);
    }
    if (!demo->all_led || demo->fault == FAULT_DUE) again_us = MAP_RETRY_US;
    rpc_timer_start(demo->loop, &demo->map_timer, rpc_loop_now_us(demo->loop) + again_us);
}

static void map_timer_fired(struct rpc_timer *timer) {
    struct demo *demo = CONTAINER_OF(timer, struct demo, map_timer);
    if (!demo->failed && !demo_cluster_healthy(&demo->cluster, &demo->error)) {
        print_event(demo, "%.*s", (int)demo->error.len, (const char *)demo->error.data);
        give_up(demo);
    }
    placement_client_ranges(demo->placement, map_came, demo);
}

/* ---- the fault ---- */

static void kill_timer_fired(struct rpc_timer *timer) {
    struct demo *demo = CONTAINER_OF(timer, struct demo, kill_timer);
    /* The leader may have moved since the last look: the answer to a fresh one decides. */
    demo->fault = FAULT_DUE;
    rpc_timer_start(demo->loop, &demo->map_timer, rpc_loop_now_us(demo->loop));
}

static void last_answers_timer_fired(struct rpc_timer *timer) {
    struct demo *demo = CONTAINER_OF(timer, struct demo, last_answers_timer);
    demo->watched_before = bench_load_totals(demo->load)->watched;
}

static void restart_timer_fired(struct rpc_timer *timer) {
    struct demo *demo = CONTAINER_OF(timer, struct demo, restart_timer);
    struct demo_node *node = &demo->cluster.nodes[demo->killed_index];
    if (demo->fault != FAULT_KILLED || child_running(&node->child)) {
        rpc_timer_start(demo->loop, timer, rpc_loop_now_us(demo->loop) + MAP_RETRY_US);
        return;
    }
    if (demo_cluster_start_node(&demo->cluster, demo->killed_index, &demo->error) != STATUS_OK) {
        give_up(demo);
        return;
    }
    demo->fault = FAULT_RESTARTED;
    print_event(demo, "%s is started again", node->child.name);
}

static void plan_fault(struct demo *demo) {
    if (!demo->options.kill_leader) return;
    uint64_t now_us = demo->load_began_us, seconds_us = demo->options.seconds * 1000000;
    demo->kill_timer.fire = kill_timer_fired;
    demo->last_answers_timer.fire = last_answers_timer_fired;
    demo->restart_timer.fire = restart_timer_fired;
    rpc_timer_start(demo->loop, &demo->kill_timer, now_us + seconds_us / 2);
    rpc_timer_start(demo->loop, &demo->restart_timer, now_us + seconds_us * 3 / 4);
}

/* ---- phases ---- */

static void signal_caught(void *ctx, uint32_t number) {
    struct demo *demo = ctx;
    print_event(demo, "interrupted: stopping");
    bench_session_interrupt(demo->session);
    demo->all_led = true; /* ends the wait for birth */
}

static enum status start_cluster(struct demo *demo) {
    struct buf cuts = {0};
    enum status status = issuer_append_split_keys(&cuts, (uint32_t)demo->options.issuers,
                                                  (uint32_t)demo->options.ranges);
    if (status != STATUS_OK) {
        buf_printf(&demo->error, "--ranges %" PRIu64 " needs at least as many --issuers",
                   demo->options.ranges);
    } else {
        buf_append_byte(&cuts, 0);
        status = cluster_root_make(&demo->root, demo->options.data_dir, "flotilla-demo",
                                   demo->options.keep, &demo->error);
    }
    if (status == STATUS_OK) {
        fprintf(stderr, "starting placement, %" PRIu64 " nodes and a router in %s\n",
                demo->options.nodes, cluster_root_path(&demo->root));
        struct demo_cluster_config config = {.root = cluster_root_path(&demo->root),
                                             .nodes = (uint32_t)demo->options.nodes,
                                             .split_keys = (const char *)cuts.data};
        status = demo_cluster_start(&demo->cluster, &config, &demo->error);
    }
    buf_done(&cuts);
    return status;
}

/* Everything in this process, and then the cluster's birth. */
static enum status connect_all(struct demo *demo) {
    const struct demo_options *options = &demo->options;
    demo->loop = rpc_loop_new();
    struct bench_session_config session = {
        .addresses = (const char *)demo->cluster.router_address.data,
        .clients = (uint32_t)options->clients,
        .connections = (uint32_t)options->clients,
        .in_flight = (uint32_t)options->in_flight,
        .interval_us = TABLE_INTERVAL_US,
        .progress = print_row,
        .ctx = demo,
    };
    demo->session = bench_session_new(demo->loop, &session);
    demo->signals = signals_watch(demo->loop, signal_caught, demo);
    struct placement_client_config config = {
        .loop = demo->loop, .addresses = (const char *)demo->cluster.placement_address.data};
    enum status status = placement_client_new(&config, &demo->error, &demo->placement);
    if (status != STATUS_OK) return status;
    demo->map_timer.fire = map_timer_fired;
    rpc_timer_start(demo->loop, &demo->map_timer, rpc_loop_now_us(demo->loop));
    if (!rpc_loop_run_until(demo->loop, &demo->all_led, BIRTH_TIMEOUT_US)) {
        buf_printf(&demo->error, "not every range had a leader after %u s",
                   BIRTH_TIMEOUT_US / 1000000);
        return STATUS_TIMEOUT;
    }
    if (demo->failed || bench_session_interrupted(demo->session)) return STATUS_SHUTDOWN;
    fprintf(stderr,
            "%" PRIu64 " ranges on %" PRIu64 " nodes are led; %" PRIu64 " clients with %" PRIu64
            " requests in flight each, for %" PRIu64 " s\n",
            options->ranges, options->nodes, options->clients, options->in_flight,
            options->seconds);
    return STATUS_OK;
}

static void run_load(struct demo *demo) {
    const struct demo_options *options = &demo->options;
    int64_t seconds = (int64_t)options->seconds;
    int64_t limit = options->limit ? (int64_t)options->limit : seconds * LIMIT_PER_S;
    hot_issuer_init(&demo->workload,
                    &(struct hot_issuer_config){.issuers = (uint32_t)options->issuers,
                                                .zipf_exponent = options->zipf,
                                                .amount_min = 1,
                                                .amount_max = AMOUNT_MAX,
                                                .limit = limit,
                                                .hottest_limit = seconds * HOTTEST_LIMIT_PER_S,
                                                .seed = options->seed,
                                                .run = load_run_random()});
    struct bench_workload workload = hot_issuer_workload(&demo->workload);
    struct bench_load_config config = {.clients = (uint32_t)options->clients,
                                       .in_flight = (uint32_t)options->in_flight,
                                       .duration_us = options->seconds * 1000000,
                                       .attempt_timeout_us = ATTEMPT_TIMEOUT_US,
                                       .settle_us = SETTLE_US,
                                       .seed = options->seed};
    demo->load =
        bench_load_new(&config, &workload, bench_session_target(demo->session), clock_system());
    demo->load_began_us = rpc_loop_now_us(demo->loop);
    plan_fault(demo);
    bench_session_run(demo->session, demo->load);
}

/* Were reservations of the hottest issuer acknowledged before the kill, and after it by somebody
 * else than the dead node? A refusal would not show that anything can still be written there. */
static bool served_after_kill(struct demo *demo) {
    const struct bench_totals *totals = bench_load_totals(demo->load);
    if (totals->watched_refused > 0) {
        buf_printf(&demo->error, "%" PRIu64 " reservations of the hottest issuer were refused",
                   totals->watched_refused);
        return false;
    }
    if (!demo->options.kill_leader) return true;
    if (demo->fault < FAULT_KILLED)
        buf_printf(&demo->error, "no leader of the hottest range was found to kill");
    else if (demo->watched_at_kill == 0)
        buf_printf(&demo->error, "the hottest issuer got no acknowledgement before the kill");
    else if (totals->watched <= demo->watched_before)
        buf_printf(&demo->error, "the hottest issuer got no acknowledgement after the kill");
    else
        return true;
    return false;
}

/* ---- the restarted node's own data ---- */

struct digest {
    uint64_t rows, checksum;
    struct buf scratch;
};

static void digest_row(void *ctx, struct slice key, struct slice value) {
    struct digest *digest = ctx;
    buf_clear(&digest->scratch);
    encode_u64(&digest->scratch, digest->checksum);
    encode_bytes(&digest->scratch, key);
    encode_bytes(&digest->scratch, value);
    digest->checksum = checksum64(slice_from_buf(&digest->scratch));
    digest->rows++;
}

static enum status digest_all(struct demo *demo, struct bench_session *session,
                              struct digest *digest) {
    const struct slice start = SLICE_LITERAL("issuer/"), end = SLICE_LITERAL("issuer0");
    buf_clear(&digest->scratch);
    *digest = (struct digest){.scratch = digest->scratch};
    return bench_session_scan(session, start, end, SETTLE_US, digest_row, digest, &demo->error);
}

/* The node reads what it has itself, asking nobody, until that is what the leaders have. */
static bool catches_up(struct demo *demo, struct bench_session *session,
                       const struct digest *wanted) {
    struct digest own = {0};
    const bool never = false;
    uint64_t deadline_us = rpc_loop_now_us(demo->loop) + SETTLE_US;
    bool same = false, late = false;
    while (!same && !late && digest_all(demo, session, &own) == STATUS_OK) {
        same = own.rows == wanted->rows && own.checksum == wanted->checksum;
        late = rpc_loop_now_us(demo->loop) >= deadline_us;
        if (!same) (void)rpc_loop_run_until(demo->loop, &never, MAP_POLL_US);
    }
    if (late && !same)
        buf_printf(&demo->error,
                   "node %u, started again, has %" PRIu64 " rows (checksum %016" PRIx64
                   ") after %u s, and the cluster %" PRIu64 " (%016" PRIx64 ")",
                   demo->killed_index + 1, own.rows, own.checksum, SETTLE_US / 1000000,
                   wanted->rows, wanted->checksum);
    buf_done(&own.scratch);
    return same;
}

/* What the killed node has after its restart, against what the cluster answers. */
static bool restarted_has_all(struct demo *demo) {
    if (demo->fault < FAULT_RESTARTED) return true;
    char address[32];
    struct digest wanted = {0};
    snprintf(address, sizeof(address), "127.0.0.1:%u",
             demo->cluster.nodes[demo->killed_index].port);
    struct bench_session_config config = {
        .addresses = address, .clients = 1, .connections = 1, .in_flight = 1, .stale_scans = true};
    struct bench_session *session = bench_session_new(demo->loop, &config);
    bool same =
        digest_all(demo, demo->session, &wanted) == STATUS_OK && catches_up(demo, session, &wanted);
    if (same)
        fprintf(stderr, "node %u, started again, has the same %" PRIu64 " rows itself\n",
                demo->killed_index + 1, wanted.rows);
    bench_session_free(session);
    buf_done(&wanted.scratch);
    return same;
}

static bool verify_and_report(struct demo *demo, struct buf *ret_json) {
    struct bench_report report = {.load = demo->load, .unit = "reservations"};
    struct verifier verifier = {0};
    struct buf summary = {0};
    bool good = false;
    bench_append_summary(&summary, &report);
    fprintf(stderr, "%.*sverifying\n", (int)summary.len, (const char *)summary.data);
    verify_begin(&verifier, &demo->workload.ledger);
    if (bench_load_failure(demo->load).len > 0) {
        buf_append(&demo->error, bench_load_failure(demo->load));
    } else if (bench_verify_ledger(demo->session, &verifier, SETTLE_US, &demo->error) ==
               STATUS_OK) {
        const struct verdict *verdict = &verifier.verdict;
        fprintf(stderr, "verified %" PRIu64 " reservations over %" PRIu64 " issuers\n%.*s",
                verdict->reservations, verdict->issuers, (int)verdict->details.len,
                (const char *)verdict->details.data);
        report.verdict = verdict;
        struct bench_result result = bench_result_of(&report);
        /* After a kill: how long the range was away that lost its leader. */
        result.with_hottest = true;
        result.hottest_gap_ms = (double)bench_load_totals(demo->load)->watched_gap_us / 1000.0;
        json_print_take(ret_json, bench_result_json(&result, "reservations"));
        good = verdict_clean(verdict) && served_after_kill(demo) && restarted_has_all(demo);
        if (!verdict_clean(verdict)) buf_printf(&demo->error, "the data is wrong, see above");
    }
    verify_done(&verifier);
    buf_done(&summary);
    return good;
}

static void disconnect_all(struct demo *demo) {
    if (!demo->loop) return;
    rpc_timer_stop(demo->loop, &demo->map_timer);
    rpc_timer_stop(demo->loop, &demo->kill_timer);
    rpc_timer_stop(demo->loop, &demo->last_answers_timer);
    rpc_timer_stop(demo->loop, &demo->restart_timer);
    signals_free(demo->signals);
    if (demo->placement) placement_client_free(demo->placement);
    bench_session_free(demo->session);
    bench_load_free(demo->load);
    hot_issuer_done(&demo->workload);
    rpc_loop_free(demo->loop);
}

static int run_demo(struct demo *demo) {
    struct buf json = {0};
    demo->terminal = isatty(STDERR_FILENO);
    issuer_append_exposure_key(&demo->hottest_key, 0);
    bool good = start_cluster(demo) == STATUS_OK && connect_all(demo) == STATUS_OK;
    if (good) {
        run_load(demo);
        bool interrupted = bench_session_interrupted(demo->session);
        good = !demo->failed && !interrupted && verify_and_report(demo, &json);
    }
    if (!good) {
        if (demo->error.len > 0) common_complain("demo", &demo->error);
        demo_cluster_print_tails(&demo->cluster, stderr);
    }
    disconnect_all(demo);
    buf_clear(&demo->error);
    if (!demo_cluster_stop(&demo->cluster, &demo->error)) {
        fprintf(stderr, "flotilla demo: not a clean stop: %.*s\n", (int)demo->error.len,
                (const char *)demo->error.data);
        good = false;
    }
    cluster_root_done(&demo->root);
    if (json.len > 0) printf("%.*s\n", (int)json.len, (const char *)json.data);
    buf_done(&json);
    buf_done(&demo->hottest_key);
    buf_done(&demo->error);
    return good ? CMD_OK : CMD_FAILED;
}

static int cmd_demo(int argument_count, char **arguments) {
    struct demo *demo = MEMORY_NEW(struct demo);
    int exit_code = CMD_OK;
    switch (common_load(&demo_table, argument_count, arguments, &demo->options,
                        &demo->options.common)) {
    case COMMON_USAGE:
        exit_code = CMD_USAGE;
        break;
    case COMMON_HELP_SHOWN:
        break;
    case COMMON_GO_ON:
        /* Connections that come and go are part of the show; the table tells of them. */
        if (log_level_current == LOG_INFO) log_set_level(LOG_ERROR);
        exit_code = run_demo(demo);
        config_free_values(&demo_table, &demo->options);
        break;
    }
    memory_free(demo);
    return exit_code;
}

const struct command command_demo = {
    .name = "demo",
    .help = "a whole cluster on this machine, under load, with a failure on request",
    .run = cmd_demo,
    .table = &demo_table,
};
