/* Ready work: what the owner has to persist, send and apply, and its reports when that is done. */
#include "base/assert.h"
#include "base/memory.h"
#include "raft/internal.h"

/* ---- works, reused ---- */

static struct raft_append_work *append_work_new(struct raft *raft) {
    struct raft_append_work *work = raft->spare_appends;
    if (!work) return MEMORY_NEW(struct raft_append_work);
    raft->spare_appends = work->next;
    raft->spare_append_count--;
    work->next = NULL;
    return work;
}

static void append_work_free(struct raft_append_work *work) {
    raft_entry_list_done(&work->entries);
    raft_snapshot_free(work->snapshot);
    raft_message_list_done(&work->after_append);
    memory_free(work);
}

static void append_work_recycle(struct raft *raft, struct raft_append_work *work) {
    if (raft->spare_append_count >= RAFT_KEPT_WORKS_MAX) {
        append_work_free(work);
        return;
    }
    raft_entry_list_clear(&work->entries);
    raft_message_list_clear(&work->after_append);
    raft_snapshot_free(work->snapshot);
    work->snapshot = NULL;
    work->next = raft->spare_appends;
    raft->spare_appends = work;
    raft->spare_append_count++;
}

static void free_append_works(struct raft_append_work **list) {
    while (*list) {
        struct raft_append_work *work = *list;
        *list = work->next;
        append_work_free(work);
    }
}

static void apply_work_free(struct raft_apply_work *work) {
    raft_entry_list_done(&work->entries);
    memory_free(work);
}

void raft_shrink(struct raft *raft) {
    free_append_works(&raft->spare_appends);
    raft->spare_append_count = 0;
    if (raft->spare_apply) apply_work_free(raft->spare_apply);
    raft->spare_apply = NULL;
}

void raft_works_done(struct raft *raft) {
    raft_shrink(raft);
    free_append_works(&raft->appending);
    free_append_works(&raft->retired);
    while (raft->applying) {
        struct raft_apply_work *work = raft->applying;
        raft->applying = work->next;
        apply_work_free(work);
    }
    for (uint32_t at = 0; at < 2; at++) {
        raft_outbox_done(&raft->outbox[at]);
        raft_read_state_list_done(&raft->read_states[at]);
    }
    raft_message_list_done(&raft->after_append);
}

/* ---- taking ---- */

static bool unstable_applies(const struct raft *raft) {
    return !raft->config.async_storage_writes;
}

static bool hard_state_equal(struct raft_hard_state a, struct raft_hard_state b) {
    return a.term == b.term && a.vote == b.vote && a.commit == b.commit;
}

static bool soft_state_changed(const struct raft *raft) {
    return raft->shown_leader != raft->leader || raft->shown_role != raft->role;
}

static bool snapshot_waits(const struct raft *raft) {
    return raft->log.snapshot && !raft->log.snapshot_in_progress;
}

bool raft_has_ready(const struct raft *raft) {
    if (raft->advance_wanted) return false;
    return soft_state_changed(raft) ||
           !hard_state_equal(raft->shown_hard_state, raft_hard_state_now(raft)) ||
           snapshot_waits(raft) || raft->after_append.count > 0 ||
           raft->outbox[raft->outbox_filling].messages.count > 0 ||
           raft->read_states[raft->outbox_filling].count > 0 || raft->appends_wanted ||
           raft->reads.round_wanted || raft_core_log_has_next_unstable(&raft->log) ||
           raft_core_log_has_committed(&raft->log, unstable_applies(raft));
}

static void take_states(struct raft *raft, struct raft_ready *ready) {
    ready->leader = raft->leader;
    ready->role = raft->role;
    ready->soft_state_changed = soft_state_changed(raft);
    raft->shown_leader = raft->leader;
    raft->shown_role = raft->role;

    struct raft_hard_state now = raft_hard_state_now(raft), before = raft->shown_hard_state;
    ready->hard_state = now;
    ready->has_hard_state = !hard_state_equal(before, now);
    ready->must_sync = before.term != now.term || before.vote != now.vote;
    raft->shown_hard_state = now;
}

/* The end of the log when the work was taken; nothing when all of it is known to be durable. */
static struct raft_log_id attested_last(const struct raft *raft) {
    if (!raft_core_log_has_unstable(&raft->log)) return (struct raft_log_id){0, 0};
    return raft->log.last;
}

static void take_append(struct raft *raft, struct raft_ready *ready) {
    bool snapshot = snapshot_waits(raft);
    bool entries = raft_core_log_has_next_unstable(&raft->log);
    if (!ready->has_hard_state && !snapshot && !entries && raft->after_append.count == 0) return;

    struct raft_append_work *work = append_work_new(raft);
    work->number = ++raft->append_works;
    ready->append = (struct raft_append){
        .any = true, .last = attested_last(raft), .term = raft->term, .number = work->number};
    if (snapshot) {
        work->snapshot = raft_snapshot_copy(raft->log.snapshot);
        ready->snapshot = work->snapshot;
        ready->append.snapshot = work->snapshot->id;
    }
    raft_core_log_take_unstable(&raft->log, &work->entries);
    ready->entries = work->entries.items;
    ready->entry_count = work->entries.count;
    ready->must_sync |= entries || snapshot;

    struct raft_message_list filled = raft->after_append;
    raft->after_append = work->after_append;
    work->after_append = filled;
    ready->messages_after_append = work->after_append.items;
    ready->message_after_append_count = work->after_append.count;

    if (raft->appending_last && raft->appending) {
        raft->appending_last->next = work;
    } else {
        raft->appending = work;
    }
    raft->appending_last = work;
}

