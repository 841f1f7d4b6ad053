/* Elections, promises and leases: what raft/election.c, raft/lease.c, raft/transfer.c and the
 * dispatch in raft/raft.c do. README.md says what is left out, and why nothing is lost by it.
 *
 * Shape (-D):
 *   VOTERS=n     3, 4 or 5
 *   JOINT        4 voters: 0, 1, 2 are to become 0, 1, 3, and both halves must agree
 *   TERMS=n      nobody stands for a term above it (at most 3)
 *   LONG=n       an election time-out, in ticks
 *   IN_ORDER     what a voter sends to another arrives in order; else anything that was ever sent
 *                may arrive, as often and as late as it likes
 *   RIVALS=n     only voters 1 to n stand for election (default: all voters)
 *   TRANSFERS    leaders hand over
 *   RESTARTS     voters lose what is not on disk
 *   DIFFER       voter 0 begins with the time-out LONG, the others with 1; a restart may change it
 *   SLOW         heartbeats and answers take time, clocks drift, turns are interrupted
 *   COMMITS      leaders commit, and a read must show it
 * Each other name is a broken variant: it takes one rule away, and spin must find what happens. */

#ifndef LONG
#define LONG 1
#endif
#ifdef RIVALS
#define RIVAL(n) (n >= 1 && n <= RIVALS)
#else
#define RIVAL(n) true
#endif
#define NOBODY 7
#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2

typedef voter {
    unsigned term : 2; /* on disk */
    unsigned vote : 3; /* on disk */
    unsigned role : 2;
    unsigned leads : 1;    /* it knows the leader of its term */
    unsigned votes : 5;    /* who granted it the vote of its term, as bits */
    unsigned guard : 3;    /* ticks for which it helps to elect nobody */
    unsigned time_out : 3; /* its configured election time-out */
    unsigned longest : 3;  /* on disk: the longest promise that it can have made */
    unsigned handing_over : 1; /* a transfer has begun in this term */
    unsigned committed : 1;    /* as leader: an entry of its term */
    unsigned looked : 1;       /* CLOCK_BEFORE_READS: has read the clock, and was stopped */
    unsigned stood : 4;        /* terms that it asked votes for, as bits */
    unsigned forced : 4;       /* likewise, as the target of a transfer */
    unsigned asks : 2;         /* IN_ORDER: what it asked last */
    unsigned asked : 5;        /* IN_ORDER: to whom that may still arrive, as bits */
}

#define NOTHING 0
#define PRE_VOTE 1 /* of the term after its own */
#define VOTE 2     /* of its own term; who is not a candidate any more may still have asked */

voter v[VOTERS];
byte lease[VOTERS * VOTERS]; /* leader, voter: for how long the leader may count on the voter */
byte handed; /* terms whose leader has sent a TimeoutNow, as bits */
#ifdef SLOW
byte led[VOTERS]; /* how long it has led */
byte answer[VOTERS * VOTERS]; /* voter, leader: the age of the stamp that is under way, and 1 */
#define AGE_MAX LONG
#endif
#ifdef COMMITS
byte newest; /* the latest term in which something was committed */
#endif

#define AT(from, to) ((from) * VOTERS + (to))

/* ---- what a leader counts ---- */

#define BIT(n, of) (((of) >> (n)) & 1)
#if defined(JOINT)
#define QUORUM(set)                                                                               \
    (BIT(0, set) + BIT(1, set) + BIT(2, set) >= 2 && BIT(0, set) + BIT(1, set) + BIT(3, set) >= 2)
#elif VOTERS == 3
#define QUORUM(set) (BIT(0, set) + BIT(1, set) + BIT(2, set) >= 2)
#elif VOTERS == 4
#define QUORUM(set) (BIT(0, set) + BIT(1, set) + BIT(2, set) + BIT(3, set) >= 3)
#else
#define QUORUM(set)                                                                               \
    (BIT(0, set) + BIT(1, set) + BIT(2, set) + BIT(3, set) + BIT(4, set) >= 3)
