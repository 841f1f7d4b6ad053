/* The steps of a move, in the order in which they are found to be missing:
 *
 *   a joint configuration is being left                    wait
 *   the new node has no replica                            add a learner
 *   its learner lacks more than RANGE_PROMOTE_LAG_MAX      wait
 *   the old node leads                                     hand the leadership over
 *   otherwise                                              promote and remove, in one joint step
 *
 * Adding and removing are moves from nowhere and to nowhere. */
#include "cmd/replica_goal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "range/limits.h"

/* A goal, the range, and its two replicas that matter. */
struct prospect {
    const struct replica_goal *goal;
    const struct router_replicas *now;
    const struct range_replica_ref *to, *from; /* NULL: there is none */
    struct replica_step *step;
};

const char *replica_role_name(enum range_replica_role role) {
    switch (role) {
    case RANGE_VOTER:
        return "voter";
    case RANGE_LEARNER:
        return "learner";
    case RANGE_VOTER_INCOMING:
        return "voter-incoming";
    case RANGE_VOTER_OUTGOING:
        return "voter-outgoing";
    case RANGE_VOTER_DEMOTING:
        return "voter-demoting";
    }
    return "unknown";
}

const struct range_replica_progress *replica_progress_of(const struct router_replicas *now,
                                                         const struct range_replica_ref *replica) {
    for (uint32_t i = 0; i < now->progress_count; i++)
        if (now->progress[i].replica_id == replica->replica_id) return &now->progress[i];
    return NULL;
}

uint64_t replica_lag(const struct router_replicas *now,
                     const struct range_replica_progress *progress) {
    return now->commit_index > progress->match ? now->commit_index - progress->match : 0;
}

static __attribute__((format(printf, 3, 4))) void
settle(const struct prospect *prospect, enum replica_step_kind kind, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    prospect->step->kind = kind;
    (void)vsnprintf(prospect->step->text, sizeof(prospect->step->text), format, arguments);
    va_end(arguments);
}

static void add_change(const struct prospect *prospect, enum range_replica_change_kind kind,
                       uint64_t node_id) {
    prospect->step->changes[prospect->step->change_count++] =
        (struct range_replica_change){kind, node_id};
}

static bool is_learner(const struct range_replica_ref *replica) {
    return replica && replica->role == RANGE_LEARNER;
}

static bool answers(const struct router_replicas *now, const struct range_replica_ref *replica) {
    const struct range_replica_progress *progress = replica_progress_of(now, replica);
    return progress && progress->active;
}

/* ---- what stands in the way ---- */

static bool refuse_nothing_to_move(const struct prospect *prospect) {
    const struct replica_goal *goal = prospect->goal;
    if (goal->to == 0 || goal->from == 0 || prospect->to) return false;
    if (!prospect->from) {
        settle(prospect, REPLICA_STEP_REFUSED,
               "node %" PRIu64 " has no replica that could be moved; see who has: flotilla admin "
               "replicas",
               goal->from);
        return true;
    }
    if (is_learner(prospect->from)) {
        settle(prospect, REPLICA_STEP_REFUSED,
               "node %" PRIu64 " has only a learner, left by a move that did not end; remove it, "
               "and add a replica to node %" PRIu64,
               goal->from, goal->to);
        return true;
    }
    return false;
}

/* The only replica of a range moves by way of two voters; beyond that, a move to where a voter is
 * would be a removal by mistake. */
static bool refuse_lost_copy(const struct prospect *prospect) {
    const struct range_descriptor *descriptor = prospect->now->descriptor;
    if (!prospect->to || !prospect->from || is_learner(prospect->to) || is_learner(prospect->from))
        return false;
    uint32_t voters = 0;
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        if (!is_learner(&descriptor->replicas[i])) voters++;
    if (voters <= 2) return false;
    settle(prospect, REPLICA_STEP_REFUSED,
           "node %" PRIu64 " has a voter already: moving another one there would leave the range "
           "with one voter less; if that is meant: flotilla admin remove-replica",
           prospect->goal->to);
    return true;
}

/* Who would vote after the step, and whether a majority of them answers. */
static bool refuse_lost_quorum(const struct prospect *prospect) {
    const struct range_descriptor *descriptor = prospect->now->descriptor;
    uint32_t voters = 0, answering = 0;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        const struct range_replica_ref *replica = &descriptor->replicas[i];
        if (replica == prospect->from || (is_learner(replica) && replica != prospect->to)) continue;
        voters++;
        if (answers(prospect->now, replica)) answering++;
    }
    uint64_t node = prospect->goal->from;
    if (voters == 0) {
        settle(prospect, REPLICA_STEP_REFUSED,
               "node %" PRIu64 " has the last voter: the range would be lost; give another node a "
               "replica first",
               node);
    } else if (answering <= voters / 2) {
        settle(prospect, REPLICA_STEP_UNSAFE,
               "without node %" PRIu64 " only %" PRIu32 " of %" PRIu32 " voters would answer, no "
               "majority: replace a replica that does not answer instead, or start its node",
               node, answering, voters);
    } else if (!prospect->goal->to && !prospect->goal->force && answering <= voters / 2 + 1) {
        settle(prospect, REPLICA_STEP_REFUSED,
               "without node %" PRIu64 " the range has %" PRIu32 " voters, %" PRIu32
               " of which answer, and stands still when one more fails: give another node a "
               "replica first (move-replica does both), or say --force",
               node, voters, answering);
    } else {
        return false;
    }
    return true;
}

