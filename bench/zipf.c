/* Zipf by rejection-inversion. Internally ranks count from 1, as in the paper: h(x) = x^-s is the
 * density, H its integral, and a draw inverts H and rounds. */
#include "bench/zipf.h"

#include <math.h>

#include "base/assert.h"

/* (exp(t) - 1) / t and log(1 + t) / t, both 1 at 0: they make s = 1 no special case, where the
 * integral of x^-s turns from a power into a logarithm. */
static double expm1_over(double t) {
    return fabs(t) > 1e-8 ? expm1(t) / t : 1.0 + t / 2.0 * (1.0 + t / 3.0);
}

static double log1p_over(double t) {
    return fabs(t) > 1e-8 ? log1p(t) / t : 1.0 - t * (0.5 - t / 3.0);
}

static double density(const struct zipf *zipf, double x) {
    return exp(-zipf->exponent * log(x));
}

static double integral(const struct zipf *zipf, double x) {
    double log_x = log(x);
    return expm1_over((1.0 - zipf->exponent) * log_x) * log_x;
}

static double integral_inverse(const struct zipf *zipf, double area) {
    double t = area * (1.0 - zipf->exponent);
    /* Rounding may put t just below -1, where log1p is not a number. */
    if (t < -1.0) t = -1.0;
    return exp(log1p_over(t) * area);
}

void zipf_init(struct zipf *zipf, uint64_t count, double exponent) {
    ASSERT_CMP(count, >, 0);
    ASSERT(exponent >= 0.0);
    zipf->count = count;
    zipf->exponent = exponent;
    zipf->area_first = integral(zipf, 1.5) - 1.0;
    zipf->area_last = integral(zipf, (double)count + 0.5);
    zipf->shortcut = 2.0 - integral_inverse(zipf, integral(zipf, 2.5) - density(zipf, 2.0));
}

uint64_t zipf_next(const struct zipf *zipf, struct prng *prng) {
    if (zipf->exponent <= 0.0) return prng_below(prng, zipf->count);
    for (;;) {
        double area = zipf->area_last + prng_unit(prng) * (zipf->area_first - zipf->area_last);
        double x = integral_inverse(zipf, area);
        double rank = floor(x + 0.5);
        if (rank < 1.0) rank = 1.0;
        if (rank > (double)zipf->count) rank = (double)zipf->count;
        /* The expected number of rounds is close to one: the hat touches the steps. */
        if (rank - x <= zipf->shortcut || area >= integral(zipf, rank + 0.5) - density(zipf, rank))
            return (uint64_t)rank - 1;
    }
}

double zipf_probability(const struct zipf *zipf, uint64_t rank) {
    double sum = 0.0;
    for (uint64_t k = 0; k < zipf->count; k++)
        sum += density(zipf, (double)(k + 1));
    return density(zipf, (double)(rank + 1)) / sum;
}
