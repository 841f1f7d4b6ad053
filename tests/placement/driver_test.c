#include <criterion/criterion.h>

#include "base/log.h"
#include "tests/placement/group.h"

static struct group group;

static void setup(void) {
    log_set_level(LOG_NONE);
    group_init(&group, 1, 1, NULL);
}

static void teardown(void) {
    group_done(&group);
}

TestSuite(placement_driver, .init = setup, .fini = teardown);

static void reset(uint32_t replication_factor, uint32_t birth_nodes, uint32_t ranges) {
    struct placement_config config;
    group_done(&group);
    placement_config_defaults(&config);
    config.replication_factor = replication_factor;
    config.birth_nodes = birth_nodes;
    config.initial_ranges = ranges;
    group_init(&group, 1, 1, &config);
}

static struct placement_driver *leader(void) {
    struct group_member *member = group_wait_leader(&group);
    cr_assert(member);
    return member->driver;
}

static struct placement_status status_now(void) {
    struct placement_status status;
    struct placement_driver *driver = leader();
    placement_driver_status(driver, group.now_us, &status);
    return status;
}

static struct placement_heartbeat_reply beat(uint64_t number,
                                             const struct placement_replica_report *reports,
                                             uint32_t count, bool complete) {
    struct placement_heartbeat_request request = {
        .cluster_id = status_now().cluster_id,
        .node_id = number,
        .incarnation = group_node(number).incarnation,
        .complete = complete,
        .report_count = count,
        .reports = reports,
    };
    struct placement_heartbeat_reply reply;
    struct placement_driver *driver = leader();
    placement_driver_heartbeat(driver, &request, group.now_us, &reply);
    return reply;
}

static void beat_all(uint64_t count) {
    for (uint64_t i = 1; i <= count; i++)
        group_beat(&group, i);
    group_settle(&group);
}

static enum status map_now(struct placement_range_map *map) {
    struct placement_driver *driver = leader();
    return placement_driver_ranges(driver, group.now_us, map);
}

static void restart(void) {
    group_stop(&group, 0);
    group_start(&group, 0);
}

/* ---- the cluster ---- */

/* A lone member serves at once: nobody else could win an election. */
Test(placement_driver, a_lone_member_leads_without_waiting) {
    cr_assert(!group_leader(&group));
    group_settle(&group);
    cr_assert(group_leader(&group));
    cr_assert_neq(status_now().cluster_id, 0);
}

/* The cluster's id is what keeps clusters apart: it must survive everything. */
Test(placement_driver, the_cluster_id_survives_restarts) {
    uint64_t cluster_id = status_now().cluster_id;
    for (uint32_t i = 0; i < 5; i++) {
        restart();
        cr_assert_eq(status_now().cluster_id, cluster_id);
        group_crash(&group, 0);
        group_start(&group, 0);
        cr_assert_eq(status_now().cluster_id, cluster_id);
    }
}

static void expect_refused(const struct placement_config *config, const char *says) {
    struct storage_engine *engine = memory_engine_new();
    struct placement_transport transport = {0};
    struct placement_driver *driver = NULL;
    struct buf error = {0};
    cr_assert_eq(placement_driver_open(config, engine, &transport, &group.clock, group.now_us,
                                       &error, &driver),
                 STATUS_INVALID);
    buf_append_byte(&error, 0);
    cr_assert(strstr((char *)error.data, says), "%s", (char *)error.data);
    cr_assert(!driver);
    buf_done(&error);
    storage_close(engine);
}

/* Mistakes in the configuration are told at the start, by name. */
Test(placement_driver, bad_configurations_are_refused_by_name) {
    struct placement_config config;
    placement_config_defaults(&config);
    config.replication_factor = 2;
    expect_refused(&config, "replication factor 2");
    placement_config_defaults(&config);
    config.birth_nodes = 2;
    expect_refused(&config, "fewer than the replication factor");
    placement_config_defaults(&config);
    config.initial_ranges = 0;
    expect_refused(&config, "initial ranges");
    placement_config_defaults(&config);
    config.split_keys = "b,a";
    expect_refused(&config, "split key 2");
    placement_config_defaults(&config);
    config.members[0] = 2;
    expect_refused(&config, "members");
}

