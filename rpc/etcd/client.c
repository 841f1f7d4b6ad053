#include "rpc/etcd/client.h"

#include "base/assert.h"
#include "base/memory.h"
#include "rpc/etcd/internal.h"

#define TIMEOUT_US_DEFAULT 5000000u
#define BUSY_RETRY_AFTER_US 10000u

/* ---- calls ---- */

static struct etcd_call *call_new(struct etcd_client *client) {
    struct list_node *link = list_pop_front(&client->spare);
    struct etcd_call *call;
    if (link) {
        client->spare_count--;
        call = CONTAINER_OF(link, struct etcd_call, link);
    } else {
        call = MEMORY_NEW(struct etcd_call);
        call->client = client;
    }
    list_push_back(&client->calls, &call->link);
    client->outstanding++;
    return call;
}

static void call_free(struct etcd_call *call) {
    etcd_update_done(&call->update);
    memory_free(call);
}

void etcd_call_finish(struct etcd_call *call, const struct router_reply *reply) {
    struct etcd_client *client = call->client;
    list_remove(&call->link);
    client->outstanding--;
    call->done(call->ctx, reply);
    if (client->spare_count >= ETCD_SPARE_CALLS_MAX) {
        call_free(call);
        return;
    }
    client->spare_count++;
    list_push_front(&client->spare, &call->link);
}

void etcd_call_finish_code(struct etcd_call *call, enum router_code code, const char *text) {
    etcd_call_finish(call, &(struct router_reply){.code = code, .text = slice_from_text(text)});
}

/* etcd uses one code for "too much at once", which passes, and for "the quota of the data is used
 * up", which does not. */
static enum router_code exhausted_code(struct slice text) {
    struct slice passing = SLICE_LITERAL("too many requests");
    return memmem(text.data, text.len, passing.data, passing.len) ? ROUTER_BUSY : ROUTER_INVALID;
}

static enum router_code code_of(const struct rpc_status *status, bool maybe_done) {
    switch (status->code) {
    case RPC_INVALID_ARGUMENT:
    case RPC_UNIMPLEMENTED:
        return ROUTER_INVALID;
    case RPC_RESOURCE_EXHAUSTED:
        return exhausted_code(status->text);
    case RPC_DEADLINE_EXCEEDED:
        return maybe_done ? ROUTER_UNKNOWN : ROUTER_TIMEOUT;
    default:
        return maybe_done ? ROUTER_UNKNOWN : ROUTER_UNAVAILABLE;
    }
}

void etcd_call_fail(struct etcd_call *call, const struct rpc_status *status, bool maybe_done) {
    struct router_reply reply = {.code = code_of(status, maybe_done), .text = status->text};
    if (reply.code == ROUTER_BUSY) reply.retry_after_us = BUSY_RETRY_AFTER_US;
    etcd_call_finish(call, &reply);
}

bool etcd_call_send(struct etcd_call *call, const char *method, const ProtobufCMessage *message,
                    rpc_response_fn *done) {
    uint64_t now_us = rpc_loop_now_us(call->client->loop);
    if (call->deadline_us <= now_us) {
        etcd_call_finish_code(call, ROUTER_TIMEOUT, "the deadline passed; nothing was changed");
        return false;
    }
    /* Only Range may run twice without harm. */
    struct rpc_call_options options = {.timeout_us = call->deadline_us - now_us,
                                       .wait_for_ready = true,
                                       .retry = message->descriptor ==
                                                &etcdserverpb__range_request__descriptor};
    rpc_client_call_message(call->client->channel, method, message, &options, done, call);
    return true;
}

/* ---- puts and reads ---- */

static void on_put(void *ctx, const struct rpc_status *status, struct slice bytes) {
    struct etcd_call *call = ctx;
    struct etcd_client *client = call->client;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    if (status->code != RPC_OK) {
        etcd_call_fail(call, status, true);
        return;
    }
    arena_reset(&client->reply_arena);
    if (rpc_message_unpack_response(&client->reply_arena, &etcdserverpb__put_response__descriptor,
                                    bytes, &error, &message) != STATUS_OK) {
        etcd_call_finish_code(call, ROUTER_UNKNOWN, "etcd's answer to a put is unreadable");
        buf_done(&error);
        return;
    }
    const Etcdserverpb__PutResponse *response = (const Etcdserverpb__PutResponse *)(void *)message;
    struct txn_outcome outcome = {.result = TXN_DONE};
    if (response->header) outcome.commit_ts = (uint64_t)response->header->revision;
    etcd_call_finish(call, &(struct router_reply){.code = ROUTER_OK, .outcome = &outcome});
}

