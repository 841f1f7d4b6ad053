/* The loop: posting, timers, hooks, stopping. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "rpc/loop.h"
#include "tests/rpc/echo.h"

static struct rpc_loop *loop;

static void set_up(void) {
    loop = rpc_loop_new();
}

static void tear_down(void) {
    rpc_loop_free(loop);
}

TestSuite(rpc_loop, .init = set_up, .fini = tear_down, .timeout = 60);

struct counter {
    struct rpc_task task;
    _Atomic uint64_t given; /* by posters, before posting */
    uint64_t taken;         /* loop thread: what was seen of `given` */
    uint64_t runs;
};

static void count_run(struct rpc_task *task) {
    struct counter *counter = CONTAINER_OF(task, struct counter, task);
    counter->taken = atomic_load(&counter->given);
    counter->runs++;
}

#define POSTERS 4u
#define POSTS 20000u

static void *post_many(void *ctx) {
    struct counter *counter = ctx;
    for (uint32_t i = 0; i < POSTS; i++) {
        atomic_fetch_add(&counter->given, 1);
        rpc_loop_post(loop, &counter->task);
    }
    return NULL;
}

/* No wake-up may be lost: whatever the interleaving, a run follows the last post. */
Test(rpc_loop, every_post_is_followed_by_a_run) {
    struct counter counter = {.task = {.run = count_run}};
    pthread_t threads[POSTERS];
    for (size_t i = 0; i < POSTERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, post_many, &counter), 0);
    ECHO_WAIT(loop, counter.taken == POSTERS * POSTS);
    for (size_t i = 0; i < POSTERS; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_leq(counter.runs, POSTERS * POSTS);
}

static void append_order(void *ctx) {
    *(*(char **)ctx)++ = 'x';
}

/* Calls run, in a turn of the loop and not before. */
Test(rpc_loop, calls_run_on_the_loop) {
    char order[4] = {0}, *at = order;
    rpc_loop_call(loop, append_order, &at);
    rpc_loop_call(loop, append_order, &at);
    cr_assert_eq(at, order);
    ECHO_WAIT(loop, at == order + 2);
}

struct shot {
    struct rpc_timer timer;
    uint64_t at_us, fired, again;
};

static void shoot(struct rpc_timer *timer) {
    struct shot *shot = CONTAINER_OF(timer, struct shot, timer);
    shot->at_us = rpc_loop_now_us(loop);
    shot->fired++;
    if (shot->again > 0) {
        shot->again--;
        rpc_timer_start(loop, timer, shot->at_us);
    }
}

/* Timers fire in order, not early, and a stopped one not at all. */
Test(rpc_loop, timers_fire_when_due) {
    struct shot shots[3] = {{.timer.fire = shoot}, {.timer.fire = shoot}, {.timer.fire = shoot}};
    uint64_t now_us = rpc_loop_now_us(loop);
    rpc_timer_start(loop, &shots[0].timer, now_us + 30000);
    rpc_timer_start(loop, &shots[1].timer, now_us + 10000);
    rpc_timer_start(loop, &shots[2].timer, now_us + 20000);
    rpc_timer_stop(loop, &shots[2].timer);
    ECHO_WAIT(loop, shots[0].fired);
    cr_assert_eq(shots[1].fired, 1);
    cr_assert_eq(shots[2].fired, 0);
    cr_assert_geq(shots[0].at_us, now_us + 30000);
    cr_assert_geq(shots[1].at_us, now_us + 10000);
    cr_assert_leq(shots[1].at_us, shots[0].at_us);
}

/* A timer that starts itself for at once goes round the loop, and does not hold it. */
Test(rpc_loop, timer_that_restarts_itself_does_not_hold_the_turn) {
    struct shot shot = {.timer.fire = shoot, .again = UINT64_MAX};
    struct counter counter = {.task = {.run = count_run}};
    rpc_timer_start(loop, &shot.timer, 0);
    rpc_loop_post(loop, &counter.task);
    ECHO_WAIT(loop, counter.runs == 1 && shot.fired > 2);
    rpc_timer_stop(loop, &shot.timer);
}

struct hook {
    struct rpc_turn_hook hook;
    struct hook *removes;
    uint64_t runs;
};

static void run_hook(struct rpc_turn_hook *base) {
    struct hook *hook = CONTAINER_OF(base, struct hook, hook);
    hook->runs++;
    if (hook->removes) rpc_loop_remove_hook(loop, &hook->removes->hook);
    hook->removes = NULL;
}

/* A hook may remove another, or itself, while hooks run. */
Test(rpc_loop, hooks_may_be_removed_by_hooks) {
    struct hook hooks[3] = {{.hook.end_of_turn = run_hook},
                            {.hook.end_of_turn = run_hook},
                            {.hook.end_of_turn = run_hook}};
    for (size_t i = 0; i < 3; i++)
        rpc_loop_add_hook(loop, &hooks[i].hook);
    hooks[0].removes = &hooks[1];
    hooks[2].removes = &hooks[2];
    bool never = false;
    (void)rpc_loop_run_until(loop, &never, 20000);
    (void)rpc_loop_run_until(loop, &never, 20000);
    cr_assert_geq(hooks[0].runs, 2);
    cr_assert_eq(hooks[1].runs, 0);
    cr_assert_eq(hooks[2].runs, 1);
    rpc_loop_remove_hook(loop, &hooks[0].hook);
}

static void *run_loop(void *ctx) {
    rpc_loop_run(loop);
    return NULL;
}

/* A sleeping loop stops when told to, and can run again. */
Test(rpc_loop, stops_from_another_thread) {
    for (int round = 0; round < 3; round++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, run_loop, NULL), 0);
        rpc_loop_stop(loop);
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
}
