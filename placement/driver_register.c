/* Registration: who gets an id, who gets it back, who is turned away.
 *
 * A registration passes three gates: the form of the request; who is alive (volatile, judged here
 * by the leader); who owns the id (replicated, judged here and again when the command is applied).
 * It is answered when it is applied, so an id that was told is durable. Asking again with the same
 * uuid gives the same id, so a lost answer costs nothing. */
#include <ctype.h>
#include <inttypes.h>

#include "base/address.h"
#include "base/assert.h"
#include "base/memory.h"
#include "placement/driver.h"
#include "placement/metrics.h"

/* What a node is told to wait when nothing says more precisely how long. */
#define RETRY_MS 100u

struct register_call {
    struct placement_driver *driver;
    const struct placement_register_request *request;
    placement_register_fn *done;
    void *ctx;
};

/* Answers with driver->text, or the status's own text when that is empty. */
static void answer(const struct register_call *call, enum status status, uint64_t retry_after_ms) {
    struct placement_driver *driver = call->driver;
    if (!driver->text.len) buf_printf(&driver->text, "%s", status_text(status));
    if (!retry_after_ms) metric_add(&metric_placement_refusals_total, 1);
    struct placement_register_reply reply = {
        .status = status,
        .text = slice_from_buf(&driver->text),
        .retry_after_ms = (uint32_t)retry_after_ms,
        .cluster_id = driver->state.cluster_id,
    };
    call->done(call->ctx, &reply);
}

static bool printable(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (!isgraph(text.data[i])) return false;
    }
    return true;
}

_Static_assert(PLACEMENT_ADDRESS_BYTES_MAX == ADDRESS_BYTES_MAX, "what may be told is kept");

static enum status check_form(const struct placement_register_request *request, struct buf *text) {
    static const struct placement_uuid no_uuid;
    const char *problem = address_parse(request->address, ADDRESS_TO_DIAL, NULL);
    if (problem)
        buf_printf(text, "the node's address, as it is told to others, %s: check --advertise",
                   problem);
    else if (request->version.len > PLACEMENT_VERSION_BYTES_MAX || !printable(request->version))
        buf_printf(text, "a node's version has at most %u printable bytes",
                   PLACEMENT_VERSION_BYTES_MAX);
    else if (!request->incarnation || placement_uuid_equal(&request->uuid, &no_uuid))
        buf_printf(text, "a registration needs the data directory's uuid and the process's "
                         "incarnation");
    else if (request->node_id && !request->cluster_id)
        buf_printf(text, "a node with an id (%" PRIu64 ") must say which cluster gave it",
                   request->node_id);
    else
        return STATUS_OK;
    return STATUS_INVALID;
}

/* ---- who is alive ---- */

static uint64_t silent_in_ms(const struct placement_driver *driver, uint64_t node_id) {
    const struct idmap_node *found = idmap_get(&driver->view.nodes, node_id);
    uint64_t seen_us = driver->view.began_us;
    if (found) seen_us = CONTAINER_OF(found, const struct placement_view_node, by_id)->seen_us;
    uint64_t until_us = seen_us + driver->config.silence_ms * 1000;
    return until_us > driver->now_us ? (until_us - driver->now_us) / 1000 + 1 : 1;
}

static bool alive(const struct placement_driver *driver, uint64_t node_id) {
    return placement_view_alive(&driver->view, node_id, driver->now_us,
                                driver->config.silence_ms * 1000);
}

/* The other process of this directory may still be running: it was heard from lately, and at an
 * address that this one has not taken over. */
static bool other_process_alive(const struct placement_driver *driver,
                                const struct placement_register_request *request,
                                const struct placement_node *node) {
    return node->incarnation != request->incarnation && alive(driver, node->node_id) &&
           !slice_equal(slice_from_buf(&node->address), request->address);
}

static bool same_directory_waits(const struct placement_driver *driver,
                                 const struct placement_register_request *request) {
    LIST_FOR_EACH (at, &driver->waiters) {
        const struct placement_waiter *waiter =
            CONTAINER_OF(at, struct placement_waiter, in_waiters);
        if (placement_uuid_equal(&waiter->uuid, &request->uuid) &&
            waiter->incarnation != request->incarnation)
            return true;
    }
    return false;
}

/* EXISTS with the time after which asking again makes sense. */
static enum status check_alive(struct placement_driver *driver,
                               const struct placement_register_request *request,
                               uint64_t *ret_retry_after_ms) {
    const struct placement_node *same =
        placement_state_node_by_uuid(&driver->state, &request->uuid);
    if (same && other_process_alive(driver, request, same)) {
        *ret_retry_after_ms = silent_in_ms(driver, same->node_id);
        buf_printf(&driver->text,
                   "node %" PRIu64 " is running at %.*s with a copy of this data directory; if it "
                   "was stopped just now, this passes in %" PRIu64 " ms, else start this node with "
                   "an empty --data-dir",
                   same->node_id, (int)same->address.len, (const char *)same->address.data,
                   *ret_retry_after_ms);
        return STATUS_EXISTS;
    }
    if (same_directory_waits(driver, request)) {
        *ret_retry_after_ms = RETRY_MS;
        buf_printf(&driver->text, "another process registers with a copy of this data directory");
        return STATUS_EXISTS;
    }
    for (uint32_t i = 0; i < driver->state.node_count; i++) {
        const struct placement_node *node = &driver->state.nodes[i];
        if (node == same || !slice_equal(slice_from_buf(&node->address), request->address) ||
            !alive(driver, node->node_id))
            continue;
        *ret_retry_after_ms = silent_in_ms(driver, node->node_id);
        buf_printf(&driver->text,
                   "address %.*s is node %" PRIu64 "'s, which is running; if it was stopped just "
                   "now, this passes in %" PRIu64 " ms, else give this node another --advertise",
                   (int)request->address.len, (const char *)request->address.data, node->node_id,
                   *ret_retry_after_ms);
        return STATUS_EXISTS;
    }
    return STATUS_OK;
}

