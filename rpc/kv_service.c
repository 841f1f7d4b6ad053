/* flotilla.v1.KeyValue: unary calls, and the Pipe that carries many of them.
 *
 * A request becomes a `pending` until the router answers it. A pipe gathers the replies of a turn
 * and sends them at its end as one message; it lives until it is closed and the router has answered
 * the last of its requests (whose reply then goes nowhere). */
#include "rpc/kv_service.h"

#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "rpc/kv_messages.h"

/* A unary caller's own deadline ends its call; the router's is a little earlier, so that the caller
 * hears what is known instead of hearing nothing. */
#define ANSWER_MARGIN_DIVISOR 20u
#define ANSWER_MARGIN_US_MAX 50000u
#define TIMEOUT_US_MAX 600000000u
/* A pipe's replies leave early when they have grown to this. */
#define PIPE_FLUSH_BYTES (512u * 1024u)
#define SPARE_MAX 4096u
#define NOT_READY                                                                                 \
    "this server is starting and does not serve clients yet: ask another one, or this one again " \
    "after a pause; nothing was changed"

struct kv_pipe {
    struct kv_service *service;
    struct rpc_stream *stream; /* NULL once closed */
    uint32_t outstanding;      /* requests that the router has */
    bool half_closed;          /* the client sends nothing more */
    struct buf out;            /* packed PipeResponse fields; dirty when not empty */
    struct list_node in_service;
    struct list_node in_dirty;
};

struct pending {
    struct kv_service *service;
    struct rpc_call *call; /* unary; else: */
    struct kv_pipe *pipe;
    uint64_t id;
    kv_request_case request_case;
    struct pending *next_spare;
};

struct unary_method {
    struct kv_service *service;
    const struct kv_method *method;
};

struct kv_service {
    struct rpc_loop *loop;
    struct router *router;
    bool ready; /* else every request is refused here */
    struct rpc_turn_hook hook;
    struct arena request_arena, reply_arena; /* a reply may come while its request is submitted */
    struct unary_method unary[KV_METHOD_COUNT];
    struct rpc_method methods[KV_METHOD_COUNT];
    struct rpc_method pipe_method;
    struct list_node pipes;
    struct list_node dirty;
    struct pending *spare;
    uint32_t spare_count, pending_count;
};

/* ---- pending requests ---- */

static struct pending *pending_new(struct kv_service *service) {
    struct pending *pending = service->spare;
    if (pending) {
        service->spare = pending->next_spare;
        service->spare_count--;
    } else {
        pending = memory_alloc(sizeof(*pending));
    }
    *pending = (struct pending){.service = service};
    service->pending_count++;
    return pending;
}

static void pending_free(struct pending *pending) {
    struct kv_service *service = pending->service;
    service->pending_count--;
    if (service->spare_count >= SPARE_MAX) {
        memory_free(pending);
        return;
    }
    pending->next_spare = service->spare;
    service->spare = pending;
    service->spare_count++;
}

static void answer_unary(struct rpc_call *call, const Flotilla__V1__PipeReply *reply) {
    if (reply->code == RPC_OK) {
        rpc_call_reply_message(call, kv_reply_message(reply));
    } else {
        rpc_call_fail(call, (enum rpc_code)reply->code, "%s", reply->text);
    }
}

/* ---- a pipe's replies ---- */

static void pipe_release(struct kv_pipe *pipe) {
    if (pipe->stream || pipe->outstanding > 0) return;
    list_remove(&pipe->in_service);
    list_remove(&pipe->in_dirty);
    buf_done(&pipe->out);
    memory_free(pipe);
}

static void pipe_flush(struct kv_pipe *pipe) {
    list_remove(&pipe->in_dirty);
    if (pipe->stream && pipe->out.len > 0) {
        enum status status = rpc_stream_send(pipe->stream, slice_from_buf(&pipe->out));
        /* What fails otherwise fails because the stream is over: on_close follows. */
        if (status == STATUS_BUSY)
            rpc_stream_close(pipe->stream, RPC_RESOURCE_EXHAUSTED,
                             "the client does not read its replies");
    }
    buf_clear(&pipe->out);
    if (pipe->stream && pipe->half_closed && pipe->outstanding == 0)
        rpc_stream_close(pipe->stream, RPC_OK, "%s", "");
}

