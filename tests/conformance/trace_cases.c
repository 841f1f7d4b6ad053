/* Trace files: scripts that drive a group by hand (trace_group.c); one function per command. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"
#include "raft/internal.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/trace_group.h"

#define ELECTION_TICKS 3u
#define HEARTBEAT_TICKS 1u

/* An error is printed even when the log level silences everything else. */
typedef const char *command_fn(struct trace_group *group, const struct conformance_case *one,
                               struct buf *out);

static uint64_t random_below(void *ctx, uint64_t bound) {
    return prng_below(ctx, bound);
}

static struct trace_node *node_argument(struct trace_group *group,
                                        const struct conformance_case *one) {
    uint64_t id;
    if (case_ids(one, &id, 1) != 1) return NULL;
    return trace_node_of(group, id);
}

static const char *status_error(enum status status) {
    if (status == STATUS_OK) return NULL;
    return status == STATUS_DROPPED ? "raft proposal dropped" : status_text(status);
}

/* ---- add-nodes ---- */

static bool id_set_argument(const struct conformance_case *one, const char *key,
                            struct raft_id_set *ret_set) {
    const struct case_argument *argument = case_argument_find(one, key);
    for (size_t at = 0; argument && at < argument->value_count; at++) {
        if (!raft_id_set_add(ret_set, strtoull(argument->values[at], NULL, 10))) return false;
    }
    return true;
}

static struct raft_config config_argument(const struct conformance_case *one) {
    const struct case_argument *reads = case_argument_find(one, "read-only");
    bool leased = reads && strcmp(reads->values[0], "lease-based") == 0;
    return (struct raft_config){
        .election_ticks = ELECTION_TICKS,
        .heartbeat_ticks = HEARTBEAT_TICKS,
        .tick_us = 1000,
        .pre_vote = case_flag(one, "prevote"),
        .check_quorum = case_flag(one, "checkquorum"),
        .async_storage_writes = case_flag(one, "async-storage-writes"),
        .forward_proposals = true,
        .read_mode = leased ? RAFT_READ_LEASE : RAFT_READ_QUORUM,
        .inflight_messages_max = (uint32_t)case_number(one, "inflight", 0),
        .apply_bytes_max = case_number(one, "max-committed-size-per-ready", 0),
        .random = random_below,
        .lead_after_removal = !case_flag(one, "step-down-on-removal"),
        .conf_change_unchecked = case_flag(one, "disable-conf-change-validation"),
    };
}

static void add_node(struct trace_group *group, const struct conformance_case *one,
                     const struct raft_snapshot *birth) {
    struct trace_node *node = MEMORY_NEW(struct trace_node);
    node->id = group->count + 1;
    prng_init(&node->prng, node->id);
    if (birth->id.index > 0) {
        trace_storage_install(&node->storage, birth);
    } else {
        node->storage.conf = birth->conf;
    }
    struct raft_config config = config_argument(one);
    config.id = node->id;
    config.random_ctx = &node->prng;
    node->async = config.async_storage_writes;
    struct raft_storage interface = trace_storage_interface(&node->storage);
    node->raft = raft_new(&config, &interface, &node->storage.hard_state, &node->storage.conf,
                          birth->id.index);
    group->nodes[group->count++] = node;
}

static const char *add_nodes(struct trace_group *group, const struct conformance_case *one,
                             struct buf *out) {
    uint64_t count;
    if (case_ids(one, &count, 1) != 1 || group->count + count > TRACE_NODES_MAX) {
        return "how many nodes?";
    }
    struct raft_snapshot birth = {.id.index = case_number(one, "index", 0)};
    birth.id.term = birth.id.index > 0 ? 1 : 0;
    const struct case_argument *content = case_argument_find(one, "content");
    if (content) birth.data = payload_copy(slice_from_text(content->values[0]));
    if (!id_set_argument(one, "voters", &birth.conf.voters) ||
        !id_set_argument(one, "learners", &birth.conf.learners)) {
        return "too many replicas";
    }
    for (uint64_t at = 0; at < count; at++) {
        add_node(group, one, &birth);
    }
    payload_unref(birth.data);
    return NULL;
}

