/* Child processes of the demo: started from this binary, logging to files, and never left behind:
 * the kernel kills them when this process dies, however it dies. */
#ifndef FLOTILLA_CMD_CHILD_H
#define FLOTILLA_CMD_CHILD_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/slice.h"
#include "base/status.h"

struct child {
    char name[24];       /* "node 2" */
    struct buf log_path; /* NUL-terminated; appended to over restarts */
    pid_t pid;           /* 0: not running */
    int wait_status;     /* of the last life, once it has ended */
};

/* Runs this binary with `arguments` (NULL-terminated, without the binary's own name). The process
 * must not have ended its main thread: the kernel's notice goes by thread. IO with a sentence. */
enum status child_start(struct child *child, const char *const *arguments,
                        struct buf *error) MUST_CHECK;
/* Takes note of its end; never waits. */
bool child_running(struct child *child);
void child_signal(struct child *child, int number); /* no effect when not running */
/* Waits for its end, at most so long; true: it has ended. */
bool child_wait(struct child *child, uint64_t timeout_ms);
/* "exited with code 1", "was killed by signal 9 (Killed)", "is running" */
void child_append_state(struct buf *out, const struct child *child);
/* The last lines of its log, each with the name in front. */
void child_print_tail(const struct child *child, FILE *out, unsigned lines);
void child_done(struct child *child); /* kills and reaps it if it still runs */

#endif
