/* Stale reads: what any replica has, told from how far on, by whoever can be reached. */
#include <criterion/criterion.h>

#include "base/log.h"
#include "tests/range/cluster.h"
#include "tests/range/router_fake.h"

#define SECOND 1000000u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_stale, .init = quiet, .timeout = 30);
TestSuite(router_stale, .init = quiet, .timeout = 30);

/* ---- at the replicas ---- */

static struct cluster *new_cluster(uint64_t seed) {
    struct cluster_config config = cluster_config_default(seed);
    struct cluster *cluster = cluster_new(&config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cluster_run_us(cluster, SECOND / 10);
    return cluster;
}

static uint64_t put(struct cluster *cluster, const char *value) {
    struct buf command = cluster_put(cluster_key(1, "name"), slice_from_text(value));
    struct txn_outcome outcome = cluster_write(cluster, 1, slice_from_buf(&command));
    cr_assert_eq(outcome.result, TXN_DONE);
    buf_done(&command);
    return outcome.commit_ts;
}

static struct range_request stale_get(struct slice *key) {
    *key = cluster_key(1, "name");
    return (struct range_request){.kind = RANGE_GET,
                                  .range_id = 1,
                                  .timeout_us = SECOND,
                                  .read_mode = RANGE_READ_STALE,
                                  .key_count = 1,
                                  .keys = key};
}

static struct cluster_call *ask(struct cluster *cluster, uint64_t node,
                                const struct range_request *request) {
    struct cluster_call *call = cluster_send(cluster, node, request);
    cr_assert(cluster_await(cluster, call, SECOND));
    return call;
}

/* The value, and exactly the writes up to as_of. value NULL: none yet. */
static void expect_at(struct cluster *cluster, uint64_t node, const char *value, uint64_t version,
                      uint64_t as_of) {
    struct slice key;
    struct range_request request = stale_get(&key);
    struct cluster_call *call = ask(cluster, node, &request);
    cr_assert_eq(call->reply.code, RANGE_REPLY_OK);
    cr_assert(call->reply.stale && call->reply.row_count == 1);
    cr_expect_eq(call->reply.rows[0].version, version);
    cr_expect_eq(call->reply.as_of, as_of);
    if (value) cr_expect(slice_equal(call->reply.rows[0].value, slice_from_text(value)));
    cluster_call_free(cluster, call);
}

/* A follower that is cut off answers with what it has, and says how far that goes; the leader, and
 * the follower once it has caught up, with what is new. */
Test(range_stale, show_what_the_asked_replica_has) {
    struct cluster *cluster = new_cluster(1);
    uint64_t leader = cluster_leader(cluster, 1), follower = leader % 3 + 1;
    expect_at(cluster, follower, NULL, 0, 0);
    uint64_t old = put(cluster, "old");
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_isolate(cluster, follower, true);
    uint64_t new = put(cluster, "new");
    expect_at(cluster, follower, "old", old, old);
    expect_at(cluster, leader, "new", new, new);
    cluster_heal(cluster);
    cr_assert(cluster_converge(cluster, SECOND));
    expect_at(cluster, follower, "new", new, new);
    cluster_free(cluster);
}

/* Rows of a scan, too. */
Test(range_stale, scan_what_the_asked_replica_has) {
    struct cluster *cluster = new_cluster(2);
    uint64_t follower = cluster_leader(cluster, 1) % 3 + 1;
    uint64_t old = put(cluster, "old");
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_isolate(cluster, follower, true);
    (void)put(cluster, "new"); /* nobody asks for it */
    struct range_request request = {
        .kind = RANGE_SCAN, .range_id = 1, .timeout_us = SECOND, .read_mode = RANGE_READ_STALE};
    struct cluster_call *call = ask(cluster, follower, &request);
    cr_assert(call->reply.code == RANGE_REPLY_OK && call->reply.stale);
    cr_assert(call->reply.row_count == 1 && call->reply.rows[0].version == old);
    cr_assert_eq(call->reply.as_of, old);
    cluster_call_free(cluster, call);
    cluster_free(cluster);
}

/* The last of three replicas knows no leader, and answers. */
Test(range_stale, go_on_without_a_quorum) {
    struct cluster *cluster = new_cluster(3);
    uint64_t written = put(cluster, "kept"), last = cluster_leader(cluster, 1) % 3 + 1;
    cr_assert(cluster_converge(cluster, SECOND));
    for (uint64_t node = 1; node <= 3; node++)
        if (node != last) cluster_kill(cluster, node);
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(cluster_leader(cluster, 1), 0);
    expect_at(cluster, last, "kept", written, written);
    struct slice key;
    struct range_request request = stale_get(&key);
    request.read_mode = RANGE_READ_LINEARIZABLE;
    struct cluster_call *call = ask(cluster, last, &request);
    cr_assert_eq(call->reply.code, RANGE_REPLY_NOT_LEADER);
    cluster_call_free(cluster, call);
    cluster_free(cluster);
}

static enum range_reply_code code_for(struct cluster *cluster, struct range_epoch epoch) {
    struct slice key;
    struct range_request request = stale_get(&key);
    request.epoch = epoch;
    struct cluster_call *call = ask(cluster, cluster_leader(cluster, 1), &request);
    enum range_reply_code code = call->reply.code;
    cluster_call_free(cluster, call);
    return code;
}

/* Who has the range in other bounds cannot answer; who its replicas are does not matter. */
Test(range_stale, need_the_span_that_was_asked_for) {
    struct cluster *cluster = new_cluster(4);
    struct range_epoch epoch = cluster_descriptor(cluster, 1)->epoch;
    struct range_epoch other = epoch;
    other.conf_version += 7;
    cr_expect_eq(code_for(cluster, other), RANGE_REPLY_OK);
    other = epoch;
    other.span_version++;
    cr_expect_eq(code_for(cluster, other), RANGE_REPLY_NOT_LEADER);
    other.span_version = epoch.span_version - 1;
    other.conf_version = epoch.conf_version;
    cr_expect_eq(code_for(cluster, other), RANGE_REPLY_STALE_EPOCH);
    cluster_free(cluster);
}

/* ---- at the router ---- */

static void get(struct fake *fake, const char *const *keys, uint32_t count, struct answer *answer) {
    struct slice slices[4];
    cr_assert_leq(count, 4);
    for (uint32_t i = 0; i < count; i++)
        slices[i] = slice_from_text(keys[i]);
    struct router_request request = {
        .op = ROUTER_GET, .read_mode = RANGE_READ_STALE, .key_count = count, .keys = slices};
    fake_submit(fake, &request, answer);
}

static void get_one(struct fake *fake, struct answer *answer) {
    static const char *const key = "h";
    get(fake, &key, 1, answer);
}

/* How long the answer took, in us. */
static uint64_t expect_answer(struct fake *fake) {
    struct answer answer;
    uint64_t began_us = fake->now_us;
    get_one(fake, &answer);
    fake_run(fake, fake->now_us + 2 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK, "%s", answer.text);
    return answer.at_us - began_us;
}

static void start(struct fake *fake) {
    fake_start_warm(fake, 2);
    for (uint32_t node = 1; node <= FAKE_NODES; node++)
        fake->nodes[node].requests = 0;
}

/* One request, to the node that is near, although it does not lead. */
Test(router_stale, go_to_the_near_node) {
    struct fake fake;
    start(&fake);
    router_set_near_node(fake.router, 4);
    for (int i = 0; i < 10; i++)
        (void)expect_answer(&fake); /* soon or late */
    cr_assert(fake.nodes[4].requests == 10 && fake_requests(&fake) == 10);
    fake_done(&fake);
}

/* Without such a node every replica has its share. */
Test(router_stale, take_turns_without_a_near_node) {
    struct fake fake;
    start(&fake);
    for (int i = 0; i < 4 * FAKE_NODES; i++)
        (void)expect_answer(&fake);
    for (uint32_t node = 1; node <= FAKE_NODES; node++)
        cr_expect_eq(fake.nodes[node].requests, 4);
    fake_done(&fake);
}

/* A node that does not serve the range costs a request, and one that does not answer its time,
 * once: then the others come first until it speaks again. */
Test(router_stale, move_on_from_who_does_not_serve) {
    struct fake fake;
    start(&fake);
    router_set_near_node(fake.router, 4);
    fake.nodes[4].behind = true;
    cr_expect_lt(expect_answer(&fake), 10000);
    fake.nodes[4].behind = false;
    fake_range_of(&fake, SLICE_LITERAL("h"))->gone_from = 4;
    cr_expect_lt(expect_answer(&fake), 10000);
    fake_range_of(&fake, SLICE_LITERAL("h"))->gone_from = 0;
    cr_assert_eq(fake.nodes[4].requests, 2);

    fake_freeze(&fake, 4);
    cr_expect_lt(expect_answer(&fake), FAKE_SECOND / 4);
    cr_expect_lt(expect_answer(&fake), 10000);
    fake_thaw(&fake, 4);
    fake_run(&fake, fake.now_us + FAKE_SECOND / 10);
    uint64_t before = fake.nodes[4].requests;
    cr_expect_lt(expect_answer(&fake), 10000);
    cr_expect_eq(fake.nodes[4].requests, before + 1);

    fake_kill(&fake, 4);
    cr_expect_lt(expect_answer(&fake), 10000);
    fake_done(&fake);
}

/* Of several ranges the least is told: up to there everything is shown. */
Test(router_stale, tell_the_least_of_what_they_show) {
    static const char *const keys[] = {"a", "h", "q"};
    struct fake fake;
    struct answer answer;
    start(&fake);
    for (uint32_t node = 1; node <= FAKE_NODES; node++)
        fake.nodes[node].as_of = 100 + node;
    get(&fake, keys, 3, &answer); /* of nodes 1, 2 and 3, or so */
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(answer.code, ROUTER_OK);
    uint64_t least = 0;
    for (uint32_t node = FAKE_NODES; node >= 1; node--)
        if (fake.nodes[node].requests > 0) least = 100 + node;
    cr_expect_eq(answer.as_of, least);
    fake.nodes[1].as_of = fake.nodes[2].as_of = fake.nodes[3].as_of = 0; /* no write yet */
    fake.nodes[4].as_of = fake.nodes[5].as_of = 0;
    get(&fake, keys, 3, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_expect(answer.code == ROUTER_OK && answer.as_of == 0);
    fake_done(&fake);
}

/* Who answers, and who refuses, is no hint at who leads. */
Test(router_stale, say_nothing_about_the_leader) {
    struct fake fake;
    struct answer answer;
    uint64_t range_id, leader;
    start(&fake);
    router_set_near_node(fake.router, 4);
    (void)expect_answer(&fake);
    fake.nodes[4].behind = true;
    fake_range_of(&fake, SLICE_LITERAL("h"))->hint = 3;
    (void)expect_answer(&fake);
    cr_assert(router_locate(fake.router, SLICE_LITERAL("h"), &range_id, &leader));
    cr_expect_eq(leader, 2);
    fake_put(&fake, "h", "v", NULL, &answer);
    uint64_t before = fake_requests(&fake);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(answer.code, ROUTER_OK);
    cr_expect_eq(fake_requests(&fake), before + 1);
    fake_done(&fake);
}

/* A search for the leader is not ended by who answers as somebody who need not lead. */
Test(router_stale, do_not_end_a_search) {
    struct fake fake;
    struct answer answer, read;
    uint64_t range_id, leader;
    start(&fake);
    router_set_near_node(fake.router, 4);
    fake_range_of(&fake, SLICE_LITERAL("h"))->leader = 0;
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND / 10);
    get_one(&fake, &read);
    for (int i = 0; i < 100 && read.times == 0; i++)
        fake_run(&fake, fake.now_us + 10);
    cr_assert(read.code == ROUTER_OK && read.times == 1 && answer.times == 0);
    cr_assert(router_locate(fake.router, SLICE_LITERAL("h"), &range_id, &leader));
    cr_expect_eq(leader, 0);
    fake_lead(&fake, "h", 3);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_expect_eq(answer.code, ROUTER_OK);
    fake_done(&fake);
}

/* When nobody serves the range the client hears so at its deadline, and few requests were made. */
Test(router_stale, end_when_no_replica_serves) {
    struct fake fake;
    struct answer answer;
    start(&fake);
    for (uint32_t node = 1; node <= FAKE_NODES; node++)
        fake.nodes[node].behind = true;
    get_one(&fake, &answer);
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_UNAVAILABLE, "%s", answer.text);
    cr_expect(strstr(answer.text, "no replica answers; they are on nodes 1, 2, 3, 4, 5"), "%s",
              answer.text);
    cr_expect_lt(fake_requests(&fake), 400);
    fake_done(&fake);
}
