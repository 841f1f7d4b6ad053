#include "raft/progress.h"

#include "base/assert.h"
#include "base/memory.h"
#include "raft/limits.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* Rings start empty and double: thousands of groups per process never fill their windows. */
static void grow_ring(struct raft_inflights *inflights) {
    uint32_t cap = inflights->cap ? inflights->cap * 2 : 4;
    struct raft_inflight *ring = memory_alloc(cap * sizeof(*ring));
    for (uint32_t at = 0; at < inflights->count; at++) {
        ring[at] = inflights->ring[(inflights->head + at) & (inflights->cap - 1)];
    }
    memory_free(inflights->ring);
    inflights->ring = ring;
    inflights->cap = cap;
    inflights->head = 0;
}

void raft_inflights_add(struct raft_inflights *inflights, uint64_t index, uint64_t bytes) {
    ASSERT(!raft_inflights_full(inflights));
    if (inflights->count == inflights->cap) grow_ring(inflights);
    uint32_t slot = (inflights->head + inflights->count) & (inflights->cap - 1);
    inflights->ring[slot] = (struct raft_inflight){index, bytes};
    inflights->count++;
    inflights->bytes += bytes;
}

void raft_inflights_free_to(struct raft_inflights *inflights, uint64_t index) {
    while (inflights->count > 0) {
        const struct raft_inflight *oldest = &inflights->ring[inflights->head];
        if (oldest->index > index) break;
        inflights->bytes -= oldest->bytes;
        inflights->head = (inflights->head + 1) & (inflights->cap - 1);
        inflights->count--;
    }
}

bool raft_inflights_full(const struct raft_inflights *inflights) {
    if (inflights->messages_max && inflights->count >= inflights->messages_max) return true;
    return inflights->bytes_max && inflights->bytes >= inflights->bytes_max;
}

void raft_inflights_shrink(struct raft_inflights *inflights) {
    if (inflights->count > 0) return;
    memory_free(inflights->ring);
    inflights->ring = NULL;
    inflights->cap = inflights->head = 0;
}

void raft_inflights_clear(struct raft_inflights *inflights) {
    inflights->head = inflights->count = 0;
    inflights->bytes = 0;
    if (inflights->cap > RAFT_KEPT_ITEMS_MAX) raft_inflights_shrink(inflights);
}

void raft_progress_init(struct raft_progress *progress, uint64_t id, uint64_t next,
                        const struct raft_progress_limits *limits) {
    *progress = (struct raft_progress){
        .id = id,
        .next = next,
        .recently_active = true,
        .inflights = {.messages_max = limits->inflight_messages_max,
                      .bytes_max = limits->inflight_bytes_max},
    };
}

void raft_progress_done(struct raft_progress *progress) {
    memory_free(progress->inflights.ring);
    progress->inflights = (struct raft_inflights){0};
}

void raft_progress_reset(struct raft_progress *progress, uint64_t next) {
    struct raft_inflights inflights = progress->inflights;
    raft_inflights_clear(&inflights);
    *progress = (struct raft_progress){
        .id = progress->id, .next = next, .learner = progress->learner, .inflights = inflights};
}

static void enter_state(struct raft_progress *progress, enum raft_progress_state state) {
    progress->state = state;
    progress->paused = false;
    progress->pending_snapshot = 0;
    raft_inflights_clear(&progress->inflights);
}

void raft_progress_become_probe(struct raft_progress *progress) {
    /* A snapshot that was sent is worth probing from, although nothing acknowledged it yet. */
    uint64_t base = max_u64(progress->match, progress->pending_snapshot);
    enter_state(progress, RAFT_PROGRESS_PROBE);
    progress->next = base + 1;
    progress->commit_sent = min_u64(progress->commit_sent, progress->next - 1);
}

void raft_progress_become_replicate(struct raft_progress *progress) {
    enter_state(progress, RAFT_PROGRESS_REPLICATE);
    progress->next = progress->match + 1;
}

void raft_progress_become_snapshot(struct raft_progress *progress, uint64_t snapshot_index) {
    enter_state(progress, RAFT_PROGRESS_SNAPSHOT);
    progress->pending_snapshot = snapshot_index;
    progress->next = snapshot_index + 1;
    progress->commit_sent = snapshot_index;
}

bool raft_progress_paused(const struct raft_progress *progress) {
    return progress->state == RAFT_PROGRESS_SNAPSHOT || progress->paused || progress->log_lost;
}

void raft_progress_sent_entries(struct raft_progress *progress, uint32_t count, uint64_t bytes) {
    ASSERT(progress->state != RAFT_PROGRESS_SNAPSHOT);
    if (progress->state == RAFT_PROGRESS_PROBE) {
        if (count > 0) progress->paused = true;
        return;
    }
    if (count > 0) {
        progress->next += count;
        raft_inflights_add(&progress->inflights, progress->next - 1, bytes);
    }
    /* With a full window this message serves as a probe; the next waits for a heartbeat answer. */
    progress->paused = raft_inflights_full(&progress->inflights);
}

bool raft_progress_can_bump_commit(const struct raft_progress *progress, uint64_t commit) {
    return commit > progress->commit_sent && progress->commit_sent < progress->next - 1;
}

bool raft_progress_acked(struct raft_progress *progress, uint64_t index, uint64_t now_us) {
    if (index <= progress->match) return false;
    progress->match = index;
    progress->match_us = now_us;
    progress->next = max_u64(progress->next, index + 1);
    progress->paused = false;
    return true;
}

bool raft_progress_denies(const struct raft_progress *progress, uint64_t rejected,
                          uint64_t sent_us) {
    return progress->match_us > 0 && rejected <= progress->match && sent_us > progress->match_us;
}

bool raft_progress_rejected(struct raft_progress *progress, uint64_t rejected, uint64_t hint) {
    if (progress->state == RAFT_PROGRESS_REPLICATE) {
        /* What was acknowledged cannot be rejected: a reordered or duplicated message. */
        if (rejected <= progress->match) return false;
        progress->next = progress->match + 1;
        progress->commit_sent = min_u64(progress->commit_sent, progress->next - 1);
        return true;
    }
    /* Outside of REPLICATE one probe is on its way at a time: only its answer counts. */
    if (progress->next - 1 != rejected) return false;
    progress->next = max_u64(min_u64(rejected, hint + 1), progress->match + 1);
    progress->commit_sent = min_u64(progress->commit_sent, progress->next - 1);
    progress->paused = false;
    return true;
}
