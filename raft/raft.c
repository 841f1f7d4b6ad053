/* Life, time, and the dispatch of messages by term and role (thesis 3.3, figure 3.1). */
#include "raft/raft.h"

#include "base/assert.h"
#include "base/memory.h"
#include "raft/internal.h"

struct raft_progress *raft_progress_of(const struct raft *raft, uint64_t id) {
    return raft_progress_find(&raft->progress, id);
}

struct raft_hard_state raft_hard_state_now(const struct raft *raft) {
    return (struct raft_hard_state){raft->term, raft->vote, raft->log.committed};
}

bool raft_promotable(const struct raft *raft) {
    const struct raft_progress *own = raft_progress_of(raft, raft->config.id);
    return own && !own->learner && !raft->log.snapshot;
}

void raft_set_election_timeout(struct raft *raft, uint32_t ticks) {
    raft->election_timeout = ticks;
}

static void draw_election_timeout(struct raft *raft) {
    uint64_t extra = raft->config.random(raft->config.random_ctx, raft->config.election_ticks);
    raft->election_timeout = raft->config.election_ticks + (uint32_t)extra;
}

void raft_reset(struct raft *raft, uint64_t term) {
    if (term != raft->term) {
        ASSERT_CMP(term, >, raft->term);
        raft->term = term;
        raft->vote = RAFT_NO_REPLICA;
        raft->transfer_begun = false;
    }
    raft->leader = RAFT_NO_REPLICA;
    raft->election_elapsed = 0;
    raft->heartbeat_elapsed = 0;
    draw_election_timeout(raft);
    raft_abort_transfer(raft);
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        raft_progress_reset(progress, raft->log.last.index + 1);
        if (progress->id == raft->config.id) progress->match = raft->log.last.index;
    }
    raft->pending_conf_index = 0;
    raft->uncommitted_bytes = 0;
    raft->appends_wanted = false;
    raft_reads_clear(raft);
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader) {
    raft_reset(raft, term);
    raft->leader = leader;
    raft->role = RAFT_FOLLOWER;
}

static bool is_promise(enum raft_message_kind kind) {
    return kind == RAFT_MSG_APPEND_RESPONSE || kind == RAFT_MSG_VOTE_RESPONSE ||
           kind == RAFT_MSG_PRE_VOTE_RESPONSE;
}

static bool sets_own_term(enum raft_message_kind kind) {
    return kind == RAFT_MSG_VOTE || kind == RAFT_MSG_VOTE_RESPONSE || kind == RAFT_MSG_PRE_VOTE ||
           kind == RAFT_MSG_PRE_VOTE_RESPONSE;
}

void raft_send(struct raft *raft, struct raft_message message) {
    if (message.from == RAFT_NO_REPLICA) message.from = raft->config.id;
    if (sets_own_term(message.kind)) {
        ASSERT_CMP(message.term, >, 0);
    } else if (message.kind != RAFT_MSG_PROPOSE && message.kind != RAFT_MSG_READ_INDEX) {
        message.term = raft->term;
    }
    bool stamped = message.kind == RAFT_MSG_APPEND || message.kind == RAFT_MSG_HEARTBEAT ||
                   message.kind == RAFT_MSG_SNAPSHOT;
    if (stamped) message.sent_us = raft->now_us;
    if (is_promise(message.kind)) {
        ASSERT(message.entry_count == 0 && !message.snapshot);
        raft_message_list_add(&raft->after_append, &message);
    } else {
        ASSERT_CMP(message.to, !=, raft->config.id);
        raft_outbox_add(raft_outbox_filling(raft), &message);
    }
}

/* ---- life ---- */

