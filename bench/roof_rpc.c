/* gRPC through rpc/, as the product uses it: entries of a put's size one way, short answers the
 * other. A peer answers each entry of a message with ROOF_ANSWER_BYTES, so that merged messages
 * (rpc/stream.h) can be counted on both sides. */
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "bench/roof.h"
#include "rpc/client.h"
#include "rpc/server.h"

#define METHOD_UNARY "/flotilla.bench.Roof/Unary"
#define METHOD_STREAM "/flotilla.bench.Roof/Stream"
#define METHOD_MERGED "/flotilla.bench.Roof/Merged"

#define OUTSTANDING_MAX 256u
#define ENTRIES_MAX 64u
#define CALL_TIMEOUT_US 10000000u

static const uint8_t zeros[ROOF_ENTRY_BYTES * ENTRIES_MAX];

/* ---- the peer ---- */

static void serve_unary(void *ctx, struct rpc_call *call, struct slice request) {
    rpc_call_reply(call, slice_make(zeros, ROOF_ANSWER_BYTES));
}

static void serve_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    size_t len = message.len / ROOF_ENTRY_BYTES * ROOF_ANSWER_BYTES;
    uint8_t *answer = memory_zalloc(len + 1);
    enum status status = rpc_stream_send(stream, slice_make(answer, len));
    memory_free(answer);
    if (status != STATUS_OK)
        rpc_stream_close(stream, RPC_RESOURCE_EXHAUSTED, "answering: %s", status_text(status));
}

static void serve_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    /* Nothing is kept per stream. */
}

static void serve_open(void *ctx, struct rpc_stream *stream) {
    static const struct rpc_stream_events events = {.on_message = serve_message,
                                                    .on_close = serve_closed};
    rpc_stream_accept(stream, &events, ctx);
}

void roof_serve_rpc(int announce_fd) {
    static const struct rpc_method methods[] = {
        {.path = METHOD_UNARY, .unary = serve_unary},
        {.path = METHOD_STREAM, .open = serve_open},
        {.path = METHOD_MERGED, .open = serve_open, .stream = {.merge = true}},
    };
    struct buf error = {0};
    struct rpc_loop *loop = rpc_loop_new();
    struct rpc_server *server =
        rpc_server_new(loop, &(struct rpc_server_config){.listen = "127.0.0.1:0"});
    rpc_server_add(server, methods, sizeof(methods) / sizeof(methods[0]), NULL);
    if (rpc_server_start(server, &error) != STATUS_OK)
        fatal("gRPC peer: %.*s", (int)error.len, (const char *)error.data);
    roof_peer_announce(announce_fd, rpc_server_port(server));
    rpc_loop_run(loop); /* until the parent kills this process */
}

/* ---- the measuring end ---- */

struct caller {
    struct rpc_loop *loop;
    struct rpc_client *client;
    struct rpc_stream *stream; /* NULL: unary */
    struct roof_meter meter;
    uint32_t entries;   /* per message */
    uint32_t in_flight; /* calls or messages */
    bool done, closed;
    /* When each was sent: of unary calls by their slot, of a stream as a ring, since its answers
     * come in order. */
    uint64_t sent_us[OUTSTANDING_MAX];
    uint64_t head, tail;
    uint32_t answered_entries; /* of the message at the ring's head */
};

struct call_slot {
    struct caller *caller;
    uint32_t at;
};

static void send_call(struct call_slot *slot);

static void take_answer(struct caller *caller, uint64_t sent_us, uint64_t now_us) {
    histogram_record(&caller->meter.latencies, now_us - sent_us);
    caller->meter.units += caller->entries;
    ASSERT_CMP(caller->in_flight, >, 0);
    if (--caller->in_flight == 0 && now_us >= caller->meter.until_us) caller->done = true;
}

static void call_answered(void *ctx, const struct rpc_status *status, struct slice response) {
    struct call_slot *slot = ctx;
    struct caller *caller = slot->caller;
    if (status->code != RPC_OK || response.len != ROOF_ANSWER_BYTES)
        fatal("a call to the gRPC peer failed: %.*s", (int)status->text.len,
              (const char *)status->text.data);
    uint64_t now_us = rpc_loop_now_us(caller->loop);
    take_answer(caller, caller->sent_us[slot->at], now_us);
    if (now_us < caller->meter.until_us) send_call(slot);
}

static void send_call(struct call_slot *slot) {
    static const struct rpc_call_options options = {.timeout_us = CALL_TIMEOUT_US,
                                                    .wait_for_ready = true};
    struct caller *caller = slot->caller;
    caller->in_flight++;
    caller->sent_us[slot->at] = rpc_loop_now_us(caller->loop);
    rpc_client_call(caller->client, METHOD_UNARY, slice_make(zeros, ROOF_ENTRY_BYTES), &options,
                    call_answered, slot);
}

static void send_message(struct caller *caller) {
    caller->in_flight++;
    caller->sent_us[caller->tail++ % OUTSTANDING_MAX] = rpc_loop_now_us(caller->loop);
    enum status status = rpc_stream_send(
        caller->stream, slice_make(zeros, (size_t)ROOF_ENTRY_BYTES * caller->entries));
    if (status != STATUS_OK) fatal("the stream to the gRPC peer: %s", status_text(status));
}

