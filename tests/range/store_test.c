/* One cluster without faults: what a range store promises to those who ask it. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_store, .init = quiet, .timeout = 30);
TestSuite(range_exactly_once, .init = quiet, .timeout = 30);
TestSuite(range_refusals, .init = quiet, .timeout = 30);

static struct cluster *new_cluster(uint64_t seed, uint32_t ranges) {
    struct cluster_config config = cluster_config_default(seed);
    config.ranges = ranges;
    struct cluster *cluster = cluster_new(&config);
    for (uint32_t range = 1; range <= ranges; range++)
        cr_assert_neq(cluster_wait_leader(cluster, range), 0);
    cluster_run_us(cluster, SECOND / 10); /* the leaders have applied an entry of their own term */
    return cluster;
}

static void put(struct cluster *cluster, uint64_t range_id, const char *name, const char *text) {
    struct buf command = cluster_put(cluster_key(range_id, name), slice_from_text(text));
    cr_assert_eq(cluster_write(cluster, range_id, slice_from_buf(&command)).result, TXN_DONE);
    buf_done(&command);
}

static struct range_request write_of(const struct buf *command, uint64_t timeout_us) {
    return (struct range_request){.kind = RANGE_WRITE,
                                  .range_id = 1,
                                  .timeout_us = timeout_us,
                                  .command = slice_from_buf(command)};
}

static struct range_request get_of(struct slice *key) {
    return (struct range_request){
        .kind = RANGE_GET, .range_id = 1, .timeout_us = SECOND, .key_count = 1, .keys = key};
}

/* Sends to the leader, waits for the answer and expects its code. The caller frees the call. */
static struct cluster_call *expect(struct cluster *cluster, const struct range_request *request,
                                   enum range_reply_code code) {
    struct cluster_call *call = cluster_send(cluster, cluster_leader(cluster, 1), request);
    cr_assert(cluster_await(cluster, call, 3 * SECOND));
    cr_assert_eq(call->reply.code, code, "code %d, expected %d", (int)call->reply.code, (int)code);
    return call;
}

static void expect_only(struct cluster *cluster, const struct range_request *request,
                        enum range_reply_code code) {
    cluster_call_free(cluster, expect(cluster, request, code));
}

static void move_leader(struct cluster *cluster, uint64_t to_node) {
    struct range_request request = {
        .kind = RANGE_TRANSFER, .range_id = 1, .timeout_us = SECOND, .to_node = to_node};
    expect_only(cluster, &request, RANGE_REPLY_OK);
    cluster_run_us(cluster, SECOND / 10);
    cr_assert_eq(cluster_leader(cluster, 1), to_node);
}

/* The thin path: elect, propose, replicate, apply, read; equal content on every node. */
Test(range_store, reads_what_was_written_on_every_replica_alike) {
    struct cluster *cluster = new_cluster(1, 2);
    struct buf value = {0};
    put(cluster, 1, "name", "first");
    put(cluster, 2, "name", "second");
    put(cluster, 1, "name", "third");
    cr_assert(cluster_read(cluster, 1, cluster_key(1, "name"), &value));
    cr_assert(slice_equal(slice_from_buf(&value), SLICE_LITERAL("third")));
    cr_assert(cluster_read(cluster, 2, cluster_key(2, "name"), &value));
    cr_assert(slice_equal(slice_from_buf(&value), SLICE_LITERAL("second")));
    cr_assert(!cluster_read(cluster, 1, cluster_key(1, "absent"), &value));
    cr_assert(cluster_converge(cluster, SECOND));
    buf_done(&value);
    cluster_free(cluster);
}

