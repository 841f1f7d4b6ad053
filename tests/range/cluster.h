/* A whole cluster of range stores in one thread: virtual time, a network that loses, duplicates,
 * delays and cuts, disks that forget what was not synced, a timestamp oracle, clients. The same
 * seed gives the same run. After every turn of a worker all its invariants are checked.
 *
 * Time stands still except inside cluster_run_us and the functions that say so. */
#ifndef FLOTILLA_TESTS_RANGE_CLUSTER_H
#define FLOTILLA_TESTS_RANGE_CLUSTER_H

#include "base/arena.h"
#include "base/hashmap.h"
#include "base/prng.h"
#include "range/store.h"

#define CLUSTER_NODES_MAX 7u

struct cluster_config {
    uint64_t seed;
    uint32_t nodes;          /* 3 */
    uint32_t replicas;       /* of each range, on nodes 1..replicas; 0: on every node */
    uint32_t ranges;         /* ids 1..ranges; range r > 1 begins at the key "r<r as 4 digits>/" */
    uint32_t workers;        /* per node */
    uint32_t quiesce_ticks;  /* 0: ranges never go quiet */
    uint32_t election_ticks; /* 15, of 10 ms */
    bool lease_reads;
    uint64_t delay_min_us, delay_max_us; /* of every message */
    uint32_t drop_per_mille, duplicate_per_mille;
    uint64_t sync_us;   /* of one disk sync */
    uint64_t work_us;   /* of a worker's part of a turn, by its clock; 0: it takes no time */
    uint64_t oracle_us; /* from request to answer */
    uint64_t log_entries_kept, log_bytes_kept, snapshot_bytes_per_s;
    uint32_t log_compact_step, apply_round_commands, read_steps_max; /* as range_store_config */
    uint32_t log_work_min, log_snapshot_entries, catch_up_bytes;     /* likewise */
    uint32_t turn_clients_bytes, position_row_max;                   /* likewise */
    uint64_t slow_us;                                                /* as range_store_config */
    int32_t clock_ppm; /* node n's clock runs off by up to this, alternating in sign */
};

struct cluster_config cluster_config_default(uint64_t seed); /* 3 nodes, 1 range, no faults */

struct cluster;

struct cluster *cluster_new(const struct cluster_config *config);
void cluster_free(struct cluster *cluster);
const struct cluster_config *cluster_config_of(const struct cluster *cluster);
uint64_t cluster_now_us(const struct cluster *cluster);
struct prng *cluster_prng(struct cluster *cluster);
void cluster_run_us(struct cluster *cluster, uint64_t us);
/* Runs until the condition holds; false when it does not within `us`. */
typedef bool cluster_condition_fn(void *ctx);
bool cluster_run_until(struct cluster *cluster, uint64_t us, cluster_condition_fn *condition,
                       void *ctx);

/* ---- faults; nodes are 1..nodes ---- */
/* As a power cut: unsynced writes are lost, except a random first part of them. */
void cluster_crash(struct cluster *cluster, uint64_t node);
/* As SIGKILL: what was written stays. */
void cluster_kill(struct cluster *cluster, uint64_t node);
void cluster_start(struct cluster *cluster, uint64_t node);
/* What the node's operator says when it starts next: by default the cluster's configuration. */
void cluster_set_node(struct cluster *cluster, uint64_t node, uint32_t election_ticks,
                      bool lease_reads);
bool cluster_is_up(const struct cluster *cluster, uint64_t node);
void cluster_pause(struct cluster *cluster, uint64_t node, bool paused); /* as SIGSTOP */
/* Its workers' turns are so long, as with a slow disk or much to do; 0: as configured. */
void cluster_slow(struct cluster *cluster, uint64_t node, uint64_t turn_us);
void cluster_cut(struct cluster *cluster, uint64_t a, uint64_t b, bool cut);
void cluster_isolate(struct cluster *cluster, uint64_t node, bool cut); /* from all other nodes */
void cluster_heal(struct cluster *cluster);                             /* all cuts and pauses */
void cluster_set_loss(struct cluster *cluster, uint32_t drop_per_mille,
                      uint32_t duplicate_per_mille);
