#include "raft/log.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "raft/limits.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static size_t entry_bytes(const struct raft_entry *entry) {
    return payload_slice(entry->payload).len;
}

/* ---- the ring ---- */

static struct raft_entry *ring_at(const struct raft_core_log *log, uint64_t index) {
    ASSERT_CMP(index, >=, log->ring_first);
    ASSERT_CMP(index, <=, log->last.index);
    uint32_t offset = (uint32_t)(index - log->ring_first);
    return &log->ring[(log->ring_head + offset) & (log->ring_cap - 1)];
}

static uint32_t ring_count(const struct raft_core_log *log) {
    return (uint32_t)(log->last.index + 1 - log->ring_first);
}

static void ring_resize(struct raft_core_log *log, uint32_t cap) {
    uint32_t count = ring_count(log);
    ASSERT_CMP(count, <=, cap);
    struct raft_entry *ring = cap ? memory_alloc(cap * sizeof(*ring)) : NULL;
    for (uint32_t at = 0; at < count; at++) {
        ring[at] = log->ring[(log->ring_head + at) & (log->ring_cap - 1)];
    }
    memory_free(log->ring);
    log->ring = ring;
    log->ring_cap = cap;
    log->ring_head = 0;
}

static void ring_push(struct raft_core_log *log, const struct raft_entry *entry) {
    ASSERT_CMP(entry->id.index, ==, log->last.index + 1);
    ASSERT_CMP(entry->id.term, >=, log->last.term);
    uint32_t count = ring_count(log);
    if (count == log->ring_cap) ring_resize(log, log->ring_cap ? log->ring_cap * 2 : 8);
    struct raft_entry *slot = &log->ring[(log->ring_head + count) & (log->ring_cap - 1)];
    *slot = *entry;
    (void)payload_ref(slot->payload); /* the same pointer comes back */
    log->last = entry->id;
}

static void ring_pop_front(struct raft_core_log *log) {
    struct raft_entry *oldest = ring_at(log, log->ring_first);
    if (log->ring_first < log->unstable_first) log->cache_bytes -= entry_bytes(oldest);
    payload_unref(oldest->payload);
    log->ring_head = (log->ring_head + 1) & (log->ring_cap - 1);
    log->ring_first++;
}

/* Drops the entries from `from` on. `last` is left for the caller to set when the ring is empty. */
static void ring_truncate(struct raft_core_log *log, uint64_t from) {
    while (log->last.index >= from && ring_count(log) > 0) {
        struct raft_entry *newest = ring_at(log, log->last.index);
        if (log->last.index < log->unstable_first) log->cache_bytes -= entry_bytes(newest);
        payload_unref(newest->payload);
        log->last.index--;
    }
}

/* Applied entries feed followers that are behind, which is seldom, and the last one is asked for
 * its term by the next append. */
static bool ring_front_is_spent(const struct raft_core_log *log) {
    return log->ring_first <= log->applied && log->ring_first + 1 < log->unstable_first &&
           log->cache_bytes > log->applied_bytes_max;
}

/* The oldest go first. */
static void ring_evict(struct raft_core_log *log) {
    uint32_t used = ring_count(log);
    while (log->ring_first < log->unstable_first &&
           (log->cache_bytes > log->cache_bytes_max || log->cache_bytes_max == 0 ||
            ring_front_is_spent(log))) {
        ring_pop_front(log);
    }
    /* Empty entries weigh nothing, so their number needs a bound of its own. */
    while (log->ring_first < log->unstable_first &&
           log->unstable_first - log->ring_first > RAFT_APPLY_ENTRIES_MAX) {
        ring_pop_front(log);
    }
    if (raft_outgrown(log->ring_cap, used, &log->ring_lately)) ring_resize(log, log->ring_cap / 2);
}

/* ---- life ---- */

void raft_core_log_init(struct raft_core_log *log, const struct raft_storage *storage,
                        size_t cache_bytes_max, size_t applied_bytes_max,
                        size_t applying_bytes_max) {
    *log = (struct raft_core_log){.storage = *storage,
                                  .cache_bytes_max = cache_bytes_max,
                                  .applied_bytes_max = applied_bytes_max,
                                  .applying_bytes_max = applying_bytes_max};
    uint64_t first = storage->first_index(storage->ctx);
    log->last.index = storage->last_index(storage->ctx);
    ASSERT_CMP(first, <=, log->last.index + 1);
    log->ring_first = log->unstable_first = log->in_progress_end = log->last.index + 1;
    log->committed = log->applying = log->applied = first - 1;
    if (log->last.index == 0) return;
    enum status status = storage->term(storage->ctx, log->last.index, &log->last.term);
    if (status != STATUS_OK) {
        fatal("raft: term of the last entry %lu: %s", (unsigned long)log->last.index,
              status_text(status));
    }
}

