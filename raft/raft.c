/* The object, its roles, and the dispatch of messages by term and role (thesis figure 3.1).
 *
 * Roles and transitions:
 *   follower      -> pre-candidate, candidate   raft_start_election
 *   pre-candidate -> candidate                  a quorum would vote (9.6)
 *   candidate     -> leader                     a quorum voted
 *   any           -> follower                   a higher term, a leader of this term, a lost vote,
 *                                               no contact to a quorum, removal
 * Leaders and followers are awake or quiet (quiesce.c). */
#include "raft/internal.h"

#include "base/assert.h"
#include "base/memory.h"

/* ---- life ---- */

static void check_config(const struct raft_config *config) {
    ASSERT(config->id != RAFT_NO_REPLICA);
    ASSERT_CMP(config->heartbeat_ticks, >, 0);
    ASSERT_CMP(config->election_ticks, >, config->heartbeat_ticks);
    ASSERT(config->random != NULL);
    ASSERT_CMP(config->lease_drift_ppm, <, 1000000);
    /* Leases rest on followers that refuse votes, and that comes with check-quorum (6.2). */
    if (config->read_mode == RAFT_READ_LEASE) ASSERT(config->check_quorum && config->tick_us > 0);
}

struct raft *raft_new(const struct raft_config *config, const struct raft_storage *storage,
                      const struct raft_hard_state *hard_state, const struct raft_conf_state *conf,
                      uint64_t applied) {
    check_config(config);
    ASSERT(raft_conf_state_valid(conf));
    struct raft *raft = MEMORY_NEW(struct raft);
    raft->config = *config;
    raft_core_log_init(&raft->log, storage, config->cache_bytes_max,
                       config->cache_applied_bytes_max, config->apply_bytes_max);
    raft->conf = *conf;
    struct raft_conf_edit edit = {.conf = *conf};
    raft_conf_state_members(conf, &edit.members);
    raft_progress_set_follow(
        &raft->progress, &edit, raft->log.last.index,
        &(struct raft_progress_limits){config->inflight_messages_max, config->inflight_bytes_max});
    raft->term = hard_state->term;
    raft->vote = hard_state->vote;
    raft_core_log_commit_to(&raft->log, hard_state->commit);
    raft_core_log_commit_to(&raft->log, applied); /* what was applied was committed */
    if (applied > raft->log.applied) raft_core_log_applied_to(&raft->log, applied, 0);
    raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
    raft->shown_leader = raft->leader;
    raft->shown_role = raft->role;
    raft->shown_hard_state = raft_hard_state_now(raft);
    /* An only voter can have promised nothing to anybody else. */
    raft->grace_wanted = config->restart_grace_us > 0 &&
                         !(raft_conf_state_is_singleton(conf) && raft_promotable(raft));
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

void raft_set_now(struct raft *raft, uint64_t now_us) {
    ASSERT_CMP(now_us, >=, raft->now_us);
    raft->now_us = now_us;
    if (raft->grace_wanted && now_us > 0) {
        raft->grace_wanted = false;
        raft_keep_still(raft, raft->config.restart_grace_us);
    }
}

struct raft_progress *raft_progress_of(const struct raft *raft, uint64_t id) {
    return raft_progress_find(&raft->progress, id);
}

struct raft_hard_state raft_hard_state_now(const struct raft *raft) {
    return (struct raft_hard_state){raft->term, raft->vote, raft->log.committed};
}

bool raft_promotable(const struct raft *raft) {
    const struct raft_progress *own = raft_progress_of(raft, raft->config.id);
    return own && !own->learner && !raft->log.snapshot && !raft->declines;
}

void raft_set_election_timeout(struct raft *raft, uint32_t ticks) {
    raft->election_timeout = ticks;
}

/* ---- roles ---- */

/* Common to every change of role: nothing of the earlier role survives; a new term has no vote. */
void raft_reset(struct raft *raft, uint64_t term) {
    if (raft->term != term) {
        ASSERT_CMP(term, >, raft->term);
        raft->term = term;
        raft->vote = RAFT_NO_REPLICA;
        raft->transfer_begun = false;
    }
    raft->leader = RAFT_NO_REPLICA;
    raft->election_elapsed = raft->heartbeat_elapsed = raft->idle_elapsed = 0;
    raft->quiet = raft->leader_unheard = false;
    uint32_t election_ticks = raft->config.election_ticks;
    uint64_t spread = raft->config.random(raft->config.random_ctx, election_ticks);
    ASSERT_CMP(spread, <, election_ticks);
    raft->election_timeout = election_ticks + (uint32_t)spread;
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
    bool stepped_down = raft->role == RAFT_LEADER;
    raft_reset(raft, term);
    raft->leader = leader;
    raft->role = RAFT_FOLLOWER;
    if (stepped_down) {
        log_debug("raft_stepped_down", "%s replica=%lu term=%lu",
                  raft->config.log_prefix ? raft->config.log_prefix : "",
                  (unsigned long)raft->config.id, (unsigned long)term);
    }
}

/* ---- sending ---- */

static bool is_promise(enum raft_message_kind kind) {
    return kind == RAFT_MSG_APPEND_RESPONSE || kind == RAFT_MSG_VOTE_RESPONSE ||
           kind == RAFT_MSG_PRE_VOTE_RESPONSE;
}

static bool is_vote(enum raft_message_kind kind) {
    return kind == RAFT_MSG_VOTE || kind == RAFT_MSG_VOTE_RESPONSE || kind == RAFT_MSG_PRE_VOTE ||
           kind == RAFT_MSG_PRE_VOTE_RESPONSE;
}

void raft_send(struct raft *raft, struct raft_message message) {
    if (message.from == RAFT_NO_REPLICA) message.from = raft->config.id;
    if (is_vote(message.kind)) {
        ASSERT_CMP(message.term, >, 0); /* the term voted in, which may not be this replica's yet */
    } else if (message.kind != RAFT_MSG_PROPOSE && message.kind != RAFT_MSG_READ_INDEX) {
        message.term = raft->term;
    }
    if (message.kind == RAFT_MSG_APPEND || message.kind == RAFT_MSG_HEARTBEAT ||
        message.kind == RAFT_MSG_SNAPSHOT) {
        message.sent_us = raft->now_us;
    }
    if (message.kind == RAFT_MSG_APPEND_RESPONSE || message.kind == RAFT_MSG_HEARTBEAT_RESPONSE) {
        message.promised_us = message.sent_us > 0 ? raft_promise_us(raft) : 0;
    }
    if (is_promise(message.kind)) {
        /* Rejections too: they may rest on a vote or on entries that are not durable yet. */
        raft_message_list_add(&raft->after_append, &message);
        return;
    }
    ASSERT_CMP(message.to, !=, raft->config.id);
    raft_outbox_add(raft_outbox_filling(raft), &message);
}

/* ---- what a correct peer can send ---- */

static bool entries_valid(const struct raft_message *message) {
    struct raft_log_id before = message->log;
    if (message->entry_count > 0 && !message->entries) return false;
    for (uint32_t at = 0; at < message->entry_count; at++) {
        const struct raft_entry *entry = &message->entries[at];
        if (entry->kind > RAFT_ENTRY_CONF_CHANGE_V2) return false;
        if (message->kind == RAFT_MSG_PROPOSE) continue; /* not numbered yet */
        if (entry->id.index != before.index + 1 || entry->id.term < before.term) return false;
        if (entry->id.term > message->term || entry->id.term == 0) return false;
        before = entry->id;
    }
    return true;
}

static bool term_valid(const struct raft_message *message) {
    if (message->term > RAFT_TERM_MAX || message->log.term > RAFT_TERM_MAX) return false;
    switch (message->kind) {
    case RAFT_MSG_PROPOSE:
    case RAFT_MSG_READ_INDEX:
        return message->term == 0;
    case RAFT_MSG_FORGET_LEADER:
        return true;
    default:
        return message->term > 0;
    }
}

/* What a replica may receive from itself: its promises, once its disk has kept them, and what it
 * forwarded to somebody who by then took it for the leader. A transfer names its target in `from`.
 */
static bool may_come_back(enum raft_message_kind kind) {
    return is_promise(kind) || kind == RAFT_MSG_PROPOSE || kind == RAFT_MSG_READ_INDEX ||
           kind == RAFT_MSG_TRANSFER_LEADER;
}

static bool message_valid(const struct raft *raft, const struct raft_message *message) {
    if (message->kind < RAFT_MSG_APPEND || message->kind > RAFT_MSG_FORGET_LEADER) return false;
    if (message->from == RAFT_NO_REPLICA || message->to != raft->config.id) return false;
    if (message->term > raft->term && message->term - raft->term > RAFT_TERM_STEP_MAX) return false;
    bool own = message->from == raft->config.id;
    if (own && !may_come_back(message->kind)) return false;
    if (own && message->kind == RAFT_MSG_APPEND_RESPONSE && message->reject) return false;
    if (message->log.index > RAFT_INDEX_MAX || message->commit > RAFT_INDEX_MAX ||
        message->reject_hint > RAFT_INDEX_MAX || !term_valid(message)) {
        return false;
    }
    if (message->quiesce && message->kind != RAFT_MSG_HEARTBEAT) return false;
    bool echoes =
        message->kind == RAFT_MSG_APPEND_RESPONSE || message->kind == RAFT_MSG_HEARTBEAT_RESPONSE;
    if (message->promised_us > 0 && !(echoes && message->sent_us > 0)) return false;
    if (message->truncated > 0 && message->kind != RAFT_MSG_APPEND) return false;
    if (message->committed.index > 0 && message->kind != RAFT_MSG_VOTE_RESPONSE &&
        message->kind != RAFT_MSG_PRE_VOTE_RESPONSE) {
        return false;
    }
    switch (message->kind) {
    case RAFT_MSG_APPEND:
        /* The entry before the first that is sent has to be known. */
        return message->log.term <= message->term && message->truncated <= message->log.index &&
               entries_valid(message);
    case RAFT_MSG_PROPOSE:
        return message->entry_count > 0 && entries_valid(message);
    case RAFT_MSG_SNAPSHOT:
        return message->snapshot && message->snapshot->id.index > 0 &&
               message->snapshot->id.index <= RAFT_INDEX_MAX &&
               message->snapshot->id.term <= message->term &&
               raft_conf_state_valid(&message->snapshot->conf);
    case RAFT_MSG_READ_INDEX:
        return message->context != 0;
    case RAFT_MSG_HEARTBEAT:
        return !message->reject && (!message->quiesce || message->log.term <= message->term);
    case RAFT_MSG_VOTE_RESPONSE:
    case RAFT_MSG_PRE_VOTE_RESPONSE:
        return message->committed.index <= RAFT_INDEX_MAX;
    default:
        return true;
    }
}

static bool is_response(enum raft_message_kind kind) {
    return is_promise(kind) || kind == RAFT_MSG_HEARTBEAT_RESPONSE ||
           kind == RAFT_MSG_READ_INDEX_RESPONSE;
}

/* ---- dispatch ---- */

static enum status step_propose(struct raft *raft, const struct raft_message *message) {
    /* The entries are the sender's and get numbered here: a copy, which borrows the payloads. */
    struct raft_entry_list copy = {0};
    struct raft_entry *entries = raft_entry_list_reserve(&copy, message->entry_count);
    memcpy(entries, message->entries, message->entry_count * sizeof(*entries));
    enum status status = raft_propose_entries(raft, entries, message->entry_count);
    raft_entry_list_done(&copy);
    return status == STATUS_CORRUPTION ? STATUS_INVALID : status;
}

static enum status step_leader(struct raft *raft, const struct raft_message *message) {
    if (message->kind == RAFT_MSG_PROPOSE) return step_propose(raft, message);
    if (message->kind == RAFT_MSG_READ_INDEX) {
        return raft_accept_read(raft, message->from, message->context);
    }
    struct raft_progress *progress = raft_progress_of(raft, message->from);
    if (!progress) return STATUS_OK; /* removed meanwhile */
    switch (message->kind) {
    case RAFT_MSG_APPEND_RESPONSE:
        raft_handle_append_response(raft, message);
        break;
    case RAFT_MSG_HEARTBEAT_RESPONSE:
        raft_handle_heartbeat_response(raft, message);
        break;
    case RAFT_MSG_TRANSFER_LEADER:
        raft_begin_transfer(raft, progress);
        break;
    default:
        break; /* an answer to an earlier role */
    }
    return STATUS_OK;
}

static enum status step_from_leader(struct raft *raft, const struct raft_message *message) {
    bool other_leads = raft->leader != RAFT_NO_REPLICA && raft->leader != message->from;
    if (raft->role == RAFT_LEADER || other_leads) {
        log_error("raft_two_leaders", "term=%lu from=%lu", (unsigned long)message->term,
                  (unsigned long)message->from);
        return STATUS_INVALID;
    }
    if (raft->role == RAFT_FOLLOWER) {
        raft->election_elapsed = 0;
        raft->leader = message->from;
        raft->leader_unheard = false;
    } else {
        raft_become_follower(raft, message->term, message->from);
    }
    raft_guard_leader(raft);
    switch (message->kind) {
    case RAFT_MSG_APPEND:
        return raft_handle_append(raft, message);
    case RAFT_MSG_HEARTBEAT:
        return raft_handle_heartbeat(raft, message);
    default:
        raft_handle_snapshot(raft, message);
        return STATUS_OK;
    }
}

static enum status forward_to_leader(struct raft *raft, const struct raft_message *message) {
    if (raft->leader == RAFT_NO_REPLICA) return STATUS_DROPPED;
    raft_unquiesce(raft);
    struct raft_message forwarded = *message;
    forwarded.to = raft->leader;
    struct raft_outbox *outbox = raft_outbox_filling(raft);
    for (uint32_t at = 0; at < message->entry_count; at++) {
        raft_entry_list_add(&outbox->entries, &message->entries[at]);
    }
    raft_send(raft, forwarded);
    return STATUS_OK;
}

static enum status step_follower(struct raft *raft, const struct raft_message *message) {
    switch (message->kind) {
    case RAFT_MSG_PROPOSE:
        if (!raft->config.forward_proposals) return STATUS_DROPPED;
        return forward_to_leader(raft, message);
    case RAFT_MSG_TRANSFER_LEADER:
    case RAFT_MSG_READ_INDEX:
        return forward_to_leader(raft, message);
    case RAFT_MSG_FORGET_LEADER:
        (void)raft_forget_leader(raft); /* refused with leases: the sender is not told */
        return STATUS_OK;
    case RAFT_MSG_TIMEOUT_NOW:
        /* Its leader's to say: nobody else has given up a lease for it. */
        if (message->from != raft->leader) return STATUS_OK;
        /* No pre-vote: this is no recovery from a partition (3.10). Refusals are the transfer's
         * time-out to notice. */
        (void)raft_start_election(raft, RAFT_CAMPAIGN_TRANSFER);
        return STATUS_OK;
    case RAFT_MSG_READ_INDEX_RESPONSE:
        raft_read_state_list_add(&raft->read_states[raft->outbox_filling],
                                 (struct raft_read_state){message->context, message->log.index});
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static enum status step_in_term(struct raft *raft, const struct raft_message *message) {
    switch (message->kind) {
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        raft_handle_vote_request(raft, message);
        return STATUS_OK;
    case RAFT_MSG_APPEND:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_SNAPSHOT:
        return step_from_leader(raft, message);
    default:
        break;
    }
    if (raft->role == RAFT_LEADER) return step_leader(raft, message);
    if (raft->role == RAFT_FOLLOWER) return step_follower(raft, message);
    /* Answers to a pre-vote do not count for a vote, nor the other way round. */
    enum raft_message_kind expected =
        raft->role == RAFT_PRE_CANDIDATE ? RAFT_MSG_PRE_VOTE_RESPONSE : RAFT_MSG_VOTE_RESPONSE;
    if (message->kind == expected) raft_handle_vote_response(raft, message);
    return message->kind == RAFT_MSG_PROPOSE ? STATUS_DROPPED : STATUS_OK;
}

/* A higher term wins (3.3), but a vote request does not while a leader was heard recently (6.2).
 * Returns whether the message goes on to the role. */
static bool step_higher_term(struct raft *raft, const struct raft_message *message) {
    bool asks_vote = message->kind == RAFT_MSG_VOTE || message->kind == RAFT_MSG_PRE_VOTE;
    if (asks_vote && !message->force && raft_guards_leader(raft)) return false;
    if (message->kind == RAFT_MSG_PRE_VOTE) return true; /* asks, changes nothing */
    /* A granted pre-vote carries the term that this replica asked about. */
    if (message->kind == RAFT_MSG_PRE_VOTE_RESPONSE && !message->reject) return true;
    bool from_leader = message->kind == RAFT_MSG_APPEND || message->kind == RAFT_MSG_HEARTBEAT ||
                       message->kind == RAFT_MSG_SNAPSHOT;
    raft_become_follower(raft, message->term, from_leader ? message->from : RAFT_NO_REPLICA);
    return true;
}

/* A lower term is refused (3.3). Senders that could stay stuck learn of the term that they missed:
 * a leader that was cut off, when check-quorum or pre-vote keep terms from spreading by vote
 * requests; and a candidate, which otherwise runs after the terms of another that it never hears
 * from. */
static void step_lower_term(struct raft *raft, const struct raft_message *message) {
    bool refuses_votes = raft->config.check_quorum || raft->config.pre_vote;
    bool from_leader = message->kind == RAFT_MSG_HEARTBEAT || message->kind == RAFT_MSG_APPEND;
    /* Otherwise it hears when this replica stands for election; if it ever does so, and asks it. */
    bool asks_it = raft_promotable(raft) && raft_conf_state_is_voter(&raft->conf, message->from);
    if (from_leader && (refuses_votes || !asks_it)) {
        raft_send(raft,
                  (struct raft_message){.kind = RAFT_MSG_APPEND_RESPONSE, .to = message->from});
    } else if (message->kind == RAFT_MSG_PRE_VOTE || message->kind == RAFT_MSG_VOTE) {
        bool pre_vote = message->kind == RAFT_MSG_PRE_VOTE;
        raft_send(raft, (struct raft_message){.kind = pre_vote ? RAFT_MSG_PRE_VOTE_RESPONSE
                                                               : RAFT_MSG_VOTE_RESPONSE,
                                              .to = message->from,
                                              .term = raft->term,
                                              .committed = raft_committed_id(raft),
                                              .reject = true});
    }
}

enum status raft_step(struct raft *raft, const struct raft_message *message) {
    if (!message_valid(raft, message)) return STATUS_INVALID;
    if (is_response(message->kind) && !raft_progress_of(raft, message->from)) {
        return STATUS_NOT_FOUND;
    }
    if (raft->quiet) raft_wake_by_message(raft, message);
    if (message->committed.index > raft->log.committed) raft_learn_commit(raft, message->committed);
    if (message->term > raft->term) {
        if (!step_higher_term(raft, message)) return STATUS_OK;
    } else if (message->term != 0 && message->term < raft->term) {
        step_lower_term(raft, message);
        return STATUS_OK;
    }
    return step_in_term(raft, message);
}

static void tick_leader(struct raft *raft) {
    raft->ticks++;
    raft->heartbeat_elapsed++;
    raft->idle_elapsed++;
    raft->election_elapsed++;
    if (raft->election_elapsed >= raft->config.election_ticks) {
        raft->election_elapsed = 0;
        if (raft->config.check_quorum) raft_check_quorum(raft);
        /* A transfer that takes this long has failed (3.10). */
        if (raft->role == RAFT_LEADER) raft_abort_transfer(raft);
    }
    if (raft->role != RAFT_LEADER || raft_maybe_quiesce(raft)) return;
    if (raft->heartbeat_elapsed >= raft->config.heartbeat_ticks) raft_beat(raft);
}

void raft_tick(struct raft *raft) {
    if (raft->quiet) return;
    if (raft->grace_wanted) raft->grace_ticks++;
    if (raft->role == RAFT_LEADER) {
        tick_leader(raft);
    } else {
        raft_tick_election(raft);
    }
}

void raft_miss_ticks(struct raft *raft, uint32_t ticks) {
    if (raft->quiet || raft->role != RAFT_LEADER) return;
    raft->ticks += ticks;
    raft->heartbeat_elapsed += ticks;
}

enum status raft_forget_leader(struct raft *raft) {
    if (raft->config.read_mode == RAFT_READ_LEASE) return STATUS_UNSUPPORTED;
    if (raft->role != RAFT_FOLLOWER) return STATUS_OK;
    raft_unquiesce(raft);
    raft->leader_unheard = false;
    raft->leader = RAFT_NO_REPLICA;
    return STATUS_OK;
}

enum status raft_forward_proposal(struct raft *raft, struct raft_entry *entry) {
    if (raft->role != RAFT_FOLLOWER || !raft->config.forward_proposals) return STATUS_DROPPED;
    struct raft_message message = {.kind = RAFT_MSG_PROPOSE, .entry_count = 1, .entries = entry};
    return forward_to_leader(raft, &message);
}

enum status raft_propose(struct raft *raft, struct payload *payload, struct raft_log_id *ret_id) {
    struct raft_entry entry = {.kind = RAFT_ENTRY_NORMAL, .payload = payload};
    enum status status = raft->role == RAFT_LEADER ? raft_propose_entries(raft, &entry, 1)
                                                   : raft_forward_proposal(raft, &entry);
    if (status == STATUS_OK && ret_id) *ret_id = entry.id; /* {0,0} when forwarded */
    return status;
}
