/* The load engine against a made-up cluster with virtual time: what it repeats, what it records,
 * and what it measures. */
#include <criterion/criterion.h>

#include "base/memory.h"
#include "bench/hot_issuer.h"
#include "bench/key_value.h"

#define PENDING_MAX 64

struct pending {
    router_done_fn *done;
    void *ctx;
    char request_id[64];
    uint32_t client;
    uint64_t deadline_us;
};

struct world {
    uint64_t now_us;
    struct clock clock;
    struct bench_target target;
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    uint64_t submitted;
    struct hot_issuer workload;
    struct bench_load *load;
};

static uint64_t world_now(void *ctx) {
    return ((struct world *)ctx)->now_us;
}

static void world_submit(void *ctx, uint32_t client, const struct router_request *request,
                         router_done_fn *done, void *done_ctx) {
    struct world *world = ctx;
    cr_assert_lt(world->pending_count, PENDING_MAX);
    struct pending *pending = &world->pending[world->pending_count++];
    *pending = (struct pending){
        .done = done, .ctx = done_ctx, .client = client, .deadline_us = request->deadline_us};
    struct slice id = request->command->request_id;
    cr_assert_lt(id.len, sizeof(pending->request_id));
    memcpy(pending->request_id, id.data, id.len);
    world->submitted++;
}

static void world_init(struct world *world, const struct bench_load_config *config) {
    *world = (struct world){.now_us = 1000000};
    world->clock = (struct clock){.ctx = world, .monotonic_us = world_now, .wall_ms = world_now};
    world->target = (struct bench_target){.ctx = world, .submit = world_submit};
    hot_issuer_init(&world->workload, &(struct hot_issuer_config){.issuers = 4,
                                                                  .zipf_exponent = 0.99,
                                                                  .amount_min = 1,
                                                                  .amount_max = 9,
                                                                  .limit = 1000,
                                                                  .seed = 5,
                                                                  .run = 42});
    struct bench_workload workload = hot_issuer_workload(&world->workload);
    world->load = bench_load_new(config, &workload, &world->target, &world->clock);
    bench_load_start(world->load);
}

static void world_done(struct world *world) {
    bench_load_free(world->load);
    hot_issuer_done(&world->workload);
}

/* Answers the oldest outstanding request. */
static void answer(struct world *world, const struct router_reply *reply) {
    cr_assert_gt(world->pending_count, 0);
    struct pending first = world->pending[0];
    world->pending_count--;
    memmove(&world->pending[0], &world->pending[1], world->pending_count * sizeof(first));
    first.done(first.ctx, reply);
    bench_load_step(world->load);
}

static void answer_code(struct world *world, enum router_code code) {
    answer(world, &(struct router_reply){.code = code});
}

static void answer_result(struct world *world, enum txn_result result) {
    struct txn_outcome outcome = {.result = result};
    answer(world, &(struct router_reply){.code = ROUTER_OK, .outcome = &outcome});
}

static void pass_until_due(struct world *world) {
    uint64_t next_us = bench_load_next_us(world->load);
    cr_assert_neq(next_us, UINT64_MAX);
    if (next_us > world->now_us) world->now_us = next_us;
    bench_load_step(world->load);
}

static const struct bench_load_config one_at_a_time = {.clients = 1,
                                                       .in_flight = 1,
                                                       .count = 1,
                                                       .attempt_timeout_us = 2000000,
                                                       .settle_us = 5000000,
                                                       .seed = 1};

static enum ledger_state state_of(struct world *world, size_t n) {
    return world->workload.ledger.entries[n].state;
}

/* Unknown is settled by asking again with the same id, never with a fresh one. */
Test(bench_load, repeats_an_unknown_outcome_with_the_same_request_id) {
    struct world world;
    char id[64];
    world_init(&world, &one_at_a_time);
    memcpy(id, world.pending[0].request_id, sizeof(id));
    answer_code(&world, ROUTER_UNKNOWN);
    cr_expect_eq(world.pending_count, 0, "a pause comes first");
    pass_until_due(&world);
    cr_assert_eq(world.pending_count, 1);
    cr_expect_str_eq(world.pending[0].request_id, id);
    answer_result(&world, TXN_DONE);
    cr_expect(bench_load_finished(world.load));
    cr_expect_eq(state_of(&world, 0), LEDGER_ACKED);
    cr_expect_eq(bench_load_totals(world.load)->retries, 1);
    world_done(&world);
}

Test(bench_load, records_a_refusal_as_decided) {
    struct world world;
    world_init(&world, &one_at_a_time);
    answer_result(&world, TXN_REFUSED_BOUND);
    cr_expect(bench_load_finished(world.load));
    cr_expect_eq(state_of(&world, 0), LEDGER_REFUSED);
    world_done(&world);
}

