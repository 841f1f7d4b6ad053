/* The multi-version encoding and the reads over it. */
#include "storage/mvcc.h"

#include <stdio.h>

#include "base/codec.h"
#include "base/prng.h"
#include "storage/memory_engine.h"
#include "tests/storage/harness.h"

/* Random bytes from the values that are special to the encoding. */
static struct buf random_key(struct prng *prng, size_t len_max) {
    static const uint8_t special[] = {0x00, 0x00, 0x01, 0x02, 0xfe, 0xff, 0xff, 'a'};
    struct buf key = {0};
    for (uint64_t len = prng_below(prng, len_max + 1); len > 0; len--)
        buf_append_byte(&key, special[prng_below(prng, sizeof(special))]);
    return key;
}

static int sign(int value) {
    return value < 0 ? -1 : value > 0;
}

/* Splits cut families at encoded keys: order must be that of the user keys, versions newest first,
 * and no version of one key may sort between those of another. */
Test(mvcc_key, keeps_the_order_of_keys_and_turns_that_of_versions) {
    struct prng prng;
    prng_init(&prng, 7);
    for (int i = 0; i < 20000; i++) {
        struct buf left = random_key(&prng, 5), right = random_key(&prng, 5);
        uint64_t left_ts = prng_next(&prng) >> prng_below(&prng, 64);
        uint64_t right_ts = prng_next(&prng) >> prng_below(&prng, 64);
        struct buf a = {0}, b = {0};
        mvcc_encode_version_key(&a, slice_from_buf(&left), left_ts);
        mvcc_encode_version_key(&b, slice_from_buf(&right), right_ts);
        int expected = sign(slice_compare(slice_from_buf(&left), slice_from_buf(&right)));
        if (expected == 0) expected = left_ts > right_ts ? -1 : left_ts < right_ts;
        cr_assert_eq(sign(slice_compare(slice_from_buf(&a), slice_from_buf(&b))), expected);
        buf_done(&left);
        buf_done(&right);
        buf_done(&a);
        buf_done(&b);
    }
}

/* What is written must be read back, whatever follows it. */
Test(mvcc_key, decodes_what_it_encodes) {
    struct prng prng;
    prng_init(&prng, 8);
    for (int i = 0; i < 20000; i++) {
        struct buf key = random_key(&prng, 40), encoded = {0}, decoded = {0};
        uint64_t ts = prng_next(&prng), decoded_ts = 0;
        mvcc_encode_version_key(&encoded, slice_from_buf(&key), ts);
        cr_assert_eq(mvcc_decode_version_key(slice_from_buf(&encoded), &decoded, &decoded_ts),
                     STATUS_OK);
        cr_assert(slice_equal(slice_from_buf(&key), slice_from_buf(&decoded)));
        cr_assert_eq(ts, decoded_ts);
        /* Every proper prefix is damaged, and so is anything longer. */
        size_t cut = prng_below(&prng, encoded.len);
        cr_assert_eq(mvcc_decode_version_key(slice_make(encoded.data, cut), &decoded, &decoded_ts),
                     STATUS_CORRUPTION);
        buf_append_byte(&encoded, 0);
        cr_assert_eq(mvcc_decode_version_key(slice_from_buf(&encoded), &decoded, &decoded_ts),
                     STATUS_CORRUPTION);
        buf_done(&key);
        buf_done(&encoded);
        buf_done(&decoded);
    }
}

/* The bytes are on disk: they may never change. */
Test(mvcc_key, has_the_documented_bytes) {
    struct buf out = {0};
    mvcc_encode_version_key(&out, slice_make("a\0b", 3), 1);
    cr_assert(
        slice_equal(slice_from_buf(&out), slice_make("a\x00\xff"
                                                     "b\x00\x01\xff\xff\xff\xff\xff\xff\xff\xfe",
                                                     14)));
    buf_done(&out);
}

