/* What every roof needs: a second process, a meter, and a table to show. */
#include "bench/roof.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"

uint64_t roof_now_us(void) {
    return clock_monotonic_us(clock_system());
}

/* ---- peers ---- */

static _Noreturn void become_peer(roof_serve_fn *serve, int announce_fd, pid_t parent) {
    /* The parent may have died before the notice was asked for. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(1);
    serve(announce_fd);
    _exit(1);
}

enum status roof_peer_start(struct roof_peer *peer, roof_serve_fn *serve, struct buf *error) {
    int pipe_fds[2];
    ASSERT_CMP(peer->pid, ==, 0);
    if (pipe(pipe_fds) != 0) {
        buf_printf(error, "cannot make a pipe: %s", strerror(errno));
        return STATUS_IO;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pipe_fds[0]); /* the parent's end */
        become_peer(serve, pipe_fds[1], parent);
    }
    int fork_error = errno;
    (void)close(pipe_fds[1]); /* the child's end: its death ends the read below */
    enum status status = STATUS_OK;
    if (pid < 0) {
        buf_printf(error, "cannot start the peer: %s", strerror(fork_error));
        status = STATUS_IO;
    } else if (read(pipe_fds[0], &peer->port, sizeof(peer->port)) != sizeof(peer->port)) {
        buf_printf(error, "the peer ended before it served; its reason stands above");
        (void)waitpid(pid, NULL, 0); /* it has ended, or is about to */
        status = STATUS_IO;
    } else {
        peer->pid = pid;
    }
    (void)close(pipe_fds[0]); /* only read from */
    return status;
}

void roof_peer_announce(int announce_fd, uint16_t port) {
    ssize_t written = write(announce_fd, &port, sizeof(port));
    ASSERT_CMP(written, ==, sizeof(port));
    (void)close(announce_fd); /* two bytes in a pipe: nothing is left to fail */
}

void roof_peer_stop(struct roof_peer *peer) {
    if (peer->pid == 0) return;
    /* It is not reaped yet, so the id is still its own. */
    ASSERT(kill(peer->pid, SIGKILL) == 0);
    ASSERT(waitpid(peer->pid, NULL, 0) == peer->pid);
    *peer = (struct roof_peer){0};
}

/* ---- the meter ---- */

static uint64_t cpu_us(clockid_t clock) {
    struct timespec spent;
    int failed = clock_gettime(clock, &spent);
    ASSERT_CMP(failed, ==, 0);
    return (uint64_t)spent.tv_sec * 1000000 + (uint64_t)spent.tv_nsec / 1000;
}

static uint64_t peer_cpu_us(const struct roof_peer *peer) {
    clockid_t clock;
    if (!peer) return 0;
    int failed = clock_getcpuclockid(peer->pid, &clock);
    ASSERT_CMP(failed, ==, 0);
    return cpu_us(clock);
}

void roof_meter_begin(struct roof_meter *meter, const struct roof_peer *peer, double seconds) {
    meter->peer = peer;
    meter->units = 0;
    histogram_init(&meter->latencies);
    meter->peer_cpu_start_us = peer_cpu_us(peer);
    meter->cpu_start_us = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
    meter->start_us = roof_now_us();
    meter->until_us = meter->start_us + (uint64_t)(seconds * 1e6);
}

void roof_meter_end(const struct roof_meter *meter, const struct roof_figure *name,
                    struct roof_list *list) {
    double elapsed_us = (double)(roof_now_us() - meter->start_us);
    double own_us = (double)(cpu_us(CLOCK_PROCESS_CPUTIME_ID) - meter->cpu_start_us);
    double peers_us = (double)(peer_cpu_us(meter->peer) - meter->peer_cpu_start_us);
    double units = (double)meter->units;
    ASSERT_CMP(list->count, <, ROOF_FIGURES_MAX);
    struct roof_figure *figure = &list->figures[list->count++];
    *figure = *name;
    if (meter->units == 0) return;
    figure->per_s = units * 1e6 / elapsed_us;
    figure->cpu_us = own_us / units;
    figure->peer_cpu_us = meter->peer ? peers_us / units : -1;
    figure->p50_us = histogram_quantile(&meter->latencies, 0.5);
    figure->p99_us = histogram_quantile(&meter->latencies, 0.99);
}

/* ---- shown ---- */

void roof_append_table(struct buf *out, const struct roof_list *list) {
    buf_printf(out, "%-44s %12s %-8s %10s %10s %9s %9s\n", "", "per second", "", "CPU us each",
               "peer's", "p50 us", "p99 us");
    for (size_t i = 0; i < list->count; i++) {
        const struct roof_figure *figure = &list->figures[i];
        buf_printf(out, "%-44s %12.0f %-8s %11.2f ", figure->text, figure->per_s, figure->unit,
                   figure->cpu_us);
        if (figure->peer_cpu_us >= 0)
            buf_printf(out, "%10.2f", figure->peer_cpu_us);
        else
            buf_printf(out, "%10s", "");
        buf_printf(out, " %9" PRIu64 " %9" PRIu64 "\n", figure->p50_us, figure->p99_us);
    }
}

void roof_append_json(struct buf *out, const struct roof_list *list) {
    cJSON *roofs = json_object();
    for (size_t i = 0; i < list->count; i++) {
        const struct roof_figure *figure = &list->figures[i];
        cJSON *object = json_add_object(roofs, figure->key);
        json_add_text(object, "unit", figure->unit);
        json_add_decimal(object, "per_s", figure->per_s, 0);
        json_add_decimal(object, "cpu_us", figure->cpu_us, 2);
        if (figure->peer_cpu_us >= 0)
            json_add_decimal(object, "peer_cpu_us", figure->peer_cpu_us, 2);
        json_add_u64(object, "p50_us", figure->p50_us);
        json_add_u64(object, "p99_us", figure->p99_us);
    }
    json_print_take(out, roofs);
}
