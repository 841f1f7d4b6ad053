#include <stdio.h>

#include "tests/txn/harness.h"

static struct txn_outcome run_put(struct range_under_test *range, const char *key,
                                  const char *value) {
    struct build build;
    build_begin(&build, "");
    build_put(&build, key, value);
    return range_run(range, &build);
}

static struct txn_outcome run_add(struct range_under_test *range, const char *request_id,
                                  const char *key, int64_t delta, int64_t maximum) {
    struct build build;
    build_begin(&build, request_id);
    build_add(&build, key, delta, 0, maximum);
    return range_run(range, &build);
}

/* Effects carry the command's timestamp and are there after the round's batch is written. */
Test(txn_evaluate, writes_all_operations_at_the_commit_timestamp) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    build_begin(&build, "");
    build_put(&build, "a", "1");
    build_insert(&build, "b", "2");
    build_add(&build, "c", 7, INT64_MIN, INT64_MAX);
    struct txn_outcome outcome = range_run(&range, &build);
    range_end_round(&range);
    cr_assert_eq(outcome.result, TXN_DONE);
    cr_assert(outcome.number_count == 1 && outcome.numbers[0] == 7);
    cr_assert_str_eq(range_value(&range, "a"), "1");
    cr_assert_str_eq(range_value(&range, "b"), "2");
    cr_assert_str_eq(range_value(&range, "c"), "7");
    cr_assert_eq(range_version(&range, "a"), outcome.commit_ts);
    cr_assert_eq(range_version(&range, "c"), outcome.commit_ts);
    range_done(&range);
}

/* One refused operation leaves no trace of those before it. */
Test(txn_evaluate, does_all_or_nothing) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    (void)run_put(&range, "taken", "x");
    range_end_round(&range);
    uint64_t before = range_hash(&range);
    build_begin(&build, "");
    build_put(&build, "a", "1");
    build_add(&build, "n", 5, 0, 10);
    build_delete(&build, "taken");
    build_insert(&build, "taken", "y"); /* fine: deleted just before */
    build_insert(&build, "taken", "z"); /* not any more */
    struct txn_outcome outcome = range_run(&range, &build);
    range_end_round(&range);
    cr_assert_eq(outcome.result, TXN_REFUSED_EXISTS);
    cr_assert_eq(outcome.index, 4);
    cr_assert_eq(outcome.number_count, 0);
    cr_assert_eq(range_hash(&range), before);
    range_done(&range);
}

/* Operations of a command see each other; the key gets one version, the last. */
Test(txn_evaluate, operations_on_one_key_see_each_other) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    build_begin(&build, "");
    build_put(&build, "n", "10");
    build_add(&build, "n", 5, 0, 100);
    build_add(&build, "n", -1, 0, 100);
    build_put(&build, "gone", "x");
    build_delete(&build, "gone");
    struct txn_outcome outcome = range_run(&range, &build);
    range_end_round(&range);
    cr_assert_eq(outcome.result, TXN_DONE);
    cr_assert(outcome.number_count == 2 && outcome.numbers[0] == 15 && outcome.numbers[1] == 14);
    cr_assert_str_eq(range_value(&range, "n"), "14");
    cr_assert_null(range_value(&range, "gone"));
    cr_assert_eq(range_version(&range, "gone"), 0, "what never was there needs no tombstone");
    range_done(&range);
}

/* Later commands of a round see earlier ones before anything is in the engine. */
Test(txn_evaluate, commands_of_a_round_see_each_other) {
    struct range_under_test range;
    range_init(&range);
    for (int64_t i = 1; i <= 1000; i++) {
        struct txn_outcome outcome = run_add(&range, "", "exposure", 1, 900);
        cr_assert_eq(outcome.result, i <= 900 ? TXN_DONE : TXN_REFUSED_BOUND);
        if (i <= 900) cr_assert_eq(outcome.numbers[0], i);
        if (i > 900) cr_assert_eq(outcome.number, 900);
    }
    range_end_round(&range);
    cr_assert_str_eq(range_value(&range, "exposure"), "900");
    range_done(&range);
}

