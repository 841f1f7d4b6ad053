/* Reports: the range map for routers, the status for the operator. */
#include <inttypes.h>

#include "placement/driver.h"

struct slice placement_driver_not_leader_text(struct placement_driver *driver) {
    uint64_t leader = raft_leader(driver->raft);
    buf_clear(&driver->text);
    if (leader && leader != driver->config.member_id)
        buf_printf(&driver->text,
                   "placement member %" PRIu64 " is not the leader, member %" PRIu64 " is",
                   driver->config.member_id, leader);
    else if (leader)
        buf_printf(&driver->text,
                   "placement member %" PRIu64 " has only begun to lead, or has "
                   "lost contact with the other members",
                   driver->config.member_id);
    else
        buf_printf(&driver->text, "placement member %" PRIu64 " knows no leader",
                   driver->config.member_id);
    return slice_from_buf(&driver->text);
}

const struct placement_node_address *placement_driver_addresses(struct placement_driver *driver) {
    const struct placement_state *state = &driver->state;
    struct placement_node_address *nodes =
        ARENA_NEW_ARRAY(&driver->answer, struct placement_node_address, state->node_count);
    for (uint32_t i = 0; i < state->node_count; i++)
        nodes[i] = (struct placement_node_address){
            .node_id = state->nodes[i].node_id,
            .incarnation = state->nodes[i].incarnation,
            .address = slice_from_buf(&state->nodes[i].address),
        };
    return nodes;
}

enum status placement_driver_ranges(struct placement_driver *driver, uint64_t now_us,
                                    struct placement_range_map *ret_map) {
    placement_driver_set_now(driver, now_us);
    if (!placement_driver_may_answer(driver)) return STATUS_NOT_LEADER;
    arena_reset(&driver->answer);
    struct placement_range_map map = {
        .cluster_id = driver->state.cluster_id,
        .node_count = driver->state.node_count,
        .nodes = placement_driver_addresses(driver),
    };
    map.ranges = placement_view_entries(&driver->view, now_us, driver->config.silence_ms * 1000,
                                        &map.range_count);
    *ret_map = map;
    return STATUS_OK;
}

/* UINT64_MAX: not reported. */
static uint64_t applied_on(const struct placement_range_entry *entry, uint64_t node_id) {
    for (uint32_t i = 0; i < entry->applied_count; i++)
        if (entry->applied[i].node_id == node_id) return entry->applied[i].index;
    return UINT64_MAX;
}

/* A follower that reported after its leader did may be ahead of what is known of the leader. */
static uint64_t behind_leader(const struct placement_range_entry *entry, uint64_t node_id) {
    uint64_t leader = applied_on(entry, entry->leader_node), own = applied_on(entry, node_id);
    if (leader == UINT64_MAX || own == UINT64_MAX) return UINT64_MAX;
    return leader > own ? leader - own : 0;
}

static void count_replica(struct placement_node_status *node,
                          const struct placement_range_entry *entry) {
    node->replicas++;
    if (entry->leader_node == node->node_id) node->leaders++;
    /* What was reported last says nothing about a node that may have lost its log since. */
    if (!node->alive) node->behind_entries = UINT64_MAX;
    if (!entry->leader_node) return;
    uint64_t behind = behind_leader(entry, node->node_id);
    if (behind > node->behind_entries) node->behind_entries = behind;
}

static void count_replicas(struct placement_node_status *nodes, uint32_t node_count,
                           const struct placement_range_entry *entry) {
    for (uint32_t i = 0; i < node_count; i++) {
        if (placement_descriptor_on_node(entry->descriptor, nodes[i].node_id))
            count_replica(&nodes[i], entry);
    }
}

/* Birth orders a replica until it was made, but no longer once its range has changed: whoever
 * replaced a node that never came up does not wait for it. */
