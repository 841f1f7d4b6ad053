/* One process-wide chain of statically allocated metrics, in order of registration. */
#include "base/metrics.h"

#include <inttypes.h>

#include "base/assert.h"

static struct metric *registry_first, **registry_last = &registry_first;

void metrics_register(struct metric *metric) {
    for (const struct metric *other = registry_first; other; other = other->next) {
        if (other == metric) return;
        ASSERT(strcmp(other->name, metric->name) != 0);
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

void metric_observe(struct metric *metric, uint64_t value) {
    ASSERT(metric->kind == METRIC_HISTOGRAM);
    unsigned bucket = value > 0 ? 64u - (unsigned)__builtin_clzll(value) : 0;
    if (bucket >= METRIC_HISTOGRAM_BUCKETS) bucket = METRIC_HISTOGRAM_BUCKETS - 1;
    atomic_fetch_add_explicit(&metric->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->value, (int64_t)value, memory_order_relaxed);
}

/* Prometheus buckets are cumulative with an inclusive bound: values < 2^i are values <= 2^i - 1.
 * The count is summed here, so that it always equals the last bucket although others record. */
static void render_histogram(const struct metric *metric, struct buf *out) {
    uint64_t count = 0;
    for (unsigned i = 0; i + 1 < METRIC_HISTOGRAM_BUCKETS; i++) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{le=\"%" PRIu64 "\"} %" PRIu64 "\n", metric->name,
                   (UINT64_C(1) << i) - 1, count);
    }
    count +=
        atomic_load_explicit(&metric->buckets[METRIC_HISTOGRAM_BUCKETS - 1], memory_order_relaxed);
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", metric->name, count);
    buf_printf(out, "%s_sum %" PRId64 "\n", metric->name,
               atomic_load_explicit(&metric->value, memory_order_relaxed));
    buf_printf(out, "%s_count %" PRIu64 "\n", metric->name, count);
}

void metrics_render(struct buf *out) {
    static const char *const kind_names[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };
    for (const struct metric *metric = registry_first; metric; metric = metric->next) {
        buf_printf(out, "# HELP %s %s (%s)\n", metric->name, metric->help, metric->unit);
        buf_printf(out, "# TYPE %s %s\n", metric->name, kind_names[metric->kind]);
        if (metric->kind == METRIC_HISTOGRAM) {
            render_histogram(metric, out);
        } else {
            buf_printf(out, "%s %" PRId64 "\n", metric->name,
                       atomic_load_explicit(&metric->value, memory_order_relaxed));
        }
    }
}
