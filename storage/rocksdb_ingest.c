/* Bulk installation on RocksDB: several families change together, or none, whatever the instant of
 * a crash.
 *
 * For each family that has a span or a key there is one table file, staged beside the database:
 *
 *   ingest/<id, 16 hex digits>-<family name>.sst    range tombstones of the spans, then the pairs
 *
 * RocksDB installs one such file atomically, and the tombstones inside it hide what is older but
 * not the file's own pairs (all have one sequence number). What is left to do is to tie the files
 * and the batch together. A mark in the engine's own family does that:
 *
 *   'i' ‖ id (8, BE)  →  version (1) ‖ families (1, a bit for each) ‖ batch (varint length,
 * RocksDB's form)
 *
 * Commit goes through these states; `-- x --` is a point of no return:
 *
 *   1. finish and fsync the files, fsync their directory              STAGED
 *   2. write the mark, synced                       -- decided --     MARKED
 *   3. for each family: install its file                              FAMILY (once each)
 *   4. write the batch and the deletion of the mark in one synced write   APPLIED
 *   5. remove the files, when the ingest is freed                     FINISHED
 *
 * Opening the engine does for each mark steps 3 to 5 again, then removes files without a mark.
 *
 * Why every crash instant is right:
 * - Before 2 is durable: no mark, nothing installed; the files are orphans. Old content.
 * - After 2, before 4 is durable: the mark is there, so open redoes 3 and 4. Redoing 3 for a family
 *   that was installed already puts the same content over itself: the tombstones of the new
 *   copy hide the first copy, its pairs are equal. Nobody else writes to the spans while a
 *   commit runs, and at open nobody writes at all, so nothing newer can be lost. The files are
 *   still there, because step 5 is the only one that removes them and comes after 4; they are
 *   complete, because 1 came before 2. The batch is in the mark. New content.
 * - After 4 is durable: no mark; the files are orphans. New content.
 * - A crash in the middle of the redo leaves the mark, and the redo starts again.
 * - Writes before the commit: 2 is a synced write, so they are durable before anything is
 *   installed.
 *
 * RocksDB stamps its sequence number into the file that it installs, and refuses a stamped file the
 * second time. So it is given a copy to install and the staged file stays as it was: handing over
 * the file itself, or a hard link of it, would save writing the content twice but could not be
 * redone (the crash test shows it). */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/list.h"
#include "base/memory.h"
#include "storage/limits.h"
#include "storage/metrics.h"
#include "storage/rocksdb_internal.h"

#define MARK_PREFIX 'i'
#define MARK_VERSION 1u

struct rocksdb_ingest {
    struct storage_ingest base;
    struct rocksdb_engine *engine;
    uint64_t id;
    rocksdb_sstfilewriter_t *writers[STORAGE_FAMILY_COUNT]; /* NULL: no file for this family */
    rocksdb_envoptions_t *env_options;
    uint64_t bytes; /* keys and values added */
    bool kept;      /* a mark may refer to the files: they must not be removed */
};

static void reached(struct rocksdb_engine *engine, enum rocksdb_ingest_step step) {
    if (engine->ingest_hook.reached) engine->ingest_hook.reached(engine->ingest_hook.ctx, step);
}

/* ---- names ---- */

/* Ends with a zero byte. */
static const char *file_path(struct buf *out, const struct rocksdb_engine *engine, uint64_t id,
                             unsigned family) {
    buf_clear(out);
    buf_printf(out, "%s/" ROCKSDB_STAGING "/%016llx-%s.sst", engine->directory,
               (unsigned long long)id, rocksdb_engine_family_name(family));
    buf_append_byte(out, 0);
    return (const char *)out->data;
}

static const char *staging_path(struct buf *out, const struct rocksdb_engine *engine) {
    buf_clear(out);
    buf_printf(out, "%s/" ROCKSDB_STAGING, engine->directory);
    buf_append_byte(out, 0);
    return (const char *)out->data;
}

static void mark_key(struct buf *out, uint64_t id) {
    buf_clear(out);
    buf_append_byte(out, MARK_PREFIX);
    encode_u64_be(out, id);
}

static enum status system_error(struct rocksdb_engine *engine, const char *what, const char *path) {
    int error = errno;
    struct buf text = {0};
    buf_printf(&text, "%s %s: %s", what, path, strerror(error));
    buf_append_byte(&text, 0);
    enum status status = error == ENOSPC || error == EDQUOT ? STATUS_NO_SPACE : STATUS_IO;
    (void)rocksdb_engine_stop_writes(engine, status, (const char *)text.data);
    buf_done(&text);
    return status;
}

