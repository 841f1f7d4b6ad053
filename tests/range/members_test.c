/* Ranges that change their replicas: who joins gets everything, who leaves keeps nothing, and
 * nobody is lost in between. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/log.h"
#include "raft/message_codec.h"
#include "range/limits.h"
#include "range/membership.h"
#include "range/metrics.h"
#include "range/raft_frame.h"
#include "range/record.h"
#include "range/snapshot.h"
#include "range/worker.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u
#define LARGE_BYTES (128u << 10)
#define AT_ONCE ((int)(RANGE_APPLY_BYTES_MAX / LARGE_BYTES)) /* so many wait to be applied */

static void quiet(void) {
    log_set_level(LOG_NONE);
}

TestSuite(range_members, .init = quiet, .timeout = 60);

static struct cluster *five_nodes_as(struct cluster_config config) {
    config.nodes = 5;
    config.replicas = 3;
    struct cluster *cluster = cluster_new(&config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cluster_run_us(cluster, SECOND / 10); /* it has applied an entry of its term */
    return cluster;
}

static struct cluster *five_nodes(uint64_t seed) {
    return five_nodes_as(cluster_config_default(seed));
}

static struct cluster_call *ask(struct cluster *cluster, const struct range_replica_change *changes,
                                uint32_t count) {
    struct range_replica_change copy[RANGE_REPLICAS_MAX];
    memcpy(copy, changes, count * sizeof(*changes));
    struct range_request request = {.kind = RANGE_CHANGE_REPLICAS,
                                    .range_id = 1,
                                    .timeout_us = 2 * SECOND,
                                    .change_count = count,
                                    .changes = copy};
    struct cluster_call *call = cluster_send(cluster, cluster_wait_leader(cluster, 1), &request);
    cr_assert(cluster_await(cluster, call, 3 * SECOND));
    return call;
}

static enum range_reply_code code_of(struct cluster *cluster,
                                     const struct range_replica_change *changes, uint32_t count) {
    struct cluster_call *call = ask(cluster, changes, count);
    enum range_reply_code code = call->reply.code;
    cluster_call_free(cluster, call);
    return code;
}

/* As an operator would: again while the range is busy, or knows better. */
static void change_all(struct cluster *cluster, const struct range_replica_change *changes,
                       uint32_t count) {
    for (int attempt = 0; attempt < 200; attempt++) {
        enum range_reply_code code = code_of(cluster, changes, count);
        if (code == RANGE_REPLY_OK) return;
        cr_assert(code == RANGE_REPLY_BUSY || code == RANGE_REPLY_STALE_EPOCH ||
                      code == RANGE_REPLY_NOT_LEADER,
                  "code %d", (int)code);
        cluster_run_us(cluster, 20000);
    }
    cr_assert(false, "the range changes nothing");
}

static void change(struct cluster *cluster, enum range_replica_change_kind kind, uint64_t node) {
    change_all(cluster, &(struct range_replica_change){kind, node}, 1);
}

static void add(struct cluster *cluster, const char *name, int64_t delta) {
    struct buf command = cluster_add(cluster_key(1, name), delta, SLICE_EMPTY);
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result, TXN_DONE);
    buf_done(&command);
}

static uint64_t replica_on(struct cluster *cluster, uint64_t node) {
    struct range_descriptor newest = {0};
    cr_assert(cluster_newest(cluster, 1, &newest));
    const struct range_replica_ref *replica = range_descriptor_on_node(&newest, node);
    uint64_t id = replica ? replica->replica_id : 0;
    range_descriptor_done(&newest);
    return id;
}

/* Rows that the ranges of a worker share name gone replicas for a while: positions.h, P3. */
static bool is_shared_row(enum storage_family family, struct slice key) {
    return family == STORAGE_RAFT && key.len == 3 && key.data[0] == 'p';
}

static bool holds_nothing(struct cluster *cluster, uint64_t node) {
    static const enum storage_family families[] = {STORAGE_DATA, STORAGE_LOCK, STORAGE_RAFT};
    bool nothing = true;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        struct storage_iterator *iterator = storage_iterator_new(
            cluster_engine(cluster, node), NULL, families[i], SLICE_EMPTY, SLICE_EMPTY);
        for (storage_iterator_seek_first(iterator); storage_iterator_valid(iterator);
             storage_iterator_next(iterator))
            nothing = nothing && is_shared_row(families[i], storage_iterator_key(iterator));
        storage_iterator_free(iterator);
    }
    return nothing;
}

