/* Requests to a range and their replies, and the frames that carry many of them between a router
 * and a node. One frame is one message on the router→node stream:
 *
 *   frame    version u8 ‖ (length u32 little-endian ‖ call)*
 *   request  call_id varint ‖ kind u8 ‖ range id varint ‖ epoch: conf_version varint, span_version
 *            varint ‖ timeout_us varint ‖ body
 *   reply    call_id varint ‖ code u8 ‖ body
 *
 * Bodies are laid out in request.c. Decoded slices borrow from the frame. */
#ifndef FLOTILLA_RANGE_REQUEST_H
#define FLOTILLA_RANGE_REQUEST_H

#include "range/descriptor.h"
#include "txn/command.h"

#define RANGE_FRAME_VERSION 2u
/* The router cuts what clients ask into requests within these; a node refuses more keys. A reply
 * ends early when its rows would pass RANGE_REPLY_BYTES_MAX, after at least one, or when the node
 * has done as much for it as it does for one read (range/limits.h): a SCAN then says `more` and
 * where to go on, perhaps without any row; a GET has fewer rows than it was asked keys. The router
 * asks for the rest.
 *
 * A row counts its key, its value and RANGE_ROW_BYTES for what the public messages put around them
 * (23 bytes at most), so that a message made of it stays below RANGE_REPLY_BYTES_MAX: a gRPC
 * client takes 4 MiB unless it is told otherwise. */
#define RANGE_GET_KEYS_MAX 10000u
#define RANGE_SCAN_ROWS_MAX 10000u
#define RANGE_REPLY_BYTES_MAX (3u << 20)
#define RANGE_ROW_BYTES 32u

enum range_request_kind {
    RANGE_GET = 1, /* one or more keys of one range */
    RANGE_SCAN = 2,
    RANGE_WRITE = 3,           /* an encoded txn_command */
    RANGE_TRANSFER = 4,        /* leadership to a node; admin */
    RANGE_CHANGE_REPLICAS = 5, /* admin */
    RANGE_DESCRIBE = 6,        /* admin: the replicas, as the leader knows them */
};

/* One change of a range's replicas, named by the node. */
enum range_replica_change_kind {
    RANGE_ADD_LEARNER = 1, /* the node has none yet: a new replica id, fed by a snapshot */
    RANGE_PROMOTE = 2,     /* learner to voter; it must have caught up */
    RANGE_REMOVE = 3,      /* voter or learner; its data on the node is deleted */
    RANGE_DEMOTE = 4,      /* voter to learner */
};

struct range_replica_change {
    enum range_replica_change_kind kind;
    uint64_t node_id;
};

enum range_read_mode {
    RANGE_READ_LINEARIZABLE = 0, /* lease when valid, else ReadIndex */
    RANGE_READ_INDEX = 1,        /* ReadIndex always: needs no clock assumption */
    /* What the asked replica has applied, leader or not, however old; asks nobody, so that it is
     * answered without a quorum, too. */
    RANGE_READ_STALE = 2,
};

struct range_request {
    uint64_t call_id; /* chosen by the router, unique among its outstanding calls on this stream */
    enum range_request_kind kind;
    uint64_t range_id;
    struct range_epoch epoch; /* as the router believes */
    uint64_t timeout_us;      /* left when sent; the receiver adds its own clock */
    enum range_read_mode read_mode;
    uint32_t key_count; /* GET */
    struct slice *keys;
    struct slice start, end; /* SCAN [start, end), empty end: to the end of the range */
    bool reverse;
    bool keys_only;
    uint32_t row_limit;   /* SCAN; 0 or above RANGE_SCAN_ROWS_MAX: that maximum */
    uint32_t byte_limit;  /* SCAN, of rows; 0 or above RANGE_REPLY_BYTES_MAX: that maximum */
    struct slice command; /* WRITE: encoded, unstamped */
    uint64_t to_node;     /* TRANSFER */
    /* CHANGE_REPLICAS: at least one, each of another node; several are one joint step. The epoch
     * must be the present one. OK comes when the change is applied, and the joint configuration
     * left; a descriptor with a higher conf_version settles UNKNOWN. */
    uint32_t change_count;
    struct range_replica_change *changes;
};

