/* How the stages of writes are shown. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "bench/stages.h"

static const char *const stage_texts[] = {
#define BENCH_STAGE_TEXT(id, metric, text) [BENCH_STAGE_##id] = text,
    BENCH_STAGES(BENCH_STAGE_TEXT)
#undef BENCH_STAGE_TEXT
};

static const char *const stage_names[] = {
#define BENCH_STAGE_NAME(id, metric, text) [BENCH_STAGE_##id] = #id,
    BENCH_STAGES(BENCH_STAGE_NAME)
#undef BENCH_STAGE_NAME
};

/* The ranges that took most time are listed up to so many. */
#define RANGES_SHOWN 5u

/* A write on average, from the outside in. */
struct means {
    double client_us; /* 0: not known */
    double router_us, node_us, leader_us;
    double whole_us; /* what shares are of: the outermost that is known */
};

static struct means means_of(const struct bench_stages *stages,
                             const struct bench_stages_client *client) {
    struct means means = {
        .client_us = client && client->count ? client->mean_us : 0,
        .router_us = bench_stage_mean_us(&stages->stages[BENCH_STAGE_ROUTER_TOTAL]),
        .node_us = bench_stage_mean_us(&stages->stages[BENCH_STAGE_ROUTER_NODE]),
        .leader_us = bench_stage_mean_us(&stages->stages[BENCH_STAGE_LEADER_TOTAL]),
    };
    means.whole_us = means.client_us > 0   ? means.client_us
                     : means.router_us > 0 ? means.router_us
                                           : means.leader_us;
    return means;
}

static void append_share(struct buf *out, double us, const struct means *means) {
    if (means->whole_us > 0)
        buf_printf(out, "%7.1f%%", us / means->whole_us * 100);
    else
        buf_printf(out, "%8s", "");
}

static void append_row(struct buf *out, const char *text, const struct bench_stage_times *times,
                       const struct means *means) {
    double mean_us = bench_stage_mean_us(times);
    buf_printf(out, "%-34s %10" PRIu64 " %10.0f %10.0f %10.0f ", text, times->count, mean_us,
               bench_stage_quantile_us(times, 0.5), bench_stage_quantile_us(times, 0.99));
    if (means) append_share(out, mean_us, means);
    buf_append_byte(out, '\n');
}

/* What lies between two processes, as the difference of their means. */
static void append_way(struct buf *out, const char *text, double outer_us, double inner_us,
                       const struct means *means) {
    if (outer_us <= 0 || inner_us <= 0) return;
    double us = outer_us > inner_us ? outer_us - inner_us : 0;
    buf_printf(out, "%-34s %10s %10.0f %10s %10s ", text, "", us, "-", "-");
    append_share(out, us, means);
    buf_append_byte(out, '\n');
}

/* Only where there is something to compare. */
static void append_leaders(struct buf *out, const struct bench_stages *stages) {
    uint32_t leading = 0;
    for (uint32_t i = 0; i < stages->leaders.count; i++)
        if (stages->leaders.all[i].times.count > 0) leading++;
    if (leading < 2) return;
    for (uint32_t i = 0; i < stages->leaders.count; i++) {
        char text[48];
        const struct bench_stage_label *leader = &stages->leaders.all[i];
        if (leader->times.count == 0) continue;
        (void)snprintf(text, sizeof(text), "  of these: led by node %" PRIu64,
                       leader->value); /* cut is fine */
        append_row(out, text, &leader->times, NULL);
        for (uint32_t k = 0; k < stages->quorums.count; k++)
            if (stages->quorums.all[k].value == leader->value)
                append_row(out, "    its quorum", &stages->quorums.all[k].times, NULL);
    }
}

static void append_followers(struct buf *out, const struct bench_stage_labels *followers) {
    for (uint32_t i = 0; i < followers->count; i++) {
        char text[48];
        if (followers->all[i].times.count == 0) continue;
        (void)snprintf(text, sizeof(text), "  at its side: follower, node %" PRIu64,
                       followers->all[i].value); /* cut is fine */
        append_row(out, text, &followers->all[i].times, NULL);
    }
}