static void expect_rows(struct cluster *cluster, struct range_request request, const char *keys,
                        bool more) {
    request.kind = RANGE_SCAN;
    request.range_id = 1;
    request.timeout_us = SECOND;
    struct cluster_call *call = expect(cluster, &request, RANGE_REPLY_OK);
    cr_assert_eq(call->reply.row_count, strlen(keys));
    cr_assert_eq(call->reply.more, more);
    for (uint32_t i = 0; i < call->reply.row_count; i++) {
        const struct range_row *row = &call->reply.rows[i];
        cr_assert_eq((char)row->key.data[row->key.len - 1], keys[i]);
        cr_assert_eq(row->value.len, request.keys_only ? 0u : 2u);
        cr_assert_neq(row->version, 0);
    }
    cluster_call_free(cluster, call);
}

/* Scans keep to the range, to their direction, and to the limit that is reached first. */
Test(range_store, scans_both_ways_within_limits_and_within_the_range) {
    struct cluster *cluster = new_cluster(2, 2);
    char name[] = "kX";
    for (int c = '0'; c <= '9'; c++) {
        name[1] = (char)c;
        put(cluster, 1, name, "vv");
    }
    put(cluster, 2, "other", "not of this range");
    expect_rows(cluster, (struct range_request){0}, "0123456789", false);
    expect_rows(cluster, (struct range_request){.reverse = true}, "9876543210", false);
    expect_rows(cluster, (struct range_request){.row_limit = 3}, "012", true);
    expect_rows(cluster, (struct range_request){.row_limit = 3, .reverse = true}, "987", true);
    expect_rows(cluster, (struct range_request){.row_limit = 10}, "0123456789", false);
    /* "r0001/k0" and two bytes of value. */
    const uint32_t row_bytes = 10 + RANGE_ROW_BYTES;
    expect_rows(cluster, (struct range_request){.byte_limit = 3 * row_bytes - 1}, "01", true);
    expect_rows(cluster, (struct range_request){.byte_limit = 1}, "0", true);
    expect_rows(cluster, (struct range_request){.keys_only = true}, "0123456789", false);
    expect_rows(cluster,
                (struct range_request){.start = cluster_key(1, "k3"), .end = cluster_key(1, "k6")},
                "345", false);
    cluster_free(cluster);
}

static uint64_t observations(struct metric *metric) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++)
        count += metric->buckets[i];
    return count;
}

/* A hot key pipelines: what waits together shares log entries and one request to the oracle. */
Test(range_store, commands_for_a_hot_key_share_entries_and_timestamps) {
    enum { COUNT = 1000 };
    static struct cluster_call *calls[COUNT];
    static struct range_request requests[COUNT];
    struct cluster *cluster = new_cluster(3, 1);
    struct buf command = cluster_add(cluster_key(1, "hot"), 1, SLICE_EMPTY);
    for (int i = 0; i < COUNT; i++)
        requests[i] = write_of(&command, SECOND);
    int64_t entries = metric_range_entries_proposed_total.value;
    uint64_t asked = observations(&metric_range_timestamp_latency_us);
    cluster_send_many(cluster, cluster_leader(cluster, 1), requests, COUNT, calls);
    cr_assert(cluster_await(cluster, calls[COUNT - 1], SECOND));
    for (int i = 0; i < COUNT; i++) {
        cr_assert(calls[i]->done && calls[i]->reply.code == RANGE_REPLY_OK);
        cr_assert_eq(calls[i]->reply.outcome.numbers[0], i + 1); /* in order of arrival */
    }
    cr_assert_eq(metric_range_entries_proposed_total.value - entries,
                 (COUNT + RANGE_ENTRY_COMMANDS_MAX - 1) / RANGE_ENTRY_COMMANDS_MAX);
    cr_assert_eq(observations(&metric_range_timestamp_latency_us) - asked, 1);
    cr_assert(cluster_converge(cluster, SECOND));
    buf_done(&command);
    cluster_free(cluster);
}

