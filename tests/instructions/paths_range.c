/* The range store: a cluster of three nodes in memory (tests/range/cluster.h). Counted are the
 * workers' turns of all nodes; memory stands in for RocksDB, and the harness for the transport. */
#include "base/assert.h"
#include "base/memory.h"
#include "tests/instructions/paths.h"
#include "tests/range/cluster.h"

#define RANGE 1u
#define PREFIX "r0001/"
#define FRAME_REQUESTS_MAX 64u
#define PATIENCE_US 1000000u

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
    {"range_reserve_64", "a reservation on one issuer, three nodes, 64 per frame", 1280,
     reservations_together},
    {"range_get_64", "a get under the lease at the leader's worker, 64 per frame", 1280,
     gets_together},
    {0},
};
