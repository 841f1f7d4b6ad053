/* Rules about one step of one replica: what an event may change, told from the event and from what
 * the replica was before, and not from the core's own arithmetic.
 *
 *   a follower's commit index moves no further than the message that moves it vouches for (3.5)
 *   who was heard from a leader neither votes for another nor stands, for the election time-out
 * that it had then, by its own clock, restarts included (6.2, 6.4.1) a leader has the votes of a
 * majority, in both halves of a joint configuration, and its own on its disk (3.4, 4.3, 3.8) nobody
 * stands before it has applied every change that it knows to be committed (4.1) a leader appends no
 * change of configuration behind one that it has not applied (4.1) a lease is held only while a
 * majority is bound by its promise, each by its own clock (6.4.1) ReadIndex answers once a majority
 * has answered a heartbeat that left after the question (6.4)
 */
#include "base/assert.h"
#include "tests/raft/simulation_world.h"

struct sim_before sim_before(const struct sim_node *node) {
    return (struct sim_before){.term = raft_term(node->raft),
                               .commit = raft_commit_index(node->raft),
                               .vote = node->raft->vote,
                               .role = raft_role(node->raft)};
}

static bool from_leader(const struct sim_event *event) {
    enum raft_message_kind kind = event->message.kind;
    return event->kind == SIM_MESSAGE &&
           (kind == RAFT_MSG_APPEND || kind == RAFT_MSG_HEARTBEAT || kind == RAFT_MSG_SNAPSHOT);
}

/* ---- commit indexes ---- */

static uint64_t vouched_for(const struct raft_message *message) {
    if (message->kind == RAFT_MSG_HEARTBEAT) return message->commit;
    if (message->kind == RAFT_MSG_SNAPSHOT) return message->snapshot->id.index;
    uint64_t covered = message->log.index + message->entry_count;
    return message->commit < covered ? message->commit : covered;
}

static void check_commit(struct sim_world *world, const struct sim_node *node,
                         const struct raft_message *message, const struct sim_before *before) {
    uint64_t commit = raft_commit_index(node->raft), vouched = vouched_for(message);
    if (commit > before->commit && commit > vouched)
        sim_fail(world, node, "takes %lu for committed when the leader's message says %lu",
                 (unsigned long)commit, (unsigned long)vouched);
}

/* ---- the promise that leases rest on ---- */

static void check_guard(struct sim_world *world, const struct sim_node *node,
                        const struct sim_event *event, const struct sim_before *before) {
    const struct raft_message *message = &event->message;
    bool asked = event->kind == SIM_MESSAGE && message->kind == RAFT_MSG_VOTE;
    bool told = event->kind == SIM_MESSAGE && message->kind == RAFT_MSG_TIMEOUT_NOW;
    bool guards = sim_clock_us(world, node) < node->guarded_until_us;
    if (!guards || told) return;
    /* In a group of one nobody else can be elected. */
    if (raft_conf_state_is_singleton(&node->raft->conf)) return;
    bool later = raft_term(node->raft) > before->term;
    bool voted = asked && !message->force && node->raft->vote == message->from &&
                 (later || before->vote != message->from);
    bool stands =
        raft_role(node->raft) == RAFT_CANDIDATE && (later || before->role != RAFT_CANDIDATE);
    if (voted || stands)
        sim_fail(world, node, "%s in term %lu soon after it was heard from another leader",
                 voted ? "votes" : "stands", (unsigned long)raft_term(node->raft));
}

/* ---- standing ---- */

static bool has_change(const struct raft_core_log *log, uint64_t first, uint64_t last) {
    struct raft_entry_list list = {0};
    enum status status = raft_core_log_slice(log, first, last, 0, UINT32_MAX, &list);
    ASSERT(status == STATUS_OK);
    bool found = false;
    for (uint32_t at = 0; at < list.count; at++)
        found |= list.items[at].kind != RAFT_ENTRY_NORMAL;
    raft_entry_list_done(&list);
    return found;
}

static void check_standing(struct sim_world *world, const struct sim_node *node,
                           const struct sim_before *before) {
    if (raft_role(node->raft) != RAFT_CANDIDATE || raft_term(node->raft) == before->term) return;
    if (has_change(&node->raft->log, node->applied + 1, raft_commit_index(node->raft)))
        sim_fail(world, node, "stands in a configuration that it knows to be history");
}

