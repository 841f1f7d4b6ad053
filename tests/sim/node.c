/* A node: the range store of production, driven as its process would. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/world.h"

/* A worker sleeps at least so long between turns, so that messages gather as they do in a process
 * that has other things to do. */
#define TURN_US 30u
#define DROP_REPORT_US 100000u /* as in rpc/node_peers.c */

/* The stream between a router's process and a node's process. */
struct sim_session {
    struct range_session base;
    struct sim_node *node;
    uint32_t router; /* host */
    uint64_t node_incarnation, router_incarnation;
    uint32_t refs;
};

/* ---- what the store asks of its surroundings ---- */

static void session_send(struct range_session *base, struct slice frame) {
    struct sim_session *session = CONTAINER_OF(base, struct sim_session, base);
    struct sim_host *host = &session->node->host;
    if (!host->up || host->incarnation != session->node_incarnation) return;
    sim_rules_replies(host->sim, session->node, host->sim->hosts[session->router],
                      session->router_incarnation, frame);
    sim_send(host->sim, SIM_REPLIES, host->index, session->router, frame, NULL,
             session->router_incarnation);
}

static void session_retain(struct range_session *base) {
    CONTAINER_OF(base, struct sim_session, base)->refs++;
}

static void session_release(struct range_session *base) {
    struct sim_session *session = CONTAINER_OF(base, struct sim_session, base);
    ASSERT_CMP(session->refs, >, 0);
    if (--session->refs == 0) memory_free(session);
}

static struct sim_session *session_new(struct sim_node *node, const struct sim_host *router) {
    struct sim_session *session = MEMORY_NEW(struct sim_session);
    session->base = (struct range_session){
        .send = session_send, .retain = session_retain, .release = session_release};
    session->node = node;
    session->router = router->index;
    session->node_incarnation = node->host.incarnation;
    session->router_incarnation = router->incarnation;
    session->refs = 1;
    return session;
}

/* The stream from this incarnation of the router; a younger one takes its place. */
static struct sim_session *session_of(struct sim_node *node, const struct sim_host *router) {
    struct sim_session **slot = &node->sessions[router->number - 1];
    if (*slot && (*slot)->router_incarnation != router->incarnation) {
        session_release(&(*slot)->base);
        *slot = NULL;
    }
    if (!*slot) *slot = session_new(node, router);
    return *slot;
}

/* The store is told now and then, not of each frame. */
static void find_no_way(struct sim_node *node, uint64_t node_id) {
    if (node->host.sim->now_us < node->unreachable_us) return;
    node->unreachable_us = node->host.sim->now_us + DROP_REPORT_US;
    range_store_unreachable(node->store, node_id);
}

static void send_to_node(void *ctx, enum sim_message_kind kind, uint64_t node_id,
                         struct slice frame) {
    struct sim_node *node = ctx;
    struct sim_node *to = sim_node_by_id(node->host.sim, node_id);
    ASSERT(to);
    if (!node->host.up) return;
    if (!sim_nodes_connected(node, to)) {
        find_no_way(node, node_id);
        return;
    }
    if (kind == SIM_RAFT) sim_rules_raft_frame(node->host.sim, &node->host, &to->host, frame);
    sim_send(node->host.sim, kind, node->host.index, to->host.index, frame, NULL, 0);
}

static void send_raft(void *ctx, uint64_t to_node, struct slice frame) {
    send_to_node(ctx, SIM_RAFT, to_node, frame);
}

static void send_snapshot(void *ctx, uint64_t to_node, struct slice frame) {
    send_to_node(ctx, SIM_SNAPSHOT, to_node, frame);
}

struct sim_node *sim_node_by_id(struct sim *sim, uint64_t node_id) {
    for (uint32_t i = 0; i < sim->config.nodes; i++)
        if (sim->nodes[i].node_id == node_id) return &sim->nodes[i];
    return NULL;
}

/* ---- life ---- */

static void refuse(void *ctx, uint64_t from_node) {
    const struct sim_node *node = ctx;
    sim_broken(node->host.sim, "nodes understand each other", "node %u refuses node %" PRIu64,
               node->host.number, from_node);
}

void sim_node_start(struct sim_node *node) {
    memset(node->drivers, 0, sizeof(node->drivers));
    memset(node->asks, 0, sizeof(node->asks));
    node->book = (struct sim_book){0};
    node->unreachable_us = 0;
    sim_address_take(node);
    sim_node_placement_start(node);
}

/* What is a setting of each node may differ from node to node, and from start to start. */
static void vary_settings(struct sim *sim, struct range_store_config *store_config) {
    if (!sim->config.settings_differ) return;
    store_config->election_ticks = (uint32_t)prng_between(&sim->prng, 8, 40);
    if (sim_chance(sim, 250)) store_config->lease_reads = false;
}

