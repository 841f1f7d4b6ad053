/* A command: what one client write asks of one range, evaluated when it is applied, with the same
 * result on every replica (DESIGN.md, "Commands are evaluated when they are applied").
 *
 * All guards and operations see the state left by the commands before; either every operation takes
 * effect, at commit_ts, or none does. Operations of one command see each other in order.
 *
 * A number, for TXN_OP_ADD, is a signed 64-bit integer written as decimal text in its one canonical
 * form (`-17`; no blanks, no `+`, no leading zeros, no `-0`); an absent key counts as 0. */
#ifndef FLOTILLA_TXN_COMMAND_H
#define FLOTILLA_TXN_COMMAND_H

#include "base/arena.h"
#include "base/codec.h"
#include "base/status.h"
#include "txn/limits.h"

enum txn_guard_kind {
    TXN_GUARD_EXISTS = 1,
    TXN_GUARD_ABSENT,
    TXN_GUARD_EQUALS,    /* value equals `value` */
    TXN_GUARD_VERSION,   /* the present value's commit_ts == `version`; 0: absent or deleted */
    TXN_GUARD_UNCHANGED, /* no version (nor deletion) newer than `version` in [key, end) */
};

struct txn_guard {
    enum txn_guard_kind kind;
    struct slice key;
    struct slice end;   /* UNCHANGED: exclusive; empty: just `key` */
    struct slice value; /* EQUALS */
    uint64_t version;   /* VERSION, UNCHANGED: a commit timestamp */
};

enum txn_op_kind {
    TXN_OP_PUT = 1,
    TXN_OP_DELETE, /* of an absent key: fine, changes nothing */
    TXN_OP_INSERT, /* refused when the key exists */
    TXN_OP_ADD,    /* adds `delta`; refused when the result would leave [minimum, maximum] */
};

struct txn_op {
    enum txn_op_kind kind;
    struct slice key;
    struct slice value;       /* PUT, INSERT */
    int64_t delta;            /* ADD */
    int64_t minimum, maximum; /* ADD, inclusive; INT64_MIN and INT64_MAX: no bound */
};

struct txn_command {
    struct slice
        request_id; /* empty: not idempotent. Chosen by the client, unique per intended write. */
    uint64_t commit_ts; /* set by the range leader when it proposes; 0 before */
    bool unbounded;     /* decoded from format version 1, which knew no TXN_COMMAND_STEPS_MAX */
    uint32_t guard_count, op_count;
    struct txn_guard *guards; /* in the arena when decoded; slices borrow from the input */
    struct txn_op *ops;       /* at least one, unless guards alone are asked for */
};

/* Why a command was refused; a deterministic rejection, the same on every replica. */
enum txn_result {
    TXN_DONE = 0,
    TXN_REFUSED_GUARD = 1,             /* index: the guard */
    TXN_REFUSED_EXISTS = 2,            /* index: the insert */
    TXN_REFUSED_NOT_A_NUMBER = 3,      /* index: the add; the stored value is not a number */
    TXN_REFUSED_OVERFLOW = 4,          /* index: the add; would leave 64 bits */
    TXN_REFUSED_BOUND = 5,             /* index: the add; number: what the key holds now */
    TXN_REFUSED_REQUEST_ID_REUSED = 6, /* same id, different command: nothing changed */
    TXN_REFUSED_WRONG_RANGE = 7, /* a key is outside the range by now; retry after looking it up */
    TXN_REFUSED_WORK = 8, /* more than TXN_COMMAND_STEPS_MAX; index: the guard, or behind them the
                             operation, at which it was too much */
};

struct txn_outcome {
    enum txn_result result;
    bool replayed;         /* answered from the request record: an earlier attempt had decided */
    uint64_t commit_ts;    /* DONE: version of everything written */
    uint32_t index;        /* which guard or operation refused */
    int64_t number;        /* BOUND: present value */
    uint32_t number_count; /* DONE: results of the adds, in order of the operations */
    int64_t *numbers;
};

/* Limits (txn/limits.h), kinds, intervals, bounds: everything that can be checked without state, so
 * that a bad command is refused before it is proposed. On INVALID or TOO_LARGE `error` gets a
 * sentence that names the part, its key, what is wrong and the limit. (Several operations may name
 * the same key: they see each other, and only the last result becomes a version.) */
enum status txn_command_check(const struct txn_command *command, struct buf *error) MUST_CHECK;

/* Versioned bytes (layout in command.c). commit_ts sits at a fixed offset so that the leader can
 * stamp an encoded command without decoding it; stamping also makes a command of an older format
 * version one of the present version, so that nothing else enters a log. Decoding reads what it was
 * given and no limits beyond TXN_COMMAND_PARTS_MAX (txn_command_check does): CORRUPTION, or
 * UNSUPPORTED for a version that this program does not know, which a replica must not skip. */
void txn_command_encode(struct buf *out, const struct txn_command *command);
/* What txn_command_encode will write: the size that TXN_COMMAND_BYTES_MAX limits. */
uint64_t txn_command_encoded_bytes(const struct txn_command *command);
enum status txn_command_decode(struct slice bytes, struct arena *arena,
                               struct txn_command *ret_command) MUST_CHECK;
/* Whether txn_command_decode would take it, without its memory; and its timestamp. */
enum status txn_command_walk(struct slice bytes, uint64_t *ret_commit_ts) MUST_CHECK;
void txn_command_stamp(uint8_t *encoded, size_t len, uint64_t commit_ts);
uint64_t txn_command_commit_ts(struct slice encoded); /* of one that can be decoded */
/* Identity of what was asked, apart from commit_ts: detects a request id reused for something else.
 */
uint64_t txn_command_fingerprint(struct slice encoded);
/* Smallest and largest key named. An interval counts with both its ends, although the upper one is
 * not part of it: whether a command fits a range is what txn_command_within answers. */
void txn_command_span(const struct txn_command *command, struct slice *ret_first,
                      struct slice *ret_last);
/* Every key and every interval lies in [start, end); empty end: no end. */
bool txn_command_within(const struct txn_command *command, struct slice start, struct slice end);
/* The key that the request record lies next to, and by which the command is routed: the first that
 * is inserted (there the record costs no row of its own: request_record.h), else that of the first
 * operation, or of the first guard where there are no operations. */
struct slice txn_command_anchor(const struct txn_command *command);
bool txn_command_inserts(const struct txn_command *command); /* so its anchor is a key it inserts */

void txn_outcome_encode(struct buf *out, const struct txn_outcome *outcome);
enum status txn_outcome_decode(struct decoder *in, struct arena *arena,
                               struct txn_outcome *ret_outcome) MUST_CHECK;
const char *txn_result_text(enum txn_result result);

#endif
