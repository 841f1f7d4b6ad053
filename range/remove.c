/* A replica that is no longer one: how it goes, what stays of it, and what its node says to those
 * who ask for it. Of its life (life.h):
 *
 *   to LEAVING     its own removal was applied (apply.c), or somebody who applied it said so
 *                  (range_remove_notified). Its Raft core is gone, who waited is answered
 *                  (range_remove_begin); after a restart it is found in this state by a record
 *                  whose descriptor does not list it
 *   to TOMBSTONE   log, states and the data of the span are deleted and the tombstone is written in
 *                  one batch, the log batch of a turn (range_remove_stage, range_remove_durable)
 *
 * A tombstone refuses the votes that its replica is still asked for, and says what it knows to be
 * committed: who asks may need no more than that to leave the configuration in which it asks
 * (raft/election.c, raft_learn_commit). */
#include "range/remove.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "raft/message_codec.h"
#include "range/metrics.h"
#include "range/raft_frame.h"
#include "range/worker.h"
#include "storage/mvcc.h"
#include "txn/evaluate.h"

/* ---- going ---- */

void range_remove_begin(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    log_info("range_removed", "%s replica=%" PRIu64 " conf_version=%" PRIu64, replica->log_prefix,
             replica->replica_id, replica->descriptor.epoch.conf_version);
    range_replica_retire(replica);
    range_life_enter(replica, RANGE_LEAVING);
    replica->removal.committed = replica->applied.applied;
    list_push_back(&worker->removals.leaving, &replica->removal.in_leaving);
}

static void put_deletion(struct range_replica *replica, struct storage_batch *batch) {
    static const enum storage_family families[] = {STORAGE_DATA, STORAGE_LOCK, STORAGE_META};
    struct buf begin = {0}, end = {0};
    raft_log_destroy(&replica->log, batch);
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        mvcc_span_bounds(families[i], slice_from_buf(&replica->descriptor.start),
                         slice_from_buf(&replica->descriptor.end), &begin, &end);
        storage_batch_delete_range(batch, families[i], slice_from_buf(&begin),
                                   slice_from_buf(&end));
    }
    buf_done(&begin);
    buf_done(&end);
}

void range_remove_stage(struct range_worker *worker) {
    LIST_FOR_EACH (node, &worker->removals.leaving) {
        struct range_replica *replica =
            CONTAINER_OF(node, struct range_replica, removal.in_leaving);
        if (replica->life == RANGE_DELETING) continue; /* staged already, not yet durable */
        put_deletion(replica, worker->log_batch);
        range_life_enter(replica, RANGE_DELETING);
        range_replica_put_record(replica, worker->log_batch);
        worker->log_needs_sync = true;
    }
}

void range_remove_durable(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->removals.leaving) {
        struct range_replica *replica =
            CONTAINER_OF(node, struct range_replica, removal.in_leaving);
        if (replica->life != RANGE_DELETING) continue;
        list_remove(node);
        range_positions_forget(replica); /* not before: its state is needed until it is deleted */
        range_life_enter(replica, RANGE_TOMBSTONE);
        txn_apply_forget(worker->apply.txn); /* its data is gone */
        metric_add(&metric_range_replicas_removed_total, 1);
    }
}

/* ---- being told ---- */

static void answer(struct range_worker *worker, uint64_t to_node, uint64_t range_id,
                   const struct raft_message *question, struct raft_message response) {
    response.from = question->to;
    response.to = question->from;
    range_outbox_add_stray(worker, to_node, range_id, &response);
}

static void send_question(struct range_replica *replica, uint64_t node_id, uint64_t replica_id,
                          bool complains) {
    struct raft_message question = {.kind = RAFT_MSG_HEARTBEAT_RESPONSE,
                                    .from = replica->replica_id,
                                    .to = replica_id,
                                    .term = raft_term(replica->raft),
                                    .reject = complains};
    range_outbox_add_stray(replica->worker, node_id, range_replica_id(replica), &question);
}

void range_remove_ask(struct range_replica *replica, uint64_t node_id, uint64_t replica_id) {
    send_question(replica, node_id, replica_id, true);
}

/* The notice that a leader gives when it goes quiet, once more, to one of the others. Who follows
 * is quiet anew, and does not answer. Who has another leader by now says so, or that this one is
 * gone. A quiet leader has applied its whole log. */