struct absence {
    struct cluster *cluster;
    uint64_t node;
};

static bool is_absent(void *ctx) {
    const struct absence *absence = ctx;
    struct range_status status;
    return !cluster_status(absence->cluster, absence->node, 1, &status) &&
           holds_nothing(absence->cluster, absence->node);
}

static void wait_absent(struct cluster *cluster, uint64_t node) {
    struct absence absence = {.cluster = cluster, .node = node};
    cr_assert(cluster_run_until(cluster, 5 * SECOND, is_absent, &absence));
}

/* The range rests without a node that nobody has ever heard; it knows nothing of its replica and
 * asks for nothing, so it is for the others to notice that it is heard. */
Test(range_members, a_node_that_was_never_heard_joins_when_it_is) {
    enum { LATE = 4 };
    struct cluster *cluster = five_nodes(31);
    cluster_kill(cluster, LATE);
    change(cluster, RANGE_ADD_LEARNER, LATE);
    cluster_run_us(cluster, 2 * SECOND);
    cr_assert_eq(atomic_load(&metric_range_quiet.value), 3, "it rests");
    cluster_start(cluster, LATE);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    cluster_free(cluster);
}

/* A node that has nothing of a range gets all of it, first as a learner, then as a voter that the
 * range can live on. */
Test(range_members, learner_joins_by_a_snapshot_and_is_promoted) {
    struct cluster *cluster = five_nodes(1);
    add(cluster, "sum", 5);
    change(cluster, RANGE_ADD_LEARNER, 4);
    cr_assert_eq(replica_on(cluster, 4), 4);
    add(cluster, "sum", 6);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    change(cluster, RANGE_PROMOTE, 4);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    change(cluster, RANGE_ADD_LEARNER, 5);
    change(cluster, RANGE_PROMOTE, 5);
    cluster_kill(cluster, 1); /* 3 of 5 are left */
    cluster_kill(cluster, 2);
    cluster_run_us(cluster, SECOND);
    add(cluster, "sum", 7);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 18);
    cluster_free(cluster);
}

/* A removed follower deletes what it had, and its node remembers that it was there. */
Test(range_members, removed_replica_deletes_itself) {
    struct cluster *cluster = five_nodes(2);
    add(cluster, "sum", 5);
    uint64_t gone = cluster_leader(cluster, 1) % 3 + 1;
    change(cluster, RANGE_REMOVE, gone);
    wait_absent(cluster, gone);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_crash(cluster, gone);
    cluster_start(cluster, gone);
    cluster_run_us(cluster, SECOND);
    wait_absent(cluster, gone);
    add(cluster, "sum", 1);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 6);
    cluster_free(cluster);
}

/* A snapshot that was under way to a replica when it was removed does not bring it back; nor one of
 * an earlier replica of the node. One of a later replica does. */
Test(range_members, a_late_snapshot_brings_nobody_back) {
    struct cluster *cluster = five_nodes(14);
    add(cluster, "sum", 5);
    uint64_t leader = cluster_leader(cluster, 1), gone = leader % 3 + 1;
    struct range_descriptor before = {0};
    struct range_status status;
    cr_assert(cluster_newest(cluster, 1, &before));
    cr_assert(cluster_status(cluster, gone, 1, &status));
    change(cluster, RANGE_REMOVE, gone);
    wait_absent(cluster, gone);
    int64_t installed = metric_range_snapshots_installed_total.value;
    struct raft_snapshot snapshot = {.id = {.term = status.term, .index = 1000},
                                     .conf = {.voters = {3, {1, 2, 3}}}};
    struct raft_message message = {.kind = RAFT_MSG_SNAPSHOT,
                                   .from = leader,
                                   .to = gone, /* the replicas of birth have their nodes' ids */
                                   .term = status.term,
                                   .snapshot = &snapshot};
    struct buf encoded = {0}, header_frame = {0}, last = {0};
    raft_encode_message(&encoded, &message);
    struct range_snapshot_header header = {
        .from_node = leader,
        .state = {.applied = snapshot.id, .truncated = snapshot.id, .last_commit_ts = 9999},
        .descriptor = before,
        .raft_message = slice_from_buf(&encoded)};
    range_snapshot_encode_header(&header_frame, 1, 11, &header);
    struct range_snapshot_chunk chunk = {.last = true,
                                         .stream_checksum = range_snapshot_chain(0, SLICE_EMPTY)};
    range_snapshot_encode_chunk(&last, 1, 11, 1, &chunk, SLICE_EMPTY);
    struct range_store *store = cluster_store(cluster, gone);
    for (int later_replicas = 0; later_replicas < 2; later_replicas++) {
        cr_assert_eq(range_store_snapshot_frame(store, leader, slice_from_buf(&header_frame)),
                     STATUS_OK);
        cr_assert_eq(range_store_snapshot_frame(store, leader, slice_from_buf(&last)), STATUS_OK);
        cluster_run_us(cluster, 5000);
        cr_assert_eq(metric_range_snapshots_installed_total.value, installed);
        cr_assert(!cluster_status(cluster, gone, 1, &status), "%d", later_replicas);
        change(cluster, RANGE_ADD_LEARNER, gone);
        cr_assert(cluster_converge(cluster, 2 * SECOND));
        cr_assert_eq(metric_range_snapshots_installed_total.value, ++installed);
        change(cluster, RANGE_REMOVE, gone);
        wait_absent(cluster, gone);
    }
    range_descriptor_done(&before);
    buf_done(&encoded);
    buf_done(&header_frame);
    buf_done(&last);
    cluster_free(cluster);
}

