/* Inside of the simulation: the world, its replicas, and what is known about them from outside. */
#ifndef FLOTILLA_TESTS_RAFT_SIMULATION_WORLD_H
#define FLOTILLA_TESTS_RAFT_SIMULATION_WORLD_H

#include "base/prng.h"
#include "raft/internal.h"
#include "tests/raft/disk.h"
#include "tests/raft/simulation.h"

#define SIM_NODES 5u
#define SIM_TICK_US 10000u
#define SIM_ELECTION_TICKS 10u
#define SIM_HEARTBEAT_TICKS 2u
#define SIM_QUIESCE_TICKS 8u
#define SIM_READS_MAX 32u

/* The first members are born with a state: who joins later cannot replay the log from its start. */
#define SIM_BIRTH ((struct raft_log_id){.term = 1, .index = 10})

enum sim_event_kind {
    SIM_MESSAGE,
    SIM_TICK,
    SIM_BEAT, /* of one node to another: it is alive */
    SIM_SYNC,
    SIM_APPLY,
    SIM_SNAPSHOT_REPORT,
    SIM_RESTART,
    SIM_RESUME,
    SIM_CLIENT,
    SIM_FAULT,
    SIM_RECONNECT, /* a replica that was cut off reaches some of the others again */
};

struct sim_event {
    uint64_t at_us, order; /* order breaks ties */
    enum sim_event_kind kind;
    uint64_t node;               /* id; 0: the world */
    uint64_t generation;         /* of the node: an earlier incarnation's events are void */
    struct raft_message message; /* owned copy */
    uint64_t about;              /* snapshot report: receiver; beat: sender; reconnect: who */
    uint64_t incarnation;        /* beat: the sender's */
    bool failed;
};

/* A ready work that was written but not synced. */
struct sim_work {
    bool has_hard_state;
    struct raft_hard_state hard_state;
    struct raft_entry_list entries;
    struct raft_snapshot *snapshot;
    struct raft_append append;
    struct raft_message *promises; /* borrowed from the core until it is told */
    uint32_t promise_count;
    uint64_t applied; /* apply state written before it: durable with it */
    struct raft_conf_state conf;
};

struct sim_read {
    uint64_t context;
    uint64_t asked_us; /* virtual time */
    uint64_t seen;     /* state that the reader may not fall behind */
    uint64_t index;    /* 0: not known yet */
    bool lease;
};

struct sim_node {
    uint64_t id, generation;
    struct raft *raft; /* NULL while down */
    struct disk disk;
    uint64_t paused_until_us;
    struct sim_event *held; /* while paused, in order */
    size_t held_count, held_cap;
    uint64_t clock_offset_us;
    int64_t clock_rate_ppm;

    struct sim_work *works;
    size_t work_count, work_cap;
    bool sync_scheduled, apply_scheduled;
    struct raft_entry_list to_apply;
    uint64_t applied; /* by the volatile state machine */
    struct raft_conf_state conf;

    struct sim_read reads[SIM_READS_MAX];
    uint32_t read_count;
    struct raft_log_id proposals[64]; /* newest writes of clients, a ring */
    uint32_t proposal_count;

    uint64_t term_seen, commit_seen; /* of this incarnation */
    uint64_t promised_term;          /* highest that left this replica, ever */
    uint64_t guarded_until_us;       /* own clock: it promised a leader not to help elect another */
    uint32_t election_ticks;         /* of this life */
    uint64_t promised_us;            /* on disk: the longest promise that it may have given */
    uint64_t restart_grace_us, grace_ends_us; /* of this life; own clock */
    uint64_t echoed_us[SIM_NODES + 1]; /* own clock: newest heartbeat that each has answered */

    uint32_t beat_elapsed;                     /* ticks since this node's last beats */
    uint32_t silent_ticks[SIM_NODES + 1];      /* since that node was heard */
    uint64_t heard_incarnation[SIM_NODES + 1]; /* 0: never heard */
    bool seen_quiet;
};

/* What a replica was before an event. */
struct sim_before {
    uint64_t term, commit, vote;
    enum raft_role role;
};

/* One position of the log that the group agreed on. */
struct sim_decided {
    uint64_t term, checksum, leader_term; /* leader_term: of the leader that first counted it */
    bool applied;
    struct raft_conf_state conf; /* after applying it */
};

struct sim_vote {
    uint64_t voter, term, candidate;
};

