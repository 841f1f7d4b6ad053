/* The rules that hold at every moment, checked from outside of the code that has to keep them:
 *
 *   one leader per range and term; a new leader has every entry that was ever applied
 *   an index, once applied anywhere, holds the same entry everywhere, for ever
 *   when an entry is first applied, a majority has it on disk
 *   terms, commit and applied indexes never go back; what was durable of a term outlives a crash
 *   replicas that applied the same index have the same content (sampled)
 *   a leader commits by counting only what is of its own term
 *   a log ends on disk where it ends
 *   timestamps only grow, and stay below the bound that is durable
 *
 * and, now and then, the invariants that the objects walk themselves. */
#include "tests/sim/rules.h"

#include <inttypes.h>

#include "placement/driver.h"
#include "raft/message_codec.h"
#include "storage/mvcc.h"

/* A walk over a worker's invariants costs as much as there is in its logs: a turn more between two
 * walks for each so many entries. */
#define WALK_EVERY_ENTRIES 128u
/* Applied indexes between two looks at the content. A look costs as much as there is content, so
 * they get rarer as the log grows. */
#define CONTENT_EVERY 32u
#define CONTENT_EVERY_PART 16u

void sim_rules_new(struct sim *sim) {
    sim->rules = MEMORY_NEW(struct sim_rules);
}

void sim_rules_free(struct sim *sim) {
    for (uint32_t i = 0; i <= SIM_RANGES_MAX; i++) {
        memory_free(sim->rules->ranges[i].applied);
        sim_rules_membership_free(&sim->rules->ranges[i]);
    }
    memory_free(sim->rules);
}

/* ---- entries ---- */

static uint64_t entry_checksum(struct slice entry) {
    uint64_t checksum = checksum64(entry);
    return checksum ? checksum : 1;
}

/* Keys as in storage/raft_log.h. */
enum status sim_disk_entry(const struct sim_host *host, uint64_t group, uint64_t index,
                           struct buf *ret) {
    struct buf key = {0};
    encode_u8(&key, 'l');
    encode_u64_be(&key, group);
    encode_u64_be(&key, index);
    enum status status =
        memory_engine_peek(host->engine, true, STORAGE_RAFT, slice_from_buf(&key), ret);
    buf_done(&key);
    return status;
}

enum status sim_disk_state(const struct sim_host *host, uint64_t group, enum raft_log_state state,
                           struct buf *ret) {
    struct buf key = {0};
    encode_u8(&key, 's');
    encode_u64_be(&key, group);
    encode_u8(&key, (uint8_t)state);
    enum status status =
        memory_engine_peek(host->engine, true, STORAGE_RAFT, slice_from_buf(&key), ret);
    buf_done(&key);
    return status;
}

bool sim_rules_on_disk(struct sim_node *node, uint64_t range_id, uint64_t index,
                       uint64_t checksum) {
    struct buf value = {0};
    bool there = false;
    enum status status = sim_disk_entry(&node->host, range_id, index, &value);
    if (status == STATUS_OK) {
        there = entry_checksum(slice_from_buf(&value)) == checksum;
    } else {
        ASSERT(status == STATUS_NOT_FOUND);
        status = sim_disk_state(&node->host, range_id, RAFT_LOG_TRUNCATION, &value);
        struct decoder in = decoder_make(slice_from_buf(&value));
        there = status == STATUS_OK && decode_u64(&in) >= index;
    }
    buf_done(&value);
    return there;
}

static struct applied_entry *entry_slot(struct range_rules *rules, uint64_t index) {
    size_t at = index - RANGE_INITIAL_INDEX - 1;
    if (at >= rules->applied_cap) {
        size_t cap = at + 256 + rules->applied_cap;
        rules->applied = memory_realloc(rules->applied, cap * sizeof(*rules->applied));
        memset(rules->applied + rules->applied_cap, 0,
               (cap - rules->applied_cap) * sizeof(*rules->applied));
        rules->applied_cap = cap;
    }
    return &rules->applied[at];
}

