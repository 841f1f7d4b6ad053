/* The client's half of kv_messages.h. */
#include "base/assert.h"
#include "rpc/kv_messages.h"
#include "rpc/kv_service.h"

/* ---- requests ---- */

static Flotilla__V1__Guard *write_guard(struct arena *arena, const struct txn_guard *from) {
    Flotilla__V1__Guard *guard = KV_NEW(arena, Flotilla__V1__Guard, flotilla__v1__guard);
    guard->key = rpc_bytes_from_slice(from->key);
    switch (from->kind) {
    case TXN_GUARD_EXISTS:
    case TXN_GUARD_ABSENT:
        guard->condition_case = FLOTILLA__V1__GUARD__CONDITION_EXISTS;
        guard->exists = from->kind == TXN_GUARD_EXISTS;
        break;
    case TXN_GUARD_EQUALS:
        guard->condition_case = FLOTILLA__V1__GUARD__CONDITION_EQUALS;
        guard->equals = rpc_bytes_from_slice(from->value);
        break;
    case TXN_GUARD_VERSION:
        guard->condition_case = FLOTILLA__V1__GUARD__CONDITION_VERSION;
        guard->version = from->version;
        break;
    case TXN_GUARD_UNCHANGED:
        guard->condition_case = FLOTILLA__V1__GUARD__CONDITION_UNCHANGED;
        guard->unchanged = KV_NEW(arena, Flotilla__V1__Unchanged, flotilla__v1__unchanged);
        guard->unchanged->end = rpc_bytes_from_slice(from->end);
        guard->unchanged->version = from->version;
        break;
    }
    return guard;
}

static Flotilla__V1__Bound *write_bound(struct arena *arena, int64_t value, int64_t none) {
    if (value == none) return NULL;
    Flotilla__V1__Bound *bound = KV_NEW(arena, Flotilla__V1__Bound, flotilla__v1__bound);
    bound->value = value;
    return bound;
}

static Flotilla__V1__Operation *write_op(struct arena *arena, const struct txn_op *from) {
    Flotilla__V1__Operation *op = KV_NEW(arena, Flotilla__V1__Operation, flotilla__v1__operation);
    op->key = rpc_bytes_from_slice(from->key);
    switch (from->kind) {
    case TXN_OP_PUT:
        op->action_case = FLOTILLA__V1__OPERATION__ACTION_PUT;
        op->put = rpc_bytes_from_slice(from->value);
        break;
    case TXN_OP_INSERT:
        op->action_case = FLOTILLA__V1__OPERATION__ACTION_INSERT;
        op->insert = rpc_bytes_from_slice(from->value);
        break;
    case TXN_OP_DELETE:
        op->action_case = FLOTILLA__V1__OPERATION__ACTION_REMOVE;
        op->remove = KV_NEW(arena, Flotilla__V1__Remove, flotilla__v1__remove);
        break;
    case TXN_OP_ADD:
        op->action_case = FLOTILLA__V1__OPERATION__ACTION_ADD;
        op->add = KV_NEW(arena, Flotilla__V1__Add, flotilla__v1__add);
        op->add->delta = from->delta;
        op->add->minimum = write_bound(arena, from->minimum, INT64_MIN);
        op->add->maximum = write_bound(arena, from->maximum, INT64_MAX);
        break;
    }
    return op;
}

static Flotilla__V1__WriteRequest *write_command(struct arena *arena,
                                                 const struct txn_command *command) {
    Flotilla__V1__WriteRequest *write =
        KV_NEW(arena, Flotilla__V1__WriteRequest, flotilla__v1__write_request);
    write->request_id = rpc_bytes_from_slice(command->request_id);
    write->n_guards = command->guard_count;
    write->guards = ARENA_NEW_ARRAY(arena, Flotilla__V1__Guard *, command->guard_count);
    for (uint32_t i = 0; i < command->guard_count; i++)
        write->guards[i] = write_guard(arena, &command->guards[i]);
    write->n_operations = command->op_count;
    write->operations = ARENA_NEW_ARRAY(arena, Flotilla__V1__Operation *, command->op_count);
    for (uint32_t i = 0; i < command->op_count; i++)
        write->operations[i] = write_op(arena, &command->ops[i]);
    return write;
}

static void write_get(struct arena *arena, const struct router_request *request,
                      Flotilla__V1__PipeCall *call) {
    Flotilla__V1__ReadMode mode = (Flotilla__V1__ReadMode)request->read_mode;
    if (request->key_count == 1) {
        call->request_case = FLOTILLA__V1__PIPE_CALL__REQUEST_GET;
        call->get = KV_NEW(arena, Flotilla__V1__GetRequest, flotilla__v1__get_request);
        call->get->key = rpc_bytes_from_slice(request->keys[0]);
        call->get->mode = mode;
        return;
    }
    call->request_case = FLOTILLA__V1__PIPE_CALL__REQUEST_BATCH_GET;
    call->batch_get = KV_NEW(arena, Flotilla__V1__BatchGetRequest, flotilla__v1__batch_get_request);
    call->batch_get->mode = mode;
    call->batch_get->n_keys = request->key_count;
    call->batch_get->keys = ARENA_NEW_ARRAY(arena, ProtobufCBinaryData, request->key_count);
    for (uint32_t i = 0; i < request->key_count; i++)
        call->batch_get->keys[i] = rpc_bytes_from_slice(request->keys[i]);
}