static void stream_answered(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct caller *caller = ctx;
    uint64_t now_us = rpc_loop_now_us(caller->loop);
    caller->answered_entries += (uint32_t)(message.len / ROOF_ANSWER_BYTES);
    while (caller->answered_entries >= caller->entries) {
        caller->answered_entries -= caller->entries;
        take_answer(caller, caller->sent_us[caller->head++ % OUTSTANDING_MAX], now_us);
        if (now_us < caller->meter.until_us) send_message(caller);
    }
}

static void stream_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct caller *caller = ctx;
    if (!caller->done)
        fatal("the stream to the gRPC peer ended: %.*s", (int)status->text.len,
              (const char *)status->text.data);
    caller->closed = true;
}

static void begin(struct caller *caller, const struct roof_peer *peer, uint32_t entries,
                  double seconds) {
    caller->entries = entries;
    caller->in_flight = caller->answered_entries = 0;
    caller->head = caller->tail = 0;
    caller->done = caller->closed = false;
    roof_meter_begin(&caller->meter, peer, seconds);
}

static void wait_for(struct caller *caller, const bool *done, double seconds) {
    uint64_t timeout_us = (uint64_t)(seconds * 1e6) + 2 * CALL_TIMEOUT_US;
    if (!rpc_loop_run_until(caller->loop, done, timeout_us)) fatal("the gRPC peer is silent");
}

static void measure_calls(struct caller *caller, const struct roof_peer *peer, uint32_t outstanding,
                          double seconds) {
    struct call_slot slots[OUTSTANDING_MAX];
    ASSERT_CMP(outstanding, <=, OUTSTANDING_MAX);
    begin(caller, peer, 1, seconds);
    for (uint32_t i = 0; i < outstanding; i++) {
        slots[i] = (struct call_slot){caller, i};
        send_call(&slots[i]);
    }
    wait_for(caller, &caller->done, seconds);
}

struct stream_shape {
    const char *method;
    uint32_t entries, outstanding;
};

static void measure_stream(struct caller *caller, const struct roof_peer *peer,
                           const struct stream_shape *shape, double seconds) {
    static const struct rpc_stream_events events = {.on_message = stream_answered,
                                                    .on_close = stream_closed};
    struct rpc_open_options options = {.wait_for_ready = true};
    options.stream.merge = strcmp(shape->method, METHOD_MERGED) == 0;
    ASSERT_CMP(shape->outstanding, <=, OUTSTANDING_MAX);
    ASSERT_CMP(shape->entries, <=, ENTRIES_MAX);
    begin(caller, peer, shape->entries, seconds);
    caller->stream = rpc_client_open(caller->client, shape->method, &options, &events, caller);
    for (uint32_t i = 0; i < shape->outstanding; i++)
        send_message(caller);
    wait_for(caller, &caller->done, seconds);
}

static void close_stream(struct caller *caller) {
    rpc_stream_close(caller->stream, RPC_CANCELLED, "measured");
    wait_for(caller, &caller->closed, 0);
    caller->stream = NULL;
}

static void measure_all_calls(struct caller *caller, const struct roof_peer *peer, double seconds,
                              struct roof_list *list) {
    static const struct {
        uint32_t outstanding;
        struct roof_figure name;
    } lines[] = {
        {1, {.key = "unary_1", .text = "gRPC: unary, 1 outstanding", .unit = "calls"}},
        {64, {.key = "unary_64", .text = "gRPC: unary, 64 outstanding", .unit = "calls"}},
        {256, {.key = "unary_256", .text = "gRPC: unary, 256 outstanding", .unit = "calls"}},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        measure_calls(caller, peer, lines[i].outstanding, seconds);
        roof_meter_end(&caller->meter, &lines[i].name, list);
    }
}

static void measure_all_streams(struct caller *caller, const struct roof_peer *peer, double seconds,
                                struct roof_list *list) {
    static const struct {
        struct stream_shape shape;
        struct roof_figure name;
    } lines[] = {
        {{METHOD_STREAM, 1, 1},
         {.key = "stream_1_of_1", .text = "gRPC: stream, 1 message of 1", .unit = "entries"}},
        {{METHOD_STREAM, 1, 64},
         {.key = "stream_64_of_1", .text = "gRPC: stream, 64 messages of 1", .unit = "entries"}},
        {{METHOD_STREAM, 8, 64},
         {.key = "stream_64_of_8", .text = "gRPC: stream, 64 messages of 8", .unit = "entries"}},
        {{METHOD_STREAM, 64, 64},
         {.key = "stream_64_of_64", .text = "gRPC: stream, 64 messages of 64", .unit = "entries"}},
        {{METHOD_MERGED, 1, 256},
         {.key = "merged_256_of_1",
          .text = "gRPC: stream that merges, 256 messages of 1",
          .unit = "entries"}},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        measure_stream(caller, peer, &lines[i].shape, seconds);
        roof_meter_end(&caller->meter, &lines[i].name, list);
        close_stream(caller);
    }
}

void roof_measure_rpc(const struct roof_peer *peer, double seconds, struct roof_list *list) {
    char address[32];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", peer->port); /* it fits */
    struct caller *caller = MEMORY_NEW(struct caller);
    caller->loop = rpc_loop_new();
    caller->client = rpc_client_new(caller->loop, address);
    measure_calls(caller, peer, 1, seconds / 10); /* connects and warms up; not a figure */
    measure_all_calls(caller, peer, seconds, list);
    measure_all_streams(caller, peer, seconds, list);
    rpc_client_free(caller->client);
    rpc_loop_free(caller->loop);
    memory_free(caller);
}
