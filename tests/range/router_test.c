/* The router against scripted clusters: each test is one situation and what a client must see. */
#include "tests/range/router_fake.h"

#include <stdio.h>

/* The first request of a router that knows nothing finds map, range and leader. */
Test(router, finds_range_and_leader_from_nothing) {
    struct fake fake;
    struct answer put, get;
    static const char *const keys[] = {"m", "nothing"};
    fake_start(&fake, 2);
    fake_put(&fake, "m", "v", NULL, &put);
    cr_assert_eq(put.times, 0);
    fake_run(&fake, 2 * FAKE_SECOND);
    cr_assert(put.times == 1 && put.code == ROUTER_OK && put.outcome.result == TXN_DONE);
    fake_get(&fake, keys, 2, &get);
    fake_run(&fake, 3 * FAKE_SECOND);
    cr_assert_str_eq(get.rows, "m=v,-,");
    uint64_t range_id, leader;
    cr_assert(router_locate(fake.router, slice_from_text("m"), &range_id, &leader));
    cr_assert(range_id == 2 && leader == 2);
    fake_done(&fake);
}

/* A leader that moved costs one hop, and only the first request pays it. */
Test(router, follows_the_hint_of_a_refusal_at_once) {
    struct fake fake;
    struct answer one, two;
    fake_start_warm(&fake, 1);
    fake_lead(&fake, "h", 3);
    uint64_t began_us = fake.now_us, before = fake_requests(&fake);
    fake_put(&fake, "h", "1", NULL, &one);
    fake_run(&fake, began_us + FAKE_SECOND);
    cr_assert(one.code == ROUTER_OK && one.at_us - began_us < 1000);
    cr_assert_eq(fake_requests(&fake) - before, 2);
    fake_put(&fake, "h", "2", NULL, &two);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(fake_requests(&fake) - before, 3);
    fake_done(&fake);
}

/* Two replicas that each name the other are not asked in circles: few requests, then pauses. */
Test(router, does_not_play_ping_pong_with_hints) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    struct fake_range *range = fake_range_of(&fake, slice_from_text("h"));
    range->leader = 0;
    range->hint_at[1] = 2;
    range->hint_at[2] = 1;
    range->hint_at[3] = 1;
    uint64_t before = fake_requests(&fake);
    fake_put(&fake, "h", "1", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    uint64_t asked = fake_requests(&fake) - before;
    cr_assert_lt(asked, 600, "%lu requests in a second", asked);
    cr_assert_gt(asked, 50, "but it does keep looking");
    range->leader = 3;
    uint64_t elected_us = fake.now_us;
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    cr_assert_lt(answer.at_us - elected_us, 30000);
    fake_done(&fake);
}

/* Fail-over: what a killed leader costs beyond the election is one pause between two rounds. */
Test(router, a_killed_leader_costs_little_more_than_the_election) {
    for (uint64_t election_us = 150000; election_us <= 300000; election_us += 10007) {
        struct fake fake;
        struct answer write, read;
        static const char *const keys[] = {"h"};
        fake_start_warm(&fake, 1);
        fake_add(&fake, "h", 1, 100, "id-1", &write);
        fake_get(&fake, keys, 1, &read);
        router_flush(fake.router, fake.now_us); /* both are on the way to the leader */
        uint64_t killed_us = fake.now_us;
        struct fake_range *range = fake_range_of(&fake, slice_from_text("h"));
        range->leader = 0;
        range->hint = 1; /* followers believe in the dead one until they elect */
        fake_kill(&fake, 1);
        fake_run(&fake, killed_us + election_us);
        cr_assert(write.times == 0 && read.times == 0);
        range->leader = 3;
        range->hint = FAKE_HINT_TRUE;
        fake_run(&fake, killed_us + 2 * FAKE_SECOND);
        cr_assert(write.times == 1 && write.code == ROUTER_OK && write.outcome.result == TXN_DONE);
        cr_assert(read.times == 1 && read.code == ROUTER_OK);
        cr_assert_lt(write.at_us - killed_us, election_us + 30000);
        cr_assert_lt(read.at_us - killed_us, election_us + 30000);
        fake_done(&fake);
    }
}

/* A thousand requests that wait for a leader ask as little as one does. */
Test(router, waiting_requests_do_not_storm_the_replicas) {
    enum { WAITING = 1000 };
    static struct answer answers[WAITING];
    struct fake fake;
    fake_start_warm(&fake, 1);
    fake_kill(&fake, 1);
    fake_lead(&fake, "h", 0);
    uint64_t before = fake_requests(&fake);
    for (int i = 0; i < WAITING; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "id-%d", i);
        fake_add(&fake, "h", 1, WAITING, id, &answers[i]);
    }
    fake_run(&fake, fake.now_us + 300000);
    cr_assert_lt(fake_requests(&fake) - before, 100);
    fake_lead(&fake, "h", 2);
    uint64_t elected_us = fake.now_us;
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    for (int i = 0; i < WAITING; i++) {
        cr_assert(answers[i].times == 1 && answers[i].code == ROUTER_OK);
        cr_assert_lt(answers[i].at_us - elected_us, 40000);
    }
    fake_done(&fake);
}

/* The rule of exactly once: a write without an id that may have been proposed is not sent again. */
Test(router, a_write_without_an_id_is_unknown_after_its_node_died) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake_put(&fake, "h", "v", NULL, &answer);
    router_flush(fake.router, fake.now_us);
    fake_lead(&fake, "h", 2);
    fake_kill(&fake, 1);
    cr_assert(answer.times == 1 && answer.code == ROUTER_UNKNOWN, "at once");
    cr_assert(strstr(answer.text, "may or may not"));
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(answer.times, 1);
    for (int node = 1; node <= FAKE_NODES; node++)
        cr_assert_eq(fake.nodes[node].writes_seen, 0);
    fake_done(&fake);
}

