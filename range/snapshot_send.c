/* Sending snapshots: cut, stream, give up.
 *
 *   cut       the Raft core asks for a snapshot for a follower: an engine snapshot is taken at the
 *             applied index; cheap, nothing is read yet
 *   start     the core's MSG_SNAPSHOT comes out of its ready work: the header leaves
 *   pump      every turn: chunks are read and sent under the byte rate limit, at most
 *             RANGE_SNAPSHOT_WINDOW of them without acknowledgement; frames in the window are kept,
 *             so that a broken stream resumes where the receiver stands
 *   end       INSTALLED, REFUSED, or silence for RANGE_SNAPSHOT_ABANDON_US; the core is told, and
 *             asks again when the follower still needs one. Losing leadership ends it, too.
 *   tail      after INSTALLED, until the follower has caught up or has not moved for
 *             RANGE_SNAPSHOT_ABANDON_US: the log is kept for it from where it stands */
#include "range/snapshot_send.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "raft/message_codec.h"
#include "range/compact.h"
#include "range/metrics.h"
#include "range/snapshot.h"
#include "range/worker.h"
#include "storage/mvcc.h"

static const enum storage_family snapshot_families[] = {STORAGE_DATA, STORAGE_LOCK, STORAGE_META};
#define SNAPSHOT_FAMILIES 3u

struct snapshot_send {
    struct list_node link; /* worker->snapshots.sends */
    struct range_replica *replica;
    uint64_t to_replica, to_node, snapshot_id;
    struct storage_snapshot *cut;
    struct range_apply_state state; /* at the cut, like the two below */
    struct range_descriptor descriptor;
    struct raft_conf_state conf;
    bool started;
    struct storage_iterator *iterator;        /* over family_at; NULL: not begun */
    uint32_t family_at;                       /* SNAPSHOT_FAMILIES: all read */
    uint64_t next;                            /* sequence of the next frame to be made */
    uint64_t acknowledged;                    /* the receiver has all below */
    struct buf window[RANGE_SNAPSHOT_WINDOW]; /* frame of a sequence, at sequence % window */
    struct buf records;                       /* of the chunk being made */
    uint64_t checksum, record_count;
    uint64_t heard_us; /* from the receiver; at first: when it was cut */
    uint64_t sent_us;  /* last frame */
    bool outrun;       /* the log behind it was cut, which was said */
};

struct snapshot_tail {
    struct list_node link; /* worker->snapshots.tails */
    struct range_replica *replica;
    uint64_t to_replica;
    uint64_t match;    /* what it is known to have */
    uint64_t moved_us; /* when that last grew */
    bool outrun;
};

static struct snapshot_send *send_of(struct list_node *link) {
    return CONTAINER_OF(link, struct snapshot_send, link);
}

static struct snapshot_send *find_send(const struct range_replica *replica, uint64_t to_replica) {
    LIST_FOR_EACH (node, &replica->worker->snapshots.sends) {
        struct snapshot_send *send = send_of(node);
        if (send->replica == replica && send->to_replica == to_replica) return send;
    }
    return NULL;
}

static struct snapshot_tail *tail_of(struct list_node *link) {
    return CONTAINER_OF(link, struct snapshot_tail, link);
}

static void tail_free(struct snapshot_tail *tail) {
    list_remove(&tail->link);
    metric_add(&metric_range_snapshot_followers, -1);
    memory_free(tail);
}

static void tail_begin(struct range_replica *replica, uint64_t to_replica, uint64_t match) {
    struct snapshot_tail *tail = MEMORY_NEW(struct snapshot_tail);
    *tail = (struct snapshot_tail){.replica = replica,
                                   .to_replica = to_replica,
                                   .match = match,
                                   .moved_us = replica->worker->now_us};
    list_push_back(&replica->worker->snapshots.tails, &tail->link);
    metric_add(&metric_range_snapshot_followers, 1);
}

static void send_free(struct snapshot_send *send) {
    struct range_worker *worker = send->replica->worker;
    list_remove(&send->link);
    metric_add(&metric_range_snapshot_followers, -1);
    worker->snapshots.send_count--;
    if (send->iterator) storage_iterator_free(send->iterator);
    storage_snapshot_free(worker->store->engine, send->cut);
    range_descriptor_done(&send->descriptor);
    for (uint32_t i = 0; i < RANGE_SNAPSHOT_WINDOW; i++)
        buf_done(&send->window[i]);
    buf_done(&send->records);
    memory_free(send);
}

