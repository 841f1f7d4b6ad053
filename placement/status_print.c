/* The status of placement for people and for programs.
 *
 * JSON, one object on one line:
 *   cluster_id (16 hex digits), member, leader_member, born, replication_factor, birth_nodes,
 *   registered_nodes, ranges_without_leader, ranges_under_replicated, ranges_with_learners,
 *   ranges_joint, replicas_unconfirmed, timestamp_next, timestamp_bound, clock_ahead_ms,
 *   nodes:  [{id, address, version, alive, down (neither: late, may be either), set_back,
 *             seen_ms_ago (null: never), replicas, leaders,
 *             behind_entries, data_bytes, disk_free_bytes, disk_bytes (null: not known)}]
 *   ranges: [{id, start, end, leader_node (0: unknown), leader_term, conf_version, span_version,
 *             joint, nodes: [id], roles: [as of nodes: voter, learner, voter-incoming,
 *             voter-outgoing, voter-demoting]}]
 * Keys are text in which any byte but printable ASCII, and the backslash, is \xHH. Whole numbers
 * above 2^53, as the timestamps are, are strings (base/json.h). */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "placement/placement.h"

static const char *node_state(const struct placement_node_status *node) {
    if (node->seen_ms_ago == UINT64_MAX) return "unheard";
    if (node->down) return "DOWN";
    return node->alive ? "alive" : "LATE";
}

static bool sizes_known(const struct placement_node_status *node) {
    return node->alive && node->figures.capacity_bytes > 0;
}

/* "1.5 GB"; whole bytes matter to programs only. */
static void print_bytes(uint64_t bytes, struct buf *out) {
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    uint64_t unit = 1000;
    size_t i = 0;
    while (i + 1 < sizeof(units) / sizeof(units[0]) && bytes / unit >= 1000) {
        unit *= 1000;
        i++;
    }
    buf_printf(out, "%" PRIu64 ".%01" PRIu64 " %s", bytes / unit, bytes % unit / (unit / 10),
               units[i]);
}

static void print_sizes(const struct placement_node_status *node, struct buf *out) {
    if (!sizes_known(node)) {
        buf_printf(out, ", sizes not known");
        return;
    }
    buf_printf(out, ", about ");
    print_bytes(node->figures.data_bytes, out);
    buf_printf(out, " of data, ");
    print_bytes(node->figures.available_bytes, out);
    buf_printf(out, " of ");
    print_bytes(node->figures.capacity_bytes, out);
    buf_printf(out, " free");
}

static void print_node(const struct placement_node_status *node, struct buf *out) {
    buf_printf(out, "node %" PRIu64 " at %.*s (%.*s): ", node->node_id, (int)node->address.len,
               (const char *)node->address.data, (int)node->version.len,
               (const char *)node->version.data);
    if (node->set_back)
        buf_printf(out, "REFUSED, its data directory was set back in time: replace it; ");
    if (node->seen_ms_ago == UINT64_MAX)
        buf_printf(out, "not heard from yet");
    else
        buf_printf(out, "%s, heard from %" PRIu64 ".%01" PRIu64 " s ago", node_state(node),
                   node->seen_ms_ago / 1000, node->seen_ms_ago % 1000 / 100);
    buf_printf(out, ", %u replicas, leads %u", node->replicas, node->leaders);
    if (node->behind_entries == UINT64_MAX)
        buf_printf(out, ", not known how far behind");
    else
        buf_printf(out, ", at most %" PRIu64 " entries behind", node->behind_entries);
    print_sizes(node, out);
    buf_printf(out, "\n");
}

void placement_status_print(const struct placement_status *status, struct buf *out) {
    if (!status->cluster_id) {
        buf_printf(out,
                   "cluster not formed yet (placement member %" PRIu64 ", leader %" PRIu64 ")\n",
                   status->member_id, status->leader_member);
        return;
    }
    buf_printf(out, "cluster %016" PRIx64 ", replication factor %u\n", status->cluster_id,
               status->replication_factor);
    buf_printf(out, "placement member %" PRIu64 ", leader %" PRIu64 ", applied index %" PRIu64 "\n",
               status->member_id, status->leader_member, status->applied_index);
    if (status->born)
        buf_printf(out,
                   "ranges %u, without leader %u, replicas not made yet %u\n"
                   "under-replicated %u, with learners %u, in a joint step %u\n",
                   status->range_count, status->ranges_without_leader, status->replicas_unconfirmed,
                   status->ranges_under_replicated, status->ranges_with_learners,
                   status->ranges_joint);
    else
        buf_printf(out, "not born yet: %u of %u nodes are alive, %u have registered\n",
                   status->nodes_waiting, status->birth_nodes, status->registered_nodes);
    buf_printf(out, "timestamps: next %" PRIu64 ", bound %" PRIu64 "\n", status->timestamp_next,
               status->timestamp_bound);
    if (status->clock_ahead_ms)
        buf_printf(out,
                   "CLOCK REFUSED: placement's clock is %" PRIu64 " s ahead of the time that has "
                   "passed as far as is known; timestamps go on without it\n",
                   status->clock_ahead_ms / 1000);
    for (uint32_t i = 0; i < status->node_count; i++)
        print_node(&status->nodes[i], out);
}

