#include "bench/raft_group.h"

#include "base/assert.h"
#include "base/memory.h"
#include "range/limits.h"

#define ELECTION_TICKS 10u
#define TICK_US 50000u

/* All entries behind the one that starts the leader's term look alike, so a log is known by its
 * end: nothing has to be kept, and whatever is asked for can be made up again. */
static const struct raft_log_id birth = {.term = 1, .index = 10};

struct replica {
    struct raft *raft;
    struct raft_group *group;
    struct raft_log_id last; /* of the durable log */
    uint64_t applied;
};

struct raft_group {
    struct replica replicas[RAFT_GROUP_REPLICAS];
    struct payload *payload; /* of every entry */
    uint32_t batch_max;
    uint64_t now_us;
    uint64_t applied_at_start;
    struct raft_group_totals totals;
};

/* ---- the log, as a core asks for it ---- */

static uint64_t first_index(void *ctx) {
    (void)ctx; /* nothing is ever compacted */
    return birth.index + 1;
}

static uint64_t last_index(void *ctx) {
    const struct replica *replica = ctx;
    return replica->last.index;
}

static enum status term_at(void *ctx, uint64_t index, uint64_t *ret_term) {
    const struct replica *replica = ctx;
    if (index < birth.index) return STATUS_COMPACTED;
    if (index > replica->last.index) return STATUS_NOT_FOUND;
    *ret_term = index == birth.index ? birth.term : replica->last.term;
    return STATUS_OK;
}

static enum status read_entries(void *ctx, uint64_t first, uint64_t last, size_t max_bytes,
                                struct raft_entry *ret_entries, uint32_t *ret_count) {
    const struct replica *replica = ctx;
    size_t bytes = 0;
    uint32_t count = 0;
    for (uint64_t index = first; index <= last; index++, count++) {
        struct payload *payload = index == birth.index + 1 ? NULL : replica->group->payload;
        bytes += payload_slice(payload).len;
        if (count > 0 && bytes > max_bytes) break;
        ret_entries[count] = (struct raft_entry){.id = {replica->last.term, index},
                                                 .kind = RAFT_ENTRY_NORMAL,
                                                 .payload = payload_ref(payload)};
    }
    *ret_count = count;
    return STATUS_OK;
}

static enum status no_snapshot(void *ctx, uint64_t to, struct raft_snapshot *ret_snapshot) {
    return STATUS_BUSY; /* never needed: all of the log is there */
}

static uint64_t no_chance(void *ctx, uint64_t bound) {
    return 0; /* time-outs need no luck where nothing is lost */
}

/* ---- moving ---- */

static void step(struct raft_group *group, const struct raft_message *message) {
    enum status status = raft_step(group->replicas[message->to - 1].raft, message);
    ASSERT(status == STATUS_OK);
    group->totals.steps++;
}

/* The borrowed messages are only read, and no core takes another ready work meanwhile. */
static void deliver(struct raft_group *group, const struct raft_message *messages, uint32_t count) {
    for (uint32_t at = 0; at < count; at++) {
        step(group, &messages[at]);
        group->totals.messages += messages[at].to != messages[at].from;
    }
}

static void apply(struct replica *replica, const struct raft_entry *entries, uint32_t count) {
    if (count == 0) return;
    size_t bytes = 0;
    for (uint32_t at = 0; at < count; at++) {
        bytes += payload_slice(entries[at].payload).len;
    }
    ASSERT_CMP(entries[0].id.index, ==, replica->applied + 1);
    replica->applied = entries[count - 1].id.index;
    raft_apply_done(replica->raft, replica->applied, bytes);
}

static void work(struct raft_group *group, struct replica *replica) {
    struct raft_ready ready;
    raft_ready(replica->raft, &ready);
    group->totals.works++;
    deliver(group, ready.messages, ready.message_count);
    if (ready.entry_count > 0) replica->last = ready.entries[ready.entry_count - 1].id;
    raft_append_done(replica->raft, &ready.append);
    deliver(group, ready.messages_after_append, ready.message_after_append_count);
    apply(replica, ready.committed, ready.committed_count);
}

static void settle(struct raft_group *group) {
    for (bool worked = true; worked;) {
        worked = false;
        for (uint32_t at = 0; at < RAFT_GROUP_REPLICAS; at++) {
            struct replica *replica = &group->replicas[at];
            if (!raft_has_ready(replica->raft)) continue;
            work(group, replica);
            worked = true;
        }
    }
}

static uint64_t applied_by_all(const struct raft_group *group) {
    uint64_t applied = UINT64_MAX;
    for (uint32_t at = 0; at < RAFT_GROUP_REPLICAS; at++) {
        if (group->replicas[at].applied < applied) applied = group->replicas[at].applied;
    }
    return applied;
}

