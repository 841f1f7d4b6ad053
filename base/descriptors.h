/* Open files: how many a process may have, and who may take how many of them.
 *
 * A process that runs out of descriptors fails where it happens to need the next one; when that is
 * the storage engine, it must stop. So they are shared out: the engine may keep half of them open,
 * connections get what is left above a reserve, and whoever knocks when those are taken is refused
 * (rpc/accept.c). Threads: any. */
#ifndef FLOTILLA_BASE_DESCRIPTORS_H
#define FLOTILLA_BASE_DESCRIPTORS_H

#include <stdint.h>

/* What a process asks for at most: every connection costs memory, too. */
#define DESCRIPTORS_MAX 65536u
/* Below this a node or a placement member has no room to work. */
#define DESCRIPTORS_MIN 128u
/* The engine keeps at most this many tables open; more bring nothing. */
#define DESCRIPTORS_ENGINE_MAX 4096u

/* Raises the soft limit to the hard one, DESCRIPTORS_MAX at most. A limit that cannot be raised
 * stays: what is shared out is smaller then. */
void descriptors_raise(void);

/* The soft limit, now. */
uint32_t descriptors_limit(void);

/* How many files the engine may keep open. */
uint32_t descriptors_for_engine(void);

/* A connection's descriptor must be below this number: descriptors are given out from the lowest
 * on, so that many are in use when the next one would be this. */
uint32_t descriptors_connection_end(void);

#endif