static struct applied_entry *applied_slot(struct range_rules *rules, uint64_t index) {
    struct applied_entry *entry = entry_slot(rules, index);
    if (index - RANGE_INITIAL_INDEX > rules->applied_count)
        rules->applied_count = index - RANGE_INITIAL_INDEX;
    return entry;
}

/* As soon as the leader commits it, if its own disk has it by then: a majority that is seen now may
 * be gone when the entry is applied, because some of it was removed. */
static void judge_committed(struct sim *sim, struct sim_node *node,
                            const struct range_replica *replica, uint64_t commit) {
    uint64_t range_id = range_replica_id(replica);
    struct range_rules *rules = &sim->rules->ranges[range_id];
    for (uint64_t index = replica->applied.applied.index + 1; index <= commit; index++) {
        struct applied_entry *entry = entry_slot(rules, index);
        struct buf bytes = {0};
        if (!entry->judged && sim_disk_entry(&node->host, range_id, index, &bytes) == STATUS_OK) {
            uint64_t checksum = entry_checksum(slice_from_buf(&bytes));
            if (sim_rules_quorum_has(sim, replica, index, checksum, true)) entry->judged = checksum;
        }
        buf_done(&bytes);
    }
}

static void judge_applied(struct sim *sim, const struct range_replica *replica, uint64_t index,
                          const struct applied_entry *entry, bool changed) {
    if (entry->judged == entry->checksum ||
        sim_rules_quorum_has(sim, replica, index, entry->checksum, changed))
        return;
    sim_broken(sim, "nothing is applied before a majority has it on disk",
               "range %" PRIu64 " index %" PRIu64 ", applied with version %" PRIu64 " of %" PRIu64,
               range_replica_id(replica), index, replica->descriptor.epoch.conf_version,
               sim->rules->ranges[range_replica_id(replica)].newest_version);
}

/* Without its payload. */
static struct raft_entry decoded(struct slice bytes, uint64_t index) {
    struct raft_entry entry = {0};
    enum status status = raft_decode_entry(bytes, index, &entry);
    ASSERT(status == STATUS_OK);
    payload_unref(entry.payload);
    entry.payload = NULL;
    return entry;
}

/* Returns whether the entry is a change of replicas; asked only when the replica has seen one. */
static bool is_change(struct slice bytes, uint64_t index) {
    return decoded(bytes, index).kind != RAFT_ENTRY_NORMAL;
}

/* `changed` as for sim_rules_quorum_has; returns it for the next entry. */
static bool check_applied_entry(struct sim *sim, struct sim_node *node,
                                const struct range_replica *replica, uint64_t index, bool changed) {
    const struct range_descriptor *descriptor = &replica->descriptor;
    struct range_rules *rules = &sim->rules->ranges[descriptor->range_id];
    struct buf entry = {0};
    enum status status = sim_disk_entry(&node->host, descriptor->range_id, index, &entry);
    if (status != STATUS_OK)
        sim_broken(sim, "what is applied is in the log",
                   "node %u range %" PRIu64 " index %" PRIu64 ": %s", node->host.number,
                   descriptor->range_id, index, status_name(status));
    uint64_t checksum = entry_checksum(slice_from_buf(&entry));
    bool changes = descriptor->epoch.conf_version > rules->newest_version &&
                   is_change(slice_from_buf(&entry), index);
    struct applied_entry *known = applied_slot(rules, index);
    if (known->checksum == 0) known->own_term = decoded(slice_from_buf(&entry), index).id.term;
    buf_done(&entry);
    if (known->checksum == 0) {
        known->checksum = checksum;
        known->term = replica->raft ? raft_term(replica->raft) : replica->written.term;
        judge_applied(sim, replica, index, known, changed);
    } else if (known->checksum != checksum) {
        sim_broken(sim, "an applied index holds one entry for ever",
                   "node %u applied another entry than others at range %" PRIu64 " index %" PRIu64,
                   node->host.number, descriptor->range_id, index);
    }
    return changed || changes;
}

