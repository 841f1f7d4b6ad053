/* Hurts the cluster: picks one fault after the other by the scenario's weights. Each ends by itself
 * after a while, or is overtaken by the next; sim_nemesis_heal ends them all. */
#include <inttypes.h>

#include "tests/sim/world.h"

/* Something that happens later to a host. */
struct later {
    struct sim_timer timer;
    struct sim_host *host;
    enum {
        LATER_GO_ON,
        LATER_ISOLATE,
        LATER_JOIN,
        LATER_FAST_DISK,
        LATER_RIGHT_CLOCK,
        LATER_RIGHT_WALL,
        LATER_RESTART
    } what;
};

static void drop(struct sim_timer *timer) {
    memory_free(CONTAINER_OF(timer, struct later, timer));
}

static void right_clock(struct sim_host *host) {
    sim_host_set_ppm(host, 0);
    sim_host_look_at_clock(host);
}

static void restart_soon(struct sim *sim, struct sim_host *host) {
    sim_host_stop(host, sim_chance(sim, 500) ? SIM_END_KILL : SIM_END_CRASH);
    sim_timer_start(sim, &host->restart, sim->now_us + prng_between(&sim->prng, 100, 5000));
}

static void happen(struct sim *sim, struct sim_timer *timer) {
    struct later *later = CONTAINER_OF(timer, struct later, timer);
    struct sim_host *host = later->host;
    if (later->what == LATER_GO_ON) sim_host_pause(host, false);
    if (later->what == LATER_FAST_DISK) host->sync_us = sim->config.sync_us;
    if (later->what == LATER_RIGHT_CLOCK) right_clock(host);
    if (later->what == LATER_RIGHT_WALL) host->wall_leap_ms = 0;
    if (later->what == LATER_RESTART && sim->hurting && host->up) restart_soon(sim, host);
    if (later->what == LATER_ISOLATE && sim->hurting) {
        sim_note(sim, "host %u: cut off", host->index);
        sim_isolate(sim, host, true);
    }
    if (later->what == LATER_JOIN) {
        sim_note(sim, "host %u: joined again", host->index);
        sim_isolate(sim, host, false);
    }
    memory_free(later);
}

static void do_later(struct sim *sim, struct sim_host *host, int what, uint64_t wait_us) {
    struct later *later = MEMORY_NEW(struct later);
    later->timer.fire = happen;
    later->timer.drop = drop;
    later->host = host;
    later->what = what;
    sim_timer_start(sim, &later->timer, sim->now_us + wait_us);
}

static struct sim_host *some_host(struct sim *sim) {
    return sim->hosts[prng_below(&sim->prng, sim->host_count)];
}

static struct sim_host *some_node(struct sim *sim) {
    return &sim->nodes[prng_below(&sim->prng, sim->config.nodes)].host;
}

static struct sim_host *some_machine(struct sim *sim) { /* with a disk */
    uint32_t count = sim->config.nodes + sim->config.members;
    return sim->hosts[prng_below(&sim->prng, count)];
}

/* Long enough for elections, sometimes long enough to be noticed by placement. */
static uint64_t some_while(struct sim *sim) {
    uint64_t max_us = sim->config.while_max_us;
    return sim_chance(sim, 200) ? prng_between(&sim->prng, max_us, 3 * max_us)
                                : prng_between(&sim->prng, max_us / 100, max_us);
}

/* ---- the network ---- */

static void set_loss(struct sim *sim) {
    static const uint32_t losses[] = {0, 5, 20, 100, 300};
    sim->loss_per_mille = losses[prng_below(&sim->prng, 5)];
    sim->duplicate_per_mille = losses[prng_below(&sim->prng, 4)];
    sim->extra_delay_us = sim_chance(sim, 500) ? 0 : prng_below(&sim->prng, 30000);
    sim_note(sim, "network: loses %u, repeats %u of 1000, delays up to %u us more",
             sim->loss_per_mille, sim->duplicate_per_mille, (unsigned)sim->extra_delay_us);
}

static void clog_link(struct sim *sim) {
    uint32_t from = some_host(sim)->index, to = some_host(sim)->index;
    sim->clogged_until_us[from][to] = sim->now_us + some_while(sim);
    sim_note(sim, "network: clogged from host %u to %u", from, to);
}

