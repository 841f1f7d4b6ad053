/* Who is let in, and who is refused, when descriptors run short. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "tests/rpc/echo.h"

TestSuite(rpc_accept, .timeout = 60);

#define KNOCKING 400u

static struct sockaddr_in address_of(const struct echo_server *echo) {
    const char *colon = strrchr(echo->address, ':');
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(colon + 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return address;
}

/* How many descriptors are in use: the next one's number. */
static rlim_t in_use(void) {
    int fd = open("/dev/null", O_RDONLY);
    cr_assert_geq(fd, 0);
    close(fd);
    return (rlim_t)fd;
}

static void limit_descriptors(rlim_t count) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void expect_served(struct rpc_loop *loop, struct rpc_client *client, const char *when) {
    struct echo_answer answer;
    echo_call(loop, client, ECHO_UNARY, SLICE_LITERAL("x"), 5000000, &answer);
    cr_assert_eq(answer.code, RPC_OK, "%s: %s", when, (const char *)answer.text.data);
    echo_answer_done(&answer);
}

/* Sockets of clients take descriptors of this process, too: they are there before the limit is. */
static void make_sockets(int *sockets) {
    for (size_t i = 0; i < KNOCKING; i++) {
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_geq(sockets[i], 0);
    }
}

static void knock(const struct echo_server *echo, const int *sockets) {
    struct sockaddr_in address = address_of(echo);
    for (size_t i = 0; i < KNOCKING; i++)
        cr_assert_eq(connect(sockets[i], (struct sockaddr *)&address, sizeof(address)), 0);
}

/* The server speaks first (HTTP/2 settings): who hears an end instead of that was refused. */
static size_t count_refused(const int *sockets, size_t at_least) {
    size_t refused = 0;
    bool over[KNOCKING] = {false}; /* it was served or refused */
    for (int round = 0; round < 1000 && refused < at_least; round++) {
        for (size_t i = 0; i < KNOCKING; i++) {
            struct pollfd wait = {.fd = sockets[i], .events = POLLIN};
            char bytes[64];
            if (over[i] || poll(&wait, 1, 0) <= 0) continue;
            ssize_t got = recv(sockets[i], bytes, sizeof(bytes), MSG_DONTWAIT);
            bool ended = got == 0 || (got < 0 && errno == ECONNRESET);
            over[i] = ended || got > 0;
            refused += ended;
        }
        poll(NULL, 0, 5);
    }
    return refused;
}

static void burst(rlim_t limit, size_t refused_min) {
    struct echo_server *echo = echo_server_new(NULL);
    struct rpc_loop *loop = rpc_loop_new();
    struct rpc_client *before = rpc_client_new(loop, echo->address);
    expect_served(loop, before, "before");
    int sockets[KNOCKING];
    make_sockets(sockets);
    struct rlimit usual;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    limit_descriptors(limit ? limit : in_use() + 20);
    knock(echo, sockets);
    cr_expect_geq(count_refused(sockets, refused_min), refused_min);
    expect_served(loop, before, "who was there before");
    for (size_t i = 0; i < KNOCKING; i++)
        close(sockets[i]);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
    struct rpc_client *after = rpc_client_new(loop, echo->address);
    expect_served(loop, after, "a new client, when there is room again");
    rpc_client_free(after);
    rpc_client_free(before);
    rpc_loop_free(loop);
    echo_server_free(echo);
}

/* Connections beyond their share are closed at once, and leave the rest of the descriptors alone.
 */
Test(rpc_accept, connections_leave_the_engine_its_share) {
    /* The sockets of the clients count, too: with this limit there is room for about a hundred. */
    rlim_t limit = 1400;
    burst(limit, 100);
}

/* Without a single free descriptor whoever knocks is refused, and the listener hears the next one.
 */
Test(rpc_accept, a_listener_survives_running_out_of_descriptors) {
    burst(0, KNOCKING - 20);
}

/* What is shared out adds up to less than there is. */
Test(rpc_accept, shares_leave_a_reserve) {
    for (rlim_t limit = DESCRIPTORS_MIN; limit <= 4096; limit *= 2) {
        limit_descriptors(limit);
        uint32_t shared = descriptors_for_engine() + descriptors_connection_end();
        cr_expect_leq(shared, limit - limit / 8);
        cr_expect_geq(descriptors_connection_end(), limit / 4);
    }
}
