/* Lets Criterion run under the thread sanitizer.
 *
 * Criterion shares memory with the processes of its tests through an arena that BoxFort maps at a
 * random address between 0x2000_0000_0000 and 0x5fff_ffff_ffff. Nearly all of that is the
 * sanitizer's shadow memory, so the mapping fails and no test starts. BoxFort draws the address
 * with rand_r() in units of 16 MiB; this one draws from what the sanitizer leaves to programs
 * (0x5500_0000_0000 and up), below the lowest address of a position-independent executable
 * (0x5555_5555_4000). Built under the thread sanitizer only. */
#include <stdlib.h>

#define BOXFORT_BASE 0x200000000000ull
#define BOXFORT_UNIT (1ull << 24)
#define LOWEST_UNIT ((0x550000000000ull - BOXFORT_BASE) / BOXFORT_UNIT)
#define UNIT_COUNT ((0x555555000000ull - 0x550000000000ull) / BOXFORT_UNIT)

int rand_r(unsigned int *seed) {
    *seed = *seed * 1103515245u + 12345u;
    return (int)(LOWEST_UNIT + (*seed >> 8) % UNIT_COUNT);
}
