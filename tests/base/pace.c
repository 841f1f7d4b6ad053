/* A server that measures its own rate. */
#include <criterion/criterion.h>

#include "base/pace.h"

#define SECOND 1000000u

/* `work` enters and is served at a steady rate, with `ahead` always waiting. */
static uint64_t serve_steadily(struct pace *pace, uint64_t now_us, uint64_t rate_per_s,
                               uint32_t ahead, uint64_t us) {
    for (uint32_t i = 0; i < ahead; i++)
        pace_enter(pace, 100, now_us);
    uint64_t step_us = 100 * UINT64_C(1000000) / rate_per_s, end_us = now_us + us;
    for (now_us += step_us; now_us < end_us; now_us += step_us) {
        pace_serve(pace, 100, now_us);
        pace_enter(pace, 100, now_us);
    }
    return now_us;
}

/* Protects the estimate of a wait: a busy server's rate is what it did. */
Test(base_pace, a_busy_server_knows_its_rate) {
    struct pace pace = {0};
    uint64_t now_us = serve_steadily(&pace, SECOND, 100000, 1000, 2 * SECOND);
    cr_assert(pace.rate_per_s > 95000 && pace.rate_per_s < 105000, "%lu", pace.rate_per_s);
    uint64_t wait_us = pace_wait_us(&pace, now_us);
    cr_assert(wait_us > 950000 && wait_us < 1050000, "%lu", wait_us);
    cr_assert(pace_work_in(&pace, SECOND / 10) > 9500);
}

/* Protects bursts on an idle server: having had little to do is not being slow. */
Test(base_pace, an_idle_server_is_not_slow) {
    struct pace pace = {0};
    uint64_t now_us = SECOND;
    for (int i = 0; i < 1000; i++, now_us += 1000) { /* one at a time, each done at once */
        pace_enter(&pace, 100, now_us);
        pace_serve(&pace, 100, now_us + 100);
    }
    for (int i = 0; i < 5000; i++)
        pace_enter(&pace, 100, now_us);
    cr_assert_eq(pace.rate_per_s, 0);
    cr_assert_eq(pace_wait_us(&pace, now_us), 0);
}

/* ... nor does a known rate fall for it. */
Test(base_pace, a_rate_does_not_fall_for_want_of_work) {
    struct pace pace = {0};
    uint64_t now_us = serve_steadily(&pace, SECOND, 100000, 1000, SECOND);
    uint64_t rate = pace.rate_per_s;
    while (pace.queued > 0)
        pace_serve(&pace, 100, now_us += 1000);
    for (int i = 0; i < 1000; i++, now_us += 10000) {
        pace_enter(&pace, 100, now_us);
        pace_enter(&pace, 100, now_us);
        pace_serve(&pace, 100, now_us + 5000);
        pace_serve(&pace, 100, now_us + 6000);
    }
    cr_assert(pace.rate_per_s >= rate * 9 / 10, "%lu of %lu", pace.rate_per_s, rate);
}

/* Protects against a disk that becomes slow, or quick: the estimate follows within a second. */
Test(base_pace, follows_a_server_that_changes) {
    struct pace pace = {0};
    uint64_t now_us = serve_steadily(&pace, SECOND, 100000, 1000, SECOND);
    now_us = serve_steadily(&pace, now_us, 10000, 0, SECOND);
    cr_assert(pace.rate_per_s < 12000, "%lu", pace.rate_per_s);
    (void)serve_steadily(&pace, now_us, 100000, 0, SECOND);
    cr_assert(pace.rate_per_s > 90000, "%lu", pace.rate_per_s);
}

/* Protects those who come while nothing moves at all, whatever the rate was. */
Test(base_pace, a_server_that_stands_is_told_by_how_long) {
    struct pace pace = {0};
    pace_enter(&pace, 100, SECOND);
    cr_assert_eq(pace_wait_us(&pace, SECOND + PACE_STALL_US / 2), 0);
    cr_assert_eq(pace_wait_us(&pace, SECOND + 3 * PACE_STALL_US), 3 * PACE_STALL_US);
    pace_withdraw(&pace, 100);
    cr_assert_eq(pace_wait_us(&pace, 2 * SECOND), 0);
}

/* Protects the server from those whom it refuses: they come back about as fast as it serves. */
Test(base_pace, who_is_refused_comes_back_later_the_more_there_are) {
    struct pace pace = {0};
    uint64_t now_us = SECOND;
    cr_assert_eq(pace_refuse(&pace, now_us), PACE_RETRY_US_MIN);
    for (int i = 0; i < 10000; i++) {
        pace_enter(&pace, 1, now_us);
        pace_serve(&pace, 1, now_us);
        for (int refused = 0; refused < 20; refused++)
            (void)pace_refuse(&pace, now_us);
        now_us += 200;
    }
    cr_assert_eq(pace_refuse(&pace, now_us), PACE_RETRY_US_MAX);
    for (int i = 0; i < 10000; i++, now_us += 1000) { /* few are left */
        pace_enter(&pace, 1, now_us);
        pace_serve(&pace, 1, now_us);
        if (i % 10 == 0) (void)pace_refuse(&pace, now_us);
    }
    cr_assert_lt(pace_refuse(&pace, now_us), PACE_RETRY_US_MAX / 100);
    cr_assert_eq(pace_refuse(&pace, now_us + 60 * SECOND), PACE_RETRY_US_MIN);
}
