/* The event loop.
 *
 * Posting. `posted` is a stack that any thread pushes to and the loop takes as a whole. The loop
 * sets `sleeping` before it blocks and then looks at the stack once more; a poster pushes and then
 * takes `sleeping` away. Whatever the interleaving, either the loop sees the task or the poster
 * sees the sleeper and wakes it, once (both sides use sequentially consistent operations).
 *
 * Waking. The core has no call for it, but an empty batch on any call completes at once: the loop
 * keeps a call on a channel that leads nowhere for this. */
#include "rpc/loop.h"

#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <pthread.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/core.h"
#include "rpc/limits.h"
#include "rpc/metrics.h"

/* How long rpc_loop_free waits for the core to give everything back. */
#define LOOP_SETTLE_US 10000000u

struct rpc_loop {
    grpc_completion_queue *queue;
    grpc_channel *wake_channel; /* leads nowhere; carries wake_call */
    grpc_call *wake_call;
    struct rpc_tag wake_tag;
    const struct clock *clock;
    _Atomic(struct rpc_task *) posted; /* newest first */
    _Atomic bool sleeping;             /* blocked, or about to block after one more look */
    _Atomic bool stopping;
    _Atomic(const void *) thread; /* marks the thread in rpc_loop_run; NULL: not running */
    struct heap timers;
    struct list_node hooks, last_hooks, idle_hooks;
    struct list_node *next_hook; /* cursor of the running walk, so that a hook may remove others */
    size_t held;                 /* rpc_loop_hold minus rpc_loop_release */
    bool in_turn;
};

/* Its address is different in every thread. */
static _Thread_local char thread_marker;

static void wake_done(struct rpc_tag *tag, bool ok) {
    /* The wake-up is the coming home itself. */
}

/* The core's complaints repeat what calls and the server report with more context. */
static void log_from_core(gpr_log_func_args *args) {
    log_debug("grpc", "file=%s line=%d message=\"%s\"", args->file, args->line, args->message);
}

/* Debian builds Abseil, and with it the core, with a search for deadlocks at every lock: 6% of a
 * unary call. There is no C name for the switch; where the C++ one is missing, nothing is lost but
 * time. */
enum { ABSL_ON_DEADLOCK_CYCLE_IGNORE = 0 };
void absl_set_mutex_deadlock_detection_mode(int mode) __asm__(
    "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE") __attribute__((weak));

static pthread_once_t core_once = PTHREAD_ONCE_INIT;

static void core_set_up(void) {
    gpr_set_log_function(log_from_core);
    if (absl_set_mutex_deadlock_detection_mode)
        absl_set_mutex_deadlock_detection_mode(ABSL_ON_DEADLOCK_CYCLE_IGNORE);
}

struct rpc_loop *rpc_loop_new(void) {
    (void)pthread_once(&core_once, core_set_up); /* Cannot fail with these arguments. */
    grpc_init();
    struct rpc_loop *loop = MEMORY_NEW(struct rpc_loop);
    loop->clock = clock_system();
    loop->queue = grpc_completion_queue_create_for_next(NULL);
    loop->wake_channel =
        grpc_lame_client_channel_create("wake", GRPC_STATUS_UNAVAILABLE, "only for wake-ups");
    loop->wake_call = grpc_channel_create_call(loop->wake_channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                               loop->queue, grpc_slice_from_static_string("/wake"),
                                               NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    loop->wake_tag.done = wake_done;
    list_init(&loop->hooks);
    list_init(&loop->last_hooks);
    list_init(&loop->idle_hooks);
    loop->next_hook = &loop->hooks;
    return loop;
}

grpc_completion_queue *rpc_loop_queue(struct rpc_loop *loop) {
    return loop->queue;
}

void rpc_loop_hold(struct rpc_loop *loop) {
    loop->held++;
}

void rpc_loop_release(struct rpc_loop *loop) {
    ASSERT_CMP(loop->held, >, 0);
    loop->held--;
}

bool rpc_loop_running(const struct rpc_loop *loop) {
    return loop->in_turn || atomic_load(&loop->thread) != NULL;
}

bool rpc_loop_on_thread(const struct rpc_loop *loop) {
    const void *thread = atomic_load(&loop->thread);
    return thread == NULL || thread == &thread_marker;
}

uint64_t rpc_loop_now_us(const struct rpc_loop *loop) {
    return clock_monotonic_us(loop->clock);
}

/* ---- tasks ---- */

static void wake(struct rpc_loop *loop) {
    if (!atomic_exchange(&loop->sleeping, false)) return;
    metric_add(&metric_rpc_loop_wakes_total, 1);
    rpc_start_batch(loop->wake_call, NULL, 0, &loop->wake_tag);
}

void rpc_loop_post(struct rpc_loop *loop, struct rpc_task *task) {
    if (atomic_exchange(&task->queued, true)) return;
    struct rpc_task *head = atomic_load(&loop->posted);
    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak(&loop->posted, &head, task));
    wake(loop);
}

