/* The checker against histories whose verdict is known, and against a brute-force twin. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/prng.h"
#include "tests/sim/linearizability.h"

#define CONFIGURATIONS_MAX 1000000u
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct register_op get(uint64_t called, uint64_t returned, int64_t number) {
    return (struct register_op){.kind = REGISTER_GET,
                                .answer = REGISTER_DONE,
                                .seen = {true, number},
                                .called = called,
                                .returned = returned};
}

static struct register_op get_absent(uint64_t called, uint64_t returned) {
    struct register_op op = get(called, returned, 0);
    op.seen.present = false;
    return op;
}

static struct register_op change(enum register_op_kind kind, uint64_t called, uint64_t returned,
                                 int64_t argument) {
    return (struct register_op){.kind = kind,
                                .answer = REGISTER_DONE,
                                .argument = argument,
                                .minimum = INT64_MIN,
                                .maximum = INT64_MAX,
                                .called = called,
                                .returned = returned};
}

static struct register_op put(uint64_t called, uint64_t returned, int64_t number) {
    return change(REGISTER_PUT, called, returned, number);
}

static struct register_op add(uint64_t called, uint64_t returned, int64_t delta, int64_t sum) {
    struct register_op op = change(REGISTER_ADD, called, returned, delta);
    op.seen.number = sum;
    return op;
}

static struct register_op answered(struct register_op op, enum register_answer answer) {
    op.answer = answer;
    return op;
}

static enum linearizability check(const struct register_op *ops, size_t count) {
    return linearizability_check(ops, count, CONFIGURATIONS_MAX, NULL);
}

/* Protects against a checker that refuses what is right: plain sequences. */
Test(linearizability, accepts_one_after_the_other) {
    struct register_op ops[] = {
        get_absent(1, 2),
        put(3, 4, 7),
        get(5, 6, 7),
        add(7, 8, 3, 10),
        get(9, 10, 10),
        change(REGISTER_DELETE, 11, 12, 0),
        get_absent(13, 14),
        change(REGISTER_INSERT, 15, 16, 5),
        answered(change(REGISTER_INSERT, 17, 18, 6), REGISTER_REFUSED),
        get(19, 20, 5),
    };
    cr_assert_eq(check(ops, COUNT(ops)), LINEARIZABLE);
    cr_assert_eq(check(ops, 0), LINEARIZABLE);
}

/* The fault that lease reads risk: an acknowledged write is not seen. */
Test(linearizability, refuses_a_stale_read) {
    struct register_op ops[] = {put(1, 2, 1), put(3, 4, 2), get(5, 6, 1)};
    size_t culprit = 99;
    cr_assert_eq(linearizability_check(ops, COUNT(ops), CONFIGURATIONS_MAX, &culprit),
                 NOT_LINEARIZABLE);
    cr_assert_eq(culprit, 2);
}

/* Two reads in a row must not see a concurrent write come and go. */
Test(linearizability, refuses_reads_that_go_back) {
    struct register_op ops[] = {put(1, 2, 1), put(3, 20, 2), get(4, 5, 2), get(6, 7, 1)};
    cr_assert_eq(check(ops, COUNT(ops)), NOT_LINEARIZABLE);
    ops[3] = get(6, 7, 2);
    cr_assert_eq(check(ops, COUNT(ops)), LINEARIZABLE);
}

/* Concurrent operations may take effect in any order, but in one. */
Test(linearizability, orders_concurrent_writes_once) {
    struct register_op good[] = {put(1, 10, 1), put(2, 9, 2), get(11, 12, 1), get(13, 14, 1)};
    struct register_op bad[] = {put(1, 10, 1), put(2, 9, 2), get(11, 12, 1), get(13, 14, 2)};
    cr_assert_eq(check(good, COUNT(good)), LINEARIZABLE);
    cr_assert_eq(check(bad, COUNT(bad)), NOT_LINEARIZABLE);
}

