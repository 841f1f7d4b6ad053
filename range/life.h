/* The life of a replica, as one state. dqlite's state machines (lib/sm.c) are the model: a table
 * says what may follow what, and whoever makes a step is checked against it.
 *
 *   CREATING   ──its records are durable────────▶ ACTIVE      create.c, snapshot_receive.c
 *              ──found after a restart──────────▶ ACTIVE      recover.c
 *              ──found removed, not deleted─────▶ LEAVING     recover.c
 *   ACTIVE     ──a whole snapshot is to go in───▶ INSTALLING  ready.c
 *              ──removed────────────────────────▶ LEAVING     remove.c
 *   INSTALLING ──it is in, in the same turn─────▶ ACTIVE      snapshot_receive.c
 *   LEAVING    ──deletion is in the log batch───▶ DELETING    remove.c
 *   DELETING   ──that is durable────────────────▶ TOMBSTONE   remove.c
 *
 * A tombstone is found after a restart as well, and ends when another replica of its range is born
 * here under a higher id. Everything ends with the process. */
#ifndef FLOTILLA_RANGE_LIFE_H
#define FLOTILLA_RANGE_LIFE_H

#include <stdbool.h>

struct range_replica;

enum range_life {
    RANGE_CREATING,   /* its records are in the log batch, not yet durable; takes part in nothing */
    RANGE_ACTIVE,     /* has a Raft core */
    RANGE_INSTALLING, /* likewise; no ready work is taken until the snapshot is in */
    RANGE_LEAVING,    /* removed: no core any more; its data is yet to be deleted */
    RANGE_DELETING,   /* likewise; in the log batch, together with the tombstone */
    RANGE_TOMBSTONE,  /* remembered, so that it does not come back under the same id */
};

/* Asserts that the table allows it. */
void range_life_enter(struct range_replica *replica, enum range_life next);

static inline bool range_life_has_core(enum range_life life) {
    return life == RANGE_ACTIVE || life == RANGE_INSTALLING;
}

/* It holds, or will hold, a part of the range; otherwise it is on its way out, or gone. */
static inline bool range_life_takes_part(enum range_life life) {
    return life == RANGE_CREATING || range_life_has_core(life);
}

#endif
