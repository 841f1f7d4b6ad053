/* Groups that go quiet: the beats between nodes that watch over their leaders meanwhile, as the
 * store has them, and what has to be true of a group that nobody uses. */
#include "base/assert.h"
#include "tests/raft/simulation_world.h"

#define QUIET_US_MAX (10 * 1000000u) /* for going quiet, whatever happened before */
#define SILENCE_US 1000000u          /* in which nobody may say a word */
#define RESTART_US 700000u           /* long enough to be missed */
#define SETTLE_US 500000u            /* longer than any message is under way */

/* ---- beats ---- */

bool sim_away(void *node, uint64_t id) {
    return ((const struct sim_node *)node)->silent_ticks[id] >= SIM_ELECTION_TICKS;
}

static void send_beats(struct sim_world *world, struct sim_node *node) {
    for (uint64_t to = 1; to <= SIM_NODES; to++) {
        bool lost = world->blocked[node->id][to] || sim_chance(world, world->options.loss_percent);
        if (to == node->id || lost) continue;
        struct sim_event beat = {
            .kind = SIM_BEAT, .node = to, .about = node->id, .incarnation = node->generation};
        sim_schedule(world, beat, sim_delay_us(world));
    }
}

void sim_beat_tick(struct sim_world *world, struct sim_node *node) {
    if (++node->beat_elapsed >= SIM_HEARTBEAT_TICKS) {
        node->beat_elapsed = 0;
        send_beats(world, node);
    }
    for (uint64_t id = 1; id <= SIM_NODES; id++) {
        if (id == node->id || ++node->silent_ticks[id] != SIM_ELECTION_TICKS) continue;
        if (raft_leader(node->raft) == id) raft_suspect_leader(node->raft);
    }
}

void sim_beat_heard(struct sim_node *node, const struct sim_event *beat) {
    uint64_t from = beat->about;
    if (beat->incarnation < node->heard_incarnation[from]) return; /* sent before it restarted */
    bool restarted = beat->incarnation > node->heard_incarnation[from];
    bool was_away = sim_away(node, from);
    node->silent_ticks[from] = 0;
    node->heard_incarnation[from] = beat->incarnation;
    if (restarted && raft_leader(node->raft) == from) raft_suspect_leader(node->raft);
    if (restarted && raft_leader(node->raft) == node->id) raft_wake(node->raft);
    if (was_away) raft_report_reachable(node->raft, from);
}

/* Nobody relies on a leader whose node it does not hear. */
void sim_beat_check(struct sim_world *world, struct sim_node *node) {
    uint64_t leader = raft_leader(node->raft);
    bool quiet = raft_quiet(node->raft);
    if (quiet && leader == node->id && !node->seen_quiet) world->result.quiet++;
    node->seen_quiet = quiet;
    if (!quiet || leader == node->id) return;
    if (sim_away(node, leader) || node->heard_incarnation[leader] == 0) {
        raft_wake(node->raft);
        sim_node_drain(world, node);
    }
}

/* ---- the end of a run ---- */

static bool is_up(const struct sim_node *node) {
    return node->raft && node->paused_until_us == 0;
}

static struct sim_node *newest_leader(struct sim_world *world) {
    struct sim_node *leader = NULL;
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        struct sim_node *node = &world->nodes[at];
        if (!is_up(node) || raft_role(node->raft) != RAFT_LEADER) continue;
        if (!leader || raft_term(node->raft) > raft_term(leader->raft)) leader = node;
    }
    return leader;
}

/* Every member that is up, but the one left out, is quiet, follows the same leader and has applied
 * all that the leader has. */
static bool at_rest(struct sim_world *world, const struct sim_node *but) {
    const struct sim_node *leader = newest_leader(world);
    if (!leader || leader == but || !raft_quiet(leader->raft)) return false;
    struct raft_id_set members;
    raft_conf_state_members(&leader->conf, &members);
    for (uint32_t at = 0; at < members.count; at++) {
        const struct sim_node *node = sim_node_of(world, members.ids[at]);
        if (node == but || !node->raft) continue;
        if (!is_up(node) || !raft_quiet(node->raft) || raft_leader(node->raft) != leader->id ||
            node->applied != leader->applied) {
            return false;
        }
    }
    return true;
}

static bool wait_for_rest(struct sim_world *world, const struct sim_node *but, const char *after) {
    uint64_t until_us = world->now_us + QUIET_US_MAX;
    while (!world->result.failed && !at_rest(world, but)) {
        if (world->now_us > until_us) {
            sim_fail(world, but, "the group does not come to rest after %s", after);
        } else {
            sim_step(world);
        }
    }
    return !world->result.failed;
}

static bool run_for(struct sim_world *world, uint64_t us) {
    uint64_t until_us = world->now_us + us;
    while (!world->result.failed && world->now_us < until_us) {
        sim_step(world);
    }
    return !world->result.failed;
}

