/* Majorities, single and joint (thesis 4.3): what a set of voters has agreed on. */
#ifndef FLOTILLA_RAFT_QUORUM_H
#define FLOTILLA_RAFT_QUORUM_H

#include "raft/raft.h"

/* What an empty half of a configuration agrees on: it never holds the other half back. */
#define RAFT_QUORUM_EVERYTHING UINT64_MAX

enum raft_vote { RAFT_VOTE_MISSING, RAFT_VOTE_GRANTED, RAFT_VOTE_REJECTED };
enum raft_vote_result { RAFT_VOTES_PENDING, RAFT_VOTES_LOST, RAFT_VOTES_WON };

/* The number a voter has acknowledged; 0 when it was not heard from. */
typedef uint64_t raft_acked_fn(const void *ctx, uint64_t id);
typedef enum raft_vote raft_vote_fn(const void *ctx, uint64_t id);

/* Largest number that a majority of the voters (of both halves, when joint) acknowledged. */
uint64_t raft_quorum_acked(const struct raft_id_set *voters, const struct raft_id_set *outgoing,
                           raft_acked_fn *acked, const void *ctx);
enum raft_vote_result raft_quorum_vote(const struct raft_id_set *voters,
                                       const struct raft_id_set *outgoing, raft_vote_fn *vote,
                                       const void *ctx);

#endif
