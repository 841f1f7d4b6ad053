/* What one turn does is bounded, whatever it is asked for. range_worker_check, which the cluster
 * calls after every turn, asserts the bounds; here is what would break them. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define DELETED 40u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_bounded, .init = quiet, .timeout = 60);

static void write_one(struct cluster *cluster, struct txn_op op) {
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct buf encoded = cluster_command(&command);
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&encoded)).result, TXN_DONE);
    buf_done(&encoded);
}

static void put(struct cluster *cluster, const char *name) {
    write_one(cluster, (struct txn_op){.kind = TXN_OP_PUT,
                                       .key = cluster_key(1, name),
                                       .value = SLICE_LITERAL("v")});
}

/* Range 1 holds "a", many keys that were deleted, and "z". */
static struct cluster *new_cluster(uint64_t seed, uint32_t read_steps_max, bool lease_reads) {
    struct cluster_config config = cluster_config_default(seed);
    config.ranges = 2;
    config.read_steps_max = read_steps_max;
    config.lease_reads = lease_reads;
    struct cluster *cluster = cluster_new(&config);
    for (uint32_t range = 1; range <= 2; range++)
        cr_assert_neq(cluster_wait_leader(cluster, range), 0);
    put(cluster, "a");
    put(cluster, "z");
    char name[16];
    for (uint32_t i = 0; i < DELETED; i++) {
        (void)snprintf(name, sizeof(name), "d%03u", i);
        put(cluster, name);
        write_one(cluster, (struct txn_op){.kind = TXN_OP_DELETE, .key = cluster_key(1, name)});
    }
    cluster_run_us(cluster, SECOND / 5);
    return cluster;
}

static struct range_request scan_of(enum range_read_mode mode, bool reverse) {
    return (struct range_request){.kind = RANGE_SCAN,
                                  .range_id = 1,
                                  .timeout_us = 5 * SECOND,
                                  .read_mode = mode,
                                  .reverse = reverse};
}

/* All pages of a scan; returns how many there were. */
static uint32_t page_through(struct cluster *cluster, uint64_t node, enum range_read_mode mode,
                             bool reverse, char shown[16]) {
    struct buf from = {0};
    uint32_t pages = 0, rows = 0;
    bool more = true;
    while (more) {
        struct range_request request = scan_of(mode, reverse);
        *(reverse ? &request.end : &request.start) = slice_from_buf(&from);
        struct cluster_call *call = cluster_send(cluster, node, &request);
        cr_assert(cluster_await(cluster, call, SECOND));
        cr_assert_eq(call->reply.code, RANGE_REPLY_OK);
        for (uint32_t i = 0; i < call->reply.row_count; i++, rows++) {
            cr_assert_lt(rows, 15);
            struct slice key = call->reply.rows[i].key;
            shown[rows] = (char)key.data[key.len - 1];
        }
        more = call->reply.more;
        buf_assign(&from, call->reply.resume);
        cluster_call_free(cluster, call);
        cr_assert_lt(++pages, 500);
    }
    shown[rows] = 0;
    buf_done(&from);
    return pages;
}

/* A page ends after so much work, not after so many rows; what remains begins where it says. */
Test(range_bounded, a_scan_over_deleted_rows_ends_early_and_says_where_to_go_on) {
    static const enum range_read_mode modes[] = {RANGE_READ_LINEARIZABLE, RANGE_READ_INDEX,
                                                 RANGE_READ_STALE};
    struct cluster *cluster = new_cluster(1, 20, true);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        for (int reverse = 0; reverse < 2; reverse++) {
            char shown[16];
            uint64_t leader = cluster_leader(cluster, 1);
            uint64_t node = modes[i] == RANGE_READ_STALE ? leader % 3 + 1 : leader;
            uint32_t pages = page_through(cluster, node, modes[i], reverse, shown);
            cr_assert_str_eq(shown, reverse ? "za" : "az");
            cr_assert(pages >= DELETED * 2 / 20 && pages <= DELETED, "%u pages", pages);
        }
    }
    cluster_free(cluster);
}

