#include "tests/raft/trace_commands.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/conformance/describe.h"
#include "tests/raft/trace_words.h"

#define WORDS_MAX 16u

typedef unsigned long long wide;

struct trace {
    struct group *group;
    struct buf *out;          /* of the line being run */
    bool by_hand;             /* sent messages are told when they leave, not when they arrive */
    bool silent;              /* a prelude nobody wants to read */
    uint64_t proposed;        /* numbers the proposals of `flood` */
    bool away[GROUP_MAX + 1]; /* nodes that everybody knows to be silent */
};

/* A line cut into words; `text` is the line behind the command. */
struct words {
    char buffer[512];
    const char *items[WORDS_MAX];
    size_t count;
};

static bool cut_words(const char *line, struct words *ret_words) {
    size_t len = strlen(line);
    if (len >= sizeof(ret_words->buffer)) return false;
    memcpy(ret_words->buffer, line, len + 1);
    ret_words->count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(ret_words->buffer, " ", &rest); word;
         word = strtok_r(NULL, " ", &rest)) {
        if (ret_words->count == WORDS_MAX) return false;
        ret_words->items[ret_words->count++] = word;
    }
    return ret_words->count > 0;
}

/* ---- arguments ---- */

static bool to_number(const char *text, uint64_t *ret_number) {
    char *end;
    if (!isdigit((unsigned char)text[0])) return false;
    *ret_number = strtoull(text, &end, 10);
    return *end == '\0';
}

/* The word at `at` as a replica of the group; NULL: it is none. */
static struct group_node *node_at(struct trace *trace, const struct words *words, size_t at) {
    uint64_t id;
    if (!trace->group || at >= words->count || !to_number(words->items[at], &id)) return NULL;
    return id >= 1 && id <= trace->group->count ? &trace->group->nodes[id] : NULL;
}

static uint64_t number_at(const struct words *words, size_t at, uint64_t fallback) {
    uint64_t number;
    return at < words->count && to_number(words->items[at], &number) ? number : fallback;
}

static bool has_word(const struct words *words, const char *wanted) {
    for (size_t at = 1; at < words->count; at++) {
        if (strcmp(words->items[at], wanted) == 0) return true;
    }
    return false;
}

/* Value of name=number. */
static uint64_t option(const struct words *words, const char *name, uint64_t fallback) {
    size_t len = strlen(name);
    for (size_t at = 1; at < words->count; at++) {
        const char *word = words->items[at];
        uint64_t number;
        if (strncmp(word, name, len) == 0 && word[len] == '=' && to_number(word + len + 1, &number))
            return number;
    }
    return fallback;
}

static void tell_status(struct trace *trace, enum status status) {
    if (status != STATUS_OK) buf_printf(trace->out, "refused: %s\n", status_name(status));
}

/* ---- what happens ---- */

static void tell_event(struct trace *trace, const struct group_event *event) {
    struct buf *out = trace->out;
    switch (event->kind) {
    case GROUP_READY:
        trace_tell_ready(out, event->node, event->ready);
        break;
    case GROUP_SENT:
        if (!trace->by_hand && !event->lost) break;
        buf_printf(out, "%s", event->lost ? "lost: " : "sent: ");
        trace_tell_message(out, event->message);
        buf_append_byte(out, '\n');
        break;
    case GROUP_DELIVERED:
        trace_tell_message(out, event->message);
        if (event->status != STATUS_OK) buf_printf(out, " [%s]", status_name(event->status));
        buf_append_byte(out, '\n');
        break;
    case GROUP_APPLIED:
        buf_printf(out, "%llu applies ", (wide)event->node->id);
        trace_tell_entry(out, event->entry);
        buf_append_byte(out, '\n');
        break;
    }
}

static void see_event(void *ctx, const struct group_event *event) {
    struct trace *trace = ctx;
    if (!trace->silent) tell_event(trace, event);
}

/* ---- commands: false means that the line makes no sense ---- */

