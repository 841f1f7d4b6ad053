/* xoshiro256** (Blackman and Vigna 2018), seeded through splitmix64 as its authors advise. */
#include "base/prng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

__extension__ typedef unsigned __int128 uint128;

static uint64_t rotate_left(uint64_t value, unsigned bits) {
    return (value << bits) | (value >> (64 - bits));
}

void prng_init(struct prng *prng, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        prng->state[i] = mixed ^ (mixed >> 31);
    }
}

uint64_t prng_next(struct prng *prng) {
    uint64_t *s = prng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Multiply and keep the upper half (Lemire 2019); the few lower halves that would favour some
 * results are drawn again. */
uint64_t prng_below(struct prng *prng, uint64_t bound) {
    ASSERT_CMP(bound, >, 0);
    uint128 product = (uint128)prng_next(prng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t unfair = (0 - bound) % bound; /* 2^64 modulo bound */
        while ((uint64_t)product < unfair)
            product = (uint128)prng_next(prng) * bound;
    }
    return (uint64_t)(product >> 64);
}

uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high) {
    ASSERT_CMP(low, <=, high);
    if (low == 0 && high == UINT64_MAX) return prng_next(prng);
    return low + prng_below(prng, high - low + 1);
}

double prng_unit(struct prng *prng) {
    return (double)(prng_next(prng) >> 11) * 0x1.0p-53;
}

uint64_t prng_seed_from_system(void) {
    uint64_t seed;
    ssize_t got;
    do {
        got = getrandom(&seed, sizeof(seed), 0);
    } while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof(seed)) fatal("reason=no_randomness error=\"%s\"", strerror(errno));
    return seed;
}
