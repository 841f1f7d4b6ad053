#include "rpc/kv_messages.h"

#include "base/assert.h"
#include "rpc/kv_service.h"

_Static_assert((int)FLOTILLA__V1__REFUSAL__REFUSAL_GUARD == (int)TXN_REFUSED_GUARD &&
                   (int)FLOTILLA__V1__REFUSAL__REFUSAL_EXISTS == (int)TXN_REFUSED_EXISTS &&
                   (int)FLOTILLA__V1__REFUSAL__REFUSAL_NOT_A_NUMBER ==
                       (int)TXN_REFUSED_NOT_A_NUMBER &&
                   (int)FLOTILLA__V1__REFUSAL__REFUSAL_OVERFLOW == (int)TXN_REFUSED_OVERFLOW &&
                   (int)FLOTILLA__V1__REFUSAL__REFUSAL_BOUND == (int)TXN_REFUSED_BOUND &&
                   (int)FLOTILLA__V1__REFUSAL__REFUSAL_REQUEST_ID_REUSED ==
                       (int)TXN_REFUSED_REQUEST_ID_REUSED,
               "refusals have the same numbers inside and outside");
_Static_assert((int)FLOTILLA__V1__REFUSAL__REFUSAL_WORK == (int)TXN_REFUSED_WORK,
               "refusals have the same numbers inside and outside");
_Static_assert((int)FLOTILLA__V1__READ_MODE__READ_MODE_READ_INDEX == (int)RANGE_READ_INDEX &&
                   (int)FLOTILLA__V1__READ_MODE__READ_MODE_STALE == (int)RANGE_READ_STALE,
               "read modes have the same numbers inside and outside");
_Static_assert(FLOTILLA__V1__PIPE_REPLY__RESPONSE_GET == FLOTILLA__V1__PIPE_CALL__REQUEST_GET + 2 &&
                   FLOTILLA__V1__PIPE_REPLY__RESPONSE_WRITE ==
                       FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE + 2,
               "a response's field number is its request's plus two");

const struct kv_method kv_methods[KV_METHOD_COUNT] = {
    {KV_METHOD("Get"), FLOTILLA__V1__PIPE_CALL__REQUEST_GET, &flotilla__v1__get_request__descriptor,
     &flotilla__v1__get_response__descriptor},
    {KV_METHOD("BatchGet"), FLOTILLA__V1__PIPE_CALL__REQUEST_BATCH_GET,
     &flotilla__v1__batch_get_request__descriptor, &flotilla__v1__batch_get_response__descriptor},
    {KV_METHOD("Scan"), FLOTILLA__V1__PIPE_CALL__REQUEST_SCAN,
     &flotilla__v1__scan_request__descriptor, &flotilla__v1__scan_response__descriptor},
    {KV_METHOD("Put"), FLOTILLA__V1__PIPE_CALL__REQUEST_PUT, &flotilla__v1__put_request__descriptor,
     &flotilla__v1__put_response__descriptor},
    {KV_METHOD("Delete"), FLOTILLA__V1__PIPE_CALL__REQUEST_DELETE,
     &flotilla__v1__delete_request__descriptor, &flotilla__v1__delete_response__descriptor},
    {KV_METHOD("Write"), FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE,
     &flotilla__v1__write_request__descriptor, &flotilla__v1__write_response__descriptor},
};

const struct kv_method *kv_method_of(kv_request_case request_case) {
    for (size_t i = 0; i < KV_METHOD_COUNT; i++)
        if (kv_methods[i].request_case == request_case) return &kv_methods[i];
    return NULL;
}

/* ---- codes ---- */

enum rpc_code kv_code_from_router(enum router_code code) {
    switch (code) {
    case ROUTER_OK:
        return RPC_OK;
    case ROUTER_INVALID:
        return RPC_INVALID_ARGUMENT;
    case ROUTER_CROSS_RANGE:
        return RPC_UNIMPLEMENTED;
    case ROUTER_BUSY:
        return RPC_RESOURCE_EXHAUSTED;
    case ROUTER_TIMEOUT:
        return RPC_DEADLINE_EXCEEDED;
    case ROUTER_UNKNOWN:
        return RPC_UNKNOWN;
    case ROUTER_UNAVAILABLE:
        return RPC_UNAVAILABLE;
    }
    return RPC_INTERNAL;
}

