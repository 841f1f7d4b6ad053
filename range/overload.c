/* More work than a range can do: who is refused, and when.
 *
 * A command whose client has given up is worth nothing, and costs as much as any other: a queue
 * that is longer than its clients are patient does nothing but such work. So
 *
 *   - a command is refused at once, BUSY, when what is there already takes half of the time that it
 *     has (the rest is for what the estimate does not know);
 *   - the log is given only what it does in half an election time-out: what waits for it can still
 * be refused for certain, what is in it ends as UNKNOWN when it is late;
 *   - a command that would be late in the log is refused before it gets there.
 *
 * Estimates are made from the work that was applied of late (base/pace.h), by the range and by its
 * worker: the first knows a hot range, the second that many ranges share a disk. */
#include "range/overload.h"

#include "base/assert.h"
#include "range/worker.h"

static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t work_of(size_t command_bytes) {
    return command_bytes + RANGE_WORK_PER_COMMAND;
}

bool range_overload_admits(const struct range_replica *replica, uint64_t deadline_us) {
    const struct range_worker *worker = replica->worker;
    uint64_t left_us = deadline_us > worker->now_us ? deadline_us - worker->now_us : 0;
    uint64_t wait_us = max_u64(pace_wait_us(&replica->load.pace, worker->now_us),
                               pace_wait_us(&worker->load.pace, worker->now_us));
    return wait_us <= left_us / 2;
}

void range_overload_enter(const struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    struct range_worker *worker = replica->worker;
    uint64_t work = work_of(pending->bytes.len);
    pace_enter(&replica->load.pace, work, worker->now_us);
    pace_enter(&worker->load.pace, work, worker->now_us);
    replica->load.waiting_work += work;
    worker->load.waiting_work += work;
}

static void stop_waiting(const struct range_pending *pending, uint64_t work) {
    ASSERT_CMP(pending->replica->load.waiting_work, >=, work);
    pending->replica->load.waiting_work -= work;
    pending->replica->worker->load.waiting_work -= work;
}

void range_overload_withdraw(const struct range_pending *pending) {
    uint64_t work = work_of(pending->bytes.len);
    stop_waiting(pending, work);
    pace_withdraw(&pending->replica->load.pace, work);
    pace_withdraw(&pending->replica->worker->load.pace, work);
}

void range_overload_propose(const struct range_pending *pending) {
    stop_waiting(pending, work_of(pending->bytes.len));
}

void range_overload_apply(struct range_replica *replica, const struct raft_entry *entry,
                          size_t command_bytes) {
    /* What earlier leaders left behind is in nobody's account. */
    if (!replica->leads || entry->id.term != replica->lead_term) return;
    pace_serve(&replica->load.pace, work_of(command_bytes), replica->worker->now_us);
    pace_serve(&replica->worker->load.pace, work_of(command_bytes), replica->worker->now_us);
}

void range_overload_answer(const struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    uint64_t us = replica->worker->now_us - pending->since_us;
    replica->load.log_us += us / 8;
    replica->load.log_us -= replica->load.log_us / 8;
}

void range_overload_forget(struct range_replica *replica) {
    ASSERT_CMP(replica->load.waiting_work, ==, 0);
    pace_withdraw(&replica->worker->load.pace, replica->load.pace.queued);
    pace_clear(&replica->load.pace);
}

/* ---- the log ---- */

static uint64_t in_log(const struct pace *pace, uint64_t waiting_work) {
    return pace->queued - waiting_work;
}

/* Without a rate the minimum is all that it gets: the first second must not be its longest. */
static uint64_t room_of(const struct range_worker *worker, const struct pace *pace,
                        uint64_t waiting_work, uint64_t minimum) {
    const struct range_store_config *config = &worker->store->config;
    uint64_t log_us =
        (uint64_t)config->election_ticks * config->tick_us / RANGE_LOG_ELECTIONS_DIVISOR;
    uint64_t most = pace->rate_per_s > 0 ? pace_work_in(pace, log_us) : minimum;
    uint64_t there = in_log(pace, waiting_work);
    if (most < minimum) most = minimum;
    return there < most ? most - there : 0;
}

uint64_t range_overload_log_room(const struct range_replica *replica) {
    const struct range_worker *worker = replica->worker;
    uint64_t minimum = worker->store->config.log_work_min;
    if (minimum == 0) minimum = RANGE_LOG_WORK_MIN;
    uint64_t own = room_of(worker, &replica->load.pace, replica->load.waiting_work, minimum);
    uint64_t common = room_of(worker, &worker->load.pace, worker->load.waiting_work,
                              minimum * RANGE_WORKER_LOG_WORK_FACTOR);
    /* A range that has nothing in its log is always let in, or a busy neighbour would shut it out.
     */
    if (in_log(&replica->load.pace, replica->load.waiting_work) == 0 && common == 0) common = 1;
    return own < common ? own : common;
}

uint64_t range_overload_work(const struct range_pending *pending) {
    return work_of(pending->bytes.len);
}

bool range_overload_late(const struct range_pending *pending) {
    const struct range_replica *replica = pending->replica;
    /* How long it takes of late is true as long as something is there to measure it. */
    if (in_log(&replica->load.pace, replica->load.waiting_work) == 0) return false;
    return replica->worker->now_us + replica->load.log_us >= pending->deadline.key;
}

/* ---- refusing ---- */

static uint32_t retry_after_us(struct range_replica *replica) {
    uint32_t us = pace_refuse(&replica->load.pace, replica->worker->now_us);
    return (uint32_t)prng_between(&replica->worker->prng, us / 2 + 1, us + us / 2);
}

void range_overload_refuse(struct range_replica *replica, struct range_client *client,
                           uint64_t call_id) {
    range_refuse_busy(replica->worker, client, call_id, retry_after_us(replica));
}

void range_overload_refuse_pending(struct range_pending *pending) {
    range_overload_refuse(pending->replica, pending->client, pending->call_id);
    range_pending_free(pending);
}
