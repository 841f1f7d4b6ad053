/* Raft messages and time, into the Raft cores. */
#include "range/step.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "raft/message_codec.h"
#include "raft/peer.h"
#include "range/entry_check.h"
#include "range/metrics.h"
#include "range/raft_frame.h"
#include "range/snapshot_send.h"
#include "range/worker.h"

/* Every so many ticks one range is looked after: its size, and whether it still is one. */
#define SAMPLE_TICKS 10u

/* Not for this replica, or not from the replica that the sender's node holds: left over from an
 * earlier life of either side. */
static bool is_stale(const struct range_replica *replica, uint64_t from_node,
                     const struct raft_message *message) {
    if (message->to != replica->replica_id) return true;
    uint64_t known_node = range_replica_node_of(replica, message->from);
    return known_node != 0 && known_node != from_node;
}

/* Who was removed has nothing more to say, and may not know it yet; whichever replica it meant. */
static bool is_removed(const struct range_replica *replica, uint64_t from_node,
                       const struct raft_message *message) {
    if (!range_remove_is_gone(&replica->descriptor, message->from)) return false;
    range_remove_tell(replica, from_node, message->from);
    return true;
}

enum fate { STEPPED, DROPPED, REFUSED };

/* What no correct node sends: said once for the frame, the rest of which is not looked at, and its
 * stream is closed. */
static enum fate refuse(struct range_worker *worker, uint64_t from_node, uint64_t range_id,
                        const struct raft_message *message, struct slice why) {
    const struct range_transport *transport = &worker->store->transport;
    metric_add(&metric_range_raft_messages_refused_total, 1);
    log_error("range_message_refused",
              "node=%" PRIu64 " range=%" PRIu64 " from_node=%" PRIu64 " kind=%s from=%" PRIu64
              " term=%" PRIu64 " index=%" PRIu64 " reason=\"%.*s\"",
              worker->store->config.node_id, range_id, from_node,
              message ? raft_message_name(message->kind) : "unreadable",
              message ? message->from : 0, message ? message->term : 0,
              message ? message->log.index : 0, (int)why.len, (const char *)why.data);
    if (transport->refuse) transport->refuse(transport->ctx, from_node);
    return REFUSED;
}

/* Whoever of the two has lost entries must not promise anything more. */
static _Noreturn void stop_without_log(const struct range_replica *replica, uint64_t from_node) {
    fatal("%s: this replica's log contradicts what its leader on node %" PRIu64 " knows to be "
          "durable here or committed (the line before this one has the numbers). One of the two "
          "nodes has lost what it had promised to keep: its directory is an older copy, or its "
          "disk lies about what it has synced. Find out which one, and do not start that one "
          "again: start a node with an empty --data-dir and move its replicas there (flotilla "
          "admin move-replica)",
          replica->log_prefix, from_node);
}

static const struct raft_peer_rules peer_rules = {.check_entry = range_entry_check};

static enum fate step_message(struct range_replica *replica, uint64_t from_node,
                              const struct raft_message *message) {
    if (is_removed(replica, from_node, message)) return DROPPED;
    /* Another replica is expected here: then this one must be gone, and who knows it is heard. */
    if (message->to > replica->replica_id) range_remove_ask(replica, from_node, message->from);
    if (is_stale(replica, from_node, message)) return DROPPED;
    if (!range_room_takes(replica->worker, message)) return DROPPED;
    range_replica_note_peer(replica, message->from, from_node);
    range_remove_complaint(replica, from_node, message);
    range_replica_touch(replica);
    range_stages_acknowledged(replica, message);
    enum status status = raft_step(replica->raft, message);
    if (status == STATUS_CORRUPTION) stop_without_log(replica, from_node);
    range_replica_follow_role(replica);
    if (status == STATUS_INVALID)
        return refuse(replica->worker, from_node, range_replica_id(replica), message,
                      SLICE_LITERAL("it contradicts what this replica knows"));
    return status == STATUS_OK ? STEPPED : DROPPED;
}

static enum fate step_checked(struct range_replica *replica, uint64_t from_node,
                              const struct raft_message *message) {
    struct buf why = {0};
    enum fate fate = raft_peer_check(message, &peer_rules, &why) == STATUS_OK
                         ? step_message(replica, from_node, message)
                         : refuse(replica->worker, from_node, range_replica_id(replica), message,
                                  slice_from_buf(&why));
    buf_done(&why);
    return fate;
}

static enum fate step_envelope(struct range_worker *worker, uint64_t from_node,
                               const struct range_raft_envelope *envelope) {
    struct range_replica *replica = range_worker_find(worker, envelope->range_id);
    if (!replica) {
        range_remove_stray(worker, from_node, envelope);
        return DROPPED;
    }
    if (envelope->removed) {
        range_remove_notified(replica, envelope->message);
        return STEPPED;
    }
    struct raft_message message;
    struct decoder in = decoder_make(envelope->message);
    struct slice malformed = SLICE_LITERAL("its bytes are no message");
    if (raft_decode_message(&in, &worker->arena, &message) != STATUS_OK)
        return refuse(worker, from_node, envelope->range_id, NULL, malformed);
    enum fate fate = decoder_finished(&in)
                         ? step_checked(replica, from_node, &message)
                         : refuse(worker, from_node, envelope->range_id, &message, malformed);
    raft_message_done(&message);
    return fate;
}