void sim_node_open(struct sim_node *node) {
    const struct sim_config *config = &node->host.sim->config;
    struct range_store_config store_config = {
        .node_id = node->node_id,
        .workers = config->workers,
        .tick_us = SIM_TICK_US,
        .heartbeat_ticks = 5,
        .election_ticks = 15,
        .quiesce_ticks = config->quiesce_ticks,
        .lease_drift_ppm = SIM_LEASE_DRIFT_PPM,
        .lease_reads = config->lease_reads,
        .log_entries_kept = config->log_entries_kept,
        .log_bytes_kept = 32u << 20,
        .log_snapshot_entries = config->log_snapshot_entries,
        .log_compact_step = config->log_compact_step,
        .append_bytes_max = config->append_bytes_max,
        .catch_up_bytes = config->catch_up_bytes,
        .apply_round_commands = config->apply_round_commands,
        .log_work_min = config->log_work_min,
        .read_steps_max = config->read_steps_max,
        .command_steps_max = config->command_steps_max,
        .mailbox_items_max = config->mailbox_items_max,
        .turn_nodes_bytes = config->turn_nodes_bytes,
        .turn_clients_bytes = config->turn_clients_bytes,
        .pending_max = config->pending_max,
        .position_row_max = config->position_row_max,
        .snapshot_chunk_bytes = config->snapshot_chunk_bytes,
        .snapshots_max = config->snapshots_max,
        .snapshot_bytes_per_s = 16u << 20,
        .seed = prng_next(&node->host.sim->prng),
    };
    vary_settings(node->host.sim, &store_config);
    struct range_transport transport = {
        .ctx = node, .send_raft = send_raft, .send_snapshot = send_snapshot, .refuse = refuse};
    struct range_oracle oracle = sim_node_oracle(node);
    struct buf error = {0};
    enum status status = range_store_open(&store_config, node->host.engine, &transport, &oracle,
                                          &node->host.clock, &error, &node->store);
    if (status != STATUS_OK && sim_disk_failed(&node->host))
        fatal("node %u cannot open its store: %s", node->host.number, status_text(status));
    if (status != STATUS_OK)
        sim_broken(node->host.sim, "a node recovers from what it wrote", "node %u: %.*s",
                   node->host.number, (int)error.len, (const char *)error.data);
    buf_done(&error);
    for (uint32_t i = 0; i < SIM_ROUTERS; i++)
        sim_send(node->host.sim, SIM_STREAM_UP, node->host.index,
                 node->host.sim->routers[i].host.index, SLICE_EMPTY, NULL, 0);
    sim_node_schedule(node);
}

/* Connections break with the process. A machine without power closes none, so the others may have
 * to find out by themselves. */
static void break_streams(struct sim_node *node, enum sim_end end) {
    struct sim *sim = node->host.sim;
    if (end != SIM_END_KILL && sim_chance(sim, 500)) return;
    for (uint32_t i = 0; i < sim->host_count; i++)
        if (i != node->host.index && sim->hosts[i]->kind != SIM_MEMBER)
            sim_send(sim, SIM_STREAM_DOWN, node->host.index, i, SLICE_EMPTY, NULL, 0);
}

void sim_node_stop(struct sim_node *node, enum sim_end end) {
    struct sim *sim = node->host.sim;
    sim_timer_stop(sim, &node->placement);
    if (node->store && end != SIM_END_FAILURE) {
        for (uint32_t i = 0; i < sim->config.workers; i++)
            if (node->drivers[i].syncing)
                sim_disk_interrupt_sync(&node->host,
                                        range_worker_batch(range_store_worker(node->store, i)));
        range_store_free(node->store);
    }
    node->store = NULL;
    for (uint32_t i = 0; i < SIM_ROUTERS; i++) {
        if (node->sessions[i]) session_release(&node->sessions[i]->base);
        node->sessions[i] = NULL;
    }
    sim_rules_process_ended(sim, node);
    break_streams(node, end);
}

/* ---- turns ---- */

static uint64_t worker_due_us(const struct sim_node *node, uint32_t index) {
    const struct sim_driver *driver = &node->drivers[index];
    struct range_worker *worker = range_store_worker(node->store, index);
    if (driver->syncing) return driver->sync_done_us;
    uint64_t due_us = range_worker_pending(worker)
                          ? node->host.sim->now_us
                          : sim_host_when(&node->host, range_worker_next_us(worker));
    return due_us > driver->rest_until_us ? due_us : driver->rest_until_us;
}

void sim_node_schedule(struct sim_node *node) {
    uint64_t due_us = UINT64_MAX;
    if (!node->host.up || node->host.paused || !node->store) return;
    for (uint32_t i = 0; i < node->host.sim->config.workers; i++) {
        uint64_t at_us = worker_due_us(node, i);
        if (at_us < due_us) due_us = at_us;
    }
    if (due_us < node->host.sim->now_us) due_us = node->host.sim->now_us;
    sim_timer_start(node->host.sim, &node->host.wake, due_us);
}