struct sim_world {
    struct simulation_options options;
    struct simulation_result result;
    struct prng prng;
    uint64_t now_us, orders;
    bool calm; /* all faults have stopped */
    struct sim_node nodes[SIM_NODES];
    bool blocked[SIM_NODES + 1][SIM_NODES + 1]; /* from, to */
    uint64_t cut_off;                           /* leader that is, until somebody stands; 0: none */

    struct sim_event *events; /* heap by (at_us, order) */
    size_t event_count, event_cap;

    struct sim_decided *decided; /* [index - 1] */
    uint64_t decided_count, decided_cap;
    uint64_t *leaders; /* by term */
    uint64_t leader_cap;
    struct sim_vote *votes;
    size_t vote_count, vote_cap;
    uint64_t seen;          /* highest state any client was shown or promised */
    uint64_t contexts;      /* of reads */
    uint64_t calm_ack;      /* first write acknowledged after the storm */
    uint64_t calm_from;     /* virtual time */
    uint64_t calm_read;     /* reads served since */
    uint64_t idle_until_us; /* clients take a break */
    uint64_t sent;          /* messages, beats not counted */
};

/* simulation.c */
bool sim_chance(struct sim_world *world, uint64_t percent);
void sim_fail(struct sim_world *world, const struct sim_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_schedule(struct sim_world *world, struct sim_event event, uint64_t in_us);
struct sim_node *sim_node_of(struct sim_world *world, uint64_t id);
uint64_t sim_clock_us(const struct sim_world *world, const struct sim_node *node);
uint64_t sim_clock_at(const struct sim_node *node, uint64_t virtual_us);
struct raft_message sim_message_copy(const struct raft_message *message);
void sim_message_free(struct raft_message *message);
void sim_step(struct sim_world *world); /* the next event */
uint64_t sim_delay_us(struct sim_world *world);
void sim_network_send(struct sim_world *world, const struct raft_message *message);

/* simulation_node.c */
void sim_node_start(struct sim_world *world, struct sim_node *node);
void sim_node_crash(struct sim_world *world, struct sim_node *node);
void sim_node_done(struct sim_node *node);
void sim_node_event(struct sim_world *world, struct sim_node *node, const struct sim_event *event);
void sim_node_drain(struct sim_world *world, struct sim_node *node);
void sim_node_propose(struct sim_world *world, struct sim_node *node, uint64_t value);
void sim_node_read(struct sim_world *world, struct sim_node *node);

/* simulation_quiet.c */
bool sim_away(void *node, uint64_t id); /* as the core asks it */
void sim_beat_tick(struct sim_world *world, struct sim_node *node);
void sim_beat_heard(struct sim_node *node, const struct sim_event *beat);
void sim_beat_check(struct sim_world *world, struct sim_node *node);
void sim_check_quiet(struct sim_world *world); /* the end of a run, once all have caught up */

/* simulation_faults.c */
void sim_fault(struct sim_world *world);
void sim_calm(struct sim_world *world);
void sim_watch_candidates(struct sim_world *world, const struct sim_node *node);
void sim_reconnect(struct sim_world *world, uint64_t about);

/* simulation_rules.c */
void sim_check_node(struct sim_world *world, struct sim_node *node);
void sim_check_promise(struct sim_world *world, struct sim_node *node,
                       const struct raft_message *promise);
void sim_check_appliable(struct sim_world *world, struct sim_node *node,
                         const struct raft_entry *entry);
void sim_check_applied(struct sim_world *world, struct sim_node *node,
                       const struct raft_entry *entry);
void sim_check_logs(struct sim_world *world);
void sim_rules_begin(struct sim_world *world);
void sim_rules_done(struct sim_world *world);
bool sim_conf_equal(const struct raft_conf_state *a, const struct raft_conf_state *b);
bool sim_voted(const struct sim_world *world, uint64_t voter, uint64_t term, uint64_t candidate);

/* simulation_steps.c */
struct sim_before sim_before(const struct sim_node *node);
/* After an event was taken and before its ready work is. */
void sim_check_step(struct sim_world *world, struct sim_node *node, const struct sim_event *event,
                    const struct sim_before *before);
void sim_check_elected(struct sim_world *world, const struct sim_node *node);
void sim_check_lease(struct sim_world *world, const struct sim_node *leader);
void sim_check_changes(struct sim_world *world, const struct sim_node *leader);
/* The leader answers a read that `reader` asked for. */
void sim_check_read_answer(struct sim_world *world, const struct sim_node *leader,
                           const struct sim_node *reader, uint64_t context);

#endif