/* A retry hears the first outcome, whoever leads by then, and changes nothing. */
Test(range_exactly_once, a_retry_gets_the_first_outcome_at_any_leader) {
    struct cluster *cluster = new_cluster(4, 1);
    struct buf command = cluster_add(cluster_key(1, "sum"), 5, SLICE_LITERAL("R-1"));
    struct txn_outcome first = cluster_write(cluster, 1, slice_from_buf(&command));
    cr_assert(first.result == TXN_DONE && !first.replayed);
    for (uint64_t node = 1; node <= 3; node++) {
        if (cluster_leader(cluster, 1) != node) move_leader(cluster, node);
        struct txn_outcome again = cluster_write(cluster, 1, slice_from_buf(&command));
        cr_assert(again.result == TXN_DONE && again.replayed);
        cr_assert_eq(again.commit_ts, first.commit_ts);
    }
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 5);
    struct buf other = cluster_add(cluster_key(1, "sum"), 6, SLICE_LITERAL("R-1"));
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&other)).result,
                 TXN_REFUSED_REQUEST_ID_REUSED);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 5);
    buf_done(&command);
    buf_done(&other);
    cluster_free(cluster);
}

/* A refusal is an outcome, too: a retry does not get through because things have changed since. */
Test(range_exactly_once, a_refusal_stays_a_refusal) {
    struct cluster *cluster = new_cluster(5, 1);
    struct txn_op op = {.kind = TXN_OP_ADD,
                        .key = cluster_key(1, "exposure"),
                        .delta = 5,
                        .minimum = 0,
                        .maximum = 7};
    struct txn_command add = {.request_id = SLICE_LITERAL("R-2"), .op_count = 1, .ops = &op};
    put(cluster, 1, "exposure", "3");
    struct buf command = cluster_command(&add);
    struct txn_outcome refused = cluster_write(cluster, 1, slice_from_buf(&command));
    cr_assert(refused.result == TXN_REFUSED_BOUND && refused.number == 3 && !refused.replayed);
    put(cluster, 1, "exposure", "0");
    refused = cluster_write(cluster, 1, slice_from_buf(&command));
    cr_assert(refused.result == TXN_REFUSED_BOUND && refused.number == 3 && refused.replayed);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "exposure")), 0);
    buf_done(&command);
    cluster_free(cluster);
}

/* A router that is behind gets the descriptor, one that is ahead the leader; nothing is proposed.
 */
Test(range_refusals, of_stale_epochs_unknown_ranges_and_keys_outside) {
    struct cluster *cluster = new_cluster(6, 2);
    struct buf command = cluster_put(cluster_key(1, "a"), SLICE_LITERAL("x"));
    struct range_request request = write_of(&command, SECOND);
    int64_t entries = metric_range_entries_proposed_total.value;
    request.epoch = (struct range_epoch){.conf_version = 1};
    struct cluster_call *call = expect(cluster, &request, RANGE_REPLY_STALE_EPOCH);
    cr_assert(range_descriptor_equal(call->reply.descriptor, cluster_descriptor(cluster, 1)));
    cluster_call_free(cluster, call);
    request.epoch = (struct range_epoch){.conf_version = 1, .span_version = 9};
    call = expect(cluster, &request, RANGE_REPLY_NOT_LEADER);
    cr_assert_eq(call->reply.leader_node, cluster_leader(cluster, 1));
    cluster_call_free(cluster, call);
    request.epoch = (struct range_epoch){0};
    request.range_id = 99;
    expect_only(cluster, &request, RANGE_REPLY_NO_RANGE);
    struct buf outside = cluster_put(cluster_key(2, "a"), SLICE_LITERAL("x"));
    request = write_of(&outside, SECOND);
    expect_only(cluster, &request, RANGE_REPLY_INVALID);
    request.command = SLICE_LITERAL("no command");
    expect_only(cluster, &request, RANGE_REPLY_INVALID);
    struct slice key = cluster_key(2, "a");
    request = get_of(&key);
    expect_only(cluster, &request, RANGE_REPLY_INVALID);
    key = SLICE_EMPTY;
    expect_only(cluster, &request, RANGE_REPLY_INVALID);
    cr_assert_eq(metric_range_entries_proposed_total.value, entries);
    buf_done(&command);
    buf_done(&outside);
    cluster_free(cluster);
}