/* Each kind of guard, when it holds and when it does not, before and after the round's write. */
Test(txn_evaluate, guards_say_which_of_them_fails) {
    for (int written = 0; written < 2; written++) {
        struct range_under_test range;
        range_init(&range);
        uint64_t version = run_put(&range, "k", "v").commit_ts;
        struct build del;
        (void)run_put(&range, "dead", "v");
        build_begin(&del, "");
        build_delete(&del, "dead");
        uint64_t deleted = range_run(&range, &del).commit_ts;
        if (written) range_end_round(&range);
        struct build holds, fails;
        build_begin(&holds, "");
        build_guard(&holds, TXN_GUARD_EXISTS, "k");
        build_guard(&holds, TXN_GUARD_ABSENT, "dead");
        build_guard(&holds, TXN_GUARD_ABSENT, "never");
        build_equals(&holds, "k", "v");
        build_version(&holds, "k", version);
        build_version(&holds, "dead", 0);
        build_version(&holds, "never", 0);
        build_unchanged(&holds, "k", "", version);
        build_unchanged(&holds, "e", "z", version);
        build_unchanged(&holds, "a", "z", deleted);
        build_unchanged(&holds, "k0", "z", 0);
        cr_assert_eq(range_run(&range, &holds).result, TXN_DONE);
        static const int kinds = 10;
        for (int kind = 0; kind < kinds; kind++) {
            build_begin(&fails, "");
            build_guard(&fails, TXN_GUARD_EXISTS, "k");
            if (kind == 0) build_guard(&fails, TXN_GUARD_EXISTS, "never");
            if (kind == 1) build_guard(&fails, TXN_GUARD_EXISTS, "dead");
            if (kind == 2) build_guard(&fails, TXN_GUARD_ABSENT, "k");
            if (kind == 3) build_equals(&fails, "k", "w");
            if (kind == 4) build_equals(&fails, "never", "");
            if (kind == 5) build_version(&fails, "k", version - 1);
            if (kind == 6) build_version(&fails, "k", 0);
            if (kind == 7) build_unchanged(&fails, "k", "", version - 1);
            if (kind == 8) build_unchanged(&fails, "a", "e", deleted - 1); /* a deletion counts */
            if (kind == 9) build_unchanged(&fails, "a", "l", version - 1);
            build_put(&fails, "k", "changed");
            struct txn_outcome outcome = range_run(&range, &fails);
            cr_expect_eq(outcome.result, TXN_REFUSED_GUARD, "kind %d", kind);
            cr_expect_eq(outcome.index, 1, "kind %d", kind);
        }
        range_end_round(&range);
        cr_assert_str_eq(range_value(&range, "k"), "v");
        range_done(&range);
    }
}

/* Add: text that is no number, sums beyond 64 bits and sums beyond the bounds are three refusals.
 */
Test(txn_evaluate, add_refuses_what_it_cannot_do_exactly) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    (void)run_put(&range, "word", "seven");
    (void)run_put(&range, "big", "9223372036854775807");
    struct txn_outcome outcome = run_add(&range, "", "word", 1, 10);
    cr_assert(outcome.result == TXN_REFUSED_NOT_A_NUMBER && outcome.index == 0);
    build_begin(&build, "");
    build_add(&build, "big", 1, INT64_MIN, INT64_MAX);
    cr_assert_eq(range_run(&range, &build).result, TXN_REFUSED_OVERFLOW);
    build_begin(&build, "");
    build_add(&build, "low", INT64_MIN, INT64_MIN, INT64_MAX);
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    build_begin(&build, "");
    build_add(&build, "low", -1, INT64_MIN, INT64_MAX);
    cr_assert_eq(range_run(&range, &build).result, TXN_REFUSED_OVERFLOW);
    build_begin(&build, "");
    build_add(&build, "fresh", -1, 0, 10);
    outcome = range_run(&range, &build);
    cr_assert(outcome.result == TXN_REFUSED_BOUND && outcome.number == 0);
    cr_assert_eq(run_add(&range, "", "fresh", 10, 10).result, TXN_DONE);
    outcome = run_add(&range, "", "fresh", 1, 10);
    cr_assert(outcome.result == TXN_REFUSED_BOUND && outcome.number == 10);
    range_done(&range);
}

