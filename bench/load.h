/* The load generator's engine: many clients with requests in flight, in a closed loop (a client
 * sends its next request when one is answered) or an open one (requests are due at a fixed rate,
 * whatever the answers do, and latency counts from when a request was due, so that a stall shows in
 * the percentiles).
 *
 * An operation is repeated with the same request id until it is decided, done or refused, through
 * time-outs, unknown outcomes and "busy". When the run is over it goes on repeating for a bounded
 * time; what is still undecided then is given up, as UNKNOWN if any attempt may have taken effect.
 *
 * A state machine with one owner thread: time comes from a clock, the network is a bench_target. */
#ifndef FLOTILLA_BENCH_LOAD_H
#define FLOTILLA_BENCH_LOAD_H

#include "base/clock.h"
#include "base/histogram.h"
#include "base/prng.h"
#include "range/router/router.h"

enum bench_outcome {
    BENCH_DONE,
    BENCH_REFUSED,  /* decided by the replicated state machine; nothing changed */
    BENCH_NOT_DONE, /* given up; every attempt was answered with "nothing changed" */
    BENCH_UNKNOWN,  /* given up; an attempt may have taken effect */
};

/* What an operation is, in the words of its workload. */
struct bench_op {
    uint64_t sequence; /* 0, 1, 2 ... in the order of issue */
    uint64_t subject;  /* issuer or key number */
    uint64_t entry;    /* the workload's own */
    bool read;
    bool must_exist; /* a read of what was acknowledged before the read was issued */
    bool watched;    /* counts for the watched gap too */
};

struct bench_workload {
    void *ctx;
    /* Fills in the op with the given sequence number. False: no more, the run ends. */
    bool (*next)(void *ctx, struct bench_op *op);
    /* The request of an attempt; slices are valid until the next call. The deadline is set by the
     * engine. */
    void (*request)(void *ctx, const struct bench_op *op, struct router_request *ret_request);
    /* A successful write's outcome: done, refused by right, or neither (false, with a text). */
    bool (*judge)(void *ctx, const struct bench_op *op, const struct router_reply *reply,
                  enum bench_outcome *ret_outcome, struct buf *error);
    /* Exactly once for each op that next gave. */
    void (*decided)(void *ctx, const struct bench_op *op, enum bench_outcome outcome);
};

/* Where requests go. The callback comes exactly once, possibly before submit returns. */
struct bench_target {
    void *ctx;
    void (*submit)(void *ctx, uint32_t client, const struct router_request *request,
                   router_done_fn *done, void *done_ctx);
};

struct bench_load_config {
    uint32_t clients, in_flight; /* slots = clients * in_flight */
    uint64_t count;              /* stop after so many operations; 0: no such bound */
    uint64_t duration_us;        /* stop issuing after so long; 0: no such bound */
    double rate_per_s;           /* open loop; 0: closed */
    uint64_t attempt_timeout_us; /* deadline of each attempt */
    uint64_t settle_us;          /* how long undecided operations are repeated after the run */
    /* Open loop only: who is not served at once goes away. Arrivals that no client is free for are
     * dropped, and operations have one attempt. */
    bool sheds;
    uint64_t seed; /* of the back-off's jitter */
};

struct bench_totals {
    uint64_t issued, done, refused, not_done, unknown;
    uint64_t done_running; /* of `done`: before the run was stopped */
    uint64_t shed;         /* arrivals that were dropped unsent (config.sheds) */
    uint64_t retries;      /* attempts beyond the first */
    uint64_t timeouts;     /* attempts answered: deadline passed, nothing changed */
    uint64_t unknowns;     /* attempts answered: outcome unknown */
    uint64_t busy;         /* attempts answered: busy */
    uint64_t unavailable;  /* attempts answered: unavailable */
    /* "Longest gap", wherever we say so: the longest time between two answers, acknowledgements or
     * refusals, of the whole load while the run lasted. */
    uint64_t gap_us;
    uint64_t watched;         /* acknowledged watched operations */
    uint64_t watched_refused; /* refused ones */
    uint64_t watched_gap_us;  /* longest time between two acknowledged watched operations */
};

struct bench_load;

struct bench_load *bench_load_new(const struct bench_load_config *config,
                                  const struct bench_workload *workload,
                                  const struct bench_target *target, const struct clock *clock);
/* No request may be outstanding: the target is gone or has answered everything. */
void bench_load_free(struct bench_load *load);

void bench_load_start(struct bench_load *load);
/* Issues what is due. Call it after every batch of answers and when bench_load_next_us says. */
void bench_load_step(struct bench_load *load);
uint64_t bench_load_next_us(const struct bench_load *load); /* UINT64_MAX: only answers matter */
/* Ends the run early (Ctrl-C); what is in flight is settled as usual. */
void bench_load_stop(struct bench_load *load);
bool bench_load_running(const struct bench_load *load);  /* still issuing */
bool bench_load_finished(const struct bench_load *load); /* stopped and everything is decided */

const struct bench_totals *bench_load_totals(const struct bench_load *load);
/* Latencies of decided operations, microseconds: of the whole run, and since the last take. */
const struct histogram *bench_load_latency(const struct bench_load *load);
void bench_load_take_interval(struct bench_load *load, struct histogram *ret_latency);
/* From start to the last decided answer of an operation, or now while running. */
uint64_t bench_load_elapsed_us(const struct bench_load *load);
/* An answer that no retry can mend (bad request, impossible outcome); empty: none came. The run
 * stops at the first. */
struct slice bench_load_failure(const struct bench_load *load);

#endif
