/* The rules, seen from outside. */
#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "tests/raft/simulation_world.h"

bool sim_conf_equal(const struct raft_conf_state *a, const struct raft_conf_state *b) {
    return raft_id_set_equal(&a->voters, &b->voters) &&
           raft_id_set_equal(&a->voters_outgoing, &b->voters_outgoing) &&
           raft_id_set_equal(&a->learners, &b->learners) &&
           raft_id_set_equal(&a->learners_next, &b->learners_next) &&
           a->auto_leave == b->auto_leave;
}

/* What the group is born with counts as decided. */
void sim_rules_begin(struct sim_world *world) {
    world->decided_cap = 256;
    world->decided = memory_zalloc(world->decided_cap * sizeof(*world->decided));
    world->decided_count = SIM_BIRTH.index;
    for (uint64_t index = 1; index <= SIM_BIRTH.index; index++) {
        world->decided[index - 1].term = SIM_BIRTH.term;
    }
}

void sim_rules_done(struct sim_world *world) {
    memory_free(world->decided);
    memory_free(world->leaders);
    memory_free(world->votes);
}

static uint64_t checksum_of(const struct raft_entry *entry) {
    return checksum64_seeded(payload_slice(entry->payload), (uint64_t)entry->kind);
}

/* ---- one leader per term, with everything that was committed before ---- */

static void check_complete(struct sim_world *world, struct sim_node *node) {
    uint64_t term = raft_term(node->raft);
    for (uint64_t index = 1; index <= world->decided_count; index++) {
        const struct sim_decided *decided = &world->decided[index - 1];
        if (decided->leader_term >= term) continue; /* decided after this one was elected */
        uint64_t own;
        enum status status = raft_core_log_term(&node->raft->log, index, &own);
        if (status == STATUS_COMPACTED) continue;
        if (status != STATUS_OK || own != decided->term) {
            sim_fail(world, node, "leads term %lu without committed entry %lu of term %lu",
                     (unsigned long)term, (unsigned long)index, (unsigned long)decided->term);
            return;
        }
    }
}

/* While somebody's lease runs, nobody else is elected: whether or not a read comes along. */
static void check_leases(struct sim_world *world, struct sim_node *elected) {
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        struct sim_node *other = &world->nodes[at];
        if (!other->raft || other == elected) continue;
        /* Votes that were long under way may elect a leader of the past: it commits nothing. */
        if (raft_term(other->raft) > raft_term(elected->raft)) continue;
        raft_set_now(other->raft, sim_clock_us(world, other));
        if (raft_lease_valid(other->raft)) {
            sim_fail(world, elected, "leads term %lu while %lu holds a lease in term %lu",
                     (unsigned long)raft_term(elected->raft), (unsigned long)other->id,
                     (unsigned long)raft_term(other->raft));
        }
    }
}

static void check_leader(struct sim_world *world, struct sim_node *node) {
    uint64_t term = raft_term(node->raft);
    while (term >= world->leader_cap) {
        uint64_t cap = world->leader_cap ? world->leader_cap * 2 : 64;
        world->leaders = memory_realloc(world->leaders, cap * sizeof(*world->leaders));
        memset(world->leaders + world->leader_cap, 0,
               (cap - world->leader_cap) * sizeof(*world->leaders));
        world->leader_cap = cap;
    }
    if (world->leaders[term] == node->id) return;
    if (world->leaders[term] != 0) {
        sim_fail(world, node, "leads term %lu, which %lu leads", (unsigned long)term,
                 (unsigned long)world->leaders[term]);
        return;
    }
    world->leaders[term] = node->id;
    world->result.elections++;
    if (world->options.leases) check_leases(world, node);
    sim_check_elected(world, node);
    check_complete(world, node);
}

/* ---- committed: durable on a quorum, the same everywhere ---- */

static bool durable_on(struct sim_world *world, uint64_t id, struct raft_log_id entry) {
    const struct disk *disk = &sim_node_of(world, id)->disk;
    if (entry.index <= disk->compacted.index) return true;
    if (entry.index > disk_last(disk)) return false;
    return disk_entry(disk, entry.index)->id.term == entry.term;
}

