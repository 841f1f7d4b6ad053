/* What a node asks of placement, as rpc/'s placement client does: it registers at each start,
 * sends heartbeats and does what their answers say, and asks for timestamps until it has them. */
#include <stdio.h>

#include "tests/sim/world.h"

#define STEP_US 50000u
#define RETRY_US 150000u

static struct sim_host *member_host(struct sim_node *node) {
    return &node->host.sim->members[node->member].host;
}

uint32_t sim_next_member(struct sim *sim, uint32_t member) {
    return (member + 1) % sim->config.members;
}

/* ---- asking ---- */

/* A host counts the starts of its process, and nobody makes copies of its disk. */
static uint64_t incarnation(const struct sim_node *node) {
    return placement_incarnation(node->host.incarnation, 0);
}

static void send_registration(struct sim_node *node) {
    struct sim_body *body = sim_body_new();
    body->cluster_id = node->cluster_id;
    body->node_id = node->node_id;
    body->incarnation = incarnation(node);
    body->number = node->opened_sequence;
    body->address = node->address;
    sim_send(node->host.sim, SIM_REGISTER, node->host.index, member_host(node)->index,
             slice_make(node->uuid.bytes, sizeof(node->uuid.bytes)), body, 0);
    node->member = sim_next_member(node->host.sim, node->member); /* unless it answers */
}

struct report_list {
    struct sim_node *node;
    struct sim_body *body;
};

static void copy_descriptor(struct placement_descriptor *into,
                            const struct range_descriptor *from) {
    into->range_id = from->range_id;
    buf_assign(&into->start, slice_from_buf(&from->start));
    buf_assign(&into->end, slice_from_buf(&from->end));
    into->epoch = (struct placement_epoch){from->epoch.conf_version, from->epoch.span_version};
    into->next_replica_id = from->next_replica_id;
    into->replica_count = from->replica_count;
    for (uint32_t i = 0; i < from->replica_count; i++)
        into->replicas[i] = (struct placement_replica){
            .replica_id = from->replicas[i].replica_id,
            .node_id = from->replicas[i].node_id,
            .role = from->replicas[i].role == RANGE_LEARNER ? PLACEMENT_LEARNER : PLACEMENT_VOTER};
}

static void report_range(void *ctx, const struct range_status *status) {
    struct report_list *list = ctx;
    struct sim_body *body = list->body;
    ASSERT_CMP(body->report_count, <, SIM_RANGES_MAX);
    uint64_t range_id = status->descriptor->range_id;
    struct placement_replica_report *report = &body->lists->reports[body->report_count];
    *report = (struct placement_replica_report){
        .range_id = range_id,
        .replica_id = status->replica_id,
        .epoch = {status->descriptor->epoch.conf_version, status->descriptor->epoch.span_version},
        .term = status->term,
        .leads = status->leads,
        .applied_index = status->applied_index,
        .data_bytes = status->approximate_bytes,
    };
    if (status->leads && list->node->wanted[range_id]) {
        list->node->wanted[range_id] = false;
        copy_descriptor(&body->lists->descriptors[body->report_count], status->descriptor);
        report->descriptor = &body->lists->descriptors[body->report_count];
    }
    body->report_count++;
}

static void send_heartbeat(struct sim_node *node) {
    struct report_list list = {.node = node, .body = sim_body_new_with_lists()};
    list.body->cluster_id = node->cluster_id;
    list.body->node_id = node->node_id;
    list.body->incarnation = incarnation(node);
    list.body->book_version = node->book.version;
    list.body->wall_ms = clock_wall_ms(&node->host.clock);
    list.body->number = storage_synced_sequence(node->host.engine);
    range_store_status(node->store, report_range, &list);
    sim_send(node->host.sim, SIM_HEARTBEAT, node->host.index, member_host(node)->index, SLICE_EMPTY,
             list.body, 0);
    node->next_heartbeat_us = node->host.sim->now_us + 500000;
}

static void send_ask(struct sim_node *node, uint32_t worker) {
    struct sim_ask *ask = &node->asks[worker];
    struct sim_body *body = sim_body_new();
    ask->number = ++node->last_number;
    ask->retry_us = node->host.sim->now_us + RETRY_US;
    body->count = ask->count;
    body->number = ask->number;
    body->worker = worker;
    sim_send(node->host.sim, SIM_TIMESTAMPS, node->host.index,
             node->host.sim->members[node->oracle_member].host.index, SLICE_EMPTY, body, 0);
}

static void request_timestamps(void *ctx, uint32_t worker, uint32_t count) {
    struct sim_node *node = ctx;
    ASSERT_CMP(node->asks[worker].count, ==, 0); /* one at a time: range/store.h */
    node->asks[worker].count = count < PLACEMENT_TIMESTAMPS_MAX ? count : PLACEMENT_TIMESTAMPS_MAX;
    send_ask(node, worker);
}

