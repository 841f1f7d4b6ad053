/* The router under random faults, from seeds: nodes that die, freeze and return, leaders that move,
 * hints that lie, ranges that split, requests and replies that are lost, answers that come twice.
 * Whatever happens, every client hears exactly once, by its deadline, and the truth. */
#include <stdio.h>

#include "tests/range/router_fake.h"

#define CLIENT_CALLS 160
#define CLIENT_KEYS 26

enum call_kind { CALL_PUT, CALL_ADD, CALL_GET, CALL_SCAN };

struct client_call {
    struct answer answer;
    enum call_kind kind;
    bool has_id;
    char tag[16]; /* request id, and the value of a put */
    char key[8];
    uint64_t deadline_us;
    uint32_t evaluated; /* times that a leader evaluated it */
    uint32_t effective; /* times that this had an effect */
};

struct chaos {
    struct fake fake;
    struct client_call calls[CLIENT_CALLS];
    uint32_t count;
    uint64_t seed;
};

static struct client_call *call_by_tag(struct chaos *chaos, struct slice tag) {
    for (uint32_t i = 0; i < chaos->count; i++)
        if (slice_equal(slice_from_text(chaos->calls[i].tag), tag)) return &chaos->calls[i];
    return NULL;
}

/* Puts carry their tag as the value, adds as the request id or, without one, in a guard. */
static void on_evaluated(void *ctx, const struct txn_command *command,
                         const struct txn_outcome *outcome) {
    struct chaos *chaos = ctx;
    const struct txn_op *op = &command->ops[0];
    struct slice tag = op->kind == TXN_OP_PUT ? op->value : command->request_id;
    struct client_call *call = call_by_tag(chaos, tag);
    cr_assert(call != NULL);
    call->evaluated++;
    if (outcome->result == TXN_DONE && !outcome->replayed) call->effective++;
}

static void random_fault(struct chaos *chaos) {
    struct fake *fake = &chaos->fake;
    uint64_t node = prng_between(&fake->prng, 1, FAKE_NODES);
    struct fake_range *range = &fake->ranges[prng_below(&fake->prng, fake->range_count)];
    char key[2] = {(char)('a' + prng_below(&fake->prng, CLIENT_KEYS)), 0};
    switch (prng_below(&fake->prng, 12)) {
    case 0:
        if (!fake->nodes[node].dead) fake_kill(fake, node);
        break;
    case 1:
    case 2:
        if (fake->nodes[node].dead) fake_revive(fake, node);
        break;
    case 3:
        fake_freeze(fake, node);
        break;
    case 4:
    case 5:
        fake_thaw(fake, node);
        break;
    case 6:
        range->leader = 0;
        break;
    case 7:
        if (fake->range_count < FAKE_RANGES_MAX) fake_split(fake, slice_from_text(key));
        break;
    case 8:
        range->descriptor.epoch.conf_version++;
        break;
    default:
        range->leader = node;
        break;
    }
    fake->nodes[node].unreported = prng_below(&fake->prng, 4) == 0;
}

static void new_call(struct chaos *chaos) {
    struct fake *fake = &chaos->fake;
    uint32_t index = chaos->count++;
    struct client_call *call = &chaos->calls[index];
    call->kind = (enum call_kind)prng_below(&fake->prng, 4);
    call->has_id = call->kind == CALL_ADD || prng_below(&fake->prng, 2) == 0;
    (void)snprintf(call->tag, sizeof(call->tag), "tag-%u", index);
    (void)snprintf(call->key, sizeof(call->key), "%c",
                   (char)('a' + prng_below(&fake->prng, CLIENT_KEYS)));
    call->deadline_us = fake->now_us + prng_between(&fake->prng, 1000, 3000000);

    struct slice key = slice_from_text(call->key), keys[4] = {key};
    for (int i = 1; i < 4; i++)
        keys[i] = slice_from_text(chaos->calls[prng_below(&fake->prng, index + 1)].key);
    struct txn_op op = {.kind = call->kind == CALL_PUT ? TXN_OP_PUT : TXN_OP_ADD,
                        .key = key,
                        .value = slice_from_text(call->tag),
                        .delta = 1,
                        .minimum = INT64_MIN,
                        .maximum = INT64_MAX};
    struct txn_command command = {.request_id =
                                      call->has_id ? slice_from_text(call->tag) : SLICE_EMPTY,
                                  .op_count = 1,
                                  .ops = &op};
    struct router_request request = {.deadline_us = call->deadline_us, .command = &command};
    request.op = call->kind == CALL_GET    ? ROUTER_GET
                 : call->kind == CALL_SCAN ? ROUTER_SCAN
                                           : ROUTER_WRITE;
    request.keys = keys;
    request.key_count = (uint32_t)prng_between(&fake->prng, 1, 4);
    request.reverse = prng_below(&fake->prng, 2) == 0;
    fake_submit(fake, &request, &call->answer);
}

