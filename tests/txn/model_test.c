/* Random commands against a model that knows nothing of rounds, overlays or encodings, and against
 * a second replica that cuts the rounds elsewhere. */
#include <stdio.h>

#include "base/prng.h"
#include "tests/txn/harness.h"
#include "txn/number.h"

#define KEYS 6
#define STEPS 400
#define IDS 12

static const char *const key_names[KEYS] = {"a", "b", "c", "d", "e", "f"};

struct model_key {
    bool exists;
    char value[32];
    uint64_t newest_ts; /* of a value or a deletion */
};

struct model_record {
    bool there;
    struct txn_outcome outcome;
    uint64_t fingerprint;
};

struct model {
    struct model_key keys[KEYS];
    uint32_t steps_max;                        /* of one command */
    struct model_record records[KEYS][2][IDS]; /* by anchor, whether it was inserted, and id */
};

static int key_index(struct slice key) {
    return key.data[0] - 'a';
}

/* False when that is more than there are. */
static bool model_spend(uint32_t *steps_left, uint32_t steps) {
    bool enough = steps <= *steps_left;
    *steps_left -= enough ? steps : *steps_left;
    return enough;
}

/* Stops at the first key that was written later; keys that never had a version are not there. */
static enum txn_result model_interval(const struct model *model, const struct txn_guard *guard,
                                      uint32_t *steps_left) {
    if (!model_spend(steps_left, TXN_INTERVAL_STEPS)) return TXN_REFUSED_WORK;
    for (int i = key_index(guard->key); i < key_index(guard->end); i++) {
        if (model->keys[i].newest_ts == 0) continue;
        if (!model_spend(steps_left, 1)) return TXN_REFUSED_WORK;
        if (model->keys[i].newest_ts > guard->version) return TXN_REFUSED_GUARD;
    }
    return TXN_DONE;
}

static bool model_guard(const struct model *model, const struct txn_guard *guard) {
    const struct model_key *key = &model->keys[key_index(guard->key)];
    switch (guard->kind) {
    case TXN_GUARD_EXISTS:
        return key->exists;
    case TXN_GUARD_ABSENT:
        return !key->exists;
    case TXN_GUARD_EQUALS:
        return key->exists && slice_equal(text(key->value), guard->value);
    case TXN_GUARD_VERSION:
        return guard->version == (key->exists ? key->newest_ts : 0);
    case TXN_GUARD_UNCHANGED:
        return key->newest_ts <= guard->version;
    }
    return false;
}

static enum txn_result model_guards(const struct model *model, const struct build *build,
                                    uint32_t *steps_left, uint32_t *ret_index) {
    for (uint32_t i = 0; i < build->command.guard_count; i++) {
        const struct txn_guard *guard = &build->guards[i];
        enum txn_result result = TXN_DONE;
        if (guard->end.len > 0)
            result = model_interval(model, guard, steps_left);
        else if (!model_guard(model, guard))
            result = TXN_REFUSED_GUARD;
        *ret_index = i;
        if (result != TXN_DONE) return result;
    }
    return TXN_DONE;
}

static enum txn_result model_op(struct model_key *key, const struct txn_op *op, int64_t *number) {
    int64_t present = 0;
    switch (op->kind) {
    case TXN_OP_INSERT:
        if (key->exists) return TXN_REFUSED_EXISTS;
        /* fall through */
    case TXN_OP_PUT:
        key->exists = true;
        (void)snprintf(key->value, sizeof(key->value), "%.*s", (int)op->value.len,
                       (const char *)op->value.data);
        return TXN_DONE;
    case TXN_OP_DELETE:
        key->exists = false;
        return TXN_DONE;
    case TXN_OP_ADD:
        if (key->exists && !txn_number_parse(text(key->value), &present))
            return TXN_REFUSED_NOT_A_NUMBER;
        *number = present;
        if (present + op->delta < op->minimum || present + op->delta > op->maximum)
            return TXN_REFUSED_BOUND;
        *number = present + op->delta;
        key->exists = true;
        (void)snprintf(key->value, sizeof(key->value), "%ld", *number);
        return TXN_DONE;
    }
    return TXN_DONE;
}

