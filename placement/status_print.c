/* The status of placement for people and for programs.
 *
 * JSON, one object on one line:
 *   cluster_id (16 hex digits), member, leader_member, born, replication_factor, birth_nodes,
 *   registered_nodes, ranges_without_leader, ranges_under_replicated, ranges_with_learners,
 *   ranges_joint, replicas_unconfirmed, timestamp_next, timestamp_bound,
 *   nodes:  [{id, address, version, alive, seen_ms_ago (null: never), replicas, leaders,
 *             behind_entries (null: not known)}]
 *   ranges: [{id, start, end, leader_node (0: unknown), leader_term, conf_version, span_version,
 *             joint, nodes: [id], roles: [as of nodes: voter, learner, voter-incoming,
 *             voter-outgoing, voter-demoting]}]
 * Keys are text in which any byte but printable ASCII, and the backslash, is \\xHH. */
#include <inttypes.h>

#include "placement/placement.h"

static void print_node(const struct placement_node_status *node, struct buf *out) {
    buf_printf(out, "node %" PRIu64 " at %.*s (%.*s): ", node->node_id, (int)node->address.len,
               (const char *)node->address.data, (int)node->version.len,
               (const char *)node->version.data);
    if (node->seen_ms_ago == UINT64_MAX)
        buf_printf(out, "not heard from yet");
    else
        buf_printf(out, "%s, heard from %" PRIu64 ".%01" PRIu64 " s ago",
                   node->alive ? "alive" : "DOWN", node->seen_ms_ago / 1000,
                   node->seen_ms_ago % 1000 / 100);
    buf_printf(out, ", %u replicas, leads %u", node->replicas, node->leaders);
    if (node->behind_entries == UINT64_MAX)
        buf_printf(out, ", not known how far behind\n");
    else
        buf_printf(out, ", at most %" PRIu64 " entries behind\n", node->behind_entries);
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
        buf_printf(out, "not born yet: %u of %u nodes have registered\n", status->registered_nodes,
                   status->birth_nodes);
    buf_printf(out, "timestamps: next %" PRIu64 ", bound %" PRIu64 "\n", status->timestamp_next,
               status->timestamp_bound);
    for (uint32_t i = 0; i < status->node_count; i++)
        print_node(&status->nodes[i], out);
}

/* ---- JSON ---- */

/* A JSON string of bytes that need not be UTF-8. The backslash of \xHH is itself escaped. */
static void print_string(struct slice bytes, struct buf *out) {
    buf_append_byte(out, '"');
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.data[i];
        if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\')
            buf_printf(out, "\\\\x%02x", byte);
        else
            buf_append_byte(out, byte);
    }
    buf_append_byte(out, '"');
}

static void print_node_json(const struct placement_node_status *node, struct buf *out) {
    buf_printf(out, "{\"id\":%" PRIu64 ",\"address\":", node->node_id);
    print_string(node->address, out);
    buf_printf(out, ",\"version\":");
    print_string(node->version, out);
    buf_printf(out, ",\"alive\":%s,\"seen_ms_ago\":", node->alive ? "true" : "false");
    if (node->seen_ms_ago == UINT64_MAX)
        buf_printf(out, "null");
    else
        buf_printf(out, "%" PRIu64, node->seen_ms_ago);
    buf_printf(out, ",\"replicas\":%u,\"leaders\":%u,\"behind_entries\":", node->replicas,
               node->leaders);
    if (node->behind_entries == UINT64_MAX)
        buf_printf(out, "null}");
    else
        buf_printf(out, "%" PRIu64 "}", node->behind_entries);
}

static const char *const role_names[] = {
    [PLACEMENT_VOTER] = "voter",
    [PLACEMENT_LEARNER] = "learner",
    [PLACEMENT_VOTER_INCOMING] = "voter-incoming",
    [PLACEMENT_VOTER_OUTGOING] = "voter-outgoing",
    [PLACEMENT_VOTER_DEMOTING] = "voter-demoting",
};

static void print_range_json(const struct placement_range_entry *range, struct buf *out) {
    const struct placement_descriptor *descriptor = range->descriptor;
    buf_printf(out, "{\"id\":%" PRIu64 ",\"start\":", descriptor->range_id);
    print_string(slice_from_buf(&descriptor->start), out);
    buf_printf(out, ",\"end\":");
    print_string(slice_from_buf(&descriptor->end), out);
    buf_printf(out,
               ",\"leader_node\":%" PRIu64 ",\"leader_term\":%" PRIu64 ",\"conf_version\":%" PRIu64
               ",\"span_version\":%" PRIu64 ",\"joint\":%s,\"nodes\":[",
               range->leader_node, range->leader_term, descriptor->epoch.conf_version,
               descriptor->epoch.span_version, descriptor->joint ? "true" : "false");
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        buf_printf(out, "%s%" PRIu64, i ? "," : "", descriptor->replicas[i].node_id);
    buf_printf(out, "],\"roles\":[");
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        buf_printf(out, "%s\"%s\"", i ? "," : "", role_names[descriptor->replicas[i].role]);
    buf_printf(out, "]}");
}

void placement_status_print_json(const struct placement_status *status, struct buf *out) {
    buf_printf(out,
               "{\"cluster_id\":\"%016" PRIx64 "\",\"member\":%" PRIu64
               ",\"leader_member\":%" PRIu64
               ",\"born\":%s,\"replication_factor\":%u,\"birth_nodes\":%u,\"registered_nodes\":%u",
               status->cluster_id, status->member_id, status->leader_member,
               status->born ? "true" : "false", status->replication_factor, status->birth_nodes,
               status->registered_nodes);
    buf_printf(out,
               ",\"ranges_without_leader\":%u,\"ranges_under_replicated\":%u"
               ",\"ranges_with_learners\":%u,\"ranges_joint\":%u,\"replicas_unconfirmed\":%u,"
               "\"timestamp_next\":%" PRIu64 ",\"timestamp_bound\":%" PRIu64 ",\"nodes\":[",
               status->ranges_without_leader, status->ranges_under_replicated,
               status->ranges_with_learners, status->ranges_joint, status->replicas_unconfirmed,
               status->timestamp_next, status->timestamp_bound);
    for (uint32_t i = 0; i < status->node_count; i++) {
        if (i) buf_append_byte(out, ',');
        print_node_json(&status->nodes[i], out);
    }
    buf_printf(out, "],\"ranges\":[");
    for (uint32_t i = 0; i < status->range_count; i++) {
        if (i) buf_append_byte(out, ',');
        print_range_json(&status->ranges[i], out);
    }
    buf_printf(out, "]}");
}
