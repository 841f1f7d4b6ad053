/* The table of stages: what processes say in text comes back as the figures that they counted. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/stages.h"
#include "range/metrics.h"
#include "range/router/metrics.h"

static struct bench_stages *stages_new(void) {
    struct bench_stages *stages = calloc(1, sizeof(*stages));
    cr_assert_not_null(stages);
    return stages;
}

/* As a process shows itself now. */
static struct bench_stages *read_self(void) {
    struct buf page = {0};
    struct bench_stages *stages = stages_new();
    range_metrics_register();
    range_families_register();
    router_metrics_register();
    metrics_render(&page);
    cr_assert(bench_stages_read(stages, 3, slice_from_buf(&page)));
    buf_done(&page);
    return stages;
}

static bool has_text(const struct buf *buf, const char *text) {
    return memmem(buf->data, buf->len, text, strlen(text)) != NULL;
}

/* Protects the whole way: counted, rendered, read, subtracted. Nothing that was there before the
 * run is left, nothing of the run is missing, and each node's followers are apart. */
Test(bench_stages, what_was_counted_comes_back) {
    metric_observe_many(&metric_range_stage_quorum_us, 7000, 3);
    metric_observe(metric_family_member(&family_range_follower_append_us, 2), 10);
    struct bench_stages *before = read_self();
    for (uint64_t i = 1; i <= 1000; i++)
        metric_observe(&metric_range_stage_quorum_us, i);
    metric_observe_many(&metric_router_stage_queue_us, UINT64_C(1) << 45, 2);
    metric_observe_many(metric_family_member(&family_range_follower_append_us, 2), 20, 4);
    metric_observe_many(metric_family_member(&family_range_follower_append_us, 3), 900, 5);
    metric_observe(metric_family_member(&family_range_write_us, 17), 33);
    struct bench_stages *after = read_self();
    bench_stages_subtract(after, before);
    const struct bench_stage_times *quorum = &after->stages[BENCH_STAGE_QUORUM];
    cr_assert_eq(quorum->count, 1000);
    cr_assert_float_eq(bench_stage_mean_us(quorum), 500.5, 0.01);
    cr_assert_float_eq(bench_stage_quantile_us(quorum, 0.5), 500, 20);
    cr_assert_float_eq(bench_stage_quantile_us(quorum, 0.99), 990, 40);
    cr_assert_eq(after->stages[BENCH_STAGE_ROUTER_QUEUE].count, 2);
    cr_assert_geq(bench_stage_quantile_us(&after->stages[BENCH_STAGE_ROUTER_QUEUE], 0.5), 1e11);
    cr_assert_eq(after->stages[BENCH_STAGE_APPLY].count, 0);
    cr_assert_eq(after->followers.count, 2);
    cr_assert(after->followers.all[0].value == 2 && after->followers.all[0].times.count == 4);
    cr_assert(after->followers.all[1].value == 3 && after->followers.all[1].times.sum_us == 4500);
    cr_assert(after->ranges.count == 1 && after->ranges.all[0].value == 17);
    cr_assert(after->quorums.count == 1 && after->quorums.all[0].value == 3);
    cr_assert(after->quorums.all[0].times.count == 1000);
    cr_assert(
        memcmp(after->quorums.all[0].times.buckets, quorum->buckets, sizeof(quorum->buckets)) == 0);
    free(before);
    free(after);
}

/* Several nodes' pages add up, and one that was started again in between counts from its start. */
Test(bench_stages, pages_add_up_and_restarts_are_survived) {
    static const char page[] = "# HELP range_stage_apply_us x (us)\n"
                               "range_stage_apply_us_bucket{le=\"3\"} 2\n"
                               "range_stage_apply_us_bucket{le=\"5\"} 5\n"
                               "range_stage_apply_us_bucket{le=\"+Inf\"} 5\n"
                               "range_stage_apply_us_sum 21\nrange_stage_apply_us_count 5\n"
                               "rpc_other_total{kind=\"text\"} 7\n";
    struct bench_stages *once = stages_new(), *twice = stages_new();
    cr_assert(bench_stages_read(once, 1, slice_from_text(page)));
    cr_assert(bench_stages_read(twice, 1, slice_from_text(page)));
    cr_assert(bench_stages_read(twice, 2, slice_from_text(page)));
    const struct bench_stage_times *apply = &twice->stages[BENCH_STAGE_APPLY];
    cr_assert(apply->count == 10 && apply->sum_us == 42);
    cr_assert(apply->buckets[3] == 4 && apply->buckets[5] == 6);
    bench_stages_subtract(once, twice); /* less than before */
    cr_assert_eq(once->stages[BENCH_STAGE_APPLY].count, 5);
    free(once);
    free(twice);
}

