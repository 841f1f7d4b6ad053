/* Shared by the files of the RocksDB engine and by its tests; nobody else includes this. */
#ifndef FLOTILLA_STORAGE_ROCKSDB_INTERNAL_H
#define FLOTILLA_STORAGE_ROCKSDB_INTERNAL_H

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "storage/engine_impl.h"
#include "storage/rocksdb_engine.h"

/* RocksDB insists on a family named "default"; it holds the engine's own records. */
#define ROCKSDB_OWN_FAMILY STORAGE_FAMILY_COUNT
#define ROCKSDB_FAMILY_COUNT (STORAGE_FAMILY_COUNT + 1)

/* The instants of a bulk installation between which a crash makes a difference (rocksdb_ingest.c).
 */
enum rocksdb_ingest_step {
    ROCKSDB_INGEST_STAGED,   /* the files are complete and durable, nothing refers to them */
    ROCKSDB_INGEST_MARKED,   /* the commit is decided: the mark is durable */
    ROCKSDB_INGEST_FAMILY,   /* one more family is installed */
    ROCKSDB_INGEST_APPLIED,  /* the batch is written and the mark is gone, in one write */
    ROCKSDB_INGEST_FINISHED, /* the staged files are gone */
};

/* For tests, which crash there. */
struct rocksdb_ingest_hook {
    void (*reached)(void *ctx, enum rocksdb_ingest_step step);
    void *ctx;
};

/* The file that says how far the database was synced (rocksdb_synced.c). */
struct rocksdb_synced {
    pthread_mutex_t mutex;  /* of all below, once the engine is open */
    int fd;                 /* -1: not open */
    bool found;             /* it was there when the engine was opened */
    bool opening;           /* an open that did not finish may have replaced the logs */
    uint64_t first_log;     /* of the last life */
    uint64_t life_sequence; /* the last number before that log's records */
    uint64_t sequence;      /* everything up to here is synced */
};

struct rocksdb_engine {
    struct storage_engine base;
    char *directory; /* owned */
    rocksdb_t *db;
    rocksdb_column_family_handle_t *families[ROCKSDB_FAMILY_COUNT];
    rocksdb_options_t *family_options[ROCKSDB_FAMILY_COUNT]; /* also for staged files */
    rocksdb_options_t *options;                              /* of the whole database */
    rocksdb_cache_t *block_cache;

    /* Made once, only read afterwards: shared by all threads. */
    rocksdb_writeoptions_t *buffered, *synced;
    rocksdb_readoptions_t *read_latest;    /* for gets */
    rocksdb_readoptions_t *version_latest; /* for storage_get_version */

    /* The first failure. `failure` is the status that every later write fails with; `failure_text`
     * is written once, under the mutex, before `failure` is set; it ends with a zero byte. */
    _Atomic int failure;
    pthread_mutex_t mutex;
    struct buf failure_text;

    _Atomic uint64_t synced_sequence; /* every write up to here is durable; only grows */

    struct rocksdb_synced synced_record;

    _Atomic uint64_t next_ingest_id;
    _Atomic uint32_t open_ingests;
    struct rocksdb_ingest_hook ingest_hook; /* unset in production */
};

extern const struct storage_ops rocksdb_engine_ops;

static inline struct rocksdb_engine *rocksdb_engine_of(struct storage_engine *engine) {
    return (struct rocksdb_engine *)(void *)engine; /* `base` is the first member */
}

enum status rocksdb_engine_open_hooked(const struct rocksdb_engine_config *config,
                                       const struct rocksdb_ingest_hook *hook, struct buf *error,
                                       struct storage_engine **ret_engine) MUST_CHECK;

/* ---- rocksdb_status.c ---- */

/* What the text of a RocksDB error means as a status. */
enum status rocksdb_engine_classify(const char *text) MUST_CHECK;
/* Of an open that failed. */
enum status rocksdb_engine_classify_open(const char *directory, const char *text) MUST_CHECK;
/* Takes RocksDB's error away (NULL: OK) and remembers the first one for the operator. */
enum status rocksdb_engine_take_error(struct rocksdb_engine *engine, char *text) MUST_CHECK;
/* The same for a failed write: every later write fails as well. */
enum status rocksdb_engine_take_write_error(struct rocksdb_engine *engine, char *text) MUST_CHECK;
/* Stops further writes, for a reason of our own. Returns the status that holds from now on. */
enum status rocksdb_engine_stop_writes(struct rocksdb_engine *engine, enum status status,
                                       const char *text);
