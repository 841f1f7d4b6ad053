/* Raft messages and time, into the Raft cores. */
#ifndef FLOTILLA_RANGE_STEP_H
#define FLOTILLA_RANGE_STEP_H

#include "base/slice.h"

struct range_worker;

void range_step_frame(struct range_worker *worker, uint64_t from_node, struct slice frame);
void range_step_ticks(struct range_worker *worker);
void range_step_unreachable(struct range_worker *worker, uint64_t node_id);

#endif
