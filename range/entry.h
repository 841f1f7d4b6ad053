/* Log entries of a range: what a proposal is made of. The bytes stay in logs and travel between
 * versions, so the format is versioned and fuzzed.
 *
 *   entry    := version u8 (1) ‖ kind u8 ‖ span_version varint ‖ count varint ‖ command*
 *   command  := length varint ‖ encoded txn_command, stamped
 *
 * span_version is the one under which the leader checked the keys. When the range was split or
 * merged in between, every command of the entry is refused at apply, identically on every replica.
 */
#ifndef FLOTILLA_RANGE_ENTRY_H
#define FLOTILLA_RANGE_ENTRY_H

#include "base/codec.h"
#include "base/status.h"

#define RANGE_ENTRY_VERSION 1u

enum range_entry_kind { RANGE_ENTRY_COMMANDS = 1 };

struct range_entry {
    enum range_entry_kind kind;
    uint64_t span_version;
    uint32_t count;
    struct decoder commands; /* for range_entry_next; borrows from the entry */
};

void range_entry_begin(struct buf *out, uint64_t span_version, uint32_t count);
/* Appends one command and returns where its encoded bytes begin in `out`, for the stamp. */
size_t range_entry_add(struct buf *out, struct slice command);

/* Checks the frame of the whole entry, all lengths included. UNSUPPORTED: written by a newer
 * version; CORRUPTION. */
enum status range_entry_decode(struct slice bytes, struct range_entry *ret_entry) MUST_CHECK;
/* The next command; to be called `count` times. */
struct slice range_entry_next(struct range_entry *entry);

#endif
