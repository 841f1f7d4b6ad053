/* The leader's side of replication: appending, feeding followers, counting what a quorum has
 * (thesis 3.5, 3.6, 10.2). */
#include "base/assert.h"
#include "raft/internal.h"

static size_t entries_bytes(const struct raft_entry *entries, uint32_t count) {
    size_t bytes = 0;
    for (uint32_t at = 0; at < count; at++) {
        bytes += payload_slice(entries[at].payload).len;
    }
    return bytes;
}

/* An empty tail takes a proposal of any size; empty entries are never refused. */
static bool fits_uncommitted(const struct raft *raft, size_t bytes) {
    size_t max = raft->config.uncommitted_bytes_max;
    if (max == 0 || raft->uncommitted_bytes == 0 || bytes == 0) return true;
    return raft->uncommitted_bytes + bytes <= max;
}

/* The leader's own acknowledgement counts once its entries are durable (10.2.1). Proposals that
 * become durable together need one, not one each. */
static void acknowledge_own(struct raft *raft) {
    struct raft_message_list *promises = &raft->after_append;
    struct raft_message *last = promises->count ? &promises->items[promises->count - 1] : NULL;
    uint64_t index = raft->log.last.index;
    if (last && last->kind == RAFT_MSG_APPEND_RESPONSE && last->to == raft->config.id &&
        last->term == raft->term) {
        ASSERT_CMP(last->log.index, <, index);
        last->log.index = index;
        return;
    }
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE,
                                          .to = raft->config.id,
                                          .log = {.index = index}});
}

/* Numbers the entries and appends them. False, nothing changed: too much is uncommitted. */
bool raft_append_own(struct raft *raft, struct raft_entry *entries, uint32_t count) {
    size_t bytes = entries_bytes(entries, count);
    if (!fits_uncommitted(raft, bytes)) return false;
    raft->uncommitted_bytes += bytes;
    for (uint32_t at = 0; at < count; at++) {
        entries[at].id = (struct raft_log_id){raft->term, raft->log.last.index + 1 + at};
    }
    raft_core_log_append(&raft->log, entries, count);
    acknowledge_own(raft);
    return true;
}

enum status raft_propose_entries(struct raft *raft, struct raft_entry *entries, uint32_t count) {
    ASSERT(raft->role == RAFT_LEADER);
    raft_unquiesce(raft);
    if (!raft_progress_of(raft, raft->config.id)) return STATUS_DROPPED; /* removed */
    if (raft->transfer_target != RAFT_NO_REPLICA) return STATUS_DROPPED;
    if (!fits_uncommitted(raft, entries_bytes(entries, count))) return STATUS_DROPPED;
    for (uint32_t at = 0; at < count; at++) {
        if (entries[at].kind == RAFT_ENTRY_NORMAL) continue;
        enum status status =
            raft_vet_conf_change(raft, &entries[at], raft->log.last.index + 1 + at);
        if (status != STATUS_OK) return status;
    }
    bool accepted = raft_append_own(raft, entries, count);
    ASSERT(accepted); /* vetting only ever makes entries smaller */
    if (raft->config.coalesce_appends) {
        raft->appends_wanted = true;
    } else {
        raft_broadcast_append(raft);
    }
    return STATUS_OK;
}

/* The follower needs what was compacted away: its log starts over from a snapshot (thesis 5). */
static bool maybe_send_snapshot(struct raft *raft, struct raft_progress *progress) {
    if (!progress->recently_active) return false; /* nobody there to take it */
    struct raft_snapshot snapshot = {0};
    if (raft->log.snapshot) {
        snapshot = *raft->log.snapshot;
        (void)payload_ref(snapshot.data); /* the same pointer comes back */
    } else {
        enum status status =
            raft->log.storage.snapshot(raft->log.storage.ctx, progress->id, &snapshot);
        if (status == STATUS_BUSY) return false;
        if (status != STATUS_OK) fatal("raft: snapshot: %s", status_text(status));
    }
    ASSERT_CMP(snapshot.id.index, >, 0);
    raft_progress_become_snapshot(progress, snapshot.id.index);
    raft_send(raft, (struct raft_message){
                        .kind = RAFT_MSG_SNAPSHOT, .to = progress->id, .snapshot = &snapshot});
    payload_unref(snapshot.data);
    return true;
}

