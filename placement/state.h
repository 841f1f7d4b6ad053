/* The replicated state of placement: what its log's commands have made of an empty cluster. Equal
 * on every member at equal applied index. No I/O of its own: it leaves records in a batch.
 *
 * Invariants (placement_state_check):
 * 1. Ids are handed out once: every node id is below next_node_id, every range id below
 *    next_range_id, no uuid has two ids.
 * 2. The cluster id and the settings, once there, never change. (FORM: the first one wins.)
 * 3. Ranges come into being once (BIRTH: the first one wins); then they cover the key space.
 * 4. timestamp_bound never goes back.
 *
 * Records in STORAGE_META, all under the prefix 0x00 ‖ 'p':
 *   's'                      small state (layout in state_records.c)
 *   'k'                      split keys, until birth
 *   'n' ‖ node id (8, BE)    a node
 *   'r' ‖ range id (8, BE)   an initial range: descriptor and confirmed replicas */
#ifndef FLOTILLA_PLACEMENT_STATE_H
#define FLOTILLA_PLACEMENT_STATE_H

#include "placement/command.h"
#include "storage/engine.h"

struct placement_node {
    uint64_t node_id;
    struct placement_uuid uuid; /* of its data directory, for ever */
    uint64_t incarnation;       /* of the process that registered last */
    uint64_t synced_sequence;   /* highest that was noted of its engine; never goes back */
    struct buf address, version;
};

/* A range as it was born. Where it is now, its own replicas tell (placement/view.h). */
struct placement_birth_range {
    struct placement_descriptor descriptor;
    uint32_t confirmed; /* bit i: descriptor.replicas[i] was made; never to be made again, because a
                           replica that comes back empty could vote twice in a term */
};

struct placement_state {
    uint64_t cluster_id; /* 0: not formed */
    uint32_t replication_factor, birth_nodes;
    uint32_t split_key_count;
    struct buf split_keys; /* until birth */
    bool born;
    uint64_t next_node_id, next_range_id;
    uint64_t timestamp_bound; /* exclusive: everything handed out is below */
    uint64_t book_version; /* grows with every change of a node's address, and every new process */
    struct placement_node *nodes; /* ascending by id */
    uint32_t node_count, node_cap;
    struct placement_birth_range *ranges; /* range i has id i + 1 */
    uint32_t range_count;
    uint32_t unconfirmed; /* replicas, over all ranges */
};

/* What the member that proposed a command tells whoever waits for it. */
struct placement_outcome {
    enum status status;
    uint64_t node_id; /* REGISTER */
    struct buf *text; /* refusals: appended to; may be NULL */
};

void placement_state_init(struct placement_state *state);
void placement_state_done(struct placement_state *state);

/* Applies one command and puts the records it changed into `batch`. Deterministic. A refusal
 * changes nothing. */
void placement_state_apply(struct placement_state *state, const struct placement_command *command,
                           struct storage_batch *batch, struct placement_outcome *outcome);

/* The rules of registration that need no liveness: refused ones never enter the log. MISMATCH with
 * `known_sequence` (of the node's heartbeats; the state's own is looked at anyhow) above the
 * request's: the directory was set back in time. */
enum status placement_state_check_registration(const struct placement_state *state,
                                               const struct placement_register_request *request,
                                               uint64_t known_sequence,
                                               struct buf *text) MUST_CHECK;
/* The request's directory has been set back in time: its node is unfit until it is replaced. */
bool placement_state_is_set_back(const struct placement_state *state,
                                 const struct placement_register_request *request,
                                 uint64_t known_sequence);
struct placement_node *placement_state_node(const struct placement_state *state, uint64_t node_id);
struct placement_node *placement_state_node_by_uuid(const struct placement_state *state,
                                                    const struct placement_uuid *uuid);
bool placement_uuid_equal(const struct placement_uuid *a, const struct placement_uuid *b);

void placement_state_check(const struct placement_state *state);

/* ---- records (state_records.c) ---- */
typedef void placement_record_fn(void *ctx, struct slice key, struct slice value);
void placement_state_records(const struct placement_state *state, placement_record_fn *record,
                             void *ctx);
void placement_put_small(const struct placement_state *state, struct storage_batch *batch);
void placement_put_node(const struct placement_node *node, struct storage_batch *batch);
void placement_put_range(const struct placement_birth_range *range, struct storage_batch *batch);
void placement_put_split_keys(const struct placement_state *state, struct storage_batch *batch);

/* Reads the state back from the engine into an initialised, empty one. CORRUPTION, IO. */
enum status placement_state_load(struct placement_state *state,
                                 struct storage_engine *engine) MUST_CHECK;
/* The whole state as bytes, for members too far behind; and back, into an empty one. CORRUPTION. */
void placement_state_snapshot(const struct placement_state *state, struct buf *out);
enum status placement_state_restore(struct placement_state *state, struct slice bytes) MUST_CHECK;
/* Replaces every record in the engine by this state's. */
void placement_state_replace_records(const struct placement_state *state,
                                     struct storage_batch *batch);

#endif