struct call_task {
    struct rpc_task task;
    void (*fn)(void *ctx);
    void *ctx;
};

static void call_task_run(struct rpc_task *task) {
    struct call_task *call = CONTAINER_OF(task, struct call_task, task);
    call->fn(call->ctx);
    memory_free(call);
}

void rpc_loop_call(struct rpc_loop *loop, void (*fn)(void *ctx), void *ctx) {
    struct call_task *call = MEMORY_NEW(struct call_task);
    call->task.run = call_task_run;
    call->fn = fn;
    call->ctx = ctx;
    rpc_loop_post(loop, &call->task);
}

static void run_tasks(struct rpc_loop *loop) {
    if (!atomic_load(&loop->posted)) return;
    struct rpc_task *newest = atomic_exchange(&loop->posted, NULL);
    struct rpc_task *oldest = NULL;
    while (newest) {
        struct rpc_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct rpc_task *task = oldest;
        /* Read before `queued` is cleared: from then on the task may be posted again. */
        oldest = task->next;
        atomic_store(&task->queued, false);
        task->run(task);
    }
}

/* ---- timers ---- */

void rpc_timer_start(struct rpc_loop *loop, struct rpc_timer *timer, uint64_t at_us) {
    ASSERT(rpc_loop_on_thread(loop));
    ASSERT(timer->fire != NULL);
    heap_remove(&loop->timers, &timer->node);
    heap_push(&loop->timers, &timer->node, at_us);
}

void rpc_timer_stop(struct rpc_loop *loop, struct rpc_timer *timer) {
    ASSERT(rpc_loop_on_thread(loop));
    heap_remove(&loop->timers, &timer->node);
}

static void run_timers(struct rpc_loop *loop) {
    struct heap_node *due = heap_min(&loop->timers);
    if (!due) return;
    uint64_t now_us = rpc_loop_now_us(loop);
    /* A timer that starts itself again for at once must not hold the turn for ever. */
    for (size_t left = loop->timers.count; left > 0; left--) {
        due = heap_min(&loop->timers);
        if (!due || due->key > now_us) return;
        heap_remove(&loop->timers, due);
        struct rpc_timer *timer = CONTAINER_OF(due, struct rpc_timer, node);
        timer->fire(timer);
    }
}

/* ---- hooks ---- */

void rpc_loop_add_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook) {
    ASSERT(rpc_loop_on_thread(loop));
    list_push_back(&loop->hooks, &hook->node);
}

void rpc_loop_add_last_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook) {
    ASSERT(rpc_loop_on_thread(loop));
    list_push_back(&loop->last_hooks, &hook->node);
}

void rpc_loop_add_idle_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook) {
    ASSERT(rpc_loop_on_thread(loop));
    list_push_back(&loop->idle_hooks, &hook->node);
}

void rpc_loop_remove_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook) {
    ASSERT(rpc_loop_on_thread(loop));
    if (loop->next_hook == &hook->node) loop->next_hook = hook->node.next;
    list_remove(&hook->node);
}

static void run_hooks(struct rpc_loop *loop, struct list_node *hooks) {
    loop->next_hook = hooks->next;
    while (loop->next_hook != hooks) {
        struct rpc_turn_hook *hook = CONTAINER_OF(loop->next_hook, struct rpc_turn_hook, node);
        loop->next_hook = loop->next_hook->next;
        hook->end_of_turn(hook);
    }
}

