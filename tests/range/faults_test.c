/* Clusters whose nodes die, sleep and lose each other: nothing acknowledged is lost, nothing counts
 * twice, no read is older than what was acknowledged before it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "range/limits.h"
#include "range/raft_frame.h"
#include "range/worker.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_faults, .init = quiet, .timeout = 60);

static void begin(struct cluster *cluster) {
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cluster_run_us(cluster, SECOND / 10);
}

static struct buf numbered_add(uint64_t range_id, int number) {
    char id[16];
    (void)snprintf(id, sizeof(id), "add-%d", number); /* cannot be cut: 16 bytes hold it */
    return cluster_add(cluster_key(range_id, "sum"), 1, slice_from_text(id));
}

static struct range_request write_of(const struct buf *command, uint64_t range_id,
                                     uint64_t timeout_us) {
    return (struct range_request){.kind = RANGE_WRITE,
                                  .range_id = range_id,
                                  .timeout_us = timeout_us,
                                  .command = slice_from_buf(command)};
}

/* ---- much to apply ---- */

/* A follower that was away has forty entries to apply at once, four with each write of effects: it
 * takes ten turns, between which it hears and answers the others. */
Test(range_faults, much_to_apply_is_not_applied_in_one_turn) {
    enum { WRITES = 40, AT_ONCE = 4 };
    struct cluster_config config = cluster_config_default(21);
    config.apply_round_commands = AT_ONCE;
    struct cluster *cluster = cluster_new(&config);
    begin(cluster);
    uint64_t away = 1 + cluster_leader(cluster, 1) % 3;
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_isolate(cluster, away, true);
    for (int i = 0; i < WRITES; i++)
        cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    struct range_status before, now;
    cr_assert(cluster_status(cluster, away, 1, &before));
    cluster_heal(cluster);
    uint32_t turns = 0;
    for (now = before; now.applied_index < before.applied_index + WRITES;) {
        uint64_t applied = now.applied_index;
        cluster_run_us(cluster, 5); /* at most one turn of its worker */
        cr_assert(cluster_status(cluster, away, 1, &now));
        cr_assert_leq(now.applied_index - applied, AT_ONCE);
        if (now.applied_index > applied) turns++;
        cr_assert_leq(cluster_now_us(cluster), 20 * SECOND);
    }
    cr_expect_geq(turns, WRITES / AT_ONCE);
    cr_assert(cluster_converge(cluster, SECOND));
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 1 + WRITES);
    buf_done(&command);
    cluster_free(cluster);
}

/* Few large commands are as much as many small ones: a turn stops at RANGE_APPLY_ROUND_BYTES, too,
 * whatever waits of however many ranges. */
Test(range_faults, large_values_are_not_applied_in_one_turn) {
    enum {
        RANGES = 16,
        WRITES = 3,
        VALUE_BYTES = 1000000,
        AT_ONCE = 1 + RANGE_APPLY_ROUND_BYTES / VALUE_BYTES
    };
    struct cluster_config config = cluster_config_default(22);
    config.ranges = RANGES;
    struct cluster *cluster = cluster_new(&config);
    begin(cluster);
    uint64_t slow = 3;
    cluster_slow(cluster, slow, 100000);
    struct buf value = {0};
    buf_reserve(&value, VALUE_BYTES);
    memset(value.data, 'v', VALUE_BYTES);
    value.len = VALUE_BYTES;
    cluster_isolate(cluster, slow, true);
    cluster_run_us(cluster, SECOND);
    for (uint64_t range = 1; range <= RANGES; range++) {
        struct buf command = cluster_put(cluster_key(range, "large"), slice_from_buf(&value));
        for (int i = 0; i < WRITES; i++)
            cr_assert_eq(cluster_write(cluster, range, slice_from_buf(&command)).result, TXN_DONE);
        buf_done(&command);
    }
    cluster_heal(cluster);
    uint64_t applied[RANGES + 1] = {0}, most = 0;
    for (int step = 0; step < 100; step++) {
        uint64_t in_turn = 0;
        for (uint64_t range = 1; range <= RANGES; range++) {
            struct range_status status;
            cr_assert(cluster_status(cluster, slow, range, &status));
            if (applied[range] > 0) in_turn += status.applied_index - applied[range];
            applied[range] = status.applied_index;
        }
        if (in_turn > most) most = in_turn;
        cluster_run_us(cluster, 50000); /* at most one turn of its worker */
    }
    /* The ranges that the slow node led have an empty entry of their new leader, too. */
    cr_expect_leq(most, AT_ONCE + RANGES / 2);
    cr_expect_geq(most, AT_ONCE - 1, "so much did wait at once");
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    buf_done(&value);
    cluster_free(cluster);
}

