/* Followers that fall behind the compacted log, and the stream that brings them back. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "raft/message_codec.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "range/snapshot.h"
#include "range/worker.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define ENTRIES 600 /* more than compaction leaves */

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_snapshots, .init = quiet, .timeout = 60);

static struct cluster_config small_logs(uint64_t seed) {
    struct cluster_config config = cluster_config_default(seed);
    config.log_entries_kept = 20;
    return config;
}

/* Entries of their own, with values of the given size. */
static void fill(struct cluster *cluster, int count, size_t value_bytes) {
    struct buf value = {0};
    buf_reserve(&value, value_bytes);
    memset(value.data, 'v', value_bytes);
    value.len = value_bytes;
    for (int i = 0; i < count; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "fill-%d", i); /* cannot be cut */
        struct buf command = cluster_put(cluster_key(1, name), slice_from_buf(&value));
        cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
        buf_done(&command);
    }
    buf_done(&value);
}

static struct range_status status_of(struct cluster *cluster, uint64_t node) {
    struct range_status status;
    cr_assert(cluster_status(cluster, node, 1, &status));
    return status;
}

/* A cluster whose one follower, returned, is behind everybody's log, and cut off. */
static struct cluster *with_straggler(const struct cluster_config *config, size_t value_bytes,
                                      uint64_t *ret_straggler) {
    struct cluster *cluster = cluster_new(config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cluster_run_us(cluster, SECOND / 10);
    uint64_t straggler = cluster_leader(cluster, 1) % config->nodes + 1;
    struct buf command = cluster_add(cluster_key(1, "sum"), 7, SLICE_LITERAL("R-1"));
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    buf_done(&command);
    cluster_isolate(cluster, straggler, true);
    fill(cluster, ENTRIES, value_bytes);
    for (uint64_t node = 1; node <= config->nodes; node++)
        if (node != straggler)
            cr_assert_gt(status_of(cluster, node).log_first_index,
                         status_of(cluster, straggler).applied_index + 1);
    *ret_straggler = straggler;
    return cluster;
}

/* Writes, a few at a time, while a snapshot is on its slow way. */
static void write_until_installed(struct cluster *cluster, int64_t installed) {
    uint64_t end_us = cluster_now_us(cluster) + 100 * SECOND;
    while (metric_range_snapshots_installed_total.value < installed) {
        cr_assert_lt(cluster_now_us(cluster), end_us, "it never gets there");
        fill(cluster, 4, 100);
    }
}

/* With everybody up, logs stay short on every replica, and the range recovers from what is left. */
Test(range_snapshots, are_not_needed_while_logs_are_compacted_behind_all_replicas) {
    struct cluster_config config = small_logs(1);
    struct cluster *cluster = cluster_new(&config);
    int64_t installed = metric_range_snapshots_installed_total.value;
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    fill(cluster, 2 * ENTRIES, 10);
    cr_assert(cluster_converge(cluster, SECOND));
    for (uint64_t node = 1; node <= 3; node++) {
        struct range_status status = status_of(cluster, node);
        cr_assert_leq(status.applied_index - status.log_first_index,
                      RANGE_COMPACT_STEP + RANGE_LOG_TAIL);
    }
    for (uint64_t node = 1; node <= 3; node++)
        cluster_crash(cluster, node);
    for (uint64_t node = 1; node <= 3; node++)
        cluster_start(cluster, node);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed);
    cluster_free(cluster);
}

static uint64_t entries_held(struct cluster *cluster, uint64_t node) {
    struct range_status status = status_of(cluster, node);
    return status.applied_index + 1 - status.log_first_index;
}

/* Followers keep what their leader keeps: little while all keep up, all of it for one that is away,
 * and little again when it has come back, although it may take thousands by its limits. */
