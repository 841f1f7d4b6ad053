/* The simulated world, shared by the files of this folder.
 *
 * Hosts are machines: nodes, members of placement, routers. Each has a clock, a disk, and at most
 * one process. A process that ended is another incarnation when it comes back; what was bound to
 * the old one (streams, timers) is void.
 *
 * Everything that happens is a timer in one heap; handlers run to completion. Timers due at the
 * same moment fire in an order that depends on nothing but the history. */
#ifndef FLOTILLA_TESTS_SIM_WORLD_H
#define FLOTILLA_TESTS_SIM_WORLD_H

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/prng.h"
#include "placement/placement.h"
#include "range/drain.h"
#include "range/router/router.h"
#include "range/store.h"
#include "storage/memory_engine.h"
#include "tests/sim/sim.h"

#define SIM_NODES_MAX 7u
#define SIM_MEMBERS_MAX 3u
#define SIM_ROUTERS 2u
#define SIM_HOSTS_MAX (SIM_NODES_MAX + SIM_MEMBERS_MAX + SIM_ROUTERS)
#define SIM_RANGES_MAX 64u
#define SIM_WORKERS_MAX 2u
#define SIM_TICK_US 10000u
#define SIM_LEASE_DRIFT_PPM 10000u
/* Two clocks differ by less than the bound when each is off by less than half of it. */
#define SIM_CLOCK_PPM_MAX 4900u
#define SIM_SECOND_US 1000000u
#define SIM_LEAP_MS_MIN UINT64_C(36000000) /* ten hours */

struct sim;

struct sim_timer {
    struct heap_node at; /* virtual us */
    void (*fire)(struct sim *sim, struct sim_timer *timer);
    void (*drop)(struct sim_timer *timer); /* the world ends before; NULL: nothing to free */
};

enum sim_message_kind {
    SIM_RAFT,
    SIM_SNAPSHOT,
    SIM_REQUESTS,
    SIM_REPLIES,
    SIM_STREAM_DOWN, /* a node's process ended, or is not there */
    SIM_STREAM_UP,
    SIM_MEMBER_FRAME, /* between members of placement */
    SIM_REGISTER,
    SIM_REGISTERED,
    SIM_HEARTBEAT,
    SIM_HEARTBEAT_ANSWER,
    SIM_TIMESTAMPS,
    SIM_GRANT,
    SIM_MAP_ASKED,
    SIM_MAP,
};

struct sim_create {
    struct range_descriptor descriptor;
    bool campaign;
};

/* Of a node, as placement tells it. */
struct sim_address {
    uint64_t node_id;
    uint32_t address;
};

/* What a process knows of where the nodes are. */
struct sim_book {
    uint64_t version;                  /* 0: nothing is known */
    uint32_t addresses[SIM_NODES_MAX]; /* by node id, less 1; 0: not known */
};

/* Of all ranges: in heartbeats, their answers, and maps. */
struct sim_lists {
    struct placement_replica_report reports[SIM_RANGES_MAX];
    struct placement_descriptor descriptors[SIM_RANGES_MAX]; /* what reports point at */
    struct sim_create creates[SIM_RANGES_MAX];
    uint64_t wanted[SIM_RANGES_MAX];
    struct router_range ranges[SIM_RANGES_MAX]; /* the map */
    struct sim_address addresses[SIM_NODES_MAX];
};

/* What calls to placement and their answers carry beside frames. */
struct sim_body {
    enum status status;
    uint64_t cluster_id, node_id, incarnation; /* REGISTER, REGISTERED, HEARTBEAT */
    /* TIMESTAMPS, GRANT; number: of the ask. REGISTER, HEARTBEAT: number: synced sequence. */
    uint64_t first, count, number;
    uint64_t wall_ms;      /* HEARTBEAT */
    uint64_t book_version; /* HEARTBEAT, HEARTBEAT_ANSWER */
    uint32_t address;      /* REGISTER */
    uint32_t worker;
    uint32_t next_heartbeat_ms;
    uint32_t report_count;               /* HEARTBEAT */
    uint32_t create_count, wanted_count; /* HEARTBEAT_ANSWER */
    uint32_t range_count;                /* MAP */
    uint32_t address_count;              /* HEARTBEAT_ANSWER, MAP */
    struct sim_lists *lists;             /* owned; NULL: all counts are 0 */
};

