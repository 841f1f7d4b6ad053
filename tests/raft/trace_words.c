#include "tests/raft/trace_words.h"

#include "tests/conformance/describe.h"

typedef unsigned long long wide;

static const char *kind_names[] = {
    [RAFT_MSG_APPEND] = "append",
    [RAFT_MSG_APPEND_RESPONSE] = "append-answer",
    [RAFT_MSG_VOTE] = "vote",
    [RAFT_MSG_VOTE_RESPONSE] = "vote-answer",
    [RAFT_MSG_PRE_VOTE] = "pre-vote",
    [RAFT_MSG_PRE_VOTE_RESPONSE] = "pre-vote-answer",
    [RAFT_MSG_HEARTBEAT] = "heartbeat",
    [RAFT_MSG_HEARTBEAT_RESPONSE] = "heartbeat-answer",
    [RAFT_MSG_SNAPSHOT] = "snapshot",
    [RAFT_MSG_TRANSFER_LEADER] = "transfer-leader",
    [RAFT_MSG_TIMEOUT_NOW] = "timeout-now",
    [RAFT_MSG_PROPOSE] = "propose",
    [RAFT_MSG_READ_INDEX] = "read-index",
    [RAFT_MSG_READ_INDEX_RESPONSE] = "read-index-answer",
    [RAFT_MSG_FORGET_LEADER] = "forget-leader",
};

int trace_message_kind(const char *name) {
    for (int kind = RAFT_MSG_APPEND; kind <= RAFT_MSG_FORGET_LEADER; kind++) {
        if (strcmp(kind_names[kind], name) == 0) return kind;
    }
    return 0;
}

static void tell_id(struct buf *out, struct raft_log_id id) {
    buf_printf(out, "%llu/%llu", (wide)id.term, (wide)id.index);
}

/* ---- entries ---- */

static void tell_change(struct buf *out, const struct raft_entry *entry) {
    static const char letters[] = {[RAFT_CONF_ADD_VOTER] = 'v',
                                   [RAFT_CONF_REMOVE] = 'r',
                                   [RAFT_CONF_UPDATE] = 'u',
                                   [RAFT_CONF_ADD_LEARNER] = 'l'};
    struct raft_conf_change change;
    if (raft_decode_conf_change(entry, &change) != STATUS_OK) {
        buf_printf(out, "change that nobody can read");
        return;
    }
    buf_printf(out, change.count > 0 ? "change" : "leave joint");
    for (uint32_t at = 0; at < change.count; at++) {
        buf_printf(out, " %c%llu", letters[change.changes[at].kind], (wide)change.changes[at].id);
    }
}

void trace_tell_entry(struct buf *out, const struct raft_entry *entry) {
    tell_id(out, entry->id);
    buf_append_byte(out, ' ');
    struct slice data = payload_slice(entry->payload);
    if (entry->kind != RAFT_ENTRY_NORMAL) {
        tell_change(out, entry);
    } else if (data.len == 0) {
        buf_printf(out, "nothing");
    } else if (data.len > 16) {
        buf_printf(out, "%zu bytes", data.len);
    } else {
        buf_printf(out, "\"%.*s\"", (int)data.len, (const char *)data.data);
    }
}

static void tell_entries(struct buf *out, const struct raft_entry *entries, uint32_t count) {
    for (uint32_t at = 0; at < count; at++) {
        buf_append_byte(out, ' ');
        trace_tell_entry(out, &entries[at]);
    }
}

/* ---- messages ---- */

static void tell_append(struct buf *out, const struct raft_message *message) {
    buf_printf(out, "append after ");
    tell_id(out, message->log);
    if (message->entry_count > 0) buf_append_byte(out, ':');
    tell_entries(out, message->entries, message->entry_count);
    buf_printf(out, ", committed %llu", (wide)message->commit);
}

static void tell_append_answer(struct buf *out, const struct raft_message *message) {
    if (!message->reject) {
        buf_printf(out, "has it up to %llu", (wide)message->log.index);
        return;
    }
    buf_printf(out, "refuses what follows %llu, may agree at ", (wide)message->log.index);
    tell_id(out, (struct raft_log_id){message->log.term, message->reject_hint});
}

static void tell_vote(struct buf *out, const struct raft_message *message, const char *what) {
    buf_printf(out, "asks for a %s in term %llu, log ends at ", what, (wide)message->term);
    tell_id(out, message->log);
    if (message->force) buf_printf(out, ", by transfer");
}

static void tell_vote_answer(struct buf *out, const struct raft_message *message,
                             const char *what) {
    buf_printf(out, "%s its %s, term %llu", message->reject ? "refuses" : "gives", what,
               (wide)message->term);
    if (message->committed.index == 0) return;
    buf_printf(out, ", knows ");
    tell_id(out, message->committed);
    buf_printf(out, " to be committed");
}

static void tell_heartbeat(struct buf *out, const struct raft_message *message) {
    if (message->quiesce) {
        buf_printf(out, "goes quiet at ");
        tell_id(out, message->log);
        buf_printf(out, ", committed %llu", (wide)message->commit);
    } else if (message->kind == RAFT_MSG_HEARTBEAT) {
        buf_printf(out, "heartbeat, committed %llu", (wide)message->commit);
    } else if (message->reject) {
        buf_printf(out, "misses its leader");
    } else {
        buf_printf(out, "hears the heartbeat");
    }
    if (message->context) buf_printf(out, ", reads up to #%llu", (wide)message->context);
}

static void tell_snapshot(struct buf *out, const struct raft_snapshot *snapshot) {
    buf_printf(out, "snapshot at ");
    tell_id(out, snapshot->id);
    struct slice data = payload_slice(snapshot->data);
    buf_printf(out, " \"%.*s\" ", (int)data.len, (const char *)data.data);
    describe_conf(out, &snapshot->conf);
    out->len--; /* its line's end */
}

