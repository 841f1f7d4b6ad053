/* Layouts. Integers are varints unless a size is given; positions are (term, index).
 *
 *   message     kind u8 ‖ flags u8 ‖ from ‖ to ‖ term ‖ log ‖ commit ‖ reject_hint ‖ context ‖
 *               sent_us ‖ entry count ‖ entries ‖ [snapshot]
 *   flags       1 reject, 2 force, 4 snapshot present
 *   entry       term ‖ kind u8 ‖ payload (length, bytes); its index follows from the one before
 *   snapshot    id ‖ conf state ‖ data (length, bytes)
 *   conf state  four sets (count ‖ ids ascending) ‖ auto_leave u8
 *   hard state  version u8 ‖ term ‖ vote ‖ commit
 *   stored entry  version u8 ‖ term ‖ kind u8 ‖ payload bytes to the end ‖ checksum u64 over index
 * and all before */
#include "raft/message_codec.h"

#include "base/assert.h"
#include "raft/configuration.h"
#include "raft/limits.h"

#define FORMAT_VERSION 1u
#define FLAG_REJECT 1u
#define FLAG_FORCE 2u
#define FLAG_SNAPSHOT 4u
#define CHECKSUM_BYTES 8u

static void encode_log_id(struct buf *out, struct raft_log_id id) {
    encode_varint(out, id.term);
    encode_varint(out, id.index);
}

static struct raft_log_id decode_log_id(struct decoder *in) {
    struct raft_log_id id;
    id.term = decode_varint(in);
    id.index = decode_varint(in);
    return id;
}

static void encode_snapshot(struct buf *out, const struct raft_snapshot *snapshot) {
    encode_log_id(out, snapshot->id);
    raft_encode_conf_state(out, &snapshot->conf);
    encode_bytes(out, payload_slice(snapshot->data));
}

void raft_encode_message(struct buf *out, const struct raft_message *message) {
    unsigned flags = (message->reject ? FLAG_REJECT : 0) | (message->force ? FLAG_FORCE : 0) |
                     (message->snapshot ? FLAG_SNAPSHOT : 0);
    ASSERT_CMP(message->entry_count, <=, RAFT_MESSAGE_ENTRIES_MAX);
    encode_u8(out, (uint8_t)message->kind);
    encode_u8(out, (uint8_t)flags);
    encode_varint(out, message->from);
    encode_varint(out, message->to);
    encode_varint(out, message->term);
    encode_log_id(out, message->log);
    encode_varint(out, message->commit);
    encode_varint(out, message->reject_hint);
    encode_varint(out, message->context);
    encode_varint(out, message->sent_us);
    encode_varint(out, message->entry_count);
    for (uint32_t at = 0; at < message->entry_count; at++) {
        const struct raft_entry *entry = &message->entries[at];
        ASSERT_CMP(entry->id.index, ==, message->entries[0].id.index + at);
        encode_varint(out, entry->id.term);
        encode_u8(out, (uint8_t)entry->kind);
        encode_bytes(out, payload_slice(entry->payload));
    }
    if (message->entry_count > 0) encode_varint(out, message->entries[0].id.index);
    if (message->snapshot) encode_snapshot(out, message->snapshot);
}

static bool entry_kind_known(uint8_t kind) {
    return kind <= RAFT_ENTRY_CONF_CHANGE_V2;
}

static bool decode_entries(struct decoder *in, struct arena *arena, struct raft_message *message) {
    uint64_t count = decode_varint(in);
    /* Three bytes are the least an entry takes: a lie about the count allocates nothing. */
    if (in->failed || count > RAFT_MESSAGE_ENTRIES_MAX || count > decoder_left(in) / 3) {
        return count == 0 && !in->failed;
    }
    if (count == 0) return true;
    message->entries = ARENA_NEW_ARRAY(arena, struct raft_entry, count);
    for (; message->entry_count < count; message->entry_count++) {
        uint64_t term = decode_varint(in);
        uint8_t kind = decode_u8(in);
        struct slice bytes = decode_bytes(in);
        if (in->failed || !entry_kind_known(kind)) return false;
        message->entries[message->entry_count] =
            (struct raft_entry){.id = {.term = term},
                                .kind = (enum raft_entry_kind)kind,
                                .payload = bytes.len > 0 ? payload_copy(bytes) : NULL};
    }
    uint64_t first = decode_varint(in);
    if (in->failed || first == 0 || first > RAFT_INDEX_MAX) return false;
    for (uint32_t at = 0; at < message->entry_count; at++) {
        message->entries[at].id.index = first + at;
    }
    return true;
}

static bool decode_snapshot(struct decoder *in, struct arena *arena, struct raft_message *message) {
    struct raft_snapshot *snapshot = ARENA_NEW_ARRAY(arena, struct raft_snapshot, 1);
    *snapshot = (struct raft_snapshot){0};
    snapshot->id = decode_log_id(in);
    if (raft_decode_conf_state(in, &snapshot->conf) != STATUS_OK) return false;
    struct slice data = decode_bytes(in);
    if (in->failed || snapshot->id.index > RAFT_INDEX_MAX) return false;
    if (data.len > 0) snapshot->data = payload_copy(data);
    message->snapshot = snapshot;
    return true;
}