/* A frame that did not leave was not proposed: even a write without an id goes elsewhere. */
Test(router, a_write_that_did_not_leave_is_sent_elsewhere) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake.nodes[1].dead = true; /* the router has not heard */
    fake_lead(&fake, "h", 2);
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK && answer.outcome.result == TXN_DONE);
    fake_done(&fake);
}

/* A frozen leader: a write with an id moves on after the attempt's time; without one it waits. */
Test(router, a_silent_node_is_passed_over) {
    struct fake fake;
    struct answer with_id, without;
    fake_start_warm(&fake, 1);
    fake_freeze(&fake, 1);
    uint64_t began_us = fake.now_us;
    fake_put(&fake, "h", "1", "id-1", &with_id);
    fake_put(&fake, "i", "2", NULL, &without);
    fake_run(&fake, began_us + 300000);
    fake_lead(&fake, "h", 2);
    fake_run(&fake, began_us + 20 * FAKE_SECOND);
    cr_assert(with_id.times == 1 && with_id.code == ROUTER_OK);
    cr_assert_lt(with_id.at_us - began_us, 600000);
    cr_assert(without.times == 1 && without.code == ROUTER_UNKNOWN);
    cr_assert_eq(without.at_us - began_us, 5 * FAKE_SECOND, "at its deadline");
    fake_done(&fake);
}

/* Clients whose deadlines are shorter than an attempt may last must not ask a silent leader for
 * ever: between them they notice, whether their requests may run twice or not. */
static void expect_impatient_to_be_served(bool writes) {
    enum { COUNT = 200, EVERY_US = 10000 };
    static struct answer answers[COUNT];
    static const char *const keys[] = {"h"};
    struct fake fake;
    fake_start_warm(&fake, 1);
    fake_freeze(&fake, 1);
    fake_lead(&fake, "h", 2);
    uint64_t began_us = fake.now_us;
    struct txn_op op = {
        .kind = TXN_OP_PUT, .key = slice_from_text("h"), .value = slice_from_text("v")};
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct slice key = slice_from_text(keys[0]);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct router_request request = {.op = ROUTER_GET, .keys = &key, .key_count = 1};
        if (writes) request = (struct router_request){.op = ROUTER_WRITE, .command = &command};
        request.deadline_us = fake.now_us + 100000;
        fake_submit(&fake, &request, &answers[i]);
        fake_run(&fake, began_us + (i + 1) * (uint64_t)EVERY_US);
    }
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    uint32_t served = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        served += answers[i].code == ROUTER_OK;
    cr_expect_geq(served, COUNT - (500000 + 200000) / EVERY_US, "%u", served);
    fake_done(&fake);
}

Test(router, impatient_reads_do_not_ask_a_silent_leader_for_ever) {
    expect_impatient_to_be_served(false);
}

Test(router, impatient_writes_do_not_ask_a_silent_leader_for_ever) {
    expect_impatient_to_be_served(true);
}

/* Who leaves no time for an answer is told for certain that nothing was changed. */
Test(router, a_write_without_time_is_not_sent) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    uint64_t seen = fake.nodes[1].writes_seen;
    struct txn_op op = {
        .kind = TXN_OP_PUT, .key = slice_from_text("h"), .value = slice_from_text("v")};
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request request = {
        .op = ROUTER_WRITE, .command = &command, .deadline_us = fake.now_us + 20};
    fake_submit(&fake, &request, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_expect_eq(answer.code, ROUTER_TIMEOUT);
    cr_expect(strstr(answer.text, "nothing was changed"), "%s", answer.text);
    cr_expect_eq(fake.nodes[1].writes_seen, seen);
    fake_done(&fake);
}

/* Looking for a leader among replicas of which one is silent takes no attempt's whole time. */
Test(router, a_silent_replica_does_not_hold_up_the_search) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake_freeze(&fake, 2);
    fake_lead(&fake, "h", 3);
    fake_range_of(&fake, slice_from_text("h"))->hint = 0;
    uint64_t began_us = fake.now_us;
    fake_put(&fake, "h", "v", "id", &answer);
    fake_run(&fake, began_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    cr_assert_lt(answer.at_us - began_us, 150000);
    fake_done(&fake);
}

/* ... but the silent replica may be the leader: what must not run twice stays with it. */
Test(router, a_write_without_an_id_stays_with_a_silent_replica) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake_freeze(&fake, 2);
    fake_lead(&fake, "h", 2);
    fake_range_of(&fake, slice_from_text("h"))->hint = 0;
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + 2 * FAKE_SECOND);
    for (int node = 3; node <= FAKE_NODES; node++)
        cr_assert_eq(fake.nodes[node].writes_seen, 0);
    fake_thaw(&fake, 2);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    fake_done(&fake);
}

/* A node that is only slow is not drowned in repetitions: the patience with it doubles. */
Test(router, patience_with_a_silent_leader_grows) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    uint64_t before = fake.nodes[1].requests;
    fake_freeze(&fake, 1);
    fake_put(&fake, "h", "v", "id", &answer);
    fake_run(&fake, fake.now_us + 4 * FAKE_SECOND);
    fake_thaw(&fake, 1);
    fake_run(&fake, fake.now_us + 100000);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    cr_assert_lt(fake.nodes[1].requests - before, 12, "%lu", fake.nodes[1].requests - before);
    fake_done(&fake);
}

struct chain {
    struct fake *fake;
    uint32_t left, answered;
};