/* ---- the leader dies with commands under way ---- */

#define ADDS 100

static void expect_exactly_once(struct cluster *cluster, struct cluster_call **calls,
                                const struct buf *commands) {
    for (int i = 0; i < ADDS; i++) {
        bool acked = calls[i]->done && calls[i]->reply.code == RANGE_REPLY_OK;
        struct txn_outcome outcome = cluster_write(cluster, 1, slice_from_buf(&commands[i]));
        cr_assert_eq(outcome.result, TXN_DONE);
        if (!acked) continue;
        cr_assert(outcome.replayed); /* lost otherwise */
        cr_assert_eq(outcome.commit_ts, calls[i]->reply.outcome.commit_ts);
    }
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), ADDS);
}

enum death { KILL, POWER_CUT, POWER_CUT_OF_ALL };

static void die(struct cluster *cluster, uint64_t leader, enum death death) {
    for (uint64_t node = 1; node <= 3; node++) {
        if (node != leader && death != POWER_CUT_OF_ALL) continue;
        if (death == KILL)
            cluster_kill(cluster, node);
        else
            cluster_crash(cluster, node);
    }
    for (uint64_t node = 1; node <= 3 && death == POWER_CUT_OF_ALL; node++)
        cluster_start(cluster, node);
}

static void leader_dies_after(uint64_t us, enum death death) {
    struct cluster_config config = cluster_config_default(us);
    if (death == POWER_CUT_OF_ALL) config.sync_us = 500; /* what is promised early is lost then */
    struct cluster *cluster = cluster_new(&config);
    struct cluster_call *calls[ADDS];
    struct range_request requests[ADDS];
    struct buf commands[ADDS];
    begin(cluster);
    for (int i = 0; i < ADDS; i++) {
        commands[i] = numbered_add(1, i);
        requests[i] = write_of(&commands[i], 1, SECOND);
    }
    uint64_t leader = cluster_leader(cluster, 1);
    cluster_send_many(cluster, leader, requests, ADDS / 2, calls);
    cluster_run_us(cluster, 100);
    cluster_send_many(cluster, leader, requests + ADDS / 2, ADDS / 2, calls + ADDS / 2);
    cluster_run_us(cluster, us);
    die(cluster, leader, death);
    expect_exactly_once(cluster, calls, commands);
    if (!cluster_is_up(cluster, leader)) cluster_start(cluster, leader);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    for (int i = 0; i < ADDS; i++)
        buf_done(&commands[i]);
    cluster_free(cluster);
}

/* Whatever the instant at which the leader dies, what it acknowledged is there, once. */
Test(range_faults, a_dying_leader_loses_nothing_acknowledged_and_doubles_nothing) {
    for (uint64_t us = 25; us <= 1200; us += 25)
        leader_dies_after(us, us % 50 == 0 ? POWER_CUT : KILL);
}

/* Nobody promises what is not durable: not even when all lose power together is it lost. */
Test(range_faults, a_power_cut_of_all_nodes_loses_no_promise) {
    for (uint64_t us = 50; us <= 2000; us += 50)
        leader_dies_after(us, POWER_CUT_OF_ALL);
}

/* All nodes lose power at once, unsynced writes with it: recovery applies every entry once more at
 * most, which is once in all. */
Test(range_faults, a_power_cut_of_all_nodes_loses_nothing_acknowledged) {
    struct cluster_config config = cluster_config_default(77);
    struct cluster *cluster = cluster_new(&config);
    begin(cluster);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 20; i++) {
            struct buf command = numbered_add(1, round * 20 + i);
            cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
            buf_done(&command);
        }
        for (uint64_t node = 1; node <= 3; node++)
            cluster_crash(cluster, node);
        for (uint64_t node = 1; node <= 3; node++)
            cluster_start(cluster, node);
        cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), (round + 1) * 20);
    }
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_free(cluster);
}

static uint64_t last_index(struct cluster *cluster, uint64_t node) {
    struct range_worker *worker = range_store_worker(cluster_store(cluster, node), 0);
    return range_worker_find(worker, 1)->log.last_index;
}

static void move_leader(struct cluster *cluster, uint64_t to_node) {
    range_store_transfer(cluster_store(cluster, cluster_leader(cluster, 1)), 1, to_node);
    cluster_run_us(cluster, SECOND / 10);
    cr_assert_eq(cluster_leader(cluster, 1), to_node);
}

