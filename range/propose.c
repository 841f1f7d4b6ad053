/* Commands on their way into the log: they gather, wait for a timestamp, then share entries.
 *
 * Gathering. An entry costs every replica a row, and the group a round of messages, whatever it
 * holds. So commands that come while one of their range is on its way wait for those that come
 * after them, within the bounds of RANGE_GATHER_*; a range that is idle proposes at once.
 *
 * Timestamps. A command's commit timestamp must be above every timestamp that anybody may have seen
 * before the command arrived, so it is asked for after the arrival: an answer serves only the
 * commands that were waiting when it was requested (`covered`), never those that came later.
 *
 * Within a range, commit timestamps grow in log order:
 *   - one leadership: one request is under way per worker, answers are used in order, the worker
 *     remembers the last one it used for the range;
 *   - over a change of leadership: a leader asks only after it has applied an entry of its own term
 *     (range_replica_may_propose). Every entry before that one was stamped from timestamps given
 *     out earlier, and the oracle only grows. Commands that waited under an earlier leadership of
 *     this replica were refused when it ended, so an answer that was requested then covers none of
 *     the commands waiting now.
 * Should the oracle go back all the same (restored from an old copy), commands are refused here, at
 * the leader, before they can reach the log, where apply.c asserts the order. */
#include "range/propose.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "range/entry.h"
#include "range/metrics.h"
#include "range/worker.h"

void range_propose_enqueue(struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    ASSERT(replica->leads);
    ASSERT(pending->state == RANGE_PENDING_WAITING);
    list_push_back(&replica->commands.waiting, &pending->link);
    if (replica->commands.waiting_count == 0)
        list_push_back(&replica->worker->commands.waiting, &replica->commands.in_waiting);
    replica->commands.waiting_count++;
    replica->commands.pending_count++;
    replica->commands.pending_bytes += pending->bytes.len;
    replica->worker->clients.pending_bytes += pending->bytes.len;
    range_overload_enter(pending);
}

/* Commands are not left to their deadlines while placement is away: whoever sent them hears soon,
 * and for certain, that nothing was proposed and why, and may try again as long as it likes. The
 * request to the oracle stays under way. */
static void refuse_when_late(struct range_worker *worker) {
    uint64_t waited_us = worker->now_us - worker->commands.oracle_asked_us;
    if (waited_us < RANGE_TIMESTAMP_PATIENCE_US || list_empty(&worker->commands.waiting)) return;
    struct buf text = {0};
    buf_printf(&text, "no timestamp from placement for %" PRIu64 " ms; is it running?",
               waited_us / 1000);
    LIST_FOR_EACH_SAFE (node, &worker->commands.waiting) {
        struct range_replica *replica =
            CONTAINER_OF(node, struct range_replica, commands.in_waiting);
        if (!range_replica_may_propose(replica)) continue;
        LIST_FOR_EACH_SAFE (link, &replica->commands.waiting) {
            range_pending_refuse_text(range_pending_of(link), RANGE_REPLY_UNAVAILABLE,
                                      slice_from_buf(&text));
        }
    }
    buf_done(&text);
}

static bool gathers(const struct range_replica *replica) {
    if (range_overload_log_room(replica) == 0) return true;
    if (list_empty(&replica->commands.proposed)) return false;
    if (replica->commands.waiting_count >= RANGE_GATHER_COMMANDS_MAX) return false;
    const struct range_worker *worker = replica->worker;
    uint64_t oldest_us = range_pending_of(replica->commands.proposed.next)->since_us;
    uint64_t patience_us = RANGE_GATHER_TURNS * worker->turn_us;
    if (patience_us < RANGE_GATHER_US_MAX) patience_us = RANGE_GATHER_US_MAX;
    return worker->now_us < oldest_us + patience_us;
}

/* Those that the log has room for by now; the others' turn comes with another request. */
static uint32_t cover(struct range_replica *replica) {
    uint64_t work = 0, room = range_overload_log_room(replica);
    uint32_t count = 0;
    LIST_FOR_EACH (link, &replica->commands.waiting) {
        struct range_pending *pending = range_pending_of(link);
        if (work >= room) break;
        pending->covered = true;
        pending->asked_us = replica->worker->now_us;
        work += range_overload_work(pending);
        count++;
    }
    return count;
}

/* One request under way per worker serves all commands that wait together. */
void range_propose_ask(struct range_worker *worker) {
    if (worker->commands.oracle_asked) {
        refuse_when_late(worker);
        return;
    }
    uint32_t count = 0;
    LIST_FOR_EACH (node, &worker->commands.waiting) {
        struct range_replica *replica =
            CONTAINER_OF(node, struct range_replica, commands.in_waiting);
        if (!range_replica_may_propose(replica) || gathers(replica)) continue;
        count += cover(replica);
    }
    if (count == 0) return;
    worker->commands.oracle_asked = true;
    worker->commands.oracle_asked_us = worker->now_us;
    const struct range_oracle *oracle = &worker->store->oracle;
    oracle->request(oracle->ctx, worker->index, count);
}

/* How many of the first covered commands share the next entry. Those that would be late in the log
 * are refused while that is certain. */
static uint32_t entry_share(struct range_replica *replica, uint32_t timestamps) {
    uint32_t count = 0;
    size_t bytes = 0;
    uint64_t work = 0, room = range_overload_log_room(replica);
    LIST_FOR_EACH_SAFE (link, &replica->commands.waiting) {
        struct range_pending *pending = range_pending_of(link);
        if (!pending->covered || count == timestamps || count == RANGE_ENTRY_COMMANDS_MAX) break;
        if (work >= room) break;
        if (range_overload_late(pending)) {
            range_overload_refuse_pending(pending);
            continue;
        }
        if (count > 0 && bytes + pending->bytes.len > RANGE_ENTRY_BYTES_MAX) break;
        bytes += pending->bytes.len;
        work += range_overload_work(pending);
        count++;
    }
    return count;
}

