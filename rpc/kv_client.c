/* The client of flotilla.v1.KeyValue. A request is packed when it is submitted and waits as a
 * `pending` in one of two lists: unsent (its bytes are still here) or sent (the pipe has them).
 *
 *   submit ──▶ unsent ──end of turn, while the pipe is open──▶ sent ──reply──▶ done
 *                │                                              │
 *                └── deadline: nothing was sent                 └── pipe lost, or deadline + grace
 *
 * Deadlines are watched by one timer over a heap: the router answers at the deadline itself, so
 * this only speaks for a router that is frozen or away.
 *
 * What is unsent is a queue like every other: one that is longer than its requests are patient
 * would hand over nothing but what has no time left. So who would wait for half of his time here is
 * refused at once (base/pace.h), which costs the connection nothing. */
#include "rpc/kv_client.h"

#include "base/assert.h"
#include "base/codec.h"
#include "base/hashmap.h"
#include "base/memory.h"
#include "base/pace.h"
#include "base/prng.h"
#include "rpc/kv_messages.h"
#include "rpc/kv_service.h"

#define TIMEOUT_US_DEFAULT 5000000u
/* How long after a deadline the router's own word for it is still awaited. */
#define DEADLINE_GRACE_US 250000u
#define REOPEN_US_MIN 20000u
#define REOPEN_US_MAX 500000u
#define SPARE_MAX 4096u
#define SPARE_BYTES_MAX 4096u
/* One message to the router; larger batches take several. */
#define MESSAGE_BYTES (256u * 1024u)
/* The pipe is given no more than this ahead of what the connection takes: what waits here is
 * certain not to have been sent when its deadline passes, and leaves with the time that it still
 * has. */
#define PIPE_AHEAD_BYTES (1024u * 1024u)
/* What a request counts in the pipe's work beyond its own bytes. */
#define KV_WORK_PER_CALL 256u

struct pending {
    struct kv_client *client;
    struct list_node link;     /* client.unsent, client.sent, or client.unary */
    struct idmap_node by_id;   /* client.sent_by_id, while sent */
    struct heap_node deadline; /* client.deadlines; not for unary */
    kv_request_case request_case;
    bool is_write;
    uint64_t id;
    struct buf packed; /* PipeCall, but for its timeout_us, which is known when it leaves */
    router_done_fn *done;
    void *ctx;
};

struct kv_client {
    struct rpc_loop *loop;
    struct rpc_client *channel;
    bool unary, fail_fast;
    struct buf failure; /* why the last attempt to connect failed; empty: it has not */
    uint64_t default_timeout_us;
    uint32_t outstanding_max, outstanding;
    uint64_t next_id;
    struct rpc_stream *pipe; /* NULL: being reopened, or unary */
    bool pipe_open;          /* the router has taken it */
    bool closing;
    uint64_t reopen_us;
    struct rpc_timer reopen_timer, deadline_timer;
    struct rpc_turn_hook hook;
    struct list_node unsent, sent, unary_calls, spare;
    struct pace pace; /* of the pipe: bytes of what is unsent */
    struct prng prng;
    uint32_t spare_count;
    struct idmap sent_by_id;
    struct heap deadlines;
    struct arena request_arena, reply_arena;
    struct buf out;
};

static void pipe_dial(struct kv_client *client);

/* ---- pending ---- */

static struct pending *pending_new(struct kv_client *client) {
    struct list_node *link = list_pop_front(&client->spare);
    struct pending *pending;
    struct buf packed = {0};
    if (link) {
        client->spare_count--;
        pending = CONTAINER_OF(link, struct pending, link);
        packed = pending->packed;
    } else {
        pending = memory_alloc(sizeof(*pending));
    }
    buf_clear(&packed);
    *pending = (struct pending){.client = client, .id = client->next_id++, .packed = packed};
    list_init(&pending->link);
    client->outstanding++;
    return pending;
}

static uint64_t work_of(const struct pending *pending) {
    return pending->packed.len + KV_WORK_PER_CALL;
}

/* Takes it out of every structure and answers it; the callback may submit. */
static void finish(struct pending *pending, const struct router_reply *reply) {
    struct kv_client *client = pending->client;
    bool was_sent = idmap_remove(&client->sent_by_id, pending->id) != NULL;
    if (!was_sent && !client->unary) pace_withdraw(&client->pace, work_of(pending));
    heap_remove(&client->deadlines, &pending->deadline);
    list_remove(&pending->link);
    client->outstanding--;
    pending->done(pending->ctx, reply);
    if (client->spare_count >= SPARE_MAX || pending->packed.cap > SPARE_BYTES_MAX) {
        buf_done(&pending->packed);
        memory_free(pending);
        return;
    }
    client->spare_count++;
    list_push_front(&client->spare, &pending->link);
}

