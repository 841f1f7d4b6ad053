/* The status table and the ways to stop. */
#include "base/status.h"

#include <criterion/criterion.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "log_capture.h"

/* Protects what users and logs see. */
Test(base_status, names_and_texts_follow_the_table) {
    cr_assert_str_eq(status_name(STATUS_OK), "OK");
    cr_assert_str_eq(status_name(STATUS_BUSY), "BUSY");
    cr_assert_str_eq(status_text(STATUS_NOT_LEADER), "not the leader");
    cr_assert_str_eq(status_name((enum status) - 1000), "UNKNOWN_STATUS");
    cr_assert_str_eq(status_text((enum status) - 1000), "unknown status");
}

/* Protects `if (status < 0)`, and values that cross the wire from meaning two things. */
Test(base_status, errors_are_negative_and_distinct) {
#define COUNT_NEGATIVE(name, value, text) +((value) < 0 ? 1 : 0)
#define SET_BIT(name, value, text) | (1ull << -(value))
#define COUNT_ALL(name, value, text) +1
    int negative = 0 STATUS_TABLE(COUNT_NEGATIVE);
    int all = 0 STATUS_TABLE(COUNT_ALL);
    unsigned long long bits = 0 STATUS_TABLE(SET_BIT);
    cr_assert_eq(negative, all - 1);
    cr_assert_eq(__builtin_popcountll(bits), all);
}

/* Protects asserts from being compiled out, as `assert` is in release builds. */
Test(base_assert, broken_invariant_aborts, .signal = SIGABRT) {
    ASSERT(1 + 1 == 3);
}

/* Protects the reason: both values must be readable, whatever the log level. */
Test(base_assert, broken_comparison_prints_both_values_and_aborts) {
    struct log_capture capture;
    log_capture_start(&capture);
    log_set_level(LOG_NONE);
    if (fork_and_wait_for_abort()) {
        uint64_t index = 7, last_index = 5;
        ASSERT_CMP(index, <=, last_index);
    }
    const char *line = log_capture_read(&capture);
    cr_assert(strstr(line, "error assert_failed"), "%s", line);
    cr_assert(strstr(line, "expression=\"index <= last_index\" left=7 right=5\n"), "%s", line);
}

/* Protects against evaluating an operand twice. */
Test(base_assert, operands_are_evaluated_once) {
    int calls = 0;
    ASSERT(++calls == 1);
    ASSERT_CMP(++calls, ==, 2);
    cr_assert_eq(calls, 2);
}

/* Protects the last log line of a process that stops for a fault of the world. */
Test(base_assert, fatal_logs_its_reason_and_aborts) {
    struct log_capture capture;
    log_capture_start(&capture);
    if (fork_and_wait_for_abort()) fatal("reason=%s path=%s", "fsync_failed", "/data/1");
    const char *line = log_capture_read(&capture);
    cr_assert(strstr(line, "error fatal reason=fsync_failed path=/data/1\n"), "%s", line);
}

static jmp_buf before_fatal;
static char fatal_reason[64];

static void take_over(const char *reason) {
    (void)snprintf(fatal_reason, sizeof(fatal_reason), "%s", reason);
    longjmp(before_fatal, 1);
}

/* Protects the simulator's way to end one process of many: nothing after fatal() runs. */
Test(base_assert, a_handler_takes_the_place_of_the_end) {
    fatal_set_handler(take_over);
    if (setjmp(before_fatal) == 0) fatal("disk %d", 7);
    cr_assert_str_eq(fatal_reason, "disk 7");
    fatal_set_handler(NULL);
    if (fork_and_wait_for_abort()) fatal("nobody takes over");
}

/* Protects callers from ever seeing NULL. */
Test(base_memory, zero_bytes_are_a_valid_block) {
    void *block = memory_alloc(0);
    cr_assert_not_null(block);
    block = memory_realloc(block, 0);
    cr_assert_not_null(block);
    memory_free(block);
    memory_free(NULL);
    uint64_t *zeroed = MEMORY_NEW(uint64_t);
    cr_assert_eq(*zeroed, 0);
    memory_free(zeroed);
}
