/* The placement driver: cluster birth, node registration, ids, the timestamp oracle, and the range
 * map. A replicated state machine on the Raft core with a group of its own; deterministic, without
 * threads, clock, sockets or files: one owner thread hands in events and time and drives it as
 * range/'s workers are driven:
 *
 *   inputs (messages, registrations, heartbeats, requests)       any number
 *   if (placement_driver_turn(driver, now)) {
 *       storage_write(engine, placement_driver_batch(driver), STORAGE_SYNCED)   failure is fatal
 *       placement_driver_synced(driver, now)
 *   }
 *   again while placement_driver_pending(driver), else sleep until placement_driver_next_us(driver)
 *
 * Only the leader serves, and only while it holds its lease (raft/README.md): other members answer
 * NOT_LEADER. Invariants: placement/README.md. */
#ifndef FLOTILLA_PLACEMENT_PLACEMENT_H
#define FLOTILLA_PLACEMENT_PLACEMENT_H

#include "base/clock.h"
#include "placement/messages.h"
#include "storage/engine.h"

struct placement_driver;

/* Messages to other members; losing or reordering them is allowed, blocking is not. NULL functions
 * are fine in a group of one. */
struct placement_transport {
    void *ctx;
    void (*send)(void *ctx, uint64_t to_member, struct slice frame); /* borrowed */
};

struct placement_config {
    uint64_t member_id; /* positive */
    uint32_t member_count;
    uint64_t members[PLACEMENT_MEMBERS_MAX]; /* ids of all members, this one among them */

    /* What a cluster is born with. Only the first start of a new group looks at these; later they
     * are what was replicated then. */
    uint32_t replication_factor; /* 1, 3, 5, ... */
    uint32_t birth_nodes;        /* nodes that must be alive at birth; 0: replication factor */
    uint32_t initial_ranges;     /* evenly spread (placement/birth.h); ignored with split keys */
    /* Comma-separated keys at which the key space is cut, in ascending order: "f,m,t" makes four
     * ranges. \xHH stands for a byte, \\ for a backslash, \, for a comma. Empty or NULL: none. */
    const char *split_keys;

    uint64_t tick_us;             /* 10,000 */
    uint32_t heartbeat_ticks;     /* 5 */
    uint32_t election_ticks;      /* 15 */
    uint32_t lease_drift_ppm;     /* 10,000 */
    uint64_t timestamp_window_ms; /* how far ahead the bound is persisted; 3,000 */
    uint64_t silence_ms;          /* a node not heard from for so long counts as down; 3,000 */
    uint64_t node_heartbeat_ms;   /* what nodes are told; 1,000 */
    uint32_t log_entries_kept;    /* applied ones; 0: PLACEMENT_LOG_ENTRIES_KEPT. Tests keep few */
    bool trust_clock; /* a person says that this member's wall clock is right at its first lead */
    uint64_t seed;    /* of the cluster id and of election time-outs */
};

void placement_config_defaults(struct placement_config *config);

/* Recovers from the engine, or starts a new group on an empty one. INVALID: configuration;
 * CORRUPTION, IO; MISMATCH: the engine belongs to another member. `error` says what and the way
 * out. The clock gives the wall time for timestamps (as far as it is believed: wall_clock.h);
 * monotonic time, which should go on while the machine sleeps, comes with each call. */
enum status placement_driver_open(const struct placement_config *config,
                                  struct storage_engine *engine,
                                  const struct placement_transport *transport,
                                  const struct clock *clock, uint64_t now_us, struct buf *error,
                                  struct placement_driver **ret_driver) MUST_CHECK;
/* Waiting requests are answered SHUTDOWN first. The engine stays the caller's. */
void placement_driver_free(struct placement_driver *driver);

/* ---- driving ---- */
bool placement_driver_turn(struct placement_driver *driver, uint64_t now_us);
struct storage_batch *placement_driver_batch(struct placement_driver *driver);
void placement_driver_synced(struct placement_driver *driver, uint64_t now_us);
bool placement_driver_pending(const struct placement_driver *driver);
uint64_t placement_driver_next_us(const struct placement_driver *driver);
/* Turns with synced writes until nothing is pending: what an owner without other work calls after
 * each batch of events. A failed write ends the process (fatal). */
void placement_driver_run(struct placement_driver *driver, uint64_t now_us);

/* ---- inputs ---- */
/* A frame from another member. CORRUPTION: close its stream. */
enum status placement_driver_message(struct placement_driver *driver, uint64_t from_member,
                                     struct slice frame, uint64_t now_us) MUST_CHECK;

/* The callback comes exactly once: at once when refused, else from a later turn, when the answer is
 * durable. `request` is copied. */
typedef void placement_register_fn(void *ctx, const struct placement_register_reply *reply);
void placement_driver_register(struct placement_driver *driver,
                               const struct placement_register_request *request, uint64_t now_us,
                               placement_register_fn *done, void *ctx);

/* Answers at once; `ret_reply` borrows from the driver until its next call. */
void placement_driver_heartbeat(struct placement_driver *driver,
                                const struct placement_heartbeat_request *request, uint64_t now_us,
                                struct placement_heartbeat_reply *ret_reply);

/* Timestamps first .. first+count-1, each handed out once, all above every earlier answer of any
 * member. The callback comes exactly once: normally before this returns, from memory; from a later
 * turn when the bound must be extended first. Refusals: INVALID (count 0 or over
 * PLACEMENT_TIMESTAMPS_MAX), NOT_LEADER, BUSY (queue full), SHUTDOWN. */
typedef void placement_timestamps_fn(void *ctx, enum status status, uint64_t first, uint32_t count);
void placement_driver_timestamps(struct placement_driver *driver, uint32_t count, uint64_t now_us,
                                 placement_timestamps_fn *done, void *ctx);

/* ---- reports ---- */
/* NOT_LEADER. An unborn cluster has zero ranges. */
enum status placement_driver_ranges(struct placement_driver *driver, uint64_t now_us,
                                    struct placement_range_map *ret_map) MUST_CHECK;
/* Any member answers for what it knows. */
void placement_driver_status(struct placement_driver *driver, uint64_t now_us,
                             struct placement_status *ret_status);
/* The same as lines of text for the operator, and as one line of JSON for programs (layout in
 * status_print.c). */
void placement_status_print(const struct placement_status *status, struct buf *out);
void placement_status_print_json(const struct placement_status *status, struct buf *out);
/* One sentence naming the leader, for NOT_LEADER answers; borrowed until the next call. */
struct slice placement_driver_not_leader_text(struct placement_driver *driver);

/* Walks the whole object and asserts its invariants. */
void placement_driver_check(const struct placement_driver *driver);

#endif