struct raft *raft_new(const struct raft_config *config, const struct raft_storage *storage,
                      const struct raft_hard_state *hard_state, const struct raft_conf_state *conf,
                      uint64_t applied) {
    ASSERT_CMP(config->id, !=, RAFT_NO_REPLICA);
    ASSERT_CMP(config->election_ticks, >, config->heartbeat_ticks);
    ASSERT(raft_conf_state_valid(conf));
    struct raft *raft = MEMORY_NEW(struct raft);
    raft->config = *config;
    raft_core_log_init(&raft->log, storage, config->cache_bytes_max, config->apply_bytes_max);

    struct raft_conf_edit edit = {.conf = *conf};
    raft_conf_state_members(conf, &edit.members);
    edit.fresh = edit.members;
    raft->conf = *conf;
    struct raft_progress_limits limits = {config->inflight_messages_max,
                                          config->inflight_bytes_max};
    raft_progress_set_follow(&raft->progress, &edit, raft->log.last.index, &limits);

    raft->term = hard_state->term;
    raft->vote = hard_state->vote;
    raft_core_log_commit_to(&raft->log, hard_state->commit);
    if (applied > 0) raft_core_log_applied_to(&raft->log, applied, 0);
    raft->shown_hard_state = raft_hard_state_now(raft);
    raft->role = raft->shown_role = RAFT_FOLLOWER;
    /* Whoever never saw a term has promised nothing. */
    raft->grace_wanted = config->restart_grace && hard_state->term > 0;
    if (raft->grace_wanted) raft->grace_ticks_left = config->election_ticks;
    raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
    return raft;
}

void raft_free(struct raft *raft) {
    if (!raft) return;
    raft_works_done(raft);
    raft_reads_done(raft);
    raft_progress_set_done(&raft->progress);
    raft_core_log_done(&raft->log);
    memory_free(raft);
}

/* ---- time ---- */

void raft_set_now(struct raft *raft, uint64_t now_us) {
    ASSERT_CMP(now_us, >=, raft->now_us);
    raft->now_us = now_us;
    if (raft->grace_wanted && now_us > 0) {
        raft->grace_wanted = false;
        raft->grace_ticks_left = 0; /* the clock is the better measure */
        raft_guard_leader(raft);
    }
}

static void tick_leader(struct raft *raft) {
    raft->heartbeat_elapsed++;
    raft->election_elapsed++;
    if (raft->election_elapsed >= raft->config.election_ticks) {
        raft->election_elapsed = 0;
        if (raft->config.check_quorum) raft_check_quorum(raft);
        /* A transfer that took longer than an election is given up (thesis 3.10). */
        if (raft->role == RAFT_LEADER) raft_abort_transfer(raft);
    }
    if (raft->role != RAFT_LEADER) return;
    if (raft->heartbeat_elapsed >= raft->config.heartbeat_ticks) {
        raft->heartbeat_elapsed = 0;
        raft_broadcast_heartbeat(raft);
    }
}

void raft_tick(struct raft *raft) {
    if (raft->grace_ticks_left > 0) raft->grace_ticks_left--;
    if (raft->role == RAFT_LEADER) {
        tick_leader(raft);
    } else {
        raft_tick_election(raft);
    }
}

/* ---- messages ---- */

static enum status check_message(const struct raft *raft, const struct raft_message *message) {
    if (message->kind < RAFT_MSG_APPEND || message->kind > RAFT_MSG_FORGET_LEADER) {
        return STATUS_INVALID;
    }
    if (message->term > RAFT_TERM_MAX || message->log.index > RAFT_INDEX_MAX) {
        return STATUS_INVALID;
    }
    bool termless = message->kind == RAFT_MSG_PROPOSE || message->kind == RAFT_MSG_READ_INDEX ||
                    message->kind == RAFT_MSG_FORGET_LEADER ||
                    message->kind == RAFT_MSG_TRANSFER_LEADER;
    if (message->term == 0 && !termless) return STATUS_INVALID;
    if (message->kind == RAFT_MSG_SNAPSHOT && !message->snapshot) return STATUS_INVALID;
    if (message->kind == RAFT_MSG_PROPOSE && message->entry_count == 0) return STATUS_INVALID;
    if (message->to != raft->config.id) return STATUS_INVALID;
    return STATUS_OK;
}

/* A message of a later term ends this one, with three exceptions: a vote that stickiness refuses
 * (4.2.3), and pre-votes, which are about a term that nobody is in yet (9.6). */