/* OK, or what the first failed write said. */
enum status rocksdb_engine_write_failure(struct rocksdb_engine *engine) MUST_CHECK;
/* Appends to `error` what happened to the directory and the way out. */
void rocksdb_engine_explain(struct buf *error, const struct rocksdb_engine_config *config,
                            enum status status, const char *text);

/* ---- rocksdb_directory.c: before and beside RocksDB ---- */

enum status rocksdb_directory_prepare(const struct rocksdb_engine_config *config,
                                      struct buf *error) MUST_CHECK;
bool rocksdb_directory_holds(const char *directory, const char *name); /* a file of that name */
bool rocksdb_directory_has_database(const char *directory);
/* Makes the names of a directory durable. 0, or -1 with errno. */
int rocksdb_directory_sync(const char *directory) MUST_CHECK;

/* ---- rocksdb_wal.c ---- */

/* What must be in the logs (rocksdb_synced.c). */
struct rocksdb_wal_bounds {
    uint64_t first_log;        /* older ones hold nothing that is still needed */
    bool first_log_exists;     /* otherwise a later one may be the first */
    bool begins;               /* `begin_sequence` is known */
    uint64_t begin_sequence;   /* the last number before the first log's records */
    uint64_t flushed_sequence; /* where the logs begin at the earliest, if there are no records */
    uint64_t synced_sequence;  /* must be reached */
    bool chained;              /* false: numbers may be missing; only damage is looked for */
};

/* Notes in the log around the installation of a file, which takes a sequence number. */
#define ROCKSDB_NOTE_INSTALLING "flotilla installs a file"
#define ROCKSDB_NOTE_INSTALLED "flotilla installed a file"

/* Reads all needed logs. OK: complete, but for a tail that a power cut left unfinished
 * (`ret_torn`). CORRUPTION or IO: `reason` says what is wrong with which log. */
enum status rocksdb_wal_judge(const char *directory, const struct rocksdb_wal_bounds *bounds,
                              struct buf *reason, bool *ret_torn) MUST_CHECK;
/* 0 when there is none. -1 with errno. */
int rocksdb_wal_newest(const char *directory, uint64_t *ret_number) MUST_CHECK;

/* ---- rocksdb_synced.c ---- */

#define ROCKSDB_SYNCED_FILE "SYNCED"

/* Before the database is opened: is everything there that was synced? `ret_torn`: the logs end with
 * an unfinished write. CORRUPTION, UNSUPPORTED, IO: `reason` says why. */
enum status rocksdb_synced_check(struct rocksdb_engine *engine, bool read_only, struct buf *reason,
                                 bool *ret_torn) MUST_CHECK;
/* The database was opened, so all older logs are done with. */
enum status rocksdb_synced_start(struct rocksdb_engine *engine) MUST_CHECK;
/* Writes down how far the database is synced; to be called before that is acknowledged. */
enum status rocksdb_synced_note(struct rocksdb_engine *engine) MUST_CHECK;
void rocksdb_synced_stop(struct rocksdb_engine *engine);

/* ---- rocksdb_options.c ---- */

/* Strict: any incomplete or damaged record of the log fails the open. Otherwise replay stops at the
 * first one. */
void rocksdb_engine_set_strict_recovery(struct rocksdb_engine *engine, bool strict);

void rocksdb_engine_make_options(struct rocksdb_engine *engine,
                                 const struct rocksdb_engine_config *config);
void rocksdb_engine_free_options(struct rocksdb_engine *engine);
const char *rocksdb_engine_family_name(unsigned family); /* also of the own one: "default" */

/* Bounds at which RocksDB slows writers down: memtables of a family, tables in its level 0. */
#define ROCKSDB_MEMTABLES_MAX 10
#define ROCKSDB_L0_SLOWDOWN_TRIGGER 40

/* ---- rocksdb_spans.c ---- */

/* Before a batch is written that deletes a span of the family. */
enum status rocksdb_spans_prepare(struct rocksdb_engine *engine,
                                  enum storage_family family) MUST_CHECK;

/* ---- rocksdb_write.c, rocksdb_read.c: see storage/engine.h ---- */

