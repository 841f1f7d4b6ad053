/* Sessions: the request streams of routers. A session outlives its stream as long as a worker has
 * answers for it, which then go nowhere. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/frame.h"
#include "rpc/limits.h"
#include "rpc/metrics.h"
#include "rpc/node_internal.h"

struct node_session {
    struct range_session base;
    _Atomic uint32_t refs; /* one is the stream's, dropped by its on_close */
    struct rpc_node *node;
    struct rpc_stream *stream; /* counted */
    struct list_node node_link;
};

static struct node_session *session_of(struct range_session *base) {
    return CONTAINER_OF(base, struct node_session, base);
}

static void session_retain(struct range_session *base) {
    atomic_fetch_add_explicit(&session_of(base)->refs, 1, memory_order_relaxed);
}

static void session_release(struct range_session *base) {
    struct node_session *session = session_of(base);
    uint32_t before = atomic_fetch_sub_explicit(&session->refs, 1, memory_order_acq_rel);
    ASSERT_CMP(before, >, 0);
    if (before > 1) return;
    rpc_stream_unref(session->stream);
    memory_free(session);
}

/* Worker threads. */
static void session_send(struct range_session *base, struct slice frame) {
    struct node_session *session = session_of(base);
    enum status status = rpc_frame_send(session->stream, frame);
    /* UNAVAILABLE: the router is gone, and asks again elsewhere. */
    if (status == STATUS_BUSY)
        rpc_stream_close(session->stream, RPC_RESOURCE_EXHAUSTED,
                         "the router does not read its replies: %u bytes wait",
                         RPC_STREAM_QUEUE_BYTES_DEFAULT);
    else if (status == STATUS_TOO_LARGE)
        rpc_stream_close(session->stream, RPC_INTERNAL,
                         "a reply frame of %zu bytes cannot be sent; at most %u", frame.len,
                         RPC_MESSAGE_BYTES_MAX);
}

static void session_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct node_session *session = ctx;
    struct range_store *store = atomic_load(&session->node->store);
    struct decoder in;
    struct slice frame;
    enum status status = rpc_frame_open(message, &in) ? STATUS_OK : STATUS_CORRUPTION;
    while (store && status == STATUS_OK && rpc_frame_next(&in, &frame)) {
        status = range_store_requests(store, &session->base, frame);
        if (status != STATUS_BUSY) continue;
        metric_add(&metric_rpc_node_request_frames_refused_total, 1);
        range_store_refuse_frame(&session->base, frame, RPC_NODE_RETRY_AFTER_US);
        status = STATUS_OK;
    }
    if (status == STATUS_CORRUPTION)
        rpc_stream_close(stream, RPC_INVALID_ARGUMENT,
                         "node %" PRIu64 " cannot read that request frame; is the router of "
                         "another version?",
                         session->node->identity.node_id);
    else if (!store || status != STATUS_OK)
        rpc_stream_close(stream, RPC_UNAVAILABLE, "node %" PRIu64 " is shutting down",
                         session->node->identity.node_id);
}

static void session_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct node_session *session = ctx;
    list_remove(&session->node_link);
    metric_add(&metric_rpc_node_sessions_open, -1);
    log_debug("rpc_node_session_closed", "code=%s reason=\"%.*s\"", rpc_code_name(status->code),
              (int)status->text.len, (const char *)status->text.data);
    session_release(&session->base);
}

static const struct rpc_stream_events session_events = {.on_message = session_message,
                                                        .on_close = session_closed};

void rpc_node_open_requests(void *ctx, struct rpc_stream *stream) {
    struct rpc_node *node = ctx;
    if (!rpc_node_serving(node, stream)) return;
    struct node_session *session = MEMORY_NEW(struct node_session);
    session->base = (struct range_session){
        .send = session_send, .retain = session_retain, .release = session_release};
    atomic_init(&session->refs, 1);
    session->node = node;
    session->stream = rpc_stream_ref(stream);
    list_push_back(&node->sessions, &session->node_link);
    metric_add(&metric_rpc_node_sessions_open, 1);
    rpc_stream_accept(stream, &session_events, session);
}

void rpc_node_sessions_stop(struct rpc_node *node) {
    LIST_FOR_EACH (at, &node->sessions) {
        struct node_session *session = CONTAINER_OF(at, struct node_session, node_link);
        rpc_stream_close(session->stream, RPC_UNAVAILABLE, "node %" PRIu64 " is shutting down",
                         node->identity.node_id);
    }
}
