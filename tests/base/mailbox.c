/* The bounded queue: order, bounds, wake-ups and closing. */
#include "base/mailbox.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"

#define WAIT_LONG_US (20u * 1000 * 1000)

struct parcel {
    struct mailbox_item item;
    unsigned producer, number;
};

static uint64_t now_us(void) {
    return clock_monotonic_us(clock_system());
}

static struct parcel *parcel_of(struct mailbox_item *item) {
    return CONTAINER_OF(item, struct parcel, item);
}

/* Protects the order of messages. */
Test(base_mailbox, drains_everything_in_order_of_arrival) {
    struct mailbox *mailbox = mailbox_new(10, 1000);
    struct parcel parcels[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    cr_assert_null(mailbox_drain_all(mailbox));
    for (int i = 0; i < 4; i++) {
        enum status status = i == 2 ? mailbox_push_control(mailbox, &parcels[i].item)
                                    : mailbox_push(mailbox, MAILBOX_FIRST, &parcels[i].item);
        cr_assert_eq(status, STATUS_OK);
    }
    struct mailbox_item *item = mailbox_drain_all(mailbox);
    for (unsigned i = 0; i < 4; i++, item = item->next)
        cr_assert_eq(parcel_of(item)->number, i);
    cr_assert_null(item);
    cr_assert_null(mailbox_drain_all(mailbox));
    mailbox_free(mailbox);
}

/* Protects memory: more than either bound is refused, and a drain makes room again. */
Test(base_mailbox, refuses_what_exceeds_a_bound) {
    struct mailbox *mailbox = mailbox_new(2, 100);
    struct parcel small[3] = {{.item.bytes = 1}, {.item.bytes = 1}, {.item.bytes = 1}};
    struct parcel large = {.item.bytes = 100}, huge = {.item.bytes = 101};
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &huge.item), STATUS_TOO_LARGE);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &large.item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &small[0].item), STATUS_BUSY); /* by bytes */
    cr_assert_eq(mailbox_drain_all(mailbox), &large.item);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &small[0].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &small[1].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &small[2].item), STATUS_BUSY); /* by items */
    cr_assert_eq(mailbox_push_control(mailbox, &small[2].item), STATUS_OK);
    cr_assert_eq(mailbox_drain_all(mailbox), &small[0].item);
    /* The control item did not count, and its draining does not make the count wrong. */
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &large.item), STATUS_OK);
    cr_assert_not_null(mailbox_drain_all(mailbox));
    mailbox_free(mailbox);
}

static unsigned drained(struct mailbox_item *item, unsigned *numbers) {
    unsigned count = 0;
    for (; item; item = item->next)
        numbers[count++] = parcel_of(item)->number;
    return count;
}

/* Protects what is urgent: it is taken before what came first, and a full lane refuses nothing of
 * the other. */
Test(base_mailbox, lanes_neither_delay_nor_crowd_out_each_other) {
    struct mailbox *mailbox = mailbox_new(2, 1000);
    struct parcel parcels[6] = {{.number = 0}, {.number = 1}, {.number = 2},
                                {.number = 3}, {.number = 4}, {.number = 5}};
    unsigned numbers[6];
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_SECOND, &parcels[0].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_SECOND, &parcels[1].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_SECOND, &parcels[5].item), STATUS_BUSY);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcels[2].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcels[3].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcels[5].item), STATUS_BUSY);
    cr_assert_eq(mailbox_push_control(mailbox, &parcels[4].item), STATUS_OK);
    cr_assert_eq(drained(mailbox_drain_all(mailbox), numbers), 5);
    static const unsigned expected[] = {2, 3, 4, 0, 1};
    cr_assert_arr_eq(numbers, expected, sizeof(expected));
    mailbox_free(mailbox);
}

/* Protects a turn from what waits: of a long lane a part is taken, whatever is left keeps its place
 * and is counted, and the part makes room for others. */
