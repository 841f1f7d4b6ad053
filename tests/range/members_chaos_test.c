/* Replicas come and go at random while nodes die, links break and messages get lost: afterwards the
 * range is there, with what was acknowledged, on the nodes of its descriptor and on no others. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "range/limits.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define NODES 5u
#define WRITES_MAX 400u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_members_chaos, .init = quiet, .timeout = 280);

struct chaos {
    struct cluster *cluster;
    struct prng *prng;
    uint32_t writes;
};

static struct buf numbered_add(uint32_t number) {
    char id[16];
    (void)snprintf(id, sizeof(id), "add-%u", number); /* cannot be cut: 16 bytes hold it */
    return cluster_add(cluster_key(1, "sum"), 1, slice_from_text(id));
}

static uint64_t any_node(const struct chaos *chaos) {
    return prng_between(chaos->prng, 1, NODES);
}

/* Fire and forget: what became of them is settled at the end. */
static void write_some(struct chaos *chaos) {
    for (uint64_t n = prng_below(chaos->prng, 8); n > 0 && chaos->writes < WRITES_MAX; n--) {
        uint64_t leader = cluster_leader(chaos->cluster, 1);
        struct buf command = numbered_add(chaos->writes++);
        struct range_request request = {.kind = RANGE_WRITE,
                                        .range_id = 1,
                                        .timeout_us = SECOND,
                                        .command = slice_from_buf(&command)};
        (void)cluster_send(chaos->cluster, leader ? leader : any_node(chaos), &request);
        buf_done(&command);
    }
}

/* Mostly something that makes sense for the node. */
static struct range_replica_change some_change(const struct chaos *chaos,
                                               const struct range_descriptor *newest) {
    uint64_t node = any_node(chaos);
    const struct range_replica_ref *replica = range_descriptor_on_node(newest, node);
    enum range_replica_change_kind kind =
        (enum range_replica_change_kind)prng_between(chaos->prng, RANGE_ADD_LEARNER, RANGE_DEMOTE);
    if (!replica)
        kind = RANGE_ADD_LEARNER;
    else if (kind == RANGE_ADD_LEARNER || (kind == RANGE_DEMOTE && prng_below(chaos->prng, 3)))
        kind = replica->role == RANGE_LEARNER ? RANGE_PROMOTE : RANGE_REMOVE;
    return (struct range_replica_change){kind, node};
}

static void change_something(struct chaos *chaos) {
    struct range_descriptor newest = {0};
    if (cluster_newest(chaos->cluster, 1, &newest)) {
        struct range_replica_change changes[3];
        uint32_t count = (uint32_t)prng_between(chaos->prng, 1, 3);
        for (uint32_t i = 0; i < count; i++)
            changes[i] = some_change(chaos, &newest);
        struct range_request request = {.kind = RANGE_CHANGE_REPLICAS,
                                        .range_id = 1,
                                        .epoch = newest.epoch,
                                        .timeout_us = SECOND,
                                        .change_count = count,
                                        .changes = changes};
        uint64_t leader = cluster_leader(chaos->cluster, 1);
        (void)cluster_send(chaos->cluster, leader ? leader : any_node(chaos), &request);
    }
    range_descriptor_done(&newest);
}

static void hurt_something(struct chaos *chaos) {
    struct cluster *cluster = chaos->cluster;
    uint64_t node = any_node(chaos);
    switch (prng_below(chaos->prng, 8)) {
    case 0:
        if (cluster_is_up(cluster, node)) cluster_kill(cluster, node);
        break;
    case 1:
        if (cluster_is_up(cluster, node)) cluster_crash(cluster, node);
        break;
    case 2:
        cluster_isolate(cluster, node, true);
        break;
    case 3:
        cluster_cut(cluster, node, any_node(chaos), true);
        break;
    case 4:
        cluster_pause(cluster, node, true);
        break;
    case 5:
        cluster_heal(cluster);
        break;
    default:
        if (!cluster_is_up(cluster, node)) cluster_start(cluster, node);
        break;
    }
}

