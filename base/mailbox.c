/* A mutex, a chain per lane and a condition variable. The consumer takes chains under one short
 * lock, and walks only the one that is more than it wants; a producer pays for a wake-up only when
 * the consumer is really asleep. */
#include "base/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/assert.h"
#include "base/memory.h"

/* Waits are cut to this, so that "for ever" cannot overflow a timespec. */
#define WAIT_US_MAX (365ull * 24 * 3600 * 1000 * 1000)

struct lane {
    struct mailbox_item *first, **last; /* *last is the NULL link at the end of the chain */
    size_t items, bytes;                /* counted ones */
    struct mailbox_rest all;            /* the control ones, too */
};

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t arrived; /* measured by the monotonic clock */

    /* All below: under the lock. */
    struct lane lanes[MAILBOX_LANE_COUNT];
    size_t items_max, bytes_max; /* constant; of each lane */
    bool closed;
    bool consumer_asleep; /* set by the consumer, cleared by whoever wakes it */
    bool kicked;          /* cleared by the wait that it ends */
    bool holds_wakes;     /* of what `holder` pushes */
    pthread_t holder;
};

static void lock(struct mailbox *mailbox) {
    int error = pthread_mutex_lock(&mailbox->lock);
    ASSERT_CMP(error, ==, 0);
}

static void unlock(struct mailbox *mailbox) {
    int error = pthread_mutex_unlock(&mailbox->lock);
    ASSERT_CMP(error, ==, 0);
}

/* Unlocks, and wakes the consumer if it sleeps. Called with the lock held. */
static void unlock_and_wake(struct mailbox *mailbox) {
    bool wake = mailbox->consumer_asleep;
    mailbox->consumer_asleep = false;
    /* Signalled under the lock: after it, a closing consumer might already have freed us. */
    if (wake) {
        int error = pthread_cond_signal(&mailbox->arrived);
        ASSERT_CMP(error, ==, 0);
    }
    unlock(mailbox);
}

static void lane_empty(struct lane *lane) {
    *lane = (struct lane){0};
    lane->last = &lane->first;
}

static bool is_empty(const struct mailbox *mailbox) {
    return !mailbox->lanes[MAILBOX_FIRST].first && !mailbox->lanes[MAILBOX_SECOND].first;
}

struct mailbox *mailbox_new(size_t items_max, size_t bytes_max) {
    struct mailbox *mailbox = MEMORY_NEW(struct mailbox);
    for (int i = 0; i < MAILBOX_LANE_COUNT; i++)
        lane_empty(&mailbox->lanes[i]);
    mailbox->items_max = items_max;
    mailbox->bytes_max = bytes_max;
    pthread_condattr_t attributes;
    int error = pthread_mutex_init(&mailbox->lock, NULL);
    ASSERT_CMP(error, ==, 0);
    error = pthread_condattr_init(&attributes);
    ASSERT_CMP(error, ==, 0);
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    ASSERT_CMP(error, ==, 0);
    error = pthread_cond_init(&mailbox->arrived, &attributes);
    ASSERT_CMP(error, ==, 0);
    error = pthread_condattr_destroy(&attributes);
    ASSERT_CMP(error, ==, 0);
    return mailbox;
}

void mailbox_free(struct mailbox *mailbox) {
    if (!mailbox) return;
    ASSERT(is_empty(mailbox));
    int error = pthread_cond_destroy(&mailbox->arrived);
    ASSERT_CMP(error, ==, 0);
    error = pthread_mutex_destroy(&mailbox->lock);
    ASSERT_CMP(error, ==, 0);
    memory_free(mailbox);
}

static void unlock_after_push(struct mailbox *mailbox) {
    if (mailbox->holds_wakes && pthread_equal(mailbox->holder, pthread_self()))
        unlock(mailbox);
    else
        unlock_and_wake(mailbox);
}

static void append(struct lane *lane, struct mailbox_item *item, bool control) {
    item->next = NULL;
    item->control = control;
    *lane->last = item;
    lane->last = &item->next;
    lane->all.items++;
    lane->all.bytes += item->bytes;
    if (control) return;
    lane->items++;
    lane->bytes += item->bytes;
}

