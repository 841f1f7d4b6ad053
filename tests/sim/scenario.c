/* What a seed makes of a scenario: the shape of the cluster, its timing, and which faults it may
 * meet. */
#include <stdio.h>

#include "range/limits.h"
#include "tests/sim/world.h"

#define BIT(fault) (1u << SIM_FAULT_##fault)
#define NETWORK                                                                                  \
    (BIT(LOSS) | BIT(CLOG) | BIT(PARTITION) | BIT(ONE_WAY) | BIT(BRIDGE) | BIT(ISOLATE_LEADER) | \
     BIT(MUTE_LEADER) | BIT(FLAP) | BIT(SWIZZLE) | BIT(LOST_WAY))
#define MACHINES \
    (BIT(CRASH) | BIT(CRASH_ALL) | BIT(KILL) | BIT(PAUSE) | BIT(ROUTER) | BIT(DRAIN) | BIT(MOVE))
#define DISKS                                                                              \
    (BIT(CRASH) | BIT(CRASH_ALL) | BIT(SLOW_DISK) | BIT(SYNC_FAILURE) | BIT(WRITE_ERROR) | \
     BIT(DISK_FULL) | BIT(READ_ERROR))
/* But for clocks that no bound holds: those need rules of their own. And no hiccups, which would
 * leave little time for anything else. */
#define EVERYTHING (((1u << SIM_FAULT_COUNT) - 1) & ~(BIT(WILD_CLOCK) | BIT(HICCUP)))
#define CLOCKS                                                                            \
    (BIT(WILD_CLOCK) | BIT(CLOCK) | BIT(PAUSE) | BIT(ISOLATE_LEADER) | BIT(MUTE_LEADER) | \
     BIT(ONE_WAY) | BIT(TRANSFER) | BIT(KILL))

struct scenario {
    const char *name, *what;
    uint32_t faults;
    uint32_t ranges;           /* 0: the seed's choice */
    uint32_t nodes;            /* likewise */
    uint64_t log_entries_kept; /* likewise */
    bool lease_reads_always;
    bool lease_reads_never;
    bool settings_differ; /* of the nodes, in half of the seeds; and ranges have five replicas */
    bool hasty;           /* faults come and go within election time-outs */
    bool sluggish;        /* every sync is slow: much happens during each */
    bool members;         /* an operator changes the replicas of ranges */
    bool night;           /* all machines are off for a day or so in the middle of the run */
    bool backlogs;        /* a turn applies little, and on a slow disk takes long */
};

