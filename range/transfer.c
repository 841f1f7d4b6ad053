/* Leadership to other nodes: asked for by a client or the operator, or because the node drains. */
#include "range/transfer.h"

#include <inttypes.h>

#include "base/log.h"
#include "range/worker.h"

static void reply_done(struct range_pending *pending) {
    struct range_reply reply = {
        .call_id = pending->call_id, .code = RANGE_REPLY_OK, .kind = RANGE_TRANSFER};
    range_client_reply(pending->replica->worker, pending->client, &reply);
    range_pending_free(pending);
}

static enum status begin(struct range_replica *replica, const struct range_replica_ref *to) {
    range_replica_touch(replica);
    enum status status = raft_transfer_leader(replica->raft, to->replica_id);
    if (status == STATUS_OK) replica->transfer.to_node = to->node_id;
    log_info("range_transfer", "%s to_node=%" PRIu64 " status=%s", replica->log_prefix, to->node_id,
             status_name(status));
    return status;
}

/* Answered when the other node leads (range_transfer_follow), or by the deadline. */
void range_transfer_request(struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    list_push_back(&replica->transfer.requests, &pending->link);
    const struct range_replica_ref *to =
        range_descriptor_on_node(&replica->descriptor, pending->to_node);
    if (to->replica_id == replica->replica_id)
        reply_done(pending);
    else if (begin(replica, to) != STATUS_OK)
        range_pending_refuse(pending, RANGE_REPLY_BUSY);
}

void range_transfer_to_node(struct range_worker *worker, uint64_t range_id, uint64_t to_node) {
    struct range_replica *replica = range_worker_find(worker, range_id);
    if (!replica || !replica->leads) return;
    const struct range_replica_ref *to = range_descriptor_on_node(&replica->descriptor, to_node);
    if (!to || to->replica_id == replica->replica_id || !range_replica_stays_voter(to)) return;
    (void)begin(replica, to); /* the outcome shows in the status; there is nobody to tell */
}

void range_transfer_follow(struct range_replica *replica) {
    if (list_empty(&replica->transfer.requests) || replica->seen_leader == RAFT_NO_REPLICA) return;
    uint64_t leader_node = range_replica_leader_node(replica);
    LIST_FOR_EACH_SAFE (node, &replica->transfer.requests) {
        struct range_pending *pending = range_pending_of(node);
        if (pending->to_node == leader_node)
            reply_done(pending);
        else
            range_pending_refuse(pending, RANGE_REPLY_NOT_LEADER);
    }
}

/* ---- draining ----
 *
 * Others may be draining, too, and hand back what they are handed. Nobody says so; it shows. Who
 * was handed the leadership and did not keep it is not asked again, and when nobody else is left
 * the leadership stays here: so it comes to rest on a node that does not drain, if there is one,
 * and otherwise after a few rounds, not at the end of everybody's time. Who is about to stop does
 * not take it; then it is the others' turn. */

_Static_assert(RANGE_REPLICAS_MAX <= 32, "one bit each in drain_returned");

static uint32_t bit_of(const struct range_descriptor *descriptor,
                       const struct range_replica_ref *replica) {
    return UINT32_C(1) << (replica - descriptor->replicas);
}

/* The voter that is furthest with the log, of those that answer and are not to be avoided. */
static const struct range_replica_ref *best_successor(const struct range_replica *replica,
                                                      uint32_t avoided) {
    struct raft_view view;
    raft_view(replica->raft, &view);
    const struct range_replica_ref *best = NULL;
    uint64_t best_match = 0;
    for (uint32_t i = 0; i < view.progress_count; i++) {
        const struct raft_progress_view *progress = &view.progress[i];
        if (progress->id == replica->replica_id || progress->learner || !progress->recently_active)
            continue;
        const struct range_replica_ref *to =
            range_descriptor_replica(&replica->descriptor, progress->id);
        if (!to || !range_replica_stays_voter(to)) continue;
        if (avoided & bit_of(&replica->descriptor, to)) continue;
        if (best && progress->match <= best_match) continue;
        best = to;
        best_match = progress->match;
    }
    return best;
}

void range_transfer_returned(struct range_replica *replica) {
    replica->transfer.returned |= replica->transfer.offered;
}

/* Nobody who handed it back; and who did not take it at all only if there is no other. */
static const struct range_replica_ref *drain_successor(const struct range_replica *replica) {
    const struct range_replica_ref *fresh =
        best_successor(replica, replica->transfer.returned | replica->transfer.offered);
    return fresh ? fresh : best_successor(replica, replica->transfer.returned);
}

static bool all_returned(const struct range_replica *replica) {
    const struct range_descriptor *descriptor = &replica->descriptor;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        const struct range_replica_ref *other = &descriptor->replicas[i];
        if (other->replica_id == replica->replica_id || !range_replica_stays_voter(other)) continue;
        if (!(replica->transfer.returned & bit_of(descriptor, other))) return false;
    }
    return true;
}

/* Who has only just come to lead has heard of the others no more than their votes. */
static bool others_had_time(const struct range_replica *replica) {
    const struct range_worker *worker = replica->worker;
    const struct range_store_config *config = &worker->store->config;
    return worker->now_us - replica->transfer.leads_since_us >=
           config->election_ticks * config->tick_us;
}

static void drain_one(struct range_replica *replica, uint64_t retry_us) {
    const struct range_replica_ref *to = drain_successor(replica);
    bool given_up = !to && replica->transfer.returned != 0 &&
                    (all_returned(replica) || others_had_time(replica));
    if (given_up != replica->transfer.given_up) {
        replica->transfer.given_up = given_up;
        range_replica_touch(replica); /* so that the report says it */
    }
    if (!to) return; /* nobody to hand over to; asked again at the next tick */
    replica->transfer.retry_us = replica->worker->now_us + retry_us;
    if (begin(replica, to) == STATUS_OK) /* refused: tried again after retry_us */
        replica->transfer.offered = bit_of(&replica->descriptor, to);
}

void range_transfer_drain(struct range_worker *worker) {
    const struct range_store_config *config = &worker->store->config;
    uint64_t retry_us = RANGE_TRANSFER_RETRY_ELECTIONS * config->election_ticks * config->tick_us;
    LIST_FOR_EACH (node, &worker->all) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_all);
        if (!replica->leads || worker->now_us < replica->transfer.retry_us) continue;
        drain_one(replica, retry_us);
    }
}

void range_transfer_forget_returns(struct range_worker *worker) {
    LIST_FOR_EACH (node, &worker->all) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_all);
        replica->transfer.returned = replica->transfer.offered = 0;
        replica->transfer.given_up = false;
    }
}

void range_transfer_decline(struct range_worker *worker) {
    worker->declines = true;
    LIST_FOR_EACH (node, &worker->all) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_all);
        if (!replica->raft) continue;
        raft_decline_leadership(replica->raft);
        range_replica_follow_role(replica);
        range_replica_touch(replica);
    }
}
