#include "tests/range/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/heap.h"
#include "base/memory.h"
#include "range/worker.h"
#include "storage/memory_engine.h"

/* A worker sleeps at least so long between turns, so that messages gather as they do in a process
 * that has other things to do. */
#define TURN_US 10u
#define WORKERS_MAX 4u

enum event_kind { EVENT_RAFT, EVENT_SNAPSHOT, EVENT_REQUESTS, EVENT_REPLIES, EVENT_TIMESTAMPS };

struct event {
    struct heap_node at;
    enum event_kind kind;
    uint64_t from, to;    /* nodes; 0: the client */
    uint64_t incarnation; /* of the node that the event is bound to; 0: any */
    uint32_t worker;      /* TIMESTAMPS */
    uint32_t count;
    struct buf data;
};

struct node;

/* One incarnation of the clients' stream to a node. */
struct session {
    struct range_session base;
    struct node *node;
    uint64_t incarnation;
    uint32_t refs;
};

struct driver { /* of one worker */
    bool syncing;
    uint64_t sync_done_us, rest_until_us;
};

struct node {
    struct cluster *cluster;
    uint64_t id;
    struct storage_engine *engine;
    struct range_store *store; /* NULL: down */
    struct session *session;
    uint64_t incarnation;
    uint32_t election_ticks;
    bool lease_reads;
    bool paused;
    uint64_t slow_us;
    int64_t clock_ppm;
    uint64_t clock_offset_us;
    bool in_turn, working; /* in a worker's turn; and it has read the clock: now it is later */
    struct clock clock;
    struct driver drivers[WORKERS_MAX];
};

struct cluster {
    struct cluster_config config;
    struct prng prng;
    uint64_t now_us;
    struct node nodes[CLUSTER_NODES_MAX + 1]; /* by id */
    bool cut[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1];
    bool drop_snapshots, oracle_stopped;
    bool hostile;     /* bytes have been injected */
    uint32_t refused; /* by range_transport.refuse */
    uint64_t next_timestamp;
    struct heap events;
    struct range_descriptor *descriptors; /* by range id - 1 */
    struct idmap calls;
    uint64_t last_call_id;
    uint32_t sessions; /* alive, for the leak check */
};

struct cluster_config cluster_config_default(uint64_t seed) {
    return (struct cluster_config){.seed = seed,
                                   .nodes = 3,
                                   .ranges = 1,
                                   .workers = 1,
                                   .quiesce_ticks = 15,
                                   .election_ticks = 15,
                                   .lease_reads = true,
                                   .delay_min_us = 50,
                                   .delay_max_us = 150,
                                   .sync_us = 100,
                                   .oracle_us = 100,
                                   .log_entries_kept = 10000,
                                   .log_bytes_kept = 64u << 20,
                                   .snapshot_bytes_per_s = 100u << 20};
}

/* ---- time ---- */

static uint64_t node_time(const struct node *node, uint64_t cluster_us) {
    int64_t drift = (int64_t)cluster_us * node->clock_ppm / 1000000;
    return (uint64_t)((int64_t)(node->clock_offset_us + cluster_us) + drift);
}

/* The first moment at which the node's clock shows node_us. */
static uint64_t cluster_time(const struct node *node, uint64_t node_us) {
    if (node_us <= node->clock_offset_us) return 0;
    uint64_t elapsed = node_us - node->clock_offset_us;
    uint64_t guess = (uint64_t)((int64_t)elapsed * 1000000 / (1000000 + node->clock_ppm));
    while (node_time(node, guess) < node_us)
        guess++;
    return guess;
}

static uint64_t clock_read_us(void *ctx) {
    struct node *node = ctx;
    uint64_t worked_us = node->working ? node->cluster->config.work_us : 0;
    node->working = node->in_turn;
    return node_time(node, node->cluster->now_us) + worked_us;
}

static uint64_t clock_read_wall(void *ctx) {
    return clock_read_us(ctx) / 1000;
}

/* ---- network ---- */

