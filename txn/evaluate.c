/* One command against the state that the commands before it left.
 *
 *   1. A key outside the range: refused, nothing is recorded (by now the request belongs
 *      elsewhere).
 *   2. A request record that is still live: its outcome is the answer, or, for a different command
 *      under the same id, a refusal that leaves the record alone.
 *   3. Guards, in order; the first that does not hold refuses.
 *   4. Operations, in order, staged in the overlay; the first that cannot be done refuses. Guards
 *      and operations spend steps (limits.h); the one that wants more than are left refuses.
 *   5. Only now the effects go to the batch, all at commit_ts, with the request record.
 *
 * Everything here depends on the command and the replicated state alone. */
#include "txn/evaluate.h"

#include "base/assert.h"
#include "base/memory.h"
#include "txn/overlay.h"
#include "txn/request_record.h"

struct txn_apply {
    struct txn_overlay overlay;
    struct storage_batch *batch; /* of the round; NULL between rounds */
    uint64_t steps_max;          /* of one command */
    uint64_t round_steps;
    struct buf record_key, record_value, note;
};

/* The command at hand and its verdict so far. `result` other than DONE ends the evaluation. */
struct evaluation {
    struct txn_apply *apply;
    const struct txn_command *command;
    struct arena *arena; /* of the outcome's numbers, and of records */
    struct txn_outcome *outcome;
    uint64_t fingerprint; /* of a command with a request id */
    uint64_t steps;       /* spent so far */
    bool record_staged;   /* its record goes with the anchor's row */
};

static bool is_idempotent(const struct txn_command *command) {
    return command->request_id.len > 0;
}

struct txn_apply *txn_apply_new(struct storage_engine *engine) {
    struct txn_apply *apply = MEMORY_NEW(struct txn_apply);
    apply->steps_max = TXN_COMMAND_STEPS_MAX;
    txn_overlay_init(&apply->overlay, engine);
    return apply;
}

void txn_apply_set_steps_max(struct txn_apply *apply, uint64_t steps_max) {
    apply->steps_max = steps_max;
}

uint64_t txn_apply_round_steps(const struct txn_apply *apply) {
    return apply->round_steps;
}

void txn_apply_free(struct txn_apply *apply) {
    if (!apply) return;
    txn_overlay_done(&apply->overlay);
    buf_done(&apply->record_key);
    buf_done(&apply->record_value);
    buf_done(&apply->note);
    memory_free(apply);
}

void txn_apply_begin(struct txn_apply *apply, struct storage_batch *batch) {
    ASSERT(!apply->batch);
    ASSERT(batch);
    apply->batch = batch;
    apply->round_steps = 0;
}

void txn_apply_end(struct txn_apply *apply) {
    ASSERT(apply->batch);
    txn_overlay_reset(&apply->overlay);
    apply->batch = NULL;
}

void txn_apply_forget(struct txn_apply *apply) {
    ASSERT(!apply->batch);
    txn_cache_clear(&apply->overlay.cache);
}

static void refuse(struct evaluation *eval, enum txn_result result, uint32_t index) {
    eval->outcome->result = result;
    eval->outcome->index = index;
}

/* False: that is more than the command may take; it is refused. */
static bool spend(struct evaluation *eval, uint64_t steps, uint32_t index) {
    eval->steps += steps;
    if (eval->steps <= eval->apply->steps_max || eval->command->unbounded) return true;
    refuse(eval, TXN_REFUSED_WORK, index);
    return false;
}

/* Makes the newest version of a key known, at the price of its value. Every replica has the same
 * newest version, wherever it finds it; false when that was too much. */
static bool look_at(struct evaluation *eval, struct txn_overlay_key *key, uint32_t index,
                    enum status *ret_status) {
    *ret_status = txn_overlay_load(&eval->apply->overlay, key);
    if (*ret_status != STATUS_OK) return false;
    size_t len = key->newest.value.len;
    return len < TXN_STEP_BYTES || spend(eval, len / TXN_STEP_BYTES, index);
}

struct interval {
    struct evaluation *eval;
    const struct txn_guard *guard;
    uint32_t index;
    bool holds;
};