void raft_group_write(struct raft_group *group, uint32_t count) {
    ASSERT_CMP(count, <=, group->batch_max);
    struct replica *leader = &group->replicas[0];
    struct raft_log_id id = {0, 0};
    for (uint32_t at = 0; at < count; at++) {
        enum status status = raft_propose(leader->raft, group->payload, &id);
        ASSERT(status == STATUS_OK);
    }
    settle(group);
    group->totals.entries += count;
    ASSERT_CMP(applied_by_all(group), ==, group->applied_at_start + group->totals.entries);
}

void raft_group_heartbeat(struct raft_group *group) {
    group->now_us += TICK_US;
    for (uint32_t at = 0; at < RAFT_GROUP_REPLICAS; at++) {
        raft_set_now(group->replicas[at].raft, group->now_us);
        raft_tick(group->replicas[at].raft);
    }
    settle(group);
    ASSERT_CMP((int)raft_role(group->replicas[0].raft), ==, (int)RAFT_LEADER);
}

void raft_group_shrink(struct raft_group *group) {
    for (uint32_t at = 0; at < RAFT_GROUP_REPLICAS; at++) {
        raft_shrink(group->replicas[at].raft);
    }
}

const struct raft_group_totals *raft_group_totals(const struct raft_group *group) {
    return &group->totals;
}

/* ---- life ---- */

/* As range/replica.c has it, without leases' grace: nobody restarts. */
static struct raft_config core_config(uint64_t id) {
    return (struct raft_config){
        .id = id,
        .election_ticks = ELECTION_TICKS,
        .heartbeat_ticks = 1,
        .tick_us = TICK_US,
        .pre_vote = true,
        .check_quorum = true,
        .async_storage_writes = true,
        .read_mode = RAFT_READ_QUORUM,
        .append_bytes_max = RANGE_APPEND_BYTES_MAX,
        .apply_bytes_max = RANGE_APPLY_BYTES_MAX,
        .inflight_messages_max = RANGE_INFLIGHT_MESSAGES_MAX,
        .inflight_bytes_max = RANGE_INFLIGHT_BYTES_MAX,
        .uncommitted_bytes_max = RANGE_UNCOMMITTED_BYTES_MAX,
        .cache_bytes_max = RANGE_CACHE_BYTES_MAX,
        .random = no_chance,
        .coalesce_appends = true,
    };
}

static void add_replica(struct raft_group *group, uint32_t at) {
    struct replica *replica = &group->replicas[at];
    *replica = (struct replica){.group = group, .last = birth, .applied = birth.index};
    struct raft_config config = core_config(at + 1);
    struct raft_storage storage = {.ctx = replica,
                                   .first_index = first_index,
                                   .last_index = last_index,
                                   .term = term_at,
                                   .entries = read_entries,
                                   .snapshot = no_snapshot};
    struct raft_hard_state hard_state = {.term = birth.term, .commit = birth.index};
    struct raft_conf_state conf = {.voters = {.count = RAFT_GROUP_REPLICAS}};
    for (uint32_t voter = 0; voter < RAFT_GROUP_REPLICAS; voter++) {
        conf.voters.ids[voter] = voter + 1;
    }
    replica->raft = raft_new(&config, &storage, &hard_state, &conf, birth.index);
}

struct raft_group *raft_group_new(const struct raft_group_config *config) {
    size_t batch_bytes = (size_t)config->batch_max * config->payload_bytes;
    ASSERT_CMP(batch_bytes, <=, RANGE_UNCOMMITTED_BYTES_MAX); /* else proposals are refused */
    struct raft_group *group = MEMORY_NEW(struct raft_group);
    group->batch_max = config->batch_max;
    group->payload = payload_new(config->payload_bytes);
    memset(group->payload->data, 'x', config->payload_bytes);
    for (uint32_t at = 0; at < RAFT_GROUP_REPLICAS; at++) {
        add_replica(group, at);
    }
    enum status status = raft_campaign(group->replicas[0].raft);
    ASSERT(status == STATUS_OK);
    settle(group);
    group->applied_at_start = applied_by_all(group);
    ASSERT_CMP(group->applied_at_start, ==, birth.index + 1); /* the leader's first entry */
    group->totals = (struct raft_group_totals){0};
    return group;
}

void raft_group_lose(struct raft_group *group, uint32_t at) {
    raft_free(group->replicas[at].raft);
    group->replicas[at].raft = NULL;
}

void raft_group_free(struct raft_group *group) {
    if (!group) return;
    for (uint32_t at = 0; at < RAFT_GROUP_REPLICAS; at++) {
        raft_group_lose(group, at);
    }
    payload_unref(group->payload);
    memory_free(group);
}