struct range_oracle sim_node_oracle(struct sim_node *node) {
    return (struct range_oracle){.ctx = node, .request = request_timestamps};
}

/* Asks that got no answer go to the next member, all of them to the same. */
static void ask_again(struct sim_node *node) {
    struct sim *sim = node->host.sim;
    bool turned = false;
    for (uint32_t i = 0; i < sim->config.workers; i++) {
        if (node->asks[i].count == 0 || node->asks[i].retry_us > sim->now_us) continue;
        if (!turned) node->oracle_member = sim_next_member(sim, node->oracle_member);
        turned = true;
        send_ask(node, i);
    }
}

/* A look at what is due. While the process is paused nothing is sent. */
static void look(struct sim *sim, struct sim_timer *timer) {
    struct sim_node *node = CONTAINER_OF(timer, struct sim_node, placement);
    sim_timer_start(sim, timer, sim->now_us + STEP_US);
    if (node->host.paused) return;
    if (!node->store) {
        if (sim->now_us >= node->next_heartbeat_us) {
            node->next_heartbeat_us = sim->now_us + 200000;
            send_registration(node);
        }
        return;
    }
    ask_again(node);
    if (sim->now_us >= node->next_heartbeat_us) send_heartbeat(node);
}

void sim_node_placement_start(struct sim_node *node) {
    struct sim *sim = node->host.sim;
    memset(node->wanted, 0, sizeof(node->wanted));
    node->next_heartbeat_us = 0;
    node->opened_sequence = storage_synced_sequence(node->host.engine);
    node->placement.fire = look;
    sim_timer_start(sim, &node->placement, sim->now_us + prng_below(&sim->prng, 1000));
}

/* ---- answers ---- */

static void registered(struct sim_node *node, const struct sim_message *message) {
    const struct sim_body *body = message->body;
    if (node->store || message->to_incarnation != node->host.incarnation) return;
    if (body->status == STATUS_OK) {
        ASSERT(node->node_id == 0 || node->node_id == body->node_id);
        node->cluster_id = body->cluster_id;
        node->node_id = body->node_id;
        node->member = node->host.sim->hosts[message->from]->number - 1;
        sim_note(node->host.sim, "node %u: registered as %u", node->host.number,
                 (unsigned)body->node_id);
        sim_node_open(node);
        return;
    }
    /* EXISTS: placement still takes the incarnation before for alive. */
    bool may_pass = body->status == STATUS_NOT_LEADER || body->status == STATUS_BUSY ||
                    body->status == STATUS_UNAVAILABLE || body->status == STATUS_SHUTDOWN ||
                    body->status == STATUS_EXISTS;
    if (!may_pass)
        sim_broken(node->host.sim, "placement takes its nodes back", "node %u: %s",
                   node->host.number, status_name(body->status));
}

static void heartbeat_answered(struct sim_node *node, const struct sim_message *message) {
    struct sim *sim = node->host.sim;
    const struct sim_body *body = message->body;
    if (!node->store || message->to_incarnation != node->host.incarnation) return;
    if (body->status == STATUS_EXISTS || body->status == STATUS_MISMATCH)
        sim_broken(sim, "placement knows its nodes", "node %u is fenced: %s", node->host.number,
                   status_name(body->status));
    if (body->status != STATUS_OK) {
        node->member = sim_next_member(sim, node->member);
        node->next_heartbeat_us = sim->now_us + 100000;
        return;
    }
    node->member = sim->hosts[message->from]->number - 1;
    node->next_heartbeat_us = sim->now_us + body->next_heartbeat_ms * UINT64_C(1000);
    sim_book_learn(&node->book, body);
    for (uint32_t i = 0; i < body->create_count; i++)
        range_store_create(node->store, &body->lists->creates[i].descriptor,
                           body->lists->creates[i].campaign);
    for (uint32_t i = 0; i < body->wanted_count; i++)
        node->wanted[body->lists->wanted[i]] = true;
}

static void granted(struct sim_node *node, const struct sim_message *message) {
    const struct sim_body *body = message->body;
    struct sim_ask *ask = &node->asks[body->worker];
    if (!node->store || message->to_incarnation != node->host.incarnation) return;
    if (ask->count == 0 || ask->number != body->number) return; /* for an ask given up */
    if (body->status != STATUS_OK) return;                      /* asked again by ask_again */
    ask->count = 0;
    range_store_timestamps(node->store, body->worker, body->first, (uint32_t)body->count);
}

void sim_node_placement_receive(struct sim_node *node, struct sim_message *message) {
    if (message->kind == SIM_REGISTERED)
        registered(node, message);
    else if (message->kind == SIM_HEARTBEAT_ANSWER)
        heartbeat_answered(node, message);
    else
        granted(node, message);
}