void raft_core_log_done(struct raft_core_log *log) {
    ring_truncate(log, log->ring_first);
    memory_free(log->ring);
    raft_snapshot_free(log->snapshot);
    *log = (struct raft_core_log){0};
}

/* ---- looking ---- */

uint64_t raft_core_log_first_index(const struct raft_core_log *log) {
    if (log->snapshot) return log->snapshot->id.index + 1;
    return log->storage.first_index(log->storage.ctx);
}

enum status raft_core_log_term(const struct raft_core_log *log, uint64_t index,
                               uint64_t *ret_term) {
    if (index > log->last.index) return STATUS_NOT_FOUND;
    if (index == 0 && raft_core_log_first_index(log) == 1) {
        *ret_term = 0; /* the position before the first entry matches in every log */
        return STATUS_OK;
    }
    if (index >= log->unstable_first) {
        *ret_term = ring_at(log, index)->id.term;
        return STATUS_OK;
    }
    if (log->snapshot && index == log->snapshot->id.index) {
        *ret_term = log->snapshot->id.term;
        return STATUS_OK;
    }
    /* The predecessor of the first entry is compacted, but its term is kept for matching. */
    if (index + 1 < raft_core_log_first_index(log)) return STATUS_COMPACTED;
    if (index == log->last.index) {
        *ret_term = log->last.term;
        return STATUS_OK;
    }
    if (index >= log->ring_first) {
        *ret_term = ring_at(log, index)->id.term;
        return STATUS_OK;
    }
    enum status status = log->storage.term(log->storage.ctx, index, ret_term);
    if (status != STATUS_OK && status != STATUS_COMPACTED && status != STATUS_NOT_FOUND) {
        fatal("raft: term of entry %lu: %s", (unsigned long)index, status_text(status));
    }
    return status;
}

uint64_t raft_core_log_term_or_zero(const struct raft_core_log *log, uint64_t index) {
    uint64_t term;
    return raft_core_log_term(log, index, &term) == STATUS_OK ? term : 0;
}

bool raft_core_log_matches(const struct raft_core_log *log, struct raft_log_id id) {
    uint64_t term;
    return raft_core_log_term(log, id.index, &term) == STATUS_OK && term == id.term;
}

bool raft_core_log_is_up_to_date(const struct raft_core_log *log, struct raft_log_id theirs) {
    if (theirs.term != log->last.term) return theirs.term > log->last.term;
    return theirs.index >= log->last.index;
}

struct raft_log_id raft_core_log_find_conflict_by_term(const struct raft_core_log *log,
                                                       struct raft_log_id guess) {
    for (uint64_t index = guess.index; index > 0; index--) {
        uint64_t term;
        if (raft_core_log_term(log, index, &term) != STATUS_OK)
            return (struct raft_log_id){0, index};
        if (term <= guess.term) return (struct raft_log_id){term, index};
    }
    return (struct raft_log_id){0, 0};
}

/* ---- growing ---- */

/* Appends entries that follow on or replace a tail; nothing committed is touched. */
static void truncate_and_append(struct raft_core_log *log, const struct raft_entry *entries,
                                uint32_t count) {
    uint64_t from = entries[0].id.index;
    ASSERT_CMP(from, >, log->committed);
    ASSERT_CMP(from, <=, log->last.index + 1);
    if (from <= log->last.index) {
        uint64_t term_before;
        enum status status = raft_core_log_term(log, from - 1, &term_before);
        ASSERT(status == STATUS_OK);
        if (from < log->ring_first) {
            ring_truncate(log, log->ring_first);
            log->ring_first = from;
        } else {
            ring_truncate(log, from);
        }
        log->last = (struct raft_log_id){term_before, from - 1};
        log->unstable_first = min_u64(log->unstable_first, from);
        log->in_progress_end = min_u64(log->in_progress_end, from);
    }
    for (uint32_t at = 0; at < count; at++) {
        ring_push(log, &entries[at]);
    }
}

void raft_core_log_append(struct raft_core_log *log, const struct raft_entry *entries,
                          uint32_t count) {
    if (count > 0) truncate_and_append(log, entries, count);
}

enum status raft_core_log_append_after(struct raft_core_log *log, struct raft_log_id previous,
                                       const struct raft_entry *entries, uint32_t count) {
    uint32_t known = 0;
    while (known < count && raft_core_log_matches(log, entries[known].id)) {
        known++;
    }
    if (known == count) return STATUS_OK;
    if (entries[known].id.index <= log->committed) return STATUS_INVALID;
    ASSERT_CMP(entries[known].id.index, >, previous.index);
    truncate_and_append(log, entries + known, count - known);
    return STATUS_OK;
}

