/* The records that a replica keeps on disk besides its log and its data.
 *
 * Replica record, STORAGE_META, key 0x00 ‖ 'r' ‖ range id (8, BE):
 *   version u8 (1) ‖ flags u8 (1: tombstone) ‖ replica id varint ‖ descriptor ‖ conf state ‖
 *   [tombstone: committed index varint, term varint]
 * It is written when the replica is created and whenever the descriptor or the configuration
 * changes. A tombstone says that the range's replica was removed here and must not come back under
 * the same id; what it knew to be committed stays for those who still ask for its vote. A record
 * that is no tombstone and whose descriptor does not list the replica is of one that was removed
 * and is yet to be deleted (remove.c).
 *
 * Apply state, STORAGE_RAFT (raft_log state 'a'), in the same batch as the effects it stands for,
 * unless that batch has it in a row that it shares with others (positions.h):
 *   version u8 (1) ‖ applied index u64 ‖ applied term u64 ‖ truncated index u64 ‖ truncated term
 *   u64 ‖ last commit timestamp u64 */
#ifndef FLOTILLA_RANGE_RECORD_H
#define FLOTILLA_RANGE_RECORD_H

#include "raft/raft.h"
#include "range/descriptor.h"

struct range_replica_record {
    bool tombstone;
    uint64_t replica_id;
    struct range_descriptor descriptor; /* owned */
    struct raft_conf_state conf;
    struct raft_log_id committed; /* tombstones */
};

struct range_apply_state {
    struct raft_log_id applied;   /* last entry all of whose effects are in the engine */
    struct raft_log_id truncated; /* last entry that is no longer in the log */
    uint64_t last_commit_ts;      /* of the last command applied, perhaps of the entry behind that;
                                     the next one is above */
};

#define RANGE_RECORD_KEY_BYTES 10u
void range_record_key(uint8_t key[RANGE_RECORD_KEY_BYTES], uint64_t range_id);
/* Bounds of all replica records in STORAGE_META. */
struct slice range_record_begin(void);
struct slice range_record_end(void);

void range_replica_record_encode(struct buf *out, const struct range_replica_record *record);
/* CORRUPTION, UNSUPPORTED (a newer version). The caller frees the descriptor on OK. */
enum status range_replica_record_decode(struct slice bytes,
                                        struct range_replica_record *ret_record) MUST_CHECK;

void range_apply_state_encode(struct buf *out, const struct range_apply_state *state);
enum status range_apply_state_decode(struct slice bytes,
                                     struct range_apply_state *ret_state) MUST_CHECK;
/* False for what no replica can have written. */
bool range_apply_state_sane(const struct range_apply_state *state);

/* The configuration that a descriptor's replicas form: the two say the same at every moment. */
struct raft_conf_state range_conf_from_descriptor(const struct range_descriptor *descriptor);
bool range_conf_equal(const struct raft_conf_state *a, const struct raft_conf_state *b);

#endif
