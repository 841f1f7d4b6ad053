/* The steps of a move of replicas, one look at a time. */
#include "cmd/replica_goal.h"

#include <criterion/criterion.h>

#include "range/limits.h"

#define COMMIT 1000u

/* A range as its leader describes it. Replica ids are the nodes' times ten; everybody answers and
 * has everything. */
struct picture {
    struct range_descriptor descriptor;
    struct range_replica_progress progress[RANGE_REPLICAS_MAX];
    struct router_replicas now;
    struct replica_step step;
};

static struct range_replica_progress *add(struct picture *picture, uint64_t node,
                                          enum range_replica_role role) {
    struct range_descriptor *descriptor = &picture->descriptor;
    uint32_t at = descriptor->replica_count++;
    descriptor->replicas[at] = (struct range_replica_ref){10 * node, node, role};
    picture->progress[at] = (struct range_replica_progress){10 * node, COMMIT, true, false};
    picture->now = (struct router_replicas){.descriptor = descriptor,
                                            .leader_node = picture->now.leader_node,
                                            .commit_index = COMMIT,
                                            .progress_count = descriptor->replica_count,
                                            .progress = picture->progress};
    return &picture->progress[at];
}

/* Voters on nodes 1, 2 and 3, led by node 1. */
static void three_voters(struct picture *picture) {
    *picture = (struct picture){.now = {.leader_node = 1}};
    for (uint64_t node = 1; node <= 3; node++)
        (void)add(picture, node, RANGE_VOTER);
}

static const struct replica_step *next(struct picture *picture, uint64_t from, uint64_t to) {
    struct replica_goal goal = {.to = to, .from = from};
    replica_goal_next(&goal, &picture->now, &picture->step);
    return &picture->step;
}

/* The same by an operator who means it. */
static const struct replica_step *next_forced(struct picture *picture, uint64_t from) {
    struct replica_goal goal = {.from = from, .force = true};
    replica_goal_next(&goal, &picture->now, &picture->step);
    return &picture->step;
}

static bool changes(const struct replica_step *step, enum range_replica_change_kind kind,
                    uint64_t node) {
    return step->kind == REPLICA_STEP_CHANGE && step->change_count == 1 &&
           step->changes[0].kind == kind && step->changes[0].node_id == node;
}

/* A new replica begins as a learner, and votes when it has caught up and not before. */
Test(replica_goal, a_learner_is_added_and_promoted_when_it_has_caught_up) {
    struct picture picture;
    three_voters(&picture);
    cr_assert(changes(next(&picture, 0, 4), RANGE_ADD_LEARNER, 4));
    struct range_replica_progress *learner = add(&picture, 4, RANGE_LEARNER);
    learner->match = 0;
    cr_assert_eq(next(&picture, 0, 4)->kind, REPLICA_STEP_WAIT);
    learner->match = COMMIT - RANGE_PROMOTE_LAG_MAX - 1;
    cr_assert_eq(next(&picture, 0, 4)->kind, REPLICA_STEP_WAIT);
    learner->match = COMMIT - RANGE_PROMOTE_LAG_MAX;
    cr_assert(changes(next(&picture, 0, 4), RANGE_PROMOTE, 4));
    learner->gets_snapshot = true;
    cr_assert_eq(next(&picture, 0, 4)->kind, REPLICA_STEP_WAIT);
    learner->gets_snapshot = false;
    learner->active = false;
    cr_assert_eq(next(&picture, 0, 4)->kind, REPLICA_STEP_WAIT);
    picture.descriptor.replicas[3].role = RANGE_VOTER;
    cr_assert_eq(next(&picture, 0, 4)->kind, REPLICA_STEP_DONE);
}

/* The last step of a move is one joint step: there is no moment with one voter less. */
Test(replica_goal, a_move_promotes_and_removes_in_one_step) {
    struct picture picture;
    three_voters(&picture);
    cr_assert(changes(next(&picture, 2, 4), RANGE_ADD_LEARNER, 4));
    (void)add(&picture, 4, RANGE_LEARNER);
    const struct replica_step *step = next(&picture, 2, 4);
    cr_assert(step->kind == REPLICA_STEP_CHANGE && step->change_count == 2);
    cr_assert(step->changes[0].kind == RANGE_PROMOTE && step->changes[0].node_id == 4);
    cr_assert(step->changes[1].kind == RANGE_REMOVE && step->changes[1].node_id == 2);
    picture.descriptor.replicas[1] = (struct range_replica_ref){40, 4, RANGE_VOTER};
    picture.descriptor.replica_count = 3;
    cr_assert_eq(next(&picture, 2, 4)->kind, REPLICA_STEP_DONE);
}

/* A leader that is to go hands over first, once the new replica is ready, to whoever is furthest.
 */
Test(replica_goal, a_leader_hands_over_before_it_goes) {
    struct picture picture;
    three_voters(&picture);
    add(&picture, 4, RANGE_LEARNER)->match = 0;
    cr_assert_eq(next(&picture, 1, 4)->kind, REPLICA_STEP_WAIT, "while it still leads");
    picture.progress[3].match = COMMIT;
    picture.progress[1].match = COMMIT - 5;
    const struct replica_step *step = next(&picture, 1, 4);
    cr_assert(step->kind == REPLICA_STEP_TRANSFER && step->transfer_to == 3);
    picture.progress[2].active = false;
    step = next(&picture, 1, 4);
    cr_assert(step->kind == REPLICA_STEP_TRANSFER && step->transfer_to == 2);
    picture.now.leader_node = 2;
    cr_assert_eq(next(&picture, 1, 4)->change_count, 2);
}

