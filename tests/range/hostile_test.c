/* Peers that send what no correct one sends: refused with a word, while the group serves on. The
 * frames are well formed; what is in them is not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "raft/limits.h"
#include "raft/message_codec.h"
#include "range/entry.h"
#include "range/raft_frame.h"
#include "range/record.h"
#include "storage/raft_log.h"
#include "tests/range/cluster.h"

#define SECOND 1000000u

static struct cluster *cluster;
static uint64_t leader, follower; /* nodes, and their replicas of range 1: the ids are the same */
static struct range_status led;

static void set_up(void) {
    log_set_level(LOG_NONE);
    struct cluster_config config = cluster_config_default(33);
    config.quiesce_ticks = 0;
    cluster = cluster_new(&config);
    leader = cluster_wait_leader(cluster, 1);
    cr_assert_neq(leader, 0);
    follower = leader % 3 + 1;
    struct buf put = cluster_put(cluster_key(1, "k"), SLICE_LITERAL("v"));
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&put)).result, TXN_DONE);
    buf_done(&put);
    cr_assert(cluster_converge(cluster, SECOND));
    cr_assert(cluster_status(cluster, leader, 1, &led));
}

/* Whatever came, the same replicas are there, agree, and take writes; after a restart too. */
static void assert_serves(void) {
    struct buf put = cluster_put(cluster_key(1, "k"), SLICE_LITERAL("w"));
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&put)).result, TXN_DONE);
    cr_assert(cluster_converge(cluster, SECOND));
    for (uint64_t node = 1; node <= 3; node++) {
        cluster_kill(cluster, node);
        cluster_start(cluster, node);
    }
    cr_assert_eq(cluster_write(cluster, 1, slice_from_buf(&put)).result, TXN_DONE);
    cr_assert(cluster_converge(cluster, 5 * SECOND));
    buf_done(&put);
}

static void tear_down(void) {
    cluster_free(cluster);
}

TestSuite(range_hostile, .init = set_up, .fini = tear_down, .timeout = 60);

static struct payload *payload_of(struct slice bytes) {
    return bytes.len ? payload_copy(bytes) : NULL;
}

/* As if the node of replica `from` had sent it; encoded by hand where the frame's own function
 * would not do it. */
static void inject(uint64_t from, uint64_t to, const struct raft_message *message) {
    struct buf frame = {0}, bytes = {0};
    raft_encode_message(&bytes, message);
    struct range_raft_envelope envelope = {
        .range_id = 1, .conf_version = 1, .message = slice_from_buf(&bytes)};
    range_raft_frame_begin(&frame);
    range_raft_frame_copy(&frame, &envelope);
    cluster_inject_raft(cluster, from, to, slice_from_buf(&frame));
    cluster_run_us(cluster, 1000); /* delivered and stepped, before any time-out */
    buf_done(&frame);
    buf_done(&bytes);
}

static struct raft_message message_of(enum raft_message_kind kind) {
    return (struct raft_message){
        .kind = kind, .from = follower, .to = leader, .term = led.term, .log.index = 1};
}

/* Protects the log from what nobody proposes here: the leader that stepped a forwarded proposal
 * appended its garbage, and every replica stopped at it, again after each restart. */
Test(range_hostile, kinds_that_no_node_sends_are_refused) {
    static const enum raft_message_kind kinds[] = {
        RAFT_MSG_PROPOSE,    RAFT_MSG_TRANSFER_LEADER,     RAFT_MSG_FORGET_LEADER,
        RAFT_MSG_READ_INDEX, RAFT_MSG_READ_INDEX_RESPONSE, RAFT_MSG_SNAPSHOT,
    };
    struct raft_entry entry = {.payload = payload_of(SLICE_LITERAL("garbage"))};
    struct raft_snapshot snapshot = {.id = {led.term, led.applied_index + 9},
                                     .conf.voters = {.count = 1, .ids = {follower}}};
    struct range_status after;
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct raft_message message = message_of(kinds[i]);
        message.context = 1;
        if (kinds[i] == RAFT_MSG_PROPOSE || kinds[i] == RAFT_MSG_READ_INDEX) message.term = 0;
        if (kinds[i] == RAFT_MSG_PROPOSE) {
            message.entries = &entry;
            message.entry_count = 1;
        }
        if (kinds[i] == RAFT_MSG_SNAPSHOT) message.snapshot = &snapshot;
        inject(follower, leader, &message);
        cr_assert_eq(cluster_refused(cluster), i + 1, "kind %d", kinds[i]);
    }
    payload_unref(entry.payload);
    cluster_run_us(cluster, SECOND);
    cr_assert(cluster_status(cluster, leader, 1, &after));
    cr_assert(after.leads && after.term == led.term && after.applied_index == led.applied_index);
    assert_serves();
}