/* Cuts the hosts in two; one_way: only one side's words are lost. */
static void partition(struct sim *sim, bool one_way) {
    uint64_t side = prng_next(&sim->prng);
    for (uint32_t a = 0; a < sim->host_count; a++)
        for (uint32_t b = 0; b < sim->host_count; b++)
            sim->cut[a][b] =
                one_way ? (side >> a & 1) && !(side >> b & 1) : (side >> a & 1) != (side >> b & 1);
    sim_note(sim, "network: %s partition %03x", one_way ? "one-way" : "symmetric",
             (unsigned)(side & ((1u << sim->host_count) - 1)));
}

/* Two halves that hear each other only through one node. */
static void bridge(struct sim *sim) {
    uint32_t middle = some_node(sim)->index;
    partition(sim, false);
    for (uint32_t i = 0; i < sim->host_count; i++)
        sim->cut[i][middle] = sim->cut[middle][i] = false;
    sim_note(sim, "network: host %u is the bridge", middle);
}

/* Clients may still reach it: only the other nodes do not. A mute leader hears what they answered
 * to its last words, so it may commit and tell clients what no follower knows to be committed.
 * NULL: there is no leader. */
static struct sim_host *isolate_leader(struct sim *sim, bool mute) {
    uint64_t range_id = prng_between(&sim->prng, 1, sim->config.ranges);
    struct sim_node *leader = sim_rules_leader(sim, range_id);
    if (!leader) return NULL;
    sim_note(sim, "network: node %u, leader of range %u, is %s", leader->host.number,
             (unsigned)range_id, mute ? "mute" : "cut off");
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        if (i == leader->host.index) continue;
        sim->cut[leader->host.index][i] = true;
        if (!mute) sim->cut[i][leader->host.index] = true;
    }
    do_later(sim, &leader->host, LATER_JOIN, some_while(sim));
    return &leader->host;
}

/* A cable, a route, a rule of a firewall: one router does not reach one leader, all others do. */
static void lose_way(struct sim *sim) {
    uint64_t range_id = prng_between(&sim->prng, 1, sim->config.ranges);
    const struct sim_node *leader = sim_rules_leader(sim, range_id);
    uint32_t router = sim->routers[prng_below(&sim->prng, SIM_ROUTERS)].host.index;
    if (!leader) return;
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        uint32_t node = sim->nodes[i].host.index;
        sim->cut[router][node] = sim->cut[node][router] = &sim->nodes[i] == leader;
    }
    sim->ways_changed_us = sim->now_us;
    sim_note(sim, "network: host %u is cut off from node %u alone, leader of range %u", router,
             leader->host.number, (unsigned)range_id);
}

/* Its leader is away until somebody stands in the range, and then reaches some nodes again, which
 * promise it not to help the candidate, while requests and refusals are still under way on links
 * that are slow. Some of those who promise come back with other settings, and some of those again.
 */
struct hiccup {
    struct sim_timer timer;
    struct sim_node *leader;
    uint64_t range_id, until_us;
    bool seen; /* that somebody stands */
};

static void drop_hiccup(struct sim_timer *timer) {
    memory_free(CONTAINER_OF(timer, struct hiccup, timer));
}

static void end_hiccup(struct sim *sim, struct sim_timer *timer) {
    struct hiccup *hiccup = CONTAINER_OF(timer, struct hiccup, timer);
    if (!hiccup->seen && sim_rules_stands(sim, hiccup->range_id)) {
        hiccup->seen = true; /* and others may want to, a little later */
        hiccup->until_us = sim->now_us + prng_below(&sim->prng, 150000);
    }
    if (sim->hurting && sim->now_us < hiccup->until_us) {
        sim_timer_start(sim, timer, sim->now_us + 500);
        return;
    }
    uint32_t leader = hiccup->leader->host.index;
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        if (i == leader || !sim_chance(sim, 600)) continue;
        sim->cut[i][leader] = sim->cut[leader][i] = false;
        for (uint32_t starts = 0; starts < 2 && sim_chance(sim, 400); starts++)
            do_later(sim, &sim->nodes[i].host, LATER_RESTART,
                     prng_between(&sim->prng, 5000, 100000));
    }
    sim_note(sim, "network: node %u reaches some others again", hiccup->leader->host.number);
    do_later(sim, &hiccup->leader->host, LATER_JOIN, prng_between(&sim->prng, 50000, 400000));
    memory_free(hiccup);
}

