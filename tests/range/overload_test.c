/* More commands than a range can do: who is refused, when, and with which certainty. */
#include <criterion/criterion.h>

#include "base/log.h"
#include "range/limits.h"
#include "range/metrics.h"
#include "range/worker.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define COUNT 4000u

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_overload, .init = quiet, .timeout = 60);

struct load {
    struct cluster *cluster;
    struct buf command;
    struct cluster_call *calls[COUNT];
    struct range_request requests[COUNT];
    uint32_t codes[RANGE_REPLY_UNAVAILABLE + 1]; /* how many of each */
};

static struct load load;

static void begin(const struct cluster_config *config) {
    load = (struct load){.cluster = cluster_new(config)};
    cr_assert_neq(cluster_wait_leader(load.cluster, 1), 0);
    cluster_run_us(load.cluster, SECOND / 2);
    load.command = cluster_add(cluster_key(1, "sum"), 1, SLICE_EMPTY);
}

static void end(void) {
    buf_done(&load.command);
    cluster_free(load.cluster);
}

/* `count` commands in one frame. */
static void send(uint32_t count, uint64_t timeout_us) {
    for (uint32_t i = 0; i < count; i++)
        load.requests[i] = (struct range_request){.kind = RANGE_WRITE,
                                                  .range_id = 1,
                                                  .timeout_us = timeout_us,
                                                  .command = slice_from_buf(&load.command)};
    cluster_send_many(load.cluster, cluster_leader(load.cluster, 1), load.requests, count,
                      load.calls);
}

/* Waits for all answers and counts them. */
static void settle(uint32_t count) {
    memset(load.codes, 0, sizeof(load.codes));
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(cluster_await(load.cluster, load.calls[i], 20 * SECOND));
        load.codes[load.calls[i]->reply.code]++;
        cluster_call_free(load.cluster, load.calls[i]);
    }
}

/* A disk so slow, and a log so shallow, that some two hundred commands are done in a second. */
static struct cluster_config slow_config(uint64_t seed) {
    struct cluster_config config = cluster_config_default(seed);
    config.sync_us = 20000;
    config.log_work_min = 4 * (RANGE_WORK_PER_COMMAND + 40);
    return config;
}

/* Protects goodput: what cannot be done in time is refused at once, not when it is late, and what
 * is taken is done. */
Test(range_overload, refuses_at_once_what_cannot_be_done_in_time) {
    struct cluster_config config = slow_config(1);
    begin(&config);
    send(100, 10 * SECOND); /* the range learns its rate */
    settle(100);
    cr_assert_eq(load.codes[RANGE_REPLY_OK], 100);
    uint64_t began_us = cluster_now_us(load.cluster);
    send(COUNT, SECOND);
    cluster_run_us(load.cluster, 100000);
    uint32_t busy = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        busy += load.calls[i]->done && load.calls[i]->reply.code == RANGE_REPLY_BUSY;
    cr_assert_gt(busy, COUNT * 9 / 10, "%u", busy);
    settle(COUNT);
    cr_assert_geq(load.codes[RANGE_REPLY_OK], 50, "%u", load.codes[RANGE_REPLY_OK]);
    cr_assert_eq(load.codes[RANGE_REPLY_OK] + load.codes[RANGE_REPLY_BUSY], COUNT,
                 "unknown %u, time-out %u", load.codes[RANGE_REPLY_UNKNOWN],
                 load.codes[RANGE_REPLY_TIMEOUT]);
    cr_assert_lt(cluster_now_us(load.cluster) - began_us, SECOND);
    end();
}

/* Protects those with much time from a bound that is meant for those with little. */
Test(range_overload, takes_what_has_the_time) {
    struct cluster_config config = slow_config(2);
    begin(&config);
    send(100, 10 * SECOND);
    settle(100);
    send(400, 20 * SECOND);
    settle(400);
    cr_assert_eq(load.codes[RANGE_REPLY_OK], 400);
    end();
}

/* Protects certainty: when the quorum is lost, what waits outside the log is told that nothing was
 * changed, and little is in the log. */
Test(range_overload, little_is_in_the_log_when_it_stands) {
    struct cluster_config config = cluster_config_default(3);
    config.log_work_min = 20 * (RANGE_WORK_PER_COMMAND + 40);
    config.sync_us = 1000;
    begin(&config);
    uint64_t leader = cluster_leader(load.cluster, 1);
    for (uint64_t node = 1; node <= 3; node++)
        if (node != leader) cluster_pause(load.cluster, node, true);
    send(COUNT, 100000); /* less than it takes to notice */
    settle(COUNT);
    cr_assert_gt(load.codes[RANGE_REPLY_UNKNOWN], 0, "something was proposed");
    cr_assert_leq(load.codes[RANGE_REPLY_UNKNOWN], RANGE_ENTRY_COMMANDS_MAX);
    cr_assert_eq(load.codes[RANGE_REPLY_UNKNOWN] + load.codes[RANGE_REPLY_TIMEOUT] +
                     load.codes[RANGE_REPLY_BUSY],
                 COUNT);
    end();
}