static struct event *event_new(struct cluster *cluster, enum event_kind kind, uint64_t from,
                               uint64_t to, struct slice data) {
    struct event *event = MEMORY_NEW(struct event);
    event->kind = kind;
    event->from = from;
    event->to = to;
    event->data = buf_from_slice(data);
    uint64_t delay =
        prng_between(&cluster->prng, cluster->config.delay_min_us, cluster->config.delay_max_us);
    heap_push(&cluster->events, &event->at, cluster->now_us + delay);
    return event;
}

static void event_free(struct event *event) {
    buf_done(&event->data);
    memory_free(event);
}

static bool chance(struct cluster *cluster, uint32_t per_mille) {
    return per_mille > 0 && prng_below(&cluster->prng, 1000) < per_mille;
}

static void send_frame(struct node *from, enum event_kind kind, uint64_t to, struct slice frame) {
    struct cluster *cluster = from->cluster;
    ASSERT(to >= 1 && to <= cluster->config.nodes);
    if (cluster->cut[from->id][to]) return;
    if (kind == EVENT_SNAPSHOT && cluster->drop_snapshots) return;
    if (chance(cluster, cluster->config.drop_per_mille)) return;
    (void)event_new(cluster, kind, from->id, to, frame); /* it sits in the heap */
    if (chance(cluster, cluster->config.duplicate_per_mille))
        (void)event_new(cluster, kind, from->id, to, frame);
}

static void send_raft(void *ctx, uint64_t to_node, struct slice frame) {
    send_frame(ctx, EVENT_RAFT, to_node, frame);
}

static void send_snapshot(void *ctx, uint64_t to_node, struct slice frame) {
    send_frame(ctx, EVENT_SNAPSHOT, to_node, frame);
}

static void oracle_request(void *ctx, uint32_t worker, uint32_t count) {
    struct node *node = ctx;
    struct cluster *cluster = node->cluster;
    struct event *event = event_new(cluster, EVENT_TIMESTAMPS, 0, node->id, SLICE_EMPTY);
    heap_remove(&cluster->events, &event->at);
    event->incarnation = node->incarnation;
    event->worker = worker;
    event->count = count;
    heap_push(&cluster->events, &event->at, cluster->now_us + cluster->config.oracle_us);
}

static void session_send(struct range_session *base, struct slice frame) {
    struct session *session = (struct session *)base;
    struct event *event =
        event_new(session->node->cluster, EVENT_REPLIES, session->node->id, 0, frame);
    event->incarnation = session->incarnation;
}

static void session_retain(struct range_session *base) {
    ((struct session *)base)->refs++;
}

static void session_release(struct range_session *base) {
    struct session *session = (struct session *)base;
    ASSERT_CMP(session->refs, >, 0);
    if (--session->refs > 0) return;
    session->node->cluster->sessions--;
    memory_free(session);
}

static struct session *session_new(struct node *node) {
    struct session *session = MEMORY_NEW(struct session);
    session->base = (struct range_session){
        .send = session_send, .retain = session_retain, .release = session_release};
    session->node = node;
    session->incarnation = node->incarnation;
    session->refs = 1;
    node->cluster->sessions++;
    return session;
}

/* ---- delivery ---- */

static void learn_descriptor(struct cluster *cluster, const struct range_descriptor *heard) {
    struct range_descriptor *known = &cluster->descriptors[heard->range_id - 1];
    if (heard->epoch.conf_version > known->epoch.conf_version) range_descriptor_copy(known, heard);
}

static void deliver_replies(struct cluster *cluster, struct slice frame) {
    struct decoder calls;
    enum status status = range_frame_open(frame, &calls);
    ASSERT(status == STATUS_OK);
    struct slice bytes;
    while (range_frame_next(&calls, &bytes)) {
        struct decoder peek = decoder_make(bytes);
        struct idmap_node *found = idmap_get(&cluster->calls, decode_varint(&peek));
        if (!found) continue; /* the client has given it up */
        struct cluster_call *call = CONTAINER_OF(found, struct cluster_call, by_id);
        ASSERT(!call->done); /* every call is answered at most once */
        struct slice copy = arena_copy(&call->arena, bytes);
        status = range_reply_decode(copy, &call->arena, &call->descriptor, &call->reply);
        ASSERT(status == STATUS_OK);
        if (call->reply.descriptor) learn_descriptor(cluster, call->reply.descriptor);
        call->done = true;
        call->done_us = cluster->now_us;
        if (call->on_done) call->on_done(call);
    }
    ASSERT(!calls.failed);
}

