/* Opening, closing and describing the RocksDB engine, and its table of operations. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "storage/rocksdb_internal.h"

#define FORMAT_KEY "format"
#define FORMAT_VERSION 3u
#define FORMAT_WITHOUT_SYNCED 2u /* the same without the file SYNCED */

static void collect_family_names(const char *names[ROCKSDB_FAMILY_COUNT]) {
    for (unsigned family = 0; family < ROCKSDB_FAMILY_COUNT; family++)
        names[family] = rocksdb_engine_family_name(family);
}

/* Says what went wrong and takes RocksDB's text away. */
static enum status open_error(const struct rocksdb_engine_config *config, struct buf *error,
                              char *text) {
    enum status status = rocksdb_engine_classify_open(config->directory, text);
    rocksdb_engine_explain(error, config, status, text);
    rocksdb_free(text);
    return status;
}

static bool is_our_family(const char *name) {
    for (unsigned family = 0; family < ROCKSDB_FAMILY_COUNT; family++)
        if (strcmp(name, rocksdb_engine_family_name(family)) == 0) return true;
    return false;
}

/* Another program's database must not get our families added. */
static enum status check_families(struct rocksdb_engine *engine,
                                  const struct rocksdb_engine_config *config, struct buf *error) {
    if (!rocksdb_directory_has_database(config->directory)) return STATUS_OK;
    size_t count = 0;
    char *text = NULL;
    char **names = rocksdb_list_column_families(engine->options, config->directory, &count, &text);
    if (text) return open_error(config, error, text);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (is_our_family(names[i])) continue;
        status = STATUS_INVALID;
        rocksdb_engine_explain(error, config, status, "it holds the database of another program");
    }
    rocksdb_list_column_families_destroy(names, count);
    return status;
}

/* NULL, or RocksDB's error, to be freed. */
static char *try_open(struct rocksdb_engine *engine, const struct rocksdb_engine_config *config) {
    const char *names[ROCKSDB_FAMILY_COUNT];
    collect_family_names(names);
    char *text = NULL;
    const rocksdb_options_t *const *options =
        (const rocksdb_options_t *const *)engine->family_options;
    if (config->read_only_check)
        engine->db = rocksdb_open_for_read_only_column_families(
            engine->options, config->directory, ROCKSDB_FAMILY_COUNT, names, options,
            engine->families, 0, &text);
    else
        engine->db =
            rocksdb_open_column_families(engine->options, config->directory, ROCKSDB_FAMILY_COUNT,
                                         names, options, engine->families, &text);
    return text;
}

/* A tail that a power cut left torn is forgiven, damage or a missing log is not. */
static enum status open_database(struct rocksdb_engine *engine,
                                 const struct rocksdb_engine_config *config, struct buf *error) {
    struct buf reason = {0};
    bool torn = false;
    enum status status = rocksdb_synced_check(engine, config->read_only_check, &reason, &torn);
    if (status != STATUS_OK) {
        buf_append_byte(&reason, 0);
        rocksdb_engine_explain(error, config, status, (const char *)reason.data);
    }
    buf_done(&reason);
    if (status != STATUS_OK) return status;
    rocksdb_engine_set_strict_recovery(engine, !torn);
    char *text = try_open(engine, config);
    return text ? open_error(config, error, text) : STATUS_OK;
}

/* `text`, or else what RocksDB said first. */
static void explain_failure(struct rocksdb_engine *engine,
                            const struct rocksdb_engine_config *config, struct buf *error,
                            enum status status, const char *text) {
    if (!text) text = (const char *)engine->failure_text.data;
    rocksdb_engine_explain(error, config, status, text ? text : "no reason is known");
}

/* ---- the format record ---- */

static enum status write_format(struct rocksdb_engine *engine) {
    struct buf value = {0};
    encode_u32(&value, FORMAT_VERSION);
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    rocksdb_writebatch_put_cf(batch, engine->families[ROCKSDB_OWN_FAMILY], FORMAT_KEY,
                              strlen(FORMAT_KEY), (const char *)value.data, value.len);
    enum status status = rocksdb_engine_write_native(engine, batch, STORAGE_SYNCED);
    rocksdb_writebatch_destroy(batch);
    buf_done(&value);
    return status;
}

static enum status own_family_is_empty(struct rocksdb_engine *engine, bool *ret_empty) {
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(engine->db, engine->read_latest,
                                                              engine->families[ROCKSDB_OWN_FAMILY]);
    rocksdb_iter_seek_to_first(iterator);
    *ret_empty = !rocksdb_iter_valid(iterator);
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    return rocksdb_engine_take_error(engine, error);
}

