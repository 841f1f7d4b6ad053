/* What other threads hand to a worker: items in its mailbox. Frames are copied once, and split per
 * worker only when there are several (inbox.c). What clients ask comes behind all others, so that
 * no crowd of them keeps a heartbeat waiting, and a turn takes only a part of it. */
#ifndef FLOTILLA_RANGE_INBOX_H
#define FLOTILLA_RANGE_INBOX_H

#include "base/mailbox.h"
#include "base/slice.h"
#include "range/store.h"

#define RANGE_LANE_NODES MAILBOX_FIRST    /* of other nodes, and of this one's own parts */
#define RANGE_LANE_CLIENTS MAILBOX_SECOND /* RANGE_ITEM_REQUESTS */

enum range_item_kind {
    RANGE_ITEM_REQUESTS,    /* data: a request frame */
    RANGE_ITEM_RAFT,        /* data: a Raft frame, checked */
    RANGE_ITEM_SNAPSHOT,    /* data: a snapshot frame */
    RANGE_ITEM_TIMESTAMPS,  /* first, count */
    RANGE_ITEM_CREATE,      /* data: encoded descriptor; flag: campaign */
    RANGE_ITEM_UNREACHABLE, /* node_id */
    RANGE_ITEM_DRAIN,
    RANGE_ITEM_DECLINE,
    RANGE_ITEM_ROOM,     /* count: enum range_room; data: what writers are told */
    RANGE_ITEM_TRANSFER, /* range_id, node_id */
    RANGE_ITEM_STOP,
};

struct range_item {
    struct mailbox_item link;
    enum range_item_kind kind;
    uint32_t refs; /* the worker's: pending requests that borrow from data, and the item itself */
    uint64_t node_id, range_id;
    uint64_t first;
    uint64_t arrived_us; /* REQUESTS: when it came in */
    uint32_t count;
    bool flag;
    struct range_session *session; /* REQUESTS: retained as long as the item lives */
    size_t *held_bytes; /* the worker's account that the item is in, once something borrows from it
                           beyond its turn; NULL: in none */
    size_t len;
    uint8_t data[];
};

static inline struct range_item *range_item_of(struct mailbox_item *link) {
    return (struct range_item *)(void *)((char *)link - offsetof(struct range_item, link));
}

static inline struct slice range_item_bytes(const struct range_item *item) {
    return slice_make(item->data, item->len);
}

void range_item_ref(struct range_item *item);
void range_item_unref(struct range_item *item);
/* To be called when the worker is done with the item and others may still borrow from it: counts
 * its bytes in the account until the last of them is gone. */
void range_item_hold(struct range_item *item, size_t *account);

#endif