static bool has_bound(const struct raft *raft) {
    return raft->config.catch_up_bytes > 0;
}

/* Bytes that a follower may have on the way. What is not committed yet always fits: only what lies
 * before that, which nobody waits for, is held back. */
static uint64_t bytes_ahead_max(const struct raft *raft) {
    uint64_t twice = 2 * (uint64_t)raft->uncommitted_bytes;
    return twice > raft->config.catch_up_bytes ? twice : raft->config.catch_up_bytes;
}

static bool window_full(const struct raft *raft, const struct raft_progress *progress) {
    return raft_inflights_full(&progress->inflights) ||
           (has_bound(raft) && progress->inflights.bytes >= bytes_ahead_max(raft));
}

/* Bytes of the next append: up to what the window still has, by an entry at least. */
static size_t append_bytes_max(const struct raft *raft, const struct raft_progress *progress) {
    size_t max = raft->config.append_bytes_max;
    if (!has_bound(raft) || progress->inflights.bytes >= bytes_ahead_max(raft)) return max;
    uint64_t left = bytes_ahead_max(raft) - progress->inflights.bytes;
    return max == 0 || left < max ? (size_t)left : max;
}

/* Sends what the follower lacks, within its window; an append without entries only `if_empty`. */
bool raft_maybe_send_append(struct raft *raft, struct raft_progress *progress, bool if_empty) {
    if (raft_progress_paused(progress)) return false;
    struct raft_log_id previous = {.index = progress->next - 1};
    if (raft_core_log_term(&raft->log, previous.index, &previous.term) != STATUS_OK) {
        return maybe_send_snapshot(raft, progress);
    }
    /* With a full window an empty append still goes out once in a while: had all of the window been
     * lost, its rejection would be the only way to learn that. */
    struct raft_entry_list *list = &raft_outbox_filling(raft)->entries;
    uint32_t before = list->count;
    enum status status = STATUS_OK;
    if (progress->state != RAFT_PROGRESS_REPLICATE || !window_full(raft, progress)) {
        status =
            raft_core_log_slice(&raft->log, progress->next, raft->log.last.index,
                                append_bytes_max(raft, progress), RAFT_APPEND_ENTRIES_MAX, list);
    }
    uint32_t count = list->count - before;
    if (count == 0 && !if_empty) return false;
    if (status != STATUS_OK) return maybe_send_snapshot(raft, progress);
    size_t bytes = raft_entry_list_bytes(list, before);
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND,
                                          .to = progress->id,
                                          .log = previous,
                                          .commit = raft->log.committed,
                                          .truncated = raft_core_log_first_index(&raft->log) - 1,
                                          .entry_count = count});
    raft_progress_sent_entries(progress, count, bytes);
    if (progress->state == RAFT_PROGRESS_REPLICATE && window_full(raft, progress))
        progress->paused = true;
    progress->commit_sent = raft->log.committed;
    progress->sent_tick = raft->ticks;
    return true;
}

void raft_send_append(struct raft *raft, struct raft_progress *progress) {
    (void)raft_maybe_send_append(raft, progress, true); /* paused: it is told later */
}

void raft_broadcast_append(struct raft *raft) {
    raft->appends_wanted = false;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id != raft->config.id) raft_send_append(raft, progress);
    }
}

/* ---- committing ---- */

static uint64_t match_of(const void *ctx, uint64_t id) {
    const struct raft_progress *progress = raft_progress_of(ctx, id);
    return progress && !progress->log_lost ? progress->match : 0;
}

/* Only an entry of the own term is committed by counting (3.6.2). */
bool raft_maybe_commit(struct raft *raft) {
    uint64_t index =
        raft_quorum_acked(&raft->conf.voters, &raft->conf.voters_outgoing, match_of, raft);
    if (index <= raft->log.committed) return false;
    if (!raft_core_log_matches(&raft->log, (struct raft_log_id){raft->term, index})) return false;
    raft_core_log_commit_to(&raft->log, index);
    return true;
}

/* ---- answers ---- */

