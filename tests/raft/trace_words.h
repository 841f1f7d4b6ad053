/* The words in which our own traces tell what a group does. They are no log text and change only
 * when somebody decides so: traces_test.c compares them. */
#ifndef FLOTILLA_TESTS_RAFT_TRACE_WORDS_H
#define FLOTILLA_TESTS_RAFT_TRACE_WORDS_H

#include "tests/raft/group.h"

/* `1 -> 2 append after 1/10: 2/11 "a", committed 10`, without the line's end. */
void trace_tell_message(struct buf *out, const struct raft_message *message);
/* A line for each thing that the work asks for; nothing for a work without any. */
void trace_tell_ready(struct buf *out, const struct group_node *node,
                      const struct raft_ready *ready);
/* `2/11 "a"`, `2/12 change v4 l5`, `2/13 start of term`. */
void trace_tell_entry(struct buf *out, const struct raft_entry *entry);
void trace_tell_state(struct buf *out, const struct group_node *node);
void trace_tell_progress(struct buf *out, const struct raft_progress_view *view);
/* 0: no such kind. */
int trace_message_kind(const char *name);

#endif
