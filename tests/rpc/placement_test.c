/* Placement's service and its client together, on one loop, over a real connection. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "placement/placement.h"
#include "rpc/loop.h"
#include "rpc/metrics.h"
#include "rpc/placement_client.h"
#include "rpc/placement_service.h"
#include "storage/memory_engine.h"
#include "tests/rpc/fake_store.h"

#define PATIENCE_US (10u * 1000u * 1000u)

/* ---- placement ---- */

static struct rpc_loop *loop;
static struct storage_engine *engine;
static struct placement_driver *driver;
static struct rpc_server *server;
static struct placement_service *service;
static char address[64];

static void start_placement(void) {
    struct placement_config config;
    struct placement_transport transport = {0};
    struct buf error = {0};
    placement_config_defaults(&config);
    config.replication_factor = 1;
    config.initial_ranges = 4;
    config.seed = rpc_loop_now_us(loop);
    cr_assert_eq(placement_driver_open(&config, engine, &transport, clock_system(),
                                       clock_monotonic_us(clock_system()), &error, &driver),
                 STATUS_OK);
    server = rpc_server_new(
        loop, &(struct rpc_server_config){.listen = address[0] ? address : "127.0.0.1:0"});
    service = placement_service_new(loop, server, driver, clock_system());
    cr_assert_eq(rpc_server_start(server, &error), STATUS_OK, "%.*s", (int)error.len,
                 (char *)error.data);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", rpc_server_port(server));
    buf_done(&error);
}

static void stop_placement(void) {
    if (!server) return;
    rpc_server_free(server);
    placement_driver_free(driver);
    placement_service_free(service);
    server = NULL;
}

static void setup(void) {
    log_set_level(LOG_NONE);
    loop = rpc_loop_new();
    engine = memory_engine_new();
    address[0] = '\0';
    start_placement();
}

static void teardown(void) {
    stop_placement();
    rpc_loop_free(loop);
    storage_close(engine);
}

TestSuite(rpc_placement, .init = setup, .fini = teardown, .timeout = 60);

/* ---- a node ---- */

struct node {
    struct placement_client *client;
    struct range_store store;
    struct placement_identity identity;
    bool registered, fenced, left;
    enum status status;
    char text[512];
    uint32_t addresses;
};

static void set_text(struct node *node, struct slice text) {
    (void)snprintf(node->text, sizeof(node->text), "%.*s", (int)text.len, (const char *)text.data);
}

static void on_registered(void *ctx, enum status status, struct slice text,
                          const struct placement_identity *identity) {
    struct node *node = ctx;
    cr_assert(!node->registered);
    node->registered = true;
    node->status = status;
    node->identity = *identity;
    set_text(node, text);
}

static void on_address(void *ctx, const struct placement_node_address *known) {
    ((struct node *)ctx)->addresses++;
}

static void on_fenced(void *ctx, struct slice text) {
    struct node *node = ctx;
    cr_assert(!node->fenced);
    node->fenced = true;
    set_text(node, text);
}

static void on_left(void *ctx) {
    ((struct node *)ctx)->left = true;
}

/* Every node is a start of its directory after all those before. */
static uint64_t starts;

static void node_init(struct node *node, uint8_t uuid) {
    struct buf error = {0};
    *node = (struct node){0};
    fake_store_init(&node->store);
    memset(node->identity.uuid.bytes, uuid, sizeof(node->identity.uuid.bytes));
    node->identity.starts = ++starts;
    cr_assert_eq(
        placement_client_new(&(struct placement_client_config){.loop = loop, .addresses = address},
                             &error, &node->client),
        STATUS_OK);
}

static void node_done(struct node *node) {
    placement_client_free(node->client);
    fake_store_free(&node->store);
}

static void node_begin(struct node *node, const char *advertise) {
    const struct placement_registration registration = {.identity = node->identity,
                                                        .synced_sequence =
                                                            node->store.synced_sequence,
                                                        .advertise = advertise,
                                                        .version = "test"};
    placement_client_register(node->client, &registration, on_registered, node);
}

static void node_run(struct node *node) {
    placement_client_start_node(node->client,
                                &(struct placement_client_node){.store = &node->store,
                                                                .data_directory = "/tmp",
                                                                .ctx = node,
                                                                .address = on_address,
                                                                .fenced = on_fenced});
}

static void node_join(struct node *node, uint8_t uuid, const char *advertise) {
    node_init(node, uuid);
    node_begin(node, advertise);
    cr_assert(rpc_loop_run_until(loop, &node->registered, PATIENCE_US));
    cr_assert_eq(node->status, STATUS_OK, "%s", node->text);
    node_run(node);
}