/* A directory of another member or of a node must not be taken over. */
Test(placement_driver, a_foreign_directory_is_refused) {
    struct placement_config config = group.config;
    struct placement_transport transport = {0};
    struct placement_driver *driver = NULL;
    struct buf error = {0};
    group_settle(&group);
    group_stop(&group, 0);
    config.member_id = config.members[0] = 9;
    cr_assert_eq(placement_driver_open(&config, group.members[0].engine, &transport, &group.clock,
                                       group.now_us, &error, &driver),
                 STATUS_MISMATCH);
    struct storage_engine *node_engine = memory_engine_new();
    struct storage_batch *batch = storage_batch_new(node_engine);
    storage_batch_put(batch, STORAGE_META, SLICE_LITERAL("\0i"), SLICE_LITERAL("identity"));
    cr_assert_eq(storage_write(node_engine, batch, STORAGE_SYNCED), STATUS_OK);
    buf_clear(&error);
    cr_assert_eq(placement_driver_open(&group.config, node_engine, &transport, &group.clock,
                                       group.now_us, &error, &driver),
                 STATUS_MISMATCH);
    buf_append_byte(&error, 0);
    cr_assert(strstr((char *)error.data, "flotilla node"));
    buf_done(&error);
    storage_batch_free(batch);
    storage_close(node_engine);
}

/* ---- registration ---- */

/* An id that was told must be there after a crash, and retries must not make another. */
Test(placement_driver, an_id_is_durable_before_it_is_told) {
    struct placement_register_request request = group_node(1);
    struct group_registration first = group_register(&group, &request);
    cr_assert_eq(first.status, STATUS_OK);
    group_crash(&group, 0);
    group_start(&group, 0);
    struct group_registration second = group_register(&group, &request);
    cr_assert_eq(second.status, STATUS_OK);
    cr_assert_eq(second.node_id, first.node_id);
    cr_assert_eq(second.cluster_id, first.cluster_id);
}

/* Two processes on copies of one directory: the second is turned away while the first lives. */
Test(placement_driver, a_second_process_elsewhere_is_refused_while_the_first_lives) {
    struct placement_register_request first = group_node(1), second = first;
    cr_assert_eq(group_register(&group, &first).status, STATUS_OK);
    group_start_again(&second);
    second.address = slice_from_text("10.0.0.9:7101");
    struct group_registration result = group_register(&group, &second);
    cr_assert_eq(result.status, STATUS_EXISTS);
    cr_assert_gt(result.retry_after_ms, 0);
    cr_assert_leq(result.retry_after_ms, 3001);
    cr_assert(strstr(result.text, "node 1 is running at 10.0.0.1:7101"), "%s", result.text);
    group_run(&group, (uint64_t)result.retry_after_ms * 1000);
    cr_assert_eq(group_register(&group, &second).status, STATUS_OK,
                 "once the first has been silent");
    struct placement_heartbeat_reply reply = beat(1, NULL, 0, true);
    cr_assert_eq(reply.status, STATUS_EXISTS, "the first one is told to stop");
}

/* After placement's own restart nobody has been heard from yet: that is no licence to take over. */
Test(placement_driver, a_restarted_placement_takes_nodes_for_alive_first) {
    struct placement_register_request first = group_node(1), second = first;
    cr_assert_eq(group_register(&group, &first).status, STATUS_OK);
    group_run(&group, 10000000);
    restart();
    group_start_again(&second);
    second.address = slice_from_text("10.0.0.9:7101");
    cr_assert_eq(group_register(&group, &second).status, STATUS_EXISTS);
}

/* A node that restarts where it was must not wait: its port proves that the old process is gone. */
Test(placement_driver, a_restart_at_the_same_address_is_taken_at_once) {
    struct placement_register_request request = group_node(1);
    struct group_registration first = group_register(&group, &request);
    group_start_again(&request);
    request.node_id = first.node_id;
    request.cluster_id = first.cluster_id;
    struct group_registration second = group_register(&group, &request);
    cr_assert_eq(second.status, STATUS_OK);
    cr_assert_eq(second.node_id, first.node_id);
}

/* What a process still sent before it ended may come after its successor's registration: it must
 * not take the node from the living (simulation seed 1000760), nor ever. */
Test(placement_driver, a_late_registration_of_an_earlier_process_is_refused) {
    struct placement_register_request earlier = group_node(1), present = earlier;
    cr_assert_eq(group_register(&group, &earlier).status, STATUS_OK);
    group_start_again(&present);
    cr_assert_eq(group_register(&group, &present).status, STATUS_OK);
    struct group_registration late = group_register(&group, &earlier);
    cr_assert_eq(late.status, STATUS_MISMATCH);
    cr_assert_eq(late.retry_after_ms, 0);
    struct placement_heartbeat_request beat = {
        .cluster_id = status_now().cluster_id, .node_id = 1, .incarnation = present.incarnation};
    struct placement_heartbeat_reply reply;
    placement_driver_heartbeat(group.members[0].driver, &beat, group.now_us, &reply);
    cr_assert_eq(reply.status, STATUS_OK);
    group_run(&group, 10000000);
    cr_assert_eq(group_register(&group, &earlier).status, STATUS_MISMATCH);
}

/* ---- directories that were set back in time ---- */

