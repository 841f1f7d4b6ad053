/* Which other nodes are alive, for all ranges at once: what lets ranges go quiet (raft/quiesce.c).
 *
 * Once per heartbeat interval a worker sends one beat to each node with which it shares ranges,
 * however many those are, beside the messages that go there anyhow. It says which worker of which
 * run of the node is alive; a worker that hangs is silent although the others are not. The receiver
 * watches each worker of each node and counts its own ticks since it was heard:
 *
 *   silent for an election time-out   followers of ranges led there suspect their leader; leaders
 *                                     go quiet without replicas there
 *   heard after that                  leaders that left replicas there behind wake
 *   heard from another run            followers of ranges led there suspect: it does not remember
 *                                     that it leads. Leaders of ranges with a replica there wake,
 *                                     so that it learns who leads.
 *
 * Only ranges that relied on the node wake (tikv#19070), and not all in one tick: finding them is
 * one walk over the replicas, waking them is work for RANGE_WAKES_PER_TICK at a time. */
#include "range/liveness.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "range/metrics.h"
#include "range/raft_frame.h"
#include "range/worker.h"

/* ---- who is alive ---- */

static uint32_t patience_ticks(const struct range_worker *worker) {
    return worker->store->config.election_ticks;
}

static const struct range_peer *find_peer(const struct range_worker *worker, uint64_t node_id) {
    struct idmap_node *node = idmap_get(&worker->outbox.peers, node_id);
    return node ? CONTAINER_OF(node, struct range_peer, by_node) : NULL;
}

bool range_liveness_away(const struct range_worker *worker, uint64_t node_id, uint64_t range_id) {
    const struct range_peer *peer = find_peer(worker, node_id);
    if (!peer) return false;
    uint32_t silent_ticks = peer->watch_count
                                ? peer->watches[range_id % peer->watch_count].silent_ticks
                                : peer->unheard_ticks;
    return silent_ticks >= patience_ticks(worker);
}

bool range_liveness_heard(const struct range_worker *worker, uint64_t node_id, uint64_t range_id) {
    const struct range_peer *peer = find_peer(worker, node_id);
    if (!peer || peer->watch_count == 0) return false;
    const struct range_watch *watch = &peer->watches[range_id % peer->watch_count];
    return watch->incarnation != 0 && watch->silent_ticks < patience_ticks(worker);
}

/* ---- what follows from it ---- */

static void enqueue(struct range_replica *replica) {
    if (list_empty(&replica->waking.in_waking))
        list_push_back(&replica->worker->liveness.waking, &replica->waking.in_waking);
}

/* Notes what the change means to one replica. */
static void note_lost(struct range_replica *replica, uint64_t node_id, bool restarted) {
    if (!replica->leads && range_replica_leader_node(replica) == node_id) {
        replica->waking.suspected = raft_leader(replica->raft);
        if (replica->waking.suspected != RAFT_NO_REPLICA) enqueue(replica);
    } else if (restarted && replica->leads) {
        replica->waking.wake_leader = true;
        enqueue(replica);
    }
}

static void note_heard(struct range_replica *replica) {
    if (!replica->leads || !raft_quiet(replica->raft)) return;
    replica->waking.look_again = true;
    enqueue(replica);
}

enum change { SILENT, RESTARTED, HEARD_AGAIN };

/* Every range that one worker of the node takes part in hears of the change. */
static void tell_ranges(struct range_worker *worker, const struct range_peer *peer, uint32_t index,
                        enum change change) {
    uint64_t node_id = peer->by_node.id;
    ASSERT_CMP(peer->watch_count, >, 0); /* it was heard */
    LIST_FOR_EACH (node, &worker->all) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, in_all);
        if (!replica->raft || range_replica_id(replica) % peer->watch_count != index) continue;
        if (!range_descriptor_on_node(&replica->descriptor, node_id)) continue;
        if (change == HEARD_AGAIN)
            note_heard(replica);
        else
            note_lost(replica, node_id, change == RESTARTED);
    }
}

static void lost(struct range_worker *worker, const struct range_peer *peer, uint32_t index,
                 enum change change) {
    metric_add(&metric_range_nodes_suspected_total, 1);
    log_info("range_node_lost",
             "node=%" PRIu64 " worker=%u lost_node=%" PRIu64 " lost_worker=%u reason=\"%s\"",
             worker->store->config.node_id, worker->index, peer->by_node.id, index,
             change == RESTARTED ? "another run of it is heard" : "silent");
    tell_ranges(worker, peer, index, change);
}

