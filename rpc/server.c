/* The server's life: binding, arrivals, shutdown.
 *
 * For every registered method, and for all others together, a few requests for "the next call" are
 * always posted with the core; each arrival is posted again at once, so calls never pile up inside
 * the core, where nothing bounds them. The bounds are enforced here, by answering.
 *
 * Freeing: reports end at once (abandon), then the core is shut down with all calls cancelled,
 * which spares the third of a second that it would wait for open connections. The struct itself
 * goes when the core's last completion has come home. */
#include "rpc/server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/address.h"
#include "base/assert.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/accept.h"
#include "rpc/metrics.h"

/* How long rpc_server_free waits for the port to be free, when it can wait. */
#define SERVER_SETTLE_US 5000000u

static void set_int(grpc_arg *args, size_t *count, const char *key, int value) {
    args[*count].type = GRPC_ARG_INTEGER;
    args[*count].key = (char *)key; /* The core only reads it. */
    args[*count].value.integer = value;
    (*count)++;
}

static void set_quota(grpc_arg *args, size_t *count, grpc_resource_quota *quota) {
    args[*count].type = GRPC_ARG_POINTER;
    args[*count].key = (char *)GRPC_ARG_RESOURCE_QUOTA; /* The core only reads it. */
    args[*count].value.pointer.p = quota;
    args[*count].value.pointer.vtable = grpc_resource_quota_arg_vtable();
    (*count)++;
}

#define SERVER_ARGS_MAX 24

/* Why each: SO_REUSEPORT would let a second server take the same port without an error; pings keep
 * silent connections honest both ways and must not be punished; tracing for channelz costs and
 * nobody reads it. */