static void resubmit(void *ctx, const struct router_reply *reply) {
    struct chain *chain = ctx;
    struct slice key = slice_from_text("h");
    struct router_request request = {
        .op = ROUTER_GET, .key_count = 1, .keys = &key, .deadline_us = 1};
    chain->answered++;
    if (chain->left == 0) return;
    chain->left--;
    router_submit(chain->fake->router, &request, chain->fake->now_us, resubmit, chain);
}

/* A client that submits again from its callback, and fails at once each time, needs no stack. */
Test(router, callbacks_may_submit) {
    struct fake fake;
    struct router_reply nothing = {0};
    fake_start_warm(&fake, 1);
    struct chain chain = {.fake = &fake, .left = 1000000};
    resubmit(&chain, &nothing);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(chain.answered, 1000001);
    fake_done(&fake);
}

/* UNKNOWN from a node: the id makes it safe to ask again, and the stored outcome comes back. */
Test(router, settles_unknown_outcomes_by_the_request_id) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fake fake;
        struct answer with_id, without;
        fake_start_warm(&fake, 1);
        prng_init(&fake.prng, seed);
        fake.faults.unknown = 60;
        fake_add(&fake, "h", 5, 100, "id", &with_id);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert(with_id.times == 1 && with_id.code == ROUTER_OK);
        cr_assert_eq(with_id.first_number, 5, "added %ld", with_id.first_number);
        fake.faults.unknown = 100;
        fake_put(&fake, "h", "v", NULL, &without);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert(without.times == 1 && without.code == ROUTER_UNKNOWN);
        fake_done(&fake);
    }
}

/* No leader until the deadline: the client hears which range and who should have led it. */
Test(router, says_which_range_has_no_leader) {
    struct fake fake;
    struct answer write, read;
    static const char *const keys[] = {"h"};
    fake_start_warm(&fake, 1);
    fake_lead(&fake, "h", 0);
    uint64_t began_us = fake.now_us;
    uint32_t refreshes = fake.refreshes;
    fake_put(&fake, "h", "v", "id", &write);
    fake_get(&fake, keys, 1, &read);
    fake_run(&fake, began_us + 200000);
    cr_assert_eq(fake.refreshes, refreshes, "an election is not placement's business");
    fake_run(&fake, began_us + 10 * FAKE_SECOND);
    cr_assert_gt(fake.refreshes, refreshes, "but nodes that moved are");
    cr_assert(write.times == 1 && write.code == ROUTER_UNAVAILABLE);
    cr_assert_str_eq(write.text,
                     "range 2 [g, p): no leader elected; replicas on nodes 1, 2, 3, 4, 5; "
                     "nothing was changed");
    cr_assert(read.times == 1 && read.code == ROUTER_UNAVAILABLE);
    cr_assert_eq(write.at_us - began_us, 5 * FAKE_SECOND);
    fake_done(&fake);
}

/* A leader that cannot serve says why, and that reaches the client. */
Test(router, passes_on_why_a_node_cannot_serve) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake.unavailable_text = "no timestamp to be had";
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_UNAVAILABLE);
    cr_assert(strstr(answer.text, "node 1: no timestamp to be had"), "%s", answer.text);
    fake_done(&fake);
}

/* Without placement a request waits for its deadline and says what is missing. */
Test(router, says_that_placement_does_not_answer) {
    struct fake fake;
    struct answer answer;
    fake_start(&fake, 1);
    fake.placement_silent = true;
    fake_put(&fake, "h", "v", "id", &answer);
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_UNAVAILABLE);
    cr_assert(strstr(answer.text, "placement has not answered"), "%s", answer.text);
    cr_assert(fake.refreshes > 5 && fake.refreshes < 60, "asked %u times", fake.refreshes);
    fake_done(&fake);
}

/* ... and is served as soon as placement is there. */
Test(router, waits_for_placement_within_the_deadline) {
    struct fake fake;
    struct answer answer;
    fake_start(&fake, 1);
    fake.placement_silent = true;
    fake_put(&fake, "h", "v", "id", &answer);
    fake_run(&fake, fake.now_us + 3 * FAKE_SECOND);
    fake.placement_silent = false;
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    fake_done(&fake);
}

/* A deadline in the past sends nothing. */
Test(router, a_passed_deadline_sends_nothing) {
    struct fake fake;
    struct answer answer;
    struct slice key = slice_from_text("h");
    fake_start_warm(&fake, 1);
    uint64_t before = fake_requests(&fake);
    struct router_request request = {
        .op = ROUTER_GET, .key_count = 1, .keys = &key, .deadline_us = fake.now_us - 1};
    fake_submit(&fake, &request, &answer);
    cr_assert(answer.times == 1 && answer.code == ROUTER_TIMEOUT);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(fake_requests(&fake), before);
    fake_done(&fake);
}

/* BUSY is waited out a few times, then told; nothing was changed. */
Test(router, waits_out_short_overload_and_tells_of_long) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    uint64_t began_us = fake.now_us;
    fake.busy_left = 1;
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    cr_assert_geq(answer.at_us - began_us, 3000, "the node's own wish is respected");
    fake.busy_left = 3;
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    fake.busy_left = 1000;
    fake_put(&fake, "h", "w", NULL, &answer);
    fake_run(&fake, fake.now_us + 3 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_BUSY, "%d", answer.code);
    cr_assert(answer.retry_after_us == 3000 && strstr(answer.text, "overloaded"));
    fake_done(&fake);
}