/* A leader may remove itself: it says that it is done, and another leads. */
Test(range_members, leader_removes_itself) {
    struct cluster *cluster = five_nodes(3);
    uint64_t gone = cluster_leader(cluster, 1);
    add(cluster, "sum", 5);
    change(cluster, RANGE_REMOVE, gone);
    wait_absent(cluster, gone);
    add(cluster, "sum", 1);
    cr_assert_neq(cluster_leader(cluster, 1), gone);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 6);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_free(cluster);
}

/* Two changes of voters at once are one joint step, and it is over when the answer comes. */
Test(range_members, replaces_a_voter_in_one_joint_step) {
    struct cluster *cluster = five_nodes(4);
    add(cluster, "sum", 5);
    change(cluster, RANGE_ADD_LEARNER, 4);
    uint64_t gone = cluster_leader(cluster, 1) % 3 + 1;
    struct range_replica_change changes[] = {{RANGE_PROMOTE, 4}, {RANGE_REMOVE, gone}};
    change_all(cluster, changes, 2);
    struct range_descriptor newest = {0};
    cr_assert(cluster_newest(cluster, 1, &newest));
    cr_assert(!newest.joint && newest.replica_count == 3);
    cr_assert_eq(newest.epoch.conf_version, 4); /* added, joint, left */
    cr_assert_eq(range_descriptor_on_node(&newest, 4)->role, RANGE_VOTER);
    range_descriptor_done(&newest);
    wait_absent(cluster, gone);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_free(cluster);
}

/* Who was removed while it was away is told by those who were there. */
Test(range_members, removed_while_away_deletes_itself) {
    struct cluster *cluster = five_nodes(5);
    uint64_t gone = cluster_leader(cluster, 1) % 3 + 1;
    cluster_kill(cluster, gone);
    change(cluster, RANGE_REMOVE, gone);
    for (int i = 0; i < 20; i++)
        add(cluster, "sum", 1);
    cluster_start(cluster, gone);
    wait_absent(cluster, gone);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 20);
    cluster_free(cluster);
}

/* The same for a learner, which never stands for election. */
Test(range_members, learner_removed_while_away_deletes_itself) {
    struct cluster *cluster = five_nodes(6);
    change(cluster, RANGE_ADD_LEARNER, 4);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_kill(cluster, 4);
    change(cluster, RANGE_REMOVE, 4);
    cluster_start(cluster, 4);
    wait_absent(cluster, 4);
    cluster_free(cluster);
}

/* And for one that went on all the time, and has to notice that nobody talks to it any more. */
Test(range_members, learner_removed_while_cut_off_deletes_itself) {
    struct cluster *cluster = five_nodes(12);
    change(cluster, RANGE_ADD_LEARNER, 4);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_isolate(cluster, 4, true);
    change(cluster, RANGE_REMOVE, 4);
    cluster_run_us(cluster, SECOND);
    cluster_heal(cluster);
    wait_absent(cluster, 4);
    cluster_free(cluster);
}

static struct cluster *five_quiet_nodes(uint64_t seed) {
    struct cluster_config config = cluster_config_default(seed);
    config.nodes = 5;
    config.replicas = 3;
    config.quiesce_ticks = 15;
    return cluster_new(&config);
}

