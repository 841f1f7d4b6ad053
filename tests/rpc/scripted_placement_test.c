/* A scripted placement before the real client: it answers late, out of order, twice, or with
 * nonsense, message by message. What a node makes of that. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "flotilla/v1/placement.pb-c.h"
#include "rpc/loop.h"
#include "rpc/message.h"
#include "rpc/placement_client.h"
#include "tests/rpc/fake_store.h"

#define PATIENCE_US (10u * 1000u * 1000u)
#define CLUSTER 77u
#define NODE 3u

static struct rpc_loop *loop;
static struct rpc_server *server;
static struct placement_client *client;
static struct range_store store;
static char address[64];
static bool registered, fenced, left;
static uint32_t addresses_told;

/* ---- what placement was asked ---- */

#define KEPT_MAX 64u

static struct beat {
    bool complete, leaving;
    size_t reports;
} beats[KEPT_MAX];
static uint32_t beat_count;
static struct rpc_call *held_beat; /* not answered yet */
static bool hold_beats;

static struct rpc_stream *grants; /* the client's stream for timestamps */
static uint64_t ask_ids[KEPT_MAX];
static uint32_t ask_count;

static void answer_registration(void *ctx, struct rpc_call *call, struct slice request) {
    Flotilla__V1__RegisterNodeResponse response = FLOTILLA__V1__REGISTER_NODE_RESPONSE__INIT;
    response.cluster_id = CLUSTER;
    response.node_id = NODE;
    rpc_call_reply_message(call, &response.base);
}

static void answer_beat(struct rpc_call *call, const Flotilla__V1__HeartbeatResponse *more) {
    Flotilla__V1__HeartbeatResponse response = FLOTILLA__V1__HEARTBEAT_RESPONSE__INIT;
    if (more) response = *more;
    response.next_heartbeat_ms = 5;
    rpc_call_reply_message(call, &response.base);
}

static Flotilla__V1__HeartbeatResponse *next_answer; /* given once; NULL: a plain one */

static void take_beat(void *ctx, struct rpc_call *call, struct slice bytes) {
    Flotilla__V1__HeartbeatRequest *request =
        flotilla__v1__heartbeat_request__unpack(NULL, bytes.len, bytes.data);
    cr_assert(request);
    if (beat_count < KEPT_MAX)
        beats[beat_count] = (struct beat){request->complete, request->leaving, request->n_reports};
    beat_count++;
    flotilla__v1__heartbeat_request__free_unpacked(request, NULL);
    if (hold_beats) {
        cr_assert_null(held_beat); /* one is under way at a time */
        held_beat = call;
        return;
    }
    answer_beat(call, next_answer);
    next_answer = NULL;
}

static void take_asks(void *ctx, struct rpc_stream *stream, struct slice bytes) {
    Flotilla__V1__TimestampRequest *request =
        flotilla__v1__timestamp_request__unpack(NULL, bytes.len, bytes.data);
    cr_assert(request);
    for (size_t i = 0; i < request->n_asks && ask_count < KEPT_MAX; i++)
        ask_ids[ask_count++] = request->asks[i]->id;
    flotilla__v1__timestamp_request__free_unpacked(request, NULL);
}

static void grants_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    if (grants == stream) grants = NULL;
}

static void open_grants(void *ctx, struct rpc_stream *stream) {
    static const struct rpc_stream_events events = {.on_message = take_asks,
                                                    .on_close = grants_closed};
    grants = stream;
    rpc_stream_accept(stream, &events, NULL);
}

static void send_grant(uint64_t id, uint64_t first, uint32_t count) {
    Flotilla__V1__TimestampGrant grant = FLOTILLA__V1__TIMESTAMP_GRANT__INIT, *list[1] = {&grant};
    Flotilla__V1__TimestampResponse response = FLOTILLA__V1__TIMESTAMP_RESPONSE__INIT;
    grant.id = id;
    grant.first = first;
    grant.count = count;
    grant.code = count ? FLOTILLA__V1__PLACEMENT_OUTCOME__CODE__OK
                       : FLOTILLA__V1__PLACEMENT_OUTCOME__CODE__BUSY;
    response.n_grants = 1;
    response.grants = list;
    cr_assert_eq(rpc_stream_send_message(grants, &response.base), STATUS_OK);
}

