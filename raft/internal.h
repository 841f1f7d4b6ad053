/* The object behind raft.h, and what its files ask of each other. Nobody outside raft/ (and its
 * tests) includes this. The rules are numbered in raft/README.md. */
#ifndef FLOTILLA_RAFT_INTERNAL_H
#define FLOTILLA_RAFT_INTERNAL_H

#include "raft/configuration.h"
#include "raft/limits.h"
#include "raft/lists.h"
#include "raft/log.h"
#include "raft/progress.h"
#include "raft/raft.h"

/* What one ready work asked to make durable, until raft_append_done: the owner borrows from it. */
struct raft_append_work {
    struct raft_append_work *next;
    uint64_t number;
    struct raft_entry_list entries;
    struct raft_snapshot *snapshot;        /* NULL: none */
    struct raft_message_list after_append; /* promises that wait for it */
};

/* Committed entries handed out, until raft_apply_done has passed them. */
struct raft_apply_work {
    struct raft_apply_work *next;
    struct raft_entry_list entries;
};

/* A ReadIndex request, of this replica (from == own id) or of a follower. */
struct raft_read_request {
    uint64_t from;
    uint64_t context;
    uint64_t commit; /* when it was accepted: the index to read at */
};

/* Requests in the order they came. Positions count from the start of the term; heartbeats carry
 * the newest position, and a quorum that answers one confirms all requests up to it. */
struct raft_reads {
    struct raft_read_request *items; /* [head, count) are waiting */
    uint32_t head, count, cap;
    uint64_t confirmed; /* position of the last request answered */
    bool round_wanted;  /* a request came since the last heartbeat round */
};

enum raft_campaign_kind { RAFT_CAMPAIGN_PRE_VOTE, RAFT_CAMPAIGN_VOTE, RAFT_CAMPAIGN_TRANSFER };

struct raft {
    struct raft_config config;
    struct raft_core_log log;
    struct raft_progress_set progress; /* of every member, this replica too */

    uint64_t term, vote, leader;
    enum raft_role role;
    uint32_t election_elapsed; /* ticks since the leader was heard, or since the last check */
    uint32_t
        heartbeat_elapsed; /* ticks since the longest unheeded follower was told, leaders only */
    uint64_t ticks;        /* ever; those of quiet times are not counted */
    uint32_t election_timeout; /* drawn anew on every change of role or term */

    bool quiet;            /* quiesce.c: neither ticks nor heartbeats */
    uint32_t idle_elapsed; /* ticks since there was work, leaders only */
    bool leader_unheard;   /* woke without its leader, which was not heard since */
    bool declines;         /* stands for no election any more */

    uint64_t leader_truncated; /* the highest that an append said */

    uint64_t now_us; /* 0: no time was ever handed in */
    uint64_t
        guard_until_us;   /* no vote, no candidacy before: some leader may hold a lease (6.4.1) */
    bool grace_wanted;    /* start the guard with the first raft_set_now */
    uint64_t grace_ticks; /* since the start, while that is awaited; nothing sets them back */

    uint64_t transfer_target;    /* leader handing over to; RAFT_NO_REPLICA: none */
    bool transfer_begun;         /* in this term: no leases any more */
    uint64_t pending_conf_index; /* no conf change may be proposed until this is applied */
    size_t uncommitted_bytes;    /* payload of the leader's tail that is not applied */

    struct raft_reads reads;
    struct raft_reads early_reads; /* before the first commit of the leader's term */
    bool appends_wanted;           /* coalesce_appends: broadcast when the ready work is taken */

    struct raft_outbox outbox[2]; /* one being filled, one handed out */
    uint32_t outbox_filling;
    struct raft_read_state_list read_states[2];
    struct raft_message_list after_append;               /* being filled */
    struct raft_append_work *appending, *appending_last; /* handed out, oldest first */
    struct raft_append_work *retired; /* done; their messages are still borrowed */
    struct raft_append_work *spare_appends;
    uint32_t spare_append_count;
    struct raft_apply_work *applying, *applying_last, *spare_apply;
    uint64_t append_works; /* number of the newest */

    uint64_t shown_leader; /* soft and hard state of the last ready work */
    enum raft_role shown_role;
    struct raft_hard_state shown_hard_state;

    bool advance_wanted; /* synchronous style: a ready work is out */
    struct raft_append advance_append;

    struct raft_conf_state conf; /* large and mostly empty: behind what every step needs */
};

