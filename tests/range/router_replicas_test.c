/* Operators' requests about replicas on their way through the router. */
#include "base/memory.h"
#include "tests/range/router_fake.h"

static const struct range_replica_change remove_node_5 = {RANGE_REMOVE, 5};

static struct fake_range *range_2(struct fake *fake) {
    return fake_range_of(fake, SLICE_LITERAL("h"));
}

/* Node 5's replica of range 2 shall go, if that is the descriptor's conf_version. */
static void submit_change(struct fake *fake, uint64_t conf_version, struct answer *answer) {
    const struct range_epoch epoch = {conf_version, range_2(fake)->descriptor.epoch.span_version};
    struct router_request request = {.op = ROUTER_CHANGE_REPLICAS,
                                     .range_id = 2,
                                     .epoch = epoch,
                                     .change_count = 1,
                                     .changes = &remove_node_5};
    fake_submit(fake, &request, answer);
}

struct described {
    uint32_t times;
    enum router_code code;
    uint64_t leader_node, term, conf_version;
};

static void note_description(void *ctx, const struct router_reply *reply) {
    struct described *described = ctx;
    described->times++;
    described->code = reply->code;
    if (reply->code != ROUTER_OK) return;
    described->leader_node = reply->replicas->leader_node;
    described->term = reply->replicas->term;
    described->conf_version = reply->replicas->descriptor->epoch.conf_version;
}

/* Who asks for the replicas is told by the leader, whatever epoch the router believes in. */
Test(router_replicas, are_described_by_the_leader) {
    struct fake fake;
    struct described described = {0};
    fake_start(&fake, 2);
    struct router_request request = {.op = ROUTER_DESCRIBE, .range_id = 2};
    for (uint32_t round = 1; round <= 2; round++) {
        router_submit(fake.router, &request, fake.now_us, note_description, &described);
        fake_run(&fake, fake.now_us + FAKE_SECOND);
        cr_assert(described.times == round && described.code == ROUTER_OK);
        cr_assert(described.leader_node == range_2(&fake)->leader && described.term == 9);
        cr_assert_eq(described.conf_version, range_2(&fake)->descriptor.epoch.conf_version);
        range_2(&fake)->leader = 3; /* unknown to the router, as is the new epoch */
        range_2(&fake)->descriptor.epoch.conf_version++;
    }
    fake_done(&fake);
}

/* A change of the present descriptor is made, and the router knows the new one at once. */
Test(router_replicas, are_changed_as_asked) {
    struct fake fake;
    struct answer answer, put;
    fake_start(&fake, 2);
    submit_change(&fake, 1, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK, "%s", answer.text);
    cr_assert_eq(range_2(&fake)->descriptor.replica_count, FAKE_NODES - 1);
    uint64_t before = fake_requests(&fake);
    fake_put(&fake, "h", "v", NULL, &put);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(put.code, ROUTER_OK);
    cr_assert_eq(fake_requests(&fake) - before, 1, "no refusal was needed to learn it");
    fake_done(&fake);
}

/* A change that was thought out for another descriptor is not made, and never against the one that
 * the router happens to know. */
Test(router_replicas, are_not_changed_under_another_epoch) {
    struct fake fake;
    struct answer answer;
    fake_start(&fake, 2);
    range_2(&fake)->descriptor.epoch.conf_version = 7;
    submit_change(&fake, 6, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_BUSY, "%s", answer.text);
    cr_assert_eq(range_2(&fake)->descriptor.replica_count, FAKE_NODES);
    fake_done(&fake);
}

/* BUSY of the leader is for the operator to wait out, with a look at the descriptor in between. */
Test(router_replicas, busy_ends_a_change_at_once) {
    struct fake fake;
    struct answer answer;
    fake_start(&fake, 2);
    fake.busy_left = 1;
    submit_change(&fake, 1, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_BUSY, "%s", answer.text);
    cr_assert_eq(range_2(&fake)->descriptor.replica_count, FAKE_NODES);
    fake_done(&fake);
}

/* The answer was lost: the change is sent again and refused as stale, and nobody is told that it
 * was not made. */
Test(router_replicas, a_change_whose_answer_was_lost_is_unknown_and_made_once) {
    struct fake fake;
    struct answer answer;
    fake_start(&fake, 2);
    fake.faults.lose_reply = 100;
    submit_change(&fake, 1, &answer);
    fake_run(&fake, fake.now_us + FAKE_SECOND / 5);
    cr_assert(answer.times == 0 && range_2(&fake)->descriptor.epoch.conf_version == 2);
    fake.faults.lose_reply = 0;
    fake_run(&fake, fake.now_us + 2 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_UNKNOWN, "%s", answer.text);
    cr_assert_eq(range_2(&fake)->descriptor.epoch.conf_version, 2);
    fake_done(&fake);
}

/* Nobody answered until the deadline: that is no "nothing was changed". */
Test(router_replicas, a_change_that_nobody_answered_is_unknown) {
    struct fake fake;
    struct answer answer;
    fake_start(&fake, 2);
    fake.faults.lose_reply = 100;
    submit_change(&fake, 1, &answer);
    fake_run(&fake, fake.now_us + 10 * FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_UNKNOWN, "%s", answer.text);
    cr_assert(strstr(answer.text, "unknown: the range's replicas tell"), "%s", answer.text);
    fake_done(&fake);
}

/* A range that moved to nodes which the router has never heard of, one replica at a time, is found
 * again; nobody asks an operator to restart the router. */
Test(router_replicas, a_range_that_moved_away_altogether_is_found) {
    struct fake fake;
    struct answer before, after;
    fake_start(&fake, 1);
    struct range_descriptor *descriptor = &range_2(&fake)->descriptor;
    descriptor->replica_count = 1; /* on node 1 */
    descriptor->next_replica_id = 10;
    fake_put(&fake, "h", "v", NULL, &before);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(before.code, ROUTER_OK);
    descriptor->replicas[0] = (struct range_replica_ref){9, 4, RANGE_VOTER};
    descriptor->epoch.conf_version = 12;
    range_2(&fake)->leader = 4;
    range_2(&fake)->gone_from = 1;
    fake_put(&fake, "h", "w", NULL, &after);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(after.times == 1 && after.code == ROUTER_OK, "%s", after.text);
    fake_done(&fake);
}

/* A learner by the router's knowledge may lead by now: it is asked as well when nobody else is
 * left. */
Test(router_replicas, a_learner_that_was_promoted_is_found) {
    struct fake fake;
    struct answer before, after;
    fake_start(&fake, 1);
    struct range_descriptor *descriptor = &range_2(&fake)->descriptor;
    descriptor->replica_count = 2;
    descriptor->replicas[1].role = RANGE_LEARNER;
    fake_put(&fake, "h", "v", NULL, &before);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert_eq(before.code, ROUTER_OK);
    uint64_t learner_node = descriptor->replicas[1].node_id;
    descriptor->replicas[0] = descriptor->replicas[1];
    descriptor->replicas[0].role = RANGE_VOTER;
    descriptor->replica_count = 1;
    descriptor->epoch.conf_version = 12;
    range_2(&fake)->leader = learner_node;
    fake.placement_silent = true;
    fake_kill(&fake, 1);
    fake_put(&fake, "h", "w", NULL, &after);
    fake_run(&fake, fake.now_us + FAKE_SECOND);
    cr_assert(after.times == 1 && after.code == ROUTER_OK, "%s", after.text);
    fake_done(&fake);
}
