#include "tests/conformance/trace_group.h"

#include "base/assert.h"
#include "base/memory.h"

/* ---- letters ---- */

static struct raft_message copy_message(const struct raft_message *message) {
    struct raft_message copy = *message;
    copy.entries = NULL;
    if (message->entry_count > 0) {
        copy.entries = memory_alloc(message->entry_count * sizeof(*copy.entries));
        for (uint32_t at = 0; at < message->entry_count; at++) {
            copy.entries[at] = message->entries[at];
            (void)payload_ref(copy.entries[at].payload); /* the same pointer comes back */
        }
    }
    if (message->snapshot) {
        copy.snapshot = MEMORY_NEW(struct raft_snapshot);
        *copy.snapshot = *message->snapshot;
        (void)payload_ref(copy.snapshot->data); /* the same pointer comes back */
    }
    return copy;
}

static void message_done(struct raft_message *message) {
    for (uint32_t at = 0; at < message->entry_count; at++) {
        payload_unref(message->entries[at].payload);
    }
    memory_free(message->entries);
    if (message->snapshot) payload_unref(message->snapshot->data);
    memory_free(message->snapshot);
}

static void letters_add(struct trace_letters *letters, struct trace_letter letter) {
    if (letters->count == letters->cap) {
        letters->cap = letters->cap ? letters->cap * 2 : 16;
        letters->items = memory_realloc(letters->items, letters->cap * sizeof(*letters->items));
    }
    letters->items[letters->count++] = letter;
}

static void letters_done(struct trace_letters *letters) {
    for (size_t at = 0; at < letters->count; at++) {
        message_done(&letters->items[at].message);
    }
    memory_free(letters->items);
    *letters = (struct trace_letters){0};
}

void trace_send(struct trace_group *group, const struct raft_message *message) {
    letters_add(&group->letters, (struct trace_letter){.kind = TRACE_MESSAGE,
                                                       .to = message->to,
                                                       .message = copy_message(message)});
}

static void describe_letter(struct buf *out, const char *indent,
                            const struct trace_letter *letter) {
    switch (letter->kind) {
    case TRACE_MESSAGE:
        describe_message(out, indent, &letter->message);
        break;
    case TRACE_APPEND_DONE:
        buf_printf(out, "%s", indent);
        describe_head(out, DESCRIBE_APPEND_THREAD, letter->to, "MsgStorageAppendResp",
                      letter->append.term, letter->append.last);
        if (letter->append.snapshot.index > 0) {
            buf_printf(out, "\n%s  Snapshot: ", indent);
            describe_snapshot(out, letter->append.snapshot, &letter->snapshot_conf);
        }
        break;
    case TRACE_APPLY_DONE:
        buf_printf(out, "%s", indent);
        describe_head(out, DESCRIBE_APPLY_THREAD, letter->to, "MsgStorageApplyResp", 0,
                      (struct raft_log_id){0, 0});
        describe_message_entries(out, indent, letter->message.entries, letter->message.entry_count);
        break;
    }
}

/* ---- life ---- */

struct trace_node *trace_node_of(struct trace_group *group, uint64_t id) {
    return id >= 1 && id <= group->count ? group->nodes[id - 1] : NULL;
}

static void append_work_done(struct trace_append_work *work) {
    message_done(&work->body);
    letters_done(&work->responses);
}

void trace_group_done(struct trace_group *group) {
    for (size_t at = 0; at < group->count; at++) {
        struct trace_node *node = group->nodes[at];
        raft_free(node->raft);
        trace_storage_done(&node->storage);
        for (size_t work = 0; work < node->append_count; work++) {
            append_work_done(&node->append_work[work]);
        }
        for (size_t work = 0; work < node->apply_count; work++) {
            message_done(&node->apply_work[work].message);
        }
        memory_free(node->append_work);
        memory_free(node->apply_work);
        memory_free(node);
    }
    letters_done(&group->letters);
    *group = (struct trace_group){0};
}

/* ---- storage and state machine ---- */

static void persist(struct trace_node *node, const struct raft_hard_state *hard_state,
                    const struct raft_snapshot *snapshot, const struct raft_entry *entries,
                    uint32_t count) {
    if (hard_state) node->storage.hard_state = *hard_state;
    if (snapshot) trace_storage_install(&node->storage, snapshot);
    trace_storage_append(&node->storage, entries, count);
}

static void apply(struct trace_node *node, const struct raft_entry *entries, uint32_t count) {
    for (uint32_t at = 0; at < count; at++) {
        struct slice data = payload_slice(entries[at].payload);
        if (entries[at].kind != RAFT_ENTRY_NORMAL) {
            struct raft_conf_change change;
            enum status status = raft_decode_conf_change(&entries[at], &change);
            ASSERT(status == STATUS_OK);
            raft_apply_conf_change(node->raft, &change, &node->storage.conf);
            data = change.context;
        }
        trace_storage_apply(&node->storage, entries[at].id, data);
    }
}