/* A joint configuration that nobody leaves keeps its group awake, and so may a replica that was
 * removed and not told: neither is meant to last. */
static bool tidy_up(struct sim_world *world) {
    for (uint32_t tries = 0; tries < 100 && !world->result.failed; tries++) {
        struct sim_node *leader = newest_leader(world);
        if (leader && !raft_conf_state_joint(&leader->conf)) {
            struct raft_id_set members;
            raft_conf_state_members(&leader->conf, &members);
            for (uint32_t at = 0; at < SIM_NODES; at++) {
                struct sim_node *node = &world->nodes[at];
                if (node->raft && !raft_id_set_has(&members, node->id)) sim_node_crash(world, node);
            }
            return true;
        }
        if (leader) {
            struct raft_conf_change leave = {.transition = RAFT_TRANSITION_EXPLICIT};
            raft_set_now(leader->raft, sim_clock_us(world, leader));
            enum status status = raft_propose_conf_change(leader->raft, &leave, NULL);
            (void)status; /* refused now: asked again */
            sim_node_drain(world, leader);
        }
        (void)run_for(world, 100000); /* a failure ends the loop */
    }
    if (!world->result.failed) sim_fail(world, NULL, "a joint configuration cannot be left");
    return false;
}

static bool is_silent(struct sim_world *world, const char *after) {
    uint64_t before = world->sent;
    if (!run_for(world, SILENCE_US)) return false;
    if (world->sent == before) return true;
    sim_fail(world, NULL, "a quiet group sends %lu messages, after %s",
             (unsigned long)(world->sent - before), after);
    return false;
}

static void cut(struct sim_world *world, uint64_t id, bool off) {
    for (uint64_t other = 1; other <= SIM_NODES; other++) {
        if (other == id) continue;
        world->blocked[id][other] = world->blocked[other][id] = off;
    }
}

/* Whoever is lost, with or without notice: the rest goes on and comes to rest without it, and once
 * it is back it gets what it missed, although nobody asks for anything any more. */
static void lose_one(struct sim_world *world, struct sim_node *lost, bool crashes, bool missed) {
    uint64_t back_us = world->now_us + RESTART_US + prng_below(&world->prng, RESTART_US);
    if (crashes) sim_node_crash(world, lost);
    cut(world, lost->id, true);
    if (missed) {
        while (!world->result.failed && world->now_us < back_us) {
            struct sim_node *leader = newest_leader(world);
            if (leader && leader != lost && raft_quiet(leader->raft)) break;
            sim_step(world);
        }
        struct sim_node *leader = newest_leader(world);
        if (leader && leader != lost) {
            sim_node_propose(world, leader, world->now_us);
            sim_node_drain(world, leader);
        }
    }
    if (!wait_for_rest(world, lost, "one was lost")) return;
    if (crashes) sim_node_start(world, lost);
    cut(world, lost->id, false);
    if (wait_for_rest(world, NULL, "one came back")) (void)is_silent(world, "one came back");
}

/* So short that nobody else may have noticed: the others still believe in it. */
static void blink(struct sim_world *world, struct sim_node *node) {
    sim_node_crash(world, node);
    if (!run_for(world, 1000)) return;
    sim_node_start(world, node);
    if (wait_for_rest(world, NULL, "a restart")) (void)is_silent(world, "a restart");
}

static struct sim_node *some_follower(struct sim_world *world, const struct sim_node *leader) {
    struct raft_id_set members;
    raft_conf_state_members(&leader->conf, &members);
    for (uint32_t at = 0; at < members.count; at++) {
        if (members.ids[at] != leader->id) return sim_node_of(world, members.ids[at]);
    }
    return NULL;
}

void sim_check_quiet(struct sim_world *world) {
    world->idle_until_us = UINT64_MAX;
    /* What was on its way for long while there were faults arrives meanwhile; and so do the last
     * words of replicas that were removed. */
    if (!run_for(world, SETTLE_US) || !tidy_up(world) || !run_for(world, SETTLE_US) ||
        !wait_for_rest(world, NULL, "all faults stopped"))
        return;
    if (!is_silent(world, "all faults stopped")) return;
    struct sim_node *leader = newest_leader(world);
    struct sim_node *follower = some_follower(world, leader);
    if (leader->conf.voters.count < 3) {
        blink(world, leader); /* no group that goes on without one */
        return;
    }
    switch (prng_below(&world->prng, 6)) {
    case 0:
        lose_one(world, leader, true, false);
        break;
    case 1:
        lose_one(world, leader, false, false);
        break;
    case 2:
        lose_one(world, follower, true, true);
        break;
    case 3:
        lose_one(world, follower, false, true);
        break;
    case 4:
        blink(world, leader);
        break;
    default:
        blink(world, follower);
        break;
    }
}
