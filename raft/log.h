/* The log as one replica sees it: what its owner has made durable, what is on its way there, and
 * how far it is committed and applied (thesis 3.5, 10.2.1).
 *
 *   compacted | in storage only | in the ring: stable, kept as a cache | in the ring: unstable
 *             first            ring_first                             unstable_first last.index
 *
 * Invariants (raft_core_log_check):
 *  L1  applied <= applying <= committed <= last.index.
 *  L2  ring_first <= unstable_first <= last.index + 1; the ring holds [ring_first, last.index].
 *  L3  Terms never decrease along the log; an entry's index is its position.
 *  L4  Nothing at or below `committed` is ever replaced.
 *  L5  unstable_first <= in_progress_end <= last.index + 1: what lies between the first two was
 *      handed to the owner and is not yet known to be durable.
 *  L6  A pending snapshot lies just below the ring: nothing stable above it exists. */
#ifndef FLOTILLA_RAFT_LOG_H
#define FLOTILLA_RAFT_LOG_H

#include "raft/lists.h"
#include "raft/raft.h"

struct raft_core_log {
    struct raft_storage storage;
    struct raft_entry *ring; /* cap is a power of two, or 0 */
    uint32_t ring_cap, ring_head;
    uint32_t ring_lately; /* most entries of late */
    uint64_t ring_first;  /* index of the oldest entry in the ring; last.index + 1 when empty */
    struct raft_log_id last;
    uint64_t unstable_first;        /* first entry not known to be durable */
    uint64_t in_progress_end;       /* one past the last entry handed out to be made durable */
    struct raft_snapshot *snapshot; /* to be installed by the owner; NULL: none */
    bool snapshot_in_progress;      /* handed out */
    uint64_t committed;
    uint64_t applying; /* handed out to be applied */
    uint64_t applied;
    size_t applying_bytes, applying_bytes_max; /* max 0: unlimited */
    bool applying_paused;                /* wait for raft_apply_done before handing out more */
    size_t cache_bytes, cache_bytes_max; /* payload of stable entries in the ring */
    size_t applied_bytes_max;            /* of these, when applied entries are among them */
};

void raft_core_log_init(struct raft_core_log *log, const struct raft_storage *storage,
                        size_t cache_bytes_max, size_t applied_bytes_max,
                        size_t applying_bytes_max);
void raft_core_log_done(struct raft_core_log *log);

uint64_t raft_core_log_first_index(const struct raft_core_log *log);
/* COMPACTED below the first entry's predecessor, NOT_FOUND above the last entry. */
enum status raft_core_log_term(const struct raft_core_log *log, uint64_t index,
                               uint64_t *ret_term) MUST_CHECK;
uint64_t raft_core_log_term_or_zero(const struct raft_core_log *log, uint64_t index);
bool raft_core_log_matches(const struct raft_core_log *log, struct raft_log_id id);
/* Whether a log that ends in `theirs` may lead this one (thesis 3.6.1). */
bool raft_core_log_is_up_to_date(const struct raft_core_log *log, struct raft_log_id theirs);
/* The largest position at or below `guess.index` whose term is at most guess.term: where another
 * log that has guess.term around there can still agree with this one. Term 0: not known here. */
struct raft_log_id raft_core_log_find_conflict_by_term(const struct raft_core_log *log,
                                                       struct raft_log_id guess);

/* Appends at the end of a leader's own log. */
void raft_core_log_append(struct raft_core_log *log, const struct raft_entry *entries,
                          uint32_t count);
/* A follower's append: entries after `previous`, which matches; replaces a conflicting tail.
 * INVALID, nothing changed: the entries contradict what is committed. */
enum status raft_core_log_append_after(struct raft_core_log *log, struct raft_log_id previous,
                                       const struct raft_entry *entries, uint32_t count) MUST_CHECK;
void raft_core_log_commit_to(struct raft_core_log *log, uint64_t index); /* never back */
void raft_core_log_restore(struct raft_core_log *log, const struct raft_snapshot *snapshot);

/* Copies entries first..last into `list`, at least one, then while they fit in bytes_max (0:
 * unlimited) and count_max. COMPACTED. */
enum status raft_core_log_slice(const struct raft_core_log *log, uint64_t first, uint64_t last,
                                size_t bytes_max, uint32_t count_max,
                                struct raft_entry_list *list) MUST_CHECK;

bool raft_core_log_has_unstable(const struct raft_core_log *log);
bool raft_core_log_has_next_unstable(const struct raft_core_log *log);
void raft_core_log_take_unstable(struct raft_core_log *log, struct raft_entry_list *list);
void raft_core_log_stable_to(struct raft_core_log *log, struct raft_log_id id);
void raft_core_log_snapshot_stable(struct raft_core_log *log, uint64_t index);
/* Gives up the stable entries that are kept for followers, and the ring if nothing is in it. */
void raft_core_log_shrink(struct raft_core_log *log);

/* `unstable_too`: entries may be applied before this replica has them on disk. */
bool raft_core_log_has_committed(const struct raft_core_log *log, bool unstable_too);
void raft_core_log_take_committed(struct raft_core_log *log, bool unstable_too,
                                  struct raft_entry_list *list);
void raft_core_log_applied_to(struct raft_core_log *log, uint64_t index, size_t bytes);
/* Whether an entry that is committed but not applied changes the configuration. */
bool raft_core_log_has_unapplied_conf_change(const struct raft_core_log *log);

void raft_core_log_check(const struct raft_core_log *log);

#endif