/* A retry gets the first attempt's outcome and changes nothing, in the same round or after it. */
Test(txn_evaluate, a_request_id_is_done_once) {
    struct range_under_test range;
    range_init(&range);
    struct txn_outcome first = run_add(&range, "R-1", "exposure", 5, 100);
    struct txn_outcome same_round = run_add(&range, "R-1", "exposure", 5, 100);
    range_end_round(&range);
    struct txn_outcome later = run_add(&range, "R-1", "exposure", 5, 100);
    range_end_round(&range);
    cr_assert(!first.replayed && same_round.replayed && later.replayed);
    cr_assert(same_round.result == TXN_DONE && later.result == TXN_DONE);
    cr_assert(same_round.commit_ts == first.commit_ts && later.commit_ts == first.commit_ts);
    cr_assert(later.number_count == 1 && later.numbers[0] == 5);
    cr_assert_str_eq(range_value(&range, "exposure"), "5");
    range_done(&range);
}

/* A refusal binds as well: a delayed first attempt must not succeed after its retry was refused. */
Test(txn_evaluate, a_refused_request_id_stays_refused) {
    struct range_under_test range;
    range_init(&range);
    struct build release;
    (void)run_add(&range, "", "exposure", 100, 100);
    cr_assert_eq(run_add(&range, "R-2", "exposure", 1, 100).result, TXN_REFUSED_BOUND);
    build_begin(&release, "");
    build_add(&release, "exposure", -50, 0, 100);
    cr_assert_eq(range_run(&range, &release).result, TXN_DONE);
    range_end_round(&range);
    struct txn_outcome delayed = run_add(&range, "R-2", "exposure", 1, 100);
    cr_assert(delayed.result == TXN_REFUSED_BOUND && delayed.replayed && delayed.number == 100);
    range_end_round(&range);
    cr_assert_str_eq(range_value(&range, "exposure"), "50");
    range_done(&range);
}

/* The same id for another request is an error of the client, told as such, and the record of the
 * first stays. */
Test(txn_evaluate, a_reused_request_id_is_refused_and_keeps_the_record) {
    struct range_under_test range;
    range_init(&range);
    cr_assert_eq(run_add(&range, "R-3", "exposure", 5, 100).result, TXN_DONE);
    struct txn_outcome reused = run_add(&range, "R-3", "exposure", 6, 100);
    cr_assert(reused.result == TXN_REFUSED_REQUEST_ID_REUSED && !reused.replayed);
    struct txn_outcome retried = run_add(&range, "R-3", "exposure", 5, 100);
    cr_assert(retried.result == TXN_DONE && retried.replayed);
    range_end_round(&range);
    cr_assert_str_eq(range_value(&range, "exposure"), "5");
    range_done(&range);
}

/* The window is measured between commit timestamps: to the last millisecond it binds, then not. */
Test(txn_evaluate, request_records_expire_by_commit_timestamps) {
    struct range_under_test range;
    range_init(&range);
    uint64_t first_ms = 5000, last_ms = first_ms + TXN_REQUEST_WINDOW_MS;
    range.next_ts = first_ms << MVCC_TS_COUNTER_BITS;
    (void)run_add(&range, "R-4", "exposure", 5, 100);
    range_end_round(&range);
    range.next_ts = (last_ms << MVCC_TS_COUNTER_BITS) | 0x3ffff;
    cr_assert(run_add(&range, "R-4", "exposure", 5, 100).replayed);
    range.next_ts = (last_ms + 1) << MVCC_TS_COUNTER_BITS;
    struct txn_outcome again = run_add(&range, "R-4", "exposure", 5, 100);
    cr_assert(!again.replayed && again.result == TXN_DONE);
    cr_assert(run_add(&range, "R-4", "exposure", 5, 100).replayed, "the new record binds");
    range_end_round(&range);
    cr_assert_str_eq(range_value(&range, "exposure"), "10");
    range_done(&range);
}

