/* The Raft core: pure functions over a struct (Ongaro's thesis, with the section at each rule).
 *
 * It has no thread, clock, socket, file or randomness of its own. Whoever owns a `struct raft`
 * feeds it messages, ticks, proposals and the time, takes the ready work, and reports what became
 * durable and what was applied. Not thread-safe; one owner at a time; nothing here blocks.
 *
 * A turn of the owner (asynchronous storage writes, thesis 10.2.1):
 *
 *   raft_step / raft_tick / raft_propose / raft_read_index ...      any number
 *   while (raft_has_ready(raft)) {
 *       raft_ready(raft, &ready);
 *       send ready.messages                    at once: they promise nothing that is not durable
 *       put ready.snapshot, ready.entries, ready.hard_state into the batch
 *       apply ready.committed
 *       answer ready.read_states
 *   }
 *   sync the batch (all ranges together); then for each raft, in order of its ready works:
 *       raft_append_done(raft, &ready.append)  what is durable now
 *       send ready.messages_after_append       they promise what was just made durable; those whose
 *                                              `to` is this replica go to raft_step
 *   raft_apply_done(raft, index, bytes)        once entries up to index have been applied
 *
 * Order matters: works of one raft become durable in the order they were taken.
 *
 * Ownership: everything a ready work points at is borrowed. Messages and read states stay valid
 * until the next raft_ready; entries and the snapshot until the matching raft_append_done;
 * after-append messages until the first raft_ready after that raft_append_done; committed entries
 * until raft_apply_done has passed them. To keep an entry longer, take a reference on its payload.
 * Messages given to raft_step are only read; payloads are referenced.
 *
 * The synchronous style (async_storage_writes false) has one ready work out at a time: persist it,
 * only then send its messages (promises are among them), apply it, call raft_advance. */
#ifndef FLOTILLA_RAFT_RAFT_H
#define FLOTILLA_RAFT_RAFT_H

#include "base/log.h"
#include "base/payload.h"
#include "base/slice.h"
#include "base/status.h"

struct raft;

#define RAFT_NO_REPLICA 0u /* replica ids are positive */

/* Position in a log. Index and term travel together (thesis 3.5). */
struct raft_log_id {
    uint64_t term;
    uint64_t index;
};

enum raft_entry_kind {
    RAFT_ENTRY_NORMAL = 0,         /* empty data: the entry a new leader starts its term with */
    RAFT_ENTRY_CONF_CHANGE = 1,    /* one change, the older format */
    RAFT_ENTRY_CONF_CHANGE_V2 = 2, /* several changes, joint consensus (thesis 4.3) */
};

struct raft_entry {
    struct raft_log_id id;
    enum raft_entry_kind kind;
    struct payload *payload; /* NULL when empty */
};

/* What must survive a crash besides the log (thesis figure 3.1). */
struct raft_hard_state {
    uint64_t term;
    uint64_t vote; /* replica voted for in `term`, or RAFT_NO_REPLICA */
    uint64_t commit;
};

#define RAFT_REPLICAS_MAX                                                   \
    16u /* in one group, all roles and both halves of a joint configuration \
         */

/* Membership as persisted and as snapshots carry it. Sets are sorted ascending. */
struct raft_id_set {
    uint32_t count;
    uint64_t ids[RAFT_REPLICAS_MAX];
};

struct raft_conf_state {
    struct raft_id_set voters;          /* incoming half while joint */
    struct raft_id_set voters_outgoing; /* empty unless joint */
    struct raft_id_set learners;
    struct raft_id_set learners_next; /* voters_outgoing that become learners when joint ends */
    bool auto_leave;
};

struct raft_snapshot {
    struct raft_log_id id; /* last entry it contains */
    struct raft_conf_state conf;
    struct payload *data; /* opaque to the core: how to fetch the state; may be NULL */
};

enum raft_message_kind {
    RAFT_MSG_APPEND = 1,
    RAFT_MSG_APPEND_RESPONSE,
    RAFT_MSG_VOTE,
    RAFT_MSG_VOTE_RESPONSE,
    RAFT_MSG_PRE_VOTE,
    RAFT_MSG_PRE_VOTE_RESPONSE,
    RAFT_MSG_HEARTBEAT,
    RAFT_MSG_HEARTBEAT_RESPONSE,
    RAFT_MSG_SNAPSHOT,
    RAFT_MSG_TRANSFER_LEADER, /* forwarded by a follower */
    RAFT_MSG_TIMEOUT_NOW,
    RAFT_MSG_PROPOSE,    /* forwarded by a follower, unless forwarding is off */
    RAFT_MSG_READ_INDEX, /* from a follower */
    RAFT_MSG_READ_INDEX_RESPONSE,
    RAFT_MSG_FORGET_LEADER,
};