/* The directory of a node whose replicas have promised things, started again as it was earlier. */
static struct group_registration register_again(uint64_t starts, uint64_t noise,
                                                uint64_t synced_sequence) {
    struct placement_register_request request = group_node(1);
    request.incarnation = placement_incarnation(starts, noise);
    request.synced_sequence = synced_sequence;
    return group_register(&group, &request);
}

static void beat_synced(uint64_t starts, uint64_t synced_sequence, bool leaving) {
    struct placement_heartbeat_request request = {
        .cluster_id = status_now().cluster_id,
        .node_id = 1,
        .incarnation = placement_incarnation(starts, 7),
        .synced_sequence = synced_sequence,
        .leaving = leaving,
        .complete = true,
    };
    struct placement_heartbeat_reply reply;
    struct placement_driver *driver = leader();
    placement_driver_heartbeat(driver, &request, group.now_us, &reply);
    cr_assert_eq(reply.status, STATUS_OK);
}

/* A copy that was made before the directory's last start counts that start again. It must never be
 * believed, however long the real one is silent: two of three replicas may have promised what only
 * it has forgotten. */
Test(placement_driver, a_start_that_was_counted_before_is_refused) {
    cr_assert_eq(register_again(4, 7, 100).status, STATUS_OK);
    cr_assert_eq(register_again(4, 7, 100).status, STATUS_OK, "the same process asks again");
    group_run(&group, 60000000);
    struct group_registration copy = register_again(4, 8, 100);
    cr_assert_eq(copy.status, STATUS_MISMATCH);
    cr_assert_eq(copy.retry_after_ms, 0);
    cr_assert(strstr(copy.text, "start number 4 comes after start number 4"), "%s", copy.text);
    cr_assert(strstr(copy.text, "move-replica"), "%s", copy.text);
    cr_assert_eq(register_again(3, 9, 100).status, STATUS_MISMATCH);
    cr_assert(status_now().nodes[0].set_back, "the operator sees which node it is");
    group_crash(&group, 0);
    group_start(&group, 0);
    cr_assert_eq(register_again(4, 8, 100).status, STATUS_MISMATCH, "the log remembers");
    cr_assert_eq(register_again(5, 8, 100).status, STATUS_OK);
    cr_assert(!status_now().nodes[0].set_back);
}

/* A disk that lost its tail has a count that is right, and an engine that ends too early. */
Test(placement_driver, an_engine_that_ends_before_what_it_had_synced_is_refused) {
    cr_assert_eq(register_again(1, 7, 0).status, STATUS_OK);
    beat_synced(1, 5000, false);
    struct group_registration cut = register_again(2, 7, 4999);
    cr_assert_eq(cut.status, STATUS_MISMATCH);
    cr_assert(strstr(cut.text, "ends at sequence 4999, and had synced 5000"), "%s", cut.text);
    cr_assert_eq(register_again(3, 7, 5000).status, STATUS_OK);
    cr_assert_eq(register_again(4, 7, 4999).status, STATUS_MISMATCH, "what it opened with counts");
}

/* What heartbeats said goes through the log, seldom: a placement that starts again knows it. */
Test(placement_driver, what_was_synced_is_known_after_a_restart) {
    cr_assert_eq(register_again(1, 7, 0).status, STATUS_OK);
    uint64_t begun = status_now().applied_index;
    for (uint64_t i = 1; i <= 200; i++) {
        beat_synced(1, i * 100, false);
        group_run(&group, 100000);
    }
    uint64_t entries = status_now().applied_index - begun;
    cr_assert_leq(entries, 20, "two or three of them, and the timestamps' bounds: %lu",
                  (unsigned long)entries);
    group_run(&group, 5000000); /* what is behind it in the log makes its effects durable */
    group_crash(&group, 0);
    group_start(&group, 0);
    cr_assert_eq(register_again(2, 7, 9000).status, STATUS_MISMATCH, "20 s, less the last ten");
    cr_assert_eq(register_again(3, 7, 20000).status, STATUS_OK);
    beat_synced(3, 20500, true);
    group_settle(&group);
    group_crash(&group, 0);
    group_start(&group, 0);
    cr_assert_eq(register_again(4, 7, 20400).status, STATUS_MISMATCH,
                 "a good-bye is noted at once");
}

/* A node that said good-bye may come back anywhere at once. */
Test(placement_driver, a_node_that_left_may_return_elsewhere_at_once) {
    struct placement_register_request request = group_node(1);
    cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
    struct placement_heartbeat_request leaving = {.cluster_id = status_now().cluster_id,
                                                  .node_id = 1,
                                                  .incarnation = request.incarnation,
                                                  .leaving = true};
    struct placement_heartbeat_reply reply;
    placement_driver_heartbeat(group.members[0].driver, &leaving, group.now_us, &reply);
    cr_assert_eq(reply.status, STATUS_OK);
    group_start_again(&request);
    request.address = slice_from_text("10.0.0.9:7101");
    cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
}

