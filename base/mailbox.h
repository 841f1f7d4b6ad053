/* A bounded queue from many threads to one. The consumer takes a whole batch at once, so that one
 * wake-up serves all that waits.
 *
 * It has two lanes, each with bounds of its own, so that what is in one neither delays nor crowds
 * out what is in the other: the first lane is taken first. Within a lane the order of arrival
 * holds, between the lanes none.
 *
 * Threads: push from any; drain, wait from the one consumer (at a time); close from any. */
#ifndef FLOTILLA_BASE_MAILBOX_H
#define FLOTILLA_BASE_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum mailbox_lane { MAILBOX_FIRST, MAILBOX_SECOND, MAILBOX_LANE_COUNT };

struct mailbox_item {
    struct mailbox_item *next;
    size_t bytes; /* what the item counts against the byte bound */
    bool control; /* the mailbox's own: it was not counted */
};

struct mailbox;

/* Bounds of each lane: at most items_max items and bytes_max bytes; whichever is reached first
 * refuses. */
struct mailbox *mailbox_new(size_t items_max, size_t bytes_max);
void mailbox_free(struct mailbox *mailbox); /* must be empty: drain first */

/* Takes ownership on OK. BUSY: full, the caller keeps the item. SHUTDOWN: closed, likewise.
 * TOO_LARGE: more than bytes_max alone, so that no pause would help. */
enum status mailbox_push(struct mailbox *mailbox, enum mailbox_lane lane,
                         struct mailbox_item *item) MUST_CHECK;
/* Into the first lane, not counted against the bounds: for reports whose number the consumer itself
 * bounds (a tick, a completion, an answer to its own request). */
enum status mailbox_push_control(struct mailbox *mailbox, struct mailbox_item *item) MUST_CHECK;

/* What was left in the mailbox. */
struct mailbox_rest {
    size_t items, bytes; /* control items included */
};

/* A chain over `next`, or NULL: the first lane's items, then the second's, each in order of
 * arrival. Of each lane as many as bytes_most[lane] holds, and one more. Never blocks. */
struct mailbox_item *mailbox_drain(struct mailbox *mailbox,
                                   const size_t bytes_most[MAILBOX_LANE_COUNT],
                                   struct mailbox_rest *ret_rest);
struct mailbox_item *mailbox_drain_all(struct mailbox *mailbox);
/* Blocks until something is there, the mailbox is closed or kicked, or timeout_us passed. */
void mailbox_wait(struct mailbox *mailbox, uint64_t timeout_us);
/* Any thread: a consumer that waits returns; one that does not, returns from its next wait at once.
 */
void mailbox_kick(struct mailbox *mailbox);
/* From now on what the calling thread pushes wakes nobody: it promises to see to the items itself,
 * or to kick, before it blocks. One thread per mailbox; `on` false ends it. */
void mailbox_hold_wakes(struct mailbox *mailbox, bool on);
void mailbox_close(struct mailbox *mailbox);
bool mailbox_closed(struct mailbox *mailbox);

#endif
