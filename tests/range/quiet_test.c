/* Ranges that nobody uses: they cost nothing, and are there when they are needed; also when nodes
 * are lost meanwhile. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "range/metrics.h"
#include "range/raft_frame.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
/* An election time-out is noticed, up to another passes, and an election takes its round trips. */
#define FAIL_OVER_US 450000u

static void silence(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_quiet, .init = silence, .timeout = 120);

/* ---- looking ---- */

struct seen {
    struct range_status *ranges; /* [range id], of one node; without descriptors */
    uint32_t quiet, leading;
};

static void note(void *ctx, const struct range_status *status) {
    struct seen *seen = ctx;
    struct range_status *copy = &seen->ranges[status->descriptor->range_id];
    *copy = *status;
    copy->descriptor = NULL;
    seen->quiet += status->quiet ? 1 : 0;
    seen->leading += status->leads ? 1 : 0;
}

static struct seen look(struct cluster *cluster, uint64_t node, uint32_t ranges) {
    struct seen seen = {.ranges = memory_zalloc((ranges + 1) * sizeof(struct range_status))};
    range_store_status(cluster_store(cluster, node), note, &seen);
    return seen;
}

struct quiet_wait {
    struct cluster *cluster;
    uint32_t ranges;
};

static bool all_quiet(void *ctx) {
    const struct quiet_wait *wait = ctx;
    int64_t replicas = 0;
    for (uint64_t node = 1; node <= 3; node++)
        if (cluster_is_up(wait->cluster, node)) replicas += wait->ranges;
    return atomic_load(&metric_range_quiet.value) == replicas;
}

static void wait_quiet(struct cluster *cluster, uint32_t ranges) {
    struct quiet_wait wait = {cluster, ranges};
    bool reached = cluster_run_until(cluster, 10 * SECOND, all_quiet, &wait);
    cr_assert(reached, "%ld replicas are quiet", (long)atomic_load(&metric_range_quiet.value));
}

static struct cluster *new_quiet_cluster(uint64_t seed, uint32_t ranges, uint32_t workers) {
    struct cluster_config config = cluster_config_default(seed);
    config.ranges = ranges;
    config.workers = workers;
    struct cluster *cluster = cluster_new(&config);
    cluster_run_us(cluster, SECOND / 2); /* created, and led */
    wait_quiet(cluster, ranges);
    return cluster;
}

static int64_t raft_messages(void) {
    return atomic_load(&metric_range_raft_messages_sent_total.value);
}

static void write_one(struct cluster *cluster, uint64_t range_id) {
    struct buf command = cluster_add(cluster_key(range_id, "sum"), 1, SLICE_EMPTY);
    struct txn_outcome outcome = cluster_write(cluster, range_id, slice_from_buf(&command));
    cr_assert_eq(outcome.result, TXN_DONE);
    buf_done(&command);
}

/* ---- at rest ---- */

/* The point: a thousand idle ranges send beats per pair of nodes; and each worker asks for one of
 * them, ten times a second, whether it still is a replica, however many there are. */
Test(range_quiet, a_thousand_idle_ranges_send_nothing_but_beats) {
    enum { RANGES = 1000 };
    int64_t questions;
    struct cluster *cluster = new_quiet_cluster(1, RANGES, 1);
    int64_t messages = raft_messages();
    int64_t beats = atomic_load(&metric_range_beats_sent_total.value);
    questions = atomic_load(&metric_range_questions_total.value);
    cluster_run_us(cluster, SECOND);
    cr_expect_eq(raft_messages(), messages);
    questions = atomic_load(&metric_range_questions_total.value) - questions;
    cr_expect_leq(questions, 3 * 11);
    beats = atomic_load(&metric_range_beats_sent_total.value) - beats;
    cr_expect_geq(beats, 6 * 19);
    cr_expect_leq(beats, 6 * 21);
    cluster_free(cluster);
}

/* Requests find a quiet range as they find an awake one; afterwards it rests again. */
Test(range_quiet, a_quiet_range_serves_at_once) {
    struct cluster *cluster = new_quiet_cluster(2, 4, 2);
    uint64_t begun_us = cluster_now_us(cluster);
    write_one(cluster, 3);
    cr_expect_lt(cluster_now_us(cluster) - begun_us, 5000, "no waiting for a tick");
    wait_quiet(cluster, 4);
    cluster_run_us(cluster, SECOND); /* no lease is left */
    begun_us = cluster_now_us(cluster);
    cr_expect_eq(cluster_read_number(cluster, 3, cluster_key(3, "sum")), 1);
    cr_expect_lt(cluster_now_us(cluster) - begun_us, 5000);
    cr_expect_leq(atomic_load(&metric_range_quiet.value), 3 * 4 - 1);
    wait_quiet(cluster, 4);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_free(cluster);
}