static void deliver_timestamps(struct cluster *cluster, struct node *node, struct event *event) {
    range_store_timestamps(node->store, event->worker, cluster->next_timestamp, event->count);
    cluster->next_timestamp += event->count + prng_below(&cluster->prng, 3);
}

/* A mailbox that is full drops Raft traffic and refuses requests; both are legal. */
static void deliver_to_node(struct cluster *cluster, struct node *node, struct event *event) {
    struct slice frame = slice_from_buf(&event->data);
    enum status status = STATUS_OK;
    if (event->kind == EVENT_RAFT) {
        status = range_store_raft_frame(node->store, event->from, frame);
    } else if (event->kind == EVENT_SNAPSHOT) {
        status = range_store_snapshot_frame(node->store, event->from, frame);
    } else if (event->kind == EVENT_REQUESTS) {
        status = range_store_requests(node->store, &node->session->base, frame);
        if (status == STATUS_BUSY) range_store_refuse_frame(&node->session->base, frame, 1000);
    } else {
        deliver_timestamps(cluster, node, event);
    }
    if (status == STATUS_CORRUPTION) {
        ASSERT(cluster->hostile);
        cluster->refused++;
        status = STATUS_OK;
    }
    ASSERT(status == STATUS_OK || status == STATUS_BUSY);
}

static void deliver(struct cluster *cluster, struct event *event) {
    if (event->kind == EVENT_REPLIES) {
        struct node *from = &cluster->nodes[event->from];
        /* The stream broke with the process. */
        if (from->store && from->incarnation == event->incarnation)
            deliver_replies(cluster, slice_from_buf(&event->data));
        return;
    }
    struct node *node = &cluster->nodes[event->to];
    if (!node->store) return;
    if (event->incarnation != 0 && event->incarnation != node->incarnation) return;
    if (event->from != 0 && cluster->cut[event->from][event->to]) return;
    deliver_to_node(cluster, node, event);
}

/* ---- workers ---- */

/* A worker's part of a turn and nothing else: tests/instructions/ counts what runs in here. */
static __attribute__((noinline)) bool drive_worker(struct range_worker *worker, bool synced,
                                                   uint64_t now_us) {
    if (!synced) return range_worker_turn(worker, now_us);
    range_worker_synced(worker, now_us);
    return false;
}

static void worker_turn(struct node *node, uint32_t index) {
    struct cluster *cluster = node->cluster;
    struct driver *driver = &node->drivers[index];
    struct range_worker *worker = range_store_worker(node->store, index);
    uint64_t now_us = node_time(node, cluster->now_us);
    node->in_turn = true;
    if (driver->syncing) {
        enum status status =
            storage_write(node->engine, range_worker_batch(worker), STORAGE_SYNCED);
        ASSERT(status == STATUS_OK);
        driver->syncing = false;
        (void)drive_worker(worker, true, now_us); /* after a sync there is no other */
    } else if (drive_worker(worker, false, now_us)) {
        driver->syncing = true;
        driver->sync_done_us = cluster->now_us + cluster->config.sync_us;
    }
    node->in_turn = node->working = false;
    driver->rest_until_us = cluster->now_us + TURN_US + cluster->config.work_us + node->slow_us;
    if (!driver->syncing) range_worker_check(worker);
}

/* When the worker wants to run next, on the cluster's clock. */
static uint64_t worker_due_us(const struct node *node, uint32_t index) {
    const struct driver *driver = &node->drivers[index];
    struct range_worker *worker = range_store_worker(node->store, index);
    if (driver->syncing) return driver->sync_done_us;
    uint64_t due = range_worker_pending(worker) ? node->cluster->now_us
                                                : cluster_time(node, range_worker_next_us(worker));
    return due > driver->rest_until_us ? due : driver->rest_until_us;
}

