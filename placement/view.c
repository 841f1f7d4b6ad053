/* Merging heartbeats into one picture. */
#include "placement/view.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"

#define RANGE_OF(node) CONTAINER_OF(node, struct placement_view_range, by_id)
#define NODE_OF(node) CONTAINER_OF(node, struct placement_view_node, by_id)

void placement_view_init(struct placement_view *view, uint64_t now_us) {
    *view = (struct placement_view){.began_us = now_us};
}

void placement_view_done(struct placement_view *view) {
    for (struct idmap_node *at = idmap_next(&view->ranges, NULL), *next; at; at = next) {
        next = idmap_next(&view->ranges, at);
        placement_descriptor_done(&RANGE_OF(at)->descriptor);
        memory_free(RANGE_OF(at));
    }
    for (struct idmap_node *at = idmap_next(&view->nodes, NULL), *next; at; at = next) {
        next = idmap_next(&view->nodes, at);
        memory_free(NODE_OF(at));
    }
    idmap_done(&view->ranges);
    idmap_done(&view->nodes);
    memory_free(view->entries);
    memory_free(view->order);
    *view = (struct placement_view){0};
}

static struct placement_view_range *find_range(const struct placement_view *view,
                                               uint64_t range_id) {
    struct idmap_node *node = idmap_get(&view->ranges, range_id);
    return node ? RANGE_OF(node) : NULL;
}

/* NULL when the map is full: what a sane cluster never reaches is not worth running out of memory.
 */
static struct placement_view_range *range_at(struct placement_view *view, uint64_t range_id) {
    struct placement_view_range *range = find_range(view, range_id);
    if (range || view->ranges.count >= PLACEMENT_RANGES_MAX) return range;
    range = MEMORY_NEW(struct placement_view_range);
    idmap_put(&view->ranges, &range->by_id, range_id);
    return range;
}

struct placement_view_node *placement_view_node(struct placement_view *view, uint64_t node_id) {
    struct idmap_node *found = idmap_get(&view->nodes, node_id);
    if (found) return NODE_OF(found);
    struct placement_view_node *node = MEMORY_NEW(struct placement_view_node);
    node->seen_us = view->began_us;
    idmap_put(&view->nodes, &node->by_id, node_id);
    return node;
}

void placement_view_registered(struct placement_view *view, uint64_t node_id, uint64_t now_us) {
    struct placement_view_node *node = placement_view_node(view, node_id);
    node->seen = true;
    node->left = false;
    node->set_back = false;
    node->complete = false; /* a new process: its reports start over */
    node->seen_us = now_us;
    view->registered_beats = view->beats;
}

bool placement_view_beats(const struct placement_view *view, uint64_t node_id) {
    const struct idmap_node *found = idmap_get(&view->nodes, node_id);
    return found && CONTAINER_OF(found, const struct placement_view_node, by_id)->beat >
                        view->registered_beats;
}

void placement_view_each_holder(const struct placement_view *view,
                                void (*holder)(void *ctx, uint64_t node_id), void *ctx) {
    for (struct idmap_node *at = idmap_next(&view->ranges, NULL); at;
         at = idmap_next(&view->ranges, at)) {
        const struct placement_descriptor *descriptor = &RANGE_OF(at)->descriptor;
        for (uint32_t i = 0; i < descriptor->replica_count; i++)
            holder(ctx, descriptor->replicas[i].node_id);
    }
}

uint64_t placement_view_synced(const struct placement_view *view, uint64_t node_id) {
    const struct idmap_node *found = idmap_get(&view->nodes, node_id);
    return found ? CONTAINER_OF(found, const struct placement_view_node, by_id)->synced_sequence
                 : 0;
}

bool placement_view_alive(const struct placement_view *view, uint64_t node_id, uint64_t now_us,
                          uint64_t silence_us) {
    const struct idmap_node *found = idmap_get(&view->nodes, node_id);
    uint64_t seen_us = view->began_us;
    if (found) {
        const struct placement_view_node *node =
            CONTAINER_OF(found, const struct placement_view_node, by_id);
        if (node->left) return false;
        seen_us = node->seen_us;
    }
    return now_us < seen_us + silence_us;
}

void placement_view_learn(struct placement_view *view,
                          const struct placement_descriptor *descriptor) {
    struct placement_view_range *range = range_at(view, descriptor->range_id);
    if (!range) return;
    if (placement_epoch_newer(descriptor->epoch, range->newest_epoch))
        range->newest_epoch = descriptor->epoch;
    if (range->descriptor.range_id &&
        !placement_epoch_newer(descriptor->epoch, range->descriptor.epoch))
        return;
    placement_descriptor_copy(&range->descriptor, descriptor);
    view->changed = true;
}

static void merge_leadership(struct placement_view_range *range, uint64_t node_id,
                             const struct placement_replica_report *report) {
    if (!report->leads) {
        if (range->leader_node == node_id && report->term >= range->leader_term)
            range->leader_node = 0;
        return;
    }
    bool same_term = report->term == range->leader_term;
    if (report->term > range->leader_term || (same_term && !range->leader_node)) {
        range->leader_node = node_id;
        range->leader_term = report->term;
    } else if (same_term && range->leader_node != node_id) {
        log_error("placement_two_leaders",
                  "range=%" PRIu64 " term=%" PRIu64 " node=%" PRIu64 " other_node=%" PRIu64,
                  report->range_id, report->term, range->leader_node, node_id);
    }
}