/* A range in use stays awake, and keeps its lease: reading costs no rounds. */
Test(range_quiet, reading_keeps_a_range_awake) {
    struct cluster *cluster = new_quiet_cluster(3, 1, 1);
    write_one(cluster, 1);
    for (uint32_t i = 0; i < 20; i++) {
        (void)cluster_read_number(cluster, 1, cluster_key(1, "sum")); /* 1, as tested elsewhere */
        cluster_run_us(cluster, SECOND / 20);
    }
    cr_expect_eq(atomic_load(&metric_range_quiet.value), 0);
    cr_expect_geq(atomic_load(&metric_range_reads_leased_total.value), 19);
    cluster_free(cluster);
}

/* Off: as before, every range beats. */
Test(range_quiet, can_be_switched_off) {
    struct cluster_config config = cluster_config_default(4);
    config.quiesce_ticks = 0;
    struct cluster *cluster = cluster_new(&config);
    cluster_run_us(cluster, 2 * SECOND);
    cr_expect_eq(atomic_load(&metric_range_quiet.value), 0);
    cr_expect_eq(atomic_load(&metric_range_beats_sent_total.value), 0);
    cluster_free(cluster);
}

/* ---- nodes that are lost ---- */

static bool led_without(struct cluster *cluster, uint64_t lost, uint32_t ranges, bool *led) {
    bool all = true;
    for (uint64_t range = 1; range <= ranges; range++)
        led[range] = false;
    for (uint64_t node = 1; node <= 3; node++) {
        if (node == lost || !cluster_is_up(cluster, node)) continue;
        struct seen seen = look(cluster, node, ranges);
        for (uint64_t range = 1; range <= ranges; range++)
            led[range] = led[range] || seen.ranges[range].leads;
        free(seen.ranges);
    }
    for (uint64_t range = 1; range <= ranges; range++)
        all = all && led[range];
    return all;
}

struct led_wait {
    struct cluster *cluster;
    uint64_t lost;
    uint32_t ranges;
    bool *led;
};

static bool all_led(void *ctx) {
    const struct led_wait *wait = ctx;
    return led_without(wait->cluster, wait->lost, wait->ranges, wait->led);
}

static uint32_t leaderless(struct cluster *cluster, uint64_t lost, uint32_t ranges) {
    bool *led = memory_zalloc((ranges + 1) * sizeof(bool));
    uint32_t count = 0;
    (void)led_without(cluster, lost, ranges, led); /* counted one by one */
    for (uint64_t range = 1; range <= ranges; range++)
        count += led[range] ? 0 : 1;
    memory_free(led);
    return count;
}

static uint64_t wait_led(struct cluster *cluster, uint64_t lost, uint32_t ranges) {
    uint64_t begun_us = cluster_now_us(cluster);
    struct led_wait wait = {cluster, lost, ranges, memory_zalloc((ranges + 1) * sizeof(bool))};
    bool reached = cluster_run_until(cluster, 5 * SECOND, all_led, &wait);
    cr_assert(reached, "some range has no leader");
    memory_free(wait.led);
    return cluster_now_us(cluster) - begun_us;
}

static uint32_t terms_changed(const struct seen *before, const struct seen *after, uint32_t ranges,
                              uint64_t lost, bool led_by_lost) {
    uint32_t changed = 0;
    for (uint64_t range = 1; range <= ranges; range++) {
        if ((before->ranges[range].leader_node == lost) != led_by_lost) continue;
        changed += before->ranges[range].term != after->ranges[range].term ? 1 : 0;
    }
    return changed;
}

/* One dead node wakes the ranges that it led and no others (tikv#19070); those have a leader within
 * the usual time; then all rest again without it, and when it is back nobody misses anything. */
static void kill_one(uint64_t seed, uint32_t ranges, uint32_t workers) {
    struct cluster *cluster = new_quiet_cluster(seed, ranges, workers);
    uint64_t lost = 1 + seed % 3, other = 1 + lost % 3;
    struct seen before = look(cluster, other, ranges);
    cluster_kill(cluster, lost);
    cluster_run_us(cluster, FAIL_OVER_US);
    /* But for those where both that are left stood in the same millisecond, which takes another
     * time-out. */
    cr_expect_leq(leaderless(cluster, lost, ranges), ranges / 20);
    (void)wait_led(cluster, lost, ranges); /* asserts that there will be */
    wait_quiet(cluster, ranges);
    struct seen after = look(cluster, other, ranges);
    cr_expect_eq(terms_changed(&before, &after, ranges, lost, false), 0,
                 "ranges that others led were disturbed");
    cr_expect_eq(terms_changed(&before, &after, ranges, lost, true), ranges / 3);
    int64_t messages = raft_messages();
    cluster_run_us(cluster, SECOND);
    cr_expect_eq(raft_messages(), messages, "the ones without it rest as well");

    write_one(cluster, 1);
    write_one(cluster, ranges);
    wait_quiet(cluster, ranges);
    cluster_start(cluster, lost);
    cluster_run_us(cluster, SECOND);
    wait_quiet(cluster, ranges);
    cr_assert(cluster_converge(cluster, 0), "without a request it gets what it missed");
    free(before.ranges);
    free(after.ranges);
    cluster_free(cluster);
}

