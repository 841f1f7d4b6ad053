/* Whether the replicas of a simulated cluster have come to the same state. */
#include "range/worker.h"
#include "storage/memory_engine.h"
#include "storage/mvcc.h"
#include "tests/range/cluster.h"

uint64_t cluster_hash(struct cluster *cluster, uint64_t node, uint64_t range_id) {
    static const enum storage_family families[] = {STORAGE_DATA, STORAGE_LOCK, STORAGE_META};
    const struct range_descriptor *descriptor = cluster_descriptor(cluster, range_id);
    uint64_t hash = 0;
    for (size_t i = 0; i < 3; i++) {
        struct buf begin = {0}, end = {0};
        mvcc_span_bounds(families[i], slice_from_buf(&descriptor->start),
                         slice_from_buf(&descriptor->end), &begin, &end);
        struct storage_span span = {
            .family = families[i], .begin = slice_from_buf(&begin), .end = slice_from_buf(&end)};
        hash = hash * 31 + memory_engine_hash(cluster_engine(cluster, node), &span);
        buf_done(&begin);
        buf_done(&end);
    }
    return hash;
}

/* A replica that has started may have some commands of the entry behind its applied index. */
static uint64_t applied_ts(struct cluster *cluster, uint64_t node, uint64_t range_id) {
    const struct range_worker *worker = range_store_owner(cluster_store(cluster, node), range_id);
    return range_worker_find(worker, range_id)->applied.last_commit_ts;
}

/* All live replicas of the newest descriptor at one index and timestamp, with one leader, and
 * nothing more to come; no others. */
static bool replicas_converged(struct cluster *cluster, const struct range_descriptor *newest) {
    uint64_t applied = 0, last_ts = 0;
    bool led = false;
    for (uint64_t id = 1; id <= cluster_config_of(cluster)->nodes; id++) {
        struct range_status status;
        if (!cluster_is_up(cluster, id)) continue;
        bool there = cluster_status(cluster, id, newest->range_id, &status);
        if (there != (range_descriptor_on_node(newest, id) != NULL)) return false;
        if (!there) continue;
        if (applied != 0 && status.applied_index != applied) return false;
        if (status.applied_index != status.commit_index) return false;
        uint64_t ts = applied_ts(cluster, id, newest->range_id);
        if (applied != 0 && ts != last_ts) return false;
        applied = status.applied_index;
        last_ts = ts;
        led = led || status.leads;
    }
    return led;
}

static bool range_converged(struct cluster *cluster, uint64_t range_id) {
    struct range_descriptor newest = {0};
    bool converged = cluster_newest(cluster, range_id, &newest) && !newest.joint &&
                     replicas_converged(cluster, &newest);
    range_descriptor_done(&newest);
    return converged;
}

static bool all_converged(void *ctx) {
    struct cluster *cluster = ctx;
    for (uint64_t range = 1; range <= cluster_config_of(cluster)->ranges; range++)
        if (!range_converged(cluster, range)) return false;
    return true;
}

static bool same_content(struct cluster *cluster, uint64_t range_id) {
    uint64_t hash = 0;
    bool first = true;
    for (uint64_t id = 1; id <= cluster_config_of(cluster)->nodes; id++) {
        struct range_status status;
        if (!cluster_status(cluster, id, range_id, &status)) continue;
        uint64_t other = cluster_hash(cluster, id, range_id);
        if (!first && other != hash) return false;
        hash = other;
        first = false;
    }
    return true;
}

bool cluster_converge(struct cluster *cluster, uint64_t us) {
    if (!cluster_run_until(cluster, us, all_converged, cluster)) return false;
    for (uint64_t range = 1; range <= cluster_config_of(cluster)->ranges; range++)
        if (!same_content(cluster, range)) return false;
    return true;
}
