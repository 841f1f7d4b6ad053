/* The follower's side of replication (thesis 3.5, 5.1). */
#include "base/assert.h"
#include "base/log.h"
#include "raft/internal.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Indexes without gaps after the previous entry, terms that never go down or beyond the sender's.
 */
static bool entries_sane(const struct raft_message *message) {
    uint64_t term = message->log.term;
    for (uint32_t at = 0; at < message->entry_count; at++) {
        const struct raft_entry *entry = &message->entries[at];
        if (entry->id.index != message->log.index + 1 + at) return false;
        if (entry->id.term < term || entry->id.term > message->term) return false;
        term = entry->id.term;
    }
    return true;
}

static void respond(struct raft *raft, const struct raft_message *to, uint64_t index) {
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE,
                                          .to = to->from,
                                          .log = {0, index},
                                          .sent_us = to->sent_us});
}

/* Tells the leader where the logs may still agree: the largest index here at or below its previous
 * entry whose term is at most that entry's. */
static void reject(struct raft *raft, const struct raft_message *message) {
    struct raft_log_id guess = {message->log.term,
                                min_u64(message->log.index, raft->log.last.index)};
    struct raft_log_id hint = raft_core_log_find_conflict_by_term(&raft->log, guess);
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE,
                                          .to = message->from,
                                          .log = {hint.term, message->log.index},
                                          .reject = true,
                                          .reject_hint = hint.index,
                                          .sent_us = message->sent_us});
}

enum status raft_handle_append(struct raft *raft, const struct raft_message *message) {
    if (!entries_sane(message)) return STATUS_INVALID;
    if (message->log.index < raft->log.committed) {
        /* Old news: what is committed here is known to agree. */
        respond(raft, message, raft->log.committed);
        return STATUS_OK;
    }
    if (!raft_core_log_matches(&raft->log, message->log)) {
        reject(raft, message);
        return STATUS_OK;
    }
    enum status status = raft_core_log_append_after(&raft->log, message->log, message->entries,
                                                    message->entry_count);
    if (status != STATUS_OK) return status;
    uint64_t last = message->log.index + message->entry_count;
    /* Beyond `last` the logs may still differ. */
    raft_core_log_commit_to(&raft->log, min_u64(message->commit, last));
    respond(raft, message, last);
    return STATUS_OK;
}

enum status raft_handle_heartbeat(struct raft *raft, const struct raft_message *message) {
    if (message->commit > raft->log.last.index) return STATUS_INVALID;
    raft_core_log_commit_to(&raft->log, message->commit);
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_RESPONSE,
                                          .to = message->from,
                                          .context = message->context,
                                          .sent_us = message->sent_us});
    return STATUS_OK;
}

/* True when the log was replaced by the snapshot; false when there was no need. */
static bool restore(struct raft *raft, const struct raft_snapshot *snapshot) {
    if (snapshot->id.index <= raft->log.committed) return false;
    struct raft_id_set members;
    raft_conf_state_members(&snapshot->conf, &members);
    /* Whoever is not in it cannot be meant: a replica that was removed, or a mix-up. */
    if (!raft_id_set_has(&members, raft->config.id)) return false;
    if (raft_core_log_matches(&raft->log, snapshot->id)) {
        raft_core_log_commit_to(&raft->log, snapshot->id.index);
        return false;
    }
    raft_core_log_restore(&raft->log, snapshot);
    struct raft_conf_edit edit = {.conf = snapshot->conf, .members = members, .fresh = members};
    raft_switch_configuration(raft, &edit);
    struct raft_progress *own = raft_progress_of(raft, raft->config.id);
    (void)raft_progress_acked(own, snapshot->id.index); /* it is the first thing it knows */
    return true;
}

void raft_handle_snapshot(struct raft *raft, const struct raft_message *message) {
    if (!raft_conf_state_valid(&message->snapshot->conf)) return;
    bool restored = restore(raft, message->snapshot);
    respond(raft, message, restored ? raft->log.last.index : raft->log.committed);
}