Test(range_snapshots, are_not_prepared_for_on_followers_more_than_on_the_leader) {
    struct cluster_config config = cluster_config_default(14);
    cr_assert_gt(config.log_entries_kept, 4 * ENTRIES);
    struct cluster *cluster = cluster_new(&config);
    int64_t installed = metric_range_snapshots_installed_total.value;
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    fill(cluster, 2 * ENTRIES, 10);
    cr_assert(cluster_converge(cluster, SECOND));
    /* What a leader drops its followers hear with the next entries. */
    uint64_t most = 2 * RANGE_COMPACT_STEP + RANGE_LOG_TAIL;
    for (uint64_t node = 1; node <= 3; node++)
        cr_expect_leq(entries_held(cluster, node), most, "node %lu", (unsigned long)node);

    uint64_t straggler = cluster_leader(cluster, 1) % 3 + 1;
    cluster_isolate(cluster, straggler, true);
    fill(cluster, 2 * ENTRIES, 10);
    for (uint64_t node = 1; node <= 3; node++)
        if (node != straggler)
            cr_expect_leq(status_of(cluster, node).log_first_index,
                          status_of(cluster, straggler).applied_index + 1, "node %lu",
                          (unsigned long)node);
    cluster_heal(cluster);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed);
    fill(cluster, ENTRIES, 10);
    cr_assert(cluster_converge(cluster, SECOND));
    for (uint64_t node = 1; node <= 3; node++)
        cr_expect_leq(entries_held(cluster, node), most, "node %lu", (unsigned long)node);
    cluster_free(cluster);
}

/* Limits are settings of each node: who has less room than its leader cuts its log all the same. */
Test(range_snapshots, are_not_prepared_for_beyond_a_followers_own_limits) {
    struct cluster_config config = cluster_config_default(18);
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1);
    uint64_t straggler = leader % 3 + 1, narrow = straggler % 3 + 1;
    struct range_store_config *own = &cluster_store(cluster, narrow)->config;
    own->log_entries_kept = own->log_snapshot_entries = ENTRIES / 2;
    cluster_isolate(cluster, straggler, true);
    fill(cluster, 3 * ENTRIES, 10);
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(cluster_leader(cluster, 1), leader);
    cr_expect_gt(entries_held(cluster, leader), 3 * ENTRIES, "for who is away");
    cr_expect_geq(entries_held(cluster, narrow), ENTRIES / 2);
    cr_expect_leq(entries_held(cluster, narrow), ENTRIES / 2 + RANGE_COMPACT_STEP + RANGE_LOG_TAIL);
    cluster_free(cluster);
}

/* A follower whose disk keeps up and whose applying does not: an entry in each of its long turns.
 */
static struct cluster *with_slow_follower(uint64_t seed, uint64_t *ret_slow) {
    struct cluster_config config = cluster_config_default(seed);
    config.log_entries_kept = 5;
    config.log_compact_step = 10;
    config.apply_round_commands = 1;
    struct cluster *cluster = cluster_new(&config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cluster_run_us(cluster, SECOND / 10);
    *ret_slow = cluster_leader(cluster, 1) % 3 + 1;
    cluster_slow(cluster, *ret_slow, 30000);
    return cluster;
}

/* What the leader has dropped and a follower has not applied yet, the follower keeps. */
Test(range_snapshots, are_not_needed_by_who_applies_slowly) {
    uint64_t slow = 0;
    struct cluster *cluster = with_slow_follower(15, &slow);
    int64_t installed = metric_range_snapshots_installed_total.value;
    fill(cluster, 30, 10);
    cluster_run_us(cluster, SECOND / 5); /* durable there, mostly not applied */
    fill(cluster, 10, 10);               /* says where the leader's log begins by now */
    cluster_run_us(cluster, SECOND / 5);
    struct range_status status = status_of(cluster, slow);
    cr_assert_gt(status_of(cluster, cluster_leader(cluster, 1)).log_first_index,
                 status.applied_index + 1);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed);
    cluster_free(cluster);
}