static bool wait_for_learner(const struct prospect *prospect) {
    if (!is_learner(prospect->to)) return false;
    const struct range_replica_progress *progress =
        replica_progress_of(prospect->now, prospect->to);
    uint64_t node = prospect->goal->to;
    if (!progress || !progress->active)
        settle(prospect, REPLICA_STEP_WAIT, "the learner on node %" PRIu64 " does not answer yet",
               node);
    else if (progress->gets_snapshot || progress->match == 0)
        settle(prospect, REPLICA_STEP_WAIT, "the learner on node %" PRIu64 " gets a snapshot",
               node);
    else if (replica_lag(prospect->now, progress) > RANGE_PROMOTE_LAG_MAX)
        settle(prospect, REPLICA_STEP_WAIT, "the learner on node %" PRIu64 " catches up", node);
    else
        return false;
    return true;
}

/* ---- steps ---- */

/* The voter that is furthest with the log, of those that answer. */
static const struct range_replica_ref *successor(const struct prospect *prospect) {
    const struct router_replicas *now = prospect->now;
    const struct range_replica_ref *best = NULL;
    uint64_t best_match = 0;
    for (uint32_t i = 0; i < now->descriptor->replica_count; i++) {
        const struct range_replica_ref *replica = &now->descriptor->replicas[i];
        if (replica == prospect->from || is_learner(replica) || !answers(now, replica)) continue;
        uint64_t match = replica_progress_of(now, replica)->match;
        if (best && match <= best_match) continue;
        best = replica;
        best_match = match;
    }
    return best;
}

static void step_add_learner(const struct prospect *prospect) {
    if (prospect->now->descriptor->replica_count >= RANGE_REPLICAS_MAX) {
        settle(prospect, REPLICA_STEP_REFUSED, "the range has %u replicas, which is the limit",
               RANGE_REPLICAS_MAX);
        return;
    }
    add_change(prospect, RANGE_ADD_LEARNER, prospect->goal->to);
    settle(prospect, REPLICA_STEP_CHANGE, "adding a learner on node %" PRIu64, prospect->goal->to);
}

/* The one voter of a range has nobody to hand over to before the learner votes beside it. */
static void step_hand_over(const struct prospect *prospect) {
    const struct range_replica_ref *heir = successor(prospect);
    if (heir) {
        prospect->step->transfer_to = heir->node_id;
        settle(prospect, REPLICA_STEP_TRANSFER, "handing the leadership to node %" PRIu64,
               heir->node_id);
        return;
    }
    add_change(prospect, RANGE_PROMOTE, prospect->goal->to);
    settle(prospect, REPLICA_STEP_CHANGE, "promoting the learner on node %" PRIu64,
           prospect->goal->to);
}

static void step_swap(const struct prospect *prospect) {
    const struct replica_goal *goal = prospect->goal;
    bool promotes = is_learner(prospect->to);
    if (promotes) add_change(prospect, RANGE_PROMOTE, goal->to);
    if (prospect->from) add_change(prospect, RANGE_REMOVE, goal->from);
    if (promotes && prospect->from)
        settle(prospect, REPLICA_STEP_CHANGE,
               "promoting the learner on node %" PRIu64 " and removing the replica on node "
               "%" PRIu64 ", in one step",
               goal->to, goal->from);
    else if (promotes)
        settle(prospect, REPLICA_STEP_CHANGE, "promoting the learner on node %" PRIu64, goal->to);
    else
        settle(prospect, REPLICA_STEP_CHANGE, "removing the replica on node %" PRIu64, goal->from);
}

void replica_goal_next(const struct replica_goal *goal, const struct router_replicas *now,
                       struct replica_step *ret_step) {
    *ret_step = (struct replica_step){0};
    struct prospect prospect = {.goal = goal, .now = now, .step = ret_step};
    if (goal->to) prospect.to = range_descriptor_on_node(now->descriptor, goal->to);
    if (goal->from) prospect.from = range_descriptor_on_node(now->descriptor, goal->from);
    bool has_voter = !goal->to || (prospect.to && prospect.to->role == RANGE_VOTER);
    if (now->descriptor->joint) {
        settle(&prospect, REPLICA_STEP_WAIT, "a change of the replicas is under way");
        return;
    }
    if (has_voter && !prospect.from) {
        settle(&prospect, REPLICA_STEP_DONE, "as asked for");
        return;
    }
    if (refuse_nothing_to_move(&prospect) || refuse_lost_copy(&prospect)) return;
    if (goal->to && !prospect.to) {
        step_add_learner(&prospect);
        return;
    }
    if (wait_for_learner(&prospect)) return;
    if (prospect.from && !is_learner(prospect.from) && refuse_lost_quorum(&prospect)) return;
    if (prospect.from && now->leader_node == goal->from)
        step_hand_over(&prospect);
    else
        step_swap(&prospect);
}
