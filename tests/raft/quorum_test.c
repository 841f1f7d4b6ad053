#include <criterion/criterion.h>

#include "raft/id_set.h"
#include "raft/quorum.h"

static struct raft_id_set set_of(uint32_t count, const uint64_t *ids) {
    struct raft_id_set set = {0};
    for (uint32_t at = 0; at < count; at++) {
        cr_assert(raft_id_set_add(&set, ids[at]));
    }
    return set;
}

static uint64_t identity(const void *ctx, uint64_t id) {
    const uint64_t *numbers = ctx;
    return numbers[id];
}

static enum raft_vote vote_by_number(const void *ctx, uint64_t id) {
    const uint64_t *numbers = ctx;
    return (enum raft_vote)numbers[id];
}

/* Sets stay sorted and free of duplicates, and say so when they are full. */
Test(raft_quorum, keeps_sets_sorted_and_bounded) {
    struct raft_id_set set = set_of(4, (uint64_t[]){9, 3, 5, 3});
    cr_assert_eq(set.count, 3);
    cr_assert(set.ids[0] == 3 && set.ids[1] == 5 && set.ids[2] == 9);
    raft_id_set_remove(&set, 5);
    raft_id_set_remove(&set, 4);
    cr_assert(set.count == 2 && !raft_id_set_has(&set, 5) && raft_id_set_valid(&set));
    for (uint64_t id = 100; set.count < RAFT_REPLICAS_MAX; id++) {
        cr_assert(raft_id_set_add(&set, id));
    }
    cr_assert_not(raft_id_set_add(&set, 1000));
    set.ids[1] = set.ids[0];
    cr_assert_not(raft_id_set_valid(&set));
}

/* The median is what a majority has: for odd and even sizes, by brute force over all small cases.
 */
Test(raft_quorum, agrees_with_counting) {
    const struct raft_id_set none = {0};
    for (uint32_t size = 1; size <= 5; size++) {
        uint64_t ids[5] = {1, 2, 3, 4, 5}, numbers[6] = {0};
        struct raft_id_set voters = set_of(size, ids);
        for (uint32_t pattern = 0; pattern < 1024; pattern++) {
            for (uint32_t at = 0; at < size; at++) {
                numbers[at + 1] = pattern >> (2 * at) & 3;
            }
            uint64_t best = 0;
            for (uint64_t candidate = 1; candidate <= 3; candidate++) {
                uint32_t count = 0;
                for (uint32_t at = 1; at <= size; at++) {
                    count += numbers[at] >= candidate;
                }
                if (count > size / 2) best = candidate;
            }
            cr_assert_eq(raft_quorum_acked(&voters, &none, identity, numbers), best);
        }
    }
}

/* A joint configuration needs both halves; an empty one holds nobody back. */
Test(raft_quorum, needs_both_halves_when_joint) {
    uint64_t numbers[6] = {0, 7, 7, 0, 0, 9};
    struct raft_id_set old = set_of(3, (uint64_t[]){1, 2, 3});
    struct raft_id_set new = set_of(3, (uint64_t[]){3, 4, 5}), none = {0};
    cr_assert_eq(raft_quorum_acked(&new, &old, identity, numbers), 0);
    cr_assert_eq(raft_quorum_acked(&old, &none, identity, numbers), 7);
    cr_assert_eq(raft_quorum_acked(&none, &none, identity, numbers), RAFT_QUORUM_EVERYTHING);
    numbers[4] = 6;
    cr_assert_eq(raft_quorum_acked(&new, &old, identity, numbers), 6);
}

/* Votes: won by a majority of both halves, lost as soon as one half cannot win any more. */
Test(raft_quorum, decides_votes_as_early_as_possible) {
    uint64_t votes[6] = {0};
    struct raft_id_set old = set_of(3, (uint64_t[]){1, 2, 3});
    struct raft_id_set new = set_of(1, (uint64_t[]){4}), none = {0};
    cr_assert_eq(raft_quorum_vote(&old, &none, vote_by_number, votes), RAFT_VOTES_PENDING);
    votes[1] = votes[2] = RAFT_VOTE_GRANTED;
    cr_assert_eq(raft_quorum_vote(&old, &none, vote_by_number, votes), RAFT_VOTES_WON);
    cr_assert_eq(raft_quorum_vote(&new, &old, vote_by_number, votes), RAFT_VOTES_PENDING);
    votes[4] = RAFT_VOTE_REJECTED;
    cr_assert_eq(raft_quorum_vote(&new, &old, vote_by_number, votes), RAFT_VOTES_LOST);
    votes[2] = RAFT_VOTE_REJECTED;
    cr_assert_eq(raft_quorum_vote(&old, &none, vote_by_number, votes), RAFT_VOTES_PENDING);
    votes[3] = RAFT_VOTE_REJECTED;
    cr_assert_eq(raft_quorum_vote(&old, &none, vote_by_number, votes), RAFT_VOTES_LOST);
}
