/* The range router: finds the range of a key, its leader, and sees a request through: redirects
 * healed from refusals, retries with back-off inside the client's deadline, many requests coalesced
 * into frames. A deterministic state machine with one owner thread; time and network are handed in.
 * A C program may link it and skip the hop; `flotilla router` gives it a gRPC face.
 *
 * What a client is told is one of three: done, refused (nothing changed), or unknown. A write is
 * sent again after an unknown outcome only when it carries a request id (DESIGN.md, "Exactly
 * once"). */
#ifndef FLOTILLA_RANGE_ROUTER_H
#define FLOTILLA_RANGE_ROUTER_H

#include "range/request.h"

struct router;

struct router_io {
    void *ctx;
    /* One frame of requests to a node (borrowed). UNAVAILABLE: no connection; BUSY: queue full.
     * Either way nothing was sent. */
    enum status (*send)(void *ctx, uint64_t node_id, struct slice frame);
    /* Ask placement for the whole range map; the answer comes by router_set_ranges (or nothing, and
     * the router asks again with back-off). At most one is under way. */
    void (*refresh)(void *ctx);
};

struct router_config {
    uint64_t default_timeout_us; /* 5 s */
    uint64_t backoff_min_us;     /* 2 ms, doubled with jitter up to */
    uint64_t backoff_max_us;     /* 200 ms */
    uint64_t attempt_timeout_us; /* resend elsewhere when a node stays silent; 500 ms */
    uint32_t outstanding_max;    /* calls; beyond: BUSY */
    size_t outstanding_bytes_max;
    uint64_t seed;
    uint64_t slow_us; /* calls that take so long are logged with their stages; 0: none */
};

enum router_code {
    ROUTER_OK = 0,
    ROUTER_INVALID,     /* text: what and the limit */
    ROUTER_CROSS_RANGE, /* a write's keys span ranges; text names two of them */
    ROUTER_BUSY,        /* retry after a pause; nothing changed */
    ROUTER_TIMEOUT,     /* deadline passed; nothing was proposed anywhere */
    ROUTER_UNKNOWN, /* deadline passed or contact lost after a proposal: retry with the same request
                       id */
    ROUTER_UNAVAILABLE, /* text: no placement, no quorum, shutting down; nothing changed */
};

enum router_op {
    ROUTER_GET,
    ROUTER_SCAN,
    ROUTER_WRITE,
    /* ---- operators: to whoever leads the range of the given id ---- */
    ROUTER_TRANSFER,
    ROUTER_CHANGE_REPLICAS,
    ROUTER_DESCRIBE,
};

/* A client's request. Slices are copied by router_submit. */
struct router_request {
    enum router_op op;
    uint64_t deadline_us; /* on the router's clock; 0: now + default */
    enum range_read_mode read_mode;
    uint32_t key_count; /* GET: any number of keys, over any ranges */
    const struct slice *keys;
    struct slice start, end; /* SCAN, over any ranges, in order; empty end: no end */
    bool reverse, keys_only;
    uint32_t row_limit, byte_limit;    /* SCAN; 0: the most there may be (range/request.h) */
    const struct txn_command *command; /* WRITE */
    uint64_t range_id;                 /* operators */
    uint64_t to_node;                  /* TRANSFER */
    /* CHANGE_REPLICAS: one step, for the descriptor of this epoch and no other. BUSY: it was not
     * made; the descriptor has changed, or the range is not ready for it. UNKNOWN: DESCRIBE tells.
     */
    struct range_epoch epoch;
    uint32_t change_count;
    const struct range_replica_change *changes;
};

/* A range's replicas as its leader knows them (range/request.h). */
struct router_replicas {
    const struct range_descriptor *descriptor;
    uint64_t leader_node, term, commit_index;
    uint32_t progress_count;
    const struct range_replica_progress *progress;
};

/* Valid during the callback. */
struct router_reply {
    enum router_code code;
    union {
        struct slice text;   /* any but OK */
        struct slice resume; /* SCAN, OK, more: what remains begins at this key (reverse: ends
                                before it) */
    };
    uint32_t retry_after_us; /* BUSY */
    /* GET: one per key, in the asked order; for the first keys alone, and at least one, when more
     * would not fit into ROUTER_REPLY_BYTES_MAX. SCAN: in key order. */
    uint32_t row_count;
    const struct range_row *rows;
    bool more; /* SCAN: a limit or the deadline ended it, perhaps before any row; go on at `resume`
                */
    /* Stale reads: every write of the ranges read up to this timestamp is shown (the smallest of
     * what the ranges said, each of which shows nothing above its own); 0: no more than that. */
    uint64_t as_of;
    const struct txn_outcome *outcome;      /* WRITE, OK: done or refused */
    const struct router_replicas *replicas; /* DESCRIBE, OK */
};
typedef void router_done_fn(void *ctx, const struct router_reply *reply);

struct router *router_new(const struct router_config *config, const struct router_io *io);
/* Every outstanding call is answered (UNKNOWN or UNAVAILABLE) first. */
void router_free(struct router *router);

/* The callback comes exactly once, possibly before submit returns. */
void router_submit(struct router *router, const struct router_request *request, uint64_t now_us,
                   router_done_fn *done, void *ctx);
/* Sends the frames gathered since the last flush: call it once after a batch of events. */
void router_flush(struct router *router, uint64_t now_us);
/* Retries, time-outs. */
void router_tick(struct router *router, uint64_t now_us);
uint64_t router_next_us(
    const struct router *router); /* when router_tick is due; UINT64_MAX: nothing waits */

/* ---- inputs ---- */
/* CORRUPTION: close that node's stream. */
enum status router_replies(struct router *router, uint64_t node_id, struct slice frame,
                           uint64_t now_us) MUST_CHECK;
/* The stream broke: what was sent there may or may not have arrived. */
void router_node_down(struct router *router, uint64_t node_id, uint64_t now_us);
void router_node_up(struct router *router, uint64_t node_id, uint64_t now_us);
/* Stale reads go to this node's replicas, where it has one; 0, and at first: to all in turn. */
void router_set_near_node(struct router *router, uint64_t node_id);
struct router_range {
    struct range_descriptor descriptor;
    uint64_t leader_node; /* 0: unknown */
};
void router_set_ranges(struct router *router, const struct router_range *ranges, size_t count,
                       uint64_t now_us);

/* ---- reports ---- */
struct router_view {
    size_t ranges, outstanding;
    uint64_t retries_total, redirects_total, refreshes_total;
};
void router_view(const struct router *router, struct router_view *ret_view);
/* The range of a key as cached, and its leader's node (0: unknown). false: not known. */
bool router_locate(const struct router *router, struct slice key, uint64_t *ret_range_id,
                   uint64_t *ret_leader_node);

#endif