static struct txn_outcome model_decide(struct model *model, const struct build *build,
                                       uint64_t commit_ts) {
    const struct txn_command *command = &build->command;
    struct model next = *model;
    bool touched[KEYS] = {false};
    uint32_t steps_left = model->steps_max, refused_at = 0;
    if (!model_spend(&steps_left, command->guard_count + command->op_count))
        return (struct txn_outcome){.result = TXN_REFUSED_WORK};
    enum txn_result guards = model_guards(model, build, &steps_left, &refused_at);
    if (guards != TXN_DONE) return (struct txn_outcome){.result = guards, .index = refused_at};
    for (uint32_t i = 0; i < command->op_count; i++) {
        int64_t number = 0;
        int index = key_index(build->ops[i].key);
        enum txn_result result = model_op(&next.keys[index], &build->ops[i], &number);
        if (result != TXN_DONE)
            return (struct txn_outcome){
                .result = result, .index = i, .number = result == TXN_REFUSED_BOUND ? number : 0};
        touched[index] = true;
    }
    for (int i = 0; i < KEYS; i++) {
        bool trace = next.keys[i].exists || model->keys[i].exists;
        if (touched[i] && trace) next.keys[i].newest_ts = commit_ts;
    }
    *model = next;
    return (struct txn_outcome){.result = TXN_DONE, .commit_ts = commit_ts};
}

/* An id belongs to the first key that its command inserts, else to its first key. */
static struct model_record *model_record(struct model *model, const struct build *build) {
    int id = build->command.request_id.data[0] - '0';
    for (uint32_t i = 0; i < build->command.op_count; i++)
        if (build->ops[i].kind == TXN_OP_INSERT)
            return &model->records[key_index(build->ops[i].key)][1][id];
    return &model->records[key_index(build->ops[0].key)][0][id];
}

static struct txn_outcome model_run(struct model *model, const struct build *build,
                                    uint64_t commit_ts) {
    if (build->command.request_id.len == 0) return model_decide(model, build, commit_ts);
    struct buf encoded = {0};
    txn_command_encode(&encoded, &build->command);
    uint64_t fingerprint = txn_command_fingerprint(slice_from_buf(&encoded));
    buf_done(&encoded);
    struct model_record *record = model_record(model, build);
    if (!record->there) {
        struct txn_outcome outcome = model_decide(model, build, commit_ts);
        *record = (struct model_record){true, outcome, fingerprint};
        return outcome;
    }
    if (record->fingerprint != fingerprint)
        return (struct txn_outcome){.result = TXN_REFUSED_REQUEST_ID_REUSED};
    struct txn_outcome outcome = record->outcome;
    outcome.replayed = true;
    return outcome;
}

static void random_command(struct prng *prng, struct build *build, uint64_t now_ts) {
    static const char *const ids[IDS] = {"0", "1", "2", "3", "4", "5",
                                         "6", "7", "8", "9", ":", ";"};
    static const char *const values[] = {"1", "20", "x", "", "-3"};
    bool with_id = prng_below(prng, 5) == 0;
    build_begin(build, with_id ? ids[prng_below(prng, IDS)] : "");
    uint32_t guards = (uint32_t)prng_below(prng, 3), ops = (uint32_t)prng_between(prng, 1, 4);
    for (uint32_t i = 0; i < guards; i++) {
        uint64_t key = prng_below(prng, KEYS - 1);
        uint64_t version = prng_below(prng, 4) == 0 ? 0 : now_ts - prng_below(prng, 12);
        switch (prng_below(prng, 6)) {
        case 0:
            build_guard(build, TXN_GUARD_EXISTS, key_names[key]);
            break;
        case 1:
            build_guard(build, TXN_GUARD_ABSENT, key_names[key]);
            break;
        case 2:
            build_equals(build, key_names[key], values[prng_below(prng, 5)]);
            break;
        case 3:
            build_version(build, key_names[key], version);
            break;
        case 4:
            build_unchanged(build, key_names[key], "", version);
            break;
        case 5:
            build_unchanged(build, key_names[key], key_names[prng_between(prng, key + 1, KEYS - 1)],
                            version);
            break;
        }
    }
    for (uint32_t i = 0; i < ops; i++) {
        const char *key = with_id && i == 0 ? "a" : key_names[prng_below(prng, KEYS)];
        switch (prng_below(prng, 5)) {
        case 0:
            build_put(build, key, values[prng_below(prng, 5)]);
            break;
        case 1:
            build_delete(build, key);
            break;
        case 2:
            build_insert(build, key, values[prng_below(prng, 5)]);
            break;
        default:
            build_add(build, key, (int64_t)prng_below(prng, 9) - 4, -10, 30);
            break;
        }
    }
}

