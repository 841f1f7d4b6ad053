/* Evaluation of commands against the replicated state: deterministic, in log order, on every
 * replica.
 *
 * A txn_apply collects the effects of one apply round of a worker (many commands, many ranges) into
 * one storage batch. Later commands of the round see the effects of earlier ones through an
 * overlay, and later rounds what a small cache keeps of it, so a thousand reservations against one
 * key cost one engine read. Nobody else may change data of its ranges. Not thread-safe. */
#ifndef FLOTILLA_TXN_EVALUATE_H
#define FLOTILLA_TXN_EVALUATE_H

#include "base/arena.h"
#include "storage/mvcc.h"
#include "txn/command.h"

struct txn_apply;

struct txn_apply *txn_apply_new(struct storage_engine *engine);
void txn_apply_free(struct txn_apply *apply);
/* Instead of TXN_COMMAND_STEPS_MAX, for tests: smaller, and the same on all replicas for ever. */
void txn_apply_set_steps_max(struct txn_apply *apply, uint64_t steps_max);
/* Steps that commands took since the round began. This replica's own figure: another one with other
 * rounds may have more or fewer. */
uint64_t txn_apply_round_steps(const struct txn_apply *apply);

/* Starts a round whose effects go to `batch`. The batch may hold other things too. */
void txn_apply_begin(struct txn_apply *apply, struct storage_batch *batch);
/* The caller has written the batch to the engine: the overlay is dropped, but for the newest
 * versions of keys that change often. */
void txn_apply_end(struct txn_apply *apply);
/* Data was changed in the engine in another way than by rounds of this txn_apply (a snapshot was
 * installed): nothing that is remembered of it counts any more. Between rounds only. */
void txn_apply_forget(struct txn_apply *apply);

/* Key span of the range that the command is applied in; keys outside refuse it (WRONG_RANGE). */
struct txn_span {
    struct slice start, end; /* empty end: no end */
};

/* Evaluates one command, adds its effects and its request record to the batch. `encoded` is what
 * was decoded into `command` (for the fingerprint). Numbers of the outcome live in `arena`. Any
 * status but OK means that this replica cannot go on (engine failure): the caller stops the
 * process. */
enum status txn_evaluate(struct txn_apply *apply, const struct txn_span *span, struct slice encoded,
                         const struct txn_command *command, struct arena *arena,
                         struct txn_outcome *ret_outcome) MUST_CHECK;

#endif
