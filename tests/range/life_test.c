/* Birth, recovery, stop and death of a store, and what its clients hear of it. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "range/limits.h"
#include "range/record.h"
#include "range/worker.h"
#include "storage/memory_engine.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_life, .init = quiet, .timeout = 30);

static struct cluster *new_cluster(uint64_t seed, bool lease_reads) {
    struct cluster_config config = cluster_config_default(seed);
    config.lease_reads = lease_reads;
    struct cluster *cluster = cluster_new(&config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cluster_run_us(cluster, SECOND / 10);
    return cluster;
}

/* ---- a store opened by hand, on an engine that a cluster has filled ---- */

static void send_nothing(void *ctx, uint64_t to_node, struct slice frame) {
    (void)ctx, (void)to_node, (void)frame; /* the store is never turned */
}

static void ask_nothing(void *ctx, uint32_t worker, uint32_t count) {
    (void)ctx, (void)worker, (void)count; /* the store is never turned */
}

/* Expects the store not to open, and the text to name the range and what to do. */
static void expect_refused(struct storage_engine *engine, uint64_t node_id, enum status expected,
                           const char *part) {
    struct range_store_config config = {.node_id = node_id,
                                        .workers = 2,
                                        .tick_us = 10000,
                                        .heartbeat_ticks = 5,
                                        .election_ticks = 15};
    struct range_transport transport = {.send_raft = send_nothing, .send_snapshot = send_nothing};
    struct range_oracle oracle = {.request = ask_nothing};
    struct range_store *store = NULL;
    struct buf error = {0};
    enum status status =
        range_store_open(&config, engine, &transport, &oracle, clock_system(), &error, &store);
    buf_append_byte(&error, 0);
    cr_assert_eq(status, expected, "%s: %s", status_name(status), (const char *)error.data);
    cr_assert_not_null(strstr((const char *)error.data, "range 1"), "%s", (const char *)error.data);
    cr_assert_not_null(strstr((const char *)error.data, part), "%s", (const char *)error.data);
    cr_assert_null(store);
    buf_done(&error);
}

static void write_raw(struct storage_engine *engine, enum storage_family family, struct slice key,
                      struct slice value) {
    struct storage_batch *batch = storage_batch_new(engine);
    storage_batch_put(batch, family, key, value);
    cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
    storage_batch_free(batch);
}

/* A state that is damaged, or of another node or a newer version, is not taken for data. */
Test(range_life, recovery_refuses_what_does_not_fit_together) {
    struct cluster *cluster = new_cluster(1, true);
    cluster_kill(cluster, 1);
    struct storage_engine *engine = cluster_engine(cluster, 1);
    expect_refused(engine, 2, STATUS_MISMATCH, "node 1");

    struct raft_log log;
    cr_assert_eq(raft_log_open(&log, engine, 1), STATUS_OK);
    struct buf good = {0};
    cr_assert_eq(raft_log_get_state(&log, RAFT_LOG_APPLY_STATE, &good), STATUS_OK);
    struct range_apply_state state;
    cr_assert_eq(range_apply_state_decode(slice_from_buf(&good), &state), STATUS_OK);
    state.applied.index = log.last_index + 1; /* effects of an entry that the log never had */
    struct buf ahead = {0};
    range_apply_state_encode(&ahead, &state);
    struct storage_batch *batch = storage_batch_new(engine);
    raft_log_put_state(&log, batch, RAFT_LOG_APPLY_STATE, slice_from_buf(&ahead));
    cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
    expect_refused(engine, 1, STATUS_CORRUPTION, "do not fit together");
    storage_batch_clear(batch);
    raft_log_put_state(&log, batch, RAFT_LOG_APPLY_STATE, slice_from_buf(&good));
    cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);

    uint8_t key[RANGE_RECORD_KEY_BYTES];
    range_record_key(key, 1);
    struct buf record = {0};
    struct slice record_key = slice_make(key, sizeof(key));
    cr_assert_eq(storage_get(engine, NULL, STORAGE_META, record_key, &record), STATUS_OK);
    record.data[0]++;
    write_raw(engine, STORAGE_META, record_key, slice_from_buf(&record));
    expect_refused(engine, 1, STATUS_UNSUPPORTED, "newer version");
    record.data[0]--;
    write_raw(engine, STORAGE_META, record_key,
              slice_make(record.data, record.len - 1)); /* cut short */
    expect_refused(engine, 1, STATUS_CORRUPTION, "record");
    write_raw(engine, STORAGE_META, record_key, slice_from_buf(&record));
    cluster_start(cluster, 1); /* asserts that it opens */
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    storage_batch_free(batch);
    buf_done(&good);
    buf_done(&ahead);
    buf_done(&record);
    cluster_free(cluster);
}