static const struct scenario scenarios[] = {
    {"mixed", "any fault, mixed anew by each seed", EVERYTHING, 0, 0, 0, false, false},
    {"calm", "no faults", 0, 0, 0, 0, false, false},
    {"network", "losses, delays, partitions", NETWORK, 0, 0, 0, false, false},
    {"machines", "crashes, restarts, drains, pauses, other addresses", MACHINES, 0, 0, 0, false,
     false},
    {"disks", "unsynced writes lost, slow and full disks, failing syncs, writes and reads", DISKS,
     0, 0, 0, false, false},
    {.name = "leases",
     .what =
         "pauses, drifting clocks, leaders cut off or back too soon, lease reads, settings differ",
     .faults = BIT(PAUSE) | BIT(CLOCK) | BIT(ISOLATE_LEADER) | BIT(TRANSFER) | BIT(ONE_WAY) |
               BIT(HICCUP) | BIT(KILL) | BIT(CRASH),
     .ranges = 4,
     .lease_reads_always = true,
     .settings_differ = true},
    {"snapshots", "short logs, few ranges, nodes that come back late",
     BIT(CRASH) | BIT(KILL) | BIT(PARTITION) | BIT(LOSS) | BIT(PAUSE), 2, 3, 1, false, false},
    {"elections", "leaders lost, voters restarted and votes delayed, all within election time-outs",
     BIT(ISOLATE_LEADER) | BIT(CRASH) | BIT(CRASH_ALL) | BIT(CLOG) | BIT(ONE_WAY) | BIT(LOSS) |
         BIT(TRANSFER),
     16, 3, 0, false, true},
    {.name = "handovers",
     .what = "leaders that fall silent with answers under way or hand over, slow disks, many reads",
     .faults = BIT(MUTE_LEADER) | BIT(TRANSFER) | BIT(ISOLATE_LEADER) | BIT(KILL) | BIT(DRAIN),
     .ranges = 8,
     .nodes = 3,
     .lease_reads_always = true,
     .sluggish = true},
    {.name = "clocks",
     .what = "clocks of nodes and routers that jump, stand still and run at any rate; ReadIndex",
     .faults = CLOCKS,
     .lease_reads_never = true},
    {.name = "overdrawn",
     .what = "the same with lease reads: those may be stale then, everything else may not",
     .faults = CLOCKS,
     .lease_reads_always = true},
    {.name = "members",
     .what = "replicas added, promoted, demoted, removed, under any fault; 5 nodes",
     .faults = EVERYTHING,
     .nodes = 5,
     .members = true},
    {.name = "backlogs",
     .what = "nodes that apply far behind their logs, cut off, short of log, replicas changed",
     .faults = BIT(SLOW_DISK) | BIT(FLAP) | BIT(PARTITION) | BIT(ISOLATE_LEADER) | BIT(PAUSE) |
               BIT(TRANSFER) | BIT(STRAND),
     .ranges = 4,
     .nodes = 5,
     .members = true,
     .backlogs = true},
    {.name = "detours",
     .what =
         "routers that lose the way to a leader, which everybody else reaches, and nothing else",
     .faults = BIT(LOST_WAY)},
    {.name = "nights",
     .what = "everything is off for a day or a weekend; request ids are remembered, or forgotten",
     .faults = BIT(CRASH) | BIT(KILL) | BIT(PAUSE) | BIT(CLOCK) | BIT(PLACEMENT) | BIT(TRANSFER),
     .night = true},
    {"placement", "trouble at placement and with its clocks",
     BIT(PLACEMENT) | BIT(MOVE) | BIT(CLOCK) | BIT(PAUSE) | BIT(KILL) | BIT(SYNC_FAILURE) |
         BIT(DISK_FULL) | BIT(READ_ERROR),
     0, 0, 0, false, false},
    {"speed", "3 nodes, 16 ranges, one placement member, no faults: for measuring", 0, 16, 3, 0,
     false, false},
};

static const struct scenario *find(const char *name) {
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        if (strcmp(scenarios[i].name, name) == 0) return &scenarios[i];
    return NULL;
}

bool sim_scenario_exists(const char *name) {
    return find(name) != NULL;
}

void sim_scenario_list(void) {
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        printf("    %-10s %s\n", scenarios[i].name, scenarios[i].what);
}

/* Each fault gets a weight of its own, and half of them none: so that seeds differ in kind. */
static void choose_weights(struct sim *sim, uint32_t faults) {
    for (uint32_t i = 0; i < SIM_FAULT_COUNT; i++) {
        bool chosen = (faults >> i & 1) != 0;
        if (chosen && faults == EVERYTHING) chosen = sim_chance(sim, 500);
        sim->config.weights[i] = chosen ? (uint32_t)prng_between(&sim->prng, 1, 10) : 0;
    }
    /* The end of everybody is rare, or nothing else would be seen. */
    if (sim->config.weights[SIM_FAULT_CRASH_ALL] > 1) sim->config.weights[SIM_FAULT_CRASH_ALL] = 1;
}

