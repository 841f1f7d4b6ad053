/* Ready works: what the core wants done, and what it hears back (thesis 10.2.1).
 *
 * A ready work keeps what it points at alive in an append work (until raft_append_done) and an
 * apply work (until raft_apply_done), so that the log may be cut and grow meanwhile. Both are
 * reused: a steady state allocates nothing. */
#include "base/assert.h"
#include "base/memory.h"
#include "raft/internal.h"

/* ---- works ---- */

static struct raft_append_work *take_append_work(struct raft *raft) {
    struct raft_append_work *work = raft->spare_appends;
    if (!work) return MEMORY_NEW(struct raft_append_work);
    raft->spare_appends = work->next;
    raft->spare_append_count--;
    work->next = NULL;
    return work;
}

static void clear_append_work(struct raft_append_work *work) {
    raft_entry_list_clear(&work->entries);
    raft_snapshot_free(work->snapshot);
    work->snapshot = NULL;
}

static void free_append_work(struct raft_append_work *work) {
    clear_append_work(work);
    raft_entry_list_done(&work->entries);
    raft_message_list_done(&work->after_append);
    memory_free(work);
}

static void recycle_append_work(struct raft *raft, struct raft_append_work *work) {
    clear_append_work(work);
    raft_message_list_clear(&work->after_append);
    if (raft->spare_append_count == RAFT_KEPT_WORKS_MAX) {
        free_append_work(work);
        return;
    }
    work->next = raft->spare_appends;
    raft->spare_appends = work;
    raft->spare_append_count++;
}

static void recycle_retired(struct raft *raft) {
    while (raft->retired) {
        struct raft_append_work *work = raft->retired;
        raft->retired = work->next;
        recycle_append_work(raft, work);
    }
}

static void enqueue_append_work(struct raft *raft, struct raft_append_work *work) {
    if (raft->appending_last) {
        raft->appending_last->next = work;
    } else {
        raft->appending = work;
    }
    raft->appending_last = work;
}

/* Everything up to work `number` is durable. Messages stay borrowed until the next ready work. */
static void retire_append_works(struct raft *raft, uint64_t number) {
    while (raft->appending && raft->appending->number <= number) {
        struct raft_append_work *work = raft->appending;
        raft->appending = work->next;
        if (!raft->appending) raft->appending_last = NULL;
        clear_append_work(work);
        work->next = raft->retired;
        raft->retired = work;
    }
}

static void free_apply_work(struct raft_apply_work *work) {
    if (!work) return;
    raft_entry_list_done(&work->entries);
    memory_free(work);
}

static struct raft_apply_work *take_apply_work(struct raft *raft) {
    struct raft_apply_work *work = raft->spare_apply;
    if (!work) return MEMORY_NEW(struct raft_apply_work);
    raft->spare_apply = NULL;
    return work;
}

static void recycle_apply_work(struct raft *raft, struct raft_apply_work *work) {
    raft_entry_list_clear(&work->entries);
    work->next = NULL;
    if (raft->spare_apply) {
        free_apply_work(work);
    } else {
        raft->spare_apply = work;
    }
}

static void retire_apply_works(struct raft *raft, uint64_t index) {
    while (raft->applying) {
        struct raft_apply_work *work = raft->applying;
        if (work->entries.items[work->entries.count - 1].id.index > index) return;
        raft->applying = work->next;
        if (!raft->applying) raft->applying_last = NULL;
        recycle_apply_work(raft, work);
    }
}

static void free_spares(struct raft *raft) {
    while (raft->spare_appends) {
        struct raft_append_work *work = raft->spare_appends;
        raft->spare_appends = work->next;
        free_append_work(work);
    }
    raft->spare_append_count = 0;
    free_apply_work(raft->spare_apply);
    raft->spare_apply = NULL;
}

void raft_works_done(struct raft *raft) {
    retire_append_works(raft, UINT64_MAX);
    recycle_retired(raft);
    retire_apply_works(raft, UINT64_MAX);
    free_spares(raft);
    for (uint32_t at = 0; at < 2; at++) {
        raft_outbox_done(&raft->outbox[at]);
        raft_read_state_list_done(&raft->read_states[at]);
    }
    raft_message_list_done(&raft->after_append);
}