static void hiccup(struct sim *sim) {
    uint64_t range_id = prng_between(&sim->prng, 1, sim->config.ranges);
    struct sim_node *leader = sim_rules_leader(sim, range_id);
    if (!leader) return;
    sim_heal(sim);
    sim_note(sim, "network: node %u, leader of range %u, is cut off until somebody stands",
             leader->host.number, (unsigned)range_id);
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        for (uint32_t j = 0; j < sim->config.nodes; j++) {
            if (i == j) continue;
            bool of_leader = i == leader->host.index || j == leader->host.index;
            sim->cut[i][j] = of_leader;
            if (!of_leader && sim_chance(sim, 400))
                sim->slow_us[i][j] = prng_between(&sim->prng, 20000, 250000);
        }
    }
    struct hiccup *hiccup = MEMORY_NEW(struct hiccup);
    hiccup->timer.fire = end_hiccup;
    hiccup->timer.drop = drop_hiccup;
    hiccup->leader = leader;
    hiccup->range_id = range_id;
    hiccup->until_us = sim->now_us + 1500000;
    sim_timer_start(sim, &hiccup->timer, sim->now_us + 500);
}

static void flap(struct sim *sim) {
    struct sim_host *host = some_machine(sim);
    for (uint32_t i = 0; i < 6; i++)
        do_later(sim, host, i % 2 ? LATER_JOIN : LATER_ISOLATE,
                 (i + 1) * prng_between(&sim->prng, 50000, 200000));
    do_later(sim, host, LATER_JOIN, 1500000);
}

/* Takes nodes off one by one and frees them in another order. */
static void swizzle(struct sim *sim) {
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        if (sim_chance(sim, 400)) continue;
        uint64_t off_us = prng_below(&sim->prng, 1000000);
        do_later(sim, &sim->nodes[i].host, LATER_ISOLATE, off_us);
        do_later(sim, &sim->nodes[i].host, LATER_JOIN, 1000000 + prng_below(&sim->prng, 1000000));
    }
}

/* ---- machines ---- */

static void stop(struct sim *sim, struct sim_host *host, enum sim_end end) {
    if (!host->up) return;
    sim_host_stop(host, end);
    sim_timer_start(sim, &host->restart, sim->now_us + some_while(sim));
}

/* A process that was told to stop, as `flotilla node` does it. */
struct stopping {
    struct sim_timer timer;
    struct sim_node *node;
    uint64_t incarnation;
    struct range_drain drain;
};

static void drop_stopping(struct sim_timer *timer) {
    memory_free(CONTAINER_OF(timer, struct stopping, timer));
}

static void go_on_stopping(struct sim *sim, struct sim_timer *timer) {
    struct stopping *stopping = CONTAINER_OF(timer, struct stopping, timer);
    struct sim_node *node = stopping->node;
    if (!node->host.up || node->host.incarnation != stopping->incarnation) {
        memory_free(stopping); /* something else ended it */
        return;
    }
    if (!sim->hurting) { /* it comes back at once, and drains no more */
        memory_free(stopping);
        sim_host_stop(&node->host, SIM_END_KILL);
        sim_host_start(&node->host);
        return;
    }
    if (node->host.paused || !range_drain_step(&stopping->drain, sim->now_us)) {
        sim_node_schedule(node); /* it may have been told to decline */
        sim_timer_start(sim, timer, sim->now_us + RANGE_DRAIN_POLL_US);
        return;
    }
    sim_rules_drained(sim, node, &stopping->drain);
    memory_free(stopping);
    stop(sim, &node->host, SIM_END_KILL);
}

static void move(struct sim *sim) {
    struct sim_host *host = some_node(sim);
    if (!host->up) return;
    CONTAINER_OF(host, struct sim_node, host)->moves = true;
    stop(sim, host, SIM_END_KILL);
}

