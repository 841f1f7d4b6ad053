/* The log alone, over a disk that keeps what it is given. */
#include <criterion/criterion.h>

#include "raft/limits.h"
#include "raft/log.h"
#include "tests/raft/disk.h"

struct under_test {
    struct disk disk;
    struct raft_core_log log;
};

static struct raft_entry entry_of(uint64_t term, uint64_t index, size_t bytes) {
    struct raft_entry entry = {.id = {term, index}};
    if (bytes > 0) {
        entry.payload = payload_new(bytes);
        memset(entry.payload->data, (int)index, bytes);
    }
    return entry;
}

/* Stable entries from..to of one term, on disk only. */
static void setup(struct under_test *test, uint64_t to, uint64_t term, size_t cache_bytes_max) {
    *test = (struct under_test){0};
    for (uint64_t index = 1; index <= to; index++) {
        struct raft_entry entry = entry_of(term, index, 10);
        disk_append(&test->disk, &entry, 1);
        payload_unref(entry.payload);
    }
    struct raft_storage storage = disk_storage(&test->disk);
    raft_core_log_init(&test->log, &storage, cache_bytes_max, cache_bytes_max, 0);
}

static void teardown(struct under_test *test) {
    raft_core_log_check(&test->log);
    raft_core_log_done(&test->log);
    disk_done(&test->disk);
}

static void append(struct under_test *test, uint64_t term, uint64_t index, size_t bytes) {
    struct raft_entry entry = entry_of(term, index, bytes);
    raft_core_log_append(&test->log, &entry, 1);
    payload_unref(entry.payload);
    raft_core_log_check(&test->log);
}

/* As the owner does it: take, write, report. */
static void make_stable(struct under_test *test) {
    struct raft_entry_list list = {0};
    raft_core_log_take_unstable(&test->log, &list);
    disk_append(&test->disk, list.items, list.count);
    raft_core_log_stable_to(&test->log, test->log.last);
    raft_entry_list_done(&list);
    raft_core_log_check(&test->log);
}

static uint32_t slice(struct under_test *test, uint64_t first, uint64_t last, size_t bytes_max) {
    struct raft_entry_list list = {0};
    enum status status =
        raft_core_log_slice(&test->log, first, last, bytes_max, RAFT_APPEND_ENTRIES_MAX, &list);
    uint32_t count = status == STATUS_OK ? list.count : UINT32_MAX;
    for (uint32_t at = 0; at < list.count; at++) {
        cr_assert_eq(list.items[at].id.index, first + at);
        struct slice payload = payload_slice(list.items[at].payload);
        cr_assert_not_null(payload.data);
        cr_assert_eq(payload.data[0], (uint8_t)(first + at));
    }
    raft_entry_list_done(&list);
    return count;
}

/* What a vote is judged by: the later term, and with the same term the longer log (3.6.1). */
Test(raft_log, judges_who_is_up_to_date) {
    struct under_test test;
    setup(&test, 3, 2, 0);
    cr_assert(raft_core_log_is_up_to_date(&test.log, (struct raft_log_id){3, 1}));
    cr_assert(raft_core_log_is_up_to_date(&test.log, (struct raft_log_id){2, 3}));
    cr_assert_not(raft_core_log_is_up_to_date(&test.log, (struct raft_log_id){2, 2}));
    cr_assert_not(raft_core_log_is_up_to_date(&test.log, (struct raft_log_id){1, 9}));
    teardown(&test);
}

/* Terms are known from the predecessor of the first entry to the last, in memory and on disk. */
Test(raft_log, knows_terms_within_its_bounds) {
    struct under_test test;
    setup(&test, 5, 1, 0);
    disk_compact(&test.disk, 2);
    append(&test, 2, 6, 3);
    uint64_t term;
    cr_assert_eq(raft_core_log_term(&test.log, 1, &term), STATUS_COMPACTED);
    cr_assert(raft_core_log_term(&test.log, 2, &term) == STATUS_OK && term == 1);
    cr_assert(raft_core_log_term(&test.log, 6, &term) == STATUS_OK && term == 2);
    cr_assert_eq(raft_core_log_term(&test.log, 7, &term), STATUS_NOT_FOUND);
    teardown(&test);
}

