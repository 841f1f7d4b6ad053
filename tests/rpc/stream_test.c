/* Streams: order, volume, threads, bounds, ends. */
#include <criterion/criterion.h>

#include "base/memory.h"
#include "tests/rpc/echo.h"

static struct echo_server *echo;
static struct rpc_loop *loop;
static struct rpc_client *client;
static struct echo_answer answer;

static void set_up(void) {
    echo = echo_server_new(NULL);
    loop = rpc_loop_new();
    client = rpc_client_new(loop, echo->address);
}

static void tear_down(void) {
    rpc_client_free(client);
    echo_answer_done(&answer);
    rpc_loop_free(loop);
    echo_server_free(echo);
}

TestSuite(rpc_stream, .init = set_up, .fini = tear_down, .timeout = 60);

static struct rpc_stream *open_stream(const char *method, const struct rpc_stream_events *events,
                                      void *ctx) {
    struct rpc_open_options options = {.wait_for_ready = true};
    options.stream.merge = strcmp(method, ECHO_MERGED) == 0;
    return rpc_client_open(client, method, &options, events, ctx);
}

/* The plainest stream: opens, echoes, ends with OK after the half-close. */
Test(rpc_stream, echoes_and_ends_with_ok) {
    struct rpc_stream *stream = open_stream(ECHO_STREAM, &echo_client_events, &answer);
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("one")), STATUS_OK);
    ECHO_WAIT(loop, answer.messages == 1);
    cr_assert_eq(answer.opened, 1);
    cr_assert(slice_equal(slice_from_buf(&answer.response), SLICE_LITERAL("one")));
    rpc_stream_half_close(stream);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_OK, "%s", answer.text.data);
}

struct numbers {
    struct rpc_stream *stream;
    uint64_t sent, received, target, wrong, closed;
};

static void send_number(struct numbers *numbers) {
    uint64_t number = numbers->sent++;
    cr_assert_eq(rpc_stream_send(numbers->stream, slice_make(&number, sizeof(number))), STATUS_OK);
}

static void number_came(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct numbers *numbers = ctx;
    /* A merged stream may join any number of messages: they are all 8 bytes here. */
    for (size_t at = 0; at + 8 <= message.len; at += 8) {
        uint64_t number;
        memcpy(&number, message.data + at, 8);
        numbers->wrong += number != numbers->received;
        numbers->received++;
        if (numbers->sent < numbers->target) send_number(numbers);
    }
    numbers->wrong += message.len % 8 != 0;
}

static void numbers_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    ((struct numbers *)ctx)->closed++;
}

static const struct rpc_stream_events number_events = {.on_message = number_came,
                                                       .on_close = numbers_closed};

static void run_numbers(const char *method) {
    struct numbers numbers = {.target = 20000};
    numbers.stream = open_stream(method, &number_events, &numbers);
    while (numbers.sent < 64)
        send_number(&numbers);
    ECHO_WAIT(loop, numbers.received == numbers.target);
    cr_assert_eq(numbers.wrong, 0);
    rpc_stream_close(numbers.stream, RPC_CANCELLED, "done");
    ECHO_WAIT(loop, numbers.closed);
}

/* Order and completeness with many in flight. */
Test(rpc_stream, keeps_order_at_volume) {
    run_numbers(ECHO_STREAM);
}

/* The same where waiting messages are joined: not a byte more, less, or elsewhere. */
Test(rpc_stream, merging_keeps_every_byte_in_order) {
    run_numbers(ECHO_MERGED);
}

/* Without `merge`, messages keep their borders however many wait. */
Test(rpc_stream, messages_are_not_merged_unless_asked) {
    struct rpc_stream *stream = open_stream(ECHO_STREAM, &echo_client_events, &answer);
    for (size_t i = 0; i < 500; i++)
        cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("m")), STATUS_OK);
    ECHO_WAIT(loop, answer.messages == 500);
    cr_assert_eq(answer.response.len, 1);
}

#define SENDERS 4u
#define PER_SENDER 3000u

struct sender {
    pthread_t thread;
    struct rpc_stream *stream;
    uint32_t id;
};

static void *send_many(void *ctx) {
    struct sender *sender = ctx;
    for (uint32_t i = 0; i < PER_SENDER; i++) {
        uint32_t message[2] = {sender->id, i};
        while (rpc_stream_send(sender->stream, slice_make(message, sizeof(message))) ==
               STATUS_BUSY) {
        }
    }
    rpc_stream_unref(sender->stream);
    return NULL;
}

struct gathered {
    uint32_t next[SENDERS];
    uint64_t received, wrong;
};

static void gather(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct gathered *gathered = ctx;
    for (size_t at = 0; at + 8 <= message.len; at += 8) {
        uint32_t parts[2];
        memcpy(parts, message.data + at, 8);
        if (parts[0] >= SENDERS || gathered->next[parts[0]]++ != parts[1]) gathered->wrong++;
        gathered->received++;
    }
}

/* Sends from several threads while the loop receives: nothing lost, each thread's order kept (and
 * the thread sanitizer sees no race). */
