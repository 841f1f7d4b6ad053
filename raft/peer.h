/* What one replica may be told by another: checked before a message goes into the core, so that one
 * frame of a broken peer costs a connection and not a group. The core serves forwarded proposals,
 * wishes and reads too, for owners that send them; no owner in this program does, and what nobody
 * sends is refused here. What is to enter a log is decoded first: an entry that cannot be applied
 * would stop every replica, again after each restart. */
#ifndef FLOTILLA_RAFT_PEER_H
#define FLOTILLA_RAFT_PEER_H

#include "raft/raft.h"

struct raft_peer_rules {
    bool snapshots; /* whole ones travel inside messages; else on a stream of their own */
    /* The owner's format. OK, or anything else with a sentence about the entry in `why`. */
    enum status (*check_entry)(const struct raft_entry *entry, struct buf *why);
};

/* INVALID: no correct peer sends that; `why` says what is wrong with it. */
enum status raft_peer_check(const struct raft_message *message, const struct raft_peer_rules *rules,
                            struct buf *why) MUST_CHECK;

const char *raft_message_name(enum raft_message_kind kind);
const char *raft_entry_kind_name(enum raft_entry_kind kind);

#endif
