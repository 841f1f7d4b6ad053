/* The router while ranges are not what it remembers: split, merged, changed, or gone. */
#include "tests/range/router_fake.h"

/* A write over two ranges is refused in words, before anything is sent. */
Test(router_ranges, refuses_a_write_over_two_ranges) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    struct txn_op ops[] = {
        {.kind = TXN_OP_PUT, .key = slice_from_text("h"), .value = slice_from_text("1")},
        {.kind = TXN_OP_PUT, .key = slice_from_text("q"), .value = slice_from_text("2")}};
    struct txn_command command = {.op_count = 2, .ops = ops};
    struct router_request request = {.op = ROUTER_WRITE, .command = &command};
    uint64_t before = fake_requests(&fake);
    fake_submit(&fake, &request, &answer);
    cr_assert(answer.times == 1 && answer.code == ROUTER_CROSS_RANGE);
    cr_assert_str_eq(answer.text,
                     "the write spans ranges: key h is in range 2 [g, p), but q is in range 3 [p, "
                     "end); all keys of a write must lie in one range");
    struct txn_guard guard = {
        .kind = TXN_GUARD_UNCHANGED, .key = slice_from_text("h"), .end = slice_from_text("p")};
    command = (struct txn_command){.guard_count = 1, .guards = &guard, .op_count = 1, .ops = ops};
    fake_submit(&fake, &request, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.code == ROUTER_OK, "an interval may end where the range ends: %s",
              answer.text);
    guard.end = slice_from_text("p0");
    fake_submit(&fake, &request, &answer);
    cr_assert_eq(answer.code, ROUTER_CROSS_RANGE);
    cr_assert_eq(fake_requests(&fake) - before, 1);
    fake_done(&fake);
}

/* A split heals the cache from the refusal: old range cut, new range found, nobody told an error.
 */
Test(router_ranges, heals_from_a_split) {
    struct fake fake;
    struct answer left, right, scan;
    fake_start_warm(&fake, 1);
    fake_split(&fake, slice_from_text("k"));
    uint64_t began_us = fake.now_us;
    fake_put(&fake, "h", "1", NULL, &left);
    fake_run(&fake, began_us + FAKE_SECOND);
    cr_assert_lt(left.at_us - began_us, 1000, "from the refusal alone, at once");
    fake_lead(&fake, "k", 2);
    fake_put(&fake, "l", "2", NULL, &right);
    fake_scan(&fake, "", "", true, 0, &scan);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(left.code == ROUTER_OK && right.code == ROUTER_OK && scan.code == ROUTER_OK);
    fake_scan(&fake, "", "", false, 0, &scan);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_str_eq(scan.rows, "h=1,l=2,");
    struct router_view view;
    router_view(fake.router, &view);
    cr_assert_eq(view.ranges, 4);
    fake_done(&fake);
}

/* A map that is older than what a refusal taught changes nothing; a newer one evicts what it
 * overlaps. */
Test(router_ranges, newer_epochs_win_in_the_cache) {
    struct fake fake;
    uint64_t range_id, leader;
    fake_start_warm(&fake, 1);
    struct router_range old = {.leader_node = 3};
    range_descriptor_copy(&old.descriptor, fake_descriptor_of(&fake, "h"));
    fake_split(&fake, slice_from_text("k"));
    struct router_range halves[2] = {{.descriptor = *fake_descriptor_of(&fake, "h")},
                                     {.descriptor = *fake_descriptor_of(&fake, "l")}};
    router_set_ranges(fake.router, halves, 2, fake.now_us);
    cr_assert(router_locate(fake.router, slice_from_text("l"), &range_id, &leader));
    cr_assert_eq(range_id, 4);
    router_set_ranges(fake.router, &old, 1, fake.now_us);
    cr_assert(router_locate(fake.router, slice_from_text("l"), &range_id, &leader));
    cr_assert_eq(range_id, 4, "the old map brought back range %lu", range_id);
    cr_assert(router_locate(fake.router, slice_from_text("h"), &range_id, &leader));
    cr_assert_eq(leader, 1, "a known leader stays known");
    range_descriptor_done(&old.descriptor);
    fake_done(&fake);
}

