#include "tests/storage/harness.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/memory_engine.h"
#include "storage/rocksdb_engine.h"

#define RESULT_SLOTS 4

void scratch_directory(char ret_path[64]) {
    snprintf(ret_path, 64, "/tmp/flotilla-storage-XXXXXX");
    cr_assert_not_null(mkdtemp(ret_path));
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    return remove(path);
}

void remove_tree(const char *path) {
    cr_assert_eq(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void open_rocksdb(struct harness *harness) {
    struct rocksdb_engine_config config = {.directory = harness->directory};
    struct buf error = {0};
    enum status status = rocksdb_engine_open(&config, &error, &harness->engine);
    cr_assert_eq(status, STATUS_OK, "%.*s", (int)error.len, (const char *)error.data);
    buf_done(&error);
}

void harness_init(struct harness *harness, enum engine_kind kind) {
    *harness = (struct harness){.kind = kind};
    if (kind == ENGINE_MEMORY) {
        harness->engine = memory_engine_new();
    } else {
        scratch_directory(harness->directory);
        open_rocksdb(harness);
    }
    harness->batch = storage_batch_new(harness->engine);
}

void harness_done(struct harness *harness) {
    storage_batch_free(harness->batch);
    storage_close(harness->engine);
    if (harness->kind == ENGINE_ROCKSDB) remove_tree(harness->directory);
}

void harness_reopen(struct harness *harness) {
    if (harness->kind == ENGINE_MEMORY) return;
    storage_batch_free(harness->batch);
    storage_close(harness->engine);
    open_rocksdb(harness);
    harness->batch = storage_batch_new(harness->engine);
}

void put(struct harness *harness, enum storage_family family, const char *key, const char *value) {
    storage_batch_clear(harness->batch);
    storage_batch_put(harness->batch, family, TEXT(key), TEXT(value));
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
    storage_batch_clear(harness->batch);
}

void erase(struct harness *harness, enum storage_family family, const char *key) {
    storage_batch_clear(harness->batch);
    storage_batch_delete(harness->batch, family, TEXT(key));
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
    storage_batch_clear(harness->batch);
}

static struct buf *result_slot(void) {
    static struct buf slots[RESULT_SLOTS];
    static unsigned next;
    struct buf *slot = &slots[next++ % RESULT_SLOTS];
    buf_clear(slot);
    return slot;
}

const char *get(struct harness *harness, const struct storage_snapshot *snapshot,
                enum storage_family family, const char *key) {
    struct buf *slot = result_slot();
    enum status status = storage_get(harness->engine, snapshot, family, TEXT(key), slot);
    if (status == STATUS_NOT_FOUND) return NULL;
    cr_assert_eq(status, STATUS_OK);
    buf_append_byte(slot, 0);
    return (const char *)slot->data;
}

const char *dump(struct harness *harness, const struct storage_snapshot *snapshot,
                 enum storage_family family, const char *lower, const char *upper, bool reverse) {
    struct buf *slot = result_slot();
    struct storage_iterator *iterator =
        storage_iterator_new(harness->engine, snapshot, family, TEXT(lower), TEXT(upper));
    if (reverse)
        storage_iterator_seek_last(iterator);
    else
        storage_iterator_seek_first(iterator);
    while (storage_iterator_valid(iterator)) {
        if (slot->len > 0) buf_append_byte(slot, ' ');
        buf_append(slot, storage_iterator_key(iterator));
        buf_append_byte(slot, '=');
        buf_append(slot, storage_iterator_value(iterator));
        if (reverse)
            storage_iterator_prev(iterator);
        else
            storage_iterator_next(iterator);
    }
    cr_assert_eq(storage_iterator_status(iterator), STATUS_OK);
    storage_iterator_free(iterator);
    buf_append_byte(slot, 0);
    return (const char *)slot->data;
}
