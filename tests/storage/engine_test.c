/* What both engines promise: the same text runs against each. */
#include "tests/storage/harness.h"

#include <stdio.h>

/* A reader must find what a writer was told is written, and only in its own family. */
ENGINE_TEST(returns_what_was_written_in_its_family) {
    put(harness, STORAGE_DATA, "a", "1");
    put(harness, STORAGE_LOCK, "a", "2");
    cr_assert_str_eq(get(harness, NULL, STORAGE_DATA, "a"), "1");
    cr_assert_str_eq(get(harness, NULL, STORAGE_LOCK, "a"), "2");
    cr_assert_null(get(harness, NULL, STORAGE_META, "a"));
    put(harness, STORAGE_DATA, "a", "3");
    cr_assert_str_eq(get(harness, NULL, STORAGE_DATA, "a"), "3");
    erase(harness, STORAGE_DATA, "a");
    cr_assert_null(get(harness, NULL, STORAGE_DATA, "a"));
    cr_assert_str_eq(get(harness, NULL, STORAGE_LOCK, "a"), "2");
}

/* Later operations of a batch win over earlier ones on the same key, range deletions included. */
ENGINE_TEST(applies_a_batch_in_order) {
    put(harness, STORAGE_DATA, "b", "old");
    storage_batch_put(harness->batch, STORAGE_DATA, TEXT("a"), TEXT("1"));
    storage_batch_put(harness->batch, STORAGE_DATA, TEXT("a"), TEXT("2"));
    storage_batch_delete_range(harness->batch, STORAGE_DATA, TEXT("a"), TEXT("c"));
    storage_batch_put(harness->batch, STORAGE_DATA, TEXT("b"), TEXT("3"));
    storage_batch_put(harness->batch, STORAGE_DATA, TEXT("c"), TEXT("4"));
    storage_batch_delete(harness->batch, STORAGE_DATA, TEXT("c"));
    storage_batch_put(harness->batch, STORAGE_META, TEXT("m"), TEXT("5"));
    cr_assert_eq(storage_batch_count(harness->batch), 7);
    cr_assert_gt(storage_batch_bytes(harness->batch), 7);
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
    cr_assert_eq(storage_batch_count(harness->batch), 7, "writing leaves the batch as it was");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "b=3");
    cr_assert_str_eq(get(harness, NULL, STORAGE_META, "m"), "5");
    storage_batch_clear(harness->batch);
    cr_assert_eq(storage_batch_count(harness->batch), 0);
}

/* An empty batch is a legal way to wait for the disk. */
ENGINE_TEST(accepts_an_empty_batch_and_empty_values) {
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
    put(harness, STORAGE_META, "k", "");
    cr_assert_str_eq(get(harness, NULL, STORAGE_META, "k"), "");
}

/* A long-lived reader (snapshot transfer, scan) must not see what came later. */
ENGINE_TEST(snapshot_sees_the_state_at_its_creation) {
    put(harness, STORAGE_DATA, "a", "1");
    put(harness, STORAGE_DATA, "b", "1");
    struct storage_snapshot *snapshot = storage_snapshot_new(harness->engine);
    put(harness, STORAGE_DATA, "a", "2");
    erase(harness, STORAGE_DATA, "b");
    put(harness, STORAGE_DATA, "c", "2");
    cr_assert_str_eq(dump(harness, snapshot, STORAGE_DATA, "", "", false), "a=1 b=1");
    cr_assert_str_eq(dump(harness, snapshot, STORAGE_DATA, "", "", true), "b=1 a=1");
    cr_assert_str_eq(get(harness, snapshot, STORAGE_DATA, "a"), "1");
    cr_assert_null(get(harness, snapshot, STORAGE_DATA, "c"));
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "a=2 c=2");
    storage_snapshot_free(harness->engine, snapshot);
}

/* As above for an iterator without a snapshot, however many writes and prunings happen meanwhile.
 */