enum range_reply_code {
    RANGE_REPLY_OK = 0,
    RANGE_REPLY_NOT_LEADER = 1,  /* leader_node (0: unknown); nothing was proposed: safe to retry */
    RANGE_REPLY_STALE_EPOCH = 2, /* descriptor: the present one; nothing was proposed */
    RANGE_REPLY_NO_RANGE = 3,    /* this node has no such replica; nothing was proposed */
    RANGE_REPLY_BUSY = 4,        /* queue full; nothing was proposed; retry after retry_after_us */
    RANGE_REPLY_TIMEOUT = 5,     /* deadline passed before anything was proposed */
    RANGE_REPLY_UNKNOWN = 6, /* proposed, outcome not known here: retry with the same request id */
    RANGE_REPLY_INVALID = 7, /* text says what and the limit; nothing changed */
    RANGE_REPLY_UNAVAILABLE =
        8, /* shutting down, no timestamp to be had: text; nothing was proposed */
};

/* How far a replica is, as its leader knows. */
struct range_replica_progress {
    uint64_t replica_id;
    uint64_t match;     /* entries up to this one are in its log, durably */
    bool active;        /* heard from within the last election time-out */
    bool gets_snapshot; /* it lacks entries that the leader's log no longer has */
    bool log_lost;      /* it has lost entries that it had acknowledged: unfit, to be replaced */
};

struct range_row {
    struct slice key; /* SCAN; in GET the asked key's position is the row's position */
    struct slice value;
    uint64_t version; /* commit timestamp; 0: absent (GET) */
};

struct range_reply {
    uint64_t call_id;
    enum range_reply_code code;
    enum range_request_kind kind; /* OK: decides the body */
    uint64_t leader_node;         /* NOT_LEADER */
    const struct range_descriptor
        *descriptor;         /* NOT_LEADER, STALE_EPOCH: may be NULL; CHANGE_REPLICAS: the new one;
                                DESCRIBE.         Owned by the caller who encodes; by the decoder's
                                `descriptor_storage` when         decoded */
    uint32_t retry_after_us; /* BUSY */
    union {
        struct slice text;   /* INVALID, UNAVAILABLE */
        struct slice resume; /* OK, SCAN, more: what remains begins at this key (reverse: ends
                                before it) */
    };
    uint32_t row_count; /* GET: one per key, see RANGE_REPLY_BYTES_MAX; SCAN */
    struct range_row *rows;
    bool more;      /* SCAN: a limit ended it, and there may be more, from `resume` on */
    bool stale;     /* GET, SCAN: it was asked for as a stale read */
    uint64_t as_of; /* stale: every write of the range up to this commit timestamp is shown, and
                       none above it; 0: the range had no write yet */
    struct txn_outcome outcome; /* WRITE */
    /* DESCRIBE: of a leader that may have been followed by another meanwhile. What is done about it
     * names the descriptor's epoch, and is refused if that is not the present one. */
    uint64_t term, commit_index;
    uint32_t progress_count;
    struct range_replica_progress *progress;
};

/* Appends one length-prefixed call to a frame begun by range_frame_begin. */
void range_frame_begin(struct buf *frame);
void range_request_encode(struct buf *frame, const struct range_request *request);
void range_reply_encode(struct buf *frame, const struct range_reply *reply);

/* Walks a frame. CORRUPTION: the peer breaks protocol, close its stream. */
enum status range_frame_open(struct slice frame, struct decoder *ret_calls) MUST_CHECK;
/* False at the end. A bad length ends with decoder->failed set. */
bool range_frame_next(struct decoder *calls, struct slice *ret_call);
/* CORRUPTION for what no sender of this version would send. UNSUPPORTED: an unknown kind of request
 * whose head is sound: answer INVALID to its call id (range_request_peek). */
enum status range_request_decode(struct slice call, struct arena *arena,
                                 struct range_request *ret_request) MUST_CHECK;
enum status range_reply_decode(struct slice call, struct arena *arena,
                               struct range_descriptor *descriptor_storage,
                               struct range_reply *ret_reply) MUST_CHECK;
/* Just the range id (of a request) or call id, for dispatch. */
enum status range_request_peek(struct slice call, uint64_t *ret_call_id,
                               uint64_t *ret_range_id) MUST_CHECK;

#endif