/* ---- turns ---- */

static void dispatch(const grpc_event *event) {
    struct rpc_tag *tag = event->tag;
    tag->done(tag, event->success != 0);
}

/* Blocks until an event is there, a task is posted, a timer is due, or until_us. */
static grpc_event wait_for_event(struct rpc_loop *loop, uint64_t until_us) {
    const struct heap_node *first = heap_min(&loop->timers);
    if (first && first->key < until_us) until_us = first->key;
    atomic_store(&loop->sleeping, true);
    bool ready = atomic_load(&loop->posted) != NULL || atomic_load(&loop->stopping);
    gpr_timespec deadline = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    if (!ready && until_us == UINT64_MAX) {
        deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    } else if (!ready) {
        uint64_t now_us = rpc_loop_now_us(loop);
        if (until_us > now_us) deadline = rpc_deadline_from_timeout(until_us - now_us);
    }
    grpc_event event = grpc_completion_queue_next(loop->queue, deadline, NULL);
    atomic_store(&loop->sleeping, false);
    return event;
}

static void run_turn(struct rpc_loop *loop, uint64_t until_us) {
    ASSERT(!loop->in_turn);
    loop->in_turn = true;
    grpc_event event = wait_for_event(loop, until_us);
    uint32_t handled = 0;
    while (event.type == GRPC_OP_COMPLETE) {
        dispatch(&event);
        if (++handled == RPC_LOOP_EVENTS_PER_TURN) break;
        event = grpc_completion_queue_next(loop->queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
    }
    run_tasks(loop);
    run_timers(loop);
    run_hooks(loop, &loop->hooks);
    run_hooks(loop, &loop->last_hooks);
    run_hooks(loop, &loop->idle_hooks);
    metric_add(&metric_rpc_loop_turns_total, 1);
    metric_add(&metric_rpc_loop_events_total, handled);
    loop->in_turn = false;
}

void rpc_loop_run(struct rpc_loop *loop) {
    ASSERT(!rpc_loop_running(loop));
    atomic_store(&loop->thread, &thread_marker);
    do {
        run_turn(loop, UINT64_MAX);
    } while (!atomic_load(&loop->stopping));
    atomic_store(&loop->stopping, false);
    atomic_store(&loop->thread, NULL);
}

void rpc_loop_stop(struct rpc_loop *loop) {
    atomic_store(&loop->stopping, true);
    wake(loop);
}

bool rpc_loop_run_until(struct rpc_loop *loop, const bool *done, uint64_t timeout_us) {
    ASSERT(!rpc_loop_running(loop));
    uint64_t until_us = rpc_loop_now_us(loop) + timeout_us;
    while (!*done && rpc_loop_now_us(loop) < until_us)
        run_turn(loop, until_us);
    return *done;
}

/* Turns until nothing is held any more. */
static void settle(struct rpc_loop *loop) {
    uint64_t until_us = rpc_loop_now_us(loop) + LOOP_SETTLE_US;
    while (loop->held > 0 && rpc_loop_now_us(loop) < until_us)
        run_turn(loop, until_us);
}

void rpc_loop_free(struct rpc_loop *loop) {
    if (!loop) return;
    ASSERT(!rpc_loop_running(loop));
    settle(loop);
    run_tasks(loop);
    ASSERT_CMP(loop->held, ==, 0);
    ASSERT_CMP(loop->timers.count, ==, 0);
    ASSERT(list_empty(&loop->hooks) && list_empty(&loop->last_hooks));
    ASSERT(list_empty(&loop->idle_hooks));
    grpc_call_unref(loop->wake_call);
    grpc_channel_destroy(loop->wake_channel);
    grpc_completion_queue_shutdown(loop->queue);
    grpc_event event;
    do {
        event = grpc_completion_queue_next(loop->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_OP_COMPLETE) dispatch(&event);
    } while (event.type != GRPC_QUEUE_SHUTDOWN);
    grpc_completion_queue_destroy(loop->queue);
    heap_done(&loop->timers);
    memory_free(loop);
    grpc_shutdown();
}
