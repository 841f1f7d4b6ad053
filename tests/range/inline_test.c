/* The network's thread takes turns for idle workers, beside their own threads: real threads, the
 * engine in memory, one replica per range. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

#include "base/log.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "range/worker.h"
#include "storage/memory_engine.h"
#include "tests/range/cluster.h"

#define WORKERS 2u
#define RANGES 4u
#define PATIENCE_US 20000000u
/* Beyond all patience: no tick comes to the help of a worker that was not woken. */
#define TICK_US (10 * PATIENCE_US)

struct bed {
    struct storage_engine *engine;
    struct range_store *store;
    pthread_t threads[WORKERS];
    struct range_session session;
    _Atomic uint32_t asked[WORKERS]; /* timestamps that the oracle owes */
    uint64_t next_timestamp;
    _Atomic uint32_t replies, refused;
    uint64_t next_call_id;
};

static struct bed bed;

static void send_nothing(void *ctx, uint64_t to_node, struct slice frame) {
    (void)ctx, (void)to_node, (void)frame; /* there is no other node */
}

static void ask(void *ctx, uint32_t worker, uint32_t count) {
    (void)ctx;
    atomic_fetch_add(&bed.asked[worker], count);
}

static void count_replies(struct range_session *session, struct slice frame) {
    (void)session;
    struct decoder calls;
    struct slice call;
    cr_assert_eq(range_frame_open(frame, &calls), STATUS_OK);
    while (range_frame_next(&calls, &call)) {
        struct arena arena;
        struct range_descriptor descriptor = {0};
        struct range_reply reply;
        arena_init(&arena, 0);
        cr_assert_eq(range_reply_decode(call, &arena, &descriptor, &reply), STATUS_OK);
        if (reply.code != RANGE_REPLY_OK) atomic_fetch_add(&bed.refused, 1);
        atomic_fetch_add(&bed.replies, 1);
        range_descriptor_done(&descriptor);
        arena_done(&arena);
    }
}

static void no_count(struct range_session *session) {
    (void)session; /* it is static */
}

static void *run_worker(void *worker) {
    range_worker_run(worker);
    return NULL;
}

static void create_range(uint64_t range_id) {
    struct range_descriptor descriptor = {
        .range_id = range_id,
        .epoch = {1, 1},
        .next_replica_id = 2,
        .replica_count = 1,
        .replicas = {{.replica_id = 1, .node_id = 1, .role = RANGE_VOTER}}};
    if (range_id > 1) buf_append(&descriptor.start, cluster_key(range_id, ""));
    if (range_id < RANGES) buf_append(&descriptor.end, cluster_key(range_id + 1, ""));
    range_store_create(bed.store, &descriptor, true);
    range_descriptor_done(&descriptor);
}

static void answer_oracle(void) {
    for (uint32_t i = 0; i < WORKERS; i++) {
        uint32_t count = atomic_exchange(&bed.asked[i], 0);
        if (count == 0) continue;
        range_store_timestamps(bed.store, i, bed.next_timestamp, count);
        bed.next_timestamp += count;
    }
}

/* What the loop of a node does between two waits. */
static void one_loop_turn(void) {
    answer_oracle();
    range_store_run_inline(bed.store);
}

static void await(bool (*condition)(uint64_t wanted), uint64_t wanted, const char *what) {
    uint64_t until_us = clock_monotonic_us(clock_system()) + PATIENCE_US;
    while (!condition(wanted)) {
        cr_assert_lt(clock_monotonic_us(clock_system()), until_us, "%s", what);
        one_loop_turn();
        sched_yield();
    }
}

static bool all_led(uint64_t wanted) {
    return range_store_leader_count(bed.store) == wanted;
}

static bool all_answered(uint64_t wanted) {
    return atomic_load(&bed.replies) == wanted;
}

static void set_up(void) {
    log_set_level(LOG_NONE);
    static struct range_transport transport = {.send_raft = send_nothing,
                                               .send_snapshot = send_nothing};
    static struct range_oracle oracle = {.request = ask};
    struct range_store_config config = {.node_id = 1,
                                        .workers = WORKERS,
                                        .tick_us = TICK_US,
                                        .heartbeat_ticks = 5,
                                        .election_ticks = 15,
                                        .quiesce_ticks = 15,
                                        .lease_reads = true,
                                        .lease_drift_ppm = 10000,
                                        .log_entries_kept = 100,
                                        .log_bytes_kept = 1 << 20,
                                        .snapshot_bytes_per_s = 1 << 20,
                                        .seed = 7};
    struct buf error = {0};
    bed = (struct bed){.next_timestamp = 1000, .next_call_id = 1};
    bed.session =
        (struct range_session){.send = count_replies, .retain = no_count, .release = no_count};
    bed.engine = memory_engine_new();
    cr_assert_eq(range_store_open(&config, bed.engine, &transport, &oracle, clock_system(), &error,
                                  &bed.store),
                 STATUS_OK);
    for (uint32_t i = 0; i < WORKERS; i++)
        cr_assert_eq(
            pthread_create(&bed.threads[i], NULL, run_worker, range_store_worker(bed.store, i)), 0);
    range_store_inline_begin(bed.store);
    for (uint64_t id = 1; id <= RANGES; id++)
        create_range(id);
    await(all_led, RANGES, "every range is led");
}

