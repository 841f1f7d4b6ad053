#include "rpc/etcd/messages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

/* ---- requests ---- */

bool etcd_put_of(const struct txn_command *command, Etcdserverpb__PutRequest *ret_put) {
    if (command->guard_count != 0 || command->op_count != 1 || command->ops[0].kind != TXN_OP_PUT)
        return false;
    etcdserverpb__put_request__init(ret_put);
    ret_put->key = rpc_bytes_from_slice(command->ops[0].key);
    ret_put->value = rpc_bytes_from_slice(command->ops[0].value);
    return true;
}

bool etcd_update_of(const struct txn_command *command, struct etcd_update *ret_update) {
    if (command->guard_count != 0 || command->op_count != 2) return false;
    const struct txn_op *add = &command->ops[0], *insert = &command->ops[1];
    if (add->kind != TXN_OP_ADD || insert->kind != TXN_OP_INSERT) return false;
    buf_assign(&ret_update->counter_key, add->key);
    buf_assign(&ret_update->record_key, insert->key);
    buf_assign(&ret_update->record_value, insert->value);
    ret_update->delta = add->delta;
    ret_update->minimum = add->minimum;
    ret_update->maximum = add->maximum;
    return true;
}

void etcd_update_done(struct etcd_update *update) {
    buf_done(&update->counter_key);
    buf_done(&update->record_key);
    buf_done(&update->record_value);
}

bool etcd_range_of(const struct router_request *request, Etcdserverpb__RangeRequest *ret_range) {
    /* etcd knows no empty keys: one zero byte is the first key, and as an end it means "all". */
    static const struct slice zero = {(const uint8_t *)"\0", 1};
    etcdserverpb__range_request__init(ret_range);
    ret_range->serializable = request->read_mode == RANGE_READ_STALE;
    if (request->op == ROUTER_GET) {
        if (request->key_count != 1) return false;
        ret_range->key = rpc_bytes_from_slice(request->keys[0]);
        return true;
    }
    if (request->op != ROUTER_SCAN || request->reverse) return false;
    ret_range->key = rpc_bytes_from_slice(request->start.len ? request->start : zero);
    ret_range->range_end = rpc_bytes_from_slice(request->end.len ? request->end : zero);
    ret_range->limit = request->row_limit;
    ret_range->keys_only = request->keys_only;
    return true;
}

static Etcdserverpb__RequestOp *put_op(Etcdserverpb__RequestOp *op, Etcdserverpb__PutRequest *put,
                                       struct slice key, struct slice value) {
    etcdserverpb__request_op__init(op);
    etcdserverpb__put_request__init(put);
    put->key = rpc_bytes_from_slice(key);
    put->value = rpc_bytes_from_slice(value);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
    return op;
}

static Etcdserverpb__RequestOp *range_op(Etcdserverpb__RequestOp *op,
                                         Etcdserverpb__RangeRequest *range, struct slice key) {
    etcdserverpb__request_op__init(op);
    etcdserverpb__range_request__init(range);
    range->key = rpc_bytes_from_slice(key);
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
    return op;
}

void etcd_transaction_init(struct etcd_transaction *transaction, const struct etcd_update *update,
                           struct etcd_counter counter, bool learns) {
    struct slice counter_key = slice_from_buf(&update->counter_key);
    struct slice record_key = slice_from_buf(&update->record_key);
    int64_t sum = 0;
    enum etcd_step step = etcd_update_step(update, counter.number, &sum);
    ASSERT(step == ETCD_STEP_GO);
    int digits = snprintf(transaction->number, sizeof(transaction->number), "%" PRId64, sum);

    etcdserverpb__compare__init(&transaction->unchanged);
    transaction->unchanged.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    transaction->unchanged.key = rpc_bytes_from_slice(counter_key);
    transaction->unchanged.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    transaction->unchanged.mod_revision = counter.revision;
    etcdserverpb__compare__init(&transaction->absent);
    transaction->absent.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
    transaction->absent.key = rpc_bytes_from_slice(record_key);
    transaction->absent.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
    transaction->compares[0] = &transaction->unchanged;
    transaction->compares[1] = &transaction->absent;

    transaction->on_success[0] =
        put_op(&transaction->ops[0], &transaction->put_counter, counter_key,
               slice_make(transaction->number, (size_t)digits));
    transaction->on_success[1] = put_op(&transaction->ops[1], &transaction->put_record, record_key,
                                        slice_from_buf(&update->record_value));
    transaction->on_failure[0] =
        range_op(&transaction->ops[2], &transaction->range_record, record_key);
    transaction->range_record.count_only = true;
    transaction->on_failure[1] =
        range_op(&transaction->ops[3], &transaction->range_counter, counter_key);

    etcdserverpb__txn_request__init(&transaction->request);
    transaction->request.n_compare = 2;
    transaction->request.compare = transaction->compares;
    transaction->request.n_success = 2;
    transaction->request.success = transaction->on_success;
    transaction->request.n_failure = learns ? 2 : 1;
    transaction->request.failure = transaction->on_failure;
}