/* An unknown write may have happened, late or never; but it cannot happen before its call. */
Test(linearizability, lets_an_unknown_write_happen_late_or_never) {
    struct register_op unknown = answered(put(3, 0, 2), REGISTER_UNKNOWN);
    struct register_op never[] = {put(1, 2, 1), unknown, get(5, 6, 1), get(7, 8, 1)};
    struct register_op late[] = {put(1, 2, 1), unknown, get(5, 6, 1), get(7, 8, 2)};
    struct register_op twice[] = {put(1, 2, 1), unknown, get(5, 6, 2), put(7, 8, 1), get(9, 10, 2)};
    struct register_op early[] = {put(1, 2, 1), get(4, 5, 2),
                                  answered(put(6, 0, 2), REGISTER_UNKNOWN)};
    cr_assert_eq(check(never, COUNT(never)), LINEARIZABLE);
    cr_assert_eq(check(late, COUNT(late)), LINEARIZABLE);
    cr_assert_eq(check(twice, COUNT(twice)), NOT_LINEARIZABLE);
    cr_assert_eq(check(early, COUNT(early)), NOT_LINEARIZABLE);
}

/* A retry that was applied twice shows in the sums. */
Test(linearizability, refuses_an_add_applied_twice) {
    struct register_op ops[] = {add(1, 2, 5, 5), add(3, 4, 5, 15)};
    cr_assert_eq(check(ops, COUNT(ops)), NOT_LINEARIZABLE);
    struct register_op unknown[] = {add(1, 2, 5, 5), answered(add(3, 0, 5, 0), REGISTER_UNKNOWN),
                                    get(5, 6, 15)};
    cr_assert_eq(check(unknown, COUNT(unknown)), NOT_LINEARIZABLE);
    unknown[2] = get(5, 6, 10);
    cr_assert_eq(check(unknown, COUNT(unknown)), LINEARIZABLE);
}