/* A range's rows, locks and request records must be inside its bounds, its neighbours' outside. */
Test(mvcc_key, span_bounds_separate_keys) {
    struct prng prng;
    prng_init(&prng, 9);
    static const enum storage_family families[] = {STORAGE_DATA, STORAGE_LOCK, STORAGE_META};
    for (int i = 0; i < 20000; i++) {
        struct buf start = random_key(&prng, 3), end = random_key(&prng, 3);
        struct buf key = random_key(&prng, 4), record = {0}, begin = {0}, limit = {0};
        enum storage_family family = families[i % 3];
        if (family == STORAGE_META) buf_append_byte(&record, MVCC_META_USER_KEYED);
        mvcc_encode_key(&record, slice_from_buf(&key));
        if (family == STORAGE_DATA) buf_append(&record, TEXT("\xff\xff\xff\xff\xff\xff\xff\xff"));
        if (family == STORAGE_META) buf_append(&record, TEXT("r\xff\xff\xff\xff"));
        mvcc_span_bounds(family, slice_from_buf(&start), slice_from_buf(&end), &begin, &limit);
        bool inside =
            slice_compare(slice_from_buf(&start), slice_from_buf(&key)) <= 0 &&
            (end.len == 0 || slice_compare(slice_from_buf(&key), slice_from_buf(&end)) < 0);
        bool found =
            slice_compare(slice_from_buf(&begin), slice_from_buf(&record)) <= 0 &&
            (limit.len == 0 || slice_compare(slice_from_buf(&record), slice_from_buf(&limit)) < 0);
        cr_assert_eq(inside, found);
        buf_done(&start);
        buf_done(&end);
        buf_done(&key);
        buf_done(&record);
        buf_done(&begin);
        buf_done(&limit);
    }
}

/* Node-local records stand before all user-keyed ones: no range's span may reach them. */
Test(mvcc_key, whole_meta_span_leaves_node_local_records_out) {
    struct buf begin = {0}, end = {0};
    mvcc_span_bounds(STORAGE_META, SLICE_EMPTY, SLICE_EMPTY, &begin, &end);
    cr_assert(slice_compare(slice_make("\0\xff\xff", 3), slice_from_buf(&begin)) < 0);
    cr_assert(slice_equal(slice_from_buf(&end), slice_make("\x02", 1)));
    buf_done(&begin);
    buf_done(&end);
}

/* ---- reads on both engines ---- */

static void put_version(struct harness *harness, const char *key, uint64_t ts, const char *value) {
    storage_batch_clear(harness->batch);
    if (value)
        mvcc_put(harness->batch, TEXT(key), ts, TEXT(value));
    else
        mvcc_delete(harness->batch, TEXT(key), ts);
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
}

/* "value@ts", "deleted@ts" or the status. */
static const char *read_version(struct harness *harness, const char *key, uint64_t read_ts) {
    static char text[64];
    struct mvcc_reader reader = {harness->engine, NULL};
    struct mvcc_version version;
    struct buf value = {0};
    enum status status = mvcc_get(&reader, TEXT(key), read_ts, &value, &version);
    if (status != STATUS_OK)
        snprintf(text, sizeof(text), "%s", status_name(status));
    else if (version.kind == MVCC_DELETE)
        snprintf(text, sizeof(text), "deleted@%llu", (unsigned long long)version.commit_ts);
    else
        snprintf(text, sizeof(text), "%.*s@%llu", (int)version.value.len,
                 (const char *)version.value.data, (unsigned long long)version.commit_ts);
    buf_done(&value);
    return text;
}

