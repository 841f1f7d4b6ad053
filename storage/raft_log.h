/* The Raft logs and states of all groups of a node in the `raft` family. (Raft types stay out:
 * entries are opaque bytes here, so storage/ does not depend on raft/.)
 *
 *   'l' ‖ group (8, BE) ‖ index (8, BE)  →  entry bytes
 *   's' ‖ group (8, BE) ‖ name (1)       →  state bytes: 'h' hard state, 'a' apply state, 't'
 * truncation
 *
 * One raft_log per group; not thread-safe. It remembers first and last index, so nothing ever seeks
 * into deleted space. */
#ifndef FLOTILLA_STORAGE_RAFT_LOG_H
#define FLOTILLA_STORAGE_RAFT_LOG_H

#include "storage/engine.h"

enum raft_log_state {
    RAFT_LOG_HARD_STATE = 'h',
    RAFT_LOG_APPLY_STATE = 'a',
    RAFT_LOG_TRUNCATION = 't'
};

struct raft_log {
    struct storage_engine *engine;
    uint64_t group;
    uint64_t first_index; /* of the first entry that is there; last_index + 1 when empty */
    uint64_t last_index;  /* including what sits in a batch not yet written */
};

/* Reads the bounds back. `truncated_index` (compacted up to) comes from the state record; 0: from
 * the start. */
enum status raft_log_open(struct raft_log *log, struct storage_engine *engine,
                          uint64_t group) MUST_CHECK;
/* Overwrites index and cuts whatever stood behind it. index must be <= last_index + 1. */
void raft_log_append(struct raft_log *log, struct storage_batch *batch, uint64_t index,
                     struct slice entry);
/* Deletes entries up to and including `index` (point deletes, at most `limit` of them, so that a
 * turn stays short) and records how far it came in the truncation state. Returns that index. */
uint64_t raft_log_compact(struct raft_log *log, struct storage_batch *batch, uint64_t index,
                          uint32_t limit);
/* Forgets all entries and restarts after `index` (a snapshot was installed). */
void raft_log_reset(struct raft_log *log, struct storage_batch *batch, uint64_t index);
/* Deletes everything of the group. */
void raft_log_destroy(struct raft_log *log, struct storage_batch *batch);
/* NOT_FOUND, COMPACTED. */
enum status raft_log_get(const struct raft_log *log, uint64_t index,
                         struct buf *ret_entry) MUST_CHECK;
typedef bool raft_log_entry_fn(void *ctx, uint64_t index, struct slice entry); /* false stops */
enum status raft_log_read(const struct raft_log *log, uint64_t first, uint64_t last,
                          raft_log_entry_fn *entry, void *ctx) MUST_CHECK;
void raft_log_put_state(const struct raft_log *log, struct storage_batch *batch,
                        enum raft_log_state state, struct slice bytes);
enum status raft_log_get_state(const struct raft_log *log, enum raft_log_state state,
                               struct buf *ret_bytes) MUST_CHECK;

#endif
