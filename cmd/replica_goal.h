/* What an operator wants of a range's replicas, and the next step towards it from where the range
 * stands now. A pure function: whoever asks looks at the range, takes one step, and looks again. So
 * a move that was interrupted anywhere, or whose last step has an unknown outcome, goes on from the
 * descriptor and from nothing else. */
#ifndef FLOTILLA_CMD_REPLICA_GOAL_H
#define FLOTILLA_CMD_REPLICA_GOAL_H

#include "range/router/router.h"

/* Node `to` shall have a voter, node `from` no replica; 0: none such. At least one is not 0, and
 * they differ. */
struct replica_goal {
    uint64_t to, from;
    bool force; /* a removal may leave the range one failure from standing still */
};

enum replica_step_kind {
    REPLICA_STEP_DONE,     /* the goal is reached */
    REPLICA_STEP_REFUSED,  /* it cannot be reached: text */
    REPLICA_STEP_UNSAFE,   /* not while others are away; refused if it stays so: text */
    REPLICA_STEP_WAIT,     /* the range does something by itself first: text */
    REPLICA_STEP_TRANSFER, /* leadership to `transfer_to` */
    REPLICA_STEP_CHANGE,   /* `changes`, as one */
};

struct replica_step {
    enum replica_step_kind kind;
    uint64_t transfer_to;
    uint32_t change_count;
    struct range_replica_change changes[2];
    char text[256]; /* what the step is, for people */
};

void replica_goal_next(const struct replica_goal *goal, const struct router_replicas *now,
                       struct replica_step *ret_step);

const char *replica_role_name(enum range_replica_role role);
/* Of a replica; NULL: the leader has not told. */
const struct range_replica_progress *replica_progress_of(const struct router_replicas *now,
                                                         const struct range_replica_ref *replica);
uint64_t replica_lag(const struct router_replicas *now,
                     const struct range_replica_progress *progress);

#endif