/* A reader at a timestamp sees the newest version that is not newer, deletions included. */
ENGINE_TEST(mvcc_get_reads_at_a_timestamp) {
    put_version(harness, "k", 10, "a");
    put_version(harness, "k", 20, NULL);
    put_version(harness, "k", 30, "c");
    put_version(harness, "j", 15, "other");
    put_version(harness, "kk", 25, "other");
    cr_assert_str_eq(read_version(harness, "k", 9), "NOT_FOUND");
    cr_assert_str_eq(read_version(harness, "k", 10), "a@10");
    cr_assert_str_eq(read_version(harness, "k", 19), "a@10");
    cr_assert_str_eq(read_version(harness, "k", 20), "deleted@20");
    cr_assert_str_eq(read_version(harness, "k", MVCC_TS_MAX), "c@30");
    cr_assert_str_eq(read_version(harness, "jj", MVCC_TS_MAX), "NOT_FOUND");
    /* Prefix filters in files must not hide what the memtable's do not. */
    harness_reopen(harness);
    cr_assert_str_eq(read_version(harness, "k", 25), "deleted@20");
    cr_assert_str_eq(read_version(harness, "kk", 25), "other@25");
}

static const char *oldest_note(struct harness *harness, const char *key) {
    static char text[64];
    struct mvcc_reader reader = {harness->engine, NULL};
    struct buf note = buf_from_slice(TEXT("what was there before"));
    size_t row_bytes = 0;
    enum status status = mvcc_oldest_note(&reader, TEXT(key), &note, &row_bytes);
    if (status == STATUS_OK)
        snprintf(text, sizeof(text), "%.*s", (int)note.len, (const char *)note.data);
    else
        snprintf(text, sizeof(text), "%s", status_name(status));
    buf_done(&note);
    return text;
}

/* Readers of a value don't see the note beside it, and the note of the oldest version is found
 * whatever became of the key. */
ENGINE_TEST(mvcc_notes_are_kept_beside_the_value) {
    cr_assert_str_eq(oldest_note(harness, "k"), "NOT_FOUND");
    put_version(harness, "j", 5, "other");
    put_version(harness, "kk", 5, "other");
    cr_assert_str_eq(oldest_note(harness, "k"), "NOT_FOUND");
    storage_batch_clear(harness->batch);
    mvcc_put_noted(harness->batch, TEXT("k"), 10, TEXT("the note"), TEXT("a"));
    mvcc_put_noted(harness->batch, TEXT("l"), 10, TEXT("a note"), SLICE_EMPTY);
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
    cr_assert_str_eq(read_version(harness, "k", MVCC_TS_MAX), "a@10");
    cr_assert_str_eq(read_version(harness, "l", MVCC_TS_MAX), "@10");
    cr_assert_str_eq(oldest_note(harness, "k"), "the note");
    put_version(harness, "k", 20, "b");
    put_version(harness, "k", 30, NULL);
    harness_reopen(harness);
    cr_assert_str_eq(read_version(harness, "k", 19), "a@10");
    cr_assert_str_eq(oldest_note(harness, "k"), "the note");
    cr_assert_str_eq(oldest_note(harness, "l"), "a note");
    cr_assert_str_eq(oldest_note(harness, "j"), "");
}

/* Keys longer than the stack scratch take the heap; the largest legal one must work. */
ENGINE_TEST(mvcc_get_takes_the_longest_key_of_zeros) {
    static uint8_t zeros[4096];
    static uint8_t large[5000];
    struct mvcc_reader reader = {harness->engine, NULL};
    struct mvcc_version version;
    struct buf value = {0};
    storage_batch_clear(harness->batch);
    mvcc_put(harness->batch, slice_make(zeros, sizeof(zeros)), 5, slice_make(large, sizeof(large)));
    cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
    cr_assert_eq(mvcc_get(&reader, slice_make(zeros, sizeof(zeros)), 5, &value, &version),
                 STATUS_OK);
    cr_assert_eq(version.value.len, sizeof(large));
    cr_assert_eq(mvcc_get(&reader, slice_make(zeros, sizeof(zeros) - 1), 5, &value, &version),
                 STATUS_NOT_FOUND);
    buf_done(&value);
}

struct scan_text {
    char text[512];
    unsigned rows_left;
};