/* A follower points at the leader. */
Test(range_refusals, of_a_follower_name_the_leader) {
    struct cluster *cluster = new_cluster(7, 1);
    struct slice key = cluster_key(1, "a");
    struct range_request request = get_of(&key);
    uint64_t leader = cluster_leader(cluster, 1);
    struct cluster_call *call = cluster_send(cluster, leader % 3 + 1, &request);
    cr_assert(cluster_await(cluster, call, SECOND));
    cr_assert_eq(call->reply.code, RANGE_REPLY_NOT_LEADER);
    cr_assert_eq(call->reply.leader_node, leader);
    cluster_free(cluster);
}

/* Who leads is there, whenever it is asked; who was silent for long enough is not. */
Test(range_store, a_leader_describes_who_is_there) {
    struct cluster_config config = cluster_config_default(7);
    config.quiesce_ticks = 0;
    struct cluster *cluster = cluster_new(&config);
    uint64_t leader = cluster_wait_leader(cluster, 1), lost = leader % 3 + 1;
    struct range_request request = {.kind = RANGE_DESCRIBE, .range_id = 1};
    cluster_kill(cluster, lost);
    cluster_run_us(cluster, SECOND);
    for (uint32_t at = 0; at < 40; at++) {
        cluster_run_us(cluster, 10000);
        struct cluster_call *call = expect(cluster, &request, RANGE_REPLY_OK);
        for (uint32_t i = 0; i < call->reply.progress_count; i++) {
            const struct range_replica_progress *progress = &call->reply.progress[i];
            uint64_t node =
                range_descriptor_replica(call->reply.descriptor, progress->replica_id)->node_id;
            if (node == leader || node == lost)
                cr_assert_eq(progress->active, node == leader, "node %lu", (unsigned long)node);
        }
        cluster_call_free(cluster, call);
    }
    cluster_free(cluster);
}

/* Whoever leads says how far each replica is, under any epoch; a follower only names the leader. */
Test(range_store, a_leader_describes_its_replicas) {
    struct cluster *cluster = new_cluster(7, 1);
    uint64_t leader = cluster_leader(cluster, 1);
    put(cluster, 1, "a", "v");
    cluster_run_us(cluster, SECOND / 10);
    struct range_request request = {.kind = RANGE_DESCRIBE, .range_id = 1, .epoch = {99, 99}};
    struct cluster_call *call = expect(cluster, &request, RANGE_REPLY_OK);
    const struct range_reply *reply = &call->reply;
    cr_assert(reply->descriptor->range_id == 1 && reply->descriptor->replica_count == 3);
    cr_assert(reply->term > 0 && reply->commit_index > 0);
    cr_assert_eq(reply->progress_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct range_replica_progress *progress = &reply->progress[i];
        cr_assert(range_descriptor_replica(reply->descriptor, progress->replica_id));
        cr_assert(progress->active && !progress->gets_snapshot);
        cr_assert_eq(progress->match, reply->commit_index);
    }
    cluster_call_free(cluster, call);
    call = cluster_send(cluster, leader % 3 + 1, &request);
    cr_assert(cluster_await(cluster, call, SECOND));
    cr_assert_eq(call->reply.code, RANGE_REPLY_NOT_LEADER);
    cr_assert_eq(call->reply.leader_node, leader);
    cluster_free(cluster);
}

