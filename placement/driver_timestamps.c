/* Serving timestamps: from memory while the bound and the lease allow, else from a bounded queue in
 * the order of arrival. */
#include <inttypes.h>

#include "base/assert.h"
#include "placement/driver.h"
#include "placement/metrics.h"

static bool take(struct placement_driver *driver, uint32_t count, uint64_t *ret_first) {
    if (!placement_driver_may_answer(driver) ||
        !placement_timestamps_take(&driver->timestamps, placement_driver_wall_ms(driver), count,
                                   ret_first))
        return false;
    metric_add(&metric_placement_timestamps_total, count);
    metric_add(&metric_placement_timestamp_requests_total, 1);
    return true;
}

void placement_driver_timestamps(struct placement_driver *driver, uint32_t count, uint64_t now_us,
                                 placement_timestamps_fn *done, void *ctx) {
    uint64_t first;
    placement_driver_set_now(driver, now_us);
    if (!count || count > PLACEMENT_TIMESTAMPS_MAX) {
        done(ctx, STATUS_INVALID, 0, 0);
        return;
    }
    /* Nobody overtakes those who wait. */
    if (!driver->queue_count && take(driver, count, &first)) {
        done(ctx, STATUS_OK, first, count);
        return;
    }
    if (raft_role(driver->raft) != RAFT_LEADER) {
        done(ctx, STATUS_NOT_LEADER, 0, 0);
        return;
    }
    if (driver->queue_count == PLACEMENT_TIMESTAMP_QUEUE_MAX) {
        done(ctx, STATUS_BUSY, 0, 0);
        return;
    }
    uint32_t slot = (driver->queue_head + driver->queue_count) % PLACEMENT_TIMESTAMP_QUEUE_MAX;
    driver->queue[slot] = (struct placement_timestamp_wait){count, done, ctx};
    driver->queue_count++;
    driver->queued_timestamps += count;
    driver->wakened = true;
    metric_add(&metric_placement_timestamp_waits_total, 1);
}

static struct placement_timestamp_wait pop(struct placement_driver *driver) {
    struct placement_timestamp_wait wait = driver->queue[driver->queue_head];
    driver->queue_head = (driver->queue_head + 1) % PLACEMENT_TIMESTAMP_QUEUE_MAX;
    driver->queue_count--;
    driver->queued_timestamps -= wait.count;
    return wait;
}

void placement_driver_serve_timestamps(struct placement_driver *driver) {
    uint64_t first;
    while (driver->queue_count && take(driver, driver->queue[driver->queue_head].count, &first)) {
        struct placement_timestamp_wait wait = pop(driver);
        wait.done(wait.ctx, STATUS_OK, first, wait.count);
    }
}

/* Needs no lease: a bound that an unseated leader asks for is not committed, or only grows. */
void placement_driver_extend_bound(struct placement_driver *driver) {
    if (raft_role(driver->raft) != RAFT_LEADER) return;
    uint64_t bound = placement_timestamps_wanted(
        &driver->timestamps, placement_driver_wall_ms(driver), driver->queued_timestamps);
    if (!bound) return;
    struct placement_command command = {.kind = PLACEMENT_EXTEND, .timestamp_bound = bound};
    /* Dropped: the next turn tries again. */
    if (placement_driver_propose(driver, &command, NULL) == STATUS_OK)
        driver->timestamps.asked = bound;
}

void placement_driver_fail_timestamps(struct placement_driver *driver, enum status status) {
    while (driver->queue_count) {
        struct placement_timestamp_wait wait = pop(driver);
        wait.done(wait.ctx, status, 0, 0);
    }
}
