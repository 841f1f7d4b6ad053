/* What is durable of one replica in a test: its log, hard state and configuration. Nothing gets
 * here but by disk_* calls, so that whatever was not synced is gone after a crash. */
#ifndef FLOTILLA_TESTS_RAFT_DISK_H
#define FLOTILLA_TESTS_RAFT_DISK_H

#include "raft/raft.h"

struct disk {
    struct raft_log_id compacted; /* the entry before the first one kept */
    struct raft_entry *entries;   /* with references */
    uint32_t count, cap;
    struct raft_hard_state hard_state;
    struct raft_conf_state conf; /* as of `applied` */
    uint64_t applied;
    /* What the next snapshot is, asked by the core; id {0,0}: none ready. */
    struct raft_snapshot (*snapshot)(void *ctx);
    void *snapshot_ctx;
    uint64_t term_calls, entries_calls; /* how often the core had to read */
};

void disk_done(struct disk *disk);
struct raft_storage disk_storage(struct disk *disk);
uint64_t disk_first(const struct disk *disk);
uint64_t disk_last(const struct disk *disk);
const struct raft_entry *disk_entry(const struct disk *disk, uint64_t index);
void disk_append(struct disk *disk, const struct raft_entry *entries, uint32_t count);
/* Starts the log over after a snapshot. */
void disk_install(struct disk *disk, struct raft_log_id id, const struct raft_conf_state *conf);
void disk_compact(struct disk *disk, uint64_t index);
/* Persists all of a ready work. */
void disk_write(struct disk *disk, const struct raft_ready *ready);

#endif
