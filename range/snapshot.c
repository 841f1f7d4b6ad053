#include "range/snapshot.h"

#include "base/assert.h"

#define FLAG_LAST 1u
#define CHECKED_OFFSET 10u /* version, kind, checksum */

static void frame_begin(struct buf *out, enum range_snapshot_kind kind, uint64_t range_id,
                        uint64_t snapshot_id, uint64_t sequence) {
    buf_clear(out);
    encode_u8(out, RANGE_SNAPSHOT_VERSION);
    encode_u8(out, (uint8_t)kind);
    encode_u64(out, 0); /* the checksum, once the rest is known */
    encode_varint(out, range_id);
    encode_u64(out, snapshot_id);
    encode_varint(out, sequence);
}

static void frame_end(struct buf *out) {
    uint64_t checksum =
        checksum64(slice_make(out->data + CHECKED_OFFSET, out->len - CHECKED_OFFSET));
    for (int i = 0; i < 8; i++)
        out->data[2 + i] = (uint8_t)(checksum >> (8 * i));
}

void range_snapshot_encode_header(struct buf *out, uint64_t range_id, uint64_t snapshot_id,
                                  const struct range_snapshot_header *header) {
    frame_begin(out, RANGE_SNAPSHOT_HEADER, range_id, snapshot_id, 0);
    encode_varint(out, header->from_node);
    encode_u64(out, header->state.applied.index);
    encode_u64(out, header->state.applied.term);
    encode_u64(out, header->state.last_commit_ts);
    range_descriptor_encode(out, &header->descriptor);
    encode_bytes(out, header->raft_message);
    frame_end(out);
}

void range_snapshot_encode_ack(struct buf *out, uint64_t range_id, uint64_t snapshot_id,
                               uint64_t next_sequence, enum range_snapshot_verdict verdict) {
    frame_begin(out, RANGE_SNAPSHOT_ACK, range_id, snapshot_id, next_sequence);
    encode_u8(out, (uint8_t)verdict);
    frame_end(out);
}

void range_snapshot_encode_record(struct buf *records, enum storage_family family, struct slice key,
                                  struct slice value) {
    encode_u8(records, (uint8_t)family);
    encode_bytes(records, key);
    encode_bytes(records, value);
}

void range_snapshot_encode_chunk(struct buf *out, uint64_t range_id, uint64_t snapshot_id,
                                 uint64_t sequence, const struct range_snapshot_chunk *chunk,
                                 struct slice records) {
    ASSERT_CMP(sequence, >, 0);
    frame_begin(out, RANGE_SNAPSHOT_CHUNK, range_id, snapshot_id, sequence);
    encode_u8(out, chunk->last ? FLAG_LAST : 0);
    if (chunk->last) {
        encode_u64(out, chunk->stream_checksum);
        encode_varint(out, chunk->record_count);
    }
    buf_append(out, records);
    frame_end(out);
}

uint64_t range_snapshot_chain(uint64_t checksum, struct slice records) {
    return checksum64_seeded(records, checksum);
}

enum status range_snapshot_decode(struct slice frame, struct range_snapshot_frame *ret_frame) {
    struct decoder in = decoder_make(frame);
    uint8_t version = decode_u8(&in);
    if (!in.failed && version != RANGE_SNAPSHOT_VERSION) return STATUS_UNSUPPORTED;
    uint8_t kind = decode_u8(&in);
    uint64_t checksum = decode_u64(&in);
    if (in.failed || kind < RANGE_SNAPSHOT_HEADER || kind > RANGE_SNAPSHOT_ACK)
        return STATUS_CORRUPTION;
    if (checksum64(slice_make(in.at, decoder_left(&in))) != checksum) return STATUS_CORRUPTION;
    struct range_snapshot_frame decoded = {.kind = (enum range_snapshot_kind)kind};
    decoded.range_id = decode_varint(&in);
    decoded.snapshot_id = decode_u64(&in);
    decoded.sequence = decode_varint(&in);
    decoded.body = decode_fixed(&in, decoder_left(&in));
    if (in.failed || decoded.range_id == 0 || decoded.snapshot_id == 0) return STATUS_CORRUPTION;
    bool is_header = decoded.kind == RANGE_SNAPSHOT_HEADER;
    bool is_chunk = decoded.kind == RANGE_SNAPSHOT_CHUNK;
    if ((is_header && decoded.sequence != 0) || (is_chunk && decoded.sequence == 0))
        return STATUS_CORRUPTION;
    *ret_frame = decoded;
    return STATUS_OK;
}

enum status range_snapshot_decode_header(struct slice body,
                                         struct range_snapshot_header *ret_header) {
    struct decoder in = decoder_make(body);
    struct range_snapshot_header header = {.from_node = decode_varint(&in)};
    header.state.applied.index = decode_u64(&in);
    header.state.applied.term = decode_u64(&in);
    header.state.truncated = header.state.applied;
    header.state.last_commit_ts = decode_u64(&in);
    enum status status = range_descriptor_decode(&in, &header.descriptor);
    header.raft_message = decode_bytes(&in);
    if (status == STATUS_OK && !decoder_finished(&in)) status = STATUS_CORRUPTION;
    if (status != STATUS_OK) {
        range_descriptor_done(&header.descriptor);
        return status;
    }
    *ret_header = header;
    return STATUS_OK;
}

enum status range_snapshot_decode_chunk(struct slice body, struct range_snapshot_chunk *ret_chunk) {
    struct decoder in = decoder_make(body);
    uint8_t flags = decode_u8(&in);
    struct range_snapshot_chunk chunk = {.last = flags == FLAG_LAST};
    if (chunk.last) {
        chunk.stream_checksum = decode_u64(&in);
        chunk.record_count = decode_varint(&in);
    }
    if (in.failed || flags > FLAG_LAST) return STATUS_CORRUPTION;
    chunk.records = in;
    *ret_chunk = chunk;
    return STATUS_OK;
}

enum status range_snapshot_decode_ack(struct slice body, enum range_snapshot_verdict *ret_verdict) {
    struct decoder in = decoder_make(body);
    uint8_t verdict = decode_u8(&in);
    if (!decoder_finished(&in) || verdict < RANGE_SNAPSHOT_CONTINUE ||
        verdict > RANGE_SNAPSHOT_REFUSED)
        return STATUS_CORRUPTION;
    *ret_verdict = (enum range_snapshot_verdict)verdict;
    return STATUS_OK;
}

bool range_snapshot_next(struct decoder *records, struct range_snapshot_item *ret_item) {
    if (records->failed || decoder_left(records) == 0) return false;
    struct range_snapshot_item item = {.family = (enum storage_family)decode_u8(records)};
    item.key = decode_bytes(records);
    item.value = decode_bytes(records);
    bool sane =
        item.family == STORAGE_DATA || item.family == STORAGE_LOCK || item.family == STORAGE_META;
    if (!sane || item.key.len == 0) records->failed = true;
    if (records->failed) return false;
    *ret_item = item;
    return true;
}
