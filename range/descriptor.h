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

enum range_replica_role { RANGE_VOTER = 1, RANGE_LEARNER = 2 };

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
bool range_descriptor_equal(const struct range_descriptor *a, const struct range_descriptor *b);

void range_descriptor_encode(struct buf *out, const struct range_descriptor *descriptor);
/* Replaces ret; on failure ret is empty. Checks every field. CORRUPTION. */
enum status range_descriptor_decode(struct decoder *in,
                                    struct range_descriptor *ret_descriptor) MUST_CHECK;

#endif
