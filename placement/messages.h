/* What nodes, routers and the placement driver say to each other, as plain structs. rpc/ carries
 * them (rpc/proto/flotilla/v1/placement.proto) and converts to and from range/'s types: placement/
 * and range/ never include each other. */
#ifndef FLOTILLA_PLACEMENT_MESSAGES_H
#define FLOTILLA_PLACEMENT_MESSAGES_H

#include "base/codec.h"
#include "base/status.h"
#include "placement/limits.h"

/* Made at a node's first start and kept in its data directory: names the directory, not the
 * process. */
struct placement_uuid {
    uint8_t bytes[16];
};

/* A process of a directory: how often the directory was started, in the upper bits, and noise that
 * tells copies of one directory apart. The count is made durable in the directory before it is
 * first sent, so each start has a higher one, and a directory that was put back from an older copy
 * comes with one that was seen before. */
#define PLACEMENT_INCARNATION_NOISE_BITS 22u

static inline uint64_t placement_incarnation(uint64_t starts, uint64_t noise) {
    return starts << PLACEMENT_INCARNATION_NOISE_BITS |
           (noise & ((UINT64_C(1) << PLACEMENT_INCARNATION_NOISE_BITS) - 1));
}

static inline uint64_t placement_incarnation_starts(uint64_t incarnation) {
    return incarnation >> PLACEMENT_INCARNATION_NOISE_BITS;
}

struct placement_epoch {
    uint64_t conf_version; /* grows with every change of the replica set */
    uint64_t span_version; /* grows with every split and merge */
};

/* As range/descriptor.h has them; the last three exist only in a joint configuration. */
enum placement_role {
    PLACEMENT_VOTER = 1,
    PLACEMENT_LEARNER = 2,
    PLACEMENT_VOTER_INCOMING = 3,
    PLACEMENT_VOTER_OUTGOING = 4,
    PLACEMENT_VOTER_DEMOTING = 5,
};

struct placement_replica {
    uint64_t replica_id; /* unique within the range, never reused */
    uint64_t node_id;
    enum placement_role role;
};

/* A range as placement knows it. The range's own replicated descriptor has the last word. */
struct placement_descriptor {
    uint64_t range_id;     /* positive */
    struct buf start, end; /* user keys [start, end); empty end: to the end of the key space */
    struct placement_epoch epoch;
    bool joint; /* a change of several replicas is under way */
    uint64_t next_replica_id;
    uint32_t replica_count;
    struct placement_replica
        replicas[PLACEMENT_REPLICAS_MAX]; /* at birth [0] is meant to lead first */
};

void placement_descriptor_done(struct placement_descriptor *descriptor);
void placement_descriptor_copy(struct placement_descriptor *into,
                               const struct placement_descriptor *from);
/* Of a range's birth, which no joint configuration is: `joint` is not written. */
void placement_descriptor_encode(struct buf *out, const struct placement_descriptor *descriptor);
/* Replaces ret; on failure it is left empty. Checks every field. CORRUPTION. */
enum status placement_descriptor_decode(struct decoder *in,
                                        struct placement_descriptor *ret_descriptor) MUST_CHECK;
/* Ids positive, span not empty, epoch positive, replicas distinct, roles such as may be. */
bool placement_descriptor_valid(const struct placement_descriptor *descriptor);
const struct placement_replica *
placement_descriptor_on_node(const struct placement_descriptor *descriptor, uint64_t node_id);
/* Both epoch numbers only grow, so one that is ahead decides. */
bool placement_epoch_newer(struct placement_epoch a, struct placement_epoch b); /* a is */

/* ---- registration ---- */
struct placement_register_request {
    uint64_t cluster_id; /* as stored in the data directory; 0: fresh */
    uint64_t node_id;    /* likewise */
    struct placement_uuid uuid;
    uint64_t incarnation; /* of this process: placement_incarnation */
    /* What the engine's synced sequence (storage/engine.h) was when this process opened it. */
    uint64_t synced_sequence;
    struct slice address; /* host:port where routers and other nodes reach this node */
    struct slice version; /* of the binary, for the operator */
};

struct placement_register_reply {
    /* OK; INVALID: malformed request; MISMATCH: of another cluster, unknown here, or set back in
     * time; EXISTS: the id or address is somebody else's who is alive; NOT_LEADER, BUSY,
     * UNAVAILABLE: ask again. */
    enum status status;
    struct slice text;       /* why not, and the way out */
    uint32_t retry_after_ms; /* 0 on a refusal for good */
    uint64_t cluster_id, node_id;
};

