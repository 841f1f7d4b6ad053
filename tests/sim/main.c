/* flotilla_sim: runs seeds, each in a process of its own, several at a time; ends with one line of
 * JSON. Exit code 0 only if every seed kept every rule. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "tests/sim/sim.h"

#define JOBS_MAX 64u
#define FAILED_MAX 1000u
#define PROGRESS_S 2.0
#define SEED_WALL_S 300u /* a run that takes longer hangs */
/* One history of so many may stay unjudged, and one more; else nobody has looked. */
#define UNDECIDED_SHARE 1000u

static const char *const usage =
    "flotilla_sim [--seeds N] [--from S] [--scenario NAME|all] [--minutes M] [--seconds V]\n"
    "             [--jobs J] [--life] [--verbose]\n"
    "\n"
    "Runs whole clusters in virtual time, each made from a seed, hurts and checks them.\n"
    "    --seeds N      how many (default 100; with --minutes: no end)\n"
    "    --from S       the first seed (default 1)\n"
    "    --scenario     what hurts them (default mixed); all: each in turn\n"
    "    --minutes M    begin no more seeds after M minutes by the wall clock\n"
    "    --seconds V    virtual seconds under faults for each seed (default 10)\n"
    "    --jobs J       processes at a time (default: processors)\n"
    "    --life         at the end, what the clusters lived through\n"
    "    --verbose      every fault, restart and leader as it happens; best with --seeds 1\n"
    "Scenarios:\n";

static const char *const every_scenario[] = {
    "mixed",     "calm",      "network", "machines",  "disks",   "leases", "snapshots", "placement",
    "elections", "handovers", "clocks",  "overdrawn", "members", "nights", "backlogs",  "detours"};

struct arguments {
    uint64_t seeds, from, minutes, seconds, jobs;
    const char *scenario;
    bool verbose, life, seeds_given;
};

struct job {
    pid_t pid; /* 0: free */
    uint64_t seed;
    int result; /* the reading end of a pipe */
};

struct totals {
    uint64_t finished, failed_count, virtual_us, events, operations, histories, undecided;
    uint64_t failed[FAILED_MAX];
    uint64_t last_hash;
    struct sim_life life;
    double began_s, told_s;
};

static double now_s(void) {
    struct timespec now;
    int error = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT_CMP(error, ==, 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const char *scenario_of(const struct arguments *arguments, uint64_t seed) {
    if (strcmp(arguments->scenario, "all") != 0) return arguments->scenario;
    return every_scenario[seed % (sizeof(every_scenario) / sizeof(every_scenario[0]))];
}

/* ---- processes ---- */

/* A run lets go of memory and takes it again all the time: the kernel need not know. */
static void keep_freed_memory(void) {
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30); /* refused: it only takes longer */
    (void)mallopt(M_TOP_PAD, 8 << 20);
    (void)mallopt(M_MXFAST, 0); /* else large requests gather what is free, again and again */
}

static _Noreturn void run_child(const struct arguments *arguments, uint64_t seed, int out) {
    struct sim_options options = {.seed = seed,
                                  .scenario = scenario_of(arguments, seed),
                                  .hurt_us = arguments->seconds * 1000000,
                                  .verbose = arguments->verbose};
    struct sim_result result;
    alarm(SEED_WALL_S);
    keep_freed_memory();
    sim_run(&options, &result);
    ssize_t written = write(out, &result, sizeof(result)); /* less than a pipe holds */
    _exit(written == (ssize_t)sizeof(result) ? 0 : 1);
}

static void start(const struct arguments *arguments, struct job *job, uint64_t seed) {
    int ends[2];
    if (pipe(ends) != 0) fatal("cannot make a pipe: %s", strerror(errno));
    job->pid = fork();
    if (job->pid < 0) fatal("cannot start a process: %s", strerror(errno));
    if (job->pid == 0) {
        (void)close(ends[0]); /* nobody else reads */
        run_child(arguments, seed, ends[1]);
    }
    (void)close(ends[1]); /* the child's */
    job->seed = seed;
    job->result = ends[0];
}

static void collect(struct job *job, int status, struct totals *totals) {
    struct sim_result result;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                read(job->result, &result, sizeof(result)) == (ssize_t)sizeof(result);
    (void)close(job->result); /* only read */
    job->pid = 0;
    totals->finished++;
    if (!good) {
        if (WIFSIGNALED(status))
            fprintf(stderr, "seed %" PRIu64 ": the process died of signal %d\n", job->seed,
                    WTERMSIG(status));
        if (totals->failed_count < FAILED_MAX) totals->failed[totals->failed_count] = job->seed;
        totals->failed_count++;
        return;
    }
    totals->virtual_us += result.virtual_us;
    totals->events += result.events;
    totals->operations += result.operations;
    totals->histories += result.histories;
    totals->undecided += result.undecided;
    totals->last_hash = result.trace_hash;
#define ADD(name, text) totals->life.name += result.life.name;
    SIM_LIFE(ADD)
#undef ADD
}

static void wait_for_one(struct job *jobs, struct totals *totals) {
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0) fatal("cannot wait for a process: %s", strerror(errno));
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        if (jobs[i].pid == pid) collect(&jobs[i], status, totals);
    double now = now_s();
    if (now - totals->told_s < PROGRESS_S) return;
    totals->told_s = now;
    fprintf(stderr, "%" PRIu64 " seeds, %" PRIu64 " failed, %.2f simulated hours, %.0f s\n",
            totals->finished, totals->failed_count, (double)totals->virtual_us / 3.6e9,
            now - totals->began_s);
}

