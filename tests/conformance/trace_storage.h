/* What one replica of a trace has on disk, and the state machine above it, which concatenates the
 * payloads that it applies. */
#ifndef FLOTILLA_TESTS_CONFORMANCE_TRACE_STORAGE_H
#define FLOTILLA_TESTS_CONFORMANCE_TRACE_STORAGE_H

#include "raft/raft.h"

struct trace_storage {
    struct raft_log_id compacted; /* the entry before the first one kept */
    struct raft_entry *entries;   /* with references */
    uint32_t count, cap;
    struct raft_hard_state hard_state;
    struct raft_log_id applied; /* the latest applied state, which is the snapshot it sends */
    struct raft_conf_state conf;
    struct buf data;
};

void trace_storage_done(struct trace_storage *storage);
struct raft_storage trace_storage_interface(struct trace_storage *storage);
uint64_t trace_storage_first(const struct trace_storage *storage);
uint64_t trace_storage_last(const struct trace_storage *storage);
void trace_storage_append(struct trace_storage *storage, const struct raft_entry *entries,
                          uint32_t count);
void trace_storage_install(struct trace_storage *storage, const struct raft_snapshot *snapshot);
/* Drops entries up to `index`. */
void trace_storage_compact(struct trace_storage *storage, uint64_t index);
void trace_storage_apply(struct trace_storage *storage, struct raft_log_id id, struct slice data);
/* With a payload reference of its own. */
struct raft_snapshot trace_storage_snapshot(const struct trace_storage *storage);

#endif
