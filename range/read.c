/* Linearizable reads at the leader, and stale ones at any replica.
 *
 * A read gets an index that covers every write acknowledged before it arrived, and is served once
 * that index is applied and written:
 *   - under a lease, the commit index of now. "Now" is a clock reading taken after the read was
 *     drained from the mailbox, so it is not older than the read: had another leader been elected
 *     before the read began, the lease would have been over at that reading;
 *   - else by ReadIndex: all reads of a range that wait share one context (thesis 6.4).
 * A read whose index is known stays valid when leadership is lost afterwards.
 *
 * A stale read is served at once, at what is applied.
 *
 * What a turn does for reads is bounded (RANGE_READ_STEPS_MAX): one that does much is ended early,
 * and those that the turn has no steps left for wait for the next one, range after range in turn.
 *
 * Reads see the newest version of every key: only this worker writes to the range, and nothing is
 * served while an apply round is half written, so the engine's latest state is the state at
 * applied.applied, or some commands further where a round ended in the middle of an entry. */
#include "range/read.h"

#include <inttypes.h>

#include "base/assert.h"
#include "range/metrics.h"
#include "range/worker.h"
#include "storage/mvcc.h"

/* ---- serving ---- */

uint64_t range_read_steps_max(const struct range_worker *worker) {
    uint32_t max = worker->store->config.read_steps_max;
    return max > 0 ? max : RANGE_READ_STEPS_MAX;
}

/* A reply that is to be filled with rows. */
static struct range_reply reply_to(const struct range_replica *replica,
                                   const struct range_request *request) {
    return (struct range_reply){.call_id = request->call_id,
                                .code = RANGE_REPLY_OK,
                                .kind = request->kind,
                                .stale = request->read_mode == RANGE_READ_STALE,
                                .as_of = replica->applied.last_commit_ts};
}

static void answer(struct range_replica *replica, struct range_client *client,
                   const struct range_reply *reply) {
    replica->report.reads_total++;
    metric_add(&metric_range_reads_total, 1);
    range_client_reply(replica->worker, client, reply);
}

/* Ends early when the reply is full or the read's steps are spent; the router asks for the rest of
 * the keys. */
static void serve_get(struct range_replica *replica, struct range_client *client,
                      const struct range_request *request) {
    struct range_worker *worker = replica->worker;
    struct mvcc_reader reader = {.engine = worker->store->engine};
    struct range_row *rows = ARENA_NEW_ARRAY(&worker->arena, struct range_row, request->key_count);
    uint64_t steps = 0, steps_max = range_read_steps_max(worker);
    size_t bytes = 0;
    uint32_t count = 0;
    while (count < request->key_count && bytes < RANGE_REPLY_BYTES_MAX && steps < steps_max) {
        struct slice key = request->keys[count];
        struct range_row *row = &rows[count++];
        struct mvcc_version version;
        *row = (struct range_row){0};
        enum status status = mvcc_get(&reader, key, MVCC_TS_MAX, &worker->scratch, &version);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            range_worker_fatal(worker, "read", range_replica_id(replica), status);
        bytes += RANGE_ROW_BYTES;
        steps += RANGE_GET_STEPS;
        if (status == STATUS_NOT_FOUND || version.kind == MVCC_DELETE) continue;
        row->version = version.commit_ts;
        /* The scratch holds one value; a single one needs no copy. */
        row->value =
            request->key_count == 1 ? version.value : arena_copy(&worker->arena, version.value);
        bytes += version.value.len;
        steps += version.value.len / MVCC_STEP_BYTES;
    }
    worker->reads.steps += steps < steps_max ? steps : steps_max;
    struct range_reply reply = reply_to(replica, request);
    reply.rows = rows;
    reply.row_count = count;
    answer(replica, client, &reply);
}

struct scan {
    struct arena *arena;
    struct range_row *rows;
    uint32_t count, cap, row_limit;
    size_t bytes, byte_limit;
    bool keys_only, reverse;
    bool full;           /* a row would have passed a limit: the proof that there is more */
    struct slice resume; /* full: where to go on */
};

static void scan_grow(struct scan *scan) {
    uint32_t cap = scan->cap ? scan->cap * 2 : 32;
    struct range_row *rows = ARENA_NEW_ARRAY(scan->arena, struct range_row, cap);
    if (scan->count > 0) memcpy(rows, scan->rows, scan->count * sizeof(*rows));
    scan->rows = rows;
    scan->cap = cap;
}

