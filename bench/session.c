#include "bench/session.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"
#include "bench/limits.h"
#include "rpc/etcd/client.h"
#include "rpc/kv_client.h"

/* Longer than any run: run_until is given it where only an event ends the wait. */
#define FOREVER_US (1000ull * 365 * 24 * 3600 * 1000000)

/* Between looks at a connection that is being made. */
#define CHECK_POLL_US 2000u

struct connection {
    struct kv_client *flotilla; /* one of the two */
    struct etcd_client *etcd;
};

struct bench_session {
    struct rpc_loop *loop;
    struct bench_session_config config;
    struct bench_target target;
    struct connection *connections;
    struct rpc_turn_hook hook;
    struct rpc_timer step_timer, progress_timer;
    struct bench_load *load; /* under way, or NULL */
    bool finished;
    uint32_t interrupts;
};

struct scan {
    struct bench_session *session;
    struct buf from; /* first key of the next page */
    struct slice end;
    bench_row_fn *row;
    void *ctx;
    struct buf *error;
    bool answered, complete, advanced;
    enum status status; /* of the last page */
};

static void submit(void *ctx, uint32_t client, const struct router_request *request,
                   router_done_fn *done, void *done_ctx) {
    struct bench_session *session = ctx;
    const struct connection *connection =
        &session->connections[client % session->config.connections];
    if (connection->etcd)
        etcd_client_submit(connection->etcd, client, request, done, done_ctx);
    else
        kv_client_submit(connection->flotilla, request, done, done_ctx);
}

/* Issues what has become due, and arranges to be called when more will be. */
static void step(struct bench_session *session) {
    struct bench_load *load = session->load;
    if (!load) return;
    bench_load_step(load);
    if (bench_load_finished(load)) {
        session->finished = true;
        return;
    }
    uint64_t next_us = bench_load_next_us(load);
    if (next_us == UINT64_MAX)
        rpc_timer_stop(session->loop, &session->step_timer);
    else
        rpc_timer_start(session->loop, &session->step_timer, next_us);
}

static void end_of_turn(struct rpc_turn_hook *hook) {
    step(CONTAINER_OF(hook, struct bench_session, hook));
}

static void step_timer_fired(struct rpc_timer *timer) {
    /* The hook at the end of this turn does the work. */
    (void)timer;
}

static void progress_timer_fired(struct rpc_timer *timer) {
    struct bench_session *session = CONTAINER_OF(timer, struct bench_session, progress_timer);
    if (!session->load) return;
    session->config.progress(session->config.ctx, session->load);
    /* On the schedule's grid, whatever the callback took. */
    rpc_timer_start(session->loop, timer, timer->node.key + session->config.interval_us);
}

/* The list, beginning with its entry number `first`. */
static void append_rotated(struct buf *out, const char *addresses, uint32_t first) {
    const char *at = addresses;
    while (first-- > 0) {
        const char *comma = strchr(at, ',');
        at = comma ? comma + 1 : addresses;
    }
    buf_append(out, slice_from_text(at));
    if (at != addresses) {
        buf_append_byte(out, ',');
        buf_append(out, slice_make(addresses, (size_t)(at - addresses) - 1));
    }
    buf_append_byte(out, '\0');
}

static struct connection connect_to(struct rpc_loop *loop,
                                    const struct bench_session_config *config, uint32_t number) {
    uint32_t sharers = (config->clients + config->connections - 1) / config->connections;
    uint32_t outstanding_max = config->in_flight * sharers + 1;
    struct connection connection = {0};
    struct buf addresses = {0};
    append_rotated(&addresses, config->addresses, config->spreads ? number : 0);
    if (config->server == BENCH_SERVER_FLOTILLA) {
        struct kv_client_config flotilla = {.address = (const char *)addresses.data,
                                            .unary = config->unary,
                                            .outstanding_max = outstanding_max};
        connection.flotilla = kv_client_new(loop, &flotilla);
    } else {
        struct etcd_client_config etcd = {.addresses = (const char *)addresses.data,
                                          .remembers = config->etcd_remembers,
                                          .outstanding_max = outstanding_max};
        connection.etcd = etcd_client_new(loop, &etcd);
    }
    buf_done(&addresses);
    return connection;
}

struct bench_session *bench_session_new(struct rpc_loop *loop,
                                        const struct bench_session_config *config) {
    ASSERT(config->clients > 0 && config->clients <= BENCH_CLIENTS_MAX);
    ASSERT(config->connections > 0 && config->connections <= config->clients);
    struct bench_session *session = MEMORY_NEW(struct bench_session);
    session->loop = loop;
    session->config = *config;
    session->target = (struct bench_target){.ctx = session, .submit = submit};
    session->hook.end_of_turn = end_of_turn;
    session->step_timer.fire = step_timer_fired;
    session->progress_timer.fire = progress_timer_fired;
    /* Before the clients, whose own hooks send what was submitted: so what this one issues leaves
     * in the same turn. */
    rpc_loop_add_hook(loop, &session->hook);
    session->connections = memory_zalloc(sizeof(struct connection) * config->connections);
    for (uint32_t i = 0; i < config->connections; i++)
        session->connections[i] = connect_to(loop, config, i);
    return session;
}

