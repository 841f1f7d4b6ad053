/* What the txn tests share: one range on the engine in memory, commands built in a line each. */
#ifndef FLOTILLA_TESTS_TXN_HARNESS_H
#define FLOTILLA_TESTS_TXN_HARNESS_H

#include <criterion/criterion.h>

#include "storage/memory_engine.h"
#include "txn/evaluate.h"

#define PARTS_MAX 16

/* A command under construction. */
struct build {
    struct txn_command command;
    struct txn_guard guards[PARTS_MAX];
    struct txn_op ops[PARTS_MAX];
};

struct slice text(const char *literal);
void build_begin(struct build *build, const char *request_id);
void build_guard(struct build *build, enum txn_guard_kind kind, const char *key);
void build_equals(struct build *build, const char *key, const char *value);
void build_version(struct build *build, const char *key, uint64_t version);
void build_unchanged(struct build *build, const char *key, const char *end, uint64_t version);
void build_put(struct build *build, const char *key, const char *value);
void build_delete(struct build *build, const char *key);
void build_insert(struct build *build, const char *key, const char *value);
void build_add(struct build *build, const char *key, int64_t delta, int64_t minimum,
               int64_t maximum);

struct range_under_test {
    struct storage_engine *engine;
    struct storage_batch *batch;
    struct txn_apply *apply;
    struct txn_span span;
    struct arena arena; /* outcomes' numbers; never reset */
    uint64_t next_ts;
    bool in_round;
};

void range_init(struct range_under_test *range);
void range_done(struct range_under_test *range);
/* Encodes, stamps, decodes and evaluates, as a replica does. Opens a round when none is open. */
struct txn_outcome range_run(struct range_under_test *range, const struct build *build);
/* Writes the round's effects to the engine. */
void range_end_round(struct range_under_test *range);
/* Value and version of a key in the engine (rounds must be ended); NULL: absent. Valid until the
 * next call. */
const char *range_value(struct range_under_test *range, const char *key);
uint64_t range_version(struct range_under_test *range, const char *key);
uint64_t range_hash(struct range_under_test *range); /* of all data and records */

#endif
