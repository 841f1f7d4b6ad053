#include <criterion/criterion.h>

#include "cmd/node_identity.h"
#include "storage/memory_engine.h"

static const struct placement_identity sample = {.cluster_id = 0x1111222233334444u,
                                                 .node_id = 3,
                                                 .uuid = {.bytes = {1, 2, 3, 0, 5, 255}},
                                                 .starts = 41};

static void expect_sample(struct storage_engine *engine) {
    struct placement_identity loaded;
    struct buf error = {0};
    cr_assert_eq(node_identity_load(engine, &error, &loaded), STATUS_OK);
    cr_expect_eq(loaded.cluster_id, sample.cluster_id);
    cr_expect_eq(loaded.node_id, sample.node_id);
    cr_expect_eq(loaded.starts, sample.starts);
    cr_expect_arr_eq(loaded.uuid.bytes, sample.uuid.bytes, sizeof(sample.uuid.bytes));
}

/* A node that came back under another identity would vote twice. */
Test(node_identity, is_there_after_a_power_cut) {
    struct storage_engine *engine = memory_engine_new();
    cr_assert_eq(node_identity_save(engine, &sample), STATUS_OK);
    expect_sample(engine);
    memory_engine_crash(engine, 0);
    expect_sample(engine);
    storage_close(engine);
}

Test(node_identity, of_a_fresh_directory_is_not_found) {
    struct placement_identity loaded;
    struct buf error = {0};
    struct storage_engine *engine = memory_engine_new();
    cr_expect_eq(node_identity_load(engine, &error, &loaded), STATUS_NOT_FOUND);
    storage_close(engine);
}

/* A placement member's data, or a node's whose identity is gone: whatever it is, it must not be
 * taken for a fresh directory. */
Test(node_identity, is_not_made_up_for_data_of_another_kind) {
    for (int family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        struct placement_identity loaded;
        struct buf error = {0};
        struct storage_engine *engine = memory_engine_new();
        struct storage_batch *batch = storage_batch_new(engine);
        storage_batch_put(batch, family, SLICE_LITERAL("x"), SLICE_LITERAL("y"));
        cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
        cr_expect_eq(node_identity_load(engine, &error, &loaded), STATUS_MISMATCH);
        cr_expect_gt(error.len, 0);
        buf_done(&error);
        storage_batch_free(batch);
        storage_close(engine);
    }
}

/* Every single damaged byte is noticed, and so is every truncation: a guessed id is worse than
 * none. */
Test(node_identity, that_is_damaged_is_refused) {
    struct slice key = slice_make("\0i", 2);
    struct storage_engine *engine = memory_engine_new();
    struct storage_batch *batch = storage_batch_new(engine);
    struct buf good = {0}, bad = {0}, error = {0};
    struct placement_identity loaded;
    cr_assert_eq(node_identity_save(engine, &sample), STATUS_OK);
    cr_assert_eq(storage_get(engine, NULL, STORAGE_META, key, &good), STATUS_OK);
    for (size_t i = 0; i < 2 * good.len; i++) {
        if (i < good.len) {
            buf_assign(&bad, slice_from_buf(&good));
            bad.data[i] ^= 0x40;
        } else {
            buf_assign(&bad, slice_make(good.data, i - good.len));
        }
        storage_batch_clear(batch);
        storage_batch_put(batch, STORAGE_META, key, slice_from_buf(&bad));
        cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
        cr_expect_eq(node_identity_load(engine, &error, &loaded), STATUS_CORRUPTION, "case %zu", i);
    }
    cr_expect_gt(error.len, 0);
    storage_batch_free(batch);
    storage_close(engine);
    buf_done(&good);
    buf_done(&bad);
    buf_done(&error);
}

/* Version 1 told placement the time of the start in place of a count: what follows is above it. */
Test(node_identity, of_version_1_counts_on_from_the_time) {
    struct storage_engine *engine = memory_engine_new();
    struct storage_batch *batch = storage_batch_new(engine);
    struct placement_identity loaded = {0};
    struct buf record = {0}, error = {0};
    encode_u8(&record, 1);
    encode_u64(&record, sample.cluster_id);
    encode_u64(&record, sample.node_id);
    buf_append(&record, slice_make(sample.uuid.bytes, sizeof(sample.uuid.bytes)));
    encode_u64(&record, checksum64(slice_from_buf(&record)));
    storage_batch_put(batch, STORAGE_META, slice_make("\0i", 2), slice_from_buf(&record));
    cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
    cr_assert_eq(node_identity_load(engine, &error, &loaded), STATUS_OK);
    cr_expect_eq(loaded.node_id, sample.node_id);
    cr_expect_gt(loaded.starts, UINT64_C(1700000000000));
    storage_batch_free(batch);
    storage_close(engine);
    buf_done(&record);
    buf_done(&error);
}

/* An identity that was not stored must not be used: the failure reaches the caller. */
Test(node_identity, failure_to_store_is_told) {
    struct storage_engine *engine = memory_engine_new();
    memory_engine_fail_after(engine, 0, STATUS_NO_SPACE);
    cr_expect_eq(node_identity_save(engine, &sample), STATUS_NO_SPACE);
    storage_close(engine);
}
