/* The process that loses its power: powercut_writer DIRECTORY writes until it is killed, and prints
 * each number that is synced; powercut_writer DIRECTORY NUMBER says whether everything up to that
 * number is there, in whole batches, and whether the engine opens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/codec.h"
#include "storage/rocksdb_engine.h"

#define ROWS_PER_BATCH 3u
#define INSTALL_EVERY 40u

#define NEED(condition) ((condition) ? (void)0 : fail(#condition))
static void fail(const char *what) {
    fprintf(stderr, "powercut_writer: %s\n", what);
    exit(1);
}

static struct storage_engine *open_engine(const char *directory) {
    struct rocksdb_engine_config config = {.directory = directory, .write_buffer_bytes = 1 << 20};
    struct storage_engine *engine = NULL;
    struct buf error = {0};
    if (rocksdb_engine_open(&config, &error, &engine) != STATUS_OK) {
        buf_append_byte(&error, 0);
        fail((const char *)error.data);
    }
    buf_done(&error);
    return engine;
}

static struct slice row_key(uint64_t number, unsigned row) {
    static char key[64];
    return slice_make(
        key, (size_t)snprintf(key, sizeof(key), "row%012llu.%u", (unsigned long long)number, row));
}

/* The last whole batch; fails when one in front of it is not whole. */
static uint64_t count_batches(struct storage_engine *engine) {
    struct storage_iterator *rows =
        storage_iterator_new(engine, NULL, STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY);
    uint64_t count = 0;
    for (storage_iterator_seek_first(rows); storage_iterator_valid(rows);
         storage_iterator_next(rows)) {
        NEED(slice_equal(storage_iterator_key(rows),
                         row_key(count / ROWS_PER_BATCH + 1, (unsigned)(count % ROWS_PER_BATCH))));
        count++;
    }
    NEED(storage_iterator_status(rows) == STATUS_OK);
    storage_iterator_free(rows);
    NEED(count % ROWS_PER_BATCH == 0);
    return count / ROWS_PER_BATCH;
}

/* A row of its own family, replaced by a bulk installation together with the batch. */
static void install(struct storage_engine *engine, uint64_t number) {
    struct storage_batch *batch = storage_batch_new(engine);
    struct storage_ingest *ingest = NULL;
    const struct storage_span span = {STORAGE_META, SLICE_LITERAL("m"), SLICE_LITERAL("n")};
    struct slice value = slice_make(&number, sizeof(number));
    NEED(storage_ingest_new(engine, &ingest) == STATUS_OK);
    NEED(storage_ingest_add(ingest, STORAGE_META, SLICE_LITERAL("m"), value) == STATUS_OK);
    storage_batch_put(batch, STORAGE_RAFT, SLICE_LITERAL("m"), value);
    NEED(storage_ingest_commit(ingest, &span, 1, batch) == STATUS_OK);
    storage_ingest_free(ingest);
    storage_batch_free(batch);
}

static uint64_t installed(struct storage_engine *engine, enum storage_family family) {
    struct buf value = {0};
    uint64_t number = 0;
    if (storage_get(engine, NULL, family, SLICE_LITERAL("m"), &value) == STATUS_OK)
        memcpy(&number, value.data, sizeof(number));
    buf_done(&value);
    return number;
}

static void write_for_ever(struct storage_engine *engine) {
    static uint8_t padding[2000];
    struct storage_batch *batch = storage_batch_new(engine);
    for (size_t i = 0; i < sizeof(padding); i++)
        padding[i] = (uint8_t)(i * 2654435761u >> 8); /* so that it does not compress away */
    uint64_t last = count_batches(engine);
    /* Its batch may have survived when the installation behind it did not. */
    if (installed(engine, STORAGE_META) < last / INSTALL_EVERY * INSTALL_EVERY)
        install(engine, last / INSTALL_EVERY * INSTALL_EVERY);
    for (uint64_t number = last + 1;; number++) {
        storage_batch_clear(batch);
        for (unsigned row = 0; row < ROWS_PER_BATCH; row++)
            storage_batch_put(batch, STORAGE_DATA, row_key(number, row),
                              slice_make(padding, sizeof(padding)));
        bool synced = number % 3 == 0;
        NEED(storage_write(engine, batch, synced ? STORAGE_SYNCED : STORAGE_BUFFERED) == STATUS_OK);
        if (number % INSTALL_EVERY == 0) install(engine, number);
        if (synced || number % INSTALL_EVERY == 0)
            NEED(write(STDOUT_FILENO, &number, sizeof(number)) == sizeof(number));
    }
}

int main(int argument_count, char **arguments) {
    NEED(argument_count >= 2);
    struct storage_engine *engine = open_engine(arguments[1]);
    if (argument_count == 2) write_for_ever(engine);
    uint64_t acknowledged = strtoull(arguments[2], NULL, 10);
    uint64_t number = installed(engine, STORAGE_META);
    NEED(count_batches(engine) >= acknowledged);
    NEED(number == installed(engine, STORAGE_RAFT));
    NEED(number >= acknowledged / INSTALL_EVERY * INSTALL_EVERY);
    storage_close(engine);
    return 0;
}