/* When there is no room, a node that holds the range no more makes it. */
static void merge_applied(struct placement_view_range *range, uint64_t node_id, uint64_t index) {
    uint32_t at = 0;
    while (at < range->applied_count && range->applied[at].node_id != node_id)
        at++;
    if (at == PLACEMENT_REPLICAS_MAX) {
        at = 0;
        while (at < PLACEMENT_REPLICAS_MAX &&
               placement_descriptor_on_node(&range->descriptor, range->applied[at].node_id))
            at++;
        if (at == PLACEMENT_REPLICAS_MAX) return;
    }
    if (at == range->applied_count) range->applied_count++;
    range->applied[at] = (struct placement_applied){node_id, index};
}

static void merge_report(struct placement_view *view, uint64_t node_id,
                         const struct placement_replica_report *report) {
    if (report->descriptor) placement_view_learn(view, report->descriptor);
    struct placement_view_range *range = range_at(view, report->range_id);
    if (!range) return;
    range->heard = view->complete_reports;
    if (placement_epoch_newer(report->epoch, range->newest_epoch))
        range->newest_epoch = report->epoch;
    merge_leadership(range, node_id, report);
    merge_applied(range, node_id, report->applied_index);
}

/* A complete report says by silence which ranges the node leads no more. */
static void clear_unheard(struct placement_view *view, uint64_t node_id,
                          const struct placement_heartbeat_request *request) {
    view->complete_reports++;
    for (uint32_t i = 0; i < request->report_count; i++) {
        struct placement_view_range *range = find_range(view, request->reports[i].range_id);
        if (range) range->heard = view->complete_reports;
    }
    for (struct idmap_node *at = idmap_next(&view->ranges, NULL); at;
         at = idmap_next(&view->ranges, at)) {
        struct placement_view_range *range = RANGE_OF(at);
        if (range->leader_node == node_id && range->heard != view->complete_reports)
            range->leader_node = 0;
    }
}

void placement_view_merge(struct placement_view *view,
                          const struct placement_heartbeat_request *request, uint64_t now_us) {
    struct placement_view_node *node = placement_view_node(view, request->node_id);
    node->seen = true;
    node->left = request->leaving;
    node->beat = ++view->beats;
    node->seen_us = now_us;
    node->figures = request->figures;
    node->clock = (struct placement_heard_clock){request->wall_ms, now_us};
    if (request->synced_sequence > node->synced_sequence)
        node->synced_sequence = request->synced_sequence;
    if (request->complete) {
        node->complete = true;
        clear_unheard(view, request->node_id, request);
    }
    for (uint32_t i = 0; i < request->report_count; i++)
        merge_report(view, request->node_id, &request->reports[i]);
}

bool placement_view_wants(const struct placement_view *view, uint64_t range_id) {
    const struct placement_view_range *range = find_range(view, range_id);
    return range && (!range->descriptor.range_id ||
                     placement_epoch_newer(range->newest_epoch, range->descriptor.epoch));
}

bool placement_view_changed_since(const struct placement_view *view,
                                  const struct placement_descriptor *descriptor) {
    const struct placement_view_range *range = find_range(view, descriptor->range_id);
    return range && placement_epoch_newer(range->newest_epoch, descriptor->epoch);
}

/* ---- in key order ---- */

static int compare_starts(const void *left, const void *right) {
    const struct placement_view_range *a = *(const struct placement_view_range *const *)left;
    const struct placement_view_range *b = *(const struct placement_view_range *const *)right;
    int order =
        slice_compare(slice_from_buf(&a->descriptor.start), slice_from_buf(&b->descriptor.start));
    if (order) return order;
    return a->by_id.id < b->by_id.id ? -1 : 1;
}

static void sort_ranges(struct placement_view *view) {
    if (view->ranges.count > view->entry_cap) {
        view->entry_cap = (uint32_t)view->ranges.count;
        view->entries = memory_realloc(view->entries, view->entry_cap * sizeof(*view->entries));
        view->order = memory_realloc(view->order, view->entry_cap * sizeof(*view->order));
    }
    view->entry_count = 0;
    for (struct idmap_node *at = idmap_next(&view->ranges, NULL); at;
         at = idmap_next(&view->ranges, at)) {
        if (RANGE_OF(at)->descriptor.range_id) view->order[view->entry_count++] = RANGE_OF(at);
    }
    if (view->entry_count)
        qsort(view->order, view->entry_count, sizeof(*view->order), compare_starts);
    view->changed = false;
}

const struct placement_range_entry *placement_view_entries(struct placement_view *view,
                                                           uint64_t now_us, uint64_t silence_us,
                                                           uint32_t *ret_count) {
    if (view->changed) sort_ranges(view);
    for (uint32_t i = 0; i < view->entry_count; i++) {
        const struct placement_view_range *range = view->order[i];
        uint64_t leader = range->leader_node;
        if (leader && !placement_view_alive(view, leader, now_us, silence_us)) leader = 0;
        view->entries[i] = (struct placement_range_entry){
            .descriptor = &range->descriptor,
            .leader_node = leader,
            .leader_term = range->leader_term,
            .applied_count = range->applied_count,
            .applied = range->applied,
        };
    }
    *ret_count = view->entry_count;
    return view->entries;
}

void placement_view_check(const struct placement_view *view) {
    for (struct idmap_node *at = idmap_next(&view->ranges, NULL); at;
         at = idmap_next(&view->ranges, at)) {
        const struct placement_view_range *range = RANGE_OF(at);
        ASSERT(!range->leader_node || range->leader_term);
        ASSERT_CMP(range->applied_count, <=, PLACEMENT_REPLICAS_MAX);
        if (!range->descriptor.range_id) continue;
        ASSERT(placement_descriptor_valid(&range->descriptor));
        ASSERT_CMP(range->descriptor.range_id, ==, at->id);
        ASSERT(!placement_epoch_newer(range->descriptor.epoch, range->newest_epoch));
    }
}
