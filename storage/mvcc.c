#include "storage/mvcc.h"

#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "storage/limits.h"

/* A put with a note, in its row; readers see an MVCC_PUT. */
#define NOTED_PUT 3u

/* enc: an escaped zero and the terminator, and the terminator's successor, which nothing encodes
 * to. */
#define ESCAPE 0x00u
#define ESCAPED_ZERO 0xffu
#define TERMINATOR 0x01u
#define TERMINATOR_SUCCESSOR 0x02u
#define TERMINATOR_BYTES 2u

/* Walking over the versions of one key step by step is cheaper than a seek for about this many. */
#define STEPS_BEFORE_SEEK 8u

static size_t encoded_bytes_max(struct slice user_key) {
    return 2 * user_key.len + TERMINATOR_BYTES;
}

/* Writes enc(user_key) to `out`, which has encoded_bytes_max() bytes; returns how many it used. */
static size_t encode_key(uint8_t *out, struct slice user_key) {
    uint8_t *to = out;
    for (size_t at = 0; at < user_key.len;) {
        const uint8_t *from = user_key.data + at;
        const uint8_t *zero = memchr(from, ESCAPE, user_key.len - at);
        size_t run = zero ? (size_t)(zero - from) : user_key.len - at;
        memcpy(to, from, run);
        to += run;
        at += run;
        if (zero) {
            *to++ = ESCAPE;
            *to++ = ESCAPED_ZERO;
            at++;
        }
    }
    *to++ = ESCAPE;
    *to++ = TERMINATOR;
    return (size_t)(to - out);
}

static void encode_version(uint8_t out[MVCC_VERSION_BYTES], uint64_t commit_ts) {
    uint64_t inverted = ~commit_ts;
    for (unsigned i = 0; i < MVCC_VERSION_BYTES; i++)
        out[i] = (uint8_t)(inverted >> (56 - 8 * i));
}

static uint64_t decode_version(const uint8_t in[MVCC_VERSION_BYTES]) {
    uint64_t inverted = 0;
    for (unsigned i = 0; i < MVCC_VERSION_BYTES; i++)
        inverted = inverted << 8 | in[i];
    return ~inverted;
}

void mvcc_encode_key(struct buf *out, struct slice user_key) {
    buf_reserve(out, encoded_bytes_max(user_key));
    out->len += encode_key(out->data + out->len, user_key);
}

enum status mvcc_decode_key(struct slice *in_out, struct buf *ret_user_key) {
    buf_clear(ret_user_key);
    if (in_out->len == 0) return STATUS_CORRUPTION;
    const uint8_t *at = in_out->data, *end = at + in_out->len;
    for (;;) {
        const uint8_t *escape = at < end ? memchr(at, ESCAPE, (size_t)(end - at)) : NULL;
        if (!escape || escape + 1 == end) return STATUS_CORRUPTION;
        buf_append(ret_user_key, slice_make(at, (size_t)(escape - at)));
        at = escape + 2;
        if (escape[1] == TERMINATOR) break;
        if (escape[1] != ESCAPED_ZERO) return STATUS_CORRUPTION;
        buf_append_byte(ret_user_key, 0);
    }
    *in_out = slice_make(at, (size_t)(end - at));
    return STATUS_OK;
}

void mvcc_encode_version_key(struct buf *out, struct slice user_key, uint64_t commit_ts) {
    mvcc_encode_key(out, user_key);
    buf_reserve(out, MVCC_VERSION_BYTES);
    encode_version(out->data + out->len, commit_ts);
    out->len += MVCC_VERSION_BYTES;
}

enum status mvcc_decode_version_key(struct slice key, struct buf *ret_user_key,
                                    uint64_t *ret_commit_ts) {
    enum status status = mvcc_decode_key(&key, ret_user_key);
    if (status != STATUS_OK) return status;
    if (key.len != MVCC_VERSION_BYTES) return STATUS_CORRUPTION;
    *ret_commit_ts = decode_version(key.data);
    return STATUS_OK;
}