/* An entry as the leader would send it, after the last one of the follower. */
static void inject_entry(enum raft_entry_kind kind, struct slice bytes) {
    struct raft_entry entry = {
        .id = {led.term, led.applied_index + 1}, .kind = kind, .payload = payload_of(bytes)};
    struct raft_message append = {.kind = RAFT_MSG_APPEND,
                                  .from = leader,
                                  .to = follower,
                                  .term = led.term,
                                  .log = {led.term, led.applied_index},
                                  .commit = led.applied_index + 1,
                                  .entry_count = 1,
                                  .entries = &entry};
    inject(leader, follower, &append);
    payload_unref(entry.payload);
}

static struct buf entry_of(const uint64_t *timestamps, uint32_t count) {
    struct buf put = cluster_put(cluster_key(1, "k"), SLICE_LITERAL("x")), out = {0};
    range_entry_begin(&out, 1, count);
    for (uint32_t i = 0; i < count; i++) {
        txn_command_stamp(put.data, put.len, timestamps[i]);
        (void)range_entry_add(&out, slice_from_buf(&put)); /* stamped before */
    }
    buf_done(&put);
    return out;
}

/* Protects a follower from entries that no replica could apply: they are decoded before they are
 * taken, whatever the leader says is committed. */
Test(range_hostile, entries_that_cannot_be_applied_are_not_taken) {
    struct buf zero = entry_of((const uint64_t[]){0}, 1);
    struct buf falling = entry_of((const uint64_t[]){UINT64_C(1) << 61, UINT64_C(1) << 60}, 2);
    struct buf cut = entry_of((const uint64_t[]){UINT64_C(1) << 61}, 1);
    struct buf unknown_op = entry_of((const uint64_t[]){UINT64_C(1) << 61}, 1);
    unknown_op.data[unknown_op.len - cluster_key(1, "k").len - 4] ^= 0x40;
    const struct {
        enum raft_entry_kind kind;
        struct slice bytes;
    } entries[] = {
        {RAFT_ENTRY_NORMAL, SLICE_LITERAL("garbage")},
        {RAFT_ENTRY_NORMAL, SLICE_LITERAL("\1\1\1\1\1\2")},
        {RAFT_ENTRY_NORMAL, SLICE_LITERAL("\2\1\1\1\1\2")},
        {RAFT_ENTRY_NORMAL, slice_from_buf(&zero)},
        {RAFT_ENTRY_NORMAL, slice_from_buf(&falling)},
        {RAFT_ENTRY_NORMAL, slice_make(cut.data, cut.len - 1)},
        {RAFT_ENTRY_NORMAL, slice_from_buf(&unknown_op)},
        {RAFT_ENTRY_CONF_CHANGE, SLICE_LITERAL("\1\1")},
        {RAFT_ENTRY_CONF_CHANGE_V2, SLICE_LITERAL("garbage")},
        {RAFT_ENTRY_CONF_CHANGE_V2, SLICE_LITERAL("\0\1\1\2garbage")},
    };
    for (uint32_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        inject_entry(entries[i].kind, entries[i].bytes);
        cr_assert_eq(cluster_refused(cluster), i + 1, "entry %u", i);
    }
    buf_done(&zero);
    buf_done(&falling);
    buf_done(&cut);
    buf_done(&unknown_op);
    assert_serves();
}

/* Protects the terms: a group that one message leads to their end can never elect again. */
Test(range_hostile, terms_far_ahead_are_refused) {
    static const enum raft_message_kind kinds[] = {RAFT_MSG_HEARTBEAT_RESPONSE, RAFT_MSG_VOTE,
                                                   RAFT_MSG_APPEND, RAFT_MSG_HEARTBEAT};
    static const uint64_t terms[] = {RAFT_TERM_MAX, RAFT_TERM_MAX - 1, UINT64_MAX,
                                     RAFT_TERM_STEP_MAX * 2};
    struct range_status after;
    uint32_t sent = 0;
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t j = 0; j < 4; j++) {
            struct raft_message message = message_of(kinds[i]);
            message.term = terms[j];
            inject(follower, leader, &message);
            cr_assert_eq(cluster_refused(cluster), ++sent);
        }
    cr_assert(cluster_status(cluster, leader, 1, &after));
    cr_assert(after.leads && after.term == led.term);
    assert_serves();
}

/* Protects a leader's lease: only the leader itself may tell another one to stand at once, having
 * given up its lease before; not any replica that says so. */
