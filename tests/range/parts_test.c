/* Entries that are applied in parts, a part with each round: what commands cost shows only in what
 * they find. Every command counts once, whatever happens between the parts. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "range/worker.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define TURN_US 10000u
#define ADDS 12u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_parts, .init = quiet, .timeout = 60);

static const struct range_replica *replica_on(struct cluster *cluster, uint64_t node) {
    return range_worker_find(range_store_worker(cluster_store(cluster, node), 0), 1);
}

static bool in_an_entry(struct cluster *cluster, uint64_t node) {
    uint32_t applied = replica_on(cluster, node)->apply.entry_commands;
    return applied > 0 && applied != RANGE_ENTRY_APPLIED_UNKNOWN;
}

static struct range_request write_of(const struct buf *command) {
    return (struct range_request){.kind = RANGE_WRITE,
                                  .range_id = 1,
                                  .timeout_us = 10 * SECOND,
                                  .command = slice_from_buf(command)};
}

/* One entry of `count` such commands; the calls are the caller's. */
static void send_entry(struct cluster *cluster, const struct txn_command *command, uint32_t count,
                       struct cluster_call **calls) {
    struct buf encoded = cluster_command(command);
    struct range_request *requests = calloc(count, sizeof(*requests));
    for (uint32_t i = 0; i < count; i++)
        requests[i] = write_of(&encoded);
    int64_t entries = metric_range_entries_proposed_total.value;
    cluster_send_many(cluster, cluster_leader(cluster, 1), requests, count, calls);
    while (metric_range_entries_proposed_total.value == entries)
        cluster_run_us(cluster, 5);
    cr_assert_eq(metric_range_entries_proposed_total.value, entries + 1);
    free(requests);
    buf_done(&encoded);
}

static void send_adds(struct cluster *cluster, struct cluster_call *calls[ADDS]) {
    struct txn_op op = {.kind = TXN_OP_ADD,
                        .key = cluster_key(1, "sum"),
                        .delta = 1,
                        .minimum = INT64_MIN,
                        .maximum = INT64_MAX};
    struct txn_command command = {.op_count = 1, .ops = &op};
    send_entry(cluster, &command, ADDS, calls);
}

static void free_calls(struct cluster *cluster, struct cluster_call **calls, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        cluster_call_free(cluster, calls[i]);
}

static struct cluster *begin(const struct cluster_config *config) {
    struct cluster *cluster = cluster_new(config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    struct buf command = cluster_put(cluster_key(1, "sum"), SLICE_LITERAL("0"));
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    buf_done(&command);
    cr_assert(cluster_converge(cluster, SECOND));
    return cluster;
}

static void expect_each_once(struct cluster *cluster) {
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), ADDS);
}

/* Small commands of which each looks at a large value; so many share a turn. */
#define A_TURNS (1 + RANGE_APPLY_ROUND_STEPS / (TXN_VALUE_BYTES_MAX / TXN_STEP_BYTES))

static void fill_value(struct buf *value) {
    buf_reserve(value, TXN_VALUE_BYTES_MAX);
    memset(value->data, 'v', TXN_VALUE_BYTES_MAX);
    value->len = TXN_VALUE_BYTES_MAX;
}

static void note_done(struct cluster *cluster, uint64_t done[4]) {
    for (uint64_t node = 1; node <= 3; node++)
        done[node] = replica_on(cluster, node)->report.writes_total;
}

/* Until all calls are answered: how many commands any node applied in one turn. */
static uint64_t most_in_a_turn(struct cluster *cluster, uint64_t done[4],
                               struct cluster_call **calls, uint32_t count) {
    uint64_t most = 0;
    for (uint32_t answered = 0; answered < count;) {
        cluster_run_us(cluster, 5); /* at most one turn of each worker */
        for (uint64_t node = 1; node <= 3; node++) {
            uint64_t now = replica_on(cluster, node)->report.writes_total;
            if (now - done[node] > most) most = now - done[node];
            done[node] = now;
        }
        while (answered < count && calls[answered]->done)
            answered++;
        cr_assert_lt(cluster_now_us(cluster), 20 * SECOND);
    }
    return most;
}

/* Protects everybody else on a node from small commands that look at large values: what a turn does
 * for them is bounded by what they look at. (range_worker_check asserts it, too.) */
Test(range_parts, commands_that_look_at_much_share_no_turn) {
    enum { COMMANDS = 128 };
    struct cluster_config config = cluster_config_default(1);
    struct cluster *cluster = begin(&config);
    struct buf value = {0};
    fill_value(&value);
    struct buf large = cluster_put(cluster_key(1, "large"), slice_from_buf(&value));
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&large)).result, TXN_DONE);
    cr_assert(cluster_converge(cluster, SECOND));
    struct txn_guard guard = {.kind = TXN_GUARD_EXISTS, .key = cluster_key(1, "large")};
    struct txn_op op = {
        .kind = TXN_OP_PUT, .key = cluster_key(1, "small"), .value = SLICE_LITERAL("w")};
    struct txn_command command = {.guard_count = 1, .guards = &guard, .op_count = 1, .ops = &op};
    static struct cluster_call *calls[COMMANDS];
    uint64_t done[4];
    note_done(cluster, done);
    send_entry(cluster, &command, COMMANDS, calls);
    cr_expect_leq(most_in_a_turn(cluster, done, calls, COMMANDS), A_TURNS);
    for (uint32_t i = 0; i < COMMANDS; i++)
        cr_expect_eq(calls[i]->reply.outcome.result, TXN_DONE);
    free_calls(cluster, calls, COMMANDS);
    cr_assert(cluster_converge(cluster, SECOND));
    buf_done(&large);
    buf_done(&value);
    cluster_free(cluster);
}

