/* Quorum files: `committed` and `vote`. The last line of the output is the answer; what a joint
 * configuration must not depend on is asked as well. */
#include <stdlib.h>

#include "base/assert.h"
#include "raft/id_set.h"
#include "raft/quorum.h"
#include "tests/conformance/cases.h"

struct ballot {
    struct raft_id_set incoming, outgoing;
    struct raft_id_set heard; /* ids that have a number or a vote */
    uint64_t numbers[RAFT_REPLICAS_MAX];
    enum raft_vote votes[RAFT_REPLICAS_MAX];
};

static void parse_set(const struct conformance_case *one, const char *key,
                      struct raft_id_set *ret_set) {
    const struct case_argument *argument = case_argument_find(one, key);
    for (size_t at = 0; argument && at < argument->value_count; at++) {
        if (strcmp(argument->values[at], "zero") == 0) continue; /* joint with nothing */
        bool fits = raft_id_set_add(ret_set, strtoull(argument->values[at], NULL, 10));
        ASSERT(fits);
    }
}

/* Ids in the order that values are given for: the first half, then who is only in the second. */
static size_t voters_in_order(const struct conformance_case *one, uint64_t *ret_ids) {
    size_t count = 0;
    const char *keys[] = {"cfg", "cfgj"};
    struct raft_id_set seen = {0};
    for (size_t key = 0; key < 2; key++) {
        const struct case_argument *argument = case_argument_find(one, keys[key]);
        for (size_t at = 0; argument && at < argument->value_count; at++) {
            uint64_t id = strtoull(argument->values[at], NULL, 10);
            if (id == 0 || raft_id_set_has(&seen, id)) continue;
            bool fits = raft_id_set_add(&seen, id);
            ASSERT(fits);
            ret_ids[count++] = id;
        }
    }
    return count;
}

static void parse_values(const struct conformance_case *one, struct ballot *ballot) {
    uint64_t ids[2 * RAFT_REPLICAS_MAX];
    size_t count = voters_in_order(one, ids);
    const struct case_argument *numbers = case_argument_find(one, "idx");
    const struct case_argument *votes = case_argument_find(one, "votes");
    for (size_t at = 0; at < count; at++) {
        bool fits = raft_id_set_add(&ballot->heard, ids[at]);
        ASSERT(fits);
    }
    for (size_t at = 0; at < count; at++) {
        uint32_t slot = 0;
        while (ballot->heard.ids[slot] != ids[at]) {
            slot++;
        }
        if (numbers && at < numbers->value_count) {
            ballot->numbers[slot] = strtoull(numbers->values[at], NULL, 10); /* `_` is 0 */
        }
        if (votes && at < votes->value_count) {
            char vote = votes->values[at][0];
            ballot->votes[slot] = vote == 'y'   ? RAFT_VOTE_GRANTED
                                  : vote == 'n' ? RAFT_VOTE_REJECTED
                                                : RAFT_VOTE_MISSING;
        }
    }
}

static uint32_t slot_of(const struct ballot *ballot, uint64_t id) {
    for (uint32_t at = 0; at < ballot->heard.count; at++) {
        if (ballot->heard.ids[at] == id) return at;
    }
    ASSERT(!"a voter without a slot");
    return 0;
}

static uint64_t acked_of(const void *ctx, uint64_t id) {
    const struct ballot *ballot = ctx;
    return ballot->numbers[slot_of(ballot, id)];
}

static enum raft_vote vote_of(const void *ctx, uint64_t id) {
    const struct ballot *ballot = ctx;
    return ballot->votes[slot_of(ballot, id)];
}

static const char *result_name(enum raft_vote_result result) {
    switch (result) {
    case RAFT_VOTES_WON:
        return "VoteWon";
    case RAFT_VOTES_LOST:
        return "VoteLost";
    case RAFT_VOTES_PENDING:
        break;
    }
    return "VotePending";
}

static void run_committed(const struct ballot *ballot, struct buf *out) {
    const struct raft_id_set none = {0};
    const struct raft_id_set *in = &ballot->incoming, *joint = &ballot->outgoing;
    uint64_t index = raft_quorum_acked(in, joint, acked_of, ballot);
    if (raft_quorum_acked(joint, in, acked_of, ballot) != index) {
        buf_printf(out, "exchanging the halves changes the index\n");
    }
    uint64_t alone = raft_quorum_acked(in, &none, acked_of, ballot);
    if (raft_quorum_acked(in, in, acked_of, ballot) != alone ||
        raft_quorum_acked(&none, in, acked_of, ballot) != alone) {
        buf_printf(out, "joining with itself or with nothing changes the index\n");
    }
    if (index == RAFT_QUORUM_EVERYTHING) {
        buf_printf(out, "∞\n");
    } else {
        buf_printf(out, "%llu\n", (unsigned long long)index);
    }
}

static void run_vote(const struct ballot *ballot, struct buf *out) {
    const struct raft_id_set none = {0};
    const struct raft_id_set *in = &ballot->incoming, *joint = &ballot->outgoing;
    enum raft_vote_result result = raft_quorum_vote(in, joint, vote_of, ballot);
    if (raft_quorum_vote(joint, in, vote_of, ballot) != result) {
        buf_printf(out, "exchanging the halves changes the vote\n");
    }
    enum raft_vote_result alone = raft_quorum_vote(in, &none, vote_of, ballot);
    if (raft_quorum_vote(in, in, vote_of, ballot) != alone ||
        raft_quorum_vote(&none, in, vote_of, ballot) != alone) {
        buf_printf(out, "joining with itself or with nothing changes the vote\n");
    }
    buf_printf(out, "%s\n", result_name(result));
}

void run_quorum_file(const struct conformance_file *file, struct buf *outputs) {
    for (size_t at = 0; at < file->count; at++) {
        const struct conformance_case *one = &file->cases[at];
        struct ballot ballot = {0};
        parse_set(one, "cfg", &ballot.incoming);
        parse_set(one, "cfgj", &ballot.outgoing);
        parse_values(one, &ballot);
        if (strcmp(one->command, "committed") == 0) {
            run_committed(&ballot, &outputs[at]);
        } else if (strcmp(one->command, "vote") == 0) {
            run_vote(&ballot, &outputs[at]);
        } else {
            buf_printf(&outputs[at], "unknown command\n");
        }
    }
}
