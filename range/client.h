/* Who waits for an answer: sessions as a worker sees them, and pending requests.
 *
 * A worker keeps one range_client per session that something of is under way here: replies of a
 * turn gather in its frame and leave together. The reference counts are plain integers, because
 * only the worker touches them; the session itself is retained once. */
#ifndef FLOTILLA_RANGE_CLIENT_H
#define FLOTILLA_RANGE_CLIENT_H

#include "base/hashmap.h"
#include "base/heap.h"
#include "base/list.h"
#include "range/inbox.h"
#include "range/replica.h"
#include "range/request.h"

struct range_client {
    struct idmap_node by_session; /* in worker->clients.by_session, by the session's address */
    struct range_session *session;
    uint32_t refs;             /* pending requests, and the frame being admitted */
    struct list_node in_dirty; /* worker->clients.dirty: the frame holds replies, or refs is 0 */
    struct buf frame;          /* replies of this turn; empty: none */
};

/* Of a worker. */
struct range_worker_clients {
    struct idmap by_session;
    struct list_node dirty;
    struct heap deadlines;
    struct range_pending *free_pendings; /* chained over link.next */
    uint32_t free_count;
    uint32_t pending_count; /* all pending requests */
    size_t pending_bytes;   /* of commands */
    size_t held_bytes;      /* of frames that pending requests borrow from */
};

enum range_pending_state {
    RANGE_PENDING_WAITING,  /* a command without timestamp, in replica->commands.waiting */
    RANGE_PENDING_PROPOSED, /* a command in the log, in replica->commands.proposed */
    RANGE_PENDING_READ,     /* in reads.unindexed, a round, or reads.indexed */
    RANGE_PENDING_TRANSFER, /* in replica->transfer.requests */
    RANGE_PENDING_CHANGE,   /* a change of replicas in the log, in replica->changes.requests */
};

/* One request that could not be answered at once. From the worker's free list. */
struct range_pending {
    struct list_node link;
    struct heap_node deadline; /* in worker->clients.deadlines */
    struct range_replica *replica;
    struct range_client *client;
    struct range_item *frame; /* keeps `bytes` alive; NULL once the log entry holds them */
    struct slice bytes;       /* a command: encoded; a read: the whole call */
    uint64_t call_id;
    enum range_pending_state state;
    bool covered;        /* WAITING: the timestamp request under way counts it */
    bool has_request_id; /* a command: asking again settles an unknown outcome */
    bool quorum;         /* READ: a ReadIndex whatever the lease says */
    uint32_t position;   /* PROPOSED: which command of its entry */
    bool changed;        /* CHANGE: its entry is applied; the joint configuration may not be left */
    struct raft_log_id id; /* PROPOSED, CHANGE */
    uint64_t arrived_us;   /* a command: when its frame came in */
    uint64_t admitted_us;  /* a command: the time of the turn that took it out of the mailbox */
    uint64_t asked_us;     /* covered, PROPOSED: when its timestamp was asked for */
    uint64_t since_us;     /* PROPOSED: when */
    uint64_t turn;         /* PROPOSED: number of the turn (stages.h) */
    uint64_t index;        /* READ, in reads.indexed: what must be applied */
    uint64_t to_node;      /* TRANSFER */
};

static inline struct range_pending *range_pending_of(struct list_node *link) {
    return CONTAINER_OF(link, struct range_pending, link);
}

/* It may come true whatever is answered. */
static inline bool range_pending_in_log(const struct range_pending *pending) {
    return pending->state == RANGE_PENDING_PROPOSED || pending->state == RANGE_PENDING_CHANGE;
}

/* Adds a reference. */
struct range_client *range_client_get(struct range_worker *worker, struct range_session *session);
void range_client_put(struct range_worker *worker, struct range_client *client);
void range_client_reply(struct range_worker *worker, struct range_client *client,
                        const struct range_reply *reply);
/* Sends every gathered frame and forgets sessions that nothing is under way of. */
void range_clients_flush(struct range_worker *worker);
void range_clients_free(struct range_worker *worker);

/* Replies that need no pending request. */
void range_refuse(struct range_worker *worker, struct range_client *client, uint64_t call_id,
                  enum range_reply_code code);
void range_refuse_text(struct range_worker *worker, struct range_client *client, uint64_t call_id,
                       enum range_reply_code code, struct slice text);
/* BUSY, with the time after which to come back. */
void range_refuse_busy(struct range_worker *worker, struct range_client *client, uint64_t call_id,
                       uint32_t retry_after_us);
void range_refuse_stale_epoch(const struct range_replica *replica, struct range_client *client,
                              uint64_t call_id);
void range_refuse_not_leader(const struct range_replica *replica, struct range_client *client,
                             uint64_t call_id);

/* Takes references on client and frame; the caller links it into a list and sets the rest. */
struct range_pending *range_pending_new(struct range_replica *replica, struct range_client *client,
                                        struct range_item *frame, enum range_pending_state state,
                                        uint64_t call_id, uint64_t deadline_us);
void range_pending_free(struct range_pending *pending); /* unlinks it everywhere */
void range_pending_release_frame(struct range_pending *pending);
/* These answer and free. */
void range_pending_refuse(struct range_pending *pending, enum range_reply_code code);
void range_pending_refuse_text(struct range_pending *pending, enum range_reply_code code,
                               struct slice text);
/* Every pending request of a list. */
void range_pending_refuse_all(struct list_node *list, enum range_reply_code code);
/* Answers what is late: a command that is in the log with UNKNOWN, anything else with TIMEOUT. */
void range_pending_expire(struct range_worker *worker);

#endif
