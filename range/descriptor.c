/* Range descriptors as bytes, on disk and on the wire:
 *
 *   version u8 (1; 2: a joint configuration) ‖ range_id varint ‖
 *   start (varint length, bytes) ‖ end (varint length, bytes) ‖
 *   conf_version varint ‖ span_version varint ‖ next_replica_id varint ‖
 *   replica_count varint ‖ replicas: (replica_id varint ‖ node_id varint ‖ role u8)*
 *
 * Roles 3 to 5 occur in version 2 only, so that a version of the program that knows no joint
 * configurations stops at one, and at nothing else.
 *
 * What is written is asserted and what is read is checked by the same function. */
#include "range/descriptor.h"

#include "base/assert.h"
#include "txn/limits.h"

#define DESCRIPTOR_VERSION 1u
#define DESCRIPTOR_VERSION_JOINT 2u

void range_descriptor_done(struct range_descriptor *descriptor) {
    buf_done(&descriptor->start);
    buf_done(&descriptor->end);
    *descriptor = (struct range_descriptor){0};
}

void range_descriptor_copy(struct range_descriptor *into, const struct range_descriptor *from) {
    ASSERT(into != from);
    struct buf start = into->start, end = into->end;
    buf_assign(&start, slice_from_buf(&from->start));
    buf_assign(&end, slice_from_buf(&from->end));
    *into = *from;
    into->start = start;
    into->end = end;
}

bool range_descriptor_contains(const struct range_descriptor *descriptor, struct slice user_key) {
    if (slice_compare(user_key, slice_from_buf(&descriptor->start)) < 0) return false;
    return descriptor->end.len == 0 ||
           slice_compare(user_key, slice_from_buf(&descriptor->end)) < 0;
}

bool range_descriptor_covers(const struct range_descriptor *descriptor, struct slice start,
                             struct slice end) {
    if (!range_descriptor_contains(descriptor, start)) return false;
    if (descriptor->end.len == 0) return true;
    return end.len > 0 && slice_compare(end, slice_from_buf(&descriptor->end)) <= 0;
}

const struct range_replica_ref *range_descriptor_on_node(const struct range_descriptor *descriptor,
                                                         uint64_t node_id) {
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        if (descriptor->replicas[i].node_id == node_id) return &descriptor->replicas[i];
    return NULL;
}

const struct range_replica_ref *range_descriptor_replica(const struct range_descriptor *descriptor,
                                                         uint64_t replica_id) {
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        if (descriptor->replicas[i].replica_id == replica_id) return &descriptor->replicas[i];
    return NULL;
}

uint32_t range_descriptor_move_bits(uint32_t bits, const struct range_descriptor *before,
                                    const struct range_descriptor *after) {
    uint32_t moved = 0;
    for (uint32_t i = 0; i < after->replica_count; i++) {
        const struct range_replica_ref *old =
            range_descriptor_replica(before, after->replicas[i].replica_id);
        if (old && (bits >> (old - before->replicas) & 1)) moved |= UINT32_C(1) << i;
    }
    return moved;
}

bool range_replica_stays_voter(const struct range_replica_ref *replica) {
    return replica->role == RANGE_VOTER || replica->role == RANGE_VOTER_INCOMING;
}

static bool replica_equal(const struct range_replica_ref *a, const struct range_replica_ref *b) {
    return a->replica_id == b->replica_id && a->node_id == b->node_id && a->role == b->role;
}

bool range_descriptor_equal(const struct range_descriptor *a, const struct range_descriptor *b) {
    if (a->range_id != b->range_id || a->epoch.conf_version != b->epoch.conf_version ||
        a->epoch.span_version != b->epoch.span_version)
        return false;
    if (!slice_equal(slice_from_buf(&a->start), slice_from_buf(&b->start))) return false;
    if (!slice_equal(slice_from_buf(&a->end), slice_from_buf(&b->end))) return false;
    if (a->joint != b->joint || a->next_replica_id != b->next_replica_id ||
        a->replica_count != b->replica_count)
        return false;
    for (uint32_t i = 0; i < a->replica_count; i++)
        if (!replica_equal(&a->replicas[i], &b->replicas[i])) return false;
    return true;
}

