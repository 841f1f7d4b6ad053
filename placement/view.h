/* What the leading member knows of the cluster from heartbeats: which nodes are alive, which
 * replica leads each range, the ranges' newest descriptors. Volatile: rebuilt after every change of
 * leadership.
 *
 * Merge rules:
 * 1. A descriptor with a newer epoch replaces an older one, from whomever it comes.
 * 2. A report of leadership counts when its term is higher than the known leader's. A lower term is
 *    out of date; another leader in the same term cannot be, is logged, and changes nothing.
 * 3. A node that leads no more, says so (or, in a complete report, says nothing): nobody leads then
 *    until somebody reports it.
 * 4. Only the process that registered last speaks for a node (the driver checks incarnations). */
#ifndef FLOTILLA_PLACEMENT_VIEW_H
#define FLOTILLA_PLACEMENT_VIEW_H

#include "base/hashmap.h"
#include "placement/messages.h"

struct placement_view_range {
    struct idmap_node by_id;
    struct placement_descriptor descriptor; /* range_id 0: not reported yet */
    struct placement_epoch newest_epoch;    /* seen in any report */
    uint64_t leader_node;                   /* 0: unknown */
    uint64_t leader_term;                   /* highest term that a leader was reported in */
    uint64_t heard;                         /* number of the complete report that named it last */
    uint32_t applied_count;
    struct placement_applied applied[PLACEMENT_REPLICAS_MAX];
};

/* What another machine's wall clock showed. */
struct placement_heard_clock {
    uint64_t wall_ms;  /* 0: not heard */
    uint64_t heard_us; /* by this member's steady clock */
};

struct placement_view_node {
    struct idmap_node by_id;
    bool seen;        /* since this leadership began */
    bool left;        /* said that it stops */
    bool complete;    /* has reported all its replicas since then */
    uint64_t seen_us; /* last heartbeat or registration; when not seen: when the view began */
    uint64_t beat;    /* number of its last heartbeat; 0: none */
    bool set_back;    /* a registration was refused: placement_state_is_set_back */
    uint64_t synced_sequence; /* newest of its heartbeats */
    struct placement_heard_clock clock;
    struct placement_store_figures figures;
};

struct placement_view {
    struct idmap ranges, nodes;
    uint64_t began_us;
    uint64_t complete_reports;             /* counts them */
    uint64_t beats, registered_beats;      /* heartbeats; of them, before the last registration */
    bool changed;                          /* the order below is out of date */
    struct placement_range_entry *entries; /* ranges in key order */
    uint32_t entry_count, entry_cap;
    const struct placement_view_range **order; /* the same, for reading leaders */
};

void placement_view_init(struct placement_view *view, uint64_t now_us);
void placement_view_done(struct placement_view *view);

/* The node's entry, made when missing. */
struct placement_view_node *placement_view_node(struct placement_view *view, uint64_t node_id);
/* A process of the node has registered. */
void placement_view_registered(struct placement_view *view, uint64_t node_id, uint64_t now_us);
/* It has sent a heartbeat since the last registration of any node. */
bool placement_view_beats(const struct placement_view *view, uint64_t node_id);
/* The node of every replica of every known range, often more than once. */
void placement_view_each_holder(const struct placement_view *view,
                                void (*holder)(void *ctx, uint64_t node_id), void *ctx);
/* What the node's engine has synced, as it last said; 0: not heard. */
uint64_t placement_view_synced(const struct placement_view *view, uint64_t node_id);
/* Heard from within silence_us, or not yet known to be silent. */
bool placement_view_alive(const struct placement_view *view, uint64_t node_id, uint64_t now_us,
                          uint64_t silence_us);
/* A descriptor that is known from elsewhere than a heartbeat (birth). */
void placement_view_learn(struct placement_view *view,
                          const struct placement_descriptor *descriptor);
void placement_view_merge(struct placement_view *view,
                          const struct placement_heartbeat_request *request, uint64_t now_us);
/* Whether the leader's descriptor should be asked for: a newer epoch was seen than is known. */
bool placement_view_wants(const struct placement_view *view, uint64_t range_id);
/* Whether the range was reported with a newer epoch than this descriptor's. */
bool placement_view_changed_since(const struct placement_view *view,
                                  const struct placement_descriptor *descriptor);
/* All known ranges by start key; leaders on nodes that are not alive are left out. */
const struct placement_range_entry *placement_view_entries(struct placement_view *view,
                                                           uint64_t now_us, uint64_t silence_us,
                                                           uint32_t *ret_count);
void placement_view_check(const struct placement_view *view);

#endif
