/* Stands in for the range store and the router, so that the transports can be tested alone: records
 * what it is given, answers what it is told to. */
#ifndef FLOTILLA_TESTS_RPC_FAKE_RANGE_H
#define FLOTILLA_TESTS_RPC_FAKE_RANGE_H

#include <stdatomic.h>

#include "range/router/router.h"
#include "range/store.h"

/* ---- the store ---- */
struct range_store {
    _Atomic uint64_t raft_frames, snapshot_frames, request_frames, refused_frames, unreachables;
    _Atomic uint64_t last_from, last_unreachable, last_retry_after_us;
    _Atomic uint64_t out_of_order; /* frames that start with a wrong 8-byte sequence number */
    uint64_t next_number[8];       /* by sender, of Raft frames of at least 8 bytes */
    struct buf last_frame;         /* loop thread only */
    enum status answer;            /* to everything */
    struct range_session *session; /* of the last request frame; retained when keep_session */
    bool keep_session;
    enum range_hearing hears_one; /* node 1 */
    bool echo_requests;           /* reply with the frame itself */
    /* Loop thread; NULL: none. */
    void (*on_requests)(void *ctx, struct range_session *session, struct slice frame);
    void *on_requests_ctx;
};

void fake_store_done(struct range_store *store);

/* ---- the router (fake_router.c) ---- */
struct router {
    uint64_t ups, downs, replies, flushes, ticks;
    uint64_t node_ups[8], node_downs[8]; /* by node id */
    uint64_t next_number, out_of_order;  /* of replies of at least 8 bytes that begin with it */
    uint64_t next_us;                    /* of router_next_us; a tick makes it UINT64_MAX */
    struct buf last_reply;
    enum status answer;
};

#endif