/* Overload is not made worse: attempts exceed requests by little, whatever the node refuses. */
Test(router, does_not_multiply_what_is_refused) {
    enum { CALLS = 500 };
    static struct answer answers[CALLS];
    struct fake fake;
    fake_start_warm(&fake, 1);
    uint64_t before = fake.nodes[1].writes_seen;
    fake.busy_left = UINT32_MAX;
    for (int i = 0; i < CALLS; i++) {
        fake_put(&fake, "h", "v", i % 2 ? "id" : NULL, &answers[i]);
        fake_run(&fake, fake.now_us + 1000);
    }
    fake_run(&fake, fake.now_us + 6 * FAKE_SECOND);
    for (int i = 0; i < CALLS; i++)
        cr_assert(answers[i].times == 1 && answers[i].code == ROUTER_BUSY);
    uint64_t attempts = fake.nodes[1].writes_seen - before;
    cr_assert_leq(attempts, CALLS + CALLS / 10, "%lu", attempts);
    fake_done(&fake);
}

/* A leader that answers others has the write in its queue: it is not sent once more, and nobody
 * else is asked. */
Test(router, a_leader_that_answers_others_is_not_silent) {
    struct fake fake;
    struct answer slow, other;
    fake_start_warm(&fake, 1);
    fake.faults.lose_request = 100; /* as if it waited there */
    fake_put(&fake, "h", "v", "id", &slow);
    fake_run(&fake, fake.now_us + 10000);
    fake.faults.lose_request = 0;
    uint64_t before = fake.nodes[1].writes_seen, others = fake_requests(&fake);
    for (uint64_t i = 1; i <= 20; i++) {
        fake_put(&fake, "i", "v", NULL, &other);
        fake_run(&fake, fake.now_us + 100000);
        cr_assert(other.times == 1 && other.code == ROUTER_OK);
        cr_assert_eq(fake.nodes[1].writes_seen - before, i);
    }
    cr_assert_eq(fake_requests(&fake) - others, 20);
    fake_done(&fake);
}

/* Who answers a stale read is not the leader, and does not speak for it. */
Test(router, a_replica_that_answers_stale_reads_does_not_speak_for_its_leader) {
    struct fake fake;
    struct answer with_id, reads[30];
    struct slice key = slice_from_text("h");
    fake_start_warm(&fake, 1);
    fake_freeze(&fake, 1);
    uint64_t began_us = fake.now_us;
    fake_put(&fake, "h", "1", "id-1", &with_id);
    for (int i = 0; i < 30; i++) {
        struct router_request stale = {
            .op = ROUTER_GET, .key_count = 1, .keys = &key, .read_mode = RANGE_READ_STALE};
        fake_submit(&fake, &stale, &reads[i]);
        fake_run(&fake, began_us + (uint64_t)(i + 1) * 100000);
        if (i == 2) fake_lead(&fake, "h", 2);
    }
    cr_assert(with_id.times == 1 && with_id.code == ROUTER_OK);
    cr_assert_lt(with_id.at_us - began_us, 600000);
    fake_thaw(&fake, 1);
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    fake_done(&fake);
}

/* What waits too long at the node already is refused here, at once and for certain. */
Test(router, refuses_what_cannot_be_done_in_time) {
    struct fake fake;
    struct answer first, late, patient;
    fake_start_warm(&fake, 1);
    fake_freeze(&fake, 1);
    fake_put(&fake, "h", "v", NULL, &first);
    fake_run(&fake, fake.now_us + 300000);
    struct txn_op op = {.kind = TXN_OP_PUT, .key = slice_from_text("i")};
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request request = {
        .op = ROUTER_WRITE, .command = &command, .deadline_us = fake.now_us + 400000};
    uint64_t before = fake_requests(&fake);
    fake_submit(&fake, &request, &late);
    cr_assert(late.times == 1 && late.code == ROUTER_BUSY, "%d", late.code);
    cr_assert(late.retry_after_us > 0 && strstr(late.text, "nothing was changed"), "%s", late.text);
    fake_put(&fake, "j", "v", NULL, &patient);
    fake_thaw(&fake, 1);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(patient.times == 1 && patient.code == ROUTER_OK);
    cr_assert_eq(fake_requests(&fake) - before, 2);
    fake_done(&fake);
}

/* What may have been done already is not given up for want of time: it asks on until it is known.
 */
Test(router, waits_for_the_outcome_of_what_may_be_done) {
    struct fake fake;
    struct answer first, unsettled;
    fake_start_warm(&fake, 1);
    uint64_t start_us = fake.now_us;
    struct txn_op op = {.kind = TXN_OP_PUT, .key = slice_from_text("h")};
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request request = {
        .op = ROUTER_WRITE, .command = &command, .deadline_us = start_us + 700000};
    fake.faults.lose_request = 100; /* it stands at the node, as far as the router can see */
    fake_submit(&fake, &request, &first);
    fake_run(&fake, start_us + 10000);
    fake.faults.lose_request = 0;
    fake.faults.unknown = 100;
    command.request_id = slice_from_text("id");
    request.deadline_us = start_us + 1200000;
    fake_submit(&fake, &request, &unsettled);
    fake_run(&fake, start_us + 650000);
    cr_assert_eq(first.times, 0);
    cr_assert_eq(unsettled.times, 0, "%d: %s", unsettled.code, unsettled.text);
    fake.faults.unknown = 0;
    fake_run(&fake, start_us + 1250000);
    cr_assert(first.times == 1 && first.code == ROUTER_UNKNOWN);
    cr_assert(unsettled.times == 1 && unsettled.code == ROUTER_OK, "%d: %s", unsettled.code,
              unsettled.text);
    fake_done(&fake);
}

/* The router's own bounds: calls and bytes. What is beyond is refused at once, and there is room
 * again when something was answered. */