void mvcc_span_bounds(enum storage_family family, struct slice start, struct slice end,
                      struct buf *ret_begin, struct buf *ret_end) {
    ASSERT(family == STORAGE_DATA || family == STORAGE_LOCK || family == STORAGE_META);
    buf_clear(ret_begin);
    buf_clear(ret_end);
    if (family == STORAGE_META) {
        buf_append_byte(ret_begin, MVCC_META_USER_KEYED);
        buf_append_byte(ret_end, end.len > 0 ? MVCC_META_USER_KEYED : MVCC_META_USER_KEYED + 1);
    }
    /* enc(start) sorts at or before every record of `start` and behind those of all smaller keys.
     * No start: from the first record, without an enc("") that would be behind nothing. */
    if (start.len > 0) mvcc_encode_key(ret_begin, start);
    if (end.len > 0) mvcc_encode_key(ret_end, end);
}

/* A key for a point read or write: on the stack unless the user key is long. */
struct version_key {
    uint8_t *data;
    size_t len;
    uint8_t stack[512];
};

static void version_key_init(struct version_key *key, struct slice user_key, uint64_t ts) {
    size_t bytes_max = encoded_bytes_max(user_key) + MVCC_VERSION_BYTES;
    key->data = bytes_max <= sizeof(key->stack) ? key->stack : memory_alloc(bytes_max);
    key->len = encode_key(key->data, user_key);
    encode_version(key->data + key->len, ts);
    key->len += MVCC_VERSION_BYTES;
}

static void version_key_done(struct version_key *key) {
    if (key->data != key->stack) memory_free(key->data);
}

static struct slice version_key_slice(const struct version_key *key) {
    return slice_make(key->data, key->len);
}

static uint8_t *append(uint8_t *to, struct slice bytes) {
    if (bytes.len > 0) memcpy(to, bytes.data, bytes.len);
    return to + bytes.len;
}

/* A row of three parts. */
static void put_row(struct storage_batch *batch, struct slice user_key, uint64_t commit_ts,
                    struct slice head, struct slice note, struct slice value) {
    struct version_key key;
    version_key_init(&key, user_key, commit_ts);
    uint8_t stack[1024];
    size_t len = head.len + note.len + value.len;
    uint8_t *row = len <= sizeof(stack) ? stack : memory_alloc(len);
    (void)append(append(append(row, head), note), value);
    storage_batch_put(batch, STORAGE_DATA, version_key_slice(&key), slice_make(row, len));
    if (row != stack) memory_free(row);
    version_key_done(&key);
}

void mvcc_put(struct storage_batch *batch, struct slice user_key, uint64_t commit_ts,
              struct slice value) {
    uint8_t kind = MVCC_PUT;
    put_row(batch, user_key, commit_ts, slice_make(&kind, 1), SLICE_EMPTY, value);
}

void mvcc_put_noted(struct storage_batch *batch, struct slice user_key, uint64_t commit_ts,
                    struct slice note, struct slice value) {
    struct buf head = {0};
    encode_u8(&head, NOTED_PUT);
    encode_varint(&head, note.len);
    put_row(batch, user_key, commit_ts, slice_from_buf(&head), note, value);
    buf_done(&head);
}

void mvcc_delete(struct storage_batch *batch, struct slice user_key, uint64_t commit_ts) {
    struct version_key key;
    version_key_init(&key, user_key, commit_ts);
    uint8_t record = MVCC_DELETE;
    storage_batch_put(batch, STORAGE_DATA, version_key_slice(&key), slice_make(&record, 1));
    version_key_done(&key);
}

/* Splits a stored value; the slices borrow from `record`. */
static enum status decode_row(struct slice record, struct mvcc_version *version,
                              struct slice *ret_note) {
    struct decoder in = decoder_make(record);
    uint8_t kind = decode_u8(&in);
    struct slice note = kind == NOTED_PUT ? decode_bytes(&in) : SLICE_EMPTY;
    if (in.failed) return STATUS_CORRUPTION;
    version->value = slice_make(in.at, (size_t)(in.end - in.at));
    version->kind = kind == NOTED_PUT ? MVCC_PUT : (enum mvcc_kind)kind;
    *ret_note = note;
    if (version->kind == MVCC_DELETE)
        return version->value.len == 0 ? STATUS_OK : STATUS_CORRUPTION;
    return version->kind == MVCC_PUT ? STATUS_OK : STATUS_CORRUPTION;
}

static enum status decode_record(struct slice record, struct mvcc_version *version) {
    struct slice note;
    return decode_row(record, version, &note);
}

struct get_ctx {
    struct buf *value_out;
    struct mvcc_version version;
    enum status status;
};

