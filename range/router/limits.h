/* Bounds and time constants of the router beyond its configuration. */
#ifndef FLOTILLA_RANGE_ROUTER_LIMITS_H
#define FLOTILLA_RANGE_ROUTER_LIMITS_H

#include "range/request.h"

/* Defaults for zeros in struct router_config. */
#define ROUTER_TIMEOUT_US_DEFAULT 5000000u
#define ROUTER_BACKOFF_MIN_US_DEFAULT 2000u
#define ROUTER_BACKOFF_MAX_US_DEFAULT 200000u
#define ROUTER_ATTEMPT_TIMEOUT_US_DEFAULT 500000u
#define ROUTER_OUTSTANDING_MAX_DEFAULT 65536u
#define ROUTER_OUTSTANDING_BYTES_MAX_DEFAULT (256u << 20)

/* Longest pause between two rounds of questions about a range's leader. An election takes 150 to
 * 300 ms and ends at an unknown moment: what is lost on top of it is at most this. One range costs
 * its replicas' count of small requests per round, however many clients wait. */
#define ROUTER_SEARCH_PAUSE_US_MAX 25000u
/* Attempts that were given up and may still be answered, remembered for what that says. */
#define ROUTER_LATE_MAX 64u
/* A write with less time than that is not sent: no leader answers so soon, and its outcome would be
 * unknown for nothing. */
#define ROUTER_SEND_TIME_LEFT_US_MIN 100u
/* A request is not made to ask once more when less is left of its deadline. */
#define ROUTER_PROBE_TIME_LEFT_US_MIN 5000u
#define ROUTER_PROBES_LOOKED_AT_MAX 16u
/* Rounds without success after which placement is asked as well. */
#define ROUTER_SEARCH_ROUNDS_BEFORE_REFRESH 16u
/* How long a search waits for one replica before it asks the next one as well. */
#define ROUTER_SEARCH_PATIENCE_US 100000u
/* Hints ("not me, node 3") followed at once in a row without anyone answering as leader. */
#define ROUTER_HINTS_MAX 2u
/* A node that could not be reached is tried again after this, should nobody say that it is up. */
#define ROUTER_NODE_RETRY_US 100000u
/* What a write costs a range beside its bytes, in bytes: as the range counts it. */
#define ROUTER_WORK_PER_WRITE 512u
/* BUSY answers of a node that are waited out before the client hears BUSY: of one call, and of all
 * calls of a range by what is paid for with decided writes (overload.c). */
#define ROUTER_BUSY_MAX 5u
#define ROUTER_RETRY_COST 10u
#define ROUTER_RETRY_CREDIT_MAX 100u
/* What a client is told to wait when the router's own bounds are reached. */
#define ROUTER_RETRY_AFTER_US 10000u

/* A node is given less time than the client by a sixteenth, at most by this: so that it can still
 * say "nothing was proposed" where the router alone would have to say "unknown". */
#define ROUTER_ANSWER_MARGIN_US_MAX 50000u

/* Keys of one GET request to one range. */
#define ROUTER_GET_BYTES_MAX (1u << 20)
/* A frame that has grown to this leaves before the flush. */
#define ROUTER_FRAME_BYTES (1u << 20)
/* Rows of one answer to a client, counted as range/request.h does. */
#define ROUTER_REPLY_BYTES_MAX RANGE_REPLY_BYTES_MAX
/* Lines about single slow calls that are logged. */
#define ROUTER_TRACES_PER_S 10u
/* Finished calls whose memory is kept for new ones. */
#define ROUTER_SPARE_MAX 4096u
#define ROUTER_SPARE_BYTES_MAX 4096u

_Static_assert(ROUTER_FRAME_BYTES + TXN_COMMAND_BYTES_MAX + (1u << 20) <= (16u << 20),
               "the largest command still fits behind a frame that has not left");
_Static_assert(RANGE_ROW_BYTES + TXN_KEY_BYTES_MAX + TXN_VALUE_BYTES_MAX <= ROUTER_REPLY_BYTES_MAX,
               "one row always fits");

#endif