/* Many reads that come in one turn are served over several: as they come, from those that wait for
 * an index, and from a replica that does not lead. None is lost, and none waits for ever. */
static void expect_all_served(enum range_read_mode mode, bool lease_reads) {
    enum { READS = 100 };
    struct cluster *cluster = new_cluster(2, 20, lease_reads);
    struct range_request requests[READS];
    struct cluster_call *calls[READS];
    uint64_t leader = cluster_leader(cluster, 1);
    uint64_t node = mode == RANGE_READ_STALE ? leader % 3 + 1 : leader;
    int64_t turns = metric_range_turns_total.value;
    uint64_t began_us = cluster_now_us(cluster);
    for (uint32_t i = 0; i < READS; i++)
        requests[i] = scan_of(mode, i % 2);
    cluster_send_many(cluster, node, requests, READS, calls);
    for (uint32_t i = 0; i < READS; i++) {
        cr_assert(cluster_await(cluster, calls[i], SECOND));
        cr_assert_eq(calls[i]->reply.code, RANGE_REPLY_OK);
        cr_assert(calls[i]->reply.more);
        cluster_call_free(cluster, calls[i]);
    }
    turns = metric_range_turns_total.value - turns;
    cr_assert_geq(turns, READS / 3, "%ld turns", turns);
    cr_expect_lt(cluster_now_us(cluster) - began_us, SECOND / 10, "they wait for ticks");
    cluster_free(cluster);
}

Test(range_bounded, reads_under_a_lease_are_spread_over_turns) {
    expect_all_served(RANGE_READ_LINEARIZABLE, true);
}

Test(range_bounded, reads_with_an_index_are_spread_over_turns) {
    expect_all_served(RANGE_READ_LINEARIZABLE, false);
}

Test(range_bounded, stale_reads_are_spread_over_turns) {
    expect_all_served(RANGE_READ_STALE, true);
}

/* A get of many keys ends early, too. */
Test(range_bounded, a_get_answers_for_as_many_keys_as_its_steps_allow) {
    struct cluster *cluster = new_cluster(3, 20, true);
    struct slice keys[12];
    for (uint32_t i = 0; i < 12; i++)
        keys[i] = cluster_key(1, i % 2 ? "a" : "z");
    struct range_request request = {
        .kind = RANGE_GET, .range_id = 1, .timeout_us = SECOND, .key_count = 12, .keys = keys};
    struct cluster_call *call = cluster_send(cluster, cluster_leader(cluster, 1), &request);
    cr_assert(cluster_await(cluster, call, SECOND));
    cr_assert_eq(call->reply.code, RANGE_REPLY_OK);
    cr_assert_eq(call->reply.row_count, 20 / RANGE_GET_STEPS);
    cluster_call_free(cluster, call);
    cluster_free(cluster);
}

/* And when its answer is full: what a node sends is what a client takes. */
Test(range_bounded, a_get_answers_for_as_many_keys_as_an_answer_holds) {
    enum { KEYS = 8 };
    struct cluster *cluster = new_cluster(7, 1u << 20, true);
    struct buf value = {0};
    buf_reserve(&value, TXN_VALUE_BYTES_MAX);
    memset(value.data, 'v', TXN_VALUE_BYTES_MAX);
    value.len = TXN_VALUE_BYTES_MAX;
    write_one(cluster, (struct txn_op){.kind = TXN_OP_PUT,
                                       .key = cluster_key(1, "large"),
                                       .value = slice_from_buf(&value)});
    struct slice keys[KEYS];
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = cluster_key(1, "large");
    struct range_request request = {
        .kind = RANGE_GET, .range_id = 1, .timeout_us = SECOND, .key_count = KEYS, .keys = keys};
    struct cluster_call *call = cluster_send(cluster, cluster_leader(cluster, 1), &request);
    cr_assert(cluster_await(cluster, call, SECOND));
    cr_assert_eq(call->reply.code, RANGE_REPLY_OK);
    cr_assert_eq(call->reply.row_count, RANGE_REPLY_BYTES_MAX / TXN_VALUE_BYTES_MAX);
    cluster_call_free(cluster, call);
    buf_done(&value);
    cluster_free(cluster);
}

