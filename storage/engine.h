/* The engine interface: an ordered, multi-family, crash-safe key-value store. Two implementations
 * with the same semantics: RocksDB (storage/rocksdb_engine.h) and memory (storage/memory_engine.h),
 * the latter for simulation, where a simulated crash loses what was not synced.
 *
 * Semantics that both keep and tests compare:
 * - A batch is atomic over all families and applied in order; after a crash either all of it is
 *   there or nothing.
 * - Writes become visible at once and durable in order: a synced write makes every earlier one
 *   durable.
 * - Snapshots and iterators see the state at their creation.
 * - The first failed write is the last: every later write fails with the same status, because after
 *   a failed write or fsync nothing may be assumed about the disk (a failed fsync is never
 *   retried). The content of the failed write may be there or not after a restart. The caller
 *   stops.
 *
 * Threads: every function may be called from any thread, except that one batch, iterator or ingest
 * belongs to one thread at a time. Errors are IO, NO_SPACE, CORRUPTION. Keys and values are bounded
 * by storage/limits.h; snapshots, iterators, batches and ingests must be freed before
 * storage_close. */
#ifndef FLOTILLA_STORAGE_ENGINE_H
#define FLOTILLA_STORAGE_ENGINE_H

#include "base/slice.h"
#include "base/status.h"

enum storage_family {
    STORAGE_RAFT, /* log entries, hard states, per-range apply state */
    STORAGE_DATA, /* versions of user keys */
    STORAGE_LOCK, /* transaction intents */
    STORAGE_META, /* node identity, range descriptors, request and transaction records */
    STORAGE_FAMILY_COUNT,
};

enum storage_durability {
    STORAGE_BUFFERED, /* survives a crash of the process, not of the machine, until a later synced
                         write */
    STORAGE_SYNCED,   /* fsynced when the call returns */
};

struct storage_engine; /* each operation goes through its table: storage/engine_impl.h */
struct storage_batch;
struct storage_snapshot;
struct storage_iterator;
struct storage_ingest;

void storage_close(struct storage_engine *engine); /* flushes; NULL is fine */

struct storage_batch *storage_batch_new(struct storage_engine *engine);
void storage_batch_free(struct storage_batch *batch);
void storage_batch_clear(struct storage_batch *batch);
void storage_batch_put(struct storage_batch *batch, enum storage_family family, struct slice key,
                       struct slice value);
void storage_batch_delete(struct storage_batch *batch, enum storage_family family,
                          struct slice key);
/* [begin, end), empty end: no end. Costs a tombstone that every later read of the span has to look
 * at, and perhaps a table that is written early: for dropping ranges and snapshots, not for
 * everyday log compaction. What was deleted costs later reads of the span and beside it next to
 * nothing. */
void storage_batch_delete_range(struct storage_batch *batch, enum storage_family family,
                                struct slice begin, struct slice end);
size_t storage_batch_count(const struct storage_batch *batch);
size_t storage_batch_bytes(const struct storage_batch *batch); /* approximate */

/* Leaves the batch as it was; clear it to reuse it. */
enum status storage_write(struct storage_engine *engine, struct storage_batch *batch,
                          enum storage_durability durability) MUST_CHECK;

/* NULL snapshot: the latest state. `ret_value` is replaced. NOT_FOUND. */
enum status storage_get(struct storage_engine *engine, const struct storage_snapshot *snapshot,
                        enum storage_family family, struct slice key,
                        struct buf *ret_value) MUST_CHECK;

/* Receives one pair; the slices are valid during the call, which must not use the engine. */
typedef void storage_pair_fn(void *ctx, struct slice key, struct slice value);

/* The point read of multi-version data: the first key of STORAGE_DATA at or after `version_key`
 * that equals it in everything but its last MVCC_VERSION_BYTES (storage/mvcc.h). Cheaper than an
 * iterator: the engine knows that nothing else is wanted. NOT_FOUND. */
