/* What a node whose disk is nearly full still does. */
#ifndef FLOTILLA_RANGE_ROOM_H
#define FLOTILLA_RANGE_ROOM_H

#include "base/slice.h"
#include "range/store.h"

struct raft_message;
struct range_worker;

/* Of a worker. */
struct range_worker_room {
    enum range_room room; /* of the disk */
    struct buf text;      /* what writers are told when it is not ROOMY */
};

void range_room_set(struct range_worker *worker, enum range_room room, struct slice text);
/* Whether the disk has room for what the message brings. */
bool range_room_takes(const struct range_worker *worker, const struct raft_message *message);

#endif
