/* The real engine and a power cut: whatever was acknowledged is there when files are cut back to
 * what was synced, names that were not synced are gone, and those that were taken away are back. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/storage/children.h"
#include "tests/storage/harness.h"

struct power_cut {
    char directory[64], root[96], state[96];
    char number[32];
    int acknowledged_fd;
};

/* What was built with this test lies beside it: a copy of a build runs its own. */
static const char *beside(char path[PATH_MAX], const char *name) {
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    CHILD_CHECK(len > 0);
    self[len] = '\0';
    CHILD_CHECK(snprintf(path, PATH_MAX, "%s/%s", dirname(self), name) < PATH_MAX);
    return path;
}

/* Whoever opens the directory writes to it. */
static void note_syncs(const struct power_cut *cut) {
    char library[PATH_MAX];
    CHILD_CHECK(setenv("LD_PRELOAD", beside(library, "libpowercut.so"), 1) == 0);
    CHILD_CHECK(setenv("POWERCUT_ROOT", cut->root, 1) == 0);
    CHILD_CHECK(setenv("POWERCUT_STATE", cut->state, 1) == 0);
}

static int run_writer(void *ctx) {
    struct power_cut *cut = ctx;
    CHILD_CHECK(dup2(cut->acknowledged_fd, STDOUT_FILENO) >= 0);
    char writer[PATH_MAX];
    (void)beside(writer, "powercut_writer");
    note_syncs(cut);
    execl(writer, writer, cut->root, (char *)NULL);
    return 1;
}

static int run_cut(void *ctx) {
    struct power_cut *cut = ctx;
    char program[PATH_MAX];
    (void)beside(program, "powercut");
    execl(program, program, cut->state, cut->root, cut->number, (char *)NULL);
    return 1;
}

static int run_verifier(void *ctx) {
    struct power_cut *cut = ctx;
    char writer[PATH_MAX];
    (void)beside(writer, "powercut_writer");
    note_syncs(cut);
    execl(writer, writer, cut->root, cut->number, (char *)NULL);
    return 1;
}

/* The last number that was acknowledged before the writer was killed. */
static uint64_t write_until_killed(struct power_cut *cut, useconds_t us) {
    int fds[2];
    uint64_t number = 0, last = 0;
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cut->acknowledged_fd = fds[1];
    pid_t pid = child_start(run_writer, cut);
    close(fds[1]);
    cr_assert_eq(read(fds[0], &last, sizeof(last)), sizeof(last));
    usleep(us);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(child_wait(pid), 128 + SIGKILL);
    while (read(fds[0], &number, sizeof(number)) == sizeof(number))
        last = number;
    close(fds[0]);
    return last;
}

/* A SIGKILL alone loses nothing that was written; here what was not synced is lost, too: all of it,
 * or a part. Cut, opened, written to and cut again. */
Test(rocksdb_power_cut, keeps_what_was_acknowledged, .timeout = 120) {
    struct power_cut cut;
    struct prng prng;
    char kept[128];
    prng_init(&prng, 7);
    scratch_directory(cut.directory);
    snprintf(cut.root, sizeof(cut.root), "%s/data", cut.directory);
    snprintf(cut.state, sizeof(cut.state), "%s/state", cut.directory);
    snprintf(kept, sizeof(kept), "%s/kept", cut.state);
    cr_assert(mkdir(cut.root, 0755) == 0 && mkdir(cut.state, 0755) == 0 && mkdir(kept, 0755) == 0);
    uint64_t acknowledged = 0;
    for (unsigned round = 0; round < 12; round++) {
        uint64_t last = write_until_killed(&cut, (useconds_t)prng_below(&prng, 300000));
        cr_assert_gt(last, acknowledged);
        acknowledged = last;
        snprintf(cut.number, sizeof(cut.number), "%llu",
                 round % 3 == 0 ? 0ull : (unsigned long long)prng_next(&prng) >> 1 | 1);
        cr_assert_eq(child_run(run_cut, &cut), 0);
        snprintf(cut.number, sizeof(cut.number), "%llu", (unsigned long long)acknowledged);
        if (round % 2) continue; /* the writer itself opens what was cut */
        cr_assert_eq(child_run(run_verifier, &cut), 0, "round %u, acknowledged %s", round,
                     cut.number);
    }
    remove_tree(cut.directory);
}