/* A deadline that passes before the proposal says so; behind it nobody knows, without an id. */
Test(range_refusals, at_a_deadline_say_whether_anything_was_proposed) {
    struct cluster *cluster = new_cluster(8, 1);
    struct buf command = cluster_put(cluster_key(1, "a"), SLICE_LITERAL("x"));
    struct range_request request = write_of(&command, 50000);
    cluster_stop_oracle(cluster, true);
    expect_only(cluster, &request, RANGE_REPLY_TIMEOUT);
    cluster_stop_oracle(cluster, false);
    cluster_run_us(cluster, SECOND / 10);
    struct buf value = {0};
    cr_assert(!cluster_read(cluster, 1, cluster_key(1, "a"), &value));
    cluster_isolate(cluster, cluster_leader(cluster, 1), true);
    expect_only(cluster, &request, RANGE_REPLY_UNKNOWN);
    struct slice key = cluster_key(1, "a");
    request = get_of(&key);
    request.timeout_us = 20000;
    request.read_mode = RANGE_READ_INDEX;
    expect_only(cluster, &request, RANGE_REPLY_TIMEOUT);
    buf_done(&command);
    buf_done(&value);
    cluster_free(cluster);
}

/* More commands than a range may hold are refused with BUSY, and only those. */
Test(range_refusals, begin_where_the_queue_ends) {
    enum { EXTRA = 10, COUNT = RANGE_PENDING_MAX + EXTRA };
    static struct cluster_call *calls[COUNT];
    static struct range_request requests[COUNT];
    struct cluster *cluster = new_cluster(9, 1);
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    for (uint32_t i = 0; i < COUNT; i++)
        requests[i] = write_of(&command, 10 * SECOND);
    cluster_stop_oracle(cluster, true);
    cluster_send_many(cluster, cluster_leader(cluster, 1), requests, COUNT, calls);
    cluster_run_us(cluster, 5000);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(calls[i]->done, i >= RANGE_PENDING_MAX);
        if (calls[i]->done) cr_assert_eq(calls[i]->reply.code, RANGE_REPLY_BUSY);
    }
    cluster_stop_oracle(cluster, false);
    cr_assert(cluster_await(cluster, calls[RANGE_PENDING_MAX - 1], SECOND));
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), RANGE_PENDING_MAX);
    buf_done(&command);
    cluster_free(cluster);
}

/* The bytes of waiting commands are bounded as well as their number. */
Test(range_refusals, begin_where_the_bytes_end) {
    enum { COUNT = 40 };
    struct cluster_call *calls[COUNT];
    struct cluster *cluster = new_cluster(10, 1);
    struct buf value = {0};
    buf_reserve(&value, TXN_VALUE_BYTES_MAX);
    memset(value.data, 'x', TXN_VALUE_BYTES_MAX);
    value.len = TXN_VALUE_BYTES_MAX;
    struct buf command = cluster_put(cluster_key(1, "large"), slice_from_buf(&value));
    struct range_request request = write_of(&command, 10 * SECOND);
    cluster_stop_oracle(cluster, true);
    for (int i = 0; i < COUNT; i++)
        calls[i] = cluster_send(cluster, cluster_leader(cluster, 1), &request);
    cluster_run_us(cluster, 5000);
    size_t waiting = 0;
    for (int i = 0; i < COUNT; i++) {
        if (!calls[i]->done) waiting += command.len;
        if (calls[i]->done) cr_assert_eq(calls[i]->reply.code, RANGE_REPLY_BUSY);
    }
    cr_assert_leq(waiting, RANGE_PENDING_BYTES_MAX);
    cr_assert_gt(waiting + command.len, RANGE_PENDING_BYTES_MAX);
    buf_done(&command);
    buf_done(&value);
    cluster_free(cluster);
}

/* Without placement a write hears within the patience that nothing was proposed; later ones pass.
 */
Test(range_refusals, while_the_oracle_is_silent_come_before_the_deadline) {
    struct cluster *cluster = new_cluster(11, 1);
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    struct range_request request = write_of(&command, 10 * SECOND);
    cluster_stop_oracle(cluster, true);
    struct cluster_call *call = expect(cluster, &request, RANGE_REPLY_UNAVAILABLE);
    cr_assert_leq(call->done_us - call->begun_us, RANGE_TIMESTAMP_PATIENCE_US + 50000);
    cr_assert_gt(call->reply.text.len, 0);
    cluster_stop_oracle(cluster, false);
    cluster_run_us(cluster, SECOND / 10);
    expect_only(cluster, &request, RANGE_REPLY_OK);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 1);
    buf_done(&command);
    cluster_free(cluster);
}