/* raft.c */
void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader);
void raft_reset(struct raft *raft, uint64_t term);
/* Fills in from, term and sent_us, and queues the message: promises wait for the disk. */
void raft_send(struct raft *raft, struct raft_message message);
struct raft_progress *raft_progress_of(const struct raft *raft, uint64_t id);
struct raft_hard_state raft_hard_state_now(const struct raft *raft);
/* Whether this replica may lead: a voter of the configuration, with its snapshot installed. */
bool raft_promotable(const struct raft *raft);
/* Sends a proposal on to the leader. DROPPED: none known, or forwarding is off. */
enum status raft_forward_proposal(struct raft *raft, struct raft_entry *entry);
void raft_set_election_timeout(struct raft *raft, uint32_t ticks); /* tests */

/* election.c */
enum status raft_start_election(struct raft *raft, enum raft_campaign_kind kind);
void raft_handle_vote_request(struct raft *raft, const struct raft_message *message);
void raft_handle_vote_response(struct raft *raft, const struct raft_message *message);
struct raft_log_id raft_committed_id(const struct raft *raft); /* {0,0}: its term is compacted */
void raft_learn_commit(struct raft *raft, struct raft_log_id committed);
void raft_tick_election(struct raft *raft);
void raft_check_quorum(struct raft *raft);

/* replication.c: leader's side */
bool raft_append_own(struct raft *raft, struct raft_entry *entries, uint32_t count);
void raft_broadcast_append(struct raft *raft);
void raft_send_append(struct raft *raft, struct raft_progress *progress);
bool raft_maybe_send_append(struct raft *raft, struct raft_progress *progress, bool if_empty);
bool raft_maybe_commit(struct raft *raft);
void raft_handle_append_response(struct raft *raft, const struct raft_message *message);
void raft_broadcast_heartbeat(struct raft *raft);
/* Heartbeats to those who were not told that this replica leads in the last interval. */
void raft_beat(struct raft *raft);
void raft_handle_heartbeat_response(struct raft *raft, const struct raft_message *message);
enum status raft_propose_entries(struct raft *raft, struct raft_entry *entries, uint32_t count);

/* follower.c: follower's side */
enum status raft_handle_append(struct raft *raft, const struct raft_message *message);
enum status raft_handle_heartbeat(struct raft *raft, const struct raft_message *message);
void raft_handle_snapshot(struct raft *raft, const struct raft_message *message);

/* read_index.c */
void raft_reads_clear(struct raft *raft);
void raft_reads_done(struct raft *raft);
void raft_reads_shrink(struct raft *raft); /* gives back what nothing waits in */
enum status raft_accept_read(struct raft *raft, uint64_t from, uint64_t context);
void raft_release_early_reads(struct raft *raft);
uint64_t raft_reads_position(const struct raft *raft); /* 0: nothing waits */
void raft_confirm_reads(struct raft *raft);
bool raft_committed_in_term(const struct raft *raft);

/* quiesce.c */
/* Something is to be done: a quiet replica wakes, silently, and an idle leader counts anew. */
void raft_unquiesce(struct raft *raft);
/* True: the leader has gone quiet, and its notices are on their way. */
bool raft_maybe_quiesce(struct raft *raft);
/* A follower's answer to a notice: goes quiet and returns true, or has a reason not to. */
bool raft_follow_quiesce(struct raft *raft, const struct raft_message *notice);
void raft_wake_by_message(struct raft *raft, const struct raft_message *message);
/* An election time-out without a leader, and this replica cannot stand: the leader may be quiet. */
void raft_miss_leader(struct raft *raft);

/* lease.c */
void raft_guard_leader(struct raft *raft);
void raft_keep_still(struct raft *raft, uint64_t us); /* from now on, or longer if bound already */
uint64_t raft_promise_us(const struct raft *raft);    /* what a leader gets that is heard now */
/* Until when, by this clock, a voter that echoes `sent_us` surely keeps what it promised. */
uint64_t raft_promise_ends_us(const struct raft *raft, uint64_t sent_us, uint64_t promised_us);
bool raft_guards_leader(const struct raft *raft);   /* refuses votes */
bool raft_guards_by_clock(const struct raft *raft); /* does not stand for election either */
bool raft_lease_valid(const struct raft *raft);

/* transfer.c */
void raft_begin_transfer(struct raft *raft, struct raft_progress *progress);
void raft_abort_transfer(struct raft *raft);
void raft_continue_transfer(struct raft *raft, const struct raft_progress *progress);

/* conf_change.c */
void raft_switch_configuration(struct raft *raft, const struct raft_conf_edit *edit);
void raft_maybe_auto_leave(struct raft *raft);
/* Replaces a conf change that may not start now by an empty entry. CORRUPTION. */
enum status raft_vet_conf_change(struct raft *raft, struct raft_entry *entry, uint64_t index);

/* ready.c */
void raft_works_done(struct raft *raft);
void raft_applied_to(struct raft *raft, uint64_t index, size_t bytes);

static inline struct raft_outbox *raft_outbox_filling(struct raft *raft) {
    return &raft->outbox[raft->outbox_filling];
}

#endif