/* A retry looks at the row of its first attempt, however large that has become. */
Test(range_parts, retries_of_inserts_that_became_large_share_no_turn) {
    enum { COMMANDS = 40 };
    struct cluster_config config = cluster_config_default(2);
    struct cluster *cluster = begin(&config);
    struct buf value = {0}, inserts[COMMANDS];
    fill_value(&value);
    struct range_request requests[COMMANDS];
    struct cluster_call *calls[COMMANDS];
    for (uint32_t i = 0; i < COMMANDS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "large-%u", i); /* cannot be cut */
        struct slice key = cluster_key(1, name);
        struct txn_op op = {.kind = TXN_OP_INSERT, .key = key, .value = SLICE_LITERAL("w")};
        struct txn_command insert = {
            .request_id = slice_from_text(name), .op_count = 1, .ops = &op};
        inserts[i] = cluster_command(&insert);
        requests[i] = write_of(&inserts[i]);
        struct buf put = cluster_put(key, slice_from_buf(&value));
        cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&inserts[i])).result, TXN_DONE);
        cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&put)).result, TXN_DONE);
        buf_done(&put);
    }
    cr_assert(cluster_converge(cluster, SECOND));
    uint64_t done[4];
    note_done(cluster, done);
    cluster_send_many(cluster, cluster_leader(cluster, 1), requests, COMMANDS, calls);
    cr_expect_leq(most_in_a_turn(cluster, done, calls, COMMANDS), A_TURNS);
    for (uint32_t i = 0; i < COMMANDS; i++) {
        cr_expect(calls[i]->reply.outcome.replayed);
        buf_done(&inserts[i]);
    }
    free_calls(cluster, calls, COMMANDS);
    buf_done(&value);
    cluster_free(cluster);
}

/* Ends a node after each number of commands, in the middle of their entry. */
static void stops_after(uint32_t commands, bool leader, bool power_cut) {
    struct cluster_config config = cluster_config_default(commands);
    config.apply_round_commands = 1;
    struct cluster *cluster = begin(&config);
    struct cluster_call *calls[ADDS];
    uint64_t node = cluster_leader(cluster, 1);
    if (!leader) node = node % 3 + 1;
    cluster_slow(cluster, node, TURN_US);
    send_adds(cluster, calls);
    for (int i = 0; i < 1000; i++) {
        uint32_t applied = replica_on(cluster, node)->apply.entry_commands;
        if (in_an_entry(cluster, node) && applied >= commands) break;
        cluster_run_us(cluster, TURN_US / 10);
    }
    cr_assert_eq(replica_on(cluster, node)->apply.entry_commands, commands);
    if (power_cut)
        cluster_crash(cluster, node);
    else
        cluster_kill(cluster, node);
    cluster_run_us(cluster, SECOND / 2);
    cluster_slow(cluster, node, 0);
    cluster_start(cluster, node);
    expect_each_once(cluster);
    free_calls(cluster, calls, ADDS);
    cluster_free(cluster);
}

Test(range_parts, a_killed_follower_goes_on_where_it_was) {
    for (uint32_t commands = 1; commands < ADDS; commands++)
        stops_after(commands, false, false);
}

Test(range_parts, a_killed_leader_goes_on_where_it_was) {
    for (uint32_t commands = 1; commands < ADDS; commands++)
        stops_after(commands, true, false);
}

Test(range_parts, a_power_cut_takes_commands_and_position_alike) {
    for (uint32_t commands = 1; commands < ADDS; commands++)
        stops_after(commands, commands % 2 == 0, true);
}

/* The content of a snapshot may be of the middle of an entry: who gets it goes on from there. */
Test(range_parts, a_snapshot_of_the_middle_is_gone_on_with) {
    struct cluster_config config = cluster_config_default(5);
    config.apply_round_commands = 1;
    config.log_entries_kept = 1;
    config.log_compact_step = 1;
    struct cluster *cluster = begin(&config);
    uint64_t leader = cluster_leader(cluster, 1), straggler = leader % 3 + 1;
    struct buf command = cluster_put(cluster_key(1, "other"), SLICE_LITERAL("v"));
    cluster_isolate(cluster, straggler, true);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    cluster_run_us(cluster, SECOND / 5);
    struct cluster_call *calls[ADDS];
    cluster_slow(cluster, leader, TURN_US);
    int64_t installed = metric_range_snapshots_installed_total.value;
    send_adds(cluster, calls);
    cluster_heal(cluster);
    bool in_middle = false;
    while (metric_range_snapshots_installed_total.value == installed) {
        in_middle = in_middle || in_an_entry(cluster, leader);
        cluster_run_us(cluster, 100);
        cr_assert_lt(cluster_now_us(cluster), 20 * SECOND);
    }
    const struct range_apply_state *state = &replica_on(cluster, straggler)->applied;
    uint64_t last_ts = state->last_commit_ts;
    expect_each_once(cluster);
    bool of_an_add = false;
    for (uint32_t i = 0; i + 1 < ADDS; i++)
        of_an_add = of_an_add || calls[i]->reply.outcome.commit_ts == last_ts;
    cr_assert(of_an_add, "the snapshot was not of the middle of the entry");
    free_calls(cluster, calls, ADDS);
    buf_done(&command);
    cluster_free(cluster);
}
