/* A whole Flotilla cluster in one process and one thread, made from a seed: the production code of
 * placement, range stores and router on virtual time, with a simulated network and disks, hurt by
 * faults, loaded by clients, and checked all the time. Same options, same events. */
#ifndef FLOTILLA_TESTS_SIM_SIM_H
#define FLOTILLA_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_options {
    uint64_t seed;
    const char *scenario; /* a name of sim_scenario_names */
    uint64_t hurt_us;     /* virtual length of the phase with faults */
    bool disks_lie;       /* a sync says it is done and is not: the rules must notice */
    bool trust_leases;    /* although clocks pass the bound: the rules must notice */
    bool verbose;         /* every noted event to standard error as it happens */
};

/* What the cluster lived through; a scenario whose numbers are zero tests little. */
#define SIM_LIFE(X)                                              \
    X(leaders, "leaders elected")                                \
    X(transfers, "transfers asked for")                          \
    X(crashes, "machines without power")                         \
    X(kills, "processes killed")                                 \
    X(moves, "nodes that came back at another address")          \
    X(drains, "processes told to stop")                          \
    X(disk_failures, "processes ended by their disk")            \
    X(pauses, "pauses")                                          \
    X(snapshots, "snapshots installed")                          \
    X(compacted, "log entries compacted")                        \
    X(transfers_routed, "leaders handed over by routers")        \
    X(interrupted, "ends in the middle of a change of replicas") \
    X(stranded, "leaders that reached nobody who votes")         \
    X(changes, "changes of replicas done")                       \
    X(changes_routed, "of them by routers")                      \
    X(removed, "replicas removed")                               \
    X(reads_leased, "reads under a lease")                       \
    X(reads_stale, "stale reads")                                \
    X(pages, "pages of scans that were not over")                \
    X(guards_held, "guards that held")                           \
    X(guards_refused, "guards that did not")                     \
    X(bounds_refused, "sums outside of their bounds")            \
    X(works_refused, "commands of too much work")                \
    X(busy, "requests refused by a full queue")                  \
    X(memory_mib, "MiB at most, all processes, summed over seeds")

struct sim_life {
#define SIM_LIFE_FIELD(name, text) uint64_t name;
    SIM_LIFE(SIM_LIFE_FIELD)
#undef SIM_LIFE_FIELD
};

struct sim_result {
    uint64_t trace_hash; /* over every event, its time and its bytes */
    uint64_t events, virtual_us;
    uint64_t operations; /* of clients, decided */
    struct sim_life life;
    uint64_t histories, undecided; /* of registers; those that were too hard to judge */
};

/* Runs to the end. A broken rule ends the process: seed, rule, last events and the command that
 * replays it go to standard error, and the exit code is SIM_EXIT_BROKEN. */
#define SIM_EXIT_BROKEN 3
void sim_run(const struct sim_options *options, struct sim_result *ret_result);

bool sim_scenario_exists(const char *name);
/* One line each: name and what it does. */
void sim_scenario_list(void);

#endif