static void tear_down(void) {
    range_store_inline_end(bed.store);
    range_store_stop(bed.store);
    for (uint32_t i = 0; i < WORKERS; i++)
        cr_assert_eq(pthread_join(bed.threads[i], NULL), 0);
    range_store_free(bed.store);
    storage_close(bed.engine);
}

TestSuite(range_inline, .init = set_up, .fini = tear_down, .timeout = 120);

static void put(uint64_t range_id, uint32_t count) {
    struct buf frame = {0};
    range_frame_begin(&frame);
    for (uint32_t i = 0; i < count; i++) {
        struct buf command = cluster_put(cluster_key(range_id, "key"), SLICE_LITERAL("value"));
        struct range_request request = {.call_id = bed.next_call_id++,
                                        .kind = RANGE_WRITE,
                                        .range_id = range_id,
                                        .epoch = {1, 1},
                                        .timeout_us = PATIENCE_US,
                                        .command = slice_from_buf(&command)};
        range_request_encode(&frame, &request);
        buf_done(&command);
    }
    cr_assert_eq(range_store_requests(bed.store, &bed.session, slice_from_buf(&frame)), STATUS_OK);
    buf_done(&frame);
}

/* The point of it: one write at a time is done by the thread that hands it in, but for what a
 * worker's own tick happens to pick up. */
Test(range_inline, a_lone_write_wakes_nobody) {
    int64_t before = atomic_load(&metric_range_inline_turns_total.value);
    for (uint32_t i = 1; i <= 200; i++) {
        put(1 + i % RANGES, 1);
        await(all_answered, i, "a write is answered");
    }
    cr_assert_eq(bed.refused, 0);
    /* Admission and timestamp of each are two turns. */
    cr_assert_gt(atomic_load(&metric_range_inline_turns_total.value) - before, 200);
}

/* Whichever thread takes which turn, nothing waits for ever and nothing is done twice: bursts that
 * are left to the workers, and single writes in between. */
Test(range_inline, both_threads_take_turns_and_nothing_is_forgotten) {
    uint32_t sent = 0;
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t count = i % 3 ? 1 : 100;
        put(1 + i % RANGES, count);
        sent += count;
        one_loop_turn();
        if (i % 5 == 0) await(all_answered, sent, "a burst is answered");
    }
    await(all_answered, sent, "all is answered");
    cr_assert_eq(bed.refused, 0);
    cr_assert_gt(atomic_load(&metric_range_turns_total.value),
                 atomic_load(&metric_range_inline_turns_total.value));
}

/* Others still wake the worker, who needs nobody's help then. */
static void *put_alone(void *ctx) {
    (void)ctx;
    put(1, 1);
    return NULL;
}

static bool worker_has_asked(uint64_t wanted) {
    return atomic_load(&bed.asked[1]) >= wanted;
}

Test(range_inline, what_another_thread_hands_in_wakes_the_worker) {
    pthread_t thread;
    int64_t inlined = atomic_load(&metric_range_inline_turns_total.value);
    cr_assert_eq(pthread_create(&thread, NULL, put_alone, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    uint64_t until_us = clock_monotonic_us(clock_system()) + PATIENCE_US;
    while (!worker_has_asked(1)) {
        cr_assert_lt(clock_monotonic_us(clock_system()), until_us);
        sched_yield();
    }
    cr_assert_eq(atomic_load(&metric_range_inline_turns_total.value), inlined);
    await(all_answered, 1, "the write is answered");
}

/* A range whose network has stopped is served by its own thread. */
Test(range_inline, workers_go_on_alone_after_the_end) {
    put(1, 1);
    range_store_inline_end(bed.store);
    uint64_t until_us = clock_monotonic_us(clock_system()) + PATIENCE_US;
    while (!all_answered(1)) {
        cr_assert_lt(clock_monotonic_us(clock_system()), until_us);
        answer_oracle();
        sched_yield();
    }
}
