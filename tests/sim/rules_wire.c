/* The rules about what leaves a process, and what it leaves for:
 *
 *   a vote or an acknowledgement leaves only when what it promises is on its sender's disk
 *   one vote per replica and term, over crashes
 *   who speaks as a leader has its own vote in that term on its disk
 *   a heartbeat takes nothing for committed that its receiver does not have on disk
 *   a read shows everything that was applied anywhere before it reached its node
 *   what a router knows of a range never gets older */
#include <inttypes.h>

#include "raft/message_codec.h"
#include "range/raft_frame.h"
#include "range/router/internal.h"
#include "tests/sim/rules.h"

/* ---- Raft messages ---- */

static struct raft_hard_state durable_state(const struct sim_node *node, uint64_t range_id) {
    struct raft_hard_state state = {0};
    struct buf bytes = {0};
    enum status status = sim_disk_state(node, range_id, RAFT_LOG_HARD_STATE, &bytes);
    if (status == STATUS_OK) status = raft_decode_hard_state(slice_from_buf(&bytes), &state);
    ASSERT(status == STATUS_OK || status == STATUS_NOT_FOUND);
    buf_done(&bytes);
    return state;
}

static bool log_reaches(struct sim_node *node, uint64_t range_id, uint64_t index) {
    struct buf bytes = {0};
    bool there = sim_disk_entry(node, range_id, index, &bytes) == STATUS_OK;
    if (!there) {
        enum status status = sim_disk_state(node, range_id, RAFT_LOG_TRUNCATION, &bytes);
        struct decoder in = decoder_make(slice_from_buf(&bytes));
        there = status == STATUS_OK && decode_u64(&in) >= index;
    }
    buf_done(&bytes);
    return there;
}

static void check_vote(struct sim *sim, struct sim_node *node, uint64_t range_id,
                       const struct raft_message *vote, const struct raft_hard_state *durable) {
    struct replica_rules *seen = &sim->rules->replicas[node->host.number - 1][range_id];
    if (durable->term == vote->term && durable->vote != vote->to)
        sim_broken(sim, "a vote leaves once it is on disk",
                   "node %u range %" PRIu64 " votes for %" PRIu64 " in term %" PRIu64
                   "; on disk is a vote for %" PRIu64,
                   node->host.number, range_id, vote->to, vote->term, durable->vote);
    if (seen->vote_term == vote->term && seen->vote_for != vote->to)
        sim_broken(sim, "one vote per term",
                   "node %u range %" PRIu64 " votes for %" PRIu64 " and %" PRIu64
                   " in term %" PRIu64,
                   node->host.number, range_id, seen->vote_for, vote->to, vote->term);
    if (vote->term < seen->vote_term) return;
    seen->vote_term = vote->term;
    seen->vote_for = vote->to;
}

static void check_promise(struct sim *sim, struct sim_node *node, uint64_t range_id,
                          const struct raft_message *promise) {
    struct raft_hard_state durable = durable_state(node, range_id);
    if (durable.term < promise->term)
        sim_broken(sim, "a promise leaves once its term is on disk",
                   "node %u range %" PRIu64 " answers in term %" PRIu64 ", on disk is %" PRIu64,
                   node->host.number, range_id, promise->term, durable.term);
    if (promise->reject) return;
    if (promise->kind == RAFT_MSG_VOTE_RESPONSE) check_vote(sim, node, range_id, promise, &durable);
    /* In a later term it may have been replaced. */
    else if (durable.term == promise->term && !log_reaches(node, range_id, promise->log.index))
        sim_broken(sim, "an entry is acknowledged once it is on disk",
                   "node %u range %" PRIu64 " acknowledges index %" PRIu64, node->host.number,
                   range_id, promise->log.index);
}

static void check_leader_speaks(struct sim *sim, struct sim_node *node, uint64_t range_id,
                                const struct raft_message *message) {
    struct raft_hard_state durable = durable_state(node, range_id);
    bool voted = durable.term > message->term ||
                 (durable.term == message->term && durable.vote == message->from);
    if (!voted)
        sim_broken(sim, "who leads has its own vote on disk",
                   "node %u leads range %" PRIu64 " in term %" PRIu64
                   "; on disk is a vote for %" PRIu64 " in term %" PRIu64,
                   node->host.number, range_id, message->term, durable.vote, durable.term);
}

static void check_heartbeat(struct sim *sim, struct sim_node *node, struct sim_node *to,
                            uint64_t range_id, const struct raft_message *heartbeat) {
    if (heartbeat->commit > 0 && !log_reaches(to, range_id, heartbeat->commit))
        sim_broken(sim, "a heartbeat commits what its receiver has",
                   "node %u tells node %u that range %" PRIu64 " is committed up to %" PRIu64,
                   node->host.number, to->host.number, range_id, heartbeat->commit);
}

