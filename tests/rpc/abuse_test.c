/* What strangers and mistakes do to a server. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/prng.h"
#include "tests/rpc/echo.h"

static struct echo_server *echo;
static struct rpc_loop *loop;

static void set_up(void) {
    echo = echo_server_new(NULL);
    loop = rpc_loop_new();
}

static void tear_down(void) {
    rpc_loop_free(loop);
    echo_server_free(echo);
}

TestSuite(rpc_abuse, .init = set_up, .fini = tear_down, .timeout = 60);

static int connect_raw(void) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(rpc_server_port(echo->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void assert_serves(void) {
    struct rpc_client *client = rpc_client_new(loop, echo->address);
    struct echo_answer answer;
    echo_call(loop, client, ECHO_UNARY, SLICE_LITERAL("still here"), 5000000, &answer);
    cr_assert_eq(answer.code, RPC_OK, "%s", answer.text.data);
    echo_answer_done(&answer);
    rpc_client_free(client);
}

/* Bytes of any kind on the port: that connection ends, the server does not. */
Test(rpc_abuse, garbage_on_the_port_harms_nobody) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct prng prng;
    prng_init(&prng, 2024);
    for (int round = 0; round < 60; round++) {
        uint8_t bytes[4096];
        size_t len = prng_between(&prng, 1, sizeof(bytes));
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)prng_next(&prng);
        int fd = connect_raw();
        /* Half of them begin as HTTP/2 does, so that the frame layer meets garbage too. The server
         * may close at any byte, so a failed send is no failure of the test. */
        if (round % 2) (void)!send(fd, preface, sizeof(preface) - 1, MSG_NOSIGNAL);
        (void)!send(fd, bytes, len, MSG_NOSIGNAL);
        (void)close(fd);
    }
    int silent = connect_raw(); /* and one that never says anything */
    assert_serves();
    (void)close(silent);
}

/* A second server on the port must fail, and say why and what to do. */
Test(rpc_abuse, taken_port_is_told) {
    struct rpc_loop *other = rpc_loop_new();
    struct rpc_server_config config = {.listen = echo->address};
    struct rpc_server *second = rpc_server_new(other, &config);
    struct buf error = {0};
    cr_assert_eq(rpc_server_start(second, &error), STATUS_LOCKED);
    buf_append_byte(&error, '\0');
    cr_assert(strstr((const char *)error.data, echo->address), "%s", error.data);
    cr_assert(strstr((const char *)error.data, "another port"), "%s", error.data);
    buf_done(&error);
    rpc_server_free(second);
    rpc_loop_free(other);
    assert_serves();
}

/* So must an address that is none. */
Test(rpc_abuse, unreadable_address_is_told) {
    static const char *const addresses[] = {
        "127.0.0.1", ":", "300.1.1.1:70", "127.0.0.1:port", "127.0.0.1:65536", "127.0.0.1:99999"};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct rpc_server_config config = {.listen = addresses[i]};
        struct rpc_server *server = rpc_server_new(loop, &config);
        struct buf error = {0};
        cr_assert_eq(rpc_server_start(server, &error), STATUS_INVALID, "%s", addresses[i]);
        cr_assert_gt(error.len, 0);
        buf_done(&error);
        rpc_server_free(server);
    }
}

/* The port is free again as soon as the server has been freed. */
Test(rpc_abuse, port_is_free_after_the_server) {
    struct rpc_server_config config = {.listen = "127.0.0.1:0"};
    char address[64];
    for (int round = 0; round < 5; round++) {
        struct rpc_server *server = rpc_server_new(loop, &config);
        struct buf error = {0};
        cr_assert_eq(rpc_server_start(server, &error), STATUS_OK, "%.*s", (int)error.len,
                     (const char *)error.data);
        snprintf(address, sizeof(address), "127.0.0.1:%u", rpc_server_port(server));
        config.listen = address;
        rpc_server_free(server);
    }
}