/* In the order of the keys, so that replicas whose rounds differ stop at the same one. */
static bool on_interval_key(void *ctx, struct slice user_key, const struct mvcc_version *newest) {
    struct interval *interval = ctx;
    if (!spend(interval->eval, 1 + newest->value.len / TXN_STEP_BYTES, interval->index))
        return false;
    interval->holds = newest->commit_ts <= interval->guard->version;
    return interval->holds;
}

/* Out of the way of those that are common. */
static __attribute__((noinline)) enum status guard_interval(struct evaluation *eval, uint32_t index,
                                                            bool *ret_holds) {
    const struct txn_guard *guard = &eval->command->guards[index];
    struct interval interval = {.eval = eval, .guard = guard, .index = index, .holds = true};
    uint32_t sorted = 0;
    if (!spend(eval, TXN_INTERVAL_STEPS, index)) return STATUS_OK;
    enum status status = txn_overlay_each_newest(&eval->apply->overlay, guard->key, guard->end,
                                                 on_interval_key, &interval, &sorted);
    eval->apply->round_steps += sorted;
    *ret_holds = interval.holds;
    return status;
}

/* Leaves *ret_holds alone when it refuses. */
static enum status guard_holds(struct evaluation *eval, uint32_t index, bool *ret_holds) {
    const struct txn_guard *guard = &eval->command->guards[index];
    if (guard->end.len > 0) return guard_interval(eval, index, ret_holds);
    struct txn_overlay_key *key = txn_overlay_key(&eval->apply->overlay, guard->key);
    enum status status;
    if (!look_at(eval, key, index, &status)) return status;
    struct slice value;
    bool exists = txn_overlay_value(key, &value);
    switch (guard->kind) {
    case TXN_GUARD_EXISTS:
        *ret_holds = exists;
        return STATUS_OK;
    case TXN_GUARD_ABSENT:
        *ret_holds = !exists;
        return STATUS_OK;
    case TXN_GUARD_EQUALS:
        *ret_holds = exists && slice_equal(value, guard->value);
        return STATUS_OK;
    case TXN_GUARD_VERSION:
        *ret_holds = (exists ? key->newest.commit_ts : 0) == guard->version;
        return STATUS_OK;
    case TXN_GUARD_UNCHANGED:
        *ret_holds = key->newest.commit_ts <= guard->version;
        return STATUS_OK;
    }
    /* The decoder lets no other kind through; guessing would fork history. */
    ASSERT(!"unknown guard kind");
    return STATUS_CORRUPTION;
}

static enum status evaluate_guards(struct evaluation *eval) {
    const struct txn_command *command = eval->command;
    for (uint32_t i = 0; i < command->guard_count; i++) {
        bool holds = false;
        enum status status = guard_holds(eval, i, &holds);
        if (status != STATUS_OK || eval->outcome->result != TXN_DONE) return status;
        if (!holds) {
            refuse(eval, TXN_REFUSED_GUARD, i);
            return STATUS_OK;
        }
    }
    return STATUS_OK;
}

/* Room for the results of this add and of whatever follows. */
static void make_room(struct evaluation *eval, uint32_t index) {
    if (eval->outcome->numbers) return;
    eval->outcome->numbers = ARENA_NEW_ARRAY(eval->arena, int64_t, eval->command->op_count - index);
}

static void add_number(struct evaluation *eval, uint32_t index, struct txn_overlay_key *key) {
    const struct txn_op *op = &eval->command->ops[index];
    struct txn_outcome *outcome = eval->outcome;
    struct slice text;
    int64_t present = 0, sum = 0;
    if (txn_overlay_value(key, &text) && !txn_number_parse(text, &present)) {
        refuse(eval, TXN_REFUSED_NOT_A_NUMBER, index);
    } else if (__builtin_add_overflow(present, op->delta, &sum)) {
        refuse(eval, TXN_REFUSED_OVERFLOW, index);
    } else if (sum < op->minimum || sum > op->maximum) {
        refuse(eval, TXN_REFUSED_BOUND, index);
        outcome->number = present;
    } else {
        txn_overlay_stage_number(&eval->apply->overlay, key, sum);
        make_room(eval, index);
        outcome->numbers[outcome->number_count++] = sum;
    }
}

