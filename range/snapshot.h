/* The snapshot stream between two nodes: header, chunks, acknowledgements.
 *
 *   frame  := version u8 (1) ‖ kind u8 ‖ checksum u64 (of all that follows) ‖
 *             range id varint ‖ snapshot id u64 ‖ sequence varint ‖ body
 *   header := from node varint ‖ applied index u64 ‖ applied term u64 ‖ last commit ts u64 ‖
 *             descriptor ‖ Raft message (length-prefixed)                       sequence 0
 *   chunk  := flags u8 (1: last) ‖ [stream checksum u64, record count varint: in the last one] ‖
 *             (family u8 ‖ key bytes ‖ value bytes)*                            sequence 1..
 *   ack    := verdict u8                 sequence: the one the receiver expects next
 *
 * The sender keeps at most RANGE_SNAPSHOT_WINDOW frames unacknowledged and goes back to the
 * receiver's next expected one after a broken stream; the receiver takes frames in sequence only,
 * so that loss, duplication and reordering cost time but nothing else. Records come in the order of
 * families, keys ascending, as storage_ingest_add wants them. The stream checksum chains over the
 * records of all chunks.
 *
 * The MSG_SNAPSHOT of the Raft core rides in the header, and is stepped only when the last chunk
 * has arrived: for the core a snapshot arrives whole or not at all. */
#ifndef FLOTILLA_RANGE_SNAPSHOT_H
#define FLOTILLA_RANGE_SNAPSHOT_H

#include "base/codec.h"
#include "range/record.h"
#include "storage/engine.h"

#define RANGE_SNAPSHOT_VERSION 1u

enum range_snapshot_kind { RANGE_SNAPSHOT_HEADER = 1, RANGE_SNAPSHOT_CHUNK, RANGE_SNAPSHOT_ACK };

enum range_snapshot_verdict {
    RANGE_SNAPSHOT_CONTINUE = 1, /* send from the sequence on */
    RANGE_SNAPSHOT_BUSY,         /* too many are being received: try the header again later */
    RANGE_SNAPSHOT_UNKNOWN,      /* a chunk of a snapshot that is not being received here */
    RANGE_SNAPSHOT_INSTALLED,    /* durable, or not needed any more */
    RANGE_SNAPSHOT_REFUSED,      /* not for this replica, a stale leader's, or damaged: give up */
};

struct range_snapshot_frame {
    enum range_snapshot_kind kind;
    uint64_t range_id;
    uint64_t snapshot_id; /* chosen by the sender: random, so unique over its restarts too */
    uint64_t sequence;
    struct slice body;
};

struct range_snapshot_header {
    uint64_t from_node;
    struct range_apply_state state;     /* `truncated` is `applied`: the log restarts behind it */
    struct range_descriptor descriptor; /* owned */
    struct slice raft_message;          /* borrows from the frame */
};

struct range_snapshot_chunk {
    bool last;
    uint64_t stream_checksum; /* last only */
    uint64_t record_count;    /* last only: of all chunks */
    struct decoder records;
};

struct range_snapshot_item {
    enum storage_family family;
    struct slice key, value;
};

/* Encoders replace `out` with a whole frame. */
void range_snapshot_encode_header(struct buf *out, uint64_t range_id, uint64_t snapshot_id,
                                  const struct range_snapshot_header *header);
void range_snapshot_encode_ack(struct buf *out, uint64_t range_id, uint64_t snapshot_id,
                               uint64_t next_sequence, enum range_snapshot_verdict verdict);
void range_snapshot_encode_record(struct buf *records, enum storage_family family, struct slice key,
                                  struct slice value);
void range_snapshot_encode_chunk(struct buf *out, uint64_t range_id, uint64_t snapshot_id,
                                 uint64_t sequence, const struct range_snapshot_chunk *chunk,
                                 struct slice records);
/* The checksum of a stream after one more chunk's records. */
uint64_t range_snapshot_chain(uint64_t checksum, struct slice records);

/* CORRUPTION (checksum included); UNSUPPORTED: a newer version. */
enum status range_snapshot_decode(struct slice frame,
                                  struct range_snapshot_frame *ret_frame) MUST_CHECK;
/* The caller frees the descriptor on OK. */
enum status range_snapshot_decode_header(struct slice body,
                                         struct range_snapshot_header *ret_header) MUST_CHECK;
enum status range_snapshot_decode_chunk(struct slice body,
                                        struct range_snapshot_chunk *ret_chunk) MUST_CHECK;
enum status range_snapshot_decode_ack(struct slice body,
                                      enum range_snapshot_verdict *ret_verdict) MUST_CHECK;
/* False at the end, or with records->failed set. */
bool range_snapshot_next(struct decoder *records, struct range_snapshot_item *ret_item);

#endif
