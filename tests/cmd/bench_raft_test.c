/* The group that `bench raft` measures, and with it what the benchmark claims of the core: a steady
 * state allocates nothing, an idle core is small. The linker passes every allocation of this
 * program by here, whatever the allocator. */
#include <criterion/criterion.h>
#include <malloc.h>

#include "bench/raft_group.h"
#include "raft/limits.h"

static struct {
    bool on;
    uint64_t calls, freed_bytes;
} counter;

/* The linker's names. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void __wrap_free(void *block);

void *__wrap_malloc(size_t bytes) {
    counter.calls += counter.on;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes) {
    counter.calls += counter.on;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes) {
    counter.calls += counter.on;
    return __real_realloc(old, bytes);
}

void __wrap_free(void *block) {
    if (counter.on && block) counter.freed_bytes += malloc_usable_size(block);
    __real_free(block);
}

static struct raft_group *new_group(uint32_t payload_bytes) {
    return raft_group_new(&(struct raft_group_config){.batch_max = 1024, payload_bytes});
}

/* Large and small batches and heartbeats take turns; small_batch 0: none. */
static void run_rounds(struct raft_group *group, uint32_t batch, uint32_t small_batch) {
    for (int at = 0; at < 200; at++) {
        raft_group_write(group, batch);
        if (small_batch > 0) raft_group_write(group, small_batch);
        raft_group_heartbeat(group);
    }
}

static uint64_t allocations_of(struct raft_group *group, uint32_t batch, uint32_t small_batch) {
    /* Until every array has found its size, and the cache for followers has filled: by bytes, or by
     * count when the entries weigh nothing. */
    for (uint32_t written = 0; written < 2 * RAFT_APPLY_ENTRIES_MAX; written += 200 * batch) {
        run_rounds(group, batch, small_batch);
    }
    counter.calls = 0;
    counter.on = true;
    run_rounds(group, batch, small_batch);
    counter.on = false;
    return counter.calls;
}

/* The counting counts: what follows cannot pass because nobody looked. */
Test(bench_raft, sees_allocations) {
    counter.on = true;
    struct raft_group *group = new_group(1);
    counter.on = false;
    cr_expect_gt(counter.calls, 10);
    raft_group_free(group);
}

/* Writing, replicating, committing and applying reuse what they have, whatever the batch, and also
 * when large and small batches take turns, or payloads are too large to be kept for followers. */
Test(bench_raft, allocates_nothing_in_a_steady_state) {
    static const uint32_t batches[] = {1, 8, 64, 512, 1024};
    static const uint32_t payloads[] = {0, 256, 8192};
    for (size_t size = 0; size < sizeof(payloads) / sizeof(payloads[0]); size++) {
        for (size_t at = 0; at < sizeof(batches) / sizeof(batches[0]); at++) {
            struct raft_group *group = new_group(payloads[size]);
            cr_expect_eq(allocations_of(group, batches[at], 0), 0, "%u entries of %u bytes",
                         batches[at], payloads[size]);
            cr_expect_eq(allocations_of(group, batches[at], 1), 0,
                         "%u entries of %u bytes, and one", batches[at], payloads[size]);
            raft_group_free(group);
        }
    }
}

/* Proposals that wait together cost two appends, two answers, and the word that they are committed
 * with its answers; the leader hears of its own disk once. */
Test(bench_raft, handles_a_batch_like_one_entry) {
    struct raft_group *group = new_group(16);
    raft_group_write(group, 1);
    struct raft_group_totals one = *raft_group_totals(group);
    raft_group_write(group, 512);
    const struct raft_group_totals *both = raft_group_totals(group);
    cr_expect_eq(one.entries, 1);
    cr_expect_eq(both->entries, 513);
    cr_expect_eq(one.messages, 8);
    cr_expect_eq(one.steps, 9);
    cr_expect_eq(both->messages, 2 * one.messages);
    cr_expect_eq(both->steps, 2 * one.steps);
    raft_group_free(group);
}

/* Ten thousand idle ranges on a node must cost next to nothing, whatever they did before. */
Test(bench_raft, leaves_a_small_core_when_a_group_falls_idle) {
    struct raft_group *group = new_group(256);
    run_rounds(group, 1024, 0);
    raft_group_shrink(group);
    for (uint32_t at = 0; at < RAFT_GROUP_REPLICAS; at++) {
        counter.freed_bytes = 0;
        counter.on = true;
        raft_group_lose(group, at);
        counter.on = false;
        cr_expect_gt(counter.freed_bytes, 1024);
        cr_expect_lt(counter.freed_bytes, 4096);
    }
    raft_group_free(group);
}

/* A group that was shrunk goes on. */
Test(bench_raft, goes_on_after_it_was_shrunk) {
    struct raft_group *group = new_group(256);
    run_rounds(group, 8, 0);
    raft_group_shrink(group);
    raft_group_write(group, 8);
    raft_group_heartbeat(group);
    cr_expect_eq(raft_group_totals(group)->entries, 201 * 8);
    raft_group_free(group);
}
