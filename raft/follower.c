/* The follower's side of replication: taking entries, heartbeats and snapshots (thesis 3.5, 5). */
#include "base/assert.h"
#include "raft/internal.h"

static void answer_append(struct raft *raft, const struct raft_message *message, uint64_t index) {
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE,
                                          .to = message->from,
                                          .log = {.index = index},
                                          .sent_us = message->sent_us});
}

/* Says where the logs can still agree: no entry of a term above the leader's at that place can. */
static void reject_append(struct raft *raft, const struct raft_message *message) {
    uint64_t last = raft->log.last.index;
    struct raft_log_id guess = {.term = message->log.term,
                                .index = message->log.index < last ? message->log.index : last};
    struct raft_log_id hint = raft_core_log_find_conflict_by_term(&raft->log, guess);
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE,
                                          .to = message->from,
                                          .log = {hint.term, message->log.index},
                                          .reject = true,
                                          .reject_hint = hint.index,
                                          .sent_us = message->sent_us});
}

enum status raft_handle_append(struct raft *raft, const struct raft_message *message) {
    if (message->log.index < raft->log.committed) {
        answer_append(raft, message, raft->log.committed); /* known long since */
        return STATUS_OK;
    }
    if (!raft_core_log_matches(&raft->log, message->log)) {
        reject_append(raft, message);
        return STATUS_OK;
    }
    enum status status = raft_core_log_append_after(&raft->log, message->log, message->entries,
                                                    message->entry_count);
    if (status != STATUS_OK) {
        /* One of the two has lost what it promised; nobody can say here which. */
        log_error("raft_append_contradicts_commit", "%s from=%lu previous=%lu commit=%lu",
                  raft->config.log_prefix ? raft->config.log_prefix : "",
                  (unsigned long)message->from, (unsigned long)message->log.index,
                  (unsigned long)raft->log.committed);
        return STATUS_CORRUPTION;
    }
    if (message->truncated > raft->leader_truncated) raft->leader_truncated = message->truncated;
    /* The leader's commit index says nothing about what lies beyond this message. */
    uint64_t covered = message->log.index + message->entry_count;
    raft_core_log_commit_to(&raft->log, message->commit < covered ? message->commit : covered);
    answer_append(raft, message, covered);
    return STATUS_OK;
}

enum status raft_handle_heartbeat(struct raft *raft, const struct raft_message *message) {
    if (message->commit > raft->log.last.index) {
        /* The leader was told that these entries are durable here. */
        log_error("raft_log_lost", "%s from=%lu commit=%lu last=%lu",
                  raft->config.log_prefix ? raft->config.log_prefix : "",
                  (unsigned long)message->from, (unsigned long)message->commit,
                  (unsigned long)raft->log.last.index);
        return STATUS_CORRUPTION;
    }
    raft_core_log_commit_to(&raft->log, message->commit);
    if (message->quiesce && raft_follow_quiesce(raft, message)) return STATUS_OK;
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_RESPONSE,
                                          .to = message->from,
                                          .context = message->context,
                                          .reject = message->quiesce,
                                          .sent_us = message->sent_us});
    return STATUS_OK;
}

/* False: the snapshot brings nothing, or is not for this replica. */
static bool restore(struct raft *raft, const struct raft_snapshot *snapshot) {
    if (snapshot->id.index <= raft->log.committed) return false;
    struct raft_conf_edit edit = {.conf = snapshot->conf};
    raft_conf_state_members(&snapshot->conf, &edit.members);
    if (!raft_id_set_has(&edit.members, raft->config.id)) {
        log_warn("raft_snapshot_for_others", "%s index=%lu",
                 raft->config.log_prefix ? raft->config.log_prefix : "",
                 (unsigned long)snapshot->id.index);
        return false;
    }
    if (raft_core_log_matches(&raft->log, snapshot->id)) {
        raft_core_log_commit_to(&raft->log, snapshot->id.index); /* the entries are here anyway */
        return false;
    }
    raft_core_log_restore(&raft->log, snapshot);
    raft_progress_set_done(&raft->progress); /* nothing known of before holds any more */
    raft_switch_configuration(raft, &edit);
    return true;
}

void raft_handle_snapshot(struct raft *raft, const struct raft_message *message) {
    bool restored = restore(raft, message->snapshot);
    answer_append(raft, message, restored ? raft->log.last.index : raft->log.committed);
}