static void check_message(struct sim *sim, struct sim_node *node, struct sim_node *to,
                          uint64_t range_id, const struct raft_message *message) {
    switch (message->kind) {
    case RAFT_MSG_VOTE_RESPONSE:
    case RAFT_MSG_APPEND_RESPONSE:
        check_promise(sim, node, range_id, message);
        break;
    case RAFT_MSG_HEARTBEAT:
        check_heartbeat(sim, node, to, range_id, message);
        check_leader_speaks(sim, node, range_id, message);
        break;
    case RAFT_MSG_APPEND:
        check_leader_speaks(sim, node, range_id, message);
        break;
    default:
        break; /* promises nothing */
    }
}

void sim_rules_raft_frame(struct sim *sim, struct sim_node *node, struct sim_node *to,
                          struct slice frame) {
    struct decoder messages;
    struct range_raft_envelope envelope;
    struct arena arena;
    enum status status = range_raft_frame_open(frame, &messages);
    ASSERT(status == STATUS_OK);
    arena_init(&arena, 0);
    while (range_raft_frame_next(&messages, &envelope)) {
        if (envelope.range_id == 0) continue; /* a beat */
        struct decoder in = decoder_make(envelope.message);
        struct raft_message message;
        arena_reset(&arena);
        status = raft_decode_message(&in, &arena, &message);
        ASSERT(status == STATUS_OK);
        check_message(sim, node, to, envelope.range_id, &message);
        raft_message_done(&message);
    }
    arena_done(&arena);
}

/* ---- reads ---- */

static struct read_rules *read_slot(struct sim *sim, const struct sim_node *node,
                                    const struct sim_host *router, uint64_t call_id) {
    return &sim->rules->reads[node->host.number - 1][router->number - 1][call_id % READS_KEPT];
}

/* By whichever replica: what is applied anywhere is committed, so that any read that comes later
 * has to show it. */
void sim_rules_requests(struct sim *sim, const struct sim_node *node, const struct sim_host *router,
                        struct slice frame) {
    struct decoder calls;
    struct slice call;
    if (range_frame_open(frame, &calls) != STATUS_OK) return; /* the node will say so */
    while (range_frame_next(&calls, &call)) {
        uint64_t call_id, range_id;
        if (range_request_peek(call, &call_id, &range_id) != STATUS_OK) return;
        if (range_id > SIM_RANGES_MAX) continue;
        *read_slot(sim, node, router, call_id) = (struct read_rules){
            .call_id = call_id,
            .router_incarnation = router->incarnation,
            .range_id = range_id,
            .floor = RANGE_INITIAL_INDEX + sim->rules->ranges[range_id].applied_count};
    }
}

void sim_rules_replies(struct sim *sim, const struct sim_node *node, const struct sim_host *router,
                       struct slice frame) {
    struct decoder calls;
    struct slice call;
    struct arena arena;
    if (sim->config.leases_fail) return; /* clients know which reads had none */
    enum status status = range_frame_open(frame, &calls);
    ASSERT(status == STATUS_OK);
    arena_init(&arena, 0);
    while (range_frame_next(&calls, &call)) {
        struct range_descriptor descriptor = {0};
        struct range_reply reply;
        arena_reset(&arena);
        status = range_reply_decode(call, &arena, &descriptor, &reply);
        ASSERT(status == STATUS_OK);
        range_descriptor_done(&descriptor);
        const struct read_rules *read = read_slot(sim, node, router, reply.call_id);
        if (reply.code != RANGE_REPLY_OK || (reply.kind != RANGE_GET && reply.kind != RANGE_SCAN) ||
            read->call_id != reply.call_id || read->router_incarnation != router->incarnation)
            continue;
        const struct range_replica *replica = sim_replica_on(node, read->range_id);
        if (replica->applied.applied.index < read->floor)
            sim_broken(sim, "a read shows everything that was applied before it came",
                       "node %u served range %" PRIu64 " at index %" PRIu64 ", %" PRIu64
                       " was applied before",
                       node->host.number, read->range_id, replica->applied.applied.index,
                       read->floor);
    }
    arena_done(&arena);
}

/* ---- routers ---- */

void sim_rules_router_began(struct sim *sim, const struct sim_host *host) {
    memset(sim->rules->known[host->number - 1], 0, sizeof(sim->rules->known[0]));
}

/* What it gave up it may learn anew, from whoever comes first. */
void sim_rules_router(struct sim *sim, const struct sim_host *host, const struct router *router) {
    struct range_epoch before[SIM_RANGES_MAX + 1];
    memcpy(before, sim->rules->known[host->number - 1], sizeof(before));
    sim_rules_router_began(sim, host);
    for (size_t i = 0; i < router->cache.count; i++) {
        const struct range_descriptor *descriptor = &router->cache.ordered[i]->descriptor;
        const struct range_epoch *known = &before[descriptor->range_id];
        if (descriptor->epoch.conf_version < known->conf_version ||
            descriptor->epoch.span_version < known->span_version)
            sim_broken(sim, "what a router knows of a range never gets older",
                       "router %u: range %" PRIu64 " went from version %" PRIu64 " to %" PRIu64,
                       host->number, descriptor->range_id, known->conf_version,
                       descriptor->epoch.conf_version);
        sim->rules->known[host->number - 1][descriptor->range_id] = descriptor->epoch;
    }
}
