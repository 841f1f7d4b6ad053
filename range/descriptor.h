/* What a range is: its span, its epoch and its replicas. The descriptor in a range's own replicated
 * state has the last word; every other copy is a cache. */
#ifndef FLOTILLA_RANGE_DESCRIPTOR_H
#define FLOTILLA_RANGE_DESCRIPTOR_H

#include "base/codec.h"
#include "base/status.h"

#define RANGE_REPLICAS_MAX 16u

/* The two versions travel together; a request is refused when either is behind. */
struct range_epoch {
    uint64_t conf_version; /* grows with every change of the replica set */
    uint64_t span_version; /* grows with every split and merge */
};

/* The last three exist only while a joint configuration is (thesis 4.3): who votes in one half of
 * it only, and what becomes of it when the joint configuration is left. */
enum range_replica_role {
    RANGE_VOTER = 1,          /* of the configuration; while joint: of both halves */
    RANGE_LEARNER = 2,        /* gets the log, never votes or leads */
    RANGE_VOTER_INCOMING = 3, /* of the new half: becomes a voter */
    RANGE_VOTER_OUTGOING = 4, /* of the old half: will be removed */
    RANGE_VOTER_DEMOTING = 5, /* of the old half: becomes a learner */
};

struct range_replica_ref {
    uint64_t replica_id; /* unique within the range, never reused: it is the Raft id */
    uint64_t node_id;
    enum range_replica_role role;
};

struct range_descriptor {
    uint64_t range_id; /* positive */
    struct buf start;  /* first user key, inclusive; empty: from the beginning */
    struct buf end;    /* exclusive; empty: to the end */
    struct range_epoch epoch;
    bool joint; /* a change of several replicas is under way; it is left by itself */
    uint64_t next_replica_id;
    uint32_t replica_count;
    struct range_replica_ref replicas[RANGE_REPLICAS_MAX];
};

void range_descriptor_done(struct range_descriptor *descriptor);
void range_descriptor_copy(struct range_descriptor *into, const struct range_descriptor *from);
bool range_descriptor_contains(const struct range_descriptor *descriptor, struct slice user_key);
/* [start, end) lies inside; empty end: no end. */
bool range_descriptor_covers(const struct range_descriptor *descriptor, struct slice start,
                             struct slice end);
const struct range_replica_ref *range_descriptor_on_node(const struct range_descriptor *descriptor,
                                                         uint64_t node_id);
const struct range_replica_ref *range_descriptor_replica(const struct range_descriptor *descriptor,
                                                         uint64_t replica_id);
/* What is kept by place in the descriptor, bit i for replicas[i], moved to where they are after. */
uint32_t range_descriptor_move_bits(uint32_t bits, const struct range_descriptor *before,
                                    const struct range_descriptor *after);
/* It will be a voter once no change is under way: leadership may go there. */
bool range_replica_stays_voter(const struct range_replica_ref *replica);
bool range_descriptor_equal(const struct range_descriptor *a, const struct range_descriptor *b);

void range_descriptor_encode(struct buf *out, const struct range_descriptor *descriptor);
/* Replaces ret; on failure ret is empty. Checks every field. CORRUPTION. */
enum status range_descriptor_decode(struct decoder *in,
                                    struct range_descriptor *ret_descriptor) MUST_CHECK;

#endif
