#include <criterion/criterion.h>

#include "base/log.h"
#include "tests/raft/simulation.h"

static void run_seeds(uint64_t from, uint64_t count, struct simulation_result *ret_total) {
    log_set_level(LOG_NONE);
    *ret_total = (struct simulation_result){0};
    for (uint64_t seed = from; seed < from + count; seed++) {
        struct simulation_options options = simulation_options_of(seed);
        struct simulation_result result = simulation_run(&options);
        cr_assert_not(result.failed, "%s", result.reason);
        ret_total->commits += result.commits;
        ret_total->elections += result.elections;
        ret_total->reads += result.reads;
        ret_total->lease_reads += result.lease_reads;
        ret_total->crashes += result.crashes;
        ret_total->snapshots += result.snapshots;
        ret_total->conf_changes += result.conf_changes;
        ret_total->quiet += result.quiet;
    }
}

/* Safety under every mixture of faults, and progress once they stop. The totals guard against a
 * simulation in which nothing happens. */
Test(raft_simulation, keeps_its_promises_on_a_few_hundred_seeds) {
    struct simulation_result total;
    run_seeds(1, 300, &total);
    cr_expect_gt(total.commits, 20000);
    cr_expect_gt(total.elections, 1000);
    cr_expect_gt(total.reads - total.lease_reads, 5000);
    cr_expect_gt(total.lease_reads, 5000);
    cr_expect_gt(total.crashes, 1000);
    cr_expect_gt(total.snapshots, 100);
    cr_expect_gt(total.conf_changes, 1000);
    cr_expect_gt(total.quiet, 1000);
}

/* The same seed gives the same history: what fails can be replayed. */
Test(raft_simulation, is_the_same_for_the_same_seed) {
    struct simulation_options options = simulation_options_of(42);
    struct simulation_result first = simulation_run(&options), again = simulation_run(&options);
    cr_assert_eq(first.hash, again.hash);
    options = simulation_options_of(43);
    cr_assert_neq(simulation_run(&options).hash, first.hash);
}
