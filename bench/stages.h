/* Where the time of writes went, over a whole cluster: the histograms that router and nodes keep
 * (range/router/stages.c, range/stages.h), read as text from their metrics service before and after
 * a run, and subtracted. Pure: no network, no clock. */
#ifndef FLOTILLA_BENCH_STAGES_H
#define FLOTILLA_BENCH_STAGES_H

#include "base/histogram.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/slice.h"

/* id, metric, text for people; in the order of a write's way. */
#define BENCH_STAGES(X)                                                    \
    X(ROUTER_QUEUE, "router_stage_queue_us", "router: until first sent")   \
    X(ROUTER_RETRY, "router_stage_retry_us", "router: tried in vain")      \
    X(ROUTER_NODE, "router_stage_node_us", "router: sent until decided")   \
    X(ROUTER_TOTAL, "router_stage_total_us", "at the router")              \
    X(MAILBOX, "range_stage_mailbox_us", "leader: mailbox")                \
    X(GATHER, "range_stage_gather_us", "leader: gather")                   \
    X(TIMESTAMP, "range_stage_timestamp_us", "leader: wait for timestamp") \
    X(PROPOSE, "range_stage_propose_us", "leader: propose")                \
    X(QUORUM, "range_stage_quorum_us", "leader: quorum")                   \
    X(FSYNC, "range_stage_fsync_us", "  at its side: own fsync")           \
    X(APPLY, "range_stage_apply_us", "leader: apply")                      \
    X(REPLY, "range_stage_reply_us", "leader: reply")                      \
    X(LEADER_TOTAL, "range_stage_total_us", "at the leader")

enum bench_stage {
#define BENCH_STAGE_ENUM(id, metric, text) BENCH_STAGE_##id,
    BENCH_STAGES(BENCH_STAGE_ENUM)
#undef BENCH_STAGE_ENUM
        BENCH_STAGE_COUNT,
};

struct bench_stage_times {
    uint64_t count, sum_us;
    uint64_t buckets[METRIC_HISTOGRAM_BUCKETS];
};

/* Figures of one follower's node, or of one range. */
struct bench_stage_label {
    uint64_t value;
    struct bench_stage_times times;
};

#define BENCH_STAGE_LABELS_MAX 64u

struct bench_stage_labels {
    struct bench_stage_label all[BENCH_STAGE_LABELS_MAX];
    uint32_t count; /* those beyond the bound are left out */
};

/* Some 330 KB: keep it on the heap. */
struct bench_stages {
    struct bench_stage_times stages[BENCH_STAGE_COUNT];
    struct bench_stage_labels followers; /* range_follower_append_us, by node */
    struct bench_stage_labels ranges;    /* range_write_us, by range */
    struct bench_stage_labels leaders;   /* LEADER_TOTAL, by the node that leads */
    struct bench_stage_labels quorums;   /* QUORUM, by the same */
};

/* Adds what a process's page (Prometheus text) says; pages of several processes add up. Lines about
 * other metrics are skipped. `node`: whose page it is, 0 for a router. False: a line of these
 * metrics is not as this version writes it. */
bool bench_stages_read(struct bench_stages *stages, uint64_t node, struct slice page);
/* What happened between two readings. A process that was restarted in between counts from its
 * start. */
void bench_stages_subtract(struct bench_stages *after, const struct bench_stages *before);

double bench_stage_mean_us(const struct bench_stage_times *times);
/* Within a quarter of the true value, as the buckets are; 0 when empty. */
double bench_stage_quantile_us(const struct bench_stage_times *times, double quantile);

/* What the clients saw of the same writes; NULL below where they did other things, too. */
struct bench_stages_client {
    uint64_t count;
    double mean_us, p50_us, p99_us;
};

/* Rows in a write's order with count, mean, p50, p99 and the share of the whole mean. What lies
 * between two processes is the difference of their means: both ways together, no quantiles. */
void bench_stages_append_table(struct buf *out, const struct bench_stages *stages,
                               const struct bench_stages_client *client);
/* {"router_queue":{"count":…,"mean_us":…,"p50_us":…,"p99_us":…},…,"followers":{"2":{…}},
 * "ranges":{"1":{…}},"leaders":{"3":{…}},"quorums":{"3":{…}}} */
void bench_stages_add_json(cJSON *object, const struct bench_stages *stages,
                           const struct bench_stages_client *client);

#endif
