/* The event loop of a process: one gRPC completion queue and the one thread that polls it.
 *
 * Everything in rpc/ reports to its users on the loop thread, so services and clients that live
 * there need no locks. A turn is: wait for events, handle all that are ready (up to a bound), run
 * the posted tasks and the timers that are due, then the end-of-turn hooks. Whoever batches (a
 * router's frames, a driver's proposals) flushes in a hook: once per turn, however many events came
 * together.
 *
 * "Loop thread" below also means the thread that set the loop up, as long as rpc_loop_run is not
 * running (before it, and again after it returned).
 *
 * A process must not fork (without exec) after the first rpc_loop_new: gRPC hangs. */
#ifndef FLOTILLA_RPC_LOOP_H
#define FLOTILLA_RPC_LOOP_H

#include <stdatomic.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/status.h"

struct rpc_loop;

struct rpc_loop *rpc_loop_new(void);
/* Handles what is still under way (cancelled calls come home) and frees the loop. Servers, clients
 * and links of the loop must have been freed before; rpc_loop_run must not be running. */
void rpc_loop_free(struct rpc_loop *loop);

/* Runs turns until rpc_loop_stop; the calling thread is the loop thread meanwhile. May be called
 * again after it returned. */
void rpc_loop_run(struct rpc_loop *loop);
/* Any thread, also a callback. The present turn is finished first. A stop before run ends that run
 * after its first turn. Not safe in a signal handler: use signalfd or a thread in sigwait. */
void rpc_loop_stop(struct rpc_loop *loop);
/* Runs turns until *done or until timeout_us have passed; returns *done. For start-up, shutdown and
 * tests, on the loop thread while rpc_loop_run is not running. */
bool rpc_loop_run_until(struct rpc_loop *loop, const bool *done, uint64_t timeout_us);
bool rpc_loop_on_thread(const struct rpc_loop *loop);  /* is the caller the loop thread? */
uint64_t rpc_loop_now_us(const struct rpc_loop *loop); /* monotonic; any thread */

/* ---- work from other threads ---- */
/* A task is owned by its poster and must outlive its run. Zeroed except `run` is ready for use. */
struct rpc_task {
    struct rpc_task *next;              /* of the loop while queued */
    _Atomic bool queued;                /* set by post, cleared just before `run` is called */
    void (*run)(struct rpc_task *task); /* loop thread */
};

/* Any thread. Cheap: the loop is woken only when it sleeps, once for any number of posts. A task
 * that is queued already stays queued once (so one task can stand for "there is something new").
 * Everything that the poster did before is visible to `run`. */
void rpc_loop_post(struct rpc_loop *loop, struct rpc_task *task);
/* The same with a task of the loop's own, for rare events. */
void rpc_loop_call(struct rpc_loop *loop, void (*fn)(void *ctx), void *ctx);

/* ---- timers: loop thread ---- */
/* Zeroed except `fire` is ready for use. Resolution is about 1 to 2 ms (the poller's). */
struct rpc_timer {
    struct heap_node node;                 /* of the loop; key: when due */
    void (*fire)(struct rpc_timer *timer); /* may start the timer again, or free it */
};

/* At rpc_loop_now_us() == at_us, or in this turn when that has passed. Starting a started timer
 * moves it. */
void rpc_timer_start(struct rpc_loop *loop, struct rpc_timer *timer, uint64_t at_us);
void rpc_timer_stop(struct rpc_loop *loop,
                    struct rpc_timer *timer); /* no effect when not started */

/* ---- end of turn: loop thread ---- */
struct rpc_turn_hook {
    struct list_node node;
    void (*end_of_turn)(struct rpc_turn_hook *hook);
};

/* Hooks run in the order in which they were added, at the end of every turn. */
void rpc_loop_add_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook);
/* These run after all others, however early they were added. */
void rpc_loop_add_last_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook);
/* These run when the turn's writes have left, and may take their time (a disk write, say). They
 * start no calls and answer none: what they have to say they post. */
void rpc_loop_add_idle_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook);
void rpc_loop_remove_hook(struct rpc_loop *loop, struct rpc_turn_hook *hook);

#endif
