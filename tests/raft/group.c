#include "tests/raft/group.h"

#include "base/assert.h"
#include "base/memory.h"

#define BIRTH ((struct raft_log_id){.term = 1, .index = 10})

/* ---- life ---- */

static uint64_t random_of(void *ctx, uint64_t bound) {
    const struct group_node *node = ctx;
    return node->random % bound;
}

static struct raft_snapshot snapshot_of(void *ctx) {
    const struct group_node *node = ctx;
    return (struct raft_snapshot){
        .id = {raft_core_log_term_or_zero(&node->raft->log, node->applied), node->applied},
        .conf = node->conf,
        .data = node->state.len ? payload_copy(slice_from_buf(&node->state)) : NULL};
}

struct raft_config group_config(void) {
    return (struct raft_config){.election_ticks = 10,
                                .heartbeat_ticks = 1,
                                .tick_us = GROUP_TICK_US,
                                .async_storage_writes = true,
                                .cache_bytes_max = 1024};
}

static void start(struct group_node *node) {
    node->config.id = node->id;
    node->config.random = random_of;
    node->config.random_ctx = node;
    node->disk.snapshot = snapshot_of;
    node->disk.snapshot_ctx = node;
    struct raft_storage storage = disk_storage(&node->disk);
    node->applied = node->disk.applied;
    node->conf = node->disk.conf;
    node->raft = raft_new(&node->config, &storage, &node->disk.hard_state, &node->disk.conf,
                          node->disk.applied);
    if (node->now_us > 0) raft_set_now(node->raft, node->now_us);
}

struct group_node *group_add(struct group *group, const struct raft_config *config) {
    ASSERT_CMP(group->count, <, GROUP_MAX);
    struct group_node *node = &group->nodes[++group->count];
    node->id = group->count;
    node->config = config ? *config : group_config();
    start(node);
    return node;
}

struct group *group_new(uint64_t voters, const struct raft_config *config) {
    struct group *group = MEMORY_NEW(struct group);
    struct raft_conf_state conf = {0};
    for (uint64_t id = 1; id <= voters; id++) {
        bool fits = raft_id_set_add(&conf.voters, id);
        ASSERT(fits);
    }
    for (uint64_t id = 1; id <= voters; id++) {
        struct group_node *node = &group->nodes[++group->count];
        node->id = id;
        node->config = config ? *config : group_config();
        disk_install(&node->disk, BIRTH, &conf);
        node->disk.hard_state = (struct raft_hard_state){BIRTH.term, 0, BIRTH.index};
        start(node);
    }
    return group;
}

static void forget_volatile(struct group_node *node) {
    raft_free(node->raft);
    node->raft = NULL;
    for (uint32_t at = 0; at < node->to_apply_count; at++) {
        payload_unref(node->to_apply[at].payload);
    }
    node->to_apply_count = node->work_count = node->read_count = 0;
}

void group_restart(struct group *group, uint64_t id) {
    struct group_node *node = &group->nodes[id];
    forget_volatile(node);
    start(node);
}

static void message_free(struct raft_message *message) {
    for (uint32_t at = 0; at < message->entry_count; at++) {
        payload_unref(message->entries[at].payload);
    }
    memory_free(message->entries);
    raft_snapshot_free(message->snapshot);
}

void group_drop_messages(struct group *group) {
    for (size_t at = 0; at < group->message_count; at++) {
        message_free(&group->messages[at]);
    }
    group->message_count = 0;
}

void group_free(struct group *group) {
    for (uint64_t id = 1; id <= group->count; id++) {
        struct group_node *node = &group->nodes[id];
        raft_check(node->raft);
        forget_volatile(node);
        disk_done(&node->disk);
        buf_done(&node->state);
    }
    group_drop_messages(group);
    memory_free(group->messages);
    memory_free(group);
}

void group_set_log(struct group_node *node, const uint64_t *terms, uint32_t count) {
    uint64_t first = disk_first(&node->disk);
    for (uint32_t at = 0; at < count; at++) {
        struct raft_entry entry = {.id = {terms[at], first + at}};
        disk_append(&node->disk, &entry, 1);
        if (terms[at] > node->disk.hard_state.term) node->disk.hard_state.term = terms[at];
    }
    forget_volatile(node);
    start(node);
}

static void see(struct group *group, struct group_event event) {
    if (group->watcher.see) group->watcher.see(group->watcher.ctx, &event);
}

/* ---- the network ---- */

static void send(struct group *group, const struct raft_message *message) {
    group->sent[message->kind]++;
    bool lost = group->cut[message->from][message->to] || group->lost[message->kind];
    see(group, (struct group_event){.kind = GROUP_SENT, .message = message, .lost = lost});
    if (lost) return;
    if (group->message_count == group->message_cap) {
        group->message_cap = group->message_cap ? group->message_cap * 2 : 32;
        group->messages =
            memory_realloc(group->messages, group->message_cap * sizeof(*group->messages));
    }
    struct raft_message copy = *message;
    copy.entries = NULL;
    if (message->entry_count > 0) {
        copy.entries = memory_alloc(message->entry_count * sizeof(*copy.entries));
        for (uint32_t at = 0; at < message->entry_count; at++) {
            copy.entries[at] = message->entries[at];
            (void)payload_ref(copy.entries[at].payload); /* the same pointer comes back */
        }
    }
    if (message->snapshot) copy.snapshot = raft_snapshot_copy(message->snapshot);
    group->messages[group->message_count++] = copy;
}

