/* What the storage tests share: the same behaviour on both engines, and small conveniences. */
#ifndef FLOTILLA_TESTS_STORAGE_HARNESS_H
#define FLOTILLA_TESTS_STORAGE_HARNESS_H

#include <criterion/criterion.h>

#include "storage/engine.h"

enum engine_kind { ENGINE_MEMORY, ENGINE_ROCKSDB };

struct harness {
    enum engine_kind kind;
    struct storage_engine *engine;
    struct storage_batch *batch; /* scratch */
    char directory[64];          /* of the real engine; removed at the end */
};

void harness_init(struct harness *harness, enum engine_kind kind);
void harness_done(struct harness *harness);
/* As a restart without a crash: what was written is there. */
void harness_reopen(struct harness *harness);

/* A fresh directory under /tmp in `ret_path` (64 bytes), and its removal with everything below. */
void scratch_directory(char ret_path[64]);
void remove_tree(const char *path);

/* One write with one operation; the value or key may hold any bytes but zero. */
void put(struct harness *harness, enum storage_family family, const char *key, const char *value);
void erase(struct harness *harness, enum storage_family family, const char *key);
/* "value", or NULL when not found; valid until the fourth next call. */
const char *get(struct harness *harness, const struct storage_snapshot *snapshot,
                enum storage_family family, const char *key);
/* All pairs of an iterator in one text: "a=1 b=2". Valid until the fourth next call. */
const char *dump(struct harness *harness, const struct storage_snapshot *snapshot,
                 enum storage_family family, const char *lower, const char *upper, bool reverse);

#define TEXT(text) slice_from_text(text)

/* One behaviour, one test for each engine: ENGINE_TEST(name) { ... uses harness ... } */
#define ENGINE_TEST(name)                                  \
    static void behaviour_##name(struct harness *harness); \
    Test(memory_engine, name) {                            \
        struct harness harness;                            \
        harness_init(&harness, ENGINE_MEMORY);             \
        behaviour_##name(&harness);                        \
        harness_done(&harness);                            \
    }                                                      \
    Test(rocksdb_engine, name) {                           \
        struct harness harness;                            \
        harness_init(&harness, ENGINE_ROCKSDB);            \
        behaviour_##name(&harness);                        \
        harness_done(&harness);                            \
    }                                                      \
    static void behaviour_##name(struct harness *harness)

#endif