/* A stale range is nobody's decision: the operation goes on. */
Test(bench_load, repeats_what_was_sent_to_the_wrong_range) {
    struct world world;
    world_init(&world, &one_at_a_time);
    answer_result(&world, TXN_REFUSED_WRONG_RANGE);
    pass_until_due(&world);
    answer_result(&world, TXN_DONE);
    cr_expect_eq(state_of(&world, 0), LEDGER_ACKED);
    world_done(&world);
}

static void give_up_after(struct world *world, enum router_code code) {
    for (int rounds = 0; !bench_load_finished(world->load); rounds++) {
        cr_assert_lt(rounds, 10000);
        if (world->pending_count)
            answer_code(world, code);
        else
            pass_until_due(world);
    }
}

/* Given up is not the same as never happened: one unknown attempt taints the rest. */
Test(bench_load, gives_up_as_unknown_when_any_attempt_was_unknown) {
    struct world world;
    world_init(&world, &one_at_a_time);
    answer_code(&world, ROUTER_UNKNOWN);
    give_up_after(&world, ROUTER_TIMEOUT);
    cr_expect_eq(state_of(&world, 0), LEDGER_UNKNOWN);
    cr_expect_leq(world.now_us, 1000000 + 5000000 + 200000);
    world_done(&world);
}

Test(bench_load, gives_up_as_not_done_when_nothing_changed_every_time) {
    struct world world;
    world_init(&world, &one_at_a_time);
    answer_code(&world, ROUTER_BUSY);
    give_up_after(&world, ROUTER_UNAVAILABLE);
    cr_expect_eq(state_of(&world, 0), LEDGER_NOT_DONE);
    world_done(&world);
}

/* What cannot be mended by trying again ends the run with its reason. */
Test(bench_load, stops_at_an_answer_that_no_retry_mends) {
    struct world world;
    struct bench_load_config config = one_at_a_time;
    config.count = 0;
    world_init(&world, &config);
    answer_result(&world, TXN_REFUSED_EXISTS);
    cr_expect(bench_load_finished(world.load));
    cr_expect_gt(bench_load_failure(world.load).len, 0);
    world_done(&world);
}

Test(bench_load, waits_as_long_as_a_busy_answer_asks) {
    struct world world;
    world_init(&world, &one_at_a_time);
    uint64_t before_us = world.now_us;
    answer(&world, &(struct router_reply){.code = ROUTER_BUSY, .retry_after_us = 300000});
    cr_expect_geq(bench_load_next_us(world.load), before_us + 300000);
    pass_until_due(&world);
    answer_result(&world, TXN_DONE);
    world_done(&world);
}

/* In a closed loop the number in flight is constant and shared evenly by the clients. */
Test(bench_load, keeps_every_client_at_its_number_in_flight) {
    struct world world;
    struct bench_load_config config = one_at_a_time;
    config.clients = 3;
    config.in_flight = 4;
    config.count = 100;
    world_init(&world, &config);
    uint64_t answered = 0;
    while (!bench_load_finished(world.load)) {
        uint32_t of_client[3] = {0};
        for (size_t i = 0; i < world.pending_count; i++)
            of_client[world.pending[i].client]++;
        if (answered + 12 <= 100)
            for (int client = 0; client < 3; client++)
                cr_assert_eq(of_client[client], 4);
        world.now_us += 100;
        answer_result(&world, TXN_DONE);
        answered++;
    }
    cr_expect_eq(answered, 100);
    cr_expect_eq(bench_load_totals(world.load)->done, 100);
    world_done(&world);
}

/* Coordinated omission: a stall of the cluster shows in every request that was due meanwhile. */
Test(bench_load, open_loop_counts_latency_from_when_a_request_was_due) {
    struct world world;
    struct bench_load_config config = one_at_a_time;
    config.rate_per_s = 1000;
    config.count = 100;
    world_init(&world, &config);
    world.now_us += 1000000; /* the first request hangs for a second; 99 more fall due */
    while (!bench_load_finished(world.load)) {
        if (world.pending_count)
            answer_result(&world, TXN_DONE);
        else
            pass_until_due(&world);
    }
    const struct histogram *latency = bench_load_latency(world.load);
    cr_expect_eq(latency->count, 100);
    cr_expect_geq(latency->min, 900000);
    cr_expect_geq(histogram_quantile(latency, 0.5), 940000);
    world_done(&world);
}

/* The pace is the configured one, not faster, when answers are instant. */
Test(bench_load, open_loop_keeps_its_rate) {
    struct world world;
    struct bench_load_config config = one_at_a_time;
    config.rate_per_s = 500;
    config.count = 0;
    config.duration_us = 2000000;
    world_init(&world, &config);
    while (!bench_load_finished(world.load)) {
        if (world.pending_count)
            answer_result(&world, TXN_DONE);
        else
            pass_until_due(&world);
    }
    uint64_t done = bench_load_totals(world.load)->done;
    cr_expect(done >= 999 && done <= 1001, "%lu done in 2 s at 500/s", done);
    world_done(&world);
}

