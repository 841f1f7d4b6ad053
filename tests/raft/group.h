/* A group for tests that tell a story step by step: nothing moves but when asked, nothing is
 * random. Replicas are 1..n. The disk of each is synced at once unless it is held. */
#ifndef FLOTILLA_TESTS_RAFT_GROUP_H
#define FLOTILLA_TESTS_RAFT_GROUP_H

#include <criterion/criterion.h>

#include "raft/internal.h"
#include "tests/raft/disk.h"

#define GROUP_MAX 7u
#define GROUP_TICK_US 1000u

/* What can be seen of a group from outside, in the order in which it happens. */
enum group_event_kind {
    GROUP_READY,     /* a replica handed out work: node, ready */
    GROUP_SENT,      /* a message left: message, lost */
    GROUP_DELIVERED, /* a message was taken in: message, status */
    GROUP_APPLIED,   /* an entry was applied: node, entry */
};

struct group_node;

struct group_event {
    enum group_event_kind kind;
    const struct group_node *node;
    const struct raft_ready *ready;
    const struct raft_message *message;
    bool lost; /* by a cut link, or a kind that is lost */
    enum status status;
    const struct raft_entry *entry;
};

struct group_watcher {
    void *ctx;
    void (*see)(void *ctx, const struct group_event *event); /* NULL: nobody looks */
};

struct group_node {
    uint64_t id;
    struct raft *raft;
    struct raft_config config;
    struct disk disk;
    bool disk_held, apply_held;
    struct raft_ready works[256]; /* borrowed: the core keeps what they point at */
    uint32_t work_count;
    struct raft_entry to_apply[512]; /* with references */
    uint32_t to_apply_count;
    uint64_t applied;
    struct raft_conf_state conf;
    struct buf state; /* concatenation of what was applied */
    struct raft_read_state reads[64];
    uint32_t read_count;
    uint64_t random; /* what the core draws next */
    uint64_t now_us;
};

struct group {
    struct group_node nodes[GROUP_MAX + 1]; /* [id] */
    uint64_t count;
    struct raft_message *messages; /* under way, in order; owned copies */
    size_t message_count, message_cap;
    bool cut[GROUP_MAX + 1][GROUP_MAX + 1]; /* from, to */
    bool lost[RAFT_MSG_FORGET_LEADER + 1];  /* kinds that the network loses */
    size_t sent[RAFT_MSG_FORGET_LEADER + 1];
    struct group_watcher watcher;
};

/* Voters 1..voters of a group that was born at index 10, term 1; `config` may be NULL. */
struct group *group_new(uint64_t voters, const struct raft_config *config);
/* A configuration to start from: ten ticks to an election, asynchronous writes. */
struct raft_config group_config(void);
void group_free(struct group *group);
/* One more replica that knows of nobody. */
struct group_node *group_add(struct group *group, const struct raft_config *config);

/* Everything that is ready and under way, until nothing is left. */
void group_settle(struct group *group);
/* What one replica has ready; messages wait. */
void group_drain(struct group *group, uint64_t id);
/* One ready work. */
void group_take_ready(struct group *group, uint64_t id);
/* Delivers the oldest message under way to `id` (0: to anybody), of a kind (0: any) or discards it.
 * False: there is none. */
bool group_deliver(struct group *group, uint64_t id, int kind);
bool group_discard(struct group *group, uint64_t id, int kind);
/* One replica's held writes become durable. */
void group_sync(struct group *group, uint64_t id);
void group_apply(struct group *group, uint64_t id);
/* A crash: what was not synced is gone; the replica starts again. */
void group_restart(struct group *group, uint64_t id);
void group_drop_messages(struct group *group);
void group_isolate(struct group *group, uint64_t id);
void group_heal(struct group *group);

void group_elect(struct group *group, uint64_t id); /* and settles */
enum status group_propose(struct group *group, uint64_t id, const char *text);
void group_write(struct group *group, uint64_t id, const char *text); /* accepted, and settled */
void group_tick(struct group *group, uint64_t id, uint32_t ticks);
void group_set_now(struct group *group, uint64_t now_us);
enum status group_step(struct group *group, uint64_t id, struct raft_message message);
/* The newest message of a kind from one to another, or NULL. */
const struct raft_message *group_find(const struct group *group, enum raft_message_kind kind,
                                      uint64_t from, uint64_t to);
size_t group_count(const struct group *group, enum raft_message_kind kind, uint64_t to);
struct raft_progress_view group_progress(const struct group *group, uint64_t leader, uint64_t id);
struct raft_view group_view(const struct group *group, uint64_t id);
/* All applied the same, and this. */
void group_expect_state(const struct group *group, const char *text);
/* Terms of the entries of a log, as text: "1 1 2". */
void group_set_log(struct group_node *node, const uint64_t *terms, uint32_t count);

#endif
