#include "base/memory.h"
#include "raft/internal.h"

/* The lines of a configuration of few replicas that counting a quorum reads. */
#define CONF_BYTES 192u
/* Of lists that hold a message or two. */
#define MESSAGES_BYTES (2 * sizeof(struct raft_message))

void raft_prefetch(const struct raft *raft) {
    memory_prefetch(raft, offsetof(struct raft, conf) + CONF_BYTES);
}

static void prefetch_last_entries(const struct raft_core_log *log) {
    if (log->ring_cap == 0) return;
    uint64_t count = log->last.index + 1 - log->ring_first;
    uint64_t last = log->ring_head + (count > 0 ? count - 1 : 0);
    for (uint64_t slot = last; slot <= last + 1; slot++) /* and where the next one goes */
        memory_prefetch(&log->ring[slot & (log->ring_cap - 1)], sizeof(struct raft_entry));
}

void raft_prefetch_lists(const struct raft *raft) {
    memory_prefetch(raft->progress.items, raft->progress.count * sizeof(struct raft_progress));
    prefetch_last_entries(&raft->log);
    for (uint32_t at = 0; at < 2; at++) {
        memory_prefetch(raft->outbox[at].messages.items, MESSAGES_BYTES);
        memory_prefetch(raft->outbox[at].entries.items, sizeof(struct raft_entry));
    }
    memory_prefetch(raft->after_append.items, MESSAGES_BYTES);
    const struct raft_append_work *works[] = {raft->appending, raft->retired, raft->spare_appends};
    for (uint32_t at = 0; at < sizeof(works) / sizeof(works[0]); at++)
        memory_prefetch(works[at], sizeof(struct raft_append_work));
    memory_prefetch(raft->applying, sizeof(struct raft_apply_work));
    memory_prefetch(raft->spare_apply, sizeof(struct raft_apply_work));
}