#endif

#define HELD(of, n) ((lease[AT(of, n)] > 0) << (n))
#if VOTERS == 3
#define HOLDERS(of) (HELD(of, 0) | HELD(of, 1) | HELD(of, 2) | (1 << (of)))
#define ANY(test, of) (test(of, 0) || test(of, 1) || test(of, 2))
#define SOME(test) (test(0) || test(1) || test(2))
#elif VOTERS == 4
#define HOLDERS(of) (HELD(of, 0) | HELD(of, 1) | HELD(of, 2) | HELD(of, 3) | (1 << (of)))
#define ANY(test, of) (test(of, 0) || test(of, 1) || test(of, 2) || test(of, 3))
#define SOME(test) (test(0) || test(1) || test(2) || test(3))
#else
#define HOLDERS(of)                                                                               \
    (HELD(of, 0) | HELD(of, 1) | HELD(of, 2) | HELD(of, 3) | HELD(of, 4) | (1 << (of)))
#define ANY(test, of) (test(of, 0) || test(of, 1) || test(of, 2) || test(of, 3) || test(of, 4))
#define SOME(test) (test(0) || test(1) || test(2) || test(3) || test(4))
#endif

/* raft_lease_valid. L6: none from the begin of a transfer until the term ends. */
#ifdef LEASE_IN_TRANSFER
#define LEASED(n) (v[n].role == LEADER && QUORUM(HOLDERS(n)))
#else
#define LEASED(n) (v[n].role == LEADER && !v[n].handing_over && QUORUM(HOLDERS(n)))
#endif

/* raft_lease_read. L7: nothing is served before the first commit of the term. L4: the clock is read
 * when the reads are in; who read it before, and was stopped, serves by what was so then. */
#if defined(COMMITS) && !defined(READS_BEFORE_COMMIT)
#define MAY_READ(n) ((LEASED(n) || v[n].looked) && v[n].committed)
#else
#define MAY_READ(n) (LEASED(n) || v[n].looked)
#endif

/* ---- what must hold, after every step ---- */

#define SUCCEEDED(old, new) (v[new].role == LEADER && v[new].term > v[old].term)
#define READS_BESIDE_ANOTHER(n) (MAY_READ(n) && ANY(SUCCEEDED, n))
#define SAME_TERM(one, other)                                                                     \
    (one != other && v[one].role == LEADER && v[other].role == LEADER &&                          \
     v[one].term == v[other].term)
#define SHARES_ITS_TERM(n) ANY(SAME_TERM, n)
#ifdef COMMITS
#define STALE(n) (MAY_READ(n) && newest > v[n].committed * v[n].term)
#else
#define STALE(n) false
#endif
/* No rule: what has to be reached, or the model looks at nothing. */
#ifdef SHOW_A_LEASE_IN_THE_LAST_TERM
#define SHOWN(n) (v[n].term == TERMS && n > 0 && MAY_READ(n))
#else
#define SHOWN(n) false
#endif

inline check() {
    assert(!SOME(READS_BESIDE_ANOTHER));
    assert(!SOME(SHARES_ITS_TERM));
    assert(!SOME(STALE));
    assert(!SOME(SHOWN));
    from = 0;
    to = 0;
    odd = 0;
    late = 0;
    term = 0;
}

/* ---- roles ---- */

/* What `sender` says arrives at `receiver`, so what it asked before does not any more. */
inline heard(sender, receiver) {
#ifdef IN_ORDER
    v[sender].asked = v[sender].asked & (31 - (1 << (receiver)));
    if
    :: v[sender].asked == 0 -> v[sender].asks = NOTHING
    :: else
    fi
#else
    skip
#endif
}

inline ask(sender, what) {
#ifdef IN_ORDER
    v[sender].asks = what;
    v[sender].asked = ((1 << VOTERS) - 1) - (1 << (sender))
#else
    skip
#endif
}