struct sim_message {
    struct sim_timer timer;
    struct list_node in_backlog; /* of a host that is paused */
    enum sim_message_kind kind;
    uint32_t from, to;                         /* hosts */
    uint64_t from_incarnation, to_incarnation; /* to: 0: whichever is there */
    struct buf frame;
    struct sim_body *body; /* owned; NULL: none */
};

struct sim_disk_fault {
    unsigned operations;    /* of enum memory_engine_operation; 0: none fails */
    enum status status;     /* what they fail with */
    uint64_t countdown_max; /* so many of them may still succeed */
    uint64_t until_us;      /* processes that start before then meet it again */
};

enum sim_host_kind { SIM_NODE, SIM_MEMBER, SIM_ROUTER };

struct sim_host {
    struct sim *sim;
    enum sim_host_kind kind;
    uint32_t index;  /* in sim->hosts */
    uint32_t number; /* from 1, of its kind */
    bool up, paused;
    uint64_t turn_began_us; /* placement: by its clock, of the turn whose answers leave next */
    uint64_t incarnation;
    uint64_t clock_base_us, clock_host_us; /* a moment, and what the host's clock showed then */
    int64_t clock_ppm;
    int64_t wall_jump_ms;  /* small ones, together */
    uint64_t wall_leap_ms; /* 0, but for one host at a time: hours or years ahead */
    struct clock clock;
    /* The process was stopped in the middle of a turn, and goes on in it: the clock still shows
     * then, as often as it was read before; behind that comes what waited meanwhile. */
    struct {
        bool turn;         /* it is in that turn */
        uint32_t reads;    /* 0: the clock goes right again */
        uint64_t host_us;  /* what it shows */
        uint64_t began_us; /* of the pause */
    } stopped;
    struct storage_engine *engine; /* NULL: a router */
    uint64_t sync_us; /* of one disk sync, about; a slow disk's is above the configuration's */
    struct sim_disk_fault disk_fault;
    struct list_node backlog;
    struct sim_timer wake;    /* the process's next turn */
    struct sim_timer restart; /* when a host that is down comes back */
};

/* Of one worker, or of a placement member. */
struct sim_driver {
    bool syncing;
    uint64_t sync_done_us, rest_until_us;
};

struct sim_ask {
    uint32_t count; /* 0: none outstanding */
    uint64_t number, retry_us;
};

struct sim_session;

struct sim_node {
    struct sim_host host;
    /* On disk since the first start: */
    struct placement_uuid uuid;
    uint64_t cluster_id, node_id; /* 0: not registered yet */
    uint32_t address;             /* 0: none yet */
    bool moves;                   /* with the next start, to another one */
    /* Of the process: */
    struct sim_book book;
    uint64_t unreachable_us;   /* when the store may be told again that frames found no way */
    struct range_store *store; /* NULL: not registered in this incarnation */
    struct sim_driver drivers[SIM_WORKERS_MAX];
    struct sim_session *sessions[SIM_ROUTERS];
    struct sim_timer placement; /* registration, heartbeats, asks that got no answer */
    uint64_t next_heartbeat_us;
    uint64_t opened_sequence; /* what its disk had synced when it started */
    uint32_t member;          /* of placement, that gets registrations and heartbeats */
    uint32_t oracle_member;   /* and that is asked for timestamps */
    uint64_t last_number;
    struct sim_ask asks[SIM_WORKERS_MAX];
    bool wanted[SIM_RANGES_MAX + 1];
};

struct sim_member {
    struct sim_host host;
    struct placement_driver *driver;
    struct sim_driver disk;
};

/* A router's way to a node (detours.c). */
struct sim_way {
    uint64_t lost_us; /* when the network was found cut; 0: it is not */
    uint64_t down_us; /* when the connection is found dead */
    bool down;        /* it was, and the router knows */
    /* Whose relay stands in for it; NULL: none. Frames in the direction that is cut go there. */
    struct sim_node *via;
};

struct sim_router {
    struct sim_host host;
    struct router *router;
    struct sim_book book;
    struct sim_way ways[SIM_NODES_MAX];
    struct sim_timer ways_timer;
    uint32_t member;
    bool map_asked;
    struct sim_timer map_timeout;
};

/* ---- scenarios ---- */

