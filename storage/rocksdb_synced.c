/* How far the database was synced, beside the database: so that what is missing at its end is
 * missed.
 *
 * A write-ahead log whose newest file is gone, or was cut between two records, replays without a
 * word: it just ends earlier. So the file SYNCED says up to which sequence number writes were
 * synced. It is written after each sync, before that is acknowledged, and not synced itself: what
 * it says is true at every instant, and after a power cut it may say less than it could.
 *
 *   SYNCED = "FLOTSYNC" (8) ‖ version (4, LE): 1 ‖ opening (4, LE): 0 or 1 ‖ first log (8, LE)
 *            ‖ life sequence (8, LE) ‖ synced sequence (8, LE) ‖ checksum64 of all before (8, LE)
 *
 * It is one sector, which a disk writes as a whole.
 *
 * The chain of the logs has three parts, checked before RocksDB opens them (rocksdb_wal.c):
 * 1. Its beginning. An open replays all logs and puts them into tables, so a life starts with a new
 *    log, `first log`, and goes on from `life sequence`; both are written down and synced when an
 *    open is finished. Later RocksDB drops logs from the front, after it has written into its
 *    MANIFEST which one is the oldest that it needs: from then on that one must be there. RocksDB
 *    itself is asked for that number, with a look at the MANIFEST that reads no log.
 * 2. Its links: sequence numbers, in each log and from one to the next.
 * 3. Its end: `synced sequence`.
 * An open that was interrupted may have dropped the logs without having said what the new first one
 * is. `opening` is set for that time: the beginning need not be there then.
 *
 * Not to be told apart: a newest log that is empty because nothing was written to it yet, and one
 * that was emptied, when it is the only one needed and nothing was synced since the last change of
 * the MANIFEST. A whole directory that was set back is complete, too. Both are for placement, which
 * remembers what the node reported. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/codec.h"
#include "storage/rocksdb_internal.h"

#define MAGIC "FLOTSYNC"
#define MAGIC_BYTES 8u
#define RECORD_VERSION 1u
#define RECORD_BYTES 48u

static const char *path_of(struct buf *out, const struct rocksdb_engine *engine, const char *name) {
    buf_clear(out);
    buf_printf(out, "%s/%s", engine->directory, name);
    buf_append_byte(out, 0);
    return (const char *)out->data;
}

/* ---- the record ---- */

static void encode_record(struct buf *out, const struct rocksdb_synced *record) {
    buf_append(out, SLICE_LITERAL(MAGIC));
    encode_u32(out, RECORD_VERSION);
    encode_u32(out, record->opening ? 1 : 0);
    encode_u64(out, record->first_log);
    encode_u64(out, record->life_sequence);
    encode_u64(out, record->sequence);
    encode_u64(out, checksum64(slice_from_buf(out)));
    ASSERT_CMP(out->len, ==, RECORD_BYTES);
}

static enum status decode_record(struct slice bytes, struct rocksdb_synced *record,
                                 struct buf *reason) {
    struct decoder decoder = decoder_make(bytes);
    struct slice magic = decode_fixed(&decoder, MAGIC_BYTES);
    uint32_t version = decode_u32(&decoder), opening = decode_u32(&decoder);
    record->first_log = decode_u64(&decoder);
    record->life_sequence = decode_u64(&decoder);
    record->sequence = decode_u64(&decoder);
    uint64_t checksum = decode_u64(&decoder);
    record->opening = opening != 0;
    if (!decoder_finished(&decoder) || !slice_equal(magic, SLICE_LITERAL(MAGIC)) ||
        checksum != checksum64(slice_make(bytes.data, RECORD_BYTES - sizeof(checksum)))) {
        buf_printf(reason, "its file " ROCKSDB_SYNCED_FILE " is damaged");
        return STATUS_CORRUPTION;
    }
    if (version == RECORD_VERSION) return STATUS_OK;
    buf_printf(reason, "its file " ROCKSDB_SYNCED_FILE " is unknown to this version");
    return STATUS_UNSUPPORTED;
}

