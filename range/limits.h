/* Bounds of the range store: every queue, batch and in-flight count of the folder, and how they
 * relate. Reaching one of the queue bounds is answered with BUSY; the others shape the work. */
#ifndef FLOTILLA_RANGE_LIMITS_H
#define FLOTILLA_RANGE_LIMITS_H

#include <stdint.h>

#include "raft/raft.h"
#include "range/request.h"
#include "txn/limits.h"

#define RANGE_WORKERS_MAX 64u

/* A bound that tests may draw closer (range_store_config): 0 is as it is here. */
static inline uint32_t range_limit(uint32_t configured, uint32_t limit) {
    return configured > 0 && configured < limit ? configured : limit;
}

/* ---- a worker's mailbox: frames waiting for the next turn ---- */
/* Of each lane. */
#define RANGE_MAILBOX_ITEMS_MAX 8192u
#define RANGE_MAILBOX_BYTES_MAX (64u << 20)
/* What a turn takes out, and one frame more: work of some 20 ms for small commands, and enough that
 * what a disk write costs is shared by many. */
#define RANGE_TURN_NODES_BYTES (16u << 20)
#define RANGE_TURN_CLIENTS_BYTES (2u << 20)
/* One frame of requests, Raft messages or snapshot data: what rpc/ lets through in one message. */
#define RANGE_FRAME_BYTES_MAX (16u << 20)
/* An outgoing frame that has grown to this is sent before the turn ends. */
#define RANGE_FRAME_FLUSH_BYTES (1u << 20)

/* ---- commands and reads that wait for something, per range and per worker ---- */
#define RANGE_PENDING_MAX 16384u
#define RANGE_PENDING_BYTES_MAX (32u << 20)
#define RANGE_WORKER_PENDING_MAX 65536u
#define RANGE_WORKER_PENDING_BYTES_MAX (128u << 20)
/* Waiting requests borrow from the frames they came in, and one small request keeps its whole
 * frame: so the frames are bounded, too. */
#define RANGE_WORKER_HELD_BYTES_MAX (64u << 20)
#define RANGE_RETRY_AFTER_US 5000u
#define RANGE_TIMEOUT_US_DEFAULT 5000000u
#define RANGE_TIMEOUT_US_MAX 600000000u

/* Commands wait for a timestamp so long, then they are refused: less than a router's patience with
 * a silent node (ROUTER_ATTEMPT_TIMEOUT_US_DEFAULT), so that it hears the reason. */
#define RANGE_TIMESTAMP_PATIENCE_US 400000u

/* ---- overload (overload.c) ---- */
/* What a command costs beside its bytes, in bytes. */
#define RANGE_WORK_PER_COMMAND 512u
/* The log is given what it does in this part of an election time-out; more waits outside, where it
 * can be refused. A disk write that takes longer than a time-out costs leaders; and time-outs are a
 * few round trips long wherever nodes are, so the log never runs dry for it. */
#define RANGE_LOG_ELECTIONS_DIVISOR 2u
/* As much work a range's log is always given, and all of a worker together so many times that. */
#define RANGE_LOG_WORK_MIN (1u << 20)
#define RANGE_WORKER_LOG_WORK_FACTOR 2u

/* ---- log entries ---- */
/* While an entry of a range is on its way, commands gather for the next one (group commit): until
 * it is applied, until so many wait, or until it has been on its way for so long. The last bound
 * is for clusters whose nodes are far apart; it is looked at with the worker's ticks. A worker with
 * much to do is late by itself, and saves most by gathering: for it the bound is so many of the
 * turns that it makes of late. */
#define RANGE_GATHER_COMMANDS_MAX 128u
#define RANGE_GATHER_US_MAX 20000u
#define RANGE_GATHER_TURNS 64u
#define RANGE_ENTRY_COMMANDS_MAX 512u
/* Commands are packed together up to here; a larger one has an entry of its own. */
#define RANGE_ENTRY_BYTES_MAX (256u << 10)
#define RANGE_APPEND_BYTES_MAX (1u << 20)
#define RANGE_APPLY_BYTES_MAX (4u << 20)
#define RANGE_INFLIGHT_MESSAGES_MAX 256u
#define RANGE_INFLIGHT_BYTES_MAX (32u << 20)
#define RANGE_UNCOMMITTED_BYTES_MAX (64u << 20)
/* Of it, a follower that lacks what is committed has so much on the way, or twice what is not
 * committed: who catches up, a few seconds' worth of log perhaps, is fed beside those who write. */
#define RANGE_CATCH_UP_BYTES (1u << 20)
/* Log entries in memory, per range: until they are applied, and afterwards for followers that are a
 * little behind (older ones are read from the log). A thousand ranges that each keep what they
 * have done would fill memory with it, and every new entry would come to lie where none was before.
 */
#define RANGE_CACHE_BYTES_MAX (256u << 10)
#define RANGE_CACHE_APPLIED_BYTES_MAX (4u << 10)

/* ---- reads ---- */
#define RANGE_READ_ROUNDS_MAX 8u /* ReadIndex contexts of one range under way */
/* Work is counted in steps (storage/mvcc.h): rows of the engine that are looked at, whether a
 * client gets to see them or not. A read ends early after so many. Those that come in a turn are
 * answered at once until they have taken as much together; what is left waits, and is served until
 * all of the turn's have taken twice as much. So a turn makes three times as many at most, and
 * serves at least one that waits. A step takes a third of a microsecond from memory, two on a
 * machine that has other things to do: a write, which takes three turns, waits for tens of
 * milliseconds at worst, and a heartbeat for less. */
#define RANGE_READ_STEPS_MAX 4096u
#define RANGE_GET_STEPS 2u /* of a key that is looked up */

