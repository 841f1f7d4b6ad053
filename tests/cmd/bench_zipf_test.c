#include <criterion/criterion.h>
#include <math.h>

#include "bench/zipf.h"

#define DRAWS 400000

/* The skew that a run claims is the skew that it has, at and around the exponent where the integral
 * changes its form. Five standard deviations per rank: a wrong distribution misses by hundreds. */
static void expect_distribution(uint64_t count, double exponent) {
    struct zipf zipf;
    struct prng prng;
    static uint64_t drawn[64];
    memset(drawn, 0, sizeof(drawn));
    prng_init(&prng, 7);
    zipf_init(&zipf, count, exponent);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_next(&zipf, &prng);
        cr_assert_lt(rank, count);
        drawn[rank]++;
    }
    for (uint64_t rank = 0; rank < count; rank++) {
        double p = zipf_probability(&zipf, rank), expected = p * DRAWS;
        double deviation = sqrt(DRAWS * p * (1 - p));
        cr_expect_float_eq((double)drawn[rank], expected, 5 * deviation + 1,
                           "s=%.2f rank %lu drawn %lu times, expected %.0f", exponent, rank,
                           drawn[rank], expected);
    }
}

Test(bench_zipf, draws_ranks_with_their_probability) {
    expect_distribution(64, 0.0);
    expect_distribution(64, 0.5);
    expect_distribution(64, 0.99);
    expect_distribution(64, 1.0);
    expect_distribution(64, 1.01);
    expect_distribution(64, 2.5);
    expect_distribution(2, 0.99);
    expect_distribution(1, 0.99);
}

/* A seed must repeat a run exactly. */
Test(bench_zipf, same_seed_gives_same_ranks) {
    struct zipf zipf;
    struct prng a, b;
    zipf_init(&zipf, 1000000, 0.99);
    prng_init(&a, 3);
    prng_init(&b, 3);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(zipf_next(&zipf, &a), zipf_next(&zipf, &b));
}