/* Queues, arrays and windows that end soon, in a part of the seeds. */
static void choose_limits(struct sim *sim, const struct scenario *scenario) {
    struct sim_config *config = &sim->config;
    if (sim_chance(sim, 400)) config->position_row_max = (uint32_t)prng_between(&sim->prng, 1, 4);
    if (sim_chance(sim, 500) || scenario->log_entries_kept == 1)
        config->snapshot_chunk_bytes = (uint32_t)prng_between(&sim->prng, 1, 2000);
    if (sim_chance(sim, 300)) config->snapshots_max = (uint32_t)prng_between(&sim->prng, 1, 2);
    /* A mailbox below a snapshot's window takes one chunk per resend: with chunks of a few bytes
     * that is no fault but a matter of minutes. */
    uint32_t least = config->snapshot_chunk_bytes > 0 ? 2 * RANGE_SNAPSHOT_WINDOW : 1;
    if (sim_chance(sim, 300)) {
        config->mailbox_items_max = least + (uint32_t)prng_below(&sim->prng, 6);
        config->workers = (uint32_t)prng_between(&sim->prng, 1, 2);
    }
    if (sim_chance(sim, 300)) {
        config->turn_nodes_bytes = (uint32_t)prng_between(&sim->prng, 1, 4000);
        config->turn_clients_bytes = (uint32_t)prng_between(&sim->prng, 1, 1000);
    }
    /* An interval alone takes 16 (txn/limits.h), and one for each key in it; a cancellation 3. */
    if (sim_chance(sim, 250))
        config->command_steps_max =
            (uint32_t)(sim_chance(sim, 750) ? TXN_INTERVAL_STEPS + prng_below(&sim->prng, 9)
                                            : prng_between(&sim->prng, 1, 3));
    if (sim_chance(sim, 300))
        config->member_log_entries_kept = (uint32_t)prng_between(&sim->prng, 1, 10);
    if (sim_chance(sim, 200)) config->pending_max = (uint32_t)prng_between(&sim->prng, 1, 8);
    config->raft_in_order = !scenario->hasty && !scenario->settings_differ && sim_chance(sim, 500);
}

/* Who is there. */
static void choose_shape(struct sim *sim, const struct scenario *scenario, bool speed) {
    static const uint32_t range_counts[] = {2, 4, 8, 16};
    struct sim_config *config = &sim->config;
    config->nodes = sim_chance(sim, 700) ? 3 : 5;
    if (scenario->nodes) config->nodes = scenario->nodes;
    config->members = speed || sim_chance(sim, 500) ? 1 : 3;
    config->ranges = range_counts[prng_below(&sim->prng, 4)];
    if (scenario->ranges) config->ranges = scenario->ranges;
    config->workers = sim_chance(sim, 700) ? 1 : 2;
    config->clients = speed ? 16 : (uint32_t)prng_between(&sim->prng, 4, 16);
    config->lease_reads =
        scenario->lease_reads_always || (!scenario->lease_reads_never && sim_chance(sim, 700));
    config->replication_factor = 3;
    if (scenario->settings_differ) {
        config->settings_differ = sim_chance(sim, 500);
        if (sim_chance(sim, 700)) config->nodes = config->replication_factor = 5;
    }
    config->leases_fail =
        config->lease_reads && (scenario->faults & BIT(WILD_CLOCK)) && !sim->options.trust_leases;
}

/* What is done in one piece. */
static void choose_pieces(struct sim *sim) {
    struct sim_config *config = &sim->config;
    /* Catching up takes several appends then, and what lies between them is seen. */
    config->append_bytes_max =
        sim_chance(sim, 300) ? (uint32_t)prng_between(&sim->prng, 1, 1000) : 0;
    /* And applying it takes several rounds. No number of its own: known seeds stay what they are.
     */
    config->apply_round_commands = config->append_bytes_max % 8;
    /* Who is behind has few of them on the way then. */
    config->catch_up_bytes = config->append_bytes_max;
    /* And so little is in the log at a time that others wait outside. */
    config->log_work_min = config->append_bytes_max % 3 == 1 ? config->append_bytes_max : 0;
    /* Reads end in the middle, and wait for the next turn. */
    config->read_steps_max = config->append_bytes_max % 41;
}