/* A leader proposes a long tail that is replaced by a shorter one, and leads again before the log
 * has reached the tail's end. Those who cannot ask again by a request id wait for what the log
 * says; they hear that their commands are lost, and the new ones are not mistaken for them. */
Test(range_faults, settles_what_a_shorter_log_replaced_before_leading_again) {
    enum { LOST = 8 };
    struct cluster_call *calls[LOST];
    struct cluster_config config = cluster_config_default(5);
    struct cluster *cluster = cluster_new(&config);
    begin(cluster);
    uint64_t old = cluster_leader(cluster, 1);
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    struct range_request request = write_of(&command, 1, 20 * SECOND);
    uint64_t first = last_index(cluster, old);
    cluster_isolate(cluster, old, true);
    for (int i = 0; i < LOST; i++) {
        struct buf with_id = numbered_add(1, i);
        struct range_request settled = write_of(&with_id, 1, 20 * SECOND);
        calls[i] = cluster_send(cluster, old, i < LOST / 2 ? &settled : &request);
        /* An entry each: once the first has waited, nobody is gathered behind it any more. */
        cluster_run_us(cluster, i == 0 ? RANGE_GATHER_US_MAX + 2000 : 2000);
        buf_done(&with_id);
    }
    cr_assert_geq(last_index(cluster, old), first + LOST);
    cluster_run_us(cluster, SECOND);
    cr_assert_neq(cluster_leader(cluster, 1), old);
    cluster_heal(cluster);
    cluster_run_us(cluster, SECOND / 2);
    move_leader(cluster, old);
    struct cluster_call *fresh = cluster_send(cluster, old, &request);
    cr_assert(cluster_await(cluster, fresh, SECOND));
    cr_assert_eq(fresh->reply.code, RANGE_REPLY_OK);
    for (int i = 0; i < LOST; i++) {
        cr_assert(calls[i]->done);
        cr_assert_eq(calls[i]->reply.code,
                     i < LOST / 2 ? RANGE_REPLY_UNKNOWN : RANGE_REPLY_NOT_LEADER);
    }
    for (int i = 0; i < 2 * LOST; i++)
        cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 1 + 2 * LOST);
    buf_done(&command);
    cluster_free(cluster);
}

/* ---- reads ---- */

#define CALLS_MAX 64

/* A counter that only grows: a read must not show less than anything known before it began. */
struct reading {
    struct cluster *cluster;
    enum range_read_mode mode;
    struct slice key;
    int64_t floor; /* the largest number that an answer has shown */
    int next_add;
    struct {
        struct cluster_call *call;
        int64_t floor; /* when it was sent; -1: a write */
    } under_way[CALLS_MAX];
};

static void follow_call(struct reading *reading, struct cluster_call *call, int64_t floor) {
    for (int i = 0; i < CALLS_MAX; i++) {
        if (reading->under_way[i].call) continue;
        reading->under_way[i].call = call;
        reading->under_way[i].floor = floor;
        return;
    }
    cluster_call_free(reading->cluster, call);
}

static int64_t number_read(const struct range_reply *reply) {
    char text[32] = "0";
    if (reply->rows[0].version == 0) return 0;
    cr_assert_lt(reply->rows[0].value.len, sizeof(text));
    memcpy(text, reply->rows[0].value.data, reply->rows[0].value.len);
    text[reply->rows[0].value.len] = 0;
    return strtoll(text, NULL, 10);
}

static void harvest(struct reading *reading) {
    int64_t highest = reading->floor;
    for (int i = 0; i < CALLS_MAX; i++) {
        struct cluster_call *call = reading->under_way[i].call;
        bool old = call && cluster_now_us(reading->cluster) > call->begun_us + SECOND;
        if (!call || (!call->done && !old)) continue;
        int64_t number = -1;
        if (call->done && call->reply.code == RANGE_REPLY_OK)
            number = reading->under_way[i].floor < 0 ? call->reply.outcome.numbers[0]
                                                     : number_read(&call->reply);
        if (number >= 0 && reading->under_way[i].floor >= 0)
            cr_assert_geq(number, reading->under_way[i].floor, "a read went back");
        if (number > highest) highest = number;
        cluster_call_free(reading->cluster, call);
        reading->under_way[i].call = NULL;
    }
    reading->floor = highest;
}

