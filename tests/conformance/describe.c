#include "tests/conformance/describe.h"

#include <ctype.h>
#include <stdlib.h>

static const char *message_names[] = {
    [RAFT_MSG_APPEND] = "MsgApp",
    [RAFT_MSG_APPEND_RESPONSE] = "MsgAppResp",
    [RAFT_MSG_VOTE] = "MsgVote",
    [RAFT_MSG_VOTE_RESPONSE] = "MsgVoteResp",
    [RAFT_MSG_PRE_VOTE] = "MsgPreVote",
    [RAFT_MSG_PRE_VOTE_RESPONSE] = "MsgPreVoteResp",
    [RAFT_MSG_HEARTBEAT] = "MsgHeartbeat",
    [RAFT_MSG_HEARTBEAT_RESPONSE] = "MsgHeartbeatResp",
    [RAFT_MSG_SNAPSHOT] = "MsgSnap",
    [RAFT_MSG_TRANSFER_LEADER] = "MsgTransferLeader",
    [RAFT_MSG_TIMEOUT_NOW] = "MsgTimeoutNow",
    [RAFT_MSG_PROPOSE] = "MsgProp",
    [RAFT_MSG_READ_INDEX] = "MsgReadIndex",
    [RAFT_MSG_READ_INDEX_RESPONSE] = "MsgReadIndexResp",
    [RAFT_MSG_FORGET_LEADER] = "MsgForgetLeader",
};

const char *describe_message_name(enum raft_message_kind kind) {
    return message_names[kind];
}

const char *describe_role(enum raft_role role) {
    static const char *names[] = {[RAFT_FOLLOWER] = "StateFollower",
                                  [RAFT_CANDIDATE] = "StateCandidate",
                                  [RAFT_LEADER] = "StateLeader",
                                  [RAFT_PRE_CANDIDATE] = "StatePreCandidate"};
    return names[role];
}

static void describe_ids(struct buf *out, const struct raft_id_set *set) {
    for (uint32_t at = 0; at < set->count; at++) {
        buf_printf(out, "%s%llu", at ? " " : "", (unsigned long long)set->ids[at]);
    }
}

static void describe_named_set(struct buf *out, const char *before, const struct raft_id_set *set,
                               const char *after) {
    buf_printf(out, "%s", before);
    describe_ids(out, set);
    buf_printf(out, "%s", after);
}

void describe_conf(struct buf *out, const struct raft_conf_state *conf) {
    describe_named_set(out, "voters=(", &conf->voters, ")");
    if (conf->voters_outgoing.count) {
        describe_named_set(out, "&&(", &conf->voters_outgoing, ")");
    }
    if (conf->learners.count) describe_named_set(out, " learners=(", &conf->learners, ")");
    if (conf->learners_next.count) {
        describe_named_set(out, " learners_next=(", &conf->learners_next, ")");
    }
    if (conf->auto_leave) buf_printf(out, " autoleave");
    buf_printf(out, "\n");
}

void describe_progress(struct buf *out, const struct raft_progress_view *view) {
    static const char *states[] = {[RAFT_PROBE] = "StateProbe",
                                   [RAFT_REPLICATE] = "StateReplicate",
                                   [RAFT_SNAPSHOT] = "StateSnapshot"};
    buf_printf(out, "%llu: %s match=%llu next=%llu", (unsigned long long)view->id,
               states[view->state], (unsigned long long)view->match,
               (unsigned long long)view->next);
    if (view->learner) buf_printf(out, " learner");
    if (view->paused) buf_printf(out, " paused");
    if (view->pending_snapshot) {
        buf_printf(out, " pendingSnap=%llu", (unsigned long long)view->pending_snapshot);
    }
    if (!view->recently_active) buf_printf(out, " inactive");
    if (view->inflight) {
        buf_printf(out, " inflight=%u%s", view->inflight, view->inflight_full ? "[full]" : "");
    }
    buf_printf(out, "\n");
}

static void describe_changes(struct buf *out, const struct raft_entry *entry) {
    static const char letters[] = {[RAFT_CONF_ADD_VOTER] = 'v',
                                   [RAFT_CONF_REMOVE] = 'r',
                                   [RAFT_CONF_UPDATE] = 'u',
                                   [RAFT_CONF_ADD_LEARNER] = 'l'};
    struct raft_conf_change change;
    if (raft_decode_conf_change(entry, &change) != STATUS_OK) {
        buf_printf(out, " corrupt");
        return;
    }
    for (uint32_t at = 0; at < change.count; at++) {
        buf_printf(out, " %c%llu", letters[change.changes[at].kind],
                   (unsigned long long)change.changes[at].id);
    }
}

static void describe_quoted(struct buf *out, struct slice data) {
    buf_printf(out, " \"");
    for (size_t at = 0; at < data.len; at++) {
        uint8_t byte = data.data[at];
        if (byte == '"' || byte == '\\') {
            buf_printf(out, "\\%c", byte);
        } else if (isprint(byte)) {
            buf_append_byte(out, byte);
        } else {
            buf_printf(out, "\\x%02x", byte);
        }
    }
    buf_printf(out, "\"");
}

