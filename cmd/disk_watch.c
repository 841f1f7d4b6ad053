#include "cmd/disk_watch.h"

#include <inttypes.h>

#include "base/list.h"
#include "base/log.h"
#include "storage/disk_space.h"

/* Below half of the reserve there is no room even for the entries of others: what is left is for
 * flushes and compactions of what is there. */
static enum range_room judge(const struct disk_watch *watch, const struct disk_space *space) {
    uint64_t reserve = space->total_bytes / DISK_WATCH_RESERVE_DIVISOR;
    if (reserve > watch->reserve_bytes) reserve = watch->reserve_bytes;
    if (space->free_bytes < reserve / 2) return RANGE_ROOM_NONE;
    return space->free_bytes < reserve ? RANGE_ROOM_SCARCE : RANGE_ROOM_ROOMY;
}

/* Less room counts at once, more of it only when it lasts. */
static enum range_room take(struct disk_watch *watch, enum range_room seen, uint64_t now_us) {
    if (seen >= watch->room) {
        watch->calm_since_us = 0;
        return seen;
    }
    if (watch->calm_since_us == 0) watch->calm_since_us = now_us;
    return now_us - watch->calm_since_us >= DISK_WATCH_CALM_US ? seen : watch->room;
}

static void tell(struct disk_watch *watch, const struct disk_space *space, uint64_t now_us) {
    struct buf text = {0};
    watch->told_us = now_us;
    if (watch->room != RANGE_ROOM_ROOMY)
        buf_printf(&text,
                   "no space left for writes on the disk of %s (NO_SPACE): %" PRIu64
                   " MB of %" PRIu64 " are free",
                   watch->directory, space->free_bytes / 1000000, space->total_bytes / 1000000);
    range_store_set_room(watch->store, watch->room, slice_from_buf(&text));
    buf_done(&text);
}

static void log_room(const struct disk_watch *watch, const struct disk_space *space) {
    static const char *const consequences[] = {
        [RANGE_ROOM_ROOMY] = "writes are taken again",
        [RANGE_ROOM_SCARCE] = "writes are refused, leaders go to other nodes",
        [RANGE_ROOM_NONE] = "writes and the entries of other leaders are refused",
    };
    log_warn("disk_room",
             "room=%d consequence=\"%s\" free_bytes=%" PRIu64 " disk_bytes=%" PRIu64
             " directory=%s",
             (int)watch->room, consequences[watch->room], space->free_bytes, space->total_bytes,
             watch->directory);
}

static void follow_room(struct disk_watch *watch, const struct disk_space *space) {
    uint64_t now_us = rpc_loop_now_us(watch->loop);
    enum range_room before = watch->room;
    watch->room = take(watch, judge(watch, space), now_us);
    bool changed = watch->room != before;
    bool again = watch->room != RANGE_ROOM_ROOMY && now_us - watch->told_us >= DISK_WATCH_REPEAT_US;
    if (changed) log_room(watch, space);
    if (changed || again) tell(watch, space, now_us);
}

static void warn(struct disk_watch *watch, const struct disk_space *space) {
    uint64_t percent = space->total_bytes ? space->free_bytes * 100 / space->total_bytes : 0;
    uint32_t passed = percent < DISK_WATCH_WARN_AGAIN_PERCENT ? DISK_WATCH_WARN_AGAIN_PERCENT
                      : percent < DISK_WATCH_WARN_PERCENT     ? DISK_WATCH_WARN_PERCENT
                                                              : 100;
    if (passed < watch->warned_percent)
        log_warn("disk_low",
                 "free_bytes=%" PRIu64 " disk_bytes=%" PRIu64 " below_percent=%u directory=%s",
                 space->free_bytes, space->total_bytes, passed, watch->directory);
    /* Warned of again only after there was clearly more room. */
    if (passed < watch->warned_percent || percent > watch->warned_percent + 1u)
        watch->warned_percent = passed;
}

static void look(struct rpc_timer *timer) {
    struct disk_watch *watch = CONTAINER_OF(timer, struct disk_watch, timer);
    struct disk_space space;
    rpc_timer_start(watch->loop, timer, rpc_loop_now_us(watch->loop) + DISK_WATCH_POLL_US);
    /* A directory that cannot be asked is a disk that fails; the engine will say so. */
    if (disk_space_read(watch->directory, &space) != STATUS_OK) return;
    warn(watch, &space);
    if (watch->store && watch->reserve_bytes > 0) follow_room(watch, &space);
}

void disk_watch_start(struct disk_watch *watch, struct rpc_loop *loop, const char *directory,
                      uint64_t reserve_bytes, struct range_store *store) {
    *watch = (struct disk_watch){.loop = loop,
                                 .directory = directory,
                                 .reserve_bytes = reserve_bytes,
                                 .store = store,
                                 .warned_percent = 100};
    watch->timer.fire = look;
    look(&watch->timer);
}

void disk_watch_stop(struct disk_watch *watch) {
    if (watch->loop) rpc_timer_stop(watch->loop, &watch->timer);
    watch->loop = NULL;
}
