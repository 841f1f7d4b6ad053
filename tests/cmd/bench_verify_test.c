/* The verifier must be able to fail: every way in which data can be wrong is shown to it here. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "bench/verify.h"

#define RUN 0x1122334455667788u
#define LIMIT 100

struct rows {
    struct verifier verifier;
    struct ledger ledger;
};

/* Issuer 1 holds reservations 0 (amount 10, acknowledged) and 1 (20, acknowledged); 2 (40) was
 * refused, 3 (5) is unknown, 4 (7) was given up as not done. */
static void setup(struct rows *rows) {
    static const struct {
        uint32_t amount;
        enum ledger_state state;
    } made[] = {{10, LEDGER_ACKED},
                {20, LEDGER_ACKED},
                {40, LEDGER_REFUSED},
                {5, LEDGER_UNKNOWN},
                {7, LEDGER_NOT_DONE}};
    ledger_init(&rows->ledger, RUN, LIMIT);
    for (size_t n = 0; n < sizeof(made) / sizeof(made[0]); n++)
        ledger_decide(&rows->ledger, ledger_add(&rows->ledger, 1, made[n].amount), made[n].state);
    verify_begin(&rows->verifier, &rows->ledger);
}

static void teardown(struct rows *rows) {
    verify_done(&rows->verifier);
    ledger_done(&rows->ledger);
}

static void feed(struct rows *rows, struct buf *key, int64_t number) {
    char value[32];
    snprintf(value, sizeof(value), "%" PRId64, number);
    verify_row(&rows->verifier, slice_from_buf(key), slice_from_text(value));
    buf_done(key);
}

static void exposure(struct rows *rows, int64_t number) {
    struct buf key = {0};
    issuer_append_exposure_key(&key, 1);
    feed(rows, &key, number);
}

static void reservation_of(struct rows *rows, uint32_t issuer, uint64_t run, uint64_t n,
                           int64_t amount) {
    struct buf key = {0};
    issuer_append_reservation_key(&key, issuer, run, n);
    feed(rows, &key, amount);
}

static void reservation(struct rows *rows, uint64_t n, int64_t amount) {
    reservation_of(rows, 1, RUN, n, amount);
}

static void expect(struct rows *rows, uint64_t lost, uint64_t doubled, uint64_t overbooked) {
    verify_finish(&rows->verifier);
    const struct verdict *verdict = &rows->verifier.verdict;
    cr_expect_eq(verdict->lost, lost, "lost %lu, expected %lu", verdict->lost, lost);
    cr_expect_eq(verdict->doubled, doubled, "doubled %lu, expected %lu", verdict->doubled, doubled);
    cr_expect_eq(verdict->overbooked, overbooked, "overbooked %lu, expected %lu",
                 verdict->overbooked, overbooked);
    cr_expect_eq(verdict->malformed, 0);
    cr_expect_eq(verdict_clean(verdict), lost + doubled + overbooked == 0);
    cr_expect_eq(verdict->details.len > 0, !verdict_clean(verdict));
    teardown(rows);
}

Test(bench_verify, accepts_what_was_acknowledged) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 30);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    expect(&rows, 0, 0, 0);
}

/* An unknown outcome may have happened, but then wholly: the sum counts it. */
Test(bench_verify, accepts_an_unknown_reservation_that_is_there) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 35);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    reservation(&rows, 3, 5);
    cr_expect_eq(rows.verifier.verdict.unknown_there, 1);
    expect(&rows, 0, 0, 0);
}

Test(bench_verify, finds_a_missing_reservation) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 10);
    reservation(&rows, 0, 10);
    expect(&rows, 1, 0, 0);
}

/* All is gone: nothing but the ledger remembers. */
Test(bench_verify, finds_that_everything_is_missing) {
    struct rows rows;
    setup(&rows);
    expect(&rows, 2, 0, 0);
}

Test(bench_verify, finds_a_missing_exposure) {
    struct rows rows;
    setup(&rows);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    expect(&rows, 1, 0, 0);
}

Test(bench_verify, finds_an_exposure_that_lost_an_update) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 20);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    expect(&rows, 1, 0, 0);
}

/* A retry that was applied twice. */
Test(bench_verify, finds_an_exposure_that_counted_twice) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 50);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    expect(&rows, 0, 1, 0);
}

Test(bench_verify, finds_a_refused_reservation_that_is_there) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 70);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    reservation(&rows, 2, 40);
    expect(&rows, 0, 1, 0);
}

/* "Nothing changed" must be true of everything that was answered so. */
Test(bench_verify, finds_a_reservation_that_was_said_not_to_have_happened) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 37);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    reservation(&rows, 4, 7);
    expect(&rows, 0, 1, 0);
}