/* All but a blind put look at what is there. */
static enum status evaluate_op(struct evaluation *eval, uint32_t index) {
    const struct txn_op *op = &eval->command->ops[index];
    struct txn_overlay *overlay = &eval->apply->overlay;
    struct txn_overlay_key *key = txn_overlay_key(overlay, op->key);
    if (op->kind == TXN_OP_PUT) {
        txn_overlay_stage(overlay, key, MVCC_PUT, op->value);
        return STATUS_OK;
    }
    enum status status;
    if (!look_at(eval, key, eval->command->guard_count + index, &status)) return status;
    struct slice present;
    switch (op->kind) {
    case TXN_OP_PUT:
        break; /* handled above */
    case TXN_OP_DELETE:
        txn_overlay_stage(overlay, key, MVCC_DELETE, SLICE_EMPTY);
        return STATUS_OK;
    case TXN_OP_INSERT:
        if (txn_overlay_value(key, &present)) {
            refuse(eval, TXN_REFUSED_EXISTS, index);
        } else {
            txn_overlay_stage(overlay, key, MVCC_PUT, op->value);
        }
        return STATUS_OK;
    case TXN_OP_ADD:
        add_number(eval, index, key);
        return STATUS_OK;
    }
    ASSERT(!"unknown operation kind");
    return STATUS_CORRUPTION;
}

static enum status evaluate_ops(struct evaluation *eval) {
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < eval->command->op_count; i++) {
        status = evaluate_op(eval, i);
        if (status != STATUS_OK || eval->outcome->result != TXN_DONE) break;
    }
    return status;
}

static struct txn_request_record record_of(const struct evaluation *eval) {
    return (struct txn_request_record){.commit_ts = eval->command->commit_ts,
                                       .fingerprint = eval->fingerprint,
                                       .outcome = *eval->outcome};
}

/* Puts the request record into the row of the anchor, when this is the birth of that key. */
static void stage_record(struct evaluation *eval) {
    struct txn_apply *apply = eval->apply;
    struct txn_overlay_key *anchor =
        txn_overlay_key(&apply->overlay, txn_command_anchor(eval->command));
    if (!txn_overlay_is_birth(anchor)) return;
    struct txn_request_record record = record_of(eval);
    buf_clear(&apply->note);
    txn_request_record_encode_note(&apply->note, eval->command->request_id, &record);
    txn_overlay_stage_note(anchor, slice_from_buf(&apply->note));
    eval->record_staged = true;
}

/* Guards, operations and effects. After it nothing is staged. */
static enum status decide(struct evaluation *eval) {
    struct txn_apply *apply = eval->apply;
    struct txn_outcome *outcome = eval->outcome;
    enum status status = STATUS_OK;
    /* Guards and operations are paid for at once: what costs more, costs it on top. */
    if (spend(eval, eval->command->guard_count + eval->command->op_count, 0))
        status = evaluate_guards(eval);
    if (status == STATUS_OK && outcome->result == TXN_DONE) status = evaluate_ops(eval);
    apply->round_steps += eval->steps;
    if (status == STATUS_OK && outcome->result == TXN_DONE) {
        outcome->commit_ts = eval->command->commit_ts;
        if (is_idempotent(eval->command) && txn_command_inserts(eval->command)) stage_record(eval);
        txn_overlay_commit(&apply->overlay, apply->batch, outcome->commit_ts);
    } else {
        txn_overlay_drop(&apply->overlay);
        outcome->number_count = 0;
        outcome->numbers = NULL;
    }
    return status;
}

/* Takes the record out of `bytes`, unless there is none or it has expired. */
static enum status take_live(const struct evaluation *eval, struct slice bytes,
                             struct txn_request_record *ret_record, bool *ret_live) {
    if (bytes.len == 0) return STATUS_OK;
    enum status status = txn_request_record_decode(bytes, eval->arena, ret_record);
    if (status == STATUS_OK)
        *ret_live = txn_request_record_live(ret_record, eval->command->commit_ts);
    return status;
}

/* The record of the request in either of its places (request_record.h). An expired one in `meta`
 * may stand beside a live one in the row, not the other way round: a row is born once. Leaves the
 * record's key in apply->record_key. */
