#include "log_capture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

void log_capture_start(struct log_capture *capture) {
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    capture->read_fd = ends[0];
    capture->write_fd = ends[1];
    log_set_fd(capture->write_fd);
}

const char *log_capture_read(struct log_capture *capture) {
    ssize_t len = read(capture->read_fd, capture->text, sizeof(capture->text) - 1);
    capture->text[len > 0 ? len : 0] = 0;
    return capture->text;
}

bool fork_and_wait_for_abort(void) {
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        /* The abort is wanted, its core dump is not. */
        struct rlimit no_core = {0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL);
        return true;
    }
    int outcome;
    cr_assert_eq(waitpid(child, &outcome, 0), child);
    cr_assert(WIFSIGNALED(outcome) && WTERMSIG(outcome) == SIGABRT, "outcome %#x", outcome);
    return false;
}