/* Placement repeats itself: a range is born once, and its history survives the second order. */
Test(range_life, creating_a_range_again_changes_nothing) {
    struct cluster *cluster = new_cluster(2, true);
    struct slice key = cluster_key(1, "sum");
    struct buf command = cluster_add(key, 5, SLICE_EMPTY);
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    struct range_status before, after;
    cr_assert(cluster_status(cluster, 1, 1, &before));
    for (uint64_t node = 1; node <= 3; node++)
        range_store_create(cluster_store(cluster, node), cluster_descriptor(cluster, 1), true);
    cluster_run_us(cluster, SECOND);
    cr_assert(cluster_status(cluster, 1, 1, &after));
    cr_assert_eq(after.term, before.term);
    cr_assert_geq(after.applied_index, before.applied_index);
    cr_assert_eq(cluster_read_number(cluster, 1, key), 5);
    buf_done(&command);
    cluster_free(cluster);
}

/* A node that is not among a range's replicas does not get one by mistake. */
Test(range_life, a_range_of_other_nodes_is_not_created) {
    struct cluster *cluster = new_cluster(3, true);
    struct range_descriptor foreign = {0};
    range_descriptor_copy(&foreign, cluster_descriptor(cluster, 1));
    foreign.range_id = 77;
    foreign.replica_count = 1;
    foreign.replicas[0].node_id = 6;
    range_store_create(cluster_store(cluster, 1), &foreign, true);
    cluster_run_us(cluster, SECOND);
    struct range_status status;
    cr_assert(!cluster_status(cluster, 1, 77, &status));
    range_descriptor_done(&foreign);
    cluster_free(cluster);
}

/* Whoever waits when the node stops is told the truth: what was not proposed is refused, what may
 * come true is unknown, and what comes later is refused. */
Test(range_life, a_stopping_node_answers_everybody) {
    struct cluster *cluster = new_cluster(4, true);
    uint64_t leader = cluster_leader(cluster, 1);
    struct buf command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
    struct range_request write = {.kind = RANGE_WRITE,
                                  .range_id = 1,
                                  .timeout_us = 5 * SECOND,
                                  .command = slice_from_buf(&command)};
    cluster_isolate(cluster, leader, true);
    struct cluster_call *proposed = cluster_send(cluster, leader, &write);
    cluster_run_us(cluster, 5000);
    cluster_stop_oracle(cluster, true);
    struct cluster_call *waiting = cluster_send(cluster, leader, &write);
    cluster_run_us(cluster, 1000);
    cr_assert(!proposed->done && !waiting->done);
    range_store_stop(cluster_store(cluster, leader));
    struct cluster_call *late = cluster_send(cluster, leader, &write);
    cluster_run_us(cluster, 5000);
    cr_assert(proposed->done && proposed->reply.code == RANGE_REPLY_UNKNOWN);
    cr_assert(waiting->done && waiting->reply.code == RANGE_REPLY_UNAVAILABLE);
    cr_assert(late->done);
    cr_assert(late->reply.code == RANGE_REPLY_UNAVAILABLE || late->reply.code == RANGE_REPLY_BUSY);
    buf_done(&command);
    cluster_free(cluster);
}

