/* Clock, random numbers, histogram. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/histogram.h"
#include "base/prng.h"

/* Seconds for which this machine is said to have been asleep: what CLOCK_BOOTTIME counts besides.
 */
static long slept_s;

int clock_gettime(clockid_t which, struct timespec *ret) {
    int result = (int)syscall(SYS_clock_gettime, which, ret);
    if (result == 0 && which == CLOCK_BOOTTIME) ret->tv_sec += slept_s;
    return result;
}

/* A lease that its holder sleeps through is over when it wakes. */
Test(base_clock, goes_on_while_the_machine_sleeps) {
    const struct clock *clock = clock_system();
    uint64_t before_us = clock_monotonic_us(clock);
    slept_s = 3600;
    cr_assert_geq(clock_monotonic_us(clock), before_us + UINT64_C(3600000000));
}

/* Protects units and direction of the system clocks. */
Test(base_clock, system_clock_moves_forward_in_the_stated_units) {
    const struct clock *clock = clock_system();
    uint64_t start_us = clock_monotonic_us(clock);
    struct timespec pause = {.tv_nsec = 5000000};
    cr_assert_eq(nanosleep(&pause, NULL), 0);
    uint64_t passed_us = clock_monotonic_us(clock) - start_us;
    cr_assert(passed_us >= 5000 && passed_us < 5000000, "%lu", (unsigned long)passed_us);
    uint64_t wall_s = clock_wall_ms(clock) / 1000;
    cr_assert_lt(llabs((long long)wall_s - (long long)time(NULL)), 3);
}

/* Protects seeds: the first numbers are those of the published algorithm, on any machine. */
Test(base_prng, same_seed_gives_the_same_numbers) {
    struct prng prng = {.state = {1, 2, 3, 4}};
    static const uint64_t published[] = {11520, 0, 1509978240, 1215971899390074240};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(prng_next(&prng), published[i]);
    struct prng a, b, c;
    prng_init(&a, 42);
    prng_init(&b, 42);
    prng_init(&c, 43);
    int equal = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t drawn = prng_next(&a);
        cr_assert_eq(drawn, prng_next(&b));
        equal += drawn == prng_next(&c);
    }
    cr_assert_eq(equal, 0);
}

/* Protects the ranges and, roughly, the evenness of bounded draws. */
Test(base_prng, bounded_draws_stay_inside_and_are_even) {
    struct prng prng;
    prng_init(&prng, 1);
    int counts[10] = {0};
    for (int i = 0; i < 100000; i++)
        counts[prng_below(&prng, 10)]++;
    for (int i = 0; i < 10; i++)
        cr_assert(counts[i] > 9500 && counts[i] < 10500);
    bool low_seen = false, high_seen = false;
    for (int i = 0; i < 1000; i++) {
        uint64_t drawn = prng_between(&prng, 5, 8);
        cr_assert(drawn >= 5 && drawn <= 8);
        low_seen |= drawn == 5;
        high_seen |= drawn == 8;
        double unit = prng_unit(&prng);
        cr_assert(unit >= 0.0 && unit < 1.0);
    }
    cr_assert(low_seen && high_seen);
    cr_assert_eq(prng_below(&prng, 1), 0);
    cr_assert_eq(prng_between(&prng, 9, 9), 9);
    (void)prng_between(&prng, 0, UINT64_MAX);
    cr_assert_neq(prng_seed_from_system(), prng_seed_from_system());
}

/* Protects against the bias of a plain modulo: with a bound of 3/4 of 2^64 the lower third would
 * come up half of the time. */
Test(base_prng, large_bounds_are_unbiased) {
    struct prng prng;
    prng_init(&prng, 2);
    const uint64_t bound = UINT64_C(3) << 62;
    int lower = 0;
    for (int i = 0; i < 30000; i++)
        lower += prng_below(&prng, bound) < bound / 3;
    cr_assert(lower > 9500 && lower < 10500, "%d", lower);
}

