#include "raft/peer.h"

#include <inttypes.h>

#include "raft/limits.h"

enum { NEVER, ALWAYS, AS_A_MESSAGE /* where the rules say so */ };
enum { ENTRIES = 1, REJECT = 2, FORCE = 4, SNAPSHOT = 8 };

/* kind, when it is sent, what it may carry beyond positions */
#define PEER_KINDS(X)                                              \
    X(APPEND, ALWAYS, ENTRIES)                                     \
    X(APPEND_RESPONSE, ALWAYS, REJECT)                             \
    X(VOTE, ALWAYS, FORCE)                                         \
    X(VOTE_RESPONSE, ALWAYS, REJECT)                               \
    X(PRE_VOTE, ALWAYS, 0)                                         \
    X(PRE_VOTE_RESPONSE, ALWAYS, REJECT)                           \
    X(HEARTBEAT, ALWAYS, 0)                                        \
    X(HEARTBEAT_RESPONSE, ALWAYS, REJECT)                          \
    X(SNAPSHOT, AS_A_MESSAGE, SNAPSHOT)                            \
    X(TIMEOUT_NOW, ALWAYS, 0)                                      \
    X(TRANSFER_LEADER, NEVER, 0) /* leaders only ask themselves */ \
    X(PROPOSE, NEVER, 0)         /* clients are told who leads */  \
    X(READ_INDEX, NEVER, 0)      /* the same */                    \
    X(READ_INDEX_RESPONSE, NEVER, 0)                               \
    X(FORGET_LEADER, NEVER, 0)

static const struct {
    const char *name;
    uint8_t sent, may_carry;
} peer_kinds[] = {
#define PEER_KIND(kind, sent, may_carry) [RAFT_MSG_##kind] = {#kind, sent, may_carry},
    PEER_KINDS(PEER_KIND)
#undef PEER_KIND
};

#define PEER_KIND_COUNT (sizeof(peer_kinds) / sizeof(peer_kinds[0]))

_Static_assert(PEER_KIND_COUNT == RAFT_MSG_FORGET_LEADER + 1, "every kind has its row");

const char *raft_message_name(enum raft_message_kind kind) {
    bool known = (unsigned)kind < PEER_KIND_COUNT && peer_kinds[kind].name;
    return known ? peer_kinds[kind].name : "unknown";
}

const char *raft_entry_kind_name(enum raft_entry_kind kind) {
    switch (kind) {
    case RAFT_ENTRY_NORMAL:
        return "NORMAL";
    case RAFT_ENTRY_CONF_CHANGE:
        return "CONF_CHANGE";
    case RAFT_ENTRY_CONF_CHANGE_V2:
        return "CONF_CHANGE_V2";
    }
    return "unknown";
}

static uint8_t carried(const struct raft_message *message) {
    return (uint8_t)((message->entry_count ? ENTRIES : 0) | (message->reject ? REJECT : 0) |
                     (message->force ? FORCE : 0) | (message->snapshot ? SNAPSHOT : 0));
}

static const char *what_is_wrong(const struct raft_message *message,
                                 const struct raft_peer_rules *rules) {
    bool known = (unsigned)message->kind < PEER_KIND_COUNT;
    uint8_t sent = known ? peer_kinds[message->kind].sent : NEVER;
    if (sent == NEVER || (sent == AS_A_MESSAGE && !rules->snapshots))
        return "no replica sends that kind of message";
    if (message->from == RAFT_NO_REPLICA || message->to == RAFT_NO_REPLICA)
        return "it does not say from whom to whom it is";
    if (message->from == message->to) return "it names one replica as sender and receiver";
    if (message->term == 0 || message->term > RAFT_TERM_MAX) return "its term is none";
    if (carried(message) & ~peer_kinds[message->kind].may_carry)
        return "it carries what such a message has no use for";
    return NULL;
}

static enum status check_entries(const struct raft_message *message,
                                 const struct raft_peer_rules *rules, struct buf *why) {
    struct buf reason = {0};
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < message->entry_count && status == STATUS_OK; i++) {
        const struct raft_entry *entry = &message->entries[i];
        status = rules->check_entry(entry, &reason);
        if (status != STATUS_OK)
            buf_printf(why, "its entry %" PRIu64 " of term %" PRIu64 ", kind %s, %zu bytes: %.*s",
                       entry->id.index, entry->id.term, raft_entry_kind_name(entry->kind),
                       payload_slice(entry->payload).len, (int)reason.len,
                       (const char *)reason.data);
    }
    buf_done(&reason);
    return status == STATUS_OK ? STATUS_OK : STATUS_INVALID;
}

enum status raft_peer_check(const struct raft_message *message, const struct raft_peer_rules *rules,
                            struct buf *why) {
    const char *wrong = what_is_wrong(message, rules);
    if (!wrong) return check_entries(message, rules, why);
    buf_printf(why, "%s", wrong);
    return STATUS_INVALID;
}