struct raft_message {
    enum raft_message_kind kind;
    uint64_t from, to; /* replica ids */
    uint64_t term;     /* 0: local to a term-less kind (forwarded proposals, ReadIndex) */
    struct raft_log_id
        log; /* append: entry before; vote: last entry; responses: see raft/README.md */
    uint64_t commit;
    bool reject;  /* heartbeat response: not quiet, whatever the leader believes (quiesce.c) */
    bool force;   /* vote requested by a leader transfer: overrides stickiness (4.2.3) */
    bool quiesce; /* heartbeat: the leader has gone quiet, and says at which position */
    uint64_t reject_hint; /* append response: highest index worth probing */
    uint64_t context;     /* ReadIndex token, echoed by heartbeats and their responses; 0: none */
    /* Vote refused: what the refusing replica knows to be committed; {0,0}: nothing. */
    struct raft_log_id committed;
    uint64_t sent_us; /* leader's monotonic clock when sent, echoed in responses: lease (6.4.1) */
    uint64_t promised_us; /* with an echo: how long the sender keeps still for it; 0: not at all */
    uint64_t truncated;   /* append: the leader keeps no entry up to here; 0: it has all */
    uint32_t entry_count;
    struct raft_entry *entries;
    struct raft_snapshot *snapshot; /* RAFT_MSG_SNAPSHOT only */
};

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER, RAFT_PRE_CANDIDATE };

/* The log as the owner keeps it. The core itself holds unstable entries and a bounded tail of
 * stable ones; it asks for older ones only to feed slow followers or after a restart. */
struct raft_storage {
    void *ctx;
    uint64_t (*first_index)(void *ctx); /* first entry still there: compacted index + 1 */
    uint64_t (*last_index)(void *ctx);
    /* Term at index; first_index-1 .. last_index must be answered. COMPACTED / NOT_FOUND otherwise.
     */
    enum status (*term)(void *ctx, uint64_t index, uint64_t *ret_term);
    /* Entries first..last (inclusive), at least one, then while they fit in max_bytes of payload.
     * The caller unrefs each payload. `ret_entries` has room for last-first+1. COMPACTED,
     * CORRUPTION, IO. */
    enum status (*entries)(void *ctx, uint64_t first, uint64_t last, size_t max_bytes,
                           struct raft_entry *ret_entries, uint32_t *ret_count);
    /* A snapshot for a follower that is behind first_index; payload reference passes to the caller.
     * BUSY: not ready, ask again later. */
    enum status (*snapshot)(void *ctx, uint64_t to, struct raft_snapshot *ret_snapshot);
};

enum raft_read_mode {
    RAFT_READ_QUORUM, /* ReadIndex, thesis 6.4 */
    RAFT_READ_LEASE, /* leader lease under lease_drift_ppm, thesis 6.4.1; falls back to ReadIndex */
};

