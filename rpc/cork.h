/* Holds the small writes of one turn together, so that they leave as one.
 *
 * The core writes to a socket once per call that is started or answered, and each such write walks
 * the whole network stack and wakes the peer: a quarter of a unary call. While a turn answers many
 * calls, a cork lets the kernel collect what they write (TCP_CORK, tcp(7)) and takes it off at the
 * end of the turn. The first write of a turn is never held back, so a lone call loses nothing.
 *
 * The core does not say which sockets are its own; they are found by their port. Should a
 * descriptor be another socket by the time it is corked, nothing happens but that this socket's
 * writes wait for the end of the turn, too.
 *
 * Loop thread only. */
#ifndef FLOTILLA_RPC_CORK_H
#define FLOTILLA_RPC_CORK_H

#include "rpc/loop.h"

/* More sockets than this are not corked: each would carry too few of a turn's writes to pay for
 * its two system calls. */
#define RPC_CORK_SOCKETS_MAX 8u

enum rpc_cork_side {
    RPC_CORK_ACCEPTED, /* connections to this port of ours */
    RPC_CORK_DIALLED,  /* connections to this port of somebody's */
};

struct rpc_cork {
    struct rpc_loop *loop;
    struct rpc_turn_hook hook;
    enum rpc_cork_side side;
    uint16_t port; /* 0: nothing is corked */
    bool corked;
    uint32_t writes;       /* of the present turn */
    uint64_t look_next_us; /* sockets are looked for again, not before */
    uint32_t socket_count;
    int sockets[RPC_CORK_SOCKETS_MAX];
};

void rpc_cork_init(struct rpc_cork *cork, struct rpc_loop *loop, enum rpc_cork_side side,
                   uint16_t port);
void rpc_cork_done(struct rpc_cork *cork);
/* To be called before each write that may wait for the end of the turn. */
void rpc_cork_before_write(struct rpc_cork *cork);

#endif