static void pipe_append(struct kv_pipe *pipe, const Flotilla__V1__PipeReply *reply) {
    if (!pipe->stream) return;
    size_t len = protobuf_c_message_get_packed_size(&reply->base);
    if (pipe->out.len > 0 && pipe->out.len + len > PIPE_FLUSH_BYTES) pipe_flush(pipe);
    encode_u8(&pipe->out, (1 << 3) | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED); /* replies = 1 */
    encode_varint(&pipe->out, len);
    buf_reserve(&pipe->out, len);
    size_t written = protobuf_c_message_pack(&reply->base, pipe->out.data + pipe->out.len);
    ASSERT_CMP(written, ==, len);
    pipe->out.len += len;
    list_remove(&pipe->in_dirty);
    list_push_back(&pipe->service->dirty, &pipe->in_dirty);
}

static void end_of_turn(struct rpc_turn_hook *hook) {
    struct kv_service *service = CONTAINER_OF(hook, struct kv_service, hook);
    while (!list_empty(&service->dirty))
        pipe_flush(CONTAINER_OF(service->dirty.next, struct kv_pipe, in_dirty));
}

/* ---- through the router ---- */

static void on_done(void *ctx, const struct router_reply *reply) {
    struct pending *pending = ctx;
    struct kv_service *service = pending->service;
    struct kv_pipe *pipe = pending->pipe;
    if (pending->call || pipe->stream) {
        Flotilla__V1__PipeReply message;
        arena_reset(&service->reply_arena);
        kv_reply_to_proto(&service->reply_arena, pending->request_case, reply, &message);
        message.id = pending->id;
        if (pending->call) {
            answer_unary(pending->call, &message);
        } else {
            pipe_append(pipe, &message);
        }
    }
    pending_free(pending);
    if (!pipe) return;
    pipe->outstanding--;
    pipe_release(pipe);
}

/* Requests without a deadline get the router's default. */
static void submit(struct kv_service *service, struct router_request *request, uint64_t timeout_us,
                   struct pending *pending) {
    uint64_t now_us = rpc_loop_now_us(service->loop);
    if (timeout_us > TIMEOUT_US_MAX) timeout_us = TIMEOUT_US_MAX;
    if (timeout_us > 0) request->deadline_us = now_us + timeout_us;
    router_submit(service->router, request, now_us, on_done, pending);
}

static uint64_t unary_timeout_us(const struct rpc_call *call) {
    uint64_t timeout_us = rpc_call_timeout_us(call);
    if (timeout_us == UINT64_MAX) return 0;
    uint64_t margin_us = timeout_us / ANSWER_MARGIN_DIVISOR;
    if (margin_us > ANSWER_MARGIN_US_MAX) margin_us = ANSWER_MARGIN_US_MAX;
    return timeout_us > margin_us + 1 ? timeout_us - margin_us : 1;
}

static void on_unary(void *ctx, struct rpc_call *call, struct slice request_bytes) {
    const struct unary_method *unary = ctx;
    struct kv_service *service = unary->service;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    struct router_request request;
    if (!service->ready) {
        rpc_call_fail(call, RPC_UNAVAILABLE, "%s", NOT_READY);
        return;
    }
    arena_reset(&service->request_arena);
    enum status status = rpc_message_unpack_request(&service->request_arena, unary->method->request,
                                                    request_bytes, &error, &message);
    if (status == STATUS_OK) {
        Flotilla__V1__PipeCall whole = FLOTILLA__V1__PIPE_CALL__INIT;
        whole.request_case = unary->method->request_case;
        whole.get = (Flotilla__V1__GetRequest *)(void *)message; /* whichever it is */
        status = kv_request_from_proto(&service->request_arena, &whole, &request, &error);
    }
    if (status == STATUS_OK) {
        struct pending *pending = pending_new(service);
        pending->call = call;
        pending->request_case = unary->method->request_case;
        submit(service, &request, unary_timeout_us(call), pending);
    } else {
        buf_append_byte(&error, 0);
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "%s", (const char *)error.data);
    }
    buf_done(&error);
}

/* ---- a pipe's requests ---- */

static void pipe_refuse(struct kv_pipe *pipe, uint64_t id, enum router_code code,
                        struct slice text) {
    struct router_reply reply = {.code = code, .text = text};
    Flotilla__V1__PipeReply message;
    arena_reset(&pipe->service->reply_arena);
    kv_reply_to_proto(&pipe->service->reply_arena, FLOTILLA__V1__PIPE_CALL__REQUEST__NOT_SET,
                      &reply, &message);
    message.id = id;
    pipe_append(pipe, &message);
}

