#include "bench/stages.h"

#include <stdlib.h>

static const char *const stage_metrics[] = {
#define BENCH_STAGE_METRIC(id, metric, text) [BENCH_STAGE_##id] = metric,
    BENCH_STAGES(BENCH_STAGE_METRIC)
#undef BENCH_STAGE_METRIC
};

/* One line, taken apart: name ‖ suffix {label="value",le="bound"} number */
struct line {
    struct slice name;   /* without its suffix */
    struct slice suffix; /* "_bucket", "_sum", "_count" */
    uint64_t label;      /* 0: none */
    uint64_t bound;      /* of a bucket; UINT64_MAX: +Inf */
    uint64_t number;
};

/* While one page is read: buckets are cumulative, so each needs the one before it. */
struct reading {
    struct bench_stages *stages;
    uint64_t node;                   /* whose page it is; 0: a router's */
    struct bench_stage_times *times; /* whose buckets are being read */
    uint64_t cumulative;
};

static bool equals(struct slice slice, const char *text) {
    return slice_equal(slice, slice_from_text(text));
}

static struct slice take_until(struct slice *in, char end) {
    const uint8_t *at = in->len ? memchr(in->data, end, in->len) : NULL;
    struct slice taken = at ? slice_make(in->data, (size_t)(at - in->data)) : *in;
    size_t skip = taken.len + (at ? 1 : 0);
    *in = slice_make(in->data + skip, in->len - skip);
    return taken;
}

static bool to_number(struct slice text, uint64_t *ret_number) {
    char digits[24], *end;
    if (text.len == 0 || text.len >= sizeof(digits)) return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    *ret_number = strtoull(digits, &end, 10);
    return *end == '\0' && digits[0] != '-';
}

/* node="3",le="7" */
static bool read_labels(struct slice labels, struct line *line) {
    while (labels.len > 0) {
        struct slice key = take_until(&labels, '=');
        if (labels.len == 0 || labels.data[0] != '"') return false;
        (void)take_until(&labels, '"'); /* the opening one */
        struct slice value = take_until(&labels, '"');
        if (labels.len > 0) (void)take_until(&labels, ','); /* or the end */
        bool bound = equals(key, "le");
        if (bound && equals(value, "+Inf"))
            line->bound = UINT64_MAX;
        else if (!to_number(value, bound ? &line->bound : &line->label))
            return false;
    }
    return true;
}

/* The name ends where the last underscore begins the suffix. */
static void split_name(struct slice full, struct line *line) {
    size_t at = full.len;
    while (at > 0 && full.data[at - 1] != '_')
        at--;
    if (at == 0) at = full.len + 1;
    line->name = slice_make(full.data, at - 1);
    line->suffix = slice_make(full.data + at - 1, full.len - (at - 1));
}

static struct bench_stage_times *labelled(struct bench_stage_labels *labels, uint64_t value) {
    for (uint32_t i = 0; i < labels->count; i++)
        if (labels->all[i].value == value) return &labels->all[i].times;
    if (labels->count == BENCH_STAGE_LABELS_MAX) return NULL;
    struct bench_stage_label *label = &labels->all[labels->count++];
    label->value = value;
    return &label->times;
}

static struct bench_stage_times *find_times(struct bench_stages *stages, const struct line *line) {
    for (size_t i = 0; i < BENCH_STAGE_COUNT; i++)
        if (equals(line->name, stage_metrics[i])) return &stages->stages[i];
    if (equals(line->name, "range_follower_append_us"))
        return labelled(&stages->followers, line->label);
    if (equals(line->name, "range_write_us")) return labelled(&stages->ranges, line->label);
    return NULL;
}

/* Where the same figures are counted by node; NULL: nowhere. */
static struct bench_stage_times *find_by_node(struct reading *reading,
                                              const struct bench_stage_times *times) {
    struct bench_stages *stages = reading->stages;
    if (reading->node == 0) return NULL;
    if (times == &stages->stages[BENCH_STAGE_LEADER_TOTAL])
        return labelled(&stages->leaders, reading->node);
    if (times == &stages->stages[BENCH_STAGE_QUORUM])
        return labelled(&stages->quorums, reading->node);
    return NULL;
}