static bool is_quiet(void *ctx) {
    const struct absence *at = ctx;
    struct range_status status;
    return cluster_status(at->cluster, at->node, 1, &status) && status.quiet;
}

/* A follower that rests trusts its leader to remember it: when its removal passes it by, too
 * shortly for it to miss anybody, nobody remembers, and it has to ask. (Simulation seed 77373 of
 * the scenario `members`.) */
Test(range_members, quiet_follower_removed_unheard_deletes_itself) {
    struct cluster *cluster = five_quiet_nodes(8);
    struct absence gone = {.cluster = cluster, .node = cluster_wait_leader(cluster, 1) % 3 + 1};
    cr_assert(cluster_run_until(cluster, 5 * SECOND, is_quiet, &gone));
    cluster_isolate(cluster, gone.node, true);
    change(cluster, RANGE_REMOVE, gone.node);
    cluster_heal(cluster);
    cr_assert(is_quiet(&gone));
    wait_absent(cluster, gone.node);
    cluster_free(cluster);
}

/* Who tells a replica that it is removed may forget in a crash what it had applied; the tombstone
 * may be the last to know, and others are shown it (answer_committed). */
Test(range_members, tombstone_knows_what_the_notice_said) {
    struct cluster *cluster = five_nodes(9);
    uint64_t teller = cluster_leader(cluster, 1), gone = teller % 3 + 1;
    struct range_store *store = cluster_store(cluster, gone);
    struct range_worker *worker = range_store_worker(store, 0);
    struct range_replica *told = range_worker_find(worker, 1);
    struct range_removed_notice notice = {.replica_id = told->replica_id};
    notice.committed = told->applied.applied;
    notice.committed.index += 1000;
    range_descriptor_copy(&notice.descriptor, &told->descriptor);
    notice.descriptor.epoch.conf_version += 5;
    notice.descriptor.replica_count = 0;
    for (uint32_t i = 0; i < told->descriptor.replica_count; i++)
        if (told->descriptor.replicas[i].node_id != gone)
            notice.descriptor.replicas[notice.descriptor.replica_count++] =
                told->descriptor.replicas[i];
    struct buf frame = {0};
    range_raft_frame_begin(&frame);
    range_raft_frame_add_removed(&frame, &notice);
    cluster_inject_raft(cluster, teller, gone, slice_from_buf(&frame));
    cluster_run_us(cluster, SECOND / 10);
    const struct range_replica *tombstone = range_worker_find_any(worker, 1);
    cr_assert(tombstone && tombstone->life == RANGE_TOMBSTONE);
    cr_assert_eq(tombstone->removal.committed.index, notice.committed.index);
    range_descriptor_done(&notice.descriptor);
    buf_done(&frame);
    cluster_free(cluster);
}

static bool is_quiet_leader(void *ctx) {
    const struct absence *at = ctx;
    struct range_status status;
    return cluster_status(at->cluster, at->node, 1, &status) && status.leads && status.quiet;
}

/* A leader that rests sends nothing that anybody could refuse, and misses nothing: when others took
 * over while it could not be reached, and removed it, it has to ask. (Simulation seeds 6008690 and
 * 6008820 of the scenario `members`.) */
Test(range_members, quiet_leader_removed_while_cut_off_deletes_itself) {
    struct cluster *cluster = five_quiet_nodes(7);
    struct absence old = {.cluster = cluster, .node = cluster_wait_leader(cluster, 1)};
    cr_assert(cluster_run_until(cluster, 5 * SECOND, is_quiet_leader, &old));
    cluster_isolate(cluster, old.node, true);
    cluster_run_us(cluster, 2 * SECOND); /* the others have found another leader */
    cr_assert_neq(cluster_leader(cluster, 1), old.node);
    change(cluster, RANGE_REMOVE, old.node);
    cr_assert(is_quiet_leader(&old));
    cluster_heal(cluster);
    wait_absent(cluster, old.node);
    cluster_free(cluster);
}

/* A node may hold a replica again, under another id, also when it never heard that it had lost the
 * first. */