static void ask_everybody(struct reading *reading) {
    for (uint64_t node = 1; node <= 3; node++) {
        struct range_request get = {.kind = RANGE_GET,
                                    .range_id = 1,
                                    .timeout_us = SECOND / 2,
                                    .read_mode = reading->mode,
                                    .key_count = 1,
                                    .keys = &reading->key};
        follow_call(reading, cluster_send(reading->cluster, node, &get), reading->floor);
    }
    struct buf command = numbered_add(1, reading->next_add++);
    struct range_request add = write_of(&command, 1, SECOND / 2);
    for (uint64_t node = 1; node <= 3; node++)
        follow_call(reading, cluster_send(reading->cluster, node, &add), -1);
    buf_done(&command);
}

static void disturb(struct cluster *cluster) {
    struct prng *prng = cluster_prng(cluster);
    uint64_t node = prng_between(prng, 1, 3);
    switch (prng_below(prng, 8)) {
    case 0:
        cluster_heal(cluster);
        cluster_isolate(cluster, cluster_leader(cluster, 1) ? cluster_leader(cluster, 1) : node,
                        true);
        return;
    case 1:
        cluster_heal(cluster);
        cluster_pause(cluster, cluster_leader(cluster, 1) ? cluster_leader(cluster, 1) : node,
                      true);
        return;
    case 2:
        if (cluster_leader(cluster, 1))
            range_store_transfer(cluster_store(cluster, cluster_leader(cluster, 1)), 1, node);
        return;
    case 3:
    case 4:
        cluster_heal(cluster);
        return;
    default:
        return;
    }
}

static void read_under_faults(uint64_t seed, enum range_read_mode mode) {
    struct cluster_config config = cluster_config_default(seed);
    config.clock_ppm = 4900; /* two clocks differ by almost what the leases allow for */
    struct cluster *cluster = cluster_new(&config);
    struct reading reading = {.cluster = cluster, .mode = mode, .key = cluster_key(1, "sum")};
    begin(cluster);
    for (int round = 0; round < 60; round++) {
        if (round % 4 == 0) disturb(cluster);
        ask_everybody(&reading);
        cluster_run_us(cluster, prng_between(cluster_prng(cluster), 100, 150000));
        harvest(&reading);
    }
    cluster_heal(cluster);
    cr_assert_gt(reading.floor, 5);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cluster_free(cluster);
}

/* Leases hold over pauses, partitions, hand-overs, and clocks that run differently. */
Test(range_faults, lease_reads_never_go_back) {
    for (uint64_t seed = 1; seed <= 30; seed++)
        read_under_faults(seed, RANGE_READ_LINEARIZABLE);
}

/* ReadIndex needs no clocks at all. */
Test(range_faults, read_index_reads_never_go_back) {
    for (uint64_t seed = 1; seed <= 15; seed++)
        read_under_faults(seed, RANGE_READ_INDEX);
}

/* ---- unknown replicas ---- */

static void inject_message(struct cluster *cluster, uint64_t from, uint64_t to, uint64_t range_id,
                           const struct raft_message *message) {
    struct buf frame = {0};
    range_raft_frame_begin(&frame);
    range_raft_frame_add(&frame, range_id, 1, message);
    cluster_inject_raft(cluster, from, to, slice_from_buf(&frame));
    buf_done(&frame);
}

/* Messages for ranges that are not here, for other replicas, from a wrong node, and bytes that are
 * none, change nothing: no term moves, and the leader leads on. */
Test(range_faults, messages_of_unknown_replicas_change_nothing) {
    struct cluster_config config = cluster_config_default(21);
    struct cluster *cluster = cluster_new(&config);
    begin(cluster);
    uint64_t leader = cluster_leader(cluster, 1), other = leader % 3 + 1;
    struct range_status before, after;
    cr_assert(cluster_status(cluster, leader, 1, &before));
    struct raft_message message = {
        .kind = RAFT_MSG_HEARTBEAT, .from = other, .to = leader, .term = before.term + 9};
    inject_message(cluster, other, leader, 42, &message);        /* unknown range */
    inject_message(cluster, other % 3 + 1, leader, 1, &message); /* not that node's replica */
    message.to = other;
    inject_message(cluster, other, leader, 1, &message); /* another replica */
    struct buf frame = {0};
    range_raft_frame_begin(&frame);
    struct range_raft_envelope envelope = {.range_id = 1, .message = SLICE_LITERAL("\xff\xff??")};
    range_raft_frame_copy(&frame, &envelope);
    cluster_inject_raft(cluster, other, leader, slice_from_buf(&frame));
    buf_done(&frame);
    struct range_store *store = cluster_store(cluster, leader);
    cr_assert_eq(range_store_raft_frame(store, other, SLICE_LITERAL("garbage")), STATUS_CORRUPTION);
    cr_assert_eq(range_store_snapshot_frame(store, other, SLICE_LITERAL("garbage")),
                 STATUS_CORRUPTION);
    cluster_run_us(cluster, SECOND);
    cr_assert(cluster_status(cluster, leader, 1, &after));
    cr_assert(after.leads);
    cr_assert_eq(after.term, before.term);
    cluster_free(cluster);
}