/* Counted here and not by the core's own arithmetic, which is under test too. */
static bool durable_on_majority(struct sim_world *world, const struct raft_id_set *voters,
                                struct raft_log_id entry) {
    uint32_t count = 0;
    for (uint32_t at = 0; at < voters->count; at++) {
        count += durable_on(world, voters->ids[at], entry);
    }
    return voters->count == 0 || 2 * count > voters->count;
}

static void decide(struct sim_world *world, struct sim_node *node, uint64_t index) {
    struct raft_entry_list list = {0};
    enum status status = raft_core_log_slice(&node->raft->log, index, index, 0, 1, &list);
    ASSERT(status == STATUS_OK);
    const struct raft_entry *entry = &list.items[0];
    uint64_t checksum = checksum_of(entry);
    if (index <= world->decided_count) {
        struct sim_decided *known = &world->decided[index - 1];
        if (known->term != entry->id.term || known->checksum != checksum) {
            sim_fail(world, node, "commits entry %lu of term %lu over another of term %lu",
                     (unsigned long)index, (unsigned long)entry->id.term,
                     (unsigned long)known->term);
        }
    } else {
        ASSERT_CMP(index, ==, world->decided_count + 1);
        if (world->decided_count == world->decided_cap) {
            world->decided_cap *= 2;
            world->decided =
                memory_realloc(world->decided, world->decided_cap * sizeof(*world->decided));
        }
        world->decided[world->decided_count++] = (struct sim_decided){
            .term = entry->id.term, .checksum = checksum, .leader_term = raft_term(node->raft)};
    }
    raft_entry_list_done(&list);
}

static void check_leader_commit(struct sim_world *world, struct sim_node *node) {
    uint64_t commit = raft_commit_index(node->raft);
    struct raft_log_id id = {raft_core_log_term_or_zero(&node->raft->log, commit), commit};
    const struct raft_conf_state *conf = &node->raft->conf;
    if (!durable_on_majority(world, &conf->voters, id) ||
        !durable_on_majority(world, &conf->voters_outgoing, id)) {
        sim_fail(world, node, "commits %lu, which no quorum has on disk", (unsigned long)commit);
    }
    if (id.term != raft_term(node->raft)) {
        sim_fail(world, node, "commits %lu of term %lu by counting in term %lu",
                 (unsigned long)commit, (unsigned long)id.term,
                 (unsigned long)raft_term(node->raft));
    }
    for (uint64_t index = node->commit_seen + 1; index <= commit; index++) {
        decide(world, node, index);
    }
}

/* Disks keep here what they said they had, whatever the network does to answers. */
static void check_followers(struct sim_world *world, const struct sim_node *node) {
    struct raft_view view;
    raft_view(node->raft, &view);
    for (uint32_t at = 0; at < view.progress_count; at++) {
        if (view.progress[at].log_lost) {
            sim_fail(world, node, "takes %lu, whose disk is well, for one that lost its log",
                     (unsigned long)view.progress[at].id);
        }
    }
}

void sim_check_node(struct sim_world *world, struct sim_node *node) {
    uint64_t term = raft_term(node->raft), commit = raft_commit_index(node->raft);
    if (term < node->term_seen || commit < node->commit_seen) {
        sim_fail(world, node, "goes back to term %lu, commit %lu from term %lu, commit %lu",
                 (unsigned long)term, (unsigned long)commit, (unsigned long)node->term_seen,
                 (unsigned long)node->commit_seen);
    }
    if (raft_role(node->raft) == RAFT_LEADER) {
        check_leader(world, node);
        check_followers(world, node);
        if (commit > node->commit_seen && !world->result.failed) check_leader_commit(world, node);
        sim_check_changes(world, node);
    } else if (commit > world->decided_count) {
        sim_fail(world, node, "knows commit %lu when only %lu are decided", (unsigned long)commit,
                 (unsigned long)world->decided_count);
    }
    node->term_seen = term;
    node->commit_seen = commit;
}

void sim_check_appliable(struct sim_world *world, struct sim_node *node,
                         const struct raft_entry *entry) {
    if (!durable_on(world, node->id, entry->id)) {
        sim_fail(world, node, "is told to apply %lu before its own disk has it",
                 (unsigned long)entry->id.index);
    }
}