static void on_rows(struct etcd_call *call, enum router_op op, const struct rpc_status *status,
                    struct slice bytes) {
    struct etcd_client *client = call->client;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    struct router_reply reply = {.code = ROUTER_OK};
    if (status->code != RPC_OK) {
        etcd_call_fail(call, status, false);
        return;
    }
    arena_reset(&client->reply_arena);
    if (rpc_message_unpack_response(&client->reply_arena, &etcdserverpb__range_response__descriptor,
                                    bytes, &error, &message) != STATUS_OK) {
        etcd_call_finish_code(call, ROUTER_UNAVAILABLE, "etcd's answer to a read is unreadable");
        buf_done(&error);
        return;
    }
    etcd_rows_read(&client->reply_arena, op, (const Etcdserverpb__RangeResponse *)(void *)message,
                   &reply);
    etcd_call_finish(call, &reply);
}

static void on_value(void *ctx, const struct rpc_status *status, struct slice bytes) {
    on_rows(ctx, ROUTER_GET, status, bytes);
}

static void on_page(void *ctx, const struct rpc_status *status, struct slice bytes) {
    on_rows(ctx, ROUTER_SCAN, status, bytes);
}

static void refuse(enum router_code code, const char *text, router_done_fn *done, void *ctx) {
    struct router_reply reply = {.code = code, .text = slice_from_text(text)};
    if (code == ROUTER_BUSY) reply.retry_after_us = BUSY_RETRY_AFTER_US;
    done(ctx, &reply);
}

static void dispatch(struct etcd_call *call, const struct router_request *request) {
    Etcdserverpb__RangeRequest range;
    Etcdserverpb__PutRequest put;
    if (request->op == ROUTER_WRITE) {
        if (etcd_put_of(request->command, &put)) {
            (void)etcd_call_send(call, ETCD_PUT, &put.base, on_put); /* answered if too late */
            return;
        }
        if (etcd_update_of(request->command, &call->update)) {
            etcd_update_start(call);
            return;
        }
    } else if (etcd_range_of(request, &range)) {
        rpc_response_fn *done = request->op == ROUTER_GET ? on_value : on_page;
        (void)etcd_call_send(call, ETCD_RANGE, &range.base, done); /* answered if too late */
        return;
    }
    etcd_call_finish_code(call, ROUTER_INVALID, "the etcd client has no such request");
}

/* ---- the public face ---- */

struct etcd_client *etcd_client_new(struct rpc_loop *loop,
                                    const struct etcd_client_config *config) {
    ASSERT_CMP(config->outstanding_max, >, 0);
    struct etcd_client *client = MEMORY_NEW(struct etcd_client);
    client->loop = loop;
    client->config = *config;
    if (client->config.default_timeout_us == 0)
        client->config.default_timeout_us = TIMEOUT_US_DEFAULT;
    client->channel = rpc_client_new(loop, config->addresses);
    client->config.addresses = rpc_client_address(client->channel);
    list_init(&client->calls);
    list_init(&client->spare);
    arena_init(&client->reply_arena, 0);
    return client;
}

void etcd_client_free(struct etcd_client *client) {
    if (!client) return;
    client->closing = true;
    rpc_client_free(client->channel); /* answers what is under way */
    ASSERT_CMP(client->outstanding, ==, 0);
    struct list_node *link;
    while ((link = list_pop_front(&client->spare)))
        call_free(CONTAINER_OF(link, struct etcd_call, link));
    etcd_memory_done(client);
    arena_done(&client->reply_arena);
    memory_free(client);
}

void etcd_client_submit(struct etcd_client *client, uint32_t caller,
                        const struct router_request *request, router_done_fn *done, void *ctx) {
    if (client->closing) {
        refuse(ROUTER_UNAVAILABLE, "the client is shutting down; nothing was changed", done, ctx);
        return;
    }
    if (client->outstanding >= client->config.outstanding_max) {
        refuse(ROUTER_BUSY, "too many requests are under way in the client", done, ctx);
        return;
    }
    struct etcd_call *call = call_new(client);
    call->caller = caller;
    call->deadline_us = request->deadline_us > 0
                            ? request->deadline_us
                            : rpc_loop_now_us(client->loop) + client->config.default_timeout_us;
    call->done = done;
    call->ctx = ctx;
    dispatch(call, request);
}

uint64_t etcd_client_conflicts(const struct etcd_client *client) {
    return client->conflicts;
}