Test(bench_load, measures_the_longest_gap_between_answers) {
    struct world world;
    struct bench_load_config config = one_at_a_time;
    config.count = 0;
    config.duration_us = 10000000;
    world_init(&world, &config);
    uint64_t start_us = world.now_us;
    while (world.now_us < start_us + 9000000) {
        world.now_us += world.now_us < start_us + 4000000 ? 1000 : 2000;
        if (world.now_us >= start_us + 5000000 && world.now_us < start_us + 5001000)
            world.now_us += 750000;
        answer_result(&world, TXN_DONE);
    }
    bench_load_stop(world.load);
    answer_result(&world, TXN_DONE);
    uint64_t gap_us = bench_load_totals(world.load)->gap_us;
    cr_expect(gap_us >= 750000 && gap_us <= 753000, "gap %lu us", gap_us);
    world_done(&world);
}

/* The watched issuer is to be acknowledged: refusals show only that its range serves. They end no
 * watched gap, while they are answers as any other to the longest one. */
Test(bench_load, only_acknowledgements_count_for_what_is_watched) {
    struct world world;
    struct bench_load_config config = one_at_a_time;
    config.count = 0;
    config.duration_us = 10000000;
    world_init(&world, &config);
    for (unsigned i = 0; i < 1000; i++) {
        world.now_us += 1000;
        answer_result(&world, i >= 300 && i < 800 ? TXN_REFUSED_BOUND : TXN_DONE);
    }
    bench_load_stop(world.load);
    answer_result(&world, TXN_DONE);
    const struct bench_totals *totals = bench_load_totals(world.load);
    cr_assert_gt(totals->watched_refused, 0);
    cr_assert_gt(totals->watched, 0);
    cr_expect_geq(totals->watched_gap_us, 500000);
    cr_expect_leq(totals->gap_us, 2000);
    world_done(&world);
}

/* A cluster that stopped answering for good has a gap up to the end. */
Test(bench_load, counts_silence_at_the_end_as_a_gap) {
    struct world world;
    struct bench_load_config config = one_at_a_time;
    config.count = 0;
    config.duration_us = 3000000;
    world_init(&world, &config);
    world.now_us += 500;
    answer_result(&world, TXN_DONE);
    pass_until_due(&world);
    cr_expect(!bench_load_running(world.load));
    cr_expect_geq(bench_load_totals(world.load)->gap_us, 2999000);
    answer_result(&world, TXN_DONE);
    world_done(&world);
}

/* Keys that are popular together must not be neighbours, and every key must have its turn. */
Test(bench_key_value, zipf_keys_scatter_and_are_a_permutation) {
    struct key_value workload;
    key_value_init(&workload, &(struct key_value_config){.keys = 1000,
                                                         .value_bytes = 64,
                                                         .distribution = KEYS_SEQUENTIAL,
                                                         .seed = 1});
    bool seen[1000] = {false};
    for (uint64_t rank = 0; rank < 1000; rank++)
        seen[rank * workload.scatter_factor % 1000] = true;
    for (int key = 0; key < 1000; key++)
        cr_expect(seen[key], "key %d is never chosen", key);
    cr_expect_gt(workload.scatter_factor, 100);
    key_value_done(&workload);
}

static struct slice value_of_put(struct key_value *workload, uint64_t sequence) {
    struct router_request request = {0};
    struct bench_workload run = key_value_workload(workload);
    run.request(run.ctx, &(struct bench_op){.subject = 7, .entry = sequence}, &request);
    return request.command->ops[0].value;
}

/* Values of every length name their key, and tell one write from the next however short they are.
 */
Test(bench_key_value, the_shortest_values_still_tell_writes_apart) {
    struct key_value workload;
    key_value_init(&workload, &(struct key_value_config){
                                  .keys = 10, .value_bytes = KEY_VALUE_BYTES_MIN, .seed = 1});
    cr_expect(slice_equal(value_of_put(&workload, 5), SLICE_LITERAL("000000007 5 ....")));
    cr_expect(slice_equal(value_of_put(&workload, 12345), SLICE_LITERAL("000000007 12345 ")));
    cr_expect(slice_equal(value_of_put(&workload, 9876543210), SLICE_LITERAL("000000007 43210 ")));
    key_value_done(&workload);
    key_value_init(&workload, &(struct key_value_config){.keys = 10, .value_bytes = 20, .seed = 1});
    cr_expect(slice_equal(value_of_put(&workload, 12345), SLICE_LITERAL("000000007 12345 ....")));
    key_value_done(&workload);
}

static void check_row(struct key_value *workload, struct key_value_check *check, const char *key,
                      const char *value) {
    key_value_check_row(workload, check, slice_from_text(key), slice_from_text(value));
}