/* A follower keeps what it has, takes what is new, and replaces what conflicts (3.5). */
Test(raft_log, replaces_only_what_conflicts) {
    struct under_test test;
    setup(&test, 3, 1, 0);
    struct raft_entry same[] = {entry_of(1, 2, 0), entry_of(1, 3, 0), entry_of(1, 4, 0)};
    struct raft_log_id before = {1, 1};
    cr_assert_eq(raft_core_log_append_after(&test.log, before, same, 2), STATUS_OK);
    cr_assert_not(raft_core_log_has_unstable(&test.log), "nothing new");
    cr_assert_eq(raft_core_log_append_after(&test.log, before, same, 3), STATUS_OK);
    cr_assert(test.log.unstable_first == 4 && test.log.last.index == 4);
    struct raft_entry other[] = {entry_of(2, 3, 0)};
    cr_assert_eq(raft_core_log_append_after(&test.log, (struct raft_log_id){1, 2}, other, 1),
                 STATUS_OK);
    cr_assert(test.log.last.index == 3 && test.log.last.term == 2 && test.log.unstable_first == 3);
    teardown(&test);
}

/* Nothing committed is ever replaced, whatever a peer sends. */
Test(raft_log, refuses_to_replace_what_is_committed) {
    struct under_test test;
    setup(&test, 3, 1, 0);
    raft_core_log_commit_to(&test.log, 2);
    struct raft_entry other[] = {entry_of(2, 2, 0)};
    cr_assert_eq(raft_core_log_append_after(&test.log, (struct raft_log_id){1, 1}, other, 1),
                 STATUS_INVALID);
    cr_assert_eq(test.log.last.index, 3);
    raft_core_log_commit_to(&test.log, 1);
    cr_assert_eq(test.log.committed, 2, "never back");
    teardown(&test);
}

/* The hint skips all entries of terms that the other log cannot have there. */
Test(raft_log, finds_where_logs_may_agree_by_term) {
    struct under_test test;
    setup(&test, 0, 0, 0);
    const uint64_t terms[] = {2, 2, 5, 5, 5};
    for (uint64_t at = 0; at < 5; at++) {
        append(&test, terms[at], at + 1, 0);
    }
    const struct {
        uint64_t index, term, expected_index, expected_term;
    } cases[] = {{5, 6, 5, 5}, {5, 5, 5, 5}, {5, 4, 2, 2}, {5, 2, 2, 2},
                 {5, 1, 0, 0}, {1, 2, 1, 2}, {0, 0, 0, 0}, {7, 5, 7, 0}};
    for (size_t at = 0; at < sizeof(cases) / sizeof(cases[0]); at++) {
        struct raft_log_id found = raft_core_log_find_conflict_by_term(
            &test.log, (struct raft_log_id){cases[at].term, cases[at].index});
        cr_expect(found.index == cases[at].expected_index && found.term == cases[at].expected_term,
                  "case %zu: found %lu of term %lu", at, (unsigned long)found.index,
                  (unsigned long)found.term);
    }
    teardown(&test);
}

/* Slices stop at bytes and counts, hold at least one entry, and cross from disk to memory. */
Test(raft_log, slices_within_limits_across_disk_and_memory) {
    struct under_test test;
    setup(&test, 5, 1, 0);
    for (uint64_t index = 6; index <= 9; index++) {
        append(&test, 1, index, 10);
    }
    cr_assert_eq(slice(&test, 1, 9, 0), 9);
    cr_assert_eq(slice(&test, 4, 9, 40), 4);
    cr_assert_eq(slice(&test, 4, 9, 20), 2);
    cr_assert_eq(slice(&test, 4, 9, 25), 2);
    cr_assert_eq(slice(&test, 4, 9, 1), 1);
    cr_assert_eq(slice(&test, 7, 9, 15), 1);
    disk_compact(&test.disk, 3);
    cr_assert_eq(slice(&test, 3, 9, 0), UINT32_MAX, "compacted");
    teardown(&test);
}