struct raft_config {
    uint64_t id;             /* this replica */
    uint32_t election_ticks; /* time-out is drawn from [election_ticks, 2*election_ticks) */
    uint32_t heartbeat_ticks;
    uint64_t tick_us;          /* real length of a tick; lease arithmetic only */
    bool pre_vote;             /* 9.6 */
    bool check_quorum;         /* leader steps down without contact to a quorum; stickiness, 6.2 */
    bool async_storage_writes; /* always true in the store; false is the synchronous ready style */
    bool forward_proposals;    /* followers forward proposals; the store has it off */
    enum raft_read_mode read_mode;
    uint32_t lease_drift_ppm; /* bound on clock rate difference between any two replicas */
    /* The longest promise that an earlier life of this replica may have given (raft/README.md, L5):
     * it keeps still for so long after its start, whether or not it asks for leases itself, because
     * the promise was made to somebody else. The owner remembers it on disk. 0: there was none. */
    uint64_t restart_grace_us;
    size_t append_bytes_max; /* payload bytes in one append message; 0: unlimited */
    size_t apply_bytes_max;  /* committed-but-unapplied payload bytes handed out; 0: unlimited */
    uint32_t inflight_messages_max; /* appends on the way per follower; 0: unlimited */
    size_t inflight_bytes_max;      /* 0: unlimited */
    /* A follower has no more on the way than this or twice what is uncommitted, whichever is more:
     * who catches up gets about as much of disks and network as the group's own work. 0: unlimited.
     */
    size_t catch_up_bytes;
    size_t uncommitted_bytes_max;   /* proposals beyond are DROPPED; 0: unlimited */
    size_t cache_bytes_max;         /* stable entries kept in memory; 0: none */
    size_t cache_applied_bytes_max; /* and once they are applied: only followers that are behind
                                     * need them then; the last one stays for its term */
    uint64_t (*random)(void *ctx, uint64_t bound); /* uniform in [0, bound) */
    void *random_ctx;
    const char *log_prefix; /* "node=1 range=17", for the structured log; may be NULL */
    /* A leader that was idle so long goes quiet, with its followers; 0: never. */
    uint32_t quiesce_ticks;
    /* A replica that may not stand for election and misses its leader asks for it, once per
     * election time-out. Groups that go quiet need that, and do it anyhow; so do groups whose
     * replicas come and go: one that was removed while it was away learns so from those whom it
     * asks. */
    bool complain;
    /* Whether a replica is on a node that has been silent for an election time-out or longer: the
     * group does not stay awake for it. NULL: none ever is. A group that has gone quiet without a
     * replica needs raft_report_reachable when that is over. */
    bool (*away)(void *ctx, uint64_t id);
    void *away_ctx;
    /* Appends go out when the ready work is taken instead of one message per proposal. */
    bool coalesce_appends;
    /* Followers learn of a commit from the next append or heartbeat, whichever comes first, and not
     * from a message of its own: half of all messages where entries are few, for followers that
     * apply up to a heartbeat later. Commits of configuration changes are still told at once. */
    bool lazy_commits;
    /* Appends that flow and are answered stand for heartbeats, and an answer to a heartbeat leads
     * to a probe only when nothing was acknowledged since the one before: an entry that is on its
     * way is no lost one. Where every group has a little traffic, most messages are heartbeats and
     * such probes otherwise. A loss is noticed a heartbeat later. */
    bool spare_heartbeats;
    /* A leader that removed or demoted itself steps down when it applies that, unless this is set:
     * then it leads on, outside of the configuration, until somebody else is elected. */
    bool lead_after_removal;
    /* Proposed changes are taken as they come, whatever is pending. Tests only. */
    bool conf_change_unchecked;
};

/* `applied` is what the owner has applied durably; hard state and conf state come from its storage.
 */
struct raft *raft_new(const struct raft_config *config, const struct raft_storage *storage,
                      const struct raft_hard_state *hard_state, const struct raft_conf_state *conf,
                      uint64_t applied);
void raft_free(struct raft *raft);

/* Of thousands of groups none is in the processor's cache when its turn comes. An owner that knows
 * which ones are next fetches them meanwhile: first the core, a little later, when that has
 * arrived, what its next steps will need of its lists. Hints only. */
void raft_prefetch(const struct raft *raft);
void raft_prefetch_lists(const struct raft *raft);

/* Time, monotonic microseconds, never backwards. Set it at the start of every turn, and read the
 * clock AFTER the turn's messages and reads were taken out of their queue: leases need a time that
 * is not older than what is stepped next (raft/README.md, L4). 0 is no time at all: no leases. */
void raft_set_now(struct raft *raft, uint64_t now_us);
void raft_tick(struct raft *raft);
/* So many ticks have passed and are not delivered, because the owner was held up. A leader owes its
 * followers heartbeats by all of them; nobody is doubted because of them. Call it before the tick
 * that is delivered next. */
void raft_miss_ticks(struct raft *raft, uint32_t ticks);
/* INVALID: a message that no correct peer sends (the core is unchanged). DROPPED: a forwarded
 * proposal refused. NOT_FOUND: a response from a replica that is not in the configuration. BUSY:
 * too many reads wait. None of them is a reason to stop. CORRUPTION is one (the core is unchanged):
 * this replica, or the leader, has lost entries that it said were durable. */
enum status raft_step(struct raft *raft, const struct raft_message *message) MUST_CHECK;
/* Stands for election now. OK too when it leads already. DROPPED: not a voter, it declines, or a
 * snapshot or configuration change is yet to be applied. BUSY: a leader may still hold a lease. */
