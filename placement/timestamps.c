/* Handing out timestamps below a durable bound. */
#include "placement/timestamps.h"

#include "base/assert.h"

/* Where the next answer begins: now, unless that was passed already. */
static uint64_t first_at(const struct placement_timestamps *timestamps, uint64_t wall_ms) {
    if (wall_ms > PLACEMENT_WALL_MS_MAX) wall_ms = PLACEMENT_WALL_MS_MAX;
    uint64_t now = wall_ms << PLACEMENT_TIMESTAMP_COUNTER_BITS;
    return now > timestamps->next ? now : timestamps->next;
}

void placement_timestamps_begin(struct placement_timestamps *timestamps, uint64_t bound) {
    timestamps->next = bound ? bound : 1; /* 0 means "before everything" (storage/mvcc.h) */
    timestamps->bound = bound;
    timestamps->asked = 0;
}

bool placement_timestamps_take(struct placement_timestamps *timestamps, uint64_t wall_ms,
                               uint32_t count, uint64_t *ret_first) {
    uint64_t first = first_at(timestamps, wall_ms);
    if (first > timestamps->bound || timestamps->bound - first < count) return false;
    timestamps->next = first + count;
    *ret_first = first;
    return true;
}

uint64_t placement_timestamps_wanted(const struct placement_timestamps *timestamps,
                                     uint64_t wall_ms, uint64_t waiting) {
    if (timestamps->asked) return 0;
    uint64_t from = first_at(timestamps, wall_ms) + waiting;
    uint64_t window = timestamps->window_ms << PLACEMENT_TIMESTAMP_COUNTER_BITS;
    ASSERT_CMP(from, <, UINT64_MAX - window);
    if (timestamps->bound >= from && timestamps->bound - from >= window / 2) return 0;
    return from + window;
}

void placement_timestamps_extended(struct placement_timestamps *timestamps, uint64_t bound) {
    if (bound > timestamps->bound) timestamps->bound = bound;
    if (bound >= timestamps->asked) timestamps->asked = 0;
}
