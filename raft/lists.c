#include "raft/lists.h"

#include "base/assert.h"
#include "base/memory.h"
#include "raft/limits.h"

static void *grow(void *items, uint32_t *cap, uint32_t needed, size_t item_bytes) {
    if (needed <= *cap) return items;
    uint32_t doubled = *cap ? *cap * 2 : 4;
    *cap = doubled > needed ? doubled : needed;
    return memory_realloc(items, *cap * item_bytes);
}

bool raft_outgrown(uint32_t cap, uint32_t used, uint32_t *lately) {
    uint32_t faded = *lately - *lately / 32;
    *lately = used > faded ? used : faded;
    return cap > RAFT_KEPT_ITEMS_MAX && *lately < cap / 4;
}

struct raft_entry *raft_entry_list_reserve(struct raft_entry_list *list, uint32_t extra) {
    list->items = grow(list->items, &list->cap, list->count + extra, sizeof(*list->items));
    return list->items + list->count;
}

void raft_entry_list_add(struct raft_entry_list *list, const struct raft_entry *entry) {
    struct raft_entry *slot = raft_entry_list_reserve(list, 1);
    *slot = *entry;
    (void)payload_ref(slot->payload); /* the same pointer comes back */
    list->count++;
}

void raft_entry_list_clear(struct raft_entry_list *list) {
    for (uint32_t at = 0; at < list->count; at++) {
        payload_unref(list->items[at].payload);
    }
    bool release = raft_outgrown(list->cap, list->count, &list->lately);
    list->count = 0;
    if (release) raft_entry_list_done(list);
}

void raft_entry_list_done(struct raft_entry_list *list) {
    for (uint32_t at = 0; at < list->count; at++) {
        payload_unref(list->items[at].payload);
    }
    memory_free(list->items);
    *list = (struct raft_entry_list){0};
}

size_t raft_entry_list_bytes(const struct raft_entry_list *list, uint32_t first) {
    size_t bytes = 0;
    for (uint32_t at = first; at < list->count; at++) {
        bytes += payload_slice(list->items[at].payload).len;
    }
    return bytes;
}

void raft_message_list_add(struct raft_message_list *list, const struct raft_message *message) {
    list->items = grow(list->items, &list->cap, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = *message;
}

void raft_message_list_clear(struct raft_message_list *list) {
    bool release = raft_outgrown(list->cap, list->count, &list->lately);
    list->count = 0;
    if (release) raft_message_list_done(list);
}

void raft_message_list_done(struct raft_message_list *list) {
    memory_free(list->items);
    *list = (struct raft_message_list){0};
}

void raft_outbox_add(struct raft_outbox *outbox, const struct raft_message *message) {
    ASSERT_CMP(message->entry_count, <=, outbox->entries.count);
    uint32_t slot = outbox->messages.count;
    raft_message_list_add(&outbox->messages, message);
    outbox->first_entry =
        grow(outbox->first_entry, &outbox->first_entry_cap, slot + 1, sizeof(*outbox->first_entry));
    outbox->first_entry[slot] = outbox->entries.count - message->entry_count;
    struct raft_message *added = &outbox->messages.items[slot];
    added->entries = NULL;
    added->snapshot = message->snapshot ? raft_snapshot_copy(message->snapshot) : NULL;
}

void raft_outbox_seal(struct raft_outbox *outbox) {
    for (uint32_t at = 0; at < outbox->messages.count; at++) {
        struct raft_message *message = &outbox->messages.items[at];
        if (message->entry_count > 0) {
            message->entries = outbox->entries.items + outbox->first_entry[at];
        }
    }
}

void raft_outbox_clear(struct raft_outbox *outbox) {
    for (uint32_t at = 0; at < outbox->messages.count; at++) {
        raft_snapshot_free(outbox->messages.items[at].snapshot);
    }
    if (raft_outgrown(outbox->first_entry_cap, outbox->messages.count,
                      &outbox->first_entry_lately)) {
        memory_free(outbox->first_entry);
        outbox->first_entry = NULL;
        outbox->first_entry_cap = 0;
    }
    raft_message_list_clear(&outbox->messages);
    raft_entry_list_clear(&outbox->entries);
}

void raft_outbox_done(struct raft_outbox *outbox) {
    raft_outbox_clear(outbox);
    raft_message_list_done(&outbox->messages);
    raft_entry_list_done(&outbox->entries);
    memory_free(outbox->first_entry);
    *outbox = (struct raft_outbox){0};
}

void raft_read_state_list_add(struct raft_read_state_list *list, struct raft_read_state state) {
    list->items = grow(list->items, &list->cap, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = state;
}

void raft_read_state_list_clear(struct raft_read_state_list *list) {
    bool release = raft_outgrown(list->cap, list->count, &list->lately);
    list->count = 0;
    if (release) raft_read_state_list_done(list);
}

void raft_read_state_list_done(struct raft_read_state_list *list) {
    memory_free(list->items);
    *list = (struct raft_read_state_list){0};
}

struct raft_snapshot *raft_snapshot_copy(const struct raft_snapshot *snapshot) {
    struct raft_snapshot *copy = MEMORY_NEW(struct raft_snapshot);
    *copy = *snapshot;
    (void)payload_ref(copy->data); /* the same pointer comes back */
    return copy;
}

void raft_snapshot_free(struct raft_snapshot *snapshot) {
    if (!snapshot) return;
    payload_unref(snapshot->data);
    memory_free(snapshot);
}