static struct router_range range_like(struct fake *fake, const char *key, const char *start_key,
                                      const char *end_key, struct range_epoch epoch) {
    struct router_range range = {0};
    range_descriptor_copy(&range.descriptor, fake_descriptor_of(fake, key));
    buf_assign(&range.descriptor.start, slice_from_text(start_key));
    buf_assign(&range.descriptor.end, slice_from_text(end_key));
    range.descriptor.epoch = epoch;
    return range;
}

/* A merge: the wider range evicts what it swallowed, and the swallowed does not come back. */
Test(router_ranges, a_merged_range_evicts_what_it_overlaps) {
    struct fake fake;
    struct router_view view;
    uint64_t range_id, leader;
    fake_start_warm(&fake, 1);
    struct router_range merged = range_like(&fake, "h", "g", "", (struct range_epoch){1, 2});
    struct router_range swallowed = range_like(&fake, "q", "p", "", (struct range_epoch){9, 1});
    struct router_range outdated = range_like(&fake, "h", "g", "p", (struct range_epoch){1, 1});
    router_set_ranges(fake.router, &merged, 1, fake.now_us);
    router_set_ranges(fake.router, &swallowed, 1, fake.now_us);
    router_set_ranges(fake.router, &outdated, 1, fake.now_us);
    router_view(fake.router, &view);
    cr_assert_eq(view.ranges, 2);
    cr_assert(router_locate(fake.router, slice_from_text("q"), &range_id, &leader));
    cr_assert_eq(range_id, 2);
    range_descriptor_done(&merged.descriptor);
    range_descriptor_done(&swallowed.descriptor);
    range_descriptor_done(&outdated.descriptor);
    fake_done(&fake);
}

/* A configuration older than the known one is not believed, although the span is the same. */
Test(router_ranges, older_configurations_do_not_replace_newer_ones) {
    struct fake fake;
    uint64_t range_id, leader;
    fake_start_warm(&fake, 1);
    struct router_range newer = range_like(&fake, "h", "g", "p", (struct range_epoch){5, 1});
    struct router_range older = range_like(&fake, "h", "g", "p", (struct range_epoch){4, 1});
    older.descriptor.replicas[0].node_id = 77; /* then node 1, the leader, would be forgotten */
    router_set_ranges(fake.router, &newer, 1, fake.now_us);
    router_set_ranges(fake.router, &older, 1, fake.now_us);
    cr_assert(router_locate(fake.router, slice_from_text("h"), &range_id, &leader));
    cr_assert(range_id == 2 && leader == 1);
    range_descriptor_done(&newer.descriptor);
    range_descriptor_done(&older.descriptor);
    fake_done(&fake);
}

/* A range that none of its nodes has is forgotten, and placement is asked who has the keys. */
Test(router_ranges, forgets_a_range_that_nobody_has) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake_descriptor_of(&fake, "h")->range_id = 9; /* same span, same epoch, another range */
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK, "%s", answer.text);
    fake_done(&fake);
}

/* A split between the keys of a write that is on its way: refused as a whole, not half sent. */
Test(router_ranges, a_split_makes_a_retried_write_cross_range) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    struct txn_op ops[] = {
        {.kind = TXN_OP_PUT, .key = slice_from_text("h"), .value = slice_from_text("1")},
        {.kind = TXN_OP_PUT, .key = slice_from_text("l"), .value = slice_from_text("2")}};
    struct txn_command command = {.op_count = 2, .ops = ops};
    struct router_request request = {.op = ROUTER_WRITE, .command = &command};
    fake_submit(&fake, &request, &answer);
    router_flush(fake.router, fake.now_us);
    fake_split(&fake, slice_from_text("k"));
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_CROSS_RANGE, "%d %s", answer.code,
              answer.text);
    fake_done(&fake);
}

/* A command that met a split in the log was not done: it is sent again, also without an id. */
Test(router_ranges, a_command_refused_by_a_split_is_sent_again) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake.wrong_range_left = 2;
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    cr_assert_eq(answer.outcome.result, TXN_DONE);
    fake_done(&fake);
}

/* A range that placement has never heard of is named at once, with those that there are. */
Test(router_ranges, says_that_a_range_does_not_exist) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    struct router_request request = {.op = ROUTER_TRANSFER, .range_id = 99, .to_node = 1};
    uint64_t began_us = fake.now_us;
    fake_submit(&fake, &request, &answer);
    fake_run(&fake, began_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_INVALID, "%s", answer.text);
    cr_assert_str_eq(answer.text, "range 99 does not exist; the ranges' ids go from 1 to 3");
    fake_done(&fake);
}
