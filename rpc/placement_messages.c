/* Converting between placement's structs and its protos. */
#include "rpc/placement_messages.h"

#include <inttypes.h>

#include "base/address.h"
#include "base/assert.h"
#include "base/log.h"

_Static_assert(PLACEMENT_REPLICAS_MAX == RANGE_REPLICAS_MAX, "descriptors convert both ways");

char *placement_text(struct arena *arena, struct slice text) {
    char *copy = arena_alloc(arena, text.len + 1);
    if (text.len) memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

/* status, code in the proto */
#define CODES(X)              \
    X(OK, OK)                 \
    X(INVALID, INVALID)       \
    X(MISMATCH, MISMATCH)     \
    X(EXISTS, EXISTS)         \
    X(NOT_LEADER, NOT_LEADER) \
    X(BUSY, BUSY)             \
    X(TOO_LARGE, TOO_LARGE)   \
    X(UNAVAILABLE, UNAVAILABLE)

Flotilla__V1__PlacementOutcome__Code placement_code_from_status(enum status status) {
    switch (status) {
#define CODE_CASE(status_name, code_name) \
    case STATUS_##status_name:            \
        return FLOTILLA__V1__PLACEMENT_OUTCOME__CODE__##code_name;
        CODES(CODE_CASE)
#undef CODE_CASE
    default:
        return FLOTILLA__V1__PLACEMENT_OUTCOME__CODE__UNAVAILABLE;
    }
}

enum status placement_status_from_code(Flotilla__V1__PlacementOutcome__Code code) {
    switch (code) {
#define STATUS_CASE(status_name, code_name)                  \
    case FLOTILLA__V1__PLACEMENT_OUTCOME__CODE__##code_name: \
        return STATUS_##status_name;
        CODES(STATUS_CASE)
#undef STATUS_CASE
    default:
        return STATUS_UNAVAILABLE;
    }
}

Flotilla__V1__PlacementOutcome *placement_outcome_to_proto(struct arena *arena, enum status status,
                                                           struct slice text,
                                                           uint32_t retry_after_ms) {
    Flotilla__V1__PlacementOutcome *outcome = arena_alloc(arena, sizeof(*outcome));
    flotilla__v1__placement_outcome__init(outcome);
    outcome->code = placement_code_from_status(status);
    outcome->text = placement_text(arena, text);
    outcome->retry_after_ms = retry_after_ms;
    return outcome;
}

#define SAME_ROLE(name)                                                        \
    _Static_assert((int)PLACEMENT_##name == (int)RANGE_##name &&               \
                       (int)PLACEMENT_##name ==                                \
                           (int)FLOTILLA__V1__PLACEMENT_REPLICA__ROLE__##name, \
                   "roles are the same numbers to ranges, to placement and between the two")
SAME_ROLE(VOTER);
SAME_ROLE(LEARNER);
SAME_ROLE(VOTER_INCOMING);
SAME_ROLE(VOTER_OUTGOING);
SAME_ROLE(VOTER_DEMOTING);

static Flotilla__V1__PlacementReplica *add_replica(struct arena *arena, uint64_t replica_id,
                                                   uint64_t node_id, enum placement_role role) {
    Flotilla__V1__PlacementReplica *replica = arena_alloc(arena, sizeof(*replica));
    flotilla__v1__placement_replica__init(replica);
    replica->replica_id = replica_id;
    replica->node_id = node_id;
    replica->learner = role == PLACEMENT_LEARNER; /* all that earlier versions know */
    replica->role = (Flotilla__V1__PlacementReplica__Role)role;
    return replica;
}

Flotilla__V1__PlacementDescriptor *
placement_descriptor_to_proto(struct arena *arena, const struct placement_descriptor *from) {
    Flotilla__V1__PlacementDescriptor *to = arena_alloc(arena, sizeof(*to));
    flotilla__v1__placement_descriptor__init(to);
    to->range_id = from->range_id;
    to->start = rpc_bytes_from_slice(slice_from_buf(&from->start));
    to->end = rpc_bytes_from_slice(slice_from_buf(&from->end));
    to->conf_version = from->epoch.conf_version;
    to->span_version = from->epoch.span_version;
    to->next_replica_id = from->next_replica_id;
    to->joint = from->joint;
    to->n_replicas = from->replica_count;
    to->replicas = ARENA_NEW_ARRAY(arena, Flotilla__V1__PlacementReplica *, from->replica_count);
    for (uint32_t i = 0; i < from->replica_count; i++)
        to->replicas[i] = add_replica(arena, from->replicas[i].replica_id,
                                      from->replicas[i].node_id, from->replicas[i].role);
    return to;
}

Flotilla__V1__PlacementDescriptor *
placement_range_descriptor_to_proto(struct arena *arena, const struct range_descriptor *from) {
    struct placement_descriptor same = {
        .range_id = from->range_id,
        .start = from->start,
        .end = from->end,
        .epoch = {from->epoch.conf_version, from->epoch.span_version},
        .joint = from->joint,
        .next_replica_id = from->next_replica_id,
        .replica_count = from->replica_count,
    };
    for (uint32_t i = 0; i < from->replica_count; i++)
        same.replicas[i] = (struct placement_replica){
            .replica_id = from->replicas[i].replica_id,
            .node_id = from->replicas[i].node_id,
            .role = (enum placement_role)from->replicas[i].role,
        };
    return placement_descriptor_to_proto(arena, &same);
}

static struct buf borrow(ProtobufCBinaryData bytes) {
    return (struct buf){.data = bytes.data, .len = bytes.len};
}

/* Whether it may be is placement_descriptor_valid's to say. */
static enum placement_role read_role(const Flotilla__V1__PlacementReplica *replica) {
    if (replica->role != FLOTILLA__V1__PLACEMENT_REPLICA__ROLE__UNSPECIFIED)
        return (enum placement_role)replica->role;
    return replica->learner ? PLACEMENT_LEARNER : PLACEMENT_VOTER;
}

enum status placement_descriptor_from_proto(const Flotilla__V1__PlacementDescriptor *from,
                                            struct placement_descriptor *ret) {
    if (!from || from->n_replicas > PLACEMENT_REPLICAS_MAX) return STATUS_INVALID;
    struct placement_descriptor to = {
        .range_id = from->range_id,
        .start = borrow(from->start),
        .end = borrow(from->end),
        .epoch = {from->conf_version, from->span_version},
        .joint = from->joint,
        .next_replica_id = from->next_replica_id,
        .replica_count = (uint32_t)from->n_replicas,
    };
    for (uint32_t i = 0; i < to.replica_count; i++)
        to.replicas[i] = (struct placement_replica){
            .replica_id = from->replicas[i]->replica_id,
            .node_id = from->replicas[i]->node_id,
            .role = read_role(from->replicas[i]),
        };
    if (!placement_descriptor_valid(&to)) return STATUS_INVALID;
    *ret = to;
    return STATUS_OK;
}

enum status placement_range_descriptor_from_proto(const Flotilla__V1__PlacementDescriptor *from,
                                                  struct range_descriptor *ret) {
    struct placement_descriptor same;
    enum status status = placement_descriptor_from_proto(from, &same);
    if (status) return status;
    *ret = (struct range_descriptor){
        .range_id = same.range_id,
        .start = same.start,
        .end = same.end,
        .epoch = {same.epoch.conf_version, same.epoch.span_version},
        .joint = same.joint,
        .next_replica_id = same.next_replica_id,
        .replica_count = same.replica_count,
    };
    for (uint32_t i = 0; i < same.replica_count; i++)
        ret->replicas[i] = (struct range_replica_ref){
            .replica_id = same.replicas[i].replica_id,
            .node_id = same.replicas[i].node_id,
            .role = (enum range_replica_role)same.replicas[i].role,
        };
    return STATUS_OK;
}

enum status placement_address_from_proto(const Flotilla__V1__PlacementNodeAddress *from,
                                         struct placement_node_address *ret) {
    struct slice address = slice_from_text(from->address);
    const char *problem = address_parse(address, ADDRESS_TO_DIAL, NULL);
    if (from->node_id == 0) problem = "belongs to node 0, which is none";
    if (problem) {
        log_error("placement_address",
                  "node=%" PRIu64 " address=\"%.*s\" error=\"placement told an address that %s\"",
                  from->node_id, (int)(address.len < 64 ? address.len : 64),
                  (const char *)address.data, problem);
        return STATUS_INVALID;
    }
    *ret = (struct placement_node_address){
        .node_id = from->node_id, .incarnation = from->incarnation, .address = address};
    return STATUS_OK;
}

Flotilla__V1__PlacementNodeAddress **
placement_addresses_to_proto(struct arena *arena, const struct placement_node_address *nodes,
                             uint32_t count) {
    Flotilla__V1__PlacementNodeAddress **list =
        ARENA_NEW_ARRAY(arena, Flotilla__V1__PlacementNodeAddress *, count);
    for (uint32_t i = 0; i < count; i++) {
        list[i] = arena_alloc(arena, sizeof(*list[i]));
        flotilla__v1__placement_node_address__init(list[i]);
        list[i]->node_id = nodes[i].node_id;
        list[i]->incarnation = nodes[i].incarnation;
        list[i]->address = placement_text(arena, nodes[i].address);
    }
    return list;
}
