/* What a range's entry of a configuration change carries beside the core's change, and what follows
 * from one change for the descriptor. Pure functions; membership.c uses them at the leader and when
 * such an entry is applied.
 *
 *   context := version u8 (1) ‖ conf_version varint ‖ count varint ‖ (replica id varint ‖
 *              node varint)*
 *
 * conf_version is the one that the change was made for: under another one it is no change. The
 * pairs are the replicas that join, with the range's next replica ids in order. The entry that
 * leaves a joint configuration has no bytes at all; the core makes it. */
#ifndef FLOTILLA_RANGE_MEMBERSHIP_H
#define FLOTILLA_RANGE_MEMBERSHIP_H

#include "raft/raft.h"
#include "range/descriptor.h"
#include "range/request.h"

#define RANGE_MEMBERSHIP_VERSION 1u

struct range_membership {
    uint64_t conf_version;
    uint32_t joining_count;
    struct {
        uint64_t replica_id, node_id;
    } joining[RANGE_REPLICAS_MAX];
};

void range_membership_encode(struct buf *out, const struct range_membership *membership);
/* CORRUPTION; UNSUPPORTED: written by a newer version. */
enum status range_membership_decode(struct slice bytes,
                                    struct range_membership *ret_membership) MUST_CHECK;

/* The change that a request asks for. INVALID, with a text: it does not follow from the descriptor,
 * in which no change may be under way. The context of ret_change is the caller's to set. */
enum status range_membership_plan(const struct range_descriptor *descriptor,
                                  const struct range_replica_change *changes, uint32_t count,
                                  struct buf *text, struct raft_conf_change *ret_change,
                                  struct range_membership *ret_membership) MUST_CHECK;

/* Turns the descriptor into the one after the change. False, nothing changed: the change is none,
 * because it was made for another configuration or does not follow from this one; the same on every
 * replica. `membership` is NULL for leaving a joint configuration. */
bool range_membership_advance(struct range_descriptor *descriptor,
                              const struct raft_conf_change *change,
                              const struct range_membership *membership);

#endif