static void finish_code(struct pending *pending, enum router_code code, const char *text) {
    struct router_reply reply = {.code = code, .text = slice_from_text(text)};
    finish(pending, &reply);
}

/* The pipe had it and is gone or silent. */
static void finish_unheard(struct pending *pending, enum router_code read_code, const char *text) {
    finish_code(pending, pending->is_write ? ROUTER_UNKNOWN : read_code, text);
}

/* ---- deadlines ---- */

static void arm_deadlines(struct kv_client *client) {
    const struct heap_node *first = heap_min(&client->deadlines);
    if (!first) {
        rpc_timer_stop(client->loop, &client->deadline_timer);
    } else if (client->deadline_timer.node.slot == 0 ||
               client->deadline_timer.node.key != first->key) {
        rpc_timer_start(client->loop, &client->deadline_timer, first->key);
    }
}

static void on_deadline(struct rpc_timer *timer) {
    struct kv_client *client = CONTAINER_OF(timer, struct kv_client, deadline_timer);
    uint64_t now_us = rpc_loop_now_us(client->loop);
    struct heap_node *first;
    while ((first = heap_min(&client->deadlines)) && first->key <= now_us) {
        struct pending *pending = CONTAINER_OF(first, struct pending, deadline);
        if (idmap_get(&client->sent_by_id, pending->id)) {
            finish_unheard(pending, ROUTER_TIMEOUT, "the router did not answer in time");
        } else if (client->pipe_open) {
            finish_code(pending, ROUTER_TIMEOUT,
                        "the connection to the router did not take the request in time; nothing "
                        "was changed");
        } else {
            finish_code(pending, ROUTER_UNAVAILABLE,
                        "no connection to the router within the deadline; is `flotilla router` "
                        "running at the address that the client was given? Nothing was changed");
        }
    }
    arm_deadlines(client);
}

/* ---- the pipe ---- */

/* False: the queue is full, or the pipe is about to be gone. */
static bool send_out(struct kv_client *client, struct list_node *batch) {
    enum status status = rpc_stream_send(client->pipe, slice_from_buf(&client->out));
    buf_clear(&client->out);
    while (status != STATUS_OK && !list_empty(batch)) {
        struct list_node *last = batch->prev; /* back to where they were */
        list_remove(last);
        list_push_front(&client->unsent, last);
    }
    struct list_node *link;
    while ((link = list_pop_front(batch))) {
        struct pending *pending = CONTAINER_OF(link, struct pending, link);
        list_push_back(&client->sent, link);
        pace_serve(&client->pace, work_of(pending), rpc_loop_now_us(client->loop));
        idmap_put(&client->sent_by_id, &pending->by_id, pending->id);
        /* From now on the router speaks for the deadline. */
        uint64_t deadline_us = pending->deadline.key + DEADLINE_GRACE_US;
        heap_remove(&client->deadlines, &pending->deadline);
        heap_push(&client->deadlines, &pending->deadline, deadline_us);
    }
    return status == STATUS_OK;
}

static size_t varint_bytes(uint64_t value) {
    size_t bytes = 1;
    while (value >>= 7)
        bytes++;
    return bytes;
}

/* A call as a field of PipeRequest, with the time that it has from now on. */
static void append_call(struct kv_client *client, const struct pending *pending) {
    uint64_t now_us = rpc_loop_now_us(client->loop), deadline_us = pending->deadline.key;
    uint64_t timeout_us = deadline_us > now_us ? deadline_us - now_us : 1;
    size_t len = pending->packed.len + 1 + varint_bytes(timeout_us);
    encode_u8(&client->out, (1 << 3) | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED); /* calls = 1 */
    encode_varint(&client->out, len);
    size_t before = client->out.len;
    buf_append(&client->out, slice_from_buf(&pending->packed));
    encode_u8(&client->out, (2 << 3) | PROTOBUF_C_WIRE_TYPE_VARINT); /* timeout_us = 2 */
    encode_varint(&client->out, timeout_us);
    ASSERT_CMP(client->out.len - before, ==, len);
}

static bool has_room(struct kv_client *client) {
    return rpc_stream_queued_bytes(client->pipe) < PIPE_AHEAD_BYTES;
}