/* Protects the same for commands that the log would hold for longer than they have: they are not
 * put into it to be answered UNKNOWN there. */
Test(range_overload, what_would_be_late_is_refused_before_the_log) {
    struct cluster_config config = cluster_config_default(4);
    config.delay_min_us = config.delay_max_us = 50000; /* so an entry takes 100 ms */
    begin(&config);
    send(30, 5 * SECOND);
    settle(30);
    cr_assert_eq(load.codes[RANGE_REPLY_OK], 30);
    send(1, 5 * SECOND);
    struct cluster_call *first = load.calls[0];
    cluster_run_us(load.cluster, 60000); /* it is in the log */
    send(20, 70000);
    settle(20);
    cr_assert_eq(load.codes[RANGE_REPLY_BUSY], 20, "unknown %u", load.codes[RANGE_REPLY_UNKNOWN]);
    load.calls[0] = first;
    settle(1);
    cr_assert_eq(load.codes[RANGE_REPLY_OK], 1);
    end();
}

/* Protects a client's deadline: the time in the mailbox is part of it. */
Test(range_overload, time_in_the_mailbox_counts) {
    struct cluster_config config = cluster_config_default(5);
    begin(&config);
    uint64_t leader = cluster_leader(load.cluster, 1);
    /* A turn, and then it rests; too short for the others to elect somebody, whom it would name. */
    cluster_slow(load.cluster, leader, 100000);
    send(1, 5 * SECOND);
    cluster_run_us(load.cluster, 20000);
    struct range_request late = {.kind = RANGE_WRITE,
                                 .range_id = 1,
                                 .timeout_us = 30000,
                                 .command = slice_from_buf(&load.command)};
    struct cluster_call *call = cluster_send(load.cluster, leader, &late);
    cluster_run_us(load.cluster, 10000);
    cluster_slow(load.cluster, leader, 0); /* once it has rested it would be quick enough */
    cr_assert(cluster_await(load.cluster, call, 5 * SECOND));
    cr_assert_eq(call->reply.code, RANGE_REPLY_TIMEOUT, "%d", (int)call->reply.code);
    cluster_call_free(load.cluster, call);
    settle(1);
    end();
}

static void lead_from(uint64_t range_id, uint64_t leader) {
    uint64_t from = cluster_wait_leader(load.cluster, range_id);
    if (from == leader) return;
    struct range_request transfer = {
        .kind = RANGE_TRANSFER, .range_id = range_id, .timeout_us = SECOND, .to_node = leader};
    struct cluster_call *call = cluster_send(load.cluster, from, &transfer);
    cr_assert(cluster_await(load.cluster, call, SECOND));
    cluster_call_free(load.cluster, call);
    cluster_run_us(load.cluster, SECOND / 5);
    cr_assert_eq(cluster_leader(load.cluster, range_id), leader);
}

/* Protects the ranges that share a disk: a range that has nothing to do itself refuses, too, what
 * would wait behind the work of its neighbours. */
Test(range_overload, what_the_neighbours_do_counts) {
    struct cluster_config config = slow_config(8);
    config.ranges = 2;
    begin(&config);
    uint64_t leader = cluster_leader(load.cluster, 1);
    lead_from(2, leader);
    struct buf command = cluster_add(cluster_key(2, "sum"), 1, SLICE_EMPTY);
    struct range_request other = {.kind = RANGE_WRITE,
                                  .range_id = 2,
                                  .timeout_us = SECOND / 5,
                                  .command = slice_from_buf(&command)};
    for (int busy = 0; busy < 2; busy++) {
        send(200, 10 * SECOND); /* the worker learns its rate; then it is known */
        if (!busy) settle(200);
        cluster_run_us(load.cluster, 30000);
        struct cluster_call *call = cluster_send(load.cluster, leader, &other);
        cr_assert(cluster_await(load.cluster, call, SECOND));
        cr_expect_eq(call->reply.code, busy ? RANGE_REPLY_BUSY : RANGE_REPLY_OK);
        cluster_call_free(load.cluster, call);
    }
    settle(200);
    cr_assert_eq(load.codes[RANGE_REPLY_OK], 200);
    buf_done(&command);
    end();
}

/* Protects leaders from a crowd of clients: a turn takes a part of the requests, and what other
 * nodes say is heard before requests that came first. */
