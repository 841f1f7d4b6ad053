/* Bytes of messages, entries and states. Integers are varints unless said otherwise.
 *
 * Message:
 *   u8 kind | u8 flags (1 reject, 2 force, 4 snapshot, 8 committed, 16 quiesce, 32 truncated,
 *                       64 promised; others 0)
 *   from | to | term | log term | log index | commit | reject hint | context | sent_us
 *   entry count | entries: term, index (not in appends: it follows from log index), u8 kind,
 *                          length and bytes of the payload
 *   committed, if flagged: term | index
 *   truncated, if flagged
 *   promised_us, if flagged
 *   snapshot, if flagged: term | index | configuration | length and bytes of the data
 * Entry as stored:  u8 kind | term | payload to the end
 * Hard state:       u8 version (1) | term | vote | commit
 * Configuration:    four sets (voters, outgoing, learners, learners next): count, ids ascending |
 *                   u8 auto leave (0 or 1)
 *
 * An empty payload and none are the same thing. */
#include "raft/message_codec.h"

#include "raft/configuration.h"
#include "raft/limits.h"

enum {
    FLAG_REJECT = 1,
    FLAG_FORCE = 2,
    FLAG_SNAPSHOT = 4,
    FLAG_COMMITTED = 8,
    FLAG_QUIESCE = 16,
    FLAG_TRUNCATED = 32,
    FLAG_PROMISED = 64,
    FLAGS_ALL = 127
};
enum { HARD_STATE_VERSION = 1 };
/* term, index or nothing, kind, payload length: what an entry takes at the least. */
enum { ENTRY_BYTES_MIN = 3 };

/* ---- encoding ---- */

static void encode_log_id(struct buf *out, struct raft_log_id id) {
    encode_varint(out, id.term);
    encode_varint(out, id.index);
}

static void encode_snapshot(struct buf *out, const struct raft_snapshot *snapshot) {
    encode_log_id(out, snapshot->id);
    raft_encode_conf_state(out, &snapshot->conf);
    encode_bytes(out, payload_slice(snapshot->data));
}

void raft_encode_message(struct buf *out, const struct raft_message *message) {
    encode_u8(out, (uint8_t)message->kind);
    encode_u8(out,
              (uint8_t)((message->reject ? FLAG_REJECT : 0) | (message->force ? FLAG_FORCE : 0) |
                        (message->snapshot ? FLAG_SNAPSHOT : 0) |
                        (message->committed.index ? FLAG_COMMITTED : 0) |
                        (message->quiesce ? FLAG_QUIESCE : 0) |
                        (message->truncated ? FLAG_TRUNCATED : 0) |
                        (message->promised_us ? FLAG_PROMISED : 0)));
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
        encode_varint(out, entry->id.term);
        if (message->kind != RAFT_MSG_APPEND) encode_varint(out, entry->id.index);
        encode_u8(out, (uint8_t)entry->kind);
        encode_bytes(out, payload_slice(entry->payload));
    }
    if (message->committed.index) encode_log_id(out, message->committed);
    if (message->truncated) encode_varint(out, message->truncated);
    if (message->promised_us) encode_varint(out, message->promised_us);
    if (message->snapshot) encode_snapshot(out, message->snapshot);
}

void raft_encode_entry(struct buf *out, const struct raft_entry *entry) {
    encode_u8(out, (uint8_t)entry->kind);
    encode_varint(out, entry->id.term);
    buf_append(out, payload_slice(entry->payload));
}

void raft_encode_hard_state(struct buf *out, const struct raft_hard_state *hard_state) {
    encode_u8(out, HARD_STATE_VERSION);
    encode_varint(out, hard_state->term);
    encode_varint(out, hard_state->vote);
    encode_varint(out, hard_state->commit);
}

static void encode_id_set(struct buf *out, const struct raft_id_set *set) {
    encode_varint(out, set->count);
    for (uint32_t at = 0; at < set->count; at++) {
        encode_varint(out, set->ids[at]);
    }
}

void raft_encode_conf_state(struct buf *out, const struct raft_conf_state *conf) {
    encode_id_set(out, &conf->voters);
    encode_id_set(out, &conf->voters_outgoing);
    encode_id_set(out, &conf->learners);
    encode_id_set(out, &conf->learners_next);
    encode_u8(out, conf->auto_leave);
}

/* ---- decoding ---- */

static struct raft_log_id decode_log_id(struct decoder *in) {
    uint64_t term = decode_varint(in);
    uint64_t index = decode_varint(in);
    return (struct raft_log_id){term, index};
}

static struct payload *payload_of(struct slice bytes) {
    return bytes.len ? payload_copy(bytes) : NULL;
}

