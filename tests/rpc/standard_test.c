/* The standard services, asked by a foreign client. */
#include <criterion/criterion.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/rpc/echo.h"

TestSuite(rpc_standard, .timeout = 60);

/* Health, reflection and refusals as another implementation of gRPC sees them. */
Test(rpc_standard, foreign_client_understands_us) {
    extern char **environ;
    struct echo_server *echo = echo_server_new(NULL);
    char *arguments[] = {"/usr/bin/python3", FOREIGN_CLIENT, echo->address, NULL};
    pid_t pid;
    int code = -1;
    cr_assert_eq(posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environ), 0);
    cr_assert_eq(waitpid(pid, &code, 0), pid);
    echo_server_free(echo);
    cr_assert(WIFEXITED(code) && WEXITSTATUS(code) == 0, "see the client's output above");
}

/* NOT_FOUND for a service that nobody named; the whole server is "". */
Test(rpc_standard, health_knows_what_it_was_told) {
    struct echo_server *echo = echo_server_new(NULL);
    struct rpc_loop *loop = rpc_loop_new();
    struct rpc_client *client = rpc_client_new(loop, echo->address);
    struct echo_answer answer;
    echo_call(loop, client, "/grpc.health.v1.Health/Check", SLICE_EMPTY, 5000000, &answer);
    cr_assert_eq(answer.code, RPC_OK, "%s", answer.text.data);
    cr_assert(slice_equal(slice_from_buf(&answer.response), SLICE_LITERAL("\x08\x01")));
    echo_answer_done(&answer);
    echo_call(loop, client, "/grpc.health.v1.Health/Check", SLICE_LITERAL("\x0a\x01x"), 5000000,
              &answer);
    cr_assert_eq(answer.code, RPC_NOT_FOUND);
    echo_answer_done(&answer);
    echo_call(loop, client, "/grpc.health.v1.Health/Check", SLICE_LITERAL("\x0a\x7fx"), 5000000,
              &answer);
    cr_assert_eq(answer.code, RPC_INVALID_ARGUMENT);
    echo_answer_done(&answer);
    rpc_client_free(client);
    rpc_loop_free(loop);
    echo_server_free(echo);
}
