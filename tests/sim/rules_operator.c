/* What the rules know that an operator's answers are judged by: which versions of a descriptor were
 * made, and who has led. */
#include <inttypes.h>

#include "tests/sim/rules.h"

const struct range_descriptor *sim_rules_descriptor(struct sim *sim, uint64_t range_id,
                                                    uint64_t version) {
    const struct range_rules *rules = &sim->rules->ranges[range_id];
    if (version >= rules->version_cap) return NULL;
    const struct range_descriptor *descriptor = &rules->versions[version].descriptor;
    return descriptor->replica_count > 0 ? descriptor : NULL;
}

/* ---- who has led ---- */

uint64_t sim_rules_term_of_leaders(struct sim *sim, uint64_t range_id) {
    const struct range_rules *rules = &sim->rules->ranges[range_id];
    uint64_t term = UINT64_MAX, newest = 0;
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        const struct range_replica *replica = sim_replica_on(&sim->nodes[i], range_id);
        if (replica && replica->leads && replica->lead_term < term) term = replica->lead_term;
    }
    for (uint32_t i = 0; i < LEADERS_KEPT; i++)
        if (rules->leaders[i].term > newest) newest = rules->leaders[i].term;
    return term < UINT64_MAX ? term : newest;
}

/* Of any version. */
static bool was_on_node(const struct range_rules *rules, uint64_t replica_id, uint64_t node_id) {
    for (uint64_t version = 0; version < rules->version_cap; version++) {
        const struct range_replica_ref *ref =
            range_descriptor_replica(&rules->versions[version].descriptor, replica_id);
        if (ref) return ref->node_id == node_id;
    }
    return false;
}

bool sim_rules_has_led(struct sim *sim, uint64_t range_id, uint64_t node_id, uint64_t term) {
    const struct range_rules *rules = &sim->rules->ranges[range_id];
    const struct sim_node *node = sim_node_by_id(sim, node_id);
    if (!node) return false;
    const struct range_replica *replica = sim_replica_on(node, range_id);
    if (replica && replica->leads && replica->lead_term >= term) return true;
    /* It has spoken as a leader, perhaps in the turn in which it became one. */
    if (sim->rules->speakers[node->host.index][range_id].led_term >= term) return true;
    for (uint32_t i = 0; i < LEADERS_KEPT; i++)
        if (rules->leaders[i].term >= term && rules->leaders[i].term > 0 &&
            was_on_node(rules, rules->leaders[i].replica_id, node_id))
            return true;
    return false;
}

/* ---- what a leader says of its replicas ---- */

void sim_rules_described(struct sim *sim, const struct range_descriptor *descriptor,
                         uint64_t leader_node, uint64_t term) {
    const struct range_descriptor *known =
        sim_rules_descriptor(sim, descriptor->range_id, descriptor->epoch.conf_version);
    if (known && !range_descriptor_equal(known, descriptor))
        sim_broken(sim, "a version of a descriptor is the same everywhere",
                   "range %" PRIu64 " as described by node id %" PRIu64 ", version %" PRIu64,
                   descriptor->range_id, leader_node, descriptor->epoch.conf_version);
    if (!sim_rules_has_led(sim, descriptor->range_id, leader_node, term))
        sim_broken(sim, "who describes a range has led it",
                   "range %" PRIu64 ", node id %" PRIu64 ", term %" PRIu64, descriptor->range_id,
                   leader_node, term);
}