static void drain(struct sim *sim) {
    struct sim_node *node = CONTAINER_OF(some_node(sim), struct sim_node, host);
    if (!node->host.up || !node->store) return;
    sim_note(sim, "node %u: told to stop", node->host.number);
    sim->life.drains++;
    struct stopping *stopping = MEMORY_NEW(struct stopping);
    stopping->timer.fire = go_on_stopping;
    stopping->timer.drop = drop_stopping;
    stopping->node = node;
    stopping->incarnation = node->host.incarnation;
    range_drain_begin(&stopping->drain, node->store,
                      sim->now_us + prng_between(&sim->prng, 50000, 3000000));
    sim_node_schedule(node);
    sim_timer_start(sim, &stopping->timer, sim->now_us + RANGE_DRAIN_POLL_US);
}

static void crash_all(struct sim *sim) {
    for (uint32_t i = 0; i < sim->config.nodes + sim->config.members; i++)
        stop(sim, sim->hosts[i], SIM_END_CRASH);
}

static void pause_some(struct sim *sim) {
    struct sim_host *host = some_host(sim);
    sim_host_pause(host, true);
    do_later(sim, host, LATER_GO_ON, some_while(sim));
}

static void slow_disk(struct sim *sim) {
    struct sim_host *host = some_machine(sim);
    host->sync_us = prng_between(&sim->prng, 5000, 200000);
    sim_note(sim, "host %u: a sync takes about %u us", host->index, (unsigned)host->sync_us);
    do_later(sim, host, LATER_FAST_DISK, some_while(sim));
}

/* For a while, so that processes may meet it again when they come back; or once. */
static void break_disk(struct sim *sim, enum sim_fault fault) {
    struct sim_disk_fault broken = {.operations = MEMORY_ENGINE_SYNC, .status = STATUS_IO};
    broken.countdown_max = prng_below(&sim->prng, 50);
    if (sim_chance(sim, 300)) broken.until_us = sim->now_us + some_while(sim);
    if (fault == SIM_FAULT_READ_ERROR) {
        broken.operations = MEMORY_ENGINE_READ;
        if (sim_chance(sim, 300)) broken.status = STATUS_CORRUPTION;
    } else if (fault == SIM_FAULT_WRITE_ERROR) {
        broken.operations = MEMORY_ENGINE_WRITE;
    } else if (fault == SIM_FAULT_DISK_FULL) {
        broken.operations = MEMORY_ENGINE_WRITE | MEMORY_ENGINE_SYNC;
        broken.status = STATUS_NO_SPACE;
        broken.until_us = sim->now_us + some_while(sim);
    }
    sim_disk_break(some_machine(sim), &broken);
}

/* A wall clock goes wrong by hours or years, of one host at a time: no majority may show a time
 * that it is not. Drawn from what is drawn anyhow: known seeds stay what they are. */
static void leap(struct sim *sim, struct sim_host *host, uint64_t dice) {
    for (uint32_t i = 0; i < sim->host_count; i++)
        sim->hosts[i]->wall_leap_ms = 0;
    if (dice % 3 > 0) host = &sim->members[dice % sim->config.members].host;
    host->wall_leap_ms = SIM_LEAP_MS_MIN << dice % 10;
    sim_note(sim, "host %u: wall clock leaps by %" PRIu64 " h", host->index,
             host->wall_leap_ms / 3600000);
    do_later(sim, host, LATER_RIGHT_WALL, sim->config.while_max_us * (1 + dice % 5));
}

static void change_clock(struct sim *sim) {
    struct sim_host *host = some_host(sim);
    int64_t ppm = (int64_t)prng_below(&sim->prng, 2 * SIM_CLOCK_PPM_MAX + 1) - SIM_CLOCK_PPM_MAX;
    sim_host_set_ppm(host, ppm);
    if (sim_chance(sim, 500)) host->wall_jump_ms += (int64_t)prng_below(&sim->prng, 20001) - 10000;
    sim_note(sim, "host %u: clock off by %d ppm, wall clock by %d ms", host->index, (int)ppm,
             (int)host->wall_jump_ms);
    if (ppm % 4 == 0) leap(sim, host, (uint64_t)(ppm + SIM_CLOCK_PPM_MAX) / 4);
    sim_host_look_at_clock(host);
}

/* No bound holds. Placement's members are spared: the order of timestamps stands on their leases,
 * whatever the configuration of reads (placement/README.md). */
