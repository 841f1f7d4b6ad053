/* Asking placement for the range map and for its status. */
#include "base/memory.h"
#include "rpc/placement_client_internal.h"

struct query {
    struct arena arena;
    placement_map_fn *map_done;
    placement_status_fn *status_done;
    void *ctx;
};

static void query_free(void *ctx) {
    struct query *query = ctx;
    arena_done(&query->arena);
    memory_free(query);
}

static struct query *query_new(void *ctx) {
    struct query *query = MEMORY_NEW(struct query);
    arena_init(&query->arena, 0);
    query->ctx = ctx;
    return query;
}

/* ---- range map ---- */

static enum status read_map(struct query *query, const Flotilla__V1__GetRangesResponse *response,
                            struct placement_client_map *map) {
    struct router_range *ranges =
        ARENA_NEW_ARRAY(&query->arena, struct router_range, response->n_ranges);
    for (size_t i = 0; i < response->n_ranges; i++) {
        enum status status = placement_range_descriptor_from_proto(response->ranges[i]->descriptor,
                                                                   &ranges[i].descriptor);
        if (status) return STATUS_CORRUPTION;
        ranges[i].leader_node = response->ranges[i]->leader_node;
    }
    struct placement_node_address *nodes =
        ARENA_NEW_ARRAY(&query->arena, struct placement_node_address, response->n_nodes);
    uint32_t node_count = 0;
    for (size_t i = 0; i < response->n_nodes; i++)
        if (!placement_address_from_proto(response->nodes[i], &nodes[node_count])) node_count++;
    *map = (struct placement_client_map){
        .cluster_id = response->cluster_id,
        .range_count = response->n_ranges,
        .ranges = ranges,
        .node_count = node_count,
        .nodes = nodes,
    };
    return STATUS_OK;
}

static enum placement_verdict on_ranges(void *ctx, enum status status, struct slice text,
                                        struct slice response, bool last) {
    struct query *query = ctx;
    struct placement_client_map map = {0};
    ProtobufCMessage *message = NULL;
    arena_reset(&query->arena);
    if (!status)
        status = placement_client_read(
            &query->arena, &flotilla__v1__get_ranges_response__descriptor, response,
            offsetof(Flotilla__V1__GetRangesResponse, outcome), &message, &text);
    if (!status)
        status =
            read_map(query, (const Flotilla__V1__GetRangesResponse *)(const void *)message, &map);
    if (placement_ask_elsewhere(status) && !last) return PLACEMENT_NEXT;
    enum placement_verdict verdict =
        placement_ask_elsewhere(status) ? PLACEMENT_NEXT : PLACEMENT_DONE;
    query->map_done(query->ctx, status, text, &map);
    query_free(query);
    return verdict;
}

void placement_client_ranges(struct placement_client *client, placement_map_fn *done, void *ctx) {
    struct query *query = query_new(ctx);
    query->map_done = done;
    Flotilla__V1__GetRangesRequest request = FLOTILLA__V1__GET_RANGES_REQUEST__INIT;
    placement_client_call(client, PLACEMENT_METHOD("GetRanges"), &request.base, on_ranges,
                          query_free, query);
}

/* ---- status ---- */

static enum placement_verdict on_status(void *ctx, enum status status, struct slice text,
                                        struct slice response, bool last) {
    struct query *query = ctx;
    struct slice json = SLICE_EMPTY;
    ProtobufCMessage *message = NULL;
    arena_reset(&query->arena);
    if (!status)
        status = placement_client_read(
            &query->arena, &flotilla__v1__placement_status_response__descriptor, response,
            offsetof(Flotilla__V1__PlacementStatusResponse, outcome), &message, &text);
    if (!status) {
        const Flotilla__V1__PlacementStatusResponse *answer =
            (const Flotilla__V1__PlacementStatusResponse *)(const void *)message;
        text = slice_from_text(answer->text);
        json = slice_from_text(answer->json);
    }
    if (placement_ask_elsewhere(status) && !last) return PLACEMENT_NEXT;
    enum placement_verdict verdict =
        placement_ask_elsewhere(status) ? PLACEMENT_NEXT : PLACEMENT_DONE;
    query->status_done(query->ctx, status, text, json);
    query_free(query);
    return verdict;
}

void placement_client_status(struct placement_client *client, placement_status_fn *done,
                             void *ctx) {
    struct query *query = query_new(ctx);
    query->status_done = done;
    Flotilla__V1__PlacementStatusRequest request = FLOTILLA__V1__PLACEMENT_STATUS_REQUEST__INIT;
    placement_client_call(client, PLACEMENT_METHOD("Status"), &request.base, on_status, query_free,
                          query);
}