static struct txn_outcome run_insert(struct range_under_test *range, const char *request_id,
                                     const char *key, const char *value) {
    struct build build;
    build_begin(&build, request_id);
    build_add(&build, "exposure", 5, 0, 100);
    build_insert(&build, key, value);
    return range_run(range, &build);
}

/* The record of an insert may be in the oldest row of its key, which may be large though all later
 * ones are small: reading it counts as work of the round, in which many could be read. */
Test(txn_evaluate, the_oldest_row_that_an_insert_looks_into_counts) {
    static char large[512 * 1024];
    struct range_under_test range;
    struct build build;
    memset(large, 'v', sizeof(large) - 1);
    range_init(&range);
    cr_assert_eq(run_put(&range, "k", large).result, TXN_DONE);
    build_begin(&build, "");
    build_delete(&build, "k");
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    range_end_round(&range);
    build_begin(&build, "id");
    build_insert(&build, "k", "small");
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    cr_expect_geq(txn_apply_round_steps(range.apply), 500);
    range_done(&range);
}

static bool has_records(struct range_under_test *range) {
    struct storage_iterator *iterator =
        storage_iterator_new(range->engine, NULL, STORAGE_META, SLICE_EMPTY, SLICE_EMPTY);
    storage_iterator_seek_first(iterator);
    bool any = storage_iterator_valid(iterator);
    storage_iterator_free(iterator);
    return any;
}

/* The record of a reservation costs no row of its own, and what becomes of the reservation later
 * does not hide it. */
Test(txn_evaluate, the_record_of_an_insert_lies_in_its_row) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    struct txn_outcome first = run_insert(&range, "R-10", "reservation", "17");
    cr_assert(run_insert(&range, "R-10", "reservation", "17").replayed, "in the same round");
    range_end_round(&range);
    cr_assert(first.result == TXN_DONE && !first.replayed && !has_records(&range));
    cr_assert_str_eq(range_value(&range, "reservation"), "17");

    for (int step = 0; step < 3; step++) { /* as it was written, overwritten, deleted */
        build_begin(&build, "");
        if (step == 1) build_put(&build, "reservation", "18");
        if (step == 2) build_delete(&build, "reservation");
        if (step > 0) cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
        struct txn_outcome retried = run_insert(&range, "R-10", "reservation", "17");
        cr_assert(retried.result == TXN_DONE && retried.replayed, "step %d", step);
        cr_assert(retried.commit_ts == first.commit_ts && retried.numbers[0] == 5);
        range_end_round(&range);
        retried = run_insert(&range, "R-10", "reservation", "17");
        cr_assert(retried.result == TXN_DONE && retried.replayed, "step %d, later", step);
        cr_assert_eq(run_insert(&range, "R-10", "reservation", "19").result,
                     TXN_REFUSED_REQUEST_ID_REUSED);
    }
    range_end_round(&range);
    cr_assert_str_eq(range_value(&range, "exposure"), "5");
    range_done(&range);
}

/* Only the first version of a key can hold a record: of later ones nobody would find it. */
Test(txn_evaluate, an_insert_after_a_deletion_is_recorded_beside_the_row) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    cr_assert_eq(run_insert(&range, "R-11", "reservation", "17").result, TXN_DONE);
    build_begin(&build, "");
    build_delete(&build, "reservation");
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    range_end_round(&range);
    cr_assert_eq(run_insert(&range, "R-12", "reservation", "18").result, TXN_DONE);
    range_end_round(&range);
    cr_assert(has_records(&range));
    cr_assert(run_insert(&range, "R-12", "reservation", "18").replayed);
    cr_assert(run_insert(&range, "R-11", "reservation", "17").replayed);
    range_end_round(&range);
    cr_assert_str_eq(range_value(&range, "reservation"), "18");
    range_done(&range);
}