static bool scan_row(void *ctx, struct slice key, uint64_t commit_ts, struct slice value) {
    struct scan *scan = ctx;
    if (scan->keys_only) value = SLICE_EMPTY;
    size_t bytes = RANGE_ROW_BYTES + key.len + value.len;
    bool fits = scan->count < scan->row_limit &&
                (scan->count == 0 || scan->bytes + bytes <= scan->byte_limit);
    if (!fits) {
        scan->full = true;
        scan->resume =
            scan->reverse ? scan->rows[scan->count - 1].key : arena_copy(scan->arena, key);
        return false;
    }
    if (scan->count == scan->cap) scan_grow(scan);
    scan->rows[scan->count++] = (struct range_row){.key = arena_copy(scan->arena, key),
                                                   .value = arena_copy(scan->arena, value),
                                                   .version = commit_ts};
    scan->bytes += bytes;
    return true;
}

static uint32_t limit_of(uint32_t asked, uint32_t max) {
    return asked == 0 || asked > max ? max : asked;
}

/* The part of [start, end) that lies in the range; false when there is none. */
static bool clamp_span(const struct range_descriptor *descriptor, struct slice *start,
                       struct slice *end) {
    struct slice first = slice_from_buf(&descriptor->start);
    struct slice last = slice_from_buf(&descriptor->end);
    if (slice_compare(*start, first) < 0) *start = first;
    if (end->len == 0 || (last.len > 0 && slice_compare(last, *end) < 0)) *end = last;
    return end->len == 0 || slice_compare(*start, *end) < 0;
}

static void serve_scan(struct range_replica *replica, struct range_client *client,
                       const struct range_request *request) {
    struct range_worker *worker = replica->worker;
    struct mvcc_reader reader = {.engine = worker->store->engine};
    struct scan scan = {.arena = &worker->arena,
                        .row_limit = limit_of(request->row_limit, RANGE_SCAN_ROWS_MAX),
                        .byte_limit = limit_of(request->byte_limit, RANGE_REPLY_BYTES_MAX),
                        .keys_only = request->keys_only,
                        .reverse = request->reverse};
    struct slice start = request->start, end = request->end;
    struct mvcc_pace pace = {.steps_left = range_read_steps_max(worker)};
    if (clamp_span(&replica->descriptor, &start, &end)) {
        enum status status =
            mvcc_scan(&reader, start, end, MVCC_TS_MAX, request->reverse, scan_row, &scan, &pace);
        if (status != STATUS_OK)
            range_worker_fatal(worker, "scan", range_replica_id(replica), status);
    }
    worker->reads.steps += range_read_steps_max(worker) - pace.steps_left;
    struct range_reply reply = reply_to(replica, request);
    reply.rows = scan.rows;
    reply.row_count = scan.count;
    reply.resume = scan.full ? scan.resume : slice_from_buf(&pace.resume);
    reply.more = reply.resume.len > 0;
    answer(replica, client, &reply);
    buf_done(&pace.resume);
}

static void serve(struct range_replica *replica, struct range_client *client,
                  const struct range_request *request) {
    if (request->kind == RANGE_GET)
        serve_get(replica, client, request);
    else
        serve_scan(replica, client, request);
}

static void serve_pending(struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    const struct range_epoch *epoch = &replica->descriptor.epoch;
    struct range_request request;
    arena_reset(&replica->worker->arena);
    enum status status = range_request_decode(pending->bytes, &replica->worker->arena, &request);
    ASSERT(status == STATUS_OK); /* it was decoded when it was admitted */
    if (request.epoch.span_version != epoch->span_version)
        range_refuse_stale_epoch(replica, pending->client, pending->call_id);
    else
        serve(replica, pending->client, &request);
    range_pending_free(pending);
}

/* ---- finding an index ---- */

/* The index that a read may be served at under the lease; false without a lease. */
static bool lease_index(struct range_replica *replica, uint64_t *ret_index) {
    return replica->worker->store->config.lease_reads && replica->leads &&
           raft_lease_read(replica->raft, ret_index);
}

/* Whether a read may be served as it comes in. Not before those of its range that wait for steps,
 * or these would wait for ever. */
static bool may_serve_at_once(const struct range_replica *replica) {
    const struct range_worker *worker = replica->worker;
    return worker->reads.steps < range_read_steps_max(worker) &&
           (!worker->reads.left || list_empty(&replica->reads.indexed));
}

bool range_read_try_lease(struct range_replica *replica, struct range_client *client,
                          const struct range_request *request) {
    uint64_t index = 0;
    if (request->read_mode == RANGE_READ_INDEX || !may_serve_at_once(replica)) return false;
    raft_set_now(replica->raft, replica->worker->now_us);
    if (!lease_index(replica, &index) || index > replica->applied.applied.index) return false;
    serve(replica, client, request);
    metric_add(&metric_range_reads_leased_total, 1);
    return true;
}

bool range_read_try_stale(struct range_replica *replica, struct range_client *client,
                          const struct range_request *request) {
    if (!may_serve_at_once(replica)) return false;
    serve(replica, client, request);
    metric_add(&metric_range_reads_stale_total, 1);
    return true;
}