void raft_shrink(struct raft *raft) {
    recycle_retired(raft);
    free_spares(raft);
    uint32_t handed = 1 - raft->outbox_filling;
    raft_outbox_done(&raft->outbox[handed]);
    raft_read_state_list_done(&raft->read_states[handed]);
    /* What is being filled stays, unless it is empty. */
    struct raft_outbox *outbox = raft_outbox_filling(raft);
    if (outbox->messages.count == 0) raft_outbox_done(outbox);
    struct raft_read_state_list *read_states = &raft->read_states[raft->outbox_filling];
    if (read_states->count == 0) raft_read_state_list_done(read_states);
    if (raft->after_append.count == 0) raft_message_list_done(&raft->after_append);
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        raft_inflights_shrink(&raft->progress.items[at].inflights);
    }
    raft_reads_shrink(raft);
    raft_core_log_shrink(&raft->log);
}

/* ---- handing out ---- */

static bool hard_state_equal(const struct raft_hard_state *a, const struct raft_hard_state *b) {
    return a->term == b->term && a->vote == b->vote && a->commit == b->commit;
}

bool raft_has_ready(const struct raft *raft) {
    struct raft_hard_state hard_state = raft_hard_state_now(raft);
    return raft->outbox[raft->outbox_filling].messages.count > 0 || raft->after_append.count > 0 ||
           raft->appends_wanted || raft->reads.round_wanted ||
           raft_core_log_has_next_unstable(&raft->log) ||
           raft_core_log_has_committed(&raft->log, !raft->config.async_storage_writes) ||
           raft->shown_role != raft->role || raft->shown_leader != raft->leader ||
           !hard_state_equal(&hard_state, &raft->shown_hard_state) ||
           (raft->log.snapshot && !raft->log.snapshot_in_progress) ||
           raft->read_states[raft->outbox_filling].count > 0;
}

static void show_state(struct raft *raft, struct raft_ready *ready) {
    ready->leader = raft->leader;
    ready->role = raft->role;
    ready->soft_state_changed =
        raft->shown_leader != raft->leader || raft->shown_role != raft->role;
    raft->shown_leader = raft->leader;
    raft->shown_role = raft->role;

    ready->hard_state = raft_hard_state_now(raft);
    const struct raft_hard_state *shown = &raft->shown_hard_state;
    ready->has_hard_state = !hard_state_equal(&ready->hard_state, shown);
    ready->must_sync = raft_core_log_has_next_unstable(&raft->log) ||
                       ready->hard_state.term != shown->term ||
                       ready->hard_state.vote != shown->vote;
    raft->shown_hard_state = ready->hard_state;
}

static void show_append_work(struct raft *raft, struct raft_ready *ready) {
    struct raft_append_work *work = take_append_work(raft);
    if (raft->log.snapshot && !raft->log.snapshot_in_progress) {
        work->snapshot = raft_snapshot_copy(raft->log.snapshot);
    }
    raft_core_log_take_unstable(&raft->log, &work->entries);
    struct raft_message_list promises = raft->after_append;
    raft->after_append = work->after_append;
    work->after_append = promises;

    ready->append.any =
        ready->has_hard_state || work->entries.count > 0 || work->snapshot || promises.count > 0;
    if (!ready->append.any) {
        recycle_append_work(raft, work);
        return;
    }
    work->number = ++raft->append_works;
    ready->append.number = work->number;
    ready->append.term = raft->term;
    /* Not the last entry of this work: while anything is unstable, every work vouches for all of
     * it. The report of the work that held it may come when the term has moved on, and is not
     * believed then, because a write that replaces the entries may already be queued behind it. */
    if (raft_core_log_has_unstable(&raft->log)) ready->append.last = raft->log.last;
    if (work->snapshot) ready->append.snapshot = work->snapshot->id;
    enqueue_append_work(raft, work);
    ready->snapshot = work->snapshot;
    ready->entries = work->entries.items;
    ready->entry_count = work->entries.count;
    if (raft->config.async_storage_writes) {
        ready->messages_after_append = work->after_append.items;
        ready->message_after_append_count = work->after_append.count;
    }
}

static void show_apply_work(struct raft *raft, struct raft_ready *ready) {
    bool unstable_too = !raft->config.async_storage_writes;
    if (!raft_core_log_has_committed(&raft->log, unstable_too)) return;
    struct raft_apply_work *work = take_apply_work(raft);
    raft_core_log_take_committed(&raft->log, unstable_too, &work->entries);
    if (raft->applying_last) {
        raft->applying_last->next = work;
    } else {
        raft->applying = work;
    }
    raft->applying_last = work;
    ready->committed = work->entries.items;
    ready->committed_count = work->entries.count;
}