/* Who reads elsewhere does not stand behind all of them. */
Test(range_bounded, another_range_is_read_while_many_scans_wait) {
    enum { READS = 300 };
    struct cluster *cluster = new_cluster(4, 20, false);
    static struct range_request requests[READS];
    static struct cluster_call *calls[READS];
    uint64_t leader = cluster_leader(cluster, 1);
    struct range_request transfer = {
        .kind = RANGE_TRANSFER, .range_id = 2, .timeout_us = SECOND, .to_node = leader};
    if (cluster_leader(cluster, 2) != leader) {
        struct cluster_call *call = cluster_send(cluster, cluster_leader(cluster, 2), &transfer);
        cr_assert(cluster_await(cluster, call, SECOND));
        cluster_call_free(cluster, call);
    }
    cluster_run_us(cluster, SECOND / 5);
    cr_assert_eq(cluster_leader(cluster, 2), leader);
    cluster_slow(cluster, leader, 1000); /* a millisecond a turn */
    for (uint32_t i = 0; i < READS; i++)
        requests[i] = scan_of(RANGE_READ_LINEARIZABLE, false);
    cluster_send_many(cluster, leader, requests, READS, calls);
    cluster_run_us(cluster, 10000); /* they are there, and have their index */
    cr_assert(!calls[READS - 1]->done);
    struct slice key = cluster_key(2, "absent");
    struct range_request get = {
        .kind = RANGE_GET, .range_id = 2, .timeout_us = SECOND, .key_count = 1, .keys = &key};
    struct cluster_call *call = cluster_send(cluster, leader, &get);
    cr_assert(cluster_await(cluster, call, SECOND));
    cr_assert_eq(call->reply.code, RANGE_REPLY_OK);
    uint32_t done = 0;
    for (uint32_t i = 0; i < READS; i++)
        done += calls[i]->done;
    cr_assert_lt(done, READS / 2, "%u scans were served before it", done);
    for (uint32_t i = 0; i < READS; i++) {
        cr_assert(cluster_await(cluster, calls[i], 2 * SECOND));
        cluster_call_free(cluster, calls[i]);
    }
    cluster_call_free(cluster, call);
    cluster_free(cluster);
}

/* The key behind the longest one is one byte longer: a scan that goes on there is a sound one. */
Test(range_bounded, a_scan_may_begin_behind_the_longest_key) {
    static uint8_t longest[TXN_KEY_BYTES_MAX + 2];
    struct cluster *cluster = new_cluster(6, 0, true);
    memset(longest, 'x', TXN_KEY_BYTES_MAX);
    memcpy(longest, "r0001/", 6);
    write_one(cluster, (struct txn_op){.kind = TXN_OP_PUT,
                                       .key = slice_make(longest, TXN_KEY_BYTES_MAX),
                                       .value = SLICE_LITERAL("v")});
    longest[TXN_KEY_BYTES_MAX] = 0;
    for (size_t len = TXN_KEY_BYTES_MAX; len <= TXN_KEY_BYTES_MAX + 2; len++) {
        struct range_request request = scan_of(RANGE_READ_LINEARIZABLE, false);
        request.start = slice_make(longest, len);
        struct cluster_call *call = cluster_send(cluster, cluster_leader(cluster, 1), &request);
        cr_assert(cluster_await(cluster, call, SECOND));
        bool sound = len <= TXN_KEY_BYTES_MAX + 1;
        cr_assert_eq(call->reply.code, sound ? RANGE_REPLY_OK : RANGE_REPLY_INVALID);
        if (sound) cr_assert_eq(call->reply.row_count, len == TXN_KEY_BYTES_MAX ? 2u : 1u);
        cluster_call_free(cluster, call);
    }
    cluster_free(cluster);
}