/* A refusal is an observation: it must have been true. */
Test(linearizability, holds_refusals_to_the_state) {
    struct register_op full = add(3, 4, 5, 8);
    full.answer = REGISTER_REFUSED;
    full.maximum = 10;
    struct register_op good[] = {add(1, 2, 8, 8), full};
    struct register_op bad[] = {add(1, 2, 5, 5), full};
    struct register_op insert[] = {answered(change(REGISTER_INSERT, 1, 2, 6), REGISTER_REFUSED)};
    cr_assert_eq(check(good, COUNT(good)), LINEARIZABLE);
    cr_assert_eq(check(bad, COUNT(bad)), NOT_LINEARIZABLE);
    cr_assert_eq(check(insert, COUNT(insert)), NOT_LINEARIZABLE);
}
/* At its lower bound a sum is done, below it refused; the same above. */
Test(linearizability, holds_sums_to_both_bounds) {
    static const struct {
        int64_t delta, minimum, maximum;
        bool fits; /* from 8 */
    } cases[] = {{-5, 3, 100, true}, {-5, 4, 100, false}, {-5, 4, 4, false},
                 {5, 0, 13, true},   {5, 0, 12, false},   {5, 14, 20, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct register_op done = add(3, 4, cases[i].delta, 8 + cases[i].delta);
        done.minimum = cases[i].minimum;
        done.maximum = cases[i].maximum;
        struct register_op refused = answered(done, REGISTER_REFUSED);
        refused.seen.number = 8;
        struct register_op as_done[] = {put(1, 2, 8), done};
        struct register_op as_refused[] = {put(1, 2, 8), refused};
        cr_expect_eq(check(as_done, 2), cases[i].fits ? LINEARIZABLE : NOT_LINEARIZABLE, "%zu", i);
        cr_expect_eq(check(as_refused, 2), cases[i].fits ? NOT_LINEARIZABLE : LINEARIZABLE, "%zu",
                     i);
    }
}

/* A look sees whether there is something, and nothing more. */
Test(linearizability, holds_looks_to_what_is_there) {
    struct register_op look = get(3, 4, 0), look_absent = get_absent(3, 4);
    look.kind = look_absent.kind = REGISTER_LOOK;
    struct register_op right[] = {put(1, 2, 8), look}, wrong[] = {put(1, 2, 8), look_absent};
    cr_expect_eq(check(right, 2), LINEARIZABLE);
    cr_expect_eq(check(wrong, 2), NOT_LINEARIZABLE);
    cr_expect_eq(check(&look, 1), NOT_LINEARIZABLE);
    cr_expect_eq(check(&look_absent, 1), LINEARIZABLE);
}

static struct register_op guarded_put(uint64_t called, uint64_t returned, int64_t number,
                                      enum register_guard guard, struct register_state state) {
    struct register_op op = put(called, returned, number);
    op.guard = guard;
    op.guard_state = state;
    return op;
}

/* So is a guard that did not hold; and one that held must have. */
Test(linearizability, holds_guards_to_the_state) {
    static const struct {
        enum register_guard guard;
        struct register_state state;
        bool holds; /* where 1 was put */
    } cases[] = {{REGISTER_IF_PRESENT, {false, 0}, true},
                 {REGISTER_IF_ABSENT, {false, 0}, false},
                 {REGISTER_IF_STATE, {true, 1}, true},
                 {REGISTER_IF_STATE, {true, 2}, false},
                 {REGISTER_IF_STATE, {false, 0}, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct register_op guarded = guarded_put(3, 4, 7, cases[i].guard, cases[i].state);
        struct register_op done[] = {put(1, 2, 1), guarded, get(5, 6, 7)};
        struct register_op not_done[] = {put(1, 2, 1), answered(guarded, REGISTER_GUARDED),
                                         get(5, 6, 1)};
        struct register_op unknown[] = {put(1, 2, 1), answered(guarded, REGISTER_UNKNOWN),
                                        get(5, 6, 7)};
        cr_expect_eq(check(done, 3), cases[i].holds ? LINEARIZABLE : NOT_LINEARIZABLE, "%zu", i);
        cr_expect_eq(check(not_done, 3), cases[i].holds ? NOT_LINEARIZABLE : LINEARIZABLE, "%zu",
                     i);
        cr_expect_eq(check(unknown, 3), cases[i].holds ? LINEARIZABLE : NOT_LINEARIZABLE, "%zu", i);
    }
    /* It did not hold, and yet the write was done. */
    const struct register_state absent = {0};
    struct register_op both[] = {
        put(1, 2, 1), answered(guarded_put(3, 4, 7, REGISTER_IF_ABSENT, absent), REGISTER_GUARDED),
        get(5, 6, 7)};
    cr_expect_eq(check(both, 3), NOT_LINEARIZABLE);
}

/* Deleting and inserting again must not bring the old value back. */
Test(linearizability, refuses_a_value_that_rises_again) {
    struct register_op ops[] = {put(1, 2, 1), change(REGISTER_DELETE, 3, 4, 0),
                                change(REGISTER_INSERT, 5, 6, 2), get(7, 8, 1)};
    cr_assert_eq(check(ops, COUNT(ops)), NOT_LINEARIZABLE);
}

/* What is never answered says nothing: hundreds of such reads must not make a history hard. (They
 * did in one of a hundred clusters whose leases fail, where nobody judges what was read under one.)
 */
Test(linearizability, judges_beside_any_number_of_unanswered_reads) {
    struct register_op ops[1000];
    for (size_t i = 0; i < 998; i += 2) {
        ops[i] = put(10 * i, 10 * i + 5, (int64_t)i);
        ops[i + 1] = answered(get(10 * i + 1, 0, 0), REGISTER_UNKNOWN);
    }
    ops[998] = get(20001, 20002, 996);
    ops[999] = get(20003, 20004, 996);
    cr_assert_eq(linearizability_check(ops, 1000, 3000, NULL), LINEARIZABLE);
    ops[999].seen.number = 994;
    cr_assert_eq(linearizability_check(ops, 1000, 3000, NULL), NOT_LINEARIZABLE);
}

/* Writes that nobody heard of stay possible to the end; they must not multiply. */
Test(linearizability, judges_beside_many_unknown_writes) {
    struct register_op ops[260];
    size_t count = 0;
    for (size_t i = 0; i < 40; i++)
        ops[count++] = answered(put(i, 0, 1000 + (int64_t)i), REGISTER_UNKNOWN);
    for (size_t i = 0; i < 100; i++) {
        ops[count++] = put(100 + 10 * i, 105 + 10 * i, (int64_t)i);
        ops[count++] = get(106 + 10 * i, 107 + 10 * i, i < 40 ? 1000 + (int64_t)i : (int64_t)i);
    }
    cr_assert_eq(linearizability_check(ops, count, 100000, NULL), LINEARIZABLE);
    ops[count - 1].seen.number = 1007; /* once is enough for an unknown write */
    cr_assert_eq(linearizability_check(ops, count, 100000, NULL), NOT_LINEARIZABLE);
}

/* It says so when it gives up, instead of guessing. */
Test(linearizability, says_undecided_at_its_bound) {
    struct register_op ops[21];
    for (size_t i = 0; i < 20; i++)
        ops[i] = put(1 + i, 100 + i, (int64_t)i);
    ops[20] = get(200, 201, 77);
    cr_assert_eq(linearizability_check(ops, 21, 1000, NULL), LINEARIZABILITY_UNDECIDED);
}

/* ---- against what really happened ---- */

/* Written again, too. */
static bool demands_in_vain(const struct register_op *op, const struct register_state *state) {
    const struct register_state *wanted = &op->guard_state;
    if (op->guard == REGISTER_IF_PRESENT) return !state->present;
    if (op->guard == REGISTER_IF_ABSENT) return state->present;
    if (op->guard != REGISTER_IF_STATE) return false;
    return wanted->present ? !state->present || state->number != wanted->number : state->present;
}

static void take_effect(struct register_op *op, struct register_state *state) {
    int64_t held = state->present ? state->number : 0;
    op->answer = REGISTER_DONE;
    if (demands_in_vain(op, state)) {
        op->answer = REGISTER_GUARDED;
        return;
    }
    if (op->kind == REGISTER_GET) op->seen = *state;
    if (op->kind == REGISTER_LOOK) op->seen = (struct register_state){.present = state->present};
    if (op->kind == REGISTER_PUT) *state = (struct register_state){true, op->argument};
    if (op->kind == REGISTER_DELETE) *state = (struct register_state){0};
    if (op->kind == REGISTER_INSERT) {
        if (state->present) op->answer = REGISTER_REFUSED;
        if (!state->present) *state = (struct register_state){true, op->argument};
    }
    if (op->kind == REGISTER_ADD) {
        if (held + op->argument > op->maximum || held + op->argument < op->minimum) {
            op->answer = REGISTER_REFUSED;
            op->seen.number = held;
        } else {
            *state = (struct register_state){true, held + op->argument};
            op->seen.number = held + op->argument;
        }
    }
}

static bool writes(const struct register_op *op) {
    return op->kind != REGISTER_GET && op->kind != REGISTER_LOOK;
}

/* A history made from a true order: operation i takes effect at 10 * i + 5. */
static size_t make_history(struct prng *prng, struct register_op *ops, size_t count) {
    struct register_state state = {0};
    for (size_t i = 0; i < count; i++) {
        uint64_t at = 1000 + 100 * i;
        ops[i] = change((enum register_op_kind)prng_below(prng, 6), at - prng_below(prng, 30) * 10,
                        at + prng_below(prng, 30) * 10, (int64_t)prng_below(prng, 4));
        ops[i].called = ops[i].called * 100 + 2 * i;
        ops[i].returned = ops[i].returned * 100 + 2 * i + 1;
        ops[i].maximum = 6;
        ops[i].minimum = (int64_t)prng_below(prng, 3);
        if (writes(&ops[i]) && prng_below(prng, 3) == 0) {
            bool present = prng_below(prng, 3) > 0;
            ops[i].guard =
                (enum register_guard)prng_between(prng, REGISTER_IF_PRESENT, REGISTER_IF_STATE);
            ops[i].guard_state =
                (struct register_state){present, present ? (int64_t)prng_below(prng, 4) : 0};
        }
        take_effect(&ops[i], &state);
        if (writes(&ops[i]) && prng_below(prng, 8) == 0) ops[i].answer = REGISTER_UNKNOWN;
    }
    return count;
}

/* Protects against both errors at once: what really happened is accepted, and a read of a value
 * that nobody wrote is refused wherever it stands. */
Test(linearizability, accepts_what_really_happened_and_refuses_invented_reads) {
    struct prng prng;
    prng_init(&prng, 1);
    for (uint32_t round = 0; round < 2000; round++) {
        struct register_op ops[40];
        size_t count = make_history(&prng, ops, 5 + prng_below(&prng, 35));
        cr_assert_eq(check(ops, count), LINEARIZABLE, "round %u", round);
        size_t i = prng_below(&prng, count);
        if (ops[i].kind != REGISTER_GET) continue;
        ops[i].seen = (struct register_state){true, 1000};
        cr_assert_eq(check(ops, count), NOT_LINEARIZABLE, "round %u", round);
    }
}

/* ---- against every order there is ---- */

/* Whether the operation, answered as it was, may take effect in this state; written again, so that
 * an error in the checker's model has no twin here. */
static bool may_take_effect(const struct register_op *op, struct register_state *state) {
    struct register_op real = *op;
    struct register_state before = *state;
    take_effect(&real, state);
    if (op->answer == REGISTER_UNKNOWN) return true;
    if (real.answer != op->answer) return false;
    bool sum = op->kind == REGISTER_ADD && real.answer != REGISTER_GUARDED;
    if (op->kind == REGISTER_GET)
        return before.present == op->seen.present &&
               (!before.present || before.number == op->seen.number);
    if (op->kind == REGISTER_LOOK) return before.present == op->seen.present;
    return !sum || real.seen.number == op->seen.number;
}

/* Tries every operation that may come next, and that nothing else has to come before. */
static bool some_order_explains(const struct register_op *ops, size_t count, uint32_t done,
                                struct register_state state) {
    bool complete = true;
    uint64_t first_return = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (done >> i & 1 || ops[i].answer == REGISTER_UNKNOWN) continue;
        complete = false;
        if (ops[i].returned < first_return) first_return = ops[i].returned;
    }
    if (complete) return true;
    for (size_t i = 0; i < count; i++) {
        struct register_state after = state;
        if (done >> i & 1 || ops[i].called > first_return) continue;
        if (may_take_effect(&ops[i], &after) &&
            some_order_explains(ops, count, done | 1u << i, after))
            return true;
    }
    return false;
}

/* Makes what really happened a little wrong: an answer, or what was seen. */
static void falsify(struct prng *prng, struct register_op *op) {
    op->seen.present = writes(op) || prng_below(prng, 3) > 0;
    op->seen.number = op->seen.present ? (int64_t)prng_below(prng, 8) : 0;
    if (op->answer == REGISTER_UNKNOWN || prng_below(prng, 3) > 0) return;
    if (op->guard != REGISTER_UNGUARDED)
        op->answer = op->answer == REGISTER_GUARDED ? REGISTER_DONE : REGISTER_GUARDED;
    else if (op->kind == REGISTER_INSERT || op->kind == REGISTER_ADD)
        op->answer = op->answer == REGISTER_DONE ? REGISTER_REFUSED : REGISTER_DONE;
}

/* Protects against a rule of the search that gives up an answer: on short histories, with many
 * operations at once and values that repeat, it says what trying everything says. */
Test(linearizability, agrees_with_trying_every_order) {
    uint32_t verdicts[2] = {0};
    struct prng prng;
    prng_init(&prng, 2);
    for (uint32_t round = 0; round < 20000; round++) {
        struct register_op ops[7];
        size_t count = make_history(&prng, ops, 2 + prng_below(&prng, 6));
        if (prng_below(&prng, 3) > 0) falsify(&prng, &ops[prng_below(&prng, count)]);
        bool explained = some_order_explains(ops, count, 0, (struct register_state){0});
        verdicts[explained ? 1 : 0]++;
        cr_assert_eq(check(ops, count), explained ? LINEARIZABLE : NOT_LINEARIZABLE, "round %u",
                     round);
    }
    cr_assert_gt(verdicts[0], 2000);
    cr_assert_gt(verdicts[1], 2000);
}