static bool read_bucket(struct reading *reading, struct bench_stage_times *times,
                        const struct line *line) {
    unsigned bucket = 0;
    if (reading->times != times) {
        reading->times = times;
        reading->cumulative = 0;
    }
    while (bucket + 1 < METRIC_HISTOGRAM_BUCKETS && metric_bucket_bound(bucket) < line->bound)
        bucket++;
    if (metric_bucket_bound(bucket) != line->bound || line->number < reading->cumulative)
        return false;
    struct bench_stage_times *by_node = find_by_node(reading, times);
    times->buckets[bucket] += line->number - reading->cumulative;
    if (by_node) by_node->buckets[bucket] += line->number - reading->cumulative;
    reading->cumulative = line->number;
    return true;
}

static bool read_line(struct reading *reading, struct slice text) {
    struct line line = {0};
    struct slice name = take_until(&text, ' '), labels = name;
    name = take_until(&labels, '{');
    split_name(name, &line);
    bool bucket = equals(line.suffix, "_bucket"), sum = equals(line.suffix, "_sum"),
         count = equals(line.suffix, "_count");
    if (!bucket && !sum && !count) return true;
    if (labels.len > 0) labels.len--;             /* the closing brace */
    if (!read_labels(labels, &line)) return true; /* not a label of ours */
    struct bench_stage_times *times = find_times(reading->stages, &line);
    if (!times) return true;
    if (!to_number(text, &line.number)) return false;
    if (bucket) return read_bucket(reading, times, &line);
    struct bench_stage_times *by_node = find_by_node(reading, times);
    if (sum) times->sum_us += line.number;
    if (count) times->count += line.number;
    if (by_node && sum) by_node->sum_us += line.number;
    if (by_node && count) by_node->count += line.number;
    return true;
}

bool bench_stages_read(struct bench_stages *stages, uint64_t node, struct slice page) {
    struct reading reading = {.stages = stages, .node = node};
    bool good = true;
    while (page.len > 0) {
        struct slice line = take_until(&page, '\n');
        if (line.len > 0 && line.data[0] != '#') good = read_line(&reading, line) && good;
    }
    return good;
}

static void subtract(struct bench_stage_times *after, const struct bench_stage_times *before) {
    if (!before || after->count < before->count) return; /* restarted */
    after->count -= before->count;
    after->sum_us = after->sum_us > before->sum_us ? after->sum_us - before->sum_us : 0;
    for (size_t i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++)
        after->buckets[i] -=
            after->buckets[i] < before->buckets[i] ? after->buckets[i] : before->buckets[i];
}

static void subtract_labels(struct bench_stage_labels *after,
                            const struct bench_stage_labels *before) {
    for (uint32_t i = 0; i < after->count; i++)
        for (uint32_t k = 0; k < before->count; k++)
            if (before->all[k].value == after->all[i].value)
                subtract(&after->all[i].times, &before->all[k].times);
}

void bench_stages_subtract(struct bench_stages *after, const struct bench_stages *before) {
    for (size_t i = 0; i < BENCH_STAGE_COUNT; i++)
        subtract(&after->stages[i], &before->stages[i]);
    subtract_labels(&after->followers, &before->followers);
    subtract_labels(&after->ranges, &before->ranges);
    subtract_labels(&after->leaders, &before->leaders);
    subtract_labels(&after->quorums, &before->quorums);
}

double bench_stage_mean_us(const struct bench_stage_times *times) {
    return times->count ? (double)times->sum_us / (double)times->count : 0;
}

/* Spread evenly within its bucket; the last bucket has no upper end. */
double bench_stage_quantile_us(const struct bench_stage_times *times, double quantile) {
    uint64_t total = 0, below = 0;
    for (size_t i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++)
        total += times->buckets[i];
    double wanted = quantile * (double)total;
    for (unsigned i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++) {
        uint64_t here = times->buckets[i];
        if (here == 0 || (double)(below + here) < wanted) {
            below += here;
            continue;
        }
        uint64_t low = i ? metric_bucket_bound(i - 1) + 1 : 0, high = metric_bucket_bound(i);
        if (high == UINT64_MAX) return (double)low;
        double part = (wanted - (double)below) / (double)here;
        return (double)low + part * (double)(high - low);
    }
    return 0;
}
