/* What the load commands share: options of the load itself, and a run from start to verdict. */
#ifndef FLOTILLA_CMD_BENCH_H
#define FLOTILLA_CMD_BENCH_H

#include "bench/report.h"
#include "bench/session.h"
#include "bench/stages.h"
#include "cmd/common.h"

struct load_options {
    char *target, *router, *endpoints;
    uint64_t clients, connections, in_flight, count, duration_s, warm_up_s, rate, timeout_ms,
        settle_s, seed;
    bool unary, etcd_remembers, spreads, progress, verify, stages;
    char *json, *placement;
};

/* Entries for the option table of a struct with a member `load`. */
#define LOAD_ENTRY(type, name, kind, field, fallback, unit, minimum, maximum, help) \
    { name, kind, offsetof(type, load.field), fallback, unit, minimum, maximum, help }
#define LOAD_OPTIONS(type)                                                                         \
    LOAD_ENTRY(type, "target", CONFIG_TEXT, target, "flotilla", "", 0, 0,                          \
               "whom to load: flotilla, or etcd to compare with"),                                 \
        LOAD_ENTRY(type, "router", CONFIG_ADDRESSES, router, "127.0.0.1:7000", "", 0, 0,           \
                   "addresses of routers, or of nodes, comma-separated"),                          \
        LOAD_ENTRY(type, "endpoints", CONFIG_ADDRESSES, endpoints, "", "", 0, 0,                   \
                   "etcd: addresses of its members, comma-separated"),                             \
        LOAD_ENTRY(type, "spread", CONFIG_BOOL, spreads, "true", "", 0, 0,                         \
                   "connections go to the addresses in turn; else all to the first that answers"), \
        LOAD_ENTRY(type, "etcd-remember", CONFIG_BOOL, etcd_remembers, "false", "", 0, 0,          \
                   "reservations begin with the revision that the client made last, unread"),      \
        LOAD_ENTRY(type, "clients", CONFIG_U64, clients, "8", "", 1, BENCH_CLIENTS_MAX,            \
                   "clients"),                                                                     \
        LOAD_ENTRY(type, "connections", CONFIG_U64, connections, "0", "", 0, BENCH_CLIENTS_MAX,    \
                   "connections that the clients share; 0: one each"),                             \
        LOAD_ENTRY(type, "in-flight", CONFIG_U64, in_flight, "32", "", 1, BENCH_IN_FLIGHT_MAX,     \
                   "requests in flight per client; 1: one at a time"),                             \
        LOAD_ENTRY(type, "unary", CONFIG_BOOL, unary, "false", "", 0, 0,                           \
                   "a gRPC call per request instead of the Pipe stream"),                          \
        LOAD_ENTRY(type, "duration-s", CONFIG_U64, duration_s, "10", "s", 0, 86400,                \
                   "how long to issue operations; 0: until --count is reached"),                   \
        LOAD_ENTRY(type, "warm-up-s", CONFIG_U64, warm_up_s, "0", "s", 0, 3600,                    \
                   "the same load before, which is not measured"),                                 \
        LOAD_ENTRY(type, "count", CONFIG_U64, count, "0", "", 0, UINT64_C(1000000000),             \
                   "how many operations to issue, if the duration allows; 0: no such bound"),      \
        LOAD_ENTRY(type, "rate", CONFIG_U64, rate, "0", "/s", 0, 10000000,                         \
                   "open loop: operations due per second, latency from when due; 0: closed loop"), \
        LOAD_ENTRY(type, "timeout-ms", CONFIG_U64, timeout_ms, "2000", "ms", 1, 600000,            \
                   "deadline of each attempt; undecided operations are sent again"),               \
        LOAD_ENTRY(type, "settle-s", CONFIG_U64, settle_s, "30", "s", 0, 3600,                     \
                   "after the run: how long undecided operations are sent again"),                 \
        LOAD_ENTRY(type, "seed", CONFIG_U64, seed, "1", "", 0, UINT64_MAX,                         \
                   "of the choice of keys and amounts"),                                           \
        LOAD_ENTRY(type, "verify", CONFIG_BOOL, verify, "true", "", 0, 0,                          \
                   "hold the data against what was acknowledged, at the end"),                     \
        LOAD_ENTRY(type, "progress", CONFIG_BOOL, progress, "true", "", 0, 0,                      \
                   "a line each second on standard error"),                                        \
        LOAD_ENTRY(type, "stages", CONFIG_BOOL, stages, "false", "", 0, 0,                         \
                   "show where the time of the measured writes went"),                             \
        LOAD_ENTRY(type, "placement", CONFIG_ADDRESSES, placement, "127.0.0.1:7001", "", 0, 0,     \
                   "--stages: placement's members, which know where the nodes are"),               \
        LOAD_ENTRY(type, "json", CONFIG_TEXT, json, "", "", 0, 0,                                  \
                   "file to write the final JSON line to as well")

/* What every connection takes in flight at least, whatever --in-flight says. */
#define LOAD_RUN_IN_FLIGHT_MIN 64u

/* A workload at work: from the options to the figures. */
struct load_run {
    const char *command;
    const char *unit;
    const struct load_options *options;
    struct rpc_loop *loop;
    struct bench_session *session;
    struct signals *signals;
    struct bench_totals before;        /* at the last progress line */
    uint64_t conflicts;                /* of the measured load */
    struct bench_stages *stages;       /* of the measured load; NULL: not asked for */
    struct bench_stages_client client; /* with them; count 0: the load was more than writes */
};

/* INVALID with a sentence: options that do not go together. UNAVAILABLE: nobody takes connections
 * at the addresses. To be closed in either case. */
enum status load_run_open(struct load_run *run, const char *command, const char *unit,
                          const struct load_options *options, struct buf *error) MUST_CHECK;
void load_run_close(struct load_run *run);
/* The engine's configuration as the options say. */
struct bench_load_config load_run_config(const struct load_run *run);
/* Runs a load to its end; an answer that no retry can mend is written to `error`. */
struct bench_load *load_run_once(struct load_run *run, const struct bench_load_config *config,
                                 const struct bench_workload *workload, struct buf *error);
/* The load that the options describe, after the warm-up if they ask for one. Tells on standard
 * error when measuring begins and ends, so that another program can read the processes' accounts.
 */
struct bench_load *load_run_measure(struct load_run *run, const struct bench_workload *workload,
                                    struct buf *error);
/* The final JSON line on standard output and in --json; with "stages" when they were asked for. */
enum status load_run_report(const struct load_run *run, struct bench_result *result,
                            struct buf *error) MUST_CHECK;
uint64_t load_run_random(void); /* marks a run */

/* Reads the whole issuer/ span and holds it against the ledger. */
enum status bench_verify_ledger(struct bench_session *session, struct verifier *verifier,
                                uint64_t timeout_us, struct buf *error) MUST_CHECK;

#endif