static bool next_worker(struct cluster *cluster, uint64_t *due_us, struct node **ret_node,
                        uint32_t *ret_index) {
    bool found = false;
    for (uint64_t id = 1; id <= cluster->config.nodes; id++) {
        struct node *node = &cluster->nodes[id];
        if (!node->store || node->paused) continue;
        for (uint32_t i = 0; i < cluster->config.workers; i++) {
            uint64_t due = worker_due_us(node, i);
            if (due >= *due_us) continue;
            *due_us = due;
            *ret_node = node;
            *ret_index = i;
            found = true;
        }
    }
    return found;
}

/* Does the next thing, if it is due by end_us. */
static bool step(struct cluster *cluster, uint64_t end_us) {
    struct heap_node *first = heap_min(&cluster->events);
    uint64_t due_us = end_us + 1;
    bool event_first = false;
    if (first && first->key < due_us) {
        due_us = first->key;
        event_first = true;
    }
    struct node *node = NULL;
    uint32_t index = 0;
    bool worker_first = next_worker(cluster, &due_us, &node, &index);
    if (!worker_first && !event_first) {
        cluster->now_us = end_us;
        return false;
    }
    if (due_us > cluster->now_us) cluster->now_us = due_us;
    if (worker_first) {
        worker_turn(node, index);
        return true;
    }
    struct event *event = CONTAINER_OF(heap_pop(&cluster->events), struct event, at);
    if (event->kind == EVENT_TIMESTAMPS && cluster->oracle_stopped) {
        heap_push(&cluster->events, &event->at, cluster->now_us + 10000);
        return true;
    }
    deliver(cluster, event);
    event_free(event);
    return true;
}

void cluster_run_us(struct cluster *cluster, uint64_t us) {
    uint64_t end_us = cluster->now_us + us;
    while (step(cluster, end_us)) {
    }
}

bool cluster_run_until(struct cluster *cluster, uint64_t us, cluster_condition_fn *condition,
                       void *ctx) {
    uint64_t end_us = cluster->now_us + us;
    while (!condition(ctx)) {
        if (!step(cluster, end_us)) return condition(ctx);
    }
    return true;
}

/* ---- birth, crash, restart ---- */

static void name_range(uint64_t range_id, char text[16]) {
    (void)snprintf(text, 16, "r%04" PRIu64 "/", range_id);
}

static void make_descriptors(struct cluster *cluster) {
    uint32_t count = cluster->config.ranges;
    cluster->descriptors = memory_zalloc(count * sizeof(struct range_descriptor));
    for (uint64_t id = 1; id <= count; id++) {
        struct range_descriptor *descriptor = &cluster->descriptors[id - 1];
        char start[16], end[16];
        name_range(id, start);
        name_range(id + 1, end);
        descriptor->range_id = id;
        if (id > 1) descriptor->start = buf_from_slice(slice_from_text(start));
        if (id < count) descriptor->end = buf_from_slice(slice_from_text(end));
        descriptor->epoch = (struct range_epoch){.conf_version = 1, .span_version = 1};
        descriptor->replica_count = cluster->config.replicas;
        descriptor->next_replica_id = cluster->config.replicas + 1;
        for (uint32_t i = 0; i < cluster->config.replicas; i++)
            descriptor->replicas[i] = (struct range_replica_ref){
                .replica_id = i + 1, .node_id = i + 1, .role = RANGE_VOTER};
    }
}

static void refuse(void *ctx, uint64_t from_node) {
    struct cluster *cluster = ((struct node *)ctx)->cluster;
    ASSERT(cluster->hostile); /* nodes of one version understand each other */
    cluster->refused++;
}

