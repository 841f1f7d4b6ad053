#include "txn/overlay.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"
#include "txn/request_record.h"

void txn_overlay_init(struct txn_overlay *overlay, struct storage_engine *engine) {
    *overlay = (struct txn_overlay){.reader = {.engine = engine}};
    arena_init(&overlay->arena, 0);
    overlay->staged_last_link = &overlay->staged_first;
}

void txn_overlay_done(struct txn_overlay *overlay) {
    txn_cache_done(&overlay->cache);
    bytesmap_done(&overlay->keys);
    bytesmap_done(&overlay->records);
    arena_done(&overlay->arena);
    buf_done(&overlay->scratch);
    memory_free(overlay->sorted);
}

void txn_overlay_reset(struct txn_overlay *overlay) {
    ASSERT(!overlay->staged_first);
    for (struct txn_overlay_key *key = overlay->written; key; key = key->next_written)
        txn_cache_update(&overlay->cache, key->node.hash, key->node.key, &key->newest,
                         key->replaces);
    bytesmap_clear(&overlay->keys);
    bytesmap_clear(&overlay->records);
    arena_reset(&overlay->arena);
    overlay->written = NULL;
    overlay->sorted_until = NULL;
    overlay->sorted_count = 0;
}

struct txn_overlay_key *txn_overlay_key(struct txn_overlay *overlay, struct slice user_key) {
    struct bytesmap_node *node = bytesmap_get(&overlay->keys, user_key);
    if (node) return CONTAINER_OF(node, struct txn_overlay_key, node);
    struct txn_overlay_key *key = arena_alloc(&overlay->arena, sizeof(*key));
    *key = (struct txn_overlay_key){0};
    bytesmap_put(&overlay->keys, &key->node, arena_copy(&overlay->arena, user_key));
    return key;
}

/* Numbers, the values that change most often within a round, are kept in the entry itself: a
 * thousand sums on one key take no memory. */
static void set_newest(struct txn_overlay *overlay, struct txn_overlay_key *key, uint64_t commit_ts,
                       enum mvcc_kind kind, struct slice value) {
    key->known = true;
    key->newest.commit_ts = commit_ts;
    key->newest.kind = kind;
    if (value.len == 0) {
        key->newest.value = SLICE_EMPTY;
    } else if (value.len <= sizeof(key->small_value)) {
        memcpy(key->small_value, value.data, value.len);
        key->newest.value = slice_make(key->small_value, value.len);
    } else {
        key->newest.value = arena_copy(&overlay->arena, value);
    }
}

enum status txn_overlay_load(struct txn_overlay *overlay, struct txn_overlay_key *key) {
    if (key->known) return STATUS_OK;
    struct mvcc_version version = {.kind = MVCC_DELETE};
    if (!txn_cache_get(&overlay->cache, key->node.hash, key->node.key, &version)) {
        enum status status =
            mvcc_get(&overlay->reader, key->node.key, MVCC_TS_MAX, &overlay->scratch, &version);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) return status;
        if (status == STATUS_NOT_FOUND) version = (struct mvcc_version){.kind = MVCC_DELETE};
    }
    key->replaces = version.kind == MVCC_PUT;
    set_newest(overlay, key, version.commit_ts, version.kind, version.value);
    return STATUS_OK;
}

bool txn_overlay_value(const struct txn_overlay_key *key, struct slice *ret_value) {
    ASSERT(key->known || key->staged);
    enum mvcc_kind kind = key->staged ? key->staged_kind : key->newest.kind;
    *ret_value = key->staged ? key->staged_value : key->newest.value;
    return kind == MVCC_PUT;
}

void txn_overlay_stage(struct txn_overlay *overlay, struct txn_overlay_key *key,
                       enum mvcc_kind kind, struct slice value) {
    key->staged_kind = kind;
    key->staged_value = value;
    key->staged_note = SLICE_EMPTY;
    if (key->staged) return;
    key->staged = true;
    key->next_staged = NULL;
    *overlay->staged_last_link = key;
    overlay->staged_last_link = &key->next_staged;
}

bool txn_overlay_is_birth(const struct txn_overlay_key *key) {
    return key->staged && key->staged_kind == MVCC_PUT && key->known && key->newest.commit_ts == 0;
}

void txn_overlay_stage_note(struct txn_overlay_key *key, struct slice note) {
    ASSERT(txn_overlay_is_birth(key));
    key->staged_note = note;
}

