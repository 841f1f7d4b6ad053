#include "tests/rpc/etcd_fake.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "rpc/etcd/messages.h"

static struct etcd_fake_entry *find(const struct etcd_fake *fake, struct slice key) {
    for (size_t i = 0; i < fake->count; i++)
        if (slice_equal(slice_from_buf(&fake->entries[i].key), key))
            return (struct etcd_fake_entry *)&fake->entries[i];
    return NULL;
}

static void set(struct etcd_fake *fake, struct slice key, struct slice value) {
    struct etcd_fake_entry *entry = find(fake, key);
    if (!entry) {
        cr_assert_lt(fake->count, ETCD_FAKE_KEYS_MAX);
        entry = &fake->entries[fake->count++];
        *entry =
            (struct etcd_fake_entry){.key = buf_from_slice(key), .create_revision = fake->revision};
    }
    buf_assign(&entry->value, value);
    entry->mod_revision = fake->revision;
}

void etcd_fake_put(struct etcd_fake *fake, struct slice key, struct slice value) {
    fake->revision++;
    set(fake, key, value);
}

struct slice etcd_fake_value(const struct etcd_fake *fake, const char *key) {
    const struct etcd_fake_entry *entry = find(fake, slice_from_text(key));
    return entry ? slice_from_buf(&entry->value) : SLICE_EMPTY;
}

static void *unpack(struct etcd_fake *fake, const ProtobufCMessageDescriptor *type,
                    struct slice bytes) {
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_reset(&fake->arena);
    /* Strictly: the client must not send a field that is not in the minimal proto. */
    cr_assert_eq(rpc_message_unpack_request(&fake->arena, type, bytes, &error, &message), STATUS_OK,
                 "%.*s", (int)error.len, (const char *)error.data);
    return message;
}

/* True: the call has been answered. */
static bool refused(struct etcd_fake *fake, struct rpc_call *call) {
    if (fake->refuse_code == RPC_OK) return false;
    rpc_call_fail(call, fake->refuse_code, "%s", fake->refuse_text);
    return true;
}

static void reply_to_write(struct etcd_fake *fake, struct rpc_call *call,
                           const ProtobufCMessage *message) {
    if (fake->answers_lost == 0) {
        rpc_call_reply_message(call, message);
        return;
    }
    fake->answers_lost--;
    rpc_call_fail(call, RPC_UNAVAILABLE, "etcdserver: leader changed");
}

/* In the range, and the smallest above `after` (NULL: of all). */
static const struct etcd_fake_entry *next_in_range(const struct etcd_fake *fake,
                                                   const Etcdserverpb__RangeRequest *range,
                                                   const struct etcd_fake_entry *after) {
    struct slice first = rpc_slice_from_bytes(range->key);
    struct slice end = rpc_slice_from_bytes(range->range_end);
    bool single = end.len == 0, open = end.len == 1 && end.data[0] == 0;
    const struct etcd_fake_entry *best = NULL;
    for (size_t i = 0; i < fake->count; i++) {
        struct slice key = slice_from_buf(&fake->entries[i].key);
        bool inside = slice_compare(key, first) >= 0 && (open || slice_compare(key, end) < 0);
        if (single) inside = slice_equal(key, first);
        if (!inside || (after && slice_compare(key, slice_from_buf(&after->key)) <= 0)) continue;
        if (!best || slice_compare(key, slice_from_buf(&best->key)) < 0) best = &fake->entries[i];
    }
    return best;
}

static Etcdserverpb__RangeResponse *range_of(struct etcd_fake *fake,
                                             const Etcdserverpb__RangeRequest *range) {
    Etcdserverpb__RangeResponse *response = arena_alloc(&fake->arena, sizeof(*response));
    etcdserverpb__range_response__init(response);
    response->kvs = ARENA_NEW_ARRAY(&fake->arena, Etcdserverpb__KeyValue *, ETCD_FAKE_KEYS_MAX);
    const struct etcd_fake_entry *entry = NULL;
    while ((entry = next_in_range(fake, range, entry))) {
        response->count++;
        if (range->count_only) continue;
        if (range->limit > 0 && response->n_kvs == (size_t)range->limit) {
            response->more = true;
            continue;
        }
        Etcdserverpb__KeyValue *kv = arena_alloc(&fake->arena, sizeof(*kv));
        etcdserverpb__key_value__init(kv);
        kv->key = rpc_bytes_from_slice(slice_from_buf(&entry->key));
        if (!range->keys_only) kv->value = rpc_bytes_from_slice(slice_from_buf(&entry->value));
        kv->mod_revision = entry->mod_revision;
        response->kvs[response->n_kvs++] = kv;
    }
    return response;
}

static void on_range(void *ctx, struct rpc_call *call, struct slice bytes) {
    struct etcd_fake *fake = ctx;
    if (refused(fake, call)) return;
    const Etcdserverpb__RangeRequest *range =
        unpack(fake, &etcdserverpb__range_request__descriptor, bytes);
    fake->ranges++;
    fake->last_serializable = range->serializable;
    rpc_call_reply_message(call, &range_of(fake, range)->base);
}