void sim_check_step(struct sim_world *world, struct sim_node *node, const struct sim_event *event,
                    const struct sim_before *before) {
    const struct raft_message *message = &event->message;
    if (from_leader(event) && raft_role(node->raft) != RAFT_LEADER)
        check_commit(world, node, message, before);
    if (world->options.leases) check_guard(world, node, event, before);
    check_standing(world, node, before);
    if (from_leader(event) && message->term >= before->term) {
        uint64_t until_us =
            sim_clock_us(world, node) + (uint64_t)node->election_ticks * SIM_TICK_US;
        if (until_us > node->guarded_until_us) node->guarded_until_us = until_us;
    }
    if (event->kind == SIM_MESSAGE && message->kind == RAFT_MSG_HEARTBEAT_RESPONSE &&
        message->sent_us > node->echoed_us[message->from])
        node->echoed_us[message->from] = message->sent_us;
}

/* ---- majorities ---- */

struct question {
    const struct sim_world *world;
    const struct sim_node *leader;
    uint64_t since_us; /* own clock of the leader */
};

static bool majority(const struct raft_id_set *voters, const struct question *question,
                     bool (*says)(const struct question *question, uint64_t id)) {
    uint32_t count = 0;
    for (uint32_t at = 0; at < voters->count; at++)
        count += says(question, voters->ids[at]) ? 1 : 0;
    return voters->count == 0 || 2 * count > voters->count;
}

static bool voted(const struct question *question, uint64_t id) {
    return sim_voted(question->world, id, raft_term(question->leader->raft), question->leader->id);
}

static bool answered(const struct question *question, uint64_t id) {
    return id == question->leader->id || question->leader->echoed_us[id] >= question->since_us;
}

static bool is_bound(const struct question *question, uint64_t id) {
    const struct sim_node *node = &question->world->nodes[id - 1];
    return id == question->leader->id ||
           sim_clock_us(question->world, node) < node->guarded_until_us;
}

void sim_check_lease(struct sim_world *world, const struct sim_node *leader) {
    const struct raft_conf_state *conf = &leader->raft->conf;
    struct question question = {.world = world, .leader = leader};
    if (!majority(&conf->voters, &question, is_bound) ||
        !majority(&conf->voters_outgoing, &question, is_bound))
        sim_fail(world, leader, "reads by a lease when a majority may vote for another");
}

void sim_check_elected(struct sim_world *world, const struct sim_node *node) {
    const struct raft_conf_state *conf = &node->raft->conf;
    const struct raft_hard_state *durable = &node->disk.hard_state;
    struct question question = {.world = world, .leader = node};
    if (durable->term != raft_term(node->raft) || durable->vote != node->id)
        sim_fail(world, node, "leads term %lu; on disk is a vote for %lu in term %lu",
                 (unsigned long)raft_term(node->raft), (unsigned long)durable->vote,
                 (unsigned long)durable->term);
    if (!majority(&conf->voters, &question, voted) ||
        !majority(&conf->voters_outgoing, &question, voted))
        sim_fail(world, node, "leads term %lu without the votes of a majority",
                 (unsigned long)raft_term(node->raft));
}

void sim_check_read_answer(struct sim_world *world, const struct sim_node *leader,
                           const struct sim_node *reader, uint64_t context) {
    const struct raft_conf_state *conf = &leader->raft->conf;
    if (world->options.leases && raft_lease_valid(leader->raft)) return;
    for (uint32_t at = 0; at < reader->read_count; at++) {
        const struct sim_read *read = &reader->reads[at];
        struct question question = {world, leader, sim_clock_at(leader, read->asked_us)};
        if (read->context != context) continue;
        if (!majority(&conf->voters, &question, answered) ||
            !majority(&conf->voters_outgoing, &question, answered))
            sim_fail(world, leader, "answers a read with no majority heard from since it came");
    }
}

/* ---- changes of configuration ---- */

void sim_check_changes(struct sim_world *world, const struct sim_node *leader) {
    const struct raft_core_log *log = &leader->raft->log;
    struct raft_entry_list list = {0};
    bool pending = false;
    if (log->last.index > leader->applied) {
        enum status status = raft_core_log_slice(&leader->raft->log, leader->applied + 1,
                                                 log->last.index, 0, UINT32_MAX, &list);
        ASSERT(status == STATUS_OK);
    }
    for (uint32_t at = 0; at < list.count; at++) {
        const struct raft_entry *entry = &list.items[at];
        if (entry->kind == RAFT_ENTRY_NORMAL) continue;
        if (pending && entry->id.term == raft_term(leader->raft))
            sim_fail(world, leader, "appends change %lu when an earlier one is not applied yet",
                     (unsigned long)entry->id.index);
        pending = true;
    }
    raft_entry_list_done(&list);
}