/* ---- heartbeats ---- */
struct placement_replica_report {
    uint64_t range_id, replica_id;
    struct placement_epoch epoch;
    uint64_t term;
    bool leads;
    uint64_t applied_index;
    uint64_t log_bytes, data_bytes; /* approximate */
    /* Only when the last answer wanted it, and only from the leader; else NULL. */
    const struct placement_descriptor *descriptor;
};

struct placement_store_figures {
    uint64_t capacity_bytes, available_bytes; /* of the file system; capacity 0: not known */
    uint64_t data_bytes;                      /* of its replicas' rows, approximate */
    uint32_t replica_count, leader_count;
};

struct placement_heartbeat_request {
    uint64_t cluster_id, node_id, incarnation;
    uint64_t synced_sequence;      /* of the engine, now */
    uint64_t wall_ms;              /* what the node's clock shows; 0: not told */
    uint64_t address_book_version; /* newest that the node has; 0: none */
    bool leaving;                  /* clean stop: not heard from again until it registers */
    bool complete;                 /* every replica is reported; else only those that changed */
    struct placement_store_figures figures;
    uint32_t report_count;
    const struct placement_replica_report *reports;
};

struct placement_node_address {
    uint64_t node_id;
    uint64_t incarnation; /* of the process that registered last */
    struct slice address;
};

struct placement_create {
    const struct placement_descriptor *descriptor;
    bool campaign; /* this replica is meant to lead first */
};

/* Everything pointed at is borrowed from the driver until its next call. */
struct placement_heartbeat_reply {
    /* OK; MISMATCH: not this cluster or not a registered node; EXISTS: another process has taken
     * this node's place, stop; NOT_LEADER, UNAVAILABLE: ask again. */
    enum status status;
    struct slice text;
    bool want_complete;         /* the driver has no complete report: send one at once */
    uint32_t next_heartbeat_ms; /* how soon to come back */
    uint64_t address_book_version;
    uint32_t node_count; /* 0 when the node's book is current */
    const struct placement_node_address *nodes;
    uint32_t create_count;
    const struct placement_create *creates;
    uint32_t wanted_count; /* ranges whose leader shall report the descriptor */
    const uint64_t *wanted;
};

/* ---- range map ---- */
struct placement_applied {
    uint64_t node_id;
    uint64_t index; /* applied there, as of the node's last report of the range */
};

struct placement_range_entry {
    const struct placement_descriptor *descriptor;
    uint64_t leader_node; /* 0: unknown */
    uint64_t leader_term;
    uint32_t applied_count; /* nodes that have reported the range; in no order */
    const struct placement_applied *applied;
};

/* Borrowed from the driver until its next call. */
struct placement_range_map {
    uint64_t cluster_id;
    uint32_t range_count; /* in key order; 0 before birth */
    const struct placement_range_entry *ranges;
    uint32_t node_count;
    const struct placement_node_address *nodes;
};

/* ---- status ---- */
struct placement_node_status {
    uint64_t node_id;
    struct slice address, version;
    /* Heard from within two heartbeats. A node that is neither alive nor down is late: it may be
     * busy, or gone. */
    bool alive;
    bool down;                  /* silent for the whole window, or it has said that it leaves */
    bool set_back;              /* its last registration was refused: it has forgotten writes */
    uint64_t seen_ms_ago;       /* UINT64_MAX: never since this member leads */
    uint32_t replicas, leaders; /* as the map has them */
    /* Log entries by which the furthest of its replicas is behind its leader, over the ranges that
     * have one, as of the last reports of both; UINT64_MAX: one of the two is yet to report, or the
     * node is not alive. */
    uint64_t behind_entries;
    struct placement_store_figures figures; /* as last reported; old ones unless alive */
};

/* Borrowed from the driver until its next call. */
struct placement_status {
    uint64_t cluster_id; /* 0: not yet formed */
    uint64_t member_id, leader_member;
    bool born;
    uint32_t registered_nodes, birth_nodes, replication_factor;
    uint32_t nodes_waiting; /* for the birth: alive, by their heartbeats; 0 once born */
    uint32_t range_count, ranges_without_leader;
    /* Ranges with fewer voters on nodes that are alive than the replication factor; with learners;
     * in the middle of a joint step. */
    uint32_t ranges_under_replicated, ranges_with_learners, ranges_joint;
    uint32_t replicas_unconfirmed;              /* of ranges that are as they were born */
    const struct placement_range_entry *ranges; /* in key order */
    uint64_t timestamp_next, timestamp_bound;
    /* By so much the leading member's wall clock is ahead of the time that timestamps are made of.
     */
    uint64_t clock_ahead_ms;
    uint64_t applied_index, log_first_index;
    uint32_t node_count;
    const struct placement_node_status *nodes;
};

#endif