/* Messages whose replicas are fetched together, before the first of them is stepped. */
#define STEP_BATCH 8u

static uint32_t next_batch(const struct range_worker *worker, struct decoder *messages,
                           struct range_raft_envelope envelopes[STEP_BATCH]) {
    const struct range_replica *replicas[STEP_BATCH];
    uint32_t count = 0, known = 0;
    while (count < STEP_BATCH && range_raft_frame_next(messages, &envelopes[count]))
        idmap_prefetch(&worker->ranges, envelopes[count++].range_id);
    for (uint32_t i = 0; i < count; i++) {
        const struct range_replica *replica = range_worker_find(worker, envelopes[i].range_id);
        if (!replica) continue;
        range_prefetch_replica(replica);
        replicas[known++] = replica;
    }
    for (uint32_t i = 0; i < known; i++)
        range_prefetch_core(replicas[i]);
    for (uint32_t i = 0; i < known; i++)
        range_prefetch_lists(replicas[i]);
    return count;
}

void range_step_frame(struct range_worker *worker, uint64_t from_node, struct slice frame) {
    struct decoder messages;
    if (range_raft_frame_open(frame, &messages) != STATUS_OK) return; /* checked on arrival */
    struct range_raft_envelope envelopes[STEP_BATCH];
    int64_t stepped = 0, dropped = 0;
    enum fate fate = STEPPED;
    uint32_t count;
    while (fate != REFUSED && (count = next_batch(worker, &messages, envelopes)) > 0) {
        for (uint32_t i = 0; i < count && fate != REFUSED; i++) {
            if (envelopes[i].range_id == 0) {
                range_liveness_beat(worker, from_node, &envelopes[i].beat);
                continue;
            }
            fate = step_envelope(worker, from_node, &envelopes[i]);
            if (fate == STEPPED) stepped++;
            if (fate == DROPPED) dropped++;
        }
    }
    metric_add(&metric_range_raft_messages_received_total, stepped);
    if (dropped > 0) metric_add(&metric_range_raft_messages_dropped_total, dropped);
}

/* Quiet ranges cost nothing here. One that goes quiet now leaves the list with its ready work, or
 * without any: a range of one replica tells nobody. */
static void tick_ranges(struct range_worker *worker, uint32_t missed_ticks) {
    LIST_FOR_EACH (node, &worker->awake) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_awake);
        raft_set_now(replica->raft, worker->now_us);
        if (missed_ticks > 0) raft_miss_ticks(replica->raft, missed_ticks);
        raft_tick(replica->raft);
        range_replica_follow_role(replica);
        range_change_tick(replica);
        if (raft_has_ready(replica->raft) || raft_quiet(replica->raft))
            range_replica_touch(replica);
    }
}

static void look_after_one(struct range_worker *worker) {
    if (list_empty(&worker->all)) return;
    range_status_sample_size(worker);
    range_remove_ask_membership(CONTAINER_OF(worker->report.sampled, struct range_replica, in_all));
}

/* Takes the ticks that are due, RANGE_LATE_TICKS_MAX at most; the others are missed. */
static uint32_t take_ticks(struct range_worker *worker, uint32_t *ret_missed) {
    uint64_t tick_us = worker->store->config.tick_us;
    uint64_t due = 0;
    if (worker->next_tick_us <= worker->now_us)
        due = (worker->now_us - worker->next_tick_us) / tick_us + 1;
    uint64_t missed = due > RANGE_LATE_TICKS_MAX ? due - RANGE_LATE_TICKS_MAX : 0;
    worker->next_tick_us = missed ? worker->now_us + tick_us : worker->next_tick_us + due * tick_us;
    *ret_missed = missed > UINT16_MAX ? UINT16_MAX : (uint32_t)missed;
    return (uint32_t)(due - missed);
}

/* After a pause (a stopped process, a slow disk, a long turn) most ticks are missed: delivered at
 * once they would let a follower believe that its leader was silent all the time, while the
 * leader's messages are waiting in the mailbox behind them. But what this node owes to others goes
 * by all of them: a node whose turns are long must not look as if it were gone. */
void range_step_ticks(struct range_worker *worker) {
    uint32_t missed;
    uint32_t due = take_ticks(worker, &missed);
    if (due == 0) return;
    worker->liveness.beat_elapsed += missed;
    for (uint32_t i = 0; i < due; i++) {
        worker->ticks++;
        range_liveness_tick(worker);
        range_promise_tick(worker);
        tick_ranges(worker, i == 0 ? missed : 0);
    }
    range_pending_expire(worker);
    range_snapshot_expire_receives(worker);
    if (worker->draining || worker->room.room != RANGE_ROOM_ROOMY) range_transfer_drain(worker);
    if (worker->ticks % SAMPLE_TICKS == 0) look_after_one(worker);
}

/* Of a quiet range nothing is on its way. */
void range_step_unreachable(struct range_worker *worker, uint64_t node_id) {
    LIST_FOR_EACH (node, &worker->awake) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_awake);
        if (!replica->leads) continue;
        const struct range_replica_ref *peer =
            range_descriptor_on_node(&replica->descriptor, node_id);
        if (!peer || peer->replica_id == replica->replica_id) continue;
        range_replica_touch(replica);
        raft_report_unreachable(replica->raft, peer->replica_id);
    }
    range_snapshot_resend_to(worker, node_id);
}