/* Inserted and deleted by one command, the key has no row that could hold the record. */
Test(txn_evaluate, an_insert_without_a_row_is_recorded_too) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    build_begin(&build, "R-13");
    build_add(&build, "exposure", 5, 0, 100);
    build_insert(&build, "reservation", "17");
    build_delete(&build, "reservation");
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    range_end_round(&range);
    cr_assert(range_run(&range, &build).replayed);
    range_end_round(&range);
    cr_assert_str_eq(range_value(&range, "exposure"), "5");
    range_done(&range);
}

/* A refused attempt that has expired must not stand before a later one, which the row records. */
Test(txn_evaluate, an_expired_refusal_does_not_hide_the_record_in_the_row) {
    struct range_under_test range;
    range_init(&range);
    uint64_t first_ms = 5000;
    range.next_ts = first_ms << MVCC_TS_COUNTER_BITS;
    (void)run_add(&range, "", "exposure", 100, 100);
    cr_assert_eq(run_insert(&range, "R-14", "reservation", "17").result, TXN_REFUSED_BOUND);
    range_end_round(&range);
    range.next_ts = (first_ms + TXN_REQUEST_WINDOW_MS + 1) << MVCC_TS_COUNTER_BITS;
    (void)run_put(&range, "exposure", "0");
    cr_assert_eq(run_insert(&range, "R-14", "reservation", "17").result, TXN_DONE);
    range_end_round(&range);
    struct txn_outcome retried = run_insert(&range, "R-14", "reservation", "17");
    cr_assert(retried.result == TXN_DONE && retried.replayed);
    range_done(&range);
}

/* What rounds remember of keys that change often must go when a snapshot is installed. */
Test(txn_evaluate, what_was_remembered_can_be_forgotten) {
    struct range_under_test range;
    range_init(&range);
    for (int i = 0; i < 3; i++) {
        (void)run_add(&range, "", "exposure", 5, 100);
        range_end_round(&range);
    }
    mvcc_put(range.batch, text("exposure"), range.next_ts++, text("50"));
    cr_assert_eq(storage_write(range.engine, range.batch, STORAGE_BUFFERED), STATUS_OK);
    storage_batch_clear(range.batch);
    txn_apply_forget(range.apply);
    cr_assert_eq(run_add(&range, "", "exposure", 5, 100).numbers[0], 55);
    range_end_round(&range);
    range_done(&range);
}

/* A write that reads nothing, and one that does not fit, change what is remembered, too. */
Test(txn_evaluate, remembered_values_follow_every_write) {
    struct range_under_test range;
    range_init(&range);
    for (int i = 0; i < 3; i++) {
        (void)run_add(&range, "", "exposure", 5, 100);
        range_end_round(&range);
    }
    (void)run_put(&range, "exposure", "20");
    range_end_round(&range);
    cr_assert_eq(run_add(&range, "", "exposure", 5, 100).numbers[0], 25);
    range_end_round(&range);
    char large[100] = "";
    memset(large, '7', sizeof(large) - 1);
    (void)run_put(&range, "exposure", large);
    range_end_round(&range);
    cr_assert_eq(run_add(&range, "", "exposure", 5, 100).result, TXN_REFUSED_NOT_A_NUMBER);
    struct build build;
    build_begin(&build, "");
    build_delete(&build, "exposure");
    (void)range_run(&range, &build);
    range_end_round(&range);
    cr_assert_eq(run_add(&range, "", "exposure", 5, 100).numbers[0], 5);
    range_done(&range);
}

/* Keys that moved away refuse the command without a record, except that a command already done is
 * still answered where its anchor is. */
Test(txn_evaluate, wrong_range_is_never_recorded) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    build_begin(&build, "R-5");
    build_put(&build, "b", "1");
    build_put(&build, "x", "2");
    struct build other = build;
    other.command.request_id = text("R-6");
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    range_end_round(&range);

    range.span = (struct txn_span){.start = text("a"), .end = text("m")};
    struct txn_outcome retried = range_run(&range, &build);
    cr_assert(retried.result == TXN_DONE && retried.replayed);
    cr_assert_eq(range_run(&range, &other).result, TXN_REFUSED_WRONG_RANGE);
    range.span = (struct txn_span){.start = text("m")};
    cr_assert_eq(range_run(&range, &other).result, TXN_REFUSED_WRONG_RANGE);
    range.span = (struct txn_span){0};
    struct txn_outcome whole = range_run(&range, &other);
    cr_assert(whole.result == TXN_DONE && !whole.replayed);
    range_done(&range);
}

