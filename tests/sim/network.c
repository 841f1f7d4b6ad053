/* Messages between hosts. What is lost, delayed, repeated or cut is decided when it is sent; what
 * arrives at a paused process waits there in order, as in its sockets. */
#include "tests/sim/world.h"

/* Streams keep their order, as TCP does. Those between nodes are opened anew now and then, and
 * range/store.h allows that what they carry comes late: so do Raft's in a half of the seeds. */
static bool keeps_order(const struct sim *sim, enum sim_message_kind kind) {
    if (kind == SIM_RAFT) return sim->config.raft_in_order;
    return kind == SIM_SNAPSHOT || kind == SIM_REQUESTS || kind == SIM_REPLIES;
}

/* What may arrive twice. */
static bool may_repeat(const struct sim *sim, enum sim_message_kind kind) {
    return (kind == SIM_RAFT || kind == SIM_MEMBER_FRAME) && !keeps_order(sim, kind);
}

uint64_t sim_stream_turn(struct sim *sim, const struct sim_message *message, uint64_t at_us) {
    if (!keeps_order(sim, message->kind)) return at_us;
    uint64_t *last_us = &sim->arrives_us[message->from][message->to][message->kind];
    if (at_us <= *last_us) at_us = *last_us + 1;
    *last_us = at_us;
    return at_us;
}

/* Where nothing gets through, also not by a detour. */
static bool is_cut(const struct sim *sim, enum sim_message_kind kind, uint32_t from, uint32_t to) {
    if (!sim->cut[from][to]) return false;
    const struct sim_host *via = sim_detour(sim, kind, from, to);
    return !via || !via->up || sim->cut[from][via->index] || sim->cut[via->index][to];
}

struct sim_body *sim_body_new(void) {
    return MEMORY_NEW(struct sim_body);
}

/* Lists are large, and most of what is said to placement is about timestamps. */
struct sim_body *sim_body_new_with_lists(void) {
    struct sim_body *body = sim_body_new();
    body->lists = MEMORY_NEW(struct sim_lists);
    return body;
}

void sim_body_free(struct sim_body *body) {
    if (!body) return;
    for (uint32_t i = 0; body->lists && i < SIM_RANGES_MAX; i++) {
        placement_descriptor_done(&body->lists->descriptors[i]);
        range_descriptor_done(&body->lists->creates[i].descriptor);
        range_descriptor_done(&body->lists->ranges[i].descriptor);
    }
    memory_free(body->lists);
    memory_free(body);
}

void sim_message_free(struct sim_message *message) {
    buf_done(&message->frame);
    sim_body_free(message->body);
    memory_free(message);
}

static void drop(struct sim_timer *timer) {
    sim_message_free(CONTAINER_OF(timer, struct sim_message, timer));
}

static void arrive(struct sim *sim, struct sim_timer *timer) {
    struct sim_message *message = CONTAINER_OF(timer, struct sim_message, timer);
    struct sim_host *to = sim->hosts[message->to];
    if (to->up && to->paused) {
        list_push_back(&to->backlog, &message->in_backlog);
        return;
    }
    sim_deliver(sim, message);
}

static void receive(struct sim_host *to, void *message) {
    if (to->kind == SIM_NODE)
        sim_node_receive(CONTAINER_OF(to, struct sim_node, host), message);
    else if (to->kind == SIM_MEMBER)
        sim_member_receive(CONTAINER_OF(to, struct sim_member, host), message);
    else
        sim_router_receive(CONTAINER_OF(to, struct sim_router, host), message);
}

static bool is_there(struct sim *sim, const struct sim_message *message) {
    const struct sim_host *to = sim->hosts[message->to];
    sim->messages_under_way--;
    bool there = to->up && !is_cut(sim, message->kind, message->from, message->to) &&
                 (message->to_incarnation == 0 || message->to_incarnation == to->incarnation);
    sim_trace(sim, (uint64_t)message->kind << 32 | message->from << 16 | message->to,
              slice_from_buf(&message->frame));
    return there;
}

void sim_deliver(struct sim *sim, struct sim_message *message) {
    if (is_there(sim, message)) sim_host_run(sim->hosts[message->to], receive, message);
    sim_message_free(message);
}

void sim_deliver_inside(struct sim *sim, struct sim_message *message) {
    if (is_there(sim, message)) receive(sim->hosts[message->to], message);
    sim_message_free(message);
}

static void start_message(struct sim *sim, struct sim_message *message) {
    uint64_t delay_us =
        prng_between(&sim->prng, sim->config.delay_min_us, sim->config.delay_max_us);
    if (sim->extra_delay_us) delay_us += prng_below(&sim->prng, sim->extra_delay_us);
    uint64_t at_us = sim->now_us + delay_us + sim->slow_us[message->from][message->to];
    uint64_t clogged_us = sim->clogged_until_us[message->from][message->to];
    if (at_us < clogged_us) at_us = clogged_us;
    at_us = sim_stream_turn(sim, message, at_us);
    message->timer.fire = arrive;
    message->timer.drop = drop;
    list_init(&message->in_backlog);
    sim->messages_under_way++;
    sim_timer_start(sim, &message->timer, at_us);
}

void sim_send(struct sim *sim, enum sim_message_kind kind, uint32_t from, uint32_t to,
              struct slice frame, struct sim_body *body, uint64_t to_incarnation) {
    if (sim->hosts[from]->up && sim_disk_failed(sim->hosts[from]))
        sim_broken(sim, "a process whose disk failed says nothing more", "host %u sends to host %u",
                   from, to);
    if (is_cut(sim, kind, from, to) || sim_chance(sim, sim->loss_per_mille)) {
        sim_body_free(body);
        return;
    }
    struct sim_message *message = MEMORY_NEW(struct sim_message);
    message->kind = kind;
    message->from = from;
    message->to = to;
    message->from_incarnation = sim->hosts[from]->incarnation;
    message->to_incarnation = to_incarnation;
    message->frame = buf_from_slice(frame);
    message->body = body;
    start_message(sim, message);
    if (body || !may_repeat(sim, kind) || !sim_chance(sim, sim->duplicate_per_mille)) return;
    struct sim_message *twin = MEMORY_NEW(struct sim_message);
    *twin = (struct sim_message){.kind = kind,
                                 .from = from,
                                 .to = to,
                                 .from_incarnation = message->from_incarnation,
                                 .to_incarnation = to_incarnation,
                                 .frame = buf_from_slice(frame)};
    start_message(sim, twin);
}

void sim_isolate(struct sim *sim, const struct sim_host *host, bool cut) {
    for (uint32_t i = 0; i < sim->host_count; i++) {
        if (i == host->index) continue;
        sim->cut[i][host->index] = sim->cut[host->index][i] = cut;
    }
}

void sim_heal(struct sim *sim) {
    memset(sim->cut, 0, sizeof(sim->cut));
    sim->ways_changed_us = sim->now_us;
    memset(sim->clogged_until_us, 0, sizeof(sim->clogged_until_us));
    memset(sim->slow_us, 0, sizeof(sim->slow_us));
    sim->loss_per_mille = sim->duplicate_per_mille = 0;
    sim->extra_delay_us = 0;
}
