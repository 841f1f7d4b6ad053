/* What goes wrong, and how it ends. */
#include "base/assert.h"
#include "tests/raft/simulation_world.h"

static struct sim_node *any_node(struct sim_world *world) {
    return &world->nodes[prng_below(&world->prng, SIM_NODES)];
}

static struct sim_node *any_leader(struct sim_world *world) {
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        struct sim_node *node = &world->nodes[at];
        if (node->raft && node->paused_until_us <= world->now_us &&
            raft_role(node->raft) == RAFT_LEADER) {
            return node;
        }
    }
    return NULL;
}

static void crash(struct sim_world *world) {
    struct sim_node *node = sim_chance(world, 40) ? any_leader(world) : any_node(world);
    if (!node || !node->raft) return;
    sim_node_crash(world, node);
    sim_schedule(world, (struct sim_event){.kind = SIM_RESTART, .node = node->id},
                 1000 + prng_below(&world->prng, sim_chance(world, 50) ? 5000 : 400000));
}

static void heal_network(struct sim_world *world) {
    memset(world->blocked, 0, sizeof(world->blocked));
}

/* The leader reaches one follower, which reaches everybody; nobody else reaches the leader. */
static void bridge(struct sim_world *world, const struct sim_node *leader) {
    uint64_t kept = 1 + (leader->id + prng_below(&world->prng, SIM_NODES - 1)) % SIM_NODES;
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        if (id == leader->id || id == kept) continue;
        world->blocked[id][leader->id] = world->blocked[leader->id][id] = true;
    }
    /* The one that keeps the leader in office may forget why. */
    struct sim_node *node = sim_node_of(world, kept);
    if (!world->options.crashes || !node->raft || !sim_chance(world, 50)) return;
    sim_node_crash(world, node);
    sim_schedule(world, (struct sim_event){.kind = SIM_RESTART, .node = kept},
                 prng_below(&world->prng, 3000));
}

/* The leader is away until somebody stands, and then reaches some of the others again: those
 * promise it not to help the candidate, whose requests are still under way. */
static void hiccup(struct sim_world *world) {
    const struct sim_node *leader = any_leader(world);
    if (!leader) return;
    heal_network(world);
    for (uint64_t id = 1; id <= SIM_NODES; id++)
        world->blocked[id][leader->id] = world->blocked[leader->id][id] = id != leader->id;
    world->cut_off = leader->id;
}

void sim_watch_candidates(struct sim_world *world, const struct sim_node *node) {
    if (world->cut_off == 0 || raft_role(node->raft) != RAFT_CANDIDATE) return;
    sim_schedule(world, (struct sim_event){.kind = SIM_RECONNECT, .about = world->cut_off},
                 prng_below(&world->prng, SIM_HEARTBEAT_TICKS * SIM_TICK_US));
    world->cut_off = 0;
}

void sim_reconnect(struct sim_world *world, uint64_t about) {
    for (uint64_t id = 1; id <= SIM_NODES; id++)
        if (sim_chance(world, 60)) world->blocked[id][about] = world->blocked[about][id] = false;
}

/* Each side hears only itself; sometimes one direction stays open. */
static void partition(struct sim_world *world) {
    heal_network(world);
    if (sim_chance(world, 30)) return;
    bool side[SIM_NODES + 1] = {false};
    struct sim_node *leader = any_leader(world);
    if (leader && sim_chance(world, 30)) {
        bridge(world, leader);
        return;
    }
    if (leader && sim_chance(world, 40)) {
        side[leader->id] = true;
    } else {
        for (uint64_t id = 1; id <= SIM_NODES; id++) {
            side[id] = sim_chance(world, 50);
        }
    }
    bool one_way = sim_chance(world, 30);
    for (uint64_t from = 1; from <= SIM_NODES; from++) {
        for (uint64_t to = 1; to <= SIM_NODES; to++) {
            world->blocked[from][to] = side[from] != side[to] && !(one_way && side[from]);
        }
    }
}

/* As SIGSTOP does: nothing runs, everything piles up. */
static void pause_process(struct sim_world *world) {
    struct sim_node *node = sim_chance(world, 60) ? any_leader(world) : any_node(world);
    if (!node || !node->raft) return;
    uint64_t length_us = 5000 + prng_below(&world->prng, 400000);
    node->paused_until_us = world->now_us + length_us;
    sim_schedule(world, (struct sim_event){.kind = SIM_RESUME, .node = node->id}, length_us);
}

