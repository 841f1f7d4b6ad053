/* The two ways to stop: a broken invariant of ours, and a fault of the world that we cannot survive
 * honestly. Both write the reason as the last log line, whatever the log level, and abort, so that
 * a core dump shows where. */
#include "base/assert.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

void assert_fail(const char *file, int line, const char *expression) {
    log_write(LOG_ERROR, "assert_failed", "at=%s:%d expression=\"%s\"", file, line, expression);
    abort();
}

void assert_fail_u64(const char *file, int line, const char *expression, uint64_t left,
                     uint64_t right) {
    log_write(LOG_ERROR, "assert_failed",
              "at=%s:%d expression=\"%s\" left=%" PRIu64 " right=%" PRIu64, file, line, expression,
              left, right);
    abort();
}

static fatal_handler *handler_of_fatal;

void fatal_set_handler(fatal_handler *handler) {
    handler_of_fatal = handler;
}

void fatal(const char *format, ...) {
    /* On the stack, because being out of memory is one of the reasons to be here. */
    char reason[1024];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    if (handler_of_fatal) handler_of_fatal(len >= 0 ? reason : format);
    log_write(LOG_ERROR, "fatal", "%s", len >= 0 ? reason : format);
    abort();
}
