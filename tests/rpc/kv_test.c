/* The public service and its client over real gRPC, in front of a real router whose nodes are the
 * make-believe ones of the router's own tests. Everything lives on one loop. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>

#include "base/pace.h"
#include "flotilla/v1/kv.pb-c.h"
#include "rpc/kv_client.h"
#include "rpc/kv_messages.h"
#include "rpc/kv_service.h"
#include "tests/range/router_fake.h"

#define WAIT_US 10000000u

static struct rpc_loop *loop;
static struct rpc_server *server;
static struct kv_service *service;
static struct kv_client *client;
static struct fake fake;
static struct rpc_turn_hook drive_hook;
static struct rpc_timer drive_timer;
static bool fake_stopped; /* neither nodes nor the router's clock run */
static char address[64];

static void drive(struct rpc_turn_hook *hook) {
    if (!fake_stopped) fake_run(&fake, rpc_loop_now_us(loop));
}

static void drive_again(struct rpc_timer *timer) {
    rpc_timer_start(loop, timer, rpc_loop_now_us(loop) + 1000);
}

static void serve(uint16_t port) {
    struct buf error = {0};
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    struct rpc_server_config config = {.listen = address};
    server = rpc_server_new(loop, &config);
    service = kv_service_new(loop, server, fake.router);
    cr_assert_eq(rpc_server_start(server, &error), STATUS_OK, "%.*s", (int)error.len,
                 (const char *)error.data);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", rpc_server_port(server));
    buf_done(&error);
}

static void connect_client(bool unary) {
    struct kv_client_config config = {.address = address, .unary = unary};
    client = kv_client_new(loop, &config);
}

static void set_up(void) {
    static const char *const cuts[] = {"m"};
    loop = rpc_loop_new();
    fake_init(&fake, 1);
    fake.now_us = rpc_loop_now_us(loop);
    fake_cut(&fake, cuts, 1, 2);
    fake_stopped = false;
    drive_hook = (struct rpc_turn_hook){.end_of_turn = drive};
    drive_timer = (struct rpc_timer){.fire = drive_again};
    rpc_loop_add_hook(loop, &drive_hook); /* before the service's, which then sends the replies */
    drive_again(&drive_timer);
    serve(0);
}

static void tear_down(void) {
    kv_client_free(client);
    client = NULL;
    rpc_server_free(server);
    fake_done(&fake); /* frees the router, which answers the service */
    kv_service_free(service);
    rpc_timer_stop(loop, &drive_timer);
    rpc_loop_remove_hook(loop, &drive_hook);
    rpc_loop_free(loop);
}

