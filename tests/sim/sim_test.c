/* The simulator itself: that it repeats, that seeds differ, and that it notices. */
#include "tests/sim/sim.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

/* In a process of its own, because simulated processes that end by a failed disk leave their memory
 * behind. */
static struct sim_result run(uint64_t seed, const char *scenario) {
    struct sim_options options = {.seed = seed, .scenario = scenario, .hurt_us = 4000000};
    struct sim_result result = {0};
    int ends[2];
    log_set_level(LOG_NONE);
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        sim_run(&options, &result);
        _exit(write(ends[1], &result, sizeof(result)) == (ssize_t)sizeof(result) ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "seed %u of %s", (unsigned)seed, scenario);
    cr_assert_eq(read(ends[0], &result, sizeof(result)), (ssize_t)sizeof(result));
    (void)close(ends[0]);
    (void)close(ends[1]);
    return result;
}

/* A failure that does not come back cannot be understood: one seed is one run, to the byte. */
Test(sim, repeats_a_seed_to_the_byte) {
    static const char *const scenarios[] = {"mixed", "disks", "snapshots"};
    for (uint32_t i = 0; i < 3; i++) {
        struct sim_result first = run(7 + i, scenarios[i]), second = run(7 + i, scenarios[i]);
        cr_assert_eq(first.trace_hash, second.trace_hash);
        cr_assert_eq(first.events, second.events);
        cr_assert_gt(first.operations, 100);
    }
}

/* Processes that end in order release what they hold: the leak sanitizer looks on. */
Test(sim, leaves_no_memory_behind) {
    static const char *const scenarios[] = {"machines", "network", "snapshots"};
    uint64_t operations = 0; /* of all: a seed may draw few clients and much trouble */
    log_set_level(LOG_NONE);
    for (uint32_t i = 0; i < 3; i++) {
        struct sim_options options = {.seed = 3 + i, .scenario = scenarios[i], .hurt_us = 3000000};
        struct sim_result result;
        sim_run(&options, &result);
        operations += result.operations;
    }
    cr_assert_gt(operations, 300);
}

/* Ten thousand seeds are worth nothing if they are all the same run. */
Test(sim, makes_another_run_of_another_seed) {
    cr_assert_neq(run(1, "mixed").trace_hash, run(2, "mixed").trace_hash);
}

/* The exit code of a run, in a process of its own and without its report. */
static int run_alone(const struct sim_options *options) {
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct sim_result result;
        int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere >= 0) (void)dup2(nowhere, STDERR_FILENO); /* else it is only noisy */
        sim_run(options, &result);
        _exit(0);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Disks that acknowledge what they have not written break what Raft stands on; a simulator that
 * does not see that would not see a missing fsync either. */
Test(sim, notices_disks_that_lie) {
    bool noticed = false;
    log_set_level(LOG_NONE);
    for (uint64_t seed = 1; seed <= 20 && !noticed; seed++) {
        struct sim_options options = {
            .seed = seed, .scenario = "disks", .hurt_us = 4000000, .disks_lie = true};
        noticed = run_alone(&options) == SIM_EXIT_BROKEN;
    }
    cr_assert(noticed);
}

/* A lease is only as good as the clocks: were one to read under a lease when they pass the bound,
 * somebody has to see it, or the same would go unseen within the bound. */
Test(sim, notices_leases_on_clocks_that_pass_the_bound) {
    bool noticed = false;
    log_set_level(LOG_NONE);
    for (uint64_t seed = 1; seed <= 150 && !noticed; seed++) {
        struct sim_options options = {
            .seed = seed, .scenario = "overdrawn", .hurt_us = 6000000, .trust_leases = true};
        noticed = run_alone(&options) == SIM_EXIT_BROKEN;
    }
    cr_assert(noticed);
}