/* What was submitted leaves in few messages; what a full queue does not take waits for the next
 * turn, which the completion of a send brings about. */
static void flush(struct kv_client *client) {
    struct list_node batch;
    list_init(&batch);
    while (!list_empty(&client->unsent) && has_room(client)) {
        while (!list_empty(&client->unsent) && client->out.len < MESSAGE_BYTES) {
            struct list_node *link = list_pop_front(&client->unsent);
            append_call(client, CONTAINER_OF(link, struct pending, link));
            list_push_back(&batch, link);
        }
        if (!send_out(client, &batch)) return;
    }
}

static void end_of_turn(struct rpc_turn_hook *hook) {
    struct kv_client *client = CONTAINER_OF(hook, struct kv_client, hook);
    if (client->pipe_open && !list_empty(&client->unsent)) flush(client);
    arm_deadlines(client);
}

static void on_pipe_up(void *ctx, struct rpc_stream *stream) {
    struct kv_client *client = ctx;
    client->pipe_open = true;
    client->reopen_us = 0;
    /* How long it was away says nothing about how fast it is. */
    uint64_t waiting = client->pace.queued;
    pace_clear(&client->pace);
    if (waiting > 0) pace_enter(&client->pace, waiting, rpc_loop_now_us(client->loop));
    buf_clear(&client->failure);
}

static void on_reply(struct kv_client *client, const Flotilla__V1__PipeReply *reply) {
    struct idmap_node *node = idmap_get(&client->sent_by_id, reply->id);
    if (!node) return; /* answered by its deadline meanwhile */
    struct pending *pending = CONTAINER_OF(node, struct pending, by_id);
    struct router_reply answer;
    kv_reply_from_proto(&client->reply_arena, pending->request_case, false, reply, &answer);
    finish(pending, &answer);
}

static void on_pipe_message(void *ctx, struct rpc_stream *stream, struct slice bytes) {
    struct kv_client *client = ctx;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_reset(&client->reply_arena);
    if (rpc_message_unpack_response(&client->reply_arena, &flotilla__v1__pipe_response__descriptor,
                                    bytes, &error, &message) != STATUS_OK) {
        rpc_stream_close(stream, RPC_INTERNAL, "unreadable replies from the router");
        buf_done(&error);
        return;
    }
    const Flotilla__V1__PipeResponse *response =
        (const Flotilla__V1__PipeResponse *)(void *)message;
    for (size_t i = 0; i < response->n_replies; i++)
        on_reply(client, response->replies[i]);
}

/* gRPC's "failed to connect to all addresses; last error: ..." ends with what the system said. */
static void note_failure(struct kv_client *client, struct slice text) {
    for (size_t i = text.len; i > 1; i--) {
        if (text.data[i - 2] != ':' || text.data[i - 1] != ' ') continue;
        text = slice_make(text.data + i, text.len - i);
        break;
    }
    buf_clear(&client->failure);
    buf_printf(&client->failure,
               "no connection to %s: %.*s; is a router or a node running at that address?",
               rpc_client_address(client->channel), (int)text.len, (const char *)text.data);
}

/* What waits for the connection is told why there is none. */
static void fail_unsent(struct kv_client *client) {
    struct list_node failed; /* callbacks may submit, but not to this list */
    struct buf text = {0};
    list_init(&failed);
    while (!list_empty(&client->unsent))
        list_push_back(&failed, list_pop_front(&client->unsent));
    buf_append(&text, slice_from_buf(&client->failure));
    buf_printf(&text, " Nothing was changed");
    while (!list_empty(&failed))
        finish_code(CONTAINER_OF(failed.next, struct pending, link), ROUTER_UNAVAILABLE,
                    (const char *)text.data);
    buf_done(&text);
}

static void on_pipe_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct kv_client *client = ctx;
    bool was_open = client->pipe_open;
    client->pipe = NULL;
    client->pipe_open = false;
    struct list_node lost; /* callbacks may submit, but not to this list */
    list_init(&lost);
    while (!list_empty(&client->sent))
        list_push_back(&lost, list_pop_front(&client->sent));
    struct buf text = {0};
    buf_printf(&text, "the connection to the router was lost: %.*s", (int)status->text.len,
               (const char *)status->text.data);
    while (!list_empty(&lost))
        finish_unheard(CONTAINER_OF(lost.next, struct pending, link), ROUTER_UNAVAILABLE,
                       (const char *)text.data);
    buf_done(&text);
    if (client->closing) return;
    if (client->fail_fast && !was_open) {
        note_failure(client, status->text);
        fail_unsent(client);
    }
    client->reopen_us = client->reopen_us == 0 ? REOPEN_US_MIN : client->reopen_us * 2;
    if (client->reopen_us > REOPEN_US_MAX) client->reopen_us = REOPEN_US_MAX;
    rpc_timer_start(client->loop, &client->reopen_timer,
                    rpc_loop_now_us(client->loop) + client->reopen_us);
}

