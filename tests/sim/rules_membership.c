/* The rules of ranges whose replicas come and go:
 *
 *   a version of a range's descriptor is the same wherever it is seen, and the Raft core's
 *   configuration says the same
 *   from one version to the next there is one step: one voter more or less, a joint configuration
 *   entered with the voters there were, or left with those it brought
 *   replica ids are given in order, and none comes back: neither in a descriptor nor on a node
 *   a replica has the version that belongs to what it has applied
 *   learners do not lead; who is promoted has the range
 *   an entry is committed by a configuration that a leader could have at that moment
 *   a removed replica leaves nothing behind
 *
 * Which entries a leader may have committed by which version: those up to its commit index in the
 * turn in which it went on to the next one. */
#include <inttypes.h>

#include "range/record.h"
#include "tests/sim/rules.h"

/* ---- what is known of a range's versions ---- */

static struct version_rules *version_slot(struct range_rules *rules, uint64_t version) {
    if (version >= rules->version_cap) {
        uint64_t cap = version + 64 + rules->version_cap;
        rules->versions = memory_realloc(rules->versions, cap * sizeof(*rules->versions));
        memset(rules->versions + rules->version_cap, 0,
               (cap - rules->version_cap) * sizeof(*rules->versions));
        rules->version_cap = cap;
    }
    return &rules->versions[version];
}

void sim_rules_membership_free(struct range_rules *rules) {
    for (uint64_t i = 0; i < rules->version_cap; i++)
        range_descriptor_done(&rules->versions[i].descriptor);
    memory_free(rules->versions);
}

static _Noreturn void broken(struct sim *sim, const char *rule, const struct sim_node *node,
                             const struct range_descriptor *descriptor) {
    sim_broken(sim, rule, "node %u range %" PRIu64 " version %" PRIu64 ": %u replicas%s",
               node->host.number, descriptor->range_id, descriptor->epoch.conf_version,
               descriptor->replica_count, descriptor->joint ? ", joint" : "");
}

static bool votes_in(enum range_replica_role role, bool outgoing) {
    if (role == RANGE_VOTER) return true;
    if (outgoing) return role == RANGE_VOTER_OUTGOING || role == RANGE_VOTER_DEMOTING;
    return role == RANGE_VOTER_INCOMING;
}

/* How many of a's voters (of one half) are no voters (of one half) of b. */
static uint32_t voters_missing(const struct range_descriptor *a, bool a_outgoing,
                               const struct range_descriptor *b, bool b_outgoing) {
    uint32_t missing = 0;
    for (uint32_t i = 0; i < a->replica_count; i++) {
        const struct range_replica_ref *other =
            range_descriptor_replica(b, a->replicas[i].replica_id);
        if (votes_in(a->replicas[i].role, a_outgoing) &&
            !(other && votes_in(other->role, b_outgoing)))
            missing++;
    }
    return missing;
}

static bool is_one_step(const struct range_descriptor *from, const struct range_descriptor *to) {
    uint32_t gone = voters_missing(from, false, to, to->joint);
    uint32_t fresh = voters_missing(to, to->joint, from, false);
    if (from->joint) return !to->joint && gone == 0 && fresh == 0;
    return to->joint ? gone == 0 && fresh == 0 : gone + fresh <= 1;
}

static bool ids_only_grow(const struct range_descriptor *from, const struct range_descriptor *to) {
    for (uint32_t i = 0; i < to->replica_count; i++) {
        uint64_t id = to->replicas[i].replica_id;
        const struct range_replica_ref *before = range_descriptor_replica(from, id);
        if (id >= to->next_replica_id || (!before && id < from->next_replica_id)) return false;
        if (before && before->node_id != to->replicas[i].node_id) return false;
    }
    return to->next_replica_id >= from->next_replica_id;
}

static void check_step(struct sim *sim, const struct sim_node *node,
                       const struct range_descriptor *from, const struct range_descriptor *to) {
    if (from->replica_count == 0) return; /* nobody was seen with it */
    if (!ids_only_grow(from, to)) broken(sim, "replica ids are not used twice", node, to);
    if (from->epoch.conf_version + 1 == to->epoch.conf_version && !is_one_step(from, to))
        broken(sim, "replicas change one step at a time", node, to);
}

/* A voter that has nothing yet could leave the range without a majority that has everything. */
static void check_promoted(struct sim *sim, const struct sim_node *node,
                           const struct range_descriptor *from, const struct range_descriptor *to) {
    for (uint32_t i = 0; i < to->replica_count; i++) {
        const struct range_replica_ref *now = &to->replicas[i];
        const struct range_replica_ref *before = range_descriptor_replica(from, now->replica_id);
        if (!votes_in(now->role, false) || !before || before->role != RANGE_LEARNER) continue;
        const struct sim_node *there = sim_node_by_id(sim, now->node_id);
        struct buf bytes = {0};
        enum status status =
            sim_disk_state(&there->host, to->range_id, RAFT_LOG_HARD_STATE, &bytes);
        buf_done(&bytes);
        if (status != STATUS_OK) broken(sim, "who is promoted has the range", node, to);
    }
}