/* Routers would mix up two nodes at one address. */
Test(placement_driver, the_address_of_a_live_node_is_refused_to_others) {
    struct placement_register_request first = group_node(1), second = group_node(2);
    cr_assert_eq(group_register(&group, &first).status, STATUS_OK);
    second.address = first.address;
    struct group_registration result = group_register(&group, &second);
    cr_assert_eq(result.status, STATUS_EXISTS);
    cr_assert(strstr(result.text, "--advertise"), "%s", result.text);
    group_run(&group, 3100000);
    cr_assert_eq(group_register(&group, &second).status, STATUS_OK);
}

/* Two processes of one directory that start together: at most one gets in. */
Test(placement_driver, two_registrations_of_one_directory_at_once_admit_one) {
    struct placement_register_request first = group_node(1), second = first;
    struct group_registration results[2];
    struct group_member *member = group_wait_leader(&group);
    group_start_again(&second);
    second.address = slice_from_text("10.0.0.9:7101");
    group_register_begin(&group, member, &first, &results[0]);
    group_register_begin(&group, member, &second, &results[1]);
    group_settle(&group);
    cr_assert_eq(results[0].status, STATUS_OK);
    cr_assert_eq(results[1].status, STATUS_EXISTS);
}

/* Requests that make no sense are refused and change nothing. */
Test(placement_driver, malformed_registrations_are_refused) {
    struct placement_register_request bad[8];
    for (uint32_t i = 0; i < 8; i++)
        bad[i] = group_node(1);
    bad[0].address = slice_from_text("no-port");
    bad[1].address = slice_from_text("bad host:1");
    bad[2].incarnation = 0;
    memset(bad[3].uuid.bytes, 0, 16);
    bad[4].node_id = 7;
    bad[5].address = SLICE_EMPTY;
    bad[6].address = slice_from_text("127.0.0.1:99999");
    bad[7].address = slice_from_text("127.0.0.1:0");
    for (uint32_t i = 0; i < 8; i++) {
        struct group_registration result = group_register(&group, &bad[i]);
        cr_assert_eq(result.status, STATUS_INVALID, "case %u", i);
        cr_assert_gt(strlen(result.text), 0);
    }
    cr_assert_eq(status_now().registered_nodes, 0);
}

/* The waiting room is bounded: what does not fit is told so. */
Test(placement_driver, registrations_beyond_the_bound_are_told_busy) {
    static struct group_registration results[PLACEMENT_WAITERS_MAX + 1];
    struct group_member *member = group_wait_leader(&group);
    struct placement_register_request request = group_node(1);
    for (uint32_t i = 0; i <= PLACEMENT_WAITERS_MAX; i++)
        group_register_begin(&group, member, &request, &results[i]);
    cr_assert_eq(results[PLACEMENT_WAITERS_MAX].status, STATUS_BUSY);
    group_settle(&group);
    for (uint32_t i = 0; i < PLACEMENT_WAITERS_MAX; i++) {
        cr_assert_eq(results[i].status, STATUS_OK);
        cr_assert_eq(results[i].node_id, 1);
    }
}

/* ---- birth and heartbeats ---- */

/* Before birth there is nothing to route to, and nodes are told to come back soon. */
Test(placement_driver, birth_waits_for_enough_nodes) {
    reset(3, 4, 8);
    for (uint64_t i = 1; i <= 3; i++) {
        struct placement_register_request request = group_node(i);
        cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
    }
    beat_all(3);
    cr_assert(!status_now().born);
    struct placement_heartbeat_reply reply = beat(1, NULL, 0, true);
    cr_assert_eq(reply.create_count, 0);
    cr_assert_leq(reply.next_heartbeat_ms, 200);
    struct placement_register_request last = group_node(4);
    cr_assert_eq(group_register(&group, &last).status, STATUS_OK);
    beat_all(4);
    cr_assert(status_now().born);
    cr_assert_eq(status_now().range_count, 8);
}

/* Ranges on nodes that are gone never have a leader, and a birth happens once: a node whose disk
 * goes with its process registers anew at each start, and only the last of its ids is alive. */
Test(placement_driver, birth_counts_who_is_alive) {
    reset(3, 3, 2);
    for (uint64_t i = 1; i <= 3; i++) {
        struct placement_register_request request = group_node(i);
        cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
        group_beat(&group, i); /* and never again */
        group_settle(&group);
    }
    cr_assert(!status_now().born);
    group_run(&group, 1100000);
    for (uint64_t i = 4; i <= 5; i++) {
        struct placement_register_request request = group_node(i);
        cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
    }
    group_beat(&group, 3);
    group_beat(&group, 4);
    group_run(&group, 500000);
    cr_assert(!status_now().born, "node 5 has only registered");
    group_beat(&group, 5);
    group_settle(&group);
    struct placement_status status = status_now();
    cr_assert(status.born);
    for (uint32_t i = 0; i < status.range_count; i++)
        for (uint32_t j = 0; j < 3; j++)
            cr_assert_geq(status.ranges[i].descriptor->replicas[j].node_id, 3);
}

