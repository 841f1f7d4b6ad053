/* Commands evaluated at apply, and reads of versions: 64 commands per round, as a busy worker has
 * them. The engine is in memory. */
#include "base/assert.h"
#include "storage/memory_engine.h"
#include "storage/mvcc.h"
#include "tests/instructions/paths.h"
#include "txn/evaluate.h"

#define ROUND 64u
#define KEYS 1000u

struct apply_load {
    struct storage_engine *engine;
    struct storage_batch *batch;
    struct txn_apply *apply;
    struct arena arena;
    struct buf commands[ROUND]; /* encoded, stamped */
};

static void apply_round(void *ctx) {
    struct apply_load *load = ctx;
    struct txn_span everything = {0};
    txn_apply_begin(load->apply, load->batch);
    for (uint32_t i = 0; i < ROUND; i++) {
        struct txn_command command;
        struct txn_outcome outcome;
        struct slice encoded = slice_from_buf(&load->commands[i]);
        arena_reset(&load->arena);
        enum status status = txn_command_decode(encoded, &load->arena, &command);
        ASSERT_CMP(status, ==, STATUS_OK);
        status = txn_evaluate(load->apply, &everything, encoded, &command, &load->arena, &outcome);
        ASSERT_CMP(status, ==, STATUS_OK);
        ASSERT_CMP(outcome.result, ==, TXN_DONE);
    }
}

static void write_round(struct apply_load *load) {
    enum status status = storage_write(load->engine, load->batch, STORAGE_BUFFERED);
    ASSERT_CMP(status, ==, STATUS_OK);
    storage_batch_clear(load->batch);
    txn_apply_end(load->apply);
}

typedef void make_fn(struct path_command *into, const char *prefix, uint32_t number);

static void run_apply(uint32_t operations, make_fn *make) {
    struct apply_load load = {.engine = memory_engine_new()};
    load.batch = storage_batch_new(load.engine);
    load.apply = txn_apply_new(load.engine);
    for (uint32_t done = 0; done < operations; done += ROUND) {
        for (uint32_t i = 0; i < ROUND; i++) {
            struct path_command made;
            make(&made, "", done + i);
            buf_clear(&load.commands[i]);
            txn_command_encode(&load.commands[i], &made.command);
            txn_command_stamp(load.commands[i].data, load.commands[i].len, 1000 + done + i);
        }
        measured(apply_round, &load);
        write_round(&load);
    }
    for (uint32_t i = 0; i < ROUND; i++)
        buf_done(&load.commands[i]);
    txn_apply_free(load.apply);
    storage_batch_free(load.batch);
    storage_close(load.engine);
    arena_done(&load.arena);
}

static void apply_puts(uint32_t operations) {
    run_apply(operations, path_put);
}

static void apply_reservations(uint32_t operations) {
    run_apply(operations, path_reservation);
}

struct read_load {
    struct mvcc_reader reader;
    struct slice key;
    struct buf value;
};

static void read_one(void *ctx) {
    struct read_load *load = ctx;
    struct mvcc_version version;
    enum status status = mvcc_get(&load->reader, load->key, MVCC_TS_MAX, &load->value, &version);
    ASSERT_CMP(status, ==, STATUS_OK);
    ASSERT_CMP(version.value.len, ==, PATH_VALUE_BYTES);
}

static void read_versions(uint32_t operations) {
    char text[64];
    struct storage_engine *engine = memory_engine_new();
    struct storage_batch *batch = storage_batch_new(engine);
    for (uint32_t i = 0; i < KEYS; i++)
        mvcc_put(batch, path_key(text, "", i), 1000 + i, path_value());
    enum status status = storage_write(engine, batch, STORAGE_BUFFERED);
    ASSERT_CMP(status, ==, STATUS_OK);
    struct read_load load = {.reader = {.engine = engine}};
    for (uint32_t i = 0; i < operations; i++) {
        load.key = path_key(text, "", i % KEYS);
        measured(read_one, &load);
    }
    buf_done(&load.value);
    storage_batch_free(batch);
    storage_close(engine);
}

const struct path paths_txn[] = {
    {"txn_put", "a put evaluated, 64 per round", 1280, apply_puts},
    {"txn_reserve", "a reservation with request id evaluated, 64 per round", 1280,
     apply_reservations},
    {"mvcc_get", "the newest version of one of 1,000 keys, engine in memory", 1000, read_versions},
    {0},
};