/* The replica has gone on to this version. */
static void learn_version(struct sim *sim, const struct sim_node *node,
                          const struct range_descriptor *descriptor, uint64_t applied) {
    struct range_rules *rules = &sim->rules->ranges[descriptor->range_id];
    uint64_t version = descriptor->epoch.conf_version;
    struct version_rules *known = version_slot(rules, version);
    if (known->descriptor.replica_count > 0) {
        if (!range_descriptor_equal(&known->descriptor, descriptor))
            broken(sim, "a version of a descriptor is the same everywhere", node, descriptor);
        return;
    }
    range_descriptor_copy(&known->descriptor, descriptor);
    known->since = applied;
    if (version > 0) {
        check_step(sim, node, &rules->versions[version - 1].descriptor, descriptor);
        check_promoted(sim, node, &rules->versions[version - 1].descriptor, descriptor);
    }
    if (version > rules->newest_version) {
        check_step(sim, node, &version_slot(rules, rules->newest_version)->descriptor, descriptor);
        rules->newest_version = version;
    }
}

/* ---- a replica ---- */

void sim_rules_replica_identity(struct sim *sim, struct sim_node *node,
                                const struct range_replica *replica, struct replica_rules *seen) {
    if (replica->replica_id <= seen->gone)
        sim_broken(sim, "a replica that was removed never comes back",
                   "node %u range %" PRIu64 ": replica %" PRIu64 ", of %" PRIu64 " it was gone",
                   node->host.number, range_replica_id(replica), replica->replica_id, seen->gone);
    if (seen->replica_id != 0 && seen->replica_id != replica->replica_id)
        *seen = (struct replica_rules){.gone = seen->replica_id};
    seen->replica_id = replica->replica_id;
}

void sim_rules_replica_gone(struct sim *sim, struct sim_node *node,
                            const struct range_replica *replica) {
    uint64_t range_id = range_replica_id(replica);
    struct replica_rules *seen = &sim->rules->replicas[node->host.number - 1][range_id];
    if (replica->life != RANGE_TOMBSTONE || replica->replica_id <= seen->gone) return;
    sim_note(sim, "node %u: range %u has no replica here any more", node->host.number,
             (unsigned)range_id);
    sim->life.removed++;
    *seen = (struct replica_rules){.gone = replica->replica_id};
    if (!sim_rules_nothing_left(node, &replica->descriptor))
        sim_broken(sim, "a removed replica leaves nothing behind",
                   "node %u range %" PRIu64 ", replica %" PRIu64, node->host.number, range_id,
                   replica->replica_id);
}

bool sim_rules_nothing_left(struct sim_node *node, const struct range_descriptor *descriptor) {
    struct buf bytes = {0};
    enum status status =
        sim_disk_state(&node->host, descriptor->range_id, RAFT_LOG_HARD_STATE, &bytes);
    buf_done(&bytes);
    return status == STATUS_NOT_FOUND && sim_rules_content_hash(node, descriptor) == 0;
}

static void check_core(struct sim *sim, const struct sim_node *node,
                       const struct range_replica *replica) {
    struct raft_view view;
    raft_view(replica->raft, &view);
    struct raft_conf_state conf = range_conf_from_descriptor(&replica->descriptor);
    /* A snapshot takes effect in the core first. */
    if (replica->life != RANGE_INSTALLING && !replica->snapshots.receive &&
        !range_conf_equal(&conf, &view.conf))
        broken(sim, "the Raft core's configuration is the descriptor's", node,
               &replica->descriptor);
}

uint64_t sim_rules_commits(struct sim *sim, const struct range_replica *replica,
                           const struct replica_rules *seen) {
    struct range_rules *rules = &sim->rules->ranges[range_replica_id(replica)];
    uint64_t to = replica->descriptor.epoch.conf_version, commit = 0;
    if (replica->leads) commit = raft_commit_index(replica->raft);
    /* It led until it removed itself: nobody can ask it any more what it has committed before. */
    if (!replica->raft && seen->led_term == replica->written.term) commit = replica->log.last_index;
    /* The same, when it has only lost its vote: it steps down as it applies that, in its term. */
    bool demoted = replica->raft && !replica->leads && seen->version < to &&
                   seen->led_term == raft_term(replica->raft);
    if (demoted) commit = raft_commit_index(replica->raft);
    /* By the rules of the version before, until it has applied the change: of one change at most,
     * since who has an entry behind a change knows that it is committed (range/ready.c). */
    uint64_t from = seen->version > 0 && seen->version < to ? to - 1 : to;
    for (uint64_t version = from; commit > 0 && version <= to; version++) {
        struct version_rules *known = version_slot(rules, version);
        if (known->committed < commit) known->committed = commit;
    }
    return commit;
}