static void run_all(const struct arguments *arguments, struct totals *totals) {
    struct job jobs[JOBS_MAX] = {0};
    uint64_t next = 0;
    uint32_t running = 0;
    for (;;) {
        bool more = next < arguments->seeds;
        if (arguments->minutes && now_s() - totals->began_s >= (double)arguments->minutes * 60.0)
            more = false;
        if (more && running < arguments->jobs) {
            uint32_t at = 0;
            while (jobs[at].pid != 0)
                at++;
            start(arguments, &jobs[at], arguments->from + next++);
            running++;
            continue;
        }
        if (running == 0) return;
        wait_for_one(jobs, totals);
        running--;
    }
}

/* ---- the command line ---- */

static bool parse_number(const char *text, uint64_t *ret_number) {
    char *end;
    errno = 0;
    if (!text || *text < '0' || *text > '9') return false;
    *ret_number = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

static bool parse_option(struct arguments *arguments, const char *name, const char *value) {
    if (strcmp(name, "--seeds") == 0) {
        arguments->seeds_given = true;
        return parse_number(value, &arguments->seeds) && arguments->seeds > 0;
    }
    if (strcmp(name, "--from") == 0) return parse_number(value, &arguments->from);
    if (strcmp(name, "--minutes") == 0)
        return parse_number(value, &arguments->minutes) && arguments->minutes > 0;
    if (strcmp(name, "--seconds") == 0)
        return parse_number(value, &arguments->seconds) && arguments->seconds <= 3600;
    if (strcmp(name, "--jobs") == 0)
        return parse_number(value, &arguments->jobs) && arguments->jobs > 0 &&
               arguments->jobs <= JOBS_MAX;
    if (strcmp(name, "--scenario") != 0 || !value) return false;
    arguments->scenario = value;
    return strcmp(value, "all") == 0 || sim_scenario_exists(value);
}

/* 0: run; else the exit code, plus one. */
static int parse(int argc, char **argv, struct arguments *arguments) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("%s", usage);
            sim_scenario_list();
            return 1;
        }
        if (strcmp(argv[i], "--verbose") == 0) {
            arguments->verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--life") == 0) {
            arguments->life = true;
            continue;
        }
        if (!parse_option(arguments, argv[i], argv[i + 1])) {
            fprintf(stderr, "flotilla_sim: bad option or value: %s %s; see --help\n", argv[i],
                    argv[i + 1] ? argv[i + 1] : "");
            return 3;
        }
        i++;
    }
    if (arguments->minutes && !arguments->seeds_given) arguments->seeds = UINT64_MAX;
    return 0;
}

static void print_life(const struct sim_life *life) {
#define PRINT(name, text) fprintf(stderr, "%12" PRIu64 " " text "\n", life->name);
    SIM_LIFE(PRINT)
#undef PRINT
}

int main(int argc, char **argv) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct arguments arguments = {.seeds = 100,
                                  .from = 1,
                                  .seconds = 10,
                                  .jobs = processors < 1                ? 1
                                          : processors > (long)JOBS_MAX ? JOBS_MAX
                                                                        : (uint64_t)processors,
                                  .scenario = "mixed"};
    static struct totals totals;
    int code = parse(argc, argv, &arguments);
    if (code) return code - 1;
    log_set_level(LOG_NONE); /* assertions speak all the same */
    totals.began_s = totals.told_s = now_s();
    run_all(&arguments, &totals);
    bool blind = totals.undecided * UNDECIDED_SHARE > totals.histories + UNDECIDED_SHARE;
    if (totals.undecided)
        fprintf(stderr, "%" PRIu64 " of %" PRIu64 " histories were too hard to judge%s\n",
                totals.undecided, totals.histories, blind ? ": more than may be" : "");
    if (totals.finished == 1)
        fprintf(stderr, "trace %016" PRIx64 ", %" PRIu64 " operations\n", totals.last_hash,
                totals.operations);
    if (arguments.verbose || arguments.life) print_life(&totals.life);
    printf("{\"seeds\":%" PRIu64 ",\"failed\":[", totals.finished);
    uint64_t listed = totals.failed_count < FAILED_MAX ? totals.failed_count : FAILED_MAX;
    for (uint64_t i = 0; i < listed; i++)
        printf("%s%" PRIu64, i ? "," : "", totals.failed[i]);
    printf("],\"simulated_hours\":%.3f,\"wall_s\":%.1f,\"events\":%" PRIu64
           ",\"operations\":%" PRIu64 ",\"histories\":%" PRIu64 ",\"undecided\":%" PRIu64 "}\n",
           (double)totals.virtual_us / 3.6e9, now_s() - totals.began_s, totals.events,
           totals.operations, totals.histories, totals.undecided);
    return totals.failed_count || blind ? 1 : 0;
}
