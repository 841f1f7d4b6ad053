/* The rules about what leaves a process, and what it leaves for:
 *
 *   a vote or an acknowledgement leaves only when what it promises is on its sender's disk
 *   one vote per replica and term, over crashes
 *   who speaks as a leader has its own vote in that term on its disk
 *   a heartbeat takes nothing for committed that its receiver does not have on disk
 *   a read shows everything that was applied anywhere before it reached its node
 *   what a router knows of a range never gets older */
#include <inttypes.h>

#include "placement/driver.h"
#include "raft/message_codec.h"
#include "range/raft_frame.h"
#include "range/router/internal.h"
#include "tests/sim/rules.h"

/* ---- Raft messages ---- */

/* Who says something to whom; both groups of ranges and placement's (0). */
struct speech {
    struct sim *sim;
    const struct sim_host *from, *to;
    uint64_t group;
    /* Says itself that it is no replica; it may have become one since, in the same turn. */
    bool stray;
    const struct raft_message *message;
};

static _Noreturn void broken(const struct speech *speech, const char *rule, uint64_t on_disk) {
    const struct raft_message *message = speech->message;
    sim_broken(speech->sim, rule,
               "host %u to host %u, group %" PRIu64 ": kind %d, term %" PRIu64 ", index %" PRIu64
               ", commit %" PRIu64 "; on disk is %" PRIu64,
               speech->from->index, speech->to->index, speech->group, (int)message->kind,
               message->term, message->log.index, message->commit, on_disk);
}

static struct raft_hard_state durable_state(const struct speech *speech) {
    struct raft_hard_state state = {0};
    struct buf bytes = {0};
    enum status status = sim_disk_state(speech->from, speech->group, RAFT_LOG_HARD_STATE, &bytes);
    if (status == STATUS_OK) status = raft_decode_hard_state(slice_from_buf(&bytes), &state);
    ASSERT(status == STATUS_OK || status == STATUS_NOT_FOUND);
    buf_done(&bytes);
    return state;
}

/* The entry is there, or compacted. */
static bool log_reaches(const struct sim_host *host, uint64_t group, uint64_t index) {
    struct buf bytes = {0};
    bool there = sim_disk_entry(host, group, index, &bytes) == STATUS_OK;
    if (!there) {
        enum status status = sim_disk_state(host, group, RAFT_LOG_TRUNCATION, &bytes);
        struct decoder in = decoder_make(slice_from_buf(&bytes));
        there = status == STATUS_OK && decode_u64(&in) >= index;
    }
    buf_done(&bytes);
    return there;
}

/* The replica that speaks, or is spoken to, is a member of its group, and up. */
static bool is_active(const struct speech *speech, const struct sim_host *host,
                      uint64_t replica_id) {
    if (speech->group == PLACEMENT_RAFT_GROUP) return true;
    const struct range_replica *replica =
        sim_replica_on(CONTAINER_OF(host, struct sim_node, host), speech->group);
    return replica && replica->replica_id == replica_id;
}

/* What was seen of another replica there, which is gone, is forgotten. */
static struct speaker_rules *speaker(const struct speech *speech) {
    struct speaker_rules *seen = &speech->sim->rules->speakers[speech->from->index][speech->group];
    if (seen->speaker != speech->message->from) {
        seen->vote_term = seen->candidate = seen->durable_term = seen->led_term = 0;
        seen->speaker = speech->message->from;
    }
    return seen;
}

static struct speaker_rules *hearer(const struct speech *speech) {
    struct speaker_rules *seen = &speech->sim->rules->speakers[speech->to->index][speech->group];
    if (seen->hearer != speech->message->to) {
        seen->committed = 0;
        seen->hearer = speech->message->to;
    }
    return seen;
}

static void check_vote(const struct speech *speech, const struct raft_hard_state *durable) {
    const struct raft_message *message = speech->message;
    struct speaker_rules *seen = speaker(speech);
    if (durable->term == message->term && durable->vote != message->to)
        broken(speech, "a vote leaves once it is on disk", durable->vote);
    if (seen->vote_term == message->term && seen->candidate != message->to)
        broken(speech, "one vote per term", durable->vote);
    if (message->term < seen->vote_term) return;
    seen->vote_term = message->term;
    seen->candidate = message->to;
}