Test(base_mailbox, a_part_is_drained_and_the_rest_keeps_its_order) {
    static const size_t most[MAILBOX_LANE_COUNT] = {100, 25};
    struct mailbox *mailbox = mailbox_new(6, 1000);
    struct parcel parcels[7];
    struct mailbox_rest rest;
    unsigned numbers[7];
    for (unsigned i = 0; i < 7; i++)
        parcels[i] = (struct parcel){.item.bytes = 10, .number = i};
    for (int i = 0; i < 6; i++)
        cr_assert_eq(mailbox_push(mailbox, MAILBOX_SECOND, &parcels[i].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_SECOND, &parcels[6].item), STATUS_BUSY);
    cr_assert_eq(drained(mailbox_drain(mailbox, most, &rest), numbers), 3); /* 25, and one more */
    cr_assert_eq(rest.items, 3);
    cr_assert_eq(rest.bytes, 30);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_SECOND, &parcels[6].item), STATUS_OK);
    mailbox_wait(mailbox, WAIT_LONG_US); /* something is there: it returns at once */
    cr_assert_eq(drained(mailbox_drain(mailbox, most, &rest), numbers + 3), 3);
    cr_assert_eq(rest.items, 1);
    cr_assert_eq(drained(mailbox_drain(mailbox, most, &rest), numbers + 6), 1);
    cr_assert_eq(rest.items, 0);
    cr_assert_eq(rest.bytes, 0);
    for (unsigned i = 0; i < 7; i++)
        cr_assert_eq(numbers[i], i);
    /* All room is there again. */
    for (int i = 0; i < 6; i++)
        cr_assert_eq(mailbox_push(mailbox, MAILBOX_SECOND, &parcels[i].item), STATUS_OK);
    cr_assert_not_null(mailbox_drain_all(mailbox));
    mailbox_free(mailbox);
}

/* Protects the account of a lane that is drained in parts with control items in between. */
Test(base_mailbox, control_items_are_no_part_of_the_account) {
    static const size_t most[MAILBOX_LANE_COUNT] = {0, 0};
    struct mailbox *mailbox = mailbox_new(2, 20);
    struct parcel parcels[4];
    struct mailbox_rest rest;
    for (unsigned i = 0; i < 4; i++)
        parcels[i] = (struct parcel){.item.bytes = 10, .number = i};
    cr_assert_eq(mailbox_push_control(mailbox, &parcels[0].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcels[1].item), STATUS_OK);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcels[2].item), STATUS_OK);
    cr_assert_eq(mailbox_drain(mailbox, most, &rest), &parcels[0].item);
    cr_assert_eq(rest.items, 2);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcels[3].item), STATUS_BUSY);
    cr_assert_eq(mailbox_drain(mailbox, most, &rest), &parcels[1].item);
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcels[3].item), STATUS_OK);
    cr_assert_not_null(mailbox_drain_all(mailbox));
    mailbox_free(mailbox);
}

/* Protects shutdown: nothing enters any more, what is inside still comes out. */
Test(base_mailbox, a_closed_one_refuses_but_can_be_drained) {
    struct mailbox *mailbox = mailbox_new(2, 100);
    struct parcel first = {0}, second = {0};
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &first.item), STATUS_OK);
    cr_assert(!mailbox_closed(mailbox));
    mailbox_close(mailbox);
    cr_assert(mailbox_closed(mailbox));
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &second.item), STATUS_SHUTDOWN);
    cr_assert_eq(mailbox_push_control(mailbox, &second.item), STATUS_SHUTDOWN);
    mailbox_wait(mailbox, WAIT_LONG_US); /* returns at once */
    cr_assert_eq(mailbox_drain_all(mailbox), &first.item);
    mailbox_wait(mailbox, WAIT_LONG_US);
    mailbox_free(mailbox);
    mailbox_free(NULL);
}

/* Protects timers: a wait ends at its time-out, not much before. */
Test(base_mailbox, wait_ends_at_the_timeout) {
    struct mailbox *mailbox = mailbox_new(1, 1);
    uint64_t start_us = now_us();
    mailbox_wait(mailbox, 20000);
    cr_assert_geq(now_us() - start_us, 20000);
    mailbox_wait(mailbox, 0);
    mailbox_free(mailbox);
}

static void *push_one(void *ctx) {
    struct mailbox *mailbox = ctx;
    struct parcel *parcel = MEMORY_NEW(struct parcel);
    cr_assert_eq(mailbox_push_control(mailbox, &parcel->item), STATUS_OK);
    return NULL;
}

static void *close_it(void *ctx) {
    mailbox_close(ctx);
    return NULL;
}

/* Protects latency: a sleeping consumer is woken by an item and by closing. */
Test(base_mailbox, wait_is_ended_by_an_item_and_by_closing, .timeout = 30) {
    struct mailbox *mailbox = mailbox_new(1, 1);
    void *(*const wakers[])(void *) = {push_one, close_it};
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        uint64_t start_us = now_us();
        cr_assert_eq(pthread_create(&thread, NULL, wakers[i], mailbox), 0);
        mailbox_wait(mailbox, UINT64_MAX); /* and "for ever" is accepted */
        cr_assert_lt(now_us() - start_us, WAIT_LONG_US);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        struct mailbox_item *item = mailbox_drain_all(mailbox);
        cr_assert_eq(item != NULL, i == 0);
        if (item) memory_free(parcel_of(item));
    }
    mailbox_free(mailbox);
}

