/* A group driven by hand: its replicas, the messages under way, and the work that waits at the
 * storage threads of each replica in the asynchronous style. */
#ifndef FLOTILLA_TESTS_CONFORMANCE_TRACE_GROUP_H
#define FLOTILLA_TESTS_CONFORMANCE_TRACE_GROUP_H

#include "base/prng.h"
#include "tests/conformance/describe.h"
#include "tests/conformance/trace_storage.h"

#define TRACE_NODES_MAX 16u

/* A message under way, owned. The reports of the storage threads travel like messages. */
enum trace_letter_kind { TRACE_MESSAGE, TRACE_APPEND_DONE, TRACE_APPLY_DONE };

struct trace_letter {
    enum trace_letter_kind kind;
    uint64_t to;
    struct raft_message message; /* entries and snapshot are owned copies */
    struct raft_append append;
    struct raft_conf_state snapshot_conf; /* of append.snapshot */
};

struct trace_letters {
    struct trace_letter *items;
    size_t count, cap;
};

/* What one ready work asked the append thread for. */
struct trace_append_work {
    bool has_hard_state;
    struct raft_hard_state hard_state;
    struct raft_message body; /* entries and snapshot, owned */
    struct trace_letters responses;
};

struct trace_node {
    uint64_t id;
    struct raft *raft;
    bool async;
    struct trace_storage storage;
    struct prng prng;
    struct trace_append_work *append_work; /* oldest first */
    size_t append_count;
    struct trace_letter *apply_work; /* entries in message */
    size_t apply_count;
};

struct trace_group {
    struct trace_node *nodes[TRACE_NODES_MAX]; /* ids from 1 */
    size_t count;
    struct trace_letters letters;
    bool quiet; /* log-level none */
};

struct trace_node *trace_node_of(struct trace_group *group, uint64_t id); /* NULL: none */
void trace_group_done(struct trace_group *group);

/* Each prints what it did. */
void trace_process_ready(struct trace_group *group, struct trace_node *node, struct buf *out);
void trace_process_append(struct trace_group *group, struct trace_node *node, struct buf *out);
void trace_process_apply(struct trace_group *group, struct trace_node *node, struct buf *out);

#define TRACE_ANY_KIND 0

/* Delivers (or drops) the messages to `id`; returns how many there were. */
size_t trace_deliver(struct trace_group *group, uint64_t id, int kind, bool drop, struct buf *out);
size_t trace_waiting(const struct trace_group *group, uint64_t id);
void trace_send(struct trace_group *group, const struct raft_message *message);
void trace_stabilize(struct trace_group *group, struct trace_node **nodes, size_t count,
                     struct buf *out);

/* Appends `text` line by line with two spaces before each. */
void trace_indent(struct buf *out, const struct buf *text);

#endif
