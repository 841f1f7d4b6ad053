#include <criterion/criterion.h>

#include "base/prng.h"
#include "raft/id_set.h"
#include "raft/message_codec.h"

static struct payload *text(const char *bytes) {
    return payload_copy(slice_from_text(bytes));
}

static void expect_same(const struct raft_message *a, const struct raft_message *b) {
    cr_assert(a->kind == b->kind && a->from == b->from && a->to == b->to && a->term == b->term);
    cr_assert(a->log.term == b->log.term && a->log.index == b->log.index);
    cr_assert(a->commit == b->commit && a->reject == b->reject && a->force == b->force);
    cr_assert_eq(a->quiesce, b->quiesce);
    cr_assert(a->reject_hint == b->reject_hint && a->context == b->context);
    cr_assert(a->sent_us == b->sent_us && a->entry_count == b->entry_count);
    cr_assert_eq(a->truncated, b->truncated);
    cr_assert_eq(a->promised_us, b->promised_us);
    cr_assert(a->committed.term == b->committed.term && a->committed.index == b->committed.index);
    for (uint32_t at = 0; at < a->entry_count; at++) {
        cr_assert(a->entries[at].id.index == b->entries[at].id.index);
        cr_assert(a->entries[at].id.term == b->entries[at].id.term);
        cr_assert(a->entries[at].kind == b->entries[at].kind);
        cr_assert(slice_equal(payload_slice(a->entries[at].payload),
                              payload_slice(b->entries[at].payload)));
    }
    cr_assert_eq(a->snapshot != NULL, b->snapshot != NULL);
    if (!a->snapshot) return;
    cr_assert_eq(a->snapshot->id.index, b->snapshot->id.index);
    cr_assert(raft_id_set_equal(&a->snapshot->conf.learners, &b->snapshot->conf.learners));
    cr_assert(slice_equal(payload_slice(a->snapshot->data), payload_slice(b->snapshot->data)));
}

static enum status decode(struct slice bytes, struct arena *arena, struct raft_message *message) {
    struct decoder in = decoder_make(bytes);
    enum status status = raft_decode_message(&in, arena, message);
    if (status == STATUS_OK && decoder_left(&in) > 0) {
        raft_message_done(message);
        return STATUS_CORRUPTION;
    }
    return status;
}

/* Every kind of message survives its bytes; every proper prefix is refused. */
Test(raft_codec, survives_its_bytes_and_refuses_any_prefix) {
    struct raft_entry entries[] = {{.id = {2, 11}, .payload = text("a")},
                                   {.id = {3, 12}, .kind = RAFT_ENTRY_CONF_CHANGE_V2}};
    struct raft_snapshot snapshot = {.id = {4, 99}, .data = text("where to fetch it")};
    snapshot.conf.voters = (struct raft_id_set){3, {1, 2, UINT64_MAX}};
    snapshot.conf.learners = (struct raft_id_set){1, {7}};
    struct arena arena;
    arena_init(&arena, 0);
    for (int kind = RAFT_MSG_APPEND; kind <= RAFT_MSG_FORGET_LEADER; kind++) {
        struct raft_message message = {.kind = (enum raft_message_kind)kind,
                                       .from = 1,
                                       .to = UINT64_MAX,
                                       .term = 5,
                                       .log = {2, 10},
                                       .commit = 9,
                                       .reject = kind % 2,
                                       .force = kind % 3 == 0,
                                       .quiesce = kind % 4 == 3,
                                       .reject_hint = 8,
                                       .committed = {1, (uint64_t)(kind % 2)},
                                       .context = 1234567,
                                       .sent_us = UINT64_MAX,
                                       .truncated = kind % 3 == 1 ? 7 : 0,
                                       .promised_us = kind % 3 == 2 ? 150000 : 0};
        if (message.committed.index == 0) message.committed.term = 0;
        if (kind == RAFT_MSG_APPEND || kind == RAFT_MSG_PROPOSE) {
            message.entries = entries;
            message.entry_count = 2;
        }
        if (kind == RAFT_MSG_SNAPSHOT) message.snapshot = &snapshot;
        struct buf bytes = {0};
        raft_encode_message(&bytes, &message);
        struct raft_message decoded;
        cr_assert_eq(decode(slice_from_buf(&bytes), &arena, &decoded), STATUS_OK);
        expect_same(&message, &decoded);
        raft_message_done(&decoded);
        for (size_t len = 0; len < bytes.len; len++) {
            cr_expect_eq(decode(slice_make(bytes.data, len), &arena, &decoded), STATUS_CORRUPTION,
                         "kind %d cut at %zu", kind, len);
        }
        buf_done(&bytes);
    }
    payload_unref(entries[0].payload);
    payload_unref(snapshot.data);
    arena_done(&arena);
}

