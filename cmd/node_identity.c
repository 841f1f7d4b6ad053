#include "cmd/node_identity.h"

#include "base/clock.h"
#include "base/codec.h"
#include "storage/rocksdb_engine.h"

#define IDENTITY_VERSION 2u

static const struct slice identity_key = {(const uint8_t *)"\0i", 2};

/* OK: not a single record in any family. */
static enum status check_empty(struct storage_engine *engine, struct buf *error) {
    enum status status = STATUS_OK;
    for (int family = 0; family < STORAGE_FAMILY_COUNT && status == STATUS_OK; family++) {
        struct storage_iterator *iterator =
            storage_iterator_new(engine, NULL, family, SLICE_EMPTY, SLICE_EMPTY);
        storage_iterator_seek_first(iterator);
        if (storage_iterator_valid(iterator)) {
            buf_printf(error, "the data directory holds data but no node's identity: it is not a "
                              "node's; choose another --data-dir");
            status = STATUS_MISMATCH;
        } else {
            status = storage_iterator_status(iterator);
            if (status != STATUS_OK)
                buf_printf(error, "cannot read the data directory: %s", status_text(status));
        }
        storage_iterator_free(iterator);
    }
    return status;
}

enum status node_identity_load(struct storage_engine *engine, struct buf *error,
                               struct placement_identity *ret_identity) {
    struct buf value = {0};
    enum status status = storage_get(engine, NULL, STORAGE_META, identity_key, &value);
    if (status == STATUS_NOT_FOUND) {
        enum status empty = check_empty(engine, error);
        if (empty != STATUS_OK) status = empty;
        goto out;
    }
    if (status != STATUS_OK) {
        buf_printf(error, "cannot read the node's identity: %s", status_text(status));
        goto out;
    }
    struct placement_identity identity;
    struct decoder in = decoder_make(slice_from_buf(&value));
    uint8_t version = decode_u8(&in);
    identity.cluster_id = decode_u64(&in);
    identity.node_id = decode_u64(&in);
    struct slice uuid = decode_fixed(&in, sizeof(identity.uuid.bytes));
    identity.starts = version == 1 ? clock_wall_ms(clock_system()) : decode_u64(&in);
    uint64_t checksum = decode_u64(&in);
    if (!decoder_finished(&in) || version < 1 || version > IDENTITY_VERSION ||
        checksum != checksum64(slice_make(value.data, value.len - sizeof(checksum)))) {
        buf_printf(error, "the node's identity record is damaged, or of a newer version; start the "
                          "newer binary, or: " ROCKSDB_ENGINE_NODE_WAY_OUT);
        status = STATUS_CORRUPTION;
        goto out;
    }
    memcpy(identity.uuid.bytes, uuid.data, sizeof(identity.uuid.bytes));
    *ret_identity = identity;
out:
    buf_done(&value);
    return status;
}

enum status node_identity_save(struct storage_engine *engine,
                               const struct placement_identity *identity) {
    struct buf value = {0};
    encode_u8(&value, IDENTITY_VERSION);
    encode_u64(&value, identity->cluster_id);
    encode_u64(&value, identity->node_id);
    buf_append(&value, slice_make(identity->uuid.bytes, sizeof(identity->uuid.bytes)));
    encode_u64(&value, identity->starts);
    encode_u64(&value, checksum64(slice_from_buf(&value)));
    struct storage_batch *batch = storage_batch_new(engine);
    storage_batch_put(batch, STORAGE_META, identity_key, slice_from_buf(&value));
    enum status status = storage_write(engine, batch, STORAGE_SYNCED);
    storage_batch_free(batch);
    buf_done(&value);
    return status;
}