Test(bench_verify, finds_a_reservation_that_nobody_made) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 31);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    reservation(&rows, 5, 1);
    expect(&rows, 0, 1, 0);
}

Test(bench_verify, finds_a_wrong_amount) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 31);
    reservation(&rows, 0, 11);
    reservation(&rows, 1, 20);
    expect(&rows, 1, 0, 0);
}

/* Under another issuer it is too much there and missing here. */
Test(bench_verify, finds_a_reservation_under_another_issuer) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 10);
    reservation(&rows, 0, 10);
    struct buf key = {0};
    issuer_append_exposure_key(&key, 0);
    feed(&rows, &key, 20);
    reservation_of(&rows, 0, RUN, 1, 20);
    expect(&rows, 1, 1, 0);
}

Test(bench_verify, finds_an_exposure_above_its_limit) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 130);
    reservation_of(&rows, 1, 1, 9, 100);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    cr_expect_eq(rows.verifier.verdict.others, 1);
    expect(&rows, 0, 0, 1);
}

/* Other runs in the same cluster are summed and not judged. */
Test(bench_verify, counts_reservations_of_other_runs) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 90);
    reservation_of(&rows, 1, 1, 0, 60);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    expect(&rows, 0, 0, 0);
}

static void expect_malformed(const char *key, const char *value) {
    struct rows rows;
    setup(&rows);
    verify_row(&rows.verifier, slice_from_text(key), slice_from_text(value));
    cr_expect_eq(rows.verifier.verdict.malformed, 1, "%s = %s", key, value);
    cr_expect(!verdict_clean(&rows.verifier.verdict));
    teardown(&rows);
}

Test(bench_verify, finds_rows_that_no_reservation_wrote) {
    expect_malformed("issuer/MUNI-77/bench/note", "1");
    expect_malformed("issuer/MUNI-77/bench/exposure", "abc");
    expect_malformed("issuer/MUNI-77/bench/exposure", "");
    expect_malformed("issuer/MUNI-77/bench/reservation/R-88421", "250000");
}

/* The documented example, tried on the cluster that is then looked at, is nobody's mistake. */
Test(bench_verify, ignores_what_is_somebody_elses) {
    static const char *const others[][2] = {
        {"issuer/AGCY-1/exposure", "250000"},
        {"issuer/AGCY-1/reservation/R-0123456789abcdef-1", "7"},
        {"issuer/AGCY-1/reservation/R-88421", "250000"},
        {"issuer/note", "not a number"},
    };
    struct rows rows;
    setup(&rows);
    for (size_t i = 0; i < 3; i++)
        verify_row(&rows.verifier, slice_from_text(others[i][0]), slice_from_text(others[i][1]));
    exposure(&rows, 30);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    verify_row(&rows.verifier, slice_from_text(others[3][0]), slice_from_text(others[3][1]));
    cr_expect_eq(rows.verifier.verdict.foreign, 4);
    expect(&rows, 0, 0, 0);
}

/* The demo's hottest issuer has a limit of its own; no other has it. */
Test(bench_verify, the_hottest_issuer_may_have_its_own_limit) {
    for (uint32_t issuer = 0; issuer < 2; issuer++) {
        struct rows rows;
        struct buf key = {0};
        setup(&rows);
        rows.ledger.entries[0].issuer = issuer;
        rows.ledger.entries[1].issuer = issuer;
        rows.ledger.entries[0].amount = LIMIT;
        rows.ledger.hottest_limit = 2 * LIMIT;
        issuer_append_exposure_key(&key, issuer);
        feed(&rows, &key, LIMIT + 20);
        reservation_of(&rows, issuer, RUN, 0, LIMIT);
        reservation_of(&rows, issuer, RUN, 1, 20);
        expect(&rows, 0, 0, issuer == 0 ? 0 : 1);
    }
}

/* An earlier run with a higher limit filled the issuer; this one was refused everything there. */
Test(bench_verify, another_runs_limit_is_no_overbooking) {
    struct rows rows;
    struct buf key = {0};
    setup(&rows);
    issuer_append_exposure_key(&key, 8); /* AGCY-101, before issuer 1 */
    feed(&rows, &key, LIMIT + 50);
    issuer_append_reservation_key(&key, 8, 1, 0);
    feed(&rows, &key, LIMIT + 50);
    exposure(&rows, 30);
    reservation(&rows, 0, 10);
    reservation(&rows, 1, 20);
    expect(&rows, 0, 0, 0);
}

/* A scan that repeats a row must not be able to hide what is missing. */
Test(bench_verify, finds_rows_out_of_order) {
    struct rows rows;
    setup(&rows);
    exposure(&rows, 30);
    reservation(&rows, 0, 10);
    reservation(&rows, 0, 10);
    cr_expect_eq(rows.verifier.verdict.malformed, 1);
    teardown(&rows);
}
