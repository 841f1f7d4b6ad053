/* Whether a log entry of a range can be applied, as far as its bytes tell: asked before an entry
 * that comes from another node enters the log, and again when it is applied, by which time it may
 * have come from a disk that another process wrote. */
#ifndef FLOTILLA_RANGE_ENTRY_CHECK_H
#define FLOTILLA_RANGE_ENTRY_CHECK_H

#include "raft/raft.h"

/* CORRUPTION, or UNSUPPORTED: of another format version. `why` gets a sentence that says what is
 * wrong. (struct raft_peer_rules.check_entry) */
enum status range_entry_check(const struct raft_entry *entry, struct buf *why) MUST_CHECK;

#endif