static void pipe_request(struct kv_pipe *pipe, const Flotilla__V1__PipeCall *call) {
    struct kv_service *service = pipe->service;
    struct router_request request;
    struct buf error = {0};
    if (!service->ready) {
        pipe_refuse(pipe, call->id, ROUTER_UNAVAILABLE, slice_from_text(NOT_READY));
        return;
    }
    if (kv_request_from_proto(&service->request_arena, call, &request, &error) == STATUS_OK) {
        struct pending *pending = pending_new(service);
        pending->pipe = pipe;
        pending->id = call->id;
        pending->request_case = call->request_case;
        pipe->outstanding++;
        submit(service, &request, call->timeout_us, pending);
    } else {
        pipe_refuse(pipe, call->id, ROUTER_INVALID, slice_from_buf(&error));
    }
    buf_done(&error);
}

static void on_pipe_message(void *ctx, struct rpc_stream *stream, struct slice bytes) {
    struct kv_pipe *pipe = ctx;
    struct kv_service *service = pipe->service;
    struct buf error = {0};
    ProtobufCMessage *message = NULL;
    arena_reset(&service->request_arena);
    if (rpc_message_unpack_request(&service->request_arena, &flotilla__v1__pipe_request__descriptor,
                                   bytes, &error, &message) != STATUS_OK) {
        buf_append_byte(&error, 0);
        rpc_stream_close(stream, RPC_INVALID_ARGUMENT, "%s", (const char *)error.data);
        buf_done(&error);
        return;
    }
    const Flotilla__V1__PipeRequest *request = (const Flotilla__V1__PipeRequest *)(void *)message;
    for (size_t i = 0; i < request->n_calls; i++)
        pipe_request(pipe, request->calls[i]);
}

static void on_pipe_half_close(void *ctx, struct rpc_stream *stream) {
    struct kv_pipe *pipe = ctx;
    pipe->half_closed = true;
    if (pipe->outstanding == 0) pipe_flush(pipe);
}

static void on_pipe_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct kv_pipe *pipe = ctx;
    pipe->stream = NULL;
    pipe_release(pipe);
}

static const struct rpc_stream_events pipe_events = {
    .on_message = on_pipe_message, .on_half_close = on_pipe_half_close, .on_close = on_pipe_close};

static void on_pipe_open(void *ctx, struct rpc_stream *stream) {
    struct kv_service *service = ctx;
    struct kv_pipe *pipe = MEMORY_NEW(struct kv_pipe);
    pipe->service = service;
    pipe->stream = stream;
    list_init(&pipe->in_dirty);
    list_push_back(&service->pipes, &pipe->in_service);
    rpc_stream_accept(stream, &pipe_events, pipe);
}

/* ---- the service ---- */

struct kv_service *kv_service_new(struct rpc_loop *loop, struct rpc_server *server,
                                  struct router *router) {
    struct kv_service *service = MEMORY_NEW(struct kv_service);
    service->loop = loop;
    service->router = router;
    service->ready = true;
    service->hook.end_of_turn = end_of_turn;
    list_init(&service->pipes);
    list_init(&service->dirty);
    arena_init(&service->request_arena, 0);
    arena_init(&service->reply_arena, 0);
    for (size_t i = 0; i < KV_METHOD_COUNT; i++) {
        service->unary[i] = (struct unary_method){.service = service, .method = &kv_methods[i]};
        service->methods[i] = (struct rpc_method){.path = kv_methods[i].path, .unary = on_unary};
        rpc_server_add(server, &service->methods[i], 1, &service->unary[i]);
    }
    service->pipe_method = (struct rpc_method){
        .path = KV_PIPE, .open = on_pipe_open, .stream = {.merge = true, .hold_back = true}};
    rpc_server_add(server, &service->pipe_method, 1, service);
    rpc_loop_add_hook(loop, &service->hook);
    return service;
}

void kv_service_set_ready(struct kv_service *service, bool ready) {
    ASSERT(rpc_loop_on_thread(service->loop));
    service->ready = ready;
}

void kv_service_free(struct kv_service *service) {
    if (!service) return;
    ASSERT_CMP(service->pending_count, ==, 0); /* the router was freed first */
    ASSERT(list_empty(&service->pipes));       /* and the server before it */
    rpc_loop_remove_hook(service->loop, &service->hook);
    while (service->spare) {
        struct pending *pending = service->spare;
        service->spare = pending->next_spare;
        memory_free(pending);
    }
    arena_done(&service->request_arena);
    arena_done(&service->reply_arena);
    memory_free(service);
}
