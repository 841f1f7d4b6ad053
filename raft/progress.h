/* What a leader knows about one follower's log, and how fast it may feed it (thesis 3.5, 10.2).
 *
 * States: PROBE sends one append per heartbeat round until the logs are known to match;
 * REPLICATE sends optimistically within the in-flight window; SNAPSHOT waits for a snapshot to
 * arrive. Transitions:
 *   PROBE     -> REPLICATE  an append or a probe was acknowledged raft_progress_become_replicate
 *   PROBE     -> SNAPSHOT   the log the follower needs was compacted  raft_progress_become_snapshot
 *   REPLICATE -> PROBE      rejection, or the follower is unreachable raft_progress_become_probe
 *   REPLICATE -> SNAPSHOT   as from PROBE
 *   SNAPSHOT  -> PROBE      snapshot reported as sent or failed       raft_progress_become_probe
 *   SNAPSHOT  -> REPLICATE  an acknowledgement that reconnects to the log
 * Invariants: match < next; in SNAPSHOT next == pending_snapshot + 1 when it was entered. */
#ifndef FLOTILLA_RAFT_PROGRESS_H
#define FLOTILLA_RAFT_PROGRESS_H

#include "raft/quorum.h"
#include "raft/raft.h"

struct raft_inflight {
    uint64_t index; /* last entry of the message */
    uint64_t bytes; /* payload */
};

/* A ring of appends on their way, oldest first. */
struct raft_inflights {
    struct raft_inflight *ring;
    uint32_t cap; /* power of two, or 0 before the first use */
    uint32_t head, count;
    uint64_t bytes;
    uint32_t messages_max; /* 0: unlimited */
    uint64_t bytes_max;    /* 0: unlimited; the message that crosses it is still sent */
};

void raft_inflights_add(struct raft_inflights *inflights, uint64_t index, uint64_t bytes);
/* Frees the messages whose last entry is at or below `index`. */
void raft_inflights_free_to(struct raft_inflights *inflights, uint64_t index);
bool raft_inflights_full(const struct raft_inflights *inflights);
void raft_inflights_clear(struct raft_inflights *inflights);
/* Gives the ring back if nothing is on its way. */
void raft_inflights_shrink(struct raft_inflights *inflights);

enum raft_progress_state { RAFT_PROGRESS_PROBE, RAFT_PROGRESS_REPLICATE, RAFT_PROGRESS_SNAPSHOT };

struct raft_progress {
    uint64_t id;
    uint64_t match;             /* the follower's log equals the leader's up to here */
    uint64_t next;              /* next entry to send */
    uint64_t commit_sent;       /* highest commit index on its way to the follower */
    uint64_t pending_snapshot;  /* index of the snapshot on its way; 0: none */
    uint64_t read_acked;        /* ReadIndex position of the newest heartbeat it answered (6.4) */
    uint64_t promised_until_us; /* own clock: it helps to elect no other before (6.4.1) */
    uint64_t match_us;          /* now_us when `match` was acknowledged; 0: no time was known */
    uint64_t match_answered;    /* `match` when it last answered a heartbeat */
    uint64_t sent_tick;         /* raft->ticks when an append or heartbeat was last sent to it */
    uint64_t heard_tick;        /* raft->ticks when it last answered one */
    enum raft_progress_state state;
    enum raft_vote vote; /* in the election going on, candidates only */
    bool learner;
    bool recently_active; /* heard from since the last check-quorum */
    bool left_behind;     /* the group is quiet although this replica lacks something */
    bool log_lost;        /* it denied what it had acknowledged: raft_progress_denies */
    bool paused;          /* probe on its way, or window full: wait for a response */
    struct raft_inflights inflights;
};

struct raft_progress_limits {
    uint32_t inflight_messages_max;
    size_t inflight_bytes_max;
};

/* A follower that was just added: probed from `next`, counted as active until heard otherwise. */
void raft_progress_init(struct raft_progress *progress, uint64_t id, uint64_t next,
                        const struct raft_progress_limits *limits);
void raft_progress_done(struct raft_progress *progress);
/* Forgets everything of an earlier term; the role in the group stays. */
void raft_progress_reset(struct raft_progress *progress, uint64_t next);
void raft_progress_become_probe(struct raft_progress *progress);
void raft_progress_become_replicate(struct raft_progress *progress);
void raft_progress_become_snapshot(struct raft_progress *progress, uint64_t snapshot_index);
bool raft_progress_paused(const struct raft_progress *progress);
/* An append with `count` entries from `next` on was sent. */
void raft_progress_sent_entries(struct raft_progress *progress, uint32_t count, uint64_t bytes);
/* Whether telling this commit index can move the follower's forward. */
bool raft_progress_can_bump_commit(const struct raft_progress *progress, uint64_t commit);
/* The follower acknowledged up to `index`; false when that was known. */
bool raft_progress_acked(struct raft_progress *progress, uint64_t index, uint64_t now_us);
/* Whether a rejection of the append after `rejected`, which was sent at `sent_us`, takes back what
 * the follower had acknowledged before that. It is no late one: those echo earlier times. */
bool raft_progress_denies(const struct raft_progress *progress, uint64_t rejected,
                          uint64_t sent_us);
/* The follower rejected the append after `rejected` and hints at `hint`; false when stale. */
bool raft_progress_rejected(struct raft_progress *progress, uint64_t rejected, uint64_t hint);

#endif
