/* What the router is made of. Private to range/router/.
 *
 * A client's request is a *call*. What of it concerns one range is a *part*: a write, a transfer
 * and the scan's present piece are one part, a GET has one per range. A part is in one state, and
 * its `link` is in that state's list:
 *
 *   READY     router.ready      to be dispatched before the entry point returns
 *   UNROUTED  router.unrouted   no range known for its key; the map is being asked for
 *   WAITING   route.waiting     the range's leader is being searched (search.c)
 *   FRAMED    node.framed       encoded in the frame for a node; leaves at the next flush
 *   SENT      node.sent         the node has it; `timer` is the patience with it
 *   PAUSED    router.paused     backing off; `timer` is its end
 *
 * Invariants:
 * 1. A call has its deadline in the timer heap; it is answered exactly once, then gone with all its
 *    parts.
 * 2. FRAMED and SENT parts, and no others, are in router.attempts under an id never used before; so
 *    an answer to an attempt that was given up finds nothing.
 * 3. A write that was SENT and then given up without an answer, or answered UNKNOWN, is
 *    `uncertain` for ever. An uncertain part is dispatched again only if it may run twice (reads;
 *    writes with a request id), and its call never ends as "nothing changed" unless a later attempt
 *    was decided.
 * 4. Between entry points `ready` is empty.
 * 5. Cached ranges do not overlap. */
#ifndef FLOTILLA_RANGE_ROUTER_INTERNAL_H
#define FLOTILLA_RANGE_ROUTER_INTERNAL_H

#include "base/arena.h"
#include "base/assert.h"
#include "base/hashmap.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/pace.h"
#include "base/prng.h"
#include "range/router/limits.h"
#include "range/router/router.h"

enum timer_kind { TIMER_CALL, TIMER_PART, TIMER_SEARCH, TIMER_REFRESH };

struct router_timer {
    struct heap_node node; /* key: when it is due, us */
    enum timer_kind kind;
};

/* A range as believed. */
struct route {
    struct idmap_node by_id; /* router.cache.by_id */
    struct range_descriptor descriptor;
    uint64_t leader_node; /* 0: unknown */
    /* What is known while nobody answers as leader; both are forgotten when somebody does. */
    uint64_t silent_node;     /* the last that let the time of an attempt pass; 0: none did */
    uint64_t hinted_node;     /* whom a replica last named as leader; 0: nobody is named */
    uint32_t hints_followed;  /* since somebody last answered as leader */
    struct list_node waiting; /* parts */
    /* ---- overload.c ---- */
    uint64_t serial;       /* of this route; one that is learned again has another */
    struct pace pace;      /* writes that its leader was given */
    uint32_t retry_credit; /* a decided request pays one in, an attempt after BUSY costs several */
    uint64_t heard_us;     /* when its leader last answered a request; 0: never */
    uint64_t unheard_us;   /* when it was first sent one since then; 0: nothing waits */
    /* ---- the search for the leader (search.c) ---- */
    bool searching;
    struct list_node in_searching; /* router.searching */
    uint64_t probe_id;             /* attempt whose answer the search waits for; 0: none */
    uint64_t preferred_node;       /* to be asked next; 0: the next replica */
    uint32_t candidate;            /* replica to be asked next */
    uint32_t asked, absent;        /* replicas asked in this round; how many have no such range */
    uint32_t rounds;
    struct router_timer timer; /* next round, or the patience with the probe */
    struct buf complaint;      /* what a node that was UNAVAILABLE said; empty: nothing */
};

struct route_cache {
    struct route **ordered; /* by start key; never overlapping */
    size_t count, cap;
    struct idmap by_id;
};

struct router_node {
    struct idmap_node by_id;
    bool down;
    bool silent;             /* has let the time of a stale read pass, and said nothing since */
    uint64_t retry_at_us;    /* when a node that is down may be tried all the same */
    struct buf frame;        /* empty: nothing to send */
    struct list_node framed; /* parts in the frame */
    struct list_node sent;   /* parts that wait for its answer */
    struct list_node in_unflushed;
};

enum part_state {
    PART_READY,
    PART_UNROUTED,
    PART_WAITING,
    PART_FRAMED,
    PART_SENT,
    PART_PAUSED,
};

