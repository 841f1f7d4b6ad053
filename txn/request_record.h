/* Request records: the stored outcome of a command that carried a request id. Folder-private.
 *
 * The record lies with the command's anchor key, so that a split takes it along, in one of two
 * places:
 *
 *   in the row that the command inserted, as the note of that version (storage/mvcc.h), when it is
 *   the first version that the anchor ever had. So it is found again: it is the oldest one.
 *
 *   note   length of the request id (varint) ‖ request id ‖ value as below
 *
 *   in the `meta` family otherwise:
 *
 *   key    0x01 ‖ enc(anchor user key) ‖ 'i' of an inserting command, 'r' of others ‖ request id
 *   value  offset  bytes   field
 *          0       1       format version (1)
 *          1       8       commit_ts of the command that was evaluated, little-endian
 *          9       8       fingerprint of the command, little-endian
 *          17      ...     outcome (layout in outcome.c), `replayed` false
 *
 * Refusals are stored as well: a delayed first attempt must not be approved after its retry was
 * told that it was refused. */
#ifndef FLOTILLA_TXN_REQUEST_RECORD_H
#define FLOTILLA_TXN_REQUEST_RECORD_H

#include "txn/command.h"

struct txn_request_record {
    uint64_t commit_ts;
    uint64_t fingerprint;
    struct txn_outcome outcome;
};

void txn_request_record_key(struct buf *out, const struct txn_command *command);
void txn_request_record_encode_note(struct buf *out, struct slice request_id,
                                    const struct txn_request_record *record);
/* *ret_record_bytes: the record, when the note is that of this request; else empty. */
enum status txn_request_record_in_note(struct slice note, struct slice request_id,
                                       struct slice *ret_record_bytes) MUST_CHECK;
void txn_request_record_encode(struct buf *out, const struct txn_request_record *record);
enum status txn_request_record_decode(struct slice bytes, struct arena *arena,
                                      struct txn_request_record *ret_record) MUST_CHECK;
/* Whether the record still binds a command stamped with `commit_ts` (TXN_REQUEST_WINDOW_MS). Both
 * timestamps come from the log, so every replica gives the same answer. */
bool txn_request_record_live(const struct txn_request_record *record, uint64_t commit_ts);

#endif