Test(range_members, node_returns_under_a_new_id) {
    struct cluster *cluster = five_nodes(7);
    add(cluster, "sum", 5);
    uint64_t node = cluster_leader(cluster, 1) % 3 + 1;
    change(cluster, RANGE_REMOVE, node);
    wait_absent(cluster, node);
    change(cluster, RANGE_ADD_LEARNER, node);
    cr_assert_eq(replica_on(cluster, node), 4);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    change(cluster, RANGE_PROMOTE, node);
    cr_assert(cluster_converge(cluster, 2 * SECOND));

    cluster_isolate(cluster, node, true);
    change(cluster, RANGE_REMOVE, node);
    change(cluster, RANGE_ADD_LEARNER, node);
    cr_assert_eq(replica_on(cluster, node), 5);
    cluster_heal(cluster);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    change(cluster, RANGE_PROMOTE, node);
    cluster_crash(cluster, node);
    cluster_start(cluster, node);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 5);
    cluster_free(cluster);
}

/* What does not follow from the present replicas is refused in words, and changes nothing. */
Test(range_members, refuses_what_makes_no_sense) {
    static const struct {
        uint32_t count;
        struct range_replica_change changes[3];
        const char *text;
    } wishes[] = {
        {0, {{0}}, "names 1 to 16"},
        {1, {{RANGE_ADD_LEARNER, 2}}, "node 2 has a replica already"},
        {1, {{RANGE_ADD_LEARNER, 0}}, "node 0 is no node"},
        {1, {{RANGE_PROMOTE, 4}}, "node 4 has no replica"},
        {1, {{RANGE_PROMOTE, 1}}, "node 1 has a voter already"},
        {1, {{RANGE_REMOVE, 9}}, "node 9 has no replica"},
        {2, {{RANGE_REMOVE, 1}, {RANGE_DEMOTE, 1}}, "node 1 is named twice"},
        {3, {{RANGE_REMOVE, 1}, {RANGE_REMOVE, 2}, {RANGE_DEMOTE, 3}}, "without voters"},
    };
    struct cluster *cluster = five_nodes(8);
    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        struct cluster_call *call = ask(cluster, wishes[i].changes, wishes[i].count);
        cr_assert_eq(call->reply.code, RANGE_REPLY_INVALID, "wish %zu", i);
        struct buf text = {0};
        buf_append(&text, call->reply.text);
        buf_append_byte(&text, 0);
        cr_expect(strstr((char *)text.data, wishes[i].text), "wish %zu: %s", i, (char *)text.data);
        buf_done(&text);
        cluster_call_free(cluster, call);
    }
    struct range_descriptor newest = {0};
    cr_assert(cluster_newest(cluster, 1, &newest));
    cr_assert_eq(newest.epoch.conf_version, 1);
    range_descriptor_done(&newest);
    cluster_free(cluster);
}

/* A change is made for one configuration: for an older one it is refused with the present. */
Test(range_members, refuses_a_stale_epoch) {
    struct cluster *cluster = five_nodes(9);
    change(cluster, RANGE_ADD_LEARNER, 4);
    struct range_replica_change remove = {RANGE_REMOVE, 4};
    struct range_request request = {.kind = RANGE_CHANGE_REPLICAS,
                                    .range_id = 1,
                                    .epoch = {1, 1},
                                    .timeout_us = SECOND,
                                    .change_count = 1,
                                    .changes = &remove};
    struct cluster_call *call = cluster_send(cluster, cluster_wait_leader(cluster, 1), &request);
    cr_assert(cluster_await(cluster, call, SECOND));
    cr_assert_eq(call->reply.code, RANGE_REPLY_STALE_EPOCH);
    cr_assert_eq(call->reply.descriptor->epoch.conf_version, 2);
    cluster_call_free(cluster, call);
    cluster_free(cluster);
}

static struct range_status status_of(struct cluster *cluster, uint64_t node) {
    struct range_status status;
    cr_assert(cluster_status(cluster, node, 1, &status));
    return status;
}

/* Entries that are large and leave nothing behind: there is a "sum" already. */
static void insert_in_vain(struct cluster *cluster, int count) {
    struct buf value = {0};
    buf_reserve(&value, LARGE_BYTES);
    memset(value.data, 'v', LARGE_BYTES);
    struct txn_op op = {.kind = TXN_OP_INSERT,
                        .key = cluster_key(1, "sum"),
                        .value = slice_make(value.data, LARGE_BYTES)};
    struct buf command = cluster_command(&(struct txn_command){.op_count = 1, .ops = &op});
    for (int i = 0; i < count; i++)
        cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&command)).result,
                     TXN_REFUSED_EXISTS);
    buf_done(&command);
    buf_done(&value);
}

/* A follower whose disk keeps up and whose applying does not, a command in each of its long turns,
 * gets a snapshot while two changes that it contains are not applied yet, the first of them waiting
 * here. */
