/* A group of replicas in one thread, on virtual time, over a network and disks that misbehave, all
 * from one seed. First everything may go wrong and only safety is demanded; then all faults stop
 * and progress is demanded.
 *
 * A group that may go quiet has to do so at the end, at no cost, and to come back from what then
 * happens to it: a leader lost, a follower that missed something, without a client that asks.
 *
 * Checked all the time (thesis figure 3.2): election safety, leader append-only (a commit index and
 * a term never go back), log matching, leader completeness, state machine safety; further: one vote
 * per term over crashes, no promise before its bytes are durable, entries applied once and in
 * order, equal configurations at equal index, and linearizable reads, by lease and by ReadIndex.
 * What a single step may change is in simulation_steps.c. */
#ifndef FLOTILLA_TESTS_RAFT_SIMULATION_H
#define FLOTILLA_TESTS_RAFT_SIMULATION_H

#include "base/slice.h"

struct simulation_options {
    uint64_t seed;
    bool crashes, partitions, pauses, membership, transfers, compaction;
    uint32_t loss_percent, duplicate_percent;
    uint32_t linger_percent; /* of the messages of elections: under way for up to two time-outs */
    bool quiesce;            /* the group may go quiet, clients take breaks */
    bool leases;
    bool time_outs_differ; /* from node to node, and from start to start */
    uint32_t drift_ppm;    /* of the clocks; leases assume at most this */
};

struct simulation_result {
    bool failed;
    char reason[2048]; /* the broken rule, with the time, the replica, and the state of all */
    uint64_t events, commits, elections, reads, lease_reads, crashes, snapshots, conf_changes,
        quiet;     /* times that a leader was seen to go quiet */
    uint64_t hash; /* of the whole history: the same seed gives the same */
};

/* Options drawn from the seed: every kind of trouble in some mixture. */
struct simulation_options simulation_options_of(uint64_t seed);
struct simulation_result simulation_run(const struct simulation_options *options);

#endif