/* ---- turns ---- */
#define RANGE_LATE_TICKS_MAX 3u   /* delivered after a pause, however long it was */
#define RANGE_READY_ROUNDS_MAX 8u /* ready works taken of one range in one phase of a turn */
#define RANGE_APPLY_ROUNDS_MAX 4u /* engine writes of effects in one turn */
/* A round that has applied so much is over, and the turn with it: the next one hears the others,
 * beats, and sends what is to be replicated before it goes on applying. */
#define RANGE_APPLY_ROUND_COMMANDS 4096u
#define RANGE_APPLY_ROUND_BYTES (8u << 20)
/* The same in steps of commands (txn/limits.h): rows and KiB that they look at. */
#define RANGE_APPLY_ROUND_STEPS 16384u

/* ---- apply states (positions.h) ---- */
#define RANGE_POSITION_SLOTS 64u /* rows that hold the states of a round each, per worker */
#define RANGE_POSITION_ROW_MAX \
    4096u /* states in one of them; further ones have rows of their own */

/* ---- quiet ranges ---- */
#define RANGE_WAKES_PER_TICK 256u /* of those that lost their leader's node, per worker */

/* ---- figures ---- */
/* Lines about single slow writes that a worker logs. */
#define RANGE_TRACES_PER_S 10u
/* Ranges and nodes that have figures of their own; those beyond count in the sums only. */
#define RANGE_LABELLED_RANGES_MAX 64u
#define RANGE_LABELLED_NODES_MAX 32u

/* ---- log compaction ---- */
#define RANGE_COMPACT_STEP 256u      /* compaction begins when at least so many entries may go */
#define RANGE_COMPACT_TURN_MAX 1024u /* point deletes of one range in one turn */
#define RANGE_LOG_TAIL 128u          /* applied entries a leader keeps although all have them */
/* A snapshot under way, and its receiver until it has caught up, protect the log from the
 * snapshot's index on up to this, or up to log_*_kept if that is more, per range: whichever of the
 * two is reached first. Beyond it writes come faster than the receiver can follow, and the log is
 * cut. */
#define RANGE_LOG_SNAPSHOT_ENTRIES_MAX 1000000u
#define RANGE_LOG_SNAPSHOT_BYTES_MAX (512u << 20)

/* ---- snapshots ---- */
#define RANGE_SNAPSHOT_CHUNK_BYTES (256u << 10)
#define RANGE_SNAPSHOT_WINDOW 4u       /* chunks on the way without acknowledgement */
#define RANGE_SNAPSHOT_SENDS_MAX 4u    /* per worker */
#define RANGE_SNAPSHOT_RECEIVES_MAX 4u /* per worker */
#define RANGE_SNAPSHOT_RESEND_US 300000u
#define RANGE_SNAPSHOT_ABANDON_US 10000000u

/* ---- where a new range's log begins ----
 * Every replica that is there at birth starts as if it had a snapshot at this position. A replica
 * that is added later starts at zero, below it, so it can only begin with a snapshot, never with a
 * log that lacks the range's initial state. */
#define RANGE_INITIAL_INDEX 10u
#define RANGE_INITIAL_TERM 5u
#define RANGE_INITIAL_CONF_VERSION 1u /* placement gives it to the ranges that it makes */

/* Leadership transfers are tried again after so many election time-outs. */
#define RANGE_TRANSFER_RETRY_ELECTIONS 2u

/* ---- changes of replicas ---- */
/* Replicas that one which is behind remembers although its descriptor does not list them yet. */
#define RANGE_PEER_CACHE_MAX 4u
/* A learner may become a voter when it lacks at most so many committed entries. */
#define RANGE_PROMOTE_LAG_MAX 256u
/* A joint configuration that was not left after so many election time-outs is left again. */
#define RANGE_LEAVE_RETRY_ELECTIONS 2u

_Static_assert(RANGE_MAILBOX_ITEMS_MAX >= 16 * RANGE_SNAPSHOT_WINDOW,
               "snapshots must not crowd everybody else out of a mailbox");
_Static_assert(RANGE_REPLICAS_MAX <= RAFT_REPLICAS_MAX, "every replica of a range is in its group");
_Static_assert(RANGE_PENDING_BYTES_MAX + TXN_COMMAND_BYTES_MAX <= RANGE_UNCOMMITTED_BYTES_MAX,
               "what the range admits, its log takes: the queue is the bound that answers BUSY");
_Static_assert(TXN_COMMAND_BYTES_MAX + (1u << 20) <= RANGE_FRAME_BYTES_MAX,
               "the largest command travels in one frame, as a request and as a log entry");
_Static_assert(RANGE_REPLY_BYTES_MAX + TXN_VALUE_BYTES_MAX + RANGE_FRAME_FLUSH_BYTES <=
                   RANGE_FRAME_BYTES_MAX,
               "a frame that is not yet flushed has room for the largest reply");
_Static_assert(RANGE_REPLY_BYTES_MAX + TXN_VALUE_BYTES_MAX <= (4u << 20),
               "whatever a page ends with, a client with gRPC's own limit takes it");
_Static_assert(RANGE_SNAPSHOT_CHUNK_BYTES + 2u * TXN_VALUE_BYTES_MAX <= RANGE_FRAME_BYTES_MAX,
               "a chunk may pass its size by one record");
_Static_assert(RANGE_APPEND_BYTES_MAX + TXN_COMMAND_BYTES_MAX + RANGE_FRAME_FLUSH_BYTES <=
                   RANGE_FRAME_BYTES_MAX,
               "an append with the largest entry still fits behind a frame not yet flushed");

#endif
