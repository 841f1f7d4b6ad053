/* Runs a piece of a test in a child process. The parent never opens RocksDB itself, because its
 * background threads do not survive a fork; so every open of a crash test is in a child. */
#ifndef FLOTILLA_TESTS_STORAGE_CHILDREN_H
#define FLOTILLA_TESTS_STORAGE_CHILDREN_H

#include <sys/types.h>

#include "storage/engine.h"

typedef int child_fn(void *ctx); /* returns the exit code */

pid_t child_start(child_fn *run, void *ctx);
/* The exit code, or 128 + the signal that ended it. */
int child_wait(pid_t pid);
int child_run(child_fn *run, void *ctx);

/* For use in children, where a failed assertion of the framework would not be seen: says what was
 * expected on standard error and exits with 1. */
#define CHILD_CHECK(expression)                                           \
    do {                                                                  \
        if (!(expression)) child_failed(__FILE__, __LINE__, #expression); \
    } while (0)
_Noreturn void child_failed(const char *file, int line, const char *expression);

/* Both must succeed. Small write buffers make tables out of little data; 0: the default. */
struct storage_engine *child_open(const char *directory);
struct storage_engine *child_open_buffered(const char *directory, uint64_t write_buffer_bytes);

#endif
