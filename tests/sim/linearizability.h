/* Decides whether what clients of one register saw can be explained by operations that took effect
 * one at a time, each between its call and its return: linearizability (Herlihy and Wing 1990). The
 * algorithm is Wing and Gong's search (1993) as Lowe does it (2017): just in time, with a memory of
 * configurations.
 *
 * Linearizability is local: a store of many keys is checked key by key, so one history holds the
 * operations of one key, and the caller partitions. */
#ifndef FLOTILLA_TESTS_SIM_LINEARIZABILITY_H
#define FLOTILLA_TESTS_SIM_LINEARIZABILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A register is absent, or holds a number. */
struct register_state {
    bool present;
    int64_t number; /* 0 when absent */
};

enum register_op_kind {
    REGISTER_GET,
    REGISTER_PUT,    /* holds `argument` */
    REGISTER_DELETE, /* absent, whatever it was */
    REGISTER_INSERT, /* as PUT when absent, else refused */
    REGISTER_ADD,    /* adds `argument` to the number (absent: to 0), unless it leaves the bounds */
    REGISTER_LOOK,   /* a GET that sees only whether it is present */
};

/* What an operation demands of the register before it does anything. */
enum register_guard {
    REGISTER_UNGUARDED,
    REGISTER_IF_PRESENT,
    REGISTER_IF_ABSENT,
    REGISTER_IF_STATE, /* that it is in `guard_state` */
};

enum register_answer {
    REGISTER_UNKNOWN, /* took effect at any time after the call, or never will */
    REGISTER_DONE,
    REGISTER_REFUSED, /* INSERT, ADD: nothing changed */
    REGISTER_GUARDED, /* its guard did not hold: nothing changed */
};

struct register_op {
    enum register_op_kind kind;
    enum register_answer answer;
    int64_t argument;
    int64_t minimum, maximum; /* ADD */
    enum register_guard guard;
    struct register_state guard_state;
    /* GET, LOOK, DONE: what was read. ADD: `number` is the sum when DONE, what stood there when
     * REFUSED.
     */
    struct register_state seen;
    /* Moments on any scale, but no two operations share one; returned is ignored when UNKNOWN. */
    uint64_t called, returned;
};

enum linearizability {
    LINEARIZABLE,
    NOT_LINEARIZABLE,
    LINEARIZABILITY_UNDECIDED, /* too much happened at once: beyond `configurations_max` or 64 calls
                                */
};

/* The register is absent before the first operation. `ops` may be in any order. When the history is
 * not linearizable, *ret_culprit (may be NULL) is the position in `ops` of the operation beyond
 * whose return no order could be continued. */
enum linearizability linearizability_check(const struct register_op *ops, size_t count,
                                           size_t configurations_max, size_t *ret_culprit);

const char *register_op_name(enum register_op_kind kind); /* "put" */

#endif
