#include "tests/storage/children.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/rocksdb_engine.h"

pid_t child_start(child_fn *run, void *ctx) {
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        /* A test that is ended by its time limit must not leave a writer behind. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(run(ctx));
    }
    return pid;
}

int child_wait(pid_t pid) {
    int state = 0;
    while (waitpid(pid, &state, 0) < 0)
        cr_assert_eq(errno, EINTR);
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

int child_run(child_fn *run, void *ctx) {
    return child_wait(child_start(run, ctx));
}

void child_failed(const char *file, int line, const char *expression) {
    fprintf(stderr, "%s:%d: in child: %s\n", file, line, expression);
    _exit(1);
}

struct storage_engine *child_open(const char *directory) {
    return child_open_buffered(directory, 0);
}

struct storage_engine *child_open_buffered(const char *directory, uint64_t write_buffer_bytes) {
    struct rocksdb_engine_config config = {.directory = directory,
                                           .write_buffer_bytes = write_buffer_bytes};
    struct storage_engine *engine = NULL;
    struct buf error = {0};
    if (rocksdb_engine_open(&config, &error, &engine) != STATUS_OK) {
        fprintf(stderr, "%.*s\n", (int)error.len, (const char *)error.data);
        _exit(1);
    }
    return engine;
}
