#include "cmd/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/memory.h"
#include "cmd/signals.h"

#define ARGUMENTS_MAX 64u
#define WAIT_POLL_MS 5u
#define TAIL_BYTES 16384

/* Between fork and exec only async-signal-safe calls are allowed: other threads of the parent may
 * have held any lock. */
static _Noreturn void become(const struct child *child, char *const *argv, pid_t parent) {
    signals_restore_in_child();
    /* A group of its own: Ctrl-C at the terminal is for the parent, which stops children in order.
     */
    (void)setpgid(0, 0); /* only fails for a session leader, which has its own group already */
    int log_fd =
        open((const char *)child->log_path.data, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool ready = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && log_fd >= 0 && null_fd >= 0 &&
                 dup2(null_fd, 0) == 0 && dup2(log_fd, 1) == 1 && dup2(log_fd, 2) == 2;
    /* The parent may have died before the notice was asked for. */
    if (ready && getppid() == parent) execv("/proc/self/exe", argv);
    _exit(127);
}

enum status child_start(struct child *child, const char *const *arguments, struct buf *error) {
    ASSERT_CMP(child->pid, ==, 0);
    char *argv[ARGUMENTS_MAX];
    char binary[] = "flotilla";
    size_t count = 0;
    argv[count++] = binary;
    for (; *arguments; arguments++) {
        ASSERT_CMP(count, <, ARGUMENTS_MAX - 1);
        argv[count++] = (char *)(uintptr_t)*arguments; /* exec takes them as writable and is not */
    }
    argv[count] = NULL;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        buf_printf(error, "cannot start %s: %s", child->name, strerror(errno));
        return STATUS_IO;
    }
    if (pid == 0) become(child, argv, parent);
    child->pid = pid;
    return STATUS_OK;
}

bool child_running(struct child *child) {
    if (child->pid == 0) return false;
    pid_t pid = waitpid(child->pid, &child->wait_status, WNOHANG);
    if (pid == 0) return true;
    ASSERT_CMP(pid, ==, child->pid); /* nobody else reaps */
    child->pid = 0;
    return false;
}

void child_signal(struct child *child, int number) {
    if (child->pid == 0) return;
    /* It is not reaped yet, so the id is still its own. */
    ASSERT(kill(child->pid, number) == 0);
}

bool child_wait(struct child *child, uint64_t timeout_ms) {
    for (uint64_t waited_ms = 0; child_running(child); waited_ms += WAIT_POLL_MS) {
        if (waited_ms >= timeout_ms) return false;
        struct timespec pause = {.tv_nsec = WAIT_POLL_MS * 1000000};
        (void)nanosleep(&pause, NULL); /* cut short is fine */
    }
    return true;
}

void child_append_state(struct buf *out, const struct child *child) {
    int status = child->wait_status;
    if (child->pid != 0)
        buf_printf(out, "is running");
    else if (WIFSIGNALED(status))
        buf_printf(out, "was killed by signal %d (%s)", WTERMSIG(status),
                   strsignal(WTERMSIG(status)));
    else
        buf_printf(out, "exited with code %d", WEXITSTATUS(status));
}

void child_print_tail(const struct child *child, FILE *out, unsigned lines) {
    FILE *log = child->log_path.len ? fopen((const char *)child->log_path.data, "re") : NULL;
    if (!log) return;
    char *text = memory_alloc(TAIL_BYTES);
    struct stat file;
    long size = fstat(fileno(log), &file) == 0 ? (long)file.st_size : 0;
    if (size > TAIL_BYTES) (void)fseek(log, size - TAIL_BYTES, SEEK_SET); /* else from the start */
    size_t len = fread(text, 1, TAIL_BYTES, log);
    (void)fclose(log); /* only read from */
    size_t start = len;
    for (unsigned seen = 0; start > 0; start--)
        if (text[start - 1] == '\n' && start != len && ++seen == lines) break;
    while (start < len) {
        const char *line = text + start;
        const char *end = memchr(line, '\n', len - start);
        size_t line_len = end ? (size_t)(end - line) : len - start;
        fprintf(out, "%s | %.*s\n", child->name, (int)line_len, line);
        start += line_len + 1;
    }
    memory_free(text);
}

void child_done(struct child *child) {
    child_signal(child, SIGKILL);
    if (child->pid != 0) (void)child_wait(child, 10000); /* a killed process ends */
    buf_done(&child->log_path);
}