/* The change of replicas that brought a version nobody had yet left the log in the round that
 * applied it: what was applied before is gone, and none of what is left is a change. */
static bool change_is_compacted(struct sim *sim, struct sim_node *node,
                                const struct range_replica *replica) {
    uint64_t range_id = range_replica_id(replica);
    if (replica->descriptor.epoch.conf_version <= sim->rules->ranges[range_id].newest_version)
        return false;
    bool found = false;
    for (uint64_t index = replica->log.first_index;
         !found && index <= replica->applied.applied.index; index++) {
        struct buf entry = {0};
        found = sim_disk_entry(&node->host, range_id, index, &entry) == STATUS_OK &&
                is_change(slice_from_buf(&entry), index);
        buf_done(&entry);
    }
    return !found;
}

/* Where a log begins it is compared with those of others by this term alone. */
static void check_cut(struct sim *sim, const struct sim_node *node,
                      const struct range_replica *replica) {
    const struct raft_log_id *cut = &replica->applied.truncated;
    uint64_t range_id = range_replica_id(replica);
    if (cut->index <= RANGE_INITIAL_INDEX) return;
    const struct applied_entry *entry = entry_slot(&sim->rules->ranges[range_id], cut->index);
    if (entry->checksum != 0 && entry->own_term != cut->term)
        sim_broken(sim, "the entry at which a log was cut keeps its term",
                   "node %u range %" PRIu64 " index %" PRIu64 ": %" PRIu64 ", it was %" PRIu64,
                   node->host.number, range_id, cut->index, cut->term, entry->own_term);
}

static void check_applied(struct sim *sim, struct sim_node *node,
                          const struct range_replica *replica, struct replica_rules *seen) {
    uint64_t applied = replica->applied.applied.index;
    bool changed = false;
    if (applied <= seen->applied || replica->life == RANGE_INSTALLING) return;
    check_cut(sim, node, replica);
    uint64_t from = seen->applied + 1;
    if (from < replica->log.first_index) {
        from = replica->log.first_index;
        changed = change_is_compacted(sim, node, replica);
    }
    for (uint64_t index = from; index <= applied; index++)
        changed = check_applied_entry(sim, node, replica, index, changed);
    seen->applied = applied;
}

/* ---- content ---- */

uint64_t sim_rules_content_hash(struct sim_node *node, const struct range_descriptor *descriptor) {
    static const enum storage_family families[] = {STORAGE_DATA, STORAGE_LOCK, STORAGE_META};
    uint64_t hash = 0;
    for (size_t i = 0; i < 3; i++) {
        struct buf begin = {0}, end = {0};
        mvcc_span_bounds(families[i], slice_from_buf(&descriptor->start),
                         slice_from_buf(&descriptor->end), &begin, &end);
        struct storage_span span = {families[i], slice_from_buf(&begin), slice_from_buf(&end)};
        hash = hash * 31 + memory_engine_hash(node->host.engine, &span);
        buf_done(&begin);
        buf_done(&end);
    }
    return hash;
}

static bool content_is_due(uint64_t index) {
    uint64_t every = CONTENT_EVERY;
    while (every < index / CONTENT_EVERY_PART)
        every *= 2;
    return index % every == 0;
}

static void check_content(struct sim *sim, struct sim_node *node,
                          const struct range_replica *replica) {
    uint64_t index = replica->applied.applied.index;
    uint64_t last_commit_ts = replica->applied.last_commit_ts; /* of the next entry, perhaps */
    uint64_t range_id = replica->descriptor.range_id;
    uint64_t hash = sim_rules_content_hash(node, &replica->descriptor);
    struct content *content =
        &sim->rules->ranges[range_id].contents[index / CONTENT_EVERY % CONTENTS_KEPT];
    if (content->index == index && content->last_commit_ts == last_commit_ts &&
        content->hash != hash)
        sim_broken(sim, "replicas at one index have one content",
                   "node %u differs at range %" PRIu64 " index %" PRIu64, node->host.number,
                   range_id, index);
    *content = (struct content){index, last_commit_ts, hash};
}