static bool decode_entries(struct decoder *in, struct arena *arena, struct raft_message *message) {
    uint64_t count = decode_varint(in);
    if (in->failed || count > RAFT_MESSAGE_ENTRIES_MAX ||
        count > decoder_left(in) / ENTRY_BYTES_MIN) {
        return false;
    }
    if (count == 0) return true;
    message->entries = ARENA_NEW_ARRAY(arena, struct raft_entry, count);
    for (uint64_t at = 0; at < count; at++) {
        struct raft_entry entry = {.id.term = decode_varint(in)};
        entry.id.index =
            message->kind == RAFT_MSG_APPEND ? message->log.index + 1 + at : decode_varint(in);
        uint8_t kind = decode_u8(in);
        struct slice bytes = decode_bytes(in);
        if (in->failed || kind > RAFT_ENTRY_CONF_CHANGE_V2) return false;
        entry.kind = (enum raft_entry_kind)kind;
        entry.payload = payload_of(bytes);
        message->entries[at] = entry;
        message->entry_count++;
    }
    return true;
}

static bool decode_snapshot(struct decoder *in, struct arena *arena, struct raft_message *message) {
    struct raft_snapshot snapshot = {.id = decode_log_id(in)};
    if (raft_decode_conf_state(in, &snapshot.conf) != STATUS_OK) return false;
    struct slice bytes = decode_bytes(in);
    if (in->failed) return false;
    snapshot.data = payload_of(bytes);
    message->snapshot = ARENA_NEW_ARRAY(arena, struct raft_snapshot, 1);
    *message->snapshot = snapshot;
    return true;
}

enum status raft_decode_message(struct decoder *in, struct arena *arena,
                                struct raft_message *ret_message) {
    uint8_t kind = decode_u8(in);
    uint8_t flags = decode_u8(in);
    if (in->failed || kind < RAFT_MSG_APPEND || kind > RAFT_MSG_FORGET_LEADER ||
        (flags & ~FLAGS_ALL)) {
        return STATUS_CORRUPTION;
    }
    struct raft_message message = {.kind = (enum raft_message_kind)kind,
                                   .reject = flags & FLAG_REJECT,
                                   .force = flags & FLAG_FORCE,
                                   .quiesce = flags & FLAG_QUIESCE};
    message.from = decode_varint(in);
    message.to = decode_varint(in);
    message.term = decode_varint(in);
    message.log = decode_log_id(in);
    message.commit = decode_varint(in);
    message.reject_hint = decode_varint(in);
    message.context = decode_varint(in);
    message.sent_us = decode_varint(in);
    bool decoded = decode_entries(in, arena, &message);
    if (decoded && (flags & FLAG_COMMITTED)) message.committed = decode_log_id(in);
    if (decoded && (flags & FLAG_TRUNCATED)) message.truncated = decode_varint(in);
    if (decoded && (flags & FLAG_PROMISED)) message.promised_us = decode_varint(in);
    if (!decoded || in->failed ||
        ((flags & FLAG_SNAPSHOT) && !decode_snapshot(in, arena, &message))) {
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
    message->entries = NULL; /* the arena's */
    message->snapshot = NULL;
}

enum status raft_decode_entry(struct slice bytes, uint64_t index, struct raft_entry *ret_entry) {
    struct decoder in = decoder_make(bytes);
    uint8_t kind = decode_u8(&in);
    uint64_t term = decode_varint(&in);
    struct slice payload = decode_fixed(&in, decoder_left(&in));
    if (!decoder_finished(&in) || kind > RAFT_ENTRY_CONF_CHANGE_V2 || term > RAFT_TERM_MAX) {
        return STATUS_CORRUPTION;
    }
    *ret_entry = (struct raft_entry){
        .id = {term, index}, .kind = (enum raft_entry_kind)kind, .payload = payload_of(payload)};
    return STATUS_OK;
}

enum status raft_decode_hard_state(struct slice bytes, struct raft_hard_state *ret) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    struct raft_hard_state hard_state = {.term = decode_varint(&in)};
    hard_state.vote = decode_varint(&in);
    hard_state.commit = decode_varint(&in);
    if (!decoder_finished(&in) || version != HARD_STATE_VERSION ||
        hard_state.term > RAFT_TERM_MAX || hard_state.commit > RAFT_INDEX_MAX) {
        return STATUS_CORRUPTION;
    }
    *ret = hard_state;
    return STATUS_OK;
}

static bool decode_id_set(struct decoder *in, struct raft_id_set *ret_set) {
    uint64_t count = decode_varint(in);
    if (in->failed || count > RAFT_REPLICAS_MAX) return false;
    ret_set->count = (uint32_t)count;
    for (uint32_t at = 0; at < ret_set->count; at++) {
        ret_set->ids[at] = decode_varint(in);
    }
    return !in->failed;
}

enum status raft_decode_conf_state(struct decoder *in, struct raft_conf_state *ret) {
    struct raft_conf_state conf = {0};
    if (!decode_id_set(in, &conf.voters) || !decode_id_set(in, &conf.voters_outgoing) ||
        !decode_id_set(in, &conf.learners) || !decode_id_set(in, &conf.learners_next)) {
        return STATUS_CORRUPTION;
    }
    uint8_t auto_leave = decode_u8(in);
    conf.auto_leave = auto_leave == 1;
    if (in->failed || auto_leave > 1 || !raft_conf_state_valid(&conf)) return STATUS_CORRUPTION;
    *ret = conf;
    return STATUS_OK;
}
