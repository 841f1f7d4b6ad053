/* Apply states that share a row (range/positions.h): none is lost, and none is taken for another's.
 */
#include <criterion/criterion.h>

#include "base/codec.h"
#include "base/log.h"
#include "range/positions.h"
#include "range/worker.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define RANGES 3u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_positions, .init = quiet, .timeout = 60);

static struct cluster *new_cluster(uint64_t seed) {
    struct cluster_config config = cluster_config_default(seed);
    config.ranges = RANGES;
    struct cluster *cluster = cluster_new(&config);
    for (uint64_t range = 1; range <= RANGES; range++)
        cr_assert_neq(cluster_wait_leader(cluster, range), 0);
    return cluster;
}

/* Each is an entry and an apply round of its own, on every node. */
static void write_times(struct cluster *cluster, uint64_t range, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct buf command = cluster_add(cluster_key(range, "n"), 1, SLICE_EMPTY);
        cr_assert_eq(cluster_write(cluster, range, slice_from_buf(&command)).result, TXN_DONE);
        buf_done(&command);
    }
}

static uint64_t applied(struct cluster *cluster, uint64_t node, uint64_t range) {
    struct range_status status;
    cr_assert(cluster_status(cluster, node, range, &status));
    return status.applied_index;
}

/* Where a range's own row says that it is; what the slots say does not count. */
static uint64_t applied_by_own_row(struct cluster *cluster, uint64_t node, uint64_t range) {
    struct raft_log log;
    struct buf bytes = {0};
    struct range_apply_state state = {0};
    cr_assert_eq(raft_log_open(&log, cluster_engine(cluster, node), range), STATUS_OK);
    cr_assert_eq(raft_log_get_state(&log, RAFT_LOG_APPLY_STATE, &bytes), STATUS_OK);
    cr_assert_eq(range_apply_state_decode(slice_from_buf(&bytes), &state), STATUS_OK);
    buf_done(&bytes);
    return state.applied.index;
}

static size_t slots_used(struct cluster *cluster, uint64_t node) {
    struct storage_engine *engine = cluster_engine(cluster, node);
    struct storage_iterator *iterator =
        storage_iterator_new(engine, NULL, STORAGE_RAFT, SLICE_LITERAL("p"), SLICE_LITERAL("q"));
    size_t count = 0;
    for (storage_iterator_seek_first(iterator); storage_iterator_valid(iterator);
         storage_iterator_next(iterator))
        count++;
    storage_iterator_free(iterator);
    return count;
}

/* Rounds of other ranges overwrite the row that a range's state is in; it has one of its own then,
 * and goes on from there after a restart. */
Test(range_positions, of_idle_ranges_outlive_their_slots) {
    struct cluster *cluster = new_cluster(1);
    write_times(cluster, 1, 5);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    uint64_t before = applied(cluster, 2, 1);
    cr_expect_lt(applied_by_own_row(cluster, 2, 1), before, "it shares a row");
    write_times(cluster, 2, RANGE_POSITION_SLOTS + 8);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    cr_expect_eq(applied_by_own_row(cluster, 2, 1), before, "its slot was overwritten");
    cluster_kill(cluster, 2);
    cluster_start(cluster, 2);
    cr_expect_eq(applied(cluster, 2, 1), before);
    cr_expect_eq(cluster_read_number(cluster, 1, cluster_key(1, "n")), 5);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    cluster_free(cluster);
}

/* What was in slots is in rows of their own after a restart, and the slots are gone: the next run
 * may have other workers. */
Test(range_positions, are_put_into_own_rows_by_recovery) {
    struct cluster *cluster = new_cluster(2);
    for (uint64_t range = 1; range <= RANGES; range++)
        write_times(cluster, range, 4);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    uint64_t before[RANGES + 1];
    for (uint64_t range = 1; range <= RANGES; range++)
        before[range] = applied(cluster, 3, range);
    cr_expect_gt(slots_used(cluster, 3), 0);
    cluster_kill(cluster, 3);
    cluster_start(cluster, 3);
    cr_expect_eq(slots_used(cluster, 3), 0);
    for (uint64_t range = 1; range <= RANGES; range++) {
        cr_expect_eq(applied(cluster, 3, range), before[range]);
        cr_expect_eq(applied_by_own_row(cluster, 3, range), before[range]);
    }
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    cluster_free(cluster);
}

static struct cluster_call *send_one(struct cluster *cluster, uint64_t range, uint64_t leader) {
    struct buf command = cluster_add(cluster_key(range, "n"), 1, SLICE_EMPTY);
    struct range_request write = {.kind = RANGE_WRITE,
                                  .range_id = range,
                                  .timeout_us = SECOND,
                                  .command = slice_from_buf(&command)};
    struct cluster_call *call = cluster_send(cluster, leader, &write);
    buf_done(&command);
    return call;
}

/* What a recovery would find (P1), without one, which would put all into rows of their own. */
static uint64_t applied_by_rows(struct cluster *cluster, uint64_t node, uint64_t range) {
    struct range_status status;
    struct range_position_table table = {0};
    struct range_apply_state state = {
        .applied = {.index = applied_by_own_row(cluster, node, range)}};
    struct storage_engine *engine = cluster_engine(cluster, node);
    struct storage_batch *unwritten = storage_batch_new(engine);
    cr_assert(cluster_status(cluster, node, range, &status));
    cr_assert_eq(range_positions_read(engine, unwritten, &table), STATUS_OK);
    (void)range_positions_resolve(&table, range, status.replica_id,
                                  &state); /* or its own is newer */
    storage_batch_free(unwritten);
    range_position_table_done(&table);
    return state.applied.index;
}

/* Who has no room in the row of a round has a row of its own, of the same batch, that says where it
 * is after the round. */