ENGINE_TEST(iterator_sees_the_state_at_its_creation) {
    put(harness, STORAGE_DATA, "a", "1");
    put(harness, STORAGE_DATA, "b", "1");
    put(harness, STORAGE_DATA, "c", "1");
    struct storage_iterator *iterator =
        storage_iterator_new(harness->engine, NULL, STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY);
    storage_iterator_seek_first(iterator);
    erase(harness, STORAGE_DATA, "b");
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "b%d", i % 700);
        storage_batch_put(harness->batch, STORAGE_DATA, TEXT(key), TEXT("2"));
        cr_assert_eq(storage_write(harness->engine, harness->batch,
                                   i % 64 ? STORAGE_BUFFERED : STORAGE_SYNCED),
                     STATUS_OK);
        storage_batch_clear(harness->batch);
    }
    struct buf seen = {0};
    for (; storage_iterator_valid(iterator); storage_iterator_next(iterator))
        buf_append(&seen, storage_iterator_key(iterator));
    cr_assert(slice_equal(slice_from_buf(&seen), TEXT("abc")));
    buf_done(&seen);
    storage_iterator_free(iterator);
}

/* Ranges share a family: an iterator must not leave its bounds in either direction. */
ENGINE_TEST(iterator_keeps_to_its_bounds) {
    for (const char *key = "abcdef"; *key; key++)
        put(harness, STORAGE_DATA, (char[]){*key, 0}, "");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "b", "e", false), "b= c= d=");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "b", "e", true), "d= c= b=");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "bb", "dd", true), "d= c=");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "e", "", false), "e= f=");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "b", true), "a=");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "x", "", true), "");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "c", "c", false), "");
}

static const char *key_at(struct storage_iterator *iterator) {
    static char text[16];
    if (!storage_iterator_valid(iterator)) return "end";
    struct slice key = storage_iterator_key(iterator);
    snprintf(text, sizeof(text), "%.*s", (int)key.len, (const char *)key.data);
    return text;
}

/* Seeks land where storage/engine.h says, also from outside the bounds, and moves can turn round.
 */
ENGINE_TEST(iterator_seeks_both_ways) {
    put(harness, STORAGE_DATA, "b", "");
    put(harness, STORAGE_DATA, "d", "");
    put(harness, STORAGE_DATA, "dx", "");
    put(harness, STORAGE_DATA, "f", "");
    put(harness, STORAGE_DATA, "z", "");
    struct storage_iterator *it =
        storage_iterator_new(harness->engine, NULL, STORAGE_DATA, TEXT("c"), TEXT("y"));
    cr_assert_str_eq(key_at(it), "end", "not valid before the first seek");
    storage_iterator_seek(it, TEXT("d"));
    cr_assert_str_eq(key_at(it), "d");
    storage_iterator_seek(it, TEXT("da"));
    cr_assert_str_eq(key_at(it), "dx");
    storage_iterator_seek(it, TEXT("a"));
    cr_assert_str_eq(key_at(it), "d", "a key below the bounds means the first");
    storage_iterator_seek(it, TEXT("g"));
    cr_assert_str_eq(key_at(it), "end");
    storage_iterator_seek_for_prev(it, TEXT("dx"));
    cr_assert_str_eq(key_at(it), "dx");
    storage_iterator_seek_for_prev(it, TEXT("e"));
    cr_assert_str_eq(key_at(it), "dx");
    storage_iterator_seek_for_prev(it, TEXT("zz"));
    cr_assert_str_eq(key_at(it), "f", "a key above the bounds means the last");
    storage_iterator_seek_for_prev(it, TEXT("c"));
    cr_assert_str_eq(key_at(it), "end");
    storage_iterator_seek(it, TEXT("dx"));
    storage_iterator_prev(it);
    cr_assert_str_eq(key_at(it), "d");
    storage_iterator_next(it);
    storage_iterator_next(it);
    cr_assert_str_eq(key_at(it), "f");
    storage_iterator_next(it);
    cr_assert_str_eq(key_at(it), "end");
    cr_assert_eq(storage_iterator_status(it), STATUS_OK);
    storage_iterator_free(it);
}

