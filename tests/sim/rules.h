/* What the rules remember of the world they watch. Shared by rules*.c only. */
#ifndef FLOTILLA_TESTS_SIM_RULES_H
#define FLOTILLA_TESTS_SIM_RULES_H

#include "range/worker.h"
#include "tests/sim/world.h"

#define LEADERS_KEPT 256u
#define CONTENTS_KEPT 64u
#define HANDED_OVER_KEPT 16u
#define CALLS_KEPT 1024u /* of one router at one node; call ids count up */

struct content {
    uint64_t index, last_commit_ts, hash;
};

struct leader {
    uint64_t term, replica_id;
};

/* An entry, as whoever applied it first has seen it. */
struct applied_entry {
    uint64_t checksum; /* 0: not seen */
    uint64_t own_term; /* in which it was proposed */
    uint64_t term;     /* of that replica then: the entry was committed in this term or before */
    uint64_t judged;   /* checksum of the entry of which a majority was seen to have it; 0: none */
};

/* A version of a range's descriptor. */
struct version_rules {
    struct range_descriptor descriptor; /* without replicas: not seen */
    uint64_t committed;                 /* a leader may have committed so far while it had it */
    uint64_t since; /* who has applied so far has this version, or a later one */
};

struct range_rules {
    struct applied_entry *applied; /* RANGE_INITIAL_INDEX + 1 ... */
    size_t applied_count, applied_cap;
    struct leader leaders[LEADERS_KEPT]; /* a ring */
    uint32_t leader_count;
    struct content contents[CONTENTS_KEPT]; /* by index */
    struct version_rules *versions;         /* by conf_version */
    uint64_t version_cap, newest_version;
};

struct replica_rules {
    uint64_t term, durable_term, commit, applied, last_index;
    uint64_t compared;   /* applied index when its content was due last */
    uint64_t led_term;   /* last seen leading; `commit` may be from before it led */
    uint64_t replica_id; /* 0: not seen since the process started */
    uint64_t version;    /* of its descriptor */
    uint64_t gone;       /* the highest id of a replica that was removed here, durably */
};

/* What a replica said, and what its disk was seen to hold: that stays there, so that it is looked
 * for once. */
struct speaker_rules {
    uint64_t speaker, hearer;      /* replica ids: what follows is of those */
    uint64_t vote_term, candidate; /* the newest vote that left */
    uint64_t durable_term;         /* at least that is on disk */
    uint64_t led_term;             /* its own vote in that term is on disk */
    uint64_t committed;            /* so much, known to be committed, is on disk */
};

/* What a replica promised to leaders, over restarts. */
struct promise_rules {
    uint64_t replica_id;
    uint64_t until_us; /* by its host's clock */
    uint64_t term;     /* of the newest */
    /* In which it stood because a leader told it to (3.10): a ring, since some hear of it late. */
    uint64_t handed_over_terms[HANDED_OVER_KEPT];
    uint32_t handed_over_count;
};

/* What a node was asked for. */
struct call_rules {
    uint64_t call_id, router_incarnation, range_id;
    uint64_t floor;    /* highest index of the range applied anywhere when it came */
    uint64_t floor_ts; /* newest timestamp that placement had given to anybody when it came */
};

struct sim_rules {
    uint64_t turns, next_walk; /* over a worker's invariants, in turns of all workers */
    uint64_t last_timestamp;
    struct sim_book registered; /* where nodes are, as of the answers to their registrations */
    uint32_t registering[SIM_NODES_MAX]; /* bits: addresses asked for since, without an answer */
    struct range_rules ranges[SIM_RANGES_MAX + 1];
    struct replica_rules replicas[SIM_NODES_MAX][SIM_RANGES_MAX + 1];
    struct speaker_rules speakers[SIM_HOSTS_MAX][SIM_RANGES_MAX + 1]; /* by group */
    struct call_rules calls[SIM_NODES_MAX][SIM_ROUTERS][CALLS_KEPT];
    struct promise_rules promises[SIM_HOSTS_MAX][SIM_RANGES_MAX + 1]; /* by group */
    struct range_epoch known[SIM_ROUTERS][SIM_RANGES_MAX + 1];        /* to the router's process */
};

/* rules.c */
struct range_replica *sim_replica_on(const struct sim_node *node, uint64_t range_id);
/* Bytes at a key of the Raft family, as a crash would leave them, whether or not the process is up.
 * NOT_FOUND. */
enum status sim_disk_entry(const struct sim_host *host, uint64_t group, uint64_t index,
                           struct buf *ret);
enum status sim_disk_state(const struct sim_host *host, uint64_t group, enum raft_log_state state,
                           struct buf *ret);
/* Whether the node's disk holds this entry, or has gone beyond it by compaction or a snapshot. */
bool sim_rules_on_disk(struct sim_node *node, uint64_t range_id, uint64_t index, uint64_t checksum);
uint64_t sim_rules_content_hash(struct sim_node *node, const struct range_descriptor *descriptor);

/* rules_leases.c */
void sim_rules_lease_speech(struct sim *sim, const struct sim_host *from, const struct sim_host *to,
                            uint64_t group, const struct raft_message *message);
void sim_rules_lease_elected(struct sim *sim, const struct sim_node *node,
                             const struct range_replica *elected);

/* rules_membership.c */
/* First of all: what was seen of another replica of this range, on this node, is of no use. */
void sim_rules_replica_identity(struct sim *sim, struct sim_node *node,
                                const struct range_replica *replica, struct replica_rules *seen);
/* A replica that is not active; it may have been removed. */
void sim_rules_replica_gone(struct sim *sim, struct sim_node *node,
                            const struct range_replica *replica);
/* No log and no content of the range. */
bool sim_rules_nothing_left(struct sim_node *node, const struct range_descriptor *descriptor);
/* Notes what a leader has committed, before sim_rules_version, and returns it; 0: it is no leader.
 */
uint64_t sim_rules_commits(struct sim *sim, const struct range_replica *replica,
                           const struct replica_rules *seen);
/* Whether a majority of a configuration that a leader could have has the entry. `changed`: it
 * stands behind a change of replicas that the replica has applied since it was last looked at. */
bool sim_rules_quorum_has(struct sim *sim, const struct range_replica *replica, uint64_t index,
                          uint64_t checksum, bool changed);
/* The replica's descriptor; after what it applied was judged. */
void sim_rules_version(struct sim *sim, struct sim_node *node, const struct range_replica *replica,
                       struct replica_rules *seen);
void sim_rules_membership_free(struct range_rules *rules);

#endif