/* ---- the owner's calls ---- */

static const char *campaign(struct trace_group *group, const struct conformance_case *one,
                            struct buf *out) {
    struct trace_node *node = node_argument(group, one);
    if (!node) return "no such node";
    (void)raft_campaign(node->raft); /* a refusal shows in what does not happen */
    return NULL;
}

static const char *propose(struct trace_group *group, const struct conformance_case *one,
                           struct buf *out) {
    struct trace_node *node = node_argument(group, one);
    if (!node || one->argument_count != 2) return "propose ID DATA";
    struct payload *payload = payload_copy(slice_from_text(one->arguments[1].key));
    enum status status = raft_propose(node->raft, payload, NULL);
    payload_unref(payload);
    return status_error(status);
}

static const char *propose_conf_change(struct trace_group *group,
                                       const struct conformance_case *one, struct buf *out) {
    struct trace_node *node = node_argument(group, one);
    struct raft_conf_change change = {.v1 = case_flag(one, "v1")};
    if (!node || !parse_changes(one->input, &change)) return "propose-conf-change ID, changes";
    const struct case_argument *transition = case_argument_find(one, "transition");
    if (transition && strcmp(transition->values[0], "implicit") == 0) {
        change.transition = RAFT_TRANSITION_IMPLICIT;
    } else if (transition && strcmp(transition->values[0], "explicit") == 0) {
        change.transition = RAFT_TRANSITION_EXPLICIT;
    }
    return status_error(raft_propose_conf_change(node->raft, &change, NULL));
}

static const char *tick(struct trace_group *group, const struct conformance_case *one,
                        uint32_t ticks) {
    struct trace_node *node = node_argument(group, one);
    if (!node) return "no such node";
    for (uint32_t at = 0; at < ticks; at++) {
        raft_tick(node->raft);
    }
    return NULL;
}

static const char *tick_election(struct trace_group *group, const struct conformance_case *one,
                                 struct buf *out) {
    return tick(group, one, ELECTION_TICKS);
}

static const char *tick_heartbeat(struct trace_group *group, const struct conformance_case *one,
                                  struct buf *out) {
    return tick(group, one, HEARTBEAT_TICKS);
}

static const char *set_election_timeout(struct trace_group *group,
                                        const struct conformance_case *one, struct buf *out) {
    struct trace_node *node = node_argument(group, one);
    uint64_t ticks = case_number(one, "timeout", 0);
    if (!node || ticks == 0) return "set-randomized-election-timeout ID timeout=N";
    raft_set_election_timeout(node->raft, (uint32_t)ticks);
    return NULL;
}

static const char *transfer_leadership(struct trace_group *group,
                                       const struct conformance_case *one, struct buf *out) {
    struct trace_node *node = trace_node_of(group, case_number(one, "from", 0));
    if (!node) return "no such node";
    (void)raft_transfer_leader(node->raft, case_number(one, "to", 0)); /* shows in what follows */
    return NULL;
}

static const char *forget_leader(struct trace_group *group, const struct conformance_case *one,
                                 struct buf *out) {
    struct trace_node *node = node_argument(group, one);
    if (!node) return "no such node";
    (void)raft_forget_leader(node->raft); /* refused with leases: shows in what follows */
    return NULL;
}

static const char *report_unreachable(struct trace_group *group, const struct conformance_case *one,
                                      struct buf *out) {
    uint64_t ids[2];
    if (case_ids(one, ids, 2) != 2 || !trace_node_of(group, ids[0])) return "no such node";
    raft_report_unreachable(trace_node_of(group, ids[0])->raft, ids[1]);
    return NULL;
}

