/* Log compaction: a local decision of every replica. */
#ifndef FLOTILLA_RANGE_COMPACT_H
#define FLOTILLA_RANGE_COMPACT_H

#include <stdint.h>

struct range_replica;
struct storage_batch;

void range_compact(struct range_replica *replica, struct storage_batch *batch);
/* Applied entries that a leader keeps although all have them. */
uint64_t range_compact_tail(const struct range_replica *replica);

#endif
