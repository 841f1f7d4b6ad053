/* What one node knows, for people and for programs.
 *
 * JSON, beside what admin_status.c says of every node:
 *   id, cluster_id (16 hex digits), state, serves_clients, placement_answered_ms_ago (null: never),
 *   disk_free_bytes, disk_bytes (null: not known),
 *   peers:    [{id, address, heard (null: not known)}]
 *   replicas: [{range, replica, term, leads, leader_node (null: it knows none), commit_index,
 *               applied_index, followers_behind (null: it does not lead), data_bytes}] */
#include <inttypes.h>
#include <stdio.h>

#include "cmd/admin.h"

const char *admin_node_state(const struct rpc_node_status *node) {
    static const char *const names[] = {[RPC_NODE_STARTING] = "starting",
                                        [RPC_NODE_SERVING] = "serving",
                                        [RPC_NODE_STOPPING] = "stopping"};
    bool known = (size_t)node->state < sizeof(names) / sizeof(names[0]);
    return known ? names[node->state] : "in a state that this version does not know";
}

static const char *hearing_text(enum range_hearing hearing) {
    if (hearing == RANGE_HEARS) return "heard";
    return hearing == RANGE_HEARS_NOT ? "NOT HEARD" : "not known whether heard";
}

static void print_replica(const struct rpc_node_replica *replica, struct buf *out) {
    buf_printf(out, "  range %" PRIu64 ": applied %" PRIu64 " of %" PRIu64 ", ", replica->range_id,
               replica->applied_index, replica->commit_index);
    if (replica->leads)
        buf_printf(out,
                   "leads in term %" PRIu64 ", its slowest follower %" PRIu64 " entries behind\n",
                   replica->term, replica->followers_behind);
    else if (replica->leader_node)
        buf_printf(out, "node %" PRIu64 " leads\n", replica->leader_node);
    else
        buf_printf(out, "knows NO LEADER\n");
}

void admin_print_node(const struct rpc_node_status *node, const char *address, struct buf *out) {
    uint32_t leads = 0;
    for (uint32_t i = 0; i < node->replica_count; i++)
        leads += node->replicas[i].leads;
    buf_printf(out,
               "node %" PRIu64 " at %s of cluster %016" PRIx64 ": %s%s, %u replicas, leads %u\n",
               node->node_id, address, node->cluster_id, admin_node_state(node),
               node->serves_clients ? "" : " no clients", node->replica_count, leads);
    if (node->placement_answered_ms == UINT64_MAX)
        buf_printf(out, "  placement has never answered it\n");
    else
        buf_printf(out, "  placement answered %" PRIu64 ".%01" PRIu64 " s ago\n",
                   node->placement_answered_ms / 1000, node->placement_answered_ms % 1000 / 100);
    if (node->disk_bytes)
        buf_printf(out, "  disk: %" PRIu64 " MB of %" PRIu64 " MB free\n",
                   node->disk_free_bytes / 1000000, node->disk_bytes / 1000000);
    else
        buf_printf(out, "  disk: not known\n");
    for (uint32_t i = 0; i < node->peer_count; i++)
        buf_printf(out, "  node %" PRIu64 " at %.*s: %s\n", node->peers[i].node_id,
                   (int)node->peers[i].address.len, (const char *)node->peers[i].address.data,
                   hearing_text(node->peers[i].hearing));
    for (uint32_t i = 0; i < node->replica_count; i++)
        print_replica(&node->replicas[i], out);
}

/* ---- JSON ---- */

static void add_known(cJSON *object, const char *name, bool known, uint64_t value) {
    if (known)
        json_add_u64(object, name, value);
    else
        json_add_null(object, name);
}

static void add_replica(cJSON *replicas, const struct rpc_node_replica *replica) {
    cJSON *object = json_add_object(replicas, NULL);
    json_add_u64(object, "range", replica->range_id);
    json_add_u64(object, "replica", replica->replica_id);
    json_add_u64(object, "term", replica->term);
    json_add_bool(object, "leads", replica->leads);
    add_known(object, "leader_node", replica->leader_node != 0, replica->leader_node);
    json_add_u64(object, "commit_index", replica->commit_index);
    json_add_u64(object, "applied_index", replica->applied_index);
    add_known(object, "followers_behind", replica->leads, replica->followers_behind);
    json_add_u64(object, "data_bytes", replica->data_bytes);
}

void admin_add_node(cJSON *object, const struct rpc_node_status *node) {
    char cluster_id[24];
    snprintf(cluster_id, sizeof(cluster_id), "%016" PRIx64, node->cluster_id);
    json_add_u64(object, "id", node->node_id);
    json_add_text(object, "cluster_id", cluster_id);
    json_add_text(object, "state", admin_node_state(node));
    json_add_bool(object, "serves_clients", node->serves_clients);
    add_known(object, "placement_answered_ms_ago", node->placement_answered_ms != UINT64_MAX,
              node->placement_answered_ms);
    add_known(object, "disk_free_bytes", node->disk_bytes != 0, node->disk_free_bytes);
    add_known(object, "disk_bytes", node->disk_bytes != 0, node->disk_bytes);
    cJSON *peers = json_add_array(object, "peers"), *replicas = json_add_array(object, "replicas");
    for (uint32_t i = 0; i < node->peer_count; i++) {
        cJSON *peer = json_add_object(peers, NULL);
        json_add_u64(peer, "id", node->peers[i].node_id);
        json_add_escaped(peer, "address", node->peers[i].address);
        if (node->peers[i].hearing == RANGE_HEARING_UNKNOWN)
            json_add_null(peer, "heard");
        else
            json_add_bool(peer, "heard", node->peers[i].hearing == RANGE_HEARS);
    }
    for (uint32_t i = 0; i < node->replica_count; i++)
        add_replica(replicas, &node->replicas[i]);
}
