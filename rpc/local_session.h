/* A session inside the process: the way back from a store to the router that lives beside it
 * (range/store.h, struct range_session). Reply frames come from worker threads, gather, and are
 * handed over on the loop thread: one wake-up for all that came together.
 *
 * What waits is bounded by the requests that the router lets be outstanding, and by the size of one
 * answer. */
#ifndef FLOTILLA_RPC_LOCAL_SESSION_H
#define FLOTILLA_RPC_LOCAL_SESSION_H

#include "range/store.h"
#include "rpc/loop.h"

struct rpc_local_session;

/* `deliver` runs on the loop thread, once per frame (borrowed), in the order of sending. The caller
 * holds a reference until rpc_local_session_close. */
struct rpc_local_session *rpc_local_session_new(struct rpc_loop *loop,
                                                void (*deliver)(void *ctx, struct slice frame),
                                                void *ctx);
/* Loop thread. Nothing is delivered from now on; workers may go on sending into nothing. NULL is
 * fine. The loop must outlive the last worker's reference. */
void rpc_local_session_close(struct rpc_local_session *session);
/* For range_store_requests. */
struct range_session *rpc_local_session_base(struct rpc_local_session *session);

#endif