Test(range_hostile, only_the_leader_hands_over_its_leadership) {
    uint64_t other = 6 - leader - follower;
    struct raft_message message = {
        .kind = RAFT_MSG_TIMEOUT_NOW, .from = other, .to = follower, .term = led.term};
    struct range_status after;
    inject(other, follower, &message);
    cluster_run_us(cluster, SECOND);
    cr_assert(cluster_status(cluster, leader, 1, &after));
    cr_assert(after.leads && after.term == led.term);
    assert_serves();
}

/* A message that carries what its kind has no use for, or names nobody, is no correct node's. */
Test(range_hostile, messages_that_say_too_much_or_too_little_are_refused) {
    struct raft_entry entry = {.id = {led.term, 2}};
    struct raft_message bad[5];
    for (uint32_t i = 0; i < 5; i++)
        bad[i] = message_of(RAFT_MSG_HEARTBEAT_RESPONSE);
    bad[0].term = 0;
    bad[1].from = 0;
    bad[2].from = bad[2].to;
    bad[3].force = true;
    bad[4].entries = &entry;
    bad[4].entry_count = 1;
    for (uint32_t i = 0; i < 5; i++) {
        inject(follower, leader, &bad[i]);
        cr_assert_eq(cluster_refused(cluster), i + 1, "message %u", i);
    }
    assert_serves();
}

/* The rest of a frame in which something was refused is not believed either, and frames of others
 * are. */
Test(range_hostile, a_frame_ends_where_it_is_refused) {
    struct raft_message bad = message_of(RAFT_MSG_FORGET_LEADER);
    struct raft_message step_down = message_of(RAFT_MSG_HEARTBEAT_RESPONSE);
    struct range_status after;
    step_down.term = led.term + 1;
    struct buf frame = {0};
    range_raft_frame_begin(&frame);
    range_raft_frame_add(&frame, 1, 1, &bad);
    range_raft_frame_add(&frame, 1, 1, &step_down);
    cluster_inject_raft(cluster, follower, leader, slice_from_buf(&frame));
    buf_done(&frame);
    cluster_run_us(cluster, 1000);
    cr_assert_eq(cluster_refused(cluster), 1);
    cr_assert(cluster_status(cluster, leader, 1, &after));
    cr_assert(after.leads && after.term == led.term);
    assert_serves();
}

/* ---- what is in a log already ---- */

enum { TOLD = 3 };

/* Called in the place of the abort, in the middle of a turn: there is nothing to take down. */
static void check_reason(const char *reason) {
    char entry[96];
    (void)snprintf(entry, sizeof(entry), "log entry %lu of term %lu, kind NORMAL, 7 bytes",
                   (unsigned long)led.applied_index + 1, (unsigned long)led.term);
    cr_assert(strstr(reason, "range=1") && strstr(reason, entry), "%s", reason);
    cr_assert(strstr(reason, "format version 103"), "%s", reason);
    cr_assert_not(strstr(reason, "newer"), "%s", reason);
    cr_assert(strstr(reason, "move-replica"), "%s", reason);
    _exit(TOLD);
}

/* Writes an entry into the log of a node that is down, as an earlier version could have let it in.
 */
static void put_into_log(uint64_t node, struct slice bytes) {
    struct storage_engine *engine = cluster_engine(cluster, node);
    struct storage_batch *batch = storage_batch_new(engine);
    struct raft_log log;
    struct buf out = {0};
    struct raft_entry entry = {.id = {led.term, led.applied_index + 1},
                               .payload = payload_of(bytes)};
    cr_assert_eq(raft_log_open(&log, engine, 1), STATUS_OK);
    cr_assert_eq(log.last_index, led.applied_index);
    raft_encode_entry(&out, &entry);
    raft_log_append(&log, batch, entry.id.index, slice_from_buf(&out));
    buf_clear(&out);
    raft_encode_hard_state(&out,
                           &(struct raft_hard_state){.term = led.term, .commit = entry.id.index});
    raft_log_put_state(&log, batch, RAFT_LOG_HARD_STATE, slice_from_buf(&out));
    cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
    payload_unref(entry.payload);
    buf_done(&out);
    storage_batch_free(batch);
}

/* A replica that finds garbage in its log stops and says which entry, and what is wrong with it; it
 * blames no newer version that is not there. */
Test(range_hostile, what_cannot_be_applied_is_told, .exit_code = TOLD) {
    cluster_kill(cluster, follower);
    put_into_log(follower, SLICE_LITERAL("garbage"));
    fatal_set_handler(check_reason);
    cluster_start(cluster, follower);
    cluster_run_us(cluster, SECOND);
    cr_assert_fail("it has applied garbage");
}
