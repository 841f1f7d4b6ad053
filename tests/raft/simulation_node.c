/* One replica: its turn, its disk with writes that are not synced yet, its state machine. */
#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "tests/raft/simulation_world.h"

static uint64_t random_below(void *ctx, uint64_t bound) {
    return prng_below(ctx, bound);
}

/* ---- life ---- */

/* The latest applied state; sometimes it takes a while to make. */
static struct raft_snapshot make_snapshot(void *ctx) {
    struct sim_node *node = ctx;
    struct raft_snapshot none = {0};
    if (node->applied == 0) return none;
    uint64_t term = raft_core_log_term_or_zero(&node->raft->log, node->applied);
    if (term == 0) return none;
    return (struct raft_snapshot){.id = {term, node->applied}, .conf = node->conf};
}

static struct raft_config make_config(struct sim_world *world, struct sim_node *node) {
    uint64_t seed = world->options.seed;
    return (struct raft_config){
        .id = node->id,
        .election_ticks = node->election_ticks,
        .heartbeat_ticks = SIM_HEARTBEAT_TICKS,
        .tick_us = SIM_TICK_US,
        /* Without, who stands often and cannot win keeps those from standing who wait longer. */
        .pre_vote = seed % 3 != 0 || world->options.time_outs_differ,
        .check_quorum = world->options.leases || seed % 2 == 0,
        .async_storage_writes = true,
        .forward_proposals = seed % 5 == 0,
        .read_mode = world->options.leases ? RAFT_READ_LEASE : RAFT_READ_QUORUM,
        .lease_drift_ppm = world->options.drift_ppm,
        .restart_grace_us = world->options.leases ? node->restart_grace_us : 0,
        .append_bytes_max = seed % 7 == 0 ? 20 : 4096,
        .apply_bytes_max = seed % 11 == 0 ? 30 : 0,
        .inflight_messages_max = seed % 13 == 0 ? 2 : 16,
        .inflight_bytes_max = seed % 17 == 0 ? 64 : 0,
        .uncommitted_bytes_max = seed % 19 == 0 ? 256 : 0,
        .cache_bytes_max = seed % 4 == 0 ? 0 : 256,
        .random = random_below,
        .random_ctx = &world->prng,
        .coalesce_appends = seed % 3 == 1,
        .lazy_commits = seed % 5 < 2,
        .spare_heartbeats = seed % 7 < 4,
        .quiesce_ticks = world->options.quiesce ? SIM_QUIESCE_TICKS : 0,
        .away = sim_away,
        .away_ctx = node,
    };
}

/* As the store does it (range/promise.c): what may have been promised is kept to, and known before
 * more is promised. */
static void choose_time_out(struct sim_world *world, struct sim_node *node) {
    node->election_ticks = SIM_ELECTION_TICKS;
    if (world->options.time_outs_differ) {
        uint32_t shortest = SIM_HEARTBEAT_TICKS + 2, longest = 3 * SIM_ELECTION_TICKS;
        node->election_ticks = shortest + (uint32_t)prng_below(&world->prng, longest - shortest);
    }
    uint64_t election_us = (uint64_t)node->election_ticks * SIM_TICK_US;
    node->restart_grace_us = node->promised_us ? node->promised_us : election_us;
    if (election_us > node->promised_us) node->promised_us = election_us;
    node->grace_ends_us = sim_clock_us(world, node) + node->restart_grace_us;
}

/* Once the promises of earlier lives are over, only those of this one count. */
static void forget_long_promises(struct sim_world *world, struct sim_node *node) {
    uint64_t election_us = (uint64_t)node->election_ticks * SIM_TICK_US;
    if (sim_clock_us(world, node) >= node->grace_ends_us) node->promised_us = election_us;
}

void sim_node_start(struct sim_world *world, struct sim_node *node) {
    ASSERT(!node->raft);
    choose_time_out(world, node);
    node->generation++;
    node->disk.snapshot = make_snapshot;
    node->disk.snapshot_ctx = node;
    struct raft_config config = make_config(world, node);
    struct raft_storage storage = disk_storage(&node->disk);
    node->applied = node->disk.applied;
    node->conf = node->disk.conf;
    node->term_seen = node->disk.hard_state.term;
    node->commit_seen = node->disk.hard_state.commit;
    node->beat_elapsed = 0;
    memset(node->silent_ticks, 0, sizeof(node->silent_ticks));
    memset(node->heard_incarnation, 0, sizeof(node->heard_incarnation));
    node->raft =
        raft_new(&config, &storage, &node->disk.hard_state, &node->disk.conf, node->disk.applied);
    if (raft_term(node->raft) < node->promised_term) {
        sim_fail(world, node, "came back at term %lu after promising in %lu",
                 (unsigned long)raft_term(node->raft), (unsigned long)node->promised_term);
    }
    sim_schedule(world, (struct sim_event){.kind = SIM_TICK, .node = node->id},
                 prng_below(&world->prng, SIM_TICK_US));
}