inline forget_leases(n) {
    i = 0;
    do
    :: i < VOTERS ->
        lease[AT(n, i)] = 0;
#ifdef SLOW
        answer[AT(i, n)] = 0;
#endif
        i++
    :: else -> break
    od;
    i = 0;
    v[n].committed = 0;
    v[n].looked = 0;
#ifdef SLOW
    led[n] = 0;
#endif
}

/* raft_become_follower. L5: the promise outlives changes of term and role. */
inline become_follower(n, in_term) {
    if
    :: v[n].term < (in_term) ->
#ifdef IN_ORDER
        /* Its term is part of what it asked: that counts as lost, but for a pre-vote, which is as
         * well of the next term. */
        if
        :: v[n].asks == VOTE -> v[n].asks = NOTHING; v[n].asked = 0
        :: else
        fi;
#endif
        v[n].term = in_term;
        v[n].vote = NOBODY;
#ifdef PROMISE_ENDS_WITH_TERM
        v[n].guard = 0;
#endif
    :: else
    fi;
    v[n].handing_over = 0;
    v[n].role = FOLLOWER;
    v[n].leads = 0;
    v[n].votes = 0;
    forget_leases(n);
}

inline become_candidate(n) {
    v[n].term = v[n].term + 1;
    v[n].vote = n;
    v[n].role = CANDIDATE;
    v[n].leads = 0;
    v[n].votes = 1 << n;
    ask(n, VOTE);
}

/* ---- messages of elections ---- */

/* The promise: against votes of every term, but for the target of a transfer. */
#ifdef VOTES_IN_EQUAL_TERM
#define PROMISED(n, in_term) (v[n].guard > 0 && in_term > v[n].term)
#else
#define PROMISED(n, in_term) (v[n].guard > 0)
#endif

/* A vote is asked of `to` by `from`, whose log is as good or better (raft_handle_vote_request). The
 * answer counts if `from` still stands; it arrives when that becomes leader. */
inline take_vote_request(in_term, is_forced) {
    if
    :: in_term < v[to].term || (!(is_forced) && PROMISED(to, in_term)) -> skip
    :: else ->
        if
        :: in_term > v[to].term -> become_follower(to, in_term)
        :: else
        fi;
        if
        :: v[to].vote == from || (v[to].vote == NOBODY && !v[to].leads) ->
            v[to].vote = from;
            if
            :: v[from].role == CANDIDATE && v[from].term == in_term ->
                v[from].votes = v[from].votes | (1 << to)
            :: else
            fi
        :: else
        fi
    fi
}

/* ---- heartbeats, which stand for appends too ---- */

#define MIN(a, b) ((a) < (b) -> (a) : (b))
/* L2: a promise may be a tick shorter on the leader's clock. */
#if defined(SLOW) && !defined(NO_DRIFT_MARGIN)
#define DRIFT 1
#else
#define DRIFT 0
#endif
/* The leader counts on what was promised; never on more than its own time-out. */
#ifdef LEASE_BY_OWN_TIME_OUT
#define COUNTED(a, b) (v[a].time_out)
#else
#define COUNTED(a, b) (MIN(v[a].time_out, v[b].time_out))
#endif

/* raft_guard_leader. A longer promise of before goes on. */
inline promise(n, ticks) {
#ifdef PROMISE_SHORTENED
    v[n].guard = ticks;
#else
    if
    :: v[n].guard < (ticks) -> v[n].guard = ticks
    :: else
    fi;
#endif
}

/* step_from_leader. */
inline follow(n, leader, ticks) {
    become_follower(n, v[leader].term);
    v[n].leads = 1;
    promise(n, ticks);
}

/* L1: a lease begins at the stamp, `age` ticks ago. */
inline count_answer(leader, n, age) {
    if
    :: COUNTED(leader, n) > DRIFT + (age) &&
       COUNTED(leader, n) - DRIFT - (age) > lease[AT(leader, n)] ->
        lease[AT(leader, n)] = COUNTED(leader, n) - DRIFT - (age)
    :: else
    fi;
}

/* ---- time ---- */

