#include "rpc/cork.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#define LOOK_INTERVAL_US 1000000u

static uint16_t port_of(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    if (address->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
    return 0;
}

static bool is_ours(const struct rpc_cork *cork, int fd) {
    struct sockaddr_storage local = {0}, peer = {0};
    socklen_t local_len = sizeof(local), peer_len = sizeof(peer);
    if (getsockname(fd, (struct sockaddr *)&local, &local_len) != 0) return false;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0) return false;
    return port_of(cork->side == RPC_CORK_ACCEPTED ? &local : &peer) == cork->port;
}

static void look_for_sockets(struct rpc_cork *cork) {
    cork->socket_count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory) return; /* without /proc every write leaves at once */
    const struct dirent *entry;
    while ((entry = readdir(directory))) {
        char *end;
        long fd = strtol(entry->d_name, &end, 10);
        if (end == entry->d_name || !is_ours(cork, (int)fd)) continue;
        if (cork->socket_count == RPC_CORK_SOCKETS_MAX) {
            cork->socket_count = 0;
            break;
        }
        cork->sockets[cork->socket_count++] = (int)fd;
    }
    (void)closedir(directory); /* it was only read */
}

static void set(struct rpc_cork *cork, int on) {
    for (uint32_t i = 0; i < cork->socket_count; i++) /* a failure costs a write of its own */
        (void)setsockopt(cork->sockets[i], IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
    cork->corked = on;
}

static void end_of_turn(struct rpc_turn_hook *hook) {
    struct rpc_cork *cork = CONTAINER_OF(hook, struct rpc_cork, hook);
    cork->writes = 0;
    if (cork->corked) set(cork, 0);
}

void rpc_cork_init(struct rpc_cork *cork, struct rpc_loop *loop, enum rpc_cork_side side,
                   uint16_t port) {
    *cork = (struct rpc_cork){.loop = loop, .side = side, .port = port};
    cork->hook.end_of_turn = end_of_turn;
    rpc_loop_add_last_hook(loop, &cork->hook);
}

void rpc_cork_done(struct rpc_cork *cork) {
    if (cork->corked) set(cork, 0);
    rpc_loop_remove_hook(cork->loop, &cork->hook);
}

void rpc_cork_before_write(struct rpc_cork *cork) {
    cork->writes++;
    if (cork->corked || cork->writes < 2 || cork->port == 0) return;
    uint64_t now_us = rpc_loop_now_us(cork->loop);
    if (now_us >= cork->look_next_us) {
        cork->look_next_us = now_us + LOOK_INTERVAL_US;
        look_for_sockets(cork);
    }
    if (cork->socket_count > 0) set(cork, 1);
}