/* A snapshot comes while much that it contains is still to be applied. */
Test(range_snapshots, replace_what_waits_to_be_applied) {
    uint64_t slow = 0;
    struct cluster *cluster = with_slow_follower(16, &slow);
    int64_t installed = metric_range_snapshots_installed_total.value;
    fill(cluster, 60, 10);
    cluster_run_us(cluster, SECOND / 5);
    cluster_isolate(cluster, slow, true);
    fill(cluster, 60, 10);
    struct range_status status = status_of(cluster, slow);
    cr_assert_gt(status.commit_index, status.applied_index + 30);
    cluster_heal(cluster);
    for (int i = 0; i < 100; i++) {
        if (metric_range_snapshots_installed_total.value > installed) break;
        status = status_of(cluster, slow);
        cluster_run_us(cluster, 10000);
    }
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed + 1);
    cr_assert_gt(status.commit_index, status.applied_index + 5, "it was in the middle of it");
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cluster_free(cluster);
}

/* The straggler gets everything, the request records too: as leader it answers an old retry. */
Test(range_snapshots, carry_the_data_and_the_request_records) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(2);
    struct cluster *cluster = with_straggler(&config, 10, &straggler);
    int64_t installed = metric_range_snapshots_installed_total.value;
    cluster_heal(cluster);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed + 1);
    range_store_transfer(cluster_store(cluster, cluster_leader(cluster, 1)), 1, straggler);
    cluster_run_us(cluster, SECOND / 5);
    cr_assert_eq(cluster_leader(cluster, 1), straggler);
    struct buf command = cluster_add(cluster_key(1, "sum"), 7, SLICE_LITERAL("R-1"));
    struct txn_outcome outcome = cluster_write(cluster, 1, slice_from_buf(&command));
    cr_assert(outcome.result == TXN_DONE && outcome.replayed);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 7);
    buf_done(&command);
    cluster_free(cluster);
}

/* The stream survives loss, duplication and a link that is dead for seconds. */
Test(range_snapshots, arrive_over_a_stream_that_breaks) {
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint64_t straggler = 0;
        struct cluster_config config = small_logs(seed);
        struct cluster *cluster = with_straggler(&config, 2000, &straggler);
        cluster_drop_snapshots(cluster, true);
        cluster_set_loss(cluster, 150, 100);
        cluster_heal(cluster);
        cluster_run_us(cluster, SECOND);
        cluster_drop_snapshots(cluster, false);
        for (int i = 0; i < 20; i++) {
            uint64_t leader = cluster_leader(cluster, 1);
            cluster_run_us(cluster, 20000);
            if (leader) range_store_unreachable(cluster_store(cluster, leader), straggler);
        }
        cluster_run_us(cluster, 5 * SECOND);
        cluster_set_loss(cluster, 0, 0);
        cr_assert(cluster_converge(cluster, 15 * SECOND));
        cluster_free(cluster);
    }
}

/* Writing goes on, and takes more of the log than is kept otherwise, while the snapshot is sent,
 * and again while its receiver catches up behind it: one snapshot is enough. */
Test(range_snapshots, bring_a_follower_back_under_steady_writes) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(15);
    config.snapshot_bytes_per_s = 600000;
    config.catch_up_bytes = 4000; /* what follows the snapshot takes its time, too */
    struct cluster *cluster = with_straggler(&config, 2000, &straggler);
    int64_t installed = metric_range_snapshots_installed_total.value;
    cluster_heal(cluster);
    bool caught_up = false;
    int writes = 0;
    for (; writes < 4000 && !caught_up; writes++) {
        fill(cluster, 1, 2000);
        uint64_t leader = cluster_leader(cluster, 1);
        caught_up = status_of(cluster, straggler).applied_index + 10 >
                    status_of(cluster, leader).applied_index;
        /* And whoever leads next has as much. */
        for (uint64_t node = 1; node <= 3; node++)
            if (node != straggler)
                cr_assert_leq(status_of(cluster, node).log_first_index,
                              status_of(cluster, leader).log_first_index);
    }
    cr_assert(caught_up);
    cr_assert_gt(writes, 10 * (int)config.log_entries_kept, "%d: too quick to show anything",
                 writes);
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed + 1);
    fill(cluster, ENTRIES, 10); /* now nothing is kept for it any more */
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cr_assert_leq(entries_held(cluster, cluster_leader(cluster, 1)),
                  RANGE_COMPACT_STEP + RANGE_LOG_TAIL);
    cr_assert_eq(metric_range_snapshot_followers.value, 0);
    cluster_free(cluster);
}