void cluster_start(struct cluster *cluster, uint64_t id) {
    struct node *node = &cluster->nodes[id];
    ASSERT(!node->store);
    node->incarnation++;
    node->session = session_new(node);
    memset(node->drivers, 0, sizeof(node->drivers));
    const struct cluster_config *config = &cluster->config;
    struct range_store_config store_config = {.node_id = id,
                                              .workers = config->workers,
                                              .tick_us = 10000,
                                              .heartbeat_ticks = 5,
                                              .election_ticks = node->election_ticks,
                                              .quiesce_ticks = config->quiesce_ticks,
                                              .lease_drift_ppm = 10000,
                                              .lease_reads = node->lease_reads,
                                              .log_entries_kept = config->log_entries_kept,
                                              .log_bytes_kept = config->log_bytes_kept,
                                              .log_compact_step = config->log_compact_step,
                                              .apply_round_commands = config->apply_round_commands,
                                              .log_work_min = config->log_work_min,
                                              .turn_clients_bytes = config->turn_clients_bytes,
                                              .position_row_max = config->position_row_max,
                                              .read_steps_max = config->read_steps_max,
                                              .catch_up_bytes = config->catch_up_bytes,
                                              .log_snapshot_entries = config->log_snapshot_entries,
                                              .snapshot_bytes_per_s = config->snapshot_bytes_per_s,
                                              .slow_us = config->slow_us,
                                              .seed = config->seed + node->incarnation};
    struct range_transport transport = {
        .ctx = node, .send_raft = send_raft, .send_snapshot = send_snapshot, .refuse = refuse};
    struct range_oracle oracle = {.ctx = node, .request = oracle_request};
    struct buf error = {0};
    enum status status = range_store_open(&store_config, node->engine, &transport, &oracle,
                                          &node->clock, &error, &node->store);
    if (status != STATUS_OK) fatal("%.*s", (int)error.len, (const char *)error.data);
    buf_done(&error);
}

void cluster_set_node(struct cluster *cluster, uint64_t id, uint32_t election_ticks,
                      bool lease_reads) {
    cluster->nodes[id].election_ticks = election_ticks;
    cluster->nodes[id].lease_reads = lease_reads;
}

static void stop_node(struct cluster *cluster, uint64_t id) {
    struct node *node = &cluster->nodes[id];
    if (!node->store) return;
    range_store_free(node->store);
    node->store = NULL;
    session_release(&node->session->base);
    node->session = NULL;
    node->paused = false;
}

/* Connections break with the process: the others notice, as TCP does. */
static void report_unreachable(struct cluster *cluster, uint64_t id) {
    for (uint64_t other = 1; other <= cluster->config.nodes; other++) {
        if (other != id && cluster->nodes[other].store)
            range_store_unreachable(cluster->nodes[other].store, id);
    }
}

void cluster_kill(struct cluster *cluster, uint64_t id) {
    stop_node(cluster, id);
    report_unreachable(cluster, id);
}

void cluster_crash(struct cluster *cluster, uint64_t id) {
    stop_node(cluster, id);
    struct storage_engine *engine = cluster->nodes[id].engine;
    size_t unsynced = memory_engine_unsynced_writes(engine);
    memory_engine_crash(engine, prng_below(&cluster->prng, unsynced + 1));
    report_unreachable(cluster, id);
}

static void init_node(struct cluster *cluster, uint64_t id) {
    struct node *node = &cluster->nodes[id];
    node->cluster = cluster;
    node->id = id;
    cluster_set_node(cluster, id, cluster->config.election_ticks, cluster->config.lease_reads);
    node->engine = memory_engine_new();
    node->clock_offset_us = id * 1000003;
    node->clock_ppm = id % 2 ? cluster->config.clock_ppm : -cluster->config.clock_ppm;
    node->clock =
        (struct clock){.ctx = node, .monotonic_us = clock_read_us, .wall_ms = clock_read_wall};
    cluster_start(cluster, id);
}

struct cluster *cluster_new(const struct cluster_config *config) {
    ASSERT(config->nodes >= 1 && config->nodes <= CLUSTER_NODES_MAX);
    ASSERT(config->workers >= 1 && config->workers <= WORKERS_MAX);
    struct cluster *cluster = MEMORY_NEW(struct cluster);
    cluster->config = *config;
    if (config->replicas == 0) cluster->config.replicas = config->nodes;
    cluster->now_us = 1000000;
    cluster->next_timestamp = 1000;
    prng_init(&cluster->prng, config->seed);
    make_descriptors(cluster);
    for (uint64_t id = 1; id <= config->nodes; id++)
        init_node(cluster, id);
    for (uint64_t range = 1; range <= config->ranges; range++) {
        uint32_t replicas = cluster->config.replicas;
        for (uint64_t id = 1; id <= replicas; id++)
            range_store_create(cluster->nodes[id].store, &cluster->descriptors[range - 1],
                               range % replicas + 1 == id);
    }
    return cluster;
}