/* ---- staging ---- */

enum status rocksdb_engine_ingest_new(struct storage_engine *base,
                                      struct storage_ingest **ret_ingest) {
    struct rocksdb_engine *engine = rocksdb_engine_of(base);
    enum status status = rocksdb_engine_write_failure(engine);
    if (status != STATUS_OK) return status;
    if (atomic_fetch_add(&engine->open_ingests, 1) >= STORAGE_INGESTS_MAX) {
        atomic_fetch_sub(&engine->open_ingests, 1);
        return STATUS_BUSY;
    }
    struct rocksdb_ingest *ingest = MEMORY_NEW(struct rocksdb_ingest);
    ingest->base.ops = base->ops;
    ingest->engine = engine;
    ingest->id = atomic_fetch_add(&engine->next_ingest_id, 1);
    ingest->env_options = rocksdb_envoptions_create();
    *ret_ingest = &ingest->base;
    return STATUS_OK;
}

static enum status writer_for(struct rocksdb_ingest *ingest, enum storage_family family,
                              rocksdb_sstfilewriter_t **ret_writer) {
    rocksdb_sstfilewriter_t **writer = &ingest->writers[family];
    if (!*writer) {
        *writer = rocksdb_sstfilewriter_create(ingest->env_options,
                                               ingest->engine->family_options[family]);
        struct buf path = {0};
        char *error = NULL;
        rocksdb_sstfilewriter_open(*writer, file_path(&path, ingest->engine, ingest->id, family),
                                   &error);
        buf_done(&path);
        enum status status = rocksdb_engine_take_error(ingest->engine, error);
        if (status != STATUS_OK) return status;
    }
    *ret_writer = *writer;
    return STATUS_OK;
}

enum status rocksdb_engine_ingest_add(struct storage_ingest *base, enum storage_family family,
                                      struct slice key, struct slice value) {
    struct rocksdb_ingest *ingest = CONTAINER_OF(base, struct rocksdb_ingest, base);
    rocksdb_sstfilewriter_t *writer = NULL;
    enum status status = writer_for(ingest, family, &writer);
    if (status != STATUS_OK) return status;
    char *error = NULL;
    rocksdb_sstfilewriter_put(writer, (const char *)key.data, key.len, (const char *)value.data,
                              value.len, &error);
    ingest->bytes += key.len + value.len;
    return rocksdb_engine_take_error(ingest->engine, error);
}

static enum status add_span(struct rocksdb_ingest *ingest, const struct storage_span *span) {
    rocksdb_sstfilewriter_t *writer = NULL;
    enum status status = writer_for(ingest, span->family, &writer);
    if (status != STATUS_OK) return status;
    struct buf behind_all = {0};
    struct slice end = span->end;
    if (end.len == 0) {
        rocksdb_engine_key_behind_all(&behind_all);
        end = slice_from_buf(&behind_all);
    }
    char *error = NULL;
    rocksdb_sstfilewriter_delete_range(writer, (const char *)span->begin.data, span->begin.len,
                                       (const char *)end.data, end.len, &error);
    buf_done(&behind_all);
    return rocksdb_engine_take_error(ingest->engine, error);
}

/* Step 1. RocksDB fsyncs each file as it finishes it. */
static enum status finish_files(struct rocksdb_ingest *ingest) {
    struct rocksdb_engine *engine = ingest->engine;
    for (unsigned family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        if (!ingest->writers[family]) continue;
        char *error = NULL;
        rocksdb_sstfilewriter_finish(ingest->writers[family], &error);
        enum status status = rocksdb_engine_take_error(engine, error);
        if (status != STATUS_OK) return status;
    }
    struct buf path = {0};
    const char *staging = staging_path(&path, engine);
    enum status status = STATUS_OK;
    if (rocksdb_directory_sync(staging) < 0) status = system_error(engine, "sync", staging);
    buf_done(&path);
    if (status == STATUS_OK) reached(engine, ROCKSDB_INGEST_STAGED);
    return status;
}

/* ---- commit ---- */