static const char *send_snapshot(struct trace_group *group, const struct conformance_case *one,
                                 struct buf *out) {
    uint64_t ids[2];
    if (case_ids(one, ids, 2) != 2 || !trace_node_of(group, ids[0])) return "no such node";
    struct trace_node *node = trace_node_of(group, ids[0]);
    struct raft_snapshot snapshot = trace_storage_snapshot(&node->storage);
    struct raft_message message = {.kind = RAFT_MSG_SNAPSHOT,
                                   .from = ids[0],
                                   .to = ids[1],
                                   .term = raft_term(node->raft),
                                   .snapshot = &snapshot};
    trace_send(group, &message);
    describe_message(out, "", &message);
    buf_printf(out, "\n");
    payload_unref(snapshot.data);
    return NULL;
}

/* ---- looking ---- */

static const char *print_log(struct trace_group *group, const struct conformance_case *one,
                             struct buf *out) {
    struct trace_node *node = node_argument(group, one);
    if (!node) return "no such node";
    const struct trace_storage *storage = &node->storage;
    if (storage->count == 0) {
        buf_printf(out, "log is empty: first index=%llu, last index=%llu\n",
                   (unsigned long long)trace_storage_first(storage),
                   (unsigned long long)trace_storage_last(storage));
    }
    describe_entries(out, storage->entries, storage->count);
    return NULL;
}

static const char *compact(struct trace_group *group, const struct conformance_case *one,
                           struct buf *out) {
    uint64_t arguments[2];
    if (case_ids(one, arguments, 2) != 2 || !trace_node_of(group, arguments[0])) {
        return "compact ID INDEX";
    }
    trace_storage_compact(&trace_node_of(group, arguments[0])->storage, arguments[1]);
    return print_log(group, one, out);
}

static const char *print_status(struct trace_group *group, const struct conformance_case *one,
                                struct buf *out) {
    struct trace_node *node = node_argument(group, one);
    if (!node) return "no such node";
    struct raft_view view;
    raft_view(node->raft, &view);
    for (uint32_t at = 0; at < view.progress_count; at++) {
        describe_progress(out, &view.progress[at]);
    }
    return NULL;
}

static const char *print_state(struct trace_group *group, const struct conformance_case *one,
                               struct buf *out) {
    for (size_t at = 0; at < group->count; at++) {
        struct raft_view view;
        raft_view(group->nodes[at]->raft, &view);
        bool voter = raft_conf_state_is_voter(&view.conf, view.id);
        buf_printf(out, "%llu: %s %s Term:%llu Lead:%llu\n", (unsigned long long)view.id,
                   describe_role(view.role), voter ? "(Voter)" : "(Non-Voter)",
                   (unsigned long long)view.term, (unsigned long long)view.leader);
    }
    return NULL;
}

/* ---- moving work ---- */

typedef void work_fn(struct trace_group *group, struct trace_node *node, struct buf *out);

/* One node prints plainly; several print a heading each. */
static const char *process(struct trace_group *group, const struct conformance_case *one,
                           work_fn *work, const char *heading, struct buf *out) {
    uint64_t ids[TRACE_NODES_MAX];
    size_t count = case_ids(one, ids, TRACE_NODES_MAX);
    for (size_t at = 0; at < count; at++) {
        struct trace_node *node = trace_node_of(group, ids[at]);
        if (!node) return "no such node";
        if (count == 1) {
            work(group, node, out);
            continue;
        }
        struct buf text = {0};
        buf_printf(out, "> %llu %s\n", (unsigned long long)ids[at], heading);
        work(group, node, &text);
        trace_indent(out, &text);
        buf_done(&text);
    }
    return NULL;
}

static const char *process_ready(struct trace_group *group, const struct conformance_case *one,
                                 struct buf *out) {
    return process(group, one, trace_process_ready, "handling Ready", out);
}

static const char *process_append(struct trace_group *group, const struct conformance_case *one,
                                  struct buf *out) {
    return process(group, one, trace_process_append, "processing append thread", out);
}

static const char *process_apply(struct trace_group *group, const struct conformance_case *one,
                                 struct buf *out) {
    return process(group, one, trace_process_apply, "processing apply thread", out);
}