/* Ends a stream and tells the core, which probes the follower again. */
static void finish(struct snapshot_send *send, bool failed) {
    struct range_replica *replica = send->replica;
    uint64_t to_replica = send->to_replica;
    log_info("range_snapshot_sent", "%s to_node=%" PRIu64 " index=%" PRIu64 " failed=%d",
             replica->log_prefix, send->to_node, send->state.applied.index, failed);
    metric_add(failed ? &metric_range_snapshots_failed_total : &metric_range_snapshots_sent_total,
               1);
    if (!failed) tail_begin(replica, to_replica, send->state.applied.index);
    send_free(send);
    range_replica_touch(replica);
    raft_report_snapshot(replica->raft, to_replica, failed);
}

void range_snapshot_abort_sends(struct range_replica *replica) {
    LIST_FOR_EACH_SAFE (node, &replica->worker->snapshots.sends) {
        struct snapshot_send *send = send_of(node);
        if (send->replica == replica) send_free(send);
    }
    LIST_FOR_EACH_SAFE (node, &replica->worker->snapshots.tails)
        if (tail_of(node)->replica == replica) tail_free(tail_of(node));
}

void range_snapshot_abort_gone(struct range_replica *replica) {
    LIST_FOR_EACH_SAFE (node, &replica->worker->snapshots.sends) {
        struct snapshot_send *send = send_of(node);
        if (send->replica == replica &&
            !range_descriptor_replica(&replica->descriptor, send->to_replica))
            send_free(send); /* a tail finds out by itself */
    }
}

uint64_t range_snapshot_lowest_index(const struct range_replica *replica) {
    uint64_t lowest = UINT64_MAX;
    LIST_FOR_EACH (node, &replica->worker->snapshots.sends) {
        const struct snapshot_send *send = send_of(node);
        if (send->replica == replica && send->state.applied.index < lowest)
            lowest = send->state.applied.index;
    }
    LIST_FOR_EACH (node, &replica->worker->snapshots.tails) {
        const struct snapshot_tail *tail = tail_of(node);
        if (tail->replica == replica && tail->match < lowest) lowest = tail->match;
    }
    return lowest;
}

static void tell_outrun(const struct range_replica *replica, uint64_t to_replica, uint64_t index,
                        bool *told) {
    if (*told) return;
    *told = true;
    metric_add(&metric_range_snapshots_outrun_total, 1);
    log_warn("range_snapshot_outrun",
             "%s to_replica=%" PRIu64 " index=%" PRIu64
             " hint=\"writes outrun the snapshot; it is sent anew: raise --snapshot-bytes-per-s\"",
             replica->log_prefix, to_replica, index);
}

void range_snapshot_outrun(const struct range_replica *replica, uint64_t index) {
    LIST_FOR_EACH (node, &replica->worker->snapshots.sends) {
        struct snapshot_send *send = send_of(node);
        if (send->replica == replica && send->state.applied.index < index)
            tell_outrun(replica, send->to_replica, send->state.applied.index, &send->outrun);
    }
    LIST_FOR_EACH (node, &replica->worker->snapshots.tails) {
        struct snapshot_tail *tail = tail_of(node);
        if (tail->replica == replica && tail->match < index)
            tell_outrun(replica, tail->to_replica, tail->match, &tail->outrun);
    }
}

/* ---- cut and start ---- */

static struct snapshot_send *cut_new(struct range_replica *replica,
                                     const struct range_replica_ref *to) {
    struct range_worker *worker = replica->worker;
    struct snapshot_send *send = MEMORY_NEW(struct snapshot_send);
    send->replica = replica;
    send->to_replica = to->replica_id;
    send->to_node = to->node_id;
    do { /* 0 is no id */
        send->snapshot_id = prng_next(&worker->prng);
    } while (send->snapshot_id == 0);
    send->cut = storage_snapshot_new(worker->store->engine);
    send->state = replica->applied; /* R1: what the engine holds */
    send->conf = replica->conf;
    range_descriptor_copy(&send->descriptor, &replica->descriptor);
    send->heard_us = worker->now_us;
    list_push_back(&worker->snapshots.sends, &send->link);
    worker->snapshots.send_count++;
    metric_add(&metric_range_snapshot_followers, 1);
    return send;
}

enum status range_snapshot_cut(struct range_replica *replica, uint64_t to_replica,
                               struct raft_snapshot *ret_snapshot) {
    const struct range_replica_ref *to = range_descriptor_replica(&replica->descriptor, to_replica);
    if (!to) return STATUS_BUSY;
    struct snapshot_send *send = find_send(replica, to_replica);
    /* One that is under way is worth keeping as long as the log goes on where it ends. */
    if (send && send->state.applied.index + 1 < replica->log.first_index) {
        send_free(send);
        send = NULL;
    }
    if (!send) {
        const struct range_worker *worker = replica->worker;
        if (worker->snapshots.send_count >=
            range_limit(worker->store->config.snapshots_max, RANGE_SNAPSHOT_SENDS_MAX))
            return STATUS_BUSY;
        send = cut_new(replica, to);
    }
    *ret_snapshot = (struct raft_snapshot){.id = send->state.applied, .conf = send->conf};
    return STATUS_OK;
}

