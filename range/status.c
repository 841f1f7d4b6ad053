/* What other threads may know of the replicas: copies, one per replica, under the worker's
 * status_lock, which nobody holds for longer than a few copies take. */
#include "range/status.h"

#include "base/assert.h"
#include "base/memory.h"
#include "range/worker.h"
#include "storage/mvcc.h"

struct range_published {
    struct list_node link; /* worker->report.published */
    struct range_status status;
    struct range_descriptor descriptor; /* what status.descriptor points at */
};

static void lock(struct range_worker *worker) {
    int error = pthread_mutex_lock(&worker->report.lock);
    ASSERT_CMP(error, ==, 0);
}

static void unlock(struct range_worker *worker) {
    int error = pthread_mutex_unlock(&worker->report.lock);
    ASSERT_CMP(error, ==, 0);
}

static bool same_epoch(struct range_epoch a, struct range_epoch b) {
    return a.conf_version == b.conf_version && a.span_version == b.span_version;
}

/* Under the worker's status_lock. */
static void publish(struct range_replica *replica) {
    struct range_worker *worker = replica->worker;
    struct range_published *published = replica->report.published;
    struct range_status status = {
        .replica_id = replica->replica_id,
        .leader_replica = raft_leader(replica->raft),
        .leader_node = range_replica_leader_node(replica),
        .term = raft_term(replica->raft),
        .commit_index = raft_commit_index(replica->raft),
        .applied_index = replica->applied.applied.index,
        .log_first_index = replica->log.first_index,
        .leads = replica->leads,
        .quiet = raft_quiet(replica->raft),
        .drain_given_up = replica->transfer.given_up,
        .drain_offered = !replica->leads && replica->transfer.offered != 0 &&
                         raft_leader(replica->raft) == RAFT_NO_REPLICA,
        .approximate_bytes = replica->report.approximate_bytes,
        .writes_total = replica->report.writes_total,
        .reads_total = replica->report.reads_total,
        .followers_behind =
            replica->leads ? raft_commit_index(replica->raft) - raft_min_match(replica->raft) : 0,
    };
    bool fresh = published == NULL;
    if (fresh) published = replica->report.published = MEMORY_NEW(struct range_published);
    status.descriptor = &published->descriptor;
    published->status = status;
    /* A descriptor never changes without its epoch. */
    if (fresh || !same_epoch(published->descriptor.epoch, replica->descriptor.epoch))
        range_descriptor_copy(&published->descriptor, &replica->descriptor);
    if (fresh) list_push_back(&worker->report.published, &published->link);
}

void range_status_publish(struct range_replica *replica) {
    lock(replica->worker);
    publish(replica);
    unlock(replica->worker);
}

void range_status_stale(struct range_replica *replica) {
    if (list_empty(&replica->report.in_stale))
        list_push_back(&replica->worker->report.stale, &replica->report.in_stale);
}

void range_status_flush(struct range_worker *worker) {
    struct list_node *node;
    if (!list_empty(&worker->report.stale)) {
        lock(worker);
        while ((node = list_pop_front(&worker->report.stale)) != NULL) {
            struct range_replica *replica =
                CONTAINER_OF(node, struct range_replica, report.in_stale);
            if (replica->raft) publish(replica);
        }
        unlock(worker);
    }
    if (worker->declines) atomic_store(&worker->decline_published, true);
}

void range_status_unpublish(struct range_replica *replica) {
    if (!replica->report.published) return;
    lock(replica->worker);
    list_remove(&replica->report.published->link);
    unlock(replica->worker);
    range_descriptor_done(&replica->report.published->descriptor);
    memory_free(replica->report.published);
    replica->report.published = NULL;
}

/* An empty end: to the end of all keys. */
static bool spans_overlap(const struct range_descriptor *a, const struct range_descriptor *b) {
    struct slice a_end = slice_from_buf(&a->end), b_end = slice_from_buf(&b->end);
    bool a_before = a_end.len > 0 && slice_compare(a_end, slice_from_buf(&b->start)) <= 0;
    bool b_before = b_end.len > 0 && slice_compare(b_end, slice_from_buf(&a->start)) <= 0;
    return !a_before && !b_before;
}

bool range_status_overlaps(struct range_store *store, const struct range_descriptor *descriptor) {
    bool overlaps = false;
    for (uint32_t i = 0; i < store->worker_count; i++) {
        struct range_worker *worker = store->workers[i];
        lock(worker);
        LIST_FOR_EACH (node, &worker->report.published) {
            const struct range_descriptor *other =
                &CONTAINER_OF(node, struct range_published, link)->descriptor;
            if (other->range_id != descriptor->range_id && spans_overlap(other, descriptor))
                overlaps = true;
        }
        unlock(worker);
    }
    return overlaps;
}

