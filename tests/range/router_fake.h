/* A make-believe cluster around a real router: nodes that answer as range leaders and followers do,
 * a network with delays and losses, placement, all in virtual time and from one seed. What the
 * nodes hold is one engine that every range shares; commands are really evaluated. */
#ifndef FLOTILLA_TESTS_RANGE_ROUTER_FAKE_H
#define FLOTILLA_TESTS_RANGE_ROUTER_FAKE_H

#include <criterion/criterion.h>

#include "base/heap.h"
#include "base/prng.h"
#include "range/router/router.h"
#include "storage/memory_engine.h"
#include "txn/evaluate.h"

#define FAKE_NODES 5 /* ids 1..5; every range has a voter on each */
#define FAKE_RANGES_MAX 16
#define FAKE_SECOND 1000000u /* in virtual microseconds */

struct fake_node {
    bool dead;           /* the stream is broken; sends fail */
    bool frozen;         /* takes everything, answers nothing until thawed */
    bool unreported;     /* nobody tells the router when it comes back */
    uint32_t generation; /* of the stream: what is on the way dies with it */
    uint64_t requests, frames;
    uint64_t writes_seen;
    uint64_t as_of; /* what it says with stale reads */
    bool behind;    /* refuses those: it does not know the range as it is asked for */
};

struct fake_range {
    struct range_descriptor descriptor;
    uint64_t leader; /* node; 0: none */
    uint64_t hint;   /* what followers say; FAKE_HINT_TRUE: the leader, if it lives */
    uint64_t hint_at[FAKE_NODES + 1]; /* the same per node, when not 0 */
    uint64_t gone_from;               /* this node has the range no more; 0: every node has it */
};

#define FAKE_HINT_TRUE UINT64_MAX

/* Chances in percent. */
struct fake_faults {
    uint32_t lose_request, lose_reply, repeat_reply;
    uint32_t busy, unknown, unavailable, no_hint, wrong_hint;
};

struct fake {
    struct router *router;
    struct router_config config;
    struct prng prng;
    uint64_t now_us;
    uint64_t delay_min_us, delay_max_us;
    struct fake_faults faults;
    bool placement_silent;
    uint32_t get_rows_max;     /* a GET or SCAN answers at most so many; 0: all */
    uint64_t scan_steps_max;   /* a SCAN makes at most so many steps; 0: any number */
    uint32_t busy_left;        /* so many requests are answered BUSY */
    uint32_t wrong_range_left; /* so many commands are refused WRONG_RANGE */
    const char *unavailable_text;
    struct fake_node nodes[FAKE_NODES + 1];
    struct fake_range ranges[FAKE_RANGES_MAX];
    uint32_t range_count, refreshes;
    struct heap events;
    struct storage_engine *engine;
    struct storage_batch *batch;
    struct txn_apply *apply;
    struct arena arena; /* reset per request */
    uint64_t next_ts, next_range_id;
    /* Told of every command that a leader evaluates. */
    void (*on_evaluated)(void *ctx, const struct txn_command *command,
                         const struct txn_outcome *outcome);
    void *evaluated_ctx;
};

void fake_init(struct fake *fake, uint64_t seed);
void fake_done(struct fake *fake);
void fake_new_router(struct fake *fake); /* with fake->config, instead of the present one */
/* Fresh, with ranges 1 [, g), 2 [g, p) and 3 [p, ), all led by `leader`. */
void fake_start(struct fake *fake, uint64_t leader);
/* The same; the router has served every range, so that it knows all leaders. */
void fake_start_warm(struct fake *fake, uint64_t leader);
/* Ranges cut at the given keys, ids 1.., all led by `leader`. */
void fake_cut(struct fake *fake, const char *const *keys, uint32_t count, uint64_t leader);
struct fake_range *fake_range_of(struct fake *fake, struct slice key);
struct range_descriptor *fake_descriptor_of(struct fake *fake, const char *key);
void fake_lead(struct fake *fake, const char *key, uint64_t node);
void fake_split(struct fake *fake, struct slice key);
void fake_kill(struct fake *fake, uint64_t node);
void fake_revive(struct fake *fake, uint64_t node);
void fake_freeze(struct fake *fake, uint64_t node);
void fake_thaw(struct fake *fake, uint64_t node);
/* Delivers, ticks and flushes until that time, or until nothing is left to happen. */
void fake_run(struct fake *fake, uint64_t until_us);
uint64_t fake_requests(const struct fake *fake); /* that nodes have received */

/* ---- a client ---- */
struct answer {
    uint32_t times; /* the callback came so often */
    uint64_t at_us;
    struct fake *fake;
    enum router_code code;
    char text[512];
    uint32_t retry_after_us, row_count;
    bool more;
    char resume[64];
    size_t resume_len;
    uint32_t found; /* rows that are not absent */
    size_t value_bytes;
    uint64_t as_of;
    char rows[4096]; /* "key=value," of all rows; "-," for an absent key */
    struct txn_outcome outcome;
    int64_t first_number;
};

void answer_set(void *ctx, const struct router_reply *reply);
void fake_submit(struct fake *fake, const struct router_request *request, struct answer *answer);
/* One op of the named kind; request_id NULL: none. */
void fake_put(struct fake *fake, const char *key, const char *value, const char *request_id,
              struct answer *answer);
void fake_delete(struct fake *fake, const char *key, struct answer *answer);
void fake_add(struct fake *fake, const char *key, int64_t delta, int64_t maximum,
              const char *request_id, struct answer *answer);
void fake_get(struct fake *fake, const char *const *keys, uint32_t count, struct answer *answer);
void fake_scan(struct fake *fake, const char *start, const char *end, bool reverse, uint32_t rows,
               struct answer *answer);

#endif
