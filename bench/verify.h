/* Holds the data against the ledger after a hot-issuer run.
 *
 * Rows of the whole issuer/ span are fed in key order; the verdict is complete after
 * verify_finish. What is checked, and how each finding is counted:
 *
 *   lost        an acknowledged reservation is missing, under another issuer, or has another
 *               amount (one each); an exposure is below the sum of its reservations (one per
 *               issuer)
 *   doubled     a reservation is there that was refused, given up as not done, or never made
 *               by this run though it carries its mark (one each); an exposure is above the
 *               sum of its reservations (one per issuer)
 *   overbooked  an exposure is below zero, or above the limit where this run reserved something
 *               (another run may have had a higher limit) (one per issuer)
 *   malformed   a row of the bench's own (bench/issuers.h) that no workload of this kind writes, or
 *               one out of order (one each)
 *
 * Rows of somebody else under issuer/ are counted and otherwise ignored: none of them is part of a
 * sum, and an exposure of the bench is written by the bench alone.
 *
 * Reservations of unknown outcome may be there or not; if they are, they count in the sum. So do
 * reservations of other runs, which keep the sums of a shared cluster exact. */
#ifndef FLOTILLA_BENCH_VERIFY_H
#define FLOTILLA_BENCH_VERIFY_H

#include "bench/issuers.h"
#include "bench/ledger.h"

struct verdict {
    uint64_t lost, doubled, overbooked, malformed;
    uint64_t reservations;  /* of this run, found */
    uint64_t others;        /* of other runs, found */
    uint64_t foreign;       /* rows of somebody else */
    uint64_t issuers;       /* with any row */
    uint64_t unknown_there; /* unknown to the client, found */
    uint32_t detail_count;
    struct buf details; /* the first findings, a line each */
};

struct verifier {
    struct ledger *ledger; /* its `seen` marks are written */
    struct verdict verdict;
    struct buf prefix; /* issuer/<NAME>/ of the issuer whose rows are passing */
    struct buf scratch;
    struct buf last_key;
    int64_t exposure, sum;
    bool has_own; /* this run has a reservation there */
};

void verify_begin(struct verifier *verifier, struct ledger *ledger);
/* Keys strictly ascending over all calls. */
void verify_row(struct verifier *verifier, struct slice key, struct slice value);
void verify_finish(struct verifier *verifier);
void verify_done(struct verifier *verifier);
bool verdict_clean(const struct verdict *verdict);

#endif