static bool replica_is_sound(const struct range_descriptor *descriptor, uint32_t index) {
    const struct range_replica_ref *replica = &descriptor->replicas[index];
    uint32_t last_role = descriptor->joint ? RANGE_VOTER_DEMOTING : RANGE_LEARNER;
    if (replica->role < RANGE_VOTER || (uint32_t)replica->role > last_role) return false;
    if (replica->node_id == 0 || replica->replica_id == 0) return false;
    if (replica->replica_id >= descriptor->next_replica_id) return false;
    /* Neither a replica id nor a node comes twice. */
    return range_descriptor_replica(descriptor, replica->replica_id) == replica &&
           range_descriptor_on_node(descriptor, replica->node_id) == replica;
}

/* A range without voters could decide nothing any more, in either half. */
static bool has_voters(const struct range_descriptor *descriptor) {
    bool old_half = false, new_half = false;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        enum range_replica_role role = descriptor->replicas[i].role;
        old_half = old_half || role == RANGE_VOTER || role == RANGE_VOTER_OUTGOING ||
                   role == RANGE_VOTER_DEMOTING;
        new_half = new_half || role == RANGE_VOTER || role == RANGE_VOTER_INCOMING;
    }
    return old_half && new_half;
}

static bool is_sound(const struct range_descriptor *descriptor) {
    if (descriptor->range_id == 0) return false;
    struct slice start = slice_from_buf(&descriptor->start), end = slice_from_buf(&descriptor->end);
    if (start.len > TXN_KEY_BYTES_MAX || end.len > TXN_KEY_BYTES_MAX) return false;
    if (end.len > 0 && slice_compare(start, end) >= 0) return false;
    if (descriptor->replica_count == 0 || descriptor->replica_count > RANGE_REPLICAS_MAX)
        return false;
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        if (!replica_is_sound(descriptor, i)) return false;
    return has_voters(descriptor);
}

void range_descriptor_encode(struct buf *out, const struct range_descriptor *descriptor) {
    ASSERT(is_sound(descriptor));
    encode_u8(out, descriptor->joint ? DESCRIPTOR_VERSION_JOINT : DESCRIPTOR_VERSION);
    encode_varint(out, descriptor->range_id);
    encode_bytes(out, slice_from_buf(&descriptor->start));
    encode_bytes(out, slice_from_buf(&descriptor->end));
    encode_varint(out, descriptor->epoch.conf_version);
    encode_varint(out, descriptor->epoch.span_version);
    encode_varint(out, descriptor->next_replica_id);
    encode_varint(out, descriptor->replica_count);
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        encode_varint(out, descriptor->replicas[i].replica_id);
        encode_varint(out, descriptor->replicas[i].node_id);
        encode_u8(out, (uint8_t)descriptor->replicas[i].role);
    }
}

static bool decode_replicas(struct decoder *in, struct range_descriptor *descriptor) {
    uint64_t count = decode_varint(in);
    if (in->failed || count > RANGE_REPLICAS_MAX) return false;
    descriptor->replica_count = (uint32_t)count;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        struct range_replica_ref *replica = &descriptor->replicas[i];
        replica->replica_id = decode_varint(in);
        replica->node_id = decode_varint(in);
        replica->role = (enum range_replica_role)decode_u8(in);
    }
    return !in->failed;
}

enum status range_descriptor_decode(struct decoder *in, struct range_descriptor *ret_descriptor) {
    range_descriptor_done(ret_descriptor);
    uint8_t version = decode_u8(in);
    if (version != DESCRIPTOR_VERSION && version != DESCRIPTOR_VERSION_JOINT)
        return STATUS_CORRUPTION;
    ret_descriptor->joint = version == DESCRIPTOR_VERSION_JOINT;
    ret_descriptor->range_id = decode_varint(in);
    struct slice start = decode_bytes(in), end = decode_bytes(in);
    ret_descriptor->epoch.conf_version = decode_varint(in);
    ret_descriptor->epoch.span_version = decode_varint(in);
    ret_descriptor->next_replica_id = decode_varint(in);
    bool complete = decode_replicas(in, ret_descriptor);
    buf_assign(&ret_descriptor->start, start);
    buf_assign(&ret_descriptor->end, end);
    if (complete && is_sound(ret_descriptor)) return STATUS_OK;
    range_descriptor_done(ret_descriptor);
    return STATUS_CORRUPTION;
}
