#include "raft/quorum.h"

/* Insertion sort: at most RAFT_REPLICAS_MAX numbers, usually three. */
static void sort_ascending(uint64_t *numbers, uint32_t count) {
    for (uint32_t at = 1; at < count; at++) {
        uint64_t number = numbers[at];
        uint32_t hole = at;
        while (hole > 0 && numbers[hole - 1] > number) {
            numbers[hole] = numbers[hole - 1];
            hole--;
        }
        numbers[hole] = number;
    }
}

static uint64_t majority_acked(const struct raft_id_set *voters, raft_acked_fn *acked,
                               const void *ctx) {
    if (voters->count == 0) return RAFT_QUORUM_EVERYTHING;
    uint64_t numbers[RAFT_REPLICAS_MAX];
    for (uint32_t at = 0; at < voters->count; at++) {
        numbers[at] = acked(ctx, voters->ids[at]);
    }
    sort_ascending(numbers, voters->count);
    /* count/2 + 1 voters hold this number or a larger one. */
    return numbers[voters->count - (voters->count / 2 + 1)];
}

uint64_t raft_quorum_acked(const struct raft_id_set *voters, const struct raft_id_set *outgoing,
                           raft_acked_fn *acked, const void *ctx) {
    uint64_t incoming_acked = majority_acked(voters, acked, ctx);
    uint64_t outgoing_acked = majority_acked(outgoing, acked, ctx);
    return incoming_acked < outgoing_acked ? incoming_acked : outgoing_acked;
}

static enum raft_vote_result majority_vote(const struct raft_id_set *voters, raft_vote_fn *vote,
                                           const void *ctx) {
    if (voters->count == 0) return RAFT_VOTES_WON;
    uint32_t granted = 0, missing = 0;
    for (uint32_t at = 0; at < voters->count; at++) {
        enum raft_vote one = vote(ctx, voters->ids[at]);
        granted += one == RAFT_VOTE_GRANTED;
        missing += one == RAFT_VOTE_MISSING;
    }
    uint32_t majority = voters->count / 2 + 1;
    if (granted >= majority) return RAFT_VOTES_WON;
    return granted + missing >= majority ? RAFT_VOTES_PENDING : RAFT_VOTES_LOST;
}

enum raft_vote_result raft_quorum_vote(const struct raft_id_set *voters,
                                       const struct raft_id_set *outgoing, raft_vote_fn *vote,
                                       const void *ctx) {
    enum raft_vote_result incoming_result = majority_vote(voters, vote, ctx);
    enum raft_vote_result outgoing_result = majority_vote(outgoing, vote, ctx);
    if (incoming_result == outgoing_result) return incoming_result;
    if (incoming_result == RAFT_VOTES_LOST || outgoing_result == RAFT_VOTES_LOST) {
        return RAFT_VOTES_LOST;
    }
    return RAFT_VOTES_PENDING;
}