/* Keys are bytes: zeros, 0xff and a key that is a prefix of another sort by unsigned byte. */
ENGINE_TEST(orders_keys_by_unsigned_byte) {
    static const struct {
        const char *bytes;
        size_t len;
    } keys[] = {{"", 1},     {"\0\0", 2}, {"\0\xff", 2},  {"\x7f", 1},
                {"\x80", 1}, {"\xff", 1}, {"\xff\xff", 2}};
    size_t count = sizeof(keys) / sizeof(keys[0]);
    for (size_t i = count; i-- > 0;)
        storage_batch_put(harness->batch, STORAGE_RAFT, slice_make(keys[i].bytes, keys[i].len),
                          SLICE_EMPTY);
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
    struct storage_iterator *it =
        storage_iterator_new(harness->engine, NULL, STORAGE_RAFT, SLICE_EMPTY, SLICE_EMPTY);
    storage_iterator_seek_first(it);
    for (size_t i = 0; i < count; i++, storage_iterator_next(it))
        cr_assert(slice_equal(storage_iterator_key(it), slice_make(keys[i].bytes, keys[i].len)));
    cr_assert_not(storage_iterator_valid(it));
    storage_iterator_free(it);
}

/* Dropping a range must not touch its neighbours; without an end it takes everything behind. */
ENGINE_TEST(delete_range_takes_begin_and_leaves_end) {
    for (const char *key = "abcdef"; *key; key++)
        put(harness, STORAGE_DATA, (char[]){*key, 0}, "");
    storage_batch_put(harness->batch, STORAGE_DATA, TEXT("\xff\xff\xff"), SLICE_EMPTY);
    storage_batch_delete_range(harness->batch, STORAGE_DATA, TEXT("b"), TEXT("d"));
    storage_batch_delete_range(harness->batch, STORAGE_DATA, TEXT("d"), TEXT("b"));
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "a= d= e= f= \xff\xff\xff=");
    storage_batch_clear(harness->batch);
    storage_batch_delete_range(harness->batch, STORAGE_DATA, TEXT("e"), SLICE_EMPTY);
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "a= d=");
}

struct pair_copy {
    char text[64];
    unsigned calls;
};

static void copy_pair(void *ctx, struct slice key, struct slice value) {
    struct pair_copy *copy = ctx;
    snprintf(copy->text, sizeof(copy->text), "%.*s=%.*s", (int)key.len, (const char *)key.data,
             (int)value.len, (const char *)value.data);
    copy->calls++;
}

static const char *version(struct harness *harness, const struct storage_snapshot *snapshot,
                           const char *key) {
    static struct pair_copy copy;
    copy = (struct pair_copy){0};
    enum status status =
        storage_get_version(harness->engine, snapshot, TEXT(key), copy_pair, &copy);
    cr_assert_eq(copy.calls, status == STATUS_OK);
    return status == STATUS_OK ? copy.text : status_name(status);
}