typedef bool command_fn(struct trace *trace, const struct words *words);

static bool is_away(void *ctx, uint64_t id) {
    const struct trace *trace = ctx;
    return id <= GROUP_MAX && trace->away[id];
}

static struct raft_config config_of(struct trace *trace, const struct words *words) {
    struct raft_config config = group_config();
    config.away = is_away;
    config.away_ctx = trace;
    config.quiesce_ticks = (uint32_t)option(words, "quiesce-ticks", 0);
    config.pre_vote = has_word(words, "pre-vote");
    config.check_quorum = has_word(words, "check-quorum");
    config.coalesce_appends = has_word(words, "coalesce");
    config.forward_proposals = has_word(words, "forward");
    config.lead_after_removal = has_word(words, "lead-after-removal");
    config.async_storage_writes = !has_word(words, "synchronous");
    config.election_ticks = (uint32_t)option(words, "election-ticks", config.election_ticks);
    if (has_word(words, "restart-grace"))
        config.restart_grace_us = config.election_ticks * config.tick_us;
    config.lease_drift_ppm = (uint32_t)option(words, "drift-ppm", 0);
    config.append_bytes_max = option(words, "append-bytes", 0);
    config.apply_bytes_max = option(words, "apply-bytes", 0);
    config.inflight_messages_max = (uint32_t)option(words, "inflight", 0);
    config.inflight_bytes_max = option(words, "inflight-bytes", 0);
    config.uncommitted_bytes_max = option(words, "uncommitted-bytes", 0);
    return config;
}

static bool new_group(struct trace *trace, const struct words *words) {
    uint64_t voters = option(words, "voters", 0);
    if (trace->group || voters == 0 || voters > GROUP_MAX) return false;
    struct raft_config config = config_of(trace, words);
    trace->group = group_new(voters, &config);
    trace->group->watcher = (struct group_watcher){trace, see_event};
    return true;
}

static bool add(struct trace *trace, const struct words *words) {
    if (!trace->group || trace->group->count == GROUP_MAX) return false;
    struct raft_config config = trace->group->nodes[1].config;
    (void)group_add(trace->group, &config); /* the newest one is known by its number */
    return true;
}

static bool set_log(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    uint64_t terms[WORDS_MAX];
    if (!node) return false;
    for (size_t at = 2; at < words->count; at++) {
        if (!to_number(words->items[at], &terms[at - 2])) return false;
    }
    group_set_log(node, terms, (uint32_t)(words->count - 2));
    return true;
}

static bool campaign(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    tell_status(trace, raft_campaign(node->raft));
    return true;
}

static bool elect(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    trace->silent = true;
    tell_status(trace, raft_campaign(node->raft));
    group_settle(trace->group);
    trace->silent = false;
    return raft_role(node->raft) == RAFT_LEADER;
}

static bool propose(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node || words->count < 3) return false;
    for (size_t at = 2; at < words->count; at++) {
        tell_status(trace, group_propose(trace->group, node->id, words->items[at]));
    }
    return true;
}

/* Entries of a given size, told by their size only. */
static bool flood(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    uint64_t count = number_at(words, 2, 0), bytes = option(words, "bytes", 0);
    if (!node || count == 0 || bytes == 0) return false;
    for (uint64_t at = 0; at < count; at++) {
        struct payload *payload = payload_new(bytes);
        memset(payload->data, 'a' + (int)(trace->proposed++ % 26), bytes);
        tell_status(trace, raft_propose(node->raft, payload, NULL));
        payload_unref(payload);
    }
    return true;
}

static bool change(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    struct raft_conf_change wanted = {.transition = RAFT_TRANSITION_AUTO};
    struct buf text = {0};
    if (!node) return false;
    if (has_word(words, "explicit")) wanted.transition = RAFT_TRANSITION_EXPLICIT;
    if (has_word(words, "implicit")) wanted.transition = RAFT_TRANSITION_IMPLICIT;
    for (size_t at = 2; at < words->count; at++) {
        if (isdigit((unsigned char)words->items[at][1])) buf_printf(&text, "%s ", words->items[at]);
    }
    buf_append_byte(&text, '\0');
    bool parsed = parse_changes((const char *)text.data, &wanted);
    buf_done(&text);
    if (!parsed) return false;
    tell_status(trace, raft_propose_conf_change(node->raft, &wanted, NULL));
    return true;
}