enum status raft_campaign(struct raft *raft);
/* From now on, and for good: stands for no election, and takes no leadership that is handed to it
 * (3.10; the leader notices by the time-out of its transfer). It goes on voting and taking entries,
 * and leading if it leads. For an owner that is about to stop. */
void raft_decline_leadership(struct raft *raft);

/* Appends to the leader's log. Takes a reference on the payload. DROPPED: not leader, transferring,
 * too much uncommitted, or removed; nothing changed. ret_id may be NULL; it is {0,0} when the
 * proposal was forwarded to the leader. */
enum status raft_propose(struct raft *raft, struct payload *payload,
                         struct raft_log_id *ret_id) MUST_CHECK;

enum raft_conf_change_kind {
    RAFT_CONF_ADD_VOTER = 0,
    RAFT_CONF_REMOVE = 1,
    RAFT_CONF_UPDATE = 2,
    RAFT_CONF_ADD_LEARNER = 3,
};
enum raft_conf_transition {
    RAFT_TRANSITION_AUTO,
    RAFT_TRANSITION_IMPLICIT,
    RAFT_TRANSITION_EXPLICIT
};

struct raft_conf_change {
    enum raft_conf_transition transition;
    bool v1;        /* propose in the one-change format */
    uint32_t count; /* 0 with EXPLICIT/AUTO: leave the joint configuration */
    struct {
        enum raft_conf_change_kind kind;
        uint64_t id;
    } changes[RAFT_REPLICAS_MAX];
    struct slice context; /* the owner's, carried in the entry: e.g. the new range descriptor */
};

/* As raft_propose. A change that may not start now, or does not follow from the configuration,
 * becomes an empty entry (thesis 4.1). INVALID: too many changes, or several in the one-change
 * format. */
enum status raft_propose_conf_change(struct raft *raft, const struct raft_conf_change *change,
                                     struct raft_log_id *ret_id) MUST_CHECK;
/* Reads an entry of either conf-change kind. CORRUPTION. `context` borrows from the entry. */
enum status raft_decode_conf_change(const struct raft_entry *entry,
                                    struct raft_conf_change *ret_change) MUST_CHECK;
/* To be called when the entry is applied; the configuration takes effect here. ret_conf may be
 * NULL. */
void raft_apply_conf_change(struct raft *raft, const struct raft_conf_change *change,
                            struct raft_conf_state *ret_conf);

/* A leader's log may hold a change that is not applied here yet. What is appended meanwhile is
 * counted by the configuration before it. */
bool raft_conf_change_pending(const struct raft *raft);

/* Hands leadership to a voter; a follower forwards the wish. The leader accepts no proposals until
 * the target leads or an election time-out has passed. DROPPED: no leader known. INVALID: `to` is
 * not a voter. */
enum status raft_transfer_leader(struct raft *raft, uint64_t to);
/* A follower that has reason to think its leader dead becomes willing to vote at once.
 * UNSUPPORTED: with leases that would break the leader's. */
enum status raft_forget_leader(struct raft *raft);
void raft_report_unreachable(struct raft *raft, uint64_t id);
void raft_report_snapshot(struct raft *raft, uint64_t id, bool failed);
/* The replica's node, which was away, is heard again. */
void raft_report_reachable(struct raft *raft, uint64_t id);

/* Quiescence (quiesce.c). A quiet replica needs no ticks: raft_tick does nothing. Anything but late
 * answers wakes it: proposals, reads, transfers, messages. The owner has to notice in the leader's
 * stead when the leader's node falls silent or has restarted. */
bool raft_quiet(const struct raft *raft);
/* Wakes it for no reason of its own. A woken leader sends heartbeats with the next tick, a woken
 * follower tells its leader. */
void raft_wake(struct raft *raft);
/* The leader's node is silent, for an election time-out or longer, or has restarted and does not
 * remember that it leads. Who was quiet behaves as if it had been heard last that long ago. */
void raft_suspect_leader(struct raft *raft);

/* Asks for a read index; the answer comes as a read state with the same context (nonzero, unique
 * per owner). DROPPED: no leader known. BUSY: too many wait. On a leader that has not committed in
 * its term the request waits. Requests are forgotten when the leader changes: on
 * soft_state_changed, ask again with a new context. */
