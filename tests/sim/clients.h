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
    size_t count, cap;
    uint64_t newest_ts;                 /* highest commit timestamp that a client was told */
    struct register_state newest_state; /* what the register held then */
    uint32_t unknown;
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
    bool repeated; /* sent again although it was decided: the answer must be the same */
    bool unjudged; /* read under a lease although leases fail: the answer may be anything */
    bool verify;   /* STATEMENT: nothing else is under way */
    bool stale;    /* STATEMENT, READ, SCAN: of whatever some replicas have */
    uint64_t told_ts;
    int64_t told_number;
    /* STATEMENT, SCAN: where the next page begins (empty: at the start), and what the pages before
     * it showed. */
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
    /* SCAN: how. Of a reverse one `from` is where the next page ends. */
    bool reverse, keys_only;
    uint32_t row_limit, byte_limit; /* 0: none of its own */
    enum register_op_kind change;
    enum txn_guard_kind guard; /* CHANGE; 0: none */
    uint64_t guard_version;    /* VERSION, UNCHANGED */
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
};

struct sim_clients {
    struct client clients[CLIENTS_MAX];
    uint32_t issuer_count, group_count, register_count;
    struct issuer issuers[ISSUERS_MAX];
    struct history histories[REGISTERS_MAX];
    uint64_t moment, last_number, decided;
    bool finishing;
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

/* client_answers.c: what a decided operation means; broken rules end the run. */
void client_told(struct client *client, const struct router_reply *reply);

#endif
