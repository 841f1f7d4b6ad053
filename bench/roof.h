/* The roofs of a machine: how fast its disk, the storage engine, gRPC and bare sockets are when
 * nothing else is done with them. A result of the product means something only next to these,
 * taken in the same run.
 *
 * Each roof_measure_* runs its figures one after the other, `seconds` each, and appends them to the
 * list. What needs a second process gets it from roof_peer_start, which forks: start all peers
 * before the first thread of the process (rpc_loop_new, an engine) exists. One thread. */
#ifndef FLOTILLA_BENCH_ROOF_H
#define FLOTILLA_BENCH_ROOF_H

#include <sys/types.h>

#include "base/histogram.h"
#include "base/slice.h"
#include "base/status.h"

#define ROOF_FIGURES_MAX 32u
#define ROOF_KEY_BYTES 16u
#define ROOF_VALUE_BYTES 256u
/* What the transports carry: a key, a value. Answered with ROOF_ANSWER_BYTES. */
#define ROOF_ENTRY_BYTES (ROOF_KEY_BYTES + ROOF_VALUE_BYTES)
#define ROOF_ANSWER_BYTES 8u

struct roof_figure {
    const char *key;  /* of the JSON object: "fdatasync_4k" */
    const char *text; /* for people: "write + fdatasync, 4 KiB" */
    const char *unit; /* what is counted: "syncs", "items", "calls", "entries" */
    double per_s;
    double cpu_us;      /* of this process, for each unit */
    double peer_cpu_us; /* of the other process; negative: there is none */
    /* Of the whole wait: one sync, one batch, one call, one message. */
    uint64_t p50_us, p99_us;
};

struct roof_list {
    struct roof_figure figures[ROOF_FIGURES_MAX];
    size_t count;
};

/* The other end of a connection, in a process of its own. */
struct roof_peer {
    pid_t pid; /* 0: not running */
    uint16_t port;
};

/* Forks; `serve` announces its port by roof_peer_announce and never returns. The child is killed
 * when its parent dies. IO with a sentence. */
typedef void roof_serve_fn(int announce_fd);
enum status roof_peer_start(struct roof_peer *peer, roof_serve_fn *serve,
                            struct buf *error) MUST_CHECK;
void roof_peer_announce(int announce_fd, uint16_t port);
void roof_peer_stop(struct roof_peer *peer); /* a zeroed one is fine */

/* What one figure measures: from begin to end. */
struct roof_meter {
    const struct roof_peer *peer; /* NULL: none */
    uint64_t start_us, cpu_start_us, peer_cpu_start_us;
    uint64_t until_us;          /* issue nothing after this */
    uint64_t units;             /* counted by whoever measures */
    struct histogram latencies; /* recorded by whoever measures */
};

void roof_meter_begin(struct roof_meter *meter, const struct roof_peer *peer, double seconds);
/* Appends the figure whose key, text and unit are given. */
void roof_meter_end(const struct roof_meter *meter, const struct roof_figure *name,
                    struct roof_list *list);
uint64_t roof_now_us(void);

/* ---- what is measured ---- */

/* Overwrites a preallocated file in `directory`, 4 KiB and 64 KiB at a time. IO, NO_SPACE. */
enum status roof_measure_disk(const char *directory, double seconds, struct roof_list *list,
                              struct buf *error) MUST_CHECK;
/* Synced batches of 1, 8, 64 and 256 puts under random keys, through storage/, in a new engine
 * below `directory`. */
enum status roof_measure_engine(const char *directory, double seconds, struct roof_list *list,
                                struct buf *error) MUST_CHECK;
/* Unary calls and stream entries through rpc/, with the layers that the product uses. */
void roof_serve_rpc(int announce_fd);
void roof_measure_rpc(const struct roof_peer *peer, double seconds, struct roof_list *list);
/* Bare epoll and a length in front of each message: what the transport would cost without gRPC. */
void roof_serve_socket(int announce_fd);
enum status roof_measure_socket(const struct roof_peer *peer, double seconds,
                                struct roof_list *list, struct buf *error) MUST_CHECK;

/* ---- what is shown ---- */
void roof_append_table(struct buf *out, const struct roof_list *list);
/* {"fdatasync_4k":{"unit":"syncs","per_s":…,"cpu_us":…,"peer_cpu_us":…,"p50_us":…,"p99_us":…},…}
 * without a line's end; peer_cpu_us only where there is a peer. */
void roof_append_json(struct buf *out, const struct roof_list *list);

#endif