/* Whatever does not say that nothing changed leaves a write unknown. */
enum router_code kv_code_to_router(enum rpc_code code, bool write) {
    switch (code) {
    case RPC_OK:
        return ROUTER_OK;
    case RPC_INVALID_ARGUMENT:
    case RPC_FAILED_PRECONDITION:
        return ROUTER_INVALID;
    case RPC_UNIMPLEMENTED:
        return ROUTER_CROSS_RANGE;
    case RPC_RESOURCE_EXHAUSTED:
        return ROUTER_BUSY;
    case RPC_DEADLINE_EXCEEDED:
        return write ? ROUTER_UNKNOWN : ROUTER_TIMEOUT;
    default:
        return write ? ROUTER_UNKNOWN : ROUTER_UNAVAILABLE;
    }
}

/* ---- requests, at the server ---- */

static bool read_mode(Flotilla__V1__ReadMode mode, struct router_request *request,
                      struct buf *error) {
    if ((unsigned)mode > (unsigned)RANGE_READ_STALE) {
        buf_printf(error, "unknown read mode %d", (int)mode);
        return false;
    }
    request->read_mode = (enum range_read_mode)mode;
    return true;
}

static void read_keys(struct arena *arena, const ProtobufCBinaryData *from, size_t count,
                      struct router_request *request) {
    struct slice *keys = count > 0 ? ARENA_NEW_ARRAY(arena, struct slice, count) : NULL;
    for (size_t i = 0; i < count; i++)
        keys[i] = rpc_slice_from_bytes(from[i]);
    request->op = ROUTER_GET;
    request->keys = keys;
    request->key_count = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
}

static bool read_scan(const Flotilla__V1__ScanRequest *scan, struct router_request *request,
                      struct buf *error) {
    request->op = ROUTER_SCAN;
    request->start = rpc_slice_from_bytes(scan->start);
    request->end = rpc_slice_from_bytes(scan->end);
    request->reverse = scan->reverse;
    request->keys_only = scan->keys_only;
    request->row_limit = scan->row_limit;
    request->byte_limit = scan->byte_limit;
    return read_mode(scan->mode, request, error);
}

static bool read_guard(const Flotilla__V1__Guard *from, size_t index, struct txn_guard *guard,
                       struct buf *error) {
    *guard = (struct txn_guard){.key = rpc_slice_from_bytes(from->key)};
    switch (from->condition_case) {
    case FLOTILLA__V1__GUARD__CONDITION_EXISTS:
        guard->kind = from->exists ? TXN_GUARD_EXISTS : TXN_GUARD_ABSENT;
        return true;
    case FLOTILLA__V1__GUARD__CONDITION_EQUALS:
        guard->kind = TXN_GUARD_EQUALS;
        guard->value = rpc_slice_from_bytes(from->equals);
        return true;
    case FLOTILLA__V1__GUARD__CONDITION_VERSION:
        guard->kind = TXN_GUARD_VERSION;
        guard->version = from->version;
        return true;
    case FLOTILLA__V1__GUARD__CONDITION_UNCHANGED:
        guard->kind = TXN_GUARD_UNCHANGED;
        guard->end = rpc_slice_from_bytes(from->unchanged->end);
        guard->version = from->unchanged->version;
        return true;
    default:
        buf_printf(error, "guard %zu has no condition", index);
        return false;
    }
}

static bool read_op(const Flotilla__V1__Operation *from, size_t index, struct txn_op *op,
                    struct buf *error) {
    *op = (struct txn_op){.key = rpc_slice_from_bytes(from->key)};
    switch (from->action_case) {
    case FLOTILLA__V1__OPERATION__ACTION_PUT:
        op->kind = TXN_OP_PUT;
        op->value = rpc_slice_from_bytes(from->put);
        return true;
    case FLOTILLA__V1__OPERATION__ACTION_INSERT:
        op->kind = TXN_OP_INSERT;
        op->value = rpc_slice_from_bytes(from->insert);
        return true;
    case FLOTILLA__V1__OPERATION__ACTION_REMOVE:
        op->kind = TXN_OP_DELETE;
        return true;
    case FLOTILLA__V1__OPERATION__ACTION_ADD:
        op->kind = TXN_OP_ADD;
        op->delta = from->add->delta;
        op->minimum = from->add->minimum ? from->add->minimum->value : INT64_MIN;
        op->maximum = from->add->maximum ? from->add->maximum->value : INT64_MAX;
        return true;
    default:
        buf_printf(error, "operation %zu has no action", index);
        return false;
    }
}

static struct txn_command *new_command(struct arena *arena, ProtobufCBinaryData request_id,
                                       size_t guards, size_t ops) {
    struct txn_command *command = arena_alloc(arena, sizeof(*command));
    *command = (struct txn_command){.request_id = rpc_slice_from_bytes(request_id),
                                    .guard_count = (uint32_t)guards,
                                    .op_count = (uint32_t)ops};
    if (guards > 0) command->guards = ARENA_NEW_ARRAY(arena, struct txn_guard, guards);
    if (ops > 0) command->ops = ARENA_NEW_ARRAY(arena, struct txn_op, ops);
    return command;
}

