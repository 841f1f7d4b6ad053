/* The leader's wall clock, and who bears it out (wall_clock.h).
 *
 * Within a life the steady clock tells how much time has passed. At a start, or a change of the
 * lead, it cannot: after a weekend without placement the wall clock is ahead of the timestamps'
 * bound and right. Then the clocks of the other members and of the nodes that hold replicas decide:
 * a majority of all of them, this member's own included, whether they have been heard or not. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/memory.h"
#include "placement/driver.h"
#include "placement/metrics.h"

/* How often the others' clocks are looked at while they are needed. */
#define CONFIRM_PAUSE_US 50000u

uint64_t placement_driver_wall_ms(struct placement_driver *driver) {
    uint64_t wall_ms = clock_wall_ms(driver->clock);
    /* Nobody has written anything yet that could be forgotten. */
    if (!driver->state.born) placement_wall_confirm(&driver->wall, driver->now_us, wall_ms);
    return placement_wall_read(&driver->wall, driver->now_us, wall_ms);
}

void placement_driver_hear_member(struct placement_driver *driver, uint64_t member_id,
                                  uint64_t wall_ms) {
    for (uint32_t i = 0; i < driver->config.member_count; i++) {
        if (driver->config.members[i] == member_id)
            driver->member_clocks[i] = (struct placement_heard_clock){wall_ms, driver->now_us};
    }
}

static bool agrees(const struct placement_driver *driver, uint64_t wall_ms,
                   const struct placement_heard_clock *heard) {
    return heard->wall_ms &&
           placement_wall_agrees(wall_ms, heard->wall_ms, driver->now_us - heard->heard_us);
}

struct holders {
    const struct placement_state *state;
    uint8_t *holds; /* per node, as state->nodes */
};

static void note_holder(void *ctx, uint64_t node_id) {
    const struct holders *holders = ctx;
    const struct placement_node *node = placement_state_node(holders->state, node_id);
    if (node) holders->holds[node - holders->state->nodes] = 1;
}

/* A majority of members and nodes shows this time. A node without replicas has nothing to lose, and
 * may be one that is gone for ever. */
static bool borne_out(struct placement_driver *driver, uint64_t wall_ms) {
    uint32_t clocks = 0, agreeing = 0;
    for (uint32_t i = 0; i < driver->config.member_count; i++) {
        clocks++;
        if (driver->config.members[i] == driver->config.member_id ||
            agrees(driver, wall_ms, &driver->member_clocks[i]))
            agreeing++;
    }
    struct holders holders = {&driver->state, memory_zalloc(driver->state.node_count + 1)};
    placement_view_each_holder(&driver->view, note_holder, &holders);
    for (uint32_t i = 0; i < driver->state.node_count; i++) {
        uint64_t node_id = driver->state.nodes[i].node_id;
        if (!holders.holds[i]) continue;
        clocks++;
        if (agrees(driver, wall_ms, &placement_view_node(&driver->view, node_id)->clock))
            agreeing++;
    }
    memory_free(holders.holds);
    return agreeing > clocks / 2;
}

static void complain(struct placement_driver *driver) {
    const struct placement_wall *wall = &driver->wall;
    bool refused = wall->refused_ms > 0;
    metric_set(&metric_placement_clock_ahead_ms, (int64_t)wall->refused_ms);
    if (refused == driver->clock_refused) return;
    driver->clock_refused = refused;
    if (refused)
        log_error("placement_clock_refused",
                  "member=%" PRIu64 " ahead_ms=%" PRIu64 " confirmed=%d action=\"timestamps go on "
                  "from where they were\" hint=\"set the clock right, or start placement with "
                  "--trust-clock if it is\"",
                  driver->config.member_id, wall->refused_ms, wall->confirmed);
    else
        log_info("placement_clock_believed", "member=%" PRIu64, driver->config.member_id);
}

void placement_driver_begin_clock(struct placement_driver *driver) {
    uint64_t bound_ms = driver->state.timestamp_bound >> PLACEMENT_TIMESTAMP_COUNTER_BITS;
    placement_wall_begin(&driver->wall, bound_ms, driver->now_us);
    driver->confirm_us = driver->now_us;
    driver->clock_refused = false;
    if (!driver->config.trust_clock) return;
    driver->config.trust_clock = false; /* it was said of the clock at this start */
    placement_wall_confirm(&driver->wall, driver->now_us, clock_wall_ms(driver->clock));
    log_warn("placement_clock_trusted", "member=%" PRIu64, driver->config.member_id);
}

void placement_driver_follow_clock(struct placement_driver *driver) {
    if (driver->wall.confirmed) {
        (void)placement_driver_wall_ms(driver); /* what it refuses */
        complain(driver);
        return;
    }
    if (driver->now_us < driver->confirm_us) return;
    driver->confirm_us = driver->now_us + CONFIRM_PAUSE_US;
    uint64_t wall_ms = clock_wall_ms(driver->clock);
    if (borne_out(driver, wall_ms)) placement_wall_confirm(&driver->wall, driver->now_us, wall_ms);
    (void)placement_driver_wall_ms(driver);
    /* Heartbeats need a moment to come; until then nothing is known to be wrong. */
    if (driver->wall.confirmed ||
        driver->now_us >= driver->view.began_us + driver->config.silence_ms * 1000)
        complain(driver);
}