static int kind_argument(const struct conformance_case *one) {
    const struct case_argument *argument = case_argument_find(one, "type");
    if (!argument) return TRACE_ANY_KIND;
    for (int kind = RAFT_MSG_APPEND; kind <= RAFT_MSG_FORGET_LEADER; kind++) {
        const char *name = describe_message_name((enum raft_message_kind)kind);
        if (strcmp(name, argument->values[0]) == 0) return kind;
    }
    return -1; /* matches none */
}

static const char *deliver(struct trace_group *group, const struct conformance_case *one,
                           struct buf *out) {
    int kind = kind_argument(one);
    size_t count = 0;
    uint64_t ids[TRACE_NODES_MAX];
    size_t id_count = case_ids(one, ids, TRACE_NODES_MAX);
    for (size_t at = 0; at < id_count; at++) {
        count += trace_deliver(group, ids[at], kind, false, out);
    }
    const struct case_argument *drop = case_argument_find(one, "drop");
    for (size_t at = 0; drop && at < drop->value_count; at++) {
        count += trace_deliver(group, strtoull(drop->values[at], NULL, 10), kind, true, out);
    }
    if (count == 0) buf_printf(out, "no messages\n");
    return NULL;
}

static bool is_none(const char *level) {
    return strcmp(level, "none") == 0 || strcmp(level, "NONE") == 0;
}

static const char *stabilize(struct trace_group *group, const struct conformance_case *one,
                             struct buf *out) {
    uint64_t ids[TRACE_NODES_MAX];
    size_t count = case_ids(one, ids, TRACE_NODES_MAX);
    struct trace_node *nodes[TRACE_NODES_MAX];
    for (size_t at = 0; at < count; at++) {
        nodes[at] = trace_node_of(group, ids[at]);
        if (!nodes[at]) return "no such node";
    }
    if (count == 0) {
        count = group->count;
        memcpy(nodes, group->nodes, count * sizeof(*nodes));
    }
    trace_stabilize(group, nodes, count, out);
    const struct case_argument *level = case_argument_find(one, "log-level");
    if (level && is_none(level->values[0])) buf_clear(out);
    return NULL;
}

static const char *log_level(struct trace_group *group, const struct conformance_case *one,
                             struct buf *out) {
    if (one->argument_count != 1) return "log-level LEVEL";
    group->quiet = is_none(one->arguments[0].key);
    return NULL;
}

static const struct {
    const char *name;
    command_fn *run;
} commands[] = {
    {"add-nodes", add_nodes},
    {"campaign", campaign},
    {"compact", compact},
    {"deliver-msgs", deliver},
    {"forget-leader", forget_leader},
    {"log-level", log_level},
    {"process-append-thread", process_append},
    {"process-apply-thread", process_apply},
    {"process-ready", process_ready},
    {"propose", propose},
    {"propose-conf-change", propose_conf_change},
    {"raft-log", print_log},
    {"raft-state", print_state},
    {"report-unreachable", report_unreachable},
    {"send-snapshot", send_snapshot},
    {"set-randomized-election-timeout", set_election_timeout},
    {"stabilize", stabilize},
    {"status", print_status},
    {"tick-election", tick_election},
    {"tick-heartbeat", tick_heartbeat},
    {"transfer-leadership", transfer_leadership},
};

static const char *run_command(struct trace_group *group, const struct conformance_case *one,
                               struct buf *out) {
    for (size_t at = 0; at < sizeof(commands) / sizeof(commands[0]); at++) {
        if (strcmp(commands[at].name, one->command) == 0) return commands[at].run(group, one, out);
    }
    return "unknown command";
}

void run_trace_file(const struct conformance_file *file, struct buf *outputs) {
    struct trace_group group = {0};
    for (size_t at = 0; at < file->count; at++) {
        const char *error = run_command(&group, &file->cases[at], &outputs[at]);
        if (group.quiet) buf_clear(&outputs[at]);
        if (error) buf_printf(&outputs[at], "%s\n", error);
    }
    trace_group_done(&group);
}