struct storage_batch *rocksdb_engine_batch_new(struct storage_engine *engine);
void rocksdb_engine_batch_free(struct storage_batch *batch);
void rocksdb_engine_batch_clear(struct storage_batch *batch);
void rocksdb_engine_batch_put(struct storage_batch *batch, enum storage_family family,
                              struct slice key, struct slice value);
void rocksdb_engine_batch_delete(struct storage_batch *batch, enum storage_family family,
                                 struct slice key);
void rocksdb_engine_batch_delete_range(struct storage_batch *batch, enum storage_family family,
                                       struct slice begin, struct slice end);
size_t rocksdb_engine_batch_count(const struct storage_batch *batch);
size_t rocksdb_engine_batch_bytes(const struct storage_batch *batch);
struct slice rocksdb_engine_batch_data(const struct storage_batch *batch); /* RocksDB's own form */
enum status rocksdb_engine_write(struct storage_engine *engine, struct storage_batch *batch,
                                 enum storage_durability durability) MUST_CHECK;
/* RocksDB's own form of a batch, synced. */
enum status rocksdb_engine_write_native(struct rocksdb_engine *engine, rocksdb_writebatch_t *batch,
                                        enum storage_durability durability) MUST_CHECK;
/* Reports that everything up to `sequence` is durable. */
void rocksdb_engine_raise_synced(struct rocksdb_engine *engine, uint64_t sequence);
uint64_t rocksdb_engine_synced_sequence(const struct storage_engine *engine);
/* A key behind every other of a family: for "no end". */
void rocksdb_engine_key_behind_all(struct buf *out); /* replaces */

enum status rocksdb_engine_get(struct storage_engine *engine,
                               const struct storage_snapshot *snapshot, enum storage_family family,
                               struct slice key, struct buf *ret_value) MUST_CHECK;
enum status rocksdb_engine_get_version(struct storage_engine *engine,
                                       const struct storage_snapshot *snapshot,
                                       struct slice version_key, storage_pair_fn *pair,
                                       void *ctx) MUST_CHECK;
struct storage_snapshot *rocksdb_engine_snapshot_new(struct storage_engine *engine);
void rocksdb_engine_snapshot_free(struct storage_engine *engine, struct storage_snapshot *snapshot);
struct storage_iterator *rocksdb_engine_iterator_new(struct storage_engine *engine,
                                                     const struct storage_snapshot *snapshot,
                                                     enum storage_family family, struct slice lower,
                                                     struct slice upper);
void rocksdb_engine_iterator_free(struct storage_iterator *iterator);
void rocksdb_engine_iterator_seek_first(struct storage_iterator *iterator);
void rocksdb_engine_iterator_seek_last(struct storage_iterator *iterator);
void rocksdb_engine_iterator_seek(struct storage_iterator *iterator, struct slice key);
void rocksdb_engine_iterator_seek_for_prev(struct storage_iterator *iterator, struct slice key);
void rocksdb_engine_iterator_next(struct storage_iterator *iterator);
void rocksdb_engine_iterator_prev(struct storage_iterator *iterator);
bool rocksdb_engine_iterator_valid(const struct storage_iterator *iterator);
struct slice rocksdb_engine_iterator_key(const struct storage_iterator *iterator);
struct slice rocksdb_engine_iterator_value(const struct storage_iterator *iterator);
enum status rocksdb_engine_iterator_status(const struct storage_iterator *iterator);
uint64_t rocksdb_engine_approximate_bytes(struct storage_engine *engine,
                                          const struct storage_span *span);

/* ---- rocksdb_ingest.c ---- */

#define ROCKSDB_STAGING "ingest" /* the directory of staged files */

enum status rocksdb_engine_ingest_new(struct storage_engine *engine,
                                      struct storage_ingest **ret_ingest) MUST_CHECK;
enum status rocksdb_engine_ingest_add(struct storage_ingest *ingest, enum storage_family family,
                                      struct slice key, struct slice value) MUST_CHECK;
enum status rocksdb_engine_ingest_commit(struct storage_ingest *ingest,
                                         const struct storage_span *spans, size_t span_count,
                                         struct storage_batch *batch) MUST_CHECK;
void rocksdb_engine_ingest_free(struct storage_ingest *ingest);
/* At open: completes what was decided and removes files that nothing refers to. */
enum status rocksdb_engine_ingest_recover(struct rocksdb_engine *engine) MUST_CHECK;

#endif