Test(router, bounds_what_is_outstanding) {
    static struct answer answers[16];
    static char value[4096];
    struct fake fake;
    memset(value, 'v', sizeof(value) - 1);
    for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
        fake_start(&fake, 1);
        if (by_bytes) {
            fake.config.outstanding_bytes_max = 10 * sizeof(value);
        } else {
            fake.config.outstanding_max = 10;
        }
        fake_new_router(&fake);
        fake.placement_silent = true;
        for (int i = 0; i < 16; i++)
            fake_put(&fake, "h", value, NULL, &answers[i]);
        int refused = 0;
        for (int i = 0; i < 16; i++)
            refused += answers[i].times == 1 && answers[i].code == ROUTER_BUSY;
        cr_assert(by_bytes ? refused >= 6 && refused <= 8 : refused == 6, "%d", refused);
        cr_assert_eq(answers[15].times, 1);
        cr_assert_gt(answers[15].retry_after_us, 0);
        fake.placement_silent = false;
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert_eq(answers[0].code, ROUTER_OK);
        fake_put(&fake, "h", "v", NULL, &answers[0]);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert_eq(answers[0].code, ROUTER_OK);
        fake_done(&fake);
    }
}

/* Keys over all ranges, unsorted, some twice: answers in the asked order. */
Test(router, gets_keys_of_many_ranges_in_the_asked_order) {
    struct fake fake;
    struct answer answer;
    static const char *const keys[] = {"z", "a", "h", "none", "a", "q", "b"};
    static const char *const present[] = {"z", "a", "h", "q", "b"};
    fake_start_warm(&fake, 1);
    fake_lead(&fake, "h", 2);
    fake_lead(&fake, "q", 3);
    for (int i = 0; i < 5; i++) {
        fake_put(&fake, present[i], present[i], NULL, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
    }
    for (uint32_t rows = 0; rows < 3; rows++) { /* nodes that answer all, one, two at a time */
        fake.get_rows_max = rows;
        fake_get(&fake, keys, 7, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
        cr_assert_str_eq(answer.rows, "z=z,a=a,h=h,-,a=a,q=q,b=b,");
    }
    fake_done(&fake);
}

/* Page after page, each from where the one before says, until there are `limit` rows (0: any
 * number). answer->rows has all of them; returns whether there may be more. */
static bool scan_pages(struct fake *fake, const char *start, const char *end, bool reverse,
                       uint32_t limit, struct answer *answer) {
    char all[sizeof(answer->rows)] = "", from[64] = "";
    uint32_t rows = 0;
    do {
        fake_scan(fake, !reverse && from[0] ? from : start, reverse && from[0] ? from : end,
                  reverse, limit ? limit - rows : 0, answer);
        fake_run(fake, fake->now_us + FAKE_SECOND);
        cr_assert(answer->times == 1 && answer->code == ROUTER_OK, "%s", answer->text);
        cr_assert_eq(answer->more, answer->resume[0] != 0);
        rows += answer->row_count;
        (void)strncat(all, answer->rows, sizeof(all) - strlen(all) - 1);
        (void)snprintf(from, sizeof(from), "%s", answer->resume);
    } while (answer->more && (limit == 0 || rows < limit));
    (void)snprintf(answer->rows, sizeof(answer->rows), "%s", all);
    return answer->more;
}

/* Scans go over ranges in order, in both directions, and stop at their limits with `more`. */
Test(router, scans_over_ranges) {
    struct fake fake;
    struct answer answer;
    static const char *const keys[] = {"a", "f", "g", "h", "o", "p", "q", "z"};
    fake_start_warm(&fake, 1);
    fake_lead(&fake, "h", 2);
    for (int i = 0; i < 8; i++) {
        fake_put(&fake, keys[i], keys[i], NULL, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
    }
    static const struct {
        const char *start, *end;
        bool reverse;
        uint32_t limit;
        const char *rows;
        bool more;
    } cases[] = {
        {"", "", false, 0, "a=a,f=f,g=g,h=h,o=o,p=p,q=q,z=z,", false},
        {"", "", true, 0, "z=z,q=q,p=p,o=o,h=h,g=g,f=f,a=a,", false},
        {"b", "q", false, 0, "f=f,g=g,h=h,o=o,p=p,", false},
        {"b", "q", true, 0, "p=p,o=o,h=h,g=g,f=f,", false},
        {"b", "p", true, 0, "o=o,h=h,g=g,f=f,", false},
        {"g", "p", false, 0, "g=g,h=h,o=o,", false},
        {"g", "", false, 3, "g=g,h=h,o=o,", true},
        {"f", "", false, 2, "f=f,g=g,", true},
        {"", "q", true, 2, "p=p,o=o,", true},
        {"r", "s", false, 0, "", false},
    };
    for (uint32_t rows = 0; rows < 3; rows++) {
        fake.get_rows_max = rows;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            bool more = scan_pages(&fake, cases[i].start, cases[i].end, cases[i].reverse,
                                   cases[i].limit, &answer);
            cr_expect_str_eq(answer.rows, cases[i].rows, "case %zu: %s", i, answer.rows);
            cr_expect_eq(more, cases[i].more, "case %zu", i);
        }
    }
    fake_done(&fake);
}

/* A node answers a scan over many deleted rows piece by piece, without a row. The router goes on by
 * itself; and what the deadline cuts off is an answer, too, that says where to go on: else a client
 * whose deadlines are short would never get past them. */
Test(router, scans_get_past_deleted_rows_whatever_the_deadline) {
    struct fake fake;
    struct answer answer;
    char key[16];
    fake_start_warm(&fake, 1);
    fake_put(&fake, "a", "first", NULL, &answer);
    fake_put(&fake, "z", "last", NULL, &answer);
    for (int i = 0; i < 60; i++) {
        (void)snprintf(key, sizeof(key), "c%02d", i);
        fake_put(&fake, key, "gone", NULL, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND / 10);
        fake_delete(&fake, key, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND / 10);
    }
    fake.scan_steps_max = 12;
    for (int reverse = 0; reverse < 2; reverse++) {
        const char *in_time = reverse ? "z=last,a=first," : "a=first,z=last,";
        (void)scan_pages(&fake, "", "", reverse, 2, &answer);
        cr_assert_str_eq(answer.rows, in_time);
        /* A page that finds no row goes on for as long as it may. */
        fake_scan(&fake, "b", "d", reverse, 2, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert(answer.times == 1 && answer.code == ROUTER_OK && !answer.more);
        /* A few pieces fit into this deadline, not all. */
        struct router_request request = {.op = ROUTER_SCAN,
                                         .start = SLICE_LITERAL("b"),
                                         .end = SLICE_LITERAL("d"),
                                         .reverse = reverse,
                                         .deadline_us = fake.now_us + 8 * fake.delay_max_us};
        fake_submit(&fake, &request, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert(answer.times == 1 && answer.code == ROUTER_OK, "%s", answer.text);
        cr_assert(answer.more && answer.row_count == 0);
        int order = strcmp(answer.resume, reverse ? "c55" : "c05");
        cr_assert(reverse ? order < 0 : order > 0, "%s", answer.resume);
    }
    fake_done(&fake);
}

/* A GET's answer stays below what a client takes: it is one for the first keys then, and never for
 * none. */
Test(router, gets_answer_for_the_first_keys_that_fit) {
    static char large[900 * 1024];
    struct fake fake;
    struct answer answer;
    char names[12][8];
    struct slice keys[12];
    memset(large, 'x', sizeof(large) - 1);
    fake_start_warm(&fake, 1);
    fake_lead(&fake, "h", 2);
    for (int i = 0; i < 12; i++) {
        /* Over three ranges, and not in their order. */
        (void)snprintf(names[i], sizeof(names[i]), "%c%02d", "zhaq"[i % 4], 99 - i);
        keys[i] = slice_from_text(names[i]);
        fake_put(&fake, names[i], i % 5 == 3 ? "small" : large, NULL, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert_eq(answer.code, ROUTER_OK);
    }
    for (uint32_t rows = 0; rows < 3; rows++) {
        fake.get_rows_max = rows;
        for (uint32_t at = 0; at < 12; at += answer.row_count) {
            struct router_request request = {
                .op = ROUTER_GET, .keys = keys + at, .key_count = 12 - at};
            fake_submit(&fake, &request, &answer);
            fake_run(&fake, fake.now_us + FAKE_SECOND);
            cr_assert(answer.times == 1 && answer.code == ROUTER_OK, "%s", answer.text);
            cr_assert(answer.row_count > 0 && answer.row_count <= 12 - at);
            cr_assert_leq(answer.value_bytes, RANGE_REPLY_BYTES_MAX);
            cr_assert(rows > 0 || answer.row_count >= 3 || at + answer.row_count == 12,
                      "%u keys from %u", answer.row_count, at);
            cr_assert_eq(answer.found, answer.row_count);
        }
    }
    fake_done(&fake);
}

/* Pages that end early are put together as they come, but none is longer than it may be. */
Test(router, scans_keep_to_their_bytes_over_ranges) {
    static char large[1000 * 1024];
    struct fake fake;
    struct answer answer;
    static const char *const keys[] = {"a", "b", "f", "h", "i", "q", "z"};
    memset(large, 'x', sizeof(large) - 1);
    fake_start_warm(&fake, 1);
    for (int i = 0; i < 7; i++) {
        fake_put(&fake, keys[i], large, NULL, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
    }
    char from[64] = "";
    uint32_t rows = 0;
    fake.get_rows_max = 2;
    do {
        fake_scan(&fake, from, "", false, 0, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
        cr_assert_leq(answer.value_bytes, RANGE_REPLY_BYTES_MAX);
        rows += answer.row_count;
        (void)snprintf(from, sizeof(from), "%s", answer.resume);
    } while (answer.more);
    cr_assert_eq(rows, 7);
    fake_done(&fake);
}

/* Bad requests are refused with the limit they break, and nothing is sent. */
Test(router, refuses_bad_requests_at_once) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    uint64_t before = fake_requests(&fake);
    static const char *const empty[] = {"a", ""};
    fake_get(&fake, empty, 2, &answer);
    cr_assert(answer.code == ROUTER_INVALID && strstr(answer.text, "key 1 is empty"));
    fake_get(&fake, empty, 0, &answer);
    cr_assert(answer.code == ROUTER_INVALID && strstr(answer.text, "0 keys"));
    fake_scan(&fake, "m", "m", false, 0, &answer);
    cr_assert(answer.code == ROUTER_INVALID && strstr(answer.text, "not after its start"));
    fake_put(&fake, "", "v", NULL, &answer);
    cr_assert(answer.code == ROUTER_INVALID && strstr(answer.text, "the key is empty"));
    static char big[TXN_KEY_BYTES_MAX + 2];
    memset(big, 'k', sizeof(big) - 1);
    fake_put(&fake, big, "v", NULL, &answer);
    cr_assert(answer.code == ROUTER_INVALID && strstr(answer.text, "the limit is 4096"));
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(fake_requests(&fake), before);
    fake_done(&fake);
}

/* Clients in a hurry find the leader as well: each asks at least once. */
Test(router, short_deadlines_find_the_leader_too) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    struct fake_range *range = fake_range_of(&fake, slice_from_text("h"));
    range->leader = 5;
    range->hint = 0;
    uint32_t tries = 0;
    for (; tries < 50; tries++) {
        struct slice key = slice_from_text("h");
        struct router_request request = {
            .op = ROUTER_GET, .key_count = 1, .keys = &key, .deadline_us = fake.now_us + 500};
        fake_submit(&fake, &request, &answer);
        fake_run(&fake, fake.now_us + 1000);
        if (answer.code == ROUTER_OK) break;
    }
    cr_assert_lt(tries, 50);
    fake_done(&fake);
}

/* Among many replicas the first one's hint leads to the leader; the others are not asked. */
Test(router, a_search_follows_hints) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake_kill(&fake, 1);
    fake_lead(&fake, "h", 5);
    uint64_t before = fake_requests(&fake);
    fake_put(&fake, "h", "v", NULL, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(answer.code, ROUTER_OK);
    cr_assert_eq(fake_requests(&fake) - before, 2);
    fake_done(&fake);
}

/* What may have been proposed is never called "nothing changed": not after UNKNOWN from a node, not
 * after a silent replica was given up, not for a frame that leaves only after the deadline. */
Test(router, never_calls_a_possible_write_undone) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    fake.faults.unknown = 100;
    fake_put(&fake, "h", "v", "id-1", &answer);
    fake_run(&fake, fake.now_us + 1000);
    fake_lead(&fake, "h", 0);
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    cr_assert_eq(answer.code, ROUTER_UNKNOWN, "after UNKNOWN: %s", answer.text);
    cr_assert(strstr(answer.text, "retry with the same request id"));

    fake.faults.unknown = 0;
    fake_freeze(&fake, 2);
    fake_put(&fake, "h", "v", "id-2", &answer);
    fake_run(&fake, fake.now_us + 400000);
    fake_thaw(&fake, 2); /* its refusal is of an attempt that was given up */
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    cr_assert_eq(answer.code, ROUTER_UNKNOWN, "after silence: %s", answer.text);

    fake_lead(&fake, "a", 1);
    fake_put(&fake, "a", "v", NULL, &answer);
    fake.now_us += 10 * FAKE_SECOND;
    router_tick(fake.router, fake.now_us); /* nobody flushed for so long */
    cr_assert_eq(answer.code, ROUTER_UNKNOWN, "in a frame: %s", answer.text);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(fake.nodes[1].writes_seen > 0, true, "the frame left after all");
    cr_assert_eq(answer.times, 1);
    fake_done(&fake);
}

/* The key right after another one is that key and a zero byte: a resumed scan must not skip it. */
Test(router, a_resumed_scan_skips_no_key) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 1);
    for (size_t len = 1; len <= 3; len++) {
        struct txn_op op = {
            .kind = TXN_OP_PUT, .key = slice_make("h\0\0", len), .value = slice_from_text("v")};
        struct txn_command command = {.op_count = 1, .ops = &op};
        struct router_request request = {.op = ROUTER_WRITE, .command = &command};
        fake_submit(&fake, &request, &answer);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert_eq(answer.code, ROUTER_OK);
    }
    fake.get_rows_max = 1;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct buf from = {0};
        uint32_t rows = 0;
        do {
            struct router_request request = {.op = ROUTER_SCAN, .reverse = reverse};
            *(reverse ? &request.end : &request.start) = slice_from_buf(&from);
            fake_submit(&fake, &request, &answer);
            fake_run(&fake, fake.now_us + FAKE_SECOND);
            cr_assert_eq(answer.code, ROUTER_OK);
            rows += answer.row_count;
            buf_assign(&from, slice_make(answer.resume, answer.resume_len));
        } while (answer.more && rows < 9);
        cr_assert_eq(rows, 3);
        buf_done(&from);
    }
    fake_done(&fake);
}

/* Answers that do not answer what was asked are a broken peer: the stream is to be closed. */
Test(router, notices_a_peer_that_breaks_protocol) {
    struct fake fake;
    struct answer answer;
    struct buf frame = {0};
    static const char *const keys[] = {"h"};
    fake_start_warm(&fake, 1);
    fake_get(&fake, keys, 1, &answer);
    router_flush(fake.router, fake.now_us);
    int broken_by_kind = 0, broken_by_node = 0;
    for (uint64_t id = 1; id < 100; id++) { /* ids are handed out in order: one is the attempt's */
        /* After a TIMEOUT the part rests: no attempt with another id takes its place. */
        struct range_reply right = {.call_id = id, .code = RANGE_REPLY_TIMEOUT}, wrong = right;
        wrong.code = RANGE_REPLY_OK;
        wrong.kind = RANGE_WRITE;
        range_frame_begin(&frame);
        range_reply_encode(&frame, &right);
        broken_by_node += router_replies(fake.router, 2, slice_from_buf(&frame), fake.now_us) ==
                          STATUS_CORRUPTION;
        range_frame_begin(&frame);
        range_reply_encode(&frame, &wrong);
        broken_by_kind += router_replies(fake.router, 1, slice_from_buf(&frame), fake.now_us) ==
                          STATUS_CORRUPTION;
    }
    cr_assert(broken_by_node == 1 && broken_by_kind == 1);
    cr_assert_eq(router_replies(fake.router, 1, slice_from_text("garbage"), fake.now_us),
                 STATUS_CORRUPTION);
    cr_assert_eq(answer.times, 0);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    buf_done(&frame);
    fake_done(&fake);
}

/* What the node makes of a scan of [h, ), of whichever attempt it is: true when the router believes
 * it. */
static bool believes_scan(uint32_t row_limit, struct range_reply reply) {
    struct fake fake;
    struct answer answer;
    struct buf frame = {0};
    fake_start_warm(&fake, 1);
    struct router_request request = {
        .op = ROUTER_SCAN, .start = slice_from_text("h"), .row_limit = row_limit};
    fake_submit(&fake, &request, &answer);
    router_flush(fake.router, fake.now_us);
    bool believed = true;
    reply.code = RANGE_REPLY_OK;
    reply.kind = RANGE_SCAN;
    for (reply.call_id = 1; reply.call_id < 100; reply.call_id++) {
        range_frame_begin(&frame);
        range_reply_encode(&frame, &reply);
        if (router_replies(fake.router, 1, slice_from_buf(&frame), fake.now_us) != STATUS_OK)
            believed = false;
    }
    buf_done(&frame);
    fake_done(&fake);
    return believed;
}

/* Rows and the place to go on lie in the piece that was asked for, in order, and no more than that.
 * The range ends at p. */
Test(router, believes_no_scan_that_leaves_its_piece) {
    struct range_row rows[] = {{.key = slice_from_text("i"), .version = 1},
                               {.key = slice_from_text("j"), .version = 1}};
    struct range_reply sound = {.row_count = 2, .rows = rows, .more = true};
    sound.resume = slice_from_text("k");
    cr_expect(believes_scan(0, sound));
    cr_expect(believes_scan(2, sound));
    cr_expect_not(believes_scan(1, sound), "more rows than asked for");
    struct range_reply reply = sound;
    reply.resume = slice_from_text("p");
    cr_expect_not(believes_scan(0, reply), "goes on behind the piece");
    reply.resume = slice_from_text("j");
    cr_expect_not(believes_scan(0, reply), "goes on at a row that it shows");
    reply.resume = slice_from_text("h");
    reply.row_count = 0;
    cr_expect_not(believes_scan(0, reply), "gets nowhere");
    reply = sound;
    rows[1].key = slice_from_text("p");
    reply.more = false;
    cr_expect_not(believes_scan(0, reply), "a row behind the piece");
    rows[0].key = slice_from_text("g");
    rows[1].key = slice_from_text("i");
    cr_expect_not(believes_scan(0, reply), "a row before the piece");
    rows[0].key = slice_from_text("i");
    cr_expect_not(believes_scan(0, reply), "a row twice");
}

/* Shutting down answers everybody, by what is known of each. */
Test(router, answers_everybody_when_it_is_freed) {
    struct fake fake;
    struct answer sent, waiting, read;
    static const char *const keys[] = {"h"};
    fake_start_warm(&fake, 1);
    fake_lead(&fake, "q", 0);
    fake_put(&fake, "q", "v", "id", &waiting);
    fake_run(&fake, fake.now_us + 100000);
    fake_put(&fake, "h", "v", NULL, &sent);
    fake_get(&fake, keys, 1, &read);
    router_flush(fake.router, fake.now_us);
    fake_done(&fake);
    cr_assert(sent.times == 1 && sent.code == ROUTER_UNKNOWN);
    cr_assert(read.times == 1 && read.code == ROUTER_UNAVAILABLE);
    cr_assert_eq(waiting.times, 1);
}

/* Transfers are routed by range id, to whoever leads. */
Test(router, routes_transfers_by_range_id) {
    struct fake fake;
    struct answer answer;
    fake_start(&fake, 2);
    struct router_request request = {.op = ROUTER_TRANSFER, .range_id = 3, .to_node = 1};
    fake_submit(&fake, &request, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    fake_done(&fake);
}

/* A leader that takes requests and answers none of them is not "no leader": the client hears which
 * node kept silent, and that the others name it. */
Test(router, names_the_leader_that_kept_silent) {
    struct fake fake;
    struct answer answer;
    fake_start_warm(&fake, 2);
    fake_freeze(&fake, 2); /* the others still believe in it */
    fake_put(&fake, "h", "v", "id", &answer);
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_UNKNOWN);
    cr_assert(strstr(answer.text, "the leader, node 2, did not answer in time; the outcome"), "%s",
              answer.text);
    fake_done(&fake);
}

static uint64_t leader_of_h(struct fake *fake) {
    uint64_t range_id = 0, leader = 0;
    cr_assert(router_locate(fake->router, slice_from_text("h"), &range_id, &leader));
    return leader;
}

/* A read that is over before its answer can be there, which comes later; then a pause. */
static void read_impatiently(struct fake *fake) {
    struct answer answer;
    struct slice key = slice_from_text("h");
    struct router_request request = {
        .op = ROUTER_GET, .keys = &key, .key_count = 1, .deadline_us = fake->now_us + 2000};
    fake->delay_min_us = fake->delay_max_us = 5000;
    fake_submit(fake, &request, &answer);
    fake_run(fake, fake->now_us + 4000);
    cr_assert(answer.times == 1 && answer.code == ROUTER_TIMEOUT);
    cr_expect_eq(leader_of_h(fake), 1, "it was forgotten");
    fake_run(fake, fake->now_us + 40000);
    fake->delay_min_us = fake->delay_max_us = 100;
    fake_run(fake, fake->now_us + 700000);
}

/* An answer that comes too late for its client is one: such a leader is not silent. */
Test(router, a_leader_whose_answers_come_late_is_kept) {
    struct fake fake;
    fake_start_warm(&fake, 1);
    for (int i = 0; i < 4; i++)
        read_impatiently(&fake);
    fake_done(&fake);
}

/* A stale read is answered by anybody, and says nothing of the leader. */
Test(router, stale_reads_do_not_make_a_leader_silent) {
    struct fake fake;
    struct answer answer;
    struct slice key = slice_from_text("h");
    fake_start_warm(&fake, 1);
    router_set_near_node(fake.router, 2);
    struct router_request request = {
        .op = ROUTER_GET, .key_count = 1, .keys = &key, .read_mode = RANGE_READ_STALE};
    fake_submit(&fake, &request, &answer);
    fake_run(&fake, fake.now_us + 700000);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK);
    read_impatiently(&fake);
    fake_done(&fake);
}
