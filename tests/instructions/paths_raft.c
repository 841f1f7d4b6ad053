/* The Raft core alone: three members that hand messages to each other without a network, as a store
 * drives them (raft/raft.h, "A turn of the owner"). */
#include "base/assert.h"
#include "base/memory.h"
#include "tests/instructions/paths.h"
#include "tests/raft/disk.h"

#define MEMBERS 3u

struct members {
    struct raft *rafts[MEMBERS];
    struct disk disks[MEMBERS];
    uint32_t per_turn; /* proposals that the leader takes together */
};

static uint64_t no_randomness(void *ctx, uint64_t bound) {
    return 0;
}

static void start(struct members *members) {
    struct raft_conf_state conf = {.voters = {.count = MEMBERS, .ids = {1, 2, 3}}};
    for (uint32_t i = 0; i < MEMBERS; i++) {
        struct raft_config config = {.id = i + 1,
                                     .election_ticks = 15,
                                     .heartbeat_ticks = 5,
                                     .tick_us = 10000,
                                     .pre_vote = true,
                                     .check_quorum = true,
                                     .async_storage_writes = true,
                                     .coalesce_appends = true,
                                     .append_bytes_max = 1u << 20,
                                     .apply_bytes_max = 64u << 20,
                                     .cache_bytes_max = 1u << 20,
                                     .inflight_messages_max = 64,
                                     .random = no_randomness};
        struct raft_storage storage = disk_storage(&members->disks[i]);
        members->rafts[i] = raft_new(&config, &storage, &members->disks[i].hard_state, &conf, 0);
    }
}

static void deliver(struct members *members, const struct raft_message *messages, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        enum status status = raft_step(members->rafts[messages[i].to - 1], &messages[i]);
        ASSERT_CMP(status, ==, STATUS_OK);
    }
}

static void take_ready(struct members *members, uint32_t index) {
    struct raft *raft = members->rafts[index];
    struct raft_ready ready;
    raft_ready(raft, &ready);
    deliver(members, ready.messages, ready.message_count);
    disk_write(&members->disks[index], &ready);
    if (ready.append.any) raft_append_done(raft, &ready.append);
    deliver(members, ready.messages_after_append, ready.message_after_append_count);
    if (ready.committed_count == 0) return;
    size_t bytes = 0;
    for (uint32_t i = 0; i < ready.committed_count; i++)
        bytes += payload_slice(ready.committed[i].payload).len;
    raft_apply_done(raft, ready.committed[ready.committed_count - 1].id.index, bytes);
}

static void settle(struct members *members) {
    for (bool busy = true; busy;) {
        busy = false;
        for (uint32_t i = 0; i < MEMBERS; i++) {
            if (!raft_has_ready(members->rafts[i])) continue;
            take_ready(members, i);
            busy = true;
        }
    }
}

static void one_turn(void *ctx) {
    struct members *members = ctx;
    for (uint32_t i = 0; i < members->per_turn; i++) {
        struct payload *payload = payload_copy(path_value());
        enum status status = raft_propose(members->rafts[0], payload, NULL);
        ASSERT_CMP(status, ==, STATUS_OK);
        payload_unref(payload);
    }
    settle(members);
}

static void run(uint32_t operations, uint32_t per_turn) {
    struct members members = {.per_turn = per_turn};
    start(&members);
    enum status status = raft_campaign(members.rafts[0]);
    ASSERT_CMP(status, ==, STATUS_OK);
    settle(&members);
    ASSERT(raft_role(members.rafts[0]) == RAFT_LEADER);
    for (uint32_t done = 0; done < operations; done += per_turn)
        measured(one_turn, &members);
    ASSERT_CMP(raft_commit_index(members.rafts[0]), >, operations);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        raft_free(members.rafts[i]);
        disk_done(&members.disks[i]);
    }
}

static void entry_alone(uint32_t operations) {
    run(operations, 1);
}

static void entries_together(uint32_t operations) {
    run(operations, 16);
}

const struct path paths_raft[] = {
    {"raft_entry", "an entry through three Raft cores, alone", 1000, entry_alone},
    {"raft_entry_16", "an entry through three Raft cores, 16 per turn", 1600, entries_together},
    {0},
};