static bool accept_later_term(struct raft *raft, const struct raft_message *message) {
    bool vote = message->kind == RAFT_MSG_VOTE || message->kind == RAFT_MSG_PRE_VOTE;
    if (vote && !message->force && raft_guards_leader(raft)) return false;
    if (message->kind == RAFT_MSG_PRE_VOTE) return true;
    if (message->kind == RAFT_MSG_PRE_VOTE_RESPONSE && !message->reject) return true;
    bool from_leader = message->kind == RAFT_MSG_APPEND || message->kind == RAFT_MSG_HEARTBEAT ||
                       message->kind == RAFT_MSG_SNAPSHOT;
    raft_become_follower(raft, message->term, from_leader ? message->from : RAFT_NO_REPLICA);
    return true;
}

/* Stale messages are dropped; but a leader of an earlier term that cannot make this replica follow
 * must hear of the present term, else with pre-vote and stickiness it would never step down. */
static void answer_earlier_term(struct raft *raft, const struct raft_message *message) {
    bool sticky = raft->config.check_quorum || raft->config.pre_vote;
    bool from_leader = message->kind == RAFT_MSG_APPEND || message->kind == RAFT_MSG_HEARTBEAT;
    if (sticky && from_leader) {
        raft_send(raft,
                  (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE, .to = message->from});
    } else if (message->kind == RAFT_MSG_PRE_VOTE) {
        raft_send(raft, (struct raft_message){.kind = RAFT_MSG_PRE_VOTE_RESPONSE,
                                              .to = message->from,
                                              .term = raft->term,
                                              .reject = true});
    }
}

static enum status step_leader(struct raft *raft, const struct raft_message *message) {
    switch (message->kind) {
    case RAFT_MSG_PROPOSE:
        return raft_propose_entries(raft, message->entries, message->entry_count);
    case RAFT_MSG_READ_INDEX:
        return raft_accept_read(raft, message->from, message->context);
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_SNAPSHOT:
        return STATUS_INVALID; /* two leaders in one term */
    case RAFT_MSG_FORGET_LEADER:
        return STATUS_OK;
    default:
        break;
    }
    struct raft_progress *progress = raft_progress_of(raft, message->from);
    if (!progress) return STATUS_NOT_FOUND;
    if (message->kind == RAFT_MSG_APPEND_RESPONSE) {
        if (!message->reject && message->log.index > raft->log.last.index) return STATUS_INVALID;
        raft_handle_append_response(raft, message);
    } else if (message->kind == RAFT_MSG_HEARTBEAT_RESPONSE) {
        raft_handle_heartbeat_response(raft, message);
    } else if (message->kind == RAFT_MSG_TRANSFER_LEADER) {
        raft_begin_transfer(raft, progress);
    }
    return STATUS_OK;
}

static enum status follow_leader(struct raft *raft, const struct raft_message *message) {
    if (raft->leader != RAFT_NO_REPLICA && raft->leader != message->from) return STATUS_INVALID;
    raft->election_elapsed = 0;
    raft->leader = message->from;
    raft_guard_leader(raft);
    if (message->kind == RAFT_MSG_APPEND) return raft_handle_append(raft, message);
    if (message->kind == RAFT_MSG_HEARTBEAT) return raft_handle_heartbeat(raft, message);
    raft_handle_snapshot(raft, message);
    return STATUS_OK;
}

static enum status step_candidate(struct raft *raft, const struct raft_message *message) {
    enum raft_message_kind awaited =
        raft->role == RAFT_PRE_CANDIDATE ? RAFT_MSG_PRE_VOTE_RESPONSE : RAFT_MSG_VOTE_RESPONSE;
    switch (message->kind) {
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_SNAPSHOT:
        /* Somebody has won this term. */
        raft_become_follower(raft, message->term, message->from);
        return follow_leader(raft, message);
    case RAFT_MSG_PROPOSE:
    case RAFT_MSG_READ_INDEX:
        return STATUS_DROPPED;
    default:
        if (message->kind == awaited) raft_handle_vote_response(raft, message);
        return STATUS_OK;
    }
}

/* Passes a client's wish on to the leader. */
static enum status forward(struct raft *raft, const struct raft_message *message) {
    if (raft->leader == RAFT_NO_REPLICA) return STATUS_DROPPED;
    if (message->kind == RAFT_MSG_PROPOSE && !raft->config.forward_proposals) {
        return STATUS_DROPPED;
    }
    struct raft_message forwarded = *message;
    forwarded.to = raft->leader;
    for (uint32_t at = 0; at < message->entry_count; at++) {
        raft_entry_list_add(&raft_outbox_filling(raft)->entries, &message->entries[at]);
    }
    raft_send(raft, forwarded);
    return STATUS_OK;
}