enum sim_fault {
    SIM_FAULT_LOSS,
    SIM_FAULT_CLOG,
    SIM_FAULT_PARTITION,
    SIM_FAULT_ONE_WAY,
    SIM_FAULT_BRIDGE,
    SIM_FAULT_ISOLATE_LEADER,
    SIM_FAULT_MUTE_LEADER,
    SIM_FAULT_HICCUP, /* a leader is back among some while others stand */
    SIM_FAULT_FLAP,
    SIM_FAULT_SWIZZLE,
    SIM_FAULT_CRASH,
    SIM_FAULT_CRASH_ALL,
    SIM_FAULT_KILL,
    SIM_FAULT_PAUSE,
    SIM_FAULT_SLOW_DISK,
    SIM_FAULT_SYNC_FAILURE,
    SIM_FAULT_WRITE_ERROR,
    SIM_FAULT_DISK_FULL,
    SIM_FAULT_READ_ERROR,
    SIM_FAULT_CLOCK,
    SIM_FAULT_WILD_CLOCK, /* beyond what leases assume */
    SIM_FAULT_TRANSFER,
    SIM_FAULT_PLACEMENT,
    SIM_FAULT_ROUTER,
    SIM_FAULT_DRAIN,     /* a node is told to stop */
    SIM_FAULT_MOVE,      /* a node comes back at another address */
    SIM_FAULT_LOST_WAY,  /* a router loses the way to a leader, and nobody else */
    SIM_FAULT_STRAND,    /* a leader reaches only who has no vote */
    SIM_FAULT_INTERRUPT, /* somebody ends in the middle of a change of replicas */
    SIM_FAULT_COUNT,
};

struct sim_config {
    uint32_t nodes, members, ranges, workers, clients;
    uint32_t weights[SIM_FAULT_COUNT]; /* 0: never */
    uint64_t fault_pause_us;           /* between two faults, about */
    uint64_t while_max_us;             /* how long most faults last */
    uint64_t think_us;                 /* of a client between operations, about */
    uint64_t log_entries_kept;
    uint32_t log_snapshot_entries; /* kept for who gets a snapshot */
    uint32_t log_compact_step;     /* 0: as in production */
    uint32_t append_bytes_max;     /* 0: as in production */
    uint32_t catch_up_bytes;       /* 0: as in production */
    uint32_t apply_round_commands; /* 0: as in production */
    uint32_t log_work_min;         /* 0: as in production */
    uint32_t read_steps_max;       /* 0: as in production */
    uint32_t command_steps_max;    /* 0: as in production */
    /* The ends of queues, arrays and windows (range/store.h); 0: as in production. */
    uint32_t mailbox_items_max, pending_max, position_row_max, snapshot_chunk_bytes, snapshots_max;
    uint32_t turn_nodes_bytes, turn_clients_bytes;
    uint32_t member_log_entries_kept; /* of placement */
    bool raft_in_order;               /* frames of Raft's streams, as over one connection */
    uint64_t attempt_timeout_us;      /* of routers */
    uint32_t quiesce_ticks;           /* 0: ranges never go quiet */
    bool lease_reads;
    bool settings_differ; /* election time-outs and lease reads, of nodes, anew at each start */
    uint32_t replication_factor;
    bool leases_fail; /* clocks pass the bound: what was read under a lease proves nothing */
    uint64_t delay_min_us, delay_max_us, sync_us;
    uint32_t stall_per_mille; /* of the turns on a slow disk: sim_disk_stall_time */
    bool only_lost_ways;      /* nothing else is hurt: check_served, in clients.c */
    uint64_t order_pause_us;  /* of the operator between two orders, about; 0: there is none */
    uint32_t night_hours;     /* all machines are off for so long, once; 0: never */
    bool careful_operator;    /* no range has fewer than three voters, in neither half */
    uint32_t check_every; /* turns at least between two walks over all of a worker's invariants */
};

/* ---- the world ---- */

struct sim_clients;
struct sim_operator;
struct sim_rules;

struct sim {
    struct sim_options options;
    struct sim_config config;
    struct prng prng;
    uint64_t now_us;
    struct heap timers;
    uint64_t night_ms; /* passed while everything was off: by wall clocks, and by no others */
    uint64_t events, trace_hash;
    struct sim_life life;

    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_member members[SIM_MEMBERS_MAX];
    struct sim_router routers[SIM_ROUTERS];
    struct sim_host *hosts[SIM_HOSTS_MAX];
    uint32_t host_count;