Test(rpc_stream, takes_sends_from_many_threads) {
    static const struct rpc_stream_events events = {.on_message = gather};
    struct gathered gathered = {0};
    struct sender senders[SENDERS];
    struct rpc_stream *stream = open_stream(ECHO_MERGED, &events, &gathered);
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.stream = rpc_stream_ref(stream), .id = i};
        cr_assert_eq(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
    }
    ECHO_WAIT(loop, gathered.received == SENDERS * PER_SENDER);
    cr_assert_eq(gathered.wrong, 0);
    for (uint32_t i = 0; i < SENDERS; i++)
        cr_assert_eq(pthread_join(senders[i].thread, NULL), 0);
}

/* A queue that nobody empties is bounded: BUSY, not memory. */
Test(rpc_stream, send_queue_is_bounded) {
    static uint8_t chunk[64 * 1024];
    struct rpc_open_options options = {.wait_for_ready = true,
                                       .stream = {.queue_bytes_max = 1024 * 1024}};
    struct rpc_stream *stream =
        rpc_client_open(client, ECHO_HANG, &options, &echo_client_events, &answer);
    size_t taken = 0;
    enum status status = STATUS_OK;
    for (; taken < 1000 && status == STATUS_OK; taken++)
        status = rpc_stream_send(stream, slice_make(chunk, sizeof(chunk)));
    cr_assert_eq(status, STATUS_BUSY);
    cr_assert_leq(rpc_stream_queued_bytes(stream), 1024 * 1024);
    cr_assert_geq(rpc_stream_queued_bytes(stream), 1024 * 1024 - sizeof(chunk));
}

/* A full queue empties again as the peer reads: many times the bound passes through it. */
Test(rpc_stream, full_queue_empties_again) {
    static uint8_t chunk[16 * 1024];
    struct rpc_open_options options = {.wait_for_ready = true,
                                       .stream = {.queue_bytes_max = 64 * 1024}};
    struct rpc_stream *stream =
        rpc_client_open(client, ECHO_STREAM, &options, &echo_client_events, &answer);
    bool never = false;
    size_t busy = 0;
    for (size_t sent = 0; sent < 500;) {
        enum status status = rpc_stream_send(stream, slice_make(chunk, sizeof(chunk)));
        cr_assert(status == STATUS_OK || status == STATUS_BUSY);
        if (status == STATUS_OK) {
            sent++;
            continue;
        }
        cr_assert_lt(busy++, 20000, "the queue stays full");
        (void)rpc_loop_run_until(loop, &never, 500);
    }
    ECHO_WAIT(loop, answer.messages == 500);
    cr_assert_gt(busy, 0);
    cr_assert_eq(rpc_stream_queued_bytes(stream), 0);
}

/* A peer that does not read what it asked for is cut off at the bound. */
Test(rpc_stream, client_that_does_not_read_is_cut_off) {
    struct rpc_stream *stream = open_stream(ECHO_DEAF, &echo_client_events, &answer);
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("flood me")), STATUS_OK);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_neq(answer.code, RPC_OK);
    cr_assert_leq(atomic_load(&echo->flood_sent), 16);
}

/* Too large is refused to the sender, and the stream lives on. */
Test(rpc_stream, oversized_message_is_refused) {
    uint8_t *bytes = memory_zalloc(RPC_MESSAGE_BYTES_MAX + 1);
    struct rpc_stream *stream = open_stream(ECHO_STREAM, &echo_client_events, &answer);
    cr_assert_eq(rpc_stream_send(stream, slice_make(bytes, RPC_MESSAGE_BYTES_MAX + 1)),
                 STATUS_TOO_LARGE);
    cr_assert_eq(rpc_stream_send(stream, slice_make(bytes, RPC_MESSAGE_BYTES_MAX)), STATUS_OK);
    ECHO_WAIT(loop, answer.messages == 1);
    cr_assert_eq(answer.response.len, RPC_MESSAGE_BYTES_MAX);
    memory_free(bytes);
}

/* A stream to a method that is not there ends with that status, unopened. */
Test(rpc_stream, unknown_method_is_unimplemented) {
    (void)open_stream("/test.Echo/Missing", &echo_client_events, &answer);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_UNIMPLEMENTED);
    cr_assert_eq(answer.opened, 0);
}

/* Closing from the client: on_close comes once, with the reason given; the server learns it. */
Test(rpc_stream, client_close_is_seen_by_both_sides) {
    struct rpc_stream *stream = open_stream(ECHO_STREAM, &echo_client_events, &answer);
    ECHO_WAIT(loop, answer.opened);
    rpc_stream_ref(stream);
    rpc_stream_close(stream, RPC_ABORTED, "enough");
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_ABORTED);
    cr_assert_str_eq((const char *)answer.text.data, "enough");
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("late")), STATUS_UNAVAILABLE);
    rpc_stream_close(stream, RPC_ABORTED, "again");
    rpc_stream_unref(stream);
    ECHO_WAIT(loop, atomic_load(&echo->closed) == 1);
}

/* A server that goes down with streams open: they end at once, without a wait, and nothing leaks.
 */