static grpc_server *new_core(void) {
    grpc_arg args[SERVER_ARGS_MAX];
    size_t count = 0;
    set_int(args, &count, GRPC_ARG_ALLOW_REUSEPORT, 0);
    set_int(args, &count, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)RPC_MESSAGE_BYTES_MAX);
    set_int(args, &count, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, (int)RPC_MESSAGE_BYTES_MAX);
    set_int(args, &count, GRPC_ARG_MAX_CONCURRENT_STREAMS, RPC_SERVER_CALLS_PER_CONNECTION);
    set_int(args, &count, GRPC_ARG_KEEPALIVE_TIME_MS, RPC_KEEPALIVE_TIME_MS);
    set_int(args, &count, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_KEEPALIVE_TIMEOUT_MS);
    set_int(args, &count, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    set_int(args, &count, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    set_int(args, &count, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1);
    set_int(args, &count, GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    set_int(args, &count, GRPC_ARG_MAX_CONNECTION_IDLE_MS, RPC_CONNECTION_IDLE_MS);
    set_int(args, &count, GRPC_ARG_ENABLE_CHANNELZ, 0);
    set_int(args, &count, GRPC_ARG_HTTP2_BDP_PROBE, 0);
    set_int(args, &count, GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, RPC_WINDOW_BYTES);
    set_int(args, &count, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, RPC_SERVER_HANDSHAKE_TIMEOUT_MS);
    grpc_resource_quota *quota = grpc_resource_quota_create("rpc_server");
    grpc_resource_quota_resize(quota, RPC_SERVER_MEMORY_BYTES_MAX);
    set_quota(args, &count, quota);
    ASSERT_CMP(count, <=, SERVER_ARGS_MAX);
    grpc_channel_args channel_args = {.num_args = count, .args = args};
    grpc_server *core = grpc_server_create(&channel_args, NULL);
    grpc_resource_quota_unref(quota); /* The server has its own reference. */
    return core;
}

struct rpc_server *rpc_server_new(struct rpc_loop *loop, const struct rpc_server_config *config) {
    struct rpc_server *server = MEMORY_NEW(struct rpc_server);
    server->loop = loop;
    server->config = *config;
    server->listen = strdup(config->listen);
    if (!server->listen) fatal("out of memory");
    server->config.listen = server->listen;
    if (!server->config.calls_max) server->config.calls_max = RPC_SERVER_CALLS_DEFAULT;
    if (!server->config.streams_max) server->config.streams_max = RPC_SERVER_STREAMS_DEFAULT;
    if (!server->config.request_bytes_max)
        server->config.request_bytes_max = RPC_SERVER_REQUEST_BYTES_DEFAULT;
    server->unknown.server = server;
    list_init(&server->calls);
    list_init(&server->streams);
    server->core = new_core();
    grpc_server_register_completion_queue(server->core, rpc_loop_queue(loop), NULL);
    rpc_loop_hold(loop);
    return server;
}

void rpc_server_add(struct rpc_server *server, const struct rpc_method *methods, size_t count,
                    void *ctx) {
    ASSERT(!server->started);
    for (size_t i = 0; i < count; i++) {
        const struct rpc_method *method = &methods[i];
        ASSERT((method->unary != NULL) != (method->open != NULL));
        ASSERT_CMP(server->method_count, <, RPC_SERVER_METHODS_MAX);
        grpc_server_register_method_payload_handling payload =
            method->unary ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER : GRPC_SRM_PAYLOAD_NONE;
        struct rpc_server_method *entry = &server->methods[server->method_count++];
        *entry = (struct rpc_server_method){.server = server, .method = method, .ctx = ctx};
        entry->registered =
            grpc_server_register_method(server->core, method->path, NULL, payload, 0);
        ASSERT(entry->registered != NULL); /* The path was registered before. */
    }
}

/* ---- arrivals ---- */

static void accept_done(struct rpc_tag *tag, bool ok);

static void post(struct rpc_accept *accept) {
    struct rpc_server_method *entry = accept->method;
    struct rpc_server *server = entry->server;
    grpc_completion_queue *queue = rpc_loop_queue(server->loop);
    grpc_call_error error;
    accept->call = NULL;
    accept->payload = NULL;
    grpc_metadata_array_init(&accept->metadata);
    if (entry->method) {
        error = grpc_server_request_registered_call(
            server->core, entry->registered, &accept->call, &accept->deadline, &accept->metadata,
            entry->method->unary ? &accept->payload : NULL, queue, queue, &accept->tag);
    } else {
        grpc_call_details_init(&accept->details);
        error = grpc_server_request_call(server->core, &accept->call, &accept->details,
                                         &accept->metadata, queue, queue, &accept->tag);
    }
    if (error != GRPC_CALL_OK)
        fatal("the gRPC core refused to wait for calls: %s", grpc_call_error_to_string(error));
    server->accepts_open++;
}

static void post_all(struct rpc_server_method *entry, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct rpc_accept *accept = MEMORY_NEW(struct rpc_accept);
        accept->tag.done = accept_done;
        accept->method = entry;
        post(accept);
    }
}

static void take_unknown(struct rpc_server *server, struct rpc_accept *accept) {
    struct buf text = {0};
    struct slice path = rpc_slice_view(&accept->details.method);
    buf_printf(&text, "no method %.*s here; grpc.reflection.v1alpha lists what there is",
               (int)(path.len > 200 ? 200 : path.len), (const char *)path.data);
    rpc_server_refuse(server, accept, RPC_UNIMPLEMENTED, slice_from_buf(&text));
    buf_done(&text);
}

static void free_when_idle(struct rpc_server *server) {
    if (!server->freed || !server->shut_down || server->accepts_open > 0) return;
    grpc_server_destroy(server->core);
    struct rpc_loop *loop = server->loop;
    if (server->gone) *server->gone = true;
    free(server->listen);
    memory_free(server);
    rpc_loop_release(loop);
}

static void accept_done(struct rpc_tag *tag, bool ok) {
    struct rpc_accept *accept = CONTAINER_OF(tag, struct rpc_accept, tag);
    struct rpc_server *server = accept->method->server;
    if (ok && !server->freed) {
        const struct rpc_method *method = accept->method->method;
        if (!method)
            take_unknown(server, accept);
        else if (method->unary)
            rpc_server_take_unary(server, accept);
        else
            rpc_server_take_stream(server, accept);
    } else if (ok) {
        grpc_call_unref(accept->call); /* came in while shutting down: cancelled by this */
    }
    grpc_metadata_array_destroy(&accept->metadata);
    if (accept->payload) grpc_byte_buffer_destroy(accept->payload);
    if (!accept->method->method) grpc_call_details_destroy(&accept->details);
    /* Not before: this keeps the struct alive while a handler frees the server. */
    server->accepts_open--;
    if (ok && !server->freed) {
        post(accept);
        return;
    }
    memory_free(accept);
    free_when_idle(server);
}

/* ---- start ---- */

/* The core says only that it could not bind; this finds out why. */
static enum status explain_bind_failure(const char *listen, struct buf *error) {
    char host[ADDRESS_BYTES_MAX + 1], port[sizeof("65535")];
    struct address address;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    const char *problem = address_parse(slice_from_text(listen), ADDRESS_TO_LISTEN, &address);
    if (problem) {
        buf_printf(error, "cannot listen on '%s': it %s", listen, problem);
        return STATUS_INVALID;
    }
    (void)snprintf(host, sizeof(host), "%.*s", (int)address.host.len,
                   (const char *)address.host.data);
    (void)snprintf(port, sizeof(port), "%u", address.port);
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0) {
        buf_printf(error, "cannot listen on '%s': %s; an address looks like 127.0.0.1:7001", listen,
                   gai_strerror(code));
        return STATUS_INVALID;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd >= 0) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    bool bound = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0;
    int cause = bound ? 0 : errno;
    if (fd >= 0) (void)close(fd); /* Nothing was written to it. */
    freeaddrinfo(found);
    /* When the probe binds, another server still listens there (SO_REUSEADDR lets one bind). */
    if (cause == EADDRINUSE || bound) {
        buf_printf(error,
                   "cannot listen on %s: another process listens there; stop it, or choose another "
                   "port (port 0 takes any free one)",
                   listen);
        return STATUS_LOCKED;
    }
    buf_printf(error, "cannot listen on %s: %s", listen, strerror(cause));
    return STATUS_INVALID;
}