/* The connections of the load are patient, since routers may die under it. This one is not. */
enum status bench_session_check(struct bench_session *session, struct buf *error) {
    if (session->config.server != BENCH_SERVER_FLOTILLA) return STATUS_OK;
    const struct kv_client_config config = {.address = session->config.addresses,
                                            .fail_fast = true};
    struct kv_client *probe = kv_client_new(session->loop, &config);
    const bool never = false;
    while (!kv_client_connected(probe) && kv_client_failure(probe).len == 0 &&
           session->interrupts == 0)
        (void)rpc_loop_run_until(session->loop, &never, CHECK_POLL_US);
    struct slice failure = kv_client_failure(probe);
    enum status status = failure.len > 0 ? STATUS_UNAVAILABLE : STATUS_OK;
    buf_append(error, failure);
    kv_client_free(probe);
    return status;
}

void bench_session_free(struct bench_session *session) {
    if (!session) return;
    rpc_timer_stop(session->loop, &session->step_timer);
    rpc_timer_stop(session->loop, &session->progress_timer);
    for (uint32_t i = 0; i < session->config.connections; i++) {
        kv_client_free(session->connections[i].flotilla);
        etcd_client_free(session->connections[i].etcd);
    }
    rpc_loop_remove_hook(session->loop, &session->hook);
    memory_free(session->connections);
    memory_free(session);
}

const struct bench_target *bench_session_target(const struct bench_session *session) {
    return &session->target;
}

uint64_t bench_session_conflicts(const struct bench_session *session) {
    uint64_t conflicts = 0;
    for (uint32_t i = 0; i < session->config.connections; i++) {
        const struct etcd_client *etcd = session->connections[i].etcd;
        if (etcd) conflicts += etcd_client_conflicts(etcd);
    }
    return conflicts;
}

void bench_session_run(struct bench_session *session, struct bench_load *load) {
    ASSERT(!session->load);
    session->load = load;
    session->finished = false;
    if (session->config.progress)
        rpc_timer_start(session->loop, &session->progress_timer,
                        rpc_loop_now_us(session->loop) + session->config.interval_us);
    bench_load_start(load);
    if (session->interrupts > 0) bench_load_stop(load);
    /* At once, so that even a load without any operation comes to its end. */
    rpc_timer_start(session->loop, &session->step_timer, rpc_loop_now_us(session->loop));
    (void)rpc_loop_run_until(session->loop, &session->finished, FOREVER_US); /* always true */
    rpc_timer_stop(session->loop, &session->step_timer);
    rpc_timer_stop(session->loop, &session->progress_timer);
    session->load = NULL;
}

void bench_session_interrupt(struct bench_session *session) {
    session->interrupts++;
    if (session->load) bench_load_stop(session->load);
}

bool bench_session_interrupted(const struct bench_session *session) {
    return session->interrupts > 0;
}

static void page_done(void *ctx, const struct router_reply *reply) {
    struct scan *scan = ctx;
    scan->answered = true;
    scan->advanced = reply->code == ROUTER_OK;
    if (reply->code == ROUTER_INVALID || reply->code == ROUTER_CROSS_RANGE)
        scan->status = STATUS_INVALID;
    if (!scan->advanced) {
        buf_assign(scan->error, reply->text);
        return;
    }
    for (uint32_t i = 0; i < reply->row_count; i++)
        scan->row(scan->ctx, reply->rows[i].key, reply->rows[i].value);
    scan->complete = !reply->more;
    if (reply->more) buf_assign(&scan->from, reply->resume);
}

/* One page: asked for once. */
static void scan_page(struct scan *scan, uint64_t timeout_us) {
    struct bench_session *session = scan->session;
    scan->answered = scan->advanced = false;
    struct router_request request = {
        .op = ROUTER_SCAN,
        .deadline_us = rpc_loop_now_us(session->loop) + timeout_us,
        .start = slice_from_buf(&scan->from),
        .end = scan->end,
        .read_mode = session->config.stale_scans ? RANGE_READ_STALE : RANGE_READ_LINEARIZABLE,
        .row_limit = BENCH_SCAN_ROWS};
    submit(session, 0, &request, page_done, scan);
    /* Clients send at the end of a turn: see to it that there is one. */
    rpc_timer_start(session->loop, &session->step_timer, rpc_loop_now_us(session->loop));
    (void)rpc_loop_run_until(session->loop, &scan->answered, FOREVER_US); /* deadlines see to it */
}

enum status bench_session_scan(struct bench_session *session, struct slice start, struct slice end,
                               uint64_t timeout_us, bench_row_fn *row, void *ctx,
                               struct buf *error) {
    struct scan scan = {.session = session, .end = end, .row = row, .ctx = ctx, .error = error};
    buf_assign(&scan.from, start);
    uint64_t progress_us = rpc_loop_now_us(session->loop);
    uint32_t interrupts_before = session->interrupts;
    enum status status = STATUS_OK;
    while (!scan.complete && status == STATUS_OK) {
        bool never = false;
        scan_page(&scan, timeout_us);
        uint64_t now_us = rpc_loop_now_us(session->loop);
        if (session->interrupts != interrupts_before) status = STATUS_SHUTDOWN;
        if (scan.status != STATUS_OK) status = scan.status;
        if (scan.advanced) {
            progress_us = now_us;
        } else if (now_us - progress_us >= timeout_us) {
            status = STATUS_TIMEOUT;
        } else if (status == STATUS_OK) {
            /* Run the loop meanwhile: the connection is being made again. */
            (void)rpc_loop_run_until(session->loop, &never, BENCH_BACKOFF_MAX_US);
        }
    }
    buf_done(&scan.from);
    return status;
}
