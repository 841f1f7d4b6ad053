/* Bodies of requests (the heads are in request.h):
 *
 *   GET       read_mode u8 ‖ key_count varint ‖ keys (varint length, bytes each)
 *   SCAN      read_mode u8 ‖ flags u8 (bit 0 reverse, bit 1 keys only) ‖ row_limit varint ‖
 *             byte_limit varint ‖ start (varint length, bytes) ‖ end (varint length, bytes)
 *   WRITE     the encoded command, to the end of the call
 *   TRANSFER  to_node varint
 *   CHANGE_REPLICAS  count varint ‖ (change u8 ‖ node varint)*
 *   DESCRIBE  nothing; whatever the epoch says
 *
 * and of replies, by code:
 *
 *   OK                    kind u8 ‖ by kind:
 *     GET                   row_count varint ‖ (version varint ‖ value, only when version > 0)* ‖
 *                           as_of varint, only when the read was stale
 *     SCAN                  flags u8 (bit 0 more) ‖ resume key, only when there is more ‖
 *                           row_count varint ‖ (key ‖ version varint ‖ value)* ‖ as_of varint,
 *                           only when the read was stale
 *     WRITE                 outcome (layout in txn/outcome.c)
 *     TRANSFER              nothing
 *     CHANGE_REPLICAS       descriptor
 *     DESCRIBE              descriptor ‖ term varint ‖ commit index varint ‖ count varint ‖
 *                           (replica id varint ‖ match varint ‖ flags u8 (bit 0 active, bit 1 gets
 *                           a snapshot))*
 *   NOT_LEADER            leader_node varint ‖ present u8 ‖ descriptor when present is 1
 *   STALE_EPOCH           present u8 ‖ descriptor when present is 1
 *   BUSY                  retry_after_us varint
 *   INVALID, UNAVAILABLE  text (varint length, bytes)
 *   others                nothing
 *
 * The length before a call is a fixed u32, because it is filled in after the call was written in
 * place. */
#include "range/request.h"

#include "base/assert.h"

#define LENGTH_BYTES 4u
#define SCAN_REVERSE 1u
#define SCAN_KEYS_ONLY 2u
#define REPLY_MORE 1u
#define PROGRESS_ACTIVE 1u
#define PROGRESS_SNAPSHOT 2u
#define PROGRESS_LOG_LOST 4u

void range_frame_begin(struct buf *frame) {
    buf_clear(frame);
    encode_u8(frame, RANGE_FRAME_VERSION);
}

static size_t call_begin(struct buf *frame) {
    ASSERT_CMP(frame->len, >, 0);
    size_t length_at = frame->len;
    encode_u32(frame, 0);
    return length_at;
}

static void call_end(struct buf *frame, size_t length_at) {
    size_t len = frame->len - length_at - LENGTH_BYTES;
    ASSERT_CMP(len, <=, UINT32_MAX);
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        frame->data[length_at + i] = (uint8_t)(len >> (8 * i));
}

static void encode_changes(struct buf *frame, const struct range_request *request) {
    ASSERT_CMP(request->change_count, <=, RANGE_REPLICAS_MAX);
    encode_varint(frame, request->change_count);
    for (uint32_t i = 0; i < request->change_count; i++) {
        encode_u8(frame, (uint8_t)request->changes[i].kind);
        encode_varint(frame, request->changes[i].node_id);
    }
}

void range_request_encode(struct buf *frame, const struct range_request *request) {
    size_t length_at = call_begin(frame);
    encode_varint(frame, request->call_id);
    encode_u8(frame, (uint8_t)request->kind);
    encode_varint(frame, request->range_id);
    encode_varint(frame, request->epoch.conf_version);
    encode_varint(frame, request->epoch.span_version);
    encode_varint(frame, request->timeout_us);
    switch (request->kind) {
    case RANGE_GET:
        ASSERT_CMP(request->key_count, <=, RANGE_GET_KEYS_MAX);
        encode_u8(frame, (uint8_t)request->read_mode);
        encode_varint(frame, request->key_count);
        for (uint32_t i = 0; i < request->key_count; i++)
            encode_bytes(frame, request->keys[i]);
        break;
    case RANGE_SCAN:
        encode_u8(frame, (uint8_t)request->read_mode);
        encode_u8(frame, (request->reverse ? SCAN_REVERSE : 0) |
                             (request->keys_only ? SCAN_KEYS_ONLY : 0));
        encode_varint(frame, request->row_limit);
        encode_varint(frame, request->byte_limit);
        encode_bytes(frame, request->start);
        encode_bytes(frame, request->end);
        break;
    case RANGE_WRITE:
        buf_append(frame, request->command);
        break;
    case RANGE_TRANSFER:
        encode_varint(frame, request->to_node);
        break;
    case RANGE_CHANGE_REPLICAS:
        encode_changes(frame, request);
        break;
    case RANGE_DESCRIBE:
        break;
    }
    call_end(frame, length_at);
}