/* Protects against a draw from nothing. */
Test(base_prng, refuses_an_empty_range, .signal = SIGABRT) {
    struct prng prng;
    prng_init(&prng, 1);
    (void)prng_below(&prng, 0);
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Protects every latency figure: at any quantile the answer is not below the true value and at most
 * 1/64 above it, over nine orders of magnitude. */
Test(base_histogram, quantiles_are_within_a_64th) {
    static uint64_t values[20000];
    static struct histogram histogram;
    static const double quantiles[] = {0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0};
    const size_t count = sizeof(values) / sizeof(values[0]);
    struct prng prng;
    prng_init(&prng, 11);
    histogram_init(&histogram);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        values[i] = (uint64_t)exp(prng_unit(&prng) * 21.0);
        histogram_record(&histogram, values[i]);
        sum += (double)values[i];
    }
    qsort(values, count, sizeof(values[0]), compare_u64);
    cr_assert_eq(histogram.min, values[0]);
    cr_assert_eq(histogram.max, values[count - 1]);
    cr_assert_float_eq(histogram_mean(&histogram), sum / (double)count, 1.0);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        size_t rank = (size_t)ceil(quantiles[i] * (double)count);
        uint64_t truth = values[rank > 0 ? rank - 1 : 0];
        uint64_t answer = histogram_quantile(&histogram, quantiles[i]);
        cr_assert_geq(answer, truth);
        cr_assert_leq((double)answer, (double)truth * (1.0 + 1.0 / 64.0));
    }
}

/* Protects bucket edges: each value around every power of two, alone beside one that is larger. */
Test(base_histogram, error_is_bounded_at_every_power_of_two) {
    static struct histogram histogram;
    for (unsigned power = 0; power < 42; power++) {
        for (int64_t delta = -2; delta <= 2; delta++) {
            int64_t value = (int64_t)(UINT64_C(1) << power) + delta;
            if (value < 0) continue;
            histogram_init(&histogram);
            histogram_record(&histogram, (uint64_t)value);
            histogram_record(&histogram, UINT64_MAX);
            uint64_t answer = histogram_quantile(&histogram, 0.5);
            cr_assert_geq(answer, (uint64_t)value);
            cr_assert_leq(answer - (uint64_t)value, (uint64_t)value / 64);
        }
    }
}

/* Protects against writing past the table. */
Test(base_histogram, values_above_the_top_count_in_the_top_bucket) {
    static struct histogram histogram;
    histogram_init(&histogram);
    histogram_record(&histogram, UINT64_MAX);
    histogram_record(&histogram, UINT64_C(1) << 60);
    cr_assert_eq(histogram.buckets[HISTOGRAM_BUCKETS - 1], 2);
    cr_assert_eq(histogram_quantile(&histogram, 0.5), UINT64_MAX);
}

/* Protects per-thread recording: merged parts equal the whole, also with an empty part. */
Test(base_histogram, merge_equals_recording_together) {
    static struct histogram parts[3], whole, merged;
    struct prng prng;
    prng_init(&prng, 12);
    histogram_init(&whole);
    histogram_init(&merged);
    for (int i = 0; i < 3; i++)
        histogram_init(&parts[i]);
    for (int i = 0; i < 5000; i++) {
        uint64_t value = prng_next(&prng) >> prng_between(&prng, 20, 63);
        histogram_record(&parts[prng_below(&prng, 2)], value); /* parts[2] stays empty */
        histogram_record(&whole, value);
    }
    for (int i = 0; i < 3; i++)
        histogram_merge(&merged, &parts[i]);
    cr_assert_eq(memcmp(&merged, &whole, sizeof(whole)), 0);
}

/* Protects reports before the first event. */
Test(base_histogram, an_empty_one_answers_zero) {
    static struct histogram histogram;
    histogram_init(&histogram);
    cr_assert_eq(histogram_quantile(&histogram, 0.99), 0);
    cr_assert_eq(histogram_mean(&histogram), 0.0);
}
