/* The cork over real sockets: which writes wait, and that none waits beyond its turn. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/cork.h"

static struct rpc_loop *loop;
static struct rpc_cork cork;
static int near, far; /* the two ends; `near` is corked */
static uint16_t port;

static void connect_both(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    port = ntohs(address.sin_port);
    far = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(far, (struct sockaddr *)&address, sizeof(address)), 0);
    near = accept(listener, NULL, NULL);
    cr_assert_geq(near, 0);
    int one = 1;
    cr_assert_eq(setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    (void)close(listener); /* nothing was written to it */
}

static void set_up(void) {
    loop = rpc_loop_new();
    connect_both();
}

static void tear_down(void) {
    rpc_cork_done(&cork);
    (void)close(near); /* read by nobody any more */
    (void)close(far);
    rpc_loop_free(loop);
}

TestSuite(rpc_cork, .init = set_up, .fini = tear_down, .timeout = 20);

static void write_one(void) {
    rpc_cork_before_write(&cork);
    cr_assert_eq(send(near, "x", 1, MSG_NOSIGNAL), 1);
}

static bool is_corked(void) {
    int on = 0;
    socklen_t len = sizeof(on);
    cr_assert_eq(getsockopt(near, IPPROTO_TCP, TCP_CORK, &on, &len), 0);
    return on != 0;
}

/* Waits for as many bytes: even loopback may deliver later. */
static void expect_arrival(size_t count) {
    char bytes[16];
    cr_assert_eq(recv(far, bytes, count, MSG_WAITALL), (ssize_t)count);
}

static void set_done(void *ctx) {
    *(bool *)ctx = true;
}

static void one_turn(void) {
    bool done = false;
    rpc_loop_call(loop, set_done, &done);
    cr_assert(rpc_loop_run_until(loop, &done, 10000000));
}

/* A lone call must not wait; what follows in the same turn leaves together, at its end. */
Test(rpc_cork, the_first_write_leaves_at_once_and_the_rest_at_the_end_of_the_turn) {
    rpc_cork_init(&cork, loop, RPC_CORK_ACCEPTED, port);
    for (int turn = 0; turn < 3; turn++) {
        write_one();
        cr_assert(!is_corked());
        expect_arrival(1);
        write_one();
        write_one();
        cr_assert(is_corked());
        one_turn();
        cr_assert(!is_corked());
        expect_arrival(2);
    }
}

/* The side that dialled knows the port of its peer. */
Test(rpc_cork, connections_are_found_by_the_port_of_either_side) {
    rpc_cork_init(&cork, loop, RPC_CORK_DIALLED, port);
    rpc_cork_before_write(&cork);
    rpc_cork_before_write(&cork);
    cr_assert_eq(cork.socket_count, 1);
    cr_assert_eq(cork.sockets[0], far);
    cork.look_next_us = 0;
    one_turn();
    cork.port++;
    rpc_cork_before_write(&cork);
    rpc_cork_before_write(&cork);
    cr_assert_eq(cork.socket_count, 0);
}

static void write_late(struct rpc_turn_hook *hook) {
    write_one();
    write_one();
}

/* Whoever answers in a hook of its own, added later than the cork's, is not left corked. */
Test(rpc_cork, writes_of_other_hooks_leave_in_the_same_turn) {
    rpc_cork_init(&cork, loop, RPC_CORK_ACCEPTED, port);
    struct rpc_turn_hook late = {.end_of_turn = write_late};
    rpc_loop_add_hook(loop, &late);
    one_turn();
    rpc_loop_remove_hook(loop, &late);
    cr_assert(!is_corked());
    expect_arrival(2);
}

/* Taking the cork away in the middle of a turn lets go of what it held. */
Test(rpc_cork, nothing_stays_behind_when_it_goes) {
    rpc_cork_init(&cork, loop, RPC_CORK_ACCEPTED, port);
    write_one();
    write_one();
    cr_assert(is_corked());
    rpc_cork_done(&cork);
    cr_assert(!is_corked());
    expect_arrival(2);
    rpc_cork_init(&cork, loop, RPC_CORK_ACCEPTED, port); /* for tear_down */
}