static void heal(struct chaos *chaos) {
    struct fake *fake = &chaos->fake;
    fake->faults = (struct fake_faults){0};
    for (uint64_t node = 1; node <= FAKE_NODES; node++) {
        fake_thaw(fake, node);
        fake->nodes[node].unreported = false;
        if (fake->nodes[node].dead) fake_revive(fake, node);
    }
    for (uint32_t i = 0; i < fake->range_count; i++)
        fake->ranges[i].leader = prng_between(&fake->prng, 1, FAKE_NODES);
}

static void check_write(const struct chaos *chaos, const struct client_call *call) {
    cr_assert_leq(call->effective, 1, "seed %lu %s: done %u times", chaos->seed, call->tag,
                  call->effective);
    if (!call->has_id)
        cr_assert_leq(call->evaluated, 1, "seed %lu %s: proposed %u times without an id",
                      chaos->seed, call->tag, call->evaluated);
    switch (call->answer.code) {
    case ROUTER_OK:
        if (call->answer.outcome.result == TXN_DONE)
            cr_assert_eq(call->effective, 1, "seed %lu %s: done, but not there", chaos->seed,
                         call->tag);
        break;
    case ROUTER_UNKNOWN:
        break;
    default:
        cr_assert_eq(call->evaluated, 0, "seed %lu %s: code %d (%s), but proposed", chaos->seed,
                     call->tag, call->answer.code, call->answer.text);
    }
}

static void check_calls(const struct chaos *chaos) {
    for (uint32_t i = 0; i < chaos->count; i++) {
        const struct client_call *call = &chaos->calls[i];
        cr_assert_eq(call->answer.times, 1, "seed %lu %s: answered %u times", chaos->seed,
                     call->tag, call->answer.times);
        cr_assert_leq(call->answer.at_us, call->deadline_us, "seed %lu %s", chaos->seed, call->tag);
        cr_assert_neq(call->answer.code, ROUTER_INVALID, "seed %lu %s: %s", chaos->seed, call->tag,
                      call->answer.text);
        cr_assert_neq(call->answer.code, ROUTER_CROSS_RANGE, "seed %lu %s", chaos->seed, call->tag);
        if (call->kind == CALL_PUT || call->kind == CALL_ADD) check_write(chaos, call);
    }
}

static void run_seed(struct chaos *chaos, uint64_t seed) {
    static const char *const cuts[] = {"g", "p"};
    *chaos = (struct chaos){.seed = seed};
    struct fake *fake = &chaos->fake;
    fake_init(fake, seed);
    fake_cut(fake, cuts, 2, 1);
    fake->on_evaluated = on_evaluated;
    fake->evaluated_ctx = chaos;
    fake->get_rows_max = (uint32_t)prng_below(&fake->prng, 3);
    fake->delay_max_us = prng_between(&fake->prng, 100, 20000);
    fake->faults = (struct fake_faults){.lose_request = (uint32_t)prng_below(&fake->prng, 6),
                                        .lose_reply = (uint32_t)prng_below(&fake->prng, 6),
                                        .repeat_reply = (uint32_t)prng_below(&fake->prng, 10),
                                        .busy = (uint32_t)prng_below(&fake->prng, 10),
                                        .unknown = (uint32_t)prng_below(&fake->prng, 10),
                                        .unavailable = (uint32_t)prng_below(&fake->prng, 10),
                                        .no_hint = (uint32_t)prng_below(&fake->prng, 50),
                                        .wrong_hint = (uint32_t)prng_below(&fake->prng, 50)};
    while (chaos->count < CLIENT_CALLS) {
        for (uint64_t n = prng_below(&fake->prng, 6); n > 0 && chaos->count < CLIENT_CALLS; n--)
            new_call(chaos);
        if (prng_below(&fake->prng, 3) == 0) random_fault(chaos);
        fake_run(fake, fake->now_us + prng_below(&fake->prng, 60000));
    }
    fake_run(fake, fake->now_us + 2000000);
    heal(chaos);
    uint64_t healed_us = fake->now_us;
    fake_run(fake, healed_us + 4000000);
    check_calls(chaos);

    /* A healed cluster serves again, at once. */
    struct answer answer;
    fake->on_evaluated = NULL;
    for (char key[2] = "a"; key[0] <= 'z'; key[0]++) {
        uint64_t began_us = fake->now_us;
        fake_put(fake, key, "after", NULL, &answer);
        fake_run(fake, began_us + 1000000);
        cr_assert(answer.times == 1 && answer.code == ROUTER_OK, "seed %lu key %s: %s", seed, key,
                  answer.text);
        cr_assert_lt(answer.at_us - began_us, 400000, "seed %lu", seed);
    }
    struct router_view view;
    router_view(fake->router, &view);
    cr_assert_eq(view.outstanding, 0);
    fake_done(fake);
}

/* Exactly one answer each, by the deadline, true to what was proposed and done; and the router is
 * as good as new when the faults end. */
Test(router_chaos, tells_every_client_once_and_the_truth) {
    static struct chaos chaos;
    for (uint64_t seed = 1; seed <= 150; seed++)
        run_seed(&chaos, seed);
}
