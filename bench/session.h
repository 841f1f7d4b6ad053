/* A load generator's life on a loop: its connections to the servers, the driver that steps a load
 * at the end of every turn, and the scan that fetches data for verification.
 *
 * Threads: the loop thread. The functions that wait run the loop themselves (rpc_loop_run_until),
 * so rpc_loop_run must not be running. */
#ifndef FLOTILLA_BENCH_SESSION_H
#define FLOTILLA_BENCH_SESSION_H

#include "bench/load.h"
#include "rpc/loop.h"

struct bench_session;

/* Whom the load is for. Everything up to the packing of messages is the same. */
enum bench_server { BENCH_SERVER_FLOTILLA, BENCH_SERVER_ETCD };

struct bench_session_config {
    enum bench_server server;
    const char *addresses; /* host:port of routers or nodes, or etcd's members, with commas */
    uint32_t clients, connections; /* client i uses connection i modulo connections */
    bool unary;                    /* a gRPC call per request instead of the Pipe stream */
    bool etcd_remembers;  /* updates begin with what the client knows (rpc/etcd/client.h) */
    bool stale_scans;     /* scans read what a replica has, at a node its own */
    bool spreads;         /* connections begin at the addresses in turn; else all with the first */
    uint32_t in_flight;   /* per client, at most */
    uint64_t interval_us; /* between calls of `progress` */
    void (*progress)(void *ctx, struct bench_load *load); /* NULL: none */
    void *ctx;                                            /* of progress */
};

struct bench_session *bench_session_new(struct rpc_loop *loop,
                                        const struct bench_session_config *config);
/* Waits until a router has taken a connection. UNAVAILABLE with a sentence: none of the addresses
 * takes one, as of a wrong address. Of etcd, and when interrupted: OK, the load will tell. */
enum status bench_session_check(struct bench_session *session, struct buf *error) MUST_CHECK;
/* Outstanding requests are answered first (unknown, unavailable). */
void bench_session_free(struct bench_session *session);
const struct bench_target *bench_session_target(const struct bench_session *session);
/* Of etcd: transactions whose comparison failed, so far. */
uint64_t bench_session_conflicts(const struct bench_session *session);

/* Runs a load from start to finish. */
void bench_session_run(struct bench_session *session, struct bench_load *load);
/* From a signal's callback: the load under way ends early and is settled, later ones end at once; a
 * scan under way is abandoned. */
void bench_session_interrupt(struct bench_session *session);
bool bench_session_interrupted(const struct bench_session *session);

typedef void bench_row_fn(void *ctx, struct slice key, struct slice value);
/* Feeds every row of [start, end), ascending, in pages; a page that is not answered is asked for
 * again until timeout_us have passed since the last progress. TIMEOUT, INVALID or SHUTDOWN
 * (interrupted) with a sentence in `error`. */
enum status bench_session_scan(struct bench_session *session, struct slice start, struct slice end,
                               uint64_t timeout_us, bench_row_fn *row, void *ctx,
                               struct buf *error) MUST_CHECK;

#endif