void cluster_free(struct cluster *cluster) {
    if (!cluster) return;
    for (uint64_t id = 1; id <= cluster->config.nodes; id++) {
        stop_node(cluster, id);
        storage_close(cluster->nodes[id].engine);
    }
    ASSERT_CMP(cluster->sessions, ==, 0);
    struct heap_node *at;
    while ((at = heap_pop(&cluster->events)) != NULL)
        event_free(CONTAINER_OF(at, struct event, at));
    heap_done(&cluster->events);
    struct idmap_node *call;
    while ((call = idmap_next(&cluster->calls, NULL)) != NULL)
        cluster_call_free(cluster, CONTAINER_OF(call, struct cluster_call, by_id));
    idmap_done(&cluster->calls);
    for (uint32_t i = 0; i < cluster->config.ranges; i++)
        range_descriptor_done(&cluster->descriptors[i]);
    memory_free(cluster->descriptors);
    memory_free(cluster);
}

/* ---- switches and looks ---- */

uint64_t cluster_now_us(const struct cluster *cluster) {
    return cluster->now_us;
}

const struct cluster_config *cluster_config_of(const struct cluster *cluster) {
    return &cluster->config;
}

struct prng *cluster_prng(struct cluster *cluster) {
    return &cluster->prng;
}

bool cluster_is_up(const struct cluster *cluster, uint64_t node) {
    return cluster->nodes[node].store != NULL;
}

void cluster_pause(struct cluster *cluster, uint64_t node, bool paused) {
    cluster->nodes[node].paused = paused;
}

void cluster_cut(struct cluster *cluster, uint64_t a, uint64_t b, bool cut) {
    cluster->cut[a][b] = cluster->cut[b][a] = cut;
}

void cluster_slow(struct cluster *cluster, uint64_t node, uint64_t turn_us) {
    cluster->nodes[node].slow_us = turn_us;
}

void cluster_isolate(struct cluster *cluster, uint64_t node, bool cut) {
    for (uint64_t other = 1; other <= cluster->config.nodes; other++)
        if (other != node) cluster_cut(cluster, node, other, cut);
}

void cluster_heal(struct cluster *cluster) {
    memset(cluster->cut, 0, sizeof(cluster->cut));
    for (uint64_t id = 1; id <= cluster->config.nodes; id++)
        cluster->nodes[id].paused = false;
}

void cluster_set_loss(struct cluster *cluster, uint32_t drop_per_mille,
                      uint32_t duplicate_per_mille) {
    cluster->config.drop_per_mille = drop_per_mille;
    cluster->config.duplicate_per_mille = duplicate_per_mille;
}

void cluster_drop_snapshots(struct cluster *cluster, bool drop) {
    cluster->drop_snapshots = drop;
}

void cluster_stop_oracle(struct cluster *cluster, bool stopped) {
    cluster->oracle_stopped = stopped;
}

void cluster_set_oracle(struct cluster *cluster, uint64_t next) {
    cluster->next_timestamp = next;
}

struct range_store *cluster_store(struct cluster *cluster, uint64_t node) {
    return cluster->nodes[node].store;
}

struct storage_engine *cluster_engine(struct cluster *cluster, uint64_t node) {
    return cluster->nodes[node].engine;
}

const struct range_descriptor *cluster_descriptor(const struct cluster *cluster,
                                                  uint64_t range_id) {
    ASSERT(range_id >= 1 && range_id <= cluster->config.ranges);
    return &cluster->descriptors[range_id - 1];
}

struct status_search {
    uint64_t range_id;
    bool found;
    struct range_status status;
};