inline tick() {
    i = 0;
    do
    :: i < VOTERS * VOTERS ->
        if
        :: lease[i] > 0 -> lease[i] = lease[i] - 1
        :: else
        fi;
#ifdef SLOW
        if
        :: answer[i] > AGE_MAX -> answer[i] = 0 /* worth nothing any more */
        :: answer[i] > 0 && answer[i] <= AGE_MAX -> answer[i] = answer[i] + 1
        :: else
        fi;
#endif
        i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < VOTERS ->
        if
        :: v[i].guard > 0 -> v[i].guard = v[i].guard - 1
        :: else
        fi;
#ifdef SLOW
        if
        :: v[i].role == LEADER && led[i] < AGE_MAX -> led[i] = led[i] + 1
        :: else
        fi;
#endif
        i++
    :: else -> break
    od;
    i = 0;
}

/* ---- choices: the first statement of a step, so that no step stops in its middle ---- */

#define CHOOSE(a, b, when) :: (a) != (b) && (when(a, b)) -> from = a; to = b
#define CHOOSE_VOTER(a, when) :: when(a) -> to = a
#if VOTERS == 3
#define LINKS(a, when) CHOOSE(a, 0, when) CHOOSE(a, 1, when) CHOOSE(a, 2, when)
#define PICK_LINK(when) if LINKS(0, when) LINKS(1, when) LINKS(2, when) fi
#define PICK_VOTER(when)                                                                          \
    if CHOOSE_VOTER(0, when) CHOOSE_VOTER(1, when) CHOOSE_VOTER(2, when) fi
#elif VOTERS == 4
#define LINKS(a, when)                                                                            \
    CHOOSE(a, 0, when) CHOOSE(a, 1, when) CHOOSE(a, 2, when) CHOOSE(a, 3, when)
#define PICK_LINK(when) if LINKS(0, when) LINKS(1, when) LINKS(2, when) LINKS(3, when) fi
#define PICK_VOTER(when)                                                                          \
    if CHOOSE_VOTER(0, when) CHOOSE_VOTER(1, when) CHOOSE_VOTER(2, when) CHOOSE_VOTER(3, when) fi
#else
#define LINKS(a, when)                                                                            \
    CHOOSE(a, 0, when) CHOOSE(a, 1, when) CHOOSE(a, 2, when) CHOOSE(a, 3, when) CHOOSE(a, 4, when)
#define PICK_LINK(when)                                                                           \
    if LINKS(0, when) LINKS(1, when) LINKS(2, when) LINKS(3, when) LINKS(4, when) fi
#define PICK_VOTER(when)                                                                          \
    if CHOOSE_VOTER(0, when) CHOOSE_VOTER(1, when) CHOOSE_VOTER(2, when) CHOOSE_VOTER(3, when)    \
    CHOOSE_VOTER(4, when) fi
#endif

#define LEADS(n) v[n].role == LEADER
#define ANY_VOTER(n) true
/* L3: a promise holds against one's own candidacy too. */
#ifdef STANDS_DESPITE_PROMISE
#define MAY_STAND(n) (v[n].role != LEADER && v[n].term < TERMS && RIVAL(n))
#else
#define MAY_STAND(n) (v[n].role != LEADER && v[n].guard == 0 && v[n].term < TERMS && RIVAL(n))
#endif
#define HAS_VOTES(n) (v[n].role == CANDIDATE && QUORUM(v[n].votes))
#define MAY_BEAT(a, b) (v[a].role == LEADER && v[b].term <= v[a].term)
#ifdef IN_ORDER
#define REQUESTS(a, b) (v[a].asks == VOTE && BIT(b, v[a].asked))
#define FORCES(a, b) false
#define REFUSED_BY(a, b)                                                                          \
    (v[a].term < v[b].term && (BIT(b, v[a].asked) || v[a].role == LEADER))