static void on_reopen(struct rpc_timer *timer) {
    pipe_dial(CONTAINER_OF(timer, struct kv_client, reopen_timer));
}

static void pipe_dial(struct kv_client *client) {
    static const struct rpc_stream_events events = {
        .on_open = on_pipe_up, .on_message = on_pipe_message, .on_close = on_pipe_close};
    struct rpc_open_options options = {.stream = {.merge = true},
                                       .wait_for_ready = !client->fail_fast};
    client->pipe = rpc_client_open(client->channel, KV_PIPE, &options, &events, client);
}

/* ---- unary calls ---- */

static void on_unary_done(void *ctx, const struct rpc_status *status, struct slice bytes) {
    struct pending *pending = ctx;
    struct kv_client *client = pending->client;
    const struct kv_method *method = kv_method_of(pending->request_case);
    Flotilla__V1__PipeReply reply = FLOTILLA__V1__PIPE_REPLY__INIT;
    struct router_reply answer;
    struct buf text = {0};
    ProtobufCMessage *message = NULL;
    arena_reset(&client->reply_arena);
    reply.code = status->code;
    if (status->code == RPC_OK &&
        rpc_message_unpack_response(&client->reply_arena, method->response, bytes, &text,
                                    &message) != STATUS_OK)
        reply.code = RPC_INTERNAL;
    if (message) {
        reply.response_case =
            (Flotilla__V1__PipeReply__ResponseCase)((int)pending->request_case + 2);
        reply.get = (Flotilla__V1__GetResponse *)(void *)message; /* whichever it is */
    } else {
        buf_append(&text, status->text);
        buf_append_byte(&text, 0);
        reply.text = (char *)text.data;
    }
    kv_reply_from_proto(&client->reply_arena, pending->request_case, true, &reply, &answer);
    finish(pending, &answer);
    buf_done(&text);
}

static void submit_unary(struct pending *pending, const Flotilla__V1__PipeCall *call,
                         uint64_t timeout_us) {
    struct kv_client *client = pending->client;
    struct rpc_call_options options = {.timeout_us = timeout_us,
                                       .wait_for_ready = !client->fail_fast,
                                       .retry = !pending->is_write};
    list_push_back(&client->unary_calls, &pending->link);
    rpc_client_call_message(client->channel, kv_method_of(pending->request_case)->path,
                            kv_call_message(call), &options, on_unary_done, pending);
}

/* ---- the public face ---- */

struct kv_client *kv_client_new(struct rpc_loop *loop, const struct kv_client_config *config) {
    struct kv_client *client = MEMORY_NEW(struct kv_client);
    client->loop = loop;
    client->channel = rpc_client_new(loop, config->address);
    client->unary = config->unary;
    client->fail_fast = config->fail_fast;
    client->default_timeout_us =
        config->default_timeout_us > 0 ? config->default_timeout_us : TIMEOUT_US_DEFAULT;
    client->outstanding_max =
        config->outstanding_max > 0 ? config->outstanding_max : KV_CLIENT_OUTSTANDING_DEFAULT;
    client->next_id = 1;
    prng_init(&client->prng, prng_seed_from_system());
    client->reopen_timer.fire = on_reopen;
    client->deadline_timer.fire = on_deadline;
    client->hook.end_of_turn = end_of_turn;
    list_init(&client->unsent);
    list_init(&client->sent);
    list_init(&client->unary_calls);
    list_init(&client->spare);
    arena_init(&client->request_arena, 0);
    arena_init(&client->reply_arena, 0);
    rpc_loop_add_hook(loop, &client->hook);
    if (!client->unary) pipe_dial(client);
    return client;
}