/* ---- leaders ---- */

/* What was committed in its term or before, it has. (What a later leader has committed meanwhile, a
 * leader that does not know of its end yet may lack.) */
static void check_complete(struct sim *sim, struct sim_node *node, uint64_t range_id,
                           const struct raft_view *view) {
    struct range_rules *rules = &sim->rules->ranges[range_id];
    uint64_t last = RANGE_INITIAL_INDEX + rules->applied_count;
    while (last > RANGE_INITIAL_INDEX && (applied_slot(rules, last)->checksum == 0 ||
                                          applied_slot(rules, last)->term > view->term))
        last--;
    if (last == RANGE_INITIAL_INDEX) return;
    if (view->last_index < last ||
        !sim_rules_on_disk(node, range_id, last, applied_slot(rules, last)->checksum))
        sim_broken(sim, "a leader has every committed entry",
                   "node %u leads range %" PRIu64 " in term %" PRIu64 " without index %" PRIu64,
                   node->host.number, range_id, view->term, last);
}

static void check_new_leader(struct sim *sim, struct sim_node *node,
                             const struct range_replica *replica) {
    uint64_t range_id = replica->descriptor.range_id;
    struct range_rules *rules = &sim->rules->ranges[range_id];
    struct raft_view view;
    raft_view(replica->raft, &view);
    sim_note(sim, "node %u: leads range %" PRIu64 " in term %" PRIu64, node->host.number, range_id,
             view.term);
    sim->life.leaders++;
    uint32_t kept = rules->leader_count < LEADERS_KEPT ? rules->leader_count : LEADERS_KEPT;
    for (uint32_t i = 0; i < kept; i++) {
        if (rules->leaders[i].term == view.term &&
            rules->leaders[i].replica_id != replica->replica_id)
            sim_broken(sim, "one leader per term",
                       "range %" PRIu64 " term %" PRIu64 ": replicas %" PRIu64 " and %" PRIu64,
                       range_id, view.term, rules->leaders[i].replica_id, replica->replica_id);
    }
    rules->leaders[rules->leader_count++ % LEADERS_KEPT] =
        (struct leader){view.term, replica->replica_id};
    check_complete(sim, node, range_id, &view);
}

/* ---- a replica after a turn ---- */

static uint64_t term_on_disk(const struct sim_node *node, uint64_t range_id, uint64_t index) {
    struct raft_entry entry = {0};
    struct buf bytes = {0};
    uint64_t term = 0;
    if (sim_disk_entry(&node->host, range_id, index, &bytes) == STATUS_OK &&
        raft_decode_entry(slice_from_buf(&bytes), index, &entry) == STATUS_OK) {
        term = entry.id.term;
        payload_unref(entry.payload);
    }
    buf_done(&bytes);
    return term;
}

/* What a leader commits while it leads, it commits by counting (3.6.2). */
static void check_counted(struct sim *sim, struct sim_node *node,
                          const struct range_replica *replica, const struct replica_rules *seen) {
    uint64_t commit = raft_commit_index(replica->raft);
    uint64_t range_id = replica->descriptor.range_id;
    if (!replica->leads || seen->led_term != replica->lead_term || commit == seen->commit) return;
    uint64_t term = term_on_disk(node, range_id, commit);
    if (term != 0 && term != replica->lead_term)
        sim_broken(sim, "only entries of the own term are committed by counting",
                   "node %u leads range %" PRIu64 " in term %" PRIu64 " and commits index %" PRIu64
                   " of term %" PRIu64,
                   node->host.number, range_id, replica->lead_term, commit, term);
}

