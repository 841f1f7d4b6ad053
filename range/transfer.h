/* Leadership handed over on request and when draining. */
#ifndef FLOTILLA_RANGE_TRANSFER_H
#define FLOTILLA_RANGE_TRANSFER_H

#include "base/list.h"
#include <stdbool.h>
#include <stdint.h>

struct range_pending;
struct range_replica;
struct range_worker;

/* Of a replica. */
struct range_replica_transfer {
    struct list_node requests; /* struct range_pending, of clients */
    uint64_t to_node;          /* that leadership was last offered to; 0: none */
    uint64_t retry_us;         /* draining: not before */
    uint64_t leads_since_us;
    uint32_t offered;  /* draining: bit of the replica (its place in the descriptor) that was last
                        * asked to lead; 0: none yet */
    uint32_t returned; /* draining: bits of those that led and did not keep it */
    bool given_up;     /* draining, and nobody is left that might keep the leadership */
};

void range_transfer_request(struct range_pending *pending);
void range_transfer_to_node(struct range_worker *worker, uint64_t range_id, uint64_t to_node);
void range_transfer_drain(struct range_worker *worker);
void range_transfer_decline(struct range_worker *worker);
/* All may be asked again to lead, also those who handed it back. */
void range_transfer_forget_returns(struct range_worker *worker);
/* Draining: the replica leads again. */
void range_transfer_returned(struct range_replica *replica);
void range_transfer_follow(struct range_replica *replica);

#endif