/* Entries handed out are not handed out again, unless they were replaced. */
Test(raft_log, hands_out_unstable_entries_once) {
    struct under_test test;
    setup(&test, 2, 1, 0);
    append(&test, 1, 3, 5);
    append(&test, 1, 4, 5);
    struct raft_entry_list list = {0};
    raft_core_log_take_unstable(&test.log, &list);
    cr_assert(list.count == 2 && !raft_core_log_has_next_unstable(&test.log));
    cr_assert(raft_core_log_has_unstable(&test.log), "not known to be durable");
    append(&test, 1, 5, 5);
    append(&test, 2, 4, 5); /* replaces 4 and 5 while 3 and 4 are being written */
    raft_entry_list_clear(&list);
    raft_core_log_take_unstable(&test.log, &list);
    cr_assert(list.count == 1 && list.items[0].id.term == 2);
    raft_entry_list_done(&list);
    teardown(&test);
}

/* A report about entries that were replaced meanwhile says nothing about what is there now. */
Test(raft_log, ignores_reports_about_replaced_entries) {
    struct under_test test;
    setup(&test, 2, 1, 0);
    append(&test, 1, 3, 0);
    append(&test, 2, 3, 0);
    raft_core_log_stable_to(&test.log, (struct raft_log_id){1, 3});
    cr_assert(raft_core_log_has_unstable(&test.log));
    raft_core_log_stable_to(&test.log, (struct raft_log_id){2, 9});
    cr_assert(raft_core_log_has_unstable(&test.log));
    raft_core_log_stable_to(&test.log, (struct raft_log_id){2, 3});
    cr_assert_not(raft_core_log_has_unstable(&test.log));
    disk_append(&test.disk, &(struct raft_entry){.id = {2, 3}}, 1);
    teardown(&test);
}

/* Stable entries stay in memory within a budget, so that followers are fed without reading. */
Test(raft_log, feeds_from_its_cache_within_the_budget) {
    struct under_test test;
    setup(&test, 0, 0, 100);
    for (uint64_t index = 1; index <= 30; index++) {
        append(&test, 1, index, 10);
        make_stable(&test);
    }
    cr_assert_eq(test.log.ring_first, 21);
    uint64_t reads = test.disk.entries_calls;
    cr_assert_eq(slice(&test, 21, 30, 0), 10);
    cr_assert_eq(test.disk.entries_calls, reads, "all of it from memory");
    cr_assert_eq(slice(&test, 15, 30, 0), 16);
    cr_assert_eq(test.disk.entries_calls, reads + 1);
    /* Replacing a stable tail drops it from the cache too. */
    append(&test, 2, 25, 10);
    cr_assert(test.log.unstable_first == 25 && test.log.cache_bytes == 40);
    teardown(&test);
}

/* Committed entries are applied in order; in the asynchronous style only once they are durable. */
/* Once applied, entries go beyond a budget of their own: not before, and not the last one, whose
 * term the next append needs. */
Test(raft_log, keeps_few_applied_entries_in_memory) {
    struct under_test test;
    setup(&test, 0, 1, 1000);
    test.log.applied_bytes_max = 25;
    for (uint64_t index = 1; index <= 6; index++)
        append(&test, 1, index, 10);
    make_stable(&test);
    raft_core_log_commit_to(&test.log, 6);
    cr_assert_eq(test.log.ring_first, 1, "nothing is applied yet");
    raft_core_log_applied_to(&test.log, 2, 20);
    raft_core_log_check(&test.log);
    cr_assert_eq(test.log.ring_first, 3, "what is not applied stays, whatever it weighs");
    raft_core_log_applied_to(&test.log, 6, 40);
    raft_core_log_check(&test.log);
    cr_assert_eq(test.log.ring_first, 5, "two of ten bytes are within the budget");
    cr_assert_eq(slice(&test, 1, 6, 0), 6, "the others are read from the disk");
    append(&test, 1, 7, 100);
    make_stable(&test);
    raft_core_log_commit_to(&test.log, 7);
    raft_core_log_applied_to(&test.log, 7, 100);
    cr_assert_eq(test.log.ring_first, 7, "the last one stays, although it is over the budget");
    teardown(&test);
}