TestSuite(rpc_kv, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- a client's requests, waited for ---- */

struct waiting {
    struct answer answer;
    bool done;
};

static void on_answer(void *ctx, const struct router_reply *reply) {
    struct waiting *waiting = ctx;
    answer_set(&waiting->answer, reply);
    waiting->done = true;
}

static void submit(const struct router_request *request, struct waiting *waiting) {
    *waiting = (struct waiting){.answer = {.fake = &fake}};
    kv_client_submit(client, request, on_answer, waiting);
}

static void await(struct waiting *waiting) {
    cr_assert(rpc_loop_run_until(loop, &waiting->done, WAIT_US), "no answer");
    cr_assert_eq(waiting->answer.times, 1);
}

static void ask(const struct router_request *request, struct waiting *waiting) {
    submit(request, waiting);
    await(waiting);
}

static void ask_ops(struct txn_op *ops, uint32_t count, struct txn_guard *guards,
                    uint32_t guard_count, const char *request_id, struct waiting *waiting) {
    struct txn_command command = {.request_id = slice_from_text(request_id),
                                  .guards = guards,
                                  .guard_count = guard_count,
                                  .ops = ops,
                                  .op_count = count};
    struct router_request request = {.op = ROUTER_WRITE, .command = &command};
    ask(&request, waiting);
}

static struct txn_op put_op(const char *key, const char *value) {
    return (struct txn_op){
        .kind = TXN_OP_PUT, .key = slice_from_text(key), .value = slice_from_text(value)};
}

static struct txn_op add_op(const char *key, int64_t delta, int64_t minimum, int64_t maximum) {
    return (struct txn_op){.kind = TXN_OP_ADD,
                           .key = slice_from_text(key),
                           .delta = delta,
                           .minimum = minimum,
                           .maximum = maximum};
}

static void ask_put(const char *key, const char *value, struct waiting *waiting) {
    struct txn_op op = put_op(key, value);
    ask_ops(&op, 1, NULL, 0, "", waiting);
}

static void ask_keys(const char *const *names, uint32_t count, struct waiting *waiting) {
    struct slice keys[8];
    for (uint32_t i = 0; i < count; i++)
        keys[i] = slice_from_text(names[i]);
    struct router_request request = {.op = ROUTER_GET, .key_count = count, .keys = keys};
    ask(&request, waiting);
}

/* ---- both faces ---- */

static void check_reads_and_writes(void) {
    static const char *const keys[] = {"z", "none", "a", "b"};
    struct waiting waiting;
    ask_put("a", "1", &waiting);
    cr_assert_eq(waiting.answer.code, ROUTER_OK, "%s", waiting.answer.text);
    uint64_t version = waiting.answer.outcome.commit_ts;
    cr_assert(version > 0 && !waiting.answer.outcome.replayed);
    ask_put("b", "2", &waiting);
    ask_put("z", "26", &waiting);
    ask_keys(&keys[2], 1, &waiting);
    cr_assert_str_eq(waiting.answer.rows, "=1,");
    ask_keys(&keys[1], 1, &waiting);
    cr_assert_str_eq(waiting.answer.rows, "-,");
    ask_keys(keys, 4, &waiting);
    cr_assert_str_eq(waiting.answer.rows, "=26,-,=1,=2,");

    struct router_request scan = {.op = ROUTER_SCAN};
    ask(&scan, &waiting);
    cr_assert_str_eq(waiting.answer.rows, "a=1,b=2,z=26,");
    cr_assert(!waiting.answer.more);
    scan = (struct router_request){.op = ROUTER_SCAN,
                                   .start = slice_from_text("a0"),
                                   .end = slice_from_text("zz"),
                                   .reverse = true,
                                   .row_limit = 1};
    ask(&scan, &waiting);
    cr_assert_str_eq(waiting.answer.rows, "z=26,");
    cr_assert(waiting.answer.more);
}

static void check_refusals(void) {
    struct waiting waiting;
    struct txn_op ops[] = {add_op("n", 60, 0, 100), put_op("o", "x"),
                           add_op("n", -10, INT64_MIN, INT64_MAX)};
    ask_ops(ops, 3, NULL, 0, "R-1", &waiting);
    cr_assert(waiting.answer.code == ROUTER_OK && waiting.answer.outcome.result == TXN_DONE);
    cr_assert(waiting.answer.outcome.number_count == 2 && waiting.answer.first_number == 60);
    uint64_t version = waiting.answer.outcome.commit_ts;
    ask_ops(ops, 3, NULL, 0, "R-1", &waiting);
    cr_assert(waiting.answer.outcome.replayed && waiting.answer.outcome.commit_ts == version);
    ask_ops(ops, 2, NULL, 0, "R-1", &waiting);
    cr_assert_eq(waiting.answer.outcome.result, TXN_REFUSED_REQUEST_ID_REUSED);
    ask_ops(ops, 1, NULL, 0, "R-2", &waiting);
    cr_assert(waiting.answer.outcome.result == TXN_REFUSED_BOUND &&
              waiting.answer.outcome.number == 50);
    ops[0] = add_op("o", 1, INT64_MIN, INT64_MAX);
    ask_ops(ops, 1, NULL, 0, "", &waiting);
    cr_assert_eq(waiting.answer.outcome.result, TXN_REFUSED_NOT_A_NUMBER);
    ops[0] = add_op("n", INT64_MAX, INT64_MIN, INT64_MAX);
    ask_ops(ops, 1, NULL, 0, "", &waiting);
    cr_assert_eq(waiting.answer.outcome.result, TXN_REFUSED_OVERFLOW);
    ops[1].kind = TXN_OP_INSERT;
    ops[0] = put_op("p", "y");
    ask_ops(ops, 2, NULL, 0, "", &waiting);
    cr_assert(waiting.answer.outcome.result == TXN_REFUSED_EXISTS &&
              waiting.answer.outcome.index == 1);

    struct txn_guard guards[] = {
        {.kind = TXN_GUARD_EXISTS, .key = slice_from_text("n")},
        {.kind = TXN_GUARD_ABSENT, .key = slice_from_text("p")},
        {.kind = TXN_GUARD_EQUALS, .key = slice_from_text("n"), .value = slice_from_text("50")},
        {.kind = TXN_GUARD_VERSION, .key = slice_from_text("n"), .version = version},
        {.kind = TXN_GUARD_UNCHANGED, .key = slice_from_text("n"), .version = version},
        {.kind = TXN_GUARD_UNCHANGED,
         .key = slice_from_text("m"),
         .end = slice_from_text("q"),
         .version = version},
        {.kind = TXN_GUARD_ABSENT, .key = slice_from_text("o")}};
    ask_ops(NULL, 0, guards, 6, "", &waiting);
    cr_assert_eq(waiting.answer.outcome.result, TXN_DONE, "guard %u", waiting.answer.outcome.index);
    ask_ops(NULL, 0, guards, 7, "", &waiting);
    cr_assert(waiting.answer.outcome.result == TXN_REFUSED_GUARD &&
              waiting.answer.outcome.index == 6);
}

static void check_errors(void) {
    struct waiting waiting;
    struct txn_op ops[] = {put_op("a", "1"), put_op("z", "2")};
    ask_ops(ops, 2, NULL, 0, "", &waiting);
    cr_assert_eq(waiting.answer.code, ROUTER_CROSS_RANGE);
    cr_assert(strstr(waiting.answer.text, "spans ranges"), "%s", waiting.answer.text);
    ask_put("", "v", &waiting);
    cr_assert_eq(waiting.answer.code, ROUTER_INVALID);
    cr_assert(strstr(waiting.answer.text, "the key is empty"), "%s", waiting.answer.text);
    fake.busy_left = 100;
    ask_put("a", "v", &waiting);
    cr_assert_eq(waiting.answer.code, ROUTER_BUSY, "%s", waiting.answer.text);
    fake.busy_left = 0;

    fake_range_of(&fake, slice_from_text("a"))->leader = 0;
    struct slice key = slice_from_text("a");
    struct router_request get = {.op = ROUTER_GET,
                                 .key_count = 1,
                                 .keys = &key,
                                 .deadline_us = rpc_loop_now_us(loop) + 200000};
    ask(&get, &waiting);
    cr_assert_eq(waiting.answer.code, ROUTER_UNAVAILABLE, "%s", waiting.answer.text);
    cr_assert(strstr(waiting.answer.text, "no leader elected"), "%s", waiting.answer.text);
}

/* One call per request: what a simple client in any language does. */
Test(rpc_kv, unary_calls_do_all_that_the_router_does) {
    connect_client(true);
    check_reads_and_writes();
    check_refusals();
    check_errors();
}

/* The same through the pipe: the faces must not differ. */
Test(rpc_kv, the_pipe_does_all_that_the_router_does) {
    connect_client(false);
    check_reads_and_writes();
    check_refusals();
    check_errors();
}

/* Batching: what is submitted together is answered, each once, whatever the number. */
Test(rpc_kv, the_pipe_carries_thousands_at_once) {
    enum { REQUESTS = 20000 };
    static struct waiting waiting[REQUESTS];
    connect_client(false);
    struct txn_op op = add_op("n", 1, 0, REQUESTS / 2);
    struct txn_command command = {.op_count = 1, .ops = &op};
    /* Not the default deadline: how fast a busy machine is under a sanitizer is not the question.
     */
    struct router_request request = {.op = ROUTER_WRITE,
                                     .command = &command,
                                     .deadline_us = rpc_loop_now_us(loop) + 120 * 1000000ull};
    for (int i = 0; i < REQUESTS; i++)
        submit(&request, &waiting[i]);
    cr_assert_eq(kv_client_outstanding(client), REQUESTS);
    uint32_t done = 0, refused = 0;
    for (int i = 0; i < REQUESTS; i++) {
        await(&waiting[i]);
        done += waiting[i].answer.outcome.result == TXN_DONE;
        refused += waiting[i].answer.outcome.result == TXN_REFUSED_BOUND;
    }
    cr_assert_eq(done, REQUESTS / 2);
    cr_assert_eq(refused, REQUESTS / 2);
    cr_assert_eq(kv_client_outstanding(client), 0);
}

/* The router's process dies: what it had is unknown or unavailable, what it did not have waits for
 * its successor. */
Test(rpc_kv, a_lost_pipe_comes_back_and_tells_what_it_may_have_lost) {
    struct waiting write, read, later;
    struct txn_op op = put_op("a", "1");
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct slice key = slice_from_text("a");
    struct router_request put = {.op = ROUTER_WRITE, .command = &command};
    struct router_request get = {.op = ROUTER_GET, .key_count = 1, .keys = &key};
    connect_client(false);
    ask_put("b", "warm", &write);
    fake_stopped = true;
    submit(&put, &write);
    submit(&get, &read);
    bool never = false;
    cr_assert(!rpc_loop_run_until(loop, &never, 100000)); /* they have left */
    uint16_t port = rpc_server_port(server);
    rpc_server_free(server);
    struct kv_service *old = service;
    await(&write);
    await(&read);
    cr_assert_eq(write.answer.code, ROUTER_UNKNOWN);
    cr_assert_eq(read.answer.code, ROUTER_UNAVAILABLE);
    cr_assert(!kv_client_connected(client));
    submit(&put, &later);
    fake_stopped = false;
    cr_assert(!rpc_loop_run_until(loop, &never, 100000)); /* the router answers the old service */
    kv_service_free(old);
    serve(port);
    await(&later);
    cr_assert_eq(later.answer.code, ROUTER_OK, "%s", later.answer.text);
}

/* A node opens its port before placement has said who it is: whoever calls then is refused at once,
 * on either way in, and the router beside the store that is to come hears of nothing. */
Test(rpc_kv, nothing_reaches_a_router_that_is_not_ready) {
    static const char *const key[] = {"a"};
    struct waiting read;
    struct router_view before, after;
    for (int unary = 0; unary < 2; unary++) {
        connect_client(unary);
        kv_service_set_ready(service, false);
        router_view(fake.router, &before);
        ask_keys(key, 1, &read);
        cr_assert_eq(read.answer.code, ROUTER_UNAVAILABLE);
        cr_assert(strstr(read.answer.text, "is starting"), "%s", read.answer.text);
        router_view(fake.router, &after);
        cr_assert_eq(after.refreshes_total, before.refreshes_total);
        kv_service_set_ready(service, true);
        ask_keys(key, 1, &read);
        cr_assert_eq(read.answer.code, ROUTER_OK, "%s", read.answer.text);
        kv_client_free(client);
        client = NULL;
    }
}

/* A router that hangs: the client speaks for it a little after the deadline. */
Test(rpc_kv, a_frozen_router_does_not_hang_its_clients) {
    struct waiting write, read;
    connect_client(false);
    ask_put("b", "warm", &write);
    fake_stopped = true;
    struct txn_op op = put_op("a", "1");
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct slice key = slice_from_text("a");
    uint64_t began_us = rpc_loop_now_us(loop);
    struct router_request put = {
        .op = ROUTER_WRITE, .command = &command, .deadline_us = began_us + 100000};
    struct router_request get = {
        .op = ROUTER_GET, .key_count = 1, .keys = &key, .deadline_us = began_us + 100000};
    submit(&put, &write);
    submit(&get, &read);
    await(&write);
    await(&read);
    cr_assert_eq(write.answer.code, ROUTER_UNKNOWN);
    cr_assert_eq(read.answer.code, ROUTER_TIMEOUT);
    cr_assert_lt(rpc_loop_now_us(loop) - began_us, 2000000);
    fake_stopped = false;
}

/* ---- a router that has stopped reading ---- */

struct stopped_router {
    struct rpc_loop *loop;
    struct rpc_server *server;
};

static void never_read(void *ctx, struct rpc_stream *stream, struct slice message) {
    cr_assert_fail("its loop does not run any more");
}

static void taken_over(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {}

static void take_pipe(void *ctx, struct rpc_stream *stream) {
    static const struct rpc_stream_events events = {.on_message = never_read,
                                                    .on_close = taken_over};
    rpc_stream_accept(stream, &events, NULL);
}

static void step(struct rpc_loop *of) {
    bool never = false;
    (void)rpc_loop_run_until(of, &never, 1000);
}

/* The client's pipe is taken, and then nothing is read from it. */
static void connect_to_stopped(struct stopped_router *router) {
    static const struct rpc_method pipe = {
        .path = KV_PIPE, .open = take_pipe, .stream = {.merge = true}};
    struct buf error = {0};
    struct rpc_server_config config = {.listen = "127.0.0.1:0"};
    router->loop = rpc_loop_new();
    router->server = rpc_server_new(router->loop, &config);
    rpc_server_add(router->server, &pipe, 1, NULL);
    cr_assert_eq(rpc_server_start(router->server, &error), STATUS_OK);
    buf_done(&error);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", rpc_server_port(router->server));
    connect_client(false);
    while (!kv_client_connected(client)) {
        step(router->loop);
        step(loop);
    }
}

static void free_stopped(struct stopped_router *router) {
    kv_client_free(client);
    client = NULL;
    rpc_server_free(router->server);
    rpc_loop_free(router->loop);
}

/* What a connection does not carry piles up before it. A queue of which nothing comes out in time
 * is not joined: whoever comes is told at once, and to come back later; who is patient waits. */
Test(rpc_kv, a_connection_that_carries_nothing_refuses_at_once) {
    enum { PILED = 16, LATE = 64 };
    static char value[512 * 1024];
    struct stopped_router router;
    static struct waiting piled[PILED], late, patient;
    memset(value, 'v', sizeof(value) - 1);
    struct txn_op op = put_op("a", value);
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request put = {.op = ROUTER_WRITE, .command = &command};
    connect_to_stopped(&router);
    for (int i = 0; i < PILED; i++) {
        put.deadline_us = rpc_loop_now_us(loop) + 60000000;
        submit(&put, &piled[i]);
    }
    uint64_t until_us = rpc_loop_now_us(loop) + 2 * PACE_STALL_US;
    while (rpc_loop_now_us(loop) < until_us)
        step(loop);
    for (int i = 0; i < LATE; i++) {
        put.deadline_us = rpc_loop_now_us(loop) + PACE_STALL_US;
        submit(&put, &late);
        cr_assert(late.done, "it joined a queue that does not move");
        cr_assert_eq(late.answer.code, ROUTER_BUSY);
        cr_assert_gt(late.answer.retry_after_us, 0);
        cr_assert(strstr(late.answer.text, "nothing was changed"), "%s", late.answer.text);
    }
    put.deadline_us = rpc_loop_now_us(loop) + 60000000;
    submit(&put, &patient);
    cr_assert(!patient.done);
    cr_assert_eq(kv_client_outstanding(client), PILED + 1);
    free_stopped(&router);
    cr_assert(patient.done);
    cr_assert_eq(patient.answer.code, ROUTER_UNAVAILABLE); /* it was never sent */
}

/* What waits for a connection takes memory, however patient it is. */
Test(rpc_kv, what_waits_for_a_connection_is_bounded_in_bytes) {
    enum { VALUE_BYTES = 1024 * 1024, MOST = KV_CLIENT_UNSENT_BYTES_MAX / VALUE_BYTES + 2 };
    static char value[VALUE_BYTES];
    struct stopped_router router;
    static struct waiting waiting[MOST + 1];
    memset(value, 'v', sizeof(value) - 1);
    struct txn_op op = put_op("a", value);
    struct txn_command command = {.op_count = 1, .ops = &op};
    connect_to_stopped(&router);
    int taken = 0;
    for (; taken < MOST; taken++) {
        struct router_request put = {.op = ROUTER_WRITE,
                                     .command = &command,
                                     .deadline_us = rpc_loop_now_us(loop) + 60000000};
        submit(&put, &waiting[taken]);
        if (waiting[taken].done) break;
    }
    cr_assert_lt(taken, MOST, "nothing was refused");
    cr_assert_geq(taken, MOST - 3);
    cr_assert_eq(waiting[taken].answer.code, ROUTER_BUSY);
    cr_assert_gt(waiting[taken].answer.retry_after_us, 0);
    free_stopped(&router);
}

/* No router at the address: told at the deadline, with what to look for. */
Test(rpc_kv, no_router_is_unavailable_and_nothing_changed) {
    struct waiting write;
    (void)snprintf(address, sizeof(address), "127.0.0.1:1");
    connect_client(false);
    struct txn_op op = put_op("a", "1");
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request put = {
        .op = ROUTER_WRITE, .command = &command, .deadline_us = rpc_loop_now_us(loop) + 200000};
    ask(&put, &write);
    cr_assert_eq(write.answer.code, ROUTER_UNAVAILABLE);
    cr_assert(strstr(write.answer.text, "flotilla router"), "%s", write.answer.text);
}

/* A person at a terminal waits for no deadline when nobody listens: the address is the mistake. A
 * router that comes later is found all the same. */
Test(rpc_kv, a_refused_connection_fails_at_once_where_asked_to) {
    struct waiting write;
    char real[64];
    (void)snprintf(real, sizeof(real), "%s", address);
    rpc_server_free(server);
    server = NULL;
    struct kv_client_config config = {.address = address, .fail_fast = true};
    client = kv_client_new(loop, &config);
    struct txn_op op = put_op("a", "1");
    struct txn_command command = {.op_count = 1, .ops = &op};
    uint64_t began_us = rpc_loop_now_us(loop);
    struct router_request put = {
        .op = ROUTER_WRITE, .command = &command, .deadline_us = began_us + 30000000};
    ask(&put, &write);
    cr_assert_lt(rpc_loop_now_us(loop) - began_us, 5000000);
    cr_assert_eq(write.answer.code, ROUTER_UNAVAILABLE);
    cr_assert(strstr(write.answer.text, real), "%s", write.answer.text);
    cr_assert(strstr(write.answer.text, "Connection refused"), "%s", write.answer.text);
    cr_assert_gt(kv_client_failure(client).len, 0);
    kv_service_free(service);
    serve((uint16_t)atoi(strrchr(real, ':') + 1));
    while (!kv_client_connected(client)) {
        bool never = false;
        (void)rpc_loop_run_until(loop, &never, 1000);
    }
    cr_assert_eq(kv_client_failure(client).len, 0);
    ask(&put, &write);
    cr_assert_eq(write.answer.code, ROUTER_OK);
}

/* A client that goes away answers everybody. */
Test(rpc_kv, freeing_the_client_answers_everybody) {
    struct waiting sent, unsent;
    connect_client(false);
    ask_put("b", "warm", &sent);
    fake_stopped = true;
    struct txn_op op = put_op("a", "1");
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request put = {.op = ROUTER_WRITE, .command = &command};
    submit(&put, &sent);
    bool never = false;
    (void)rpc_loop_run_until(loop, &never, 50000); /* it leaves */
    submit(&put, &unsent);
    kv_client_free(client);
    client = NULL;
    cr_assert(sent.answer.times == 1 && sent.answer.code == ROUTER_UNKNOWN);
    cr_assert(unsent.answer.times == 1 && unsent.answer.code == ROUTER_UNAVAILABLE);
    fake_stopped = false;
}

/* ---- raw messages ---- */

struct raw {
    bool done, closed;
    enum rpc_code code;
    char text[256];
    struct buf messages; /* merged */
    uint32_t message_count;
};

static void keep_status(struct raw *raw, const struct rpc_status *status) {
    raw->code = status->code;
    (void)snprintf(raw->text, sizeof(raw->text), "%.*s", (int)status->text.len,
                   (const char *)status->text.data);
    raw->done = true;
}

static void raw_response(void *ctx, const struct rpc_status *status, struct slice response) {
    keep_status(ctx, status);
}

static void raw_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct raw *raw = ctx;
    buf_append(&raw->messages, message);
    raw->message_count++;
}

static void raw_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    keep_status(ctx, status);
}