static void on_put(void *ctx, struct rpc_call *call, struct slice bytes) {
    struct etcd_fake *fake = ctx;
    if (refused(fake, call)) return;
    const Etcdserverpb__PutRequest *put =
        unpack(fake, &etcdserverpb__put_request__descriptor, bytes);
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;
    fake->puts++;
    etcd_fake_put(fake, rpc_slice_from_bytes(put->key), rpc_slice_from_bytes(put->value));
    header.revision = fake->revision;
    response.header = &header;
    reply_to_write(fake, call, &response.base);
}

static bool holds(const struct etcd_fake *fake, const Etcdserverpb__Compare *compare) {
    const struct etcd_fake_entry *entry = find(fake, rpc_slice_from_bytes(compare->key));
    cr_assert_eq(compare->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL);
    if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD) {
        cr_assert_eq(compare->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION);
        return compare->mod_revision == (entry ? entry->mod_revision : 0);
    }
    cr_assert_eq(compare->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE);
    cr_assert_eq(compare->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION);
    return compare->create_revision == (entry ? entry->create_revision : 0);
}

/* Somebody else was faster. */
static void interfere(struct etcd_fake *fake, struct slice counter_key) {
    struct buf value = {0};
    const struct etcd_fake_entry *entry = find(fake, counter_key);
    long long number = 0;
    if (entry) {
        buf_append(&value, slice_from_buf(&entry->value));
        buf_append_byte(&value, 0);
        number = atoll((const char *)value.data);
        buf_clear(&value);
    }
    buf_printf(&value, "%lld", number + 1000);
    etcd_fake_put(fake, counter_key, slice_from_buf(&value));
    buf_done(&value);
    fake->rivals--;
}

static Etcdserverpb__ResponseOp *run_op(struct etcd_fake *fake, const Etcdserverpb__RequestOp *op) {
    Etcdserverpb__ResponseOp *response = arena_alloc(&fake->arena, sizeof(*response));
    etcdserverpb__response_op__init(response);
    if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
        response->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
        response->response_range = range_of(fake, op->request_range);
        return response;
    }
    cr_assert_eq(op->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    set(fake, rpc_slice_from_bytes(op->request_put->key),
        rpc_slice_from_bytes(op->request_put->value));
    response->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
    response->response_put = arena_alloc(&fake->arena, sizeof(*response->response_put));
    etcdserverpb__put_response__init(response->response_put);
    return response;
}

static void on_txn(void *ctx, struct rpc_call *call, struct slice bytes) {
    struct etcd_fake *fake = ctx;
    if (refused(fake, call)) return;
    const Etcdserverpb__TxnRequest *request =
        unpack(fake, &etcdserverpb__txn_request__descriptor, bytes);
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__TxnResponse response = ETCDSERVERPB__TXN_RESPONSE__INIT;
    fake->transactions++;
    if (fake->rivals > 0) interfere(fake, rpc_slice_from_bytes(request->compare[0]->key));
    response.succeeded = true;
    for (size_t i = 0; i < request->n_compare; i++)
        response.succeeded = response.succeeded && holds(fake, request->compare[i]);
    size_t count = response.succeeded ? request->n_success : request->n_failure;
    Etcdserverpb__RequestOp **ops = response.succeeded ? request->success : request->failure;
    if (response.succeeded) fake->revision++; /* one revision for the whole transaction */
    response.responses = ARENA_NEW_ARRAY(&fake->arena, Etcdserverpb__ResponseOp *, count);
    for (size_t i = 0; i < count; i++)
        response.responses[response.n_responses++] = run_op(fake, ops[i]);
    header.revision = fake->revision;
    response.header = &header;
    reply_to_write(fake, call, &response.base);
}

void etcd_fake_start(struct etcd_fake *fake, struct rpc_loop *loop) {
    static const struct rpc_method methods[] = {{.path = ETCD_RANGE, .unary = on_range},
                                                {.path = ETCD_PUT, .unary = on_put},
                                                {.path = ETCD_TXN, .unary = on_txn}};
    struct buf error = {0};
    *fake = (struct etcd_fake){.refuse_text = "refused"};
    arena_init(&fake->arena, 0);
    struct rpc_server_config config = {.listen = "127.0.0.1:0"};
    fake->server = rpc_server_new(loop, &config);
    rpc_server_add(fake->server, methods, sizeof(methods) / sizeof(methods[0]), fake);
    cr_assert_eq(rpc_server_start(fake->server, &error), STATUS_OK, "%.*s", (int)error.len,
                 (const char *)error.data);
    (void)snprintf(fake->address, sizeof(fake->address), "127.0.0.1:%u",
                   rpc_server_port(fake->server));
    buf_done(&error);
}

void etcd_fake_stop(struct etcd_fake *fake) {
    rpc_server_free(fake->server);
    for (size_t i = 0; i < fake->count; i++) {
        buf_done(&fake->entries[i].key);
        buf_done(&fake->entries[i].value);
    }
    arena_done(&fake->arena);
}