static void write_scan(struct arena *arena, const struct router_request *request,
                       Flotilla__V1__PipeCall *call) {
    Flotilla__V1__ScanRequest *scan =
        KV_NEW(arena, Flotilla__V1__ScanRequest, flotilla__v1__scan_request);
    scan->start = rpc_bytes_from_slice(request->start);
    scan->end = rpc_bytes_from_slice(request->end);
    scan->reverse = request->reverse;
    scan->keys_only = request->keys_only;
    scan->row_limit = request->row_limit;
    scan->byte_limit = request->byte_limit;
    scan->mode = (Flotilla__V1__ReadMode)request->read_mode;
    call->request_case = FLOTILLA__V1__PIPE_CALL__REQUEST_SCAN;
    call->scan = scan;
}

void kv_request_to_proto(struct arena *arena, const struct router_request *request,
                         Flotilla__V1__PipeCall *ret_call) {
    *ret_call = (Flotilla__V1__PipeCall)FLOTILLA__V1__PIPE_CALL__INIT;
    switch (request->op) {
    case ROUTER_GET:
        write_get(arena, request, ret_call);
        break;
    case ROUTER_SCAN:
        write_scan(arena, request, ret_call);
        break;
    case ROUTER_WRITE:
        ret_call->request_case = FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE;
        ret_call->write = write_command(arena, request->command);
        break;
    case ROUTER_TRANSFER:
    case ROUTER_CHANGE_REPLICAS:
    case ROUTER_DESCRIBE:
        ASSERT(!"not part of the public face");
    }
}

/* ---- replies ---- */

static struct range_row read_value(const Flotilla__V1__GetResponse *response) {
    return (struct range_row){.value = rpc_slice_from_bytes(response->value),
                              .version = response->found ? response->version : 0};
}

static void read_values(struct arena *arena, Flotilla__V1__GetResponse *const *responses,
                        size_t count, struct router_reply *reply) {
    struct range_row *rows = ARENA_NEW_ARRAY(arena, struct range_row, count);
    for (size_t i = 0; i < count; i++)
        rows[i] = read_value(responses[i]);
    reply->row_count = (uint32_t)count;
    reply->rows = rows;
}

static void read_rows(struct arena *arena, const Flotilla__V1__ScanResponse *scan,
                      struct router_reply *reply) {
    struct range_row *rows = ARENA_NEW_ARRAY(arena, struct range_row, scan->n_rows);
    for (size_t i = 0; i < scan->n_rows; i++)
        rows[i] = (struct range_row){.key = rpc_slice_from_bytes(scan->rows[i]->key),
                                     .value = rpc_slice_from_bytes(scan->rows[i]->value),
                                     .version = scan->rows[i]->version};
    reply->row_count = (uint32_t)scan->n_rows;
    reply->rows = rows;
    reply->more = scan->more;
    if (scan->more) reply->resume = rpc_slice_from_bytes(scan->resume);
    reply->as_of = scan->as_of;
}

static void read_outcome(struct arena *arena, const Flotilla__V1__WriteResponse *write,
                         struct router_reply *reply) {
    struct txn_outcome *outcome = arena_alloc(arena, sizeof(*outcome));
    *outcome = (struct txn_outcome){.result = (enum txn_result)write->refusal,
                                    .replayed = write->replayed,
                                    .commit_ts = write->version,
                                    .index = write->index,
                                    .number = write->number,
                                    .number_count = (uint32_t)write->n_numbers,
                                    .numbers = write->numbers};
    reply->outcome = outcome;
}

void kv_reply_from_proto(struct arena *arena, kv_request_case request_case, bool write_unclear,
                         const Flotilla__V1__PipeReply *reply, struct router_reply *ret_reply) {
    bool write = request_case == FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE;
    *ret_reply = (struct router_reply){.text = slice_from_text(reply->text),
                                       .retry_after_us = (uint32_t)reply->retry_after_us};
    if (reply->code != RPC_OK) {
        enum rpc_code code = (enum rpc_code)reply->code;
        bool unclear = write && (write_unclear || code == RPC_UNKNOWN);
        ret_reply->code = kv_code_to_router(code, unclear);
        return;
    }
    if ((int)reply->response_case != (int)request_case + 2) {
        ret_reply->code = write ? ROUTER_UNKNOWN : ROUTER_UNAVAILABLE;
        ret_reply->text = SLICE_LITERAL("the router's answer is not one to this request");
        return;
    }
    ret_reply->code = ROUTER_OK;
    switch (request_case) {
    case FLOTILLA__V1__PIPE_CALL__REQUEST_GET:
        read_values(arena, &reply->get, 1, ret_reply);
        ret_reply->as_of = reply->get->as_of;
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_BATCH_GET:
        read_values(arena, reply->batch_get->results, reply->batch_get->n_results, ret_reply);
        ret_reply->as_of = reply->batch_get->as_of;
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_SCAN:
        read_rows(arena, reply->scan, ret_reply);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE:
        read_outcome(arena, reply->write, ret_reply);
        break;
    default:
        ASSERT(!"the client sends no such request");
    }
}
