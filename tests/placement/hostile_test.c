/* What another member may be told: messages that no correct member sends are refused, and what is
 * in them enters neither the log nor the state. */
#include <criterion/criterion.h>

#include "base/log.h"
#include "placement/driver.h"
#include "raft/limits.h"
#include "raft/message_codec.h"
#include "tests/placement/group.h"

static struct group group;
static struct group_member *leader;
static uint64_t other, third; /* member ids */
static uint64_t term;
static struct raft_log_id last; /* applied everywhere */

static void set_up(void) {
    log_set_level(LOG_NONE);
    group_init(&group, 3, 5, NULL);
    group_give_birth(&group, 1);
    group_run(&group, 500000);
    leader = group_leader(&group);
    other = leader->id % 3 + 1;
    third = other % 3 + 1;
    term = raft_term(leader->driver->raft);
    last = leader->driver->applied;
}

static void tear_down(void) {
    group_done(&group);
}

TestSuite(placement_hostile, .init = set_up, .fini = tear_down, .timeout = 60);

static enum status tell(uint64_t from, uint64_t to, const struct raft_message *message) {
    struct buf frame = {0};
    encode_u8(&frame, PLACEMENT_FRAME_VERSION);
    encode_u64(&frame, group.wall_ms);
    raft_encode_message(&frame, message);
    enum status status = placement_driver_message(group.members[to - 1].driver, from,
                                                  slice_from_buf(&frame), group.now_us);
    buf_done(&frame);
    return status;
}

static void assert_serves(void) {
    struct placement_register_request node = group_node(7);
    cr_assert_eq(group_register(&group, &node).status, STATUS_OK);
    cr_assert_eq(group_leader(&group), leader);
    cr_assert_eq(raft_term(leader->driver->raft), term);
}

/* Protects the members' log from what none of them proposes to another. */
Test(placement_hostile, kinds_that_no_member_sends_are_refused) {
    static const enum raft_message_kind kinds[] = {RAFT_MSG_PROPOSE, RAFT_MSG_TRANSFER_LEADER,
                                                   RAFT_MSG_FORGET_LEADER, RAFT_MSG_READ_INDEX,
                                                   RAFT_MSG_READ_INDEX_RESPONSE};
    struct raft_entry entry = {.payload = payload_copy(SLICE_LITERAL("garbage"))};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        bool propose = kinds[i] == RAFT_MSG_PROPOSE;
        bool no_term = propose || kinds[i] == RAFT_MSG_READ_INDEX;
        struct raft_message message = {.kind = kinds[i],
                                       .from = other,
                                       .to = leader->id,
                                       .term = no_term ? 0 : term,
                                       .context = 1,
                                       .entries = propose ? &entry : NULL,
                                       .entry_count = propose};
        cr_assert_eq(tell(other, leader->id, &message), STATUS_CORRUPTION, "kind %d", kinds[i]);
    }
    payload_unref(entry.payload);
    assert_serves();
}

/* Protects a follower from entries that would stop it when they are applied. */
Test(placement_hostile, entries_that_cannot_be_applied_are_not_taken) {
    static const struct {
        enum raft_entry_kind kind;
        const char *bytes;
    } entries[] = {{RAFT_ENTRY_NORMAL, "garbage"},
                   {RAFT_ENTRY_NORMAL, "\1\2\3"},
                   {RAFT_ENTRY_NORMAL, "\1\7"},
                   {RAFT_ENTRY_CONF_CHANGE, "\1"},
                   {RAFT_ENTRY_CONF_CHANGE_V2, "garbage"}};
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        struct raft_entry entry = {.id = {term, last.index + 1},
                                   .kind = entries[i].kind,
                                   .payload = payload_copy(slice_from_text(entries[i].bytes))};
        struct raft_message append = {.kind = RAFT_MSG_APPEND,
                                      .from = leader->id,
                                      .to = other,
                                      .term = term,
                                      .log = last,
                                      .commit = last.index + 1,
                                      .entries = &entry,
                                      .entry_count = 1};
        cr_assert_eq(tell(leader->id, other, &append), STATUS_CORRUPTION, "entry %zu", i);
        payload_unref(entry.payload);
    }
    assert_serves();
}

/* A snapshot that cannot be read would stop the member that is given it, at each restart again. */
Test(placement_hostile, a_snapshot_that_cannot_be_read_is_not_taken) {
    struct raft_snapshot snapshot = {.id = {term, last.index + 9},
                                     .conf.voters = {.count = 3, .ids = {1, 2, 3}},
                                     .data = payload_copy(SLICE_LITERAL("garbage"))};
    struct raft_message message = {.kind = RAFT_MSG_SNAPSHOT,
                                   .from = leader->id,
                                   .to = other,
                                   .term = term,
                                   .snapshot = &snapshot};
    cr_assert_eq(tell(leader->id, other, &message), STATUS_CORRUPTION);
    payload_unref(snapshot.data);
    assert_serves();
}

/* Members are those of the configuration, and terms come one after the other. */
Test(placement_hostile, unknown_members_and_terms_far_ahead_are_refused) {
    struct raft_message vote = {
        .kind = RAFT_MSG_VOTE, .from = 9, .to = other, .term = term + 1, .log = last};
    cr_assert_eq(tell(9, other, &vote), STATUS_CORRUPTION);
    vote.from = third;
    vote.term = RAFT_TERM_MAX;
    cr_assert_eq(tell(third, other, &vote), STATUS_CORRUPTION);
    cr_assert_eq(tell(leader->id, other, &vote), STATUS_CORRUPTION); /* in another's name */
    assert_serves();
}