static void repeat_quiesce_notice(struct range_replica *replica) {
    const struct range_descriptor *descriptor = &replica->descriptor;
    uint32_t at = (uint32_t)prng_below(&replica->worker->prng, descriptor->replica_count);
    const struct range_replica_ref *other = &descriptor->replicas[at];
    if (other->replica_id == replica->replica_id) return; /* another time */
    struct raft_message notice = {.kind = RAFT_MSG_HEARTBEAT,
                                  .from = replica->replica_id,
                                  .to = other->replica_id,
                                  .term = raft_term(replica->raft),
                                  .log = replica->applied.applied,
                                  .quiesce = true};
    range_outbox_add_stray(replica->worker, other->node_id, range_replica_id(replica), &notice);
}

/* Nobody remembers who was removed while it could not be reached. A voter finds out when it stands
 * for election, a learner when it complains, a leader when its heartbeats are not answered. But who
 * is quiet trusts that its leader remembers whom it leaves behind, and that its followers do not
 * leave it: so the quiet ones ask, one of a worker's in turn. For those who are quiet with it the
 * question is nothing new. */
void range_remove_ask_membership(struct range_replica *replica) {
    if (!replica->raft || !raft_quiet(replica->raft)) return;
    uint64_t leader_node = range_replica_leader_node(replica);
    if (replica->leads)
        repeat_quiesce_notice(replica);
    else if (leader_node != 0)
        send_question(replica, leader_node, raft_leader(replica->raft), false);
}

/* All whom it knows are gone, and one of them knows of others: those are asked, as a follower asks
 * that misses its leader. Each time by a newer descriptor, so it comes to an end; and again after a
 * while, because messages get lost. */
static void ask_around(struct range_replica *replica, const struct range_descriptor *newer) {
    struct range_worker *worker = replica->worker;
    const struct range_store_config *config = &worker->store->config;
    if (worker->now_us >= replica->removal.asked_us + config->election_ticks * config->tick_us)
        replica->removal.asked_version = 0;
    if (newer->epoch.conf_version <= replica->removal.asked_version) return;
    replica->removal.asked_version = newer->epoch.conf_version;
    replica->removal.asked_us = worker->now_us;
    for (uint32_t i = 0; i < newer->replica_count; i++) {
        const struct range_replica_ref *other = &newer->replicas[i];
        if (other->replica_id != replica->replica_id)
            range_remove_ask(replica, other->node_id, other->replica_id);
    }
}

/* Who tells has applied the removal, and may forget that in a crash; what it knew to be committed
 * must not be forgotten with it. */
static void end_as_notified(struct range_replica *replica, struct raft_log_id committed) {
    range_remove_begin(replica);
    if (committed.index > replica->removal.committed.index) replica->removal.committed = committed;
}

/* Somebody is further than this leader: awake, it hears from its followers or steps down. */
static void prove_leadership(struct range_replica *replica) {
    range_replica_touch(replica);
    raft_wake(replica->raft);
}

void range_remove_notified(struct range_replica *replica, struct slice bytes) {
    struct range_removed_notice notice;
    if (range_raft_frame_decode_removed(bytes, &notice) != STATUS_OK) return;
    const struct range_descriptor *newer = &notice.descriptor;
    bool meant = newer->range_id == range_replica_id(replica) &&
                 notice.replica_id == replica->replica_id &&
                 newer->epoch.conf_version > replica->descriptor.epoch.conf_version;
    if (meant && range_remove_is_gone(newer, replica->replica_id))
        end_as_notified(replica, notice.committed);
    else if (meant && replica->leads)
        prove_leadership(replica);
    else if (meant)
        ask_around(replica, newer);
    range_descriptor_done(&notice.descriptor);
}

bool range_remove_is_gone(const struct range_descriptor *descriptor, uint64_t replica_id) {
    return replica_id < descriptor->next_replica_id &&
           !range_descriptor_replica(descriptor, replica_id);
}

void range_remove_tell(const struct range_replica *replica, uint64_t node_id, uint64_t replica_id) {
    struct range_removed_notice notice = {.replica_id = replica_id,
                                          .committed = replica->life >= RANGE_DELETING
                                                           ? replica->removal.committed
                                                           : replica->applied.applied,
                                          .descriptor = replica->descriptor};
    range_outbox_add_removed(replica->worker, node_id, &notice);
}

/* ---- messages for who is not here ---- */

/* Refuses, in the term that the asker is in, so that nothing but its content moves it: what is
 * known here to be committed. It may be all that the asker lacks to leave the configuration in
 * which it asks, and the voter that everybody waits for may be a learner there. */
