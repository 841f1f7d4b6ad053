/* Who is refused because too much waits, and how much the log is given. */
#ifndef FLOTILLA_RANGE_OVERLOAD_H
#define FLOTILLA_RANGE_OVERLOAD_H

#include "base/pace.h"
#include <stddef.h>

struct raft_entry;
struct range_client;
struct range_pending;
struct range_replica;

/* Of a replica, and of all replicas of a worker together. */
struct range_load {
    struct pace pace;      /* waiting commands, and those in this leadership's log */
    uint64_t waiting_work; /* of it: of the waiting commands */
    uint64_t log_us;       /* of a replica: from proposal to answer, of late (a moving average) */
};

/* Whether there is time enough for a command, as far as can be known. */
bool range_overload_admits(const struct range_replica *replica, uint64_t deadline_us);
/* A command's way: it waits; and is taken back, or goes into the log; and is applied there, whether
 * somebody still waits for its answer or not. */
void range_overload_enter(const struct range_pending *pending);
void range_overload_withdraw(const struct range_pending *pending);
void range_overload_propose(const struct range_pending *pending);
void range_overload_apply(struct range_replica *replica, const struct raft_entry *entry,
                          size_t command_bytes);
void range_overload_answer(const struct range_pending *pending);
/* The leadership is over; nothing waits any more. */
void range_overload_forget(struct range_replica *replica);
/* Work that the log is to be given now, by a command at least; 0: none, commands wait outside,
 * where they can be refused. */
uint64_t range_overload_log_room(const struct range_replica *replica);
uint64_t range_overload_work(const struct range_pending *pending);
/* A waiting command would be answered UNKNOWN. */
bool range_overload_late(const struct range_pending *pending);
/* BUSY, with a time to come back that follows from how many are refused. */
void range_overload_refuse(struct range_replica *replica, struct range_client *client,
                           uint64_t call_id);
void range_overload_refuse_pending(struct range_pending *pending); /* and frees it */

#endif