/* Step 2. */
static enum status write_mark(struct rocksdb_engine *engine, uint64_t id, uint8_t families,
                              struct slice batch) {
    struct buf key = {0}, value = {0};
    mark_key(&key, id);
    encode_u8(&value, MARK_VERSION);
    encode_u8(&value, families);
    encode_bytes(&value, batch);
    rocksdb_writebatch_t *native = rocksdb_writebatch_create();
    rocksdb_writebatch_put_cf(native, engine->families[ROCKSDB_OWN_FAMILY], (const char *)key.data,
                              key.len, (const char *)value.data, value.len);
    enum status status = rocksdb_engine_write_native(engine, native, STORAGE_SYNCED);
    rocksdb_writebatch_destroy(native);
    buf_done(&key);
    buf_done(&value);
    if (status == STATUS_OK) reached(engine, ROCKSDB_INGEST_MARKED);
    return status;
}

/* RocksDB gives the file a sequence number that no record in the log has: without a note, the log
 * would look as if a part of it were missing (rocksdb_wal.c). A failure after the first one leaves
 * it open, and writes stop. */
static enum status note_in_log(struct rocksdb_engine *engine, const char *note) {
    rocksdb_writebatch_t *native = rocksdb_writebatch_create();
    rocksdb_writebatch_put_log_data(native, note, strlen(note));
    enum status status = rocksdb_engine_write_native(engine, native, STORAGE_BUFFERED);
    rocksdb_writebatch_destroy(native);
    return status;
}

/* Step 3 for one family. */
static enum status install_file(struct rocksdb_engine *engine, uint64_t id, unsigned family) {
    enum status status = note_in_log(engine, ROCKSDB_NOTE_INSTALLING);
    if (status != STATUS_OK) return status;
    struct buf path = {0};
    const char *staged = file_path(&path, engine, id, family);
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, 0);
    char *error = NULL;
    rocksdb_ingest_external_file_cf(engine->db, engine->families[family], &staged, 1, options,
                                    &error);
    status = rocksdb_engine_take_write_error(engine, error);
    rocksdb_ingestexternalfileoptions_destroy(options);
    buf_done(&path);
    if (status == STATUS_OK) status = note_in_log(engine, ROCKSDB_NOTE_INSTALLED);
    if (status == STATUS_OK) reached(engine, ROCKSDB_INGEST_FAMILY);
    return status;
}

/* Step 4. */
static enum status apply_batch(struct rocksdb_engine *engine, uint64_t id, struct slice batch) {
    struct buf key = {0};
    mark_key(&key, id);
    rocksdb_writebatch_t *native =
        rocksdb_writebatch_create_from((const char *)batch.data, batch.len);
    rocksdb_writebatch_delete_cf(native, engine->families[ROCKSDB_OWN_FAMILY],
                                 (const char *)key.data, key.len);
    enum status status = rocksdb_engine_write_native(engine, native, STORAGE_SYNCED);
    rocksdb_writebatch_destroy(native);
    buf_done(&key);
    if (status == STATUS_OK) reached(engine, ROCKSDB_INGEST_APPLIED);
    return status;
}

/* Steps 3 and 4, at commit and again at open. */
static enum status install(struct rocksdb_engine *engine, uint64_t id, uint8_t families,
                           struct slice batch) {
    for (unsigned family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        if (!(families & 1u << family)) continue;
        enum status status = install_file(engine, id, family);
        if (status != STATUS_OK) return status;
    }
    return apply_batch(engine, id, batch);
}

/* Step 5. Failing to remove is harmless: open tries again. */
static void remove_files(struct rocksdb_engine *engine, uint64_t id) {
    struct buf path = {0};
    for (unsigned family = 0; family < STORAGE_FAMILY_COUNT; family++) {
        (void)unlink(file_path(&path, engine, id, family));
    }
    buf_done(&path);
    reached(engine, ROCKSDB_INGEST_FINISHED);
}

enum status rocksdb_engine_ingest_commit(struct storage_ingest *base,
                                         const struct storage_span *spans, size_t span_count,
                                         struct storage_batch *batch) {
    struct rocksdb_ingest *ingest = CONTAINER_OF(base, struct rocksdb_ingest, base);
    struct rocksdb_engine *engine = ingest->engine;
    uint64_t started_us = clock_monotonic_us(clock_system());
    enum status status = rocksdb_engine_write_failure(engine);
    for (size_t i = 0; i < span_count && status == STATUS_OK; i++)
        status = add_span(ingest, &spans[i]);
    if (status == STATUS_OK) status = finish_files(ingest);
    uint8_t families = 0;
    for (unsigned family = 0; family < STORAGE_FAMILY_COUNT; family++)
        if (ingest->writers[family]) families |= (uint8_t)(1u << family);
    if (status == STATUS_OK) {
        /* From here on the mark may be on the disk, even if writing it is reported as failed. */
        ingest->kept = true;
        status = write_mark(engine, ingest->id, families, rocksdb_engine_batch_data(batch));
    }
    if (status == STATUS_OK)
        status = install(engine, ingest->id, families, rocksdb_engine_batch_data(batch));
    if (status != STATUS_OK)
        return rocksdb_engine_stop_writes(engine, status, "a bulk installation failed");
    ingest->kept = false;
    metric_add(&metric_storage_ingests_total, 1);
    metric_add(&metric_storage_ingested_bytes_total, (int64_t)ingest->bytes);
    metric_observe(&metric_storage_ingest_latency_us,
                   clock_monotonic_us(clock_system()) - started_us);
    return STATUS_OK;
}

