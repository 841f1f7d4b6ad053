/* A placement group in one process: members on memory engines, virtual time, a network that may
 * lose, delay and repeat, crashes that lose what was not synced. Deterministic from its seed. */
#ifndef FLOTILLA_TESTS_PLACEMENT_GROUP_H
#define FLOTILLA_TESTS_PLACEMENT_GROUP_H

#include "base/prng.h"
#include "placement/placement.h"
#include "storage/memory_engine.h"

#define GROUP_STEP_US 2000u

struct group_message {
    uint64_t due_us, from, to;
    struct buf frame;
};

struct group_member {
    struct group *group;
    uint64_t id;
    struct storage_engine *engine;
    struct placement_driver *driver; /* NULL: down */
};

struct group {
    uint32_t count;
    struct group_member members[PLACEMENT_MEMBERS_MAX];
    struct placement_config config;
    struct clock clock;
    uint64_t now_us, wall_ms;
    int64_t node_wall_ms; /* what nodes' clocks show on top of wall_ms */
    struct prng prng;
    uint32_t loss_percent, repeat_percent;
    uint64_t delay_us_max;
    bool cut[PLACEMENT_MEMBERS_MAX + 1]; /* by member id: neither sends nor receives */
    struct group_message *messages;
    size_t message_count, message_cap;
    /* Crash points: before a synced write, after it, after the turn. The member crashes at the
     * one that brings this to 0; UINT64_MAX: never. */
    uint64_t crash_countdown;
    uint64_t crash_points; /* passed so far */
};

/* Config may be NULL: defaults with replication factor 1. */
void group_init(struct group *group, uint32_t count, uint64_t seed,
                const struct placement_config *config);
void group_done(struct group *group);
void group_start(struct group *group, uint32_t member);
/* As kill -9 plus power cut: any part of the unsynced writes may survive. */
void group_crash(struct group *group, uint32_t member);
/* A clean stop: nothing written is lost. */
void group_stop(struct group *group, uint32_t member);
/* Lets everybody work until nobody has anything to do at this instant. */
void group_settle(struct group *group);
/* Time passes, in steps. */
void group_run(struct group *group, uint64_t us);
/* The member that answers, or NULL; runs at most a few virtual seconds until there is one. */
struct group_member *group_leader(struct group *group);
struct group_member *group_wait_leader(struct group *group);

/* ---- a node's calls ---- */
struct group_registration {
    bool answered;
    enum status status;
    uint64_t cluster_id, node_id;
    uint32_t retry_after_ms;
    char text[512];
};

struct placement_register_request group_node(uint64_t number); /* fresh node number 1, 2, ... */
/* The same directory, started once more. */
static inline void group_start_again(struct placement_register_request *request) {
    request->incarnation += UINT64_C(1) << PLACEMENT_INCARNATION_NOISE_BITS;
}
/* Without waiting. The result must outlive the answer. */
void group_register_begin(struct group *group, struct group_member *member,
                          const struct placement_register_request *request,
                          struct group_registration *result);
/* At the leader, waiting for the answer; asks again while told to ask elsewhere. */
struct group_registration group_register(struct group *group,
                                         const struct placement_register_request *request);
/* A complete heartbeat of such a node, at the leader, if there is one. */
void group_beat(struct group *group, uint64_t number);
/* Registers fresh nodes 1..count and lets them beat until the birth. */
void group_give_birth(struct group *group, uint32_t count);

struct group_timestamps {
    bool answered;
    enum status status;
    uint64_t first;
    uint32_t count;
};
void group_timestamps_done(void *ctx, enum status status, uint64_t first, uint32_t count);

#endif