void txn_overlay_stage_number(struct txn_overlay *overlay, struct txn_overlay_key *key,
                              int64_t number) {
    size_t len = txn_number_format(number, key->staged_text);
    txn_overlay_stage(overlay, key, MVCC_PUT, slice_make(key->staged_text, len));
}

/* A blind put does not read what was there before, so the growth of timestamps is asserted where
 * the round knows the key; the range asserts it for its log as a whole. */
static void commit_key(struct txn_overlay *overlay, struct txn_overlay_key *key,
                       struct storage_batch *batch, uint64_t commit_ts) {
    if (key->known) ASSERT_CMP(commit_ts, >, key->newest.commit_ts);
    if (key->staged_kind == MVCC_PUT) {
        if (key->staged_note.len > 0)
            mvcc_put_noted(batch, key->node.key, commit_ts, key->staged_note, key->staged_value);
        else
            mvcc_put(batch, key->node.key, commit_ts, key->staged_value);
    } else if (key->known && key->newest.kind == MVCC_DELETE) {
        return; /* Deleting what is not there leaves no trace. */
    } else {
        mvcc_delete(batch, key->node.key, commit_ts);
    }
    set_newest(overlay, key, commit_ts, key->staged_kind, key->staged_value);
    if (key->written) return;
    key->written = true;
    key->next_written = overlay->written;
    overlay->written = key;
}

void txn_overlay_commit(struct txn_overlay *overlay, struct storage_batch *batch,
                        uint64_t commit_ts) {
    for (struct txn_overlay_key *key = overlay->staged_first; key; key = key->next_staged)
        commit_key(overlay, key, batch, commit_ts);
    txn_overlay_drop(overlay);
}

void txn_overlay_drop(struct txn_overlay *overlay) {
    for (struct txn_overlay_key *key = overlay->staged_first; key; key = key->next_staged)
        key->staged = false;
    overlay->staged_first = NULL;
    overlay->staged_last_link = &overlay->staged_first;
}

static int compare_keys(const void *a, const void *b) {
    const struct txn_overlay_key *const *left = a, *const *right = b;
    return slice_compare((*left)->node.key, (*right)->node.key);
}

/* Merges the `count` keys behind the sorted ones, in order themselves, into them. */
static void merge_sorted(struct txn_overlay *overlay, struct txn_overlay_key **young,
                         uint32_t count) {
    struct txn_overlay_key **sorted = overlay->sorted;
    uint32_t old = overlay->sorted_count, to = old + count;
    while (count > 0) {
        bool take_old = old > 0 && compare_keys(&sorted[old - 1], &young[count - 1]) > 0;
        sorted[--to] = take_old ? sorted[--old] : young[--count];
    }
}

static uint32_t count_unsorted(const struct txn_overlay *overlay) {
    uint32_t count = 0;
    for (const struct txn_overlay_key *key = overlay->written; key != overlay->sorted_until;
         key = key->next_written)
        count++;
    return count;
}

/* Brings `sorted` up to date. Most rounds never ask for it. */
static uint32_t sort_written(struct txn_overlay *overlay) {
    uint32_t count = count_unsorted(overlay), all = overlay->sorted_count + count;
    if (count == 0) return 0;
    if (all > overlay->sorted_cap) {
        overlay->sorted_cap = 2 * all;
        overlay->sorted =
            memory_realloc(overlay->sorted, overlay->sorted_cap * sizeof(*overlay->sorted));
    }
    struct txn_overlay_key **young = memory_alloc(count * sizeof(*young));
    struct txn_overlay_key *key = overlay->written;
    for (uint32_t i = 0; i < count; i++, key = key->next_written)
        young[i] = key;
    qsort(young, count, sizeof(struct txn_overlay_key *), compare_keys);
    merge_sorted(overlay, young, count);
    overlay->sorted_until = overlay->written;
    overlay->sorted_count = all;
    memory_free(young);
    return all;
}