static void wild_clock(struct sim *sim) {
    struct sim_host *host = sim_chance(sim, 200)
                                ? &sim->routers[prng_below(&sim->prng, SIM_ROUTERS)].host
                                : some_node(sim);
    uint64_t dice = prng_below(&sim->prng, 3);
    /* The worst for a lease: its holder is alone, and never gets older. */
    if (sim_chance(sim, 400)) {
        struct sim_host *leader = isolate_leader(sim, false);
        if (leader) host = leader;
        dice = 1;
    }
    if (dice == 0) {
        uint64_t by_us = prng_below(&sim->prng, sim_chance(sim, 500) ? 400000 : 10000000);
        sim_host_clock_jump(host, by_us);
        sim_note(sim, "host %u: clock jumps by %u us", host->index, (unsigned)by_us);
    } else {
        int64_t ppm = dice == 1 ? -1000000 : (int64_t)prng_below(&sim->prng, 4000000) - 990000;
        sim_host_set_ppm(host, ppm);
        sim_note(sim, "host %u: clock off by %d ppm", host->index, (int)ppm);
        do_later(sim, host, LATER_RIGHT_CLOCK, some_while(sim));
    }
    sim_host_look_at_clock(host);
}

static void transfer(struct sim *sim) {
    uint64_t range_id = prng_between(&sim->prng, 1, sim->config.ranges);
    struct sim_node *leader = sim_rules_leader(sim, range_id);
    uint64_t to = sim->nodes[prng_below(&sim->prng, sim->config.nodes)].node_id;
    if (to == 0) return;
    if (sim_chance(sim, 500)) {
        sim_errand_transfer(sim, range_id, to);
        return;
    }
    if (!leader || leader->host.paused) return;
    sim_note(sim, "range %u: transfer from node %u to node id %u", (unsigned)range_id,
             leader->host.number, (unsigned)to);
    sim->life.transfers++;
    range_store_transfer(leader->store, range_id, to);
    sim_node_schedule(leader);
}

/* Nodes and routers still reach it, and ask it: a leader that its members have replaced is the one
 * who could give out timestamps that its successor is past already. */
static void isolate_member(struct sim *sim) {
    struct sim_member *member = sim_rules_placement_leader(sim);
    if (!member) member = &sim->members[prng_below(&sim->prng, sim->config.members)];
    sim_note(sim, "network: placement %u is cut off from the others", member->host.number);
    for (uint32_t i = 0; i < sim->config.members; i++) {
        uint32_t other = sim->members[i].host.index;
        if (other == member->host.index) continue;
        sim->cut[member->host.index][other] = sim->cut[other][member->host.index] = true;
    }
    do_later(sim, &member->host, LATER_JOIN, some_while(sim));
}

static void hurt_placement(struct sim *sim) {
    struct sim_host *host = &sim->members[prng_below(&sim->prng, sim->config.members)].host;
    switch (prng_below(&sim->prng, 4)) {
    case 0:
        stop(sim, host, SIM_END_CRASH);
        break;
    case 1:
        stop(sim, host, SIM_END_KILL);
        break;
    case 2:
        do_later(sim, host, LATER_ISOLATE, 1);
        do_later(sim, host, LATER_JOIN, some_while(sim));
        break;
    default:
        isolate_member(sim);
    }
}

/* ---- choosing ---- */

static enum sim_fault choose(struct sim *sim) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < SIM_FAULT_COUNT; i++)
        total += sim->config.weights[i];
    uint64_t at = prng_below(&sim->prng, total);
    for (uint32_t i = 0; i < SIM_FAULT_COUNT; i++) {
        if (at < sim->config.weights[i]) return (enum sim_fault)i;
        at -= sim->config.weights[i];
    }
    return SIM_FAULT_LOSS; /* not reached */
}

