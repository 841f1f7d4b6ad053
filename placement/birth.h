/* How the key space is cut when a cluster is born, and who gets which piece. Pure functions. */
#ifndef FLOTILLA_PLACEMENT_BIRTH_H
#define FLOTILLA_PLACEMENT_BIRTH_H

#include "placement/messages.h"

/* Appends the range_count - 1 keys that cut the key space into equal parts by the keys' first two
 * bytes, as (varint length ‖ bytes)*: range i begins at i * 65536 / range_count, big-endian,
 * without a trailing zero byte. Keys of plain text use only a third of that space: such a cluster
 * wants split keys of its own. range_count is 1..PLACEMENT_INITIAL_RANGES_MAX. */
void placement_even_split_keys(struct buf *out, uint32_t range_count);

/* Reads the operator's list (placement_config.split_keys) into the same form. INVALID: `error` says
 * which key and why: empty, not ascending, a bad escape, too many. */
enum status placement_parse_split_keys(const char *text, struct buf *out, uint32_t *ret_count,
                                       struct buf *error) MUST_CHECK;

/* The descriptor of initial range number `number` (from 0): id number + 1, epoch 1/1, replicas on
 * consecutive nodes starting with node `number` modulo their count, so that the first replicas,
 * which are meant to lead, are spread evenly. Replaces ret. Needs replication_factor <= node_count.
 */
void placement_birth_descriptor(uint32_t number, struct slice start, struct slice end,
                                const uint64_t *node_ids, uint32_t node_count,
                                uint32_t replication_factor,
                                struct placement_descriptor *ret_descriptor);

#endif
