/* What a run looks like to people and to programs. */
#ifndef FLOTILLA_BENCH_REPORT_H
#define FLOTILLA_BENCH_REPORT_H

#include "base/json.h"
#include "bench/load.h"
#include "bench/verify.h"

struct bench_report {
    const struct bench_load *load;
    const struct verdict *verdict; /* NULL: not verified */
    const char *unit;              /* "reservations", "puts", ... */
};

/* "  12 s   15234 reservations/s   p50 3.10 ms   p99 12.00 ms   refused 12   retries 3" */
void bench_append_progress(struct buf *out, const struct bench_report *report,
                           const struct bench_totals *before, const struct histogram *interval,
                           uint64_t interval_us);
/* Totals and percentiles over several lines. */
void bench_append_summary(struct buf *out, const struct bench_report *report);

/* The figures of the final line. Without a verdict lost, doubled and overbooked are left out. */
struct bench_result {
    uint64_t acked, refused, unknown;
    uint64_t lost, doubled, overbooked;
    bool verified;
    double done_per_s;
    double p50_ms, p99_ms;
    double longest_gap_ms; /* between any two answers: gap_us of bench/load.h */
    bool with_hottest;     /* the next is known and told */
    double hottest_gap_ms; /* between two acknowledgements of the hottest issuer's reservations */
    bool with_attempts;    /* the two below are known and told */
    uint64_t retries;      /* attempts beyond the first */
    uint64_t conflicts;    /* transactions that had to be made again (etcd) */
};

struct bench_result bench_result_of(const struct bench_report *report);
/* {"acked":…,"refused":…,"unknown":…,"lost":…,"doubled":…,"overbooked":…,"reservations_per_s":…,
 * "p50_ms":…,"p99_ms":…,"longest_gap_ms":…}, with_hottest ,"hottest_gap_ms":… and with_attempts
 * ,"retries":…,"conflicts":… before the end. `unit` names the rate. */
cJSON *bench_result_json(const struct bench_result *result, const char *unit);

#endif