/* In a later term what was acknowledged may have been replaced. Index 0 says nothing. */
static void check_acknowledgement(const struct speech *speech) {
    const struct raft_message *message = speech->message;
    if (message->log.index > 0 && !log_reaches(speech->from, speech->group, message->log.index) &&
        durable_state(speech).term == message->term)
        broken(speech, "an entry is acknowledged once it is on disk", 0);
}

static void check_promise(const struct speech *speech) {
    const struct raft_message *message = speech->message;
    struct speaker_rules *seen = speaker(speech);
    bool vote = message->kind == RAFT_MSG_VOTE_RESPONSE && !message->reject;
    if (vote || message->term > seen->durable_term) {
        struct raft_hard_state durable = durable_state(speech);
        if (durable.term < message->term)
            broken(speech, "a promise leaves once its term is on disk", durable.term);
        seen->durable_term = durable.term;
        if (vote) check_vote(speech, &durable);
    }
    if (message->kind == RAFT_MSG_APPEND_RESPONSE && !message->reject)
        check_acknowledgement(speech);
}

static void check_leader_speaks(const struct speech *speech) {
    const struct raft_message *message = speech->message;
    struct speaker_rules *seen = speaker(speech);
    if (seen->led_term == message->term) return;
    struct raft_hard_state durable = durable_state(speech);
    bool voted = durable.term > message->term ||
                 (durable.term == message->term && durable.vote == message->from);
    if (!voted) broken(speech, "who leads has its own vote on disk", durable.vote);
    seen->led_term = message->term;
}

static void check_heartbeat(const struct speech *speech) {
    uint64_t commit = speech->message->commit;
    struct speaker_rules *seen = hearer(speech);
    if (commit <= seen->committed || !is_active(speech, speech->to, speech->message->to)) return;
    if (!log_reaches(speech->to, speech->group, commit))
        broken(speech, "a heartbeat commits what its receiver has", 0);
    seen->committed = commit;
}

/* Who is not there, not yet or not any more, may say so, and refuse. */
static void check_stray(const struct speech *speech) {
    enum raft_message_kind kind = speech->message->kind;
    bool promise = kind == RAFT_MSG_VOTE_RESPONSE || kind == RAFT_MSG_PRE_VOTE_RESPONSE ||
                   kind == RAFT_MSG_APPEND_RESPONSE;
    if (promise && !speech->message->reject)
        broken(speech, "who is no replica promises nothing", 0);
}

static void check_speech(const struct speech *speech) {
    if (speech->stray || !is_active(speech, speech->from, speech->message->from)) {
        check_stray(speech);
        return;
    }
    sim_rules_lease_speech(speech->sim, speech->from, speech->to, speech->group, speech->message);
    switch (speech->message->kind) {
    case RAFT_MSG_VOTE_RESPONSE:
    case RAFT_MSG_APPEND_RESPONSE:
        check_promise(speech);
        break;
    case RAFT_MSG_HEARTBEAT:
        check_heartbeat(speech);
        check_leader_speaks(speech);
        break;
    case RAFT_MSG_APPEND:
        check_leader_speaks(speech);
        break;
    default:
        break; /* promises nothing */
    }
}

static void check_encoded(struct speech *speech, struct slice encoded) {
    struct decoder in = decoder_make(encoded);
    struct raft_message message;
    struct arena arena;
    arena_init(&arena, 0);
    enum status status = raft_decode_message(&in, &arena, &message);
    ASSERT(status == STATUS_OK);
    speech->message = &message;
    check_speech(speech);
    speech->message = NULL;
    raft_message_done(&message);
    arena_done(&arena);
}

void sim_rules_raft_frame(struct sim *sim, const struct sim_host *from, const struct sim_host *to,
                          struct slice frame) {
    struct decoder messages;
    struct range_raft_envelope envelope;
    enum status status = range_raft_frame_open(frame, &messages);
    ASSERT(status == STATUS_OK);
    while (range_raft_frame_next(&messages, &envelope)) {
        if (envelope.range_id == 0 || envelope.removed) continue; /* no Raft message */
        struct speech speech = {.sim = sim,
                                .from = from,
                                .to = to,
                                .group = envelope.range_id,
                                .stray = envelope.conf_version == 0};
        check_encoded(&speech, envelope.message);
    }
}