static enum status step_follower(struct raft *raft, const struct raft_message *message) {
    switch (message->kind) {
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_SNAPSHOT:
        return follow_leader(raft, message);
    case RAFT_MSG_PROPOSE:
    case RAFT_MSG_READ_INDEX:
    case RAFT_MSG_TRANSFER_LEADER:
        return forward(raft, message);
    case RAFT_MSG_TIMEOUT_NOW:
        return raft_start_election(raft, RAFT_CAMPAIGN_TRANSFER);
    case RAFT_MSG_FORGET_LEADER:
        return raft_forget_leader(raft);
    case RAFT_MSG_READ_INDEX_RESPONSE:
        raft_read_state_list_add(&raft->read_states[raft->outbox_filling],
                                 (struct raft_read_state){message->context, message->log.index});
        return STATUS_OK;
    default:
        return STATUS_OK; /* responses to a role it no longer has */
    }
}

enum status raft_step(struct raft *raft, const struct raft_message *message) {
    enum status status = check_message(raft, message);
    if (status != STATUS_OK) return status;
    if (message->term > raft->term) {
        if (!accept_later_term(raft, message)) return STATUS_OK;
    } else if (message->term != 0 && message->term < raft->term) {
        answer_earlier_term(raft, message);
        return STATUS_OK;
    }
    if (message->kind == RAFT_MSG_VOTE || message->kind == RAFT_MSG_PRE_VOTE) {
        raft_handle_vote_request(raft, message);
        return STATUS_OK;
    }
    switch (raft->role) {
    case RAFT_LEADER:
        return step_leader(raft, message);
    case RAFT_FOLLOWER:
        return step_follower(raft, message);
    default:
        return step_candidate(raft, message);
    }
}

/* ---- wishes of the owner ---- */

enum status raft_campaign(struct raft *raft) {
    if (raft->role == RAFT_LEADER) return STATUS_OK;
    if (raft_guards_by_clock(raft)) return STATUS_BUSY;
    return raft_start_election(raft,
                               raft->config.pre_vote ? RAFT_CAMPAIGN_PRE_VOTE : RAFT_CAMPAIGN_VOTE);
}

enum status raft_propose(struct raft *raft, struct payload *payload, struct raft_log_id *ret_id) {
    struct raft_entry entry = {.kind = RAFT_ENTRY_NORMAL, .payload = payload};
    struct raft_message message = {.kind = RAFT_MSG_PROPOSE,
                                   .from = raft->config.id,
                                   .to = raft->config.id,
                                   .entry_count = 1,
                                   .entries = &entry};
    bool leads = raft->role == RAFT_LEADER;
    enum status status = raft_step(raft, &message);
    if (status == STATUS_OK && ret_id) {
        *ret_id = leads ? raft->log.last : (struct raft_log_id){0, 0};
    }
    return status;
}

enum status raft_forget_leader(struct raft *raft) {
    if (raft->role == RAFT_LEADER) return STATUS_OK;
    if (raft->config.read_mode == RAFT_READ_LEASE) return STATUS_UNSUPPORTED;
    raft->leader = RAFT_NO_REPLICA;
    return STATUS_OK;
}

void raft_report_unreachable(struct raft *raft, uint64_t id) {
    struct raft_progress *progress = raft_progress_of(raft, id);
    if (raft->role != RAFT_LEADER || !progress) return;
    /* Optimistic appends were probably lost: find out where the follower stands. */
    if (progress->state == RAFT_PROGRESS_REPLICATE) raft_progress_become_probe(progress);
}

void raft_report_snapshot(struct raft *raft, uint64_t id, bool failed) {
    struct raft_progress *progress = raft_progress_of(raft, id);
    if (raft->role != RAFT_LEADER || !progress) return;
    if (progress->state != RAFT_PROGRESS_SNAPSHOT) return;
    if (failed) progress->pending_snapshot = 0;
    raft_progress_become_probe(progress);
    /* Sent: wait for its acknowledgement. Failed: wait for a heartbeat's answer before the next. */
    progress->paused = true;
}