void sim_check_applied(struct sim_world *world, struct sim_node *node,
                       const struct raft_entry *entry) {
    if (entry->id.index > world->decided_count) {
        sim_fail(world, node, "applies %lu before it is committed", (unsigned long)entry->id.index);
        return;
    }
    struct sim_decided *decided = &world->decided[entry->id.index - 1];
    if (decided->term != entry->id.term || decided->checksum != checksum_of(entry)) {
        sim_fail(world, node, "applies another entry %lu than was committed",
                 (unsigned long)entry->id.index);
        return;
    }
    if (!decided->applied) {
        decided->applied = true;
        decided->conf = node->conf;
    } else if (!sim_conf_equal(&decided->conf, &node->conf)) {
        sim_fail(world, node, "has another configuration at %lu", (unsigned long)entry->id.index);
    }
}

/* ---- promises ---- */

bool sim_voted(const struct sim_world *world, uint64_t voter, uint64_t term, uint64_t candidate) {
    for (size_t at = 0; at < world->vote_count; at++) {
        const struct sim_vote *vote = &world->votes[at];
        if (vote->voter == voter && vote->term == term) return vote->candidate == candidate;
    }
    return false;
}

static void check_vote(struct sim_world *world, struct sim_node *node,
                       const struct raft_message *vote) {
    if (node->disk.hard_state.term < vote->term ||
        (node->disk.hard_state.term == vote->term && node->disk.hard_state.vote != vote->to)) {
        sim_fail(world, node, "votes for %lu in term %lu without having written that",
                 (unsigned long)vote->to, (unsigned long)vote->term);
    }
    for (size_t at = 0; at < world->vote_count; at++) {
        const struct sim_vote *earlier = &world->votes[at];
        if (earlier->voter == node->id && earlier->term == vote->term &&
            earlier->candidate != vote->to) {
            sim_fail(world, node, "votes for %lu and %lu in term %lu",
                     (unsigned long)earlier->candidate, (unsigned long)vote->to,
                     (unsigned long)vote->term);
        }
    }
    if (world->vote_count == world->vote_cap) {
        world->vote_cap = world->vote_cap ? world->vote_cap * 2 : 64;
        world->votes = memory_realloc(world->votes, world->vote_cap * sizeof(*world->votes));
    }
    world->votes[world->vote_count++] = (struct sim_vote){node->id, vote->term, vote->to};
}

void sim_check_promise(struct sim_world *world, struct sim_node *node,
                       const struct raft_message *promise) {
    if (promise->kind == RAFT_MSG_PRE_VOTE_RESPONSE) return; /* promises nothing */
    if (promise->term > node->promised_term) node->promised_term = promise->term;
    if (node->disk.hard_state.term < promise->term) {
        sim_fail(world, node, "speaks in term %lu, on disk is %lu", (unsigned long)promise->term,
                 (unsigned long)node->disk.hard_state.term);
    }
    if (promise->reject) return;
    if (promise->kind == RAFT_MSG_VOTE_RESPONSE) {
        check_vote(world, node, promise);
    } else if (promise->log.index > disk_last(&node->disk) &&
               promise->term == node->disk.hard_state.term) {
        sim_fail(world, node, "acknowledges %lu, on disk are %lu",
                 (unsigned long)promise->log.index, (unsigned long)disk_last(&node->disk));
    }
}

/* ---- log matching ---- */

static void check_pair(struct sim_world *world, const struct sim_node *a,
                       const struct sim_node *b) {
    uint64_t first = disk_first(&a->disk), last = disk_last(&a->disk);
    if (disk_first(&b->disk) > first) first = disk_first(&b->disk);
    if (disk_last(&b->disk) < last) last = disk_last(&b->disk);
    bool agreed = false;
    for (uint64_t index = last; index >= first && index > 0; index--) {
        const struct raft_entry *one = disk_entry(&a->disk, index);
        const struct raft_entry *other = disk_entry(&b->disk, index);
        bool same = one->id.term == other->id.term;
        if ((agreed && !same) || (same && checksum_of(one) != checksum_of(other))) {
            sim_fail(world, a, "and %lu agree above entry %lu but not there", (unsigned long)b->id,
                     (unsigned long)index);
            return;
        }
        agreed = agreed || same;
    }
}

void sim_check_logs(struct sim_world *world) {
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        for (uint32_t other = 0; other < at; other++) {
            check_pair(world, &world->nodes[at], &world->nodes[other]);
        }
    }
}