static void snapshot_over_changes(struct cluster *cluster, enum range_replica_change_kind kind) {
    uint64_t slow = cluster_leader(cluster, 1) % 3 + 1;
    cluster_slow(cluster, slow, 30000);
    insert_in_vain(cluster, AT_ONCE / 2);
    change(cluster, kind, 4);
    insert_in_vain(cluster, AT_ONCE);
    cluster_run_us(cluster, SECOND / 20); /* durable there */
    cluster_isolate(cluster, slow, true);
    uint64_t durable = status_of(cluster, slow).commit_index;
    change(cluster, kind, 5);
    insert_in_vain(cluster, AT_ONCE);
    struct range_status status = status_of(cluster, slow);
    cr_assert_gt(status_of(cluster, cluster_leader(cluster, 1)).log_first_index, durable + 1);
    cluster_heal(cluster);
    for (int i = 0; i < 100 && status_of(cluster, slow).applied_index <= durable; i++) {
        status = status_of(cluster, slow);
        cluster_run_us(cluster, 10000);
    }
    cr_assert_gt(status_of(cluster, slow).applied_index, durable, "a snapshot came");
    cr_assert_lt(status.applied_index + AT_ONCE, durable, "in the middle of it");
    cluster_slow(cluster, slow, 0);
}

/* What waits to be applied gives way to the snapshot, changes too, and what comes then finds room:
 * twice as much was dropped as a replica takes to be applied. */
Test(range_members, changes_that_wait_to_be_applied_give_way_to_a_snapshot) {
    struct cluster_config config = cluster_config_default(12);
    config.log_entries_kept = 5;
    config.log_compact_step = 10;
    config.apply_round_commands = 1;
    config.catch_up_bytes = RANGE_INFLIGHT_BYTES_MAX; /* much comes at once */
    struct cluster *cluster = five_nodes_as(config);
    add(cluster, "sum", 5);
    for (int i = 0; i < 2; i++) {
        snapshot_over_changes(cluster, RANGE_ADD_LEARNER);
        cr_assert(cluster_converge(cluster, 5 * SECOND));
        snapshot_over_changes(cluster, RANGE_REMOVE);
        cr_assert(cluster_converge(cluster, 5 * SECOND));
    }
    cluster_free(cluster);
}

static uint64_t last_index(struct cluster *cluster, uint64_t node) {
    struct range_worker *worker = range_store_worker(cluster_store(cluster, node), 0);
    return range_worker_find(worker, 1)->log.last_index;
}

/* What stood behind a change would be counted by the replicas before it, with one among them that
 * deletes its log once it hears of its removal. */
Test(range_members, nothing_is_proposed_behind_a_change_that_is_not_applied) {
    struct cluster *cluster = five_nodes(13);
    uint64_t leader = cluster_leader(cluster, 1), index = last_index(cluster, leader);
    struct range_replica_change remove = {RANGE_REMOVE, leader % 3 + 1};
    struct range_request request = {.kind = RANGE_CHANGE_REPLICAS,
                                    .range_id = 1,
                                    .timeout_us = 2 * SECOND,
                                    .change_count = 1,
                                    .changes = &remove};
    cluster_isolate(cluster, leader, true); /* for less than makes it doubt its leadership */
    struct cluster_call *change = cluster_send(cluster, leader, &request);
    cluster_run_us(cluster, 5000);
    struct buf command = cluster_add(cluster_key(1, "sum"), 5, SLICE_EMPTY);
    request = (struct range_request){.kind = RANGE_WRITE,
                                     .range_id = 1,
                                     .timeout_us = 2 * SECOND,
                                     .command = slice_from_buf(&command)};
    struct cluster_call *write = cluster_send(cluster, leader, &request);
    cluster_run_us(cluster, 30000);
    cr_assert_eq(last_index(cluster, leader), index + 1, "the change, and nothing else");
    cluster_heal(cluster);
    cr_assert(cluster_await(cluster, change, 2 * SECOND));
    cr_assert_eq(change->reply.code, RANGE_REPLY_OK);
    cr_assert(cluster_await(cluster, write, 2 * SECOND));
    cr_assert_eq(write->reply.code, RANGE_REPLY_OK);
    cr_assert_eq(last_index(cluster, leader), index + 2);
    cluster_call_free(cluster, change);
    cluster_call_free(cluster, write);
    buf_done(&command);
    cluster_free(cluster);
}

