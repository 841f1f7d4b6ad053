/* Changes of a range's replicas: proposed by its leader, one at a time, and applied like everything
 * else in the log.
 *
 *   asked for   the request fits the descriptor, nothing else is under way, who is to vote
 *               has caught up: an entry is proposed (range_change_propose)
 *   applied     descriptor, configuration and record change in the round of the entry, on
 *               every replica; a joint configuration is left by an entry of the core's, which
 *               comes here the same way (range_change_apply)
 *   answered    when the configuration is no longer joint (range_change_settle)
 *
 * The core is told in the middle of the round, before the round is written: until then nothing it
 * decides leaves this worker, and a write that fails ends the process. */
#include "range/change.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "range/membership.h"
#include "range/metrics.h"
#include "range/snapshot_send.h"
#include "range/worker.h"

/* ---- asking ---- */

/* A learner that votes before it has the log could leave the range without a quorum that has it. */
static bool caught_up(const struct range_replica *replica, uint64_t node_id) {
    const struct range_replica_ref *ref = range_descriptor_on_node(&replica->descriptor, node_id);
    struct raft_view view;
    raft_view(replica->raft, &view);
    for (uint32_t i = 0; ref && i < view.progress_count; i++) {
        const struct raft_progress_view *progress = &view.progress[i];
        if (progress->id != ref->replica_id) continue;
        return progress->state == RAFT_REPLICATE && progress->recently_active &&
               progress->match + RANGE_PROMOTE_LAG_MAX >= view.commit;
    }
    return false;
}

static bool all_caught_up(const struct range_replica *replica,
                          const struct range_request *request) {
    for (uint32_t i = 0; i < request->change_count; i++) {
        const struct range_replica_change *change = &request->changes[i];
        if (change->kind == RANGE_PROMOTE && !caught_up(replica, change->node_id)) return false;
    }
    return true;
}

static uint64_t leave_patience_us(const struct range_replica *replica) {
    const struct range_store_config *config = &replica->worker->store->config;
    return RANGE_LEAVE_RETRY_ELECTIONS * config->election_ticks * config->tick_us;
}

/* Before an entry of its own term is applied, the log may hold a change that nobody here knows. */
static bool under_way(const struct range_replica *replica) {
    return !range_replica_may_propose(replica) || replica->descriptor.joint ||
           replica->changes.index > replica->applied.applied.index;
}

enum status range_change_propose(struct range_replica *replica, const struct range_request *request,
                                 struct buf *text, struct raft_log_id *ret_id) {
    struct raft_conf_change change;
    struct range_membership membership;
    if (under_way(replica)) return STATUS_BUSY;
    enum status status = range_membership_plan(&replica->descriptor, request->changes,
                                               request->change_count, text, &change, &membership);
    if (status != STATUS_OK) return status;
    if (!all_caught_up(replica, request)) {
        /* A quiet leader hears nobody, and would go on knowing what it knew: whoever asks again
         * finds it awake. */
        raft_wake(replica->raft);
        range_replica_touch(replica);
        return STATUS_BUSY;
    }
    struct buf context = {0};
    range_membership_encode(&context, &membership);
    change.context = slice_from_buf(&context);
    range_replica_touch(replica);
    status = raft_propose_conf_change(replica->raft, &change, ret_id);
    buf_done(&context);
    if (status != STATUS_OK) return STATUS_BUSY; /* it hands its leadership over */
    replica->changes.index = ret_id->index;
    return STATUS_OK;
}

/* The core leaves joint configurations by itself, except that a transfer of leadership which fails
 * may make it miss the moment. */
void range_change_tick(struct range_replica *replica) {
    if (!replica->leads || !replica->descriptor.joint) return;
    if (replica->worker->now_us < replica->changes.leave_retry_us) return;
    replica->changes.leave_retry_us = replica->worker->now_us + leave_patience_us(replica);
    struct raft_conf_change leave = {.transition = RAFT_TRANSITION_AUTO};
    range_replica_touch(replica);
    enum status status = raft_propose_conf_change(replica->raft, &leave, NULL);
    log_info("range_leave_joint", "%s status=%s", replica->log_prefix, status_name(status));
}

/* ---- answering ---- */

static void reply_changed(struct range_pending *pending) {
    const struct range_replica *replica = pending->replica;
    struct range_reply reply = {.call_id = pending->call_id,
                                .code = RANGE_REPLY_OK,
                                .kind = RANGE_CHANGE_REPLICAS,
                                .descriptor = &replica->descriptor};
    range_client_reply(replica->worker, pending->client, &reply);
    range_pending_free(pending);
}

void range_change_settle(struct range_replica *replica, struct raft_log_id applied) {
    LIST_FOR_EACH_SAFE (node, &replica->changes.requests) {
        struct range_pending *pending = range_pending_of(node);
        if (pending->changed && !replica->descriptor.joint)
            reply_changed(pending);
        else if (!pending->changed && pending->id.index <= applied.index)
            range_pending_refuse(pending, RANGE_REPLY_BUSY); /* its entry was made to none */
    }
}

/* ---- applying ---- */

/* The descriptor has changed, and everything that was derived from the one before follows. */
void range_change_follow(struct range_replica *replica, const struct range_descriptor *before) {
    const struct range_descriptor *after = &replica->descriptor;
    replica->transfer.offered =
        range_descriptor_move_bits(replica->transfer.offered, before, after);
    replica->transfer.returned =
        range_descriptor_move_bits(replica->transfer.returned, before, after);
    range_stages_changed(replica);
    range_liveness_watch(replica);
    range_snapshot_abort_gone(replica);
    replica->changes.leave_retry_us = replica->worker->now_us + leave_patience_us(replica);
    log_info("range_replicas_changed", "%s conf_version=%" PRIu64 " replicas=%" PRIu32 " joint=%d",
             replica->log_prefix, after->epoch.conf_version, after->replica_count, after->joint);
}

static void note_changed(struct range_replica *replica, struct raft_log_id id) {
    LIST_FOR_EACH (node, &replica->changes.requests) {
        struct range_pending *pending = range_pending_of(node);
        if (pending->id.index == id.index) pending->changed = true;
    }
}

void range_change_apply(struct range_replica *replica, const struct raft_entry *entry) {
    struct raft_conf_change change;
    struct range_membership membership;
    enum status status = raft_decode_conf_change(entry, &change);
    bool leaves = status == STATUS_OK && change.count == 0;
    if (status == STATUS_OK && !leaves)
        status = range_membership_decode(change.context, &membership);
    if (status != STATUS_OK)
        range_apply_fail(replica, entry, "its change of replicas: %s", status_text(status));
    struct range_descriptor before = {0};
    range_descriptor_copy(&before, &replica->descriptor);
    if (range_membership_advance(&replica->descriptor, &change, leaves ? NULL : &membership)) {
        raft_apply_conf_change(replica->raft, &change, &replica->conf);
        struct raft_conf_state conf = range_conf_from_descriptor(&replica->descriptor);
        ASSERT(range_conf_equal(&conf, &replica->conf));
        range_change_follow(replica, &before);
        note_changed(replica, entry->id);
        replica->apply.record_changed = true;
        replica->apply.removed =
            range_descriptor_replica(&replica->descriptor, replica->replica_id) == NULL;
    } else {
        log_warn("range_change_void", "%s index=%" PRIu64, replica->log_prefix, entry->id.index);
    }
    range_descriptor_done(&before);
}
