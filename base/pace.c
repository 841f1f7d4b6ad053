#include "base/pace.h"

#include "base/assert.h"

static void begin_sample(struct pace *pace, uint64_t now_us) {
    pace->since_us = now_us;
    pace->queued_then = pace->queued;
    pace->done = 0;
}

void pace_enter(struct pace *pace, uint64_t work, uint64_t now_us) {
    if (pace->queued == 0) begin_sample(pace, now_us);
    pace->queued += work;
}

void pace_withdraw(struct pace *pace, uint64_t work) {
    ASSERT_CMP(pace->queued, >=, work);
    pace->queued -= work;
}

void pace_clear(struct pace *pace) {
    pace->queued = 0;
}

/* Halfway to what was measured: one slow write must not shut the door, and a server that has become
 * slow must be known as such within a few whiles. */
static void end_sample(struct pace *pace, uint64_t now_us) {
    uint64_t rate = (uint64_t)((double)pace->done * 1e6 / (double)(now_us - pace->since_us));
    bool kept_busy = pace->queued_then >= pace->done;
    if (rate == 0) rate = 1;
    if (rate > pace->rate_per_s && pace->rate_per_s > 0)
        pace->rate_per_s += (rate - pace->rate_per_s + 1) / 2;
    else if (kept_busy && pace->rate_per_s > 0)
        pace->rate_per_s -= (pace->rate_per_s - rate) / 2;
    else if (kept_busy)
        pace->rate_per_s = rate;
    begin_sample(pace, now_us);
}

void pace_serve(struct pace *pace, uint64_t work, uint64_t now_us) {
    pace_withdraw(pace, work);
    pace->done += work;
    pace->served++;
    if (now_us >= pace->since_us + PACE_SAMPLE_US) end_sample(pace, now_us);
}

uint64_t pace_wait_us(const struct pace *pace, uint64_t now_us) {
    if (pace->queued == 0) return 0;
    uint64_t wait_us = 0;
    if (pace->rate_per_s > 0)
        wait_us = (uint64_t)((double)pace->queued * 1e6 / (double)pace->rate_per_s);
    uint64_t stands_us = now_us > pace->since_us ? now_us - pace->since_us : 0;
    if (stands_us >= PACE_STALL_US && stands_us > wait_us) wait_us = stands_us;
    return wait_us;
}

uint64_t pace_work_in(const struct pace *pace, uint64_t us) {
    if (pace->rate_per_s == 0) return UINT64_MAX;
    return (uint64_t)((double)pace->rate_per_s * (double)us / 1e6);
}

/* Those who come back are to be about as many as are served, so that refusing never becomes the
 * work: the time grows as they exceed that. */
static void adapt_retry(struct pace *pace, uint64_t now_us) {
    uint64_t retry_us = pace->retry_us < PACE_RETRY_US_MIN ? PACE_RETRY_US_MIN : pace->retry_us;
    uint64_t factor = pace->refused / (pace->served + 1);
    if (factor > PACE_RETRY_FACTOR_MAX) factor = PACE_RETRY_FACTOR_MAX;
    if (factor > 1)
        retry_us *= factor;
    else if (pace->refused < pace->served / 2)
        retry_us -= retry_us / 4;
    if (retry_us > PACE_RETRY_US_MAX) retry_us = PACE_RETRY_US_MAX;
    pace->retry_us = retry_us < PACE_RETRY_US_MIN ? PACE_RETRY_US_MIN : (uint32_t)retry_us;
    pace->retry_since_us = now_us;
    pace->refused = pace->served = 0;
}

uint32_t pace_refuse(struct pace *pace, uint64_t now_us) {
    uint64_t since_us = now_us - pace->retry_since_us;
    /* Not refused for long: what was told then is not true any more. */
    if (since_us >= PACE_RETRY_US_MAX) {
        pace->retry_us = PACE_RETRY_US_MIN;
        pace->retry_since_us = now_us;
        pace->refused = pace->served = 0;
    } else if (since_us >= PACE_STALL_US) {
        adapt_retry(pace, now_us);
    }
    pace->refused++;
    return pace->retry_us < PACE_RETRY_US_MIN ? PACE_RETRY_US_MIN : pace->retry_us;
}