/* A learner that has nothing yet is no voter to be: promoting it waits until it has caught up. */
Test(range_members, promotes_nobody_who_lags) {
    struct cluster *cluster = five_nodes(10);
    cluster_isolate(cluster, 4, true);
    struct range_replica_change learner = {RANGE_ADD_LEARNER, 4}, promote = {RANGE_PROMOTE, 4};
    cr_assert_eq(code_of(cluster, &learner, 1), RANGE_REPLY_OK);
    cr_assert_eq(code_of(cluster, &promote, 1), RANGE_REPLY_BUSY);
    cluster_heal(cluster);
    change(cluster, RANGE_PROMOTE, 4);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    cluster_free(cluster);
}

/* A leader that rests hears nobody, and would believe for ever that a learner is away which has
 * long been back: who asks it to promote that one wakes it. */
Test(range_members, a_resting_leader_wakes_when_it_refuses_to_promote) {
    struct cluster *cluster = five_quiet_nodes(11);
    struct absence leader = {.cluster = cluster, .node = cluster_wait_leader(cluster, 1)};
    change(cluster, RANGE_ADD_LEARNER, 4);
    add(cluster, "sum", 1);
    cr_assert(cluster_converge(cluster, SECOND));
    cr_assert(cluster_run_until(cluster, 5 * SECOND, is_quiet_leader, &leader));
    cluster_isolate(cluster, 4, true);
    cluster_pause(cluster, 4, true); /* and itself notices nothing */
    cluster_run_us(cluster, 2 * SECOND);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 1); /* wakes it */
    cr_assert(cluster_run_until(cluster, 5 * SECOND, is_quiet_leader, &leader));
    struct range_replica_change promote = {RANGE_PROMOTE, 4};
    cr_assert_eq(code_of(cluster, &promote, 1), RANGE_REPLY_BUSY);
    cr_expect_not(is_quiet_leader(&leader));
    cluster_heal(cluster);
    change(cluster, RANGE_PROMOTE, 4);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    cluster_free(cluster);
}

/* A demoted voter keeps its data and its place in the log, and no vote; the leader itself may be
 * demoted. */
Test(range_members, demotes_the_leader) {
    struct cluster *cluster = five_nodes(11);
    uint64_t node = cluster_leader(cluster, 1);
    add(cluster, "sum", 5);
    change(cluster, RANGE_DEMOTE, node);
    add(cluster, "sum", 6);
    cr_assert_neq(cluster_leader(cluster, 1), node);
    cr_assert(cluster_converge(cluster, 2 * SECOND));
    cluster_free(cluster);
}

static struct range_replica *leader_of(struct cluster *cluster) {
    struct range_store *store = cluster_store(cluster, cluster_wait_leader(cluster, 1));
    return range_worker_find(range_store_worker(store, 0), 1);
}

/* What a power cut leaves of the node: an entry behind a change that is committed, and that it is.
 */
/* As the log on disk has it: the replica's own note of it is what is checked. */
static bool note_change(void *ctx, uint64_t index, struct slice bytes) {
    uint64_t *last_change = ctx;
    struct raft_entry entry;
    cr_assert_eq(raft_decode_entry(bytes, index, &entry), STATUS_OK);
    if (entry.kind != RAFT_ENTRY_NORMAL) *last_change = index;
    payload_unref(entry.payload);
    return true;
}

static void check_commit_of_change_is_durable(struct cluster *cluster, uint64_t node) {
    uint64_t last_change = 0;
    const struct range_replica *replica =
        range_worker_find(range_store_worker(cluster_store(cluster, node), 0), 1);
    struct buf bytes = {0};
    struct raft_hard_state hard_state;
    cr_assert_eq(raft_log_get_state(&replica->log, RAFT_LOG_HARD_STATE, &bytes), STATUS_OK);
    cr_assert_eq(raft_decode_hard_state(slice_from_buf(&bytes), &hard_state), STATUS_OK);
    cr_assert_eq(raft_log_read(&replica->log, replica->log.first_index, replica->log.last_index,
                               note_change, &last_change),
                 STATUS_OK);
    cr_assert(last_change > 0 && last_change < replica->log.last_index);
    cr_assert_geq(hard_state.commit, last_change, "node %lu", (unsigned long)node);
    buf_done(&bytes);
}

/* Else a majority of the old configuration that forgets its effects would elect and commit by
 * itself, beside the new one. */
