/* The Raft logs and states of all groups of a node in the `raft` family. (Raft types stay out:
 * entries are opaque bytes here, so storage/ does not depend on raft/.)
 *
 *   'l' ‖ group (8, BE) ‖ index (8, BE)  →  entry bytes
 *   's' ‖ group (8, BE) ‖ name (1)       →  state bytes: 'h' hard state, 'a' apply state,
 *                                           't' truncation: index (8, LE), compacted up to here
 *
 * Invariants:
 * 1. The entries first_index .. last_index are all there, once the batches are written.
 * 2. first_index is one above the truncation record's index (absent: 0).
 * 3. Reads are bounded by these two, so nothing ever seeks into deleted space.
 *
 * One raft_log per group; not thread-safe. The bounds run ahead of the disk by what sits in a batch
 * not yet written: the batch must be written, or the raft_log thrown away and opened again. Such an
 * entry cannot be read yet (CORRUPTION, as if it were missing). */
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

/* Reads the bounds back from the truncation record and the last entry. CORRUPTION: the first entry
 * is not where the record says, so entries are missing. */
enum status raft_log_open(struct raft_log *log, struct storage_engine *engine,
                          uint64_t group) MUST_CHECK;
/* Overwrites index and cuts whatever stood behind it. index must be in first_index .. last_index
 * + 1. */
void raft_log_append(struct raft_log *log, struct storage_batch *batch, uint64_t index,
                     struct slice entry);
/* Deletes entries up to and including `index` (point deletes, at most `limit` of them, so that a
 * turn stays short) and records how far it came in the truncation state. Returns that index. An
 * index below first_index changes nothing; one above last_index is a programmer's error. */
uint64_t raft_log_compact(struct raft_log *log, struct storage_batch *batch, uint64_t index,
                          uint32_t limit);
/* Forgets all entries and restarts after `index` (a snapshot was installed). */
void raft_log_reset(struct raft_log *log, struct storage_batch *batch, uint64_t index);
/* Deletes everything of the group. */
void raft_log_destroy(struct raft_log *log, struct storage_batch *batch);
/* NOT_FOUND: behind last_index. COMPACTED: before first_index. CORRUPTION: missing in between. */
enum status raft_log_get(const struct raft_log *log, uint64_t index,
                         struct buf *ret_entry) MUST_CHECK;
typedef bool raft_log_entry_fn(void *ctx, uint64_t index, struct slice entry); /* false stops */
/* Entries first .. last in order; errors as raft_log_get. */
enum status raft_log_read(const struct raft_log *log, uint64_t first, uint64_t last,
                          raft_log_entry_fn *entry, void *ctx) MUST_CHECK;
/* Hard state and apply state; the truncation record is written by the functions above only. */
void raft_log_put_state(const struct raft_log *log, struct storage_batch *batch,
                        enum raft_log_state state, struct slice bytes);
/* NOT_FOUND. */
enum status raft_log_get_state(const struct raft_log *log, enum raft_log_state state,
                               struct buf *ret_bytes) MUST_CHECK;

#endif
