/* Elections (thesis 3.4), pre-vote (9.6), check-quorum (6.2). */
#include "base/assert.h"
#include "base/log.h"
#include "raft/internal.h"

static const char *prefix(const struct raft *raft) {
    return raft->config.log_prefix ? raft->config.log_prefix : "";
}

static void forget_votes(struct raft *raft) {
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        raft->progress.items[at].vote = RAFT_VOTE_MISSING;
    }
}

/* Asks about the next term without entering it: vote and term stay as they are. */
static void become_pre_candidate(struct raft *raft) {
    ASSERT(raft->role != RAFT_LEADER);
    forget_votes(raft);
    raft->leader = RAFT_NO_REPLICA;
    raft->role = RAFT_PRE_CANDIDATE;
}

static void become_candidate(struct raft *raft) {
    ASSERT(raft->role != RAFT_LEADER);
    raft_reset(raft, raft->term + 1);
    raft->vote = raft->config.id;
    raft->role = RAFT_CANDIDATE;
}

static void become_leader(struct raft *raft) {
    ASSERT(raft->role != RAFT_FOLLOWER);
    raft_reset(raft, raft->term);
    raft->leader = raft->config.id;
    raft->role = RAFT_LEADER;
    struct raft_progress *own = raft_progress_of(raft, raft->config.id);
    raft_progress_become_replicate(own);
    own->recently_active = true;
    /* A conf change may be among what is not applied yet: none may follow before it is (4.1). */
    raft->pending_conf_index = raft->log.last.index;
    log_info("raft_leader", "%s replica=%lu term=%lu index=%lu", prefix(raft),
             (unsigned long)raft->config.id, (unsigned long)raft->term,
             (unsigned long)raft->log.last.index);
    struct raft_entry empty = {.kind = RAFT_ENTRY_NORMAL};
    bool appended = raft_append_own(raft, &empty, 1);
    ASSERT(appended);
}

/* Voters of both halves, ascending: the order in which requests go out. */
static void request_votes(struct raft *raft, enum raft_message_kind kind, uint64_t term,
                          bool force) {
    bool pre_vote = kind == RAFT_MSG_PRE_VOTE;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        uint64_t id = raft->progress.items[at].id;
        if (!raft_conf_state_is_voter(&raft->conf, id)) continue;
        if (id == raft->config.id) {
            /* The own vote counts once it is durable, as everybody's. */
            raft_send(raft, (struct raft_message){.kind = pre_vote ? RAFT_MSG_PRE_VOTE_RESPONSE
                                                                   : RAFT_MSG_VOTE_RESPONSE,
                                                  .to = id,
                                                  .term = term});
        } else {
            raft_send(
                raft,
                (struct raft_message){
                    .kind = kind, .to = id, .term = term, .log = raft->log.last, .force = force});
        }
    }
}

enum status raft_start_election(struct raft *raft, enum raft_campaign_kind kind) {
    if (raft->role == RAFT_LEADER) return STATUS_OK;
    if (!raft_promotable(raft)) return STATUS_DROPPED;
    /* It might be in a configuration by now that it has not applied (thesis 4.2). */
    if (raft_core_log_has_unapplied_conf_change(&raft->log)) return STATUS_DROPPED;
    if (kind == RAFT_CAMPAIGN_PRE_VOTE) {
        become_pre_candidate(raft);
        request_votes(raft, RAFT_MSG_PRE_VOTE, raft->term + 1, false);
    } else {
        become_candidate(raft);
        request_votes(raft, RAFT_MSG_VOTE, raft->term, kind == RAFT_CAMPAIGN_TRANSFER);
    }
    return STATUS_OK;
}

/* One vote per term, to a log that is at least as complete (3.6.1). A pre-vote binds nobody. */
void raft_handle_vote_request(struct raft *raft, const struct raft_message *message) {
    bool pre_vote = message->kind == RAFT_MSG_PRE_VOTE;
    bool may_vote = raft->vote == message->from ||
                    (raft->vote == RAFT_NO_REPLICA && raft->leader == RAFT_NO_REPLICA) ||
                    (pre_vote && message->term > raft->term);
    bool granted = may_vote && raft_core_log_is_up_to_date(&raft->log, message->log);
    raft_send(raft, (struct raft_message){.kind = pre_vote ? RAFT_MSG_PRE_VOTE_RESPONSE
                                                           : RAFT_MSG_VOTE_RESPONSE,
                                          .to = message->from,
                                          /* A granted pre-vote is about the candidate's term. */
                                          .term = granted ? message->term : raft->term,
                                          .reject = !granted});
    if (granted && !pre_vote) {
        raft->election_elapsed = 0;
        raft->vote = message->from;
    }
}

static enum raft_vote vote_of(const void *ctx, uint64_t id) {
    const struct raft_progress *progress = raft_progress_of(ctx, id);
    return progress ? progress->vote : RAFT_VOTE_MISSING;
}

void raft_handle_vote_response(struct raft *raft, const struct raft_message *message) {
    struct raft_progress *progress = raft_progress_of(raft, message->from);
    if (!progress) return;
    if (progress->vote == RAFT_VOTE_MISSING) {
        progress->vote = message->reject ? RAFT_VOTE_REJECTED : RAFT_VOTE_GRANTED;
    }
    switch (raft_quorum_vote(&raft->conf.voters, &raft->conf.voters_outgoing, vote_of, raft)) {
    case RAFT_VOTES_WON:
        if (raft->role == RAFT_PRE_CANDIDATE) {
            /* Nothing stands in the way that did not when the pre-vote began. */
            (void)raft_start_election(raft, RAFT_CAMPAIGN_VOTE);
        } else {
            become_leader(raft);
            raft_broadcast_append(raft);
        }
        break;
    case RAFT_VOTES_LOST:
        /* A rejected pre-vote carries the present term: it was entered in raft_step already. */
        raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
        break;
    case RAFT_VOTES_PENDING:
        break;
    }
}

void raft_tick_election(struct raft *raft) {
    raft->election_elapsed++;
    if (raft->election_elapsed < raft->election_timeout || !raft_promotable(raft)) return;
    /* Ticks may come late and all at once; the clock knows better whether a lease can be alive. */
    if (raft_guards_by_clock(raft)) return;
    raft->election_elapsed = 0;
    (void)raft_campaign(raft); /* not now is fine: the next time-out tries again */
}

static enum raft_vote active_as_vote(const void *ctx, uint64_t id) {
    const struct raft *raft = ctx;
    const struct raft_progress *progress = raft_progress_of(raft, id);
    bool active = id == raft->config.id || (progress && progress->recently_active);
    return active ? RAFT_VOTE_GRANTED : RAFT_VOTE_REJECTED;
}

/* A leader that has not heard from a quorum for an election time-out steps down (6.2). */
void raft_check_quorum(struct raft *raft) {
    ASSERT(raft->role == RAFT_LEADER);
    enum raft_vote_result active =
        raft_quorum_vote(&raft->conf.voters, &raft->conf.voters_outgoing, active_as_vote, raft);
    if (active != RAFT_VOTES_WON) {
        log_warn("raft_quorum_lost", "%s replica=%lu term=%lu", prefix(raft),
                 (unsigned long)raft->config.id, (unsigned long)raft->term);
        raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
    }
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id != raft->config.id) progress->recently_active = false;
    }
}
