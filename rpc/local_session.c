#include "rpc/local_session.h"

#include <pthread.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"

/* Beyond this the gathering buffer is given back after use. */
#define KEPT_BYTES_MAX (1u << 20)

struct rpc_local_session {
    struct range_session base;
    _Atomic uint32_t refs; /* the owner's, those of workers, and one while the task is posted */
    struct rpc_loop *loop;
    void (*deliver)(void *ctx, struct slice frame); /* NULL: closed. Loop thread */
    void *ctx;
    struct rpc_task task;
    pthread_mutex_t mutex; /* over the two below */
    struct buf gathered;   /* frames, each behind its length */
    bool posted;
    struct buf delivered; /* loop thread: what is handed over now */
};

static struct rpc_local_session *session_of(struct range_session *base) {
    return CONTAINER_OF(base, struct rpc_local_session, base);
}

static void retain(struct range_session *base) {
    atomic_fetch_add_explicit(&session_of(base)->refs, 1, memory_order_relaxed);
}

static void release(struct range_session *base) {
    struct rpc_local_session *session = session_of(base);
    uint32_t before = atomic_fetch_sub_explicit(&session->refs, 1, memory_order_acq_rel);
    ASSERT_CMP(before, >, 0);
    if (before > 1) return;
    ASSERT(pthread_mutex_destroy(&session->mutex) == 0);
    buf_done(&session->gathered);
    buf_done(&session->delivered);
    memory_free(session);
}

/* Worker threads, and the loop thread for frames that are refused at once. */
static void gather(struct range_session *base, struct slice frame) {
    struct rpc_local_session *session = session_of(base);
    ASSERT(pthread_mutex_lock(&session->mutex) == 0);
    encode_bytes(&session->gathered, frame);
    bool first = !session->posted;
    session->posted = true;
    ASSERT(pthread_mutex_unlock(&session->mutex) == 0);
    if (!first) return;
    retain(base);
    rpc_loop_post(session->loop, &session->task);
}

static void hand_over(struct rpc_task *task) {
    struct rpc_local_session *session = CONTAINER_OF(task, struct rpc_local_session, task);
    ASSERT(pthread_mutex_lock(&session->mutex) == 0);
    struct buf empty = session->delivered;
    session->delivered = session->gathered;
    session->gathered = empty;
    session->posted = false;
    ASSERT(pthread_mutex_unlock(&session->mutex) == 0);

    struct decoder in = decoder_make(slice_from_buf(&session->delivered));
    while (session->deliver && !decoder_finished(&in)) {
        struct slice frame = decode_bytes(&in);
        ASSERT(!in.failed);
        session->deliver(session->ctx, frame);
    }
    if (session->delivered.cap > KEPT_BYTES_MAX) buf_done(&session->delivered);
    buf_clear(&session->delivered);
    release(&session->base);
}

struct rpc_local_session *rpc_local_session_new(struct rpc_loop *loop,
                                                void (*deliver)(void *ctx, struct slice frame),
                                                void *ctx) {
    struct rpc_local_session *session = MEMORY_NEW(struct rpc_local_session);
    session->base = (struct range_session){.send = gather, .retain = retain, .release = release};
    atomic_init(&session->refs, 1);
    session->loop = loop;
    session->deliver = deliver;
    session->ctx = ctx;
    session->task.run = hand_over;
    ASSERT(pthread_mutex_init(&session->mutex, NULL) == 0);
    return session;
}

void rpc_local_session_close(struct rpc_local_session *session) {
    if (!session) return;
    ASSERT(rpc_loop_on_thread(session->loop));
    session->deliver = NULL;
    release(&session->base);
}

struct range_session *rpc_local_session_base(struct rpc_local_session *session) {
    return &session->base;
}