Test(range_overload, a_crowd_of_requests_keeps_no_heartbeat_waiting) {
    enum { FRAMES = 60, EACH = 20, COMMANDS = FRAMES * EACH, TURN_US = 10000 };
    struct cluster_config config = cluster_config_default(7);
    config.turn_clients_bytes = 1000;
    begin(&config);
    uint64_t leader = cluster_leader(load.cluster, 1);
    uint64_t began_us = cluster_now_us(load.cluster);
    cluster_slow(load.cluster, leader, TURN_US);
    static struct cluster_call *calls[COMMANDS];
    for (uint32_t i = 0; i < FRAMES; i++) {
        send(EACH, 5 * SECOND);
        memcpy(&calls[i * EACH], load.calls, EACH * sizeof(calls[0]));
    }
    cluster_run_us(load.cluster, FRAMES * TURN_US / 2);
    uint32_t half = 0;
    for (uint32_t i = 0; i < COMMANDS; i++)
        half += calls[i]->done;
    cr_assert_leq(half, COMMANDS / 2, "a turn took too many");
    cluster_run_us(load.cluster, FRAMES * TURN_US / 2); /* four election time-outs, both */
    cr_assert_eq(cluster_leader(load.cluster, 1), leader, "its heartbeats had to wait");
    memcpy(load.calls, calls, sizeof(calls));
    settle(COMMANDS);
    cr_assert_eq(load.codes[RANGE_REPLY_OK], COMMANDS);
    cr_assert_lt(cluster_now_us(load.cluster) - began_us, 2 * FRAMES * TURN_US);
    cluster_slow(load.cluster, leader, 0);
    end();
}

/* Protects a range from those that it refuses: they are told to stay away longer, the more they
 * are. */
Test(range_overload, tells_many_to_stay_away_longer) {
    struct cluster_config config = slow_config(6);
    begin(&config);
    send(100, 10 * SECOND);
    settle(100);
    uint32_t first_us = 0, last_us = 0;
    for (int round = 0; round < 10; round++) {
        send(COUNT, SECOND);
        cluster_run_us(load.cluster, 250000);
        for (uint32_t i = 0; i < COUNT; i++)
            if (load.calls[i]->done && load.calls[i]->reply.code == RANGE_REPLY_BUSY)
                last_us = load.calls[i]->reply.retry_after_us;
        if (round == 0) first_us = last_us;
        settle(COUNT);
    }
    cr_assert_gt(first_us, 0);
    cr_assert_gt(last_us, 20 * first_us, "%u, then %u", first_us, last_us);
    end();
}

/* ---- the arithmetic, of a replica and a worker that exist only here ---- */

#define KNOWN_US (2 * PACE_SAMPLE_US)

struct shared {
    struct range_store store;
    struct range_worker worker;
    struct range_replica replica, neighbour;
};

static struct shared *shared_new(void) {
    static struct shared shared;
    memset(&shared, 0, sizeof(shared));
    shared.store.config.election_ticks = 15;
    shared.store.config.tick_us = 10000;
    shared.store.config.log_work_min = 1000;
    shared.worker.store = &shared.store;
    shared.worker.now_us = KNOWN_US;
    shared.replica.worker = shared.neighbour.worker = &shared.worker;
    return &shared;
}

/* It does a thousand units in a second, and `queued` are there. */
static void make_pace(struct pace *pace, uint64_t queued) {
    *pace = (struct pace){.queued = queued, .rate_per_s = 1000, .since_us = KNOWN_US};
}

/* Half of the time that there is must do for what is there, on the range and on the worker. */
Test(range_overload, the_longer_of_two_queues_decides) {
    struct shared *shared = shared_new();
    uint64_t second_us = KNOWN_US + SECOND;
    make_pace(&shared->replica.load.pace, 400);
    make_pace(&shared->worker.load.pace, 400);
    cr_expect(range_overload_admits(&shared->replica, second_us));
    make_pace(&shared->replica.load.pace, 600);
    cr_expect_not(range_overload_admits(&shared->replica, second_us), "the range is a hot one");
    make_pace(&shared->replica.load.pace, 400);
    make_pace(&shared->worker.load.pace, 600);
    cr_expect_not(range_overload_admits(&shared->replica, second_us), "they share a disk");
    cr_expect(range_overload_admits(&shared->replica, second_us + SECOND));
    cr_expect_not(range_overload_admits(&shared->replica, 0), "it is over");
}

/* The log is given what it does in half an election time-out, 75 ms; the least is 1,000 units for a
 * range and 2,000 for all of a worker. What only waits for the log is not in it. */
Test(range_overload, the_log_is_given_the_smaller_of_two_rooms) {
    struct shared *shared = shared_new();
    cr_expect_eq(range_overload_log_room(&shared->replica), 1000, "a range without a rate");
    make_pace(&shared->replica.load.pace, 700);
    make_pace(&shared->worker.load.pace, 700);
    cr_expect_eq(range_overload_log_room(&shared->replica), 300);
    shared->replica.load.waiting_work = shared->worker.load.waiting_work = 100;
    cr_expect_eq(range_overload_log_room(&shared->replica), 400);
    make_pace(&shared->worker.load.pace, 1900);
    cr_expect_eq(range_overload_log_room(&shared->replica), 200, "the neighbours' work counts");
    make_pace(&shared->worker.load.pace, 5000);
    cr_expect_eq(range_overload_log_room(&shared->replica), 0, "the worker's is full");
    cr_expect_eq(range_overload_log_room(&shared->neighbour), 1, "one is let in nevertheless");
    shared->replica.load.pace.rate_per_s = shared->worker.load.pace.rate_per_s = 100000;
    cr_expect_eq(range_overload_log_room(&shared->replica), 7500 - 5000 + 100);
}