void sim_rules_version(struct sim *sim, struct sim_node *node, const struct range_replica *replica,
                       struct replica_rules *seen) {
    const struct range_descriptor *descriptor = &replica->descriptor;
    const struct range_replica_ref *own = range_descriptor_replica(descriptor, replica->replica_id);
    uint64_t version = descriptor->epoch.conf_version;
    if (replica->leads && (!own || own->role == RANGE_LEARNER))
        broken(sim, "who has no vote does not lead", node, descriptor);
    const struct version_rules *next =
        version_slot(&sim->rules->ranges[descriptor->range_id], version + 1);
    if (next->since > 0 && replica->applied.applied.index >= next->since &&
        replica->life != RANGE_INSTALLING)
        broken(sim, "a replica has the version that belongs to what it has applied", node,
               descriptor);
    if (version == seen->version) return;
    if (version < seen->version)
        broken(sim, "a replica's descriptor does not get older", node, descriptor);
    learn_version(sim, node, descriptor, replica->applied.applied.index);
    if (replica->raft) check_core(sim, node, replica);
    seen->version = version;
}

/* ---- quorums ---- */

static bool half_has(struct sim *sim, const struct range_descriptor *descriptor, bool outgoing,
                     uint64_t index, uint64_t checksum) {
    uint32_t holders = 0, voters = 0;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        if (!votes_in(descriptor->replicas[i].role, outgoing)) continue;
        struct sim_node *node = sim_node_by_id(sim, descriptor->replicas[i].node_id);
        ASSERT(node);
        voters++;
        holders += sim_rules_on_disk(node, descriptor->range_id, index, checksum) ? 1 : 0;
    }
    return holders * 2 > voters;
}

static bool quorum_has(struct sim *sim, const struct range_descriptor *descriptor, uint64_t index,
                       uint64_t checksum) {
    if (descriptor->replica_count == 0) return true; /* nobody was seen with this version */
    return half_has(sim, descriptor, false, index, checksum) &&
           (!descriptor->joint || half_has(sim, descriptor, true, index, checksum));
}

bool sim_rules_quorum_has(struct sim *sim, const struct range_replica *replica, uint64_t index,
                          uint64_t checksum, bool changed) {
    struct range_rules *rules = &sim->rules->ranges[range_replica_id(replica)];
    uint64_t newest = rules->newest_version;
    if (quorum_has(sim, &version_slot(rules, newest)->descriptor, index, checksum)) return true;
    if (changed && quorum_has(sim, &replica->descriptor, index, checksum)) return true;
    for (uint64_t version = newest; version-- > 0;) {
        const struct version_rules *older = &rules->versions[version];
        if (older->committed >= index && quorum_has(sim, &older->descriptor, index, checksum))
            return true;
    }
    return false;
}

/* ---- in the end ---- */

/* Nodes that are no members have nothing. */
bool sim_rules_removed_are_gone(struct sim *sim) {
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
        struct sim_node *leader = sim_rules_leader(sim, range_id);
        if (!leader) return false;
        const struct range_descriptor *descriptor = &sim_replica_on(leader, range_id)->descriptor;
        for (uint32_t i = 0; i < sim->config.nodes; i++) {
            struct sim_node *node = &sim->nodes[i];
            if (range_descriptor_on_node(descriptor, node->node_id)) continue;
            if (sim_replica_on(node, range_id) || !sim_rules_nothing_left(node, descriptor))
                return false;
        }
    }
    return true;
}

/* ---- for the report ---- */

static void note_replica(struct buf *text, const struct sim_node *node, uint64_t range_id) {
    if (!node->store) return;
    uint32_t at = (uint32_t)(range_id % range_store_worker_count(node->store));
    const struct range_replica *held =
        range_worker_find_any(range_store_worker(node->store, at), range_id);
    if (!held) return;
    buf_printf(text, "; node %u: %" PRIu64 "%s%s%s v%" PRIu64 " at %" PRIu64, node->host.number,
               held->replica_id, held->life >= RANGE_DELETING ? " gone" : "",
               held->life == RANGE_LEAVING || held->life == RANGE_DELETING ? " leaving" : "",
               held->raft ? "" : " inactive", held->descriptor.epoch.conf_version,
               held->applied.applied.index);
    if (held->raft)
        buf_printf(text, " of %" PRIu64 " term %" PRIu64 "%s%s", raft_commit_index(held->raft),
                   raft_term(held->raft), held->leads ? " leads" : "",
                   raft_quiet(held->raft) ? " quiet" : "");
}

void sim_rules_note_ranges(struct sim *sim) {
    static const char *const roles[] = {"?", "", "L", "I", "O", "D"};
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
        const struct range_rules *rules = &sim->rules->ranges[range_id];
        const struct range_descriptor *newest = &rules->versions[rules->newest_version].descriptor;
        struct buf text = {0};
        for (uint32_t i = 0; i < newest->replica_count; i++)
            buf_printf(&text, " %" PRIu64 "@%" PRIu64 "%s", newest->replicas[i].replica_id,
                       newest->replicas[i].node_id, roles[newest->replicas[i].role]);
        for (uint32_t i = 0; i < sim->config.nodes; i++)
            note_replica(&text, &sim->nodes[i], range_id);
        sim_note(sim, "range %u v%u:%.*s", (unsigned)range_id, (unsigned)rules->newest_version,
                 (int)text.len, (const char *)text.data);
        buf_done(&text);
    }
}
