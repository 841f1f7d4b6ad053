/* A server that echoes, on a loop with a thread of its own, and small helpers that wait: shared by
 * the tests of rpc/. */
#ifndef FLOTILLA_TESTS_RPC_ECHO_H
#define FLOTILLA_TESTS_RPC_ECHO_H

#include <pthread.h>

#include <sys/types.h>

#include "rpc/client.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "rpc/server.h"

#define ECHO_UNARY "/test.Echo/Unary"
#define ECHO_HANG "/test.Echo/Hang"         /* never answers until the server goes */
#define ECHO_STREAM "/test.Echo/Stream"     /* open to all */
#define ECHO_MERGED "/test.Echo/Merged"     /* the same; messages may be merged */
#define ECHO_INTERNAL "/test.Echo/Internal" /* the same, with the handshake */
#define ECHO_HELD "/test.Echo/Held"         /* open to all; small queue, hold_back on */
#define ECHO_DEAF "/test.Echo/Deaf"         /* floods the client: small queue, hold_back off */

struct echo_server {
    struct rpc_loop *loop;
    struct rpc_server *server;
    struct rpc_health *health;
    struct rpc_reflection *reflection;
    pthread_t thread;
    char address[64];
    struct rpc_call *hanging[64];
    size_t hanging_count;
    _Atomic uint64_t messages, opened, closed, hung;
    _Atomic uint64_t last_timeout_us;
    _Atomic uint64_t flood_sent; /* messages the deaf stream's queue took before BUSY */
};

/* Configuration: NULL listens on a free port of 127.0.0.1. Serves when it returns. */
struct echo_server *echo_server_new(const struct rpc_server_config *config);
void echo_server_free(struct echo_server *echo);

/* The same in a process of its own, to be killed or stopped. */
struct echo_child {
    pid_t pid;
    uint16_t port;
    char address[64];
};

/* Port 0: any. The child serves when this returns. */
void echo_child_start(struct echo_child *child, uint16_t port, const struct rpc_identity *identity);
void echo_child_kill(struct echo_child *child); /* SIGKILL; no effect when it is gone */

/* Copies of what came back, for assertions. */
struct echo_answer {
    bool done;
    enum rpc_code code;
    struct buf text;     /* zero-terminated */
    struct buf response; /* last message */
    uint64_t messages, opened, closed;
};

void echo_answer_done(struct echo_answer *answer);
void echo_on_response(void *ctx, const struct rpc_status *status, struct slice response);
extern const struct rpc_stream_events echo_client_events;

/* One unary call, waited for. */
void echo_call(struct rpc_loop *loop, struct rpc_client *client, const char *method,
               struct slice request, uint64_t timeout_us, struct echo_answer *ret_answer);
/* Turns the loop until the condition holds; fails the test after 15 s (sanitizers are slow). */
#define ECHO_WAIT(loop, condition)                                                             \
    do {                                                                                       \
        uint64_t echo_until_us_ = rpc_loop_now_us(loop) + 15000000;                            \
        while (!(condition)) {                                                                 \
            static const bool echo_never_ = false;                                             \
            (void)rpc_loop_run_until(loop, &echo_never_, 2000);                                \
            cr_assert_lt(rpc_loop_now_us(loop), echo_until_us_, "waited for: %s", #condition); \
        }                                                                                      \
    } while (0)

#endif
