/* The way back from a store to the router of the same process. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "rpc/local_session.h"
#include "tests/rpc/echo.h"

static struct rpc_loop *loop;

static void set_up(void) {
    loop = rpc_loop_new();
}

static void tear_down(void) {
    rpc_loop_free(loop);
}

TestSuite(rpc_local_session, .init = set_up, .fini = tear_down, .timeout = 60);

#define WORKERS 4u
#define FRAMES 20000u

struct frame {
    uint32_t worker, number;
    uint8_t padding[120];
};

struct receiver {
    uint32_t next[WORKERS]; /* number of the frame that is to come */
    uint32_t count;
};

static void receive(void *ctx, struct slice bytes) {
    struct receiver *receiver = ctx;
    struct frame frame;
    cr_assert(rpc_loop_on_thread(loop));
    cr_assert_eq(bytes.len, sizeof(frame));
    memcpy(&frame, bytes.data, sizeof(frame));
    cr_assert_eq(frame.number, receiver->next[frame.worker]++);
    receiver->count++;
}

struct worker {
    struct range_session *session;
    uint32_t number;
};

static void *send_many(void *ctx) {
    const struct worker *worker = ctx;
    for (uint32_t i = 0; i < FRAMES; i++) {
        struct frame frame = {.worker = worker->number, .number = i};
        worker->session->send(worker->session, slice_make(&frame, sizeof(frame)));
    }
    worker->session->release(worker->session);
    return NULL;
}

static void start_workers(struct rpc_local_session *session, struct worker *workers,
                          pthread_t *threads) {
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){rpc_local_session_base(session), i};
        workers[i].session->retain(workers[i].session);
        cr_assert_eq(pthread_create(&threads[i], NULL, send_many, &workers[i]), 0);
    }
}

static void join_workers(const pthread_t *threads) {
    for (uint32_t i = 0; i < WORKERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

/* A lost wake-up would leave a client waiting for its deadline; a frame out of order or cut would
 * be a reply that nobody understands. */
Test(rpc_local_session, every_frame_arrives_in_order_on_the_loop_thread) {
    struct receiver receiver = {0};
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    struct rpc_local_session *session = rpc_local_session_new(loop, receive, &receiver);
    start_workers(session, workers, threads);
    ECHO_WAIT(loop, receiver.count == WORKERS * FRAMES);
    join_workers(threads);
    rpc_local_session_close(session);
}

static void set_done(void *ctx) {
    *(bool *)ctx = true;
}

/* Workers answer what was asked before the stop; nobody is there to hear it, and the session goes
 * with the last of them (the address sanitizer watches). */
Test(rpc_local_session, nothing_is_delivered_after_it_was_closed) {
    struct receiver receiver = {0};
    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    struct rpc_local_session *session = rpc_local_session_new(loop, receive, &receiver);
    start_workers(session, workers, threads);
    ECHO_WAIT(loop, receiver.count > 0);
    rpc_local_session_close(session);
    uint32_t count = receiver.count;
    join_workers(threads);
    bool done = false;
    rpc_loop_call(loop, set_done, &done);
    ECHO_WAIT(loop, done);
    cr_assert_eq(receiver.count, count);
}
