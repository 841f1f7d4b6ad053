/* Optimistic updates: how an application reserves against a limit on etcd. The counter's value and
 * revision are known, then a transaction writes the next value and the record if the revision is
 * still the same; if another was faster, the same again.
 *
 *   start ──known from last time──▶ TRANSACT ──held──▶ done
 *     │                             ▲  │  ▲
 *     └──────────▶ READ ────────────┘  │  │ another was faster: again, with what the failed
 *                   ▲                  ├──┘ transaction told (config.remembers)
 *                   └──────────────────┘    or after a fresh read
 *
 * 1. Every transaction also compares that the record does not exist, and a failed one tells whether
 *    it does: then an earlier attempt, whose answer was lost, has done the update. So an update may
 *    be submitted again after an unknown outcome, and counts once.
 * 2. A refusal (the bound) rests on a counter that was read in the course of the call, never on a
 *    remembered one, and on the record's absence after that. A transaction that is still on its way
 *    from an earlier attempt cannot turn it into a success: it compares a revision at which
 *    the sum was within the bounds, so not the one that was read. */
#include "base/codec.h"
#include "base/memory.h"
#include "rpc/etcd/internal.h"

/* What a caller knows of a key from its last update. */
struct etcd_memory {
    struct bytesmap_node node;
    struct etcd_counter counter;
    size_t key_len;
    uint8_t key[]; /* caller ‖ key */
};

static void transact(struct etcd_call *call);

/* ---- memory ---- */

static struct slice memory_key(struct etcd_call *call) {
    struct buf *key = &call->client->memory_key;
    buf_clear(key);
    encode_u32(key, call->caller);
    buf_append(key, slice_from_buf(&call->update.counter_key));
    return slice_from_buf(key);
}

static struct etcd_memory *recall(struct etcd_call *call) {
    struct bytesmap_node *node = bytesmap_get(&call->client->remembered, memory_key(call));
    return node ? CONTAINER_OF(node, struct etcd_memory, node) : NULL;
}

static void forget_all(struct etcd_client *client) {
    struct bytesmap_node *node = bytesmap_next(&client->remembered, NULL);
    while (node) {
        struct bytesmap_node *next = bytesmap_next(&client->remembered, node);
        memory_free(CONTAINER_OF(node, struct etcd_memory, node));
        node = next;
    }
    bytesmap_clear(&client->remembered);
}

static void remember(struct etcd_call *call, struct etcd_counter counter) {
    struct etcd_client *client = call->client;
    if (!client->config.remembers) return;
    struct etcd_memory *memory = recall(call);
    if (!memory) {
        if (client->remembered.count >= ETCD_REMEMBERED_MAX) forget_all(client);
        struct slice key = memory_key(call);
        memory = memory_alloc(sizeof(*memory) + key.len);
        memory->key_len = key.len;
        memcpy(memory->key, key.data, key.len);
        bytesmap_put(&client->remembered, &memory->node, slice_make(memory->key, key.len));
    }
    memory->counter = counter;
}

void etcd_memory_done(struct etcd_client *client) {
    forget_all(client);
    bytesmap_done(&client->remembered);
    buf_done(&client->memory_key);
}

/* ---- endings ---- */

static void finish_done(struct etcd_call *call, int64_t number, int64_t revision, bool replayed) {
    struct txn_outcome outcome = {.result = TXN_DONE,
                                  .replayed = replayed,
                                  .commit_ts = (uint64_t)revision,
                                  .number_count = 1,
                                  .numbers = &number};
    etcd_call_finish(call, &(struct router_reply){.code = ROUTER_OK, .outcome = &outcome});
}

static void finish_refused(struct etcd_call *call) {
    struct txn_outcome outcome = {.result = TXN_REFUSED_BOUND, .number = call->counter.number};
    etcd_call_finish(call, &(struct router_reply){.code = ROUTER_OK, .outcome = &outcome});
}

static void finish_unreadable(struct etcd_call *call, bool maybe_done) {
    struct rpc_status status = {.code = RPC_INTERNAL,
                                .text =
                                    SLICE_LITERAL("the answer of etcd is not one to this request")};
    etcd_call_fail(call, &status, maybe_done);
}

/* NULL: unreadable. */
static ProtobufCMessage *unpack(struct etcd_call *call, const ProtobufCMessageDescriptor *type,
                                struct slice bytes) {
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_reset(&call->client->reply_arena);
    if (rpc_message_unpack_response(&call->client->reply_arena, type, bytes, &error, &message) !=
        STATUS_OK)
        message = NULL;
    buf_done(&error);
    return message;
}