static void work_done(struct sim_work *work) {
    raft_entry_list_done(&work->entries);
    raft_snapshot_free(work->snapshot);
    memory_free(work->promises);
}

static void forget_volatile(struct sim_node *node) {
    raft_free(node->raft);
    node->raft = NULL;
    for (size_t at = 0; at < node->work_count; at++) {
        work_done(&node->works[at]);
    }
    node->work_count = 0;
    raft_entry_list_done(&node->to_apply);
    node->sync_scheduled = node->apply_scheduled = false;
    node->read_count = node->proposal_count = 0;
    node->paused_until_us = 0;
}

void sim_node_done(struct sim_node *node) {
    forget_volatile(node);
    memory_free(node->works);
    disk_done(&node->disk);
}

/* ---- writing ---- */

static void write_work(struct sim_node *node, const struct sim_work *work) {
    struct disk *disk = &node->disk;
    /* Apply state goes through the same write-ahead log: durable with what was written after it. */
    if (work->applied > disk->applied) {
        disk->applied = work->applied;
        disk->conf = work->conf;
    }
    if (work->has_hard_state) disk->hard_state = work->hard_state;
    if (work->snapshot) disk_install(disk, work->snapshot->id, &work->snapshot->conf);
    disk_append(disk, work->entries.items, work->entries.count);
}

/* A crash keeps what was synced, and of the rest at most a prefix. */
void sim_node_crash(struct sim_world *world, struct sim_node *node) {
    uint64_t kept = prng_below(&world->prng, node->work_count + 1);
    if (sim_chance(world, 50)) kept = 0;
    for (size_t at = 0; at < kept; at++) {
        write_work(node, &node->works[at]);
    }
    forget_volatile(node);
    node->generation++;
    world->result.crashes++;
}

static void release_promises(struct sim_world *world, struct sim_node *node,
                             struct sim_work *work) {
    for (uint32_t at = 0; at < work->promise_count; at++) {
        const struct raft_message *promise = &work->promises[at];
        sim_check_promise(world, node, promise);
        if (promise->to != node->id) {
            sim_network_send(world, promise);
            continue;
        }
        enum status status = raft_step(node->raft, promise);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            sim_fail(world, node, "refuses its own promise: %s", status_text(status));
        }
    }
}

static void sync_disk(struct sim_world *world, struct sim_node *node) {
    node->sync_scheduled = false;
    size_t count = node->work_count;
    if (count > 1 && sim_chance(world, 30)) count = 1 + prng_below(&world->prng, count);
    for (size_t at = 0; at < count; at++) {
        write_work(node, &node->works[at]);
    }
    for (size_t at = 0; at < count; at++) {
        struct sim_work *work = &node->works[at];
        if (work->snapshot && work->snapshot->id.index > node->applied) {
            node->applied = work->snapshot->id.index;
            node->conf = work->snapshot->conf;
            world->result.snapshots++;
        }
        raft_append_done(node->raft, &work->append);
        release_promises(world, node, work);
        work_done(work);
    }
    node->work_count -= count;
    memmove(node->works, node->works + count, node->work_count * sizeof(*node->works));
}

/* ---- applying and reading ---- */

static void acknowledge(struct sim_world *world, struct sim_node *node,
                        const struct raft_entry *entry) {
    uint32_t ring = sizeof(node->proposals) / sizeof(node->proposals[0]);
    uint32_t count = node->proposal_count < ring ? node->proposal_count : ring;
    for (uint32_t at = 0; at < count; at++) {
        if (node->proposals[at].index != entry->id.index) continue;
        if (node->proposals[at].term != entry->id.term) continue; /* another's took the place */
        if (entry->id.index > world->seen) world->seen = entry->id.index;
        if (world->calm && world->calm_ack == 0) world->calm_ack = entry->id.index;
    }
}

static void serve_reads(struct sim_world *world, struct sim_node *node) {
    uint32_t kept = 0;
    for (uint32_t at = 0; at < node->read_count; at++) {
        const struct sim_read *read = &node->reads[at];
        if (read->index == 0 || read->index > node->applied) {
            node->reads[kept++] = *read;
            continue;
        }
        if (node->applied < read->seen) {
            sim_fail(world, node, "%s read shows state %lu after somebody saw %lu",
                     read->lease ? "lease" : "quorum", (unsigned long)node->applied,
                     (unsigned long)read->seen);
        }
        if (node->applied > world->seen) world->seen = node->applied;
        world->result.reads++;
        world->result.lease_reads += read->lease;
        world->calm_read += world->calm;
    }
    node->read_count = kept;
}