enum etcd_step etcd_update_step(const struct etcd_update *update, int64_t number,
                                int64_t *ret_sum) {
    int64_t sum;
    if (__builtin_add_overflow(number, update->delta, &sum) || sum < update->minimum ||
        sum > update->maximum)
        return ETCD_STEP_BOUND;
    *ret_sum = sum;
    return ETCD_STEP_GO;
}

/* ---- responses ---- */

static enum status read_number(struct slice text, int64_t *ret_number) {
    char copy[24];
    char *end = copy;
    if (text.len == 0 || text.len >= sizeof(copy)) return STATUS_INVALID;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    errno = 0;
    long long number = strtoll(copy, &end, 10);
    if (errno != 0 || end != copy + text.len) return STATUS_INVALID;
    *ret_number = number;
    return STATUS_OK;
}

enum status etcd_counter_read(const Etcdserverpb__RangeResponse *response,
                              struct etcd_counter *ret_counter) {
    struct etcd_counter counter = {0};
    if (response->n_kvs > 0) {
        const Etcdserverpb__KeyValue *kv = response->kvs[0];
        enum status status = read_number(rpc_slice_from_bytes(kv->value), &counter.number);
        if (status != STATUS_OK) return status;
        counter.revision = kv->mod_revision;
    }
    *ret_counter = counter;
    return STATUS_OK;
}

static const Etcdserverpb__RangeResponse *range_response(const Etcdserverpb__TxnResponse *response,
                                                         size_t index) {
    const Etcdserverpb__ResponseOp *op = response->responses[index];
    if (op->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE) return NULL;
    return op->response_range;
}

enum status etcd_transaction_read(const Etcdserverpb__TxnResponse *response, bool learns,
                                  bool *ret_record_exists, struct etcd_counter *ret_counter) {
    if (response->n_responses != (learns ? 2u : 1u)) return STATUS_CORRUPTION;
    const Etcdserverpb__RangeResponse *record = range_response(response, 0);
    if (!record) return STATUS_CORRUPTION;
    struct etcd_counter counter = {0};
    if (learns) {
        const Etcdserverpb__RangeResponse *range = range_response(response, 1);
        if (!range || etcd_counter_read(range, &counter) != STATUS_OK) return STATUS_CORRUPTION;
    }
    *ret_record_exists = record->count > 0;
    *ret_counter = counter;
    return STATUS_OK;
}

static struct range_row read_row(const Etcdserverpb__KeyValue *kv) {
    return (struct range_row){.key = rpc_slice_from_bytes(kv->key),
                              .value = rpc_slice_from_bytes(kv->value),
                              .version = (uint64_t)kv->mod_revision};
}

void etcd_rows_read(struct arena *arena, enum router_op op,
                    const Etcdserverpb__RangeResponse *response, struct router_reply *ret_reply) {
    size_t count = op == ROUTER_GET ? 1 : response->n_kvs;
    struct range_row *rows = ARENA_NEW_ARRAY(arena, struct range_row, count);
    if (op == ROUTER_GET) rows[0] = (struct range_row){0};
    for (size_t i = 0; i < count && i < response->n_kvs; i++)
        rows[i] = read_row(response->kvs[i]);
    ret_reply->row_count = (uint32_t)count;
    ret_reply->rows = rows;
    ret_reply->more = response->more;
    if (response->more && op == ROUTER_SCAN && count > 0) {
        struct slice last = rows[count - 1].key;
        uint8_t *behind = arena_alloc(arena, last.len + 1); /* the smallest key behind it */
        memcpy(behind, last.data, last.len);
        behind[last.len] = 0;
        ret_reply->resume = slice_make(behind, last.len + 1);
    }
}