enum status mailbox_push(struct mailbox *mailbox, enum mailbox_lane which,
                         struct mailbox_item *item) {
    /* A pause would not help this one. */
    if (item->bytes > mailbox->bytes_max) return STATUS_TOO_LARGE;
    lock(mailbox);
    struct lane *lane = &mailbox->lanes[which];
    enum status status = STATUS_OK;
    if (mailbox->closed) {
        status = STATUS_SHUTDOWN;
    } else if (lane->items >= mailbox->items_max ||
               item->bytes > mailbox->bytes_max - lane->bytes) {
        status = STATUS_BUSY;
    }
    if (status != STATUS_OK) {
        unlock(mailbox);
        return status;
    }
    append(lane, item, false);
    unlock_after_push(mailbox);
    return STATUS_OK;
}

enum status mailbox_push_control(struct mailbox *mailbox, struct mailbox_item *item) {
    lock(mailbox);
    if (mailbox->closed) {
        unlock(mailbox);
        return STATUS_SHUTDOWN;
    }
    append(&mailbox->lanes[MAILBOX_FIRST], item, true);
    unlock_after_push(mailbox);
    return STATUS_OK;
}

/* Moves items to the chain that ends at `*end`; returns its new end. */
static struct mailbox_item **take(struct lane *lane, size_t bytes_most, struct mailbox_item **end) {
    if (!lane->first) return end;
    *end = lane->first;
    if (lane->all.bytes <= bytes_most) {
        end = lane->last;
        lane_empty(lane);
        return end;
    }
    size_t bytes = 0;
    while (lane->first && bytes <= bytes_most) {
        struct mailbox_item *item = lane->first;
        bytes += item->bytes;
        lane->all.items--;
        lane->all.bytes -= item->bytes;
        if (!item->control) {
            lane->items--;
            lane->bytes -= item->bytes;
        }
        lane->first = item->next;
        end = &item->next;
    }
    if (!lane->first) lane_empty(lane);
    *end = NULL;
    return end;
}

struct mailbox_item *mailbox_drain(struct mailbox *mailbox,
                                   const size_t bytes_most[MAILBOX_LANE_COUNT],
                                   struct mailbox_rest *ret_rest) {
    struct mailbox_item *chain = NULL, **end = &chain;
    *ret_rest = (struct mailbox_rest){0};
    lock(mailbox);
    for (int i = 0; i < MAILBOX_LANE_COUNT; i++) {
        struct lane *lane = &mailbox->lanes[i];
        end = take(lane, bytes_most[i], end);
        ret_rest->items += lane->all.items;
        ret_rest->bytes += lane->all.bytes;
    }
    unlock(mailbox);
    return chain;
}

struct mailbox_item *mailbox_drain_all(struct mailbox *mailbox) {
    static const size_t everything[MAILBOX_LANE_COUNT] = {SIZE_MAX, SIZE_MAX};
    struct mailbox_rest none;
    return mailbox_drain(mailbox, everything, &none);
}

static struct timespec deadline_after_us(uint64_t timeout_us) {
    struct timespec at;
    int error = clock_gettime(CLOCK_MONOTONIC, &at);
    ASSERT_CMP(error, ==, 0);
    if (timeout_us > WAIT_US_MAX) timeout_us = WAIT_US_MAX;
    at.tv_sec += (time_t)(timeout_us / 1000000);
    at.tv_nsec += (long)(timeout_us % 1000000) * 1000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

void mailbox_wait(struct mailbox *mailbox, uint64_t timeout_us) {
    lock(mailbox);
    if (is_empty(mailbox) && !mailbox->closed && !mailbox->kicked && timeout_us > 0) {
        struct timespec deadline = deadline_after_us(timeout_us);
        int error = 0;
        while (is_empty(mailbox) && !mailbox->closed && !mailbox->kicked && error != ETIMEDOUT) {
            mailbox->consumer_asleep = true;
            error = pthread_cond_timedwait(&mailbox->arrived, &mailbox->lock, &deadline);
            ASSERT(error == 0 || error == ETIMEDOUT);
        }
        mailbox->consumer_asleep = false;
    }
    mailbox->kicked = false;
    unlock(mailbox);
}

void mailbox_kick(struct mailbox *mailbox) {
    lock(mailbox);
    mailbox->kicked = true;
    unlock_and_wake(mailbox);
}

void mailbox_hold_wakes(struct mailbox *mailbox, bool on) {
    lock(mailbox);
    mailbox->holds_wakes = on;
    mailbox->holder = pthread_self();
    unlock(mailbox);
}

void mailbox_close(struct mailbox *mailbox) {
    lock(mailbox);
    mailbox->closed = true;
    unlock_and_wake(mailbox);
}

bool mailbox_closed(struct mailbox *mailbox) {
    lock(mailbox);
    bool closed = mailbox->closed;
    unlock(mailbox);
    return closed;
}