static void make_peace(struct chaos *chaos) {
    cluster_heal(chaos->cluster);
    cluster_set_loss(chaos->cluster, 0, 0);
    for (uint64_t node = 1; node <= NODES; node++)
        if (!cluster_is_up(chaos->cluster, node)) cluster_start(chaos->cluster, node);
}

static void expect_every_write_once(struct chaos *chaos) {
    for (uint32_t i = 0; i < chaos->writes; i++) {
        struct buf command = numbered_add(i);
        cr_assert_eq(cluster_write(chaos->cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
        buf_done(&command);
    }
    cr_assert_eq(cluster_read_number(chaos->cluster, 1, cluster_key(1, "sum")), chaos->writes);
}

static void expect_nothing_elsewhere(struct chaos *chaos) {
    struct range_descriptor newest = {0};
    cr_assert(cluster_newest(chaos->cluster, 1, &newest));
    for (uint64_t node = 1; node <= NODES; node++) {
        if (range_descriptor_on_node(&newest, node)) continue;
        struct storage_iterator *data = storage_iterator_new(
            cluster_engine(chaos->cluster, node), NULL, STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY);
        storage_iterator_seek_first(data);
        cr_assert(!storage_iterator_valid(data), "node %u", (unsigned)node);
        storage_iterator_free(data);
    }
    range_descriptor_done(&newest);
}

static void run(uint64_t seed) {
    struct cluster_config config = cluster_config_default(seed);
    config.nodes = NODES;
    config.replicas = 1 + (uint32_t)(seed % 3);
    config.drop_per_mille = seed % 2 ? 30 : 0;
    config.duplicate_per_mille = 10;
    config.log_entries_kept = 20;
    config.log_compact_step = 10;
    config.apply_round_commands = (uint32_t)(seed % 4);
    config.workers = 1 + (uint32_t)(seed % 2);
    config.sync_us = 500;
    struct chaos chaos = {.cluster = cluster_new(&config)};
    chaos.prng = cluster_prng(chaos.cluster);
    cr_assert_neq(cluster_wait_leader(chaos.cluster, 1), 0);
    for (int i = 0; i < 60; i++) {
        write_some(&chaos);
        if (prng_below(chaos.prng, 2)) change_something(&chaos);
        if (prng_below(chaos.prng, 4) == 0) hurt_something(&chaos);
        cluster_run_us(chaos.cluster, prng_between(chaos.prng, 200, SECOND / 10));
    }
    make_peace(&chaos);
    cr_assert(cluster_converge(chaos.cluster, 20 * SECOND), "seed %lu", (unsigned long)seed);
    expect_every_write_once(&chaos);
    cr_assert(cluster_converge(chaos.cluster, 5 * SECOND), "seed %lu", (unsigned long)seed);
    expect_nothing_elsewhere(&chaos);
    cluster_free(chaos.cluster);
}

/* Whatever is asked for and whatever breaks, in random order. To look further:
 * FLOTILLA_CHAOS_SEED=1000 FLOTILLA_CHAOS_SEEDS=500 before the test program. */
Test(range_members_chaos, replicas_come_and_go_under_faults) {
    const char *from = getenv("FLOTILLA_CHAOS_SEED"), *count = getenv("FLOTILLA_CHAOS_SEEDS");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1;
    uint64_t seeds = count ? strtoull(count, NULL, 10) : 30;
    for (uint64_t seed = first; seed < first + seeds; seed++)
        run(seed);
}

/* A learner that is behind answers a leader that joined after what it knows. */
Test(range_members_chaos, follower_answers_a_leader_it_does_not_know_yet) {
    run(35);
}

/* A range of one replica that goes quiet has nothing to tell anybody, and is not ticked either. */
Test(range_members_chaos, single_replica_goes_quiet) {
    run(75);
}

/* A learner whose leader is gone for good asks the others, who know that it was removed. */
Test(range_members_chaos, removed_learner_does_not_wait_for_its_leader) {
    run(145);
    run(716);
}

/* The only voter left was a learner when it last applied something, and all who know better are
 * tombstones or learners: they tell it what is committed. */
Test(range_members_chaos, last_voter_learns_that_it_is_one) {
    run(1415);
}
