/* Range descriptors as placement keeps them.
 *
 * Bytes of a descriptor, in commands, records and snapshots:
 *
 *   range id        varint
 *   start, end      varint length ‖ bytes, each
 *   epoch           varint conf_version ‖ varint span_version
 *   next replica id varint
 *   replicas        varint count ‖ (varint replica id ‖ varint node id ‖ u8 role)* */
#include "placement/messages.h"

#include "base/assert.h"

void placement_descriptor_done(struct placement_descriptor *descriptor) {
    buf_done(&descriptor->start);
    buf_done(&descriptor->end);
    *descriptor = (struct placement_descriptor){0};
}

void placement_descriptor_copy(struct placement_descriptor *into,
                               const struct placement_descriptor *from) {
    struct buf start = into->start, end = into->end;
    buf_assign(&start, slice_from_buf(&from->start));
    buf_assign(&end, slice_from_buf(&from->end));
    *into = *from;
    into->start = start;
    into->end = end;
}

bool placement_descriptor_valid(const struct placement_descriptor *descriptor) {
    if (!descriptor->range_id || !descriptor->epoch.conf_version || !descriptor->epoch.span_version)
        return false;
    if (descriptor->start.len > PLACEMENT_KEY_BYTES_MAX ||
        descriptor->end.len > PLACEMENT_KEY_BYTES_MAX)
        return false;
    if (descriptor->end.len &&
        slice_compare(slice_from_buf(&descriptor->start), slice_from_buf(&descriptor->end)) >= 0)
        return false;
    if (!descriptor->replica_count || descriptor->replica_count > PLACEMENT_REPLICAS_MAX)
        return false;
    uint32_t last_role = descriptor->joint ? PLACEMENT_VOTER_DEMOTING : PLACEMENT_LEARNER;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        const struct placement_replica *replica = &descriptor->replicas[i];
        if (!replica->replica_id || replica->replica_id >= descriptor->next_replica_id ||
            !replica->node_id)
            return false;
        if (replica->role < PLACEMENT_VOTER || (uint32_t)replica->role > last_role) return false;
        for (uint32_t j = 0; j < i; j++) {
            if (descriptor->replicas[j].replica_id == replica->replica_id ||
                descriptor->replicas[j].node_id == replica->node_id)
                return false;
        }
    }
    return true;
}

void placement_descriptor_encode(struct buf *out, const struct placement_descriptor *descriptor) {
    ASSERT(!descriptor->joint);
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

enum status placement_descriptor_decode(struct decoder *in,
                                        struct placement_descriptor *ret_descriptor) {
    struct placement_descriptor descriptor = {.range_id = decode_varint(in)};
    struct slice start = decode_bytes(in), end = decode_bytes(in);
    descriptor.epoch.conf_version = decode_varint(in);
    descriptor.epoch.span_version = decode_varint(in);
    descriptor.next_replica_id = decode_varint(in);
    uint64_t count = decode_varint(in);
    placement_descriptor_done(ret_descriptor);
    if (in->failed || count > PLACEMENT_REPLICAS_MAX || start.len > PLACEMENT_KEY_BYTES_MAX ||
        end.len > PLACEMENT_KEY_BYTES_MAX)
        return STATUS_CORRUPTION;
    descriptor.replica_count = (uint32_t)count;
    for (uint32_t i = 0; i < descriptor.replica_count; i++) {
        descriptor.replicas[i].replica_id = decode_varint(in);
        descriptor.replicas[i].node_id = decode_varint(in);
        descriptor.replicas[i].role = (enum placement_role)decode_u8(in);
    }
    buf_assign(&descriptor.start, start);
    buf_assign(&descriptor.end, end);
    if (in->failed || !placement_descriptor_valid(&descriptor)) {
        placement_descriptor_done(&descriptor);
        return STATUS_CORRUPTION;
    }
    *ret_descriptor = descriptor;
    return STATUS_OK;
}

const struct placement_replica *
placement_descriptor_on_node(const struct placement_descriptor *descriptor, uint64_t node_id) {
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        if (descriptor->replicas[i].node_id == node_id) return &descriptor->replicas[i];
    }
    return NULL;
}

bool placement_epoch_newer(struct placement_epoch a, struct placement_epoch b) {
    return a.conf_version > b.conf_version || a.span_version > b.span_version;
}
