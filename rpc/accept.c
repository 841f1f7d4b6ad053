/* Who is let in.
 *
 * The gRPC core accepts connections by itself, and its listener is deaf for good after the first
 * accept4() that fails by anything but "nothing there": one burst of connections that uses up the
 * descriptors, or one peer that hangs up at the wrong moment, and a process that looks alive serves
 * no new client. The core offers no bound on connections, and no acceptor of our own that would
 * also take TLS. So the call itself is ours: a definition of accept4() in the program takes the
 * place of the C library's for the core, be it linked statically or as a shared library.
 *
 *  - A connection whose descriptor would eat into what the engine needs is closed at once.
 *  - Where there is no descriptor at all, one that is held back is given up for the moment it takes
 *    to accept and close whoever waits: he is refused, instead of waiting for nothing.
 *  - Errors of the peer's (it hung up meanwhile) are the next one's chance.
 *
 * The core polls by edges: it must be told "nothing there" only when that is so, else who waits is
 * noticed only when the next one comes. */
#include "rpc/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "rpc/limits.h"
#include "rpc/metrics.h"

static _Atomic int held_back = -1;
static _Atomic uint64_t said_us; /* when refusals were logged last; 0: not since there was room */

void rpc_accept_prepare(void) {
    if (atomic_load(&held_back) >= 0) return;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int none = -1;
    if (fd >= 0 && !atomic_compare_exchange_strong(&held_back, &none, fd))
        (void)close(fd); /* Another thread was quicker. */
}

static void say_refused(void) {
    metric_add(&metric_rpc_connections_refused_total, 1);
    uint64_t now_us = clock_monotonic_us(clock_system()), last_us = atomic_load(&said_us);
    if (last_us && now_us - last_us < RPC_REFUSALS_LOG_INTERVAL_US) return;
    if (!atomic_compare_exchange_strong(&said_us, &last_us, now_us)) return;
    log_warn("rpc_connections_full",
             "limit=%u for_connections=%u way_out=\"raise the limit of open files (ulimit -n, "
             "LimitNOFILE=), or let idle clients go\"",
             descriptors_limit(), descriptors_connection_end());
}

static void say_room(int fd) {
    if (atomic_load(&said_us) == 0) return;
    /* Well below the end, else one that comes and goes would be said each time. */
    if ((uint32_t)fd >= descriptors_connection_end() / 4 * 3) return;
    if (atomic_exchange(&said_us, 0)) log_info("rpc_connections_room", "descriptor=%d", fd);
}

static int accept_raw(int listener, struct sockaddr *address, socklen_t *address_len, int flags) {
    return (int)syscall(SYS_accept4, listener, address, address_len, flags);
}

static void refuse(int fd) {
    (void)close(fd); /* Nothing was written to it. */
    say_refused();
}

/* With the descriptor that is held back. False: nobody waits any more, or it is not there. */
static bool refuse_one(int listener) {
    int spare = atomic_exchange(&held_back, -1);
    if (spare < 0) return false;
    (void)close(spare); /* It is /dev/null. */
    int fd = accept_raw(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) refuse(fd);
    rpc_accept_prepare();
    return fd >= 0;
}

/* Errors that concern the connection, not the listener (accept(2)). */
static bool is_peers_error(int code) {
    switch (code) {
    case ECONNABORTED:
    case EINTR:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

static bool is_out_of_room(int code) {
    return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

__attribute__((used)) int accept4(int listener, struct sockaddr *address, socklen_t *address_len,
                                  int flags) {
    socklen_t room = address_len ? *address_len : 0;
    for (uint32_t refused = 0; refused < RPC_REFUSALS_PER_TURN; refused++) {
        if (address_len) *address_len = room;
        int fd = accept_raw(listener, address, address_len, flags);
        if (fd >= 0 && (uint32_t)fd < descriptors_connection_end()) {
            say_room(fd);
            return fd;
        }
        if (fd >= 0) {
            refuse(fd);
        } else if (is_out_of_room(errno)) {
            if (!refuse_one(listener)) break;
        } else if (!is_peers_error(errno)) {
            return -1;
        }
    }
    /* Whoever still waits is noticed with the next arrival; the loop has other work meanwhile. */
    errno = EAGAIN;
    return -1;
}
