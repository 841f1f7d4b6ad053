/* What an engine implements. Only engines and storage/engine.c include this.
 *
 * Each object starts with the struct below of its kind; an implementation embeds it as `base` and
 * finds itself with CONTAINER_OF. The meaning, the threads and the errors of each operation are
 * those of the function of the same name in storage/engine.h. */
#ifndef FLOTILLA_STORAGE_ENGINE_IMPL_H
#define FLOTILLA_STORAGE_ENGINE_IMPL_H

#include "storage/engine.h"

struct storage_engine {
    const struct storage_ops *ops;
};

struct storage_batch {
    const struct storage_ops *ops;
};

struct storage_snapshot {
    const struct storage_engine *engine; /* for asserting that it is used with its own engine */
};

struct storage_iterator {
    const struct storage_ops *ops;
};

struct storage_ingest {
    const struct storage_ops *ops;
    enum storage_family last_family; /* of the last key added; written by storage_ingest_add */
    struct buf last_key;             /* the last key added; valid when any */
    bool any;                        /* something was added */
    bool committed;                  /* commit was called; nothing more may be done */
};

struct storage_ops {
    void (*close)(struct storage_engine *engine);

    struct storage_batch *(*batch_new)(struct storage_engine *engine);
    void (*batch_free)(struct storage_batch *batch);
    void (*batch_clear)(struct storage_batch *batch);
    void (*batch_put)(struct storage_batch *batch, enum storage_family family, struct slice key,
                      struct slice value);
    void (*batch_delete)(struct storage_batch *batch, enum storage_family family, struct slice key);
    void (*batch_delete_range)(struct storage_batch *batch, enum storage_family family,
                               struct slice begin, struct slice end);
    size_t (*batch_count)(const struct storage_batch *batch);
    size_t (*batch_bytes)(const struct storage_batch *batch);

    enum status (*write)(struct storage_engine *engine, struct storage_batch *batch,
                         enum storage_durability durability);
    enum status (*get)(struct storage_engine *engine, const struct storage_snapshot *snapshot,
                       enum storage_family family, struct slice key, struct buf *ret_value);
    enum status (*get_version)(struct storage_engine *engine,
                               const struct storage_snapshot *snapshot, struct slice version_key,
                               storage_pair_fn *pair, void *ctx);

    struct storage_snapshot *(*snapshot_new)(struct storage_engine *engine);
    void (*snapshot_free)(struct storage_engine *engine, struct storage_snapshot *snapshot);

    struct storage_iterator *(*iterator_new)(struct storage_engine *engine,
                                             const struct storage_snapshot *snapshot,
                                             enum storage_family family, struct slice lower,
                                             struct slice upper);
    void (*iterator_free)(struct storage_iterator *iterator);
    void (*iterator_seek_first)(struct storage_iterator *iterator);
    void (*iterator_seek_last)(struct storage_iterator *iterator);
    void (*iterator_seek)(struct storage_iterator *iterator, struct slice key);
    void (*iterator_seek_for_prev)(struct storage_iterator *iterator, struct slice key);
    void (*iterator_next)(struct storage_iterator *iterator);
    void (*iterator_prev)(struct storage_iterator *iterator);
    bool (*iterator_valid)(const struct storage_iterator *iterator);
    struct slice (*iterator_key)(const struct storage_iterator *iterator);
    struct slice (*iterator_value)(const struct storage_iterator *iterator);
    enum status (*iterator_status)(const struct storage_iterator *iterator);

    enum status (*ingest_new)(struct storage_engine *engine, struct storage_ingest **ret_ingest);
    enum status (*ingest_add)(struct storage_ingest *ingest, enum storage_family family,
                              struct slice key, struct slice value);
    enum status (*ingest_commit)(struct storage_ingest *ingest, const struct storage_span *spans,
                                 size_t span_count, struct storage_batch *batch);
    void (*ingest_free)(struct storage_ingest *ingest);

    uint64_t (*approximate_bytes)(struct storage_engine *engine, const struct storage_span *span);
    uint64_t (*synced_sequence)(const struct storage_engine *engine);
    void (*describe)(struct storage_engine *engine, struct buf *out);
};

/* "raft", "data", "lock", "meta": also the names of the real engine's column families, so they are
 * on disk and never change. */
const char *storage_family_name(enum storage_family family);

/* [begin, end) with an empty end meaning no end. */
bool storage_span_contains(const struct storage_span *span, struct slice key);

#endif