/* ---- through the log ---- */

static void propose(const struct register_call *call) {
    struct placement_driver *driver = call->driver;
    struct placement_command command = {.kind = PLACEMENT_REGISTER, .registration = *call->request};
    struct raft_log_id id;
    if (driver->waiter_count >= PLACEMENT_WAITERS_MAX) {
        answer(call, STATUS_BUSY, RETRY_MS);
        return;
    }
    if (placement_driver_propose(driver, &command, &id)) {
        answer(call, STATUS_UNAVAILABLE, RETRY_MS);
        return;
    }
    struct placement_waiter *waiter = MEMORY_NEW(struct placement_waiter);
    *waiter = (struct placement_waiter){
        .id = id,
        .uuid = call->request->uuid,
        .incarnation = call->request->incarnation,
        .done = call->done,
        .ctx = call->ctx,
    };
    list_push_back(&driver->waiters, &waiter->in_waiters);
    driver->waiter_count++;
}

/* Who owns the id, and whether it is what it was: what heartbeats said counts, too. */
static enum status check_owner(struct placement_driver *driver,
                               const struct placement_register_request *request) {
    const struct placement_node *node =
        placement_state_node_by_uuid(&driver->state, &request->uuid);
    uint64_t known = node ? placement_view_synced(&driver->view, node->node_id) : 0;
    enum status status =
        placement_state_check_registration(&driver->state, request, known, &driver->text);
    if (status && node && placement_state_is_set_back(&driver->state, request, known)) {
        placement_view_node(&driver->view, node->node_id)->set_back = true;
        log_error("placement_set_back", "node=%" PRIu64 " address=%.*s reason=\"%.*s\"",
                  node->node_id, (int)request->address.len, (const char *)request->address.data,
                  (int)driver->text.len, (const char *)driver->text.data);
    }
    return status;
}

void placement_driver_register(struct placement_driver *driver,
                               const struct placement_register_request *request, uint64_t now_us,
                               placement_register_fn *done, void *ctx) {
    struct register_call call = {driver, request, done, ctx};
    placement_driver_set_now(driver, now_us);
    buf_clear(&driver->text);
    enum status status = check_form(request, &driver->text);
    if (status) {
        answer(&call, status, 0);
        return;
    }
    if (!placement_driver_may_answer(driver)) {
        placement_driver_not_leader_text(driver);
        answer(&call, STATUS_NOT_LEADER, RETRY_MS);
        return;
    }
    if (!driver->state.cluster_id) {
        buf_printf(&driver->text, "the cluster is being formed");
        answer(&call, STATUS_UNAVAILABLE, RETRY_MS);
        return;
    }
    uint64_t retry_after_ms = 0;
    status = check_owner(driver, request);
    if (!status) status = check_alive(driver, request, &retry_after_ms);
    if (status)
        answer(&call, status, retry_after_ms);
    else
        propose(&call);
}

static void end_waiter(struct placement_driver *driver, struct placement_waiter *waiter,
                       const struct placement_register_reply *reply) {
    list_remove(&waiter->in_waiters);
    driver->waiter_count--;
    waiter->done(waiter->ctx, reply);
    memory_free(waiter);
}

void placement_driver_answer_waiter(struct placement_driver *driver, struct raft_log_id applied,
                                    const struct placement_outcome *outcome) {
    if (list_empty(&driver->waiters)) return;
    struct placement_waiter *waiter =
        CONTAINER_OF(driver->waiters.next, struct placement_waiter, in_waiters);
    if (waiter->id.index != applied.index || waiter->id.term != applied.term) return;
    if (!outcome->status)
        placement_view_registered(&driver->view, outcome->node_id, driver->now_us);
    struct placement_register_reply reply = {
        .status = outcome->status,
        .text = slice_from_buf(outcome->text),
        .cluster_id = driver->state.cluster_id,
        .node_id = outcome->node_id,
    };
    end_waiter(driver, waiter, &reply);
}

void placement_driver_fail_waiters(struct placement_driver *driver, enum status status) {
    struct placement_register_reply reply = {
        .status = status,
        .text = slice_from_text("this placement member no longer leads; ask again"),
        .retry_after_ms = RETRY_MS,
    };
    while (!list_empty(&driver->waiters))
        end_waiter(driver, CONTAINER_OF(driver->waiters.next, struct placement_waiter, in_waiters),
                   &reply);
}
