#include "range/drain.h"

/* For a successor to be heard: its election may need the vote of the node that leaves. Not for
 * longer: there may be no quorum. */
#define SETTLE_US 500000u

struct led_count {
    uint32_t movable; /* led ranges that have another replica to lead them */
    uint32_t kept;    /* led ranges whose other replicas are on nodes that stop, too */
    uint32_t offered; /* ranges whose new leader is yet to be heard */
};

static void count_led(void *ctx, const struct range_status *status) {
    struct led_count *count = ctx;
    if (status->drain_offered) count->offered++;
    if (!status->leads || status->descriptor->replica_count == 1) return;
    if (status->drain_given_up)
        count->kept++;
    else
        count->movable++;
}

void range_drain_begin(struct range_drain *drain, struct range_store *store, uint64_t until_us) {
    *drain = (struct range_drain){.store = store, .until_us = until_us};
    range_store_drain(store);
}

static bool hands_over(struct range_drain *drain, const struct led_count *count, uint64_t now_us) {
    if (count->movable > 0) {
        drain->settle_until_us = 0;
        return now_us < drain->until_us;
    }
    if (count->offered == 0) return false;
    if (drain->settle_until_us == 0) drain->settle_until_us = now_us + SETTLE_US;
    return now_us < drain->settle_until_us;
}

/* Nothing is left to hand over; but another node that drains may be handing something to this one.
 */
static bool may_be_handed_more(struct range_drain *drain, bool declines, uint64_t now_us) {
    if (declines || now_us >= drain->until_us) return false;
    if (!drain->declines_asked) range_store_decline(drain->store);
    drain->declines_asked = true;
    return true;
}

bool range_drain_step(struct range_drain *drain, uint64_t now_us) {
    struct led_count count = {0};
    bool declines = range_store_declines(drain->store); /* before the status: it tells of that */
    range_store_status(drain->store, count_led, &count);
    drain->left = count.movable;
    drain->kept = count.kept;
    return !hands_over(drain, &count, now_us) && !may_be_handed_more(drain, declines, now_us);
}