/* Guards alone with a request id: the answer is recorded next to the first guard. */
Test(txn_evaluate, guards_alone_can_be_asked_once) {
    struct range_under_test range;
    struct build build;
    range_init(&range);
    build_begin(&build, "Q");
    build_guard(&build, TXN_GUARD_ABSENT, "k");
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    (void)run_put(&range, "k", "v");
    struct txn_outcome again = range_run(&range, &build);
    cr_assert(again.result == TXN_DONE && again.replayed);
    range_done(&range);
}

/* A log entry is gone after its evaluation; what the round remembers of it must not be. */
Test(txn_evaluate, long_values_outlive_their_command_within_a_round) {
    static const char *const value = "a value that is longer than any number could be";
    struct range_under_test range;
    struct build build;
    range_init(&range);
    (void)run_put(&range, "k", value);
    build_begin(&build, "");
    build_equals(&build, "k", value);
    cr_assert_eq(range_run(&range, &build).result, TXN_DONE);
    range_done(&range);
}

/* A failing engine stops the evaluation with its status at every read, and nothing is half done. */
Test(txn_evaluate, engine_failures_come_through) {
    for (uint64_t countdown = 0; countdown < 4; countdown++) {
        struct range_under_test range;
        struct build build;
        range_init(&range);
        (void)run_put(&range, "k", "5");
        range_end_round(&range);
        build_begin(&build, "id");
        build_guard(&build, TXN_GUARD_EXISTS, "k");
        build_unchanged(&build, "x", "y", 0);
        build_add(&build, "n", 1, 0, 10);
        struct buf encoded = {0};
        struct txn_command decoded;
        txn_command_encode(&encoded, &build.command);
        txn_command_stamp(encoded.data, encoded.len, range.next_ts);
        cr_assert_eq(txn_command_decode(slice_from_buf(&encoded), &range.arena, &decoded),
                     STATUS_OK);
        txn_apply_begin(range.apply, range.batch);
        memory_engine_fail_after(range.engine, countdown, STATUS_IO);
        struct txn_outcome outcome;
        cr_assert_eq(txn_evaluate(range.apply, &range.span, slice_from_buf(&encoded), &decoded,
                                  &range.arena, &outcome),
                     STATUS_IO, "read %lu", countdown);
        cr_assert_eq(storage_batch_count(range.batch), 0);
        txn_apply_end(range.apply);
        buf_done(&encoded);
        range_done(&range);
    }
}

/* ---- how much a command may take ---- */

static void put_many(struct range_under_test *range, uint32_t count, const char *value) {
    struct build build;
    char key[16];
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(key, sizeof(key), "k%05u", i);
        build_begin(&build, "");
        build_put(&build, key, value);
        cr_assert_eq(range_run(range, &build).result, TXN_DONE);
    }
}

static struct txn_outcome run_unchanged(struct range_under_test *range, uint64_t version,
                                        const char *request_id, bool unbounded) {
    struct build build;
    build_begin(&build, request_id);
    build_unchanged(&build, "k", "l", version);
    build_put(&build, "watched", "x");
    build.command.unbounded = unbounded;
    return range_run(range, &build);
}

/* All replicas walk over the interval while everything else of their worker waits: so there is a
 * bound, it refuses for good, and at the same key wherever the rounds end. What an older version
 * has put into a log has the meaning that it had. */
