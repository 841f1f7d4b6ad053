/* Nodes whose disks are nearly full (range/room.c). */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_room, .init = quiet, .timeout = 30);

static struct cluster *new_cluster(void) {
    struct cluster_config config = cluster_config_default(21);
    config.ranges = 2;
    struct cluster *cluster = cluster_new(&config);
    for (uint32_t range = 1; range <= 2; range++)
        cr_assert_neq(cluster_wait_leader(cluster, range), 0);
    cluster_run_us(cluster, SECOND / 10);
    return cluster;
}

static void put(struct cluster *cluster, const char *name) {
    struct buf command = cluster_put(cluster_key(1, name), slice_from_text(name));
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    buf_done(&command);
}

static void set_room(struct cluster *cluster, uint64_t node, enum range_room room) {
    range_store_set_room(cluster_store(cluster, node), room, SLICE_LITERAL("the disk is full"));
}

/* What its leader answers to a write. */
static enum range_reply_code ask(struct cluster *cluster, const char *mentions) {
    struct buf command = cluster_put(cluster_key(1, "asked"), SLICE_LITERAL("1"));
    struct range_request request = {.kind = RANGE_WRITE,
                                    .range_id = 1,
                                    .timeout_us = SECOND,
                                    .command = slice_from_buf(&command)};
    struct cluster_call *call = cluster_send(cluster, cluster_leader(cluster, 1), &request);
    cr_assert(cluster_await(cluster, call, 3 * SECOND));
    enum range_reply_code code = call->reply.code;
    if (mentions) cr_expect(slice_equal(call->reply.text, slice_from_text(mentions)));
    cluster_call_free(cluster, call);
    buf_done(&command);
    return code;
}

/* Its leaders go to who has room, nobody is refused, and it may lead again when it has. */
Test(range_room, leaders_go_to_who_has_room_and_may_come_back) {
    struct cluster *cluster = new_cluster();
    uint64_t node = cluster_leader(cluster, 1);
    set_room(cluster, node, RANGE_ROOM_SCARCE);
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(range_store_leader_count(cluster_store(cluster, node)), 0);
    put(cluster, "elsewhere");
    set_room(cluster, node, RANGE_ROOM_ROOMY);
    for (uint64_t other = 1; other <= 3; other++)
        if (other != node) set_room(cluster, other, RANGE_ROOM_SCARCE);
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(cluster_leader(cluster, 1), node);
    put(cluster, "back");
    cluster_free(cluster);
}

/* Where nobody has room, writes are refused with the reason and reads are not; room at one node is
 * found when the others are told again. */
Test(range_room, nobody_with_room_refuses_writes_with_the_reason) {
    struct cluster *cluster = new_cluster();
    put(cluster, "before");
    for (uint64_t node = 1; node <= 3; node++)
        set_room(cluster, node, RANGE_ROOM_SCARCE);
    cluster_run_us(cluster, SECOND);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cr_assert_eq(ask(cluster, "the disk is full"), RANGE_REPLY_UNAVAILABLE);
    struct buf value = {0};
    cr_assert(cluster_read(cluster, 1, cluster_key(1, "before"), &value));
    cr_assert_not(cluster_read(cluster, 1, cluster_key(1, "asked"), &value));
    buf_done(&value);
    uint64_t roomy = cluster_leader(cluster, 1) % 3 + 1;
    set_room(cluster, roomy, RANGE_ROOM_ROOMY);
    for (uint64_t node = 1; node <= 3; node++)
        if (node != roomy) set_room(cluster, node, RANGE_ROOM_SCARCE);
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(cluster_leader(cluster, 1), roomy);
    put(cluster, "after");
    cluster_free(cluster);
}

/* Without any room a follower takes no entries, the others go on, and it catches up later: until
 * then it stands for no election, which would cost the others their leader. */
Test(range_room, without_any_room_no_entries_are_taken) {
    struct cluster *cluster = new_cluster();
    uint64_t leader = cluster_leader(cluster, 1), node = leader % 3 + 1;
    uint64_t before = cluster_hash(cluster, node, 1);
    set_room(cluster, node, RANGE_ROOM_NONE);
    cluster_run_us(cluster, SECOND / 100);
    for (int i = 0; i < 20; i++)
        put(cluster, "while_full");
    cluster_run_us(cluster, SECOND);
    cr_assert_eq(cluster_leader(cluster, 1), leader);
    cr_assert_eq(cluster_hash(cluster, node, 1), before);
    cr_assert_neq(cluster_hash(cluster, leader, 1), before);
    set_room(cluster, node, RANGE_ROOM_ROOMY);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_free(cluster);
}
