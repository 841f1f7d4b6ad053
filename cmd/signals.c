#include "cmd/signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"

/* Ends the waiting thread; never sent from outside. */
#define SIGNAL_END SIGUSR1
#define SIGNALS_TO_INSIST 3u

struct signals {
    struct rpc_loop *loop;
    signals_fn *caught;
    void *ctx;
    pthread_t thread;
    atomic_bool ending;
    _Atomic uint32_t count;
    struct rpc_task task;
};

static sigset_t watched_set(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGNAL_END);
    return set;
}

void signals_block(void) {
    sigset_t set = watched_set();
    ASSERT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    ASSERT(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
}

bool signals_pending(void) {
    sigset_t pending;
    ASSERT(sigpending(&pending) == 0);
    return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

void signals_restore_in_child(void) {
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
    (void)signal(SIGPIPE, SIG_DFL);              /* likewise */
}

static void run_on_loop(struct rpc_task *task) {
    struct signals *signals = CONTAINER_OF(task, struct signals, task);
    signals->caught(signals->ctx, atomic_load(&signals->count));
}

static void *wait_for_signals(void *ctx) {
    struct signals *signals = ctx;
    sigset_t set = watched_set();
    for (;;) {
        int number = 0;
        ASSERT(sigwait(&set, &number) == 0);
        if (number == SIGNAL_END) {
            if (atomic_load(&signals->ending)) return NULL;
            continue;
        }
        if (atomic_fetch_add(&signals->count, 1) + 1 >= SIGNALS_TO_INSIST) _exit(128 + number);
        rpc_loop_post(signals->loop, &signals->task);
    }
}

struct signals *signals_watch(struct rpc_loop *loop, signals_fn *caught, void *ctx) {
    struct signals *signals = MEMORY_NEW(struct signals);
    signals->loop = loop;
    signals->caught = caught;
    signals->ctx = ctx;
    signals->task.run = run_on_loop;
    ASSERT(pthread_create(&signals->thread, NULL, wait_for_signals, signals) == 0);
    return signals;
}

void signals_free(struct signals *signals) {
    if (!signals) return;
    atomic_store(&signals->ending, true);
    ASSERT(pthread_kill(signals->thread, SIGNAL_END) == 0);
    ASSERT(pthread_join(signals->thread, NULL) == 0);
    memory_free(signals);
}