enum status rpc_server_start(struct rpc_server *server, struct buf *error) {
    ASSERT(!server->started && rpc_loop_on_thread(server->loop));
    /* The core would cut a port to its lower 16 bits and listen somewhere else. */
    if (address_parse(slice_from_text(server->listen), ADDRESS_TO_LISTEN, NULL))
        return explain_bind_failure(server->listen, error);
    if (descriptors_limit() < DESCRIPTORS_MIN) {
        buf_printf(
            error,
            "cannot serve with %u open files: at least %u are needed (ulimit -n, LimitNOFILE=)",
            descriptors_limit(), DESCRIPTORS_MIN);
        return STATUS_INVALID;
    }
    rpc_accept_prepare();
    grpc_server_credentials *insecure = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->core, server->listen, insecure);
    grpc_server_credentials_release(insecure);
    if (port <= 0) return explain_bind_failure(server->listen, error);
    server->port = (uint16_t)port;
    server->started = true;
    rpc_cork_init(&server->cork, server->loop, RPC_CORK_ACCEPTED, server->port);
    grpc_server_start(server->core);
    for (size_t i = 0; i < server->method_count; i++)
        post_all(&server->methods[i], server->methods[i].method->unary ? RPC_SERVER_UNARY_ACCEPTS
                                                                       : RPC_SERVER_STREAM_ACCEPTS);
    post_all(&server->unknown, RPC_SERVER_STREAM_ACCEPTS);
    return STATUS_OK;
}

void rpc_server_address(const struct rpc_server *server, struct buf *out) {
    const char *colon = strrchr(server->listen, ':');
    ASSERT(server->started);
    size_t host_len = colon ? (size_t)(colon - server->listen) : 0; /* it listens: there is one */
    buf_append(out, slice_make(server->listen, host_len));
    buf_printf(out, ":%u", server->port);
}

uint16_t rpc_server_port(const struct rpc_server *server) {
    return server->port;
}

void rpc_server_set_identity(struct rpc_server *server, const struct rpc_identity *identity) {
    server->config.identity = *identity;
}

void rpc_server_each_service(const struct rpc_server *server,
                             void (*each)(void *ctx, struct slice service), void *ctx) {
    for (size_t i = 0; i < server->method_count; i++) {
        const char *path = server->methods[i].method->path + 1;
        size_t len = strcspn(path, "/");
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = strncmp(server->methods[j].method->path + 1, path, len + 1) == 0;
        if (!seen) each(ctx, slice_make(path, len));
    }
}

/* ---- the end ---- */

static void shutdown_done(struct rpc_tag *tag, bool ok) {
    struct rpc_server *server = CONTAINER_OF(tag, struct rpc_server, shutdown_tag);
    server->shut_down = true;
    free_when_idle(server);
}

void rpc_server_free(struct rpc_server *server) {
    if (!server) return;
    ASSERT(rpc_loop_on_thread(server->loop) && !server->freed);
    struct rpc_loop *loop = server->loop;
    server->freed = true;
    while (!list_empty(&server->streams)) {
        struct list_node *first = server->streams.next;
        rpc_stream_abandon(CONTAINER_OF(first, struct rpc_stream, owner_node),
                           "the server is shutting down");
        metric_add(&metric_rpc_server_streams_open, -1);
    }
    rpc_server_abandon_calls(server);
    if (server->started) rpc_cork_done(&server->cork);
    bool gone = false;
    bool waits = !rpc_loop_running(loop);
    /* It outlives this call only when waiting failed, and is taken back then. */
    if (waits) server->gone = &gone; /* cppcheck-suppress autoVariables */
    server->shutdown_tag.done = shutdown_done;
    grpc_server_shutdown_and_notify(server->core, rpc_loop_queue(loop), &server->shutdown_tag);
    grpc_server_cancel_all_calls(server->core);
    if (!waits || rpc_loop_run_until(loop, &gone, SERVER_SETTLE_US)) return;
    server->gone = NULL; /* It is not gone, so it is still there. */
    log_warn("rpc_server_slow_shutdown", "listen=%s waited_ms=%u", server->listen,
             SERVER_SETTLE_US / 1000);
}
