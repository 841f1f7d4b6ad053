/* RocksDB behind storage/engine.h. The only place that knows RocksDB.
 *
 * The directory belongs to one engine in one process. What stands in it, byte by byte, is in
 * storage/README.md. */
#ifndef FLOTILLA_STORAGE_ROCKSDB_ENGINE_H
#define FLOTILLA_STORAGE_ROCKSDB_ENGINE_H

#include "storage/engine.h"

/* What an operator does about a node's directory that is damaged. Never an older copy, never all
 * nodes at once: the others have everything that was acknowledged. */
#define ROCKSDB_ENGINE_NODE_WAY_OUT                                                          \
    "do not repair it and put no older copy in its place: check the disk, set the "          \
    "directory aside, start a new node with an empty one, and give it this node's replicas " \
    "with `flotilla admin move-replica` (docs/operations.md, A node's data is lost)"

struct rocksdb_engine_config {
    const char *directory;            /* created when missing, parents included */
    uint64_t block_cache_bytes;       /* 0: 64 MiB */
    uint64_t write_buffer_bytes;      /* all families together; 0: 32 MiB */
    uint64_t min_free_bytes;          /* refuse to open below; 0: no check */
    const char *way_out_when_damaged; /* for the error text; NULL: that of a node */
    bool read_only_check; /* for tools: read everything, verify every checksum, change nothing,
                           *close; ret_engine becomes NULL */
};

/* Opens, and completes a bulk installation that a crash interrupted.
 * LOCKED: another process has the directory open. INVALID: it holds something else than an engine.
 * UNSUPPORTED: written by a newer version. CORRUPTION: damaged. NO_SPACE, IO.
 * `error` gets one sentence that names the directory and the way out. */
enum status rocksdb_engine_open(const struct rocksdb_engine_config *config, struct buf *error,
                                struct storage_engine **ret_engine) MUST_CHECK;

#endif