void cluster_drop_snapshots(struct cluster *cluster, bool drop); /* frames of the snapshot stream */
void cluster_stop_oracle(struct cluster *cluster, bool stopped); /* requests wait */
void cluster_set_oracle(struct cluster *cluster, uint64_t next); /* the next timestamp */

/* ---- looking ---- */
struct range_store *cluster_store(struct cluster *cluster, uint64_t node); /* NULL: down */
struct storage_engine *cluster_engine(struct cluster *cluster, uint64_t node);
/* The node that leads with the highest term; 0: none. */
uint64_t cluster_leader(struct cluster *cluster, uint64_t range_id);
/* Runs until there is one; 0 when there is none within 5 s. */
uint64_t cluster_wait_leader(struct cluster *cluster, uint64_t range_id);
bool cluster_status(struct cluster *cluster, uint64_t node, uint64_t range_id,
                    struct range_status *ret_status); /* without its descriptor */
/* The newest one that any reply has brought; at first the one of birth. */
const struct range_descriptor *cluster_descriptor(const struct cluster *cluster, uint64_t range_id);
/* Replaces ret by the newest one that a live replica has applied. False: no replica is live. */
bool cluster_newest(struct cluster *cluster, uint64_t range_id,
                    struct range_descriptor *ret_descriptor);
/* Runs until every live node has a replica of each range exactly if the newest descriptor says so,
 * with the same index applied, and compares their content. False when they do not agree within
 * `us`. */
bool cluster_converge(struct cluster *cluster, uint64_t us);
uint64_t cluster_hash(struct cluster *cluster, uint64_t node, uint64_t range_id);

/* ---- clients ---- */
struct cluster_call {
    struct idmap_node by_id;
    bool done;
    struct range_reply reply; /* slices live as long as the call */
    struct range_descriptor descriptor;
    struct arena arena;
    uint64_t begun_us, done_us;
    void (*on_done)(struct cluster_call *call); /* may be NULL; may free the call */
    void *ctx;
};

/* Sends one request in a frame of its own; call_id is chosen here, and the range's epoch when the
 * request has none. The call stays undone when the message or its reply is lost. */
struct cluster_call *cluster_send(struct cluster *cluster, uint64_t node,
                                  const struct range_request *request);
/* The same with many requests in one frame; fills calls[0..count-1]. */
void cluster_send_many(struct cluster *cluster, uint64_t node, const struct range_request *requests,
                       uint32_t count, struct cluster_call **calls);
/* Runs until done; false when not within `us`. */
bool cluster_await(struct cluster *cluster, struct cluster_call *call, uint64_t us);
void cluster_call_free(struct cluster *cluster, struct cluster_call *call);
/* Delivers bytes as if a node had sent them. Without any, no node may ever be refused. */
void cluster_inject_raft(struct cluster *cluster, uint64_t from, uint64_t to, struct slice frame);
uint32_t cluster_refused(const struct cluster *cluster); /* how often a node refused another */

/* Keys of a range: "r0003/<name>"; the text is in a ring of static buffers. */
struct slice cluster_key(uint64_t range_id, const char *name);
/* The command, encoded; the caller frees. */
struct buf cluster_command(const struct txn_command *command);
struct buf cluster_put(struct slice key, struct slice value);
struct buf cluster_add(struct slice key, int64_t delta, struct slice request_id);
/* Sends a write to the leader and runs until it is decided, wherever leadership goes; retried as a
 * router would. Asserts that it is within 20 s. */
struct txn_outcome cluster_write(struct cluster *cluster, uint64_t range_id, struct slice command);
/* Reads a number or text with a linearizable get; retried likewise. False: absent. */
bool cluster_read(struct cluster *cluster, uint64_t range_id, struct slice key,
                  struct buf *ret_value);
int64_t cluster_read_number(struct cluster *cluster, uint64_t range_id, struct slice key);

#endif
