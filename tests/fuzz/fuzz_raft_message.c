/* A Raft message from any bytes: refused, or decoded and then the same after another round, and
 * safe to step through a replica in any role, which afterwards still holds its invariants. */
#include "base/arena.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/message_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OWN_ID 1u

static uint64_t first_index(void *ctx) {
    return 11;
}

static uint64_t last_index(void *ctx) {
    return 10;
}

static enum status term_at(void *ctx, uint64_t index, uint64_t *ret_term) {
    if (index != 10) return index < 10 ? STATUS_COMPACTED : STATUS_NOT_FOUND;
    *ret_term = 1;
    return STATUS_OK;
}

static enum status no_entries(void *ctx, uint64_t first, uint64_t last, size_t max_bytes,
                              struct raft_entry *ret_entries, uint32_t *ret_count) {
    return STATUS_COMPACTED;
}

static enum status no_snapshot(void *ctx, uint64_t to, struct raft_snapshot *ret_snapshot) {
    return STATUS_BUSY;
}

static uint64_t random_zero(void *ctx, uint64_t bound) {
    return 0;
}

/* A group of three; one input byte chooses how far this replica got. */
static struct raft *replica_new(uint8_t choice) {
    struct raft_config config = {.id = OWN_ID,
                                 .election_ticks = 10,
                                 .heartbeat_ticks = 1,
                                 .tick_us = 1000,
                                 .pre_vote = choice & 1,
                                 .check_quorum = choice & 2,
                                 .async_storage_writes = true,
                                 .forward_proposals = choice & 4,
                                 .quiesce_ticks = choice & 16 ? 1 : 0,
                                 .random = random_zero};
    struct raft_storage storage = {.first_index = first_index,
                                   .last_index = last_index,
                                   .term = term_at,
                                   .entries = no_entries,
                                   .snapshot = no_snapshot};
    struct raft_hard_state hard_state = {.term = 2, .commit = 10};
    struct raft_conf_state conf = {.voters = {3, {1, 2, 3}}};
    struct raft *raft = raft_new(&config, &storage, &hard_state, &conf, 10);
    raft_set_now(raft, 1000000);
    return raft;
}

static void step(struct raft *raft, const struct raft_message *message) {
    enum status status = raft_step(raft, message);
    ASSERT(status == STATUS_OK || status == STATUS_INVALID || status == STATUS_DROPPED ||
           status == STATUS_NOT_FOUND || status == STATUS_BUSY);
    raft_check(raft);
}

/* Lets everything become durable that can without a disk to read back from. */
static void drain(struct raft *raft) {
    for (int round = 0; round < 8 && raft_has_ready(raft); round++) {
        struct raft_ready ready;
        raft_ready(raft, &ready);
        for (uint32_t at = 0; at < ready.message_after_append_count; at++) {
            if (ready.messages_after_append[at].to == OWN_ID) {
                step(raft, &ready.messages_after_append[at]);
            }
        }
    }
}

static void make_leader(struct raft *raft) {
    enum status status = raft_campaign(raft);
    ASSERT(status == STATUS_OK);
    drain(raft);
    struct raft_message vote = {.from = 2, .to = OWN_ID, .term = 3};
    vote.kind = RAFT_MSG_PRE_VOTE_RESPONSE;
    if (raft_role(raft) == RAFT_PRE_CANDIDATE) step(raft, &vote);
    drain(raft);
    vote.kind = RAFT_MSG_VOTE_RESPONSE;
    if (raft_role(raft) == RAFT_CANDIDATE) step(raft, &vote);
    drain(raft);
    ASSERT(raft_role(raft) == RAFT_LEADER);
}

static void expect_stable_encoding(const struct raft_message *message, struct arena *arena) {
    struct buf once = {0}, twice = {0};
    raft_encode_message(&once, message);
    struct decoder in = decoder_make(slice_from_buf(&once));
    struct raft_message again;
    enum status status = raft_decode_message(&in, arena, &again);
    ASSERT(status == STATUS_OK && decoder_finished(&in));
    raft_encode_message(&twice, &again);
    ASSERT(slice_equal(slice_from_buf(&once), slice_from_buf(&twice)));
    raft_message_done(&again);
    buf_done(&once);
    buf_done(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    log_set_level(LOG_NONE);
    struct arena arena;
    arena_init(&arena, 0);
    struct raft *raft = replica_new(data[0]);
    if (data[0] & 8) make_leader(raft);
    struct decoder in = decoder_make(slice_make(data + 1, size - 1));
    struct raft_message message;
    while (decoder_left(&in) > 0 && raft_decode_message(&in, &arena, &message) == STATUS_OK) {
        expect_stable_encoding(&message, &arena);
        step(raft, &message);
        message.to = OWN_ID; /* past the first check as well */
        step(raft, &message);
        drain(raft);
        raft_tick(raft);
        raft_check(raft);
        drain(raft);
        raft_message_done(&message);
    }
    raft_free(raft);
    arena_done(&arena);
    return 0;
}