void raft_core_log_commit_to(struct raft_core_log *log, uint64_t index) {
    if (index <= log->committed) return;
    ASSERT_CMP(index, <=, log->last.index);
    log->committed = index;
}

void raft_core_log_restore(struct raft_core_log *log, const struct raft_snapshot *snapshot) {
    ASSERT_CMP(snapshot->id.index, >, log->committed);
    ring_truncate(log, log->ring_first);
    raft_snapshot_free(log->snapshot);
    log->snapshot = raft_snapshot_copy(snapshot);
    log->snapshot_in_progress = false;
    log->last = snapshot->id;
    log->committed = snapshot->id.index;
    log->ring_first = log->unstable_first = log->in_progress_end = snapshot->id.index + 1;
    log->cache_bytes = 0;
}

/* ---- reading runs of entries ---- */

/* Reads first..last from storage, where `last` is below the ring. Returns whether all were read. */
static enum status slice_storage(const struct raft_core_log *log, uint64_t first, uint64_t last,
                                 size_t bytes_max, struct raft_entry_list *list, bool *ret_all) {
    uint32_t wanted = (uint32_t)(last - first + 1), got = 0;
    struct raft_entry *room = raft_entry_list_reserve(list, wanted);
    enum status status = log->storage.entries(log->storage.ctx, first, last, bytes_max, room, &got);
    if (status == STATUS_COMPACTED) return status;
    if (status != STATUS_OK) {
        fatal("raft: entries %lu to %lu: %s", (unsigned long)first, (unsigned long)last,
              status_text(status));
    }
    ASSERT(got > 0 && got <= wanted);
    for (uint32_t at = 0; at < got; at++) {
        ASSERT_CMP(room[at].id.index, ==, first + at);
    }
    list->count += got;
    *ret_all = got == wanted;
    return STATUS_OK;
}

enum status raft_core_log_slice(const struct raft_core_log *log, uint64_t first, uint64_t last,
                                size_t bytes_max, uint32_t count_max,
                                struct raft_entry_list *list) {
    ASSERT_CMP(last, <=, log->last.index);
    if (first > last) return STATUS_OK;
    if (first < raft_core_log_first_index(log)) return STATUS_COMPACTED;
    if (bytes_max == 0) bytes_max = SIZE_MAX;
    uint32_t list_before = list->count;
    last = min_u64(last, first + count_max - 1);
    uint64_t index = first;
    if (first < log->ring_first) {
        bool all = false;
        uint64_t storage_last = min_u64(last, log->ring_first - 1);
        enum status status = slice_storage(log, first, storage_last, bytes_max, list, &all);
        if (status != STATUS_OK || !all) return status;
        index = storage_last + 1;
    }
    size_t bytes = raft_entry_list_bytes(list, list_before);
    for (; index <= last; index++) {
        const struct raft_entry *entry = ring_at(log, index);
        size_t one = entry_bytes(entry);
        if (index > first && (bytes > bytes_max || one > bytes_max - bytes)) break;
        bytes += one;
        raft_entry_list_add(list, entry);
    }
    return STATUS_OK;
}

/* ---- becoming durable ---- */

bool raft_core_log_has_unstable(const struct raft_core_log *log) {
    return log->unstable_first <= log->last.index;
}

bool raft_core_log_has_next_unstable(const struct raft_core_log *log) {
    return log->in_progress_end <= log->last.index;
}

void raft_core_log_take_unstable(struct raft_core_log *log, struct raft_entry_list *list) {
    for (uint64_t index = log->in_progress_end; index <= log->last.index; index++) {
        raft_entry_list_add(list, ring_at(log, index));
    }
    log->in_progress_end = log->last.index + 1;
    if (log->snapshot) log->snapshot_in_progress = true;
}

void raft_core_log_stable_to(struct raft_core_log *log, struct raft_log_id id) {
    /* Missing, or replaced since it was handed out: what is there now is reported separately. */
    if (id.index < log->unstable_first || id.index > log->last.index) return;
    if (ring_at(log, id.index)->id.term != id.term) return;
    for (uint64_t index = log->unstable_first; index <= id.index; index++) {
        log->cache_bytes += entry_bytes(ring_at(log, index));
    }
    log->unstable_first = id.index + 1;
    if (log->in_progress_end < log->unstable_first) log->in_progress_end = log->unstable_first;
    ring_evict(log);
}