/* One that takes longer than a silent one is waited for, but moves all the time, is not given up.
 */
Test(range_snapshots, are_not_repeated_for_who_is_slow_behind_them) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(17);
    config.snapshot_bytes_per_s = 35000;
    config.catch_up_bytes = 1; /* an entry at a time */
    config.delay_min_us = config.delay_max_us = 2000;
    struct cluster *cluster = with_straggler(&config, 2000, &straggler);
    int64_t installed = metric_range_snapshots_installed_total.value;
    cluster_heal(cluster);
    write_until_installed(cluster, installed + 1);
    uint64_t began_us = cluster_now_us(cluster);
    bool caught_up = false;
    for (int i = 0; i < 10000 && !caught_up; i++) {
        fill(cluster, 1, 100);
        caught_up = status_of(cluster, straggler).applied_index + 10 >
                    status_of(cluster, cluster_leader(cluster, 1)).applied_index;
    }
    cr_assert(caught_up);
    cr_assert_gt(cluster_now_us(cluster) - began_us, RANGE_SNAPSHOT_ABANDON_US + SECOND,
                 "%lu: too quick to show anything", cluster_now_us(cluster) - began_us);
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed + 1);
    cluster_free(cluster);
}

/* One that falls silent behind its snapshot is waited for as long as one that is silent during it,
 * and not for ever. */
Test(range_snapshots, keep_nothing_for_who_fell_silent_behind_them) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(19);
    config.log_compact_step = 10;
    config.snapshot_bytes_per_s = 35000;
    config.catch_up_bytes = 1; /* an entry at a time */
    config.delay_min_us = config.delay_max_us = 2000;
    struct cluster *cluster = with_straggler(&config, 2000, &straggler);
    int64_t installed = metric_range_snapshots_installed_total.value;
    cluster_heal(cluster);
    write_until_installed(cluster, installed + 1);
    cluster_isolate(cluster, straggler, true);
    uint64_t leader = cluster_leader(cluster, 1);
    fill(cluster, 30, 100);
    cr_expect_leq(status_of(cluster, leader).log_first_index,
                  status_of(cluster, straggler).applied_index + 1, "it may go on");
    cluster_run_us(cluster, RANGE_SNAPSHOT_ABANDON_US + SECOND);
    fill(cluster, 30, 100);
    cr_assert_eq(cluster_leader(cluster, 1), leader);
    cr_expect_leq(entries_held(cluster, leader), 20 + 10 + RANGE_LOG_TAIL);
    cluster_free(cluster);
}

static uint32_t staged(struct cluster *cluster, uint64_t node) {
    return range_store_owner(cluster_store(cluster, node), 1)->snapshots.receive_count;
}

/* Silence ends a snapshot on both sides, after RANGE_SNAPSHOT_ABANDON_US and not before; how long
 * the cluster has been there says nothing. */
Test(range_snapshots, are_given_up_by_both_sides_when_nothing_is_heard) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(23);
    config.snapshot_bytes_per_s = 200000; /* of some 1.2 MB */
    config.delay_min_us = config.delay_max_us = 25000;
    struct cluster *cluster = with_straggler(&config, 2000, &straggler);
    cluster_run_us(cluster, 2 * RANGE_SNAPSHOT_ABANDON_US);
    int64_t failed = metric_range_snapshots_failed_total.value;
    cluster_heal(cluster);
    cluster_run_us(cluster, 2 * SECOND);
    cr_assert_eq(metric_range_snapshot_followers.value, 1);
    cr_assert_eq(staged(cluster, straggler), 1);
    cr_assert_eq(metric_range_snapshots_failed_total.value, failed, "it is under way");
    cluster_isolate(cluster, straggler, true);
    cluster_run_us(cluster, RANGE_SNAPSHOT_ABANDON_US - SECOND);
    cr_expect_eq(metric_range_snapshots_failed_total.value, failed);
    cr_expect_eq(staged(cluster, straggler), 1);
    cluster_run_us(cluster, 2 * SECOND);
    cr_expect_eq(metric_range_snapshots_failed_total.value, failed + 1);
    cr_expect_eq(staged(cluster, straggler), 0);
    cluster_heal(cluster);
    cr_assert(cluster_converge(cluster, 30 * SECOND));
    cr_expect_eq(metric_range_snapshots_failed_total.value, failed + 1);
    cluster_free(cluster);
}