#define PRODUCERS 4u
#define PARCELS_EACH 5000u
#define ITEMS_MAX 64u

struct producer {
    struct mailbox *mailbox;
    unsigned id;
    uint64_t refusals;
};

static void *produce(void *ctx) {
    struct producer *producer = ctx;
    for (unsigned i = 0; i < PARCELS_EACH; i++) {
        struct parcel *parcel = MEMORY_NEW(struct parcel);
        *parcel = (struct parcel){.item.bytes = 8, .producer = producer->id, .number = i};
        while (mailbox_push(producer->mailbox, MAILBOX_FIRST, &parcel->item) == STATUS_BUSY) {
            producer->refusals++;
            (void)sched_yield(); /* only a hint */
        }
    }
    return NULL;
}

/* Protects against lost, doubled or reordered items, lost wake-ups and leaky bounds when several
 * producers push against a small bound. */
Test(base_mailbox, delivers_each_item_once_from_many_producers, .timeout = 60) {
    struct mailbox *mailbox = mailbox_new(ITEMS_MAX, 1 << 20);
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    unsigned expected[PRODUCERS] = {0};
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.mailbox = mailbox, .id = i};
        cr_assert_eq(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (unsigned received = 0; received < PRODUCERS * PARCELS_EACH;) {
        mailbox_wait(mailbox, WAIT_LONG_US);
        struct mailbox_item *item = mailbox_drain_all(mailbox);
        cr_assert_not_null(item, "a wake-up was lost after %u items", received);
        unsigned batch = 0;
        while (item) {
            struct parcel *parcel = parcel_of(item);
            item = item->next;
            cr_assert_eq(parcel->number, expected[parcel->producer]);
            expected[parcel->producer]++;
            memory_free(parcel);
            batch++;
        }
        cr_assert_leq(batch, ITEMS_MAX);
        received += batch;
    }
    for (unsigned i = 0; i < PRODUCERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_null(mailbox_drain_all(mailbox));
    mailbox_free(mailbox);
}

static void *wait_long(void *ctx) {
    mailbox_wait(ctx, WAIT_LONG_US);
    return NULL;
}

/* Protects the bargain of lent threads: a held push wakes nobody, a kick does, even when it comes
 * before the wait. */
Test(base_mailbox, a_kick_ends_the_wait_that_a_held_push_did_not) {
    struct mailbox *mailbox = mailbox_new(10, 1000);
    struct parcel parcel = {.number = 1};
    pthread_t thread;
    uint64_t began_us = now_us();
    mailbox_kick(mailbox);
    mailbox_wait(mailbox, WAIT_LONG_US);
    cr_assert_lt(now_us() - began_us, WAIT_LONG_US / 2);

    mailbox_hold_wakes(mailbox, true);
    cr_assert_eq(pthread_create(&thread, NULL, wait_long, mailbox), 0);
    usleep(20000); /* most likely it sleeps by now; if not, it sees the item itself */
    cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcel.item), STATUS_OK);
    mailbox_kick(mailbox);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_lt(now_us() - began_us, WAIT_LONG_US / 2);
    cr_assert_eq(mailbox_drain_all(mailbox), &parcel.item);
    mailbox_free(mailbox);
}

static void *measure_wait(void *ctx) {
    uint64_t began_us = now_us();
    mailbox_wait(ctx, 50000);
    return (void *)(uintptr_t)(now_us() - began_us);
}

/* Protects what lending saves: who sleeps is not woken by a held push. An attempt in which the
 * consumer had not fallen asleep yet says nothing; a push that wakes spoils every one. */
Test(base_mailbox, a_held_push_wakes_nobody) {
    struct mailbox *mailbox = mailbox_new(10, 1000);
    mailbox_hold_wakes(mailbox, true);
    uintptr_t waited_us = 0;
    for (int attempt = 0; attempt < 100 && waited_us < 50000; attempt++) {
        struct parcel parcel = {.number = 1};
        pthread_t thread;
        void *result;
        cr_assert_eq(pthread_create(&thread, NULL, measure_wait, mailbox), 0);
        usleep(10000);
        cr_assert_eq(mailbox_push(mailbox, MAILBOX_FIRST, &parcel.item), STATUS_OK);
        cr_assert_eq(pthread_join(thread, &result), 0);
        cr_assert_eq(mailbox_drain_all(mailbox), &parcel.item);
        waited_us = (uintptr_t)result;
    }
    cr_assert_geq(waited_us, 50000);
    mailbox_free(mailbox);
}
