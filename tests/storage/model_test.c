/* Random histories on an engine against a model that is too simple to be wrong: a sorted array per
 * family, copied whole for each snapshot. */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/prng.h"
#include "storage/memory_engine.h"
#include "tests/storage/harness.h"

#define KEY_SPACE 48u
#define SNAPSHOTS_MAX 4u
#define FAMILIES 2u

struct model_family {
    uint32_t values[KEY_SPACE]; /* 0: absent */
};

struct model {
    struct model_family families[FAMILIES];
};

struct view {
    struct storage_snapshot *snapshot; /* NULL: slot is free */
    struct model model;
};

struct run {
    struct harness *harness;
    struct prng prng;
    struct model model, synced;
    struct view views[SNAPSHOTS_MAX];
    uint32_t next_value;
};

/* Keys of different lengths with zeros and 0xff in them, in the order of their numbers. */
static struct slice model_key(uint32_t number) {
    static uint8_t keys[KEY_SPACE][3];
    static const uint8_t digits[] = {0x00, 0x01, 0x7f, 0xff};
    uint8_t *key = keys[number];
    key[0] = digits[number / 12];
    uint32_t rest = number % 12; /* "", 0, 00, 0ff, 1, 7f, ... */
    static const struct {
        uint8_t len, bytes[2];
    } tails[12] = {{0, {0}},    {1, {0}},    {2, {0, 0}},       {2, {0, 0xff}},
                   {1, {1}},    {2, {1, 1}}, {1, {0x7f}},       {2, {0x7f, 0}},
                   {1, {0x80}}, {1, {0xff}}, {2, {0xff, 0x00}}, {2, {0xff, 0xff}}};
    memcpy(key + 1, tails[rest].bytes, 2);
    return slice_make(key, 1u + tails[rest].len);
}

static uint32_t any_key(struct run *run) {
    return (uint32_t)prng_below(&run->prng, KEY_SPACE);
}

static void write_randomly(struct run *run) {
    uint64_t operations = prng_between(&run->prng, 1, 6);
    storage_batch_clear(run->harness->batch);
    for (uint64_t i = 0; i < operations; i++) {
        uint32_t family = (uint32_t)prng_below(&run->prng, FAMILIES), key = any_key(run);
        struct model_family *model = &run->model.families[family];
        uint64_t choice = prng_below(&run->prng, 10);
        if (choice < 6) {
            uint32_t value = ++run->next_value;
            storage_batch_put(run->harness->batch, (enum storage_family)family, model_key(key),
                              slice_make(&value, sizeof(value)));
            model->values[key] = value;
        } else if (choice < 9) {
            storage_batch_delete(run->harness->batch, (enum storage_family)family, model_key(key));
            model->values[key] = 0;
        } else {
            uint32_t end = (uint32_t)prng_between(&run->prng, key, KEY_SPACE);
            storage_batch_delete_range(run->harness->batch, (enum storage_family)family,
                                       model_key(key),
                                       end == KEY_SPACE ? SLICE_EMPTY : model_key(end));
            for (; key < end; key++)
                model->values[key] = 0;
        }
    }
    bool sync = prng_below(&run->prng, 8) == 0;
    cr_assert_eq(storage_write(run->harness->engine, run->harness->batch,
                               sync ? STORAGE_SYNCED : STORAGE_BUFFERED),
                 STATUS_OK);
    if (sync) run->synced = run->model;
}

static void expect_at(struct storage_iterator *it, const struct model_family *model, int64_t key) {
    if (key < 0 || key >= KEY_SPACE) {
        cr_assert_not(storage_iterator_valid(it));
        cr_assert_eq(storage_iterator_status(it), STATUS_OK);
        return;
    }
    cr_assert(storage_iterator_valid(it));
    cr_assert(slice_equal(storage_iterator_key(it), model_key((uint32_t)key)));
    struct slice value = storage_iterator_value(it);
    cr_assert(slice_equal(value, slice_make(&model->values[key], sizeof(uint32_t))));
}

/* The nearest present key from `key` on in a direction within [lower, upper); -1 when none. */
static int64_t nearest(const struct model_family *model, int64_t key, int step, int64_t lower,
                       int64_t upper) {
    if (step > 0 && key < lower) key = lower;
    if (step < 0 && key >= upper) key = upper - 1;
    for (; key >= lower && key < upper; key += step)
        if (model->values[key] != 0) return key;
    return -1;
}

/* One iterator with random bounds, walked at random in both directions. */
static void iterate_randomly(struct run *run, const struct storage_snapshot *snapshot,
                             const struct model *state) {
    uint32_t family = (uint32_t)prng_below(&run->prng, FAMILIES);
    const struct model_family *model = &state->families[family];
    int64_t lower = any_key(run),
            upper = (int64_t)prng_between(&run->prng, (uint64_t)lower, KEY_SPACE);
    if (lower == upper) return;
    struct storage_iterator *it = storage_iterator_new(
        run->harness->engine, snapshot, (enum storage_family)family, model_key((uint32_t)lower),
        upper == KEY_SPACE ? SLICE_EMPTY : model_key((uint32_t)upper));
    int64_t at = -1;
    for (int move = 0; move < 12; move++) {
        uint32_t target = any_key(run);
        switch (prng_below(&run->prng, at < 0 ? 4 : 8)) {
        case 0:
            storage_iterator_seek_first(it);
            at = nearest(model, lower, 1, lower, upper);
            break;
        case 1:
            storage_iterator_seek_last(it);
            at = nearest(model, upper - 1, -1, lower, upper);
            break;
        case 2:
            storage_iterator_seek(it, model_key(target));
            at = nearest(model, target, 1, lower, upper);
            break;
        case 3:
            storage_iterator_seek_for_prev(it, model_key(target));
            at = nearest(model, target, -1, lower, upper);
            break;
        case 4:
        case 5:
            storage_iterator_next(it);
            at = nearest(model, at + 1, 1, lower, upper);
            break;
        default:
            storage_iterator_prev(it);
            at = nearest(model, at - 1, -1, lower, upper);
        }
        expect_at(it, model, at);
    }
    storage_iterator_free(it);
}

