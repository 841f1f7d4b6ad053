/* Small sorted sets of replica ids: struct raft_id_set as a value. */
#ifndef FLOTILLA_RAFT_ID_SET_H
#define FLOTILLA_RAFT_ID_SET_H

#include "raft/raft.h"

bool raft_id_set_has(const struct raft_id_set *set, uint64_t id);
/* False when the set is full; adding twice is harmless. */
bool raft_id_set_add(struct raft_id_set *set, uint64_t id) MUST_CHECK;
void raft_id_set_remove(struct raft_id_set *set, uint64_t id);
bool raft_id_set_equal(const struct raft_id_set *a, const struct raft_id_set *b);
/* Ascending, without duplicates or id 0, within bounds. */
bool raft_id_set_valid(const struct raft_id_set *set);

#endif
