/* A bounded queue from many threads to one. The consumer takes everything at once, so that one
 * wake-up serves a whole batch.
 *
 * Threads: push from any; drain, wait from the one consumer (at a time); close from any. */
#ifndef FLOTILLA_BASE_MAILBOX_H
#define FLOTILLA_BASE_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct mailbox_item {
    struct mailbox_item *next;
    size_t bytes; /* what the item counts against the byte bound */
};

struct mailbox;

/* Bounds: at most items_max items and bytes_max bytes; whichever is reached first refuses. */
struct mailbox *mailbox_new(size_t items_max, size_t bytes_max);
void mailbox_free(struct mailbox *mailbox); /* must be empty: drain first */

/* Takes ownership on OK. BUSY: full, the caller keeps the item. SHUTDOWN: closed, likewise.
 * TOO_LARGE: more than bytes_max alone, so that no pause would help. */
enum status mailbox_push(struct mailbox *mailbox, struct mailbox_item *item) MUST_CHECK;
/* As push, but not counted against the bounds: for reports whose number the consumer itself bounds
 * (a tick, a completion, an answer to its own request). */
enum status mailbox_push_control(struct mailbox *mailbox, struct mailbox_item *item) MUST_CHECK;

/* The whole queue in order of arrival as a chain over `next`, or NULL. Never blocks. */
struct mailbox_item *mailbox_drain(struct mailbox *mailbox);
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