/* The scan at the end of a put run must notice both a missing key and a foreign value. */
Test(bench_key_value, final_check_finds_missing_and_foreign_values) {
    struct key_value workload;
    struct key_value_check check = {0};
    key_value_init(&workload, &(struct key_value_config){.keys = 10, .value_bytes = 64, .seed = 1});
    struct bench_workload preload = key_value_preload(&workload);
    struct bench_op op = {0};
    while (preload.next(preload.ctx, &op))
        preload.decided(preload.ctx, &op, BENCH_DONE);
    check_row(&workload, &check, "kv/000000000", "000000000 5 ...");
    check_row(&workload, &check, "kv/000000001", "000000002 5 ...");
    check_row(&workload, &check, "kv/000000003", "000000003 5 ...");
    key_value_check_finish(&workload, &check);
    cr_expect_eq(check.present, 2);
    cr_expect_eq(check.malformed, 1);
    cr_expect_eq(check.lost, 8, "lost %lu", check.lost); /* 1 and 2, and 4 to 9 */
    key_value_done(&workload);
}

/* An acknowledged key that reads as absent is a loss, and ends the run. */
Test(bench_key_value, reads_demand_what_was_acknowledged) {
    struct key_value workload;
    struct buf error = {0};
    enum bench_outcome outcome;
    key_value_init(&workload, &(struct key_value_config){
                                  .keys = 1, .value_bytes = 64, .read_percent = 100, .seed = 1});
    struct bench_workload run = key_value_workload(&workload);
    struct bench_op read = {0}, write = {0};
    struct range_row absent = {0};
    struct router_reply reply = {.row_count = 1, .rows = &absent};
    cr_assert(run.next(run.ctx, &read));
    cr_expect(run.judge(run.ctx, &read, &reply, &outcome, &error), "nobody wrote it yet");
    run.decided(run.ctx, &write, BENCH_DONE);
    cr_assert(run.next(run.ctx, &read));
    cr_expect(!run.judge(run.ctx, &read, &reply, &outcome, &error));
    cr_expect_gt(error.len, 0);
    buf_done(&error);
    key_value_done(&workload);
}

static bool judge_rows(struct key_value *workload, bool must_exist, const struct range_row *rows,
                       uint32_t count) {
    struct bench_workload run = key_value_workload(workload);
    struct bench_op read = {.subject = 3, .read = true, .must_exist = must_exist};
    struct router_reply reply = {.row_count = count, .rows = rows};
    struct buf error = {0};
    enum bench_outcome outcome;
    bool good = run.judge(run.ctx, &read, &reply, &outcome, &error);
    cr_expect_eq(good, error.len == 0);
    buf_done(&error);
    return good;
}

static struct range_row row_of(const char *key, const char *value) {
    return (struct range_row){
        .key = slice_from_text(key), .value = slice_from_text(value), .version = 1};
}

/* Each kind of wrong rows in a scan must end the run; a scan whose first key nobody wrote may begin
 * later. */
Test(bench_key_value, scans_are_judged_row_by_row) {
    struct key_value workload;
    struct range_row three = row_of("kv/000000003", "000000003 1 ..");
    struct range_row four = row_of("kv/000000004", "000000004 1 ..");
    struct range_row five = row_of("kv/000000005", "000000005 1 ..");
    key_value_init(
        &workload,
        &(struct key_value_config){
            .keys = 10, .value_bytes = 64, .read_percent = 100, .scan_rows = 2, .seed = 1});
    cr_expect(judge_rows(&workload, true, (struct range_row[]){three, five}, 2));
    cr_expect(judge_rows(&workload, false, (struct range_row[]){four}, 1));
    cr_expect(judge_rows(&workload, false, NULL, 0));
    cr_expect(!judge_rows(&workload, true, NULL, 0), "what was acknowledged is missing");
    cr_expect(!judge_rows(&workload, true, (struct range_row[]){four}, 1), "begins too late");
    cr_expect(!judge_rows(&workload, false, (struct range_row[]){five, four}, 2), "out of order");
    cr_expect(!judge_rows(&workload, false, (struct range_row[]){four, four}, 2), "twice the same");
    cr_expect(!judge_rows(&workload, false, (struct range_row[]){three, four, five}, 3),
              "too many");
    struct range_row before = row_of("kv/000000002", "000000002 1 ..");
    cr_expect(!judge_rows(&workload, false, &before, 1), "before its start");
    struct range_row foreign = row_of("kv/000000004", "000000005 1 ..");
    cr_expect(!judge_rows(&workload, false, &foreign, 1), "another key's value");
    struct range_row shapeless = row_of("kv/4", "000000004 1 ..");
    cr_expect(!judge_rows(&workload, false, &shapeless, 1), "no key of this workload");
    key_value_done(&workload);
}