static bool tick(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    group_tick(trace->group, node->id, (uint32_t)number_at(words, 2, 1));
    return true;
}

/* `time 5000`: for all; `time 2 5000`: for one. */
static bool set_time(struct trace *trace, const struct words *words) {
    if (words->count == 2) {
        group_set_now(trace->group, number_at(words, 1, 0));
        return true;
    }
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    node->now_us = number_at(words, 2, 0);
    raft_set_now(node->raft, node->now_us);
    return true;
}

static bool ready(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    trace->by_hand = true;
    if (raft_has_ready(node->raft)) {
        group_take_ready(trace->group, node->id);
    } else {
        buf_printf(trace->out, "%llu has nothing to do\n", (wide)node->id);
    }
    trace->by_hand = false;
    return true;
}

static bool settle(struct trace *trace, const struct words *words) {
    if (!trace->group) return false;
    trace->silent = has_word(words, "quietly");
    group_settle(trace->group);
    trace->silent = false;
    return true;
}

/* `deliver 2`, `deliver 2 vote`, `deliver` (all that is under way, and nothing that follows). */
static bool deliver(struct trace *trace, const struct words *words) {
    if (!trace->group) return false;
    uint64_t to = number_at(words, 1, 0);
    int kind = words->count > 2 ? trace_message_kind(words->items[2]) : 0;
    if (words->count > 2 && kind == 0) return false;
    size_t count = trace->group->message_count;
    while (count > 0 && group_deliver(trace->group, to, kind)) {
        count--;
    }
    return true;
}

static bool discard(struct trace *trace, const struct words *words) {
    if (!trace->group) return false;
    uint64_t to = number_at(words, 1, 0);
    int kind = words->count > 2 ? trace_message_kind(words->items[2]) : 0;
    size_t count = 0;
    while (group_discard(trace->group, to, kind)) {
        count++;
    }
    buf_printf(trace->out, "%zu messages are gone\n", count);
    return true;
}

static bool hold(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node || words->count != 3) return false;
    if (strcmp(words->items[2], "disk") == 0) {
        node->disk_held = true;
    } else if (strcmp(words->items[2], "applying") == 0) {
        node->apply_held = true;
    } else {
        return false;
    }
    return true;
}

/* What is held becomes durable, or is applied; what follows is not held any more. */
static bool release(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node || words->count != 3) return false;
    trace->by_hand = true;
    if (strcmp(words->items[2], "disk") == 0) {
        node->disk_held = false;
        group_sync(trace->group, node->id);
    } else {
        node->apply_held = false;
        group_apply(trace->group, node->id);
    }
    trace->by_hand = false;
    return true;
}

static bool isolate(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (node) group_isolate(trace->group, node->id);
    return node != NULL;
}

static bool lose(struct trace *trace, const struct words *words) {
    int kind = words->count == 2 ? trace_message_kind(words->items[1]) : 0;
    if (!trace->group || kind == 0) return false;
    trace->group->lost[kind] = true;
    return true;
}

static bool heal(struct trace *trace, const struct words *words) {
    if (trace->group) group_heal(trace->group);
    return trace->group != NULL;
}

static bool restart(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (node) group_restart(trace->group, node->id);
    return node != NULL;
}

static bool transfer(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    tell_status(trace, raft_transfer_leader(node->raft, number_at(words, 2, 0)));
    return true;
}

static bool forget_leader(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    tell_status(trace, raft_forget_leader(node->raft));
    return true;
}