static void run_for(uint64_t us) {
    bool never = false;
    (void)rpc_loop_run_until(loop, &never, us); /* only the time counts */
}

/* ---- registration and heartbeats ---- */

/* The life of a node's start: id, replicas, address book, and the map that routers see. */
Test(rpc_placement, a_node_registers_makes_its_replicas_and_reports_them) {
    struct node node;
    node_join(&node, 1, "127.0.0.1:7101");
    cr_assert_eq(node.identity.node_id, 1);
    cr_assert_neq(node.identity.cluster_id, 0);
    for (uint32_t i = 0; i < 100 && node.store.range_count < 4; i++)
        run_for(20000);
    cr_assert_eq(node.store.range_count, 4);
    cr_assert_eq(range_store_leader_count(&node.store), 4);
    cr_assert_eq(node.addresses, 1);
    struct placement_status status;
    for (uint32_t i = 0; i < 100; i++) {
        run_for(20000);
        placement_driver_status(driver, clock_monotonic_us(clock_system()), &status);
        if (!status.ranges_without_leader && !status.replicas_unconfirmed) break;
    }
    cr_assert_eq(status.range_count, 4);
    cr_assert_eq(status.ranges_without_leader, 0);
    cr_assert_eq(status.replicas_unconfirmed, 0);
    node_done(&node);
}

/* Changed leaders are told at once, not at the next beat. */
Test(rpc_placement, changed_leaders_are_reported_soon) {
    struct node node;
    struct placement_status status = {.ranges_without_leader = 99};
    node_join(&node, 1, "127.0.0.1:7101");
    run_for(500000);
    node.store.leads[2] = false;
    for (uint32_t i = 0; i < 20 && status.ranges_without_leader != 1; i++) {
        run_for(20000);
        placement_driver_status(driver, clock_monotonic_us(clock_system()), &status);
    }
    cr_assert_eq(status.ranges_without_leader, 1);
    node_done(&node);
}

/* Nodes and placement may be started in any order. */
Test(rpc_placement, registration_waits_for_placement) {
    struct node node;
    stop_placement();
    node_init(&node, 1);
    node_begin(&node, "127.0.0.1:7101");
    run_for(300000);
    cr_assert(!node.registered);
    start_placement();
    cr_assert(rpc_loop_run_until(loop, &node.registered, PATIENCE_US));
    cr_assert_eq(node.status, STATUS_OK);
    node_done(&node);
}

/* A refusal for good ends the attempts and says why. */
Test(rpc_placement, a_node_of_another_cluster_is_refused_with_the_reason) {
    struct node node;
    node_init(&node, 1);
    node.identity.cluster_id = 12345;
    node.identity.node_id = 1;
    node_begin(&node, "127.0.0.1:7101");
    cr_assert(rpc_loop_run_until(loop, &node.registered, PATIENCE_US));
    cr_assert_eq(node.status, STATUS_MISMATCH);
    cr_assert(strstr(node.text, "0000000000003039"), "%s", node.text);
    node_done(&node);
}

/* What a node has synced is known to placement: a directory that comes back with less, or with a
 * start that was counted before, has forgotten what its replicas promised. */
Test(rpc_placement, a_directory_that_was_set_back_is_refused) {
    struct node node, older, copy;
    node_join(&node, 1, "127.0.0.1:7101");
    node.store.synced_sequence = 500;
    placement_client_beat(node.client);
    run_for(200000);
    node_init(&older, 1);
    older.store.synced_sequence = 499;
    node_begin(&older, "127.0.0.1:7101");
    cr_assert(rpc_loop_run_until(loop, &older.registered, PATIENCE_US));
    cr_assert_eq(older.status, STATUS_MISMATCH);
    cr_assert(strstr(older.text, "ends at sequence 499, and had synced 500"), "%s", older.text);
    node_init(&copy, 1);
    copy.identity.starts = node.identity.starts;
    copy.store.synced_sequence = 500;
    node_begin(&copy, "127.0.0.1:7101");
    cr_assert(rpc_loop_run_until(loop, &copy.registered, PATIENCE_US));
    cr_assert_eq(copy.status, STATUS_MISMATCH);
    cr_assert(strstr(copy.text, "start number"), "%s", copy.text);
    struct placement_status status;
    placement_driver_status(driver, clock_monotonic_us(clock_system()), &status);
    cr_assert(status.nodes[0].set_back);
    cr_assert(!node.fenced, "the one that runs is not touched");
    node_done(&node);
    node_done(&older);
    node_done(&copy);
}