void group_isolate(struct group *group, uint64_t id) {
    for (uint64_t other = 1; other <= GROUP_MAX; other++) {
        if (other != id) group->cut[id][other] = group->cut[other][id] = true;
    }
}

void group_heal(struct group *group) {
    memset(group->cut, 0, sizeof(group->cut));
    memset(group->lost, 0, sizeof(group->lost));
}

/* ---- one replica ---- */

static void apply_one(struct group *group, struct group_node *node,
                      const struct raft_entry *entry) {
    if (entry->id.index <= node->applied) return; /* a snapshot was faster */
    see(group, (struct group_event){.kind = GROUP_APPLIED, .node = node, .entry = entry});
    cr_assert_eq(entry->id.index, node->applied + 1, "applied in order, once");
    if (entry->kind != RAFT_ENTRY_NORMAL) {
        struct raft_conf_change change;
        cr_assert_eq(raft_decode_conf_change(entry, &change), STATUS_OK);
        raft_apply_conf_change(node->raft, &change, &node->conf);
    } else {
        buf_append(&node->state, payload_slice(entry->payload));
    }
    node->applied = node->disk.applied = entry->id.index;
    node->disk.conf = node->conf;
}

void group_apply(struct group *group, uint64_t id) {
    struct group_node *node = &group->nodes[id];
    if (node->to_apply_count == 0) return;
    size_t bytes = 0;
    uint64_t last = node->to_apply[node->to_apply_count - 1].id.index;
    for (uint32_t at = 0; at < node->to_apply_count; at++) {
        apply_one(group, node, &node->to_apply[at]);
        bytes += payload_slice(node->to_apply[at].payload).len;
        payload_unref(node->to_apply[at].payload);
    }
    node->to_apply_count = 0;
    raft_apply_done(node->raft, last, bytes);
}

void group_sync(struct group *group, uint64_t id) {
    struct group_node *node = &group->nodes[id];
    uint32_t count = node->work_count;
    for (uint32_t at = 0; at < count; at++) {
        disk_write(&node->disk, &node->works[at]);
    }
    for (uint32_t at = 0; at < count; at++) {
        const struct raft_ready *ready = &node->works[at];
        if (ready->snapshot) {
            node->applied = ready->snapshot->id.index;
            node->conf = ready->snapshot->conf;
            buf_assign(&node->state, payload_slice(ready->snapshot->data));
        }
        raft_append_done(node->raft, &ready->append);
        for (uint32_t message = 0; message < ready->message_after_append_count; message++) {
            const struct raft_message *promise = &ready->messages_after_append[message];
            if (promise->to != id) {
                send(group, promise);
                continue;
            }
            enum status status = raft_step(node->raft, promise);
            cr_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
        }
    }
    node->work_count -= count;
}

static void take_sync_style(struct group *group, struct group_node *node,
                            const struct raft_ready *ready) {
    disk_write(&node->disk, ready);
    if (ready->snapshot) {
        node->applied = ready->snapshot->id.index;
        node->conf = ready->snapshot->conf;
        buf_assign(&node->state, payload_slice(ready->snapshot->data));
    }
    for (uint32_t at = 0; at < ready->committed_count; at++) {
        apply_one(group, node, &ready->committed[at]);
    }
    for (uint32_t at = 0; at < ready->message_count; at++) {
        send(group, &ready->messages[at]);
    }
    raft_advance(node->raft);
}

static void take_async_style(struct group *group, struct group_node *node,
                             const struct raft_ready *ready) {
    for (uint32_t at = 0; at < ready->message_count; at++) {
        send(group, &ready->messages[at]);
    }
    for (uint32_t at = 0; at < ready->committed_count; at++) {
        ASSERT_CMP(node->to_apply_count, <, 512);
        node->to_apply[node->to_apply_count] = ready->committed[at];
        (void)payload_ref(ready->committed[at].payload); /* the same pointer comes back */
        node->to_apply_count++;
    }
    if (ready->append.any) {
        ASSERT_CMP(node->work_count, <, 256);
        node->works[node->work_count++] = *ready;
    }
    if (!node->disk_held) group_sync(group, node->id);
    if (!node->apply_held) group_apply(group, node->id);
}

