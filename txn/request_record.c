#include "txn/request_record.h"

#include "storage/mvcc.h"

#define RECORD_FORMAT_VERSION 1u

/* Apart, since the records of inserting commands are seldom here: one of another command under the
 * same id must not stand before the one in the row. */
#define TAG_OF_INSERTING 'i'
#define TAG_OF_OTHERS 'r'

void txn_request_record_key(struct buf *out, const struct txn_command *command) {
    encode_u8(out, MVCC_META_USER_KEYED);
    mvcc_encode_key(out, txn_command_anchor(command));
    encode_u8(out, txn_command_inserts(command) ? TAG_OF_INSERTING : TAG_OF_OTHERS);
    buf_append(out, command->request_id);
}

void txn_request_record_encode(struct buf *out, const struct txn_request_record *record) {
    encode_u8(out, RECORD_FORMAT_VERSION);
    encode_u64(out, record->commit_ts);
    encode_u64(out, record->fingerprint);
    txn_outcome_encode(out, &record->outcome);
}

void txn_request_record_encode_note(struct buf *out, struct slice request_id,
                                    const struct txn_request_record *record) {
    encode_bytes(out, request_id);
    txn_request_record_encode(out, record);
}

enum status txn_request_record_in_note(struct slice note, struct slice request_id,
                                       struct slice *ret_record_bytes) {
    *ret_record_bytes = SLICE_EMPTY;
    if (note.len == 0) return STATUS_OK;
    struct decoder in = decoder_make(note);
    struct slice id = decode_bytes(&in);
    if (in.failed) return STATUS_CORRUPTION;
    if (slice_equal(id, request_id)) *ret_record_bytes = decode_fixed(&in, decoder_left(&in));
    return STATUS_OK;
}

enum status txn_request_record_decode(struct slice bytes, struct arena *arena,
                                      struct txn_request_record *ret_record) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    if (in.failed) return STATUS_CORRUPTION;
    if (version != RECORD_FORMAT_VERSION) return STATUS_UNSUPPORTED;
    struct txn_request_record record = {.commit_ts = decode_u64(&in),
                                        .fingerprint = decode_u64(&in)};
    enum status status = txn_outcome_decode(&in, arena, &record.outcome);
    if (status != STATUS_OK) return status;
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_record = record;
    return STATUS_OK;
}

bool txn_request_record_live(const struct txn_request_record *record, uint64_t commit_ts) {
    uint64_t now_ms = commit_ts >> MVCC_TS_COUNTER_BITS;
    uint64_t then_ms = record->commit_ts >> MVCC_TS_COUNTER_BITS;
    return now_ms <= then_ms + TXN_REQUEST_WINDOW_MS;
}