/* What last stood in a part's way: what the client hears at the deadline. */
enum part_obstacle {
    OBSTACLE_NONE,
    OBSTACLE_NO_LEADER,
    OBSTACLE_NO_REPLICA, /* stale reads: none of those asked so far serves the range */
    OBSTACLE_BUSY,
};

struct router_part {
    struct list_node link;
    struct list_node in_call;
    struct router_call *call;
    enum part_state state;
    enum part_obstacle obstacle;
    struct router_timer timer;
    struct idmap_node attempt; /* router.attempts; id: call id on the wire */
    uint64_t node_id;          /* FRAMED, SENT: whom it was given to */
    uint64_t range_id;         /* of the last dispatch; 0: none */
    struct range_epoch sent;   /* epoch of range_id in the last attempt */
    bool fits;                 /* WRITE: its keys lie in range_id as of `sent` */
    bool uncertain;
    uint32_t silences, pauses, busy; /* so far, for the back-off */
    uint32_t asked;                  /* stale: steps through the replicas of range_id (stale.c) */
    uint64_t first_asked;            /* the replica of the first step */
    uint64_t route_serial, work; /* FRAMED, SENT: what it counts in which route's pace; 0: not */
    uint32_t first, last;        /* GET: positions [first, last) of call.order */
};

/* Decided writes that went the same way (stages.c). */
struct router_stage_run {
    uint64_t begun_us, first_sent_us, last_sent_us, done_us;
    uint32_t count;
};

struct router_call {
    struct router *router;
    struct list_node in_router;
    struct list_node parts;
    struct router_timer deadline;
    router_done_fn *done;
    void *ctx;
    enum router_op op;
    enum range_read_mode read_mode;
    struct arena arena; /* everything that the call owns */
    size_t charged_bytes;
    uint32_t retry_after_us; /* last said by a node that was BUSY */
    /* ---- for stages and traces ---- */
    uint64_t begun_us, first_sent_us, last_sent_us; /* sent: 0 before */
    uint64_t last_node_id, last_range_id, last_attempt_id;
    uint32_t attempts; /* sent, of all parts */
    /* ---- GET ---- */
    uint32_t key_count;
    uint32_t wanted;   /* the answer will be of the first so many keys; it only falls */
    uint32_t answered; /* of these; their rows have keys, the others' have none */
    struct slice *keys;
    uint32_t *order; /* indexes of keys in key order */
    /* ---- GET, SCAN ---- */
    struct range_row *rows;
    uint32_t row_count, row_cap; /* SCAN */
    size_t row_bytes;            /* of the rows, as range/request.h counts them */
    bool stale_seen;             /* a part of a stale read was answered: */
    uint64_t as_of;              /* the least that one of them said */
    /* ---- SCAN: [start, end) shrinks from its front (or back, when reverse) ---- */
    struct slice start, end;
    struct slice piece_start, piece_end; /* as last sent */
    bool advanced;                       /* a part of [start, end) is done with */
    bool reverse, keys_only;
    uint32_t row_limit, byte_limit;
    /* ---- WRITE ---- */
    struct slice command, anchor;
    bool has_request_id;
    /* ---- operators ---- */
    uint64_t range_id;
    uint64_t to_node;         /* TRANSFER */
    struct range_epoch epoch; /* CHANGE_REPLICAS */
    uint32_t change_count;
    struct range_replica_change *changes;
};

/* An attempt whose call was over before it was answered. */
struct router_late {
    uint64_t attempt_id; /* 0: unused */
    uint64_t node_id, range_id;
};