/* The point read of versions: the next version of the same key, never that of a neighbour. */
ENGINE_TEST(get_version_stays_on_its_key) {
    put(harness, STORAGE_DATA, "apple...00000005", "5");
    put(harness, STORAGE_DATA, "apple...00000009", "9");
    put(harness, STORAGE_DATA, "apple..x00000001", "x");
    put(harness, STORAGE_DATA, "applf...00000001", "f");
    cr_assert_str_eq(version(harness, NULL, "apple...00000000"), "apple...00000005=5");
    cr_assert_str_eq(version(harness, NULL, "apple...00000005"), "apple...00000005=5");
    cr_assert_str_eq(version(harness, NULL, "apple...00000006"), "apple...00000009=9");
    cr_assert_str_eq(version(harness, NULL, "apple...99999999"), "NOT_FOUND");
    cr_assert_str_eq(version(harness, NULL, "absent..00000000"), "NOT_FOUND");
    struct storage_snapshot *snapshot = storage_snapshot_new(harness->engine);
    erase(harness, STORAGE_DATA, "apple...00000005");
    cr_assert_str_eq(version(harness, NULL, "apple...00000000"), "apple...00000009=9");
    cr_assert_str_eq(version(harness, snapshot, "apple...00000000"), "apple...00000005=5");
    storage_snapshot_free(harness->engine, snapshot);
    storage_batch_delete_range(harness->batch, STORAGE_DATA, TEXT("apple..."), TEXT("apple../"));
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
    cr_assert_str_eq(version(harness, NULL, "apple...00000000"), "NOT_FOUND");
}

/* A snapshot of a range replaces all families of its span at once and leaves the neighbours. */
ENGINE_TEST(ingest_replaces_its_spans_only) {
    put(harness, STORAGE_DATA, "a", "neighbour");
    put(harness, STORAGE_DATA, "c", "old");
    put(harness, STORAGE_DATA, "d", "old");
    put(harness, STORAGE_DATA, "m", "neighbour");
    put(harness, STORAGE_LOCK, "c", "old lock");
    put(harness, STORAGE_LOCK, "x", "neighbour");
    put(harness, STORAGE_META, "state", "old");
    struct storage_ingest *ingest = NULL;
    cr_assert_eq(storage_ingest_new(harness->engine, &ingest), STATUS_OK);
    cr_assert_eq(storage_ingest_add(ingest, STORAGE_DATA, TEXT("b"), TEXT("new")), STATUS_OK);
    cr_assert_eq(storage_ingest_add(ingest, STORAGE_DATA, TEXT("c"), TEXT("new")), STATUS_OK);
    cr_assert_str_eq(get(harness, NULL, STORAGE_DATA, "c"), "old", "not visible before commit");
    storage_batch_put(harness->batch, STORAGE_META, TEXT("state"), TEXT("new"));
    struct storage_span spans[] = {{STORAGE_DATA, TEXT("b"), TEXT("m")},
                                   {STORAGE_LOCK, TEXT("b"), TEXT("m")}};
    cr_assert_eq(storage_ingest_commit(ingest, spans, 2, harness->batch), STATUS_OK);
    storage_ingest_free(ingest);
    for (int round = 0; round < 2; round++) {
        cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false),
                         "a=neighbour b=new c=new m=neighbour");
        cr_assert_str_eq(dump(harness, NULL, STORAGE_LOCK, "", "", false), "x=neighbour");
        cr_assert_str_eq(get(harness, NULL, STORAGE_META, "state"), "new");
        harness_reopen(harness);
    }
    put(harness, STORAGE_DATA, "c", "later");
    cr_assert_str_eq(get(harness, NULL, STORAGE_DATA, "c"), "later");
}

/* The last range has no end; and a second snapshot may come over the first. */
ENGINE_TEST(ingest_replaces_an_open_span_again_and_again) {
    put(harness, STORAGE_DATA, "a", "neighbour");
    put(harness, STORAGE_DATA, "\xff\xff", "old");
    for (int round = 0; round < 3; round++) {
        struct storage_ingest *ingest = NULL;
        char key[2] = {(char)('p' + round), 0};
        cr_assert_eq(storage_ingest_new(harness->engine, &ingest), STATUS_OK);
        cr_assert_eq(storage_ingest_add(ingest, STORAGE_DATA, TEXT(key), TEXT("new")), STATUS_OK);
        struct storage_span span = {STORAGE_DATA, TEXT("b"), SLICE_EMPTY};
        cr_assert_eq(storage_ingest_commit(ingest, &span, 1, harness->batch), STATUS_OK);
        storage_ingest_free(ingest);
    }
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "a=neighbour r=new");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", true), "r=new a=neighbour");
}