enum status storage_get_version(struct storage_engine *engine,
                                const struct storage_snapshot *snapshot, struct slice version_key,
                                storage_pair_fn *pair, void *ctx) MUST_CHECK;

struct storage_snapshot *storage_snapshot_new(struct storage_engine *engine);
void storage_snapshot_free(struct storage_engine *engine, struct storage_snapshot *snapshot);

/* Iterates keys in [lower, upper); an empty `upper` means no end. Bounds are copied. */
struct storage_iterator *storage_iterator_new(struct storage_engine *engine,
                                              const struct storage_snapshot *snapshot,
                                              enum storage_family family, struct slice lower,
                                              struct slice upper);
void storage_iterator_free(struct storage_iterator *iterator);
void storage_iterator_seek_first(struct storage_iterator *iterator);
void storage_iterator_seek_last(struct storage_iterator *iterator);
void storage_iterator_seek(struct storage_iterator *iterator, struct slice key); /* first >= key */
void storage_iterator_seek_for_prev(struct storage_iterator *iterator,
                                    struct slice key); /* last <= key */
void storage_iterator_next(struct storage_iterator *iterator);
void storage_iterator_prev(struct storage_iterator *iterator);
bool storage_iterator_valid(const struct storage_iterator *iterator);
struct slice
storage_iterator_key(const struct storage_iterator *iterator); /* until the next move */
struct slice
storage_iterator_value(const struct storage_iterator *iterator); /* until the next move */
/* To be checked whenever valid() turned false: the end, or an error? */
enum status storage_iterator_status(const struct storage_iterator *iterator) MUST_CHECK;

/* Bulk installation of a snapshot: replaces whole key spans by new content, atomically. Additions
 * are staged (SST files on the real engine) and cost no memtable; nothing is visible before commit.
 * A crash before commit returns leaves either the old or the new content (an unfinished commit is
 * completed when the engine is opened), together with `batch` (e.g. the range's raft and apply
 * state). While commit runs nobody else may write to the spans or to the keys of `batch`, and a
 * reader of them may see one family replaced and the next not yet: the replica serves nothing
 * meanwhile. A failed commit has the same two outcomes after a restart, and stops further writes.
 */
struct storage_span {
    enum storage_family family;
    struct slice begin, end; /* [begin, end), empty end: no end */
};
/* BUSY: too many are open (storage/limits.h). */
enum status storage_ingest_new(struct storage_engine *engine,
                               struct storage_ingest **ret_ingest) MUST_CHECK;
/* Keys strictly ascending within a family; families in ascending order. */
enum status storage_ingest_add(struct storage_ingest *ingest, enum storage_family family,
                               struct slice key, struct slice value) MUST_CHECK;
/* Clears `spans`, installs what was added, writes `batch` (left as it was); durable on return.
 * Every added key must lie in a span. The ingest can only be freed afterwards. */
enum status storage_ingest_commit(struct storage_ingest *ingest, const struct storage_span *spans,
                                  size_t span_count, struct storage_batch *batch) MUST_CHECK;
void storage_ingest_free(
    struct storage_ingest *ingest); /* drops what was not committed; NULL is fine */

/* Bytes that the keys of a span take, roughly (the real engine counts files, compressed, and leaves
 * out what is only in memory yet); for split decisions and heartbeats. */
uint64_t storage_approximate_bytes(struct storage_engine *engine, const struct storage_span *span);
/* A sequence number that every synced write raises and that only grows, over restarts too: all
 * writes up to it survive a power cut. So an engine that opens below a number that it once reported
 * has lost synced writes: it is an older copy, or its disk lost its tail. The number says nothing
 * about another directory. Cheap: no I/O; what is reported right after a synced write
 * covers that write. */
uint64_t storage_synced_sequence(const struct storage_engine *engine);
/* Appends "name value" lines for the operator. */
void storage_describe(struct storage_engine *engine, struct buf *out);

#endif
