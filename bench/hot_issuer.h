/* The hot-issuer workload: reservations against issuers' exposure limits, one of them far hotter
 * than the rest. A reservation is one command:
 *
 *   request id    <run>-<n>
 *   add           issuer/<NAME>/bench/exposure            + amount, staying within 0 .. limit
 *   insert        issuer/<NAME>/bench/reservation/R-<run>-<n>  = amount
 *
 * Everything that is issued is in the ledger before it is sent. */
#ifndef FLOTILLA_BENCH_HOT_ISSUER_H
#define FLOTILLA_BENCH_HOT_ISSUER_H

#include "bench/ledger.h"
#include "bench/load.h"
#include "bench/zipf.h"

struct hot_issuer_config {
    uint32_t issuers;
    double zipf_exponent; /* 0: uniform */
    uint32_t amount_min, amount_max;
    int64_t limit;         /* per issuer */
    int64_t hottest_limit; /* of issuer 0; 0: the same */
    uint64_t seed;         /* of issuers and amounts */
    uint64_t run;          /* see struct ledger */
};

struct hot_issuer {
    struct hot_issuer_config config;
    struct prng prng;
    struct zipf zipf;
    struct ledger ledger;
    /* The attempt that is being described. */
    struct buf request_id, exposure_key, reservation_key, amount;
    struct txn_op ops[2];
    struct txn_command command;
};

/* The object must not move afterwards: requests point into it. */
void hot_issuer_init(struct hot_issuer *workload, const struct hot_issuer_config *config);
void hot_issuer_done(struct hot_issuer *workload);
struct bench_workload hot_issuer_workload(struct hot_issuer *workload);

#endif