static void wake(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    const struct range_descriptor *descriptor = &replica->descriptor;
    range_replica_touch(replica);
    if (replica->waking.suspected == raft_leader(replica->raft)) raft_suspect_leader(replica->raft);
    if (replica->waking.wake_leader && replica->leads) raft_wake(replica->raft);
    for (uint32_t i = 0; replica->waking.look_again && i < descriptor->replica_count; i++) {
        const struct range_replica_ref *ref = &descriptor->replicas[i];
        if (!range_liveness_away(worker, ref->node_id, descriptor->range_id))
            raft_report_reachable(replica->raft, ref->replica_id);
    }
    replica->waking.suspected = RAFT_NO_REPLICA;
    replica->waking.wake_leader = replica->waking.look_again = false;
}

static void wake_some(struct range_worker *worker) {
    for (uint32_t i = 0; i < RANGE_WAKES_PER_TICK; i++) {
        struct list_node *node = list_pop_front(&worker->liveness.waking);
        if (!node) return;
        wake(CONTAINER_OF(node, struct range_replica, waking.in_waking));
    }
}

/* ---- beats ---- */

void range_liveness_watch(const struct range_replica *replica) {
    const struct range_descriptor *descriptor = &replica->descriptor;
    uint64_t own_node = replica->worker->store->config.node_id;
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        uint64_t node_id = descriptor->replicas[i].node_id;
        if (node_id != own_node) (void)range_outbox_peer(replica->worker, node_id); /* now it is */
    }
}

/* A run with another number of workers: each of them is still known by the run before. */
static void resize_watches(struct range_peer *peer, uint32_t count) {
    uint64_t incarnation = peer->watch_count ? peer->watches[0].incarnation : 0;
    memory_free(peer->watches);
    peer->watches = memory_zalloc(count * sizeof(*peer->watches));
    peer->watch_count = count;
    for (uint32_t i = 0; i < count; i++)
        peer->watches[i].incarnation = incarnation;
}

void range_liveness_beat(struct range_worker *worker, uint64_t from_node,
                         const struct range_beat *beat) {
    struct range_peer *peer = range_outbox_peer(worker, from_node);
    ASSERT_CMP(beat->worker, <, beat->workers);
    if (peer->watch_count != beat->workers) resize_watches(peer, beat->workers);
    struct range_watch *watch = &peer->watches[beat->worker];
    struct range_watch before = *watch;
    *watch = (struct range_watch){.incarnation = beat->incarnation};
    if (before.incarnation != 0 && before.incarnation != beat->incarnation)
        lost(worker, peer, beat->worker, RESTARTED);
    else if (before.incarnation == 0 || before.silent_ticks >= patience_ticks(worker))
        tell_ranges(worker, peer, beat->worker, HEARD_AGAIN);
}

static void watch_peer(struct range_worker *worker, struct range_peer *peer) {
    if (peer->watch_count == 0 && peer->unheard_ticks < patience_ticks(worker))
        peer->unheard_ticks++;
    for (uint32_t i = 0; i < peer->watch_count; i++) {
        struct range_watch *watch = &peer->watches[i];
        if (watch->silent_ticks == patience_ticks(worker)) continue;
        if (++watch->silent_ticks == patience_ticks(worker)) lost(worker, peer, i, SILENT);
    }
}

void range_liveness_tick(struct range_worker *worker) {
    const struct range_store_config *config = &worker->store->config;
    if (config->quiesce_ticks == 0) return;
    struct range_beat beat = {.incarnation = config->seed ? config->seed : 1,
                              .worker = worker->index,
                              .workers = worker->store->worker_count};
    bool beats = ++worker->liveness.beat_elapsed >= config->heartbeat_ticks;
    if (beats) worker->liveness.beat_elapsed = 0;
    for (struct idmap_node *node = NULL;
         (node = idmap_next(&worker->outbox.peers, node)) != NULL;) {
        struct range_peer *peer = CONTAINER_OF(node, struct range_peer, by_node);
        watch_peer(worker, peer);
        if (beats) range_outbox_add_beat(worker, peer, &beat);
    }
    if (beats) range_status_publish_hearing(worker);
    wake_some(worker);
}