/* An old reader must not see the new content that a snapshot installed under it. */
ENGINE_TEST(ingest_is_invisible_to_older_snapshots) {
    put(harness, STORAGE_DATA, "b", "old");
    struct storage_snapshot *snapshot = storage_snapshot_new(harness->engine);
    struct storage_ingest *ingest = NULL;
    cr_assert_eq(storage_ingest_new(harness->engine, &ingest), STATUS_OK);
    cr_assert_eq(storage_ingest_add(ingest, STORAGE_DATA, TEXT("c"), TEXT("new")), STATUS_OK);
    struct storage_span span = {STORAGE_DATA, TEXT("b"), TEXT("d")};
    cr_assert_eq(storage_ingest_commit(ingest, &span, 1, harness->batch), STATUS_OK);
    storage_ingest_free(ingest);
    cr_assert_str_eq(dump(harness, snapshot, STORAGE_DATA, "", "", false), "b=old");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "c=new");
    storage_snapshot_free(harness->engine, snapshot);
}

/* A snapshot transfer that was given up leaves nothing behind. */
ENGINE_TEST(ingest_that_is_dropped_changes_nothing) {
    put(harness, STORAGE_DATA, "b", "old");
    struct storage_ingest *ingest = NULL;
    cr_assert_eq(storage_ingest_new(harness->engine, &ingest), STATUS_OK);
    cr_assert_eq(storage_ingest_add(ingest, STORAGE_DATA, TEXT("b"), TEXT("new")), STATUS_OK);
    storage_ingest_free(ingest);
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "b=old");
    storage_ingest_free(NULL);
}

/* Emptying a range by a snapshot without rows is as good as any other content. */
ENGINE_TEST(ingest_without_rows_clears_the_span) {
    put(harness, STORAGE_DATA, "b", "old");
    put(harness, STORAGE_LOCK, "b", "old");
    struct storage_ingest *ingest = NULL;
    cr_assert_eq(storage_ingest_new(harness->engine, &ingest), STATUS_OK);
    struct storage_span spans[] = {{STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY}};
    cr_assert_eq(storage_ingest_commit(ingest, spans, 1, harness->batch), STATUS_OK);
    storage_ingest_free(ingest);
    cr_assert_str_eq(dump(harness, NULL, STORAGE_DATA, "", "", false), "");
    cr_assert_str_eq(dump(harness, NULL, STORAGE_LOCK, "", "", false), "b=old");
}

/* Operators read this; it must name the engine and never fail. */
ENGINE_TEST(describes_itself) {
    struct buf text = {0};
    struct storage_span span = {STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY};
    put(harness, STORAGE_DATA, "a", "1");
    storage_describe(harness->engine, &text);
    buf_append_byte(&text, 0);
    cr_assert_not_null(strstr((const char *)text.data, "engine "));
    cr_assert_lt(storage_approximate_bytes(harness->engine, &span), 4096);
    buf_done(&text);
}

/* The number by which a directory that was set back is recognized: every synced write raises it, a
 * buffered one does not, and a restart never lowers it. */
ENGINE_TEST(synced_sequence_grows_with_synced_writes_only) {
    struct storage_engine *engine = harness->engine;
    uint64_t start = storage_synced_sequence(engine);
    put(harness, STORAGE_DATA, "k", "buffered");
    cr_assert_eq(storage_synced_sequence(engine), start);
    storage_batch_put(harness->batch, STORAGE_RAFT, TEXT("k"), TEXT("synced"));
    cr_assert_eq(storage_write(engine, harness->batch, STORAGE_SYNCED), STATUS_OK);
    uint64_t synced = storage_synced_sequence(engine);
    cr_assert_eq(synced, start + 2); /* with what stood before it */
    harness_reopen(harness);
    cr_assert_geq(storage_synced_sequence(harness->engine), synced);
}