static size_t payload_bytes(const struct raft_entry *entries, uint32_t count) {
    size_t bytes = 0;
    for (uint32_t at = 0; at < count; at++) {
        bytes += payload_slice(entries[at].payload).len;
    }
    return bytes;
}

/* ---- ready works ---- */

static void describe_responses(struct buf *out, const struct trace_letters *responses) {
    if (responses->count == 0) return;
    buf_printf(out, " Responses:[");
    for (size_t at = 0; at < responses->count; at++) {
        buf_printf(out, "\n");
        describe_letter(out, "  ", &responses->items[at]);
    }
    buf_printf(out, "\n]");
}

static void describe_append_work(struct buf *out, uint64_t id,
                                 const struct trace_append_work *work) {
    describe_head(out, id, DESCRIBE_APPEND_THREAD, "MsgStorageAppend",
                  work->has_hard_state ? work->hard_state.term : 0, (struct raft_log_id){0, 0});
    if (work->has_hard_state) {
        if (work->hard_state.commit) {
            buf_printf(out, " Commit:%llu", (unsigned long long)work->hard_state.commit);
        }
        if (work->hard_state.vote) {
            buf_printf(out, " Vote:%llu", (unsigned long long)work->hard_state.vote);
        }
    }
    describe_message_entries(out, "", work->body.entries, work->body.entry_count);
    if (work->body.snapshot) {
        buf_printf(out, "\n  Snapshot: ");
        describe_snapshot(out, work->body.snapshot->id, &work->body.snapshot->conf);
    }
}

static void describe_apply_work(struct buf *out, const struct trace_letter *work) {
    describe_head(out, work->to, DESCRIBE_APPLY_THREAD, "MsgStorageApply", 0,
                  (struct raft_log_id){0, 0});
    describe_message_entries(out, "", work->message.entries, work->message.entry_count);
}

static struct trace_append_work *queue_append(struct trace_node *node,
                                              const struct raft_ready *ready) {
    node->append_work =
        memory_realloc(node->append_work, (node->append_count + 1) * sizeof(*node->append_work));
    struct trace_append_work *work = &node->append_work[node->append_count++];
    *work = (struct trace_append_work){
        .has_hard_state = ready->has_hard_state,
        .hard_state = ready->hard_state,
        .body = copy_message(&(struct raft_message){
            .entry_count = ready->entry_count,
            .entries = (struct raft_entry *)(uintptr_t)ready->entries, /* only read */
            .snapshot = (struct raft_snapshot *)(uintptr_t)ready->snapshot})};
    for (uint32_t at = 0; at < ready->message_after_append_count; at++) {
        const struct raft_message *message = &ready->messages_after_append[at];
        letters_add(&work->responses, (struct trace_letter){.kind = TRACE_MESSAGE,
                                                            .to = message->to,
                                                            .message = copy_message(message)});
    }
    if (ready->append.last.index > 0 || ready->append.snapshot.index > 0) {
        struct trace_letter done = {
            .kind = TRACE_APPEND_DONE, .to = node->id, .append = ready->append};
        if (ready->snapshot) done.snapshot_conf = ready->snapshot->conf;
        letters_add(&work->responses, done);
    }
    return work;
}

static struct trace_letter *queue_apply(struct trace_node *node, const struct raft_ready *ready) {
    node->apply_work =
        memory_realloc(node->apply_work, (node->apply_count + 1) * sizeof(*node->apply_work));
    struct trace_letter *work = &node->apply_work[node->apply_count++];
    *work = (struct trace_letter){
        .kind = TRACE_APPLY_DONE,
        .to = node->id,
        .message = copy_message(&(struct raft_message){
            .entry_count = ready->committed_count,
            .entries = (struct raft_entry *)(uintptr_t)ready->committed})}; /* only read */
    return work;
}

static void describe_ready_states(struct buf *out, const struct raft_ready *ready) {
    if (ready->soft_state_changed) {
        buf_printf(out, "Lead:%llu State:%s\n", (unsigned long long)ready->leader,
                   describe_role(ready->role));
    }
    if (ready->has_hard_state) {
        buf_printf(out, "HardState ");
        describe_hard_state(out, &ready->hard_state);
        buf_printf(out, "\n");
    }
    for (uint32_t at = 0; at < ready->read_state_count; at++) {
        buf_printf(out, "ReadState %llu at %llu\n",
                   (unsigned long long)ready->read_states[at].context,
                   (unsigned long long)ready->read_states[at].index);
    }
    if (ready->entry_count > 0) {
        buf_printf(out, "Entries:\n");
        describe_entries(out, ready->entries, ready->entry_count);
    }
    if (ready->snapshot) {
        buf_printf(out, "Snapshot ");
        describe_snapshot(out, ready->snapshot->id, &ready->snapshot->conf);
        buf_printf(out, "\n");
    }
    if (ready->committed_count > 0) {
        buf_printf(out, "CommittedEntries:\n");
        describe_entries(out, ready->committed, ready->committed_count);
    }
}