static void encode_descriptor(struct buf *frame, const struct range_descriptor *descriptor) {
    encode_u8(frame, descriptor ? 1 : 0);
    if (descriptor) range_descriptor_encode(frame, descriptor);
}

static void encode_rows(struct buf *frame, const struct range_reply *reply) {
    bool scan = reply->kind == RANGE_SCAN;
    if (scan) encode_u8(frame, reply->more ? REPLY_MORE : 0);
    if (scan && reply->more) encode_bytes(frame, reply->resume);
    encode_varint(frame, reply->row_count);
    for (uint32_t i = 0; i < reply->row_count; i++) {
        const struct range_row *row = &reply->rows[i];
        if (scan) encode_bytes(frame, row->key);
        encode_varint(frame, row->version);
        if (scan || row->version > 0) encode_bytes(frame, row->value);
    }
    if (reply->stale) encode_varint(frame, reply->as_of);
}

static void encode_progress(struct buf *frame, const struct range_reply *reply) {
    ASSERT_CMP(reply->progress_count, <=, RANGE_REPLICAS_MAX);
    encode_varint(frame, reply->term);
    encode_varint(frame, reply->commit_index);
    encode_varint(frame, reply->progress_count);
    for (uint32_t i = 0; i < reply->progress_count; i++) {
        const struct range_replica_progress *progress = &reply->progress[i];
        encode_varint(frame, progress->replica_id);
        encode_varint(frame, progress->match);
        encode_u8(frame, (progress->active ? PROGRESS_ACTIVE : 0) |
                             (progress->gets_snapshot ? PROGRESS_SNAPSHOT : 0) |
                             (progress->log_lost ? PROGRESS_LOG_LOST : 0));
    }
}

static void encode_result(struct buf *frame, const struct range_reply *reply) {
    encode_u8(frame, (uint8_t)reply->kind);
    switch (reply->kind) {
    case RANGE_GET:
    case RANGE_SCAN:
        encode_rows(frame, reply);
        break;
    case RANGE_WRITE:
        txn_outcome_encode(frame, &reply->outcome);
        break;
    case RANGE_TRANSFER:
        break;
    case RANGE_CHANGE_REPLICAS:
        range_descriptor_encode(frame, reply->descriptor);
        break;
    case RANGE_DESCRIBE:
        range_descriptor_encode(frame, reply->descriptor);
        encode_progress(frame, reply);
        break;
    }
}

void range_reply_encode(struct buf *frame, const struct range_reply *reply) {
    size_t length_at = call_begin(frame);
    encode_varint(frame, reply->call_id);
    encode_u8(frame, (uint8_t)reply->code);
    switch (reply->code) {
    case RANGE_REPLY_OK:
        encode_result(frame, reply);
        break;
    case RANGE_REPLY_NOT_LEADER:
        encode_varint(frame, reply->leader_node);
        encode_descriptor(frame, reply->descriptor);
        break;
    case RANGE_REPLY_STALE_EPOCH:
        encode_descriptor(frame, reply->descriptor);
        break;
    case RANGE_REPLY_BUSY:
        encode_varint(frame, reply->retry_after_us);
        break;
    case RANGE_REPLY_INVALID:
    case RANGE_REPLY_UNAVAILABLE:
        encode_bytes(frame, reply->text);
        break;
    case RANGE_REPLY_NO_RANGE:
    case RANGE_REPLY_TIMEOUT:
    case RANGE_REPLY_UNKNOWN:
        break;
    }
    call_end(frame, length_at);
}

enum status range_frame_open(struct slice frame, struct decoder *ret_calls) {
    struct decoder calls = decoder_make(frame);
    if (decode_u8(&calls) != RANGE_FRAME_VERSION || calls.failed) return STATUS_CORRUPTION;
    *ret_calls = calls;
    return STATUS_OK;
}

bool range_frame_next(struct decoder *calls, struct slice *ret_call) {
    if (calls->failed || decoder_left(calls) == 0) return false;
    uint32_t len = decode_u32(calls);
    if (len == 0) calls->failed = true; /* no call is empty */
    struct slice call = decode_fixed(calls, len);
    if (calls->failed) return false;
    *ret_call = call;
    return true;
}

