/* Bounds of the Raft core. Byte budgets are in raft_config; these bound what bytes do not: counts.
 */
#ifndef FLOTILLA_RAFT_LIMITS_H
#define FLOTILLA_RAFT_LIMITS_H

#include "raft/raft.h"

/* Entries in one append message. Empty entries weigh nothing, so bytes alone do not bound them. */
#define RAFT_APPEND_ENTRIES_MAX 1024u
/* Committed entries handed out in one ready work. */
#define RAFT_APPLY_ENTRIES_MAX 4096u
/* Entries read from storage in one piece when looking for an unapplied configuration change. */
#define RAFT_SCAN_ENTRIES_MAX 256u
/* Entries that a decoded message may hold: what any peer of this version can have sent. */
#define RAFT_MESSAGE_ENTRIES_MAX 4096u
/* ReadIndex requests waiting for a heartbeat round or for the first commit of the term. */
#define RAFT_READS_MAX 65536u
/* A reusable array above this many items is given back once a turn used less than a quarter. */
#define RAFT_KEPT_ITEMS_MAX 64u
/* Idle ready works kept for reuse. */
#define RAFT_KEPT_WORKS_MAX 4u
/* Terms and indexes beyond this are garbage: a sane group never gets there. */
#define RAFT_TERM_MAX (UINT64_C(1) << 62)
/* A term so far ahead of the own one is garbage too: elections come one after the other, and a
 * group that is led to the end of the terms by one message could never elect again. */
#define RAFT_TERM_STEP_MAX (UINT64_C(1) << 32)
#define RAFT_INDEX_MAX (UINT64_C(1) << 62)

_Static_assert(RAFT_APPEND_ENTRIES_MAX <= RAFT_MESSAGE_ENTRIES_MAX,
               "a leader must not send what a follower refuses to decode");
_Static_assert(RAFT_REPLICAS_MAX <= 32, "votes and sets are walked linearly");

#endif