static void transmit(struct snapshot_send *send, uint64_t sequence) {
    struct range_worker *worker = send->replica->worker;
    const struct range_transport *transport = &worker->store->transport;
    struct slice frame = slice_from_buf(&send->window[sequence % RANGE_SNAPSHOT_WINDOW]);
    transport->send_snapshot(transport->ctx, send->to_node, frame);
    send->sent_us = worker->now_us;
    worker->snapshots.tokens -= (int64_t)frame.len;
    metric_add(&metric_range_snapshot_bytes_sent_total, (int64_t)frame.len);
}

void range_snapshot_start(struct range_replica *replica, const struct raft_message *message) {
    struct snapshot_send *send = find_send(replica, message->to);
    bool expected = send && message->snapshot->id.index == send->state.applied.index;
    if (!expected) { /* its cut was given up since */
        raft_report_snapshot(replica->raft, message->to, true);
        return;
    }
    if (send->started) return; /* the core wants what is under way */
    struct buf encoded = {0};
    raft_encode_message(&encoded, message);
    struct range_snapshot_header header = {.from_node = replica->worker->store->config.node_id,
                                           .state = send->state,
                                           .descriptor = send->descriptor,
                                           .raft_message = slice_from_buf(&encoded)};
    range_snapshot_encode_header(&send->window[0], range_replica_id(replica), send->snapshot_id,
                                 &header);
    buf_done(&encoded);
    send->started = true;
    send->next = 1;
    send->heard_us = replica->worker->now_us;
    log_info("range_snapshot_start", "%s to_node=%" PRIu64 " index=%" PRIu64, replica->log_prefix,
             send->to_node, send->state.applied.index);
    transmit(send, 0);
}

/* ---- chunks ---- */

static void check_iterator(const struct snapshot_send *send) {
    enum status status = storage_iterator_status(send->iterator);
    if (status != STATUS_OK)
        range_worker_fatal(send->replica->worker, "read for a snapshot",
                           range_replica_id(send->replica), status);
}

/* Moves to the next record; false when everything was read. */
static bool seek_record(struct snapshot_send *send) {
    struct storage_engine *engine = send->replica->worker->store->engine;
    while (send->family_at < SNAPSHOT_FAMILIES) {
        if (!send->iterator) {
            enum storage_family family = snapshot_families[send->family_at];
            struct buf begin = {0}, end = {0};
            mvcc_span_bounds(family, slice_from_buf(&send->descriptor.start),
                             slice_from_buf(&send->descriptor.end), &begin, &end);
            send->iterator = storage_iterator_new(engine, send->cut, family, slice_from_buf(&begin),
                                                  slice_from_buf(&end));
            storage_iterator_seek_first(send->iterator);
            buf_done(&begin);
            buf_done(&end);
        }
        if (storage_iterator_valid(send->iterator)) return true;
        check_iterator(send);
        storage_iterator_free(send->iterator);
        send->iterator = NULL;
        send->family_at++;
    }
    return false;
}

static void make_chunk(struct snapshot_send *send) {
    uint32_t bytes_max = range_limit(send->replica->worker->store->config.snapshot_chunk_bytes,
                                     RANGE_SNAPSHOT_CHUNK_BYTES);
    buf_clear(&send->records);
    bool more;
    while ((more = seek_record(send)) && send->records.len < bytes_max) {
        range_snapshot_encode_record(&send->records, snapshot_families[send->family_at],
                                     storage_iterator_key(send->iterator),
                                     storage_iterator_value(send->iterator));
        storage_iterator_next(send->iterator);
        send->record_count++;
    }
    struct slice records = slice_from_buf(&send->records);
    send->checksum = range_snapshot_chain(send->checksum, records);
    struct range_snapshot_chunk chunk = {
        .last = !more, .stream_checksum = send->checksum, .record_count = send->record_count};
    range_snapshot_encode_chunk(&send->window[send->next % RANGE_SNAPSHOT_WINDOW],
                                range_replica_id(send->replica), send->snapshot_id, send->next,
                                &chunk, records);
    send->next++;
}

/* The first chunk waits until the header was taken: a receiver that is busy gets no data. */
static bool window_open(const struct snapshot_send *send) {
    bool all_made = send->family_at == SNAPSHOT_FAMILIES;
    return !all_made && send->acknowledged > 0 &&
           send->next - send->acknowledged < RANGE_SNAPSHOT_WINDOW;
}

