/* Metrics registry. Each folder has one table (X-macro) that registers and documents its metrics:
 *
 *   #define RANGE_METRICS(X) X(range_proposals_total, COUNTER, "proposals", "commands proposed")
 *
 * Counters and gauges are atomics that any thread may update; histograms are recorded by any thread
 * (relaxed atomics on a compact power-of-two layout) and are for operators, not for benchmarks.
 * metrics_render writes the Prometheus text format. */
#ifndef FLOTILLA_BASE_METRICS_H
#define FLOTILLA_BASE_METRICS_H

#include <stdatomic.h>

#include "base/slice.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_HISTOGRAM_BUCKETS 40u /* bucket i counts values < 2^i, in the metric's unit */

struct metric {
    const char *name, *unit, *help; /* static text */
    enum metric_kind kind;
    _Atomic int64_t value; /* counter, gauge; for a histogram the sum */
    _Atomic uint64_t buckets[METRIC_HISTOGRAM_BUCKETS];
    struct metric *next; /* registry chain */
};

void metrics_register(struct metric *metric); /* before threads start; again is harmless */
void metric_add(struct metric *metric, int64_t delta);
void metric_set(struct metric *metric, int64_t value);
void metric_observe(struct metric *metric, uint64_t value);
void metrics_render(struct buf *out);

/* METRICS_DECLARE(RANGE_METRICS) in the folder's metrics.h, METRICS_DEFINE(range, RANGE_METRICS) in
 * its metrics.c; the latter also defines range_metrics_register(). */
#define METRIC_DECLARE_ONE_(name, kind, unit, help) extern struct metric metric_##name;
#define METRICS_DECLARE(table) table(METRIC_DECLARE_ONE_)
#define METRIC_DEFINE_ONE_(name_, kind_, unit_, help_) \
    struct metric metric_##name_ = {                   \
        .name = #name_, .unit = unit_, .help = help_, .kind = METRIC_##kind_};
#define METRIC_REGISTER_ONE_(name, kind, unit, help) metrics_register(&metric_##name);
#define METRICS_DEFINE(folder, table)                                \
    table(METRIC_DEFINE_ONE_) void folder##_metrics_register(void) { \
        table(METRIC_REGISTER_ONE_)                                  \
    }

#endif