static void call_raw(struct rpc_client *channel, const char *method, const void *bytes, size_t len,
                     struct raw *raw) {
    struct rpc_call_options options = {.timeout_us = WAIT_US, .wait_for_ready = true};
    *raw = (struct raw){0};
    rpc_client_call(channel, method, slice_make(bytes, len), &options, raw_response, raw);
    cr_assert(rpc_loop_run_until(loop, &raw->done, WAIT_US));
}

/* A newer client's wish must not be dropped silently, nor garbage taken for a request. */
Test(rpc_kv, refuses_unknown_fields_and_garbage) {
    static const uint8_t unknown[] = {0x0a, 1, 'k', 0x9a, 0x06, 1, 'x'}; /* key, field 99 */
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff};
    static const uint8_t guard_without_condition[] = {0x12, 3, 0x0a, 1, 'k'};
    static const uint8_t unknown_mode[] = {0x0a, 1, 'k', 0x10, 9};
    struct rpc_client *channel = rpc_client_new(loop, address);
    struct raw raw;
    call_raw(channel, "/flotilla.v1.KeyValue/Get", unknown, sizeof(unknown), &raw);
    cr_assert(raw.code == RPC_INVALID_ARGUMENT && strstr(raw.text, "field 99"), "%s", raw.text);
    call_raw(channel, "/flotilla.v1.KeyValue/Put", garbage, sizeof(garbage), &raw);
    cr_assert_eq(raw.code, RPC_INVALID_ARGUMENT);
    call_raw(channel, "/flotilla.v1.KeyValue/Write", guard_without_condition,
             sizeof(guard_without_condition), &raw);
    cr_assert(raw.code == RPC_INVALID_ARGUMENT && strstr(raw.text, "guard 0 has no condition"));
    call_raw(channel, "/flotilla.v1.KeyValue/Get", unknown_mode, sizeof(unknown_mode), &raw);
    cr_assert(raw.code == RPC_INVALID_ARGUMENT && strstr(raw.text, "read mode 9"), "%s", raw.text);
    rpc_client_free(channel);
}

