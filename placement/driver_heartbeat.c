/* Heartbeats: merging what a node reports, and telling it what it lacks. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/memory.h"
#include "placement/driver.h"
#include "placement/metrics.h"

struct heartbeat_call {
    struct placement_driver *driver;
    const struct placement_heartbeat_request *request;
    struct placement_heartbeat_reply *reply;
    uint8_t *reported; /* per birth range: the node has it; NULL when nothing is unconfirmed */
    bool waits;        /* something will be ordered from the node soon */
};

static bool well_formed(const struct placement_heartbeat_request *request) {
    if (request->report_count > PLACEMENT_REPORTS_MAX) return false;
    for (uint32_t i = 0; i < request->report_count; i++) {
        const struct placement_replica_report *report = &request->reports[i];
        if (!report->range_id || !report->epoch.conf_version || !report->epoch.span_version ||
            (report->leads && !report->term))
            return false;
        if (report->descriptor && (report->descriptor->range_id != report->range_id ||
                                   !placement_descriptor_valid(report->descriptor)))
            return false;
    }
    return true;
}

/* Who may speak for the node: the process that registered last, in this cluster. */
static enum status check_sender(struct placement_driver *driver,
                                const struct placement_heartbeat_request *request) {
    struct buf *text = &driver->text;
    const struct placement_node *node = placement_state_node(&driver->state, request->node_id);
    if (request->cluster_id != driver->state.cluster_id) {
        buf_printf(text,
                   "node %" PRIu64 " is of cluster %016" PRIx64 ", this placement serves cluster "
                   "%016" PRIx64 ": check --placement",
                   request->node_id, request->cluster_id, driver->state.cluster_id);
        return STATUS_MISMATCH;
    }
    if (!node) {
        buf_printf(text,
                   "node %" PRIu64 " is not known to cluster %016" PRIx64 ": placement has lost "
                   "its state, or this is not the node's placement; check --placement",
                   request->node_id, driver->state.cluster_id);
        return STATUS_MISMATCH;
    }
    if (node->incarnation != request->incarnation) {
        buf_printf(text,
                   "another process has registered as node %" PRIu64 " from %.*s: this one must "
                   "stop; two processes run with copies of one data directory",
                   request->node_id, (int)node->address.len, (const char *)node->address.data);
        return STATUS_EXISTS;
    }
    if (!well_formed(request)) {
        buf_printf(text, "malformed heartbeat of node %" PRIu64, request->node_id);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static bool replica_unconfirmed(const struct placement_birth_range *range, uint64_t node_id,
                                uint64_t *ret_replica_id) {
    const struct placement_replica *replica =
        placement_descriptor_on_node(&range->descriptor, node_id);
    if (!replica) return false;
    *ret_replica_id = replica->replica_id;
    return !(range->confirmed >> (replica - range->descriptor.replicas) & 1);
}

/* What was made is confirmed through the log. */
static void confirm_reported(const struct heartbeat_call *call) {
    struct placement_driver *driver = call->driver;
    const struct placement_heartbeat_request *request = call->request;
    struct buf range_ids = {0};
    uint64_t count = 0;
    for (uint32_t i = 0; i < request->report_count; i++) {
        uint64_t range_id = request->reports[i].range_id, replica_id;
        if (range_id > driver->state.range_count) continue;
        if (!replica_unconfirmed(&driver->state.ranges[range_id - 1], request->node_id,
                                 &replica_id) ||
            request->reports[i].replica_id != replica_id)
            continue;
        call->reported[range_id - 1] = 1;
        encode_varint(&range_ids, range_id);
        count++;
    }
    if (count) {
        struct placement_command command = {.kind = PLACEMENT_CONFIRM};
        command.confirm.node_id = request->node_id;
        command.confirm.range_count = count;
        command.confirm.range_ids = slice_from_buf(&range_ids);
        /* Dropped: the node is asked to report everything again. */
        if (placement_driver_propose(driver, &command, NULL))
            placement_view_node(&driver->view, request->node_id)->complete = false;
    }
    buf_done(&range_ids);
}

/* The replica that is meant to lead is made last: its first campaign needs a majority that can
 * vote. Were it made earlier, it would lose that, and whoever times out first would lead. */
static bool must_wait(const struct placement_birth_range *range, uint64_t replica_id) {
    return range->descriptor.replicas[0].replica_id == replica_id &&
           (uint32_t)__builtin_popcount(range->confirmed) < range->descriptor.replica_count / 2;
}

/* Replicas that the node was born with and never had. A range that has changed since its birth is
 * past that: its own replicas decide who joins. */
static void order_creations(struct heartbeat_call *call) {
    struct placement_driver *driver = call->driver;
    struct placement_create *creates =
        ARENA_NEW_ARRAY(&driver->answer, struct placement_create, PLACEMENT_CREATES_MAX);
    uint32_t count = 0;
    for (uint32_t i = 0; i < driver->state.range_count && count < PLACEMENT_CREATES_MAX; i++) {
        const struct placement_birth_range *range = &driver->state.ranges[i];
        uint64_t replica_id;
        if (call->reported[i] || !replica_unconfirmed(range, call->request->node_id, &replica_id) ||
            placement_view_changed_since(&driver->view, &range->descriptor))
            continue;
        if (must_wait(range, replica_id)) {
            call->waits = true;
            continue;
        }
        creates[count++] = (struct placement_create){
            .descriptor = &range->descriptor,
            .campaign = range->descriptor.replicas[0].replica_id == replica_id,
        };
    }
    call->reply->create_count = count;
    call->reply->creates = creates;
}

static void add_wanted(const struct heartbeat_call *call) {
    const struct placement_heartbeat_request *request = call->request;
    uint64_t *wanted = ARENA_NEW_ARRAY(&call->driver->answer, uint64_t, PLACEMENT_WANTED_MAX);
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->report_count && count < PLACEMENT_WANTED_MAX; i++) {
        if (request->reports[i].leads &&
            placement_view_wants(&call->driver->view, request->reports[i].range_id))
            wanted[count++] = request->reports[i].range_id;
    }
    call->reply->wanted_count = count;
    call->reply->wanted = wanted;
}

static void answer_heartbeat(struct heartbeat_call *call) {
    struct placement_driver *driver = call->driver;
    const struct placement_state *state = &driver->state;
    const struct placement_heartbeat_request *request = call->request;
    struct placement_heartbeat_reply *reply = call->reply;
    const struct placement_view_node *node = placement_view_node(&driver->view, request->node_id);
    reply->address_book_version = state->book_version;
    if (request->address_book_version != state->book_version) {
        reply->nodes = placement_driver_addresses(driver);
        reply->node_count = state->node_count;
    }
    add_wanted(call);
    if (state->unconfirmed && !request->leaving) {
        call->reported = memory_zalloc(state->range_count);
        confirm_reported(call);
        /* Only who has told everything can be told what is missing. */
        if (node->complete) order_creations(call);
        memory_free(call->reported);
    }
    reply->want_complete = !node->complete;
    bool eager = !state->born || reply->want_complete || reply->create_count || call->waits ||
                 reply->wanted_count;
    reply->next_heartbeat_ms =
        eager ? PLACEMENT_EAGER_HEARTBEAT_MS : (uint32_t)driver->config.node_heartbeat_ms;
}

void placement_driver_heartbeat(struct placement_driver *driver,
                                const struct placement_heartbeat_request *request, uint64_t now_us,
                                struct placement_heartbeat_reply *ret_reply) {
    struct placement_heartbeat_reply reply = {.next_heartbeat_ms = PLACEMENT_EAGER_HEARTBEAT_MS};
    placement_driver_set_now(driver, now_us);
    buf_clear(&driver->text);
    arena_reset(&driver->answer);
    if (!placement_driver_may_answer(driver)) {
        reply.status = STATUS_NOT_LEADER;
        reply.text = placement_driver_not_leader_text(driver);
        *ret_reply = reply;
        return;
    }
    reply.status = check_sender(driver, request);
    if (!reply.status) {
        placement_view_merge(&driver->view, request, now_us);
        if (request->leaving) placement_driver_note_synced_soon(driver);
        if (!driver->state.born) driver->wakened = true; /* it may be the last that was missing */
        metric_add(&metric_placement_heartbeats_total, 1);
        struct heartbeat_call call = {.driver = driver, .request = request, .reply = &reply};
        answer_heartbeat(&call);
    }
    reply.text = slice_from_buf(&driver->text);
    *ret_reply = reply;
}