/* What a replacement cut off is gone from the disk, too, or comes back with a restart. */
static void check_tail(struct sim *sim, struct sim_node *node, const struct range_replica *replica,
                       struct replica_rules *seen) {
    uint64_t last = replica->log.last_index, range_id = replica->descriptor.range_id;
    struct buf bytes = {0};
    if (last < seen->last_index &&
        sim_disk_entry(&node->host, range_id, last + 1, &bytes) != STATUS_NOT_FOUND)
        sim_broken(sim, "a log ends on disk where it ends",
                   "node %u range %" PRIu64 " ends at %" PRIu64 ", on disk it goes on",
                   node->host.number, range_id, last);
    buf_done(&bytes);
    seen->last_index = last;
}

static void check_growth(struct sim *sim, struct sim_node *node,
                         const struct range_replica *replica, struct replica_rules *seen) {
    uint64_t term = raft_term(replica->raft), commit = raft_commit_index(replica->raft);
    if (term < seen->term || commit < seen->commit ||
        replica->applied.applied.index < seen->applied)
        sim_broken(sim, "terms, commit and applied indexes never go back",
                   "node %u range %" PRIu64 ": term %" PRIu64 " after %" PRIu64 ", commit %" PRIu64
                   " after %" PRIu64 ", applied %" PRIu64 " after %" PRIu64,
                   node->host.number, replica->descriptor.range_id, term, seen->term, commit,
                   seen->commit, replica->applied.applied.index, seen->applied);
    seen->term = term;
    seen->commit = commit;
    if (seen->durable_term != term && !replica->worker->log_needs_sync && !replica->unsynced &&
        !raft_has_ready(replica->raft))
        seen->durable_term = term;
}

/* What can be judged although what the turn promises waits for the disk, and of a replica that has
 * just been removed: both delete the evidence soon. */
static void check_progress(struct sim *sim, struct sim_node *node,
                           const struct range_replica *replica, struct replica_rules *seen) {
    sim_rules_replica_identity(sim, node, replica, seen);
    if (sim->rules->ranges[range_replica_id(replica)].newest_version == 0)
        sim_rules_version(sim, node, replica, seen);
    judge_committed(sim, node, replica, sim_rules_commits(sim, replica, seen));
    check_applied(sim, node, replica, seen);
    sim_rules_version(sim, node, replica, seen);
}

/* Active, or removed and not deleted yet. */
static bool has_log(const struct range_replica *replica) {
    return replica->raft || (replica->life == RANGE_LEAVING);
}

static struct replica_rules *seen_of(struct sim *sim, const struct sim_node *node,
                                     const struct range_replica *replica) {
    uint64_t range_id = range_replica_id(replica);
    ASSERT(range_id >= 1 && range_id <= SIM_RANGES_MAX);
    return &sim->rules->replicas[node->host.number - 1][range_id];
}

/* What an honest disk acknowledged it has, however late and out of order its answers come. */
static void check_followers(struct sim *sim, const struct sim_node *node,
                            const struct range_replica *replica) {
    struct raft_view view;
    if (!replica->leads || sim->options.disks_lie) return;
    raft_view(replica->raft, &view);
    for (uint32_t i = 0; i < view.progress_count; i++)
        if (view.progress[i].log_lost)
            sim_broken(sim, "nobody is taken for one that lost its log",
                       "node %u range %" PRIu64 ": replica %" PRIu64, node->host.number,
                       replica->descriptor.range_id, view.progress[i].id);
}

static void check_replica(struct sim *sim, struct sim_node *node,
                          const struct range_replica *replica) {
    struct replica_rules *seen = seen_of(sim, node, replica);
    check_counted(sim, node, replica, seen);
    check_progress(sim, node, replica, seen);
    check_growth(sim, node, replica, seen);
    check_followers(sim, node, replica);
    if (replica->life != RANGE_INSTALLING) check_tail(sim, node, replica, seen);
    if (replica->leads && replica->lead_term != seen->led_term) {
        seen->led_term = replica->lead_term;
        check_new_leader(sim, node, replica);
        sim_rules_lease_elected(sim, node, replica);
    }
    bool grown = seen->applied != seen->compared;
    seen->compared = seen->applied;
    if (grown && content_is_due(seen->applied) && replica->life != RANGE_INSTALLING)
        check_content(sim, node, replica);
}

