/* Hurts ranges whose replicas are being changed, where it hurts most: a leader is left with those
 * who have no vote; and whoever has a part in a change ends in the middle of it. */
#include <inttypes.h>

#include "tests/sim/rules.h"

#define LOOK_US 50000u
/* Elections, disk writes and the silence of a node, several times over. */
#define STEP_DOWN_US (2 * SIM_SECOND_US)
#define SYNC_US_MAX 20000u

/* Its leader reaches nobody who votes: neither those of the configuration, nor, in a joint one,
 * those of the half to come. It reaches learners, and replicas that are being removed; and they,
 * mostly, nobody else, so that they do not hear of another leader. In a third of the cases it is
 * stopped meanwhile, and comes back when there is one. */
struct stranding {
    struct sim_timer timer;
    struct sim_node *leader;
    uint64_t range_id, incarnation, term;
    uint64_t since_us; /* it stands like that, and runs */
    uint64_t paused_until_us, until_us;
    bool votes[SIM_NODES_MAX], stays[SIM_NODES_MAX]; /* by host: whose links are cut */
};

static void drop_stranding(struct sim_timer *timer) {
    memory_free(CONTAINER_OF(timer, struct stranding, timer));
}

static void set_cuts(struct sim *sim, const struct stranding *stranding, bool cut) {
    for (uint32_t i = 0; i < sim->config.nodes; i++)
        for (uint32_t j = 0; j < sim->config.nodes; j++)
            if (stranding->votes[i] && stranding->stays[j]) sim->cut[i][j] = sim->cut[j][i] = cut;
}

/* Nothing has healed or slowed it, and it is the same process. */
static bool is_as_it_was(const struct sim *sim, const struct stranding *stranding) {
    const struct sim_host *host = &stranding->leader->host;
    for (uint32_t i = 0; i < sim->config.nodes; i++)
        if (stranding->votes[i] && !(sim->cut[host->index][i] && sim->cut[i][host->index]))
            return false;
    return host->up && host->incarnation == stranding->incarnation && host->sync_us <= SYNC_US_MAX;
}

static void check_step_down(struct sim *sim, const struct stranding *stranding) {
    const struct range_replica *replica = sim_replica_on(stranding->leader, stranding->range_id);
    if (sim->now_us < stranding->since_us + STEP_DOWN_US) return;
    if (replica && replica->leads && replica->lead_term == stranding->term)
        sim_broken(sim, "who hears nobody that votes leads no more",
                   "node %u, range %" PRIu64 ", term %" PRIu64, stranding->leader->host.number,
                   stranding->range_id, stranding->term);
}

static void look(struct sim *sim, struct sim_timer *timer) {
    struct stranding *stranding = CONTAINER_OF(timer, struct stranding, timer);
    bool held = sim->hurting && is_as_it_was(sim, stranding);
    if (sim->now_us >= stranding->paused_until_us && stranding->paused_until_us > 0) {
        stranding->paused_until_us = 0;
        if (stranding->leader->host.incarnation == stranding->incarnation)
            sim_host_pause(&stranding->leader->host, false);
    }
    if (stranding->leader->host.paused) stranding->since_us = sim->now_us;
    if (held) check_step_down(sim, stranding);
    if ((held && sim->now_us < stranding->until_us) || stranding->paused_until_us > 0) {
        sim_timer_start(sim, timer, sim->now_us + LOOK_US);
        return;
    }
    set_cuts(sim, stranding, false);
    memory_free(stranding);
}

static bool votes(enum range_replica_role role) {
    return role == RANGE_VOTER || role == RANGE_VOTER_INCOMING;
}

/* False: nobody would be left, or nobody cut off. */
static bool choose_cuts(struct sim *sim, const struct range_descriptor *descriptor,
                        struct stranding *stranding) {
    bool alone = sim_chance(sim, 700);
    uint32_t voters = 0, left = 0;
    stranding->stays[stranding->leader->host.index] = true;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        const struct range_replica_ref *ref = &descriptor->replicas[i];
        const struct sim_node *node = sim_node_by_id(sim, ref->node_id);
        if (!node || node == stranding->leader) continue;
        bool voter = votes(ref->role);
        *(voter ? &voters : &left) += 1;
        stranding->votes[node->host.index] = voter;
        stranding->stays[node->host.index] = !voter && alone;
    }
    return voters > 0 && left > 0;
}

static bool strand(struct sim *sim, uint64_t range_id) {
    struct sim_node *leader = sim_rules_leader(sim, range_id);
    if (!leader) return false;
    const struct range_replica *replica = sim_replica_on(leader, range_id);
    struct stranding stranding = {.leader = leader,
                                  .range_id = range_id,
                                  .incarnation = leader->host.incarnation,
                                  .term = replica->lead_term,
                                  .since_us = sim->now_us};
    if (!choose_cuts(sim, &replica->descriptor, &stranding)) return false;
    sim_heal(sim);
    struct stranding *kept = MEMORY_NEW(struct stranding);
    *kept = stranding;
    kept->timer.fire = look;
    kept->timer.drop = drop_stranding;
    kept->until_us = sim->now_us + prng_between(&sim->prng, 200000, 3000000);
    set_cuts(sim, kept, true);
    if (sim_chance(sim, 333) && !leader->host.paused) {
        kept->paused_until_us = sim->now_us + prng_between(&sim->prng, 200000, 800000);
        sim_host_pause(&leader->host, true);
    }
    sim->life.stranded++;
    sim_note(sim, "network: node %u, leader of range %" PRIu64 ", reaches nobody who votes",
             leader->host.number, range_id);
    sim_timer_start(sim, &kept->timer, sim->now_us + LOOK_US);
    return true;
}