/* Counts come from outside and are believed only as far as the bytes can hold them. */
static bool decode_count(struct decoder *in, uint32_t max, uint32_t *ret_count) {
    uint64_t count = decode_varint(in);
    if (count > max || count > decoder_left(in)) in->failed = true;
    *ret_count = in->failed ? 0 : (uint32_t)count;
    return !in->failed;
}

static uint32_t decode_u32_varint(struct decoder *in) {
    uint64_t value = decode_varint(in);
    if (value > UINT32_MAX) in->failed = true;
    return in->failed ? 0 : (uint32_t)value;
}

static void decode_read_mode(struct decoder *in, struct range_request *request) {
    uint8_t mode = decode_u8(in);
    if (mode > RANGE_READ_STALE) in->failed = true;
    request->read_mode = (enum range_read_mode)mode;
}

static void decode_get(struct decoder *in, struct arena *arena, struct range_request *request) {
    decode_read_mode(in, request);
    if (!decode_count(in, RANGE_GET_KEYS_MAX, &request->key_count)) return;
    if (request->key_count > 0)
        request->keys = ARENA_NEW_ARRAY(arena, struct slice, request->key_count);
    for (uint32_t i = 0; i < request->key_count; i++)
        request->keys[i] = decode_bytes(in);
}

static void decode_scan(struct decoder *in, struct range_request *request) {
    decode_read_mode(in, request);
    uint8_t flags = decode_u8(in);
    if (flags > (SCAN_REVERSE | SCAN_KEYS_ONLY)) in->failed = true;
    request->reverse = flags & SCAN_REVERSE;
    request->keys_only = flags & SCAN_KEYS_ONLY;
    request->row_limit = decode_u32_varint(in);
    request->byte_limit = decode_u32_varint(in);
    request->start = decode_bytes(in);
    request->end = decode_bytes(in);
}

static void decode_changes(struct decoder *in, struct arena *arena, struct range_request *request) {
    if (!decode_count(in, RANGE_REPLICAS_MAX, &request->change_count)) return;
    if (request->change_count > 0)
        request->changes =
            ARENA_NEW_ARRAY(arena, struct range_replica_change, request->change_count);
    for (uint32_t i = 0; i < request->change_count; i++) {
        struct range_replica_change *change = &request->changes[i];
        change->kind = (enum range_replica_change_kind)decode_u8(in);
        change->node_id = decode_varint(in);
        if (change->kind < RANGE_ADD_LEARNER || change->kind > RANGE_DEMOTE) in->failed = true;
    }
}

enum status range_request_decode(struct slice call, struct arena *arena,
                                 struct range_request *ret_request) {
    struct decoder in = decoder_make(call);
    struct range_request request = {.call_id = decode_varint(&in)};
    request.kind = (enum range_request_kind)decode_u8(&in);
    request.range_id = decode_varint(&in);
    request.epoch.conf_version = decode_varint(&in);
    request.epoch.span_version = decode_varint(&in);
    request.timeout_us = decode_varint(&in);
    if (in.failed) return STATUS_CORRUPTION;
    switch (request.kind) {
    case RANGE_GET:
        decode_get(&in, arena, &request);
        break;
    case RANGE_SCAN:
        decode_scan(&in, &request);
        break;
    case RANGE_WRITE:
        request.command = decode_fixed(&in, decoder_left(&in));
        break;
    case RANGE_TRANSFER:
        request.to_node = decode_varint(&in);
        break;
    case RANGE_CHANGE_REPLICAS:
        decode_changes(&in, arena, &request);
        break;
    case RANGE_DESCRIBE:
        break;
    default:
        return STATUS_UNSUPPORTED;
    }
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_request = request;
    return STATUS_OK;
}

static void decode_rows(struct decoder *in, struct arena *arena, struct range_reply *reply) {
    bool scan = reply->kind == RANGE_SCAN;
    if (scan) {
        uint8_t flags = decode_u8(in);
        if (flags > REPLY_MORE) in->failed = true;
        reply->more = flags & REPLY_MORE;
        if (reply->more) reply->resume = decode_bytes(in);
        if (reply->more && reply->resume.len == 0) in->failed = true; /* everything ends there */
    }
    uint32_t max = scan ? RANGE_SCAN_ROWS_MAX : RANGE_GET_KEYS_MAX;
    if (!decode_count(in, max, &reply->row_count)) return;
    if (reply->row_count > 0)
        reply->rows = ARENA_NEW_ARRAY(arena, struct range_row, reply->row_count);
    for (uint32_t i = 0; i < reply->row_count; i++) {
        struct range_row *row = &reply->rows[i];
        *row = (struct range_row){0};
        if (scan) row->key = decode_bytes(in);
        row->version = decode_varint(in);
        if (scan || row->version > 0) row->value = decode_bytes(in);
    }
    reply->stale = !in->failed && decoder_left(in) > 0;
    if (reply->stale) reply->as_of = decode_varint(in);
}