void kv_client_free(struct kv_client *client) {
    if (!client) return;
    client->closing = true;
    rpc_client_free(client->channel); /* ends the pipe and the unary calls, with their callbacks */
    while (!list_empty(&client->unsent))
        finish_code(CONTAINER_OF(client->unsent.next, struct pending, link), ROUTER_UNAVAILABLE,
                    "the client is shutting down; nothing was changed");
    ASSERT_CMP(client->outstanding, ==, 0);
    rpc_timer_stop(client->loop, &client->reopen_timer);
    rpc_timer_stop(client->loop, &client->deadline_timer);
    rpc_loop_remove_hook(client->loop, &client->hook);
    struct list_node *link;
    while ((link = list_pop_front(&client->spare))) {
        struct pending *pending = CONTAINER_OF(link, struct pending, link);
        buf_done(&pending->packed);
        memory_free(pending);
    }
    idmap_done(&client->sent_by_id);
    heap_done(&client->deadlines);
    arena_done(&client->request_arena);
    arena_done(&client->reply_arena);
    buf_done(&client->out);
    buf_done(&client->failure);
    memory_free(client);
}

static void pack(struct pending *pending, const Flotilla__V1__PipeCall *call) {
    size_t len = protobuf_c_message_get_packed_size(&call->base);
    buf_reserve(&pending->packed, len);
    size_t written =
        protobuf_c_message_pack(&call->base, pending->packed.data + pending->packed.len);
    ASSERT_CMP(written, ==, len);
    pending->packed.len += len;
}

static void refuse(enum router_code code, const char *text, router_done_fn *done, void *ctx) {
    struct router_reply reply = {.code = code, .text = slice_from_text(text)};
    if (code == ROUTER_BUSY) reply.retry_after_us = 10000;
    done(ctx, &reply);
}

/* A pipe that is being opened again is waited for: nothing is known of the next one. */
static bool queue_is_too_long(const struct kv_client *client, uint64_t now_us, uint64_t left_us) {
    if (client->pace.queued >= KV_CLIENT_UNSENT_BYTES_MAX) return true;
    return client->pipe_open && pace_wait_us(&client->pace, now_us) > left_us / 2;
}

static void refuse_busy(struct kv_client *client, uint64_t now_us, router_done_fn *done,
                        void *ctx) {
    uint32_t us = pace_refuse(&client->pace, now_us);
    struct router_reply reply = {
        .code = ROUTER_BUSY,
        .retry_after_us = (uint32_t)prng_between(&client->prng, us / 2 + 1, us + us / 2),
        .text = slice_from_text("more waits for the connection to the router than it can carry in "
                                "time; nothing was changed"),
    };
    done(ctx, &reply);
}

void kv_client_submit(struct kv_client *client, const struct router_request *request,
                      router_done_fn *done, void *ctx) {
    if (request->op >= ROUTER_TRANSFER) {
        refuse(ROUTER_INVALID, "leaders and replicas are moved by `flotilla admin`", done, ctx);
        return;
    }
    if (client->closing) {
        refuse(ROUTER_UNAVAILABLE, "the client is shutting down; nothing was changed", done, ctx);
        return;
    }
    if (client->outstanding >= client->outstanding_max) {
        refuse(ROUTER_BUSY, "too many requests are under way in the client", done, ctx);
        return;
    }
    uint64_t now_us = rpc_loop_now_us(client->loop);
    uint64_t deadline_us =
        request->deadline_us > 0 ? request->deadline_us : now_us + client->default_timeout_us;
    if (deadline_us <= now_us) {
        refuse(ROUTER_TIMEOUT, "the deadline passed; nothing was changed", done, ctx);
        return;
    }
    if (queue_is_too_long(client, now_us, deadline_us - now_us)) {
        refuse_busy(client, now_us, done, ctx);
        return;
    }
    Flotilla__V1__PipeCall call;
    arena_reset(&client->request_arena);
    kv_request_to_proto(&client->request_arena, request, &call);
    struct pending *pending = pending_new(client);
    pending->request_case = call.request_case;
    pending->is_write = request->op == ROUTER_WRITE;
    pending->done = done;
    pending->ctx = ctx;
    if (client->unary) {
        submit_unary(pending, &call, deadline_us - now_us);
        return;
    }
    call.id = pending->id;
    pack(pending, &call);
    pace_enter(&client->pace, work_of(pending), now_us);
    heap_push(&client->deadlines, &pending->deadline, deadline_us);
    list_push_back(&client->unsent, &pending->link);
}

bool kv_client_connected(const struct kv_client *client) {
    return client->unary || client->pipe_open;
}

struct slice kv_client_failure(const struct kv_client *client) {
    return slice_from_buf(&client->failure);
}

uint32_t kv_client_outstanding(const struct kv_client *client) {
    return client->outstanding;
}
