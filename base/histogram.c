/* Log-linear buckets. Values below 64 have a bucket each. Above, a value with its top bit at
 * position 6 + shift falls into one of 64 buckets of width 2^shift:
 *
 *   bucket = 64 * (shift + 1) + (value >> shift) - 64
 *
 * so a bucket's width is at most 1/64 of its smallest value. */
#include "base/histogram.h"

#include <stddef.h>

#include "base/assert.h"

#define SUB_BUCKET_BITS 6u
_Static_assert(1u << SUB_BUCKET_BITS == HISTOGRAM_SUB_BUCKETS, "sub-bucket bits");

static size_t bucket_of(uint64_t value) {
    if (value < HISTOGRAM_SUB_BUCKETS) return (size_t)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BUCKET_BITS;
    if (shift >= HISTOGRAM_POWERS) return HISTOGRAM_BUCKETS - 1;
    return HISTOGRAM_SUB_BUCKETS * shift + (size_t)(value >> shift);
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_end(size_t bucket) {
    if (bucket < HISTOGRAM_SUB_BUCKETS) return bucket;
    unsigned shift = (unsigned)(bucket / HISTOGRAM_SUB_BUCKETS) - 1;
    uint64_t mantissa = HISTOGRAM_SUB_BUCKETS + bucket % HISTOGRAM_SUB_BUCKETS;
    return ((mantissa + 1) << shift) - 1;
}

void histogram_init(struct histogram *histogram) {
    *histogram = (struct histogram){.min = UINT64_MAX};
}

void histogram_record(struct histogram *histogram, uint64_t value) {
    histogram->count++;
    histogram->sum += value;
    if (value < histogram->min) histogram->min = value;
    if (value > histogram->max) histogram->max = value;
    histogram->buckets[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
    into->count += from->count;
    into->sum += from->sum;
    if (from->min < into->min) into->min = from->min;
    if (from->max > into->max) into->max = from->max;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile) {
    ASSERT(quantile >= 0.0 && quantile <= 1.0);
    if (histogram->count == 0) return 0;
    /* How many values must not exceed the answer: rounded up, at least one. */
    double exact = quantile * (double)histogram->count;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0) rank++;
    if (rank >= histogram->count) return histogram->max;
    uint64_t seen = 0;
    for (size_t i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen < rank) continue;
        uint64_t end = bucket_end(i);
        return end < histogram->max ? end : histogram->max;
    }
    /* The top bucket has no upper end of its own. */
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram) {
    return histogram->count > 0 ? (double)histogram->sum / (double)histogram->count : 0.0;
}