static void match_status(void *ctx, const struct range_status *status) {
    struct status_search *search = ctx;
    if (status->descriptor->range_id != search->range_id) return;
    search->found = true;
    search->status = *status;
    search->status.descriptor = NULL;
}

bool cluster_status(struct cluster *cluster, uint64_t node, uint64_t range_id,
                    struct range_status *ret_status) {
    struct status_search search = {.range_id = range_id};
    if (!cluster->nodes[node].store) return false;
    range_store_status(cluster->nodes[node].store, match_status, &search);
    *ret_status = search.status;
    return search.found;
}

uint64_t cluster_leader(struct cluster *cluster, uint64_t range_id) {
    uint64_t leader = 0, term = 0;
    for (uint64_t id = 1; id <= cluster->config.nodes; id++) {
        struct range_status status;
        if (!cluster_status(cluster, id, range_id, &status)) continue;
        if (!status.leads || status.term <= term) continue;
        leader = id;
        term = status.term;
    }
    return leader;
}

struct newest_search {
    uint64_t range_id;
    struct range_descriptor *newest;
};

static void match_newest(void *ctx, const struct range_status *status) {
    struct newest_search *search = ctx;
    if (status->descriptor->range_id != search->range_id) return;
    if (status->descriptor->epoch.conf_version > search->newest->epoch.conf_version)
        range_descriptor_copy(search->newest, status->descriptor);
}

bool cluster_newest(struct cluster *cluster, uint64_t range_id,
                    struct range_descriptor *ret_descriptor) {
    struct newest_search search = {.range_id = range_id, .newest = ret_descriptor};
    range_descriptor_done(ret_descriptor);
    for (uint64_t id = 1; id <= cluster->config.nodes; id++)
        if (cluster->nodes[id].store)
            range_store_status(cluster->nodes[id].store, match_newest, &search);
    return ret_descriptor->range_id != 0;
}

struct leader_wait {
    struct cluster *cluster;
    uint64_t range_id;
};

static bool has_leader(void *ctx) {
    const struct leader_wait *wait = ctx;
    return cluster_leader(wait->cluster, wait->range_id) != 0;
}

uint64_t cluster_wait_leader(struct cluster *cluster, uint64_t range_id) {
    struct leader_wait wait = {.cluster = cluster, .range_id = range_id};
    (void)cluster_run_until(cluster, 5000000, has_leader, &wait); /* the return value says it */
    return cluster_leader(cluster, range_id);
}

uint32_t cluster_refused(const struct cluster *cluster) {
    return cluster->refused;
}

void cluster_inject_raft(struct cluster *cluster, uint64_t from, uint64_t to, struct slice frame) {
    cluster->hostile = true;
    (void)event_new(cluster, EVENT_RAFT, from, to, frame); /* it sits in the heap */
}

/* ---- clients ---- */

static struct cluster_call *call_new(struct cluster *cluster) {
    struct cluster_call *call = MEMORY_NEW(struct cluster_call);
    arena_init(&call->arena, 1024);
    call->begun_us = cluster->now_us;
    idmap_put(&cluster->calls, &call->by_id, ++cluster->last_call_id);
    return call;
}

void cluster_send_many(struct cluster *cluster, uint64_t node, const struct range_request *requests,
                       uint32_t count, struct cluster_call **calls) {
    struct buf frame = {0};
    range_frame_begin(&frame);
    for (uint32_t i = 0; i < count; i++) {
        struct range_request request = requests[i];
        calls[i] = call_new(cluster);
        request.call_id = calls[i]->by_id.id;
        bool known = request.range_id >= 1 && request.range_id <= cluster->config.ranges;
        if (request.epoch.conf_version == 0 && known)
            request.epoch = cluster_descriptor(cluster, request.range_id)->epoch;
        range_request_encode(&frame, &request);
    }
    (void)event_new(cluster, EVENT_REQUESTS, 0, node, slice_from_buf(&frame)); /* in the heap */
    buf_done(&frame);
}

struct cluster_call *cluster_send(struct cluster *cluster, uint64_t node,
                                  const struct range_request *request) {
    struct cluster_call *call = NULL;
    cluster_send_many(cluster, node, request, 1, &call);
    return call;
}

