/* Lets a test read what was logged: the log goes to a pipe. */
#ifndef FLOTILLA_TESTS_BASE_LOG_CAPTURE_H
#define FLOTILLA_TESTS_BASE_LOG_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

struct log_capture {
    int read_fd, write_fd;
    char text[16384];
};

void log_capture_start(struct log_capture *capture);
/* What was logged since the last call, as text. Stays valid until the next call. */
const char *log_capture_read(struct log_capture *capture);

/* True in a child process, which must abort; false in the parent once the child has done so. */
bool fork_and_wait_for_abort(void);

#endif
