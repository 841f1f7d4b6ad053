/* The words in which traces and membership files speak of the core's state. */
#ifndef FLOTILLA_TESTS_CONFORMANCE_DESCRIBE_H
#define FLOTILLA_TESTS_CONFORMANCE_DESCRIBE_H

#include "raft/configuration.h"
#include "raft/raft.h"

/* Senders and receivers that are not replicas: the storage threads of the asynchronous style. */
#define DESCRIBE_APPEND_THREAD (UINT64_MAX)
#define DESCRIBE_APPLY_THREAD (UINT64_MAX - 1)

const char *describe_role(enum raft_role role);
void describe_conf(struct buf *out, const struct raft_conf_state *conf);
void describe_progress(struct buf *out, const struct raft_progress_view *view);
void describe_entry(struct buf *out, const struct raft_entry *entry);
/* One per line. */
void describe_entries(struct buf *out, const struct raft_entry *entries, uint32_t count);
void describe_hard_state(struct buf *out, const struct raft_hard_state *hard_state);
void describe_snapshot(struct buf *out, struct raft_log_id id, const struct raft_conf_state *conf);
/* `from->to Name Term:… Log:…`, the start of every message. */
void describe_head(struct buf *out, uint64_t from, uint64_t to, const char *name, uint64_t term,
                   struct raft_log_id log);
void describe_message_entries(struct buf *out, const char *indent, const struct raft_entry *entries,
                              uint32_t count);
void describe_message(struct buf *out, const char *indent, const struct raft_message *message);
const char *describe_message_name(enum raft_message_kind kind);

/* `v1 l2 r3 u4`; false on anything else. */
bool parse_changes(const char *text, struct raft_conf_change *ret_change);

#endif