struct router {
    struct router_config config; /* zeros replaced by the defaults */
    struct router_io io;
    struct prng prng;
    uint64_t now_us; /* of the entry point */
    uint64_t next_attempt_id;
    uint64_t routes_made; /* for their serials */
    uint64_t near_node;   /* 0: none */
    uint64_t stale_reads; /* sent to no near node: whose turn it is */
    struct route_cache cache;
    struct idmap nodes;
    struct idmap attempts;
    struct router_late late[ROUTER_LATE_MAX]; /* a ring */
    uint32_t late_at;
    struct heap timers;
    struct list_node calls;
    struct list_node ready, unrouted, paused; /* parts */
    struct list_node searching;               /* routes */
    struct list_node unflushed;               /* nodes with a frame */
    size_t outstanding, outstanding_bytes;
    struct list_node spare_calls;
    struct list_node spare_parts;
    size_t spare_call_count, spare_part_count;
    struct arena reply_arena; /* of the reply at hand */
    struct arena scratch;     /* of the dispatch at hand; never held over a callback */
    struct range_descriptor reply_descriptor;
    struct buf encoded; /* scratch for commands */
    uint32_t depth;     /* entry points under way: a callback may submit */
    bool closing;
    /* ---- the range map (refresh.c) ---- */
    struct router_timer refresh_timer; /* when it may be asked for again */
    bool refresh_wanted;
    uint32_t refresh_attempts; /* since it last helped */
    bool map_seen;
    uint64_t retries_total, redirects_total, refreshes_total;
    /* ---- stages and traces (stages.c) ---- */
    struct router_stage_run stage_run;
    uint64_t trace_second_us;
    uint32_t traced, untraced; /* in that second */
};

/* ---- router.c ---- */
/* Every entry point begins with enter and ends with settle, which dispatches what is ready and
 * fires the timers that are due. Entries from inside a callback leave that to the outermost one. */
void router_enter(struct router *router, uint64_t now_us);
void router_settle(struct router *router);
void router_timer_set(struct router *router, struct router_timer *timer, uint64_t at_us);
void router_timer_clear(struct router *router, struct router_timer *timer);
/* Doubles from `min` to `max` with the attempts; between half of it and all of it, by chance. */
uint64_t router_backoff_us(struct router *router, uint64_t min_us, uint64_t max_us,
                           uint32_t attempts);

/* ---- cache.c ---- */
void route_cache_done(struct route_cache *cache);
struct route *route_cache_find(const struct route_cache *cache, struct slice key);
/* The range that holds the last keys before `end`; empty end: the last range. */
struct route *route_cache_find_before(const struct route_cache *cache, struct slice end);
struct route *route_cache_by_id(const struct route_cache *cache, uint64_t range_id);
/* True when it was newer than what is cached of that range and of every range it overlaps
 * (those are evicted). */
bool router_learn(struct router *router, const struct range_descriptor *descriptor);
/* Its waiting parts become ready. */
void router_evict(struct router *router, struct route *route);

/* ---- calls.c ---- */
struct router_call *router_call_new(struct router *router);
struct router_part *router_part_new(struct router_call *call);
void router_part_free(struct router_part *part);
/* Answers and frees the call. `reply` may borrow from the call's arena. */
void router_call_finish(struct router_call *call, const struct router_reply *reply);
void router_call_fail(struct router_call *call, enum router_code code, struct slice text);
/* Whether something may have been proposed whose outcome nobody has told. */
bool router_call_uncertain(const struct router_call *call);
/* The deadline passed, or enough was tried: answers with what stood in the way of the part (NULL:
 * of any). */
void router_call_expire(struct router_call *call, const struct router_part *part);
/* The router's end, or a write that must not be repeated. */
void router_call_abandon(struct router_call *call, struct slice text);
void router_call_charge(struct router_call *call);
bool router_part_repeatable(const struct router_part *part);
/* It names the range, not keys. */
bool router_call_by_range(const struct router_call *call);
void router_describe_route(struct buf *out, const struct route *route);

/* ---- attempts.c ---- */
/* Takes the part out of whatever state it is in; the caller puts it into the next one. */
void router_part_detach(struct router_part *part);
void router_part_ready(struct router_part *part);
void router_part_pause(struct router_part *part, uint64_t pause_us);
void router_part_dispatch(struct router_part *part);
/* Encodes an attempt into the frame for the node. */
void router_part_send(struct router_part *part, struct route *route, uint64_t node_id);
/* No answer will come to a SENT part, or UNKNOWN did: READY again, or the call ends UNKNOWN. */
void router_part_give_up(struct router_part *part, const char *why);
void router_part_timer(struct router_part *part);
/* It changes something and has no time for an answer: refused while that is certain. */
bool router_part_too_late(const struct router_part *part);