/* ---- reading ---- */

static void on_counter(void *ctx, const struct rpc_status *status, struct slice bytes) {
    struct etcd_call *call = ctx;
    if (status->code != RPC_OK) {
        etcd_call_fail(call, status, false);
        return;
    }
    ProtobufCMessage *message = unpack(call, &etcdserverpb__range_response__descriptor, bytes);
    if (!message) {
        finish_unreadable(call, false);
        return;
    }
    if (etcd_counter_read((const Etcdserverpb__RangeResponse *)(void *)message, &call->counter) !=
        STATUS_OK) {
        struct txn_outcome outcome = {.result = TXN_REFUSED_NOT_A_NUMBER};
        etcd_call_finish(call, &(struct router_reply){.code = ROUTER_OK, .outcome = &outcome});
        return;
    }
    call->counter_is_fresh = true;
    transact(call);
}

static void read_key(struct etcd_call *call, const struct buf *key, bool count_only,
                     rpc_response_fn *done) {
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = rpc_bytes_from_slice(slice_from_buf(key));
    range.count_only = count_only;
    (void)etcd_call_send(call, ETCD_RANGE, &range.base, done); /* answered if it was too late */
}

static void read_counter(struct etcd_call *call) {
    read_key(call, &call->update.counter_key, false, on_counter);
}

static void on_record(void *ctx, const struct rpc_status *status, struct slice bytes) {
    struct etcd_call *call = ctx;
    if (status->code != RPC_OK) {
        etcd_call_fail(call, status, false);
        return;
    }
    ProtobufCMessage *message = unpack(call, &etcdserverpb__range_response__descriptor, bytes);
    if (!message) {
        finish_unreadable(call, false);
    } else if (((const Etcdserverpb__RangeResponse *)(void *)message)->count > 0) {
        finish_done(call, call->counter.number, call->counter.revision, true);
    } else {
        finish_refused(call);
    }
}

/* ---- the transaction ---- */

static void on_conflict(struct etcd_call *call, const Etcdserverpb__TxnResponse *response) {
    bool learns = call->client->config.remembers, exists = false;
    struct etcd_counter counter;
    call->client->conflicts++;
    if (etcd_transaction_read(response, learns, &exists, &counter) != STATUS_OK) {
        finish_unreadable(call, false);
    } else if (exists) {
        finish_done(call, call->counter.number, response->header ? response->header->revision : 0,
                    true);
    } else if (learns) {
        call->counter = counter;
        call->counter_is_fresh = true;
        transact(call);
    } else {
        read_counter(call);
    }
}

static void on_transacted(void *ctx, const struct rpc_status *status, struct slice bytes) {
    struct etcd_call *call = ctx;
    if (status->code != RPC_OK) {
        etcd_call_fail(call, status, true);
        return;
    }
    ProtobufCMessage *message = unpack(call, &etcdserverpb__txn_response__descriptor, bytes);
    const Etcdserverpb__TxnResponse *response = (const Etcdserverpb__TxnResponse *)(void *)message;
    if (!response || !response->header) {
        finish_unreadable(call, true);
        return;
    }
    if (!response->succeeded) {
        on_conflict(call, response);
        return;
    }
    struct etcd_counter counter = {.number = call->counter.number + call->update.delta,
                                   .revision = response->header->revision};
    remember(call, counter);
    finish_done(call, counter.number, counter.revision, false);
}

static void transact(struct etcd_call *call) {
    int64_t sum;
    if (etcd_update_step(&call->update, call->counter.number, &sum) == ETCD_STEP_BOUND) {
        if (call->counter_is_fresh)
            read_key(call, &call->update.record_key, true, on_record);
        else
            read_counter(call);
        return;
    }
    struct etcd_transaction transaction;
    etcd_transaction_init(&transaction, &call->update, call->counter,
                          call->client->config.remembers);
    (void)etcd_call_send(call, ETCD_TXN, &transaction.request.base, on_transacted); /* as above */
}

void etcd_update_start(struct etcd_call *call) {
    const struct etcd_memory *memory = call->client->config.remembers ? recall(call) : NULL;
    call->counter_is_fresh = false;
    if (!memory) {
        read_counter(call);
        return;
    }
    call->counter = memory->counter;
    transact(call);
}