static void on_version(void *ctx, struct slice key, struct slice value) {
    struct get_ctx *get = ctx;
    get->version.commit_ts = decode_version(key.data + key.len - MVCC_VERSION_BYTES);
    get->status = decode_record(value, &get->version);
    if (get->status != STATUS_OK) return;
    buf_assign(get->value_out, get->version.value);
    get->version.value = slice_from_buf(get->value_out);
}

enum status mvcc_get(const struct mvcc_reader *reader, struct slice user_key, uint64_t read_ts,
                     struct buf *value_out, struct mvcc_version *ret_version) {
    struct version_key key;
    version_key_init(&key, user_key, read_ts);
    struct get_ctx get = {.value_out = value_out};
    enum status status = storage_get_version(reader->engine, reader->snapshot,
                                             version_key_slice(&key), on_version, &get);
    version_key_done(&key);
    if (status == STATUS_OK) status = get.status;
    if (status == STATUS_OK) *ret_version = get.version;
    return status;
}

/* ---- walking over keys and their versions ---- */

/* A position on the versions of a span. Reads no further than asked, so that a scan with a limit
 * costs only what it returns. */
struct walk {
    struct storage_iterator *iterator;
    struct buf prefix; /* enc(user key) of the key that the walk is at */
    struct buf target; /* scratch for seeks */
    uint64_t steps;    /* made so far (struct mvcc_pace) */
    enum status status;
};

static void walk_init(struct walk *walk, const struct mvcc_reader *reader, struct slice start,
                      struct slice end) {
    *walk = (struct walk){0};
    struct buf begin = {0}, limit = {0};
    mvcc_span_bounds(STORAGE_DATA, start, end, &begin, &limit);
    walk->iterator = storage_iterator_new(reader->engine, reader->snapshot, STORAGE_DATA,
                                          slice_from_buf(&begin), slice_from_buf(&limit));
    buf_done(&begin);
    buf_done(&limit);
}

static void walk_done(struct walk *walk) {
    storage_iterator_free(walk->iterator);
    buf_done(&walk->prefix);
    buf_done(&walk->target);
}

/* Whether the iterator stands on a well-formed version; otherwise the walk is over and walk->status
 * says why. */
static bool walk_on_version(struct walk *walk) {
    if (walk->status != STATUS_OK) return false;
    if (!storage_iterator_valid(walk->iterator)) {
        walk->status = storage_iterator_status(walk->iterator);
        return false;
    }
    if (storage_iterator_key(walk->iterator).len < TERMINATOR_BYTES + MVCC_VERSION_BYTES) {
        walk->status = STATUS_CORRUPTION;
        return false;
    }
    return true;
}

/* Every move of a walk is counted by what it came to stand on. */
static void walk_count(struct walk *walk, uint64_t steps) {
    walk->steps += steps;
    if (storage_iterator_valid(walk->iterator))
        walk->steps += storage_iterator_value(walk->iterator).len / MVCC_STEP_BYTES;
}

static void walk_next(struct walk *walk) {
    storage_iterator_next(walk->iterator);
    walk_count(walk, 1);
}

static void walk_prev(struct walk *walk) {
    storage_iterator_prev(walk->iterator);
    walk_count(walk, 1);
}

static void walk_seek(struct walk *walk, struct slice target) {
    storage_iterator_seek(walk->iterator, target);
    walk_count(walk, MVCC_SEEK_STEPS);
}

static struct slice walk_prefix(const struct walk *walk) {
    struct slice key = storage_iterator_key(walk->iterator);
    return slice_make(key.data, key.len - MVCC_VERSION_BYTES);
}

static uint64_t walk_commit_ts(const struct walk *walk) {
    struct slice key = storage_iterator_key(walk->iterator);
    return decode_version(key.data + key.len - MVCC_VERSION_BYTES);
}

static bool walk_on_same_key(struct walk *walk) {
    return walk_on_version(walk) && slice_equal(walk_prefix(walk), slice_from_buf(&walk->prefix));
}

static void walk_remember_key(struct walk *walk) {
    buf_assign(&walk->prefix, walk_prefix(walk));
}

