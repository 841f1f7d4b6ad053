#include "range/membership.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/codec.h"
#include "raft/configuration.h"
#include "range/record.h"

void range_membership_encode(struct buf *out, const struct range_membership *membership) {
    encode_u8(out, RANGE_MEMBERSHIP_VERSION);
    encode_varint(out, membership->conf_version);
    encode_varint(out, membership->joining_count);
    for (uint32_t i = 0; i < membership->joining_count; i++) {
        encode_varint(out, membership->joining[i].replica_id);
        encode_varint(out, membership->joining[i].node_id);
    }
}

enum status range_membership_decode(struct slice bytes, struct range_membership *ret_membership) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    if (!in.failed && version != RANGE_MEMBERSHIP_VERSION) return STATUS_UNSUPPORTED;
    struct range_membership membership = {.conf_version = decode_varint(&in)};
    uint64_t count = decode_varint(&in);
    if (in.failed || count > RANGE_REPLICAS_MAX) return STATUS_CORRUPTION;
    membership.joining_count = (uint32_t)count;
    for (uint32_t i = 0; i < membership.joining_count; i++) {
        membership.joining[i].replica_id = decode_varint(&in);
        membership.joining[i].node_id = decode_varint(&in);
    }
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_membership = membership;
    return STATUS_OK;
}

/* ---- what a request asks for ---- */

struct plan {
    const struct range_descriptor *descriptor;
    struct buf *text;
    struct raft_conf_change change;
    struct range_membership membership;
};

static bool refuse(const struct plan *plan, uint64_t node_id, const char *why) {
    buf_printf(plan->text, "range %" PRIu64 ": node %" PRIu64 " %s", plan->descriptor->range_id,
               node_id, why);
    return false;
}

static void add_change(struct plan *plan, enum raft_conf_change_kind kind, uint64_t replica_id) {
    uint32_t at = plan->change.count++;
    plan->change.changes[at].kind = kind;
    plan->change.changes[at].id = replica_id;
}

static bool plan_learner(struct plan *plan, uint64_t node_id) {
    if (node_id == 0) return refuse(plan, node_id, "is no node");
    if (range_descriptor_on_node(plan->descriptor, node_id))
        return refuse(plan, node_id, "has a replica already");
    uint32_t at = plan->membership.joining_count++;
    uint64_t replica_id = plan->descriptor->next_replica_id + at;
    plan->membership.joining[at].replica_id = replica_id;
    plan->membership.joining[at].node_id = node_id;
    add_change(plan, RAFT_CONF_ADD_LEARNER, replica_id);
    return true;
}

static bool plan_one(struct plan *plan, const struct range_replica_change *change) {
    uint64_t node_id = change->node_id;
    if (change->kind == RANGE_ADD_LEARNER) return plan_learner(plan, node_id);
    const struct range_replica_ref *replica = range_descriptor_on_node(plan->descriptor, node_id);
    if (!replica) return refuse(plan, node_id, "has no replica");
    if (change->kind == RANGE_PROMOTE) {
        if (replica->role != RANGE_LEARNER) return refuse(plan, node_id, "has a voter already");
        add_change(plan, RAFT_CONF_ADD_VOTER, replica->replica_id);
    } else if (change->kind == RANGE_DEMOTE) {
        if (replica->role != RANGE_VOTER) return refuse(plan, node_id, "has a learner already");
        add_change(plan, RAFT_CONF_ADD_LEARNER, replica->replica_id);
    } else {
        add_change(plan, RAFT_CONF_REMOVE, replica->replica_id);
    }
    return true;
}

static bool named_before(const struct range_replica_change *changes, uint32_t at) {
    for (uint32_t i = 0; i < at; i++)
        if (changes[i].node_id == changes[at].node_id) return true;
    return false;
}

static bool plan_all(struct plan *plan, const struct range_replica_change *changes,
                     uint32_t count) {
    if (count == 0 || count > RANGE_REPLICAS_MAX) {
        buf_printf(plan->text, "a change of replicas names 1 to %u of them", RANGE_REPLICAS_MAX);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (named_before(changes, i)) return refuse(plan, changes[i].node_id, "is named twice");
        if (!plan_one(plan, &changes[i])) return false;
    }
    return true;
}