static void apply_entry(struct sim_world *world, struct sim_node *node,
                        const struct raft_entry *entry) {
    if (entry->id.index <= node->applied) return; /* a snapshot was faster */
    if (entry->id.index != node->applied + 1) {
        sim_fail(world, node, "applies %lu after %lu", (unsigned long)entry->id.index,
                 (unsigned long)node->applied);
        return;
    }
    if (entry->kind != RAFT_ENTRY_NORMAL) {
        struct raft_conf_change change;
        enum status status = raft_decode_conf_change(entry, &change);
        ASSERT(status == STATUS_OK);
        raft_apply_conf_change(node->raft, &change, &node->conf);
        world->result.conf_changes++;
    }
    node->applied = entry->id.index;
    sim_check_applied(world, node, entry);
    acknowledge(world, node, entry);
}

static void apply_some(struct sim_world *world, struct sim_node *node) {
    node->apply_scheduled = false;
    uint32_t count = node->to_apply.count;
    if (count > 1 && sim_chance(world, 30)) count = 1 + (uint32_t)prng_below(&world->prng, count);
    size_t bytes = 0;
    uint64_t last = 0;
    for (uint32_t at = 0; at < count; at++) {
        const struct raft_entry *entry = &node->to_apply.items[at];
        apply_entry(world, node, entry);
        bytes += payload_slice(entry->payload).len;
        last = entry->id.index;
        payload_unref(entry->payload);
    }
    node->to_apply.count -= count;
    memmove(node->to_apply.items, node->to_apply.items + count,
            node->to_apply.count * sizeof(*node->to_apply.items));
    if (count > 0) raft_apply_done(node->raft, last, bytes);
    serve_reads(world, node);
}

void sim_node_propose(struct sim_world *world, struct sim_node *node, uint64_t value) {
    raft_set_now(node->raft, sim_clock_us(world, node));
    struct payload *payload = payload_copy(slice_make(&value, sizeof(value)));
    struct raft_log_id id;
    enum status status = raft_propose(node->raft, payload, &id);
    payload_unref(payload);
    if (status != STATUS_OK || id.index == 0) return; /* refused, or forwarded: nobody waits */
    uint32_t ring = sizeof(node->proposals) / sizeof(node->proposals[0]);
    node->proposals[node->proposal_count++ % ring] = id;
}

void sim_node_read(struct sim_world *world, struct sim_node *node) {
    raft_set_now(node->raft, sim_clock_us(world, node));
    if (node->read_count == SIM_READS_MAX) node->read_count = 0; /* given up */
    struct sim_read read = {
        .context = ++world->contexts, .asked_us = world->now_us, .seen = world->seen};
    if (world->options.leases && raft_lease_read(node->raft, &read.index)) {
        read.lease = true;
        sim_check_lease(world, node);
    } else if (raft_read_index(node->raft, read.context) != STATUS_OK) {
        return;
    }
    node->reads[node->read_count++] = read;
    serve_reads(world, node);
}

/* ---- the turn ---- */

static void keep_work(struct sim_world *world, struct sim_node *node,
                      const struct raft_ready *ready) {
    if (node->work_count == node->work_cap) {
        node->work_cap = node->work_cap ? node->work_cap * 2 : 8;
        node->works = memory_realloc(node->works, node->work_cap * sizeof(*node->works));
    }
    struct sim_work *work = &node->works[node->work_count++];
    *work = (struct sim_work){.has_hard_state = ready->has_hard_state,
                              .hard_state = ready->hard_state,
                              .append = ready->append,
                              .promise_count = ready->message_after_append_count,
                              .applied = node->applied,
                              .conf = node->conf};
    for (uint32_t at = 0; at < ready->entry_count; at++) {
        raft_entry_list_add(&work->entries, &ready->entries[at]);
    }
    if (ready->snapshot) work->snapshot = raft_snapshot_copy(ready->snapshot);
    if (work->promise_count > 0) {
        work->promises = memory_alloc(work->promise_count * sizeof(*work->promises));
        memcpy(work->promises, ready->messages_after_append,
               work->promise_count * sizeof(*work->promises));
    }
    if (node->sync_scheduled) return;
    node->sync_scheduled = true;
    uint64_t in_us = 20 + prng_below(&world->prng, 2000);
    if (!world->calm && sim_chance(world, 3)) in_us += prng_below(&world->prng, 150000);
    sim_schedule(world, (struct sim_event){.kind = SIM_SYNC, .node = node->id}, in_us);
}