/* The beat just before a registration is not one after it: who sent it may be what the newcomer was
 * until its restart. */
Test(placement_driver, birth_counts_only_beats_behind_the_last_registration) {
    reset(3, 3, 2);
    for (uint64_t i = 1; i <= 3; i++) {
        if (i == 3) {
            group_beat(&group, 1);
            group_beat(&group, 2);
        }
        struct placement_register_request request = group_node(i);
        cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
    }
    group_settle(&group);
    cr_assert(!status_now().born, "node 3 has only registered");
    group_beat(&group, 3);
    group_beat(&group, 1);
    group_settle(&group);
    cr_assert(!status_now().born, "node 2 was heard last before node 3 registered");
    group_beat(&group, 2);
    group_settle(&group);
    cr_assert(status_now().born);
}

/* A node that said that it stops does not wait for the birth any more. */
Test(placement_driver, birth_does_not_count_who_has_left) {
    reset(1, 2, 1);
    for (uint64_t i = 1; i <= 2; i++) {
        struct placement_register_request request = group_node(i);
        cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
    }
    group_beat(&group, 1);
    struct placement_heartbeat_request leaving = {.cluster_id = status_now().cluster_id,
                                                  .node_id = 1,
                                                  .incarnation = group_node(1).incarnation,
                                                  .complete = true,
                                                  .leaving = true};
    struct placement_heartbeat_reply reply;
    placement_driver_heartbeat(group.members[0].driver, &leaving, group.now_us, &reply);
    group_beat(&group, 2);
    group_settle(&group);
    cr_assert(!status_now().born);
}

/* A node is told what to make until it reports it; then, never again, restarts included. */
Test(placement_driver, creations_are_ordered_until_confirmed_and_never_again) {
    reset(1, 2, 4);
    group_give_birth(&group, 2);
    restart(); /* what was reported before the birth is forgotten */
    cr_assert_eq(beat(1, NULL, 0, false).create_count, 0, "not before it told what it has");
    struct placement_heartbeat_reply reply = beat(1, NULL, 0, true);
    cr_assert_eq(reply.create_count, 2);
    cr_assert(reply.creates[0].campaign);
    struct placement_replica_report reports[2];
    for (uint32_t i = 0; i < 2; i++)
        reports[i] = (struct placement_replica_report){
            .range_id = reply.creates[i].descriptor->range_id,
            .replica_id = reply.creates[i].descriptor->replicas[0].replica_id,
            .epoch = {1, 1},
        };
    cr_assert_eq(beat(1, NULL, 0, true).create_count, 2, "again until it reports them");
    cr_assert_eq(beat(1, reports, 2, true).create_count, 0);
    group_settle(&group);
    cr_assert_eq(status_now().replicas_unconfirmed, 2);
    cr_assert_eq(beat(1, NULL, 0, true).create_count, 0, "a lost replica must not come back empty");
    group_crash(&group, 0);
    group_start(&group, 0);
    (void)beat(1, NULL, 0, true); /* the first complete report of this leadership */
    cr_assert_eq(beat(1, NULL, 0, true).create_count, 0);
    cr_assert_eq(beat(2, NULL, 0, true).create_count, 2);
    restart();
    (void)beat(1, NULL, 0, true);
    cr_assert_eq(beat(1, NULL, 0, true).create_count, 0);
}

static void report_made(uint64_t node, const struct placement_heartbeat_reply *made) {
    struct placement_replica_report reports[16];
    uint32_t count = made->create_count;
    for (uint32_t i = 0; i < count; i++)
        reports[i] = (struct placement_replica_report){
            .range_id = made->creates[i].descriptor->range_id,
            .replica_id =
                placement_descriptor_on_node(made->creates[i].descriptor, node)->replica_id,
            .epoch = {1, 1},
        };
    (void)beat(node, reports, count, false); /* what it answers is the next beat's concern */
    group_settle(&group);
}

/* The replica that is meant to lead is made, and told to campaign, when a majority can vote for it:
 * leaders begin where they are meant to be. */