static void follow_reading(struct range_replica *replica) {
    bool reads = !list_empty(&replica->reads.unindexed) || !list_empty(&replica->reads.indexed);
    if (!reads)
        list_remove(&replica->reads.in_reading);
    else if (list_empty(&replica->reads.in_reading))
        list_push_back(&replica->worker->reads.reading, &replica->reads.in_reading);
}

void range_read_enqueue(struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    range_replica_touch(replica);
    list_push_back(&replica->reads.unindexed, &pending->link);
    follow_reading(replica);
}

void range_read_enqueue_stale(struct range_pending *pending) {
    struct range_replica *replica = pending->replica;
    pending->index = 0; /* whatever is applied */
    list_push_back(&replica->reads.indexed, &pending->link);
    metric_add(&metric_range_reads_stale_total, 1);
    follow_reading(replica);
}

static void give_index(struct range_pending *pending, uint64_t index) {
    struct range_replica *replica = pending->replica;
    list_remove(&pending->link);
    pending->index = index;
    list_push_back(&replica->reads.indexed, &pending->link);
}

static void move_all(struct list_node *from, struct list_node *to) {
    struct list_node *node;
    while ((node = list_pop_front(from)) != NULL)
        list_push_back(to, node);
}

static void begin_round(struct range_replica *replica) {
    uint64_t context = ++replica->worker->reads.context;
    enum status status = raft_read_index(replica->raft, context);
    if (status != STATUS_OK) {
        range_pending_refuse_all(&replica->reads.unindexed,
                                 status == STATUS_BUSY ? RANGE_REPLY_BUSY : RANGE_REPLY_NOT_LEADER);
        return;
    }
    uint32_t slot =
        (replica->reads.round_first + replica->reads.round_count) % RANGE_READ_ROUNDS_MAX;
    struct range_read_round *round = &replica->reads.rounds[slot];
    ASSERT(round->context == 0 && list_empty(&round->reads));
    round->context = context;
    move_all(&replica->reads.unindexed, &round->reads);
    replica->reads.round_count++;
}

static void ask_for_replica(struct range_replica *replica) {
    uint64_t index = 0;
    range_replica_touch(replica);
    if (lease_index(replica, &index)) {
        LIST_FOR_EACH_SAFE (node, &replica->reads.unindexed) {
            struct range_pending *pending = range_pending_of(node);
            if (!pending->quorum) give_index(pending, index);
        }
    }
    if (!list_empty(&replica->reads.unindexed) &&
        replica->reads.round_count < RANGE_READ_ROUNDS_MAX)
        begin_round(replica);
}

void range_read_ask(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->reads.reading) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, reads.in_reading);
        if (!list_empty(&replica->reads.unindexed)) ask_for_replica(replica);
        follow_reading(replica);
    }
}

static void close_first_round(struct range_replica *replica) {
    replica->reads.rounds[replica->reads.round_first].context = 0;
    replica->reads.round_first = (replica->reads.round_first + 1) % RANGE_READ_ROUNDS_MAX;
    replica->reads.round_count--;
}

/* Contexts are answered in order; an answer to a later one is an answer to those before it, whose
 * reads began earlier and may see more than they asked for. */
void range_read_indexed(struct range_replica *replica, const struct raft_read_state *state) {
    while (replica->reads.round_count > 0) {
        struct range_read_round *round = &replica->reads.rounds[replica->reads.round_first];
        if (round->context > state->context) return; /* of a leadership that is over */
        LIST_FOR_EACH_SAFE (node, &round->reads)
            give_index(range_pending_of(node), state->index);
        close_first_round(replica);
        follow_reading(replica);
    }
}

/* False: the turn's steps are spent, and there are more. */
static bool serve_indexed(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    uint64_t applied = replica->applied.applied.index;
    LIST_FOR_EACH_SAFE (link, &replica->reads.indexed) {
        struct range_pending *pending = range_pending_of(link);
        if (pending->index > applied) continue;
        if (worker->reads.steps >= 2 * range_read_steps_max(worker)) return false;
        serve_pending(pending);
    }
    return true;
}

/* The next turn begins with the range behind the one that this turn ended with. */
void range_read_serve(struct range_worker *worker) {
    worker->reads.left = false;
    LIST_FOR_EACH_SAFE (node, &worker->reads.reading) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, reads.in_reading);
        if (!serve_indexed(replica)) {
            worker->reads.left = true;
            list_remove(&replica->reads.in_reading);
            list_push_back(&worker->reads.reading, &replica->reads.in_reading);
            return;
        }
        follow_reading(replica);
    }
}

void range_read_refuse_unindexed(struct range_replica *replica) {
    range_pending_refuse_all(&replica->reads.unindexed, RANGE_REPLY_NOT_LEADER);
    while (replica->reads.round_count > 0) {
        struct range_read_round *round = &replica->reads.rounds[replica->reads.round_first];
        range_pending_refuse_all(&round->reads, RANGE_REPLY_NOT_LEADER);
        close_first_round(replica);
    }
}
