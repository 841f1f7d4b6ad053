/* Growable arrays that are filled and emptied every turn, so that a steady state allocates nothing.
 * A large one is given back when it has not been needed for some turns.
 * Entries in them hold a reference on their payload. Zeroed lists are empty. */
#ifndef FLOTILLA_RAFT_LISTS_H
#define FLOTILLA_RAFT_LISTS_H

#include "raft/raft.h"

/* Whether an array of which `used` items were needed this time should shrink: a burst must not pin
 * its peak for ever in each of ten thousand ranges. What was needed lately counts too, fading by
 * 1/32 each time, because large and small turns alternate and each would undo the other's work. */
bool raft_outgrown(uint32_t cap, uint32_t used, uint32_t *lately);

struct raft_entry_list {
    struct raft_entry *items;
    uint32_t count, cap;
    uint32_t lately; /* most items of late */
};

/* Room for `extra` more items after the last; returns where they go. */
struct raft_entry *raft_entry_list_reserve(struct raft_entry_list *list, uint32_t extra);
/* Appends a copy and takes a reference on its payload. */
void raft_entry_list_add(struct raft_entry_list *list, const struct raft_entry *entry);
/* Drops all items and their references; keeps the memory unless it was far too much. */
void raft_entry_list_clear(struct raft_entry_list *list);
void raft_entry_list_done(struct raft_entry_list *list);
/* Payload bytes of the items from `first` on. */
size_t raft_entry_list_bytes(const struct raft_entry_list *list, uint32_t first);

struct raft_message_list {
    struct raft_message *items;
    uint32_t count, cap;
    uint32_t lately; /* most items of late */
};

void raft_message_list_add(struct raft_message_list *list, const struct raft_message *message);
void raft_message_list_clear(struct raft_message_list *list);
void raft_message_list_done(struct raft_message_list *list);

/* Messages under way to the owner, with what they point at. While the outbox is being filled the
 * entries of a message are known by their offset, because the array may still move; they become
 * pointers in raft_outbox_seal. */
struct raft_outbox {
    struct raft_message_list messages;
    uint32_t *first_entry; /* per message: offset into entries */
    uint32_t first_entry_cap, first_entry_lately;
    struct raft_entry_list entries;
};

/* Appends a message whose entries are the last `message->entry_count` of outbox->entries. A
 * snapshot is copied, with a reference on its data. */
void raft_outbox_add(struct raft_outbox *outbox, const struct raft_message *message);
void raft_outbox_seal(struct raft_outbox *outbox);
void raft_outbox_clear(struct raft_outbox *outbox);
void raft_outbox_done(struct raft_outbox *outbox);

struct raft_read_state_list {
    struct raft_read_state *items;
    uint32_t count, cap;
    uint32_t lately; /* most items of late */
};

void raft_read_state_list_add(struct raft_read_state_list *list, struct raft_read_state state);
void raft_read_state_list_clear(struct raft_read_state_list *list);
void raft_read_state_list_done(struct raft_read_state_list *list);

struct raft_snapshot *raft_snapshot_copy(const struct raft_snapshot *snapshot);
void raft_snapshot_free(struct raft_snapshot *snapshot); /* NULL is fine */

#endif
