/* Bytes of a Raft message and of a log entry, on the wire and on disk (layout tables in the .c
 * file). Fuzzed: any input is either decoded or refused, never trusted. */
#ifndef FLOTILLA_RAFT_MESSAGE_CODEC_H
#define FLOTILLA_RAFT_MESSAGE_CODEC_H

#include "base/arena.h"
#include "base/codec.h"
#include "raft/raft.h"

void raft_encode_message(struct buf *out, const struct raft_message *message);
/* Entries array and snapshot are allocated in `arena`; payloads are new references that the caller
 * drops with raft_message_done after stepping. CORRUPTION. */
enum status raft_decode_message(struct decoder *in, struct arena *arena,
                                struct raft_message *ret_message) MUST_CHECK;
void raft_message_done(struct raft_message *message);

/* A stored log entry: term, kind, payload (its index is in its key). */
void raft_encode_entry(struct buf *out, const struct raft_entry *entry);
enum status raft_decode_entry(struct slice bytes, uint64_t index,
                              struct raft_entry *ret_entry) MUST_CHECK;

void raft_encode_hard_state(struct buf *out, const struct raft_hard_state *hard_state);
enum status raft_decode_hard_state(struct slice bytes, struct raft_hard_state *ret) MUST_CHECK;
void raft_encode_conf_state(struct buf *out, const struct raft_conf_state *conf);
enum status raft_decode_conf_state(struct decoder *in, struct raft_conf_state *ret) MUST_CHECK;

#endif