void raft_core_log_snapshot_stable(struct raft_core_log *log, uint64_t index) {
    if (!log->snapshot || log->snapshot->id.index != index) return;
    raft_snapshot_free(log->snapshot);
    log->snapshot = NULL;
    log->snapshot_in_progress = false;
}

void raft_core_log_shrink(struct raft_core_log *log) {
    while (log->ring_first < log->unstable_first) {
        ring_pop_front(log);
    }
    if (ring_count(log) == 0) ring_resize(log, 0);
}

/* ---- becoming applied ---- */

static uint64_t appliable_last(const struct raft_core_log *log, bool unstable_too) {
    return unstable_too ? log->committed : min_u64(log->committed, log->unstable_first - 1);
}

bool raft_core_log_has_committed(const struct raft_core_log *log, bool unstable_too) {
    /* A snapshot is installed before anything after it is applied. */
    if (log->applying_paused || log->snapshot) return false;
    return log->applying < appliable_last(log, unstable_too);
}

void raft_core_log_take_committed(struct raft_core_log *log, bool unstable_too,
                                  struct raft_entry_list *list) {
    if (!raft_core_log_has_committed(log, unstable_too)) return;
    uint64_t last = appliable_last(log, unstable_too);
    size_t budget = 0;
    if (log->applying_bytes_max) {
        ASSERT_CMP(log->applying_bytes, <, log->applying_bytes_max);
        budget = log->applying_bytes_max - log->applying_bytes;
    }
    uint32_t before = list->count;
    enum status status =
        raft_core_log_slice(log, log->applying + 1, last, budget, RAFT_APPLY_ENTRIES_MAX, list);
    if (status != STATUS_OK) {
        fatal("raft: committed entry %lu is gone: %s", (unsigned long)log->applying + 1,
              status_text(status));
    }
    log->applying = list->items[list->count - 1].id.index;
    log->applying_bytes += raft_entry_list_bytes(list, before);
    /* Stopping short of `last` means that the next entry would have crossed the budget. */
    log->applying_paused = log->applying < last || (log->applying_bytes_max &&
                                                    log->applying_bytes >= log->applying_bytes_max);
}

void raft_core_log_applied_to(struct raft_core_log *log, uint64_t index, size_t bytes) {
    ASSERT_CMP(index, <=, log->committed);
    ASSERT_CMP(index, >=, log->applied);
    log->applied = index;
    ring_evict(log);
    if (log->applying < index) log->applying = index;
    log->applying_bytes -= bytes < log->applying_bytes ? bytes : log->applying_bytes;
    log->applying_paused =
        log->applying_bytes_max && log->applying_bytes >= log->applying_bytes_max;
}

bool raft_core_log_has_unapplied_conf_change(const struct raft_core_log *log) {
    struct raft_entry_list page = {0};
    bool found = false;
    for (uint64_t index = log->applied + 1; index <= log->committed && !found;) {
        raft_entry_list_clear(&page);
        enum status status = raft_core_log_slice(
            log, index, log->committed, log->applying_bytes_max, RAFT_SCAN_ENTRIES_MAX, &page);
        if (status != STATUS_OK) {
            fatal("raft: committed entry %lu is gone: %s", (unsigned long)index,
                  status_text(status));
        }
        for (uint32_t at = 0; at < page.count; at++) {
            found |= page.items[at].kind != RAFT_ENTRY_NORMAL;
        }
        index += page.count;
    }
    raft_entry_list_done(&page);
    return found;
}

void raft_core_log_check(const struct raft_core_log *log) {
    ASSERT_CMP(log->applied, <=, log->applying);
    ASSERT_CMP(log->applying, <=, log->committed);
    ASSERT_CMP(log->committed, <=, log->last.index);
    ASSERT_CMP(log->ring_first, <=, log->unstable_first);
    ASSERT_CMP(log->unstable_first, <=, log->last.index + 1);
    ASSERT_CMP(log->unstable_first, <=, log->in_progress_end);
    ASSERT_CMP(log->in_progress_end, <=, log->last.index + 1);
    if (log->snapshot) ASSERT_CMP(log->ring_first, >, log->snapshot->id.index);
    uint64_t term = 0;
    size_t cache_bytes = 0;
    for (uint64_t index = log->ring_first; index <= log->last.index; index++) {
        const struct raft_entry *entry = ring_at(log, index);
        ASSERT_CMP(entry->id.index, ==, index);
        ASSERT_CMP(entry->id.term, >=, term);
        term = entry->id.term;
        if (index < log->unstable_first) cache_bytes += entry_bytes(entry);
    }
    if (term) ASSERT_CMP(term, ==, log->last.term);
    ASSERT_CMP(cache_bytes, ==, log->cache_bytes);
}