void describe_entry(struct buf *out, const struct raft_entry *entry) {
    buf_printf(out, "%llu/%llu ", (unsigned long long)entry->id.term,
               (unsigned long long)entry->id.index);
    switch (entry->kind) {
    case RAFT_ENTRY_NORMAL:
        buf_printf(out, "EntryNormal");
        describe_quoted(out, payload_slice(entry->payload));
        break;
    case RAFT_ENTRY_CONF_CHANGE:
        buf_printf(out, "EntryConfChange");
        describe_changes(out, entry);
        break;
    case RAFT_ENTRY_CONF_CHANGE_V2:
        buf_printf(out, "EntryConfChangeV2");
        describe_changes(out, entry);
        break;
    }
}

void describe_entries(struct buf *out, const struct raft_entry *entries, uint32_t count) {
    for (uint32_t at = 0; at < count; at++) {
        describe_entry(out, &entries[at]);
        buf_printf(out, "\n");
    }
}

void describe_hard_state(struct buf *out, const struct raft_hard_state *hard_state) {
    buf_printf(out, "Term:%llu", (unsigned long long)hard_state->term);
    if (hard_state->vote) buf_printf(out, " Vote:%llu", (unsigned long long)hard_state->vote);
    buf_printf(out, " Commit:%llu", (unsigned long long)hard_state->commit);
}

void describe_snapshot(struct buf *out, struct raft_log_id id, const struct raft_conf_state *conf) {
    buf_printf(out, "Index:%llu Term:%llu ConfState:", (unsigned long long)id.index,
               (unsigned long long)id.term);
    describe_named_set(out, "Voters:[", &conf->voters, "]");
    describe_named_set(out, " VotersOutgoing:[", &conf->voters_outgoing, "]");
    describe_named_set(out, " Learners:[", &conf->learners, "]");
    describe_named_set(out, " LearnersNext:[", &conf->learners_next, "]");
    buf_printf(out, " AutoLeave:%s", conf->auto_leave ? "true" : "false");
}

static void describe_party(struct buf *out, uint64_t id) {
    if (id == DESCRIBE_APPEND_THREAD) {
        buf_printf(out, "AppendThread");
    } else if (id == DESCRIBE_APPLY_THREAD) {
        buf_printf(out, "ApplyThread");
    } else if (id == RAFT_NO_REPLICA) {
        buf_printf(out, "None");
    } else {
        buf_printf(out, "%llx", (unsigned long long)id);
    }
}

void describe_head(struct buf *out, uint64_t from, uint64_t to, const char *name, uint64_t term,
                   struct raft_log_id log) {
    describe_party(out, from);
    buf_printf(out, "->");
    describe_party(out, to);
    buf_printf(out, " %s Term:%llu Log:%llu/%llu", name, (unsigned long long)term,
               (unsigned long long)log.term, (unsigned long long)log.index);
}

void describe_message_entries(struct buf *out, const char *indent, const struct raft_entry *entries,
                              uint32_t count) {
    if (count == 0) return;
    buf_printf(out, " Entries:[");
    if (count == 1) {
        describe_entry(out, entries);
    } else {
        for (uint32_t at = 0; at < count; at++) {
            buf_printf(out, "\n%s  ", indent);
            describe_entry(out, &entries[at]);
        }
        buf_printf(out, "\n%s", indent);
    }
    buf_printf(out, "]");
}

void describe_message(struct buf *out, const char *indent, const struct raft_message *message) {
    buf_printf(out, "%s", indent);
    describe_head(out, message->from, message->to, describe_message_name(message->kind),
                  message->term, message->log);
    if (message->reject) {
        buf_printf(out, " Rejected (Hint: %llu)", (unsigned long long)message->reject_hint);
    }
    if (message->commit) buf_printf(out, " Commit:%llu", (unsigned long long)message->commit);
    describe_message_entries(out, indent, message->entries, message->entry_count);
    if (message->snapshot) {
        buf_printf(out, "\n%s  Snapshot: ", indent);
        describe_snapshot(out, message->snapshot->id, &message->snapshot->conf);
    }
}

static bool parse_kind(char letter, enum raft_conf_change_kind *ret_kind) {
    switch (letter) {
    case 'v':
        *ret_kind = RAFT_CONF_ADD_VOTER;
        return true;
    case 'l':
        *ret_kind = RAFT_CONF_ADD_LEARNER;
        return true;
    case 'r':
        *ret_kind = RAFT_CONF_REMOVE;
        return true;
    case 'u':
        *ret_kind = RAFT_CONF_UPDATE;
        return true;
    default:
        return false;
    }
}

bool parse_changes(const char *text, struct raft_conf_change *ret_change) {
    ret_change->count = 0;
    for (text += strspn(text, " \t\n"); *text; text += strspn(text, " \t\n")) {
        if (ret_change->count == RAFT_REPLICAS_MAX) return false;
        uint32_t slot = ret_change->count++;
        if (!parse_kind(text[0], &ret_change->changes[slot].kind)) return false;
        char *end;
        ret_change->changes[slot].id = strtoull(text + 1, &end, 10);
        if (end == text + 1) return false;
        text = end;
    }
    return true;
}