void group_take_ready(struct group *group, uint64_t id) {
    struct group_node *node = &group->nodes[id];
    struct raft_ready ready;
    raft_ready(node->raft, &ready);
    see(group, (struct group_event){.kind = GROUP_READY, .node = node, .ready = &ready});
    for (uint32_t at = 0; at < ready.read_state_count; at++) {
        ASSERT_CMP(node->read_count, <, 64);
        node->reads[node->read_count++] = ready.read_states[at];
    }
    if (node->config.async_storage_writes) {
        take_async_style(group, node, &ready);
    } else {
        take_sync_style(group, node, &ready);
    }
}

void group_drain(struct group *group, uint64_t id) {
    while (raft_has_ready(group->nodes[id].raft)) {
        group_take_ready(group, id);
    }
    raft_check(group->nodes[id].raft);
}

/* ---- all of them ---- */

/* Takes the oldest fitting message off the network; the caller owns it. */
static bool take_message(struct group *group, uint64_t id, int kind,
                         struct raft_message *ret_message) {
    for (size_t at = 0; at < group->message_count; at++) {
        struct raft_message *message = &group->messages[at];
        if ((id != 0 && message->to != id) || (kind != 0 && (int)message->kind != kind)) continue;
        *ret_message = *message;
        group->message_count--;
        memmove(message, message + 1, (group->message_count - at) * sizeof(*message));
        return true;
    }
    return false;
}

bool group_deliver(struct group *group, uint64_t id, int kind) {
    struct raft_message message;
    if (!take_message(group, id, kind, &message)) return false;
    if (message.to <= group->count && !group->cut[message.from][message.to]) {
        enum status status = raft_step(group->nodes[message.to].raft, &message);
        see(group,
            (struct group_event){.kind = GROUP_DELIVERED, .message = &message, .status = status});
        cr_assert_neq(status, STATUS_INVALID, "kind %d from %lu to %lu", (int)message.kind,
                      (unsigned long)message.from, (unsigned long)message.to);
    }
    message_free(&message);
    return true;
}

bool group_discard(struct group *group, uint64_t id, int kind) {
    struct raft_message message;
    if (!take_message(group, id, kind, &message)) return false;
    message_free(&message);
    return true;
}

void group_settle(struct group *group) {
    do {
        for (uint64_t id = 1; id <= group->count; id++) {
            group_drain(group, id);
        }
    } while (group_deliver(group, 0, 0));
}

void group_elect(struct group *group, uint64_t id) {
    cr_assert_eq(raft_campaign(group->nodes[id].raft), STATUS_OK);
    group_settle(group);
}

enum status group_propose(struct group *group, uint64_t id, const char *text) {
    struct payload *payload = payload_copy(slice_from_text(text));
    enum status status = raft_propose(group->nodes[id].raft, payload, NULL);
    payload_unref(payload);
    return status;
}

void group_write(struct group *group, uint64_t id, const char *text) {
    cr_assert_eq(group_propose(group, id, text), STATUS_OK);
    group_settle(group);
}

void group_tick(struct group *group, uint64_t id, uint32_t ticks) {
    for (uint32_t at = 0; at < ticks; at++) {
        raft_tick(group->nodes[id].raft);
    }
}

void group_set_now(struct group *group, uint64_t now_us) {
    for (uint64_t id = 1; id <= group->count; id++) {
        group->nodes[id].now_us = now_us;
        raft_set_now(group->nodes[id].raft, now_us);
    }
}

enum status group_step(struct group *group, uint64_t id, struct raft_message message) {
    message.to = id;
    return raft_step(group->nodes[id].raft, &message);
}

const struct raft_message *group_find(const struct group *group, enum raft_message_kind kind,
                                      uint64_t from, uint64_t to) {
    for (size_t at = group->message_count; at > 0; at--) {
        const struct raft_message *message = &group->messages[at - 1];
        if (message->kind == kind && message->from == from && message->to == to) return message;
    }
    return NULL;
}

size_t group_count(const struct group *group, enum raft_message_kind kind, uint64_t to) {
    size_t count = 0;
    for (size_t at = 0; at < group->message_count; at++) {
        count += group->messages[at].kind == kind && group->messages[at].to == to;
    }
    return count;
}

struct raft_view group_view(const struct group *group, uint64_t id) {
    struct raft_view view;
    raft_view(group->nodes[id].raft, &view);
    return view;
}

struct raft_progress_view group_progress(const struct group *group, uint64_t leader, uint64_t id) {
    struct raft_view view = group_view(group, leader);
    for (uint32_t at = 0; at < view.progress_count; at++) {
        if (view.progress[at].id == id) return view.progress[at];
    }
    cr_assert(false, "replica %lu is not followed by %lu", (unsigned long)id,
              (unsigned long)leader);
    return (struct raft_progress_view){0};
}

void group_expect_state(const struct group *group, const char *text) {
    for (uint64_t id = 1; id <= group->count; id++) {
        struct slice state = slice_from_buf(&group->nodes[id].state);
        cr_expect(slice_equal(state, slice_from_text(text)), "replica %lu has \"%.*s\", not \"%s\"",
                  (unsigned long)id, (int)state.len, (const char *)state.data, text);
    }
}