/* Ours, and of a version that we know? A database without the record is one that was just made. */
static enum status check_format(struct rocksdb_engine *engine,
                                const struct rocksdb_engine_config *config, struct buf *error,
                                bool *ret_current) {
    struct buf value = {0};
    enum status status =
        rocksdb_engine_get(&engine->base, NULL, (enum storage_family)ROCKSDB_OWN_FAMILY,
                           SLICE_LITERAL(FORMAT_KEY), &value);
    const char *text = NULL;
    if (status == STATUS_OK) {
        struct decoder decoder = decoder_make(slice_from_buf(&value));
        uint32_t version = decode_u32(&decoder);
        if (!decoder_finished(&decoder)) {
            status = STATUS_CORRUPTION;
            text = "its format record is damaged";
        } else if (version == FORMAT_VERSION && !engine->synced_record.found) {
            status = STATUS_CORRUPTION;
            text = "its file SYNCED is gone";
        } else if (version != FORMAT_VERSION && version != FORMAT_WITHOUT_SYNCED) {
            status = STATUS_UNSUPPORTED;
            text = "its format is unknown to this version";
        }
        *ret_current = version == FORMAT_VERSION;
    } else if (status == STATUS_NOT_FOUND) {
        bool empty = false;
        status = own_family_is_empty(engine, &empty);
        if (status == STATUS_OK && !empty) {
            status = STATUS_INVALID;
            text = "it holds the database of another program";
        }
    }
    buf_done(&value);
    if (status != STATUS_OK) explain_failure(engine, config, error, status, text);
    return status;
}

/* ---- verification ---- */

static enum status verify_family(struct rocksdb_engine *engine, unsigned family) {
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(options, 1);
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_readoptions_set_total_order_seek(options, 1);
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(engine->db, options, engine->families[family]);
    for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator);)
        rocksdb_iter_next(iterator);
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(options);
    return rocksdb_engine_take_error(engine, error);
}

static enum status verify(struct rocksdb_engine *engine, const struct rocksdb_engine_config *config,
                          struct buf *error) {
    for (unsigned family = 0; family < ROCKSDB_FAMILY_COUNT; family++) {
        enum status status = verify_family(engine, family);
        if (status == STATUS_OK) continue;
        explain_failure(engine, config, error, status, NULL);
        return status;
    }
    return STATUS_OK;
}

/* ---- open and close ---- */

static void release(struct rocksdb_engine *engine) {
    for (unsigned family = 0; family < ROCKSDB_FAMILY_COUNT; family++)
        if (engine->db) rocksdb_column_family_handle_destroy(engine->families[family]);
    if (engine->db) rocksdb_close(engine->db);
    rocksdb_synced_stop(engine);
    rocksdb_engine_free_options(engine);
    buf_done(&engine->failure_text);
    ASSERT(pthread_mutex_destroy(&engine->mutex) == 0);
    memory_free(engine->directory);
    memory_free(engine);
}

static enum status recover(struct rocksdb_engine *engine,
                           const struct rocksdb_engine_config *config, bool current_format,
                           struct buf *error) {
    /* What was read from the logs stands in tables by now. */
    rocksdb_engine_raise_synced(engine, rocksdb_get_latest_sequence_number(engine->db));
    enum status status = rocksdb_synced_start(engine);
    if (status == STATUS_OK && !current_format) status = write_format(engine);
    if (status == STATUS_OK) status = rocksdb_engine_ingest_recover(engine);
    if (status != STATUS_OK) explain_failure(engine, config, error, status, NULL);
    return status;
}

enum status rocksdb_engine_open_hooked(const struct rocksdb_engine_config *config,
                                       const struct rocksdb_ingest_hook *hook, struct buf *error,
                                       struct storage_engine **ret_engine) {
    buf_clear(error);
    enum status status = rocksdb_directory_prepare(config, error);
    if (status != STATUS_OK) return status;
    struct rocksdb_engine *engine = MEMORY_NEW(struct rocksdb_engine);
    engine->base.ops = &rocksdb_engine_ops;
    size_t directory_bytes = strlen(config->directory) + 1;
    engine->directory = memory_alloc(directory_bytes);
    memcpy(engine->directory, config->directory, directory_bytes);
    ASSERT(pthread_mutex_init(&engine->mutex, NULL) == 0);
    ASSERT(pthread_mutex_init(&engine->synced_record.mutex, NULL) == 0);
    engine->synced_record.fd = -1;
    if (hook) engine->ingest_hook = *hook;
    rocksdb_engine_make_options(engine, config);
    status = check_families(engine, config, error);
    if (status == STATUS_OK) status = open_database(engine, config, error);
    bool current_format = false;
    if (status == STATUS_OK) status = check_format(engine, config, error, &current_format);
    if (status == STATUS_OK)
        status = config->read_only_check ? verify(engine, config, error)
                                         : recover(engine, config, current_format, error);
    if (status != STATUS_OK || config->read_only_check) {
        release(engine);
        engine = NULL;
    }
    if (status == STATUS_OK) *ret_engine = engine ? &engine->base : NULL;
    return status;
}

