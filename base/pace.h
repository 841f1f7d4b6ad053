/* How fast a server works, measured by itself, and what follows for those who wait: how long a
 * queue takes, and when to come back who was refused.
 *
 * Work is counted in units that the owner chooses (bytes, with a constant for each command). It
 * enters, waits, and leaves. How much left in a while says what the server can do only if it never
 * lacked work in that while, that is, if all that left was waiting when the while began; otherwise
 * it says only that the server can do at least so much (as BBR takes samples of a sender that has
 * nothing to send). A server that has been idle is therefore never taken for a slow one, and one
 * whose rate is not known yet is not held to any.
 *
 * Nothing here reads a clock; the owner hands in the time. A zeroed pace is a valid, empty one. */
#ifndef FLOTILLA_BASE_PACE_H
#define FLOTILLA_BASE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* A while that a rate is measured over, at least. */
#define PACE_SAMPLE_US 50000u
/* Nothing has left for so long although something waits: the server stands, and a rate that was
 * measured before says nothing. */
#define PACE_STALL_US 200000u
/* Who is refused is told to wait between these: longer, as long as more are refused than served. */
#define PACE_RETRY_US_MIN 5000u
#define PACE_RETRY_US_MAX 2000000u
#define PACE_RETRY_FACTOR_MAX 8u

struct pace {
    uint64_t queued;     /* work that has entered and not left */
    uint64_t rate_per_s; /* work done in a second; 0: not known yet */
    /* The while under way: since when, what waited then, what has left since, done. */
    uint64_t since_us, queued_then, done;
    /* Since retry_since_us: how many were refused and served. */
    uint64_t retry_since_us;
    uint32_t refused, served;
    uint32_t retry_us; /* what the next one is told; 0: the minimum */
};

void pace_enter(struct pace *pace, uint64_t work, uint64_t now_us);
/* One request was served: its work leaves, done. */
void pace_serve(struct pace *pace, uint64_t work, uint64_t now_us);
/* It leaves undone. */
void pace_withdraw(struct pace *pace, uint64_t work);
/* Nothing waits any more, whatever it was. The rate stays. */
void pace_clear(struct pace *pace);
/* How long what enters now will wait for what is there already. */
uint64_t pace_wait_us(const struct pace *pace, uint64_t now_us);
/* How much work is done in `us`; UINT64_MAX: not known. */
uint64_t pace_work_in(const struct pace *pace, uint64_t us);
/* To be called for each request that is refused for want of time or room: when to come back. The
 * owner adds chance, so that those who were refused together do not come back together. */
uint32_t pace_refuse(struct pace *pace, uint64_t now_us);

#endif
