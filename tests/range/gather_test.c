/* Commands that come while an entry of their range is on its way share the next one. */
#include <criterion/criterion.h>

#include "base/log.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define COMMANDS (RANGE_GATHER_COMMANDS_MAX + 1)

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_gather, .init = quiet, .timeout = 60);

struct load {
    struct cluster *cluster;
    uint64_t leader;
    struct buf command;
    struct cluster_call *calls[COMMANDS];
    uint32_t count;
    int64_t entries_before;
};

/* Messages take `delay_us`, so that an entry is on its way for twice that; disks take no time, the
 * workers' turns `work_us`. */
static void begin_working(struct load *load, uint64_t delay_us, uint64_t work_us) {
    struct cluster_config config = cluster_config_default(7);
    config.delay_min_us = config.delay_max_us = delay_us;
    config.work_us = work_us;
    load->cluster = cluster_new(&config);
    load->leader = cluster_wait_leader(load->cluster, 1);
    cr_assert_neq(load->leader, 0);
    cluster_run_us(load->cluster, SECOND / 2);
    load->command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    load->count = 0;
    load->entries_before = metric_range_entries_proposed_total.value;
}

static void begin(struct load *load, uint64_t delay_us) {
    begin_working(load, delay_us, 0);
}

/* Sends one command in a frame of its own, and lets that much time pass. */
static void send_and_run(struct load *load, uint64_t us) {
    struct range_request request = {.kind = RANGE_WRITE,
                                    .range_id = 1,
                                    .timeout_us = SECOND,
                                    .command = slice_from_buf(&load->command)};
    load->calls[load->count++] = cluster_send(load->cluster, load->leader, &request);
    cluster_run_us(load->cluster, us);
}

static int64_t entries(const struct load *load) {
    return metric_range_entries_proposed_total.value - load->entries_before;
}

/* All are answered, in order of arrival. */
static void end(struct load *load) {
    for (uint32_t i = 0; i < load->count; i++) {
        cr_assert(cluster_await(load->cluster, load->calls[i], SECOND));
        cr_assert_eq(load->calls[i]->reply.code, RANGE_REPLY_OK);
        cr_assert_eq(load->calls[i]->reply.outcome.numbers[0], i + 1);
        cluster_call_free(load->cluster, load->calls[i]);
    }
    cr_assert(cluster_converge(load->cluster, SECOND));
    buf_done(&load->command);
    cluster_free(load->cluster);
}

/* Ten commands that come one by one cost one entry, not ten. */
Test(range_gather, while_an_entry_is_on_its_way) {
    struct load load;
    begin(&load, 4000);
    send_and_run(&load, 5000); /* it arrives, gets a timestamp, is proposed */
    for (int i = 0; i < 10; i++)
        send_and_run(&load, 200);
    cr_assert_eq(entries(&load), 1);
    cr_assert(!load.calls[0]->done);
    cr_assert(cluster_await(load.cluster, load.calls[10], SECOND));
    cr_assert_eq(entries(&load), 2);
    end(&load);
}

/* Nobody who is alone waits for others. */
Test(range_gather, not_when_nothing_is_on_its_way) {
    struct load load;
    begin(&load, 100);
    double gathered_us = metric_range_stage_gather_us.value;
    for (int i = 0; i < 5; i++)
        send_and_run(&load, 20000);
    cr_assert_eq(entries(&load), 5);
    cr_assert_eq(metric_range_stage_gather_us.value, gathered_us);
    end(&load);
}

/* Enough for an entry that is worth its cost do not wait for the one before. */
Test(range_gather, until_many_wait) {
    struct load load;
    begin(&load, 8000);
    send_and_run(&load, 200);
    for (uint32_t i = 1; i < RANGE_GATHER_COMMANDS_MAX; i++)
        send_and_run(&load, 10);
    cluster_run_us(load.cluster, 10000); /* all have arrived; the first is not committed yet */
    cr_assert_eq(entries(&load), 1, "one is lacking");
    send_and_run(&load, 8500); /* it arrives; still not committed */
    cr_assert_eq(entries(&load), 2);
    cr_assert(!load.calls[0]->done);
    end(&load);
}

/* Where a quorum takes long, commands are late by no more than the bound. */
Test(range_gather, for_a_bounded_time) {
    struct load load;
    begin(&load, 30000);
    send_and_run(&load, 5000);
    send_and_run(&load, 40000);
    cr_assert_eq(entries(&load), 1);
    cluster_run_us(load.cluster, 30000); /* the first is committed after 60 ms more */
    cr_assert_eq(entries(&load), 2);
    cr_assert(!load.calls[0]->done);
    end(&load);
}

/* Where turns take long, the bound is a number of them: what costs most is spared longest. */
Test(range_gather, longer_when_turns_are_long) {
    struct load load;
    begin_working(&load, 30000, 1500);
    send_and_run(&load, 5000);
    send_and_run(&load, 40000);
    cr_assert_eq(entries(&load), 1);
    cluster_run_us(load.cluster, 30000); /* as above, where it was proposed by now */
    cr_assert_eq(entries(&load), 1);
    cr_assert(!load.calls[0]->done);
    end(&load);
}
