/* raft_simulate FROM COUNT: runs the simulation for many seeds and prints the ones that fail, with
 * the broken rule, and totals as JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tests/raft/simulation.h"

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s FROM COUNT\n", argv[0]);
        return 2;
    }
    log_set_level(LOG_NONE);
    uint64_t from = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
    struct simulation_result total = {0};
    uint64_t failed = 0;
    for (uint64_t seed = from; seed < from + count; seed++) {
        struct simulation_options options = simulation_options_of(seed);
        struct simulation_result result = simulation_run(&options);
        if (result.failed) {
            failed++;
            printf("%s\n", result.reason);
            (void)fflush(stdout); /* a crash in the next seed must not swallow it */
        }
        total.events += result.events;
        total.commits += result.commits;
        total.elections += result.elections;
        total.reads += result.reads;
        total.lease_reads += result.lease_reads;
        total.crashes += result.crashes;
        total.snapshots += result.snapshots;
        total.conf_changes += result.conf_changes;
        total.quiet += result.quiet;
    }
    printf("{\"seeds\":%lu,\"failed\":%lu,\"events\":%lu,\"commits\":%lu,\"elections\":%lu,"
           "\"reads\":%lu,\"lease_reads\":%lu,\"crashes\":%lu,\"snapshots\":%lu,"
           "\"conf_changes\":%lu,\"quiet\":%lu}\n",
           (unsigned long)count, (unsigned long)failed, (unsigned long)total.events,
           (unsigned long)total.commits, (unsigned long)total.elections, (unsigned long)total.reads,
           (unsigned long)total.lease_reads, (unsigned long)total.crashes,
           (unsigned long)total.snapshots, (unsigned long)total.conf_changes,
           (unsigned long)total.quiet);
    return failed ? 1 : 0;
}