/* A disk that fills up while a snapshot comes in: what is staged goes, before the engine meets the
 * end; and with room again the follower is brought back. */
Test(range_snapshots, are_given_up_when_the_disk_has_no_room_for_them) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(24);
    config.snapshot_bytes_per_s = 200000; /* of some 1.2 MB */
    struct cluster *cluster = with_straggler(&config, 2000, &straggler);
    int64_t installed = metric_range_snapshots_installed_total.value;
    cluster_heal(cluster);
    cluster_run_us(cluster, 2 * SECOND);
    cr_assert_eq(staged(cluster, straggler), 1);
    range_store_set_room(cluster_store(cluster, straggler), RANGE_ROOM_SCARCE,
                         SLICE_LITERAL("the disk is nearly full"));
    cluster_run_us(cluster, 20000);
    cr_expect_eq(staged(cluster, straggler), 0);
    cluster_run_us(cluster, 20 * SECOND);
    cr_expect_eq(metric_range_snapshots_installed_total.value, installed);
    range_store_set_room(cluster_store(cluster, straggler), RANGE_ROOM_ROOMY, SLICE_EMPTY);
    cr_assert(cluster_converge(cluster, 60 * SECOND));
    cluster_free(cluster);
}

/* A follower that never gets there does not keep the log for ever, and the leader says so. */
Test(range_snapshots, keep_a_bounded_part_of_the_log) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(16);
    config.log_snapshot_entries = 300;
    config.log_compact_step = 10;
    struct cluster *cluster = with_straggler(&config, 100, &straggler);
    int64_t outrun = metric_range_snapshots_outrun_total.value;
    cluster_drop_snapshots(cluster, true);
    cluster_heal(cluster);
    uint64_t most = 0;
    for (int i = 0; i < 2 * ENTRIES; i++) {
        fill(cluster, 1, 100);
        uint64_t held = entries_held(cluster, cluster_leader(cluster, 1));
        if (held > most) most = held;
    }
    cr_assert_gt(most, 250, "%lu: it is kept", most);
    cr_assert_leq(most, 300 + 10 + RANGE_LOG_TAIL, "%lu", most);
    cr_assert_gt(metric_range_snapshots_outrun_total.value, outrun);
    cluster_drop_snapshots(cluster, false);
    cr_assert(cluster_converge(cluster, 30 * SECOND));
    cluster_free(cluster);
}

/* A new leader takes over from one that dies while it sends. */
Test(range_snapshots, are_begun_anew_when_the_leader_dies_in_the_middle) {
    uint64_t straggler = 0;
    struct cluster_config config = small_logs(6);
    config.snapshot_bytes_per_s = 1u << 20; /* of some 2 MiB */
    struct cluster *cluster = with_straggler(&config, 4000, &straggler);
    int64_t installed = metric_range_snapshots_installed_total.value;
    uint64_t leader = cluster_leader(cluster, 1);
    int64_t sent = metric_range_snapshot_bytes_sent_total.value;
    cluster_heal(cluster);
    cluster_run_us(cluster, SECOND);
    cr_assert_gt(metric_range_snapshot_bytes_sent_total.value, sent);
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed); /* still under way */
    cluster_kill(cluster, leader);
    cluster_run_us(cluster, 20 * SECOND);
    cluster_start(cluster, leader);
    cr_assert(cluster_converge(cluster, 30 * SECOND));
    cr_assert_geq(metric_range_snapshots_installed_total.value, installed + 1);
    cluster_free(cluster);
}