void sim_rules_before_sync(struct sim *sim, struct sim_node *node, uint32_t index) {
    const struct range_worker *worker = range_store_worker(node->store, index);
    LIST_FOR_EACH (at, &worker->all) {
        const struct range_replica *replica = CONTAINER_OF(at, struct range_replica, in_all);
        if (has_log(replica)) check_progress(sim, node, replica, seen_of(sim, node, replica));
    }
}

void sim_rules_after_turn(struct sim *sim, struct sim_node *node, uint32_t index) {
    const struct range_worker *worker = range_store_worker(node->store, index);
    struct sim_rules *rules = sim->rules;
    uint64_t entries = 0;
    LIST_FOR_EACH (at, &worker->all) {
        const struct range_replica *replica = CONTAINER_OF(at, struct range_replica, in_all);
        if (!replica->raft) {
            if (has_log(replica)) check_progress(sim, node, replica, seen_of(sim, node, replica));
            sim_rules_replica_gone(sim, node, replica);
            continue;
        }
        check_replica(sim, node, replica);
        entries += replica->log.last_index + 1 - replica->log.first_index;
    }
    if (++rules->turns < rules->next_walk) return;
    rules->next_walk = rules->turns + sim->config.check_every + entries / WALK_EVERY_ENTRIES;
    range_worker_check(worker);
}

/* What it leads now it led when it looked, and nobody else would have it; unless its time is up. */
void sim_rules_drained(struct sim *sim, const struct sim_node *node,
                       const struct range_drain *drain) {
    uint32_t led = 0;
    for (uint64_t range = 1; range <= sim->config.ranges; range++) {
        const struct range_replica *replica = sim_replica_on(node, range);
        if (replica && replica->raft && raft_role(replica->raft) == RAFT_LEADER &&
            replica->descriptor.replica_count > 1)
            led++;
    }
    if (sim->now_us < drain->until_us && led > drain->kept)
        sim_broken(sim, "nothing is led by who leaves", "node %u leads %u ranges, and knows of %u",
                   node->host.number, led, drain->kept);
}

void sim_rules_process_ended(struct sim *sim, struct sim_node *node) {
    for (uint32_t range = 1; range <= SIM_RANGES_MAX; range++) {
        struct replica_rules *seen = &sim->rules->replicas[node->host.number - 1][range];
        *seen = (struct replica_rules){.term = seen->durable_term,
                                       .durable_term = seen->durable_term,
                                       .replica_id = seen->replica_id,
                                       .gone = seen->gone};
    }
}

struct sim_member *sim_rules_placement_leader(struct sim *sim) {
    struct sim_member *leader = NULL;
    for (uint32_t i = 0; i < sim->config.members; i++) {
        struct sim_member *member = &sim->members[i];
        if (!member->host.up || raft_role(member->driver->raft) != RAFT_LEADER) continue;
        if (!leader || raft_term(member->driver->raft) > raft_term(leader->driver->raft))
            leader = member;
    }
    return leader;
}

void sim_rules_granted(struct sim *sim, const struct sim_member *member, uint64_t first,
                       uint64_t count) {
    ASSERT(member);
    /* A lease says just that; without it, this would do no harm until the newer one answers. */
    const struct sim_member *leader = sim_rules_placement_leader(sim);
    if (!leader || leader != member)
        sim_broken(sim, "only placement's newest leader gives out timestamps",
                   "member %u did in term %" PRIu64 ", and does not lead or not the newest",
                   member->host.number, raft_term(member->driver->raft));
    uint64_t bound = member->driver->state.timestamp_bound; /* as applied: a majority has it */
    if (first + count > bound)
        sim_broken(sim, "timestamps are given out below a durable bound",
                   "member %u gave out %" PRIu64 " with a bound of %" PRIu64, member->host.number,
                   first + count - 1, bound);
    /* Steps that are believed, small jumps of all clocks, and bounds of earlier leaders add up to
     * less than a tenth of a leap. */
    if (first >> PLACEMENT_TIMESTAMP_COUNTER_BITS > sim_wall_ms(sim) + SIM_LEAP_MS_MIN / 10)
        sim_broken(sim, "timestamps do not run away with a clock",
                   "member %u gave out %" PRIu64 ", %" PRIu64 " s ahead", member->host.number,
                   first, ((first >> PLACEMENT_TIMESTAMP_COUNTER_BITS) - sim_wall_ms(sim)) / 1000);
    if (first <= sim->rules->last_timestamp)
        sim_broken(sim, "timestamps only grow", "%" PRIu64 " was granted after %" PRIu64, first,
                   sim->rules->last_timestamp);
    sim->rules->last_timestamp = first + count - 1;
}