static enum status system_error(struct buf *reason, const char *what) {
    int error = errno;
    buf_printf(reason, "%s " ROCKSDB_SYNCED_FILE ": %s", what, strerror(error));
    return error == ENOSPC || error == EDQUOT ? STATUS_NO_SPACE : STATUS_IO;
}

static enum status write_record(struct rocksdb_synced *record, struct buf *reason) {
    struct buf bytes = {0};
    encode_record(&bytes, record);
    ssize_t written = pwrite(record->fd, bytes.data, bytes.len, 0);
    bool complete = written == (ssize_t)bytes.len;
    if (written >= 0 && !complete) errno = ENOSPC;
    buf_done(&bytes);
    return complete ? STATUS_OK : system_error(reason, "write");
}

static enum status write_durably(struct rocksdb_synced *record, struct buf *reason) {
    enum status status = write_record(record, reason);
    if (status == STATUS_OK && fsync(record->fd) < 0) status = system_error(reason, "sync");
    return status;
}

/* Absent is no error: the database is new, or of a version that had no such file. */
static enum status read_record(struct rocksdb_engine *engine, bool read_only, struct buf *reason) {
    struct rocksdb_synced *record = &engine->synced_record;
    struct buf path = {0};
    int mode = read_only ? O_RDONLY : O_RDWR;
    record->fd = open(path_of(&path, engine, ROCKSDB_SYNCED_FILE), mode | O_CLOEXEC);
    buf_done(&path);
    if (record->fd < 0) return errno == ENOENT ? STATUS_OK : system_error(reason, "open");
    uint8_t bytes[RECORD_BYTES + 1];
    ssize_t len = pread(record->fd, bytes, sizeof(bytes), 0);
    if (len < 0) return system_error(reason, "read");
    record->found = true;
    return decode_record(slice_make(bytes, (size_t)len), record, reason);
}

/* ---- what RocksDB's MANIFEST says ---- */

/* Whether another process has the database open: then its logs change, and the open will say so. */
static bool locked_by_other(const struct rocksdb_engine *engine) {
    struct buf path = {0};
    int fd = open(path_of(&path, engine, "LOCK"), O_RDWR | O_CLOEXEC);
    buf_done(&path);
    if (fd < 0) return false;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool locked = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    (void)close(fd); /* nothing was written */
    return locked;
}

/* NULL, or RocksDB's error, to be freed. The logs are looked for in the staging directory, where
 * there are none, so none is read. */
static char *ask_manifest(struct rocksdb_engine *engine, uint64_t *ret_first_log,
                          uint64_t *ret_sequence) {
    const char *names[ROCKSDB_FAMILY_COUNT];
    rocksdb_column_family_handle_t *families[ROCKSDB_FAMILY_COUNT];
    for (unsigned family = 0; family < ROCKSDB_FAMILY_COUNT; family++)
        names[family] = rocksdb_engine_family_name(family);
    struct buf path = {0};
    char *text = NULL;
    rocksdb_options_t *options = rocksdb_options_create_copy(engine->options);
    rocksdb_options_set_wal_dir(options, path_of(&path, engine, ROCKSDB_STAGING));
    rocksdb_t *db = rocksdb_open_for_read_only_column_families(
        options, engine->directory, ROCKSDB_FAMILY_COUNT, names,
        (const rocksdb_options_t *const *)engine->family_options, families, 0, &text);
    if (!text) {
        ASSERT(rocksdb_property_int(db, "rocksdb.min-log-number-to-keep", ret_first_log) == 0);
        *ret_sequence = rocksdb_get_latest_sequence_number(db);
        for (unsigned family = 0; family < ROCKSDB_FAMILY_COUNT; family++)
            rocksdb_column_family_handle_destroy(families[family]);
        rocksdb_close(db);
    }
    rocksdb_options_destroy(options);
    buf_done(&path);
    return text;
}