static bool append_row(void *ctx, struct slice key, uint64_t commit_ts, struct slice value) {
    struct scan_text *scan = ctx;
    size_t len = strlen(scan->text);
    snprintf(scan->text + len, sizeof(scan->text) - len, "%.*s=%.*s@%llu ", (int)key.len,
             (const char *)key.data, (int)value.len, (const char *)value.data,
             (unsigned long long)commit_ts);
    return --scan->rows_left > 0;
}

static const char *scan(struct harness *harness, const char *start, const char *end,
                        uint64_t read_ts, bool reverse, unsigned limit) {
    static struct scan_text result;
    result = (struct scan_text){.rows_left = limit};
    struct mvcc_reader reader = {harness->engine, NULL};
    cr_assert_eq(
        mvcc_scan(&reader, TEXT(start), TEXT(end), read_ts, reverse, append_row, &result, NULL),
        STATUS_OK);
    return result.text;
}

/* Scans in both directions see the same rows: the live ones at the timestamp, in bounds. */
ENGINE_TEST(mvcc_scan_sees_live_rows_both_ways) {
    put_version(harness, "a", 10, "1");
    put_version(harness, "b", 10, "1");
    put_version(harness, "b", 20, NULL);
    put_version(harness, "c", 30, "1");
    for (uint64_t ts = 1; ts <= 60; ts++)
        put_version(harness, "d", ts, ts % 2 ? "odd" : "even");
    put_version(harness, "e", 5, "1");
    cr_assert_str_eq(scan(harness, "", "", 15, false, 9), "a=1@10 b=1@10 d=odd@15 e=1@5 ");
    cr_assert_str_eq(scan(harness, "", "", 15, true, 9), "e=1@5 d=odd@15 b=1@10 a=1@10 ");
    cr_assert_str_eq(scan(harness, "b", "e", 58, false, 9), "c=1@30 d=even@58 ");
    cr_assert_str_eq(scan(harness, "b", "e", 58, true, 9), "d=even@58 c=1@30 ");
    /* Bounds that are no keys themselves: a prefix filter must not answer for them. */
    cr_assert_str_eq(scan(harness, "bb", "dd", 58, false, 9), "c=1@30 d=even@58 ");
    cr_assert_str_eq(scan(harness, "bb", "dd", 58, true, 9), "d=even@58 c=1@30 ");
    cr_assert_str_eq(scan(harness, "", "", 2, true, 9), "d=even@2 ");
    cr_assert_str_eq(scan(harness, "", "", 0, false, 9), "");
    cr_assert_str_eq(scan(harness, "", "", 0, true, 9), "");
    cr_assert_str_eq(scan(harness, "", "", MVCC_TS_MAX, false, 2), "a=1@10 c=1@30 ");
    cr_assert_str_eq(scan(harness, "", "", MVCC_TS_MAX, true, 1), "e=1@5 ");
}

static bool scan_meets_fault(struct harness *harness, bool reverse, unsigned limit,
                             uint64_t countdown) {
    struct scan_text result = {.rows_left = limit};
    struct mvcc_reader reader = {harness->engine, NULL};
    memory_engine_fail(harness->engine, MEMORY_ENGINE_READ, countdown, STATUS_IO);
    enum status status = mvcc_scan(&reader, SLICE_EMPTY, SLICE_EMPTY, MVCC_TS_MAX, reverse,
                                   append_row, &result, NULL);
    bool met = memory_engine_failed(harness->engine);
    cr_assert_eq(status, met ? STATUS_IO : STATUS_OK, "reverse %d limit %u read %u", reverse, limit,
                 (unsigned)countdown);
    return met;
}

/* Whichever read of a scan fails, the scan says so: what was read for nothing, because the page was
 * full, failed all the same, and whoever goes on has a disk that it must not trust. */
Test(mvcc_scan, tells_of_every_read_that_fails) {
    for (unsigned limit = 1; limit <= 4; limit++) {
        for (int reverse = 0; reverse <= 1; reverse++) {
            for (uint64_t countdown = 0, met = 1; met; countdown++) {
                struct harness harness;
                harness_init(&harness, ENGINE_MEMORY);
                put_version(&harness, "a", 10, "1");
                put_version(&harness, "b", 10, "1");
                for (uint64_t ts = 1; ts <= 40; ts++)
                    put_version(&harness, "c", ts, "1");
                met = scan_meets_fault(&harness, reverse == 1, limit, countdown);
                harness_done(&harness);
            }
        }
    }
}