static void inflict(struct sim *sim, enum sim_fault fault) {
    switch (fault) {
    case SIM_FAULT_LOSS:
        set_loss(sim);
        break;
    case SIM_FAULT_CLOG:
        clog_link(sim);
        break;
    case SIM_FAULT_PARTITION:
    case SIM_FAULT_ONE_WAY:
        partition(sim, fault == SIM_FAULT_ONE_WAY);
        break;
    case SIM_FAULT_BRIDGE:
        bridge(sim);
        break;
    case SIM_FAULT_ISOLATE_LEADER:
    case SIM_FAULT_MUTE_LEADER:
        (void)isolate_leader(sim, fault == SIM_FAULT_MUTE_LEADER); /* there may be none */
        break;
    case SIM_FAULT_HICCUP:
        hiccup(sim);
        break;
    case SIM_FAULT_FLAP:
        flap(sim);
        break;
    case SIM_FAULT_SWIZZLE:
        swizzle(sim);
        break;
    case SIM_FAULT_CRASH:
        stop(sim, some_node(sim), SIM_END_CRASH);
        break;
    case SIM_FAULT_CRASH_ALL:
        crash_all(sim);
        break;
    case SIM_FAULT_KILL:
        stop(sim, some_machine(sim), SIM_END_KILL);
        break;
    case SIM_FAULT_PAUSE:
        pause_some(sim);
        break;
    case SIM_FAULT_SLOW_DISK:
        slow_disk(sim);
        break;
    case SIM_FAULT_SYNC_FAILURE:
    case SIM_FAULT_WRITE_ERROR:
    case SIM_FAULT_DISK_FULL:
    case SIM_FAULT_READ_ERROR:
        break_disk(sim, fault);
        break;
    case SIM_FAULT_CLOCK:
        change_clock(sim);
        break;
    case SIM_FAULT_WILD_CLOCK:
        wild_clock(sim);
        break;
    case SIM_FAULT_TRANSFER:
        transfer(sim);
        break;
    case SIM_FAULT_PLACEMENT:
        hurt_placement(sim);
        break;
    case SIM_FAULT_ROUTER:
        stop(sim, &sim->routers[prng_below(&sim->prng, SIM_ROUTERS)].host, SIM_END_KILL);
        break;
    case SIM_FAULT_DRAIN:
        drain(sim);
        break;
    case SIM_FAULT_MOVE:
        move(sim);
        break;
    case SIM_FAULT_LOST_WAY:
        lose_way(sim);
        break;
    case SIM_FAULT_STRAND:
        sim_strand_leader(sim);
        break;
    case SIM_FAULT_INTERRUPT:
        sim_interrupt_change(sim);
        break;
    case SIM_FAULT_COUNT:
        ASSERT(!"a fault");
    }
}

static void strike(struct sim *sim, struct sim_timer *timer) {
    if (!sim->hurting) return;
    /* Without times of peace nothing would ever be elected, and little found out. */
    if (sim_chance(sim, 350)) {
        sim_note(sim, "network: heals");
        sim_heal(sim);
    } else {
        inflict(sim, choose(sim));
    }
    sim_timer_start(sim, timer, sim->now_us + sim_around(sim, sim->config.fault_pause_us));
}

void sim_nemesis_start(struct sim *sim) {
    uint32_t total = 0;
    for (uint32_t i = 0; i < SIM_FAULT_COUNT; i++)
        total += sim->config.weights[i];
    if (total == 0) return; /* a calm scenario */
    sim->hurting = true;
    sim->nemesis.fire = strike;
    sim_timer_start(sim, &sim->nemesis, sim->now_us + sim->config.fault_pause_us);
}

void sim_nemesis_heal(struct sim *sim, uint32_t down) {
    sim->hurting = false;
    sim_timer_stop(sim, &sim->nemesis);
    sim_note(sim, "all faults end, but for %u nodes that stay away", down);
    sim_heal(sim);
    uint32_t first = (uint32_t)prng_below(&sim->prng, sim->config.nodes);
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = sim->hosts[i];
        host->sync_us = sim->config.sync_us;
        sim_disk_repair(host);
        host->wall_leap_ms = 0;
        if (sim->config.weights[SIM_FAULT_WILD_CLOCK] > 0) right_clock(host);
        bool stays_down = false;
        if (host->kind == SIM_NODE)
            stays_down = (host->index + sim->config.nodes - first) % sim->config.nodes < down;
        if (stays_down && host->up) sim_host_stop(host, SIM_END_CRASH);
        if (stays_down) sim_timer_stop(sim, &host->restart);
        if (stays_down) continue;
        sim_host_pause(host, false);
        if (!host->up) sim_host_start(host);
    }
}