enum status range_membership_plan(const struct range_descriptor *descriptor,
                                  const struct range_replica_change *changes, uint32_t count,
                                  struct buf *text, struct raft_conf_change *ret_change,
                                  struct range_membership *ret_membership) {
    ASSERT(!descriptor->joint);
    struct plan plan = {.descriptor = descriptor,
                        .text = text,
                        .membership = {.conf_version = descriptor->epoch.conf_version}};
    if (!plan_all(&plan, changes, count)) return STATUS_INVALID;
    struct raft_conf_state conf = range_conf_from_descriptor(descriptor);
    struct raft_conf_edit edit;
    enum status status = raft_conf_apply(&conf, &plan.change, &edit);
    if (status == STATUS_TOO_LARGE)
        buf_printf(text, "range %" PRIu64 " would have more than %u replicas", descriptor->range_id,
                   RANGE_REPLICAS_MAX);
    else if (status != STATUS_OK)
        buf_printf(text, "range %" PRIu64 " would be left without voters", descriptor->range_id);
    if (status != STATUS_OK) return STATUS_INVALID;
    *ret_change = plan.change;
    *ret_membership = plan.membership;
    return STATUS_OK;
}

/* ---- what follows from it ---- */

/* 0: no member. */
static uint32_t role_of(const struct raft_conf_state *conf, uint64_t id) {
    bool incoming = raft_id_set_has(&conf->voters, id);
    bool outgoing = raft_id_set_has(&conf->voters_outgoing, id);
    if (raft_id_set_has(&conf->learners, id)) return RANGE_LEARNER;
    if (!raft_conf_state_joint(conf)) return incoming ? RANGE_VOTER : 0;
    if (incoming) return outgoing ? RANGE_VOTER : RANGE_VOTER_INCOMING;
    if (!outgoing) return 0;
    return raft_id_set_has(&conf->learners_next, id) ? RANGE_VOTER_DEMOTING : RANGE_VOTER_OUTGOING;
}

/* Replicas keep their order; who joins comes last. */
static void assign_roles(struct range_descriptor *descriptor, const struct raft_conf_state *conf) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        struct range_replica_ref replica = descriptor->replicas[i];
        uint32_t role = role_of(conf, replica.replica_id);
        if (role == 0) continue;
        replica.role = (enum range_replica_role)role;
        descriptor->replicas[kept++] = replica;
    }
    descriptor->replica_count = kept;
    descriptor->joint = raft_conf_state_joint(conf);
}

/* The next ids in order, and nodes that have no replica yet; whom the change itself removes frees
 * no place for another in the same step. */
static bool joining_fits(const struct range_descriptor *descriptor,
                         const struct range_membership *membership) {
    if (descriptor->replica_count + membership->joining_count > RANGE_REPLICAS_MAX) return false;
    for (uint32_t i = 0; i < membership->joining_count; i++) {
        uint64_t node_id = membership->joining[i].node_id;
        if (membership->joining[i].replica_id != descriptor->next_replica_id + i) return false;
        if (node_id == 0 || range_descriptor_on_node(descriptor, node_id)) return false;
        for (uint32_t j = 0; j < i; j++)
            if (membership->joining[j].node_id == node_id) return false;
    }
    return true;
}

static void join(struct range_descriptor *descriptor, const struct range_membership *membership) {
    for (uint32_t i = 0; i < membership->joining_count; i++)
        descriptor->replicas[descriptor->replica_count++] =
            (struct range_replica_ref){.replica_id = membership->joining[i].replica_id,
                                       .node_id = membership->joining[i].node_id,
                                       .role = RANGE_LEARNER};
    descriptor->next_replica_id += membership->joining_count;
}

/* A member of the new configuration that no node is known of would be nowhere. */
static bool knows_all(const struct range_descriptor *descriptor,
                      const struct range_membership *membership,
                      const struct raft_id_set *members) {
    for (uint32_t i = 0; i < members->count; i++) {
        uint64_t id = members->ids[i];
        uint32_t joining = membership ? membership->joining_count : 0;
        bool joins =
            id >= descriptor->next_replica_id && id < descriptor->next_replica_id + joining;
        if (!joins && !range_descriptor_replica(descriptor, id)) return false;
    }
    return true;
}

bool range_membership_advance(struct range_descriptor *descriptor,
                              const struct raft_conf_change *change,
                              const struct range_membership *membership) {
    if (membership && membership->conf_version != descriptor->epoch.conf_version) return false;
    if (membership && !joining_fits(descriptor, membership)) return false;
    struct raft_conf_state conf = range_conf_from_descriptor(descriptor);
    struct raft_conf_edit edit;
    if (raft_conf_apply(&conf, change, &edit) != STATUS_OK) return false;
    /* A descriptor has no word for a joint configuration that does not end by itself. */
    if (edit.conf.auto_leave != raft_conf_state_joint(&edit.conf)) return false;
    if (!knows_all(descriptor, membership, &edit.members)) return false;
    if (membership) join(descriptor, membership);
    assign_roles(descriptor, &edit.conf);
    descriptor->epoch.conf_version++;
    return true;
}
