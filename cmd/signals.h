/* SIGTERM and SIGINT as calls on the loop's thread.
 *
 * The signals are blocked in every thread and taken by one that waits for them: a handler could do
 * next to nothing safely. */
#ifndef FLOTILLA_CMD_SIGNALS_H
#define FLOTILLA_CMD_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "rpc/loop.h"

struct signals;

/* Before any thread is started: blocks the two signals (threads inherit that) and ignores SIGPIPE,
 * so that a reader of the log who leaves does not end the process. */
void signals_block(void);
/* One of the two has come and nobody has taken it: for waits before there is a loop. */
bool signals_pending(void);
/* In a child between fork and exec: undoes signals_block. Async-signal-safe. */
void signals_restore_in_child(void);

/* From now on `caught` runs on the loop's thread after each signal; `number` counts them. The
 * third ends the process at once: the operator insists. */
typedef void signals_fn(void *ctx, uint32_t number);
struct signals *signals_watch(struct rpc_loop *loop, signals_fn *caught, void *ctx);
void signals_free(struct signals *signals); /* before the loop; NULL is fine */

#endif