static enum status find_bounds(struct rocksdb_engine *engine, struct rocksdb_wal_bounds *bounds,
                               struct buf *reason) {
    const struct rocksdb_synced *record = &engine->synced_record;
    uint64_t needed = 0, flushed = 0;
    char *text = ask_manifest(engine, &needed, &flushed);
    if (text) {
        enum status status = rocksdb_engine_classify_open(engine->directory, text);
        buf_printf(reason, "%s", text);
        rocksdb_free(text);
        return status;
    }
    *bounds = (struct rocksdb_wal_bounds){
        .first_log = needed > record->first_log ? needed : record->first_log,
        .first_log_exists = !record->opening,
        .begins = needed <= record->first_log,
        .begin_sequence = record->life_sequence,
        .flushed_sequence = flushed,
        .synced_sequence = record->sequence,
        .chained = true,
    };
    return STATUS_OK;
}

/* ---- the life of an engine ---- */

enum status rocksdb_synced_check(struct rocksdb_engine *engine, bool read_only, struct buf *reason,
                                 bool *ret_torn) {
    struct rocksdb_synced *record = &engine->synced_record;
    if (!rocksdb_directory_has_database(engine->directory) || locked_by_other(engine))
        return STATUS_OK;
    enum status status = read_record(engine, read_only, reason);
    struct rocksdb_wal_bounds bounds = {0};
    if (status == STATUS_OK && record->found) status = find_bounds(engine, &bounds, reason);
    if (status == STATUS_OK)
        status = rocksdb_wal_judge(engine->directory, &bounds, reason, ret_torn);
    if (status != STATUS_OK || read_only || !record->found) return status;
    record->opening = true;
    return write_durably(record, reason);
}

static enum status create_file(struct rocksdb_engine *engine, struct buf *reason) {
    struct buf path = {0};
    engine->synced_record.fd =
        open(path_of(&path, engine, ROCKSDB_SYNCED_FILE), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    buf_done(&path);
    return engine->synced_record.fd < 0 ? system_error(reason, "create") : STATUS_OK;
}

enum status rocksdb_synced_start(struct rocksdb_engine *engine) {
    struct rocksdb_synced *record = &engine->synced_record;
    struct buf reason = {0};
    enum status status = STATUS_OK;
    if (record->fd < 0) status = create_file(engine, &reason);
    record->opening = false;
    record->life_sequence = rocksdb_get_latest_sequence_number(engine->db);
    record->sequence = record->life_sequence;
    if (status == STATUS_OK && rocksdb_wal_newest(engine->directory, &record->first_log) < 0)
        status = system_error(&reason, "list the logs for");
    if (status == STATUS_OK) status = write_durably(record, &reason);
    /* Also for the name of the first log, which from here on must exist. */
    if (status == STATUS_OK && rocksdb_directory_sync(engine->directory) < 0)
        status = system_error(&reason, "sync the directory of");
    if (status != STATUS_OK) {
        buf_append_byte(&reason, 0);
        (void)rocksdb_engine_stop_writes(engine, status, (const char *)reason.data);
    }
    buf_done(&reason);
    return status;
}

enum status rocksdb_synced_note(struct rocksdb_engine *engine) {
    struct rocksdb_synced *record = &engine->synced_record;
    struct buf reason = {0};
    enum status status = STATUS_OK;
    ASSERT(pthread_mutex_lock(&record->mutex) == 0);
    uint64_t sequence = rocksdb_engine_synced_sequence(&engine->base);
    if (sequence > record->sequence) {
        record->sequence = sequence; /* a failure stops all writes: it is not tried again */
        status = write_record(record, &reason);
    }
    ASSERT(pthread_mutex_unlock(&record->mutex) == 0);
    if (status != STATUS_OK) {
        buf_append_byte(&reason, 0);
        status = rocksdb_engine_stop_writes(engine, status, (const char *)reason.data);
    }
    buf_done(&reason);
    return status;
}

void rocksdb_synced_stop(struct rocksdb_engine *engine) {
    struct rocksdb_synced *record = &engine->synced_record;
    if (record->fd >= 0) (void)close(record->fd); /* what it says was written, or is not needed */
    ASSERT(pthread_mutex_destroy(&record->mutex) == 0);
}
