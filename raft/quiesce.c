/* Quiescence: a group in which nothing happens goes quiet and costs nothing, until something does.
 *
 * States of a leader, and of a follower:
 *   awake -> quiet   idle for quiesce_ticks, and everybody has everything   raft_maybe_quiesce
 *                    the leader's notice came, and fits                     raft_follow_quiesce
 *   quiet -> awake   work of the owner: proposal, read, transfer, campaign  raft_unquiesce
 *                    a message that wakes the group                         raft_wake_by_message
 *                    the owner says so                                      raft_wake
 *                    the leader's node is silent or began anew              raft_suspect_leader
 *                    who was left behind is reachable again                 raft_report_reachable
 *                    a change of role or term                               raft_reset
 *
 * Invariants:
 *  Q1  A leader goes quiet only when its whole log is committed and applied here, nothing waits,
 *      the configuration is not joint, and a quorum that is not away has all of it.
 *  Q2  It leaves nobody behind but replicas whose nodes are away, and remembers whom.
 *  Q3  A follower goes quiet only when it ends where the notice says, and knows all of it to be
 *      committed. So a replica that lacks something is awake, or was quiet before and is remembered
 *      by the leader that went on without it (Q2).
 *  Q4  Whoever is awake and does not hear its leader stands for election, which wakes the others;
 *      a learner, which cannot, complains (raft_miss_leader).
 *
 * Why no group stays quiet without a leader that can be reached. Somebody who is awake ends it
 * (Q4). If all are quiet, each believes in a leader, and its owner watches that leader's node: the
 * node is silent, or has restarted (raft_suspect_leader); or the replica there is quiet too and
 * leads, for it cannot have lost its leadership without somebody being awake; or it follows another
 * leader, which then left this replica behind (Q2) and hears of its node sooner or later.
 *
 * Why a notice is lost without harm: who missed it is awake, and stands for election (Q4); which
 * wakes the leader, whose heartbeat ends that. Notices are not answered by who goes quiet, else the
 * answer would wake the leader; who does not fit answers with `reject`.
 *
 * A lease (lease.c) needs no rule of its own: it and the promises it rests on are kept by clocks,
 * so it ends while the group is quiet, and the first read afterwards needs a round. */
#include "base/assert.h"
#include "raft/internal.h"

bool raft_quiet(const struct raft *raft) {
    return raft->quiet;
}

/* ---- going quiet ---- */

/* As a leader knows. Its own log is not being sent to it, in whatever state. */
static bool has_everything(const struct raft *raft, const struct raft_progress *progress) {
    bool fed = progress->state == RAFT_PROGRESS_REPLICATE || progress->id == raft->config.id;
    return fed && progress->match == raft->log.last.index;
}

static bool is_away(const struct raft *raft, uint64_t id) {
    return id != raft->config.id && raft->config.away &&
           raft->config.away(raft->config.away_ctx, id);
}

static enum raft_vote agreement_of(const void *ctx, uint64_t id) {
    const struct raft *raft = ctx;
    const struct raft_progress *progress = raft_progress_of(raft, id);
    bool agrees = progress && has_everything(raft, progress) && !is_away(raft, id);
    return agrees ? RAFT_VOTE_GRANTED : RAFT_VOTE_REJECTED;
}

static bool nothing_waits(const struct raft *raft) {
    const struct raft_core_log *log = &raft->log;
    const struct raft_reads *reads = &raft->reads, *early = &raft->early_reads;
    return log->applied == log->last.index && log->last.term == raft->term &&
           !raft_core_log_has_unstable(log) && !log->snapshot && !raft->appends_wanted &&
           raft->transfer_target == RAFT_NO_REPLICA && reads->head == reads->count &&
           early->head == early->count && !reads->round_wanted;
}

/* Somebody who is there and lacks something has to be brought up to date first (Q2). */
static bool somebody_lags(const struct raft *raft) {
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        const struct raft_progress *progress = &raft->progress.items[at];
        if (!has_everything(raft, progress) && !is_away(raft, progress->id)) return true;
    }
    return false;
}

static bool may_quiesce(const struct raft *raft) {
    return nothing_waits(raft) && !raft_conf_state_joint(&raft->conf) &&
           raft_conf_state_is_voter(&raft->conf, raft->config.id) && !somebody_lags(raft) &&
           raft_quorum_vote(&raft->conf.voters, &raft->conf.voters_outgoing, agreement_of, raft) ==
               RAFT_VOTES_WON;
}

static void send_notice(struct raft *raft, struct raft_progress *progress) {
    uint64_t committed = raft->log.committed;
    uint64_t commit = progress->match < committed ? progress->match : committed;
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_HEARTBEAT,
                                          .to = progress->id,
                                          .log = raft->log.last,
                                          .commit = commit,
                                          .quiesce = true});
    progress->commit_sent = commit;
}

bool raft_maybe_quiesce(struct raft *raft) {
    ASSERT(raft->role == RAFT_LEADER && !raft->quiet);
    uint32_t ticks = raft->config.quiesce_ticks;
    if (ticks == 0 || raft->idle_elapsed < ticks || !may_quiesce(raft)) return false;
    raft->quiet = true;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        progress->left_behind = !has_everything(raft, progress);
        progress->recently_active = !is_away(raft, progress->id);
        if (progress->id != raft->config.id) send_notice(raft, progress);
    }
    return true;
}

