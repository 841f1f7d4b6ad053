/* Connections are let in while there is room for them, and refused while there is none: accept.c.
 * Threads: any. */
#ifndef FLOTILLA_RPC_ACCEPT_H
#define FLOTILLA_RPC_ACCEPT_H

/* Holds a descriptor back, to be able to refuse when there is no other. Idempotent. */
void rpc_accept_prepare(void);

#endif