static const struct bench_stage_label *next_range(const struct bench_stage_labels *ranges,
                                                  uint64_t below_us, uint64_t *ret_us) {
    const struct bench_stage_label *most = NULL;
    for (uint32_t i = 0; i < ranges->count; i++) {
        uint64_t us = ranges->all[i].times.sum_us;
        if (us == 0 || us >= below_us || (most && us <= most->times.sum_us)) continue;
        most = &ranges->all[i];
    }
    if (most) *ret_us = most->times.sum_us;
    return most;
}

/* Only where there is something to compare. */
static void append_ranges(struct buf *out, const struct bench_stage_labels *ranges) {
    uint64_t below_us = UINT64_MAX;
    if (ranges->count < 2) return;
    for (unsigned i = 0; i < RANGES_SHOWN; i++) {
        char text[48];
        const struct bench_stage_label *range = next_range(ranges, below_us, &below_us);
        if (!range) return;
        (void)snprintf(text, sizeof(text), "  of these: range %" PRIu64, range->value);
        append_row(out, text, &range->times, NULL);
    }
}

void bench_stages_append_table(struct buf *out, const struct bench_stages *stages,
                               const struct bench_stages_client *client) {
    struct means means = means_of(stages, client);
    buf_printf(out, "%-34s %10s %10s %10s %10s %8s\n", "where a write's time went", "count",
               "mean us", "p50 us", "p99 us", "share");
    if (means.client_us > 0)
        buf_printf(out, "%-34s %10" PRIu64 " %10.0f %10.0f %10.0f %7.1f%%\n", "at the client",
                   client->count, client->mean_us, client->p50_us, client->p99_us, 100.0);
    append_way(out, "client to router and back", means.client_us, means.router_us, &means);
    for (unsigned i = 0; i < BENCH_STAGE_COUNT; i++) {
        const struct bench_stage_times *times = &stages->stages[i];
        if (i == BENCH_STAGE_ROUTER_NODE) { /* shown as the way and the leader's stages */
            append_way(out, "router to leader and back", means.node_us, means.leader_us, &means);
            continue;
        }
        if (times->count > 0)
            append_row(out, stage_texts[i], times, i == BENCH_STAGE_FSYNC ? NULL : &means);
        if (i == BENCH_STAGE_FSYNC) append_followers(out, &stages->followers);
    }
    append_leaders(out, stages);
    append_ranges(out, &stages->ranges);
}

static void add_times(cJSON *object, const struct bench_stage_times *times) {
    json_add_u64(object, "count", times->count);
    json_add_decimal(object, "mean_us", bench_stage_mean_us(times), 1);
    json_add_decimal(object, "p50_us", bench_stage_quantile_us(times, 0.5), 0);
    json_add_decimal(object, "p99_us", bench_stage_quantile_us(times, 0.99), 0);
}

static void add_labels(cJSON *parent, const char *name, const struct bench_stage_labels *labels) {
    cJSON *object = json_add_object(parent, name);
    for (uint32_t i = 0; i < labels->count; i++) {
        char label[24];
        if (labels->all[i].times.count == 0) continue;
        snprintf(label, sizeof(label), "%" PRIu64, labels->all[i].value);
        add_times(json_add_object(object, label), &labels->all[i].times);
    }
}

void bench_stages_add_json(cJSON *object, const struct bench_stages *stages,
                           const struct bench_stages_client *client) {
    if (client) {
        cJSON *times = json_add_object(object, "client");
        json_add_u64(times, "count", client->count);
        json_add_decimal(times, "mean_us", client->mean_us, 1);
        json_add_decimal(times, "p50_us", client->p50_us, 0);
        json_add_decimal(times, "p99_us", client->p99_us, 0);
    }
    for (unsigned i = 0; i < BENCH_STAGE_COUNT; i++) {
        char name[32];
        size_t len = strlen(stage_names[i]);
        ASSERT_CMP(len, <, sizeof(name));
        for (size_t at = 0; at <= len; at++)
            name[at] = (char)tolower((unsigned char)stage_names[i][at]);
        add_times(json_add_object(object, name), &stages->stages[i]);
    }
    add_labels(object, "followers", &stages->followers);
    add_labels(object, "ranges", &stages->ranges);
    add_labels(object, "leaders", &stages->leaders);
    add_labels(object, "quorums", &stages->quorums);
}