Test(range_members, entries_behind_a_change_are_durable_with_its_commit) {
    struct cluster *cluster = five_nodes(31);
    change(cluster, RANGE_ADD_LEARNER, 4);
    add(cluster, "sum", 1);
    cluster_run_us(cluster, SECOND / 10);
    for (uint64_t node = 1; node <= 3; node++)
        check_commit_of_change_is_durable(cluster, node);
    cluster_free(cluster);
}

/* The same for who gets the change, its commit and what comes behind in one message. */
Test(range_members, catching_up_makes_the_commit_of_a_change_durable) {
    struct cluster *cluster = five_nodes(32);
    uint64_t late = cluster_wait_leader(cluster, 1) % 3 + 1;
    cluster_isolate(cluster, late, true);
    change(cluster, RANGE_ADD_LEARNER, 4);
    add(cluster, "sum", 1);
    cluster_heal(cluster);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    check_commit_of_change_is_durable(cluster, late);
    cluster_free(cluster);
}

/* An entry that was made for another configuration changes nothing, on any replica, and stands in
 * nobody's way. (The leader makes none; so it is made here.) */
Test(range_members, entry_for_another_configuration_is_no_change) {
    struct cluster *cluster = five_nodes(12);
    struct range_replica *leader = leader_of(cluster);
    struct range_membership stale = {.conf_version = 7};
    struct raft_conf_change change = {.count = 1, .changes = {{RAFT_CONF_REMOVE, 1}}};
    struct buf context = {0};
    range_membership_encode(&context, &stale);
    change.context = slice_from_buf(&context);
    range_replica_touch(leader);
    cr_assert_eq(raft_propose_conf_change(leader->raft, &change, NULL), STATUS_OK);
    buf_done(&context);
    add(cluster, "sum", 1);
    cr_assert(cluster_converge(cluster, SECOND));
    cr_assert_eq(leader->descriptor.epoch.conf_version, 1);
    cr_assert_eq(leader->descriptor.replica_count, 3);
    change_all(cluster, &(struct range_replica_change){RANGE_REMOVE, 1}, 1);
    wait_absent(cluster, 1);
    cr_assert(cluster_converge(cluster, SECOND));
    cluster_free(cluster);
}

/* What a change of several steps leaves behind when a node loses power in the middle of it. */
static void crash_after(uint64_t us, enum range_replica_change_kind kind, bool leader_crashes) {
    struct cluster_config config = cluster_config_default(us);
    config.nodes = 4;
    config.replicas = 3;
    config.sync_us = 300;
    struct cluster *cluster = cluster_new(&config);
    cr_assert_neq(cluster_wait_leader(cluster, 1), 0);
    cluster_run_us(cluster, SECOND / 10);
    add(cluster, "sum", 5);
    uint64_t leader = cluster_leader(cluster, 1);
    uint64_t node = kind == RANGE_REMOVE ? leader % 3 + 1 : 4;
    struct range_replica_change change = {kind, node};
    struct range_request request = {.kind = RANGE_CHANGE_REPLICAS,
                                    .range_id = 1,
                                    .timeout_us = SECOND,
                                    .change_count = 1,
                                    .changes = &change};
    struct cluster_call *call = cluster_send(cluster, leader, &request);
    cluster_run_us(cluster, us);
    cluster_crash(cluster, leader_crashes ? leader : node);
    cluster_start(cluster, leader_crashes ? leader : node);
    cr_assert(cluster_converge(cluster, 5 * SECOND), "after %lu us", (unsigned long)us);
    bool there = replica_on(cluster, node) != 0;
    if (call->done && call->reply.code == RANGE_REPLY_OK)
        cr_assert_eq(there, kind == RANGE_ADD_LEARNER, "after %lu us", (unsigned long)us);
    if (!there) wait_absent(cluster, node);
    cr_assert_eq(cluster_read_number(cluster, 1, cluster_key(1, "sum")), 5);
    cluster_free(cluster);
}

/* Whatever the instant at which the removed replica's node, or the leader's, loses power. */
Test(range_members, power_cut_while_a_replica_is_removed) {
    for (uint64_t us = 50; us <= 4000; us += 50)
        crash_after(us, RANGE_REMOVE, us % 100 == 0);
}

/* The same while one joins. */
Test(range_members, power_cut_while_a_replica_joins) {
    for (uint64_t us = 50; us <= 4000; us += 50)
        crash_after(us, RANGE_ADD_LEARNER, us % 100 == 0);
}