/* Put with an id that was used for another request: refused in words, since its answer has no field
 * for it. */
Test(rpc_kv, put_and_delete_refuse_a_reused_id_by_status) {
    static const uint8_t put[] = {0x0a, 1, 'k', 0x12, 1, 'v', 0x1a, 1, 'i'};
    static const uint8_t other[] = {0x0a, 1, 'k', 0x12, 1, 'w', 0x1a, 1, 'i'};
    static const uint8_t remove_it[] = {0x0a, 1, 'k', 0x12, 1, 'i'};
    struct rpc_client *channel = rpc_client_new(loop, address);
    struct raw raw;
    call_raw(channel, "/flotilla.v1.KeyValue/Put", put, sizeof(put), &raw);
    cr_assert_eq(raw.code, RPC_OK, "%s", raw.text);
    call_raw(channel, "/flotilla.v1.KeyValue/Put", put, sizeof(put), &raw);
    cr_assert_eq(raw.code, RPC_OK, "%s", raw.text);
    call_raw(channel, "/flotilla.v1.KeyValue/Put", other, sizeof(other), &raw);
    cr_assert(raw.code == RPC_FAILED_PRECONDITION && strstr(raw.text, "request id"), "%s",
              raw.text);
    call_raw(channel, "/flotilla.v1.KeyValue/Delete", remove_it, sizeof(remove_it), &raw);
    cr_assert_eq(raw.code, RPC_FAILED_PRECONDITION);
    rpc_client_free(channel);
}