static void tell_body(struct buf *out, const struct raft_message *message) {
    switch (message->kind) {
    case RAFT_MSG_APPEND:
        tell_append(out, message);
        break;
    case RAFT_MSG_APPEND_RESPONSE:
        tell_append_answer(out, message);
        break;
    case RAFT_MSG_VOTE:
        tell_vote(out, message, "vote");
        break;
    case RAFT_MSG_PRE_VOTE:
        tell_vote(out, message, "pre-vote");
        break;
    case RAFT_MSG_VOTE_RESPONSE:
        tell_vote_answer(out, message, "vote");
        break;
    case RAFT_MSG_PRE_VOTE_RESPONSE:
        tell_vote_answer(out, message, "pre-vote");
        break;
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_HEARTBEAT_RESPONSE:
        tell_heartbeat(out, message);
        break;
    case RAFT_MSG_SNAPSHOT:
        tell_snapshot(out, message->snapshot);
        break;
    case RAFT_MSG_PROPOSE:
        buf_printf(out, "proposes");
        tell_entries(out, message->entries, message->entry_count);
        break;
    case RAFT_MSG_READ_INDEX:
        buf_printf(out, "asks for read %llu", (wide)message->context);
        break;
    case RAFT_MSG_READ_INDEX_RESPONSE:
        buf_printf(out, "read %llu is good at %llu", (wide)message->context,
                   (wide)message->log.index);
        break;
    case RAFT_MSG_TRANSFER_LEADER:
    case RAFT_MSG_TIMEOUT_NOW:
    case RAFT_MSG_FORGET_LEADER:
        buf_printf(out, "%s", kind_names[message->kind]);
        break;
    }
}

void trace_tell_message(struct buf *out, const struct raft_message *message) {
    buf_printf(out, "%llu -> %llu ", (wide)message->from, (wide)message->to);
    tell_body(out, message);
    if (message->sent_us) buf_printf(out, " @%llu", (wide)message->sent_us);
}

/* ---- replicas ---- */

static const char *role_name(enum raft_role role) {
    static const char *names[] = {[RAFT_FOLLOWER] = "follower",
                                  [RAFT_CANDIDATE] = "candidate",
                                  [RAFT_LEADER] = "leader",
                                  [RAFT_PRE_CANDIDATE] = "pre-candidate"};
    return names[role];
}

static void tell_role(struct buf *out, enum raft_role role, uint64_t leader) {
    buf_printf(out, "%s", role_name(role));
    if (role != RAFT_FOLLOWER) return;
    if (leader == RAFT_NO_REPLICA) {
        buf_printf(out, " of nobody");
    } else {
        buf_printf(out, " of %llu", (wide)leader);
    }
}

static void tell_writes(struct buf *out, const struct group_node *node,
                        const struct raft_ready *ready) {
    if (!ready->has_hard_state && ready->entry_count == 0 && !ready->snapshot) return;
    buf_printf(out, "%llu writes", (wide)node->id);
    if (ready->has_hard_state) {
        buf_printf(out, " term %llu vote %llu commit %llu", (wide)ready->hard_state.term,
                   (wide)ready->hard_state.vote, (wide)ready->hard_state.commit);
    }
    if (ready->snapshot) {
        buf_append_byte(out, ' ');
        tell_snapshot(out, ready->snapshot);
    }
    tell_entries(out, ready->entries, ready->entry_count);
    buf_printf(out, "%s\n", ready->must_sync || ready->snapshot ? "" : " (no sync)");
}

void trace_tell_ready(struct buf *out, const struct group_node *node,
                      const struct raft_ready *ready) {
    if (ready->soft_state_changed) {
        buf_printf(out, "%llu is ", (wide)node->id);
        tell_role(out, ready->role, ready->leader);
        buf_append_byte(out, '\n');
    }
    tell_writes(out, node, ready);
    for (uint32_t at = 0; at < ready->read_state_count; at++) {
        buf_printf(out, "%llu may serve read %llu at %llu\n", (wide)node->id,
                   (wide)ready->read_states[at].context, (wide)ready->read_states[at].index);
    }
}

void trace_tell_state(struct buf *out, const struct group_node *node) {
    struct raft_view view;
    raft_view(node->raft, &view);
    buf_printf(out, "%llu: ", (wide)view.id);
    tell_role(out, view.role, view.leader);
    if (view.quiet) buf_printf(out, ", quiet");
    buf_printf(out, ", term %llu, log %llu..%llu, durable to %llu, committed %llu, applied %llu",
               (wide)view.term, (wide)view.first_index, (wide)view.last_index,
               (wide)disk_last(&node->disk), (wide)view.commit, (wide)view.applied);
    if (node->state.len <= 40) {
        buf_printf(out, " \"%.*s\"", (int)node->state.len, (const char *)node->state.data);
    }
    buf_append_byte(out, '\n');
}

void trace_tell_progress(struct buf *out, const struct raft_progress_view *view) {
    static const char *states[] = {
        [RAFT_PROBE] = "probe", [RAFT_REPLICATE] = "replicate", [RAFT_SNAPSHOT] = "snapshot"};
    buf_printf(out, "%llu: %s, match %llu, next %llu, %u in flight%s%s%s", (wide)view->id,
               states[view->state], (wide)view->match, (wide)view->next, view->inflight,
               view->inflight_full ? " (full)" : "", view->paused ? ", paused" : "",
               view->learner ? ", learner" : "");
    if (view->pending_snapshot) {
        buf_printf(out, ", snapshot %llu", (wide)view->pending_snapshot);
    }
    buf_append_byte(out, '\n');
}