/* A process whose place was taken must hear of it and stop. */
Test(rpc_placement, a_displaced_process_is_told_to_stop) {
    struct node first, second;
    node_join(&first, 1, "127.0.0.1:7101");
    run_for(100000);
    node_join(&second, 1, "127.0.0.1:7101"); /* the same directory, the same address */
    cr_assert(rpc_loop_run_until(loop, &first.fenced, PATIENCE_US));
    cr_assert(strstr(first.text, "another process"), "%s", first.text);
    node_done(&first);
    node_done(&second);
}

/* A clean stop frees the address at once. */
Test(rpc_placement, a_node_that_leaves_is_down_at_once) {
    struct node node;
    struct placement_status status;
    node_join(&node, 1, "127.0.0.1:7101");
    run_for(100000);
    placement_client_leave(node.client, 1000, on_left, &node);
    cr_assert(rpc_loop_run_until(loop, &node.left, PATIENCE_US));
    placement_driver_status(driver, clock_monotonic_us(clock_system()), &status);
    cr_assert(!status.nodes[0].alive);
    node_done(&node);
}

/* Leaving must not hang a node's stop when placement is away. */
Test(rpc_placement, leaving_takes_no_longer_than_it_may) {
    struct node node;
    node_join(&node, 1, "127.0.0.1:7101");
    run_for(100000);
    stop_placement();
    placement_client_leave(node.client, 200, on_left, &node);
    cr_assert(rpc_loop_run_until(loop, &node.left, 1000000));
    node_done(&node);
}

/* ---- timestamps ---- */

struct asker {
    struct range_oracle oracle;
    struct range_store *store;
    uint32_t worker, rounds;
    uint64_t last;
    bool grew, done, stop;
    pthread_t thread;
};

