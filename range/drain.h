/* When a node that is told to stop may leave: what it leads is handed over (transfer.c), those that
 * it was handed to are heard, and nothing more can come.
 *
 * Begin, then step every RANGE_DRAIN_POLL_US until it is done. One thread; beside the workers. */
#ifndef FLOTILLA_RANGE_DRAIN_H
#define FLOTILLA_RANGE_DRAIN_H

#include "range/store.h"

#define RANGE_DRAIN_POLL_US 5000u

struct range_drain {
    struct range_store *store;
    uint64_t until_us;        /* whatever is led then stays */
    uint64_t settle_until_us; /* 0: there are leaderships to hand over */
    bool declines_asked;      /* of the store, when nothing was left to hand over */
    uint32_t left;            /* ranges still led that another replica could lead */
    uint32_t kept;            /* ranges led whose other replicas do not keep the leadership */
};

void range_drain_begin(struct range_drain *drain, struct range_store *store, uint64_t until_us);
/* Whether the node may leave: `left` and `kept` say how it went. */
bool range_drain_step(struct range_drain *drain, uint64_t now_us);

#endif
