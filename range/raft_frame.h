/* Frames of Raft messages between two nodes: messages of many ranges in one frame.
 *
 *   frame   := version u8 (1) ‖ message*
 *   message := length u32 (of what follows) ‖ range id varint ‖ conf_version varint ‖ Raft message
 *            | length u32 (of what follows) ‖ range id varint ‖ conf_version varint ‖ removed
 *            | length u32 (of what follows) ‖ 0 varint ‖ beat
 *   removed := 0 u8 (no kind of Raft message) ‖ replica id varint ‖ committed index varint, term
 *              varint ‖ descriptor
 *   beat    := incarnation varint ‖ worker varint ‖ workers varint
 *
 * A beat says for all ranges of a worker that their node is alive (range/liveness.c). The Raft
 * message (raft/message_codec.h) names both replicas. "Removed" tells a replica that it is none any
 * more, by a descriptor that does not list it (range/remove.c). conf_version is the sender's: a
 * receiver that is behind learns so. Snapshots never travel here (range/snapshot.h). */
#ifndef FLOTILLA_RANGE_RAFT_FRAME_H
#define FLOTILLA_RANGE_RAFT_FRAME_H

#include "base/codec.h"
#include "raft/raft.h"
#include "range/descriptor.h"

#define RANGE_RAFT_FRAME_VERSION 1u

struct range_beat {
    uint64_t incarnation;     /* of the sending store: another one after each start; not 0 */
    uint32_t worker, workers; /* which of the sender's workers, and how many it has */
};

struct range_raft_envelope {
    uint64_t range_id; /* 0: a beat */
    uint64_t conf_version;
    struct slice message; /* encoded; borrows from the frame */
    bool removed;         /* message is a range_removed_notice */
    struct range_beat beat;
};

struct range_removed_notice {
    uint64_t replica_id;                /* who is none any more, or is shown whom to ask */
    struct raft_log_id committed;       /* what the sender knows to be */
    struct range_descriptor descriptor; /* of the sender; decoded: owned */
};

void range_raft_frame_begin(struct buf *frame);
void range_raft_frame_add(struct buf *frame, uint64_t range_id, uint64_t conf_version,
                          const struct raft_message *message);
void range_raft_frame_add_beat(struct buf *frame, const struct range_beat *beat);
void range_raft_frame_add_removed(struct buf *frame, const struct range_removed_notice *notice);
/* Appends an envelope taken from another frame: frames are split per worker on arrival. */
void range_raft_frame_copy(struct buf *frame, const struct range_raft_envelope *envelope);

/* Checks the version and every length: a walk over an opened frame cannot fail. CORRUPTION;
 * UNSUPPORTED: a newer version. */
enum status range_raft_frame_open(struct slice frame, struct decoder *ret_messages) MUST_CHECK;
bool range_raft_frame_next(struct decoder *messages, struct range_raft_envelope *ret_envelope);
/* Reads the message of a `removed` envelope; the caller frees the descriptor on OK. CORRUPTION. */
enum status range_raft_frame_decode_removed(struct slice message,
                                            struct range_removed_notice *ret_notice) MUST_CHECK;

#endif