static void keep_committed(struct sim_world *world, struct sim_node *node,
                           const struct raft_ready *ready) {
    for (uint32_t at = 0; at < ready->committed_count; at++) {
        sim_check_appliable(world, node, &ready->committed[at]);
        raft_entry_list_add(&node->to_apply, &ready->committed[at]);
    }
    if (node->to_apply.count == 0 || node->apply_scheduled) return;
    node->apply_scheduled = true;
    sim_schedule(world, (struct sim_event){.kind = SIM_APPLY, .node = node->id},
                 prng_below(&world->prng, sim_chance(world, 5) ? 50000 : 500));
}

static void note_read_states(struct sim_world *world, struct sim_node *node,
                             const struct raft_ready *ready) {
    for (uint32_t state = 0; state < ready->read_state_count; state++) {
        /* A follower's answer was looked at where it left. */
        if (raft_role(node->raft) == RAFT_LEADER)
            sim_check_read_answer(world, node, node, ready->read_states[state].context);
        for (uint32_t at = 0; at < node->read_count; at++) {
            if (node->reads[at].context == ready->read_states[state].context) {
                node->reads[at].index = ready->read_states[state].index;
            }
        }
    }
}

void sim_node_drain(struct sim_world *world, struct sim_node *node) {
    while (raft_has_ready(node->raft)) {
        struct raft_ready ready;
        raft_ready(node->raft, &ready);
        for (uint32_t at = 0; at < ready.message_count; at++) {
            const struct raft_message *message = &ready.messages[at];
            /* A promise that leaves with what promises nothing has to be durable all the same. */
            bool promise = message->kind == RAFT_MSG_VOTE_RESPONSE ||
                           message->kind == RAFT_MSG_APPEND_RESPONSE;
            if (promise) sim_check_promise(world, node, message);
            if (message->kind == RAFT_MSG_READ_INDEX_RESPONSE)
                sim_check_read_answer(world, node, sim_node_of(world, message->to),
                                      message->context);
            sim_network_send(world, message);
        }
        note_read_states(world, node, &ready);
        keep_committed(world, node, &ready);
        if (ready.append.any) keep_work(world, node, &ready);
    }
    serve_reads(world, node);
    if (node->to_apply.count > 0 && !node->apply_scheduled) {
        keep_committed(world, node, &(struct raft_ready){0});
    }
    if (node->work_count > 0 && !node->sync_scheduled) {
        node->sync_scheduled = true;
        sim_schedule(world, (struct sim_event){.kind = SIM_SYNC, .node = node->id}, 100);
    }
    sim_beat_check(world, node);
    raft_check(node->raft);
    sim_check_node(world, node);
}

static void take_message(struct sim_world *world, struct sim_node *node,
                         const struct raft_message *message) {
    enum status status = raft_step(node->raft, message);
    if (status == STATUS_INVALID || status == STATUS_CORRUPTION) {
        sim_fail(world, node, "calls a message of kind %d from %lu invalid", (int)message->kind,
                 (unsigned long)message->from);
    }
}

void sim_node_event(struct sim_world *world, struct sim_node *node, const struct sim_event *event) {
    raft_set_now(node->raft, sim_clock_us(world, node));
    struct sim_before before = sim_before(node);
    switch (event->kind) {
    case SIM_MESSAGE:
        take_message(world, node, &event->message);
        break;
    case SIM_TICK: {
        forget_long_promises(world, node);
        raft_tick(node->raft);
        if (world->options.quiesce) sim_beat_tick(world, node);
        int64_t period =
            (int64_t)SIM_TICK_US - (int64_t)SIM_TICK_US * node->clock_rate_ppm / 1000000;
        sim_schedule(world, (struct sim_event){.kind = SIM_TICK, .node = node->id},
                     (uint64_t)period);
        break;
    }
    case SIM_BEAT:
        sim_beat_heard(node, event);
        break;
    case SIM_SYNC:
        sync_disk(world, node);
        break;
    case SIM_APPLY:
        apply_some(world, node);
        break;
    case SIM_SNAPSHOT_REPORT:
        raft_report_snapshot(node->raft, event->about, event->failed);
        break;
    default:
        ASSERT(!"not an event of a node");
    }
    sim_check_step(world, node, event, &before);
    sim_watch_candidates(world, node);
    sim_node_drain(world, node);
}
