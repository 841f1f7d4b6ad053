/* The leader's side of replication (thesis 3.5, 3.6.2; flow control 10.2). */
#include "base/assert.h"
#include "raft/internal.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* ---- the own log ---- */

static size_t payload_bytes(const struct raft_entry *entries, uint32_t count) {
    size_t bytes = 0;
    for (uint32_t at = 0; at < count; at++) {
        bytes += payload_slice(entries[at].payload).len;
    }
    return bytes;
}

/* Bounds the tail that a leader without a quorum piles up. Empty entries always pass, and so does a
 * single proposal of any size when nothing else waits. */
static bool account_uncommitted(struct raft *raft, size_t bytes) {
    size_t most = raft->config.uncommitted_bytes_max;
    bool full =
        most && raft->uncommitted_bytes > 0 && bytes > 0 && raft->uncommitted_bytes + bytes > most;
    if (full) return false;
    raft->uncommitted_bytes += bytes;
    return true;
}

/* Numbers the entries in place. The own acknowledgement waits for the own disk (10.2.1). */
bool raft_append_own(struct raft *raft, struct raft_entry *entries, uint32_t count) {
    if (!account_uncommitted(raft, payload_bytes(entries, count))) return false;
    for (uint32_t at = 0; at < count; at++) {
        entries[at].id = (struct raft_log_id){raft->term, raft->log.last.index + 1 + at};
    }
    raft_core_log_append(&raft->log, entries, count);
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE,
                                          .to = raft->config.id,
                                          .log = {0, raft->log.last.index}});
    return true;
}

enum status raft_propose_entries(struct raft *raft, struct raft_entry *entries, uint32_t count) {
    ASSERT(raft->role == RAFT_LEADER);
    if (!raft_progress_of(raft, raft->config.id)) return STATUS_DROPPED; /* removed meanwhile */
    if (raft->transfer_target != RAFT_NO_REPLICA) return STATUS_DROPPED;
    uint64_t pending_before = raft->pending_conf_index;
    for (uint32_t at = 0; at < count; at++) {
        if (entries[at].kind == RAFT_ENTRY_NORMAL) continue;
        uint64_t index = raft->log.last.index + 1 + at;
        enum status status = raft_vet_conf_change(raft, &entries[at], index);
        if (status != STATUS_OK) return status;
    }
    if (!raft_append_own(raft, entries, count)) {
        raft->pending_conf_index = pending_before;
        return STATUS_DROPPED;
    }
    if (raft->config.coalesce_appends) {
        raft->appends_wanted = true;
    } else {
        raft_broadcast_append(raft);
    }
    return STATUS_OK;
}

/* ---- feeding followers ---- */

static bool send_snapshot(struct raft *raft, struct raft_progress *progress) {
    /* Nobody is there to take it: do not produce one. */
    if (!progress->recently_active) return false;
    struct raft_snapshot snapshot = {0};
    if (raft->log.snapshot) {
        snapshot = *raft->log.snapshot;
        (void)payload_ref(snapshot.data); /* the same pointer comes back */
    } else {
        const struct raft_storage *storage = &raft->log.storage;
        enum status status = storage->snapshot(storage->ctx, progress->id, &snapshot);
        if (status != STATUS_OK)
            return false; /* not ready: the next heartbeat's answer asks again */
    }
    raft_progress_become_snapshot(progress, snapshot.id.index);
    raft_send(raft, (struct raft_message){
                        .kind = RAFT_MSG_SNAPSHOT, .to = progress->id, .snapshot = &snapshot});
    payload_unref(snapshot.data);
    return true;
}

bool raft_maybe_send_append(struct raft *raft, struct raft_progress *progress, bool if_empty) {
    if (raft_progress_paused(progress)) return false;
    struct raft_log_id previous = {0, progress->next - 1};
    if (raft_core_log_term(&raft->log, previous.index, &previous.term) != STATUS_OK) {
        return send_snapshot(raft, progress);
    }
    struct raft_entry_list *entries = &raft_outbox_filling(raft)->entries;
    uint32_t before = entries->count;
    bool window_open =
        progress->state != RAFT_PROGRESS_REPLICATE || !raft_inflights_full(&progress->inflights);
    if (window_open) {
        enum status status =
            raft_core_log_slice(&raft->log, progress->next, raft->log.last.index,
                                raft->config.append_bytes_max, RAFT_APPEND_ENTRIES_MAX, entries);
        if (status != STATUS_OK) return send_snapshot(raft, progress);
    }
    uint32_t count = entries->count - before;
    if (count == 0 && !if_empty) return false;
    size_t bytes = raft_entry_list_bytes(entries, before);
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND,
                                          .to = progress->id,
                                          .log = previous,
                                          .commit = raft->log.committed,
                                          .entry_count = count});
    raft_progress_sent_entries(progress, count, bytes);
    progress->commit_sent = raft->log.committed;
    return true;
}

