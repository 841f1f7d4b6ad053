/* Clients of the simulated cluster, and what they were told. Shared by clients*.c only.
 *
 * Harbor Point: reservations against an issuer's limit, in one command each (exposure and
 * reservation), cancelled now and then. Some of the statements and reads are stale ones. Registers:
 * every operation of the language, their histories kept for the check of linearizability. Every
 * write carries a request id, but for some of the registers', whose outcome may then stay unknown.
 */
#ifndef FLOTILLA_TESTS_SIM_CLIENTS_H
#define FLOTILLA_TESTS_SIM_CLIENTS_H

#include "tests/sim/linearizability.h"
#include "tests/sim/world.h"
#include "txn/command.h"
#include "txn/number.h"

#define CLIENTS_MAX 64u
#define REGISTERS_PER_GROUP 3u
#define REGISTERS_MAX (SIM_RANGES_MAX * REGISTERS_PER_GROUP)
#define ISSUERS_MAX SIM_RANGES_MAX
#define KEYS_PER_OPERATION_MAX REGISTERS_MAX
#define ISSUER_LIMIT 6000
/* Values that are put are multiples of this and unique, and what is added to them is drawn from
 * this many: a register that holds what it held before has not been changed meanwhile. */
#define REGISTER_STEP 1000000000
#define REGISTER_ADD_MAX 1000000u
/* Writes of unknown outcome make a history hard to judge: no more than so many per register. */
#define UNKNOWN_MAX 6u
/* The promise, not the constant that keeps it. */
#define SIM_REMEMBERED_HOURS 24u
#define GUARDS_MAX 2u /* of one change */

enum reservation_state {
    RESERVATION_ASKED,
    RESERVATION_APPROVED,
    RESERVATION_REFUSED,
    RESERVATION_CANCELLED
};

struct reservation {
    uint64_t number; /* of the operation: in its key */
    int64_t amount;
    enum reservation_state state;
    bool cancelling;   /* asked to, decided or not */
    bool insert_first; /* order of its two operations: whichever is refused, nothing is done */
    uint64_t approved, cancelled; /* moment that a client was told; 0: not yet */
    uint64_t shown;               /* operation that showed it last */
};

struct issuer {
    struct reservation *reservations;
    size_t count, cap;
    bool verified;
};

struct history {
    struct register_op *ops;
    uint64_t *versions; /* as many: when a change was committed; 0: not told, or none */
    size_t count, cap;
    uint64_t newest_ts;                 /* highest commit timestamp that a client was told */
    struct register_state newest_state; /* what the register held then */
    uint32_t unknown;
};

struct client_guard {
    enum txn_guard_kind kind;
    uint64_t version; /* VERSION, UNCHANGED */
    /* UNCHANGED, of registers `first` to `last`: judged by what was written when, and no part of
     * the history of the register that is changed. */
    bool by_versions;
    bool interval; /* sent with its end; else `first` is `last` */
    uint32_t first, last;
};

/* A guard by versions that was answered. */
struct guarded {
    struct client_guard guard;
    bool held;
    uint64_t commit_ts; /* held: of the write */
    uint64_t returned;  /* moment */
};

enum operation_kind {
    OPERATION_RESERVE,
    OPERATION_CANCEL,
    OPERATION_STATEMENT,
    OPERATION_READ,
    OPERATION_SCAN,
    OPERATION_CHANGE
};