void sim_strand_leader(struct sim *sim) {
    uint64_t first = prng_below(&sim->prng, sim->config.ranges);
    for (uint32_t i = 0; i < sim->config.ranges; i++)
        if (strand(sim, (first + i) % sim->config.ranges + 1)) return;
}

/* ---- in the middle of a change ---- */

/* When somebody ends. */
enum moment {
    MOMENT_PROPOSED, /* the leader has a change in its log, and has not applied it */
    MOMENT_JOINT,    /* a replica has entered a joint configuration */
    MOMENT_FED,      /* a node takes a snapshot */
    MOMENT_LEAVING,  /* a replica has applied its removal, and is not deleted yet */
    MOMENT_ASKED,    /* a router sees a change through */
    MOMENT_COUNT,
};

/* Waits for its moment in any range. */
struct interruption {
    struct sim_timer timer;
    enum moment moment;
    uint64_t until_us;
};

static void drop_interruption(struct sim_timer *timer) {
    memory_free(CONTAINER_OF(timer, struct interruption, timer));
}

static bool takes_snapshot(const struct sim_node *node) {
    if (!node->store) return false;
    for (uint32_t i = 0; i < range_store_worker_count(node->store); i++)
        if (range_store_worker(node->store, i)->snapshots.receive_count > 0) return true;
    return false;
}

static bool is_leaving(const struct sim_node *node) {
    if (!node->store) return false;
    for (uint32_t i = 0; i < range_store_worker_count(node->store); i++)
        if (!list_empty(&range_store_worker(node->store, i)->removals.leaving)) return true;
    return false;
}

static bool is_in_change(const struct sim_node *node, uint64_t range_id, enum moment moment) {
    const struct range_replica *replica = sim_replica_on(node, range_id);
    if (!replica) return false;
    if (moment == MOMENT_JOINT) return replica->descriptor.joint;
    return replica->leads && replica->changes.index > replica->applied.applied.index;
}

/* Whether it has come on this node; of which range, if that is known. */
static bool has_come(const struct sim *sim, const struct sim_node *node, enum moment moment,
                     uint64_t *ret_range_id) {
    *ret_range_id = 0;
    if (!node->host.up || node->host.paused) return false;
    if (moment == MOMENT_FED) return takes_snapshot(node);
    if (moment == MOMENT_LEAVING) return is_leaving(node);
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
        if (!is_in_change(node, range_id, moment)) continue;
        *ret_range_id = range_id;
        return true;
    }
    return false;
}

static void end(struct sim *sim, struct sim_host *host) {
    if (!host->up) return;
    sim_host_stop(host, sim_chance(sim, 400) ? SIM_END_KILL : SIM_END_CRASH);
    sim_timer_start(sim, &host->restart,
                    sim->now_us + prng_between(&sim->prng, 1000, sim->config.while_max_us));
}

/* The node itself, the leader, somebody of the range, or all of it: those who know of the change
 * may all forget what was not synced. */
static void end_somebody(struct sim *sim, struct sim_node *node, uint64_t range_id) {
    struct sim_node *leader = range_id ? sim_rules_leader(sim, range_id) : NULL;
    uint64_t dice = prng_below(&sim->prng, 10);
    sim->life.interrupted++;
    sim_note(sim, "in the middle of a change of replicas, at node %u:", node->host.number);
    if (range_id == 0 || dice < 4) {
        end(sim, &node->host);
    } else if (dice < 6 && leader) {
        end(sim, &leader->host);
    } else if (dice < 8) {
        end(sim, &sim->nodes[prng_below(&sim->prng, sim->config.nodes)].host);
    } else {
        for (uint32_t i = 0; i < sim->config.nodes; i++)
            if (sim_replica_on(&sim->nodes[i], range_id)) end(sim, &sim->nodes[i].host);
    }
}

static bool strikes(struct sim *sim, const struct interruption *interruption) {
    uint32_t first = (uint32_t)prng_below(&sim->prng, sim->config.nodes);
    uint64_t range_id;
    if (interruption->moment == MOMENT_ASKED && sim->errands > 0) {
        sim->life.interrupted++;
        end(sim, &sim->routers[prng_below(&sim->prng, SIM_ROUTERS)].host);
        return true;
    }
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        struct sim_node *node = &sim->nodes[(first + i) % sim->config.nodes];
        if (!has_come(sim, node, interruption->moment, &range_id)) continue;
        end_somebody(sim, node, range_id);
        return true;
    }
    return false;
}

static void wait_for_moment(struct sim *sim, struct sim_timer *timer) {
    struct interruption *interruption = CONTAINER_OF(timer, struct interruption, timer);
    if (!sim->hurting || sim->now_us >= interruption->until_us || strikes(sim, interruption)) {
        memory_free(interruption);
        return;
    }
    sim_timer_start(sim, timer, sim->now_us + prng_between(&sim->prng, 50, 400));
}

void sim_interrupt_change(struct sim *sim) {
    if (!sim->operator) return;
    struct interruption *interruption = MEMORY_NEW(struct interruption);
    interruption->timer.fire = wait_for_moment;
    interruption->timer.drop = drop_interruption;
    interruption->moment = (enum moment)prng_below(&sim->prng, MOMENT_COUNT);
    interruption->until_us = sim->now_us + SIM_SECOND_US;
    sim_timer_start(sim, &interruption->timer, sim->now_us);
}