static const struct rpc_stream_events raw_events = {.on_message = raw_message,
                                                    .on_close = raw_close};

/* A pipe ends in order: replies to all that was asked, then OK. A call that asks nothing is refused
 * by its id, and the others go on. */
Test(rpc_kv, a_half_closed_pipe_answers_first) {
    static const uint8_t calls[] = {
        0x0a, 7, 0x08, 5, 0x1a, 3, 0x0a, 1, 'k', /* id 5: get k */
        0x0a, 2, 0x08, 6,                        /* id 6: nothing */
    };
    struct rpc_client *channel = rpc_client_new(loop, address);
    struct rpc_open_options options = {.wait_for_ready = true};
    struct raw raw = {0};
    struct rpc_stream *stream =
        rpc_client_open(channel, "/flotilla.v1.KeyValue/Pipe", &options, &raw_events, &raw);
    cr_assert_eq(rpc_stream_send(stream, slice_make(calls, sizeof(calls))), STATUS_OK);
    rpc_stream_half_close(stream);
    cr_assert(rpc_loop_run_until(loop, &raw.done, WAIT_US));
    cr_assert_eq(raw.code, RPC_OK, "%s", raw.text);
    Flotilla__V1__PipeResponse *response =
        flotilla__v1__pipe_response__unpack(NULL, raw.messages.len, raw.messages.data);
    cr_assert(response && response->n_replies == 2);
    for (size_t i = 0; i < 2; i++) {
        const Flotilla__V1__PipeReply *reply = response->replies[i];
        cr_assert_eq(reply->code, reply->id == 5 ? RPC_OK : RPC_INVALID_ARGUMENT);
        if (reply->id == 5)
            cr_assert(reply->response_case == FLOTILLA__V1__PIPE_REPLY__RESPONSE_GET &&
                      !reply->get->found);
    }
    flotilla__v1__pipe_response__free_unpacked(response, NULL);
    buf_done(&raw.messages);
    rpc_client_free(channel);
}

/* Bytes that are no PipeRequest end the pipe with the reason. */
Test(rpc_kv, a_pipe_of_garbage_is_closed) {
    static const uint8_t unknown[] = {0x0a, 5, 0x08, 5, 0xa0, 0x06, 1}; /* id 5, field 100 */
    struct rpc_client *channel = rpc_client_new(loop, address);
    struct rpc_open_options options = {.wait_for_ready = true};
    struct raw raw = {0};
    struct rpc_stream *stream =
        rpc_client_open(channel, "/flotilla.v1.KeyValue/Pipe", &options, &raw_events, &raw);
    cr_assert_eq(rpc_stream_send(stream, slice_make(unknown, sizeof(unknown))), STATUS_OK);
    cr_assert(rpc_loop_run_until(loop, &raw.done, WAIT_US));
    cr_assert(raw.code == RPC_INVALID_ARGUMENT && strstr(raw.text, "field 100"), "%s", raw.text);
    buf_done(&raw.messages);
    rpc_client_free(channel);
}