/* The work for the storage threads is part of what a ready work says in the asynchronous style. */
static void queue_storage_work(struct trace_node *node, const struct raft_ready *ready,
                               struct buf *messages) {
    if (ready->append.any) {
        const struct trace_append_work *work = queue_append(node, ready);
        describe_append_work(messages, node->id, work);
        describe_responses(messages, &work->responses);
        buf_printf(messages, "\n");
    }
    if (ready->committed_count > 0) {
        const struct trace_letter *work = queue_apply(node, ready);
        describe_apply_work(messages, work);
        buf_printf(messages, " Responses:[\n");
        describe_letter(messages, "  ", work);
        buf_printf(messages, "\n]\n");
    }
}

void trace_process_ready(struct trace_group *group, struct trace_node *node, struct buf *out) {
    struct raft_ready ready;
    raft_ready(node->raft, &ready);
    struct buf text = {0}, messages = {0};
    describe_ready_states(&text, &ready);
    for (uint32_t at = 0; at < ready.message_count; at++) {
        describe_message(&messages, "", &ready.messages[at]);
        buf_printf(&messages, "\n");
        trace_send(group, &ready.messages[at]);
    }
    if (node->async) queue_storage_work(node, &ready, &messages);
    if (text.len == 0 && messages.len == 0) {
        buf_printf(out, "<empty Ready>\n");
    } else {
        buf_printf(out, "Ready MustSync=%s:\n", ready.must_sync ? "true" : "false");
        buf_append(out, slice_from_buf(&text));
        if (messages.len > 0) buf_printf(out, "Messages:\n");
        buf_append(out, slice_from_buf(&messages));
    }
    buf_done(&text);
    buf_done(&messages);
    if (node->async) return;
    persist(node, ready.has_hard_state ? &ready.hard_state : NULL, ready.snapshot, ready.entries,
            ready.entry_count);
    apply(node, ready.committed, ready.committed_count);
    raft_advance(node->raft);
    raft_check(node->raft);
}

void trace_process_append(struct trace_group *group, struct trace_node *node, struct buf *out) {
    if (node->append_count == 0) {
        buf_printf(out, "no append work to perform\n");
        return;
    }
    struct trace_append_work work = node->append_work[0];
    node->append_count--;
    memmove(node->append_work, node->append_work + 1, node->append_count * sizeof(work));
    buf_printf(out, "Processing:\n");
    describe_append_work(out, node->id, &work);
    buf_printf(out, "\n");
    persist(node, work.has_hard_state ? &work.hard_state : NULL, work.body.snapshot,
            work.body.entries, work.body.entry_count);
    buf_printf(out, "Responses:\n");
    for (size_t at = 0; at < work.responses.count; at++) {
        describe_letter(out, "", &work.responses.items[at]);
        buf_printf(out, "\n");
        letters_add(&group->letters, work.responses.items[at]);
    }
    work.responses.count = 0; /* handed over */
    append_work_done(&work);
}

void trace_process_apply(struct trace_group *group, struct trace_node *node, struct buf *out) {
    if (node->apply_count == 0) {
        buf_printf(out, "no apply work to perform\n");
        return;
    }
    struct trace_letter work = node->apply_work[0];
    node->apply_count--;
    memmove(node->apply_work, node->apply_work + 1, node->apply_count * sizeof(work));
    buf_printf(out, "Processing:\n");
    describe_apply_work(out, &work);
    buf_printf(out, "\nResponses:\n");
    apply(node, work.message.entries, work.message.entry_count);
    describe_letter(out, "", &work);
    buf_printf(out, "\n");
    letters_add(&group->letters, work);
}

/* ---- delivery ---- */

static bool is_local(const struct trace_letter *letter) {
    return letter->kind != TRACE_MESSAGE || letter->message.from == letter->message.to;
}

static bool is_for(const struct trace_letter *letter, uint64_t id, int kind, bool drop) {
    if (letter->to != id || (drop && is_local(letter))) return false;
    if (kind == TRACE_ANY_KIND) return true;
    return letter->kind == TRACE_MESSAGE && (int)letter->message.kind == kind;
}

