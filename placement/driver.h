/* The object behind placement.h, and what its files ask of each other. Inside placement/ only.
 *
 * States of a member, and which function moves it:
 *   follows                 no input but messages is served
 *   leads, not yet serving  elected, but an entry of its own term is not applied: what earlier
 *                           leaders committed may be missing
 *   serves                  placement_driver_begin_serving; ends with placement_driver_end_serving
 *                           when the role or the term changes
 * Even while serving, each answer needs the lease (placement_driver_may_answer). */
#ifndef FLOTILLA_PLACEMENT_DRIVER_H
#define FLOTILLA_PLACEMENT_DRIVER_H

#include "base/arena.h"
#include "base/list.h"
#include "base/prng.h"
#include "placement/placement.h"
#include "placement/state.h"
#include "placement/timestamps.h"
#include "placement/view.h"
#include "placement/wall_clock.h"
#include "raft/raft.h"
#include "storage/raft_log.h"

/* Ready works taken in one turn; what is left waits for the next. */
#define PLACEMENT_WORKS_MAX 8u
/* How soon a node comes back while something is waiting for it: well below an election time-out, so
 * that the replicas of a range come into being together. */
#define PLACEMENT_EAGER_HEARTBEAT_MS 20u
/* A frame between members: version u8 ‖ sender's wall clock in ms u64 ‖ Raft message
 * (raft/message_codec.h). */
#define PLACEMENT_FRAME_VERSION 2u
/* Range ids are positive, so the group of placement never meets a range's in a shared engine. */
#define PLACEMENT_RAFT_GROUP 0u

/* One ready work between raft_ready and the end of the turn. Pointers borrow from the core. */
struct placement_work {
    struct raft_append append;
    const struct raft_message *after_append;
    uint32_t after_append_count;
    const struct raft_entry *committed;
    uint32_t committed_count;
};

/* A registration on its way through the log. */
struct placement_waiter {
    struct list_node in_waiters; /* ascending by id.index */
    struct raft_log_id id;
    struct placement_uuid uuid;
    uint64_t incarnation;
    placement_register_fn *done;
    void *ctx;
};

/* A request for timestamps that waits for the bound or the lease. */
struct placement_timestamp_wait {
    uint32_t count;
    placement_timestamps_fn *done;
    void *ctx;
};

struct placement_driver {
    struct placement_config config; /* split_keys: not kept */
    struct buf split_keys;          /* as FORM carries them */
    uint32_t split_key_count;
    struct storage_engine *engine;
    struct placement_transport transport;
    const struct clock *clock;
    struct prng prng;

    struct raft *raft;
    struct raft_log log;
    struct raft_log_id log_base;  /* last compacted entry */
    struct raft_conf_state conf;  /* as applied */
    struct raft_log_id applied;   /* last applied entry */
    struct placement_state state; /* as applied */

    uint64_t now_us; /* of the latest call */
    uint64_t next_tick_us;
    struct storage_batch *batch;   /* log and hard state of this turn, to be synced */
    struct storage_batch *effects; /* of applied entries: buffered, the log is the durable copy */
    struct placement_work works[PLACEMENT_WORKS_MAX];
    uint32_t work_count;
    bool sync_needed; /* `batch` promises something */
    bool wakened;     /* an input came that a turn must look at */

    uint64_t serving_term;       /* 0: not serving */
    uint64_t housekeeping_index; /* FORM or BIRTH on its way, until it is applied */
    uint64_t note_synced_us;     /* when SYNCED may be proposed next */
    struct placement_timestamps timestamps;
    struct placement_wall wall;
    uint64_t confirm_us; /* when the others' clocks are looked at next */
    bool clock_refused;  /* and said */
    struct placement_heard_clock member_clocks[PLACEMENT_MEMBERS_MAX]; /* as config.members */
    struct placement_view view;
    struct list_node waiters;
    uint32_t waiter_count;
    struct placement_timestamp_wait *queue; /* ring of PLACEMENT_TIMESTAMP_QUEUE_MAX */
    uint32_t queue_head, queue_count;
    uint64_t queued_timestamps;

    struct arena arena;  /* decoded messages of one call */
    struct buf scratch;  /* bytes of one call */
    struct buf text;     /* borrowed by the last answer */
    struct arena answer; /* likewise: its arrays */
};

/* driver.c */
/* The nodes that would be born with ranges now; their ids go to `node_ids` (may be NULL). */
uint32_t placement_driver_living(const struct placement_driver *driver, struct buf *node_ids);
enum status placement_driver_propose(struct placement_driver *driver,
                                     const struct placement_command *command,
                                     struct raft_log_id *ret_id) MUST_CHECK;
/* The time of an input: the core must know it before anything is answered from its lease. */
void placement_driver_set_now(struct placement_driver *driver, uint64_t now_us);
bool placement_driver_may_answer(const struct placement_driver *driver);
void placement_driver_follow_leadership(struct placement_driver *driver);

/* At the next turn instead of with the others: a node says good-bye. */
void placement_driver_note_synced_soon(struct placement_driver *driver);

/* driver_clock.c */
/* The time of the next timestamp: what is believed of the wall clock. */
uint64_t placement_driver_wall_ms(struct placement_driver *driver);
void placement_driver_hear_member(struct placement_driver *driver, uint64_t member_id,
                                  uint64_t wall_ms);
void placement_driver_begin_clock(struct placement_driver *driver);
void placement_driver_follow_clock(struct placement_driver *driver);

/* driver_raft.c */
enum status placement_driver_recover(struct placement_driver *driver,
                                     struct raft_hard_state *ret_hard_state,
                                     struct buf *error) MUST_CHECK;
struct raft_storage placement_driver_storage(struct placement_driver *driver);
void placement_driver_collect(struct placement_driver *driver);
void placement_driver_finish_works(struct placement_driver *driver);

/* driver_apply.c */
/* Whether an entry can be applied, as far as its bytes tell: asked before it enters the log. */
enum status placement_driver_check_entry(const struct raft_entry *entry,
                                         struct buf *why) MUST_CHECK;
void placement_driver_apply(struct placement_driver *driver, const struct raft_entry *entries,
                            uint32_t count);
void placement_driver_put_apply_state(const struct placement_driver *driver,
                                      struct storage_batch *batch);
enum status placement_driver_read_apply_state(struct placement_driver *driver, struct slice bytes,
                                              uint64_t *ret_member_id) MUST_CHECK;

/* driver_register.c */
void placement_driver_answer_waiter(struct placement_driver *driver, struct raft_log_id applied,
                                    const struct placement_outcome *outcome);
void placement_driver_fail_waiters(struct placement_driver *driver, enum status status);

/* driver_status.c: every node, in the memory of the answer under way. */
const struct placement_node_address *placement_driver_addresses(struct placement_driver *driver);

/* driver_timestamps.c */
void placement_driver_extend_bound(struct placement_driver *driver);
void placement_driver_serve_timestamps(struct placement_driver *driver);
void placement_driver_fail_timestamps(struct placement_driver *driver, enum status status);

#endif