void sim_rules_member_frame(struct sim *sim, const struct sim_host *from, const struct sim_host *to,
                            struct slice frame) {
    struct speech speech = {.sim = sim, .from = from, .to = to, .group = PLACEMENT_RAFT_GROUP};
    const size_t head = 1 + sizeof(uint64_t); /* version and wall clock */
    ASSERT(frame.len > head);
    check_encoded(&speech, slice_make((const uint8_t *)frame.data + head, frame.len - head));
}

/* ---- calls ---- */

static struct call_rules *call_slot(struct sim *sim, const struct sim_node *node,
                                    const struct sim_host *router, uint64_t call_id) {
    return &sim->rules->calls[node->host.number - 1][router->number - 1][call_id % CALLS_KEPT];
}

/* What the replica has applied, all of it and nothing else. */
static void check_stale(struct sim *sim, const struct sim_node *node,
                        const struct range_replica *replica, const struct range_reply *reply) {
    uint64_t newest = 0;
    for (uint32_t i = 0; i < reply->row_count; i++)
        if (reply->rows[i].version > newest) newest = reply->rows[i].version;
    if (newest > reply->as_of || reply->as_of > replica->applied.last_commit_ts)
        sim_broken(sim, "a stale read shows what its replica had applied",
                   "node %u range %" PRIu64 ": version %" PRIu64 " as of %" PRIu64 " at %" PRIu64,
                   node->host.number, range_replica_id(replica), newest, reply->as_of,
                   replica->applied.last_commit_ts);
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
        *call_slot(sim, node, router, call_id) = (struct call_rules){
            .call_id = call_id,
            .router_incarnation = router->incarnation,
            .range_id = range_id,
            .floor = RANGE_INITIAL_INDEX + sim->rules->ranges[range_id].applied_count,
            .floor_ts = sim->rules->last_timestamp};
    }
}

static void check_read(struct sim *sim, const struct sim_node *node, const struct call_rules *call,
                       const struct range_reply *reply) {
    const struct range_replica *replica = sim_replica_on(node, call->range_id);
    if (!replica) return; /* removed in the turn that served it */
    if (reply->stale)
        check_stale(sim, node, replica, reply);
    else if (replica->applied.applied.index < call->floor)
        sim_broken(sim, "a read shows everything that was applied before it came",
                   "node %u served range %" PRIu64 " at index %" PRIu64 ", %" PRIu64
                   " was applied before",
                   node->host.number, call->range_id, replica->applied.applied.index, call->floor);
}

/* Timestamps order writes of different ranges as well: who was told of one, anywhere, and then asks
 * for another, gets a later one. So it was granted after the request had come. */
static void check_write(struct sim *sim, const struct sim_node *node, const struct call_rules *call,
                        const struct range_reply *reply) {
    const struct txn_outcome *outcome = &reply->outcome;
    if (outcome->result != TXN_DONE || outcome->replayed) return;
    if (outcome->commit_ts <= call->floor_ts)
        sim_broken(sim, "a write's timestamp is above all that were granted before it came",
                   "node %u wrote to range %" PRIu64 " at %" PRIu64 ", %" PRIu64
                   " was granted before",
                   node->host.number, call->range_id, outcome->commit_ts, call->floor_ts);
}

void sim_rules_replies(struct sim *sim, const struct sim_node *node, const struct sim_host *router,
                       uint64_t router_incarnation, struct slice frame) {
    struct decoder calls;
    struct slice encoded;
    struct arena arena;
    enum status status = range_frame_open(frame, &calls);
    ASSERT(status == STATUS_OK);
    arena_init(&arena, 0);
    while (range_frame_next(&calls, &encoded)) {
        struct range_descriptor descriptor = {0};
        struct range_reply reply;
        arena_reset(&arena);
        status = range_reply_decode(encoded, &arena, &descriptor, &reply);
        ASSERT(status == STATUS_OK);
        range_descriptor_done(&descriptor);
        const struct call_rules *call = call_slot(sim, node, router, reply.call_id);
        if (reply.code != RANGE_REPLY_OK || call->call_id != reply.call_id ||
            call->router_incarnation != router_incarnation)
            continue;
        if (reply.kind == RANGE_WRITE) check_write(sim, node, call, &reply);
        /* Without leases that hold, clients know which reads had none. */
        bool read = reply.kind == RANGE_GET || reply.kind == RANGE_SCAN;
        if (read && !sim->config.leases_fail) check_read(sim, node, call, &reply);
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