size_t trace_waiting(const struct trace_group *group, uint64_t id) {
    size_t count = 0;
    for (size_t at = 0; at < group->letters.count; at++) {
        count += is_for(&group->letters.items[at], id, TRACE_ANY_KIND, false);
    }
    return count;
}

static void hand_over(struct trace_node *node, const struct trace_letter *letter, struct buf *out) {
    const struct raft_message *message = &letter->message;
    enum status status = STATUS_OK;
    switch (letter->kind) {
    case TRACE_MESSAGE:
        status = raft_step(node->raft, message);
        break;
    case TRACE_APPEND_DONE:
        raft_append_done(node->raft, &letter->append);
        break;
    case TRACE_APPLY_DONE:
        raft_apply_done(node->raft, message->entries[message->entry_count - 1].id.index,
                        payload_bytes(message->entries, message->entry_count));
        break;
    }
    if (status == STATUS_NOT_FOUND) {
        buf_printf(out, "raft: cannot step as peer not found\n");
    } else if (status == STATUS_DROPPED && message->kind == RAFT_MSG_PROPOSE) {
        buf_printf(out, "raft proposal dropped\n");
    } else if (status != STATUS_OK && status != STATUS_DROPPED) {
        buf_printf(out, "raft: %s\n", status_text(status));
    }
    raft_check(node->raft);
}

size_t trace_deliver(struct trace_group *group, uint64_t id, int kind, bool drop, struct buf *out) {
    struct trace_letters all = group->letters;
    group->letters = (struct trace_letters){0};
    struct trace_letters mine = {0};
    for (size_t at = 0; at < all.count; at++) {
        letters_add(is_for(&all.items[at], id, kind, drop) ? &mine : &group->letters,
                    all.items[at]);
    }
    memory_free(all.items);
    for (size_t at = 0; at < mine.count; at++) {
        if (drop) buf_printf(out, "dropped: ");
        describe_letter(out, "", &mine.items[at]);
        buf_printf(out, "\n");
        struct trace_node *node = trace_node_of(group, id);
        if (!drop && node) hand_over(node, &mine.items[at], out);
    }
    size_t count = mine.count;
    letters_done(&mine);
    return count;
}

/* ---- until nothing is left ---- */

void trace_indent(struct buf *out, const struct buf *text) {
    const char *at = (const char *)text->data;
    const char *end = at + text->len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = newline ? (size_t)(newline - at) : (size_t)(end - at);
        buf_printf(out, "  %.*s\n", (int)len, at);
        at += len + 1;
    }
}

typedef void trace_step_fn(struct trace_group *group, struct trace_node *node, struct buf *out);

static void run_indented(struct trace_group *group, struct trace_node *node, trace_step_fn *step,
                         struct buf *out) {
    struct buf text = {0};
    step(group, node, &text);
    trace_indent(out, &text);
    buf_done(&text);
}

static void deliver_all(struct trace_group *group, struct trace_node *node, struct buf *out) {
    (void)trace_deliver(group, node->id, TRACE_ANY_KIND, false, out); /* the number is known */
}

static bool stabilize_round(struct trace_group *group, struct trace_node **nodes, size_t count,
                            struct buf *out) {
    bool worked = false;
    for (size_t at = 0; at < count; at++) {
        if (!raft_has_ready(nodes[at]->raft)) continue;
        buf_printf(out, "> %llu handling Ready\n", (unsigned long long)nodes[at]->id);
        run_indented(group, nodes[at], trace_process_ready, out);
        worked = true;
    }
    for (size_t at = 0; at < count; at++) {
        if (trace_waiting(group, nodes[at]->id) == 0) continue;
        buf_printf(out, "> %llu receiving messages\n", (unsigned long long)nodes[at]->id);
        run_indented(group, nodes[at], deliver_all, out);
        worked = true;
    }
    for (size_t at = 0; at < count; at++) {
        if (nodes[at]->append_count == 0) continue;
        buf_printf(out, "> %llu processing append thread\n", (unsigned long long)nodes[at]->id);
        while (nodes[at]->append_count > 0) {
            run_indented(group, nodes[at], trace_process_append, out);
        }
        worked = true;
    }
    for (size_t at = 0; at < count; at++) {
        if (nodes[at]->apply_count == 0) continue;
        buf_printf(out, "> %llu processing apply thread\n", (unsigned long long)nodes[at]->id);
        while (nodes[at]->apply_count > 0) {
            run_indented(group, nodes[at], trace_process_apply, out);
        }
        worked = true;
    }
    return worked;
}

void trace_stabilize(struct trace_group *group, struct trace_node **nodes, size_t count,
                     struct buf *out) {
    while (stabilize_round(group, nodes, count, out)) {
    }
}
