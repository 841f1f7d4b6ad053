/* A node whose disk is nearly full.
 *
 * The engine must never meet the end of the disk: after a failed write the process has to stop, and
 * a disk that is full does not let it start again. So whoever watches the disk says in time how
 * much room is left (range_store_set_room):
 *
 *   ROOMY   everything
 *   SCARCE  no writes of clients, no snapshots are taken, and those that are being received are
 *           given up, with what is staged of them; leaders are handed over, as when the node
 *           drains, but for as long as it lasts
 *   NONE    nor are entries of other leaders: their appends are dropped, as if the network had
 *           lost them. Heartbeats pass, so that the replica is no candidate, and with room again
 *           it catches up
 *
 * What is in the log already is applied, and what a leader proposes by itself is small. */
#include "range/room.h"

#include "base/assert.h"
#include "range/worker.h"

void range_room_set(struct range_worker *worker, enum range_room room, struct slice text) {
    ASSERT_CMP(room, <=, RANGE_ROOM_NONE);
    worker->room.room = room;
    buf_assign(&worker->room.text, text);
    if (room != RANGE_ROOM_ROOMY) range_snapshot_refuse_staged(worker);
    /* Whoever handed leaderships back may have room by now. */
    if (!worker->draining) range_transfer_forget_returns(worker);
}

bool range_room_takes(const struct range_worker *worker, const struct raft_message *message) {
    return worker->room.room != RANGE_ROOM_NONE || message->kind != RAFT_MSG_APPEND ||
           message->entry_count == 0;
}
