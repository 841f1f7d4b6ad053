/* Metrics registry. Each folder has one table (X-macro) that registers and documents its metrics:
 *
 *   #define RANGE_METRICS(X) X(range_proposals_total, COUNTER, "proposals", "commands proposed")
 *
 * Counters and gauges are atomics that any thread may update; histograms are recorded by any thread
 * (relaxed atomics, four buckets per power of two, so that a quantile is at most a quarter off) and
 * are for operators. A family is one metric per node, per range or the like, told apart by a label.
 * metrics_render writes the Prometheus text format. */
#ifndef FLOTILLA_BASE_METRICS_H
#define FLOTILLA_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/slice.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Buckets 0 to 3 count the values 0 to 3; from 4 on each power of two has four of equal width; the
 * last one counts all that is above 2^39 (us: 6 days). */
#define METRIC_HISTOGRAM_BUCKETS 153u

struct metric {
    const char *name, *unit, *help; /* static text */
    enum metric_kind kind;
    const char *label;            /* of a family's member, "node"; NULL: alone under its name */
    _Atomic uint64_t label_value; /* 0: not yet given out, and not shown */
    _Atomic int64_t value;        /* counter, gauge; for a histogram the sum */
    _Atomic uint64_t buckets[METRIC_HISTOGRAM_BUCKETS];
    struct metric *next; /* registry chain */
};

void metrics_register(struct metric *metric); /* before threads start; again is harmless */
void metric_add(struct metric *metric, int64_t delta);
void metric_set(struct metric *metric, int64_t value);
void metric_observe(struct metric *metric, uint64_t value);
/* The same value so many times. */
void metric_observe_many(struct metric *metric, uint64_t value, uint64_t count);
/* The largest value that a bucket of a histogram counts; UINT64_MAX: the last bucket. */
uint64_t metric_bucket_bound(unsigned bucket);
void metrics_render(struct buf *out);

/* One metric for each value of a label, as long as there is room. */
struct metric_family {
    struct metric *members; /* alike but for label_value */
    size_t count;
};
void metrics_register_family(struct metric_family *family); /* as metrics_register */
/* The member with that value (positive), given out at its first use. NULL: none is left. Any
 * thread; keep the pointer, it stays valid. */
struct metric *metric_family_member(struct metric_family *family, uint64_t value);

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

/* The same for a folder's families: METRIC_FAMILIES_DECLARE(RANGE_FAMILIES) and
 * METRIC_FAMILIES_DEFINE(range, RANGE_FAMILIES), which defines range_families_register().
 *
 *   #define RANGE_FAMILIES(X) X(range_write_us, HISTOGRAM, "us", "a write", "range", 64) */
#define FAMILY_DECLARE_ONE_(name, kind, unit, help, label, count) \
    extern struct metric_family family_##name;
#define METRIC_FAMILIES_DECLARE(table) table(FAMILY_DECLARE_ONE_)
#define FAMILY_DEFINE_ONE_(name_, kind_, unit_, help_, label_, count_)                             \
    static struct metric members_##name_[count_] = {[0 ...(count_) - 1] = {.name = #name_,         \
                                                                           .unit = unit_,          \
                                                                           .help = help_,          \
                                                                           .kind = METRIC_##kind_, \
                                                                           .label = label_}};      \
    struct metric_family family_##name_ = {members_##name_, count_};
#define FAMILY_REGISTER_ONE_(name, kind, unit, help, label, count) \
    metrics_register_family(&family_##name);
#define METRIC_FAMILIES_DEFINE(folder, table)                         \
    table(FAMILY_DEFINE_ONE_) void folder##_families_register(void) { \
        table(FAMILY_REGISTER_ONE_)                                   \
    }

#endif