/* Bounds long enough for the prefix filters, but of no key that is there: the filters say that
 * nothing starts like this, and a scan must not believe that there is nothing behind. */
ENGINE_TEST(mvcc_scan_starts_at_a_bound_that_is_no_key) {
    put_version(harness, "account/0000000010", 1, "a");
    put_version(harness, "account/0000000030", 1, "b");
    cr_assert_str_eq(scan(harness, "account/0000000020", "", 9, false, 9),
                     "account/0000000030=b@1 ");
    cr_assert_str_eq(scan(harness, "", "account/0000000020", 9, true, 9),
                     "account/0000000010=a@1 ");
}

static bool append_newest(void *ctx, struct slice key, const struct mvcc_version *newest) {
    return append_row(ctx, key, newest->commit_ts,
                      newest->kind == MVCC_DELETE ? TEXT("-") : newest->value);
}

static const char *each_newest(struct harness *harness, const char *start, const char *end,
                               unsigned limit) {
    static struct scan_text result;
    result = (struct scan_text){.rows_left = limit};
    struct mvcc_reader reader = {harness->engine, NULL};
    cr_assert_eq(mvcc_each_newest(&reader, TEXT(start), TEXT(end), append_newest, &result),
                 STATUS_OK);
    return result.text;
}

/* The guard "no newer version in this interval" rests on this. */
ENGINE_TEST(mvcc_each_newest_names_every_key_once) {
    cr_assert_str_eq(each_newest(harness, "a", "z", 9), "");
    put_version(harness, "a", 10, "1");
    for (uint64_t ts = 11; ts <= 40; ts++)
        put_version(harness, "b", ts, "1");
    put_version(harness, "c", 50, NULL);
    put_version(harness, "d", 60, "1");
    cr_assert_str_eq(each_newest(harness, "a", "c", 9), "a=1@10 b=1@40 ");
    cr_assert_str_eq(each_newest(harness, "a", "d", 9), "a=1@10 b=1@40 c=-@50 ",
                     "a deletion counts");
    cr_assert_str_eq(each_newest(harness, "b", "", 9), "b=1@40 c=-@50 d=1@60 ");
    cr_assert_str_eq(each_newest(harness, "a", "", 2), "a=1@10 b=1@40 ");
}

/* One scan after the other, each from where the steps of the one before ran out. */
static const char *scan_paced(struct harness *harness, bool reverse, uint64_t steps,
                              unsigned *ret_pages, uint64_t *ret_most) {
    static struct scan_text result;
    result = (struct scan_text){.rows_left = 99};
    struct mvcc_reader reader = {harness->engine, NULL};
    struct mvcc_pace pace = {0};
    struct buf from = {0};
    *ret_pages = 0;
    *ret_most = 0;
    do {
        pace.steps_left = steps;
        struct slice start = reverse ? SLICE_EMPTY : slice_from_buf(&from);
        struct slice end = reverse ? slice_from_buf(&from) : SLICE_EMPTY;
        cr_assert_eq(
            mvcc_scan(&reader, start, end, MVCC_TS_MAX, reverse, append_row, &result, &pace),
            STATUS_OK);
        if (steps - pace.steps_left > *ret_most) *ret_most = steps - pace.steps_left;
        cr_assert(!slice_equal(slice_from_buf(&pace.resume), slice_from_buf(&from)) ||
                      pace.resume.len == 0,
                  "it gets on");
        buf_assign(&from, slice_from_buf(&pace.resume));
        cr_assert(++*ret_pages < 500);
    } while (from.len > 0);
    buf_done(&pace.resume);
    buf_done(&from);
    return result.text;
}