void sim_config_make(struct sim *sim) {
    const struct scenario *scenario = find(sim->options.scenario);
    struct sim_config *config = &sim->config;
    bool speed = strcmp(scenario->name, "speed") == 0;
    choose_shape(sim, scenario, speed);
    config->log_entries_kept = sim_chance(sim, 500) ? prng_between(&sim->prng, 1, 100) : 20000;
    if (scenario->log_entries_kept) config->log_entries_kept = scenario->log_entries_kept;
    if (config->log_entries_kept < 1000)
        config->log_compact_step = (uint32_t)prng_between(&sim->prng, 1, 64);
    config->think_us = scenario->ranges == 2 ? 5000 : 60000;
    choose_pieces(sim);
    config->delay_min_us = prng_between(&sim->prng, 50, 300);
    config->delay_max_us = config->delay_min_us + prng_below(&sim->prng, 1500);
    config->sync_us = prng_between(&sim->prng, 100, 3000);
    config->fault_pause_us = prng_between(&sim->prng, 100000, 1500000);
    /* Routers that give up early find a new leader while the old one may still believe in itself.
     */
    config->attempt_timeout_us = prng_between(&sim->prng, 20000, 500000);
    if (scenario->lease_reads_always || scenario->lease_reads_never || scenario->hasty) {
        config->attempt_timeout_us = prng_between(&sim->prng, 20000, 60000);
        config->think_us = 10000;
    }
    if (scenario->sluggish) {
        config->attempt_timeout_us = prng_between(&sim->prng, 100000, 300000);
        config->sync_us = prng_between(&sim->prng, 5000, 30000);
        config->clients = 16;
        config->think_us = 3000;
    }
    config->while_max_us = 1500000;
    config->stall_per_mille = 100;
    if (scenario->backlogs) {
        config->apply_round_commands = 1;
        config->clients = 16;
        config->log_entries_kept = prng_between(&sim->prng, 1, 10);
        config->log_compact_step = 1;
        config->stall_per_mille = 500;
        config->fault_pause_us = prng_between(&sim->prng, 30000, 100000);
        config->think_us = 1000;
    }
    /* Often the bound is met before the receiver has caught up. */
    config->log_snapshot_entries = (uint32_t)config->log_entries_kept * 4;
    if (scenario->hasty) {
        config->fault_pause_us = prng_between(&sim->prng, 30000, 200000);
        config->while_max_us = prng_between(&sim->prng, 100000, 500000);
    }
    /* Half of the seeds, and not by chance: seeds that found something stay what they were. */
    config->quiesce_ticks = sim->options.seed % 2 == 0 ? 15 : 0;
    config->check_every = 64;
    config->only_lost_ways = scenario->faults == BIT(LOST_WAY);
    if (config->only_lost_ways) config->fault_pause_us = prng_between(&sim->prng, 500000, 4000000);
    choose_weights(sim, scenario->faults);
    if (scenario->settings_differ) {
        config->fault_pause_us = prng_between(&sim->prng, 50000, 600000);
        if (sim_chance(sim, 700)) config->weights[SIM_FAULT_HICCUP] = 40;
    }
    if (!speed) choose_limits(sim, scenario);
    if (scenario->night)
        config->night_hours =
            sim_chance(sim, 500) ? 23 : (uint32_t)prng_between(&sim->prng, 25, 100);
    if (!scenario->members) return;
    config->order_pause_us = prng_between(&sim->prng, 10000, 200000);
    config->careful_operator = sim_chance(sim, 500);
    if (sim_chance(sim, 300)) config->weights[SIM_FAULT_STRAND] = 20;
    if (!scenario->backlogs && sim_chance(sim, 500)) config->weights[SIM_FAULT_INTERRUPT] = 30;
}
