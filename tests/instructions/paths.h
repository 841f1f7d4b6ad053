/* Hot paths that are driven a fixed number of times, so that the instructions of one operation are
 * a difference between two runs: whatever is done once cancels out.
 *
 * Instructions are counted inside measured() only, and inside drive_worker() of
 * tests/range/cluster.c: instructions.py tells valgrind so. What a path does outside is free.
 * Everything is seeded and single-threaded: the same build gives the same figure. */
#ifndef FLOTILLA_TESTS_INSTRUCTIONS_PATHS_H
#define FLOTILLA_TESTS_INSTRUCTIONS_PATHS_H

#include <stdint.h>

#include "base/slice.h"
#include "txn/command.h"

struct path {
    const char *name;
    const char *what;    /* what one operation is, for people */
    uint32_t operations; /* of the short run; the long one does PATH_LONG times as many */
    void (*run)(uint32_t operations);
};

#define PATH_LONG 3u
#define PATH_TRY 64u /* operations; a multiple of what any path does together */
#define PATH_KEY_BYTES 16u
#define PATH_VALUE_BYTES 256u

extern const struct path paths_raft[], paths_range[], paths_txn[], paths_router[], paths_frame[],
    paths_proto[]; /* each ends with an entry without a name */

/* Runs the function with the counter on. Must not be nested, nor turn a worker. */
typedef void measured_fn(void *ctx);
void measured(measured_fn *fn, void *ctx);

/* ---- what clients ask (commands.c): made outside of what is measured ---- */
struct path_command {
    struct txn_command command;
    struct txn_op ops[2];
    char keys[2][64];
    char request_id[16];
};

/* Writes key number n, `prefix` (a range's, or "") and 16 bytes, in no order that a tree would
 * like.
 */
struct slice path_key(char text[64], const char *prefix, uint32_t number);
struct slice path_value(void);
/* One put of PATH_VALUE_BYTES, without a request id. */
void path_put(struct path_command *into, const char *prefix, uint32_t number);
/* One reservation as `flotilla bench hot-issuer` makes it: a bounded add to the exposure, an insert
 * of the reservation's row, a request id. */
void path_reservation(struct path_command *into, const char *prefix, uint32_t number);

#endif