static void pump_one(struct snapshot_send *send) {
    struct range_worker *worker = send->replica->worker;
    if (worker->now_us >= send->heard_us + RANGE_SNAPSHOT_ABANDON_US) {
        finish(send, true);
        return;
    }
    if (!send->started) return;
    if (send->acknowledged < send->next &&
        worker->now_us >= send->sent_us + RANGE_SNAPSHOT_RESEND_US) {
        for (uint64_t i = send->acknowledged; i < send->next && worker->snapshots.tokens > 0; i++)
            transmit(send, i);
    }
    while (window_open(send) && worker->snapshots.tokens > 0) {
        make_chunk(send);
        transmit(send, send->next - 1);
    }
}

/* A token bucket per worker: the node's rate divided among its workers, so nothing is shared. */
static void refill_tokens(struct range_worker *worker) {
    uint64_t rate = worker->store->config.snapshot_bytes_per_s / worker->store->worker_count;
    if (worker->store->config.snapshot_bytes_per_s == 0) { /* no limit */
        worker->snapshots.tokens = INT64_MAX / 2;
        return;
    }
    uint64_t elapsed_us = worker->now_us - worker->snapshots.refill_us;
    if (elapsed_us > 1000000) elapsed_us = 1000000;
    int64_t burst =
        (int64_t)(rate / 10 > RANGE_SNAPSHOT_CHUNK_BYTES ? rate / 10 : RANGE_SNAPSHOT_CHUNK_BYTES);
    worker->snapshots.tokens += (int64_t)(elapsed_us * rate / 1000000);
    if (worker->snapshots.tokens > burst) worker->snapshots.tokens = burst;
    worker->snapshots.refill_us = worker->now_us;
}

/* Gone, behind the cut again, caught up, or silent: nothing is kept for it any more. */
static bool tail_is_over(struct snapshot_tail *tail) {
    const struct range_replica *replica = tail->replica;
    uint64_t now_us = replica->worker->now_us;
    struct raft_view view;
    raft_view(replica->raft, &view);
    for (uint32_t i = 0; i < view.progress_count; i++) {
        const struct raft_progress_view *progress = &view.progress[i];
        if (progress->id != tail->to_replica) continue;
        if (progress->match > tail->match) {
            tail->match = progress->match;
            tail->moved_us = now_us;
        }
        return tail->outrun || tail->match + range_compact_tail(replica) >= view.commit ||
               now_us >= tail->moved_us + RANGE_SNAPSHOT_ABANDON_US;
    }
    return true;
}

static void follow_tails(struct range_worker *worker) {
    LIST_FOR_EACH_SAFE (node, &worker->snapshots.tails)
        if (tail_is_over(tail_of(node))) tail_free(tail_of(node));
}

void range_snapshot_pump(struct range_worker *worker) {
    follow_tails(worker);
    if (list_empty(&worker->snapshots.sends)) return;
    refill_tokens(worker);
    LIST_FOR_EACH_SAFE (node, &worker->snapshots.sends)
        pump_one(send_of(node));
}

/* ---- answers ---- */

static struct snapshot_send *find_id(const struct range_replica *replica, uint64_t snapshot_id) {
    LIST_FOR_EACH (node, &replica->worker->snapshots.sends) {
        struct snapshot_send *send = send_of(node);
        if (send->replica == replica && send->snapshot_id == snapshot_id) return send;
    }
    return NULL;
}

void range_snapshot_acknowledged(struct range_replica *replica, uint64_t snapshot_id,
                                 uint64_t next_sequence, enum range_snapshot_verdict verdict) {
    struct snapshot_send *send = find_id(replica, snapshot_id);
    if (!send || !send->started) return;
    send->heard_us = replica->worker->now_us;
    switch (verdict) {
    case RANGE_SNAPSHOT_CONTINUE:
        if (next_sequence > send->acknowledged && next_sequence <= send->next)
            send->acknowledged = next_sequence;
        return;
    case RANGE_SNAPSHOT_BUSY: /* the header is sent again after RANGE_SNAPSHOT_RESEND_US */
        return;
    case RANGE_SNAPSHOT_UNKNOWN: /* a chunk overtook the header, or the receiver started anew */
        if (send->acknowledged > 0) finish(send, true);
        return;
    case RANGE_SNAPSHOT_INSTALLED:
        finish(send, false);
        return;
    case RANGE_SNAPSHOT_REFUSED:
        finish(send, true);
        return;
    }
}

void range_snapshot_resend_to(struct range_worker *worker, uint64_t node_id) {
    LIST_FOR_EACH (node, &worker->snapshots.sends) {
        struct snapshot_send *send = send_of(node);
        if (send->to_node == node_id) send->sent_us = 0; /* what is in the window may be lost */
    }
}