/* Probes from where the logs can still agree: below every entry of a term that the follower's hint
 * rules out, so at most one probe per term (the follower does the same on its side). */
static void handle_rejection(struct raft *raft, struct raft_progress *progress,
                             const struct raft_message *message) {
    uint64_t hint = message->reject_hint;
    if (message->log.term > 0) {
        struct raft_log_id guess = {message->log.term, hint};
        hint = raft_core_log_find_conflict_by_term(&raft->log, guess).index;
    }
    if (!raft_progress_rejected(progress, message->log.index, hint)) return;
    if (progress->state == RAFT_PROGRESS_REPLICATE) raft_progress_become_probe(progress);
    raft_send_append(raft, progress);
}

static void leave_probe_or_snapshot(struct raft *raft, struct raft_progress *progress,
                                    uint64_t index) {
    switch (progress->state) {
    case RAFT_PROGRESS_PROBE:
        raft_progress_become_replicate(progress);
        break;
    case RAFT_PROGRESS_SNAPSHOT:
        /* Whichever snapshot it got, and from wherever: what counts is that the log goes on. */
        if (progress->match + 1 >= raft_core_log_first_index(&raft->log)) {
            raft_progress_become_probe(progress);
            raft_progress_become_replicate(progress);
        }
        break;
    case RAFT_PROGRESS_REPLICATE:
        raft_inflights_free_to(&progress->inflights, index);
        break;
    }
}

static void note_contact(struct raft *raft, struct raft_progress *progress,
                         const struct raft_message *message) {
    progress->recently_active = true;
    progress->heard_tick = raft->ticks;
    /* An echo from the future would be a peer's mistake: it must not stretch a lease. */
    if (message->sent_us > raft->now_us) return;
    uint64_t until_us = raft_promise_ends_us(raft, message->sent_us, message->promised_us);
    if (until_us > progress->promised_until_us) progress->promised_until_us = until_us;
}

/* Whether a commit is worth a message of its own. */
static bool tells_commits(const struct raft *raft) {
    return !raft->config.lazy_commits || raft_conf_change_pending(raft);
}

/* A follower that denies what it acknowledged in this term has lost its log, and with it who knows
 * what promises: it has no voice in this term any more, for commits, reads, leases or the contact
 * to a quorum, and is fed nothing that would cover it up. Heartbeats go on: by them it finds out.
 */
static void lose_follower(struct raft *raft, struct raft_progress *progress) {
    log_error("raft_follower_lost_log", "%s follower=%lu match=%lu",
              raft->config.log_prefix ? raft->config.log_prefix : "", (unsigned long)progress->id,
              (unsigned long)progress->match);
    progress->log_lost = true;
    progress->recently_active = false;
    progress->promised_until_us = 0;
    progress->read_acked = 0;
    if (raft->transfer_target == progress->id) raft_abort_transfer(raft);
}

void raft_handle_append_response(struct raft *raft, const struct raft_message *message) {
    struct raft_progress *progress = raft_progress_of(raft, message->from);
    if (progress->log_lost) return;
    if (message->reject && message->sent_us <= raft->now_us &&
        raft_progress_denies(progress, message->log.index, message->sent_us)) {
        lose_follower(raft, progress);
        return;
    }
    note_contact(raft, progress, message);
    if (message->reject) {
        handle_rejection(raft, progress, message);
        return;
    }
    uint64_t index = message->log.index;
    if (index > raft->log.last.index) return; /* nothing of this term can say so */
    bool known = progress->match == index && progress->state == RAFT_PROGRESS_PROBE;
    if (!raft_progress_acked(progress, index, raft->now_us) && !known) return;
    leave_probe_or_snapshot(raft, progress, index);
    bool other = progress->id != raft->config.id;
    bool telling = tells_commits(raft);
    if (raft_maybe_commit(raft)) {
        raft_release_early_reads(raft);
        if (telling) raft_broadcast_append(raft);
    } else if (other && telling && raft_progress_can_bump_commit(progress, raft->log.committed)) {
        raft_send_append(raft, progress);
    }
    if (!other) return;
    /* The window has moved: several messages may fit now. */
    while (raft_maybe_send_append(raft, progress, false)) {
    }
    raft_continue_transfer(raft, progress);
}