static void transfer(struct sim_world *world) {
    struct sim_node *node = sim_chance(world, 70) ? any_leader(world) : any_node(world);
    if (!node || !node->raft || node->paused_until_us > world->now_us) return;
    raft_set_now(node->raft, sim_clock_us(world, node));
    /* Whatever it answers: a wish, not an order. */
    enum status status = raft_transfer_leader(node->raft, 1 + prng_below(&world->prng, SIM_NODES));
    (void)status;
    sim_node_drain(world, node);
}

static void nudge(struct sim_world *world) {
    struct sim_node *node = any_node(world);
    if (!node->raft || node->paused_until_us > world->now_us) return;
    raft_set_now(node->raft, sim_clock_us(world, node));
    enum status status = STATUS_OK;
    switch (prng_below(&world->prng, 3)) {
    case 0:
        status = raft_campaign(node->raft);
        break;
    case 1:
        status = raft_forget_leader(node->raft);
        break;
    default:
        raft_report_unreachable(node->raft, 1 + prng_below(&world->prng, SIM_NODES));
        break;
    }
    (void)status; /* refusals are fine */
    sim_node_drain(world, node);
}

static void change_membership(struct sim_world *world) {
    struct sim_node *leader = any_leader(world);
    if (!leader) return;
    struct raft_conf_change change = {.transition =
                                          (enum raft_conf_transition)prng_below(&world->prng, 3)};
    change.count = (uint32_t)prng_below(&world->prng, 4); /* none: leave a joint configuration */
    static const enum raft_conf_change_kind kinds[] = {RAFT_CONF_ADD_VOTER, RAFT_CONF_ADD_VOTER,
                                                       RAFT_CONF_REMOVE, RAFT_CONF_ADD_LEARNER};
    for (uint32_t at = 0; at < change.count; at++) {
        change.changes[at].kind = kinds[prng_below(&world->prng, 4)];
        change.changes[at].id = 1 + prng_below(&world->prng, SIM_NODES);
    }
    change.v1 = change.count == 1 && sim_chance(world, 30);
    raft_set_now(leader->raft, sim_clock_us(world, leader));
    enum status status = raft_propose_conf_change(leader->raft, &change, NULL);
    (void)status; /* dropped is fine */
    sim_node_drain(world, leader);
}

static void compact(struct sim_world *world) {
    struct sim_node *node = any_node(world);
    if (!node->raft || node->disk.applied <= node->disk.compacted.index) return;
    uint64_t most = node->disk.applied - node->disk.compacted.index;
    if (node->disk.applied > disk_last(&node->disk)) return;
    disk_compact(&node->disk, node->disk.compacted.index + prng_below(&world->prng, most + 1));
}

void sim_fault(struct sim_world *world) {
    sim_schedule(world, (struct sim_event){.kind = SIM_FAULT},
                 5000 + prng_below(&world->prng, 60000));
    const struct simulation_options *options = &world->options;
    if (options->linger_percent > 0 && options->partitions && sim_chance(world, 50)) {
        hiccup(world);
        return;
    }
    switch (prng_below(&world->prng, 7)) {
    case 0:
        if (options->crashes) crash(world);
        break;
    case 1:
        if (options->partitions) partition(world);
        break;
    case 2:
        if (options->pauses) pause_process(world);
        break;
    case 3:
        if (options->transfers) transfer(world);
        break;
    case 4:
        if (options->membership) change_membership(world);
        break;
    case 5:
        if (options->compaction) compact(world);
        break;
    default:
        nudge(world);
        break;
    }
}

void sim_calm(struct sim_world *world) {
    heal_network(world);
    world->calm = true;
    world->calm_from = world->now_us;
    world->options.loss_percent = world->options.duplicate_percent = 0;
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        struct sim_node *node = &world->nodes[at];
        if (!node->raft) sim_node_start(world, node);
        if (node->paused_until_us > world->now_us) {
            node->paused_until_us = 0;
            sim_schedule(world, (struct sim_event){.kind = SIM_RESUME, .node = node->id}, 0);
        }
    }
}
