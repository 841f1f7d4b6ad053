/* Where the time of a write goes: the stages add up, nobody is forgotten, and a slow follower shows
 * as itself and nowhere else. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "range/metrics.h"
#include "tests/range/cluster.h"

static uint64_t count_of(const struct metric *metric) {
    uint64_t count = 0;
    for (unsigned i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++)
        count += metric->buckets[i];
    return count;
}

static uint64_t sum_of(const struct metric *metric) {
    return (uint64_t)metric->value;
}

/* The bound of the bucket that the largest value is in. */
static uint64_t max_of(const struct metric *metric) {
    unsigned i = METRIC_HISTOGRAM_BUCKETS - 1;
    while (i > 0 && metric->buckets[i] == 0)
        i--;
    return metric_bucket_bound(i);
}

static const struct metric *const stages[] = {
    &metric_range_stage_mailbox_us, &metric_range_stage_gather_us, &metric_range_stage_timestamp_us,
    &metric_range_stage_propose_us, &metric_range_stage_quorum_us, &metric_range_stage_apply_us,
    &metric_range_stage_reply_us,
};

static uint64_t sum_of_stages(void) {
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        sum += sum_of(stages[i]);
    return sum;
}

static void put(struct cluster *cluster, const char *name) {
    struct buf command = cluster_put(cluster_key(1, name), SLICE_LITERAL("v"));
    (void)cluster_write(cluster, 1, slice_from_buf(&command)); /* asserts that it was decided */
    buf_done(&command);
}

/* Protects the table that operators read: its rows are the whole time at the leader, to the
 * microsecond, and the disk's part is the disk's time. */
Test(range_stages, add_up_to_the_time_at_the_leader) {
    struct cluster_config config = cluster_config_default(3);
    config.sync_us = 700;
    struct cluster *cluster = cluster_new(&config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    for (int i = 0; i < 20; i++)
        put(cluster, "a");
    cr_assert_eq(count_of(&metric_range_stage_total_us), 20);
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        cr_assert_eq(count_of(stages[i]), 20, "%s", stages[i]->name);
    cr_assert_eq(sum_of_stages(), sum_of(&metric_range_stage_total_us));
    cr_assert_eq(sum_of(&metric_range_stage_fsync_us), 20 * 700);
    cr_assert_geq(sum_of(&metric_range_stage_quorum_us), sum_of(&metric_range_stage_fsync_us));
    cr_assert_geq(sum_of(&metric_range_stage_timestamp_us), 20 * config.oracle_us);
    struct metric *by_range = metric_family_member(&family_range_write_us, 1);
    cr_assert_eq(sum_of(by_range), sum_of(&metric_range_stage_total_us));
    cluster_free(cluster);
}

/* Protects the counting of runs: commands that travel together are all counted. */
Test(range_stages, count_every_command_of_a_frame) {
    struct cluster_config config = cluster_config_default(4);
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1);
    struct range_request requests[64];
    struct cluster_call *calls[64];
    struct buf command = cluster_put(cluster_key(1, "a"), SLICE_LITERAL("v"));
    for (int i = 0; i < 64; i++)
        requests[i] = (struct range_request){.kind = RANGE_WRITE,
                                             .range_id = 1,
                                             .timeout_us = 1000000,
                                             .command = slice_from_buf(&command)};
    cluster_send_many(cluster, leader, requests, 64, calls);
    for (int i = 0; i < 64; i++) {
        cr_assert(cluster_await(cluster, calls[i], 1000000));
        cluster_call_free(cluster, calls[i]);
    }
    cr_assert_eq(count_of(&metric_range_stage_total_us), 64);
    cr_assert_eq(sum_of_stages(), sum_of(&metric_range_stage_total_us));
    buf_done(&command);
    cluster_free(cluster);
}

/* A follower that stands still for 50 ms shows in its own figure; the quorum's and the other
 * follower's stay as they were. */