static bool read_write(struct arena *arena, const Flotilla__V1__WriteRequest *write,
                       struct router_request *request, struct buf *error) {
    if (write->n_guards + write->n_operations > TXN_COMMAND_PARTS_MAX) {
        buf_printf(error, "the write has %zu guards and operations; the limit is %u",
                   write->n_guards + write->n_operations, TXN_COMMAND_PARTS_MAX);
        return false;
    }
    struct txn_command *command =
        new_command(arena, write->request_id, write->n_guards, write->n_operations);
    for (size_t i = 0; i < write->n_guards; i++)
        if (!read_guard(write->guards[i], i, &command->guards[i], error)) return false;
    for (size_t i = 0; i < write->n_operations; i++)
        if (!read_op(write->operations[i], i, &command->ops[i], error)) return false;
    request->op = ROUTER_WRITE;
    request->command = command;
    return true;
}

static void read_single_op(struct arena *arena, ProtobufCBinaryData request_id, struct txn_op op,
                           struct router_request *request) {
    struct txn_command *command = new_command(arena, request_id, 0, 1);
    command->ops[0] = op;
    request->op = ROUTER_WRITE;
    request->command = command;
}

enum status kv_request_from_proto(struct arena *arena, const Flotilla__V1__PipeCall *call,
                                  struct router_request *ret_request, struct buf *error) {
    struct router_request request = {0};
    bool sound = true;
    switch (call->request_case) {
    case FLOTILLA__V1__PIPE_CALL__REQUEST_GET:
        read_keys(arena, &call->get->key, 1, &request);
        sound = read_mode(call->get->mode, &request, error);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_BATCH_GET:
        read_keys(arena, call->batch_get->keys, call->batch_get->n_keys, &request);
        sound = read_mode(call->batch_get->mode, &request, error);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_SCAN:
        sound = read_scan(call->scan, &request, error);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_PUT:
        read_single_op(arena, call->put->request_id,
                       (struct txn_op){.kind = TXN_OP_PUT,
                                       .key = rpc_slice_from_bytes(call->put->key),
                                       .value = rpc_slice_from_bytes(call->put->value)},
                       &request);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_DELETE:
        read_single_op(
            arena, call->delete_->request_id,
            (struct txn_op){.kind = TXN_OP_DELETE, .key = rpc_slice_from_bytes(call->delete_->key)},
            &request);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE:
        sound = read_write(arena, call->write, &request, error);
        break;
    default:
        buf_printf(error, "the call has no request");
        sound = false;
    }
    if (!sound) return STATUS_INVALID;
    *ret_request = request;
    return STATUS_OK;
}

/* ---- replies, at the server ---- */

/* A protobuf string: ends with NUL, and is UTF-8 whatever a text that came from afar holds. */
static char *printable(struct arena *arena, struct slice text) {
    char *copy = arena_alloc(arena, text.len + 1);
    for (size_t i = 0; i < text.len; i++)
        copy[i] = text.data[i] >= 0x20 && text.data[i] < 0x7f ? (char)text.data[i] : '?';
    copy[text.len] = 0;
    return copy;
}

static Flotilla__V1__GetResponse *write_value(struct arena *arena, const struct range_row *row) {
    Flotilla__V1__GetResponse *response =
        KV_NEW(arena, Flotilla__V1__GetResponse, flotilla__v1__get_response);
    response->found = row->version > 0;
    response->value = rpc_bytes_from_slice(row->value);
    response->version = row->version;
    return response;
}

static Flotilla__V1__BatchGetResponse *write_values(struct arena *arena,
                                                    const struct router_reply *reply) {
    Flotilla__V1__BatchGetResponse *response =
        KV_NEW(arena, Flotilla__V1__BatchGetResponse, flotilla__v1__batch_get_response);
    response->as_of = reply->as_of;
    response->n_results = reply->row_count;
    response->results = ARENA_NEW_ARRAY(arena, Flotilla__V1__GetResponse *, reply->row_count);
    for (uint32_t i = 0; i < reply->row_count; i++)
        response->results[i] = write_value(arena, &reply->rows[i]);
    return response;
}