#else
#define REQUESTS(a, b) (v[a].stood >> v[b].term) != 0
#define FORCES(a, b) (v[a].forced >> v[b].term) != 0
#define REFUSED_BY(a, b) (v[a].term < v[b].term)
#endif
#define MAY_TIME_OUT(n) (v[n].role == FOLLOWER && v[n].term < TERMS && (handed >> v[n].term) != 0)
#define MAY_COMMIT(n) (LEASED(n) && !v[n].committed)
#define MAY_LOOK(n) (LEASED(n) && !v[n].looked)
#define ANSWERS(a, b) answer[AT(a, b)] > 0

/* ---- all that can happen ---- */

init {
    byte from, to, i, term;
    bit odd, late;

    d_step { /* 0 leads, and all promises are over */
        i = 0;
        do
        :: i < VOTERS ->
            v[i].term = 1;
            v[i].vote = 0;
            v[i].leads = 1;
#ifdef DIFFER
            v[i].time_out = (i == 0 -> LONG : 1);
#else
            v[i].time_out = LONG;
#endif
            v[i].longest = v[i].time_out;
            i++
        :: else -> break
        od;
        i = 0;
        v[0].role = LEADER;
    }

    do
    /* Time passes for all of them. Who does nothing meanwhile was stopped. */
    :: d_step { tick(); check() }

    /* A voter misses its leader, and asks for pre-votes if that is its habit. Who would grant one
     * changes nothing in itself, so grants are free here. */
    :: atomic {
        PICK_VOTER(MAY_STAND);
        d_step {
            v[to].role = FOLLOWER;
            v[to].votes = 0;
            v[to].leads = 0;
            ask(to, PRE_VOTE);
            check()
        }
    }
    :: atomic {
        PICK_VOTER(MAY_STAND);
        d_step {
            become_candidate(to);
#ifndef IN_ORDER
            v[to].stood = v[to].stood | (1 << v[to].term);
#endif
            check()
        }
    }

    /* A vote is asked for. */
    :: atomic {
        PICK_LINK(REQUESTS);
        d_step {
#ifdef IN_ORDER
            term = v[from].term;
            heard(from, to);
            heard(to, from);
            take_vote_request(term, false);
#else
            term = v[to].term; /* of those, the next: an earlier one is refused */
            do
            :: BIT(term, v[from].stood) == 0 -> term++
            :: else -> break
            od;
            take_vote_request(term, false);
#endif
            check()
        }
    }
#ifndef IN_ORDER
    :: atomic { /* ... or that of the last term, out of order */
        PICK_LINK(REQUESTS);
        BIT(TERMS, v[from].stood) -> d_step { take_vote_request(TERMS, false); check() }
    }
#endif

    /* Enough votes have arrived. */
    :: atomic {
        PICK_VOTER(HAS_VOTES);
        d_step {
            v[to].role = LEADER;
            v[to].leads = 1;
            v[to].votes = 0;
            v[to].handing_over = 0;
            check()
        }
    }

    /* `to` refuses something that `from` asked or said, a pre-vote say, in a later term. */
    :: atomic {
        PICK_LINK(REFUSED_BY);
        d_step {
            heard(from, to);
            heard(to, from);
            become_follower(from, v[to].term);
            check()
        }
    }
#ifndef IN_ORDER
    :: atomic { /* ... or did so, in a term between */
        PICK_LINK(REFUSED_BY);
        v[from].term + 1 < v[to].term -> d_step { become_follower(from, v[from].term + 1); check() }
    }
#endif

    /* A leader that no quorum answers steps down. */
    :: atomic {
        PICK_VOTER(LEADS);
        d_step { become_follower(to, v[to].term); check() }
    }

#ifndef SLOW
    /* A heartbeat arrives, and its answer is lost or arrives. */
    :: atomic {
        PICK_LINK(MAY_BEAT);
        d_step { heard(from, to); follow(to, from, v[to].time_out); check() }
    }
    :: atomic {
        PICK_LINK(MAY_BEAT);
        d_step {
            heard(from, to);
            heard(to, from);
            follow(to, from, v[to].time_out);
            count_answer(from, to, 0);
            check()
        }
    }
#else
    :: atomic {
        PICK_LINK(MAY_BEAT);
        /* Stamped `term` ticks ago. */
        if
        :: term = 0
        :: led[from] >= 1 -> term = 1
        :: led[from] >= 2 -> term = 2
        fi;
        /* The follower's clock may run a tick ahead; */
        if
        :: odd = 0
        :: odd = 1
        fi;
        /* and may have been read a tick ago. L4: not before the heartbeat was taken in, so after
         * its stamp. */
        if
        :: late = 0
#ifdef CLOCK_BEFORE_MESSAGES
        :: late = 1
#else
        :: term > 0 -> late = 1
#endif
        fi;
        d_step {
            answer[AT(to, from)] = term + 1;
            follow(to, from, v[to].time_out - odd - late);
            check()
        }
    }
    :: atomic {
        PICK_LINK(ANSWERS);
        d_step {
#ifdef LEASE_FROM_ANSWER
            count_answer(to, from, 0);
#else
            count_answer(to, from, answer[AT(from, to)] - 1);
#endif
            answer[AT(from, to)] = 0;
            check()
        }
    }
#endif

#ifdef CLOCK_BEFORE_READS
    :: atomic {
        PICK_VOTER(MAY_LOOK);
        d_step { v[to].looked = 1; check() }
    }
#endif

#ifdef TRANSFERS
    :: atomic {
        PICK_VOTER(LEADS);
        d_step { v[to].handing_over = 1; handed = handed | (1 << v[to].term); check() }
    }
    :: atomic { /* TimeoutNow arrives, at anybody */
        PICK_VOTER(MAY_TIME_OUT);
        d_step {
            term = v[to].term;
            do
            :: BIT(term, handed) == 0 -> term++
            :: else -> break
            od;
            if
            :: term < TERMS ->
                if
                :: term > v[to].term -> become_follower(to, term)
                :: else
                fi;
                become_candidate(to);
                v[to].forced = v[to].forced | (1 << v[to].term)
            :: else
            fi;
            check()
        }
    }
    :: atomic { /* its target asks */
        PICK_LINK(FORCES);
        d_step {
            term = v[to].term;
            do
            :: BIT(term, v[from].forced) == 0 -> term++
            :: else -> break
            od;
            take_vote_request(term, true);
            check()
        }
    }
#ifdef LEASE_AFTER_TRANSFER
    :: atomic { /* a time-out later it has failed; but its message may still be under way */
        PICK_VOTER(LEADS);
        d_step { v[to].handing_over = 0; check() }
    }
#endif
#endif

#ifdef RESTARTS
    /* Term and vote are on disk, and what was promised is not. So who restarts keeps still for as
     * long as the longest promise that it can have made. */
    :: atomic {
        PICK_VOTER(ANY_VOTER);
#ifdef DIFFER
        if
        :: odd = 0
        :: odd = 1
        fi;
#endif
        d_step {
            become_follower(to, v[to].term);
#ifdef IN_ORDER
            v[to].asks = NOTHING;
            v[to].asked = 0;
#endif
#ifdef VOTE_FORGOTTEN
            v[to].vote = NOBODY;
#endif
#ifdef DIFFER
#ifdef GRACE_OF_THE_LAST_LIFE
            v[to].longest = v[to].time_out;
#endif
            v[to].time_out = (odd -> 1 : LONG);
            if
            :: v[to].longest < v[to].time_out -> v[to].longest = v[to].time_out
            :: else
            fi;
#endif
#if defined(NO_GRACE)
            v[to].guard = 0;
#elif defined(GRACE_OF_NEW_TIME_OUT)
            v[to].guard = v[to].time_out;
#else
            v[to].guard = v[to].longest;
#endif
            check()
        }
    }
#endif

#ifdef COMMITS
    :: atomic {
        PICK_VOTER(MAY_COMMIT);
        d_step {
            v[to].committed = 1;
            if
            :: newest < v[to].term -> newest = v[to].term
            :: else
            fi;
            check()
        }
    }
#endif
    od
}
