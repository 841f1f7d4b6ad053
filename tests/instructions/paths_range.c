/* The range store: a cluster of three nodes in memory (tests/range/cluster.h). Counted are the
 * workers' turns of all nodes; memory stands in for RocksDB, and the harness for the transport. */
#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"
#include "tests/instructions/paths.h"
#include "tests/range/cluster.h"

#define RANGE 1u
#define PREFIX "r0001/"
#define FRAME_REQUESTS_MAX 64u
#define PATIENCE_US 1000000u
/* As with 1,024 ranges and 27,000 puts per second: each range has one about this often. */
#define SPREAD_PAUSE_US 35000u

struct range_load {
    struct cluster *cluster;
    uint64_t leader;
    uint32_t per_frame;
    void (*fill)(struct range_request *request, uint32_t number, struct buf *bytes);
};

static void fill_write(struct range_request *request, const struct txn_command *command,
                       struct buf *bytes) {
    txn_command_encode(bytes, command);
    *request = (struct range_request){.kind = RANGE_WRITE,
                                      .range_id = RANGE,
                                      .timeout_us = PATIENCE_US,
                                      .command = slice_from_buf(bytes)};
}

static void fill_put(struct range_request *request, uint32_t number, struct buf *bytes) {
    struct path_command put;
    path_put(&put, PREFIX, number);
    fill_write(request, &put.command, bytes);
}

static void fill_reservation(struct range_request *request, uint32_t number, struct buf *bytes) {
    struct path_command reservation;
    path_reservation(&reservation, PREFIX, number);
    fill_write(request, &reservation.command, bytes);
}

static void fill_get(struct range_request *request, uint32_t number, struct buf *bytes) {
    char text[64];
    buf_append(bytes, path_key(text, PREFIX, number % FRAME_REQUESTS_MAX));
    static struct slice keys[FRAME_REQUESTS_MAX];
    struct slice *key = &keys[number % FRAME_REQUESTS_MAX];
    *key = slice_from_buf(bytes);
    *request = (struct range_request){.kind = RANGE_GET,
                                      .range_id = RANGE,
                                      .timeout_us = PATIENCE_US,
                                      .key_count = 1,
                                      .keys = key};
}

/* Puts to as many ranges as there are in a frame, one each. */
static void fill_spread_put(struct range_request *request, uint32_t number, struct buf *bytes) {
    uint32_t range = number % FRAME_REQUESTS_MAX + 1;
    char prefix[8];
    int len = snprintf(prefix, sizeof(prefix), "r%04u/", range);
    ASSERT_CMP(len, <, (int)sizeof(prefix));
    struct path_command put;
    path_put(&put, prefix, number);
    fill_write(request, &put.command, bytes);
    request->range_id = range;
}

/* Each range's put goes to the node that leads it; then time passes, with its ticks. */
static void one_spread_frame(struct cluster *cluster, const uint64_t *leaders, uint32_t first) {
    struct buf bytes[FRAME_REQUESTS_MAX] = {0};
    struct cluster_call *calls[FRAME_REQUESTS_MAX];
    uint32_t sent = 0;
    for (uint64_t node = 1; node <= 3; node++) {
        struct range_request requests[FRAME_REQUESTS_MAX];
        uint32_t count = 0;
        for (uint32_t i = 0; i < FRAME_REQUESTS_MAX; i++)
            if (leaders[i] == node) {
                fill_spread_put(&requests[count], first + i, &bytes[i]);
                count++;
            }
        if (count > 0) cluster_send_many(cluster, node, requests, count, &calls[sent]);
        sent += count;
    }
    ASSERT_CMP(sent, ==, FRAME_REQUESTS_MAX);
    for (uint32_t i = 0; i < FRAME_REQUESTS_MAX; i++) {
        bool done = cluster_await(cluster, calls[i], PATIENCE_US);
        ASSERT(done && calls[i]->reply.code == RANGE_REPLY_OK);
        cluster_call_free(cluster, calls[i]);
        buf_done(&bytes[i]);
    }
    cluster_run_us(cluster, SPREAD_PAUSE_US);
}

static void puts_spread(uint32_t operations) {
    struct cluster_config config = cluster_config_default(1);
    config.ranges = FRAME_REQUESTS_MAX;
    struct cluster *cluster = cluster_new(&config);
    uint64_t leaders[FRAME_REQUESTS_MAX];
    for (uint32_t i = 0; i < FRAME_REQUESTS_MAX; i++)
        leaders[i] = cluster_wait_leader(cluster, i + 1);
    for (uint32_t done = 0; done < operations; done += FRAME_REQUESTS_MAX)
        one_spread_frame(cluster, leaders, done);
    cluster_free(cluster);
}

static void one_frame(const struct range_load *load, uint32_t first) {
    struct range_request requests[FRAME_REQUESTS_MAX];
    struct buf bytes[FRAME_REQUESTS_MAX] = {0};
    struct cluster_call *calls[FRAME_REQUESTS_MAX];
    for (uint32_t i = 0; i < load->per_frame; i++)
        load->fill(&requests[i], first + i, &bytes[i]);
    cluster_send_many(load->cluster, load->leader, requests, load->per_frame, calls);
    for (uint32_t i = 0; i < load->per_frame; i++) {
        bool done = cluster_await(load->cluster, calls[i], PATIENCE_US);
        ASSERT(done && calls[i]->reply.code == RANGE_REPLY_OK);
        cluster_call_free(load->cluster, calls[i]);
        buf_done(&bytes[i]);
    }
}

static void run(struct range_load *load, uint32_t operations) {
    struct cluster_config config = cluster_config_default(1);
    load->cluster = cluster_new(&config);
    load->leader = cluster_wait_leader(load->cluster, RANGE);
    for (uint32_t done = 0; done < operations; done += load->per_frame)
        one_frame(load, done);
    cluster_free(load->cluster);
}

static void put_alone(uint32_t operations) {
    run(&(struct range_load){.per_frame = 1, .fill = fill_put}, operations);
}

static void puts_together(uint32_t operations) {
    run(&(struct range_load){.per_frame = 64, .fill = fill_put}, operations);
}

static void reservations_together(uint32_t operations) {
    run(&(struct range_load){.per_frame = 64, .fill = fill_reservation}, operations);
}

static void gets_together(uint32_t operations) {
    run(&(struct range_load){.per_frame = 64, .fill = fill_get}, operations);
}

const struct path paths_range[] = {
    {"range_put", "a put through the workers of three nodes, alone", 300, put_alone},
    {"range_put_64", "a put through the workers of three nodes, 64 per frame", 1280, puts_together},
    {"range_put_spread", "a put on one of 64 ranges, three nodes, 64 per frame, then 35 ms", 640,
     puts_spread},
    {"range_reserve_64", "a reservation on one issuer, three nodes, 64 per frame", 1280,
     reservations_together},
    {"range_get_64", "a get under the lease at the leader's worker, 64 per frame", 1280,
     gets_together},
    {0},
};
