/* Where the time of a write goes at its leader. Every answered write is divided into stages that
 * follow each other without a gap, so that they add up to the time it was here:
 *
 *   mailbox    in the worker's mailbox, until a turn takes it out
 *   gather     waits for others to share an entry with, while the one before is on its way, and
 *              for the timestamps under way, which are not for it
 *   timestamp  waits for a commit timestamp
 *   propose    from the timestamp's turn until its entry is on the way: encoded, sent to followers,
 *              handed to the disk
 *   quorum     until this leader begins to apply it: its own disk and a majority of the others work
 *              side by side here
 *   apply      the round of effects it was in, engine write included
 *   reply      until the frame with its answer is handed to the transport
 *
 * Beside them, as parts of the quorum: fsync, the leader's own disk; and for each follower's node
 * the time from an append to its acknowledgement (network, its mailbox, its disk). The quorum does
 * not wait for the slowest of these, so they are figures of their own: a follower that is slow
 * shows there and nowhere else.
 *
 * Cost. The clock is read a few times per turn, never per command. Commands of one frame that share
 * a log entry went the same way and are counted together, as a run. Appends are timed one at a
 * time per range and follower. Nothing is allocated per request, and nothing is locked. */
#ifndef FLOTILLA_RANGE_STAGES_H
#define FLOTILLA_RANGE_STAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct metric;
struct raft_message;
struct range_pending;
struct range_replica;
struct range_worker;

/* When a turn's log batch went to the disk and came back. */
struct range_turn_stamp {
    uint64_t turn; /* number; 0: unused */
    uint64_t sent_us;
    uint64_t synced_us; /* 0: not yet */
};

/* Commands that were answered in one turn and went the same way. */
struct range_stage_run {
    uint64_t range_id, index, call_id; /* of the log entry; of the first command */
    uint64_t arrived_us, admitted_us, asked_us, proposed_us, turn;
    uint64_t committed_us, applied_us; /* of the apply round; set when it is over */
    struct metric *by_range;           /* NULL: too many ranges for figures of their own */
    uint32_t count;
};

struct range_stages {
    uint64_t turn;                        /* number of the next turn that will be synced; from 1 */
    struct range_turn_stamp stamps[4096]; /* by number, modulo */
    struct range_stage_run *runs;         /* of this turn */
    uint32_t run_count, run_cap;
    uint32_t applied_count; /* runs whose round is over */
    /* Traces of slow requests: at most RANGE_TRACES_PER_S in each second. */
    uint64_t second_us;
    uint32_t traced, untraced;
};

/* One append on its way to a follower, timed. */
struct range_append_probe {
    uint64_t index; /* of its last entry; 0: none is being timed */
    uint64_t sent_us;
};

/* Of a replica that leads. */
struct range_replica_stages {
    struct range_append_probe *probes; /* by place in the descriptor; NULL: it does not lead */
    struct metric *write_latency;      /* of this range; NULL: none of its own */
};

void range_stages_init(struct range_stages *stages);
void range_stages_done(struct range_stages *stages);

/* The turn's messages have left and its batch goes to the disk next. */
void range_stages_sent(struct range_worker *worker);
/* The batch is durable as of worker->now_us. */
void range_stages_synced(struct range_worker *worker);
/* The command is about to be answered from the present apply round. */
void range_stages_answered(const struct range_pending *pending);
void range_stages_applied(struct range_worker *worker, uint64_t begin_us, uint64_t end_us);
/* The turn's answers have left: records their stages. */
void range_stages_flush(struct range_worker *worker);
/* Its deadline has passed: the trace says what it was waiting for. */
void range_stages_expired(const struct range_pending *pending);

/* Of a leader. */
void range_stages_lead(struct range_replica *replica);
void range_stages_follow(struct range_replica *replica);  /* no longer, or going away */
void range_stages_changed(struct range_replica *replica); /* the descriptor's places have changed */
void range_stages_append(struct range_replica *replica, const struct raft_message *message);
void range_stages_acknowledged(struct range_replica *replica, const struct raft_message *message);

#endif
