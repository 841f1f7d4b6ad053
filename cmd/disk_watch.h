/* Watches how full the disk of the data directory is: a metric, warnings in the log, and, near the
 * end, word to the ranges (range_store_set_room). */
#ifndef FLOTILLA_CMD_DISK_WATCH_H
#define FLOTILLA_CMD_DISK_WATCH_H

#include "range/store.h"
#include "rpc/loop.h"

#define DISK_WATCH_POLL_US 100000u /* a fast disk takes 100 MB meanwhile */
/* While there is little room the ranges are told again, so that they look for other leaders anew.
 */
#define DISK_WATCH_REPEAT_US 30000000u
/* A compaction takes room and gives it back: what is free must stay free for so long to count. */
#define DISK_WATCH_CALM_US 5000000u
/* Of the disk, free; each is logged once when it is passed. */
#define DISK_WATCH_WARN_PERCENT 10u
#define DISK_WATCH_WARN_AGAIN_PERCENT 5u
/* The reserve is at most so much of a disk: small disks keep most of themselves. */
#define DISK_WATCH_RESERVE_DIVISOR 4u

struct disk_watch {
    struct rpc_timer timer;
    struct rpc_loop *loop;
    const char *directory;
    uint64_t reserve_bytes;
    struct range_store *store; /* NULL: nobody is told */
    enum range_room room;
    uint64_t told_us;
    uint64_t calm_since_us;  /* more room than `room` says; 0: not so */
    uint32_t warned_percent; /* the last bound passed; 100: none */
};

/* The loop's thread. `directory` is borrowed until the stop. */
void disk_watch_start(struct disk_watch *watch, struct rpc_loop *loop, const char *directory,
                      uint64_t reserve_bytes, struct range_store *store);
void disk_watch_stop(struct disk_watch *watch); /* no effect when not started */

#endif
