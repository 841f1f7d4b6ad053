#include <criterion/criterion.h>

#include "bench/issuers.h"

static struct slice text(const char *bytes) {
    return slice_from_text(bytes);
}

/* Verification finds a reservation only if its key says what was written there. */
Test(bench_issuers, keys_come_apart_as_they_were_made) {
    struct buf key = {0}, prefix = {0};
    for (uint32_t issuer = 0; issuer < 100; issuer++) {
        struct issuer_key parsed;
        buf_clear(&key);
        buf_clear(&prefix);
        issuer_append_prefix(&prefix, issuer);
        issuer_append_reservation_key(&key, issuer, 0xfedcba9876543210u, 12345 + issuer);
        cr_assert_eq(issuer_parse_key(slice_from_buf(&key), &parsed), STATUS_OK);
        cr_expect(parsed.reservation && !parsed.exposure);
        cr_expect_eq(parsed.run, 0xfedcba9876543210u);
        cr_expect_eq(parsed.n, 12345 + issuer);
        cr_expect(slice_equal(parsed.issuer_prefix, slice_from_buf(&prefix)));
        buf_clear(&key);
        issuer_append_exposure_key(&key, issuer);
        cr_assert_eq(issuer_parse_key(slice_from_buf(&key), &parsed), STATUS_OK);
        cr_expect(parsed.exposure && !parsed.reservation);
    }
    buf_done(&key);
    buf_done(&prefix);
}

/* Foreign rows must be seen as such, not guessed at. */
Test(bench_issuers, refuses_keys_of_another_shape) {
    struct issuer_key parsed;
    cr_expect_eq(issuer_parse_key(text("kv/1"), &parsed), STATUS_INVALID);
    cr_expect_eq(issuer_parse_key(text("issuer/"), &parsed), STATUS_INVALID);
    cr_expect_eq(issuer_parse_key(text("issuer//exposure"), &parsed), STATUS_INVALID);
    cr_expect_eq(issuer_parse_key(text("issuer/MUNI-77"), &parsed), STATUS_INVALID);
    cr_assert_eq(issuer_parse_key(text("issuer/MUNI-77/bench/reservation/R-1-2"), &parsed),
                 STATUS_OK);
    cr_expect(!parsed.reservation && !parsed.exposure);
    cr_assert_eq(
        issuer_parse_key(text("issuer/MUNI-77/bench/reservation/R-0000000000000001-x"), &parsed),
        STATUS_OK);
    cr_expect(parsed.own && !parsed.reservation);
    cr_assert_eq(issuer_parse_key(text("issuer/MUNI-77/exposure"), &parsed), STATUS_OK);
    cr_expect(!parsed.own && !parsed.exposure);
}

Test(bench_issuers, numbers_are_whole_and_checked) {
    int64_t number;
    cr_expect_eq(issuer_parse_number(text("-9223372036854775808"), &number), STATUS_OK);
    cr_expect_eq(number, INT64_MIN);
    cr_expect_eq(issuer_parse_number(text("9223372036854775807"), &number), STATUS_OK);
    cr_expect_eq(number, INT64_MAX);
    cr_expect_eq(issuer_parse_number(text("9223372036854775808"), &number), STATUS_INVALID);
    cr_expect_eq(issuer_parse_number(text(""), &number), STATUS_INVALID);
    cr_expect_eq(issuer_parse_number(text("-"), &number), STATUS_INVALID);
    cr_expect_eq(issuer_parse_number(text("1 "), &number), STATUS_INVALID);
}

/* A cut inside an issuer would make its reservations span two ranges, and be refused. */
Test(bench_issuers, cuts_fall_between_issuers_and_ascend) {
    struct buf cuts = {0}, previous = {0};
    cr_assert_eq(issuer_append_split_keys(&cuts, 256, 16), STATUS_OK);
    buf_append_byte(&cuts, 0);
    unsigned count = 0;
    char *rest = NULL;
    for (char *cut = strtok_r((char *)cuts.data, ",", &rest); cut;
         cut = strtok_r(NULL, ",", &rest)) {
        count++;
        struct slice key = text(cut);
        cr_expect(slice_has_prefix(key, SLICE_LITERAL(ISSUER_PREFIX)));
        cr_expect_eq(key.data[key.len - 1], '/');
        cr_expect_lt(slice_compare(slice_from_buf(&previous), key), 0);
        buf_assign(&previous, key);
    }
    cr_expect_eq(count, 15);
    buf_done(&cuts);
    buf_done(&previous);
}

Test(bench_issuers, refuses_more_ranges_than_issuers) {
    struct buf cuts = {0};
    cr_expect_eq(issuer_append_split_keys(&cuts, 4, 5), STATUS_INVALID);
    cr_expect_eq(issuer_append_split_keys(&cuts, 4, 0), STATUS_INVALID);
    cr_expect_eq(cuts.len, 0);
}
