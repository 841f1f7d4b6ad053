/* Lets Criterion programs run under the sanitizers. Linked into every test program of a sanitized
 * build, and only there. */
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#endif
#if __has_feature(address_sanitizer)
#define UNDER_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ADDRESS_SANITIZER 1
#endif

#if defined(UNDER_THREAD_SANITIZER)
/* Criterion shares memory with the processes of its tests through an arena that BoxFort maps at a
 * random address between 0x2000_0000_0000 and 0x5fff_ffff_ffff. Nearly all of that is the
 * sanitizer's shadow memory, so the mapping fails and no test starts. BoxFort draws the address
 * with rand_r() in units of 16 MiB; this one draws from what the sanitizer leaves to programs
 * (0x5500_0000_0000 and up), below the lowest address of a position-independent executable
 * (0x5555_5555_4000). */
#define BOXFORT_BASE 0x200000000000ull
#define BOXFORT_UNIT (1ull << 24)
#define LOWEST_UNIT ((0x550000000000ull - BOXFORT_BASE) / BOXFORT_UNIT)
#define UNIT_COUNT ((0x555555000000ull - 0x550000000000ull) / BOXFORT_UNIT)

int rand_r(unsigned int *seed) {
    *seed = *seed * 1103515245u + 12345u;
    return (int)(LOWEST_UNIT + (*seed >> 8) % UNIT_COUNT);
}
#endif

#if defined(UNDER_ADDRESS_SANITIZER)
int __lsan_is_turned_off(void);

/* The leak detector asks at the end of each process. Criterion itself keeps a few bytes in the
 * process that starts the tests; what matters is the process of each test, which BoxFort marks
 * with this variable. */
int __lsan_is_turned_off(void) {
    return getenv("BXFI_MAP") == NULL;
}
#endif