/* Whenever the receiver loses power, it is as before the snapshot or as after it. */
Test(range_snapshots, survive_a_power_cut_of_the_receiver_at_any_instant) {
    uint64_t straggler = 0;
    for (uint64_t us = 0; us < 40; us++) {
        struct cluster_config config = small_logs(us);
        struct cluster *cluster = with_straggler(&config, 10, &straggler);
        int64_t installed = metric_range_snapshots_installed_total.value;
        cluster_heal(cluster);
        bool just_installed = us % 2 == 1;
        while (just_installed && metric_range_snapshots_installed_total.value == installed)
            cluster_run_us(cluster, 50);
        cluster_run_us(cluster, just_installed ? us * 5 : us * 2000);
        cluster_crash(cluster, straggler);
        cluster_start(cluster, straggler);
        cr_assert(cluster_converge(cluster, 15 * SECOND), "after %d us", (int)us);
        cluster_free(cluster);
    }
}

/* ---- frames made by hand ---- */

/* Of the term behind the receiver's, if that leads. */
static void forge_header(struct cluster *cluster, uint64_t from, uint64_t to, uint64_t snapshot_id,
                         uint64_t index, struct buf *ret_frame) {
    struct range_status status = status_of(cluster, to);
    if (status.leads) status.term++;
    struct raft_snapshot snapshot = {.id = {.term = status.term, .index = index},
                                     .conf = {.voters = {3, {1, 2, 3}}}};
    struct raft_message message = {.kind = RAFT_MSG_SNAPSHOT,
                                   .from = from,
                                   .to = to,
                                   .term = status.term,
                                   .snapshot = &snapshot};
    struct buf encoded = {0};
    raft_encode_message(&encoded, &message);
    struct range_snapshot_header header = {
        .from_node = from,
        .state = {.applied = snapshot.id, .truncated = snapshot.id, .last_commit_ts = 9999},
        .descriptor = *cluster_descriptor(cluster, 1),
        .raft_message = slice_from_buf(&encoded)};
    range_snapshot_encode_header(ret_frame, 1, snapshot_id, &header);
    buf_done(&encoded);
}

static void inject(struct cluster *cluster, uint64_t from, uint64_t to, const struct buf *frame) {
    cr_assert_eq(
        range_store_snapshot_frame(cluster_store(cluster, to), from, slice_from_buf(frame)),
        STATUS_OK);
}

/* The end of one snapshot and the beginning of the next can reach a node that slept in one turn:
 * the first was promised to the Raft core and is installed, the second waits. */
Test(range_snapshots, a_new_one_does_not_replace_one_that_is_complete) {
    struct cluster_config config = cluster_config_default(7);
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1), to = leader % 3 + 1;
    cr_assert_neq(leader, 0);
    cluster_run_us(cluster, SECOND / 10);
    cluster_isolate(cluster, to, true);
    cluster_run_us(cluster, 10000);
    int64_t installed = metric_range_snapshots_installed_total.value;
    struct buf first = {0}, last = {0}, second = {0};
    forge_header(cluster, leader, to, 11, 1000, &first);
    struct range_snapshot_chunk chunk = {.last = true,
                                         .stream_checksum = range_snapshot_chain(0, SLICE_EMPTY)};
    range_snapshot_encode_chunk(&last, 1, 11, 1, &chunk, SLICE_EMPTY);
    forge_header(cluster, leader, to, 12, 2000, &second);
    inject(cluster, leader, to, &first);
    inject(cluster, leader, to, &last);
    inject(cluster, leader, to, &second);
    cluster_run_us(cluster, 2000);
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed + 1);
    cr_assert_eq(status_of(cluster, to).applied_index, 1000);
    buf_done(&first);
    buf_done(&last);
    buf_done(&second);
    cluster_free(cluster);
}

