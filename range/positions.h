/* Apply states of all ranges of a round in one row, instead of a row for each.
 *
 * With many ranges of a little traffic each, an apply state per range and round was a third of all
 * rows written (docs/performance.md). So a worker writes one row per apply round that holds the
 * states of the ranges in it, in the same batch as their effects, into one of a fixed number of
 * slots, in turn. A range that is only in the row to be overwritten next gets a row of its own in
 * the batch that overwrites it: at every instant the newest state of each range is in the engine,
 * in a slot or in its own row.
 *
 * P1  The state of a replica is the one with the highest applied index, and of these the one with
 *     the highest timestamp, among its own row and the rows of all slots that name it. (States of
 *     one replica only move forward, also in the middle of an entry.)
 * P2  A replica whose own row is older than its state is in the list of one slot, and the row of
 *     that slot holds its state.
 * P3  A row names the replica, not only the range: what an earlier life of the range on this node
 *     left behind is nobody's state.
 * P4  After recovery all states are in rows of their own and the slots are gone, so that a node may
 *     start with another number of workers.
 *
 * Row, STORAGE_RAFT, key 'p' ‖ worker (1) ‖ slot (1):
 *   version u8 (1) ‖ per replica: range id, replica id, applied index, applied term, truncated
 *   index, truncated term, all varint ‖ last commit timestamp u64 */
#ifndef FLOTILLA_RANGE_POSITIONS_H
#define FLOTILLA_RANGE_POSITIONS_H

#include "base/list.h"
#include "range/limits.h"
#include "range/record.h"
#include "storage/engine.h"

struct range_replica;
struct range_worker;

struct range_positions {
    /* Replicas by slot: those whose newest state is there and nowhere else (P2). */
    struct list_node slots[RANGE_POSITION_SLOTS];
    uint32_t next; /* slot of the next round */
    struct buf row;
};

void range_positions_init(struct range_positions *positions);
void range_positions_done(struct range_positions *positions);
/* Puts the states (`applying`) of all replicas of the worker's apply round into its batch. */
void range_positions_put(struct range_worker *worker, struct storage_batch *batch);
/* The replica's own row is its newest state, or it has none any more. */
void range_positions_forget(struct range_replica *replica);

/* ---- recovery ---- */

struct range_position {
    uint64_t range_id, replica_id;
    struct range_apply_state state;
};

/* What the slots hold, of all workers that ever were. */
struct range_position_table {
    struct range_position *items; /* by range, replica, and state */
    size_t count, cap;
};

/* Reads all slots, and deletes them in the batch (P4): whoever writes it puts the states that were
 * only there into rows of their own. CORRUPTION, UNSUPPORTED (a newer version), or the engine's.
 * The table is to be freed also when it fails. */
enum status range_positions_read(struct storage_engine *engine, struct storage_batch *batch,
                                 struct range_position_table *table) MUST_CHECK;
void range_position_table_done(struct range_position_table *table);
/* Replaces the state of the replica's own row if a slot has a newer one; tells whether. */
bool range_positions_resolve(const struct range_position_table *table, uint64_t range_id,
                             uint64_t replica_id, struct range_apply_state *state);
/* One row, for tests and fuzzing: appends to the table. */
enum status range_positions_decode(struct slice row, struct range_position_table *table) MUST_CHECK;

#endif