static bool read_index(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    uint64_t context = number_at(words, 2, 0);
    if (!node || context == 0) return false;
    tell_status(trace, raft_read_index(node->raft, context));
    return true;
}

static bool compact(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (node) disk_compact(&node->disk, number_at(words, 2, 0));
    return node != NULL;
}

static bool unreachable(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (node) raft_report_unreachable(node->raft, number_at(words, 2, 0));
    return node != NULL;
}

/* ---- quiescence: what the owner knows of nodes ---- */

static bool set_away(struct trace *trace, const struct words *words) {
    const struct group_node *node = node_at(trace, words, 1);
    if (node) trace->away[node->id] = true;
    return node != NULL;
}

/* The node of `id` is heard again, and every replica's owner reports it. */
static bool set_back(struct trace *trace, const struct words *words) {
    const struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    trace->away[node->id] = false;
    for (uint64_t id = 1; id <= trace->group->count; id++) {
        if (id != node->id) raft_report_reachable(trace->group->nodes[id].raft, node->id);
    }
    return true;
}

static bool suspect_leader(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (node) raft_suspect_leader(node->raft);
    return node != NULL;
}

static bool wake(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (node) raft_wake(node->raft);
    return node != NULL;
}

/* ---- looking ---- */

static bool lease(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    uint64_t index;
    if (!node) return false;
    if (raft_lease_read(node->raft, &index)) {
        buf_printf(trace->out, "%llu may read at %llu\n", (wide)node->id, (wide)index);
    } else {
        buf_printf(trace->out, "%llu has no lease\n", (wide)node->id);
    }
    return true;
}

static bool state(struct trace *trace, const struct words *words) {
    if (!trace->group) return false;
    uint64_t only = number_at(words, 1, 0);
    for (uint64_t id = 1; id <= trace->group->count; id++) {
        if (only == 0 || only == id) trace_tell_state(trace->out, &trace->group->nodes[id]);
    }
    return true;
}

static bool progress(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    struct raft_view view = group_view(trace->group, node->id);
    for (uint32_t at = 0; at < view.progress_count; at++) {
        if (view.progress[at].id != node->id) trace_tell_progress(trace->out, &view.progress[at]);
    }
    return true;
}

static bool configuration(struct trace *trace, const struct words *words) {
    struct group_node *node = node_at(trace, words, 1);
    if (!node) return false;
    struct raft_view view = group_view(trace->group, node->id);
    describe_conf(trace->out, &view.conf);
    return true;
}

static const struct {
    const char *name;
    command_fn *run;
} commands[] = {
    {"add", add},
    {"away", set_away},
    {"back", set_back},
    {"campaign", campaign},
    {"change", change},
    {"compact", compact},
    {"configuration", configuration},
    {"deliver", deliver},
    {"discard", discard},
    {"elect", elect},
    {"flood", flood},
    {"forget-leader", forget_leader},
    {"group", new_group},
    {"heal", heal},
    {"hold", hold},
    {"isolate", isolate},
    {"lease", lease},
    {"log", set_log},
    {"lose", lose},
    {"progress", progress},
    {"propose", propose},
    {"read", read_index},
    {"ready", ready},
    {"release", release},
    {"restart", restart},
    {"settle", settle},
    {"state", state},
    {"suspect-leader", suspect_leader},
    {"tick", tick},
    {"time", set_time},
    {"transfer", transfer},
    {"unreachable", unreachable},
    {"wake", wake},
};

struct trace *trace_new(void) {
    return MEMORY_NEW(struct trace);
}

void trace_free(struct trace *trace) {
    if (trace->group) group_free(trace->group);
    memory_free(trace);
}

bool trace_run(struct trace *trace, const char *line, struct buf *out) {
    struct words words;
    trace->out = out;
    if (!cut_words(line, &words)) return false;
    for (size_t at = 0; at < sizeof(commands) / sizeof(commands[0]); at++) {
        if (strcmp(commands[at].name, words.items[0]) == 0) return commands[at].run(trace, &words);
    }
    return false;
}
