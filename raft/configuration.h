/* Membership as a value: which changes lead from one configuration to which other (thesis 4).
 *
 * C1  A simple change alters the voters by at most one, so that old and new majorities overlap.
 * C2  Anything else goes through a joint configuration, in which both halves must agree (4.3).
 * C3  A learner is not a voter of either half; a voter of the outgoing half that is to become a
 *     learner waits in learners_next until the joint configuration is left.
 * C4  No configuration but the one a replica is born with is without voters. */
#ifndef FLOTILLA_RAFT_CONFIGURATION_H
#define FLOTILLA_RAFT_CONFIGURATION_H

#include "raft/id_set.h"
#include "raft/progress.h"
#include "raft/raft.h"

/* A configuration on its way to the next one. */
struct raft_conf_edit {
    struct raft_conf_state conf;
    struct raft_id_set members; /* everyone with a progress: voters of both halves, learners */
    struct raft_id_set fresh;   /* members whose progress starts anew */
};

/* Which way a change goes. */
enum raft_conf_step { RAFT_CONF_SIMPLE, RAFT_CONF_ENTER_JOINT, RAFT_CONF_LEAVE_JOINT };
enum raft_conf_step raft_conf_change_step(const struct raft_conf_change *change);
/* Whether entering the joint configuration asks to leave it by itself. */
bool raft_conf_change_auto_leave(const struct raft_conf_change *change);

bool raft_conf_state_valid(const struct raft_conf_state *conf);
bool raft_conf_state_joint(const struct raft_conf_state *conf);
bool raft_conf_state_is_voter(const struct raft_conf_state *conf, uint64_t id); /* either half */
bool raft_conf_state_is_singleton(const struct raft_conf_state *conf);
void raft_conf_state_members(const struct raft_conf_state *conf, struct raft_id_set *ret_members);

/* INVALID: the change breaks one of C1 to C4 or does not start from `conf`; TOO_LARGE: more than
 * RAFT_REPLICAS_MAX members. ret_edit is untouched then. */
enum status raft_conf_simple(const struct raft_conf_state *conf,
                             const struct raft_conf_change *change,
                             struct raft_conf_edit *ret_edit) MUST_CHECK;
enum status raft_conf_enter_joint(const struct raft_conf_state *conf,
                                  const struct raft_conf_change *change, bool auto_leave,
                                  struct raft_conf_edit *ret_edit) MUST_CHECK;
enum status raft_conf_leave_joint(const struct raft_conf_state *conf,
                                  struct raft_conf_edit *ret_edit) MUST_CHECK;
/* The step that the change itself asks for. */
enum status raft_conf_apply(const struct raft_conf_state *conf,
                            const struct raft_conf_change *change,
                            struct raft_conf_edit *ret_edit) MUST_CHECK;

/* Followers in ascending order of id. */
struct raft_progress_set {
    struct raft_progress *items;
    uint32_t count;
};

struct raft_progress *raft_progress_find(const struct raft_progress_set *set, uint64_t id);
/* Brings the set in line with an edit: who stays keeps what is known, who is new is probed. */
void raft_progress_set_follow(struct raft_progress_set *set, const struct raft_conf_edit *edit,
                              uint64_t last_index, const struct raft_progress_limits *limits);
void raft_progress_set_done(struct raft_progress_set *set);

#endif