/* ---- JSON ---- */

/* null: not known. */
static void add_known(cJSON *object, const char *name, uint64_t value) {
    if (value == UINT64_MAX)
        json_add_null(object, name);
    else
        json_add_u64(object, name, value);
}

static void add_node(cJSON *nodes, const struct placement_node_status *node) {
    cJSON *object = json_add_object(nodes, NULL);
    json_add_u64(object, "id", node->node_id);
    json_add_escaped(object, "address", node->address);
    json_add_escaped(object, "version", node->version);
    json_add_bool(object, "alive", node->alive);
    json_add_bool(object, "down", node->down);
    json_add_bool(object, "set_back", node->set_back);
    add_known(object, "seen_ms_ago", node->seen_ms_ago);
    json_add_u64(object, "replicas", node->replicas);
    json_add_u64(object, "leaders", node->leaders);
    add_known(object, "behind_entries", node->behind_entries);
    bool known = sizes_known(node);
    add_known(object, "data_bytes", known ? node->figures.data_bytes : UINT64_MAX);
    add_known(object, "disk_free_bytes", known ? node->figures.available_bytes : UINT64_MAX);
    add_known(object, "disk_bytes", known ? node->figures.capacity_bytes : UINT64_MAX);
}

static const char *const role_names[] = {
    [PLACEMENT_VOTER] = "voter",
    [PLACEMENT_LEARNER] = "learner",
    [PLACEMENT_VOTER_INCOMING] = "voter-incoming",
    [PLACEMENT_VOTER_OUTGOING] = "voter-outgoing",
    [PLACEMENT_VOTER_DEMOTING] = "voter-demoting",
};

static void add_range(cJSON *ranges, const struct placement_range_entry *range) {
    const struct placement_descriptor *descriptor = range->descriptor;
    cJSON *object = json_add_object(ranges, NULL);
    json_add_u64(object, "id", descriptor->range_id);
    json_add_escaped(object, "start", slice_from_buf(&descriptor->start));
    json_add_escaped(object, "end", slice_from_buf(&descriptor->end));
    json_add_u64(object, "leader_node", range->leader_node);
    json_add_u64(object, "leader_term", range->leader_term);
    json_add_u64(object, "conf_version", descriptor->epoch.conf_version);
    json_add_u64(object, "span_version", descriptor->epoch.span_version);
    json_add_bool(object, "joint", descriptor->joint);
    cJSON *nodes = json_add_array(object, "nodes"), *roles = json_add_array(object, "roles");
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        json_add_u64(nodes, NULL, descriptor->replicas[i].node_id);
        json_add_text(roles, NULL, role_names[descriptor->replicas[i].role]);
    }
}

void placement_status_print_json(const struct placement_status *status, struct buf *out) {
    char cluster_id[24];
    cJSON *object = json_object();
    snprintf(cluster_id, sizeof(cluster_id), "%016" PRIx64, status->cluster_id);
    json_add_text(object, "cluster_id", cluster_id);
    json_add_u64(object, "member", status->member_id);
    json_add_u64(object, "leader_member", status->leader_member);
    json_add_bool(object, "born", status->born);
    json_add_u64(object, "replication_factor", status->replication_factor);
    json_add_u64(object, "birth_nodes", status->birth_nodes);
    json_add_u64(object, "registered_nodes", status->registered_nodes);
    json_add_u64(object, "ranges_without_leader", status->ranges_without_leader);
    json_add_u64(object, "ranges_under_replicated", status->ranges_under_replicated);
    json_add_u64(object, "ranges_with_learners", status->ranges_with_learners);
    json_add_u64(object, "ranges_joint", status->ranges_joint);
    json_add_u64(object, "replicas_unconfirmed", status->replicas_unconfirmed);
    json_add_u64(object, "timestamp_next", status->timestamp_next);
    json_add_u64(object, "timestamp_bound", status->timestamp_bound);
    json_add_u64(object, "clock_ahead_ms", status->clock_ahead_ms);
    cJSON *nodes = json_add_array(object, "nodes"), *ranges = json_add_array(object, "ranges");
    for (uint32_t i = 0; i < status->node_count; i++)
        add_node(nodes, &status->nodes[i]);
    for (uint32_t i = 0; i < status->range_count; i++)
        add_range(ranges, &status->ranges[i]);
    json_print_take(out, object);
}