/* Who has all the time in the world is served like anybody else. */
Test(range_refusals, not_of_who_waits_for_ever) {
    struct cluster *cluster = new_cluster(13, 1);
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    struct range_request request = write_of(&command, UINT64_MAX);
    expect_only(cluster, &request, RANGE_REPLY_OK);
    struct slice key = cluster_key(1, "sum");
    request = get_of(&key);
    request.timeout_us = UINT64_MAX - 1;
    expect_only(cluster, &request, RANGE_REPLY_OK);
    buf_done(&command);
    cluster_free(cluster);
}

/* An oracle that goes back is not believed: refused at the leader, never in the log. */
Test(range_refusals, of_timestamps_from_the_past) {
    struct cluster *cluster = new_cluster(12, 1);
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    struct range_request request = write_of(&command, SECOND);
    for (int i = 0; i < 40; i++)
        expect_only(cluster, &request, RANGE_REPLY_OK);
    uint64_t last_ts = cluster_write(cluster, 1, slice_from_buf(&command)).commit_ts;
    cluster_set_oracle(cluster, last_ts - 30);
    struct cluster_call *call = expect(cluster, &request, RANGE_REPLY_UNAVAILABLE);
    cr_assert_gt(call->reply.text.len, 0);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 41);
    /* Once the oracle has caught up the range goes on. */
    last_ts = cluster_write(cluster, 1, slice_from_buf(&command)).commit_ts;
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 42);
    cluster_set_oracle(cluster, last_ts); /* that one once more */
    expect_only(cluster, &request, RANGE_REPLY_UNAVAILABLE);
    cluster_set_oracle(cluster, last_ts + 1);
    expect_only(cluster, &request, RANGE_REPLY_OK);
    cr_assert(cluster_converge(cluster, SECOND));
    buf_done(&command);
    cluster_free(cluster);
}

static bool declines(void *ctx) {
    return range_store_declines(ctx);
}

/* What is handed to a node that is about to stop does not arrive, and the node knows from when on:
 * a range that came to it at the last moment would lose its leader with it. */
Test(range_store, a_node_that_declines_is_handed_nothing) {
    struct cluster *cluster = new_cluster(14, 6);
    uint64_t leader = cluster_leader(cluster, 1), other = leader % 3 + 1;
    struct range_store *store = cluster_store(cluster, other);
    cr_expect_not(range_store_declines(store));
    range_store_decline(store);
    cr_expect_not(range_store_declines(store), "nothing is known before a turn has taken it in");
    range_store_transfer(cluster_store(cluster, leader), 1, other);
    cr_assert(cluster_run_until(cluster, SECOND, declines, store));
    cluster_run_us(cluster, SECOND);
    cr_expect_eq(cluster_leader(cluster, 1), leader);
    put(cluster, 1, "after", "declined");
    cluster_free(cluster);
}

/* Not even what is born there later. */
Test(range_store, a_node_that_declines_leads_no_new_range) {
    struct cluster *cluster = new_cluster(17, 1);
    struct range_descriptor alone = {
        .range_id = 77,
        .epoch = {1, 1},
        .next_replica_id = 2,
        .replica_count = 1,
        .replicas = {{.replica_id = 1, .node_id = 1, .role = RANGE_VOTER}}};
    buf_append(&alone.start, cluster_key(77, ""));
    for (int declining = 0; declining < 2; declining++) {
        struct range_store *store = cluster_store(cluster, 1);
        if (declining) range_store_decline(store);
        range_store_create(store, &alone, true);
        cluster_run_us(cluster, SECOND);
        struct range_status status;
        cr_assert(cluster_status(cluster, 1, alone.range_id, &status));
        cr_expect_eq(status.leads, !declining);
        buf_append(&alone.end, slice_from_buf(&alone.start));
        buf_clear(&alone.start);
        buf_append(&alone.start, cluster_key(76, ""));
        alone.range_id = 76;
    }
    range_descriptor_done(&alone);
    cluster_free(cluster);
}

