#include "tests/txn/harness.h"

#include <stdio.h>

struct slice text(const char *literal) {
    return slice_from_text(literal);
}

void build_begin(struct build *build, const char *request_id) {
    *build = (struct build){.command = {.request_id = text(request_id)}};
    build->command.guards = build->guards;
    build->command.ops = build->ops;
}

static struct txn_guard *next_guard(struct build *build) {
    cr_assert(build->command.guard_count < PARTS_MAX);
    build->command.guards = build->guards; /* the build may have been copied */
    return &build->guards[build->command.guard_count++];
}

static struct txn_op *next_op(struct build *build) {
    cr_assert(build->command.op_count < PARTS_MAX);
    build->command.ops = build->ops;
    return &build->ops[build->command.op_count++];
}

void build_guard(struct build *build, enum txn_guard_kind kind, const char *key) {
    *next_guard(build) = (struct txn_guard){.kind = kind, .key = text(key)};
}

void build_equals(struct build *build, const char *key, const char *value) {
    *next_guard(build) =
        (struct txn_guard){.kind = TXN_GUARD_EQUALS, .key = text(key), .value = text(value)};
}

void build_version(struct build *build, const char *key, uint64_t version) {
    *next_guard(build) =
        (struct txn_guard){.kind = TXN_GUARD_VERSION, .key = text(key), .version = version};
}

void build_unchanged(struct build *build, const char *key, const char *end, uint64_t version) {
    *next_guard(build) = (struct txn_guard){
        .kind = TXN_GUARD_UNCHANGED, .key = text(key), .end = text(end), .version = version};
}

void build_put(struct build *build, const char *key, const char *value) {
    *next_op(build) = (struct txn_op){.kind = TXN_OP_PUT, .key = text(key), .value = text(value)};
}

void build_delete(struct build *build, const char *key) {
    *next_op(build) = (struct txn_op){.kind = TXN_OP_DELETE, .key = text(key)};
}

void build_insert(struct build *build, const char *key, const char *value) {
    *next_op(build) =
        (struct txn_op){.kind = TXN_OP_INSERT, .key = text(key), .value = text(value)};
}

void build_add(struct build *build, const char *key, int64_t delta, int64_t minimum,
               int64_t maximum) {
    *next_op(build) = (struct txn_op){.kind = TXN_OP_ADD,
                                      .key = text(key),
                                      .delta = delta,
                                      .minimum = minimum,
                                      .maximum = maximum};
}

void range_init(struct range_under_test *range) {
    *range = (struct range_under_test){.next_ts = 1000000};
    range->engine = memory_engine_new();
    range->batch = storage_batch_new(range->engine);
    range->apply = txn_apply_new(range->engine);
    arena_init(&range->arena, 0);
}

void range_done(struct range_under_test *range) {
    if (range->in_round) range_end_round(range);
    txn_apply_free(range->apply);
    storage_batch_free(range->batch);
    storage_close(range->engine);
    arena_done(&range->arena);
}

struct txn_outcome range_run(struct range_under_test *range, const struct build *build) {
    struct buf encoded = {0};
    struct txn_command source = build->command, decoded;
    source.guards = (struct txn_guard *)build->guards;
    source.ops = (struct txn_op *)build->ops;
    source.commit_ts = range->next_ts++;
    txn_command_encode(&encoded, &source);
    if (!source.unbounded) txn_command_stamp(encoded.data, encoded.len, source.commit_ts);
    cr_assert_eq(txn_command_decode(slice_from_buf(&encoded), &range->arena, &decoded), STATUS_OK);

    if (!range->in_round) txn_apply_begin(range->apply, range->batch);
    range->in_round = true;
    struct txn_outcome outcome;
    cr_assert_eq(txn_evaluate(range->apply, &range->span, slice_from_buf(&encoded), &decoded,
                              &range->arena, &outcome),
                 STATUS_OK);
    /* Nothing may refer to the command any more: a log entry is freed after its evaluation. */
    memset(encoded.data, 0xa5, encoded.len);
    buf_done(&encoded);
    return outcome;
}

void range_end_round(struct range_under_test *range) {
    if (!range->in_round) return;
    cr_assert_eq(storage_write(range->engine, range->batch, STORAGE_BUFFERED), STATUS_OK);
    storage_batch_clear(range->batch);
    txn_apply_end(range->apply);
    range->in_round = false;
}

static enum status newest(struct range_under_test *range, const char *key, struct buf *value,
                          struct mvcc_version *version) {
    struct mvcc_reader reader = {.engine = range->engine};
    cr_assert(!range->in_round);
    return mvcc_get(&reader, text(key), MVCC_TS_MAX, value, version);
}

const char *range_value(struct range_under_test *range, const char *key) {
    static char shown[256];
    struct buf value = {0};
    struct mvcc_version version;
    enum status status = newest(range, key, &value, &version);
    bool there = status == STATUS_OK && version.kind == MVCC_PUT;
    if (there)
        (void)snprintf(shown, sizeof(shown), "%.*s", (int)version.value.len,
                       (const char *)version.value.data);
    buf_done(&value);
    return there ? shown : NULL;
}

uint64_t range_version(struct range_under_test *range, const char *key) {
    struct buf value = {0};
    struct mvcc_version version = {0};
    enum status status = newest(range, key, &value, &version);
    buf_done(&value);
    return status == STATUS_OK ? version.commit_ts : 0;
}

uint64_t range_hash(struct range_under_test *range) {
    struct storage_span data = {.family = STORAGE_DATA}, meta = {.family = STORAGE_META};
    return memory_engine_hash(range->engine, &data) * 31 + memory_engine_hash(range->engine, &meta);
}