/* A reader that wants few rows must not walk over a million that were deleted at one go; and
 * wherever it is stopped, it sees the same in the end. */
ENGINE_TEST(mvcc_scan_stops_where_its_steps_run_out) {
    char key[16];
    put_version(harness, "a", 1, "first");
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "d%03u", i);
        put_version(harness, key, 1, "gone");
        put_version(harness, key, 2, NULL);
    }
    for (uint64_t ts = 1; ts <= 60; ts++)
        put_version(harness, "e", ts, ts % 2 ? "odd" : "even");
    put_version(harness, "f", 1, "last");
    const char *all = "a=first@1 e=even@60 f=last@1 ", *back = "f=last@1 e=even@60 a=first@1 ";
    static const uint64_t steps[] = {0, 1, 2, 7, 20, 100, 100000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        unsigned pages;
        uint64_t most;
        cr_assert_str_eq(scan_paced(harness, false, steps[i], &pages, &most), all);
        cr_assert(pages >= (steps[i] < 20 ? 20 : 1) && most <= steps[i], "%u pages", pages);
        cr_assert_eq(pages == 1, steps[i] == 100000);
        cr_assert_str_eq(scan_paced(harness, true, steps[i], &pages, &most), back);
        cr_assert(pages >= (steps[i] < 20 ? 20 : 1) && most <= steps[i], "%u pages", pages);
        cr_assert_eq(pages == 1, steps[i] == 100000);
    }
}

/* Rows cost by their size, too, and also those that nobody gets to see. */
ENGINE_TEST(mvcc_scan_counts_large_rows_for_more) {
    static char large[64 * MVCC_STEP_BYTES + 1];
    memset(large, 'x', sizeof(large) - 1);
    char key[16];
    for (unsigned i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "d%03u", i);
        put_version(harness, key, 1, large);
        put_version(harness, key, 2, NULL);
    }
    unsigned pages;
    uint64_t most;
    cr_assert_str_eq(scan_paced(harness, false, 100, &pages, &most), "");
    cr_assert_geq(pages, 5, "%u pages", pages);
    cr_assert_str_eq(scan_paced(harness, true, 100, &pages, &most), "");
    cr_assert_geq(pages, 5, "%u pages", pages);
}

/* A damaged row must be reported, not skipped or guessed. */
ENGINE_TEST(mvcc_reports_damaged_rows) {
    static const struct {
        const char *key, *value;
        size_t key_len;
    } damaged[] = {{"short", "\x01", 5},
                   {"k\0\x01\xff\xff\xff\xff\xff\xff\xff\xfe", "", 11},
                   {"k\0\x01\xff\xff\xff\xff\xff\xff\xff\xfe", "\x07", 11},
                   {"k\0\x01\xff\xff\xff\xff\xff\xff\xff\xfe", "\x03", 11},
                   {"k\0\x01\xff\xff\xff\xff\xff\xff\xff\xfe", "\x03\x05note", 11},
                   {"k\0\x07\xff\xff\xff\xff\xff\xff\xff\xfe", "\x01", 11}};
    struct mvcc_reader reader = {harness->engine, NULL};
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        struct slice key = slice_make(damaged[i].key, damaged[i].key_len);
        storage_batch_clear(harness->batch);
        storage_batch_put(harness->batch, STORAGE_DATA, key, TEXT(damaged[i].value));
        cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
        for (int reverse = 0; reverse < 2; reverse++) {
            struct scan_text ignored = {.rows_left = 9};
            cr_assert_eq(mvcc_scan(&reader, SLICE_EMPTY, SLICE_EMPTY, MVCC_TS_MAX, reverse,
                                   append_row, &ignored, NULL),
                         STATUS_CORRUPTION, "row %zu", i);
        }
        storage_batch_clear(harness->batch);
        storage_batch_delete(harness->batch, STORAGE_DATA, key);
        cr_assert_eq(storage_write(harness->engine, harness->batch, STORAGE_BUFFERED), STATUS_OK);
    }
}
