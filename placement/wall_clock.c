/* Believing a wall clock as far as a steady one, or others, bear it out. */
#include "placement/wall_clock.h"

#include "placement/limits.h"
#include "placement/timestamps.h"

#define BUDGET_US_MAX (PLACEMENT_CLOCK_STEP_MS * UINT64_C(1000))
/* What the budget regains per millisecond: 0.8%. */
#define BUDGET_US_PER_MS 8u

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Whole milliseconds; what is left of one counts next time. */
static void go_on(struct placement_wall *wall, uint64_t now_us) {
    uint64_t passed_ms = now_us > wall->limit_us ? (now_us - wall->limit_us) / 1000 : 0;
    wall->limit_ms += passed_ms;
    wall->limit_us += passed_ms * 1000;
    if (!wall->confirmed) return;
    uint64_t budget_us = wall->budget_us + min_u64(passed_ms, BUDGET_US_MAX) * BUDGET_US_PER_MS;
    wall->budget_us = min_u64(budget_us, BUDGET_US_MAX);
}

void placement_wall_begin(struct placement_wall *wall, uint64_t bound_ms, uint64_t now_us) {
    *wall = (struct placement_wall){.limit_ms = bound_ms, .limit_us = now_us};
}

uint64_t placement_wall_read(struct placement_wall *wall, uint64_t now_us, uint64_t wall_ms) {
    go_on(wall, now_us);
    wall->refused_ms = 0;
    if (wall_ms <= wall->limit_ms) return wall_ms;
    uint64_t step_ms = min_u64(wall_ms - wall->limit_ms, wall->budget_us / 1000);
    wall->limit_ms += step_ms;
    wall->budget_us -= step_ms * 1000;
    wall->refused_ms = wall_ms - wall->limit_ms;
    return wall->limit_ms;
}

void placement_wall_confirm(struct placement_wall *wall, uint64_t now_us, uint64_t wall_ms) {
    wall_ms = min_u64(wall_ms, PLACEMENT_WALL_MS_MAX);
    go_on(wall, now_us);
    if (wall_ms > wall->limit_ms) wall->limit_ms = wall_ms;
    wall->budget_us = BUDGET_US_MAX;
    wall->confirmed = true;
    wall->refused_ms = 0;
}

bool placement_wall_agrees(uint64_t wall_ms, uint64_t other_ms, uint64_t age_us) {
    uint64_t now_ms = other_ms + age_us / 1000;
    uint64_t apart_ms = now_ms > wall_ms ? now_ms - wall_ms : wall_ms - now_ms;
    return apart_ms <= PLACEMENT_CLOCK_STEP_MS;
}