Test(raft_log, hands_out_committed_entries_when_they_may_be_applied) {
    struct under_test test;
    setup(&test, 0, 0, 0);
    append(&test, 1, 1, 5);
    append(&test, 1, 2, 5);
    raft_core_log_commit_to(&test.log, 2);
    cr_assert_not(raft_core_log_has_committed(&test.log, false));
    cr_assert(raft_core_log_has_committed(&test.log, true));
    make_stable(&test);
    struct raft_entry_list list = {0};
    raft_core_log_take_committed(&test.log, false, &list);
    cr_assert_eq(list.count, 2);
    cr_assert_not(raft_core_log_has_committed(&test.log, false), "handed out");
    raft_core_log_applied_to(&test.log, 2, 10);
    cr_assert_eq(test.log.applied, 2);
    raft_entry_list_done(&list);
    teardown(&test);
}

/* What is being applied is bounded in bytes; the rest follows when some of it was applied. */
Test(raft_log, pauses_applying_at_its_budget) {
    struct under_test test;
    setup(&test, 10, 1, 0);
    test.log.applying_bytes_max = 25;
    raft_core_log_commit_to(&test.log, 10);
    struct raft_entry_list list = {0};
    raft_core_log_take_committed(&test.log, false, &list);
    cr_assert_eq(list.count, 2, "the third would cross the budget");
    cr_assert_not(raft_core_log_has_committed(&test.log, false));
    raft_core_log_applied_to(&test.log, 1, 10);
    cr_assert(raft_core_log_has_committed(&test.log, false));
    raft_core_log_take_committed(&test.log, false, &list);
    cr_assert_eq(list.count, 3);
    raft_entry_list_done(&list);
    teardown(&test);
}

/* A snapshot replaces the whole log; terms and bounds come from it until it is installed. */
Test(raft_log, starts_over_from_a_snapshot) {
    struct under_test test;
    setup(&test, 5, 1, 100);
    append(&test, 1, 6, 10);
    struct raft_snapshot snapshot = {.id = {3, 20}};
    raft_core_log_restore(&test.log, &snapshot);
    cr_assert(raft_core_log_first_index(&test.log) == 21 && test.log.last.index == 20);
    cr_assert(test.log.committed == 20 && !raft_core_log_has_unstable(&test.log));
    cr_assert_eq(raft_core_log_term_or_zero(&test.log, 20), 3);
    cr_assert_eq(raft_core_log_term_or_zero(&test.log, 5), 0);
    append(&test, 3, 21, 10);
    cr_assert_not(raft_core_log_has_committed(&test.log, true), "install it first");
    raft_core_log_snapshot_stable(&test.log, 19);
    cr_assert(test.log.snapshot, "another one's report");
    disk_install(&test.disk, snapshot.id, &(struct raft_conf_state){0});
    raft_core_log_snapshot_stable(&test.log, 20);
    raft_core_log_applied_to(&test.log, 20, 0);
    cr_assert(raft_core_log_first_index(&test.log) == 21 && !test.log.snapshot);
    teardown(&test);
}

/* A configuration change that waits to be applied is found wherever it lies. */
Test(raft_log, finds_unapplied_conf_changes) {
    struct under_test test;
    setup(&test, 600, 1, 0); /* more than one page */
    raft_core_log_commit_to(&test.log, 600);
    cr_assert_not(raft_core_log_has_unapplied_conf_change(&test.log));
    struct raft_entry change = {.id = {1, 601}, .kind = RAFT_ENTRY_CONF_CHANGE_V2};
    raft_core_log_append(&test.log, &change, 1);
    cr_assert_not(raft_core_log_has_unapplied_conf_change(&test.log), "not committed");
    raft_core_log_commit_to(&test.log, 601);
    cr_assert(raft_core_log_has_unapplied_conf_change(&test.log));
    raft_core_log_applied_to(&test.log, 601, 0);
    cr_assert_not(raft_core_log_has_unapplied_conf_change(&test.log));
    teardown(&test);
}
