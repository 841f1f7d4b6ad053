/* Bare TCP over loopback: epoll, one connection, a length of four bytes (host order) in front of
 * each message, everything that is ready in one read and one write. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "bench/roof.h"

#define OUTSTANDING_MAX 64u
#define LENGTH_BYTES 4u
#define READ_BYTES 65536u
#define SILENCE_MS 10000

/* A connection's two directions. What is read is consumed frame by frame; an unfinished frame stays
 * at the front. */
struct line {
    int fd, epoll;
    uint8_t in[READ_BYTES];
    size_t in_len;
    struct buf out;
};

static void append_frame(struct buf *out, uint32_t len) {
    static const uint8_t zeros[ROOF_ENTRY_BYTES];
    ASSERT_CMP(len, <=, sizeof(zeros));
    buf_append(out, slice_make(&len, sizeof(len)));
    buf_append(out, slice_make(zeros, len));
}

/* The rest of a short write follows with the next flush; with OUTSTANDING_MAX messages under way
 * the socket's buffer holds all of it. */
static bool flush(struct line *line) {
    while (line->out.len > 0) {
        ssize_t sent = send(line->fd, line->out.data, line->out.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return true;
        if (sent < 0) return false;
        line->out.len -= (size_t)sent;
        memmove(line->out.data, line->out.data + sent, line->out.len);
    }
    return true;
}

/* Waits for bytes and takes them. False: the other end is gone, silent, or the socket failed. */
static bool receive(struct line *line) {
    struct epoll_event event;
    int ready = epoll_wait(line->epoll, &event, 1, SILENCE_MS);
    if (ready < 0) return errno == EINTR;
    if (ready == 0) return false;
    ssize_t got = recv(line->fd, line->in + line->in_len, sizeof(line->in) - line->in_len, 0);
    if (got < 0) return errno == EAGAIN;
    line->in_len += (size_t)got;
    return got > 0;
}

/* Consumes whole frames; returns how many there were. */
static uint32_t take_frames(struct line *line) {
    uint32_t frames = 0, len;
    size_t at = 0;
    while (line->in_len - at >= LENGTH_BYTES) {
        memcpy(&len, line->in + at, sizeof(len));
        ASSERT_CMP(len, <=, ROOF_ENTRY_BYTES);
        if (line->in_len - at < LENGTH_BYTES + len) break;
        at += LENGTH_BYTES + len;
        frames++;
    }
    line->in_len -= at;
    memmove(line->in, line->in + at, line->in_len);
    return frames;
}

static bool watch(struct line *line) {
    int on = 1;
    struct epoll_event event = {.events = EPOLLIN};
    line->epoll = epoll_create1(EPOLL_CLOEXEC);
    return line->epoll >= 0 &&
           setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
           epoll_ctl(line->epoll, EPOLL_CTL_ADD, line->fd, &event) == 0;
}

void roof_serve_socket(int announce_fd) {
    static struct line line;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, address_len) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &address_len) != 0)
        fatal("socket peer: %s", strerror(errno));
    roof_peer_announce(announce_fd, ntohs(address.sin_port));
    line.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (line.fd < 0 || !watch(&line)) fatal("socket peer: %s", strerror(errno));
    while (receive(&line)) {
        for (uint32_t frames = take_frames(&line); frames > 0; frames--)
            append_frame(&line.out, ROOF_ANSWER_BYTES);
        if (!flush(&line)) break;
    }
}

static bool measure_outstanding(struct line *line, struct roof_meter *meter, uint32_t outstanding) {
    uint64_t sent_us[OUTSTANDING_MAX] = {0}, head = 0, tail = 0;
    ASSERT_CMP(outstanding, <=, OUTSTANDING_MAX);
    for (uint64_t now_us = meter->start_us; now_us < meter->until_us || head != tail;) {
        while (now_us < meter->until_us && tail - head < outstanding) {
            append_frame(&line->out, ROOF_ENTRY_BYTES);
            sent_us[tail++ % OUTSTANDING_MAX] = now_us;
        }
        if (!flush(line) || !receive(line)) return false;
        now_us = roof_now_us();
        for (uint32_t frames = take_frames(line); frames > 0; frames--) {
            histogram_record(&meter->latencies, now_us - sent_us[head++ % OUTSTANDING_MAX]);
            meter->units++;
        }
    }
    return true;
}

enum status roof_measure_socket(const struct roof_peer *peer, double seconds,
                                struct roof_list *list, struct buf *error) {
    static const struct {
        uint32_t outstanding;
        struct roof_figure name;
    } lines[] = {
        {1, {.key = "socket_1", .text = "bare TCP: 1 outstanding", .unit = "entries"}},
        {64, {.key = "socket_64", .text = "bare TCP: 64 outstanding", .unit = "entries"}},
    };
    static struct line line;
    struct roof_meter meter;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(peer->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    line = (struct line){.epoll = -1};
    /* It may block: everything is sent at once and read when epoll says that something is there. */
    line.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = line.fd >= 0 &&
                connect(line.fd, (struct sockaddr *)&address, sizeof(address)) == 0 && watch(&line);
    for (size_t i = 0; good && i < sizeof(lines) / sizeof(lines[0]); i++) {
        roof_meter_begin(&meter, peer, seconds);
        good = measure_outstanding(&line, &meter, lines[i].outstanding);
        if (good) roof_meter_end(&meter, &lines[i].name, list);
    }
    if (!good) buf_printf(error, "bare TCP over loopback: %s", strerror(errno));
    if (line.epoll >= 0) (void)close(line.epoll); /* holds nothing */
    if (line.fd >= 0) (void)close(line.fd);       /* everything was answered */
    buf_done(&line.out);
    return good ? STATUS_OK : STATUS_IO;
}