void rocksdb_engine_ingest_free(struct storage_ingest *base) {
    struct rocksdb_ingest *ingest = CONTAINER_OF(base, struct rocksdb_ingest, base);
    struct rocksdb_engine *engine = ingest->engine;
    for (unsigned family = 0; family < STORAGE_FAMILY_COUNT; family++)
        if (ingest->writers[family]) rocksdb_sstfilewriter_destroy(ingest->writers[family]);
    if (!ingest->kept) remove_files(engine, ingest->id);
    rocksdb_envoptions_destroy(ingest->env_options);
    atomic_fetch_sub(&engine->open_ingests, 1);
    memory_free(ingest);
}

/* ---- at open ---- */

static enum status redo_mark(struct rocksdb_engine *engine, struct slice key, struct slice value) {
    struct decoder key_decoder = decoder_make(key), decoder = decoder_make(value);
    (void)decode_u8(&key_decoder); /* the prefix, by which the mark was found */
    uint64_t id = decode_u64_be(&key_decoder);
    uint8_t version = decode_u8(&decoder);
    uint8_t families = decode_u8(&decoder);
    struct slice batch = decode_bytes(&decoder);
    if (!decoder_finished(&key_decoder) || !decoder_finished(&decoder)) return STATUS_CORRUPTION;
    if (version != MARK_VERSION) return STATUS_UNSUPPORTED;
    if (families >> STORAGE_FAMILY_COUNT != 0) return STATUS_CORRUPTION;
    return install(engine, id, families, batch);
}

/* The marks as they are now: redoing one changes the family that they are in. */
static enum status redo_marks(struct rocksdb_engine *engine) {
    rocksdb_iterator_t *marks = rocksdb_create_iterator_cf(engine->db, engine->read_latest,
                                                           engine->families[ROCKSDB_OWN_FAMILY]);
    const char prefix = MARK_PREFIX;
    enum status status = STATUS_OK;
    rocksdb_iter_seek(marks, &prefix, 1);
    for (; status == STATUS_OK && rocksdb_iter_valid(marks); rocksdb_iter_next(marks)) {
        struct slice key, value;
        key.data = (const uint8_t *)rocksdb_iter_key(marks, &key.len);
        if (key.data[0] != MARK_PREFIX) break;
        value.data = (const uint8_t *)rocksdb_iter_value(marks, &value.len);
        status = redo_mark(engine, key, value);
    }
    if (status == STATUS_OK) {
        char *error = NULL;
        rocksdb_iter_get_error(marks, &error);
        status = rocksdb_engine_take_error(engine, error);
    }
    rocksdb_iter_destroy(marks);
    return status;
}

static enum status remove_orphans(struct rocksdb_engine *engine, const char *staging) {
    DIR *listing = opendir(staging);
    if (!listing) return system_error(engine, "open", staging);
    enum status status = STATUS_OK;
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(listing));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(listing), entry->d_name, 0) < 0)
            status = system_error(engine, "remove", entry->d_name);
    }
    (void)closedir(listing); /* only read */
    return status;
}

enum status rocksdb_engine_ingest_recover(struct rocksdb_engine *engine) {
    struct buf path = {0};
    const char *staging = staging_path(&path, engine);
    enum status status = STATUS_OK;
    if (mkdir(staging, 0755) < 0) {
        if (errno != EEXIST) status = system_error(engine, "create", staging);
    } else if (rocksdb_directory_sync(engine->directory) < 0) {
        status = system_error(engine, "sync", engine->directory);
    }
    if (status == STATUS_OK) status = redo_marks(engine);
    if (status == STATUS_OK) status = remove_orphans(engine, staging);
    if (status == STATUS_OK) reached(engine, ROCKSDB_INGEST_FINISHED);
    buf_done(&path);
    return status;
}
