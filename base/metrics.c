/* One process-wide chain of statically allocated metrics, in order of registration. */
#include "base/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

static struct metric *registry_first, **registry_last = &registry_first;

void metrics_register(struct metric *metric) {
    for (const struct metric *other = registry_first; other; other = other->next) {
        if (other == metric) return;
        /* A family's members come one after the other and share their name. */
        ASSERT(strcmp(other->name, metric->name) != 0 || (other->label && metric->label));
    }
    metric->next = NULL;
    *registry_last = metric;
    registry_last = &metric->next;
}

void metric_add(struct metric *metric, int64_t delta) {
    ASSERT(metric->kind != METRIC_HISTOGRAM);
    ASSERT(metric->kind != METRIC_COUNTER || delta >= 0);
    atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t value) {
    ASSERT(metric->kind == METRIC_GAUGE);
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

#define SUB_BUCKETS 4u /* per power of two */
#define SUB_BITS 2u

static unsigned bucket_of(uint64_t value) {
    if (value < SUB_BUCKETS) return (unsigned)value;
    unsigned power = 63u - (unsigned)__builtin_clzll(value);
    unsigned sub = (unsigned)(value >> (power - SUB_BITS)) & (SUB_BUCKETS - 1);
    unsigned bucket = (power - 1) * SUB_BUCKETS + sub;
    return bucket < METRIC_HISTOGRAM_BUCKETS ? bucket : METRIC_HISTOGRAM_BUCKETS - 1;
}

uint64_t metric_bucket_bound(unsigned bucket) {
    ASSERT_CMP(bucket, <, METRIC_HISTOGRAM_BUCKETS);
    if (bucket == METRIC_HISTOGRAM_BUCKETS - 1) return UINT64_MAX;
    if (bucket < SUB_BUCKETS) return bucket;
    unsigned power = bucket / SUB_BUCKETS + 1, sub = bucket % SUB_BUCKETS;
    return ((UINT64_C(1) + SUB_BUCKETS + sub) << (power - SUB_BITS)) - 1;
}

void metric_observe_many(struct metric *metric, uint64_t value, uint64_t count) {
    ASSERT(metric->kind == METRIC_HISTOGRAM);
    atomic_fetch_add_explicit(&metric->buckets[bucket_of(value)], count, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, (int64_t)(value * count), memory_order_relaxed);
}

void metric_observe(struct metric *metric, uint64_t value) {
    metric_observe_many(metric, value, 1);
}

/* ---- families ---- */

void metrics_register_family(struct metric_family *family) {
    for (size_t i = 0; i < family->count; i++)
        metrics_register(&family->members[i]);
}

struct metric *metric_family_member(struct metric_family *family, uint64_t value) {
    ASSERT_CMP(value, >, 0);
    for (size_t i = 0; i < family->count; i++) {
        struct metric *member = &family->members[i];
        uint64_t taken = atomic_load_explicit(&member->label_value, memory_order_relaxed);
        if (taken == value) return member;
        if (taken != 0) continue;
        /* Another thread may take it first, perhaps for the same value. */
        if (atomic_compare_exchange_strong(&member->label_value, &taken, value) || taken == value)
            return member;
    }
    return NULL;
}

/* ---- shown ---- */

/* {node="3",le="7"}, whichever of the two there are. */
static void render_labels(const struct metric *metric, const char *le, struct buf *out) {
    uint64_t value = atomic_load_explicit(&metric->label_value, memory_order_relaxed);
    if (!metric->label && !le) return;
    buf_append_byte(out, '{');
    if (metric->label) buf_printf(out, "%s=\"%" PRIu64 "\"", metric->label, value);
    if (le) buf_printf(out, "%sle=\"%s\"", metric->label ? "," : "", le);
    buf_append_byte(out, '}');
}

static void render_value(const struct metric *metric, const char *suffix, const char *le,
                         int64_t value, struct buf *out) {
    buf_printf(out, "%s%s", metric->name, suffix);
    render_labels(metric, le, out);
    buf_printf(out, " %" PRId64 "\n", value);
}

/* Prometheus buckets are cumulative with an inclusive bound. The count is summed here, so that it
 * always equals the last bucket although others record. Buckets above all values are left out: a
 * series that was shown once is shown for ever, since counts only grow. */
static void render_histogram(const struct metric *metric, struct buf *out) {
    uint64_t counts[METRIC_HISTOGRAM_BUCKETS], total = 0;
    unsigned shown = 0;
    for (unsigned i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++) {
        counts[i] = atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        if (counts[i] > 0) shown = i + 1;
    }
    for (unsigned i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++) {
        total += counts[i];
        if (i >= shown || i + 1 == METRIC_HISTOGRAM_BUCKETS) continue;
        char bound[24];
        (void)snprintf(bound, sizeof(bound), "%" PRIu64, metric_bucket_bound(i)); /* it fits */
        render_value(metric, "_bucket", bound, (int64_t)total, out);
    }
    render_value(metric, "_bucket", "+Inf", (int64_t)total, out);
    render_value(metric, "_sum", NULL, atomic_load_explicit(&metric->value, memory_order_relaxed),
                 out);
    render_value(metric, "_count", NULL, (int64_t)total, out);
}

void metrics_render(struct buf *out) {
    static const char *const kind_names[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };
    const char *described = "";
    for (const struct metric *metric = registry_first; metric; metric = metric->next) {
        if (metric->label && atomic_load_explicit(&metric->label_value, memory_order_relaxed) == 0)
            continue;
        if (strcmp(described, metric->name) != 0) {
            buf_printf(out, "# HELP %s %s (%s)\n", metric->name, metric->help, metric->unit);
            buf_printf(out, "# TYPE %s %s\n", metric->name, kind_names[metric->kind]);
            described = metric->name;
        }
        if (metric->kind == METRIC_HISTOGRAM)
            render_histogram(metric, out);
        else
            render_value(metric, "", NULL,
                         atomic_load_explicit(&metric->value, memory_order_relaxed), out);
    }
}
