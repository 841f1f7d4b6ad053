/* Who a data directory belongs to: the record in the engine that names the cluster, the node, and
 * the directory itself, and counts its starts. Written before the node first asks placement for an
 * id, completed with the answer; after that each start changes the count and nothing else.
 *
 *   family meta, key 0x00 ‖ 'i'
 *   value  version u8 (2) ‖ cluster id u64 ‖ node id u64 ‖ uuid 16 bytes ‖ starts u64 ‖
 *          checksum64 of all before
 *
 * Ids are 0 until placement has answered. Version 1 had no starts: placement was told the time of
 * the start in their place (milliseconds), so the count goes on from there. */
#ifndef FLOTILLA_CMD_NODE_IDENTITY_H
#define FLOTILLA_CMD_NODE_IDENTITY_H

#include "rpc/placement_client.h"
#include "storage/engine.h"

/* NOT_FOUND: a fresh directory. MISMATCH: it holds data, but a node's it is not (a placement
 * member's, say). CORRUPTION, IO. `error` says what, except for NOT_FOUND. */
enum status node_identity_load(struct storage_engine *engine, struct buf *error,
                               struct placement_identity *ret_identity) MUST_CHECK;
/* Durable on return. */
enum status node_identity_save(struct storage_engine *engine,
                               const struct placement_identity *identity) MUST_CHECK;

#endif
