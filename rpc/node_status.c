/* What a node knows: told by the node itself, so that there is a status while placement is away. */
#include "rpc/node_status.h"

#include "base/memory.h"
#include "base/metrics.h"
#include "flotilla/v1/node.pb-c.h"
#include "rpc/message.h"
#include "rpc/node_internal.h"

#define STATUS_METHOD "/flotilla.v1.Node/Status"

/* ---- answering ---- */

struct answer {
    struct arena arena;
    Flotilla__V1__NodeReplica **replicas;
    size_t count, cap;
};

static void add_replica(void *ctx, const struct range_status *status) {
    struct answer *answer = ctx;
    if (answer->count == answer->cap) {
        size_t cap = answer->cap ? answer->cap * 2 : 64;
        Flotilla__V1__NodeReplica **replicas =
            ARENA_NEW_ARRAY(&answer->arena, Flotilla__V1__NodeReplica *, cap);
        if (answer->count) memcpy(replicas, answer->replicas, answer->count * sizeof(*replicas));
        answer->replicas = replicas;
        answer->cap = cap;
    }
    Flotilla__V1__NodeReplica *replica = arena_alloc(&answer->arena, sizeof(*replica));
    flotilla__v1__node_replica__init(replica);
    replica->range_id = status->descriptor->range_id;
    replica->replica_id = status->replica_id;
    replica->term = status->term;
    replica->leads = status->leads;
    replica->leader_node = status->leader_node;
    replica->commit_index = status->commit_index;
    replica->applied_index = status->applied_index;
    replica->followers_behind = status->followers_behind;
    replica->data_bytes = status->approximate_bytes;
    answer->replicas[answer->count++] = replica;
}

static Flotilla__V1__Hearing hearing_of(struct range_store *store, uint64_t node_id) {
    switch (store ? range_store_hears(store, node_id) : RANGE_HEARING_UNKNOWN) {
    case RANGE_HEARS:
        return FLOTILLA__V1__HEARING__HEARING_HEARD;
    case RANGE_HEARS_NOT:
        return FLOTILLA__V1__HEARING__HEARING_SILENT;
    case RANGE_HEARING_UNKNOWN:
        break;
    }
    return FLOTILLA__V1__HEARING__HEARING_UNKNOWN;
}

static void add_peers(struct rpc_node *node, struct arena *arena,
                      Flotilla__V1__StatusResponse *response) {
    struct range_store *store = atomic_load(&node->store);
    response->peers = ARENA_NEW_ARRAY(arena, Flotilla__V1__NodePeer *, node->peers.count);
    for (struct idmap_node *at = NULL; (at = idmap_next(&node->peers, at)) != NULL;) {
        const struct rpc_peer *known = CONTAINER_OF(at, struct rpc_peer, map_node);
        if (!known->address) continue;
        Flotilla__V1__NodePeer *peer = arena_alloc(arena, sizeof(*peer));
        flotilla__v1__node_peer__init(peer);
        peer->node_id = at->id;
        peer->address = known->address;
        peer->hearing = hearing_of(store, at->id);
        response->peers[response->n_peers++] = peer;
    }
}

static void add_facts(const struct rpc_node *node, Flotilla__V1__StatusResponse *response) {
    struct rpc_node_facts facts = {0};
    if (node->facts) node->facts(node->facts_ctx, &facts);
    response->state = (Flotilla__V1__NodeState)facts.state;
    response->serves_clients = facts.serves_clients;
    response->placement_answered = facts.placement_answered_us != 0;
    if (response->placement_answered)
        response->placement_answered_ms =
            (rpc_loop_now_us(node->loop) - facts.placement_answered_us) / 1000;
    response->disk_bytes = facts.disk_bytes;
    response->disk_free_bytes = facts.disk_free_bytes;
}

static void answer_in_full(struct rpc_node *node, struct answer *answer,
                           Flotilla__V1__StatusResponse *response, struct buf *metrics) {
    struct range_store *store = atomic_load(&node->store);
    metrics_render(metrics);
    buf_append_byte(metrics, '\0');
    response->metrics = (char *)metrics->data;
    add_peers(node, &answer->arena, response);
    if (store) range_store_status(store, add_replica, answer);
    response->n_replicas = answer->count;
    response->replicas = answer->replicas;
}

_Static_assert((int)RPC_NODE_STOPPING == (int)FLOTILLA__V1__NODE_STATE__NODE_STATE_STOPPING &&
                   (int)RPC_NODE_SERVING == (int)FLOTILLA__V1__NODE_STATE__NODE_STATE_SERVING,
               "one numbering");