static void *ask_rounds(void *ctx) {
    struct asker *asker = ctx;
    asker->grew = true;
    for (uint32_t i = 1; i <= asker->rounds && !__atomic_load_n(&asker->stop, __ATOMIC_ACQUIRE);
         i++) {
        uint64_t before = fake_store_answers(asker->store, asker->worker);
        asker->oracle.request(asker->oracle.ctx, asker->worker, 10);
        uint64_t first = fake_store_wait(asker->store, asker->worker, before + 1);
        if (first <= asker->last) asker->grew = false;
        asker->last = first + 9;
    }
    __atomic_store_n(&asker->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static void start_asker(struct asker *asker, struct node *node, uint32_t worker, uint32_t rounds) {
    *asker = (struct asker){.oracle = placement_client_oracle(node->client),
                            .store = &node->store,
                            .worker = worker,
                            .rounds = rounds};
    cr_assert_eq(pthread_create(&asker->thread, NULL, ask_rounds, asker), 0);
}

static bool finish_asker(struct asker *asker) {
    for (uint32_t i = 0; i < 2000 && !__atomic_load_n(&asker->done, __ATOMIC_ACQUIRE); i++)
        run_for(10000);
    cr_assert_eq(pthread_join(asker->thread, NULL), 0);
    return asker->grew;
}

/* Worker threads ask by themselves; what they get grows, and is shared with nobody. */
Test(rpc_placement, workers_get_growing_timestamps_on_their_own_threads) {
    struct node node;
    struct asker askers[FAKE_STORE_WORKERS];
    node_join(&node, 1, "127.0.0.1:7101");
    for (uint32_t i = 0; i < FAKE_STORE_WORKERS; i++)
        start_asker(&askers[i], &node, i, 2000);
    for (uint32_t i = 0; i < FAKE_STORE_WORKERS; i++)
        cr_assert(finish_asker(&askers[i]));
    cr_assert_eq(node.store.answers[0], 2000);
    cr_assert_eq(node.store.answers[1], 2000);
    node_done(&node);
}

/* Placement may be killed and restarted under load: every ask is answered, order holds. */
Test(rpc_placement, timestamps_go_on_above_after_placement_restarts) {
    struct node node;
    struct asker asker;
    node_join(&node, 1, "127.0.0.1:7101");
    start_asker(&asker, &node, 0, UINT32_MAX);
    for (uint32_t i = 0; i < 3; i++) {
        run_for(30000);
        stop_placement();
        memory_engine_crash(engine, 0);
        run_for(50000);
        uint64_t before = fake_store_answers(&node.store, 0);
        start_placement();
        run_for(600000);
        cr_assert_gt(fake_store_answers(&node.store, 0), before);
    }
    __atomic_store_n(&asker.stop, true, __ATOMIC_RELEASE);
    cr_assert(finish_asker(&asker));
    node_done(&node);
}

/* Another cluster's placement at the same address: its timestamps must not be taken, and the node
 * is told that it does not belong there. */
Test(rpc_placement, another_clusters_placement_is_not_believed) {
    struct node node;
    node_join(&node, 1, "127.0.0.1:7101");
    run_for(200000);
    stop_placement();
    storage_close(engine);
    engine = memory_engine_new();
    start_placement();
    struct range_oracle oracle = placement_client_oracle(node.client);
    oracle.request(oracle.ctx, 0, 1);
    cr_assert(rpc_loop_run_until(loop, &node.fenced, PATIENCE_US));
    run_for(300000);
    cr_assert_eq(node.store.answers[0], 0);
    node_done(&node);
}

/* An ask that was answered counts no more against the bound of its stream: else a node is cut off
 * after the first few thousand timestamps. */
Test(rpc_placement, answered_asks_are_given_back) {
    struct node node;
    node_join(&node, 1, "127.0.0.1:7101");
    struct range_oracle oracle = placement_client_oracle(node.client);
    oracle.request(oracle.ctx, 0, 1);
    while (fake_store_answers(&node.store, 0) < 1)
        run_for(1000);
    int64_t streams = atomic_load(&metric_rpc_server_streams_total.value);
    for (uint64_t i = 2; i <= 4200; i++) {
        oracle.request(oracle.ctx, 0, 1);
        while (fake_store_answers(&node.store, 0) < i)
            run_for(100);
    }
    cr_assert_eq(atomic_load(&metric_rpc_server_streams_total.value), streams);
    node_done(&node);
}

/* ---- queries ---- */

struct query {
    bool done;
    enum status status;
    size_t ranges;
    uint32_t nodes;
    uint64_t leader;
    bool text_names_cluster, json_has_ranges;
};

static void on_map(void *ctx, enum status status, struct slice text,
                   const struct placement_client_map *map) {
    struct query *query = ctx;
    query->done = true;
    query->status = status;
    query->ranges = map->range_count;
    query->nodes = map->node_count;
    if (map->range_count) query->leader = map->ranges[0].leader_node;
}

static void on_status(void *ctx, enum status status, struct slice text, struct slice json) {
    struct query *query = ctx;
    query->done = true;
    query->status = status;
    query->text_names_cluster = memmem(text.data, text.len, "cluster", 7) != NULL;
    query->json_has_ranges = json.len && memmem(json.data, json.len, "\"ranges\":[{\"id\":1", 17);
}

/* What routers and tools ask for. */
Test(rpc_placement, the_map_and_the_status_are_served) {
    struct node node;
    struct query map = {0}, status = {0};
    node_join(&node, 1, "127.0.0.1:7101");
    run_for(500000);
    placement_client_ranges(node.client, on_map, &map);
    placement_client_status(node.client, on_status, &status);
    cr_assert(rpc_loop_run_until(loop, &map.done, PATIENCE_US));
    cr_assert(rpc_loop_run_until(loop, &status.done, PATIENCE_US));
    cr_assert_eq(map.status, STATUS_OK);
    cr_assert_eq(map.ranges, 4);
    cr_assert_eq(map.nodes, 1);
    cr_assert_eq(map.leader, 1);
    cr_assert(status.text_names_cluster);
    cr_assert(status.json_has_ranges);
    node_done(&node);
}

/* A router that cannot reach placement is told so, once. */
Test(rpc_placement, a_query_without_placement_fails_clearly) {
    struct node node;
    struct query map = {0};
    node_init(&node, 1);
    stop_placement();
    placement_client_ranges(node.client, on_map, &map);
    cr_assert(rpc_loop_run_until(loop, &map.done, PATIENCE_US));
    cr_assert_eq(map.status, STATUS_UNAVAILABLE);
    node_done(&node);
}

/* Addresses that cannot be one are refused by name. */
Test(rpc_placement, bad_addresses_are_refused_by_name) {
    static const char *const bad[] = {"",         "host",    "host:",   ":1",
                                      "a:1,,b:2", "a:65536", "a:99999", "a:1,b:2,c:3,d:4,e:5,f:6"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct placement_client *client = NULL;
        struct buf error = {0};
        cr_assert_eq(placement_client_new(
                         &(struct placement_client_config){.loop = loop, .addresses = bad[i]},
                         &error, &client),
                     STATUS_INVALID, "%s", bad[i]);
        cr_assert_gt(error.len, 0);
        buf_done(&error);
    }
}