enum status rocksdb_engine_open(const struct rocksdb_engine_config *config, struct buf *error,
                                struct storage_engine **ret_engine) {
    return rocksdb_engine_open_hooked(config, NULL, error, ret_engine);
}

static void rocksdb_engine_close(struct storage_engine *base) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    ASSERT_CMP(atomic_load(&engine->open_ingests), ==, 0);
    if (rocksdb_engine_write_failure(engine) == STATUS_OK) {
        char *error = NULL;
        rocksdb_flush_wal(engine->db, 1, &error);
        /* Ignored: nothing was promised about buffered writes, and whoever closes cannot act on it.
         */
        if (error) rocksdb_free(error);
    }
    release(engine);
}

/* ---- for the operator ---- */

static void describe_property(struct rocksdb_engine *engine, unsigned family, const char *property,
                              const char *name, struct buf *out) {
    uint64_t value = 0;
    if (rocksdb_property_int_cf(engine->db, engine->families[family], property, &value) != 0)
        return;
    buf_printf(out, "%s_%s %" PRIu64 "\n", name, rocksdb_engine_family_name(family), value);
}

static void rocksdb_engine_describe(struct storage_engine *base, struct buf *out) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    buf_printf(out, "engine rocksdb\ndirectory %s\nsynced_sequence %" PRIu64 "\n",
               engine->directory, atomic_load(&engine->synced_sequence));
    for (unsigned family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        describe_property(engine, family, "rocksdb.estimate-num-keys", "keys", out);
        describe_property(engine, family, "rocksdb.total-sst-files-size", "file_bytes", out);
        describe_property(engine, family, "rocksdb.cur-size-all-mem-tables", "memtable_bytes", out);
        describe_property(engine, family, "rocksdb.estimate-pending-compaction-bytes",
                          "pending_compaction_bytes", out);
    }
    buf_printf(out, "block_cache_bytes %zu\n", rocksdb_cache_get_usage(engine->block_cache));
    uint64_t value = 0;
    if (rocksdb_property_int(engine->db, "rocksdb.is-write-stopped", &value) == 0)
        buf_printf(out, "write_stopped %" PRIu64 "\n", value);
    if (rocksdb_property_int(engine->db, "rocksdb.background-errors", &value) == 0)
        buf_printf(out, "background_errors %" PRIu64 "\n", value);
    ASSERT(pthread_mutex_lock(&engine->mutex) == 0);
    if (engine->failure_text.len > 0)
        buf_printf(out, "first_failure %s\n", (const char *)engine->failure_text.data);
    ASSERT(pthread_mutex_unlock(&engine->mutex) == 0);
}

const struct storage_ops rocksdb_engine_ops = {
    .close = rocksdb_engine_close,
    .batch_new = rocksdb_engine_batch_new,
    .batch_free = rocksdb_engine_batch_free,
    .batch_clear = rocksdb_engine_batch_clear,
    .batch_put = rocksdb_engine_batch_put,
    .batch_delete = rocksdb_engine_batch_delete,
    .batch_delete_range = rocksdb_engine_batch_delete_range,
    .batch_count = rocksdb_engine_batch_count,
    .batch_bytes = rocksdb_engine_batch_bytes,
    .write = rocksdb_engine_write,
    .get = rocksdb_engine_get,
    .get_version = rocksdb_engine_get_version,
    .snapshot_new = rocksdb_engine_snapshot_new,
    .snapshot_free = rocksdb_engine_snapshot_free,
    .iterator_new = rocksdb_engine_iterator_new,
    .iterator_free = rocksdb_engine_iterator_free,
    .iterator_seek_first = rocksdb_engine_iterator_seek_first,
    .iterator_seek_last = rocksdb_engine_iterator_seek_last,
    .iterator_seek = rocksdb_engine_iterator_seek,
    .iterator_seek_for_prev = rocksdb_engine_iterator_seek_for_prev,
    .iterator_next = rocksdb_engine_iterator_next,
    .iterator_prev = rocksdb_engine_iterator_prev,
    .iterator_valid = rocksdb_engine_iterator_valid,
    .iterator_key = rocksdb_engine_iterator_key,
    .iterator_value = rocksdb_engine_iterator_value,
    .iterator_status = rocksdb_engine_iterator_status,
    .ingest_new = rocksdb_engine_ingest_new,
    .ingest_add = rocksdb_engine_ingest_add,
    .ingest_commit = rocksdb_engine_ingest_commit,
    .ingest_free = rocksdb_engine_ingest_free,
    .approximate_bytes = rocksdb_engine_approximate_bytes,
    .synced_sequence = rocksdb_engine_synced_sequence,
    .describe = rocksdb_engine_describe,
};
