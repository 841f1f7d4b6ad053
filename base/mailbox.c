/* A mutex, a chain and a condition variable. The consumer takes the whole chain under one short
 * lock, and a producer pays for a wake-up only when the consumer is really asleep. */
#include "base/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/assert.h"
#include "base/memory.h"

/* Waits are cut to this, so that "for ever" cannot overflow a timespec. */
#define WAIT_US_MAX (365ull * 24 * 3600 * 1000 * 1000)

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t arrived; /* measured by the monotonic clock */

    /* All below: under the lock. */
    struct mailbox_item *first, **last; /* *last is the NULL link at the end of the chain */
    size_t items, bytes;                /* counted items only, not the control ones */
    size_t items_max, bytes_max;        /* constant */
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

struct mailbox *mailbox_new(size_t items_max, size_t bytes_max) {
    struct mailbox *mailbox = MEMORY_NEW(struct mailbox);
    mailbox->last = &mailbox->first;
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
    ASSERT(mailbox->first == NULL);
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

static void append(struct mailbox *mailbox, struct mailbox_item *item) {
    item->next = NULL;
    *mailbox->last = item;
    mailbox->last = &item->next;
}

enum status mailbox_push(struct mailbox *mailbox, struct mailbox_item *item) {
    /* A pause would not help this one. */
    if (item->bytes > mailbox->bytes_max) return STATUS_TOO_LARGE;
    lock(mailbox);
    enum status status = STATUS_OK;
    if (mailbox->closed) {
        status = STATUS_SHUTDOWN;
    } else if (mailbox->items >= mailbox->items_max ||
               item->bytes > mailbox->bytes_max - mailbox->bytes) {
        status = STATUS_BUSY;
    }
    if (status != STATUS_OK) {
        unlock(mailbox);
        return status;
    }
    append(mailbox, item);
    mailbox->items++;
    mailbox->bytes += item->bytes;
    unlock_after_push(mailbox);
    return STATUS_OK;
}

enum status mailbox_push_control(struct mailbox *mailbox, struct mailbox_item *item) {
    lock(mailbox);
    if (mailbox->closed) {
        unlock(mailbox);
        return STATUS_SHUTDOWN;
    }
    append(mailbox, item);
    unlock_after_push(mailbox);
    return STATUS_OK;
}

struct mailbox_item *mailbox_drain(struct mailbox *mailbox) {
    lock(mailbox);
    struct mailbox_item *chain = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    mailbox->items = 0;
    mailbox->bytes = 0;
    unlock(mailbox);
    return chain;
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
    if (!mailbox->first && !mailbox->closed && !mailbox->kicked && timeout_us > 0) {
        struct timespec deadline = deadline_after_us(timeout_us);
        int error = 0;
        while (!mailbox->first && !mailbox->closed && !mailbox->kicked && error != ETIMEDOUT) {
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
