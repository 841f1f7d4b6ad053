/* What an apply round knows about keys beyond the engine: the newest version of each key read or
 * written in the round, and the request records written in it. Folder-private.
 *
 * A command first stages its writes here; then either all of them are committed (which adds them to
 * the storage batch) or all are dropped. So evaluation never has to undo anything in a batch.
 *
 * Invariants:
 * 1. Between commands nothing is staged.
 * 2. An entry's `newest` equals what mvcc_get would answer if the batch had been written.
 * 3. Per key, commit timestamps only grow. */
#ifndef FLOTILLA_TXN_OVERLAY_H
#define FLOTILLA_TXN_OVERLAY_H

#include "base/arena.h"
#include "base/hashmap.h"
#include "storage/mvcc.h"
#include "txn/newest_cache.h"
#include "txn/number.h"

struct txn_overlay_key {
    struct bytesmap_node node;  /* by user key */
    struct mvcc_version newest; /* valid when `known`; commit_ts 0: it never had a version */
    bool known;                 /* read from the engine, or written in this round */
    bool replaces;              /* had a value in the engine: likely to change again */
    bool written;               /* in this round; then in the overlay's written chain */
    bool staged;                /* the command at hand wants to write it */
    enum mvcc_kind staged_kind;
    struct slice staged_value;                      /* the command's, or staged_text */
    struct slice staged_note;                       /* empty: none */
    uint8_t staged_text[TXN_NUMBER_TEXT_BYTES_MAX]; /* a sum */
    uint8_t small_value[TXN_NUMBER_TEXT_BYTES_MAX]; /* newest.value, when it fits */
    struct txn_overlay_key *next_written;
    struct txn_overlay_key *next_staged;
};

struct txn_overlay {
    struct mvcc_reader reader;
    struct txn_cache cache;          /* of earlier rounds */
    struct arena arena;              /* entries and values of the round */
    struct bytesmap keys;            /* struct txn_overlay_key */
    struct bytesmap records;         /* struct txn_overlay_record */
    struct buf scratch;              /* for reads from the engine */
    struct txn_overlay_key *written; /* the youngest first */
    /* Those that were written up to `sorted_until` (NULL: none), by key. */
    struct txn_overlay_key **sorted;
    uint32_t sorted_count, sorted_cap;
    const struct txn_overlay_key *sorted_until;
    struct txn_overlay_key *staged_first, **staged_last_link;
};

struct txn_overlay_record {
    struct bytesmap_node node; /* by record key */
    struct slice value;        /* empty: no record */
};

void txn_overlay_init(struct txn_overlay *overlay, struct storage_engine *engine);
void txn_overlay_done(struct txn_overlay *overlay);
/* Forgets the round, whose batch is in the engine; the cache learns what was written. */
void txn_overlay_reset(struct txn_overlay *overlay);

/* The key's entry, made on first use; `newest` need not be known. */
struct txn_overlay_key *txn_overlay_key(struct txn_overlay *overlay, struct slice user_key);
/* Makes `newest` known, by one read of the engine at most. */
enum status txn_overlay_load(struct txn_overlay *overlay, struct txn_overlay_key *key) MUST_CHECK;
/* The value that the command at hand sees: staged, else newest. False when there is none. The key
 * must be known or staged. */
bool txn_overlay_value(const struct txn_overlay_key *key, struct slice *ret_value);

/* The value is borrowed until commit or drop. */
void txn_overlay_stage(struct txn_overlay *overlay, struct txn_overlay_key *key,
                       enum mvcc_kind kind, struct slice value);
/* Whether the staged write of the key would be the first version that it ever had; the note goes
 * into that version's row (storage/mvcc.h). */
bool txn_overlay_is_birth(const struct txn_overlay_key *key);
void txn_overlay_stage_note(struct txn_overlay_key *key, struct slice note);
void txn_overlay_stage_number(struct txn_overlay *overlay, struct txn_overlay_key *key,
                              int64_t number);
void txn_overlay_commit(struct txn_overlay *overlay, struct storage_batch *batch,
                        uint64_t commit_ts);
void txn_overlay_drop(struct txn_overlay *overlay);

/* The newest version of each key of [start, end) that ever had one, in order: of the engine, or
 * what this round wrote over it, whichever round a replica is in. The callback returns false to
 * stop. Returns in *ret_sorted how many keys of the round had to be put in order for it. */
enum status txn_overlay_each_newest(struct txn_overlay *overlay, struct slice start,
                                    struct slice end, mvcc_newest_fn *newest, void *ctx,
                                    uint32_t *ret_sorted) MUST_CHECK;

/* The request record under `record_key`, from the round or the engine; empty: none. Valid until the
 * round ends. */
enum status txn_overlay_read_record(struct txn_overlay *overlay, struct slice record_key,
                                    struct slice *ret_value) MUST_CHECK;
void txn_overlay_write_record(struct txn_overlay *overlay, struct storage_batch *batch,
                              struct slice record_key, struct slice value);
/* Only for the round's own commands: the record is in a note of the batch already. */
void txn_overlay_know_record(struct txn_overlay *overlay, struct slice record_key,
                             struct slice value);
/* The record of the request in the note of the key's oldest version; empty: none there. Valid until
 * the next read of the overlay. `ret_row_bytes`: of that version, which may be large; 0: none was
 * read. */
enum status txn_overlay_read_noted_record(struct txn_overlay *overlay, struct txn_overlay_key *key,
                                          struct slice request_id, struct slice *ret_value,
                                          size_t *ret_row_bytes) MUST_CHECK;

#endif
