/* The rules about promises to leaders and the leases that rest on them (raft/README.md, L1 to L7),
 * seen from outside: from what is said on the wire, and from the clocks of hosts.
 *
 *   who told a leader that it keeps still neither votes for another nor stands, restarts included
 *   nobody is elected while another replica holds a lease of an earlier term */
#include <inttypes.h>

#include "raft/internal.h"
#include "tests/sim/rules.h"

/* A node's answer to a heartbeat leaves in the turn that took the heartbeat: the promise began
 * then, or before the node was stopped in the middle of that turn. A member's leaves when what its
 * turn wrote is synced. */
static uint64_t promised_since_us(const struct sim_host *from) {
    if (from->kind == SIM_MEMBER) return from->turn_began_us;
    return from->stopped.turn ? from->stopped.host_us : sim_host_now_us(from);
}

static void note_promise(struct sim *sim, const struct sim_host *from, uint64_t group,
                         const struct raft_message *message) {
    struct promise_rules *promise = &sim->rules->promises[from->index][group];
    if (promise->replica_id != message->from) promise->until_us = promise->term = 0;
    promise->replica_id = message->from;
    uint64_t until_us = promised_since_us(from) + message->promised_us;
    if (until_us > promise->until_us) promise->until_us = until_us;
    if (message->term > promise->term) promise->term = message->term;
}

/* A later promise than of the term voted in says that the vote was decided before. */
static void check_bound(struct sim *sim, const struct sim_host *from, uint64_t group,
                        const struct raft_message *message, const char *what) {
    const struct promise_rules *promise = &sim->rules->promises[from->index][group];
    if (promise->replica_id != message->from || promise->term >= message->term) return;
    uint64_t now_us = sim_host_now_us(from);
    if (now_us < promise->until_us)
        sim_broken(sim, "who promised a leader to keep still does so",
                   "host %u, group %" PRIu64 ", replica %" PRIu64 " %s in term %" PRIu64
                   ", %" PRIu64 " us too early",
                   from->index, group, message->from, what, message->term,
                   promise->until_us - now_us);
}

static bool was_handed_over(const struct promise_rules *promise, uint64_t term) {
    for (uint32_t i = 0; i < HANDED_OVER_KEPT; i++)
        if (promise->handed_over_terms[i] == term) return true;
    return false;
}

static void note_handed_over(struct promise_rules *promise, uint64_t term) {
    if (was_handed_over(promise, term)) return;
    promise->handed_over_terms[promise->handed_over_count++ % HANDED_OVER_KEPT] = term;
}

void sim_rules_lease_speech(struct sim *sim, const struct sim_host *from, const struct sim_host *to,
                            uint64_t group, const struct raft_message *message) {
    struct promise_rules *asked = &sim->rules->promises[to->index][group];
    struct promise_rules *asks = &sim->rules->promises[from->index][group];
    switch (message->kind) {
    case RAFT_MSG_HEARTBEAT_RESPONSE:
        if (message->promised_us > 0) note_promise(sim, from, group, message);
        break;
    case RAFT_MSG_VOTE:
        if (message->force) note_handed_over(asks, message->term);
        if (!message->force) check_bound(sim, from, group, message, "stands");
        break;
    case RAFT_MSG_VOTE_RESPONSE:
        if (!message->reject && !was_handed_over(asked, message->term))
            check_bound(sim, from, group, message, "votes");
        break;
    default:
        break;
    }
}

void sim_rules_lease_elected(struct sim *sim, const struct sim_node *node,
                             const struct range_replica *elected) {
    uint64_t range_id = range_replica_id(elected);
    if (sim->config.weights[SIM_FAULT_WILD_CLOCK] > 0) return; /* beyond what leases assume */
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        const struct sim_node *other = &sim->nodes[i];
        const struct range_replica *replica = sim_replica_on(other, range_id);
        if (other == node || !replica || raft_term(replica->raft) >= elected->lead_term) continue;
        /* As of now, whenever its worker looked at the clock last. */
        struct raft look = *replica->raft;
        look.now_us = sim_host_now_us(&other->host);
        if (raft_lease_valid(&look))
            sim_broken(sim, "nobody is elected while a lease runs",
                       "node %u leads range %" PRIu64 " in term %" PRIu64
                       ", node %u holds a lease in term %" PRIu64,
                       node->host.number, range_id, elected->lead_term, other->host.number,
                       raft_term(replica->raft));
    }
}

bool sim_rules_stands(struct sim *sim, uint64_t range_id) {
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        const struct range_replica *replica = sim_replica_on(&sim->nodes[i], range_id);
        if (replica && raft_role(replica->raft) == RAFT_CANDIDATE) return true;
    }
    return false;
}
