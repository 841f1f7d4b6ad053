/* Channels and unary calls. One batch makes a call: its completion is the answer. */
#include "rpc/client_internal.h"

#include <grpc/grpc_security.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/assert.h"
#include "base/memory.h"
#include "base/prng.h"
#include "rpc/metrics.h"

#define RETRY_BACKOFF_MIN_US 20000u
#define RETRY_BACKOFF_MAX_US 200000u

struct client_call {
    struct rpc_tag tag;
    struct rpc_client *client; /* NULL once answered early: its client is gone */
    struct rpc_loop *loop;
    struct list_node node; /* in the client's list until answered */
    const char *method;
    rpc_response_fn *done;
    void *ctx;
    struct rpc_call_options options;
    uint64_t deadline_us; /* on the loop's clock */
    uint64_t backoff_us;
    struct rpc_timer retry_timer;
    struct rpc_task refuse_task; /* too large: answered without being made */
    size_t request_bytes;
    grpc_slice request; /* kept for another attempt */
    grpc_call *call;    /* of the attempt under way; NULL between attempts */
    grpc_byte_buffer *send_buffer, *response;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice status_text;
};

/* ---- channels ---- */

static void set_int(grpc_arg *args, size_t *count, const char *key, int value) {
    args[*count].type = GRPC_ARG_INTEGER;
    args[*count].key = (char *)key; /* The core only reads it. */
    args[*count].value.integer = value;
    (*count)++;
}

#define CLIENT_ARGS_MAX 24

/* Why each: the minimal stack saves a tenth of a call, and would switch deadlines off; retries are
 * made here, where it is known what may run twice; a pool of its own keeps each channel on its own
 * connection (snapshots must not share one with appends); pings notice a frozen or cut peer. */
