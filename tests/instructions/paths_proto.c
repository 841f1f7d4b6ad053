/* The public API's messages through protobuf-c, at the client and at the router: a unary put. */
#include "base/assert.h"
#include "rpc/kv_messages.h"
#include "tests/instructions/paths.h"

struct proto_load {
    struct arena arena;
    struct path_command put;
    struct buf request, response, error;
};

static void pack(struct buf *out, const ProtobufCMessage *message) {
    buf_clear(out);
    buf_reserve(out, protobuf_c_message_get_packed_size(message));
    out->len = protobuf_c_message_pack(message, out->data);
}

static void client_packs(void *ctx) {
    struct proto_load *load = ctx;
    Flotilla__V1__PipeCall call;
    arena_reset(&load->arena);
    kv_request_to_proto(&load->arena,
                        &(struct router_request){.op = ROUTER_WRITE, .command = &load->put.command},
                        &call);
    pack(&load->request, kv_call_message(&call));
}

static void server_serves(void *ctx) {
    static const struct txn_outcome outcome = {.result = TXN_DONE, .commit_ts = 77};
    struct proto_load *load = ctx;
    const kv_request_case write = FLOTILLA__V1__PIPE_CALL__REQUEST_WRITE;
    ProtobufCMessage *message;
    struct router_request request;
    Flotilla__V1__PipeCall call = FLOTILLA__V1__PIPE_CALL__INIT;
    Flotilla__V1__PipeReply reply;
    arena_reset(&load->arena);
    enum status status =
        rpc_message_unpack_request(&load->arena, kv_method_of(write)->request,
                                   slice_from_buf(&load->request), &load->error, &message);
    ASSERT_CMP(status, ==, STATUS_OK);
    call.request_case = write;
    call.get = (Flotilla__V1__GetRequest *)(void *)message; /* whichever it is */
    status = kv_request_from_proto(&load->arena, &call, &request, &load->error);
    ASSERT_CMP(status, ==, STATUS_OK);
    kv_reply_to_proto(&load->arena, write,
                      &(struct router_reply){.code = ROUTER_OK, .outcome = &outcome}, &reply);
    pack(&load->response, kv_reply_message(&reply));
}

static void run(uint32_t operations, measured_fn *fn) {
    struct proto_load load = {0};
    path_put(&load.put, "", 1);
    client_packs(&load);
    for (uint32_t done = 0; done < operations; done++)
        measured(fn, &load);
    buf_done(&load.request);
    buf_done(&load.response);
    buf_done(&load.error);
    arena_done(&load.arena);
}

static void run_client(uint32_t operations) {
    run(operations, client_packs);
}

static void run_server(uint32_t operations) {
    run(operations, server_serves);
}

const struct path paths_proto[] = {
    {"proto_client", "a put's message made and packed by a client", 1000, run_client},
    {"proto_server", "a put's message unpacked and its answer packed by a router", 1000,
     run_server},
    {0},
};