/* ---- silence.c ---- */
/* A request leaves for the node; not a stale read, which anybody answers. */
void router_silence_sent(struct router *router, struct route *route, uint64_t node_id);
void router_silence_heard(struct route *route); /* its leader has answered */
/* The part's call is over before it was answered. */
void router_silence_late(const struct router_part *part);
/* An answer to an attempt that is not known any more. */
void router_silence_heard_late(struct router *router, uint64_t node_id, uint64_t attempt_id);

/* ---- overload.c ---- */
/* A write is given to a node; the answer is no more waited for; it was decided. */
void router_overload_send(struct router_part *part, struct route *route);
void router_overload_leave(struct router_part *part);
void router_overload_served(struct router_part *part);
/* True: the range cannot do it in time. The call was answered, or the part pauses. */
bool router_overload_refuses(struct router_part *part, struct route *route);
bool router_overload_may_retry(struct router_part *part, struct route *route, uint64_t pause_us);
bool router_overload_heard(const struct router_part *part, const struct route *route,
                           uint64_t patience_us);

/* ---- nodes.c ---- */
struct router_node *router_node(struct router *router, uint64_t node_id); /* made on first use */
bool router_node_usable(struct router *router, uint64_t node_id);
void router_node_send(struct router *router, struct router_node *node);
void router_nodes_done(struct router *router);

/* ---- search.c ---- */
/* The leader is not known, or not where it was believed to be (`not_node`, 0: no idea). */
void route_search(struct router *router, struct route *route, uint64_t not_node);
void route_wait(struct router *router, struct route *route, struct router_part *part);
void route_found(struct router *router, struct route *route, uint64_t leader_node);
/* The probe was answered otherwise, or will not be. */
void route_probe_failed(struct router *router, struct route *route, uint64_t attempt_id);
void route_search_timer(struct router *router, struct route *route);
void route_search_stop(struct router *router, struct route *route);

/* ---- stages.c ---- */
void router_stages_sent(const struct router_part *part); /* its frame has left */
void router_stages_done(const struct router_call *call, enum router_code code);
void router_stages_flush(struct router *router);

/* ---- refresh.c ---- */
void router_want_refresh(struct router *router);
void router_refresh_timer(struct router *router);
void router_reroute(struct router *router); /* the cache has changed: unrouted parts try again */

/* ---- get.c, scan.c, write.c, replicas.c ---- */
/* How a submitted request becomes a call. False: it was refused and the call is answered. */
bool router_get_begin(struct router_call *call, const struct router_request *request);
bool router_scan_begin(struct router_call *call, const struct router_request *request);
bool router_write_begin(struct router_call *call, const struct router_request *request);
bool router_change_begin(struct router_call *call, const struct router_request *request);
/* Leaves out the keys of the part that are not wanted any more. False: that was all of them, and
 * the part is gone. */
bool router_get_trim(struct router_part *part);
/* Cuts the part to what lies in the range (which holds its first key). */
void router_get_fit(struct router_part *part, const struct route *route);
void router_scan_fit(struct router_part *part, const struct route *route);
/* False: the call was answered CROSS_RANGE. */
bool router_write_fit(struct router_part *part, const struct route *route);
/* Answers with what was read so far. False: that is nothing. */
bool router_scan_answer_early(struct router_call *call);
/* The node's answer OK. CORRUPTION: it does not answer what was asked. */
enum status router_get_reply(struct router_part *part, const struct range_reply *reply) MUST_CHECK;
enum status router_scan_reply(struct router_part *part, const struct range_reply *reply) MUST_CHECK;
enum status router_write_reply(struct router_part *part,
                               const struct range_reply *reply) MUST_CHECK;
enum status router_change_reply(struct router_part *part,
                                const struct range_reply *reply) MUST_CHECK;
enum status router_describe_reply(struct router_part *part,
                                  const struct range_reply *reply) MUST_CHECK;
/* A change that this attempt did not make: the call ends, BUSY or UNKNOWN. */
void router_change_refused(struct router_part *part, struct slice why);

/* ---- stale.c ---- */
bool router_part_stale(const struct router_part *part);
void router_stale_dispatch(struct router_part *part, struct route *route);
/* By a replica that cannot serve the range as it was asked for. */
void router_stale_refused(struct router_part *part, const struct range_reply *reply);
void router_stale_unanswered(struct router_part *part);
void router_stale_answered(struct router_part *part, uint64_t as_of);

#endif
