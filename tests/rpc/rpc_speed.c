/* How fast this folder is on this machine: echoes between two processes. Run by hand:
 *
 *   build/release/tests/rpc/rpc_speed [SECONDS per line]
 *
 * Compare in one run: neighbours on the machine move single figures by a third. */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/histogram.h"
#include "tests/rpc/echo.h"

#define MESSAGE_BYTES 272u /* a key of 16 and a value of 256 */

struct speed {
    struct rpc_loop *loop;
    struct rpc_client *client;
    struct rpc_stream *stream; /* NULL: unary */
    struct histogram latencies;
    uint64_t until_us, in_flight;
    uint64_t sent_us[1024]; /* ring of send times; answers come in order on a stream */
    uint64_t head, tail;
    bool done;
};

static void send_next(struct speed *speed);

static void answered(struct speed *speed, uint64_t sent_us) {
    uint64_t now_us = rpc_loop_now_us(speed->loop);
    histogram_record(&speed->latencies, now_us - sent_us);
    speed->in_flight--;
    if (now_us < speed->until_us)
        send_next(speed);
    else if (speed->in_flight == 0)
        speed->done = true;
}

struct unary {
    struct speed *speed;
    uint64_t sent_us;
};

static void unary_answered(void *ctx, const struct rpc_status *status, struct slice response) {
    struct unary *unary = ctx;
    ASSERT(status->code == RPC_OK && response.len == MESSAGE_BYTES);
    answered(unary->speed, unary->sent_us);
    free(unary);
}

static void send_next(struct speed *speed) {
    static const uint8_t message[MESSAGE_BYTES];
    static const struct rpc_call_options options = {.timeout_us = 10000000, .wait_for_ready = true};
    uint64_t now_us = rpc_loop_now_us(speed->loop);
    speed->in_flight++;
    if (speed->stream) {
        speed->sent_us[speed->tail++ % 1024] = now_us;
        ASSERT(rpc_stream_send(speed->stream, slice_make(message, sizeof(message))) == STATUS_OK);
        return;
    }
    struct unary *unary = malloc(sizeof(*unary));
    ASSERT(unary != NULL);
    *unary = (struct unary){speed, now_us};
    rpc_client_call(speed->client, ECHO_UNARY, slice_make(message, sizeof(message)), &options,
                    unary_answered, unary);
}

static void stream_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct speed *speed = ctx;
    for (size_t at = 0; at < message.len; at += MESSAGE_BYTES)
        answered(speed, speed->sent_us[speed->head++ % 1024]);
}

static void stream_closed(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    ((struct speed *)ctx)->stream = NULL;
}

static const struct rpc_stream_events stream_events = {.on_message = stream_message,
                                                       .on_close = stream_closed};

static double cpu_s(void) {
    struct rusage usage;
    ASSERT(getrusage(RUSAGE_SELF, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void measure(struct speed *speed, const char *name, const char *method, uint64_t in_flight,
                    double seconds) {
    histogram_init(&speed->latencies);
    speed->done = false;
    speed->head = speed->tail = 0;
    if (method) {
        struct rpc_open_options options = {.wait_for_ready = true};
        options.stream.merge = strcmp(method, ECHO_MERGED) == 0;
        speed->stream = rpc_client_open(speed->client, method, &options, &stream_events, speed);
    }
    double cpu_before_s = cpu_s();
    uint64_t start_us = rpc_loop_now_us(speed->loop);
    speed->until_us = start_us + (uint64_t)(seconds * 1e6);
    for (uint64_t i = 0; i < in_flight; i++)
        send_next(speed);
    (void)rpc_loop_run_until(speed->loop, &speed->done, 60000000);
    ASSERT(speed->done);
    double took_s = (double)(rpc_loop_now_us(speed->loop) - start_us) / 1e6;
    double count = (double)speed->latencies.count;
    printf("%-14s %4lu in flight %9.0f/s  p50 %6lu us  p99 %6lu us  client CPU %5.1f us each\n",
           name, in_flight, count / took_s, histogram_quantile(&speed->latencies, 0.5),
           histogram_quantile(&speed->latencies, 0.99), (cpu_s() - cpu_before_s) / count * 1e6);
    if (speed->stream) rpc_stream_close(speed->stream, RPC_CANCELLED, "measured");
    uint64_t give_up_us = rpc_loop_now_us(speed->loop) + 1000000;
    bool never = false;
    while (speed->stream && rpc_loop_now_us(speed->loop) < give_up_us)
        (void)rpc_loop_run_until(speed->loop, &never, 1000);
}

static pid_t start_child(char *address, size_t size) {
    extern char **environ;
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 32);
    ASSERT(len > 0);
    path[len] = '\0';
    char *slash = strrchr(path, '/');
    ASSERT(slash);
    (void)snprintf(slash, 32, "/rpc_echo_child"); /* The room was left by readlink. */
    char *arguments[] = {path, "0", "1", "2", NULL};
    int pipes[2];
    pid_t pid;
    unsigned port = 0;
    posix_spawn_file_actions_t actions;
    ASSERT(pipe(pipes) == 0);
    ASSERT(posix_spawn_file_actions_init(&actions) == 0);
    ASSERT(posix_spawn_file_actions_adddup2(&actions, pipes[1], 1) == 0);
    ASSERT(posix_spawn(&pid, path, &actions, NULL, arguments, environ) == 0);
    (void)posix_spawn_file_actions_destroy(&actions); /* Always succeeds. */
    (void)close(pipes[1]);                            /* The child has its own. */
    FILE *from_child = fdopen(pipes[0], "r");
    ASSERT(from_child && fscanf(from_child, "%u", &port) == 1);
    (void)snprintf(address, size, "127.0.0.1:%u", port);
    (void)fclose(from_child);
    return pid;
}

int main(int count, char **arguments) {
    double seconds = count > 1 ? strtod(arguments[1], NULL) : 1.0;
    char address[32];
    pid_t pid = start_child(address, sizeof(address));
    struct speed *speed = calloc(1, sizeof(*speed));
    ASSERT(speed != NULL);
    speed->loop = rpc_loop_new();
    speed->client = rpc_client_new(speed->loop, address);
    measure(speed, "warm-up", NULL, 1, 0.2);
    measure(speed, "unary", NULL, 1, seconds);
    measure(speed, "unary", NULL, 16, seconds);
    measure(speed, "unary", NULL, 64, seconds);
    measure(speed, "unary", NULL, 256, seconds);
    measure(speed, "stream", ECHO_STREAM, 1, seconds);
    measure(speed, "stream", ECHO_STREAM, 64, seconds);
    measure(speed, "stream, merged", ECHO_MERGED, 1, seconds);
    measure(speed, "stream, merged", ECHO_MERGED, 64, seconds);
    measure(speed, "stream, merged", ECHO_MERGED, 512, seconds);
    rpc_client_free(speed->client);
    rpc_loop_free(speed->loop);
    free(speed);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    return 0;
}
