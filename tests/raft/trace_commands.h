/* Commands of our own traces; tests/raft/traces/README.md lists them. */
#ifndef FLOTILLA_TESTS_RAFT_TRACE_COMMANDS_H
#define FLOTILLA_TESTS_RAFT_TRACE_COMMANDS_H

#include "base/slice.h"

struct trace;

struct trace *trace_new(void);
void trace_free(struct trace *trace);
/* Runs one line and appends what there is to tell. A line that cannot be run tells that, which no
 * golden file should hold: false. */
bool trace_run(struct trace *trace, const char *line, struct buf *out);

#endif