Test(placement_driver, the_preferred_leader_is_made_last_and_campaigns) {
    reset(3, 3, 6);
    group_give_birth(&group, 3);
    uint32_t made[7] = {0}, campaigns[4] = {0};
    for (uint32_t round = 0; round < 2; round++) {
        for (uint64_t node = 1; node <= 3; node++) {
            struct placement_heartbeat_reply reply = beat(node, NULL, 0, true);
            for (uint32_t i = 0; i < reply.create_count; i++) {
                uint64_t range_id = reply.creates[i].descriptor->range_id;
                if (reply.creates[i].campaign) {
                    cr_assert_geq(made[range_id], 1);
                    campaigns[node]++;
                }
                made[range_id]++;
            }
            if (reply.create_count) cr_assert_leq(reply.next_heartbeat_ms, 50);
            report_made(node, &reply);
        }
    }
    for (uint32_t range = 1; range <= 6; range++)
        cr_assert_eq(made[range], 3);
    for (uint32_t node = 1; node <= 3; node++)
        cr_assert_eq(campaigns[node], 2);
    cr_assert_eq(status_now().replicas_unconfirmed, 0);
    cr_assert_eq(beat(1, NULL, 0, true).next_heartbeat_ms, 1000);
}

/* The range map is what the heartbeats say, and is rebuilt after placement's restart. */
Test(placement_driver, the_range_map_is_rebuilt_from_heartbeats) {
    reset(3, 3, 2);
    group_give_birth(&group, 3);
    struct placement_replica_report leads = {
        .range_id = 2, .replica_id = 1, .epoch = {1, 1}, .term = 6, .leads = true};
    struct placement_range_map map;
    for (uint32_t round = 0; round < 2; round++) {
        cr_assert_eq(map_now(&map), STATUS_OK);
        cr_assert_eq(map.range_count, 2);
        cr_assert_eq(map.node_count, 3);
        cr_assert_eq(map.ranges[1].leader_node, 0);
        cr_assert_eq(beat(3, &leads, 1, true).status, STATUS_OK);
        cr_assert_eq(map_now(&map), STATUS_OK);
        cr_assert_eq(map.ranges[1].leader_node, 3);
        restart();
    }
}

static struct placement_replica_report applied_report(uint64_t range_id, uint64_t index,
                                                      bool leads) {
    return (struct placement_replica_report){.range_id = range_id,
                                             .replica_id = 1,
                                             .epoch = {1, 1},
                                             .term = 6,
                                             .leads = leads,
                                             .applied_index = index};
}

/* A rolling restart waits for the restarted node to have caught up: what is not known must not pass
 * for "not behind", and the worst range counts. */
Test(placement_driver, the_status_says_how_far_behind_a_node_is) {
    reset(3, 3, 2);
    group_give_birth(&group, 3);
    struct placement_replica_report led[] = {applied_report(1, 100, true),
                                             applied_report(2, 200, true)};
    cr_assert_eq(status_now().nodes[1].behind_entries, 0, "no range has a leader yet");
    cr_assert_eq(beat(1, led, 2, true).status, STATUS_OK);
    cr_assert_eq(status_now().nodes[0].behind_entries, 0);
    cr_assert_eq(status_now().nodes[1].behind_entries, UINT64_MAX, "it has not reported");
    struct placement_replica_report follows[] = {applied_report(1, 90, false),
                                                 applied_report(2, 150, false)};
    cr_assert_eq(beat(2, follows, 2, true).status, STATUS_OK);
    cr_assert_eq(status_now().nodes[1].behind_entries, 50);
    struct placement_replica_report caught_up = applied_report(2, 230, false);
    cr_assert_eq(beat(2, &caught_up, 1, false).status, STATUS_OK);
    cr_assert_eq(status_now().nodes[1].behind_entries, 10, "range 1 still is");
    cr_assert_eq(status_now().nodes[2].behind_entries, UINT64_MAX);
}

static void print_status(struct buf *text, struct buf *json) {
    struct placement_status status = status_now();
    placement_status_print(&status, text);
    placement_status_print_json(&status, json);
    buf_append_byte(text, 0);
    buf_append_byte(json, 0);
}

/* Protects operators from old figures that look like present ones: a node is alive while it is
 * heard in time, late, then down; what it said last is unknown from the moment it is late. */
