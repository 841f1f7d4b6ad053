/* Who speaks to whom: checked at the opening of every internal stream, on both sides, so that a
 * node of another cluster, of another protocol version, or at a recycled address is never taken
 * for a peer. Carried as metadata of the call and of its answer:
 *
 *   key                    value (decimal text)
 *   flotilla-protocol      RPC_PROTOCOL_VERSION
 *   flotilla-cluster       cluster id
 *   flotilla-node          the sender's node id; 0: not a node (a router)
 *   flotilla-incarnation   of the node's process (placement/messages.h); 0: not a node's
 *   flotilla-to-node       request only: the node id that is expected to answer; 0: any */
#ifndef FLOTILLA_RPC_HANDSHAKE_H
#define FLOTILLA_RPC_HANDSHAKE_H

#include "base/slice.h"
#include "base/status.h"

#define RPC_PROTOCOL_VERSION 2u

struct rpc_identity {
    uint64_t cluster_id; /* 0: not known yet; internal streams are refused until it is */
    uint64_t node_id;    /* 0: not a node */
    uint64_t incarnation;
};

/* What the other side said; `protocol` 0 when it said nothing. */
struct rpc_handshake {
    uint32_t protocol;
    uint64_t cluster_id, node_id, to_node, incarnation;
};

/* The server's view of a caller, and the caller's view of the server that answered. MISMATCH:
 * `error` names both sides' values and the way out. UNAVAILABLE: own cluster id not known yet. */
enum status rpc_handshake_check_caller(const struct rpc_identity *self,
                                       const struct rpc_handshake *caller,
                                       struct buf *error) MUST_CHECK;
enum status rpc_handshake_check_server(const struct rpc_identity *self, uint64_t to_node,
                                       const struct rpc_handshake *server,
                                       struct buf *error) MUST_CHECK;

#endif