/* A move never ends with fewer voters than it began with. */
Test(replica_goal, a_move_to_where_a_voter_is_is_refused) {
    struct picture picture;
    three_voters(&picture);
    cr_assert_eq(next(&picture, 2, 3)->kind, REPLICA_STEP_REFUSED);
    cr_assert(strstr(picture.step.text, "already"), "%s", picture.step.text);
}

/* A range of one replica moves as well: both vote for a moment. */
Test(replica_goal, the_only_replica_can_move) {
    struct picture picture = {.now = {.leader_node = 1}};
    (void)add(&picture, 1, RANGE_VOTER);
    cr_assert(changes(next(&picture, 1, 4), RANGE_ADD_LEARNER, 4));
    (void)add(&picture, 4, RANGE_LEARNER);
    cr_assert(changes(next(&picture, 1, 4), RANGE_PROMOTE, 4));
    picture.descriptor.replicas[1].role = RANGE_VOTER;
    cr_assert_eq(next(&picture, 1, 4)->kind, REPLICA_STEP_TRANSFER);
    picture.now.leader_node = 4;
    cr_assert(changes(next(&picture, 1, 4), RANGE_REMOVE, 1));
}

/* What would lose the range is refused, whatever is asked for. */
Test(replica_goal, the_last_voter_stays) {
    struct picture picture = {.now = {.leader_node = 1}};
    (void)add(&picture, 1, RANGE_VOTER);
    (void)add(&picture, 4, RANGE_LEARNER);
    cr_assert_eq(next(&picture, 1, 0)->kind, REPLICA_STEP_REFUSED);
    cr_assert(strstr(picture.step.text, "last voter"), "%s", picture.step.text);
}

/* Removing one who answers while others do not can take the quorum away; replacing one who does not
 * answer cannot. */
Test(replica_goal, who_answers_is_not_removed_when_the_others_are_no_majority) {
    struct picture picture;
    three_voters(&picture);
    picture.progress[2].active = false; /* node 3 */
    cr_assert_eq(next(&picture, 2, 0)->kind, REPLICA_STEP_UNSAFE);
    cr_assert(changes(next_forced(&picture, 3), RANGE_REMOVE, 3));
    (void)add(&picture, 4, RANGE_LEARNER);
    cr_assert_eq(next(&picture, 3, 4)->change_count, 2);
    cr_assert_eq(next(&picture, 2, 4)->change_count, 2, "1 and 4 of 1, 3 and 4");
    picture.progress[0].active = false;
    picture.now.leader_node = 2;
    cr_assert_eq(next(&picture, 3, 0)->kind, REPLICA_STEP_UNSAFE);
}

/* A learner goes without further ado, and nothing is asked while a joint step is under way. */
Test(replica_goal, learners_are_removed_and_joint_steps_waited_for) {
    struct picture picture;
    three_voters(&picture);
    add(&picture, 4, RANGE_LEARNER)->active = false;
    cr_assert(changes(next(&picture, 4, 0), RANGE_REMOVE, 4));
    picture.descriptor.joint = true;
    cr_assert_eq(next(&picture, 4, 0)->kind, REPLICA_STEP_WAIT);
}

/* Run again after it was done, a command does nothing; from a node that has nothing, nothing moves;
 * but a move whose second half is missing is ended. */
Test(replica_goal, goes_on_from_wherever_the_range_stands) {
    struct picture picture;
    three_voters(&picture);
    cr_assert_eq(next(&picture, 4, 3)->kind, REPLICA_STEP_DONE);
    cr_assert_eq(next(&picture, 4, 0)->kind, REPLICA_STEP_DONE);
    cr_assert_eq(next(&picture, 0, 3)->kind, REPLICA_STEP_DONE);
    cr_assert_eq(next(&picture, 4, 5)->kind, REPLICA_STEP_REFUSED);
    (void)add(&picture, 5, RANGE_LEARNER);
    cr_assert(changes(next(&picture, 4, 5), RANGE_PROMOTE, 5));
    cr_assert_eq(next(&picture, 5, 6)->kind, REPLICA_STEP_REFUSED, "a learner is not moved");
}

/* The bound is named before the range is asked. */
Test(replica_goal, no_more_than_the_limit) {
    struct picture picture = {.now = {.leader_node = 1}};
    for (uint64_t node = 1; node <= RANGE_REPLICAS_MAX; node++)
        (void)add(&picture, node, RANGE_VOTER);
    cr_assert_eq(next(&picture, 0, 99)->kind, REPLICA_STEP_REFUSED);
}

/* A removal after which one failure stops the range is only for who says that it is meant. */
Test(replica_goal, a_removal_that_leaves_no_spare_voter_wants_force) {
    struct picture picture;
    three_voters(&picture);
    const struct replica_step *step = next(&picture, 3, 0);
    cr_assert_eq(step->kind, REPLICA_STEP_REFUSED);
    cr_assert(strstr(step->text, "--force") && strstr(step->text, "2 voters"), "%s", step->text);
    cr_assert(changes(next_forced(&picture, 3), RANGE_REMOVE, 3));
    struct range_replica_progress *fourth = add(&picture, 4, RANGE_VOTER);
    cr_assert(changes(next(&picture, 3, 0), RANGE_REMOVE, 3), "three are left");
    fourth->active = false;
    cr_assert_eq(next(&picture, 3, 0)->kind, REPLICA_STEP_REFUSED, "two of three answer");
    cr_assert(changes(next(&picture, 4, 0), RANGE_REMOVE, 4), "the dead one costs nothing");
    cr_assert_eq(next_forced(&picture, 1)->kind, REPLICA_STEP_TRANSFER, "who leads hands over");
}