Test(placement_driver, the_status_of_a_silent_node_is_not_what_it_said_last) {
    reset(3, 3, 2);
    group_give_birth(&group, 3);
    struct placement_replica_report led = applied_report(1, 100, true),
                                    follows = applied_report(1, 90, false);
    struct placement_heartbeat_request sized = {
        .cluster_id = status_now().cluster_id,
        .node_id = 2,
        .incarnation = group_node(2).incarnation,
        .complete = true,
        .figures = {.capacity_bytes = 2000000000000,
                    .available_bytes = 1500000000000,
                    .data_bytes = 3140000},
        .report_count = 1,
        .reports = &follows,
    };
    struct placement_heartbeat_reply reply;
    placement_driver_heartbeat(leader(), &sized, group.now_us, &reply);
    cr_assert_eq(beat(1, &led, 1, true).status, STATUS_OK);
    struct placement_node_status node = status_now().nodes[1];
    cr_assert(node.alive && !node.down && node.behind_entries == 10);
    struct buf text = {0}, json = {0};
    print_status(&text, &json);
    cr_assert(strstr((char *)text.data, "about 3.1 MB of data, 1.5 TB of 2.0 TB free\n"), "%s",
              (char *)text.data);
    cr_assert(
        strstr((char *)json.data, "\"data_bytes\":3140000,\"disk_free_bytes\":1500000000000"));

    group.now_us += 2001 * 1000;
    cr_assert_eq(beat(1, &led, 1, false).status, STATUS_OK);
    node = status_now().nodes[1];
    cr_assert(!node.alive && !node.down && node.behind_entries == UINT64_MAX);
    buf_clear(&text);
    buf_clear(&json);
    print_status(&text, &json);
    cr_assert(strstr((char *)text.data,
                     "LATE, heard from 2.0 s ago, 2 replicas, leads 0, not known how far "
                     "behind, sizes not known\n"),
              "%s", (char *)text.data);
    cr_assert(strstr((char *)json.data, "\"behind_entries\":null,\"data_bytes\":null,"
                                        "\"disk_free_bytes\":null,\"disk_bytes\":null"));

    group.now_us += 1000 * 1000;
    node = status_now().nodes[1];
    cr_assert(!node.alive && node.down && node.behind_entries == UINT64_MAX);
    buf_done(&text);
    buf_done(&json);
}

/* Range 1 as it became: node 3 is replaced by node 4, which is `role`. */
static struct placement_descriptor replaced(uint64_t conf_version, enum placement_role role) {
    struct placement_descriptor descriptor = {.range_id = 1,
                                              .epoch = {conf_version, 1},
                                              .joint = role > PLACEMENT_LEARNER,
                                              .next_replica_id = 5,
                                              .replica_count = 3};
    for (uint32_t i = 0; i < 2; i++)
        descriptor.replicas[i] = (struct placement_replica){i + 1, i + 1, PLACEMENT_VOTER};
    descriptor.replicas[2] = (struct placement_replica){4, 4, role};
    return descriptor;
}

static void beat_changed(const struct placement_descriptor *descriptor) {
    struct placement_replica_report report = applied_report(1, 100, true);
    report.epoch = descriptor->epoch;
    cr_assert_eq(beat(1, &report, 1, true).wanted_count, 1, "the leader is asked for it");
    report.descriptor = descriptor;
    cr_assert_eq(beat(1, &report, 1, false).wanted_count, 0);
}

/* A lost node is replaced: the operator sees the range lack a voter until the new one votes, the
 * nodes' replicas are counted by the new descriptor, and replicas that the lost node never made are
 * neither waited for nor ordered from it when it comes. */
Test(placement_driver, the_status_follows_replaced_replicas) {
    reset(3, 4, 1);
    group_give_birth(&group, 4);
    cr_assert_eq(status_now().replicas_unconfirmed, 3);
    cr_assert_eq(status_now().ranges_under_replicated, 0);
    struct placement_descriptor learner = replaced(3, PLACEMENT_LEARNER),
                                joint = replaced(4, PLACEMENT_VOTER_INCOMING),
                                voter = replaced(5, PLACEMENT_VOTER);
    beat_changed(&learner);
    struct placement_status status = status_now();
    cr_assert_eq(status.ranges_under_replicated, 1);
    cr_assert_eq(status.ranges_with_learners, 1);
    cr_assert_eq(status.replicas_unconfirmed, 0);
    cr_assert(status.nodes[3].replicas == 1 && status.nodes[2].replicas == 0);
    cr_assert_eq(status.nodes[2].behind_entries, 0, "it holds nothing that could be behind");
    (void)beat(3, NULL, 0, true); /* the first complete report */
    cr_assert_eq(beat(3, NULL, 0, true).create_count, 0);
    beat_changed(&joint);
    status = status_now();
    cr_assert(status.ranges_joint == 1 && status.ranges_under_replicated == 0);
    beat_changed(&voter);
    status = status_now();
    cr_assert(status.ranges_joint == 0 && status.ranges_under_replicated == 0);
    cr_assert_eq(status.ranges_with_learners, 0);
    group_run(&group, 10000000);
    (void)beat(1, NULL, 0, false);
    (void)beat(2, NULL, 0, false);
    cr_assert_eq(status_now().ranges_under_replicated, 1, "node 4 has fallen silent");
}

