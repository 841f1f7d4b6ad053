#include "range/life.h"

#include "base/assert.h"
#include "range/replica.h"

#define TO(life) (1u << RANGE_##life)

static const unsigned allowed[] = {
    [RANGE_CREATING] = TO(ACTIVE) | TO(LEAVING),
    [RANGE_ACTIVE] = TO(INSTALLING) | TO(LEAVING),
    [RANGE_INSTALLING] = TO(ACTIVE),
    [RANGE_LEAVING] = TO(DELETING),
    [RANGE_DELETING] = TO(TOMBSTONE),
    [RANGE_TOMBSTONE] = 0,
};

void range_life_enter(struct range_replica *replica, enum range_life next) {
    ASSERT((allowed[replica->life] >> next & 1) != 0);
    replica->life = next;
}
