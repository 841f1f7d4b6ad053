/* Where the time of a write goes at the router: the stages add up, and what was tried in vain shows
 * as such. */
#include "tests/range/router_fake.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "range/router/limits.h"
#include "range/router/metrics.h"

static uint64_t count_of(const struct metric *metric) {
    uint64_t count = 0;
    for (unsigned i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++)
        count += metric->buckets[i];
    return count;
}

static void start_warm(struct fake *fake, uint64_t leader) {
    static const char *const cuts[] = {"m"}, *const keys[] = {"a", "x"};
    struct answer answer;
    fake_init(fake, 1);
    fake_cut(fake, cuts, 1, leader);
    fake_get(fake, keys, 2, &answer);
    fake_run(fake, fake->now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
}

static void expect_sums(uint64_t count) {
    cr_assert_eq(count_of(&metric_router_stage_queue_us), count);
    cr_assert_eq(count_of(&metric_router_stage_retry_us), count);
    cr_assert_eq(count_of(&metric_router_stage_node_us), count);
    cr_assert_eq(count_of(&metric_router_stage_total_us), count);
    cr_assert_eq(metric_router_stage_queue_us.value + metric_router_stage_retry_us.value +
                     metric_router_stage_node_us.value,
                 metric_router_stage_total_us.value);
}

/* Every decided write counts once, in each stage, whether calls came together or not; reads do not
 * count. */
Test(router_stages, add_up_to_the_time_at_the_router) {
    struct fake fake;
    static struct answer answers[40];
    start_warm(&fake, 2);
    expect_sums(0);
    uint64_t began_us = fake.now_us;
    for (int i = 0; i < 40; i++) {
        fake_put(&fake, i % 2 ? "a" : "x", "v", NULL, &answers[i]);
        if (i % 8 == 7) fake_run(&fake, fake.now_us + 5000);
    }
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    router_flush(fake.router, fake.now_us);
    expect_sums(40);
    cr_assert_eq(metric_router_stage_retry_us.value, 0);
    cr_assert_geq((uint64_t)metric_router_stage_node_us.value, 40 * 2 * fake.delay_min_us);
    cr_assert_lt((uint64_t)metric_router_stage_total_us.value, 40 * (fake.now_us - began_us));
    fake_done(&fake);
}

/* A write that was refused by who leads no more spent that time on retries, not at the leader. */
Test(router_stages, what_was_tried_in_vain_is_retry) {
    struct fake fake;
    struct answer answer;
    start_warm(&fake, 2);
    fake_range_of(&fake, SLICE_LITERAL("a"))->leader = 3;
    fake_put(&fake, "a", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    router_flush(fake.router, fake.now_us);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    expect_sums(1);
    cr_assert_geq((uint64_t)metric_router_stage_retry_us.value, 2 * fake.delay_min_us);
    fake_done(&fake);
}

/* One line for a slow call, with where it was and for how long; none for quick ones; and not a line
 * for each when all are slow. */
Test(router_stages, slow_calls_are_traced) {
    struct fake fake;
    static struct answer answers[30];
    static char text[65536];
    int pipe_fds[2], lines = 0;
    cr_assert_eq(pipe2(pipe_fds, O_NONBLOCK), 0);
    start_warm(&fake, 2);
    fake.config.slow_us = 300000;
    fake_new_router(&fake);
    log_set_level(LOG_WARN);
    log_set_fd(pipe_fds[1]);
    fake_put(&fake, "a", "v", NULL, &answers[0]);
    fake_run(&fake, fake.now_us + FAKE_SECOND / 10);
    cr_assert_eq(answers[0].times, 1);
    cr_assert_lt(read(pipe_fds[0], text, sizeof(text) - 1), 0, "a quick call was traced: %s", text);
    fake_freeze(&fake, 2);
    for (int i = 0; i < 30; i++)
        fake_put(&fake, "a", "v", NULL, &answers[i]);
    fake_run(&fake, fake.now_us + 4 * FAKE_SECOND / 10);
    fake_thaw(&fake, 2);
    fake_run(&fake, fake.now_us + FAKE_SECOND / 10);
    cr_assert_eq(answers[29].times, 1);
    cr_assert_gt(read(pipe_fds[0], text, sizeof(text) - 1), 0);
    cr_assert(strstr(text, "slow_call op=write code=0 range=1 node=2 "), "%s", text);
    for (const char *at = text; (at = strstr(at, "slow_call op=")) != NULL; at++)
        lines++;
    cr_assert_eq(lines, (int)ROUTER_TRACES_PER_S);
    fake_done(&fake);
}