/* ---- everything at once ---- */

struct chaos {
    struct cluster *cluster;
    int adds[2]; /* under way or done, of each range */
};

static void some_adds(struct chaos *chaos) {
    for (uint64_t range = 1; range <= 2; range++) {
        uint64_t node = prng_between(cluster_prng(chaos->cluster), 1, 3);
        uint64_t leader = cluster_leader(chaos->cluster, range);
        struct buf command = numbered_add(range, chaos->adds[range - 1]++);
        struct buf put = cluster_put(cluster_key(range, "put"), SLICE_LITERAL("x"));
        struct range_request requests[] = {write_of(&command, range, SECOND),
                                           write_of(&put, range, 5 * SECOND)};
        struct cluster_call *calls[2]; /* answered or not: the retries at the end tell */
        cluster_send_many(chaos->cluster, leader ? leader : node, requests, 2, calls);
        buf_done(&command);
        buf_done(&put);
    }
}

static void one_fault(struct chaos *chaos) {
    struct cluster *cluster = chaos->cluster;
    struct prng *prng = cluster_prng(cluster);
    uint64_t node = prng_between(prng, 1, 3);
    uint64_t choice = prng_below(prng, 9);
    if (!cluster_is_up(cluster, node)) {
        cluster_start(cluster, node);
    } else if (choice == 0) {
        cluster_crash(cluster, node);
    } else if (choice == 1) {
        cluster_kill(cluster, node);
    } else if (choice == 2) {
        cluster_pause(cluster, node, true);
    } else if (choice == 3) {
        cluster_isolate(cluster, node, true);
    } else if (choice == 4) {
        cluster_cut(cluster, node, node % 3 + 1, true);
    } else if (choice == 5) {
        cluster_drop_snapshots(cluster, prng_below(prng, 2) == 0);
    } else if (choice == 6) {
        cluster_stop_oracle(cluster, prng_below(prng, 4) == 0);
    } else {
        cluster_heal(cluster);
    }
}

static void expect_all_well(struct chaos *chaos) {
    struct cluster *cluster = chaos->cluster;
    cluster_heal(cluster);
    cluster_set_loss(cluster, 0, 0);
    cluster_drop_snapshots(cluster, false);
    cluster_stop_oracle(cluster, false);
    for (uint64_t node = 1; node <= 3; node++)
        if (!cluster_is_up(cluster, node)) cluster_start(cluster, node);
    for (uint64_t range = 1; range <= 2; range++) {
        for (int i = 0; i < chaos->adds[range - 1]; i++) {
            struct buf command = numbered_add(range, i);
            cr_assert_eq(cluster_write(cluster, range, slice_from_buf(&command)).result, TXN_DONE);
            buf_done(&command);
        }
        cr_assert_eq(cluster_read_number(cluster, range, cluster_key(range, "sum")),
                     chaos->adds[range - 1]);
    }
    cr_assert(cluster_converge(cluster, 15 * SECOND), "the replicas do not agree");
}

static void run_chaos(uint64_t seed) {
    struct cluster_config config = cluster_config_default(seed);
    config.ranges = 2;
    config.workers = 1 + seed % 2;
    config.drop_per_mille = seed % 3 ? 20 : 0;
    config.duplicate_per_mille = 20;
    config.delay_max_us = seed % 5 ? 400 : 5000;
    config.clock_ppm = 3000;
    config.log_entries_kept = 20;
    struct chaos chaos = {.cluster = cluster_new(&config)};
    begin(chaos.cluster);
    bool long_log = seed % 10 == 0; /* so that who is behind needs a snapshot */
    for (int round = 0; round < (long_log ? 600 : 40); round++) {
        some_adds(&chaos);
        if (prng_below(cluster_prng(chaos.cluster), long_log ? 60 : 4) == 0) one_fault(&chaos);
        cluster_run_us(chaos.cluster, prng_between(cluster_prng(chaos.cluster), 100, 30000));
    }
    expect_all_well(&chaos);
    cluster_free(chaos.cluster);
}

/* Random faults of every kind; at the end every add counts once and all replicas are equal. */
Test(range_faults, every_seed_ends_with_equal_replicas_and_exact_sums) {
    for (uint64_t seed = 1; seed <= 200; seed++)
        run_chaos(seed);
}