struct status_copies {
    struct range_published *items;
    size_t count, cap;
};

static void copy_worker(struct range_worker *worker, struct status_copies *copies) {
    lock(worker);
    LIST_FOR_EACH (node, &worker->report.published) {
        const struct range_published *published = CONTAINER_OF(node, struct range_published, link);
        if (copies->count == copies->cap) {
            copies->cap = copies->cap ? copies->cap * 2 : 64;
            copies->items = memory_realloc(copies->items, copies->cap * sizeof(*copies->items));
        }
        struct range_published *copy = &copies->items[copies->count++];
        *copy = (struct range_published){.status = published->status};
        range_descriptor_copy(&copy->descriptor, &published->descriptor);
    }
    unlock(worker);
}

void range_store_status(struct range_store *store, range_status_fn *each, void *ctx) {
    struct status_copies copies = {0};
    for (uint32_t i = 0; i < store->worker_count; i++)
        copy_worker(store->workers[i], &copies);
    for (size_t i = 0; i < copies.count; i++) {
        copies.items[i].status.descriptor = &copies.items[i].descriptor;
        each(ctx, &copies.items[i].status);
        range_descriptor_done(&copies.items[i].descriptor);
    }
    memory_free(copies.items);
}

uint64_t range_store_synced_sequence(const struct range_store *store) {
    return storage_synced_sequence(store->engine);
}

uint32_t range_store_leader_count(struct range_store *store) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->worker_count; i++)
        count += atomic_load(&store->workers[i]->leader_count);
    return count;
}

static bool hears(const struct range_worker *worker, const struct range_peer *peer) {
    for (uint32_t i = 0; i < peer->watch_count; i++)
        if (peer->watches[i].incarnation == 0 ||
            peer->watches[i].silent_ticks >= worker->store->config.election_ticks)
            return false;
    return peer->watch_count > 0;
}

void range_status_publish_hearing(struct range_worker *worker) {
    lock(worker);
    if (worker->report.heard_cap < worker->outbox.peers.count) {
        worker->report.heard_cap = (uint32_t)worker->outbox.peers.count;
        worker->report.heard = memory_realloc(
            worker->report.heard, worker->report.heard_cap * sizeof(*worker->report.heard));
    }
    worker->report.heard_count = 0;
    for (struct idmap_node *node = NULL; (node = idmap_next(&worker->outbox.peers, node)) != NULL;)
        worker->report.heard[worker->report.heard_count++] = (struct range_heard_node){
            node->id, hears(worker, CONTAINER_OF(node, struct range_peer, by_node))};
    unlock(worker);
}

enum range_hearing range_store_hears(struct range_store *store, uint64_t node_id) {
    enum range_hearing hearing = RANGE_HEARING_UNKNOWN;
    for (uint32_t i = 0; i < store->worker_count; i++) {
        struct range_worker *worker = store->workers[i];
        lock(worker);
        for (uint32_t j = 0; j < worker->report.heard_count && hearing != RANGE_HEARS_NOT; j++) {
            if (worker->report.heard[j].node_id != node_id) continue;
            hearing = worker->report.heard[j].heard ? RANGE_HEARS : RANGE_HEARS_NOT;
        }
        unlock(worker);
    }
    return hearing;
}

/* One range per call, in turn: the engine's answer costs more than a range's share of a tick. */
void range_status_sample_size(struct range_worker *worker) {
    if (list_empty(&worker->all)) return;
    worker->report.sampled = worker->report.sampled->next;
    if (worker->report.sampled == &worker->all) worker->report.sampled = worker->all.next;
    struct range_replica *replica =
        CONTAINER_OF(worker->report.sampled, struct range_replica, in_all);
    if (!replica->raft) return;
    struct buf begin = {0}, end = {0};
    mvcc_span_bounds(STORAGE_DATA, slice_from_buf(&replica->descriptor.start),
                     slice_from_buf(&replica->descriptor.end), &begin, &end);
    struct storage_span span = {
        .family = STORAGE_DATA, .begin = slice_from_buf(&begin), .end = slice_from_buf(&end)};
    replica->report.approximate_bytes = storage_approximate_bytes(worker->store->engine, &span);
    buf_done(&begin);
    buf_done(&end);
    range_status_publish(replica);
}
