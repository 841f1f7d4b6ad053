/* RocksDB's error texts become statuses here and nowhere else. */
#include <string.h>

#include "base/assert.h"
#include "storage/metrics.h"
#include "storage/rocksdb_internal.h"

static bool contains(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

/* The texts are those of Status::ToString and of strerror in the C locale. Space is asked first: a
 * full disk may be dressed as anything. */
enum status rocksdb_engine_classify(const char *text) {
    if (contains(text, "No space left") || contains(text, "Disk quota exceeded") ||
        contains(text, "Space limit reached"))
        return STATUS_NO_SPACE;
    if (contains(text, "While lock file") || contains(text, "lock hold by current process"))
        return STATUS_LOCKED;
    /* A file that the database needs is gone: whoever took it, the content is not complete. */
    if (starts_with(text, "Corruption") || contains(text, "No such file")) return STATUS_CORRUPTION;
    if (starts_with(text, "Invalid argument")) return STATUS_INVALID;
    if (starts_with(text, "Not implemented")) return STATUS_UNSUPPORTED;
    return STATUS_IO;
}

/* What RocksDB calls an invalid argument when it opens what was made here: its MANIFEST was cut,
 * and lacks families. Of a directory of somebody else it is no damage. */
enum status rocksdb_engine_classify_open(const char *directory, const char *text) {
    enum status status = rocksdb_engine_classify(text);
    bool made_here = rocksdb_directory_holds(directory, ROCKSDB_SYNCED_FILE);
    return status == STATUS_INVALID && made_here ? STATUS_CORRUPTION : status;
}

static void remember_text(struct rocksdb_engine *engine, const char *text) {
    metric_add(&metric_storage_failures_total, 1);
    ASSERT(pthread_mutex_lock(&engine->mutex) == 0);
    if (engine->failure_text.len == 0) {
        buf_assign(&engine->failure_text, slice_from_text(text));
        buf_append_byte(&engine->failure_text, 0);
    }
    ASSERT(pthread_mutex_unlock(&engine->mutex) == 0);
}

enum status rocksdb_engine_take_error(struct rocksdb_engine *engine, char *text) {
    if (!text) return STATUS_OK;
    enum status status = rocksdb_engine_classify(text);
    remember_text(engine, text);
    rocksdb_free(text);
    /* A read or write that RocksDB calls invalid was checked by us before: the disk is to blame. */
    return status == STATUS_INVALID || status == STATUS_UNSUPPORTED ? STATUS_IO : status;
}

enum status rocksdb_engine_stop_writes(struct rocksdb_engine *engine, enum status status,
                                       const char *text) {
    remember_text(engine, text);
    int none = STATUS_OK;
    (void)atomic_compare_exchange_strong(&engine->failure, &none, (int)status); /* the first wins */
    return rocksdb_engine_write_failure(engine);
}

enum status rocksdb_engine_take_write_error(struct rocksdb_engine *engine, char *text) {
    if (!text) return STATUS_OK;
    enum status status = rocksdb_engine_classify(text);
    if (status != STATUS_NO_SPACE && status != STATUS_CORRUPTION) status = STATUS_IO;
    status = rocksdb_engine_stop_writes(engine, status, text);
    rocksdb_free(text);
    return status;
}

enum status rocksdb_engine_write_failure(struct rocksdb_engine *engine) {
    return (enum status)atomic_load(&engine->failure);
}

static const char *way_out(enum status status) {
    switch (status) {
    case STATUS_LOCKED:
        return "stop the other process, or give this one a directory of its own";
    case STATUS_NO_SPACE:
        return "free some space on that file system, or move the directory to a larger one";
    case STATUS_CORRUPTION:
        return ROCKSDB_ENGINE_NODE_WAY_OUT;
    case STATUS_INVALID:
        return "name an empty directory, or one that this program made";
    case STATUS_UNSUPPORTED:
        return "start the version that wrote it, or a newer one";
    default:
        return "check the disk, the permissions and the limit of open files";
    }
}

void rocksdb_engine_explain(struct buf *error, const struct rocksdb_engine_config *config,
                            enum status status, const char *text) {
    const char *directory = config->directory && *config->directory ? config->directory : "\"\"";
    bool damaged = status == STATUS_CORRUPTION && config->way_out_when_damaged;
    buf_printf(error, "data directory %s: %s (%s); %s", directory, status_text(status), text,
               damaged ? config->way_out_when_damaged : way_out(status));
}