static void expect_same(const struct txn_outcome *got, const struct txn_outcome *expected,
                        uint64_t seed, int step) {
    cr_assert(got->result == expected->result && got->index == expected->index &&
                  got->commit_ts == expected->commit_ts && got->number == expected->number &&
                  got->replayed == expected->replayed,
              "seed %lu step %d: %s at %u instead of %s at %u", seed, step,
              txn_result_text(got->result), got->index, txn_result_text(expected->result),
              expected->index);
}

static void expect_state(struct range_under_test *range, const struct model *model, uint64_t seed) {
    for (int i = 0; i < KEYS; i++) {
        const char *value = range_value(range, key_names[i]);
        cr_assert_eq(value != NULL, model->keys[i].exists, "seed %lu key %s", seed, key_names[i]);
        if (value) cr_assert_str_eq(value, model->keys[i].value, "seed %lu", seed);
        cr_assert_eq(range_version(range, key_names[i]), model->keys[i].newest_ts,
                     "seed %lu key %s", seed, key_names[i]);
    }
}

static struct build sent[STEPS]; /* with an id: to be sent again */

/* Outcomes and state are those of the plain model, wherever the rounds end, and two replicas with
 * different rounds hold the same bytes. */
Test(txn_model, outcomes_and_state_do_not_depend_on_rounds) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct range_under_test one, two;
        struct model model = {.steps_max = TXN_COMMAND_STEPS_MAX};
        uint32_t sent_count = 0;
        struct prng prng;
        prng_init(&prng, seed);
        range_init(&one);
        range_init(&two);
        if (seed % 2 == 0) { /* so few that they run out in the middle of an interval */
            model.steps_max = (uint32_t)prng_between(&prng, 2, 2 * TXN_INTERVAL_STEPS + 6);
            txn_apply_set_steps_max(one.apply, model.steps_max);
            txn_apply_set_steps_max(two.apply, model.steps_max);
        }
        for (int step = 0; step < STEPS; step++) {
            struct build build;
            uint64_t now_ts = one.next_ts;
            if (sent_count > 0 && prng_below(&prng, 6) == 0) {
                build = sent[prng_below(&prng, sent_count)];
            } else {
                random_command(&prng, &build, now_ts);
                if (build.command.request_id.len > 0 && sent_count < STEPS)
                    sent[sent_count++] = build;
            }
            struct txn_outcome expected = model_run(&model, &build, now_ts);
            struct txn_outcome got = range_run(&one, &build);
            expect_same(&got, &expected, seed, step);
            got = range_run(&two, &build);
            expect_same(&got, &expected, seed, step);
            range_end_round(&two);
            if (prng_below(&prng, 20) == 0) range_end_round(&one);
        }
        range_end_round(&one);
        expect_state(&one, &model, seed);
        cr_assert_eq(range_hash(&one), range_hash(&two), "seed %lu", seed);
        range_done(&one);
        range_done(&two);
    }
}