Test(range_quiet, a_dead_node_wakes_only_its_own_ranges) {
    kill_one(5, 150, 1);
}

/* The watch is per worker of the other node, and by each worker here. */
Test(range_quiet, a_dead_node_with_several_workers) {
    kill_one(6, 60, 3);
}

/* It came back before anybody noticed: it does not remember that it led, and the others learn that
 * from its first beats. */
Test(range_quiet, a_node_that_restarts_at_once_loses_its_ranges) {
    enum { RANGES = 30 };
    struct cluster *cluster = new_quiet_cluster(7, RANGES, 1);
    cluster_kill(cluster, 2);
    cluster_run_us(cluster, 20000);
    cluster_start(cluster, 2);
    cr_expect_lt(wait_led(cluster, 0, RANGES), FAIL_OVER_US);
    wait_quiet(cluster, RANGES);
    cr_assert(cluster_converge(cluster, 0));
    cluster_free(cluster);
}

/* It came back with another number of workers: the ranges of each of them learn of it. */
Test(range_quiet, a_node_that_restarts_with_more_workers_loses_all_its_ranges) {
    enum { RANGES = 30, WORKERS = 3, LOST = 2 };
    struct cluster *cluster = new_quiet_cluster(9, RANGES, 1);
    cluster_kill(cluster, LOST);
    cluster_run_us(cluster, 20000); /* what it sent last has arrived */
    int64_t suspected = atomic_load(&metric_range_nodes_suspected_total.value);
    struct buf frame = {0};
    range_raft_frame_begin(&frame);
    for (uint32_t worker = 0; worker < WORKERS; worker++)
        range_raft_frame_add_beat(
            &frame, &(struct range_beat){.incarnation = 1, .worker = worker, .workers = WORKERS});
    for (uint64_t node = 1; node <= 3; node++)
        if (node != LOST) cluster_inject_raft(cluster, LOST, node, slice_from_buf(&frame));
    cluster_run_us(cluster, 10000); /* less than silence takes to be noticed */
    cr_assert_eq(atomic_load(&metric_range_nodes_suspected_total.value) - suspected, 2 * WORKERS);
    (void)wait_led(cluster, LOST, RANGES);
    buf_done(&frame);
    cluster_free(cluster);
}

/* As SIGSTOP: the others go on; when it runs again it learns what happened. */
Test(range_quiet, a_stopped_node_is_replaced_and_comes_back) {
    enum { RANGES = 30 };
    struct cluster *cluster = new_quiet_cluster(8, RANGES, 1);
    cluster_pause(cluster, 1, true);
    cr_expect_lt(wait_led(cluster, 1, RANGES), FAIL_OVER_US);
    write_one(cluster, 1);
    cluster_run_us(cluster, SECOND);
    cluster_pause(cluster, 1, false);
    cluster_run_us(cluster, SECOND);
    wait_quiet(cluster, RANGES);
    cr_assert(cluster_converge(cluster, 0));
    for (uint64_t range = 1; range <= RANGES; range++)
        cr_expect_neq(cluster_leader(cluster, range), 0);
    cluster_free(cluster);
}

/* Turns of 110 ms, as under a heavy load or on a slow disk: what such a node owes the others goes
 * by time, not by its turns, so nobody takes it for dead; whether its ranges are quiet or beat. */
static void slow_node_keeps_its_ranges(uint32_t quiesce_ticks) {
    enum { RANGES = 12 };
    struct cluster_config config = cluster_config_default(10);
    config.ranges = RANGES;
    config.quiesce_ticks = quiesce_ticks;
    struct cluster *cluster = cluster_new(&config);
    cluster_run_us(cluster, SECOND);
    uint64_t leaders[RANGES + 1];
    bool led[4] = {false};
    for (uint64_t range = 1; range <= RANGES; range++)
        led[leaders[range] = cluster_leader(cluster, range)] = true;
    cr_assert(led[2], "the seed lets the slow node lead some range");
    int64_t lost = atomic_load(&metric_range_nodes_suspected_total.value);
    cluster_slow(cluster, 2, 110000);
    for (uint32_t i = 0; i < 20; i++) {
        write_one(cluster, 1 + i % RANGES);
        cluster_run_us(cluster, SECOND / 4);
    }
    cr_expect_eq(atomic_load(&metric_range_nodes_suspected_total.value), lost);
    for (uint64_t range = 1; range <= RANGES; range++)
        cr_expect_eq(cluster_leader(cluster, range), leaders[range], "range %lu", (long)range);
    cluster_free(cluster);
}