/* Two leaders of which one is slow are told apart, also by what their quorums took. */
Test(bench_stages, each_leader_has_figures_of_its_own) {
    static const char *const pages[] = {
        "range_stage_total_us_sum 30\nrange_stage_total_us_count 3\n"
        "range_stage_quorum_us_sum 12\nrange_stage_quorum_us_count 3\n",
        "range_stage_total_us_sum 9000\nrange_stage_total_us_count 2\n"
        "range_stage_quorum_us_sum 8000\nrange_stage_quorum_us_count 2\n",
        "router_stage_total_us_sum 9999\nrouter_stage_total_us_count 5\n"};
    struct bench_stages *stages = stages_new();
    struct buf table = {0};
    cr_assert(bench_stages_read(stages, 7, slice_from_text(pages[0])));
    cr_assert(bench_stages_read(stages, 8, slice_from_text(pages[1])));
    cr_assert(bench_stages_read(stages, 0, slice_from_text(pages[2])));
    cr_assert_eq(stages->stages[BENCH_STAGE_LEADER_TOTAL].count, 5);
    cr_assert_eq(stages->leaders.count, 2);
    cr_assert_float_eq(bench_stage_mean_us(&stages->leaders.all[0].times), 10, 0.01);
    cr_assert_float_eq(bench_stage_mean_us(&stages->quorums.all[1].times), 4000, 0.01);
    bench_stages_append_table(&table, stages, NULL);
    cr_assert(has_text(&table, "of these: led by node 8"));
    buf_done(&table);
    free(stages);
}

/* Figures of another version are refused rather than guessed. */
Test(bench_stages, foreign_buckets_are_refused) {
    static const char *const pages[] = {
        "range_stage_apply_us_bucket{le=\"1000\"} 2\n",
        "range_stage_apply_us_sum x\n",
        "range_stage_apply_us_count -4\n",
        "range_stage_apply_us_bucket{le=\"3\"} 4\nrange_stage_apply_us_bucket{le=\"5\"} 2\n",
    };
    struct bench_stages *stages = stages_new();
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        cr_assert_not(bench_stages_read(stages, 0, slice_from_text(pages[i])), "%s", pages[i]);
    free(stages);
}

static void set(struct bench_stages *stages, enum bench_stage stage, uint64_t us) {
    stages->stages[stage] = (struct bench_stage_times){.count = 10, .sum_us = us * 10};
}

/* Shares are of what the client waited, and what no process can measure alone is the difference
 * between two. */
Test(bench_stages, shares_add_up_to_what_the_client_waited) {
    struct bench_stages *stages = stages_new();
    struct bench_stages_client client = {
        .count = 10, .mean_us = 1000, .p50_us = 900, .p99_us = 2000};
    set(stages, BENCH_STAGE_ROUTER_QUEUE, 50);
    set(stages, BENCH_STAGE_ROUTER_NODE, 750);
    set(stages, BENCH_STAGE_ROUTER_TOTAL, 800);
    set(stages, BENCH_STAGE_QUORUM, 400);
    set(stages, BENCH_STAGE_LEADER_TOTAL, 600);
    struct buf table = {0}, json = {0};
    bench_stages_append_table(&table, stages, &client);
    buf_append_byte(&table, 0);
    const char *text = (const char *)table.data;
    static const struct {
        const char *row, *share;
    } expected[] = {{"client to router and back", "20.0%"},
                    {"router: until first sent", "5.0%"},
                    {"router to leader and back", "15.0%"},
                    {"leader: quorum", "40.0%"},
                    {"at the leader", "60.0%"}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const char *row = strstr(text, expected[i].row);
        cr_assert(row, "%s is missing in:\n%s", expected[i].row, text);
        const char *share = strstr(row, expected[i].share), *end = strchr(row, '\n');
        cr_assert(share && share < end, "%s:\n%s", expected[i].row, text);
    }
    cJSON *object = json_object();
    bench_stages_add_json(object, stages, &client);
    json_print_take(&json, object);
    cr_assert(has_text(&json, "\"client\":{\"count\":10,\"mean_us\":1000.0,"));
    cr_assert(has_text(&json, "\"quorum\":{\"count\":10,\"mean_us\":400.0,"));
    cr_assert(has_text(&json, ",\"followers\":{},\"ranges\":{},\"leaders\":{},\"quorums\":{}}"));
    buf_done(&table);
    buf_done(&json);
    free(stages);
}
