/* The engine as the product opens it: synced batches of puts under random keys, one writer. */
#include "base/assert.h"
#include "base/prng.h"
#include "bench/roof.h"
#include "storage/mvcc.h"
#include "storage/rocksdb_engine.h"

#define POOL_BYTES 65536u

struct writer {
    struct storage_engine *engine;
    struct storage_batch *batch;
    struct prng prng;
    uint64_t ts;
    uint8_t pool[POOL_BYTES]; /* random; each value is a piece of it, so that none compresses */
};

static void add_items(struct writer *writer, uint32_t items) {
    uint8_t key[ROOF_KEY_BYTES];
    for (uint32_t i = 0; i < items; i++) {
        uint64_t random[2] = {prng_next(&writer->prng), prng_next(&writer->prng)};
        memcpy(key, random, sizeof(key));
        uint64_t at = prng_below(&writer->prng, POOL_BYTES - ROOF_VALUE_BYTES);
        mvcc_put(writer->batch, slice_make(key, sizeof(key)), ++writer->ts,
                 slice_make(writer->pool + at, ROOF_VALUE_BYTES));
    }
}

static enum status measure_batches(struct writer *writer, uint32_t items, double seconds,
                                   const struct roof_figure *name, struct roof_list *list) {
    struct roof_meter meter;
    roof_meter_begin(&meter, NULL, seconds);
    for (uint64_t now_us = meter.start_us; now_us < meter.until_us;) {
        storage_batch_clear(writer->batch);
        add_items(writer, items);
        enum status status = storage_write(writer->engine, writer->batch, STORAGE_SYNCED);
        if (status != STATUS_OK) return status;
        uint64_t done_us = roof_now_us();
        histogram_record(&meter.latencies, done_us - now_us);
        meter.units += items;
        now_us = done_us;
    }
    roof_meter_end(&meter, name, list);
    return STATUS_OK;
}

enum status roof_measure_engine(const char *directory, double seconds, struct roof_list *list,
                                struct buf *error) {
    static const struct {
        uint32_t items;
        struct roof_figure name;
    } sizes[] = {
        {1, {.key = "engine_1", .text = "engine: synced batch of 1", .unit = "items"}},
        {8, {.key = "engine_8", .text = "engine: synced batch of 8", .unit = "items"}},
        {64, {.key = "engine_64", .text = "engine: synced batch of 64", .unit = "items"}},
        {256, {.key = "engine_256", .text = "engine: synced batch of 256", .unit = "items"}},
    };
    struct buf path = {0};
    struct writer writer = {0};
    buf_printf(&path, "%s/engine", directory);
    buf_append_byte(&path, '\0');
    struct rocksdb_engine_config config = {.directory = (const char *)path.data};
    enum status status = rocksdb_engine_open(&config, error, &writer.engine);
    if (status != STATUS_OK) goto out;
    writer.batch = storage_batch_new(writer.engine);
    prng_init(&writer.prng, 1);
    for (size_t i = 0; i < POOL_BYTES; i++)
        writer.pool[i] = (uint8_t)prng_next(&writer.prng);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && status == STATUS_OK; i++)
        status = measure_batches(&writer, sizes[i].items, seconds, &sizes[i].name, list);
    if (status != STATUS_OK) buf_printf(error, "%s: %s", config.directory, status_text(status));
    storage_batch_free(writer.batch);
    storage_close(writer.engine);
out:
    buf_done(&path);
    return status;
}