/* Synchronous style: the owner persists before it sends anything, so promises go along; those to
 * this replica itself are stepped by raft_advance. */
static void move_promises(struct raft *raft, const struct raft_ready *ready) {
    if (!ready->append.any) return;
    const struct raft_message_list *promises = &raft->appending_last->after_append;
    for (uint32_t at = 0; at < promises->count; at++) {
        if (promises->items[at].to == raft->config.id) continue;
        raft_outbox_add(raft_outbox_filling(raft), &promises->items[at]);
    }
}

static void show_messages(struct raft *raft, struct raft_ready *ready) {
    struct raft_outbox *outbox = raft_outbox_filling(raft);
    raft_outbox_seal(outbox);
    ready->messages = outbox->messages.items;
    ready->message_count = outbox->messages.count;
    const struct raft_read_state_list *read_states = &raft->read_states[raft->outbox_filling];
    ready->read_states = read_states->items;
    ready->read_state_count = read_states->count;

    raft->outbox_filling = 1 - raft->outbox_filling;
    raft_outbox_clear(raft_outbox_filling(raft));
    raft_read_state_list_clear(&raft->read_states[raft->outbox_filling]);
}

void raft_ready(struct raft *raft, struct raft_ready *ret_ready) {
    ASSERT(!raft->advance_wanted);
    recycle_retired(raft);
    if (raft->appends_wanted) raft_broadcast_append(raft);
    if (raft->reads.round_wanted) raft_broadcast_heartbeat(raft);
    *ret_ready = (struct raft_ready){0};
    show_state(raft, ret_ready);
    /* Before the unstable entries are taken: what is committed does not depend on that. */
    show_apply_work(raft, ret_ready);
    show_append_work(raft, ret_ready);
    if (!raft->config.async_storage_writes) {
        move_promises(raft, ret_ready);
        raft->advance_wanted = true;
        raft->advance_append = ret_ready->append;
    }
    show_messages(raft, ret_ready);
}

/* ---- hearing back ---- */

void raft_applied_to(struct raft *raft, uint64_t index, size_t bytes) {
    if (index < raft->log.applied) index = raft->log.applied; /* a snapshot was faster */
    raft_core_log_applied_to(&raft->log, index, bytes);
    raft_maybe_auto_leave(raft);
}

static void append_done(struct raft *raft, const struct raft_append *append) {
    if (append->last.index > 0 && append->term == raft->term) {
        raft_core_log_stable_to(&raft->log, append->last);
    }
    /* A snapshot holds committed state: good in any term. */
    if (append->snapshot.index > 0) {
        raft_core_log_snapshot_stable(&raft->log, append->snapshot.index);
        raft_applied_to(raft, append->snapshot.index, 0);
    }
}

void raft_append_done(struct raft *raft, const struct raft_append *append) {
    ASSERT(raft->config.async_storage_writes);
    if (!append->any) return;
    ASSERT_CMP(append->number, <=, raft->append_works);
    retire_append_works(raft, append->number);
    append_done(raft, append);
}

static void apply_done(struct raft *raft, uint64_t index, size_t payload_bytes) {
    raft_applied_to(raft, index, payload_bytes);
    raft->uncommitted_bytes -=
        payload_bytes < raft->uncommitted_bytes ? payload_bytes : raft->uncommitted_bytes;
    retire_apply_works(raft, index);
}

void raft_apply_done(struct raft *raft, uint64_t index, size_t payload_bytes) {
    ASSERT(raft->config.async_storage_writes);
    apply_done(raft, index, payload_bytes);
}

void raft_advance(struct raft *raft) {
    ASSERT(!raft->config.async_storage_writes);
    ASSERT(raft->advance_wanted);
    raft->advance_wanted = false;
    struct raft_append append = raft->advance_append;
    if (append.any) {
        retire_append_works(raft, append.number);
        const struct raft_message_list *promises = &raft->retired->after_append;
        for (uint32_t at = 0; at < promises->count; at++) {
            if (promises->items[at].to != raft->config.id) continue;
            /* Stale by now, or removed from the configuration: then it counts no more. */
            enum status status = raft_step(raft, &promises->items[at]);
            ASSERT(status == STATUS_OK || status == STATUS_NOT_FOUND);
        }
        append_done(raft, &append);
    }
    if (raft->applying) {
        const struct raft_entry_list *entries = &raft->applying->entries;
        apply_done(raft, entries->items[entries->count - 1].id.index,
                   raft_entry_list_bytes(entries, 0));
    }
}
