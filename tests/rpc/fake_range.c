/* The stand-in for the store. Only what rpc/ calls is here: what it must not call does not link. */
#include "tests/rpc/fake_range.h"

void fake_store_done(struct range_store *store) {
    if (store->session) store->session->release(store->session);
    buf_done(&store->last_frame);
    *store = (struct range_store){0};
}

static void note(struct range_store *store, uint64_t from, struct slice frame) {
    atomic_store(&store->last_from, from);
    buf_assign(&store->last_frame, frame);
}

enum status range_store_raft_frame(struct range_store *store, uint64_t from_node,
                                   struct slice frame) {
    uint64_t number;
    note(store, from_node, frame);
    atomic_fetch_add(&store->raft_frames, 1);
    if (frame.len >= 8) {
        memcpy(&number, frame.data, 8);
        if (store->next_number[from_node]++ != number) atomic_fetch_add(&store->out_of_order, 1);
    }
    return store->answer;
}

enum status range_store_snapshot_frame(struct range_store *store, uint64_t from_node,
                                       struct slice frame) {
    note(store, from_node, frame);
    atomic_fetch_add(&store->snapshot_frames, 1);
    return store->answer;
}

enum status range_store_requests(struct range_store *store, struct range_session *session,
                                 struct slice frame) {
    buf_assign(&store->last_frame, frame);
    atomic_fetch_add(&store->request_frames, 1);
    if (store->on_requests) store->on_requests(store->on_requests_ctx, session, frame);
    if (store->echo_requests) session->send(session, frame);
    if (store->keep_session && !store->session) {
        session->retain(session);
        store->session = session;
    }
    return store->answer;
}

void range_store_refuse_frame(struct range_session *session, struct slice frame,
                              uint32_t retry_after_us) {
    uint8_t busy[5] = {'B'};
    memcpy(busy + 1, &retry_after_us, 4);
    session->send(session, slice_make(busy, sizeof(busy)));
}

void range_store_inline_begin(struct range_store *store) {}
void range_store_run_inline(struct range_store *store) {}
void range_store_inline_end(struct range_store *store) {}

void range_store_status(struct range_store *store, range_status_fn *each, void *ctx) {
    struct range_descriptor descriptor = {.range_id = 7};
    struct range_status status = {.descriptor = &descriptor,
                                  .replica_id = 3,
                                  .term = 5,
                                  .leads = true,
                                  .leader_node = 2,
                                  .commit_index = 100,
                                  .applied_index = 99,
                                  .followers_behind = 40,
                                  .approximate_bytes = 4096};
    each(ctx, &status);
}

enum range_hearing range_store_hears(struct range_store *store, uint64_t node_id) {
    return node_id == 1 ? store->hears_one : RANGE_HEARING_UNKNOWN;
}

void range_store_unreachable(struct range_store *store, uint64_t node_id) {
    atomic_store(&store->last_unreachable, node_id);
    atomic_fetch_add(&store->unreachables, 1);
}
