/* Elections: standing, voting, winning, and a leader's doubt about its own (thesis 3.4, 6.2, 9.6).
 */
#include "base/assert.h"
#include "raft/internal.h"

static void become_candidate(struct raft *raft) {
    ASSERT(raft->role != RAFT_LEADER);
    raft_reset(raft, raft->term + 1);
    raft->vote = raft->config.id;
    raft->role = RAFT_CANDIDATE;
}

/* Asks without committing to anything: term and vote stay. */
static void become_pre_candidate(struct raft *raft) {
    ASSERT(raft->role != RAFT_LEADER);
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        raft->progress.items[at].vote = RAFT_VOTE_MISSING;
    }
    raft->leader = RAFT_NO_REPLICA;
    raft->leader_unheard = false;
    raft->role = RAFT_PRE_CANDIDATE;
}

static void become_leader(struct raft *raft) {
    ASSERT(raft->role == RAFT_CANDIDATE || raft->role == RAFT_PRE_CANDIDATE);
    raft_reset(raft, raft->term);
    raft->leader = raft->config.id;
    raft->role = RAFT_LEADER;
    struct raft_progress *own = raft_progress_of(raft, raft->config.id);
    raft_progress_become_replicate(own);
    own->recently_active = true;
    /* There may be a change in the log already: proposals of changes wait until all of it is
     * applied, which spares a scan. */
    raft->pending_conf_index = raft->log.last.index;
    /* An entry of the own term lets earlier ones commit (3.6.2). Empty, so never refused. */
    struct raft_entry empty = {.kind = RAFT_ENTRY_NORMAL};
    bool accepted = raft_append_own(raft, &empty, 1);
    ASSERT(accepted);
    log_debug("raft_became_leader", "%s replica=%lu term=%lu",
              raft->config.log_prefix ? raft->config.log_prefix : "",
              (unsigned long)raft->config.id, (unsigned long)raft->term);
}

static void request_votes(struct raft *raft, enum raft_campaign_kind kind) {
    bool pre_vote = kind == RAFT_CAMPAIGN_PRE_VOTE;
    uint64_t term = pre_vote ? raft->term + 1 : raft->term;
    struct raft_id_set members;
    raft_conf_state_members(&raft->conf, &members);
    for (uint32_t at = 0; at < members.count; at++) {
        uint64_t id = members.ids[at];
        if (!raft_conf_state_is_voter(&raft->conf, id)) continue;
        if (id == raft->config.id) {
            /* The own vote counts once it is durable: it comes back through raft_step. */
            raft_send(raft, (struct raft_message){.kind = pre_vote ? RAFT_MSG_PRE_VOTE_RESPONSE
                                                                   : RAFT_MSG_VOTE_RESPONSE,
                                                  .to = id,
                                                  .term = term});
            continue;
        }
        raft_send(raft, (struct raft_message){.kind = pre_vote ? RAFT_MSG_PRE_VOTE : RAFT_MSG_VOTE,
                                              .to = id,
                                              .term = term,
                                              .log = raft->log.last,
                                              .force = kind == RAFT_CAMPAIGN_TRANSFER});
    }
}

static void campaign(struct raft *raft, enum raft_campaign_kind kind) {
    if (kind == RAFT_CAMPAIGN_PRE_VOTE) {
        become_pre_candidate(raft);
    } else {
        become_candidate(raft);
    }
    request_votes(raft, kind);
}

enum status raft_start_election(struct raft *raft, enum raft_campaign_kind kind) {
    if (raft->role == RAFT_LEADER) return STATUS_OK;
    if (!raft_promotable(raft)) return STATUS_DROPPED;
    /* It might stand in a configuration that is already history (thesis 4.1). */
    if (raft_core_log_has_unapplied_conf_change(&raft->log)) return STATUS_DROPPED;
    raft_unquiesce(raft);
    campaign(raft, kind);
    return STATUS_OK;
}

enum status raft_campaign(struct raft *raft) {
    if (raft->role != RAFT_LEADER && raft_guards_by_clock(raft)) return STATUS_BUSY;
    return raft_start_election(raft,
                               raft->config.pre_vote ? RAFT_CAMPAIGN_PRE_VOTE : RAFT_CAMPAIGN_VOTE);
}

void raft_tick_election(struct raft *raft) {
    raft->election_elapsed++;
    if (raft->election_elapsed < raft->election_timeout) return;
    if (!raft_promotable(raft)) {
        raft_miss_leader(raft);
        return;
    }
    /* Several late ticks at once are no silence of the leader: the clock has the last word. */
    if (raft_guards_by_clock(raft)) return;
    raft->election_elapsed = 0;
    /* Not promotable after all: the next time-out asks again. */
    (void)raft_start_election(raft,
                              raft->config.pre_vote ? RAFT_CAMPAIGN_PRE_VOTE : RAFT_CAMPAIGN_VOTE);
}

