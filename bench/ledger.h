/* What the load generator was told about each of its reservations: the client's side of the truth,
 * which verification holds against the data.
 *
 * An entry is 12 bytes, so that a run of millions fits. Not thread-safe. */
#ifndef FLOTILLA_BENCH_LEDGER_H
#define FLOTILLA_BENCH_LEDGER_H

#include "base/slice.h"
#include "base/status.h"

enum ledger_state {
    LEDGER_PENDING = 0, /* sent or about to be; treated as unknown if a run ends with it */
    LEDGER_ACKED,       /* told: done */
    LEDGER_REFUSED,     /* told: refused, nothing changed */
    LEDGER_NOT_DONE,    /* given up on; every attempt was answered with "nothing changed" */
    LEDGER_UNKNOWN,     /* given up on; an attempt may have taken effect */
    LEDGER_STATE_COUNT,
};

struct ledger_entry {
    uint32_t issuer;
    uint32_t amount;
    uint8_t state; /* enum ledger_state */
    bool seen;     /* verification found the reservation */
};

struct ledger {
    uint64_t run;  /* random: tells this run's reservations from others' in the same cluster */
    int64_t limit; /* that no exposure may pass */
    int64_t hottest_limit; /* the same of issuer 0; it is not saved: only the demo has another */
    size_t count, cap;
    struct ledger_entry *entries; /* index: the reservation's n */
    uint64_t state_counts[LEDGER_STATE_COUNT];
};

void ledger_init(struct ledger *ledger, uint64_t run, int64_t limit);
void ledger_done(struct ledger *ledger);

/* Appends a pending entry and returns its n. */
uint64_t ledger_add(struct ledger *ledger, uint32_t issuer, uint32_t amount);
/* A pending entry is decided, once. */
void ledger_decide(struct ledger *ledger, uint64_t n, enum ledger_state state);
const char *ledger_state_name(enum ledger_state state);

/* As text, one line per entry after a header line; replaces the file atomically. IO, NO_SPACE with
 * a sentence in `error`. */
enum status ledger_save(const struct ledger *ledger, const char *path,
                        struct buf *error) MUST_CHECK;
/* Into an initialised, empty ledger. IO, CORRUPTION with a sentence that names file and line. */
enum status ledger_load(struct ledger *ledger, const char *path, struct buf *error) MUST_CHECK;

#endif