Test(rpc_stream, server_shutdown_ends_open_streams_quickly) {
    struct echo_server *doomed = echo_server_new(NULL);
    struct rpc_client *other = rpc_client_new(loop, doomed->address);
    struct rpc_open_options options = {.wait_for_ready = true};
    struct echo_answer answers[8] = {0};
    for (size_t i = 0; i < 8; i++)
        (void)rpc_client_open(other, ECHO_STREAM, &options, &echo_client_events, &answers[i]);
    for (size_t i = 0; i < 8; i++)
        ECHO_WAIT(loop, answers[i].opened);
    uint64_t before_us = rpc_loop_now_us(loop);
    echo_server_free(doomed);
    uint64_t took_us = rpc_loop_now_us(loop) - before_us;
    cr_assert_lt(took_us, 1000000, "shutdown took %lu us", took_us);
    for (size_t i = 0; i < 8; i++) {
        ECHO_WAIT(loop, answers[i].closed);
        cr_assert_neq(answers[i].code, RPC_OK);
        echo_answer_done(&answers[i]);
    }
    rpc_client_free(other);
}

/* The bound on open streams is kept, and said. */
Test(rpc_stream, too_many_streams_are_refused) {
    struct rpc_server_config config = {.listen = "127.0.0.1:0", .streams_max = 2};
    struct echo_server *small = echo_server_new(&config);
    struct rpc_client *crowd = rpc_client_new(loop, small->address);
    struct rpc_open_options options = {.wait_for_ready = true};
    struct echo_answer answers[3] = {0};
    for (size_t i = 0; i < 3; i++)
        (void)rpc_client_open(crowd, ECHO_STREAM, &options, &echo_client_events, &answers[i]);
    ECHO_WAIT(loop, answers[0].closed + answers[1].closed + answers[2].closed == 1);
    ECHO_WAIT(loop, answers[0].opened + answers[1].opened + answers[2].opened == 2);
    for (size_t i = 0; i < 3; i++)
        cr_assert(!answers[i].closed || answers[i].code == RPC_RESOURCE_EXHAUSTED);
    rpc_client_free(crowd);
    for (size_t i = 0; i < 3; i++)
        echo_answer_done(&answers[i]);
    echo_server_free(small);
}

/* A client that holds back while it has much to send, so it reads next to nothing. */
static void expect_little_is_taken(bool toggles) {
    enum { COUNT = 100, SIZE = 256 * 1024 };
    struct rpc_open_options options = {
        .wait_for_ready = true,
        .stream = {.hold_back = true, .queue_bytes_max = (COUNT + 1) * SIZE}};
    struct echo_server *own = echo_server_new(NULL);
    struct rpc_client *silent = rpc_client_new(loop, own->address);
    struct echo_answer heard = {0};
    struct rpc_stream *stream =
        rpc_client_open(silent, ECHO_HELD, &options, &echo_client_events, &heard);
    uint8_t *bytes = memory_zalloc(SIZE);
    for (int i = 0; i < COUNT; i++)
        cr_assert_eq(rpc_stream_send(stream, slice_make(bytes, SIZE)), STATUS_OK);
    ECHO_WAIT(loop, atomic_load(&own->messages) > 4);
    bool never = false;
    for (int i = 0; i < 100; i++) {
        if (toggles) rpc_stream_hold(stream, true);
        if (toggles) rpc_stream_hold(stream, false);
        (void)rpc_loop_run_until(loop, &never, 5000);
    }
    cr_assert_eq(heard.closed, 0, "%s", heard.text.data ? (const char *)heard.text.data : "");
    cr_assert_lt(atomic_load(&own->messages), COUNT / 2);
    rpc_client_free(silent);
    echo_answer_done(&heard);
    memory_free(bytes);
    echo_server_free(own);
}

/* Who does not read its answers is not listened to (hold_back): the server takes no more than what
 * fits in its queue and the windows, and cuts nobody off. */
Test(rpc_stream, client_that_does_not_read_is_not_listened_to) {
    expect_little_is_taken(false);
}

/* An owner that lets go of a stream does not make it read what it holds back for itself. */
Test(rpc_stream, is_held_back_by_itself_whoever_else_lets_go) {
    expect_little_is_taken(true);
}

/* A stream that expects small messages takes no others, whatever all of them may be. */
Test(rpc_stream, message_beyond_its_own_limit_is_refused) {
    struct rpc_open_options options = {.wait_for_ready = true, .stream = {.message_bytes_max = 16}};
    struct rpc_stream *stream =
        rpc_client_open(client, ECHO_STREAM, &options, &echo_client_events, &answer);
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("sixteen bytes do")), STATUS_OK);
    ECHO_WAIT(loop, answer.messages == 1);
    cr_assert_eq(rpc_stream_send(stream, SLICE_LITERAL("seventeen do not.")), STATUS_OK);
    ECHO_WAIT(loop, answer.closed);
    cr_assert_eq(answer.code, RPC_RESOURCE_EXHAUSTED);
    cr_assert_eq(answer.messages, 1);
}
