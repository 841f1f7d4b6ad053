/* Zipf-distributed ranks: rank k of n is drawn with probability proportional to 1 / (k+1)^s.
 *
 * Rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from
 * monotone discrete distributions", 1996): constant time and no table, for any n and s >= 0. */
#ifndef FLOTILLA_BENCH_ZIPF_H
#define FLOTILLA_BENCH_ZIPF_H

#include "base/prng.h"

struct zipf {
    uint64_t count;    /* ranks 0 .. count-1 */
    double exponent;   /* s; 0: uniform */
    double area_first; /* integral of the hat up to the right edge of rank 1, less its mass */
    double area_last;  /* integral of the hat up to the right edge of the last rank */
    double shortcut;   /* how far left of a rank a draw is accepted without evaluating the hat */
};

void zipf_init(struct zipf *zipf, uint64_t count, double exponent);
uint64_t zipf_next(const struct zipf *zipf, struct prng *prng);
/* The exact probability of a rank; sums over all ranks, so for tests and small counts only. */
double zipf_probability(const struct zipf *zipf, uint64_t rank);

#endif