/* Nobody says that he declines. A node that drains tries the other one next. */
Test(range_store, a_draining_node_turns_to_who_does_not_decline) {
    for (uint64_t by = 1; by <= 2; by++) {
        struct cluster *cluster = new_cluster(15, 6);
        uint64_t node = cluster_leader(cluster, 1);
        uint64_t stopping = (node - 1 + by) % 3 + 1, staying = (node - 1 + 3 - by) % 3 + 1;
        range_store_drain(cluster_store(cluster, stopping));
        cluster_run_us(cluster, SECOND);
        range_store_decline(cluster_store(cluster, stopping));
        range_store_drain(cluster_store(cluster, node));
        cluster_run_us(cluster, SECOND);
        for (uint64_t range = 1; range <= 6; range++)
            cr_expect_eq(cluster_leader(cluster, range), staying);
        cr_expect_eq(range_store_leader_count(cluster_store(cluster, stopping)), 0);
        cluster_free(cluster);
    }
}

static void expect_not_given_up(struct cluster *cluster, uint64_t node) {
    for (uint64_t range = 1; range <= 6; range++) {
        struct range_status status;
        cr_assert(cluster_status(cluster, node, range, &status));
        cr_expect_not(status.drain_given_up, "range %d by node %d", (int)range, (int)node);
    }
}

/* Two drain, and hand to each other until both know better; meanwhile neither believes that there
 * is nobody else, only because the third has not answered yet. */
Test(range_store, two_draining_nodes_never_give_up_the_third) {
    for (uint64_t seed = 100; seed < 110; seed++) {
        struct cluster *cluster = new_cluster(seed, 6);
        cluster_slow(cluster, 3, SECOND / 40);
        range_store_drain(cluster_store(cluster, 1));
        range_store_drain(cluster_store(cluster, 2));
        for (int step = 0; step < 500; step++) {
            cluster_run_us(cluster, SECOND / 1000);
            expect_not_given_up(cluster, 1);
            expect_not_given_up(cluster, 2);
        }
        for (uint64_t range = 1; range <= 6; range++)
            cr_expect_eq(cluster_leader(cluster, range), 3);
        cluster_free(cluster);
    }
}

/* When all drain, each gives up what it was handed back by everybody; when only one other answers,
 * what that one handed back. */
Test(range_store, a_draining_node_gives_up_when_nobody_is_left) {
    for (uint64_t up = 2; up <= 3; up++) {
        struct cluster *cluster = new_cluster(16, 6);
        if (up == 2) cluster_crash(cluster, 3);
        for (uint64_t range = 1; range <= 6; range++)
            cr_assert_neq(cluster_wait_leader(cluster, range), 0);
        for (uint64_t node = 1; node <= up; node++)
            range_store_drain(cluster_store(cluster, node));
        cluster_run_us(cluster, up == 2 ? SECOND : SECOND / 10);
        for (uint64_t range = 1; range <= 6; range++) {
            struct range_status status;
            uint64_t leader = cluster_leader(cluster, range);
            cr_assert(cluster_status(cluster, leader, range, &status));
            cr_expect(status.drain_given_up, "range %d by node %d", (int)range, (int)leader);
        }
        cluster_free(cluster);
    }
}

/* A node that drains hands every leadership over, and everything goes on elsewhere. */
Test(range_store, a_draining_node_leads_nothing_any_more) {
    struct cluster *cluster = new_cluster(13, 6);
    uint64_t node = cluster_leader(cluster, 1);
    cr_assert_gt(range_store_leader_count(cluster_store(cluster, node)), 0);
    range_store_drain(cluster_store(cluster, node));
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(range_store_leader_count(cluster_store(cluster, node)), 0);
    for (uint64_t range = 1; range <= 6; range++)
        put(cluster, range, "after", "drained");
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_free(cluster);
}