enum status raft_decode_message(struct decoder *in, struct arena *arena,
                                struct raft_message *ret_message) {
    struct raft_message message = {0};
    uint8_t kind = decode_u8(in);
    uint8_t flags = decode_u8(in);
    message.kind = (enum raft_message_kind)kind;
    message.from = decode_varint(in);
    message.to = decode_varint(in);
    message.term = decode_varint(in);
    message.log = decode_log_id(in);
    message.commit = decode_varint(in);
    message.reject_hint = decode_varint(in);
    message.context = decode_varint(in);
    message.sent_us = decode_varint(in);
    message.reject = flags & FLAG_REJECT;
    message.force = flags & FLAG_FORCE;
    bool sane = !in->failed && kind >= RAFT_MSG_APPEND && kind <= RAFT_MSG_FORGET_LEADER &&
                (flags & ~(FLAG_REJECT | FLAG_FORCE | FLAG_SNAPSHOT)) == 0 &&
                message.term <= RAFT_TERM_MAX && message.log.index <= RAFT_INDEX_MAX;
    sane = sane && decode_entries(in, arena, &message);
    if (sane && (flags & FLAG_SNAPSHOT)) sane = decode_snapshot(in, arena, &message);
    if (!sane) {
        raft_message_done(&message);
        return STATUS_CORRUPTION;
    }
    *ret_message = message;
    return STATUS_OK;
}

void raft_message_done(struct raft_message *message) {
    for (uint32_t at = 0; at < message->entry_count; at++) {
        payload_unref(message->entries[at].payload);
    }
    if (message->snapshot) payload_unref(message->snapshot->data);
    message->entry_count = 0;
    message->entries = NULL;
    message->snapshot = NULL;
}

/* ---- on disk ---- */

void raft_encode_entry(struct buf *out, const struct raft_entry *entry) {
    size_t start = out->len;
    encode_u8(out, FORMAT_VERSION);
    encode_varint(out, entry->id.term);
    encode_u8(out, (uint8_t)entry->kind);
    buf_append(out, payload_slice(entry->payload));
    struct slice covered = slice_make(out->data + start, out->len - start);
    encode_u64(out, checksum64_seeded(covered, entry->id.index));
}

enum status raft_decode_entry(struct slice bytes, uint64_t index, struct raft_entry *ret_entry) {
    if (bytes.len < CHECKSUM_BYTES) return STATUS_CORRUPTION;
    struct slice covered = slice_make(bytes.data, bytes.len - CHECKSUM_BYTES);
    struct decoder tail = decoder_make(slice_make(bytes.data + covered.len, CHECKSUM_BYTES));
    if (decode_u64(&tail) != checksum64_seeded(covered, index)) return STATUS_CORRUPTION;
    struct decoder in = decoder_make(covered);
    uint8_t version = decode_u8(&in);
    uint64_t term = decode_varint(&in);
    uint8_t kind = decode_u8(&in);
    if (in.failed || !entry_kind_known(kind)) return STATUS_CORRUPTION;
    if (version != FORMAT_VERSION) return STATUS_UNSUPPORTED;
    struct slice data = decode_fixed(&in, decoder_left(&in));
    *ret_entry = (struct raft_entry){.id = {term, index},
                                     .kind = (enum raft_entry_kind)kind,
                                     .payload = data.len > 0 ? payload_copy(data) : NULL};
    return STATUS_OK;
}

void raft_encode_hard_state(struct buf *out, const struct raft_hard_state *hard_state) {
    encode_u8(out, FORMAT_VERSION);
    encode_varint(out, hard_state->term);
    encode_varint(out, hard_state->vote);
    encode_varint(out, hard_state->commit);
}

enum status raft_decode_hard_state(struct slice bytes, struct raft_hard_state *ret) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    struct raft_hard_state hard_state;
    hard_state.term = decode_varint(&in);
    hard_state.vote = decode_varint(&in);
    hard_state.commit = decode_varint(&in);
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    if (version != FORMAT_VERSION) return STATUS_UNSUPPORTED;
    *ret = hard_state;
    return STATUS_OK;
}

static void encode_id_set(struct buf *out, const struct raft_id_set *set) {
    encode_varint(out, set->count);
    for (uint32_t at = 0; at < set->count; at++) {
        encode_varint(out, set->ids[at]);
    }
}

static void decode_id_set(struct decoder *in, struct raft_id_set *set) {
    uint64_t count = decode_varint(in);
    if (count > RAFT_REPLICAS_MAX) {
        in->failed = true;
        return;
    }
    set->count = (uint32_t)count;
    for (uint32_t at = 0; at < set->count; at++) {
        set->ids[at] = decode_varint(in);
    }
}

void raft_encode_conf_state(struct buf *out, const struct raft_conf_state *conf) {
    encode_id_set(out, &conf->voters);
    encode_id_set(out, &conf->voters_outgoing);
    encode_id_set(out, &conf->learners);
    encode_id_set(out, &conf->learners_next);
    encode_u8(out, conf->auto_leave);
}

enum status raft_decode_conf_state(struct decoder *in, struct raft_conf_state *ret) {
    struct raft_conf_state conf = {0};
    decode_id_set(in, &conf.voters);
    decode_id_set(in, &conf.voters_outgoing);
    decode_id_set(in, &conf.learners);
    decode_id_set(in, &conf.learners_next);
    uint8_t auto_leave = decode_u8(in);
    conf.auto_leave = auto_leave == 1;
    if (in->failed || auto_leave > 1 || !raft_conf_state_valid(&conf)) return STATUS_CORRUPTION;
    *ret = conf;
    return STATUS_OK;
}
