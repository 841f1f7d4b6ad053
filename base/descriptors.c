#include "base/descriptors.h"

#include <sys/resource.h>

/* Beside tables the engine has logs, manifests and directories open, and a moment's snapshot files;
 * the process has its queues, timers and own connections to others. */
#define RESERVE_DIVISOR 8u

void descriptors_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (limit.rlim_cur >= wanted) return;
    limit.rlim_cur = wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* Refused: it stays as it is, which is no error. */
}

uint32_t descriptors_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024; /* what is usual */
    return limit.rlim_cur > INT32_MAX ? INT32_MAX : (uint32_t)limit.rlim_cur;
}

uint32_t descriptors_for_engine(void) {
    uint32_t half = descriptors_limit() / 2;
    if (half > DESCRIPTORS_ENGINE_MAX) return DESCRIPTORS_ENGINE_MAX;
    return half;
}

uint32_t descriptors_connection_end(void) {
    uint32_t limit = descriptors_limit();
    return limit - descriptors_for_engine() - limit / RESERVE_DIVISOR;
}
