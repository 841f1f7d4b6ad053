/* What travels between processes, packed and unpacked once. */
#include "base/assert.h"
#include "raft/message_codec.h"
#include "range/raft_frame.h"
#include "range/request.h"
#include "tests/instructions/paths.h"

#define TOGETHER 64u

struct frame_load {
    struct buf frame, command;
    struct arena arena;
    struct payload *payload;
};

static void requests(void *ctx) {
    struct frame_load *load = ctx;
    struct decoder calls;
    struct slice bytes;
    buf_clear(&load->frame);
    range_frame_begin(&load->frame);
    for (uint32_t i = 0; i < TOGETHER; i++)
        range_request_encode(&load->frame,
                             &(struct range_request){.call_id = 1000 + i,
                                                     .kind = RANGE_WRITE,
                                                     .range_id = 7,
                                                     .epoch = {1, 1},
                                                     .timeout_us = 5000000,
                                                     .command = slice_from_buf(&load->command)});
    enum status status = range_frame_open(slice_from_buf(&load->frame), &calls);
    ASSERT_CMP(status, ==, STATUS_OK);
    while (range_frame_next(&calls, &bytes)) {
        struct range_request request;
        arena_reset(&load->arena);
        status = range_request_decode(bytes, &load->arena, &request);
        ASSERT_CMP(status, ==, STATUS_OK);
    }
}

static void replies(void *ctx) {
    struct frame_load *load = ctx;
    struct range_descriptor descriptor = {0};
    struct decoder calls;
    struct slice bytes;
    buf_clear(&load->frame);
    range_frame_begin(&load->frame);
    for (uint32_t i = 0; i < TOGETHER; i++)
        range_reply_encode(&load->frame, &(struct range_reply){.call_id = 1000 + i,
                                                               .kind = RANGE_WRITE,
                                                               .outcome = {.commit_ts = 77}});
    enum status status = range_frame_open(slice_from_buf(&load->frame), &calls);
    ASSERT_CMP(status, ==, STATUS_OK);
    while (range_frame_next(&calls, &bytes)) {
        struct range_reply reply;
        arena_reset(&load->arena);
        status = range_reply_decode(bytes, &load->arena, &descriptor, &reply);
        ASSERT_CMP(status, ==, STATUS_OK);
    }
}

static void raft_messages(void *ctx) {
    struct frame_load *load = ctx;
    struct raft_entry entry = {.id = {2, 8}, .payload = load->payload};
    struct raft_message append = {.kind = RAFT_MSG_APPEND,
                                  .from = 1,
                                  .to = 2,
                                  .term = 2,
                                  .log = {2, 7},
                                  .commit = 7,
                                  .sent_us = 123456789,
                                  .entry_count = 1,
                                  .entries = &entry};
    struct decoder messages;
    struct range_raft_envelope envelope;
    buf_clear(&load->frame);
    range_raft_frame_begin(&load->frame);
    for (uint32_t i = 0; i < TOGETHER; i++)
        range_raft_frame_add(&load->frame, 7, 1, &append);
    enum status status = range_raft_frame_open(slice_from_buf(&load->frame), &messages);
    ASSERT_CMP(status, ==, STATUS_OK);
    arena_reset(&load->arena);
    while (range_raft_frame_next(&messages, &envelope)) {
        struct raft_message message;
        struct decoder in = decoder_make(envelope.message);
        status = raft_decode_message(&in, &load->arena, &message);
        ASSERT_CMP(status, ==, STATUS_OK);
        raft_message_done(&message);
    }
}

static void run(measured_fn *fn, uint32_t operations) {
    struct frame_load load = {.payload = payload_copy(path_value())};
    struct path_command put;
    path_put(&put, "", 1);
    txn_command_encode(&load.command, &put.command);
    for (uint32_t done = 0; done < operations; done += TOGETHER)
        measured(fn, &load);
    payload_unref(load.payload);
    buf_done(&load.frame);
    buf_done(&load.command);
    arena_done(&load.arena);
}

static void run_requests(uint32_t operations) {
    run(requests, operations);
}

static void run_replies(uint32_t operations) {
    run(replies, operations);
}

static void run_raft_messages(uint32_t operations) {
    run(raft_messages, operations);
}

const struct path paths_frame[] = {
    {"frame_request", "a put's request packed and unpacked, 64 per frame", 1280, run_requests},
    {"frame_reply", "its reply packed and unpacked, 64 per frame", 1280, run_replies},
    {"frame_append", "an append message packed and unpacked, 64 per frame", 1280,
     run_raft_messages},
    {0},
};