static enum status find_record(struct evaluation *eval, struct txn_request_record *ret_record,
                               bool *ret_live) {
    struct txn_overlay *overlay = &eval->apply->overlay;
    struct buf *key = &eval->apply->record_key;
    struct slice bytes;
    buf_clear(key);
    txn_request_record_key(key, eval->command);
    enum status status = txn_overlay_read_record(overlay, slice_from_buf(key), &bytes);
    if (status == STATUS_OK) status = take_live(eval, bytes, ret_record, ret_live);
    if (status != STATUS_OK || *ret_live || !txn_command_inserts(eval->command)) return status;
    struct txn_overlay_key *anchor = txn_overlay_key(overlay, txn_command_anchor(eval->command));
    bool known = anchor->known;
    size_t oldest_bytes;
    status = txn_overlay_read_noted_record(overlay, anchor, eval->command->request_id, &bytes,
                                           &oldest_bytes);
    /* The command is not charged for it, and the round has it to do: the newest version, if it was
     * not known, and the oldest one. */
    if (!known) eval->apply->round_steps += anchor->newest.value.len / TXN_STEP_BYTES;
    eval->apply->round_steps += oldest_bytes / TXN_STEP_BYTES;
    if (status == STATUS_OK) status = take_live(eval, bytes, ret_record, ret_live);
    return status;
}

/* Answers from a live record of the request id. *ret_found stays false when there is none. */
static enum status replay(struct evaluation *eval, bool *ret_found) {
    struct txn_request_record record;
    enum status status = find_record(eval, &record, ret_found);
    if (status != STATUS_OK || !*ret_found) return status;
    if (record.fingerprint == eval->fingerprint) {
        *eval->outcome = record.outcome;
        eval->outcome->replayed = true;
    } else {
        refuse(eval, TXN_REFUSED_REQUEST_ID_REUSED, 0);
    }
    return STATUS_OK;
}

static void remember(struct evaluation *eval) {
    struct txn_apply *apply = eval->apply;
    struct txn_request_record record = record_of(eval);
    buf_clear(&apply->record_value);
    txn_request_record_encode(&apply->record_value, &record);
    struct slice key = slice_from_buf(&apply->record_key);
    struct slice value = slice_from_buf(&apply->record_value);
    if (eval->record_staged)
        txn_overlay_know_record(&apply->overlay, key, value);
    else
        txn_overlay_write_record(&apply->overlay, apply->batch, key, value);
}

static bool anchor_within(const struct txn_command *command, const struct txn_span *span) {
    struct slice anchor = txn_command_anchor(command);
    return slice_compare(anchor, span->start) >= 0 &&
           (span->end.len == 0 || slice_compare(anchor, span->end) < 0);
}

/* The record is looked up before the other keys are checked: a command that was done before a split
 * came between its keys has been done, and its retry, which finds the anchor here, must hear so. */
enum status txn_evaluate(struct txn_apply *apply, const struct txn_span *span, struct slice encoded,
                         const struct txn_command *command, struct arena *arena,
                         struct txn_outcome *ret_outcome) {
    ASSERT(apply->batch);
    ASSERT_CMP(command->commit_ts, >, 0);
    struct txn_outcome outcome = {.result = TXN_DONE};
    struct evaluation eval = {
        .apply = apply, .command = command, .arena = arena, .outcome = &outcome};
    bool idempotent = is_idempotent(command);
    if (idempotent) eval.fingerprint = txn_command_fingerprint(encoded);
    enum status status = STATUS_OK;

    if (!anchor_within(command, span)) {
        refuse(&eval, TXN_REFUSED_WRONG_RANGE, 0);
        goto out;
    }
    bool replayed = false;
    if (idempotent) status = replay(&eval, &replayed);
    if (status != STATUS_OK || replayed) goto out;
    if (!txn_command_within(command, span->start, span->end)) {
        refuse(&eval, TXN_REFUSED_WRONG_RANGE, 0);
        goto out;
    }
    status = decide(&eval);
    if (status == STATUS_OK && idempotent) remember(&eval);
out:
    if (status == STATUS_OK) *ret_outcome = outcome;
    return status;
}
