/* The engine in memory, for simulation and tests: same semantics, faults on request, deterministic.
 */
#ifndef FLOTILLA_STORAGE_MEMORY_ENGINE_H
#define FLOTILLA_STORAGE_MEMORY_ENGINE_H

#include "storage/engine.h"

struct storage_engine *memory_engine_new(void);
/* As a power cut: everything after the last synced write is gone, except that the first
 * `keep_writes` unsynced writes survive (a torn tail: the log is cut at a write boundary). Open
 * snapshots, iterators and ingests must have been freed. */
void memory_engine_crash(struct storage_engine *engine, size_t keep_writes);
size_t memory_engine_unsynced_writes(const struct storage_engine *engine);

/* ---- faults ---- */
enum memory_engine_operation {
    MEMORY_ENGINE_READ = 1,
    MEMORY_ENGINE_WRITE = 2, /* nothing of it happens; staging for an ingest is a write, too */
    MEMORY_ENGINE_SYNC = 4,  /* of a synced write or an ingest: written, but not synced */
};
/* After `countdown` more of these operations, each of them fails with `status`; 0 countdown: now.
 * Takes the place of the fault before; STATUS_OK: none. A crash ends it, too. */
void memory_engine_fail(struct storage_engine *engine, unsigned operations, uint64_t countdown,
                        enum status status);
/* The same of every read and write. */
void memory_engine_fail_after(struct storage_engine *engine, uint64_t countdown,
                              enum status status);
/* An operation has failed since the engine was made, or since the last crash. */
bool memory_engine_failed(const struct storage_engine *engine);
/* The process that used the engine ended in the midst of its work: its open snapshots, iterators
 * and ingests are void, and never used nor freed again. */
void memory_engine_abandon(struct storage_engine *engine);

/* A look from outside of the process, at what a crash would leave (durable) or at the latest state:
 * no fault is met, none is counted. NOT_FOUND. */
enum status memory_engine_peek(struct storage_engine *engine, bool durable,
                               enum storage_family family, struct slice key,
                               struct buf *ret_value) MUST_CHECK;
/* A hash over all visible content of a span: equal content, equal hash. */
uint64_t memory_engine_hash(struct storage_engine *engine, const struct storage_span *span);

#endif
