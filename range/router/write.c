/* WRITE: one command, all of whose keys must lie in one range. */
#include "base/log.h"
#include "range/router/internal.h"

bool router_write_begin(struct router_call *call, const struct router_request *request) {
    struct router *router = call->router;
    const struct txn_command *command = request->command;
    struct buf error = {0};
    if (txn_command_check(command, &error) != STATUS_OK) {
        router_call_fail(call, ROUTER_INVALID, slice_from_buf(&error));
        buf_done(&error);
        return false;
    }
    ASSERT_CMP(command->commit_ts, ==, 0); /* the range's leader stamps it */
    buf_clear(&router->encoded);
    txn_command_encode(&router->encoded, command);
    call->command = arena_copy(&call->arena, slice_from_buf(&router->encoded));
    call->anchor = arena_copy(&call->arena, txn_command_anchor(command));
    call->has_request_id = command->request_id.len > 0;
    (void)router_part_new(call); /* the call's list has it */
    return true;
}

/* A key of the command that is not in the range; there is one. */
static struct slice stray_key(const struct txn_command *command,
                              const struct range_descriptor *range) {
    for (uint32_t i = 0; i < command->op_count; i++)
        if (!range_descriptor_contains(range, command->ops[i].key)) return command->ops[i].key;
    for (uint32_t i = 0; i < command->guard_count; i++) {
        const struct txn_guard *guard = &command->guards[i];
        if (!range_descriptor_contains(range, guard->key)) return guard->key;
        if (guard->end.len > 0 && !range_descriptor_covers(range, guard->key, guard->end))
            return guard->end;
    }
    return SLICE_EMPTY;
}

static void refuse_cross_range(struct router_call *call, const struct txn_command *command,
                               const struct route *route) {
    struct slice stray = stray_key(command, &route->descriptor);
    const struct route *other = route_cache_find(&call->router->cache, stray);
    struct buf text = {0};
    buf_printf(&text, "the write spans ranges: key %s is in ", log_bytes(call->anchor));
    router_describe_route(&text, route);
    buf_printf(&text, ", but %s is ", log_bytes(stray));
    if (other && other != route) {
        buf_printf(&text, "in ");
        router_describe_route(&text, other);
    } else {
        buf_printf(&text, "not");
    }
    buf_printf(&text, "; all keys of a write must lie in one range");
    if (router_call_uncertain(call)) {
        router_call_abandon(call, slice_from_buf(&text));
    } else {
        router_call_fail(call, ROUTER_CROSS_RANGE, slice_from_buf(&text));
    }
    buf_done(&text);
}

bool router_write_fit(struct router_part *part, const struct route *route) {
    struct router_call *call = part->call;
    const struct range_descriptor *range = &route->descriptor;
    if (part->fits && part->range_id == range->range_id &&
        part->sent.span_version == range->epoch.span_version)
        return true;
    struct txn_command command;
    enum status status = txn_command_decode(call->command, &call->router->scratch, &command);
    ASSERT_CMP(status, ==, STATUS_OK); /* it was encoded here */
    part->fits =
        txn_command_within(&command, slice_from_buf(&range->start), slice_from_buf(&range->end));
    if (!part->fits) refuse_cross_range(call, &command, route);
    return part->fits;
}

enum status router_write_reply(struct router_part *part, const struct range_reply *reply) {
    struct router_call *call = part->call;
    struct router *router = call->router;
    if (reply->outcome.result == TXN_REFUSED_WRONG_RANGE) {
        /* The range was split before the command was evaluated: nothing happened. */
        router_want_refresh(router);
        router_part_pause(part, router_backoff_us(router, router->config.backoff_min_us,
                                                  router->config.backoff_max_us, part->pauses++));
        return STATUS_OK;
    }
    struct router_reply done = {.code = ROUTER_OK, .outcome = &reply->outcome};
    router_call_finish(call, &done);
    return STATUS_OK;
}