static void decode_progress(struct decoder *in, struct arena *arena, struct range_reply *reply) {
    reply->term = decode_varint(in);
    reply->commit_index = decode_varint(in);
    if (!decode_count(in, RANGE_REPLICAS_MAX, &reply->progress_count)) return;
    if (reply->progress_count > 0)
        reply->progress =
            ARENA_NEW_ARRAY(arena, struct range_replica_progress, reply->progress_count);
    for (uint32_t i = 0; i < reply->progress_count; i++) {
        struct range_replica_progress *progress = &reply->progress[i];
        progress->replica_id = decode_varint(in);
        progress->match = decode_varint(in);
        uint8_t flags = decode_u8(in);
        if (flags > (PROGRESS_ACTIVE | PROGRESS_SNAPSHOT | PROGRESS_LOG_LOST)) in->failed = true;
        progress->active = flags & PROGRESS_ACTIVE;
        progress->gets_snapshot = flags & PROGRESS_SNAPSHOT;
        progress->log_lost = flags & PROGRESS_LOG_LOST;
    }
}

static enum status decode_result(struct decoder *in, struct arena *arena,
                                 struct range_descriptor *storage, struct range_reply *reply) {
    reply->kind = (enum range_request_kind)decode_u8(in);
    switch (reply->kind) {
    case RANGE_GET:
    case RANGE_SCAN:
        decode_rows(in, arena, reply);
        return STATUS_OK;
    case RANGE_WRITE:
        return txn_outcome_decode(in, arena, &reply->outcome);
    case RANGE_TRANSFER:
        return STATUS_OK;
    case RANGE_CHANGE_REPLICAS:
        reply->descriptor = storage;
        return range_descriptor_decode(in, storage);
    case RANGE_DESCRIBE:
        reply->descriptor = storage;
        if (range_descriptor_decode(in, storage) != STATUS_OK) return STATUS_CORRUPTION;
        decode_progress(in, arena, reply);
        return STATUS_OK;
    }
    return STATUS_CORRUPTION;
}

static enum status decode_descriptor(struct decoder *in, struct range_descriptor *storage,
                                     struct range_reply *reply) {
    uint8_t present = decode_u8(in);
    if (present > 1) return STATUS_CORRUPTION;
    if (present == 0) return STATUS_OK;
    reply->descriptor = storage;
    return range_descriptor_decode(in, storage);
}

static enum status decode_reply_body(struct decoder *in, struct arena *arena,
                                     struct range_descriptor *storage, struct range_reply *reply) {
    switch (reply->code) {
    case RANGE_REPLY_OK:
        return decode_result(in, arena, storage, reply);
    case RANGE_REPLY_NOT_LEADER:
        reply->leader_node = decode_varint(in);
        return decode_descriptor(in, storage, reply);
    case RANGE_REPLY_STALE_EPOCH:
        return decode_descriptor(in, storage, reply);
    case RANGE_REPLY_BUSY:
        reply->retry_after_us = decode_u32_varint(in);
        return STATUS_OK;
    case RANGE_REPLY_INVALID:
    case RANGE_REPLY_UNAVAILABLE:
        reply->text = decode_bytes(in);
        return STATUS_OK;
    case RANGE_REPLY_NO_RANGE:
    case RANGE_REPLY_TIMEOUT:
    case RANGE_REPLY_UNKNOWN:
        return STATUS_OK;
    }
    return STATUS_CORRUPTION;
}

enum status range_reply_decode(struct slice call, struct arena *arena,
                               struct range_descriptor *descriptor_storage,
                               struct range_reply *ret_reply) {
    struct decoder in = decoder_make(call);
    struct range_reply reply = {.call_id = decode_varint(&in)};
    reply.code = (enum range_reply_code)decode_u8(&in);
    if (in.failed) return STATUS_CORRUPTION;
    enum status status = decode_reply_body(&in, arena, descriptor_storage, &reply);
    if (status != STATUS_OK) return status;
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_reply = reply;
    return STATUS_OK;
}

enum status range_request_peek(struct slice call, uint64_t *ret_call_id, uint64_t *ret_range_id) {
    struct decoder in = decoder_make(call);
    uint64_t call_id = decode_varint(&in);
    (void)decode_u8(&in); /* the kind does not matter for dispatch */
    uint64_t range_id = decode_varint(&in);
    if (in.failed) return STATUS_CORRUPTION;
    *ret_call_id = call_id;
    *ret_range_id = range_id;
    return STATUS_OK;
}