Test(range_stages, a_slow_follower_is_visible_as_such) {
    struct cluster_config config = cluster_config_default(5);
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1);
    uint64_t slow = leader == 3 ? 2 : 3, quick = 6 - leader - slow;
    struct metric *of_slow = metric_family_member(&family_range_follower_append_us, slow);
    struct metric *of_quick = metric_family_member(&family_range_follower_append_us, quick);
    cluster_run_us(cluster, 5000);
    cr_assert_eq(count_of(of_slow), 1, "the entry that the leader's term began with");
    for (int i = 0; i < 5; i++) {
        cluster_pause(cluster, slow, true);
        put(cluster, "a");
        cluster_run_us(cluster, 50000);
        cluster_pause(cluster, slow, false);
        cluster_run_us(cluster, 5000);
    }
    cr_assert_eq(count_of(of_slow), 6);
    cr_assert_geq(sum_of(of_slow), 5 * 50000);
    cr_assert_geq(count_of(of_quick), 6);
    cr_assert_lt(max_of(of_quick), 5000);
    cr_assert_lt(max_of(&metric_range_stage_quorum_us), 5000);
    cluster_free(cluster);
}

/* Protects the operator's view of one slow request: one line with all its stages; and none for
 * those below the threshold. */
Test(range_stages, slow_writes_are_traced) {
    struct cluster_config config = cluster_config_default(6);
    char text[8192] = "";
    int pipe_fds[2];
    cr_assert_eq(pipe2(pipe_fds, O_NONBLOCK), 0);
    config.slow_us = 20000;
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1);
    log_set_level(LOG_WARN);
    log_set_fd(pipe_fds[1]);
    put(cluster, "a");
    cr_assert_lt(read(pipe_fds[0], text, sizeof(text) - 1), 0, "a quick write was traced: %s",
                 text);
    for (uint64_t node = 1; node <= 3; node++)
        cluster_pause(cluster, node, node != leader);
    struct buf command = cluster_put(cluster_key(1, "b"), SLICE_LITERAL("v"));
    struct range_request request = {.kind = RANGE_WRITE,
                                    .range_id = 1,
                                    .timeout_us = 1000000,
                                    .command = slice_from_buf(&command)};
    struct cluster_call *call = cluster_send(cluster, leader, &request);
    cluster_run_us(cluster, 30000);
    cluster_heal(cluster);
    cr_assert(cluster_await(cluster, call, 1000000));
    cr_assert_gt(read(pipe_fds[0], text, sizeof(text) - 1), 0);
    cr_assert(strstr(text, "slow_write node="), "%s", text);
    const char *quorum = strstr(text, "quorum_us=");
    cr_assert(quorum && strtoull(quorum + strlen("quorum_us="), NULL, 10) > 20000, "%s", text);
    cluster_call_free(cluster, call);
    buf_done(&command);
    cluster_free(cluster);
}

/* A log full of traces would make slow requests slower still. */
Test(range_stages, traces_are_bounded) {
    struct cluster_config config = cluster_config_default(7);
    static char text[65536];
    int pipe_fds[2], lines = 0;
    cr_assert_eq(pipe2(pipe_fds, O_NONBLOCK), 0);
    config.slow_us = 1;
    struct cluster *cluster = cluster_new(&config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    log_set_level(LOG_WARN);
    log_set_fd(pipe_fds[1]);
    uint64_t begun_us = cluster_now_us(cluster);
    for (int i = 0; i < 60; i++)
        put(cluster, "a");
    cr_assert_lt(cluster_now_us(cluster) - begun_us, 1000000);
    cr_assert_gt(read(pipe_fds[0], text, sizeof(text) - 1), 0);
    for (const char *at = text; (at = strstr(at, "slow_write node=")) != NULL; at++)
        lines++;
    cr_assert_leq(lines, 2 * (int)RANGE_TRACES_PER_S);
    cr_assert_geq(lines, (int)RANGE_TRACES_PER_S);
    cluster_free(cluster);
}