/* ---- heartbeats ---- */

static void send_heartbeat(struct raft *raft, struct raft_progress *progress) {
    /* Not beyond what is known to match: the rest of the follower's log may be another's. */
    uint64_t commit = progress->match < raft->log.committed ? progress->match : raft->log.committed;
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT,
                                          .to = progress->id,
                                          .commit = commit,
                                          .context = raft_reads_position(raft)});
    progress->commit_sent = commit;
    progress->sent_tick = raft->ticks;
}

void raft_broadcast_heartbeat(struct raft *raft) {
    raft->reads.round_wanted = false;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id != raft->config.id) send_heartbeat(raft, progress);
    }
}

/* An append does for a follower what a heartbeat does, and its answer does the same for the leader,
 * but comes only when the entries are durable: a disk that hangs must not look like a follower that
 * is gone, so appends count only while they are answered. Reads wait for a round (R3 of
 * read_index.c), and a follower that is not fed for an answer to it. */
static bool is_spared(const struct raft *raft, const struct raft_progress *progress) {
    uint32_t interval = raft->config.heartbeat_ticks;
    return raft->config.spare_heartbeats && progress->state == RAFT_PROGRESS_REPLICATE &&
           !progress->paused && raft_reads_position(raft) == 0 &&
           raft->ticks - progress->sent_tick < interval &&
           raft->ticks - progress->heard_tick < interval;
}

void raft_beat(struct raft *raft) {
    raft->reads.round_wanted = false;
    raft->heartbeat_elapsed = 0;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id == raft->config.id) continue;
        if (!is_spared(raft, progress)) send_heartbeat(raft, progress);
        uint32_t sent_ago = (uint32_t)(raft->ticks - progress->sent_tick);
        if (sent_ago > raft->heartbeat_elapsed) raft->heartbeat_elapsed = sent_ago;
    }
}

/* Whether entries that were sent may be lost, or the follower waits to be fed. */
static bool needs_probe(const struct raft *raft, const struct raft_progress *progress) {
    if (progress->state == RAFT_PROGRESS_PROBE) return true; /* it may prove to be caught up */
    if (progress->match == raft->log.last.index) return false;
    return !raft->config.spare_heartbeats || progress->match == progress->match_answered;
}

void raft_handle_heartbeat_response(struct raft *raft, const struct raft_message *message) {
    struct raft_progress *progress = raft_progress_of(raft, message->from);
    if (progress->log_lost) return;
    note_contact(raft, progress, message);
    progress->paused = false;
    if (needs_probe(raft, progress)) raft_send_append(raft, progress);
    progress->match_answered = progress->match;
    if (message->context == 0) return;
    if (message->context > progress->read_acked) progress->read_acked = message->context;
    raft_confirm_reads(raft);
}

/* ---- the owner's reports ---- */

void raft_report_unreachable(struct raft *raft, uint64_t id) {
    struct raft_progress *progress = raft_progress_of(raft, id);
    /* Of a quiet group nothing is under way but notices, whose loss is noticed where they lack. */
    if (raft->role != RAFT_LEADER || !progress || raft->quiet) return;
    /* Sent optimistically, lost probably. */
    if (progress->state == RAFT_PROGRESS_REPLICATE) raft_progress_become_probe(progress);
}

void raft_report_snapshot(struct raft *raft, uint64_t id, bool failed) {
    struct raft_progress *progress = raft_progress_of(raft, id);
    if (raft->role != RAFT_LEADER || !progress) return;
    if (progress->state != RAFT_PROGRESS_SNAPSHOT) return;
    if (failed) progress->pending_snapshot = 0; /* probe from what is known instead */
    raft_progress_become_probe(progress);
    /* Sent: its answer comes first. Failed: a heartbeat's pause before the next try. */
    progress->paused = true;
}

uint64_t raft_min_match(const struct raft *raft) {
    uint64_t lowest = raft->log.committed;
    if (raft->role != RAFT_LEADER) return lowest;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        const struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id == raft->config.id || progress->log_lost) continue;
        if (progress->match < lowest) lowest = progress->match;
    }
    return lowest;
}