/* The address book travels when it has changed, not with every heartbeat. */
Test(placement_driver, the_address_book_is_sent_when_it_is_another) {
    struct placement_register_request request = group_node(1);
    cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
    struct placement_heartbeat_request heartbeat = {.cluster_id = status_now().cluster_id,
                                                    .node_id = 1,
                                                    .incarnation = group_node(1).incarnation};
    struct placement_heartbeat_reply reply;
    placement_driver_heartbeat(group.members[0].driver, &heartbeat, group.now_us, &reply);
    cr_assert_eq(reply.node_count, 1);
    cr_assert(slice_equal(reply.nodes[0].address, request.address));
    heartbeat.address_book_version = reply.address_book_version;
    placement_driver_heartbeat(group.members[0].driver, &heartbeat, group.now_us, &reply);
    cr_assert_eq(reply.node_count, 0);
    heartbeat.address_book_version++; /* of a placement that has been set back since */
    placement_driver_heartbeat(group.members[0].driver, &heartbeat, group.now_us, &reply);
    cr_assert_eq(reply.node_count, 1);
}

/* Strangers are told to stop, by name, and change nothing. */
Test(placement_driver, heartbeats_of_unknown_nodes_are_refused) {
    struct placement_register_request request = group_node(1);
    cr_assert_eq(group_register(&group, &request).status, STATUS_OK);
    struct placement_heartbeat_request bad[3] = {
        {.cluster_id = 5, .node_id = 1, .incarnation = group_node(1).incarnation},
        {.cluster_id = status_now().cluster_id,
         .node_id = 8,
         .incarnation = group_node(1).incarnation},
        {.cluster_id = status_now().cluster_id, .node_id = 1, .incarnation = 7},
    };
    const enum status expected[3] = {STATUS_MISMATCH, STATUS_MISMATCH, STATUS_EXISTS};
    for (uint32_t i = 0; i < 3; i++) {
        struct placement_heartbeat_reply reply;
        placement_driver_heartbeat(group.members[0].driver, &bad[i], group.now_us, &reply);
        cr_assert_eq(reply.status, expected[i]);
        cr_assert_gt(reply.text.len, 0);
    }
}

/* A restart must not replay the whole past: the log is cut, and what remains is enough. */
Test(placement_driver, the_log_is_compacted_and_recovery_uses_what_remains) {
    struct placement_register_request request = group_node(1);
    struct group_registration result;
    for (uint32_t i = 0; i < 3 * PLACEMENT_LOG_ENTRIES_KEPT; i++) {
        struct group_member *member = group_wait_leader(&group);
        group_register_begin(&group, member, &request, &result);
        group_settle(&group);
        cr_assert_eq(result.status, STATUS_OK);
    }
    struct placement_status before = status_now();
    cr_assert_gt(before.log_first_index, 1);
    cr_assert_lt(before.applied_index - before.log_first_index, 3 * PLACEMENT_LOG_ENTRIES_KEPT);
    group_crash(&group, 0);
    group_start(&group, 0);
    struct placement_status after = status_now();
    cr_assert_eq(after.registered_nodes, 1);
    cr_assert_geq(after.applied_index, before.applied_index);
}

/* Whatever the instant of a crash during formation, registration and birth: a cluster is born once,
 * ids are handed out once, and everything that was told holds. */
Test(placement_driver, birth_survives_a_crash_at_every_instant) {
    for (uint64_t instant = 0;; instant++) {
        reset(3, 3, 5);
        group.crash_countdown = instant;
        struct group_registration told[4] = {{0}};
        for (uint64_t i = 1; i <= 3; i++) {
            struct placement_register_request request = group_node(i);
            told[i].status = STATUS_UNAVAILABLE;
            for (uint32_t attempt = 0; attempt < 20 && told[i].status != STATUS_OK; attempt++) {
                for (uint32_t j = 0; j < 100 && !group_leader(&group); j++) {
                    if (!group.members[0].driver) group_start(&group, 0);
                    group_run(&group, GROUP_STEP_US);
                }
                struct group_member *member = group_leader(&group);
                cr_assert(member);
                group_register_begin(&group, member, &request, &told[i]);
                group_settle(&group);
            }
            cr_assert_eq(told[i].status, STATUS_OK);
        }
        for (uint32_t round = 0; round < 4; round++) {
            if (!group.members[0].driver) group_start(&group, 0);
            group_run(&group, 200000);
            beat_all(3);
        }
        bool crashed = group.crash_countdown == UINT64_MAX;
        group.crash_countdown = UINT64_MAX;
        if (!group.members[0].driver) group_start(&group, 0);
        struct placement_status status = status_now();
        cr_assert(status.born);
        cr_assert_eq(status.range_count, 5);
        cr_assert_eq(status.registered_nodes, 3);
        for (uint64_t i = 1; i <= 3; i++) {
            cr_assert_eq(told[i].node_id, i);
            cr_assert_eq(told[i].cluster_id, status.cluster_id);
        }
        if (!crashed) break;
        cr_assert_lt(instant, 1000);
    }
}