    bool cut[SIM_HOSTS_MAX][SIM_HOSTS_MAX];                  /* from, to */
    uint64_t clogged_until_us[SIM_HOSTS_MAX][SIM_HOSTS_MAX]; /* what is sent waits until then */
    uint64_t slow_us[SIM_HOSTS_MAX][SIM_HOSTS_MAX];          /* what is sent takes so much longer */
    /* When the newest frame of each stream arrives: what is sent later comes later. */
    uint64_t arrives_us[SIM_HOSTS_MAX][SIM_HOSTS_MAX][SIM_STREAM_DOWN];
    uint32_t loss_per_mille, duplicate_per_mille;
    uint64_t extra_delay_us;  /* up to so much on top */
    uint64_t ways_changed_us; /* when SIM_FAULT_LOST_WAY or its end last changed who is cut off */
    uint64_t messages_under_way;
    uint64_t memory_seen_us; /* when its use was looked at last */

    bool hurting; /* faults may begin */
    struct sim_timer nemesis;
    struct sim_clients *clients;
    struct sim_operator *operator; /* NULL: replicas stay where they are */
    uint32_t errands;              /* what operators have asked of routers, and was not answered */
    struct sim_rules *rules;
};

/* sim.c */
void sim_timer_start(struct sim *sim, struct sim_timer *timer, uint64_t at_us); /* or moves it */
void sim_timer_stop(struct sim *sim, struct sim_timer *timer);
void sim_trace(struct sim *sim, uint64_t what, struct slice bytes); /* into the hash */
/* Keeps a line for the report of a failure. */
void sim_note(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void sim_broken(struct sim *sim, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool sim_chance(struct sim *sim, uint32_t per_mille);
uint64_t sim_around(struct sim *sim, uint64_t value); /* a half to twice, mostly near */

/* scenario.c */
void sim_config_make(struct sim *sim); /* from the scenario and the seed */

/* host.c */
void sim_host_init(struct sim *sim, struct sim_host *host, enum sim_host_kind kind,
                   uint32_t number);
void sim_host_start(struct sim_host *host);
enum sim_end {
    SIM_END_KILL,
    SIM_END_CRASH,   /* what was not synced is lost */
    SIM_END_FAILURE, /* likewise; and the process stood in the midst of its work: nothing of it can
                        be released in order. Its memory is lost, deliberately: few end so, and
                        every seed is a process of its own. */
};
void sim_host_stop(struct sim_host *host, enum sim_end end);
void sim_host_pause(struct sim_host *host, bool paused);
/* All that waits at a host that was paused is there at once, in the middle of a turn of it. */
void sim_host_take_backlog(struct sim_host *host);
/* -1,000,000: it stands still. */
void sim_host_set_ppm(struct sim_host *host, int64_t ppm);
void sim_host_clock_jump(struct sim_host *host, uint64_t by_us); /* never back: base/clock.h */
void sim_host_look_at_clock(struct sim_host *host); /* what waits for a time asks again */
uint64_t sim_host_now_us(const struct sim_host *host);
uint64_t sim_wall_ms(const struct sim *sim); /* the time of day, which hosts' clocks show roughly */
uint64_t sim_host_when(const struct sim_host *host, uint64_t host_us); /* virtual time of it */
/* Runs code of the host's process. When that ends itself by fatal(), because its disk failed, the
 * process is gone when this returns, and comes back later. */
void sim_host_run(struct sim_host *host, void (*work)(struct sim_host *host, void *ctx), void *ctx);

/* disk.c */
uint64_t sim_disk_sync_time(struct sim_host *host);
/* How long a turn waits for a slow disk's reads and buffered writes; mostly 0. */
uint64_t sim_disk_stall_time(struct sim_host *host);
enum status sim_disk_sync(struct sim_host *host, struct storage_batch *batch) MUST_CHECK;
/* A process ends in the middle of a sync: the batch may have reached the disk all the same. */
void sim_disk_interrupt_sync(struct sim_host *host, struct storage_batch *batch);
void sim_disk_break(struct sim_host *host, const struct sim_disk_fault *fault);
void sim_disk_repair(struct sim_host *host);
/* An operation of the process that runs has failed: not another word from it. */
bool sim_disk_failed(const struct sim_host *host);
void sim_disk_process_starts(struct sim_host *host);
void sim_disk_process_ended(struct sim_host *host, enum sim_end end);

/* network.c */
/* Takes body. The frame is copied. */
void sim_send(struct sim *sim, enum sim_message_kind kind, uint32_t from, uint32_t to,
              struct slice frame, struct sim_body *body, uint64_t to_incarnation);
void sim_deliver(struct sim *sim, struct sim_message *message); /* takes it */
/* The same while the receiver's process is in the middle of a turn: for its mailboxes. */
void sim_deliver_inside(struct sim *sim, struct sim_message *message);
/* When it arrives, if all were well at `at_us`: not before what went before it on its stream. */
uint64_t sim_stream_turn(struct sim *sim, const struct sim_message *message, uint64_t at_us);
void sim_heal(struct sim *sim);
void sim_isolate(struct sim *sim, const struct sim_host *host, bool cut);
struct sim_body *sim_body_new(void);
struct sim_body *sim_body_new_with_lists(void);
void sim_body_free(struct sim_body *body); /* NULL is fine */
void sim_message_free(struct sim_message *message);

/* node.c */
void sim_node_start(struct sim_node *node);
void sim_node_stop(struct sim_node *node, enum sim_end end);
void sim_node_receive(struct sim_node *node, struct sim_message *message);
void sim_node_wake(struct sim_node *node);
/* The turn in which it was stopped by the pause that is over. */
void sim_node_go_on(struct sim_node *node);
void sim_node_schedule(struct sim_node *node);
struct sim_node *sim_node_by_id(struct sim *sim, uint64_t node_id); /* NULL: none has it */

/* addresses.c */
void sim_address_take(struct sim_node *node); /* its process starts */
void sim_address_text(uint32_t address, char *text, size_t size);
uint32_t sim_address_parse(struct slice text);
/* Whoever of the two dials knows where the other one is. */
bool sim_nodes_connected(const struct sim_node *a, const struct sim_node *b);
bool sim_router_reaches(const struct sim_router *router, const struct sim_node *node);
bool sim_node_reaches(const struct sim_node *from, const struct sim_node *to);
void sim_book_learn(struct sim_book *book, const struct sim_body *body);
void sim_book_tell(struct sim_body *body, const struct placement_node_address *nodes,
                   uint32_t count);
/* The node asks to be registered there; it is. */
void sim_rules_registers(struct sim *sim, const struct sim_node *node, uint32_t address);
void sim_rules_registered(struct sim *sim, const struct sim_node *node, uint64_t node_id,
                          uint32_t address);
/* What placement tells of all nodes, and the book of somebody to whom it tells that nothing in it
 * has changed. */
void sim_rules_addresses(struct sim *sim, const struct sim_body *body);
void sim_rules_book(struct sim *sim, const struct sim_book *book);

/* node_placement.c: what a node and placement say to each other */
void sim_node_placement_start(struct sim_node *node);
void sim_node_placement_receive(struct sim_node *node, struct sim_message *message);
struct range_oracle sim_node_oracle(struct sim_node *node);
void sim_node_open(struct sim_node *node); /* registered: node.c */
uint32_t sim_next_member(struct sim *sim, uint32_t member);

/* member.c */
void sim_member_start(struct sim_member *member);
void sim_member_stop(struct sim_member *member, enum sim_end end);
void sim_member_receive(struct sim_member *member, struct sim_message *message);
void sim_member_wake(struct sim_member *member);
void sim_members_note(struct sim *sim); /* where each stands, for the report */

/* router.c */
void sim_router_start(struct sim_router *router);
void sim_router_stop(struct sim_router *router);
void sim_router_receive(struct sim_router *router, struct sim_message *message);
void sim_router_wake(struct sim_router *router);
void sim_router_settle(struct sim_router *router); /* after each batch of events */

/* detours.c: what rpc/'s node client and relays do for a router */
/* Within so long a router that lost its way to a node has found another one, if there is one. */
#define SIM_DETOUR_US 2000000u
void sim_detours_start(struct sim_router *router);
void sim_detours_stop(struct sim_router *router);
/* Whether frames may be sent, directly or by a detour, as far as the router can know. */
bool sim_way_up(const struct sim_router *router, const struct sim_node *node);
/* The node that passes on what is sent from one host to another; NULL: nobody does. */
const struct sim_host *sim_detour(const struct sim *sim, enum sim_message_kind kind, uint32_t from,
                                  uint32_t to);

/* clients.c */
void sim_clients_new(struct sim *sim);
void sim_clients_free(struct sim *sim);
void sim_clients_finish(struct sim *sim); /* no new operations */
void sim_clients_rest(struct sim *sim);   /* likewise, until they go on */
/* After a night: they remember their last writes (clients.h). */
void sim_clients_go_on(struct sim *sim);
bool sim_clients_idle(const struct sim *sim);
void sim_clients_note_busy(struct sim *sim); /* who still waits, for the report */
uint64_t sim_clients_decided(const struct sim *sim);
/* Asks for everything again, and compares with what clients were told. */
void sim_clients_verify_begin(struct sim *sim);
void sim_clients_judge(struct sim *sim, uint64_t *ret_histories, uint64_t *ret_undecided);
void sim_clients_split_keys(const struct sim *sim, struct buf *out);

/* nemesis.c */
void sim_nemesis_start(struct sim *sim);
/* Ends all faults; `down` of the nodes stay down, a minority. */
void sim_nemesis_heal(struct sim *sim, uint32_t down);

/* nemesis_members.c */
void sim_strand_leader(struct sim *sim); /* of a range that has replicas without a vote, if any */
void sim_interrupt_change(struct sim *sim); /* the next one, of whatever range */

/* operator.c */
void sim_operator_start(struct sim *sim);
void sim_operator_free(struct sim *sim);
/* Puts the replicas of all ranges in order from the first call on; true: they are. */
bool sim_operator_tidied(struct sim *sim);

/* operator_errands.c: asks a router to make the node lead the range */
void sim_errand_transfer(struct sim *sim, uint64_t range_id, uint64_t to_node);

/* rules.c */
void sim_rules_new(struct sim *sim);
void sim_rules_free(struct sim *sim);
/* After a turn whose promises are durable. */
void sim_rules_after_turn(struct sim *sim, struct sim_node *node, uint32_t worker);
/* Half a turn is done; what it promises waits for the disk. */
void sim_rules_before_sync(struct sim *sim, struct sim_node *node, uint32_t worker);
/* It says that it may leave. */
void sim_rules_drained(struct sim *sim, const struct sim_node *node,
                       const struct range_drain *drain);
void sim_rules_process_ended(struct sim *sim, struct sim_node *node);
void sim_rules_granted(struct sim *sim, const struct sim_member *member, uint64_t first,
                       uint64_t count);
/* Every replica of every range at one index and one content. */
bool sim_rules_converged(struct sim *sim);
bool sim_rules_led(struct sim *sim); /* every range, by a node that is up */
/* Timestamps are as late as it is: a day that has passed is over for request ids, too. */
bool sim_rules_wall_believed(struct sim *sim);
bool sim_rules_quiet(struct sim *sim); /* every replica is */
void sim_rules_compare_content(struct sim *sim);
/* rules_membership.c: no node holds anything of a range that it has no replica of. */
bool sim_rules_removed_are_gone(struct sim *sim);
void sim_rules_note_ranges(struct sim *sim); /* who has which replica, for the report */
/* rules_operator.c */
/* NULL: nobody was seen with this version. */
const struct range_descriptor *sim_rules_descriptor(struct sim *sim, uint64_t range_id,
                                                    uint64_t version);
/* The lowest term in which anybody takes itself for the range's leader; if nobody does: the newest
 * in which somebody has led. */
uint64_t sim_rules_term_of_leaders(struct sim *sim, uint64_t range_id);
/* The node's replica leads, or has led, in that term or a later one. */
bool sim_rules_has_led(struct sim *sim, uint64_t range_id, uint64_t node_id, uint64_t term);
void sim_rules_described(struct sim *sim, const struct range_descriptor *descriptor,
                         uint64_t leader_node, uint64_t term);
/* rules_bounds.c: nothing is held any more for requests, messages and snapshots. */
bool sim_rules_at_rest(struct sim *sim);
void sim_rules_bounds(struct sim *sim);
/* The node whose replica leads the range with the highest term; NULL: none. */
struct sim_node *sim_rules_leader(struct sim *sim, uint64_t range_id);
bool sim_rules_stands(struct sim *sim, uint64_t range_id); /* anybody for election */

/* The member that leads with the highest term; NULL: none. */
struct sim_member *sim_rules_placement_leader(struct sim *sim);

/* rules_wire.c: what is about to leave a node, or has just reached it */
void sim_rules_raft_frame(struct sim *sim, const struct sim_host *from, const struct sim_host *to,
                          struct slice frame);
void sim_rules_member_frame(struct sim *sim, const struct sim_host *from, const struct sim_host *to,
                            struct slice frame);
void sim_rules_requests(struct sim *sim, const struct sim_node *node, const struct sim_host *router,
                        struct slice frame);
void sim_rules_replies(struct sim *sim, const struct sim_node *node, const struct sim_host *router,
                       uint64_t router_incarnation, struct slice frame);
void sim_rules_router_began(struct sim *sim, const struct sim_host *host);
void sim_rules_router(struct sim *sim, const struct sim_host *host, const struct router *router);

#endif
