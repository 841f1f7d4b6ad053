/* RocksDB behind storage/engine.h. The only place that knows RocksDB. */
#ifndef FLOTILLA_STORAGE_ROCKSDB_ENGINE_H
#define FLOTILLA_STORAGE_ROCKSDB_ENGINE_H

#include "storage/engine.h"

struct rocksdb_engine_config {
    const char *directory;       /* created when missing */
    uint64_t block_cache_bytes;  /* 0: 64 MiB */
    uint64_t write_buffer_bytes; /* all families together; 0: 128 MiB */
    uint64_t min_free_bytes;     /* refuse to open below; 0: no check */
    bool read_only_check;        /* open, verify, close: for tools */
};

/* LOCKED: another process has the directory open. CORRUPTION, IO, NO_SPACE. `error` gets one
 * sentence that names the directory and the way out. */
enum status rocksdb_engine_open(const struct rocksdb_engine_config *config, struct buf *error,
                                struct storage_engine **ret_engine) MUST_CHECK;

#endif