struct raft_log_id raft_committed_id(const struct raft *raft) {
    uint64_t index = raft->log.committed;
    uint64_t term = raft_core_log_term_or_zero(&raft->log, index);
    return term ? (struct raft_log_id){term, index} : (struct raft_log_id){0, 0};
}

/* That an entry is committed is true for ever and for everybody who has it. Without this a group
 * can lock itself out: a leader that left the configuration knows that the change is committed, but
 * is no candidate any more; who is, still needs its vote by the old configuration, and is refused
 * it for the shorter log. The refusal brings what the candidate lacks. */
void raft_learn_commit(struct raft *raft, struct raft_log_id committed) {
    if (raft->role == RAFT_LEADER || !raft_core_log_matches(&raft->log, committed)) return;
    raft_core_log_commit_to(&raft->log, committed.index);
    bool stands = raft->role == RAFT_CANDIDATE || raft->role == RAFT_PRE_CANDIDATE;
    if (stands && raft_core_log_has_unapplied_conf_change(&raft->log)) {
        raft_become_follower(raft, raft->term,
                             RAFT_NO_REPLICA); /* stands in an old configuration */
    }
}

void raft_handle_vote_request(struct raft *raft, const struct raft_message *message) {
    bool pre_vote = message->kind == RAFT_MSG_PRE_VOTE;
    /* A promise knows no terms: this one may have risen since it was given (L5). */
    bool bound = raft_guards_leader(raft) && !message->force;
    bool free = raft->vote == message->from ||
                (raft->vote == RAFT_NO_REPLICA && raft->leader == RAFT_NO_REPLICA) ||
                (pre_vote && message->term > raft->term);
    /* A learner votes too when it is asked: it may have been promoted without knowing it yet, and
     * a candidate with a stale configuration does not win by it (3.6.1, 4.2.2). */
    bool grant = free && !bound && raft_core_log_is_up_to_date(&raft->log, message->log);
    enum raft_message_kind kind = pre_vote ? RAFT_MSG_PRE_VOTE_RESPONSE : RAFT_MSG_VOTE_RESPONSE;
    raft_send(raft, (struct raft_message){.kind = kind,
                                          .to = message->from,
                                          /* A grant answers in the term asked about; this replica
                                           * may still be in an older one. */
                                          .term = grant ? message->term : raft->term,
                                          .committed = grant ? (struct raft_log_id){0, 0}
                                                             : raft_committed_id(raft),
                                          .reject = !grant});
    if (grant && !pre_vote) {
        raft->election_elapsed = 0;
        raft->vote = message->from;
    }
}

static enum raft_vote vote_of(const void *ctx, uint64_t id) {
    const struct raft_progress *progress = raft_progress_of(ctx, id);
    return progress ? progress->vote : RAFT_VOTE_MISSING;
}

void raft_handle_vote_response(struct raft *raft, const struct raft_message *message) {
    struct raft_progress *voter = raft_progress_of(raft, message->from);
    if (voter->vote == RAFT_VOTE_MISSING) {
        voter->vote = message->reject ? RAFT_VOTE_REJECTED : RAFT_VOTE_GRANTED;
    }
    switch (raft_quorum_vote(&raft->conf.voters, &raft->conf.voters_outgoing, vote_of, raft)) {
    case RAFT_VOTES_WON:
        if (raft->role == RAFT_PRE_CANDIDATE) {
            campaign(raft, RAFT_CAMPAIGN_VOTE);
        } else if (vote_of(raft, raft->config.id) == RAFT_VOTE_GRANTED) {
            /* The own vote is in, so term and vote are durable. Without that a crash could make
             * this replica lead the same term a second time, with another log: the votes of others
             * suffice for a majority, and they give them again (3.8). */
            become_leader(raft);
            raft_broadcast_append(raft);
        }
        break;
    case RAFT_VOTES_LOST:
        /* A granted pre-vote carries a future term: it is the own term that was lost. */
        raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
        break;
    case RAFT_VOTES_PENDING:
        break;
    }
}

static enum raft_vote activity_of(const void *ctx, uint64_t id) {
    const struct raft_progress *progress = raft_progress_of(ctx, id);
    return progress && progress->recently_active ? RAFT_VOTE_GRANTED : RAFT_VOTE_REJECTED;
}

/* A leader that no quorum answers steps down, so that its clients look elsewhere (6.2). */
void raft_check_quorum(struct raft *raft) {
    if (raft_quorum_vote(&raft->conf.voters, &raft->conf.voters_outgoing, activity_of, raft) !=
        RAFT_VOTES_WON) {
        raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
    }
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        if (progress->id != raft->config.id) progress->recently_active = false;
    }
}
