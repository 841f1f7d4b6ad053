/* The client's side of the echo tests, and child processes. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rpc/echo.h"

static void keep_status(struct echo_answer *answer, const struct rpc_status *status) {
    answer->code = status->code;
    buf_assign(&answer->text, status->text);
    buf_append_byte(&answer->text, '\0');
    answer->done = true;
}

void echo_on_response(void *ctx, const struct rpc_status *status, struct slice response) {
    struct echo_answer *answer = ctx;
    cr_assert(!answer->done, "answered twice");
    keep_status(answer, status);
    buf_assign(&answer->response, response);
}

static void client_open(void *ctx, struct rpc_stream *stream) {
    struct echo_answer *answer = ctx;
    answer->opened++;
}

static void client_message(void *ctx, struct rpc_stream *stream, struct slice message) {
    struct echo_answer *answer = ctx;
    answer->messages++;
    buf_assign(&answer->response, message);
}

static void client_close(void *ctx, struct rpc_stream *stream, const struct rpc_status *status) {
    struct echo_answer *answer = ctx;
    cr_assert_eq(answer->closed, 0, "closed twice");
    answer->closed++;
    keep_status(answer, status);
}

const struct rpc_stream_events echo_client_events = {
    .on_open = client_open, .on_message = client_message, .on_close = client_close};

void echo_answer_done(struct echo_answer *answer) {
    buf_done(&answer->text);
    buf_done(&answer->response);
    *answer = (struct echo_answer){0};
}

void echo_call(struct rpc_loop *loop, struct rpc_client *client, const char *method,
               struct slice request, uint64_t timeout_us, struct echo_answer *ret_answer) {
    struct rpc_call_options options = {.timeout_us = timeout_us, .wait_for_ready = true};
    *ret_answer = (struct echo_answer){0};
    rpc_client_call(client, method, request, &options, echo_on_response, ret_answer);
    cr_assert(!ret_answer->done, "answered before the call returned");
    ECHO_WAIT(loop, ret_answer->done);
}

/* ---- child processes ---- */

static void path_of_child(char *path, size_t size) {
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    cr_assert_gt(len, 0);
    self[len] = '\0';
    (void)snprintf(path, size, "%s/rpc_echo_child", dirname(self));
}

void echo_child_start(struct echo_child *child, uint16_t port,
                      const struct rpc_identity *identity) {
    extern char **environ;
    char path[4200], port_text[8], cluster[24], node[24];
    int pipes[2];
    posix_spawn_file_actions_t actions;
    path_of_child(path, sizeof(path));
    (void)snprintf(port_text, sizeof(port_text), "%u", port);
    (void)snprintf(cluster, sizeof(cluster), "%lu", identity->cluster_id);
    (void)snprintf(node, sizeof(node), "%lu", identity->node_id);
    char *arguments[] = {path, port_text, cluster, node, NULL};
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    cr_assert_eq(posix_spawn_file_actions_init(&actions), 0);
    cr_assert_eq(posix_spawn_file_actions_adddup2(&actions, pipes[1], 1), 0);
    cr_assert_eq(posix_spawn(&child->pid, path, &actions, NULL, arguments, environ), 0, "%s", path);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipes[1]);
    FILE *from_child = fdopen(pipes[0], "r");
    cr_assert_not_null(from_child);
    unsigned bound = 0;
    cr_assert_eq(fscanf(from_child, "%u", &bound), 1, "the child did not say its port");
    child->port = (uint16_t)bound;
    (void)snprintf(child->address, sizeof(child->address), "127.0.0.1:%u", bound);
    (void)fclose(from_child);
}

void echo_child_kill(struct echo_child *child) {
    if (child->pid == 0) return;
    cr_assert_eq(kill(child->pid, SIGKILL), 0);
    cr_assert_eq(waitpid(child->pid, NULL, 0), child->pid);
    child->pid = 0;
}