bool raft_follow_quiesce(struct raft *raft, const struct raft_message *notice) {
    ASSERT(raft->role == RAFT_FOLLOWER && raft->leader == notice->from);
    const struct raft_core_log *log = &raft->log;
    bool fits = log->last.term == notice->log.term && log->last.index == notice->log.index &&
                log->committed == log->last.index && !raft_core_log_has_unstable(log) &&
                !log->snapshot;
    if (!fits || raft->config.quiesce_ticks == 0) return false;
    raft->quiet = true;
    return true;
}

/* ---- waking ---- */

/* A leader's doubts begin anew: it has a full election time-out to hear from a quorum. Who was
 * suspected before it woke may still be (raft_suspect_leader). */
void raft_unquiesce(struct raft *raft) {
    raft->idle_elapsed = 0;
    if (!raft->quiet) return;
    raft->quiet = false;
    raft->election_elapsed = raft->heartbeat_elapsed = 0;
    raft->leader_unheard = raft->role == RAFT_FOLLOWER;
    if (raft->role != RAFT_LEADER) return;
    raft->ticks += raft->config.heartbeat_ticks; /* nobody was told anything for that long */
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        struct raft_progress *progress = &raft->progress.items[at];
        progress->left_behind = false;
        if (progress->id != raft->config.id) progress->recently_active = false;
    }
}

static void complain(struct raft *raft, uint64_t to) {
    raft_send(raft,
              (struct raft_message){.kind = RAFT_MSG_HEARTBEAT_RESPONSE, .to = to, .reject = true});
}

void raft_wake(struct raft *raft) {
    if (!raft->quiet) return;
    raft_unquiesce(raft);
    if (raft->role == RAFT_LEADER) {
        raft->heartbeat_elapsed = raft->config.heartbeat_ticks; /* due with the next tick */
    } else {
        complain(raft, raft->leader);
    }
}

/* Once per time-out. The count of ticks goes on: this replica is no candidate, but it must not
 * refuse its vote to those who are. If it does not even know who leads, because a candidate raised
 * its term, it asks everybody; and also when that one does not answer: it may be gone for good, and
 * this replica, too. */
void raft_miss_leader(struct raft *raft) {
    uint32_t missed_ticks = raft->election_elapsed - raft->election_timeout;
    bool asks = raft->config.complain || raft->config.quiesce_ticks > 0;
    if (!asks || raft->term == 0 || missed_ticks % raft->config.election_ticks > 0) return;
    bool everybody = raft->leader == RAFT_NO_REPLICA || missed_ticks > 0;
    for (uint32_t at = 0; at < raft->progress.count; at++) {
        uint64_t id = raft->progress.items[at].id;
        if (id == raft->config.id || !raft_conf_state_is_voter(&raft->conf, id)) continue;
        if (everybody || raft->leader == id) complain(raft, id);
    }
}

/* What was under way when the group went quiet does not wake it: late answers of those who have
 * everything, and what a term of the past says. But a candidate of the past is somebody who misses
 * its leader; unless it left the group and was not told, for then it asks for ever. (If it is so
 * new that this replica does not know it, somebody asks who is known, or the leader is heard.) */
static bool wakes_group(const struct raft *raft, const struct raft_message *message) {
    if (message->from == raft->config.id) return false;
    switch (message->kind) {
    case RAFT_MSG_VOTE:
    case RAFT_MSG_PRE_VOTE:
        return raft_progress_of(raft, message->from) != NULL;
    case RAFT_MSG_APPEND_RESPONSE:
    case RAFT_MSG_HEARTBEAT_RESPONSE:
        if (message->term < raft->term) return false;
        return raft->role != RAFT_LEADER || message->reject ||
               !has_everything(raft, raft_progress_of(raft, message->from));
    default:
        return message->term == 0 || message->term >= raft->term;
    }
}

void raft_wake_by_message(struct raft *raft, const struct raft_message *message) {
    if (!wakes_group(raft, message)) return;
    if (raft->role == RAFT_FOLLOWER && message->from == raft->leader) {
        raft_unquiesce(raft); /* it knows */
    } else {
        raft_wake(raft);
    }
}

void raft_suspect_leader(struct raft *raft) {
    bool follows = raft->role == RAFT_FOLLOWER && raft->leader != RAFT_NO_REPLICA;
    if (!follows || !(raft->quiet || raft->leader_unheard)) return;
    raft_unquiesce(raft);
    /* What is left of the time-out is random: the replicas of one range, and the ranges of one
     * node, do not all stand at once. */
    if (raft->election_elapsed < raft->config.election_ticks) {
        raft->election_elapsed = raft->config.election_ticks;
    }
}

void raft_report_reachable(struct raft *raft, uint64_t id) {
    const struct raft_progress *progress = raft_progress_of(raft, id);
    if (raft->role == RAFT_LEADER && progress && progress->left_behind) raft_wake(raft);
}