static const struct rpc_method methods[] = {
    {.path = "/flotilla.v1.Placement/RegisterNode", .unary = answer_registration},
    {.path = "/flotilla.v1.Placement/Heartbeat", .unary = take_beat},
    {.path = "/flotilla.v1.Placement/Timestamps", .open = open_grants, .handshake = true},
};

/* ---- the node ---- */

static void on_address(void *ctx, const struct placement_node_address *node) {
    addresses_told++;
}

static void on_fenced(void *ctx, struct slice text) {
    fenced = true;
}

static void on_left(void *ctx) {
    left = true;
}

static void on_registered(void *ctx, enum status status, struct slice text,
                          const struct placement_identity *identity) {
    cr_assert_eq(status, STATUS_OK, "%.*s", (int)text.len, (const char *)text.data);
    placement_client_start_node(client, &(struct placement_client_node){.store = &store,
                                                                        .address = on_address,
                                                                        .fenced = on_fenced});
    registered = true;
}

static void turn(uint64_t us) {
    bool never = false;
    (void)rpc_loop_run_until(loop, &never, us);
}

/* Turns the loop until the condition holds. */
#define WAIT(condition)                                                            \
    do {                                                                           \
        uint64_t until_us_ = rpc_loop_now_us(loop) + PATIENCE_US;                  \
        while (!(condition)) {                                                     \
            turn(1000);                                                            \
            cr_assert_lt(rpc_loop_now_us(loop), until_us_, "waited: " #condition); \
        }                                                                          \
    } while (0)

static void add_range(uint64_t range_id) {
    struct range_descriptor range = {.range_id = range_id,
                                     .epoch = {1, 1},
                                     .next_replica_id = 2,
                                     .replica_count = 1,
                                     .replicas = {{1, NODE, RANGE_VOTER}}};
    range_store_create(&store, &range, false);
}

static void set_up(void) {
    struct buf error = {0};
    log_set_level(LOG_NONE);
    loop = rpc_loop_new();
    server = rpc_server_new(
        loop, &(struct rpc_server_config){.listen = "127.0.0.1:0", .identity = {CLUSTER, 0}});
    rpc_server_add(server, methods, sizeof(methods) / sizeof(methods[0]), NULL);
    cr_assert_eq(rpc_server_start(server, &error), STATUS_OK);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", rpc_server_port(server));
    fake_store_init(&store);
    add_range(1);
    add_range(2);
    cr_assert_eq(
        placement_client_new(&(struct placement_client_config){.loop = loop, .addresses = address},
                             &error, &client),
        STATUS_OK);
    struct placement_identity identity = {.uuid.bytes = {1}, .starts = 1};
    placement_client_register(client,
                              &(struct placement_registration){.identity = identity,
                                                               .advertise = "127.0.0.1:7101",
                                                               .version = "test"},
                              on_registered, NULL);
    WAIT(registered && grants && beat_count > 0);
}

static void tear_down(void) {
    placement_client_free(client);
    rpc_server_free(server);
    rpc_loop_free(loop);
    fake_store_free(&store);
}

TestSuite(rpc_scripted_placement, .init = set_up, .fini = tear_down, .timeout = 60);

static void ask(uint32_t worker, uint32_t count) {
    struct range_oracle oracle = placement_client_oracle(client);
    oracle.request(oracle.ctx, worker, count);
}

/* Protects the order of timestamps: a grant for an ask that was given up (the stream broke, the ask
 * went out again under a new number) must not be taken for the new one's: those timestamps may be
 * below what a later leader of placement has handed out since. */
Test(rpc_scripted_placement, a_grant_for_an_earlier_ask_is_ignored) {
    ask(0, 4);
    WAIT(ask_count == 1);
    rpc_stream_close(grants, RPC_UNAVAILABLE, "%s", "another member leads");
    WAIT(ask_count == 2 && grants);
    cr_assert_neq(ask_ids[0], ask_ids[1]);
    send_grant(ask_ids[0], 100, 4);
    turn(50000);
    cr_assert_eq(fake_store_answers(&store, 0), 0);
    send_grant(ask_ids[1], 200, 4);
    WAIT(fake_store_answers(&store, 0) == 1);
    cr_assert_eq(store.first[0], 200);
    send_grant(ask_ids[1], 300, 4); /* once more */
    turn(50000);
    cr_assert_eq(fake_store_answers(&store, 0), 1);
}

/* Grants that fit no ask: for no worker, for one that did not ask, of another number of timestamps,
 * beyond the end of the numbers. The node lives, and asks again. */
Test(rpc_scripted_placement, grants_that_make_no_sense_are_ignored) {
    send_grant(0xffff, 1, 1);
    send_grant(1, 1, 1);
    send_grant(0, 0, 0);
    turn(50000);
    ask(1, 4);
    WAIT(ask_count == 1);
    send_grant(ask_ids[0], 500, 400000);
    WAIT(ask_count == 2);
    send_grant(ask_ids[1], 0, 4);
    WAIT(ask_count == 3);
    send_grant(ask_ids[2], UINT64_MAX - 2, 4);
    WAIT(ask_count == 4);
    cr_assert_eq(fake_store_answers(&store, 1), 0);
    send_grant(ask_ids[3], 700, 4);
    WAIT(fake_store_answers(&store, 1) == 1);
    cr_assert_eq(store.first[1], 700);
}

/* Placement learns of a removed replica only from a complete heartbeat that does not name it: the
 * one after it went missing must be complete, not the tenth. */
Test(rpc_scripted_placement, a_removed_replica_is_told_with_the_next_heartbeat) {
    WAIT(beat_count >= 3);
    uint32_t before = beat_count;
    cr_assert(before > 1 && !beats[before - 1].complete);
    store.range_count--;
    WAIT(beat_count >= before + 4);
    bool complete = false;
    for (uint32_t i = before; i < before + 4; i++)
        complete = complete || (beats[i].complete && beats[i].reports == 1);
    cr_assert(complete);
    store.range_count++; /* fake_store_free has both */
}

/* A node that leaves while a heartbeat is under way says so in another one behind it. */
Test(rpc_scripted_placement, leaving_is_told_behind_a_heartbeat_under_way) {
    hold_beats = true;
    WAIT(held_beat);
    cr_assert_not(beats[beat_count - 1].leaving);
    uint32_t before = beat_count;
    placement_client_leave(client, 5000, on_left, NULL);
    turn(50000);
    cr_assert(!left);
    struct rpc_call *first = held_beat;
    held_beat = NULL;
    hold_beats = false;
    answer_beat(first, NULL);
    WAIT(left);
    cr_assert_eq(beat_count, before + 1);
    cr_assert(beats[before].leaving);
}

/* Addresses that cannot be dialled, of nobody, and replicas that make no sense: each is left out,
 * and the node takes the rest. */
Test(rpc_scripted_placement, an_answer_of_nonsense_is_left_out) {
    Flotilla__V1__PlacementNodeAddress nodes[4], *node_list[4];
    Flotilla__V1__CreateReplica create = FLOTILLA__V1__CREATE_REPLICA__INIT, *creates[1];
    Flotilla__V1__HeartbeatResponse answer = FLOTILLA__V1__HEARTBEAT_RESPONSE__INIT;
    char *const texts[] = {"127.0.0.1:99999", "nowhere", "127.0.0.1:7102", "127.0.0.1:7103"};
    for (uint32_t i = 0; i < 4; i++) {
        flotilla__v1__placement_node_address__init(&nodes[i]);
        nodes[i].node_id = i == 3 ? 0 : i + 1;
        nodes[i].address = texts[i];
        node_list[i] = &nodes[i];
    }
    creates[0] = &create;
    answer.n_nodes = 4;
    answer.nodes = node_list;
    answer.n_creates = 1;
    answer.creates = creates;
    uint32_t creations = store.creations;
    next_answer = &answer;
    WAIT(!next_answer && addresses_told > 0);
    turn(20000);
    cr_assert_eq(addresses_told, 1);
    cr_assert_eq(store.creations, creations);
    cr_assert(!fenced);
}

/* After a heartbeat that failed nobody knows what placement has heard: the next one names all. */
Test(rpc_scripted_placement, a_failed_heartbeat_is_followed_by_a_complete_one) {
    WAIT(beat_count >= 2 && !beats[beat_count - 1].complete);
    hold_beats = true;
    WAIT(held_beat);
    uint32_t before = beat_count;
    struct rpc_call *failed = held_beat;
    held_beat = NULL;
    hold_beats = false;
    rpc_call_fail(failed, RPC_UNAVAILABLE, "%s", "another member leads");
    WAIT(beat_count > before);
    cr_assert(beats[before].complete && beats[before].reports == 2);
}
