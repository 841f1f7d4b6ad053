#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/ledger.h"

static void scratch_path(char path[64]) {
    snprintf(path, 64, "/tmp/flotilla-ledger-test-%d", (int)getpid());
}

/* A ledger that was saved decides a later verification: it must come back as it was. */
Test(bench_ledger, survives_saving_and_loading) {
    char path[64];
    struct buf error = {0};
    struct ledger saved, loaded;
    scratch_path(path);
    ledger_init(&saved, 0xabcdef, 500);
    for (uint32_t n = 0; n < 1000; n++) {
        cr_assert_eq(ledger_add(&saved, n % 7, n + 1), n);
        enum ledger_state state = n % LEDGER_STATE_COUNT;
        if (state != LEDGER_PENDING) ledger_decide(&saved, n, state);
    }
    cr_assert_eq(ledger_save(&saved, path, &error), STATUS_OK);
    ledger_init(&loaded, 0, 0);
    cr_assert_eq(ledger_load(&loaded, path, &error), STATUS_OK);
    cr_expect_eq(loaded.run, saved.run);
    cr_expect_eq(loaded.limit, saved.limit);
    cr_assert_eq(loaded.count, saved.count);
    for (size_t n = 0; n < saved.count; n++) {
        cr_expect_eq(loaded.entries[n].issuer, saved.entries[n].issuer);
        cr_expect_eq(loaded.entries[n].amount, saved.entries[n].amount);
        cr_expect_eq(loaded.entries[n].state, saved.entries[n].state);
    }
    for (int state = 0; state < LEDGER_STATE_COUNT; state++)
        cr_expect_eq(loaded.state_counts[state], 200);
    ledger_done(&saved);
    ledger_done(&loaded);
    unlink(path);
}

/* Half a ledger would acquit a cluster that lost the other half. */
Test(bench_ledger, refuses_a_file_that_was_cut) {
    char path[64];
    struct buf error = {0};
    struct ledger ledger;
    scratch_path(path);
    ledger_init(&ledger, 1, 500);
    for (uint32_t n = 0; n < 10; n++)
        ledger_add(&ledger, n, 1);
    cr_assert_eq(ledger_save(&ledger, path, &error), STATUS_OK);
    cr_assert_eq(truncate(path, 70), 0);
    ledger_done(&ledger);
    ledger_init(&ledger, 0, 0);
    cr_expect_eq(ledger_load(&ledger, path, &error), STATUS_CORRUPTION);
    cr_expect_gt(error.len, 0);
    ledger_done(&ledger);
    buf_done(&error);
    unlink(path);
}

Test(bench_ledger, says_where_it_cannot_write) {
    struct buf error = {0};
    struct ledger ledger;
    ledger_init(&ledger, 1, 500);
    cr_expect_eq(ledger_save(&ledger, "/nonexistent-directory/ledger", &error), STATUS_IO);
    buf_append_byte(&error, 0);
    cr_expect_not_null(strstr((char *)error.data, "/nonexistent-directory/ledger"));
    buf_done(&error);
}