/* Small requests in large frames keep the frames: the memory that they hold is bounded as well. */
Test(range_life, frames_that_requests_borrow_from_are_bounded) {
    enum { KEYS = 3500, COUNT = 8 };
    static struct slice keys[KEYS];
    struct cluster *cluster = new_cluster(5, false);
    uint64_t leader = cluster_leader(cluster, 1);
    uint8_t *key = memory_alloc(TXN_KEY_BYTES_MAX);
    memset(key, 'k', TXN_KEY_BYTES_MAX);
    for (int i = 0; i < KEYS; i++)
        keys[i] = slice_make(key, TXN_KEY_BYTES_MAX);
    struct range_request request = {.kind = RANGE_GET,
                                    .range_id = 1,
                                    .timeout_us = 5 * SECOND,
                                    .key_count = KEYS,
                                    .keys = keys};
    cluster_isolate(cluster, leader, true);
    struct cluster_call *calls[COUNT];
    size_t busy = 0;
    for (int i = 0; i < COUNT; i++) {
        calls[i] = cluster_send(cluster, leader, &request);
        cluster_run_us(cluster, 1000);
        if (calls[i]->done) {
            cr_assert_eq(calls[i]->reply.code, RANGE_REPLY_BUSY);
            busy++;
        }
    }
    size_t frame_bytes = (size_t)KEYS * TXN_KEY_BYTES_MAX;
    cr_assert_gt(busy, 0);
    cr_assert_leq((COUNT - busy - 1) * frame_bytes, RANGE_WORKER_HELD_BYTES_MAX);
    cr_assert_geq((COUNT - busy) * frame_bytes, RANGE_WORKER_HELD_BYTES_MAX);
    cluster_heal(cluster);
    cluster_run_us(cluster, SECOND);
    for (int i = 0; i < COUNT; i++)
        cr_assert(calls[i]->done); /* the leader was deposed: everybody was told */
    const struct range_worker *worker = range_store_worker(cluster_store(cluster, leader), 0);
    cr_assert_eq(worker->clients.held_bytes, 0);
    memory_free(key);
    cluster_free(cluster);
}

/* Proposes a write at the leader, and lets its disk be full when the effects are to be written. */
static void run_into_full_disk(void) {
    struct cluster *cluster = new_cluster(6, true);
    uint64_t leader = cluster_leader(cluster, 1);
    struct buf command = cluster_put(cluster_key(1, "a"), SLICE_LITERAL("value"));
    struct range_request write = {.kind = RANGE_WRITE,
                                  .range_id = 1,
                                  .timeout_us = 5 * SECOND,
                                  .command = slice_from_buf(&command)};
    struct range_worker *worker = range_store_worker(cluster_store(cluster, leader), 0);
    (void)cluster_send(cluster, leader, &write); /* the process is gone before the answer */
    while (!worker->syncing)
        cluster_run_us(cluster, 10);
    while (worker->syncing)
        cluster_run_us(cluster, 10);
    memory_engine_fail_after(cluster_engine(cluster, leader), 0, STATUS_NO_SPACE);
    cluster_run_us(cluster, SECOND);
    _exit(0); /* it went on */
}

/* A replica whose effects cannot be written stops before it says anything more, and the last line
 * of its log says why. */
Test(range_life, a_failed_write_of_effects_stops_the_process) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        log_set_level(LOG_ERROR);
        log_set_fd(ends[1]);
        run_into_full_disk();
    }
    (void)close(ends[1]); /* the child's end; nothing to lose here */
    char text[2048] = {0};
    ssize_t len = read(ends[0], text, sizeof(text) - 1);
    cr_assert_gt(len, 0);
    (void)close(ends[0]); /* read to where it matters */
    int ended = 0;
    cr_assert_eq(waitpid(child, &ended, 0), child);
    cr_assert(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGABRT);
    cr_assert_not_null(strstr(text, "write of effects failed: no space left"), "%s", text);
}