void rpc_node_answer_status(void *ctx, struct rpc_call *call, struct slice request) {
    struct rpc_node *node = ctx;
    struct answer answer = {0};
    struct buf text = {0};
    ProtobufCMessage *message = NULL;
    Flotilla__V1__StatusResponse response = FLOTILLA__V1__STATUS_RESPONSE__INIT;
    arena_init(&answer.arena, 0);
    if (rpc_message_unpack_request(&answer.arena, &flotilla__v1__status_request__descriptor,
                                   request, &text, &message) != STATUS_OK) {
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "%.*s", (int)text.len, (const char *)text.data);
    } else {
        response.cluster_id = node->identity.cluster_id;
        response.node_id = node->identity.node_id;
        add_facts(node, &response);
        if (!((const Flotilla__V1__StatusRequest *)(const void *)message)->brief)
            answer_in_full(node, &answer, &response, &text);
        rpc_call_reply_message(call, &response.base);
    }
    buf_done(&text);
    arena_done(&answer.arena);
}

/* ---- asking ---- */

struct question {
    rpc_node_status_fn *done;
    void *ctx;
};

static enum range_hearing hearing_from(Flotilla__V1__Hearing hearing) {
    if (hearing == FLOTILLA__V1__HEARING__HEARING_HEARD) return RANGE_HEARS;
    if (hearing == FLOTILLA__V1__HEARING__HEARING_SILENT) return RANGE_HEARS_NOT;
    return RANGE_HEARING_UNKNOWN;
}

static void read_lists(struct arena *arena, const Flotilla__V1__StatusResponse *response,
                       struct rpc_node_status *node) {
    struct rpc_node_peer *peers = ARENA_NEW_ARRAY(arena, struct rpc_node_peer, response->n_peers);
    for (size_t i = 0; i < response->n_peers; i++)
        peers[i] = (struct rpc_node_peer){.node_id = response->peers[i]->node_id,
                                          .address = slice_from_text(response->peers[i]->address),
                                          .hearing = hearing_from(response->peers[i]->hearing)};
    struct rpc_node_replica *replicas =
        ARENA_NEW_ARRAY(arena, struct rpc_node_replica, response->n_replicas);
    for (size_t i = 0; i < response->n_replicas; i++) {
        const Flotilla__V1__NodeReplica *from = response->replicas[i];
        replicas[i] = (struct rpc_node_replica){.range_id = from->range_id,
                                                .replica_id = from->replica_id,
                                                .term = from->term,
                                                .leads = from->leads,
                                                .leader_node = from->leader_node,
                                                .commit_index = from->commit_index,
                                                .applied_index = from->applied_index,
                                                .followers_behind = from->followers_behind,
                                                .data_bytes = from->data_bytes};
    }
    node->peers = peers;
    node->peer_count = (uint32_t)response->n_peers;
    node->replicas = replicas;
    node->replica_count = (uint32_t)response->n_replicas;
}

static void answered(void *ctx, const struct rpc_status *status, struct slice bytes) {
    struct question *question = ctx;
    struct rpc_status seen = *status;
    struct rpc_node_status node = {0};
    struct arena arena;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    if (seen.code == RPC_OK &&
        rpc_message_unpack_response(&arena, &flotilla__v1__status_response__descriptor, bytes,
                                    &error, &message) != STATUS_OK)
        seen = (struct rpc_status){RPC_INTERNAL, slice_from_buf(&error)};
    if (message) {
        const Flotilla__V1__StatusResponse *response =
            (const Flotilla__V1__StatusResponse *)(const void *)message;
        node = (struct rpc_node_status){
            .cluster_id = response->cluster_id,
            .node_id = response->node_id,
            .state = (enum rpc_node_state)response->state,
            .serves_clients = response->serves_clients,
            .placement_answered_ms =
                response->placement_answered ? response->placement_answered_ms : UINT64_MAX,
            .disk_bytes = response->disk_bytes,
            .disk_free_bytes = response->disk_free_bytes};
        read_lists(&arena, response, &node);
    }
    question->done(question->ctx, &seen, message ? &node : NULL);
    buf_done(&error);
    arena_done(&arena);
    memory_free(question);
}

void rpc_node_status_ask(struct rpc_client *client, bool brief, uint64_t timeout_us,
                         rpc_node_status_fn *done, void *ctx) {
    struct question *question = MEMORY_NEW(struct question);
    *question = (struct question){done, ctx};
    Flotilla__V1__StatusRequest request = FLOTILLA__V1__STATUS_REQUEST__INIT;
    request.brief = brief;
    const struct rpc_call_options options = {.timeout_us = timeout_us};
    rpc_client_call_message(client, STATUS_METHOD, &request.base, &options, answered, question);
}
