/* What the real engine counts. The engine in memory counts nothing here: it has no clock. */
#ifndef FLOTILLA_STORAGE_METRICS_H
#define FLOTILLA_STORAGE_METRICS_H

#include "base/metrics.h"

#define STORAGE_METRICS(X)                                                                     \
    X(storage_sync_latency_us, HISTOGRAM, "us", "time of a write that waits for the disk")     \
    X(storage_buffered_latency_us, HISTOGRAM, "us", "time of a write that does not")           \
    X(storage_written_bytes_total, COUNTER, "bytes", "batches written, before any compaction") \
    X(storage_written_operations_total, COUNTER, "operations", "puts and deletes written")     \
    X(storage_syncs_total, COUNTER, "writes", "writes that waited for the disk")               \
    X(storage_ingests_total, COUNTER, "ingests", "bulk installations committed")               \
    X(storage_ingest_latency_us, HISTOGRAM, "us", "time of committing a bulk installation")    \
    X(storage_ingested_bytes_total, COUNTER, "bytes", "keys and values installed in bulk")     \
    X(storage_disk_free_bytes, GAUGE, "bytes", "free on the disk of the data directory")       \
    X(storage_disk_bytes, GAUGE, "bytes", "size of the disk of the data directory")            \
    X(storage_failures_total, COUNTER, "failures", "operations that the disk refused")

METRICS_DECLARE(STORAGE_METRICS)

void storage_metrics_register(void); /* once, before threads start */

#endif