/* A stream whose totals do not fit is refused, and nothing of it becomes visible. */
Test(range_snapshots, with_a_wrong_total_are_refused) {
    struct cluster_config config = cluster_config_default(8);
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1), to = leader % 3 + 1;
    cr_assert_neq(leader, 0);
    cluster_run_us(cluster, SECOND / 10);
    uint64_t applied = status_of(cluster, to).applied_index;
    int64_t installed = metric_range_snapshots_installed_total.value;
    struct buf header = {0}, last = {0};
    forge_header(cluster, leader, to, 11, 1000, &header);
    struct range_snapshot_chunk chunk = {.last = true, .stream_checksum = 1};
    range_snapshot_encode_chunk(&last, 1, 11, 1, &chunk, SLICE_EMPTY);
    inject(cluster, leader, to, &header);
    inject(cluster, leader, to, &last);
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(metric_range_snapshots_installed_total.value, installed);
    cr_assert_eq(status_of(cluster, to).applied_index, applied);
    buf_done(&header);
    buf_done(&last);
    cluster_free(cluster);
}

/* Who a snapshot comes from is who holds the stream: another node's name on it is refused. */
Test(range_snapshots, in_another_nodes_name_are_refused) {
    struct cluster_config config = cluster_config_default(9);
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1), to = leader % 3 + 1, third = 6 - leader - to;
    cr_assert_neq(leader, 0);
    cluster_run_us(cluster, SECOND / 10);
    struct buf header = {0};
    forge_header(cluster, leader, to, 11, 1000, &header);
    inject(cluster, third, to, &header);
    cluster_run_us(cluster, 2000);
    cr_expect_eq(staged(cluster, to), 0);
    inject(cluster, leader, to, &header);
    cluster_run_us(cluster, 2000);
    cr_expect_eq(staged(cluster, to), 1, "it was for the name alone");
    buf_done(&header);
    cluster_free(cluster);
}

/* A snapshot may have a part of the entry behind it. Who waits for that entry without a request id
 * must not be passed over when the rest of it is applied, so it is told at once. */
Test(range_snapshots, end_the_wait_for_what_they_may_have_a_part_of) {
    struct cluster_config config = cluster_config_default(10);
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1), other = leader % 3 + 1;
    cr_assert_neq(leader, 0);
    cluster_run_us(cluster, SECOND / 10);
    cluster_isolate(cluster, leader, true);
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY), header = {0},
               last = {0};
    struct range_request request = {.kind = RANGE_WRITE,
                                    .range_id = 1,
                                    .timeout_us = 5 * SECOND,
                                    .command = slice_from_buf(&command)};
    struct cluster_call *calls[3];
    for (uint32_t i = 0; i < 3; i++) { /* entries of their own: none waits so long for another */
        calls[i] = cluster_send(cluster, leader, &request);
        cluster_run_us(cluster, 30000);
        cr_assert_not(calls[i]->done);
    }
    uint64_t applied = status_of(cluster, leader).applied_index;
    forge_header(cluster, other, leader, 11, applied + 1, &header);
    struct range_snapshot_chunk chunk = {.last = true,
                                         .stream_checksum = range_snapshot_chain(0, SLICE_EMPTY)};
    range_snapshot_encode_chunk(&last, 1, 11, 1, &chunk, SLICE_EMPTY);
    inject(cluster, other, leader, &header);
    inject(cluster, other, leader, &last);
    cluster_run_us(cluster, 5000);
    cr_assert_eq(status_of(cluster, leader).applied_index, applied + 1);
    cr_expect(calls[0]->done && calls[0]->reply.code == RANGE_REPLY_UNKNOWN);
    cr_expect(calls[1]->done && calls[1]->reply.code == RANGE_REPLY_UNKNOWN);
    cr_expect_not(calls[2]->done, "what becomes of it will be seen here");
    buf_done(&command);
    buf_done(&header);
    buf_done(&last);
    cluster_free(cluster);
}
