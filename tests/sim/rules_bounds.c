/* Nothing grows without bound: when the cluster is well and nobody asks for anything, what was held
 * for requests, messages and snapshots is let go, and logs are as short as they were asked to be.
 */
#include <inttypes.h>

#include "range/limits.h"
#include "range/router/internal.h"
#include "tests/sim/rules.h"

/* Heartbeats and timestamps go on; what they put in a queue is gone with the next turn. */
#define MESSAGES_AT_REST_MAX 2000u

static bool replica_rests(const struct range_replica *replica) {
    return replica->commands.pending_count == 0 && replica->commands.pending_bytes == 0 &&
           list_empty(&replica->commands.proposed) && list_empty(&replica->reads.unindexed) &&
           list_empty(&replica->reads.indexed) && list_empty(&replica->transfer.requests) &&
           !replica->snapshots.receive && replica->life != RANGE_INSTALLING;
}

static bool worker_rests(const struct range_worker *worker) {
    LIST_FOR_EACH (at, &worker->all) {
        const struct range_replica *replica = CONTAINER_OF(at, struct range_replica, in_all);
        if (replica->raft && !replica_rests(replica)) return false;
    }
    return worker->clients.pending_count == 0 && worker->clients.pending_bytes == 0 &&
           worker->clients.held_bytes == 0 && worker->apply.job_count == 0 &&
           list_empty(&worker->removals.leaving) && worker->creations.count == 0 &&
           worker->snapshots.send_count == 0 && worker->snapshots.receive_count == 0 &&
           list_empty(&worker->clients.dirty) && list_empty(&worker->outbox.dirty) &&
           heap_min(&worker->clients.deadlines) == NULL;
}

bool sim_rules_at_rest(struct sim *sim) {
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (!node->store) return false;
        for (uint32_t worker = 0; worker < sim->config.workers; worker++)
            if (!worker_rests(range_store_worker(node->store, worker))) return false;
    }
    for (uint32_t i = 0; i < SIM_ROUTERS; i++) {
        const struct router *router = sim->routers[i].router;
        if (router->outstanding > 0 || router->outstanding_bytes > 0) return false;
    }
    return sim->messages_under_way < MESSAGES_AT_REST_MAX;
}

/* Compaction keeps what it is told to, more for those that get a snapshot, and what comes together
 * until a step pays; it happens with every round of effects, which deletes no more than
 * RANGE_COMPACT_TURN_MAX. */
static void check_log(struct sim *sim, const struct sim_node *node,
                      const struct range_replica *replica) {
    uint64_t step =
        sim->config.log_compact_step ? sim->config.log_compact_step : RANGE_COMPACT_STEP;
    uint64_t kept = sim->config.log_entries_kept;
    if (kept < sim->config.log_snapshot_entries) kept = sim->config.log_snapshot_entries;
    uint64_t longest = kept + step + RANGE_LOG_TAIL + RANGE_COMPACT_TURN_MAX;
    uint64_t held = replica->log.last_index + 1 - replica->log.first_index;
    if (held > longest)
        sim_broken(sim, "logs are compacted",
                   "node %u range %" PRIu64 " holds %" PRIu64 " entries, %" PRIu64 " at most",
                   node->host.number, range_replica_id(replica), held, longest);
}

void sim_rules_bounds(struct sim *sim) {
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
            const struct range_replica *replica = sim_replica_on(&sim->nodes[i], range_id);
            if (replica) check_log(sim, &sim->nodes[i], replica);
        }
    }
}