/* Flipped bits are decoded to something or refused; nothing leaks, nothing is trusted. */
Test(raft_codec, bears_flipped_bits) {
    struct raft_entry entries[] = {{.id = {2, 11}, .payload = text("a longer payload")},
                                   {.id = {3, 12}, .payload = text("b")}};
    struct raft_message message = {.kind = RAFT_MSG_APPEND,
                                   .from = 1,
                                   .to = 2,
                                   .term = 5,
                                   .log = {2, 10},
                                   .entry_count = 2,
                                   .entries = entries};
    struct buf bytes = {0};
    raft_encode_message(&bytes, &message);
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct raft_message decoded;
        if (decode(slice_from_buf(&bytes), &arena, &decoded) == STATUS_OK) {
            raft_message_done(&decoded);
        }
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        arena_reset(&arena);
    }
    arena_done(&arena);
    buf_done(&bytes);
    payload_unref(entries[0].payload);
    payload_unref(entries[1].payload);
}

/* A count that promises more entries than there are bytes allocates nothing for them. */
Test(raft_codec, refuses_counts_beyond_the_bytes) {
    struct raft_message message = {.kind = RAFT_MSG_APPEND, .from = 1, .to = 2, .term = 1};
    struct buf bytes = {0};
    raft_encode_message(&bytes, &message);
    bytes.len--; /* the entry count */
    encode_varint(&bytes, 1000000);
    struct arena arena;
    arena_init(&arena, 0);
    struct raft_message decoded;
    cr_assert_eq(decode(slice_from_buf(&bytes), &arena, &decoded), STATUS_CORRUPTION);
    cr_assert_eq(arena.used_bytes, 0);
    arena_done(&arena);
    buf_done(&bytes);
}

/* Stored entries, hard states and configurations. */
Test(raft_codec, survives_storage) {
    struct raft_entry entry = {
        .id = {7, 21}, .kind = RAFT_ENTRY_CONF_CHANGE, .payload = text("bytes")};
    struct buf bytes = {0};
    raft_encode_entry(&bytes, &entry);
    struct raft_entry decoded;
    cr_assert_eq(raft_decode_entry(slice_from_buf(&bytes), 21, &decoded), STATUS_OK);
    cr_assert(decoded.id.term == 7 && decoded.id.index == 21 && decoded.kind == entry.kind);
    cr_assert(slice_equal(payload_slice(decoded.payload), payload_slice(entry.payload)));
    payload_unref(decoded.payload);
    payload_unref(entry.payload);
    bytes.data[0] = 9;
    cr_assert_eq(raft_decode_entry(slice_from_buf(&bytes), 21, &decoded), STATUS_CORRUPTION);
    cr_assert_eq(raft_decode_entry(SLICE_EMPTY, 21, &decoded), STATUS_CORRUPTION);

    buf_clear(&bytes);
    struct raft_hard_state state = {5, UINT64_MAX, 77}, state_again;
    raft_encode_hard_state(&bytes, &state);
    cr_assert_eq(raft_decode_hard_state(slice_from_buf(&bytes), &state_again), STATUS_OK);
    cr_assert(memcmp(&state, &state_again, sizeof(state)) == 0);
    buf_append_byte(&bytes, 0);
    cr_assert_eq(raft_decode_hard_state(slice_from_buf(&bytes), &state_again), STATUS_CORRUPTION);

    buf_clear(&bytes);
    struct raft_conf_state conf = {.voters = {2, {1, 4}},
                                   .voters_outgoing = {3, {1, 2, 3}},
                                   .learners_next = {1, {3}},
                                   .auto_leave = true};
    raft_encode_conf_state(&bytes, &conf);
    struct raft_conf_state conf_again;
    struct decoder in = decoder_make(slice_from_buf(&bytes));
    cr_assert_eq(raft_decode_conf_state(&in, &conf_again), STATUS_OK);
    cr_assert(decoder_finished(&in) && conf_again.auto_leave);
    cr_assert(raft_id_set_equal(&conf.voters_outgoing, &conf_again.voters_outgoing));
    conf.learners_next.ids[0] = 9; /* no voter of the outgoing half */
    buf_clear(&bytes);
    raft_encode_conf_state(&bytes, &conf);
    in = decoder_make(slice_from_buf(&bytes));
    cr_assert_eq(raft_decode_conf_state(&in, &conf_again), STATUS_CORRUPTION);
    buf_done(&bytes);
}
