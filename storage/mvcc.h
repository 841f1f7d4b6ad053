/* Multi-version encoding: what a user key looks like inside the families.
 *
 *   data:  enc(user key) ‖ ~commit_ts (8 bytes, big-endian)  →  1 ‖ value                       put
 *                                                           or  2                           delete
 *                                                           or  3 ‖ length of the note (varint) ‖
 *                                                               note ‖ value        put with a note
 *   lock:  enc(user key)                                      →  lock record (txn/)
 *   meta:  0x01 ‖ enc(user key) ‖ tag ‖ request id             →  request record (txn/)
 *          0x00 ‖ ...                                          →  node-local records (range/)
 *
 * enc keeps the order of keys and ends itself: each 0x00 becomes 0x00 0xff, and 0x00 0x01 closes.
 * So a newest version sorts first among its key's, and a span of user keys is one span of each
 * family.
 *
 * A note is what the writer of a version keeps beside its value, in the same row, for itself
 * (txn/request_record.h); who reads the value does not see it.
 *
 * Threads: pure functions and reads; any thread. Errors of reads are those of the engine, and
 * CORRUPTION when a stored key or value does not follow the layout above. */
#ifndef FLOTILLA_STORAGE_MVCC_H
#define FLOTILLA_STORAGE_MVCC_H

#include "base/arena.h"
#include "storage/engine.h"

/* A timestamp of the oracle: milliseconds << 18 | counter. 0 is before everything. */
#define MVCC_TS_MAX UINT64_MAX
#define MVCC_TS_COUNTER_BITS 18u

#define MVCC_VERSION_BYTES 8u   /* of the inverted timestamp at the end of a data key */
#define MVCC_META_USER_KEYED 1u /* first byte of a meta key that belongs to a user key */

enum mvcc_kind { MVCC_PUT = 1, MVCC_DELETE = 2 };

void mvcc_encode_key(struct buf *out, struct slice user_key); /* appends enc(user key) */
/* Reads one enc(...) off the front; replaces `ret_user_key`. CORRUPTION. */
enum status mvcc_decode_key(struct slice *in_out, struct buf *ret_user_key) MUST_CHECK;
void mvcc_encode_version_key(struct buf *out, struct slice user_key, uint64_t commit_ts);
enum status mvcc_decode_version_key(struct slice key, struct buf *ret_user_key,
                                    uint64_t *ret_commit_ts) MUST_CHECK;

/* The bounds in a family of the user-key span [start, end), empty end: no end. For STORAGE_META it
 * is the span of the user-keyed records. */
void mvcc_span_bounds(enum storage_family family, struct slice start, struct slice end,
                      struct buf *ret_begin, struct buf *ret_end);

void mvcc_put(struct storage_batch *batch, struct slice user_key, uint64_t commit_ts,
              struct slice value);
void mvcc_put_noted(struct storage_batch *batch, struct slice user_key, uint64_t commit_ts,
                    struct slice note, struct slice value);
void mvcc_delete(struct storage_batch *batch, struct slice user_key, uint64_t commit_ts);

struct mvcc_version {
    uint64_t commit_ts;
    enum mvcc_kind kind;
    struct slice value; /* borrowed as the function says */
};

struct mvcc_reader {
    struct storage_engine *engine;
    const struct storage_snapshot *snapshot; /* NULL: latest */
};

/* Newest version at or below read_ts, tombstones included; the version's value is borrowed from
 * `value_out`, which is replaced and may be reused from call to call. NOT_FOUND: the key has no
 * version that old. */
enum status mvcc_get(const struct mvcc_reader *reader, struct slice user_key, uint64_t read_ts,
                     struct buf *value_out, struct mvcc_version *ret_version) MUST_CHECK;

/* The note of the oldest version of the key, which replaces `ret_note`; empty when that version has
 * none. `ret_row_bytes`: of the whole row, which was read for it. NOT_FOUND: the key has no
 * version. */
enum status mvcc_oldest_note(const struct mvcc_reader *reader, struct slice user_key,
                             struct buf *ret_note, size_t *ret_row_bytes) MUST_CHECK;

/* The newest version (put or delete) of each key of [start, end) in order. One seek a key, however
 * many versions lie under it and however large they are. The callback returns false to stop; slices
 * are valid during the callback only. */
typedef bool mvcc_newest_fn(void *ctx, struct slice user_key, const struct mvcc_version *newest);
enum status mvcc_each_newest(const struct mvcc_reader *reader, struct slice start, struct slice end,
                             mvcc_newest_fn *newest, void *ctx) MUST_CHECK;

/* How far a scan may go. A row of the engine that it stands on is one step, whether a reader sees
 * anything of it or not, and so is each further MVCC_STEP_BYTES of it; a seek is
 * MVCC_SEEK_STEPS. Steps are the same on every replica and every machine; time is not. */
#define MVCC_STEP_BYTES 1024u
#define MVCC_SEEK_STEPS 4u
struct mvcc_pace {
    uint64_t steps_left; /* in: those that it may make; out: what is left. It looks at one key even
                            if there are none, and may make a few more than it has. */
    struct buf resume;   /* Replaced. Where the steps ran out: the first key that was not looked at,
                            or, in reverse, the last one that was (so: the end of what remains).
                            Empty: the scan came to its end, or was told to stop. */
};

/* Live rows of [start, end) at read_ts in order (or from the end); empty end: no end. The callback
 * returns false to stop; slices are valid during the callback only. All rows come from one state of
 * the engine. NULL pace: as far as it goes. */
typedef bool mvcc_row_fn(void *ctx, struct slice user_key, uint64_t commit_ts, struct slice value);
enum status mvcc_scan(const struct mvcc_reader *reader, struct slice start, struct slice end,
                      uint64_t read_ts, bool reverse, mvcc_row_fn *row, void *ctx,
                      struct mvcc_pace *pace) MUST_CHECK;

#endif