static uint32_t first_sorted_from(const struct txn_overlay *overlay, struct slice start) {
    uint32_t low = 0, high = overlay->sorted_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(overlay->sorted[middle]->node.key, start) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What a round has written lies over what the engine holds. */
struct merged {
    struct txn_overlay *overlay;
    uint32_t at; /* in `sorted` */
    mvcc_newest_fn *newest;
    void *ctx;
    bool stopped;
};

static bool hand_over(struct merged *merged, struct slice key, const struct mvcc_version *version) {
    merged->stopped = !merged->newest(merged->ctx, key, version);
    return !merged->stopped;
}

/* Hands over what the round wrote below `limit` (empty: no limit). */
static bool hand_over_written(struct merged *merged, struct slice limit) {
    struct txn_overlay *overlay = merged->overlay;
    for (; merged->at < overlay->sorted_count; merged->at++) {
        const struct txn_overlay_key *key = overlay->sorted[merged->at];
        if (limit.len > 0 && slice_compare(key->node.key, limit) >= 0) break;
        if (!hand_over(merged, key->node.key, &key->newest)) return false;
    }
    return true;
}

static bool on_engine_key(void *ctx, struct slice user_key, const struct mvcc_version *version) {
    struct merged *merged = ctx;
    struct txn_overlay *overlay = merged->overlay;
    if (!hand_over_written(merged, user_key)) return false;
    if (merged->at < overlay->sorted_count) {
        const struct txn_overlay_key *key = overlay->sorted[merged->at];
        if (slice_equal(key->node.key, user_key)) {
            merged->at++;
            version = &key->newest;
        }
    }
    return hand_over(merged, user_key, version);
}

enum status txn_overlay_each_newest(struct txn_overlay *overlay, struct slice start,
                                    struct slice end, mvcc_newest_fn *newest, void *ctx,
                                    uint32_t *ret_sorted) {
    *ret_sorted = sort_written(overlay);
    struct merged merged = {
        .overlay = overlay, .at = first_sorted_from(overlay, start), .newest = newest, .ctx = ctx};
    enum status status = mvcc_each_newest(&overlay->reader, start, end, on_engine_key, &merged);
    if (status == STATUS_OK && !merged.stopped) (void)hand_over_written(&merged, end);
    return status;
}

static struct txn_overlay_record *add_record(struct txn_overlay *overlay, struct slice record_key,
                                             struct slice value) {
    struct txn_overlay_record *record = arena_alloc(&overlay->arena, sizeof(*record));
    *record = (struct txn_overlay_record){.value = arena_copy(&overlay->arena, value)};
    bytesmap_put(&overlay->records, &record->node, arena_copy(&overlay->arena, record_key));
    return record;
}

static struct txn_overlay_record *find_record(const struct txn_overlay *overlay,
                                              struct slice record_key) {
    struct bytesmap_node *node = bytesmap_get(&overlay->records, record_key);
    return node ? CONTAINER_OF(node, struct txn_overlay_record, node) : NULL;
}

enum status txn_overlay_read_record(struct txn_overlay *overlay, struct slice record_key,
                                    struct slice *ret_value) {
    struct txn_overlay_record *record = find_record(overlay, record_key);
    if (!record) {
        enum status status =
            storage_get(overlay->reader.engine, NULL, STORAGE_META, record_key, &overlay->scratch);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) return status;
        struct slice value = status == STATUS_OK ? slice_from_buf(&overlay->scratch) : SLICE_EMPTY;
        record = add_record(overlay, record_key, value);
    }
    *ret_value = record->value;
    return STATUS_OK;
}

void txn_overlay_write_record(struct txn_overlay *overlay, struct storage_batch *batch,
                              struct slice record_key, struct slice value) {
    storage_batch_put(batch, STORAGE_META, record_key, value);
    txn_overlay_know_record(overlay, record_key, value);
}

void txn_overlay_know_record(struct txn_overlay *overlay, struct slice record_key,
                             struct slice value) {
    ASSERT(value.len > 0);
    struct txn_overlay_record *record = find_record(overlay, record_key);
    if (record) {
        record->value = arena_copy(&overlay->arena, value);
    } else {
        (void)add_record(overlay, record_key, value); /* Only the entry in the map is wanted. */
    }
}

enum status txn_overlay_read_noted_record(struct txn_overlay *overlay, struct txn_overlay_key *key,
                                          struct slice request_id, struct slice *ret_value,
                                          size_t *ret_row_bytes) {
    *ret_value = SLICE_EMPTY;
    *ret_row_bytes = 0;
    enum status status = txn_overlay_load(overlay, key);
    if (status != STATUS_OK || key->newest.commit_ts == 0) return status;
    status = mvcc_oldest_note(&overlay->reader, key->node.key, &overlay->scratch, ret_row_bytes);
    /* Its first version is of this round: then the overlay knows the record of its note. */
    if (status == STATUS_NOT_FOUND) return STATUS_OK;
    if (status != STATUS_OK) return status;
    return txn_request_record_in_note(slice_from_buf(&overlay->scratch), request_id, ret_value);
}
