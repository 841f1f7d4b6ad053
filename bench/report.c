#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

static double ms(uint64_t us) {
    return (double)us / 1000.0;
}

static double per_second(uint64_t count, uint64_t us) {
    return us ? (double)count * 1e6 / (double)us : 0.0;
}

static uint64_t failed_attempts(const struct bench_totals *totals) {
    return totals->timeouts + totals->unknowns + totals->busy + totals->unavailable;
}

void bench_append_progress(struct buf *out, const struct bench_report *report,
                           const struct bench_totals *before, const struct histogram *interval,
                           uint64_t interval_us) {
    const struct bench_totals *totals = bench_load_totals(report->load);
    buf_printf(out,
               "%4" PRIu64 " s %8.0f %s/s   p50 %.2f ms   p99 %.2f ms   refused %" PRIu64
               "   errors %" PRIu64,
               (bench_load_elapsed_us(report->load) + 500000) / 1000000,
               per_second(totals->done - before->done, interval_us), report->unit,
               ms(histogram_quantile(interval, 0.5)), ms(histogram_quantile(interval, 0.99)),
               totals->refused - before->refused,
               failed_attempts(totals) - failed_attempts(before));
}

void bench_append_summary(struct buf *out, const struct bench_report *report) {
    const struct bench_totals *totals = bench_load_totals(report->load);
    const struct histogram *latency = bench_load_latency(report->load);
    uint64_t elapsed_us = bench_load_elapsed_us(report->load);
    buf_printf(out,
               "%" PRIu64 " %s acknowledged in %.1f s: %.0f/s; refused %" PRIu64
               ", unknown %" PRIu64 ", not done %" PRIu64 "\n",
               totals->done, report->unit, (double)elapsed_us / 1e6,
               per_second(totals->done, elapsed_us), totals->refused, totals->unknown,
               totals->not_done);
    buf_printf(out,
               "latency ms: mean %.2f  p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f; "
               "longest gap between answers %.1f ms\n",
               histogram_mean(latency) / 1000.0, ms(histogram_quantile(latency, 0.5)),
               ms(histogram_quantile(latency, 0.9)), ms(histogram_quantile(latency, 0.99)),
               ms(histogram_quantile(latency, 0.999)), ms(latency->max), ms(totals->gap_us));
    buf_printf(out,
               "attempts sent again %" PRIu64 " (unknown %" PRIu64 ", timed out %" PRIu64
               ", busy %" PRIu64 ", unavailable %" PRIu64 ")\n",
               totals->retries, totals->unknowns, totals->timeouts, totals->busy,
               totals->unavailable);
}

struct bench_result bench_result_of(const struct bench_report *report) {
    const struct bench_totals *totals = bench_load_totals(report->load);
    const struct histogram *latency = bench_load_latency(report->load);
    struct bench_result result = {
        .acked = totals->done,
        .refused = totals->refused,
        .unknown = totals->unknown,
        .done_per_s = per_second(totals->done, bench_load_elapsed_us(report->load)),
        .p50_ms = ms(histogram_quantile(latency, 0.5)),
        .p99_ms = ms(histogram_quantile(latency, 0.99)),
        .longest_gap_ms = ms(totals->gap_us),
        .retries = totals->retries,
    };
    if (report->verdict) {
        result.verified = true;
        result.lost = report->verdict->lost;
        result.doubled = report->verdict->doubled;
        result.overbooked = report->verdict->overbooked;
    }
    return result;
}

cJSON *bench_result_json(const struct bench_result *result, const char *unit) {
    cJSON *object = json_object();
    char rate[64];
    int len = snprintf(rate, sizeof(rate), "%s_per_s", unit);
    ASSERT(len > 0 && (size_t)len < sizeof(rate));
    json_add_u64(object, "acked", result->acked);
    json_add_u64(object, "refused", result->refused);
    json_add_u64(object, "unknown", result->unknown);
    if (result->verified) {
        json_add_u64(object, "lost", result->lost);
        json_add_u64(object, "doubled", result->doubled);
        json_add_u64(object, "overbooked", result->overbooked);
    }
    json_add_decimal(object, rate, result->done_per_s, 0);
    json_add_decimal(object, "p50_ms", result->p50_ms, 3);
    json_add_decimal(object, "p99_ms", result->p99_ms, 3);
    json_add_decimal(object, "longest_gap_ms", result->longest_gap_ms, 1);
    if (result->with_hottest) json_add_decimal(object, "hottest_gap_ms", result->hottest_gap_ms, 1);
    if (result->with_attempts) {
        json_add_u64(object, "retries", result->retries);
        json_add_u64(object, "conflicts", result->conflicts);
    }
    return object;
}