static void worker_turn(struct sim_node *node, uint32_t index) {
    struct sim *sim = node->host.sim;
    struct sim_driver *driver = &node->drivers[index];
    struct range_worker *worker = range_store_worker(node->store, index);
    uint64_t host_us = clock_monotonic_us(&node->host.clock);
    if (driver->syncing) {
        enum status status = sim_disk_sync(&node->host, range_worker_batch(worker));
        if (status != STATUS_OK) /* as range_worker_run does */
            fatal("node %u: the sync of its log failed: %s", node->host.number,
                  status_text(status));
        driver->syncing = false;
        range_worker_synced(worker, host_us);
    } else if (range_worker_turn(worker, host_us)) {
        driver->syncing = true;
        driver->sync_done_us = sim->now_us + sim_disk_sync_time(&node->host);
    }
    driver->rest_until_us = sim->now_us + TURN_US + sim_disk_stall_time(&node->host);
    if (driver->syncing)
        sim_rules_before_sync(sim, node, index);
    else
        sim_rules_after_turn(sim, node, index);
}

void sim_node_wake(struct sim_node *node) {
    if (!node->store) return; /* went on after a pause before it was registered */
    for (uint32_t i = 0; i < node->host.sim->config.workers; i++) {
        if (worker_due_us(node, i) > node->host.sim->now_us) continue;
        worker_turn(node, i);
    }
    sim_node_schedule(node);
}

/* Production reads the clock so often in a turn, at least: before it, at its begin, when the
 * mailbox is drained, at its end. It may be stopped behind each, or was so in another way. */
#define CLOCK_READS_OF_A_TURN 4u

void sim_node_go_on(struct sim_node *node) {
    struct sim_host *host = &node->host;
    if (!node->store) return;
    uint32_t index = (uint32_t)prng_below(&host->sim->prng, host->sim->config.workers);
    const struct sim_driver *driver = &node->drivers[index];
    if (driver->syncing && driver->sync_done_us > host->stopped.began_us) return;
    host->stopped.reads = (uint32_t)prng_between(&host->sim->prng, 1, CLOCK_READS_OF_A_TURN);
    host->stopped.turn = true;
    worker_turn(node, index);
    host->stopped.turn = false;
    if (host->stopped.reads > 0) sim_host_take_backlog(host); /* it read the clock less often */
    host->stopped.reads = 0;
    sim_node_schedule(node);
}

/* ---- messages ---- */

static void receive_requests(struct sim_node *node, const struct sim_message *message) {
    struct sim *sim = node->host.sim;
    const struct sim_host *router = sim->hosts[message->from];
    struct slice frame = slice_from_buf(&message->frame);
    if (router->incarnation != message->from_incarnation) return; /* its stream is gone */
    struct sim_session *session = session_of(node, router);
    sim_rules_requests(sim, node, router, frame);
    enum status status = range_store_requests(node->store, &session->base, frame);
    if (status == STATUS_BUSY)
        range_store_refuse_frame(&session->base, frame, 1000);
    else if (status != STATUS_OK)
        sim_broken(sim, "routers send frames that nodes understand", "node %u: %s",
                   node->host.number, status_name(status));
}

void sim_node_receive(struct sim_node *node, struct sim_message *message) {
    struct sim *sim = node->host.sim;
    const struct sim_host *from = sim->hosts[message->from];
    enum status status = STATUS_OK;
    if (message->kind == SIM_REGISTERED || message->kind == SIM_HEARTBEAT_ANSWER ||
        message->kind == SIM_GRANT) {
        sim_node_placement_receive(node, message);
        sim_node_schedule(node);
        return;
    }
    if (!node->store) { /* nobody listens yet */
        if (message->kind == SIM_REQUESTS)
            sim_send(sim, SIM_STREAM_DOWN, node->host.index, from->index, SLICE_EMPTY, NULL, 0);
        return;
    }
    uint64_t from_node =
        from->kind == SIM_NODE ? CONTAINER_OF(from, struct sim_node, host)->node_id : 0;
    if (message->kind == SIM_RAFT)
        status = range_store_raft_frame(node->store, from_node, slice_from_buf(&message->frame));
    else if (message->kind == SIM_SNAPSHOT)
        status =
            range_store_snapshot_frame(node->store, from_node, slice_from_buf(&message->frame));
    else if (message->kind == SIM_REQUESTS)
        receive_requests(node, message);
    else if (message->kind == SIM_STREAM_DOWN)
        range_store_unreachable(node->store, from_node);
    if (status != STATUS_OK && status != STATUS_BUSY)
        sim_broken(sim, "nodes send frames that nodes understand", "from node %u to node %u: %s",
                   from->number, node->host.number, status_name(status));
    sim_node_schedule(node);
}
