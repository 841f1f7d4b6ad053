#include "range/raft_frame.h"

#include "base/assert.h"
#include "raft/message_codec.h"
#include "range/limits.h"

#define REMOVED_KIND 0u

/* The length comes before what it measures, so it is written as a hole and filled afterwards. */
static size_t message_begin(struct buf *frame, uint64_t range_id) {
    size_t hole = frame->len;
    encode_u32(frame, 0);
    encode_varint(frame, range_id);
    return hole;
}

static void message_end(struct buf *frame, size_t hole) {
    size_t len = frame->len - hole - 4;
    ASSERT_CMP(len, <=, UINT32_MAX);
    for (int i = 0; i < 4; i++)
        frame->data[hole + (size_t)i] = (uint8_t)(len >> (8 * i));
}

void range_raft_frame_begin(struct buf *frame) {
    buf_clear(frame);
    encode_u8(frame, RANGE_RAFT_FRAME_VERSION);
}

void range_raft_frame_add(struct buf *frame, uint64_t range_id, uint64_t conf_version,
                          const struct raft_message *message) {
    ASSERT(message->kind != RAFT_MSG_SNAPSHOT);
    ASSERT_CMP(range_id, !=, 0);
    size_t hole = message_begin(frame, range_id);
    encode_varint(frame, conf_version);
    raft_encode_message(frame, message);
    message_end(frame, hole);
}

void range_raft_frame_add_beat(struct buf *frame, const struct range_beat *beat) {
    size_t hole = message_begin(frame, 0);
    encode_varint(frame, beat->incarnation);
    encode_varint(frame, beat->worker);
    encode_varint(frame, beat->workers);
    message_end(frame, hole);
}

void range_raft_frame_add_removed(struct buf *frame, const struct range_removed_notice *notice) {
    size_t hole = message_begin(frame, notice->descriptor.range_id);
    encode_varint(frame, notice->descriptor.epoch.conf_version);
    encode_u8(frame, REMOVED_KIND);
    encode_varint(frame, notice->replica_id);
    encode_varint(frame, notice->committed.index);
    encode_varint(frame, notice->committed.term);
    range_descriptor_encode(frame, &notice->descriptor);
    message_end(frame, hole);
}

enum status range_raft_frame_decode_removed(struct slice message,
                                            struct range_removed_notice *ret_notice) {
    struct decoder in = decoder_make(message);
    if (decode_u8(&in) != REMOVED_KIND || in.failed) return STATUS_CORRUPTION;
    struct range_removed_notice notice = {.replica_id = decode_varint(&in)};
    notice.committed.index = decode_varint(&in);
    notice.committed.term = decode_varint(&in);
    enum status status = range_descriptor_decode(&in, &notice.descriptor);
    if (status == STATUS_OK && (!decoder_finished(&in) || notice.replica_id == 0))
        status = STATUS_CORRUPTION;
    if (status != STATUS_OK) {
        range_descriptor_done(&notice.descriptor);
        return status;
    }
    *ret_notice = notice;
    return STATUS_OK;
}

void range_raft_frame_copy(struct buf *frame, const struct range_raft_envelope *envelope) {
    if (envelope->range_id == 0) {
        range_raft_frame_add_beat(frame, &envelope->beat);
        return;
    }
    size_t hole = message_begin(frame, envelope->range_id);
    encode_varint(frame, envelope->conf_version);
    buf_append(frame, envelope->message);
    message_end(frame, hole);
}

enum status range_raft_frame_open(struct slice frame, struct decoder *ret_messages) {
    struct decoder in = decoder_make(frame);
    uint8_t version = decode_u8(&in);
    if (in.failed) return STATUS_CORRUPTION;
    if (version != RANGE_RAFT_FRAME_VERSION) return STATUS_UNSUPPORTED;
    struct decoder walk = in;
    struct range_raft_envelope envelope;
    while (range_raft_frame_next(&walk, &envelope)) {
    }
    if (walk.failed) return STATUS_CORRUPTION;
    *ret_messages = in;
    return STATUS_OK;
}

static bool decode_beat(struct decoder *in, struct range_beat *ret_beat) {
    uint64_t incarnation = decode_varint(in), worker = decode_varint(in);
    uint64_t workers = decode_varint(in);
    if (!decoder_finished(in) || incarnation == 0) return false;
    if (workers > RANGE_WORKERS_MAX || worker >= workers) return false;
    *ret_beat = (struct range_beat){incarnation, (uint32_t)worker, (uint32_t)workers};
    return true;
}

static bool decode_message(struct decoder *in, struct range_raft_envelope *envelope) {
    envelope->conf_version = decode_varint(in);
    envelope->message = decode_fixed(in, decoder_left(in));
    if (in->failed || envelope->message.len == 0) return false;
    envelope->removed = envelope->message.data[0] == REMOVED_KIND;
    return true;
}

bool range_raft_frame_next(struct decoder *messages, struct range_raft_envelope *ret_envelope) {
    if (messages->failed || decoder_left(messages) == 0) return false;
    uint32_t len = decode_u32(messages);
    struct decoder body = decoder_make(decode_fixed(messages, len));
    struct range_raft_envelope envelope = {.range_id = decode_varint(&body)};
    bool good = !messages->failed && !body.failed &&
                (envelope.range_id == 0 ? decode_beat(&body, &envelope.beat)
                                        : decode_message(&body, &envelope));
    if (!good) {
        messages->failed = true;
        return false;
    }
    *ret_envelope = envelope;
    return true;
}
