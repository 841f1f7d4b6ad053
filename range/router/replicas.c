/* Operators' requests about a range's replicas. Unlike other requests these name the range, and a
 * change names the epoch that it was thought out for, which is what makes it safe to send twice:
 * once applied, it is refused as stale. So a change is decided (OK), certainly not made (BUSY: look
 * again), or UNKNOWN, and in each case the present descriptor tells how to go on. */
#include "range/router/internal.h"

bool router_change_begin(struct router_call *call, const struct router_request *request) {
    if (request->change_count == 0 || request->change_count > RANGE_REPLICAS_MAX) {
        router_call_fail(call, ROUTER_INVALID,
                         SLICE_LITERAL("one step changes 1 to 16 of a range's replicas"));
        return false;
    }
    size_t bytes = request->change_count * sizeof(*call->changes);
    call->range_id = request->range_id;
    call->epoch = request->epoch;
    call->change_count = request->change_count;
    call->changes =
        ARENA_NEW_ARRAY(&call->arena, struct range_replica_change, request->change_count);
    memcpy(call->changes, request->changes, bytes);
    (void)router_part_new(call); /* the call's list has it */
    return true;
}

void router_change_refused(struct router_part *part, struct slice why) {
    router_call_fail(part->call, part->uncertain ? ROUTER_UNKNOWN : ROUTER_BUSY, why);
}

enum status router_change_reply(struct router_part *part, const struct range_reply *reply) {
    struct router_reply done = {.code = ROUTER_OK};
    if (reply->descriptor->range_id != part->call->range_id) return STATUS_CORRUPTION;
    (void)router_learn(part->call->router, reply->descriptor); /* if it is newer */
    router_call_finish(part->call, &done);
    return STATUS_OK;
}

enum status router_describe_reply(struct router_part *part, const struct range_reply *reply) {
    struct router_replicas replicas = {.descriptor = reply->descriptor,
                                       .leader_node = part->node_id,
                                       .term = reply->term,
                                       .commit_index = reply->commit_index,
                                       .progress_count = reply->progress_count,
                                       .progress = reply->progress};
    struct router_reply done = {.code = ROUTER_OK, .replicas = &replicas};
    if (reply->descriptor->range_id != part->call->range_id) return STATUS_CORRUPTION;
    (void)router_learn(part->call->router, reply->descriptor); /* if it is newer */
    router_call_finish(part->call, &done);
    return STATUS_OK;
}