bool sim_rules_wall_believed(struct sim *sim) {
    const struct sim_member *leader = sim_rules_placement_leader(sim);
    return leader && leader->driver->wall.confirmed &&
           leader->driver->wall.limit_ms + PLACEMENT_CLOCK_STEP_MS >= sim_wall_ms(sim);
}

/* ---- all replicas of a range ---- */

struct range_replica *sim_replica_on(const struct sim_node *node, uint64_t range_id) {
    if (!node->host.up || !node->store) return NULL;
    uint32_t workers = range_store_worker_count(node->store);
    return range_worker_find(range_store_worker(node->store, (uint32_t)(range_id % workers)),
                             range_id);
}

struct sim_node *sim_rules_leader(struct sim *sim, uint64_t range_id) {
    struct sim_node *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        const struct range_replica *replica = sim_replica_on(&sim->nodes[i], range_id);
        if (!replica || !replica->leads || replica->lead_term <= term) continue;
        term = replica->lead_term;
        leader = &sim->nodes[i];
    }
    return leader;
}

static bool range_converged(struct sim *sim, uint64_t range_id) {
    uint64_t applied = 0;
    struct sim_node *leader = sim_rules_leader(sim, range_id);
    if (!leader) return false;
    const struct range_descriptor *descriptor = &sim_replica_on(leader, range_id)->descriptor;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        struct sim_node *node = sim_node_by_id(sim, descriptor->replicas[i].node_id);
        const struct range_replica *replica = sim_replica_on(node, range_id);
        if (!replica || replica->life == RANGE_INSTALLING ||
            replica->replica_id != descriptor->replicas[i].replica_id)
            return false;
        if (applied != 0 && replica->applied.applied.index != applied) return false;
        applied = replica->applied.applied.index;
        if (applied != raft_commit_index(replica->raft)) return false;
    }
    return true;
}

bool sim_rules_led(struct sim *sim) {
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++)
        if (!sim_rules_leader(sim, range_id)) return false;
    return true;
}

bool sim_rules_converged(struct sim *sim) {
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++)
        if (!range_converged(sim, range_id)) return false;
    return true;
}

bool sim_rules_quiet(struct sim *sim) {
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
        for (uint32_t i = 0; i < sim->config.nodes; i++) {
            const struct range_replica *replica = sim_replica_on(&sim->nodes[i], range_id);
            if (replica && !raft_quiet(replica->raft)) return false;
        }
    }
    return true;
}

void sim_rules_compare_content(struct sim *sim) {
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
        struct sim_node *leader = sim_rules_leader(sim, range_id);
        uint64_t hash =
            sim_rules_content_hash(leader, &sim_replica_on(leader, range_id)->descriptor);
        for (uint32_t i = 0; i < sim->config.nodes; i++) {
            const struct range_replica *replica = sim_replica_on(&sim->nodes[i], range_id);
            if (!replica || sim_rules_content_hash(&sim->nodes[i], &replica->descriptor) == hash)
                continue;
            sim_broken(sim, "replicas at one index have one content",
                       "range %" PRIu64 ": nodes %u and %u differ at the end", range_id,
                       leader->host.number, sim->nodes[i].host.number);
        }
    }
}