enum status raft_read_index(struct raft *raft, uint64_t context) MUST_CHECK;
/* True when this replica may serve a linearizable read at its applied index right now, without a
 * message: leader, committed in its own term, lease valid at raft_set_now's time, and no leader
 * transfer was begun in this term. *ret_index: the applied index that the read must wait for. */
bool raft_lease_read(struct raft *raft, uint64_t *ret_index);

struct raft_read_state {
    uint64_t context;
    uint64_t index; /* serve once applied >= index */
};

/* What raft_append_done needs to know of one ready work; opaque to the owner, copied by value. */
struct raft_append {
    bool any;                /* false: nothing to make durable, raft_append_done may be skipped */
    struct raft_log_id last; /* end of the log when taken; {0,0}: nothing to report */
    struct raft_log_id snapshot; /* {0,0}: none */
    uint64_t term;               /* term when taken */
    uint64_t number;             /* works are numbered in the order they are taken */
};

struct raft_ready {
    bool soft_state_changed; /* leader or role */
    uint64_t leader;
    enum raft_role role;
    /* Term and vote have to be written when they change. The commit index alone need not be, but
     * never may an entry behind a committed change of the configuration become durable before that
     * commit: a replica that forgets it elects by the old configuration. */
    bool has_hard_state;
    struct raft_hard_state hard_state;
    bool must_sync; /* entries, term or vote changed: before messages_after_append, sync */
    const struct raft_entry *entries; /* to append; the first may overwrite a tail of the log */
    uint32_t entry_count;
    const struct raft_snapshot *snapshot; /* to install before the entries; NULL: none */
    const struct raft_entry *committed;   /* to apply, in order */
    uint32_t committed_count;
    const struct raft_message *messages;
    uint32_t message_count;
    const struct raft_message *messages_after_append;
    uint32_t message_after_append_count;
    const struct raft_read_state *read_states;
    uint32_t read_state_count;
    struct raft_append append;
};

bool raft_has_ready(const struct raft *raft);
void raft_ready(struct raft *raft, struct raft_ready *ret_ready);
/* Reports that everything in the work (and in those taken before it) is durable. The caller then
 * sends (or steps) its after-append messages. */
void raft_append_done(struct raft *raft, const struct raft_append *append);
/* Applied up to index; payload_bytes is what the entries held (apply_bytes_max accounting). */
void raft_apply_done(struct raft *raft, uint64_t index, size_t payload_bytes);
/* Synchronous style only (async_storage_writes false): the work was persisted, sent and applied. */
void raft_advance(struct raft *raft);

struct raft_progress_view {
    uint64_t id, match, next;
    enum { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT } state;
    bool learner, recently_active, paused;
    uint64_t pending_snapshot; /* index, state RAFT_SNAPSHOT */
    uint32_t inflight;         /* messages */
    bool log_lost;      /* it denies entries that it had acknowledged: it counts for nothing */
    bool inflight_full; /* no more may be sent before an answer */
};

struct raft_view {
    uint64_t id, leader, term, vote, commit, applied, first_index, last_index, transfer_target;
    enum raft_role role;
    bool lease_valid;
    bool quiet;
    uint32_t progress_count; /* leaders only */
    struct raft_progress_view progress[RAFT_REPLICAS_MAX];
    struct raft_conf_state conf;
};
void raft_view(const struct raft *raft, struct raft_view *ret_view);

uint64_t raft_leader(const struct raft *raft); /* RAFT_NO_REPLICA when unknown */
uint64_t raft_term(const struct raft *raft);
enum raft_role raft_role(const struct raft *raft);
uint64_t raft_commit_index(const struct raft *raft);

/* Gives back memory that is kept for reuse, the stable entries cached for followers among it: for a
 * range that goes quiet. Call it when no ready work is out: messages and read states that were
 * borrowed go. */
void raft_shrink(struct raft *raft);

/* Leaders: up to where all replicas are known to have the log, those that are away too. Compaction
 * below it costs nobody a snapshot; it is not a matter of safety. Others: the commit index. */
uint64_t raft_min_match(const struct raft *raft);

/* Followers: the highest index up to which a leader, sending entries, said to have dropped its log.
 * What a leader does not keep, its followers need not keep. 0: nothing was said. */
uint64_t raft_leader_truncated(const struct raft *raft);

/* Walks the whole object and asserts its invariants (raft/README.md). */
void raft_check(const struct raft *raft);

#endif