Test(range_quiet, a_slow_node_is_not_taken_for_dead) {
    slow_node_keeps_its_ranges(15);
}

Test(range_quiet, a_slow_node_is_not_taken_for_dead_where_ranges_beat) {
    slow_node_keeps_its_ranges(0);
}

/* A link between two nodes is cut for longer than an election: the range goes on with the third,
 * and rests once the link is back. */
Test(range_quiet, a_cut_link_heals) {
    enum { RANGES = 12 };
    struct cluster *cluster = new_quiet_cluster(9, RANGES, 1);
    cluster_cut(cluster, 1, 2, true);
    cluster_run_us(cluster, 2 * SECOND);
    for (uint64_t range = 1; range <= RANGES; range++)
        write_one(cluster, range);
    cluster_heal(cluster);
    cluster_run_us(cluster, SECOND);
    wait_quiet(cluster, RANGES);
    cr_assert(cluster_converge(cluster, 0));
    cluster_free(cluster);
}

/* Many runs of all of it, with a network that loses and repeats. */
Test(range_quiet, comes_to_rest_whatever_happened) {
    enum { RANGES = 9 };
    for (uint64_t seed = 100; seed < 130; seed++) {
        struct cluster *cluster = new_quiet_cluster(seed, RANGES, 1 + seed % 2);
        struct prng *prng = cluster_prng(cluster);
        cluster_set_loss(cluster, 20, 20);
        for (uint32_t i = 0; i < 6; i++) {
            uint64_t node = 1 + prng_below(prng, 3);
            if (!cluster_is_up(cluster, node))
                cluster_start(cluster, node);
            else if (prng_below(prng, 2) == 0)
                cluster_crash(cluster, node);
            else
                cluster_isolate(cluster, node, true);
            cluster_run_us(cluster, prng_below(prng, SECOND / 2));
            if (prng_below(prng, 2) == 0) cluster_heal(cluster);
        }
        cluster_set_loss(cluster, 0, 0);
        cluster_heal(cluster);
        for (uint64_t node = 1; node <= 3; node++)
            if (!cluster_is_up(cluster, node)) cluster_start(cluster, node);
        cluster_run_us(cluster, SECOND);
        wait_quiet(cluster, RANGES);
        cr_assert(cluster_converge(cluster, 0), "seed %lu", (unsigned long)seed);
        int64_t messages = raft_messages();
        cluster_run_us(cluster, SECOND);
        cr_expect_eq(raft_messages(), messages, "seed %lu", (unsigned long)seed);
        cluster_free(cluster);
    }
}

/* ---- bytes ---- */

/* Beats survive their bytes; those that no sender can have sent are refused. */
Test(range_quiet, a_beat_is_read_as_it_was_written) {
    struct buf frame = {0};
    range_raft_frame_begin(&frame);
    struct range_beat sent = {.incarnation = UINT64_MAX, .worker = 2, .workers = 3};
    range_raft_frame_add_beat(&frame, &sent);
    struct decoder messages;
    struct range_raft_envelope envelope;
    cr_assert_eq(range_raft_frame_open(slice_from_buf(&frame), &messages), STATUS_OK);
    cr_assert(range_raft_frame_next(&messages, &envelope));
    cr_expect_eq(envelope.range_id, 0);
    cr_expect_eq(envelope.beat.incarnation, sent.incarnation);
    cr_expect_eq(envelope.beat.worker, 2);
    cr_expect_eq(envelope.beat.workers, 3);
    cr_expect_not(range_raft_frame_next(&messages, &envelope));

    static const struct range_beat wrong[] = {{0, 0, 1}, {1, 1, 1}, {1, 0, 65}, {1, 0, 0}};
    for (size_t at = 0; at < sizeof(wrong) / sizeof(wrong[0]); at++) {
        range_raft_frame_begin(&frame);
        range_raft_frame_add_beat(&frame, &wrong[at]);
        cr_expect_eq(range_raft_frame_open(slice_from_buf(&frame), &messages), STATUS_CORRUPTION);
    }
    buf_done(&frame);
}