static uint32_t count_unconfirmed(const struct placement_driver *driver) {
    uint32_t count = driver->state.unconfirmed;
    for (uint32_t i = 0; count > 0 && i < driver->state.range_count; i++) {
        const struct placement_birth_range *range = &driver->state.ranges[i];
        if (!placement_view_changed_since(&driver->view, &range->descriptor)) continue;
        count -= range->descriptor.replica_count - (uint32_t)__builtin_popcount(range->confirmed);
    }
    return count;
}

static void count_range(const struct placement_driver *driver,
                        const struct placement_range_entry *entry,
                        struct placement_status *status) {
    const struct placement_descriptor *descriptor = entry->descriptor;
    uint32_t voters = 0, learners = 0;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        const struct placement_replica *replica = &descriptor->replicas[i];
        bool stays = replica->role == PLACEMENT_VOTER || replica->role == PLACEMENT_VOTER_INCOMING;
        if (replica->role == PLACEMENT_LEARNER) learners++;
        if (stays && placement_view_alive(&driver->view, replica->node_id, driver->now_us,
                                          driver->config.silence_ms * 1000))
            voters++;
    }
    if (!entry->leader_node) status->ranges_without_leader++;
    if (voters < driver->state.replication_factor) status->ranges_under_replicated++;
    if (learners > 0) status->ranges_with_learners++;
    if (descriptor->joint) status->ranges_joint++;
}

static void node_status(const struct placement_driver *driver, const struct placement_node *node,
                        struct placement_node_status *ret) {
    *ret = (struct placement_node_status){
        .node_id = node->node_id,
        .address = slice_from_buf(&node->address),
        .version = slice_from_buf(&node->version),
        .seen_ms_ago = UINT64_MAX,
    };
    const struct idmap_node *found = idmap_get(&driver->view.nodes, node->node_id);
    if (!found) return;
    const struct placement_view_node *seen =
        CONTAINER_OF(found, const struct placement_view_node, by_id);
    ret->set_back = seen->set_back;
    if (!seen->seen) return;
    ret->seen_ms_ago = (driver->now_us - seen->seen_us) / 1000;
    ret->down = !placement_view_alive(&driver->view, node->node_id, driver->now_us,
                                      driver->config.silence_ms * 1000);
    ret->alive = !ret->down && ret->seen_ms_ago <= 2 * driver->config.node_heartbeat_ms;
    ret->figures = seen->figures;
}

void placement_driver_status(struct placement_driver *driver, uint64_t now_us,
                             struct placement_status *ret_status) {
    placement_driver_set_now(driver, now_us);
    arena_reset(&driver->answer);
    const struct placement_state *state = &driver->state;
    struct placement_status status = {
        .cluster_id = state->cluster_id,
        .member_id = driver->config.member_id,
        .leader_member = raft_leader(driver->raft),
        .born = state->born,
        .registered_nodes = state->node_count,
        .birth_nodes = state->birth_nodes,
        .replication_factor = state->replication_factor,
        .replicas_unconfirmed = count_unconfirmed(driver),
        .timestamp_next = driver->serving_term ? driver->timestamps.next : 0,
        .timestamp_bound = state->timestamp_bound,
        .clock_ahead_ms = driver->serving_term ? driver->wall.refused_ms : 0,
        .applied_index = driver->applied.index,
        .log_first_index = driver->log.first_index,
        .node_count = state->node_count,
    };
    if (!state->born) status.nodes_waiting = placement_driver_living(driver, NULL);
    struct placement_node_status *nodes =
        ARENA_NEW_ARRAY(&driver->answer, struct placement_node_status, state->node_count);
    for (uint32_t i = 0; i < state->node_count; i++)
        node_status(driver, &state->nodes[i], &nodes[i]);
    const struct placement_range_entry *ranges = placement_view_entries(
        &driver->view, now_us, driver->config.silence_ms * 1000, &status.range_count);
    for (uint32_t i = 0; i < status.range_count; i++) {
        count_range(driver, &ranges[i], &status);
        count_replicas(nodes, state->node_count, &ranges[i]);
    }
    status.nodes = nodes;
    status.ranges = ranges;
    *ret_status = status;
}