Test(txn_evaluate, refuses_an_interval_of_too_many_keys) {
    struct range_under_test range;
    range_init(&range);
    const uint32_t fits = TXN_COMMAND_STEPS_MAX - TXN_INTERVAL_STEPS - 2; /* the guard, a put */
    put_many(&range, fits - 100, "v");
    range_end_round(&range);
    put_many(&range, fits, "v"); /* most are in the engine, too; a hundred in the round only */
    const uint64_t any = UINT64_MAX;
    cr_assert_eq(run_unchanged(&range, any, "R-1", false).result, TXN_DONE);
    put_many(&range, fits + 1, "v");
    struct txn_outcome outcome = run_unchanged(&range, any, "R-2", false);
    cr_assert(outcome.result == TXN_REFUSED_WORK && outcome.index == 0);
    cr_assert_eq(run_unchanged(&range, any, "", true).result, TXN_DONE);
    range_end_round(&range);
    cr_assert_eq(range_version(&range, "watched"), range.next_ts - 1);
    outcome = run_unchanged(&range, any, "R-2", false);
    cr_assert(outcome.result == TXN_REFUSED_WORK && outcome.replayed, "it is remembered");
    range_done(&range);
}

/* The first key that was written later decides; nobody walks over the rest. */
Test(txn_evaluate, an_interval_guard_stops_at_the_first_newer_version) {
    struct range_under_test range;
    range_init(&range);
    put_many(&range, 1000, "v");
    uint64_t version = range.next_ts - 1;
    put_many(&range, 1, "newer");
    txn_apply_set_steps_max(range.apply, TXN_INTERVAL_STEPS + 3);
    cr_assert_eq(run_unchanged(&range, version, "", false).result, TXN_REFUSED_GUARD);
    range_end_round(&range);
    cr_assert_eq(run_unchanged(&range, version, "", false).result, TXN_REFUSED_GUARD);
    cr_assert_eq(run_unchanged(&range, version + 1, "", false).result, TXN_REFUSED_WORK);
    cr_assert_leq(txn_apply_round_steps(range.apply), 3 * (TXN_INTERVAL_STEPS + 3));
    range_done(&range);
}

/* What only the round has is counted where its key is, not where the round is: a replica that has
 * it in the engine already must stop at the same key. */
Test(txn_evaluate, an_interval_is_walked_in_the_order_of_its_keys) {
    struct range_under_test range;
    range_init(&range);
    (void)run_put(&range, "k1", "v");
    (void)run_put(&range, "k3", "v");
    uint64_t version = range.next_ts;
    (void)run_put(&range, "k0", "v");
    range_end_round(&range);
    txn_apply_set_steps_max(range.apply, TXN_INTERVAL_STEPS + 2 + 3); /* three keys */
    (void)run_put(&range, "k2", "v");
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(run_unchanged(&range, version, "", false).result, TXN_REFUSED_GUARD);
        cr_assert_eq(run_unchanged(&range, version + 1, "", false).result, TXN_REFUSED_WORK);
        range_end_round(&range);
    }
    range_done(&range);
}

/* Ten thousand guards on large values would read gigabytes: values count by their size, whoever
 * looks at them. */
Test(txn_evaluate, large_values_count_for_more) {
    static char large[8 * TXN_STEP_BYTES + 1];
    struct range_under_test range;
    struct build build;
    range_init(&range);
    memset(large, 'x', sizeof(large) - 1);
    put_many(&range, 3, large);
    txn_apply_set_steps_max(range.apply, 27);
    for (int round = 0; round < 2; round++) {
        build_begin(&build, "");
        build_guard(&build, TXN_GUARD_EXISTS, "k00000");
        build_insert(&build, "new", "v");
        build_delete(&build, "k00001");
        build_insert(&build, "k00002", "v");
        struct txn_outcome outcome = range_run(&range, &build);
        cr_assert(outcome.result == TXN_REFUSED_WORK && outcome.index == 3, "%s at %u",
                  txn_result_text(outcome.result), outcome.index);
        range_end_round(&range);
    }
    txn_apply_set_steps_max(range.apply, 28);
    cr_assert_eq(range_run(&range, &build).result, TXN_REFUSED_EXISTS);
    range_end_round(&range);
    cr_assert_null(range_value(&range, "new"));
    range_done(&range);
}
