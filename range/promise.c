#include "range/promise.h"

#include <inttypes.h>

#include "base/codec.h"
#include "range/worker.h"

#define RECORD_VERSION 1u

static struct slice record_key(void) {
    return SLICE_LITERAL("\0p");
}

static uint64_t own_promise_us(const struct range_store *store) {
    return store->config.election_ticks * store->config.tick_us;
}

static void put(struct storage_batch *batch, uint64_t promised_us) {
    struct buf bytes = {0};
    encode_u8(&bytes, RECORD_VERSION);
    encode_varint(&bytes, promised_us);
    storage_batch_put(batch, STORAGE_META, record_key(), slice_from_buf(&bytes));
    buf_done(&bytes);
}

static enum status decode(struct slice bytes, uint64_t *ret_us) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    if (!in.failed && version != RECORD_VERSION) return STATUS_UNSUPPORTED;
    uint64_t promised_us = decode_varint(&in);
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_us = promised_us;
    return STATUS_OK;
}

/* A store of before there was the record: nothing longer than the own time-out is known of. */
static enum status read(const struct range_store *store, uint64_t *ret_us) {
    struct buf bytes = {0};
    enum status status = storage_get(store->engine, NULL, STORAGE_META, record_key(), &bytes);
    if (status == STATUS_OK) status = decode(slice_from_buf(&bytes), ret_us);
    buf_done(&bytes);
    if (status != STATUS_NOT_FOUND) return status;
    *ret_us = 0;
    return STATUS_OK;
}

static enum status raise(const struct range_store *store) {
    struct storage_batch *batch = storage_batch_new(store->engine);
    put(batch, own_promise_us(store));
    enum status status = storage_write(store->engine, batch, STORAGE_SYNCED);
    storage_batch_free(batch);
    return status;
}

enum status range_promise_open(struct range_store *store, struct buf *error) {
    uint64_t own_us = own_promise_us(store), recorded_us = 0;
    enum status status = read(store, &recorded_us);
    if (status == STATUS_OK && recorded_us < own_us) status = raise(store);
    if (status != STATUS_OK) {
        buf_printf(error, "the record of promises to leaders cannot be kept: %s%s",
                   status_text(status),
                   status == STATUS_UNSUPPORTED
                       ? "; it was written by a newer version of flotilla: start that version"
                       : "");
        return status;
    }
    store->promise.grace_us = recorded_us > 0 ? recorded_us : own_us;
    if (recorded_us > own_us) {
        store->promise.lowers_at_us = clock_monotonic_us(store->clock) + recorded_us;
        log_info("range_promise_outlives_setting",
                 "node=%" PRIu64 " promised_us=%" PRIu64 " election_timeout_us=%" PRIu64,
                 store->config.node_id, recorded_us, own_us);
    }
    return STATUS_OK;
}

void range_promise_tick(struct range_worker *worker) {
    struct range_promise *promise = &worker->store->promise;
    if (worker->index != 0 || promise->lowers_at_us == 0 || worker->now_us < promise->lowers_at_us)
        return;
    promise->lowers_at_us = 0;
    put(worker->log_batch, own_promise_us(worker->store));
    worker->log_needs_sync = true;
}