static bool call_done(void *ctx) {
    return ((const struct cluster_call *)ctx)->done;
}

bool cluster_await(struct cluster *cluster, struct cluster_call *call, uint64_t us) {
    return cluster_run_until(cluster, us, call_done, call);
}

void cluster_call_free(struct cluster *cluster, struct cluster_call *call) {
    idmap_remove(&cluster->calls, call->by_id.id);
    arena_done(&call->arena);
    range_descriptor_done(&call->descriptor);
    memory_free(call);
}

struct slice cluster_key(uint64_t range_id, const char *name) {
    static char ring[64][64];
    static unsigned at;
    char *text = ring[at++ % 64];
    int len = snprintf(text, 64, "r%04" PRIu64 "/%s", range_id, name);
    ASSERT(len > 0 && len < 64);
    return slice_make(text, (size_t)len);
}

struct buf cluster_command(const struct txn_command *command) {
    struct buf bytes = {0};
    txn_command_encode(&bytes, command);
    return bytes;
}

struct buf cluster_put(struct slice key, struct slice value) {
    struct txn_op op = {.kind = TXN_OP_PUT, .key = key, .value = value};
    struct txn_command command = {.op_count = 1, .ops = &op};
    return cluster_command(&command);
}

struct buf cluster_add(struct slice key, int64_t delta, struct slice request_id) {
    struct txn_op op = {
        .kind = TXN_OP_ADD, .key = key, .delta = delta, .minimum = INT64_MIN, .maximum = INT64_MAX};
    struct txn_command command = {.request_id = request_id, .op_count = 1, .ops = &op};
    return cluster_command(&command);
}

static uint64_t some_node(struct cluster *cluster, uint64_t range_id) {
    uint64_t leader = cluster_leader(cluster, range_id);
    return leader ? leader : prng_between(&cluster->prng, 1, cluster->config.nodes);
}

/* Sends until OK or INVALID; the caller frees the call. */
static struct cluster_call *insist(struct cluster *cluster, struct range_request *request) {
    for (uint32_t attempt = 0; attempt < 100; attempt++) {
        struct cluster_call *call =
            cluster_send(cluster, some_node(cluster, request->range_id), request);
        if (cluster_await(cluster, call, 500000) &&
            (call->reply.code == RANGE_REPLY_OK || call->reply.code == RANGE_REPLY_INVALID))
            return call;
        cluster_call_free(cluster, call);
        cluster_run_us(cluster, 20000);
    }
    fatal("range %" PRIu64 " answers nobody", request->range_id);
}

struct txn_outcome cluster_write(struct cluster *cluster, uint64_t range_id, struct slice command) {
    struct range_request request = {
        .kind = RANGE_WRITE, .range_id = range_id, .timeout_us = 400000, .command = command};
    struct cluster_call *call = insist(cluster, &request);
    ASSERT(call->reply.code == RANGE_REPLY_OK);
    struct txn_outcome outcome = call->reply.outcome;
    outcome.numbers = NULL; /* they go with the call */
    cluster_call_free(cluster, call);
    return outcome;
}

bool cluster_read(struct cluster *cluster, uint64_t range_id, struct slice key,
                  struct buf *ret_value) {
    struct range_request request = {.kind = RANGE_GET,
                                    .range_id = range_id,
                                    .timeout_us = 400000,
                                    .key_count = 1,
                                    .keys = &key};
    struct cluster_call *call = insist(cluster, &request);
    ASSERT(call->reply.code == RANGE_REPLY_OK && call->reply.row_count == 1);
    bool present = call->reply.rows[0].version != 0;
    if (present) buf_assign(ret_value, call->reply.rows[0].value);
    cluster_call_free(cluster, call);
    return present;
}

int64_t cluster_read_number(struct cluster *cluster, uint64_t range_id, struct slice key) {
    struct buf value = {0};
    int64_t number = 0;
    if (cluster_read(cluster, range_id, key, &value)) {
        buf_append_byte(&value, 0);
        number = strtoll((const char *)value.data, NULL, 10);
    }
    buf_done(&value);
    return number;
}