static Flotilla__V1__ScanResponse *write_rows(struct arena *arena,
                                              const struct router_reply *reply) {
    Flotilla__V1__ScanResponse *response =
        KV_NEW(arena, Flotilla__V1__ScanResponse, flotilla__v1__scan_response);
    response->more = reply->more;
    if (reply->more) response->resume = rpc_bytes_from_slice(reply->resume);
    response->as_of = reply->as_of;
    response->n_rows = reply->row_count;
    response->rows = ARENA_NEW_ARRAY(arena, Flotilla__V1__Row *, reply->row_count);
    for (uint32_t i = 0; i < reply->row_count; i++) {
        Flotilla__V1__Row *row = KV_NEW(arena, Flotilla__V1__Row, flotilla__v1__row);
        row->key = rpc_bytes_from_slice(reply->rows[i].key);
        row->value = rpc_bytes_from_slice(reply->rows[i].value);
        row->version = reply->rows[i].version;
        response->rows[i] = row;
    }
    return response;
}

static Flotilla__V1__WriteResponse *write_outcome(struct arena *arena,
                                                  const struct txn_outcome *outcome) {
    Flotilla__V1__WriteResponse *response =
        KV_NEW(arena, Flotilla__V1__WriteResponse, flotilla__v1__write_response);
    response->refusal = (Flotilla__V1__Refusal)outcome->result;
    if (outcome->result != TXN_DONE)
        response->text = printable(arena, slice_from_text(txn_result_text(outcome->result)));
    response->replayed = outcome->replayed;
    response->version = outcome->commit_ts;
    response->index = outcome->index;
    response->number = outcome->number;
    response->n_numbers = outcome->number_count;
    response->numbers = outcome->numbers;
    return response;
}

/* Put and Delete can be refused in one way only, so their answers have no place for a refusal. */
static bool write_simple(struct arena *arena, const struct txn_outcome *outcome,
                         Flotilla__V1__PipeReply *reply) {
    if (outcome->result != TXN_DONE) {
        reply->code = RPC_FAILED_PRECONDITION;
        reply->text = printable(arena, slice_from_text(txn_result_text(outcome->result)));
        return false;
    }
    if (reply->response_case == FLOTILLA__V1__PIPE_REPLY__RESPONSE_PUT) {
        reply->put = KV_NEW(arena, Flotilla__V1__PutResponse, flotilla__v1__put_response);
        reply->put->version = outcome->commit_ts;
        reply->put->replayed = outcome->replayed;
    } else {
        reply->delete_ = KV_NEW(arena, Flotilla__V1__DeleteResponse, flotilla__v1__delete_response);
        reply->delete_->version = outcome->commit_ts;
        reply->delete_->replayed = outcome->replayed;
    }
    return true;
}

static void write_failure(struct arena *arena, const struct router_reply *reply,
                          Flotilla__V1__PipeReply *ret_reply) {
    struct buf text = {0};
    buf_append(&text, reply->text);
    if (reply->code == ROUTER_BUSY)
        buf_printf(&text, " (after %u ms)", (reply->retry_after_us + 999) / 1000);
    ret_reply->code = kv_code_from_router(reply->code);
    ret_reply->text = printable(arena, slice_from_buf(&text));
    ret_reply->retry_after_us = reply->retry_after_us;
    buf_done(&text);
}

void kv_reply_to_proto(struct arena *arena, kv_request_case request_case,
                       const struct router_reply *reply, Flotilla__V1__PipeReply *ret_reply) {
    *ret_reply = (Flotilla__V1__PipeReply)FLOTILLA__V1__PIPE_REPLY__INIT;
    if (reply->code != ROUTER_OK) {
        write_failure(arena, reply, ret_reply);
        return;
    }
    bool done = true;
    ret_reply->response_case =
        (Flotilla__V1__PipeReply__ResponseCase)((int)request_case + 2); /* asserted above */
    switch (request_case) {
    case FLOTILLA__V1__PIPE_CALL__REQUEST_GET:
        ASSERT_CMP(reply->row_count, ==, 1);
        ret_reply->get = write_value(arena, &reply->rows[0]);
        ret_reply->get->as_of = reply->as_of;
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_BATCH_GET:
        ret_reply->batch_get = write_values(arena, reply);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_SCAN:
        ret_reply->scan = write_rows(arena, reply);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_PUT:
    case FLOTILLA__V1__PIPE_CALL__REQUEST_DELETE:
        done = write_simple(arena, reply->outcome, ret_reply);
        break;
    case FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE:
        ret_reply->write = write_outcome(arena, reply->outcome);
        break;
    default:
        ASSERT(!"a request that was never accepted");
    }
    if (!done) ret_reply->response_case = FLOTILLA__V1__PIPE_REPLY__RESPONSE__NOT_SET;
}