Test(range_positions, of_those_beyond_the_row_are_as_new_as_those_in_it) {
    enum { ROUNDS = 10 };
    struct cluster_config config = cluster_config_default(3);
    config.ranges = RANGES;
    config.nodes = config.workers = 1;
    config.delay_min_us = config.delay_max_us = 100; /* what is sent at once is one round */
    config.position_row_max = 1;
    struct cluster *cluster = cluster_new(&config);
    for (uint64_t range = 1; range <= RANGES; range++)
        cr_assert_eq(cluster_wait_leader(cluster, range), 1);
    uint32_t in_own_row = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct cluster_call *calls[RANGES];
        for (uint64_t range = 1; range <= RANGES; range++)
            calls[range - 1] = send_one(cluster, range, 1);
        for (uint64_t range = 1; range <= RANGES; range++) {
            cr_assert(cluster_await(cluster, calls[range - 1], SECOND));
            cr_assert_eq(calls[range - 1]->reply.code, RANGE_REPLY_OK);
            cluster_call_free(cluster, calls[range - 1]);
        }
        for (uint64_t range = 1; range <= RANGES; range++) {
            uint64_t now = applied(cluster, 1, range);
            cr_expect_eq(applied_by_rows(cluster, 1, range), now, "range %lu",
                         (unsigned long)range);
            if (applied_by_own_row(cluster, 1, range) == now) in_own_row++;
        }
    }
    cr_expect_eq(in_own_row, ROUNDS * (RANGES - 1), "%u: one of each round is in the row",
                 in_own_row);
    cluster_free(cluster);
}

static void encode(struct buf *row, uint64_t range_id, uint64_t replica_id, uint64_t index) {
    encode_varint(row, range_id);
    encode_varint(row, replica_id);
    encode_varint(row, index);
    encode_varint(row, 7);
    encode_varint(row, 10);
    encode_varint(row, 5);
    encode_u64(row, 1000 + index);
}

/* The newest counts, of this replica: another life of the range on this node is another's. */
Test(range_positions, are_those_of_the_replica_that_applied_furthest) {
    struct buf row = {0};
    encode_u8(&row, 1);
    encode(&row, 4, 2, 30);
    encode(&row, 3, 2, 90);
    encode(&row, 4, 9, 99);
    struct range_position_table table = {0};
    cr_assert_eq(range_positions_decode(slice_from_buf(&row), &table), STATUS_OK);
    cr_assert_eq(table.count, 3);
    range_position_table_done(&table);

    struct cluster *cluster = new_cluster(3);
    struct storage_engine *engine = cluster_engine(cluster, 1);
    struct storage_batch *batch = storage_batch_new(engine);
    cluster_kill(cluster, 1);
    storage_batch_delete_range(batch, STORAGE_RAFT, SLICE_LITERAL("p"), SLICE_LITERAL("q"));
    storage_batch_put(batch, STORAGE_RAFT, SLICE_LITERAL("p\x3f\x01"), slice_from_buf(&row));
    buf_clear(&row);
    encode_u8(&row, 1);
    encode(&row, 4, 2, 29);
    storage_batch_put(batch, STORAGE_RAFT, SLICE_LITERAL("p\x3f\x02"), slice_from_buf(&row));
    cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
    storage_batch_clear(batch);
    cr_assert_eq(range_positions_read(engine, batch, &table), STATUS_OK);
    cr_assert_eq(table.count, 4);
    struct range_apply_state state = {.applied = {.term = 5, .index = 29}};
    cr_expect(range_positions_resolve(&table, 4, 2, &state));
    cr_expect_eq(state.applied.index, 30);
    cr_expect_eq(state.applied.term, 7);
    cr_expect_eq(state.truncated.index, 10);
    cr_expect_eq(state.last_commit_ts, 1030);
    cr_expect_not(range_positions_resolve(&table, 4, 2, &state), "its own row is as new");
    state.last_commit_ts--; /* further in the next entry */
    cr_expect(range_positions_resolve(&table, 4, 2, &state));
    cr_expect_eq(state.last_commit_ts, 1030);
    state.last_commit_ts++;
    cr_expect_not(range_positions_resolve(&table, 4, 2, &state), "its own row is newer");
    state = (struct range_apply_state){.applied = {.term = 5, .index = 11}};
    cr_expect_not(range_positions_resolve(&table, 4, 3, &state), "another replica's");
    cr_expect_not(range_positions_resolve(&table, 5, 9, &state), "another range's");
    cr_expect_not(range_positions_resolve(&table, 1, 1, &state), "below all");
    cr_expect_eq(storage_batch_count(batch), 2, "both rows are to be deleted");
    range_position_table_done(&table);
    storage_batch_free(batch);
    buf_done(&row);
    cluster_free(cluster);
}

/* Bytes that no version wrote are not taken for a state, and neither are a newer version's. */
Test(range_positions, that_are_damaged_are_refused) {
    struct buf row = {0};
    struct range_position_table table = {0};
    encode_u8(&row, 1);
    encode(&row, 4, 2, 30);
    for (size_t len = 2; len < row.len; len++)
        cr_expect_eq(range_positions_decode(slice_make(row.data, len), &table), STATUS_CORRUPTION);
    cr_expect_eq(range_positions_decode(SLICE_EMPTY, &table), STATUS_CORRUPTION);
    row.data[0] = 2;
    cr_expect_eq(range_positions_decode(slice_from_buf(&row), &table), STATUS_UNSUPPORTED);
    buf_clear(&row);
    encode_u8(&row, 1);
    encode(&row, 4, 2, 9); /* applied below what was truncated */
    cr_expect_eq(range_positions_decode(slice_from_buf(&row), &table), STATUS_CORRUPTION);
    range_position_table_done(&table);
    buf_done(&row);
}