/* To the newest version at or below `ts` of the remembered key, when it has one. */
static void walk_seek_version(struct walk *walk, uint64_t ts) {
    uint8_t suffix[MVCC_VERSION_BYTES];
    encode_version(suffix, ts);
    buf_assign(&walk->target, slice_from_buf(&walk->prefix));
    buf_append(&walk->target, slice_make(suffix, sizeof(suffix)));
    walk_seek(walk, slice_from_buf(&walk->target));
}

/* To the first version of the key behind the remembered one. */
static void walk_seek_behind_key(struct walk *walk) {
    buf_assign(&walk->target, slice_from_buf(&walk->prefix));
    walk->target.data[walk->target.len - 1] = TERMINATOR_SUCCESSOR;
    walk_seek(walk, slice_from_buf(&walk->target));
}

/* From a version of the remembered key to the newest version at or below `ts`, or off the key. */
static void walk_down_to(struct walk *walk, uint64_t ts) {
    for (unsigned steps = 0; walk_on_same_key(walk) && walk_commit_ts(walk) > ts; steps++) {
        if (steps == STEPS_BEFORE_SEEK) {
            walk_seek_version(walk, ts);
            return;
        }
        walk_next(walk);
    }
}

/* From a version of the remembered key to the first of the next key. */
static void walk_past_key(struct walk *walk) {
    for (unsigned steps = 0; walk_on_same_key(walk); steps++) {
        if (steps == STEPS_BEFORE_SEEK) {
            walk_seek_behind_key(walk);
            return;
        }
        walk_next(walk);
    }
}

enum status mvcc_oldest_note(const struct mvcc_reader *reader, struct slice user_key,
                             struct buf *ret_note, size_t *ret_row_bytes) {
    struct buf begin = {0}, limit = {0};
    mvcc_encode_key(&begin, user_key);
    buf_assign(&limit, slice_from_buf(&begin));
    limit.data[limit.len - 1] = TERMINATOR_SUCCESSOR;
    struct storage_iterator *iterator =
        storage_iterator_new(reader->engine, reader->snapshot, STORAGE_DATA, slice_from_buf(&begin),
                             slice_from_buf(&limit));
    storage_iterator_seek_last(iterator);
    enum status status = storage_iterator_status(iterator);
    if (storage_iterator_valid(iterator)) {
        struct mvcc_version version;
        struct slice note;
        status = decode_row(storage_iterator_value(iterator), &version, &note);
        if (status == STATUS_OK) buf_assign(ret_note, note);
        *ret_row_bytes = storage_iterator_value(iterator).len;
    } else if (status == STATUS_OK) {
        status = STATUS_NOT_FOUND;
    }
    storage_iterator_free(iterator);
    buf_done(&begin);
    buf_done(&limit);
    return status;
}

/* The user key that the walk is at, into `ret_user_key`. False: the walk is over. */
static bool walk_decode_key(struct walk *walk, struct buf *ret_user_key) {
    struct slice prefix = slice_from_buf(&walk->prefix);
    walk->status = mvcc_decode_key(&prefix, ret_user_key);
    if (walk->status == STATUS_OK && prefix.len > 0) walk->status = STATUS_CORRUPTION;
    return walk->status == STATUS_OK;
}

enum status mvcc_each_newest(const struct mvcc_reader *reader, struct slice start, struct slice end,
                             mvcc_newest_fn *newest, void *ctx) {
    struct walk walk;
    struct buf user_key = {0};
    walk_init(&walk, reader, start, end);
    storage_iterator_seek_first(walk.iterator);
    for (bool more = true; more && walk_on_version(&walk);) {
        struct mvcc_version version = {.commit_ts = walk_commit_ts(&walk)};
        walk_remember_key(&walk);
        if (!walk_decode_key(&walk, &user_key)) break;
        walk.status = decode_record(storage_iterator_value(walk.iterator), &version);
        if (walk.status != STATUS_OK) break;
        more = newest(ctx, slice_from_buf(&user_key), &version);
        if (more) walk_seek_behind_key(&walk); /* newest versions come first */
    }
    enum status status = walk.status;
    walk_done(&walk);
    buf_done(&user_key);
    return status;
}

/* A row callback with what it needs to be called. */
struct row_sink {
    mvcc_row_fn *row;
    void *ctx;
    struct buf user_key; /* scratch */
    struct mvcc_pace *pace;
};

