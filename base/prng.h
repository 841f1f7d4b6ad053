/* A seeded generator (xoshiro256**, Blackman and Vigna 2018): same seed, same numbers, anywhere. */
#ifndef FLOTILLA_BASE_PRNG_H
#define FLOTILLA_BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state[4];
};

void prng_init(struct prng *prng, uint64_t seed);
uint64_t prng_next(struct prng *prng);
uint64_t prng_below(struct prng *prng, uint64_t bound);                /* [0, bound), unbiased */
uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high); /* [low, high] */
double prng_unit(struct prng *prng);                                   /* [0, 1) */
uint64_t prng_seed_from_system(void);                                  /* getrandom(2) */

#endif
