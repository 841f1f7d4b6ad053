/* Outcomes as bytes, on the wire and inside request records.
 *
 *   result u8 ‖ flags u8 (bit 0: replayed) ‖ commit_ts varint ‖ index varint ‖ number zigzag ‖
 *   number_count varint ‖ numbers (zigzag each) */
#include "txn/command.h"

#define FLAG_REPLAYED 1u

_Static_assert(TXN_COMMAND_STEPS_MAX == 20000u, "the text of TXN_REFUSED_WORK says so");

void txn_outcome_encode(struct buf *out, const struct txn_outcome *outcome) {
    encode_u8(out, (uint8_t)outcome->result);
    encode_u8(out, outcome->replayed ? FLAG_REPLAYED : 0);
    encode_varint(out, outcome->commit_ts);
    encode_varint(out, outcome->index);
    encode_zigzag(out, outcome->number);
    encode_varint(out, outcome->number_count);
    for (uint32_t i = 0; i < outcome->number_count; i++)
        encode_zigzag(out, outcome->numbers[i]);
}

enum status txn_outcome_decode(struct decoder *in, struct arena *arena,
                               struct txn_outcome *ret_outcome) {
    struct txn_outcome outcome = {.result = (enum txn_result)decode_u8(in)};
    uint8_t flags = decode_u8(in);
    outcome.replayed = flags & FLAG_REPLAYED;
    outcome.commit_ts = decode_varint(in);
    uint64_t index = decode_varint(in);
    outcome.number = decode_zigzag(in);
    uint64_t count = decode_varint(in);
    if (in->failed || flags > FLAG_REPLAYED || outcome.result > TXN_REFUSED_WORK)
        return STATUS_CORRUPTION;
    if (index > TXN_COMMAND_PARTS_MAX || count > TXN_COMMAND_PARTS_MAX || count > decoder_left(in))
        return STATUS_CORRUPTION;

    outcome.index = (uint32_t)index;
    outcome.number_count = (uint32_t)count;
    if (count > 0) outcome.numbers = ARENA_NEW_ARRAY(arena, int64_t, count);
    for (uint32_t i = 0; i < outcome.number_count; i++)
        outcome.numbers[i] = decode_zigzag(in);
    if (in->failed) return STATUS_CORRUPTION;
    *ret_outcome = outcome;
    return STATUS_OK;
}

const char *txn_result_text(enum txn_result result) {
    switch (result) {
    case TXN_DONE:
        return "done";
    case TXN_REFUSED_GUARD:
        return "a guard does not hold";
    case TXN_REFUSED_EXISTS:
        return "the key to insert exists already";
    case TXN_REFUSED_NOT_A_NUMBER:
        return "the value to add to is not a number";
    case TXN_REFUSED_OVERFLOW:
        return "the sum would not fit in 64 bits";
    case TXN_REFUSED_BOUND:
        return "the sum would leave the stated bounds";
    case TXN_REFUSED_REQUEST_ID_REUSED:
        return "the request id was used before for a different request";
    case TXN_REFUSED_WRONG_RANGE:
        return "a key is no longer in this range";
    case TXN_REFUSED_WORK:
        return "the guards and operations look at more than 20,000 keys and KiB of values together";
    }
    return "unknown result";
}