static void answer_committed(struct range_worker *worker, uint64_t to_node, uint64_t range_id,
                             const struct raft_message *message, struct raft_log_id committed) {
    bool pre_vote = message->kind == RAFT_MSG_PRE_VOTE;
    if (message->term < 2) return; /* of no range: they begin at RANGE_INITIAL_TERM */
    struct raft_message response = {.kind = message->kind == RAFT_MSG_VOTE
                                                ? RAFT_MSG_VOTE_RESPONSE
                                                : RAFT_MSG_PRE_VOTE_RESPONSE,
                                    .term = pre_vote ? message->term - 1 : message->term,
                                    .reject = true,
                                    .committed = committed};
    answer(worker, to_node, range_id, message, response);
}

void range_remove_complaint(struct range_replica *replica, uint64_t from_node,
                            const struct raft_message *message) {
    if (replica->leads || message->kind != RAFT_MSG_HEARTBEAT_RESPONSE || !message->reject) return;
    answer_committed(replica->worker, from_node, range_replica_id(replica), message,
                     replica->applied.applied);
}

/* Who asks for a vote, complains that no leader is heard, or believes to lead, and knows less than
 * this tombstone, is shown what it knows: that the asker is gone, too, or whom to ask next. */
static void answer_for_tombstone(struct range_replica *tombstone, uint64_t from_node,
                                 const struct range_raft_envelope *envelope,
                                 const struct raft_message *message) {
    bool asks = message->kind == RAFT_MSG_VOTE || message->kind == RAFT_MSG_PRE_VOTE ||
                message->kind == RAFT_MSG_HEARTBEAT_RESPONSE;
    bool gone = range_remove_is_gone(&tombstone->descriptor, message->from);
    if (asks && !gone)
        answer_committed(tombstone->worker, from_node, range_replica_id(tombstone), message,
                         tombstone->removal.committed);
    bool leads = message->kind == RAFT_MSG_HEARTBEAT;
    bool knows_less = envelope->conf_version < tombstone->descriptor.epoch.conf_version;
    if (gone || ((asks || leads) && knows_less))
        range_remove_tell(tombstone, from_node, message->from);
}

/* A replica that has just joined and has nothing yet, its own existence included. The answers
 * promise nothing: they carry no time that a lease could rest on and confirm no read. The leader
 * learns from them that somebody is there, whose log ends before its own begins: it sends a
 * snapshot (RANGE_INITIAL_INDEX). As long as a range has its first configuration nobody has joined
 * it: who is missing then is about to be created. */
static void answer_for_unborn(struct range_worker *worker, uint64_t from_node, uint64_t range_id,
                              const struct raft_message *message) {
    struct raft_message response = {.term = message->term};
    if (message->kind == RAFT_MSG_APPEND) {
        response.kind = RAFT_MSG_APPEND_RESPONSE;
        response.log.index = message->log.index;
        response.reject = true;
    } else if (message->kind == RAFT_MSG_HEARTBEAT) {
        response.kind = RAFT_MSG_HEARTBEAT_RESPONSE;
        response.reject = message->quiesce; /* not as quiet as the leader believes */
    } else {
        return;
    }
    answer(worker, from_node, range_id, message, response);
}

void range_remove_stray(struct range_worker *worker, uint64_t from_node,
                        const struct range_raft_envelope *envelope) {
    uint64_t range_id = envelope->range_id;
    struct range_replica *held = range_worker_find_any(worker, range_id);
    struct raft_message message;
    struct decoder in = decoder_make(envelope->message);
    if (held && held->life < RANGE_DELETING)
        return;                    /* being created or deleted: it will be asked again */
    if (envelope->removed) return; /* it is known */
    if (raft_decode_message(&in, &worker->arena, &message) != STATUS_OK) return;
    bool sound = decoder_finished(&in) && message.term > 0 && message.from != RAFT_NO_REPLICA;
    if (!sound)
        log_warn("range_message_malformed", "node=%" PRIu64 " range=%" PRIu64 " from_node=%" PRIu64,
                 worker->store->config.node_id, range_id, from_node);
    else if (held && message.to <= held->replica_id)
        answer_for_tombstone(held, from_node, envelope, &message);
    else if (envelope->conf_version > RANGE_INITIAL_CONF_VERSION)
        answer_for_unborn(worker, from_node, range_id, &message);
    raft_message_done(&message);
}