static grpc_channel *new_channel(const char *target) {
    grpc_arg args[CLIENT_ARGS_MAX];
    size_t count = 0;
    set_int(args, &count, GRPC_ARG_MINIMAL_STACK, 1);
    set_int(args, &count, GRPC_ARG_ENABLE_DEADLINE_CHECKS, 1);
    set_int(args, &count, GRPC_ARG_ENABLE_RETRIES, 0);
    set_int(args, &count, GRPC_ARG_ENABLE_CHANNELZ, 0);
    set_int(args, &count, GRPC_ARG_HTTP2_BDP_PROBE, 0);
    set_int(args, &count, GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, RPC_WINDOW_BYTES);
    set_int(args, &count, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    set_int(args, &count, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    set_int(args, &count, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    set_int(args, &count, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, RPC_CHANNEL_BACKOFF_MAX_MS);
    set_int(args, &count, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, RPC_CONNECT_TIMEOUT_MS);
    set_int(args, &count, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RPC_CHANNEL_BACKOFF_MIN_MS);
    set_int(args, &count, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RPC_CHANNEL_BACKOFF_MAX_MS);
    set_int(args, &count, GRPC_ARG_KEEPALIVE_TIME_MS, RPC_KEEPALIVE_TIME_MS);
    set_int(args, &count, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_KEEPALIVE_TIMEOUT_MS);
    set_int(args, &count, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    set_int(args, &count, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    ASSERT_CMP(count, <=, CLIENT_ARGS_MAX);
    grpc_channel_args channel_args = {.num_args = count, .args = args};
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(target, insecure, &channel_args);
    grpc_channel_credentials_release(insecure);
    return channel;
}

/* Of HOST:PORT; 0 for a list. */
static uint16_t port_of(const char *address) {
    struct address parsed = {0};
    (void)address_parse(slice_from_text(address), ADDRESS_TO_DIAL, &parsed); /* then 0 */
    return parsed.port;
}

struct rpc_client *rpc_client_new(struct rpc_loop *loop, const char *address) {
    struct rpc_client *client = MEMORY_NEW(struct rpc_client);
    struct buf target = {0};
    rpc_target_from_address(&target, address);
    client->loop = loop;
    client->address = strdup(address);
    if (!client->address) fatal("out of memory");
    client->channel = new_channel((const char *)target.data);
    rpc_cork_init(&client->cork, loop, RPC_CORK_DIALLED, port_of(address));
    list_init(&client->calls);
    list_init(&client->streams);
    buf_done(&target);
    return client;
}

const char *rpc_client_address(const struct rpc_client *client) {
    return client->address;
}

void rpc_client_hurry(struct rpc_client *client) {
    grpc_channel_reset_connect_backoff(client->channel);
}

/* ---- unary calls ---- */

static void free_call(struct client_call *call) {
    grpc_slice_unref(call->request);
    rpc_loop_release(call->loop);
    memory_free(call);
}

/* Tells the caller, once, and takes the call out of the client's books. */
static void report(struct client_call *call, enum rpc_code code, struct slice text,
                   struct slice response) {
    if (!call->client) return;
    struct rpc_status status = {.code = code, .text = text};
    call->client = NULL;
    list_remove(&call->node);
    rpc_timer_stop(call->loop, &call->retry_timer);
    call->done(call->ctx, &status, response);
}

static void attempt_done(struct rpc_tag *tag, bool ok);

static void start_attempt(struct client_call *call) {
    uint64_t now_us = rpc_loop_now_us(call->loop);
    uint64_t left_us = call->deadline_us > now_us ? call->deadline_us - now_us : 0;
    call->call = grpc_channel_create_call(call->client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                          rpc_loop_queue(call->loop),
                                          grpc_slice_from_static_string(call->method), NULL,
                                          rpc_deadline_from_timeout(left_us), NULL);
    call->tag.done = attempt_done;
    call->send_buffer = grpc_raw_byte_buffer_create(&call->request, 1);
    call->status_text = grpc_empty_slice();
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA},  {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
        {.op = GRPC_OP_RECV_MESSAGE},           {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    if (call->options.wait_for_ready)
        ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                       GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
    ops[1].data.send_message.send_message = call->send_buffer;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].data.recv_message.recv_message = &call->response;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[5].data.recv_status_on_client.status = &call->status;
    ops[5].data.recv_status_on_client.status_details = &call->status_text;
    rpc_cork_before_write(&call->client->cork);
    rpc_start_batch(call->call, ops, 6, &call->tag);
    metric_add(&metric_rpc_client_calls_total, 1);
}

static void retry_fired(struct rpc_timer *timer) {
    struct client_call *call = CONTAINER_OF(timer, struct client_call, retry_timer);
    metric_add(&metric_rpc_client_retries_total, 1);
    rpc_client_hurry(call->client);
    start_attempt(call);
}

/* The peer did not answer. CANCELLED: it went away in good order, with its calls; nobody cancels on
 * this side but rpc_client_free, which has answered already. */
static bool unanswered(const struct client_call *call) {
    return call->status == GRPC_STATUS_UNAVAILABLE || call->status == GRPC_STATUS_CANCELLED;
}

/* True when another attempt is on its way. */
static bool try_again(struct client_call *call) {
    if (!call->client || !call->options.retry || !unanswered(call)) return false;
    uint64_t at_us = rpc_loop_now_us(call->loop) + call->backoff_us;
    if (at_us >= call->deadline_us) return false;
    call->backoff_us =
        call->backoff_us * 2 < RETRY_BACKOFF_MAX_US ? call->backoff_us * 2 : RETRY_BACKOFF_MAX_US;
    rpc_timer_start(call->loop, &call->retry_timer, at_us);
    return true;
}

static void attempt_done(struct rpc_tag *tag, bool ok) {
    struct client_call *call = CONTAINER_OF(tag, struct client_call, tag);
    bool again = try_again(call);
    if (!again) {
        struct rpc_bytes bytes;
        enum rpc_code code = (enum rpc_code)call->status;
        rpc_bytes_open(&bytes, call->response);
        report(call, code, rpc_slice_view(&call->status_text),
               code == RPC_OK ? bytes.view : SLICE_EMPTY);
        rpc_bytes_close(&bytes);
    }
    if (call->response) grpc_byte_buffer_destroy(call->response);
    call->response = NULL;
    grpc_byte_buffer_destroy(call->send_buffer);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->status_text);
    grpc_call_unref(call->call);
    call->call = NULL;
    if (!again) free_call(call);
}

static void refuse_large(struct rpc_task *task) {
    struct client_call *call = CONTAINER_OF(task, struct client_call, refuse_task);
    struct buf text = {0};
    buf_printf(&text, "the request has %zu bytes; at most %u are allowed", call->request_bytes,
               RPC_MESSAGE_BYTES_MAX);
    report(call, RPC_RESOURCE_EXHAUSTED, slice_from_buf(&text), SLICE_EMPTY);
    buf_done(&text);
    free_call(call);
}

void rpc_client_call_slice(struct rpc_client *client, const char *method, grpc_slice request,
                           const struct rpc_call_options *options, rpc_response_fn *done,
                           void *ctx) {
    ASSERT(rpc_loop_on_thread(client->loop));
    ASSERT_CMP(options->timeout_us, >, 0);
    struct client_call *call = MEMORY_NEW(struct client_call);
    uint64_t now_us = rpc_loop_now_us(client->loop);
    call->client = client;
    call->loop = client->loop;
    call->method = method;
    call->done = done;
    call->ctx = ctx;
    call->options = *options;
    call->deadline_us =
        options->timeout_us < UINT64_MAX - now_us ? now_us + options->timeout_us : UINT64_MAX;
    call->backoff_us = RETRY_BACKOFF_MIN_US;
    call->retry_timer.fire = retry_fired;
    call->request = request;
    call->request_bytes = GRPC_SLICE_LENGTH(request);
    list_push_back(&client->calls, &call->node);
    rpc_loop_hold(client->loop);
    if (call->request_bytes > RPC_MESSAGE_BYTES_MAX) {
        call->refuse_task.run = refuse_large;
        rpc_loop_post(client->loop, &call->refuse_task);
    } else {
        start_attempt(call);
    }
}

void rpc_client_call(struct rpc_client *client, const char *method, struct slice request,
                     const struct rpc_call_options *options, rpc_response_fn *done, void *ctx) {
    rpc_client_call_slice(client, method, rpc_slice_join(&request, 1, request.len), options, done,
                          ctx);
}

/* ---- the end ---- */

void rpc_client_free(struct rpc_client *client) {
    if (!client) return;
    ASSERT(rpc_loop_on_thread(client->loop));
    static const char why[] = "the client is shutting down";
    while (!list_empty(&client->streams))
        rpc_stream_abandon(CONTAINER_OF(client->streams.next, struct rpc_stream, owner_node), why);
    while (!list_empty(&client->calls)) {
        struct client_call *call = CONTAINER_OF(client->calls.next, struct client_call, node);
        report(call, RPC_CANCELLED, slice_from_text(why), SLICE_EMPTY);
        if (call->call)
            (void)grpc_call_cancel(call->call, NULL); /* Cannot fail for a call under way. */
        else if (!atomic_load(&call->refuse_task.queued))
            free_call(call); /* It waited for its next attempt. */
    }
    rpc_cork_done(&client->cork);
    grpc_channel_destroy(client->channel);
    free(client->address);
    memory_free(client);
}
