/* Latency histogram with fixed relative error (log-linear buckets, as HdrHistogram: 64 linear
 * sub-buckets per power of two, so at most 1/64 = 1.6% off), mergeable, fixed size, no allocation.
 * Values are any unit; Flotilla records microseconds. Values above the top count in the top bucket.
 * Not thread-safe: one per thread, merge to read. */
#ifndef FLOTILLA_BASE_HISTOGRAM_H
#define FLOTILLA_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BUCKETS 64u
#define HISTOGRAM_POWERS 36u /* up to 64 * 2^35 us: 25 days */
#define HISTOGRAM_BUCKETS (HISTOGRAM_SUB_BUCKETS * (HISTOGRAM_POWERS + 1u))

struct histogram {
    uint64_t count, sum, min, max; /* min is UINT64_MAX while empty after histogram_init */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *histogram);
void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* Smallest recorded magnitude that at least `quantile` (0..1) of the values do not exceed; 0 when
 * empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);
double histogram_mean(const struct histogram *histogram);

#endif