/* The core took nothing: it does not lead, or is handing its leadership over. */
static void refuse_share(struct range_replica *replica, uint32_t count) {
    enum range_reply_code code = replica->leads ? RANGE_REPLY_BUSY : RANGE_REPLY_NOT_LEADER;
    for (uint32_t i = 0; i < count; i++)
        range_pending_refuse(range_pending_of(replica->commands.waiting.next), code);
}

static void move_to_proposed(struct range_replica *replica, uint32_t count, struct raft_log_id id) {
    uint64_t now_us = replica->worker->now_us;
    for (uint32_t i = 0; i < count; i++) {
        struct range_pending *pending = range_pending_of(replica->commands.waiting.next);
        list_remove(&pending->link);
        list_push_back(&replica->commands.proposed, &pending->link);
        range_overload_propose(pending);
        pending->state = RANGE_PENDING_PROPOSED;
        pending->position = i;
        pending->id = id;
        pending->since_us = now_us;
        pending->turn = replica->worker->stages.turn;
        range_pending_release_frame(pending);
        pending->bytes.data = NULL; /* the entry holds them; the length is still accounted for */
    }
    replica->commands.waiting_count -= count;
    if (replica->commands.waiting_count == 0) list_remove(&replica->commands.in_waiting);
}

/* Proposes the first `count` waiting commands as one entry. False when the core refused it. */
static bool propose_entry(struct range_replica *replica, uint32_t count, uint64_t first_ts) {
    struct range_worker *worker = replica->worker;
    struct buf *entry = &worker->scratch;
    buf_clear(entry);
    range_entry_begin(entry, replica->descriptor.epoch.span_version, count);
    const struct list_node *link = replica->commands.waiting.next;
    for (uint32_t i = 0; i < count; i++, link = link->next) {
        const struct range_pending *pending = range_pending_of((struct list_node *)link);
        size_t at = range_entry_add(entry, pending->bytes);
        txn_command_stamp(entry->data + at, pending->bytes.len, first_ts + i);
    }
    struct payload *payload = payload_copy(slice_from_buf(entry));
    struct raft_log_id id;
    enum status status = raft_propose(replica->raft, payload, &id);
    payload_unref(payload);
    if (status != STATUS_OK) {
        refuse_share(replica, count);
        return false;
    }
    move_to_proposed(replica, count, id);
    replica->commands.last_proposed_ts = first_ts + count - 1;
    metric_add(&metric_range_entries_proposed_total, 1);
    metric_add(&metric_range_commands_proposed_total, count);
    return true;
}

static bool oracle_went_back(const struct range_replica *replica, uint64_t first_ts) {
    uint64_t last = replica->applied.last_commit_ts;
    if (replica->commands.last_proposed_ts > last) last = replica->commands.last_proposed_ts;
    if (first_ts > last) return false;
    log_error("range_timestamp_back", "%s timestamp=%" PRIu64 " last=%" PRIu64, replica->log_prefix,
              first_ts, last);
    return true;
}

static void refuse_covered(struct range_replica *replica, struct slice text) {
    LIST_FOR_EACH_SAFE (link, &replica->commands.waiting) {
        struct range_pending *pending = range_pending_of(link);
        if (pending->covered) range_pending_refuse_text(pending, RANGE_REPLY_UNAVAILABLE, text);
    }
}

/* Returns how many timestamps were used. Those of a refused entry are not given to others: a gap
 * does no harm. */
static uint32_t propose_covered(struct range_replica *replica, uint64_t first, uint32_t count) {
    uint32_t used = 0;
    /* The answer may be older than this leadership, and then it is for none of its commands. */
    if (entry_share(replica, count) == 0) return 0;
    if (oracle_went_back(replica, first)) {
        refuse_covered(replica,
                       SLICE_LITERAL("the timestamp oracle went back behind this range's data; "
                                     "was placement restored from an old copy?"));
        return 0;
    }
    range_replica_touch(replica);
    for (;;) {
        uint32_t share = entry_share(replica, count - used);
        if (share == 0) return used;
        (void)propose_entry(replica, share, first + used); /* refused: answered there */
        used += share;
    }
}

static void refuse_all_waiting(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->commands.waiting) {
        struct range_replica *replica =
            CONTAINER_OF(node, struct range_replica, commands.in_waiting);
        refuse_covered(replica, SLICE_LITERAL("no timestamp to be had: placement is shut off "
                                              "from this node or the node is shutting down"));
    }
}

void range_propose_timestamps(struct range_worker *worker, uint64_t first, uint32_t count) {
    if (!worker->commands.oracle_asked)
        return; /* an answer nobody asked for is not to be trusted */
    worker->commands.oracle_asked = false;
    metric_observe(&metric_range_timestamp_latency_us,
                   worker->now_us - worker->commands.oracle_asked_us);
    if (count == 0) {
        refuse_all_waiting(worker);
        return;
    }
    ASSERT(first != 0 && first <= UINT64_MAX - count);
    uint32_t used = 0;
    LIST_FOR_EACH_SAFE (node, &worker->commands.waiting) {
        struct range_replica *replica =
            CONTAINER_OF(node, struct range_replica, commands.in_waiting);
        if (used == count) break;
        if (range_replica_may_propose(replica))
            used += propose_covered(replica, first + used, count - used);
    }
}