struct operation {
    enum operation_kind kind;
    uint64_t number;     /* unique */
    char request_id[24]; /* empty: none */
    uint32_t attempts;
    enum router_code last_code; /* of the last attempt that was answered */
    bool doubtful; /* an attempt ended UNKNOWN: no later answer says that nothing was changed */
    bool reused;   /* its request id is one that was forgotten */
    bool repeated; /* sent again although it was decided: the answer must be the same */
    bool unjudged; /* read under a lease although leases fail: the answer may be anything */
    bool verify;   /* STATEMENT: nothing else is under way */
    bool stale;    /* STATEMENT, READ, SCAN: of whatever some replicas have */
    enum txn_result told_result;
    uint64_t told_ts;
    int64_t told_number;
    /* STATEMENT, SCAN: where the next page begins (empty: at the start; of a reverse one where it
     * ends), and what the pages before it showed. */
    char from[64];
    uint32_t pages, keys_passed;
    int64_t exposure, sum;
    size_t rows;
    /* RESERVE, CANCEL, STATEMENT */
    uint32_t issuer;
    size_t reservation;
    /* READ, SCAN, CHANGE */
    uint32_t key_count;
    uint32_t registers[KEYS_PER_OPERATION_MAX];
    size_t positions[KEYS_PER_OPERATION_MAX]; /* in the registers' histories */
    uint64_t floors[KEYS_PER_OPERATION_MAX];  /* newest_ts when it was called */
    uint64_t called;                          /* STATEMENT: moment */
    /* STATEMENT, SCAN: how. */
    bool reverse, keys_only;
    uint32_t row_limit, byte_limit; /* 0: none of its own */
    /* CHANGE */
    enum register_op_kind change;
    uint32_t guard_count;
    struct client_guard guards[GUARDS_MAX];
};

struct client {
    struct sim_timer timer; /* thinks, or waits before it tries again */
    struct sim *sim;
    uint32_t number, router;
    bool busy;    /* `operation` is undecided */
    bool waiting; /* a router has it */
    uint64_t sent_us;
    bool believes; /* that nothing was changed, when it is told so; and leaves */
    struct operation operation;
    /* Its last write that was decided, or change of a register. After a night within the hours that
     * are promised it is sent again, and answered as it was; after a longer one its request id is
     * any other, and serves for something new. */
    struct operation remembered;
    enum { MEMORY_NONE, MEMORY_FRESH, MEMORY_REPEAT, MEMORY_REUSE } memory;
};

struct sim_clients {
    struct client clients[CLIENTS_MAX];
    uint32_t issuer_count, group_count, register_count;
    struct issuer issuers[ISSUERS_MAX];
    struct history histories[REGISTERS_MAX];
    struct guarded *guarded;
    size_t guarded_count, guarded_cap;
    uint64_t moment, last_number, decided;
    bool finishing, resting;
    uint32_t verify_next; /* issuer to be verified next; UINT32_MAX: not yet */
};

static inline struct register_op *client_record(struct sim_clients *clients,
                                                const struct operation *operation, uint32_t key) {
    return &clients->histories[operation->registers[key]].ops[operation->positions[key]];
}

static inline bool client_writes(const struct operation *operation) {
    return operation->kind == OPERATION_RESERVE || operation->kind == OPERATION_CANCEL ||
           operation->kind == OPERATION_CHANGE;
}

/* Keys as text, in the buffer given. */
void client_issuer_key(char *text, size_t size, uint32_t issuer, const char *rest);
void client_register_key(char *text, size_t size, uint32_t number);

/* ---- client_guards.c ---- */

struct client_guard_texts {
    char keys[GUARDS_MAX][48], ends[GUARDS_MAX][48 + 1];
    uint8_t number[TXN_NUMBER_TEXT_BYTES_MAX];
};

/* For a change whose operation is drawn; often none. */
void client_guards_choose(struct client *client);
/* Returns how many; they borrow from `texts`. */
uint32_t client_guards_fill(const struct client *client, struct client_guard_texts *texts,
                            struct txn_guard *guards);
/* An answer to a write: whether it is or is not refused for the steps that it takes. */
void client_guards_check_work(struct client *client, enum txn_result result);
/* The answer to a guard by versions; judged when all are known. */
void client_guards_note(struct client *client, const struct client_guard *guard,
                        const struct txn_outcome *outcome);
void client_guards_judge(struct sim *sim);

/* client_answers.c: what a decided operation means; broken rules end the run. */
void client_told(struct client *client, const struct router_reply *reply);

#endif