static void take_committed(struct raft *raft, struct raft_ready *ready) {
    if (!raft_core_log_has_committed(&raft->log, unstable_applies(raft))) return;
    struct raft_apply_work *work = raft->spare_apply;
    raft->spare_apply = NULL;
    if (!work) work = MEMORY_NEW(struct raft_apply_work);
    raft_core_log_take_committed(&raft->log, unstable_applies(raft), &work->entries);
    work->next = NULL;
    if (raft->applying) {
        raft->applying_last->next = work;
    } else {
        raft->applying = work;
    }
    raft->applying_last = work;
    ready->committed = work->entries.items;
    ready->committed_count = work->entries.count;
}

/* Synchronous style: the owner persists first and sends then, so promises to others join the
 * messages; those to this replica are stepped by raft_advance. */
static void join_promises(struct raft *raft, struct raft_ready *ready) {
    for (uint32_t at = 0; at < ready->message_after_append_count; at++) {
        const struct raft_message *message = &ready->messages_after_append[at];
        if (message->to != raft->config.id) {
            raft_outbox_add(raft_outbox_filling(raft), message);
        }
    }
    ready->messages_after_append = NULL;
    ready->message_after_append_count = 0;
    raft->advance_wanted = true;
    raft->advance_append = ready->append;
}

static void recycle_retired(struct raft *raft) {
    while (raft->retired) {
        struct raft_append_work *work = raft->retired;
        raft->retired = work->next;
        append_work_recycle(raft, work);
    }
}

void raft_ready(struct raft *raft, struct raft_ready *ret_ready) {
    ASSERT(!raft->advance_wanted);
    recycle_retired(raft);
    if (raft->reads.round_wanted) raft_broadcast_heartbeat(raft);
    if (raft->appends_wanted) raft_broadcast_append(raft);

    struct raft_ready ready = {0};
    take_states(raft, &ready);
    take_committed(raft, &ready);
    take_append(raft, &ready);
    if (!raft->config.async_storage_writes) join_promises(raft, &ready);

    uint32_t taken = raft->outbox_filling;
    raft->outbox_filling = 1 - taken;
    raft_outbox_clear(&raft->outbox[1 - taken]); /* borrowed since the last ready work */
    raft_read_state_list_clear(&raft->read_states[1 - taken]);
    struct raft_outbox *outbox = &raft->outbox[taken];
    raft_outbox_seal(outbox);
    ready.messages = outbox->messages.items;
    ready.message_count = outbox->messages.count;
    ready.read_states = raft->read_states[taken].items;
    ready.read_state_count = raft->read_states[taken].count;
    *ret_ready = ready;
}

/* ---- reports ---- */

void raft_applied_to(struct raft *raft, uint64_t index, size_t bytes) {
    raft_core_log_applied_to(&raft->log, index, bytes);
    raft->uncommitted_bytes -= bytes < raft->uncommitted_bytes ? bytes : raft->uncommitted_bytes;
    raft_maybe_auto_leave(raft);
}

/* Works retire in order; their messages stay until the next raft_ready. */
static void retire_works(struct raft *raft, uint64_t number) {
    while (raft->appending && raft->appending->number <= number) {
        struct raft_append_work *work = raft->appending;
        raft->appending = work->next;
        work->next = raft->retired;
        raft->retired = work;
    }
    if (!raft->appending) raft->appending_last = NULL;
}

void raft_append_done(struct raft *raft, const struct raft_append *append) {
    if (!append->any) return;
    retire_works(raft, append->number);
    /* In a later term the same positions may hold other entries that are on their way: only the
     * report of a work taken in this term says what is durable (the ABA problem). */
    if (append->term == raft->term && append->last.index > 0) {
        raft_core_log_stable_to(&raft->log, append->last);
    }
    if (append->snapshot.index > 0) {
        raft_core_log_snapshot_stable(&raft->log, append->snapshot.index);
        if (append->snapshot.index > raft->log.applied) {
            raft_applied_to(raft, append->snapshot.index, 0);
        }
    }
}

void raft_apply_done(struct raft *raft, uint64_t index, size_t payload_bytes) {
    while (raft->applying) {
        struct raft_apply_work *work = raft->applying;
        if (work->entries.items[work->entries.count - 1].id.index > index) break;
        raft->applying = work->next;
        raft_entry_list_clear(&work->entries);
        if (raft->spare_apply) {
            apply_work_free(work);
        } else {
            raft->spare_apply = work;
        }
    }
    if (!raft->applying) raft->applying_last = NULL;
    /* A snapshot may have overtaken what was handed out. */
    if (index > raft->log.applied) raft_applied_to(raft, index, payload_bytes);
}

void raft_advance(struct raft *raft) {
    ASSERT(raft->advance_wanted);
    raft->advance_wanted = false;
    struct raft_append append = raft->advance_append;
    if (append.any) {
        /* Stepping may add promises, but to the list being filled, never to this work's. */
        const struct raft_message_list *promises = &raft->appending->after_append;
        for (uint32_t at = 0; at < promises->count; at++) {
            if (promises->items[at].to != raft->config.id) continue;
            enum status status = raft_step(raft, &promises->items[at]);
            ASSERT(status == STATUS_OK || status == STATUS_NOT_FOUND); /* own promises are sane */
        }
    }
    raft_append_done(raft, &append);
    if (!raft->applying) return;
    const struct raft_entry_list *applied = &raft->applying->entries;
    size_t bytes = raft_entry_list_bytes(applied, 0);
    raft_apply_done(raft, applied->items[applied->count - 1].id.index, bytes);
}
