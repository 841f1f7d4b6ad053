/* What a node has promised to leaders outlives it: range/promise.h. */
#include "range/promise.h"

#include <criterion/criterion.h>

#include "base/codec.h"
#include "base/log.h"
#include "range/worker.h"
#include "tests/range/cluster.h"

#define TICK_US 10000u
#define LONG_TICKS 60u
#define SHORT_TICKS 10u
#define LONG_US (LONG_TICKS * TICK_US)
#define SHORT_US (SHORT_TICKS * TICK_US)

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_promise, .init = quiet, .timeout = 30);

static struct raft *raft_on(struct cluster *cluster, uint64_t node) {
    struct range_store *store = cluster_store(cluster, node);
    struct range_replica *replica = range_worker_find(range_store_worker(store, 1), 1);
    raft_set_now(replica->raft, clock_monotonic_us(store->clock));
    return replica->raft;
}

static bool holds_lease(struct cluster *cluster, uint64_t node) {
    struct raft_view view;
    raft_view(raft_on(cluster, node), &view);
    return view.lease_valid;
}

/* A cluster of long time-outs with a leader that holds a lease. */
static struct cluster *patient_cluster(uint64_t *ret_leader) {
    struct cluster_config config = cluster_config_default(1);
    config.workers = 2;
    config.quiesce_ticks = 0; /* a quiet leader's lease ends */
    config.election_ticks = LONG_TICKS;
    struct cluster *cluster = cluster_new(&config);
    *ret_leader = cluster_wait_leader(cluster, 1);
    cr_assert_neq(*ret_leader, 0);
    cluster_run_us(cluster, 2 * LONG_US);
    cr_assert(holds_lease(cluster, *ret_leader));
    return cluster;
}

/* Both followers restart and the leader is cut off: whatever they were told to do when they came
 * back, they elect nobody while the lease runs that rests on what they promised before. */
static void expect_lease_respected(uint32_t election_ticks, bool lease_reads) {
    uint64_t leader;
    struct cluster *cluster = patient_cluster(&leader);
    cluster_isolate(cluster, leader, true);
    for (uint64_t node = 1; node <= 3; node++) {
        if (node == leader) continue;
        cluster_kill(cluster, node);
        cluster_set_node(cluster, node, election_ticks, lease_reads);
        cluster_start(cluster, node);
    }
    uint32_t leased_ms = 0;
    for (uint32_t ms = 0; cluster_leader(cluster, 1) == leader; ms++) {
        cr_assert_lt(ms, 5000, "somebody else is to lead at last");
        cluster_run_us(cluster, 1000);
        bool leased =
            raft_role(raft_on(cluster, leader)) == RAFT_LEADER && holds_lease(cluster, leader);
        leased_ms += leased;
        cr_assert(!leased || cluster_leader(cluster, 1) == leader);
    }
    cr_assert_gt(leased_ms, LONG_US / 2000, "the lease outlived the followers");
    cluster_free(cluster);
}

/* A rolling restart that lowers the time-out must not break the promises made under the old one. */
Test(range_promise, outlives_a_restart_with_a_shorter_time_out) {
    expect_lease_respected(SHORT_TICKS, true);
}

/* The promise was made to somebody else's lease: not to read under leases oneself is no excuse. */
Test(range_promise, outlives_a_restart_without_lease_reads) {
    expect_lease_respected(LONG_TICKS, false);
    expect_lease_respected(SHORT_TICKS, false);
}

/* A leader whose time-out is long does not count on more than short ones have promised. */
Test(range_promise, is_counted_for_as_long_as_it_was_made) {
    uint64_t leader;
    struct cluster *cluster = patient_cluster(&leader);
    for (uint64_t node = 1; node <= 3; node++) {
        if (node == leader) continue;
        cluster_kill(cluster, node);
        cluster_set_node(cluster, node, SHORT_TICKS, true);
        cluster_start(cluster, node);
        cluster_run_us(cluster, 3 * LONG_US);
    }
    cr_assert(cluster_leader(cluster, 1) == leader && holds_lease(cluster, leader));
    cluster_isolate(cluster, leader, true);
    cluster_run_us(cluster, SHORT_US + TICK_US);
    cr_assert_not(holds_lease(cluster, leader));
    cluster_free(cluster);
}

static uint64_t grace_us(struct cluster *cluster, uint64_t node) {
    return cluster_store(cluster, node)->promise.grace_us;
}

static void restart(struct cluster *cluster, uint64_t node, uint32_t election_ticks) {
    cluster_crash(cluster, node);
    cluster_set_node(cluster, node, election_ticks, true);
    cluster_start(cluster, node);
}

/* P1: the record rises at once, and durably; it falls once nothing that was promised under it can
 * run any more, and not before, whatever restarts come between. */
Test(range_promise, is_recorded_before_it_is_made_and_until_it_is_over) {
    uint64_t leader;
    struct cluster *cluster = patient_cluster(&leader);
    restart(cluster, 2, SHORT_TICKS);
    cr_assert_eq(grace_us(cluster, 2), LONG_US);
    cluster_run_us(cluster, LONG_US / 2);
    restart(cluster, 2, SHORT_TICKS);
    cr_assert_eq(grace_us(cluster, 2), LONG_US, "a promise may still run");
    cluster_run_us(cluster, LONG_US + 20 * TICK_US);
    restart(cluster, 2, SHORT_TICKS);
    cr_assert_eq(grace_us(cluster, 2), SHORT_US, "none does");
    for (int power_cuts = 0; power_cuts < 10; power_cuts++) {
        restart(cluster, 2, LONG_TICKS);
        cr_assert_eq(grace_us(cluster, 2), SHORT_US, "only short ones were made");
        restart(cluster, 2, SHORT_TICKS);
        cr_assert_eq(grace_us(cluster, 2), LONG_US, "long ones may have been made since");
        cluster_run_us(cluster, LONG_US + 20 * TICK_US);
    }
    cr_assert(cluster_converge(cluster, 5000000));
    cluster_free(cluster);
}