void raft_send_append(struct raft *raft, struct raft_progress *progress) {
    (void)raft_maybe_send_append(raft, progress, true); /* paused: it will be fed when it answers */
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
    return progress ? progress->match : 0;
}

/* Counting replicas commits entries of the own term only; earlier ones commit with them (3.6.2). */
bool raft_maybe_commit(struct raft *raft) {
    uint64_t index =
        raft_quorum_acked(&raft->conf.voters, &raft->conf.voters_outgoing, match_of, raft);
    if (index == RAFT_QUORUM_EVERYTHING || index <= raft->log.committed) return false;
    if (!raft_core_log_matches(&raft->log, (struct raft_log_id){raft->term, index})) return false;
    raft_core_log_commit_to(&raft->log, index);
    return true;
}

/* ---- answers ---- */

static void handle_rejection(struct raft *raft, struct raft_progress *progress,
                             const struct raft_message *message) {
    uint64_t probe = message->reject_hint;
    if (message->log.term > 0) {
        /* The follower's log has at most that term at the hint. Whatever has a larger term here
         * cannot match there: skip it in one step (thesis 3.5, last paragraph). */
        struct raft_log_id guess = {message->log.term, message->reject_hint};
        probe = raft_core_log_find_conflict_by_term(&raft->log, guess).index;
    }
    if (!raft_progress_rejected(progress, message->log.index, probe)) return;
    if (progress->state == RAFT_PROGRESS_REPLICATE) raft_progress_become_probe(progress);
    raft_send_append(raft, progress);
}

static void note_match(struct raft *raft, struct raft_progress *progress, uint64_t index) {
    switch (progress->state) {
    case RAFT_PROGRESS_PROBE:
        raft_progress_become_replicate(progress);
        break;
    case RAFT_PROGRESS_SNAPSHOT:
        /* Whatever snapshot it got, its log connects to this one now. */
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

static void handle_acknowledgement(struct raft *raft, struct raft_progress *progress,
                                   const struct raft_message *message) {
    bool probed = progress->match == message->log.index && progress->state == RAFT_PROGRESS_PROBE;
    if (!raft_progress_acked(progress, message->log.index) && !probed) return;
    note_match(raft, progress, message->log.index);
    bool other = progress->id != raft->config.id;
    if (raft_maybe_commit(raft)) {
        raft_release_early_reads(raft);
        raft_broadcast_append(raft);
    } else if (other && raft_progress_can_bump_commit(progress, raft->log.committed)) {
        raft_send_append(raft, progress);
    }
    if (!other) return;
    while (raft_maybe_send_append(raft, progress, false)) {
        /* Until the window is full or everything is on its way. */
    }
    raft_continue_transfer(raft, progress);
}

static void note_echo(struct raft_progress *progress, const struct raft_message *message) {
    progress->recently_active = true;
    if (message->sent_us > progress->lease_sent_us) progress->lease_sent_us = message->sent_us;
}

void raft_handle_append_response(struct raft *raft, const struct raft_message *message) {
    struct raft_progress *progress = raft_progress_of(raft, message->from);
    note_echo(progress, message);
    if (message->reject) {
        handle_rejection(raft, progress, message);
    } else {
        handle_acknowledgement(raft, progress, message);
    }
}

/* ---- heartbeats ---- */

/* A heartbeat never tells a commit index beyond what the follower is known to have. */
void raft_broadcast_heartbeat(struct raft *raft) {
    uint64_t position = raft_reads_position(raft);
    raft->reads.round_wanted = false;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id == raft->config.id) continue;
        uint64_t commit = min_u64(progress->match, raft->log.committed);
        raft_send(raft, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT,
                                              .to = progress->id,
                                              .commit = commit,
                                              .context = position});
        progress->commit_sent = commit;
    }
}

void raft_handle_heartbeat_response(struct raft *raft, const struct raft_message *message) {
    struct raft_progress *progress = raft_progress_of(raft, message->from);
    note_echo(progress, message);
    progress->paused = false;
    bool behind = progress->match < raft->log.last.index;
    if (behind || progress->state == RAFT_PROGRESS_PROBE) raft_send_append(raft, progress);
    if (message->context > progress->read_acked) {
        progress->read_acked = message->context;
        raft_confirm_reads(raft);
    }
}