static void get_randomly(struct run *run, const struct storage_snapshot *snapshot,
                         const struct model *state) {
    uint32_t family = (uint32_t)prng_below(&run->prng, FAMILIES), key = any_key(run);
    uint32_t value = state->families[family].values[key];
    struct buf found = {0};
    enum status status = storage_get(run->harness->engine, snapshot, (enum storage_family)family,
                                     model_key(key), &found);
    cr_assert_eq(status, value ? STATUS_OK : STATUS_NOT_FOUND);
    if (value) cr_assert(slice_equal(slice_from_buf(&found), slice_make(&value, sizeof(value))));
    buf_done(&found);
}

static void toggle_snapshot(struct run *run) {
    struct view *view = &run->views[prng_below(&run->prng, SNAPSHOTS_MAX)];
    if (view->snapshot) {
        storage_snapshot_free(run->harness->engine, view->snapshot);
        view->snapshot = NULL;
    } else {
        view->snapshot = storage_snapshot_new(run->harness->engine);
        view->model = run->model;
    }
}

static void ingest_randomly(struct run *run) {
    uint32_t begin = any_key(run), end = (uint32_t)prng_between(&run->prng, begin + 1, KEY_SPACE);
    uint32_t family = (uint32_t)prng_below(&run->prng, FAMILIES);
    struct model_family *model = &run->model.families[family];
    struct storage_ingest *ingest = NULL;
    cr_assert_eq(storage_ingest_new(run->harness->engine, &ingest), STATUS_OK);
    for (uint32_t key = begin; key < end; key++) {
        model->values[key] = prng_below(&run->prng, 3) ? 0 : ++run->next_value;
        if (model->values[key] == 0) continue;
        cr_assert_eq(storage_ingest_add(ingest, (enum storage_family)family, model_key(key),
                                        slice_make(&model->values[key], sizeof(uint32_t))),
                     STATUS_OK);
    }
    struct storage_span span = {(enum storage_family)family, model_key(begin),
                                end == KEY_SPACE ? SLICE_EMPTY : model_key(end)};
    storage_batch_clear(run->harness->batch);
    cr_assert_eq(storage_ingest_commit(ingest, &span, 1, run->harness->batch), STATUS_OK);
    storage_ingest_free(ingest);
    run->synced = run->model;
}

static void free_views(struct run *run) {
    for (uint32_t i = 0; i < SNAPSHOTS_MAX; i++) {
        storage_snapshot_free(run->harness->engine, run->views[i].snapshot);
        run->views[i].snapshot = NULL;
    }
}

/* On the real engine a clean restart, in memory a power cut. */
static void restart(struct run *run) {
    free_views(run);
    if (run->harness->kind == ENGINE_MEMORY) {
        memory_engine_crash(run->harness->engine, 0);
        run->model = run->synced;
    } else {
        harness_reopen(run->harness);
        run->synced = run->model;
    }
}

static void check_state(struct run *run, const struct storage_snapshot *snapshot,
                        const struct model *state) {
    get_randomly(run, snapshot, state);
    iterate_randomly(run, snapshot, state);
}

static void run_model(struct harness *harness, uint64_t seed, uint32_t steps, uint32_t ingest_in,
                      uint32_t restart_in) {
    struct run run = {.harness = harness};
    prng_init(&run.prng, seed);
    for (uint32_t step = 0; step < steps; step++) {
        write_randomly(&run);
        check_state(&run, NULL, &run.model);
        if (prng_below(&run.prng, 4) == 0) toggle_snapshot(&run);
        for (uint32_t i = 0; i < SNAPSHOTS_MAX; i++)
            if (run.views[i].snapshot)
                check_state(&run, run.views[i].snapshot, &run.views[i].model);
        if (prng_below(&run.prng, ingest_in) == 0) ingest_randomly(&run);
        if (prng_below(&run.prng, restart_in) == 0) restart(&run);
    }
    free_views(&run);
}

/* Any history of writes, snapshots, iterators, installations and restarts reads as the model says.
 */
ENGINE_TEST(agrees_with_a_simple_model) {
    bool memory = harness->kind == ENGINE_MEMORY;
    for (uint64_t seed = 1; seed <= (memory ? 20 : 2); seed++) {
        storage_batch_clear(harness->batch);
        storage_batch_delete_range(harness->batch, (enum storage_family)0, SLICE_EMPTY,
                                   SLICE_EMPTY);
        storage_batch_delete_range(harness->batch, (enum storage_family)1, SLICE_EMPTY,
                                   SLICE_EMPTY);
        cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
        run_model(harness, seed, memory ? 2000 : 600, 40, memory ? 100 : 150);
    }
}