/* The walk is about to leave the key that it remembers for the one that it stands on. */
static bool out_of_steps(const struct walk *walk, const struct row_sink *sink) {
    return sink->pace && walk->prefix.len > 0 && walk->steps >= sink->pace->steps_left;
}

/* Hands over the row when it is alive; false ends the scan. */
static bool emit(struct walk *walk, struct row_sink *sink, uint64_t commit_ts,
                 struct slice record) {
    struct mvcc_version version;
    walk->status = decode_record(record, &version);
    if (walk->status != STATUS_OK) return false;
    if (version.kind == MVCC_DELETE) return true;
    if (!walk_decode_key(walk, &sink->user_key)) return false;
    return sink->row(sink->ctx, slice_from_buf(&sink->user_key), commit_ts, version.value);
}

static void scan_forward(struct walk *walk, uint64_t read_ts, struct row_sink *sink) {
    storage_iterator_seek_first(walk->iterator);
    walk_count(walk, MVCC_SEEK_STEPS);
    while (walk_on_version(walk)) {
        bool over = out_of_steps(walk, sink);
        walk_remember_key(walk);
        if (over) {
            (void)walk_decode_key(walk, &sink->pace->resume); /* the walk has its status */
            return;
        }
        walk_down_to(walk, read_ts);
        if (!walk_on_same_key(walk)) continue;
        if (!emit(walk, sink, walk_commit_ts(walk), storage_iterator_value(walk->iterator))) return;
        walk_past_key(walk);
    }
}

/* From the oldest version of the remembered key back towards newer ones while they are old enough
 * for the reader; the last such is kept in `ret_record`. Returns whether there was one. Leaves the
 * walk on the key before. */
static bool walk_back_over_key(struct walk *walk, uint64_t read_ts, struct buf *ret_record,
                               uint64_t *ret_commit_ts) {
    bool found = false;
    unsigned steps = 0;
    while (walk_on_same_key(walk) && walk_commit_ts(walk) <= read_ts) {
        if (steps++ == STEPS_BEFORE_SEEK) {
            walk_seek_version(walk, read_ts);
            /* There is one: the walk just stood on it or on an older one. */
            if (!walk_on_same_key(walk)) break;
        }
        *ret_commit_ts = walk_commit_ts(walk);
        buf_assign(ret_record, storage_iterator_value(walk->iterator));
        found = true;
        if (steps > STEPS_BEFORE_SEEK) break;
        walk_prev(walk);
    }
    if (walk_on_same_key(walk)) {
        storage_iterator_seek_for_prev(walk->iterator, slice_from_buf(&walk->prefix));
        walk_count(walk, MVCC_SEEK_STEPS);
    }
    return found && walk->status == STATUS_OK;
}

static void scan_backward(struct walk *walk, uint64_t read_ts, struct row_sink *sink) {
    struct buf record = {0};
    uint64_t commit_ts = 0;
    storage_iterator_seek_last(walk->iterator);
    walk_count(walk, MVCC_SEEK_STEPS);
    while (walk_on_version(walk)) {
        if (out_of_steps(walk, sink)) {
            (void)walk_decode_key(walk, &sink->pace->resume); /* the walk has its status */
            break;
        }
        walk_remember_key(walk);
        if (walk_back_over_key(walk, read_ts, &record, &commit_ts) &&
            !emit(walk, sink, commit_ts, slice_from_buf(&record)))
            break;
    }
    buf_done(&record);
}

enum status mvcc_scan(const struct mvcc_reader *reader, struct slice start, struct slice end,
                      uint64_t read_ts, bool reverse, mvcc_row_fn *row, void *ctx,
                      struct mvcc_pace *pace) {
    struct walk walk;
    struct row_sink sink = {.row = row, .ctx = ctx, .pace = pace};
    if (pace) buf_clear(&pace->resume);
    walk_init(&walk, reader, start, end);
    if (reverse)
        scan_backward(&walk, read_ts, &sink);
    else
        scan_forward(&walk, read_ts, &sink);
    enum status status = walk.status;
    /* A reverse walk has left a key before its row was handed over, and that may have ended it. */
    if (status == STATUS_OK) status = storage_iterator_status(walk.iterator);
    if (pace) pace->steps_left -= walk.steps < pace->steps_left ? walk.steps : pace->steps_left;
    walk_done(&walk);
    buf_done(&sink.user_key);
    return status;
}
