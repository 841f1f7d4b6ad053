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
/* After `countdown` more writes or reads, each operation fails with `status`; 0 countdown: now. */
void memory_engine_fail_after(struct storage_engine *engine, uint64_t countdown,
                              enum status status);
/* A hash over all visible content of a span: equal content, equal hash. */
uint64_t memory_engine_hash(struct storage_engine *engine, const struct storage_span *span);

#endif
